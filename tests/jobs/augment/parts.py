"""An editor and a judge that are arithmetic, and small radiographs to edit."""

import numpy as np

from roentmod import datasets, imaging
from roentmod.interfaces import Counterfactual
from roentmod.radiograph import Radiograph

FINDINGS = ("Cardiomegaly", "Pleural Effusion", "Edema")
SIZE = 64


def write_source(folder, *, splits=False):
    """Write a plain folder of eight small pictures of 16 bits; with splits, the last has edema."""
    lines = ["path,labels,view,patient_id,age,sex,split"]
    for n in range(8):
        noise = np.random.default_rng(n).uniform(0.2, 0.6, (96, 80))
        imaging.write(Radiograph.from_array(noise), folder / f"{n}.png", provenance=None)
        label = "Edema" if splits and n == 7 else "No Finding"
        split = ("train" if n < 4 else "val") if splits else ""
        lines.append(f"{n}.png,{label},PA,p{n},{50 + n},F,{split}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return datasets.load(folder)


def chosen(data):
    return datasets.baselines(data).table


class Dabber:
    """Brightens one band of rows a finding, more in a "severe" edit; its sham dims the last rows.

    `faint` findings are hardly painted, `broken` ones not at all; `stop` is called with the number
    of each call.
    """

    name = "dabber"

    def __init__(self, *, faint=(), broken=(), stop=None):
        self.faint, self.broken, self.stop = faint, broken, stop
        self.calls = 0

    def describe(self):
        return {"name": self.name}

    def edit(self, radiographs, edits, *, masks=None, progress=None):
        if radiographs:
            self.calls += 1
            if self.stop is not None:
                self.stop(self.calls)
        return [self._one(radiograph, edit) for radiograph in radiographs for edit in edits]

    def _one(self, radiograph, edit):
        added = edit.findings[0]
        if added in self.broken:
            return Counterfactual(radiograph, edit, "poor_anatomy")
        sham = radiograph.pixels.copy()
        sham[-8:] *= 0.5
        pixels = sham.copy()
        height = pixels.shape[0] // 4
        top = height * FINDINGS.index(added)
        lift = 0.002 if added in self.faint else 0.3 if edit.severity == "severe" else 0.2
        pixels[top : top + height] = np.minimum(pixels[top : top + height] + lift, 1)
        image, control = radiograph.with_pixels(pixels), radiograph.with_pixels(sham)
        difference = image.pixels - radiograph.pixels
        return Counterfactual(
            radiograph, edit, "ok", image, control, difference, difference != 0, {"seconds": 0.1}
        )


class Eye:
    """Reads the mean brightness of each finding's band, times 20."""

    name, size = "eye", SIZE

    def __init__(self, findings=FINDINGS, silent=False):
        self.findings, self.silent = tuple(findings), silent

    def describe(self):
        return {"name": self.name}

    def logits(self, images):
        if self.silent:
            raise ConnectionError("nobody there")
        bands = images.reshape(len(images), 4, -1).mean(axis=2)
        columns = [FINDINGS.index(name) for name in self.findings]
        return (20 * bands[:, columns]).astype(np.float32)
