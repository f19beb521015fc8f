"""A folder of small phantoms, an editor whose every habit is known, and readers by arithmetic."""

import hashlib

import numpy as np
from PIL import Image
from scipy import ndimage

from roentmod.datasets.phantom import phantom
from roentmod.errors import EditError
from roentmod.interfaces import Counterfactual
from roentmod.jobs import validate as validation
from roentmod.jobs.validate import ValidatePlan, choose
from roentmod.jobs.validate.prompts import wordings

SIZE = 128
FINDINGS = ("Nodule", "Edema")
# Where each finding is drawn, as shares of the side, and how high a full one is.
PLACES = {"Nodule": (0.35, 0.3), "Edema": (0.5, 0.7)}
HEIGHT, RADIUS = 0.2, 0.06


def disc(shape, name):
    row, column = PLACES[name]
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    away = np.hypot(rows - row * shape[0], columns - column * shape[1])
    return away < RADIUS * shape[0]


class Meter:
    """Reads a finding by how bright its place is, in units that make a full one 4 logits."""

    findings, size = FINDINGS, SIZE

    def logits(self, images):
        heights = [images[:, disc(images.shape[1:], n)].mean(axis=1) for n in FINDINGS]
        return (np.stack(heights, axis=1) * 4 / HEIGHT).astype(np.float32)


class Blocks:
    """Features of a place: mean, deviation and slopes of its block of 8 x 8 pixels."""

    name, size = "blocks", SIZE

    def grid(self, images):
        cut = images.reshape(len(images), 16, 8, 16, 8).swapaxes(2, 3)
        across, down = np.diff(cut, axis=4).mean((3, 4)), np.diff(cut, axis=3).mean((3, 4))
        parts = [cut.mean((3, 4)), cut.std((3, 4)), across, down]
        return np.stack(parts, axis=-1).astype(np.float32)


class Stamp:
    """Draws a disc where a finding is asked for.

    Strength times guidance is how high it is; strength above 0.7 shows another patient.
    `leak` of it is drawn at the other finding's place too; `soft` blurs mode "none"; `deaf` to the
    last wording; `spill` changes pixels outside its own support; without `words` it takes neither
    prompts nor removals; `stop` ends it at that call. `drift` of it is drawn at all places by the
    shams, and, but in mode "sham", by the edits, too.
    """

    name = "stamp"

    def __init__(
        self, *, leak=0.0, soft=0.8, deaf=False, spill=0.0, words=True, stop=None, drift=0.0
    ):
        self.leak, self.soft, self.deaf, self.spill = leak, soft, deaf, spill
        self.drift = drift
        self.words, self.stop, self.calls = words, stop, 0

    def describe(self):
        return {"name": self.name}

    def edit(self, radiographs, edits, *, masks=None, progress=None):
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        if not self.words and any(e.prompt or e.action == "remove" for e in edits):
            raise EditError("The stamp takes no prompts.")
        return [self._one(r, edit) for r in radiographs for edit in edits]

    def _one(self, radiograph, edit):
        if edit.findings == ("Edema",) and "odd" in radiograph.source:
            return Counterfactual(radiograph, edit, "poor_anatomy")
        pixels = radiograph.pixels.astype(np.float64)
        sham = ndimage.gaussian_filter(pixels, self.soft) if edit.composite == "none" else pixels
        lifted = sham + self.drift * HEIGHT * sum(disc(pixels.shape, one) for one in FINDINGS)
        sham, control = (sham if edit.composite == "sham" else lifted), lifted
        name = edit.findings[0]
        height = HEIGHT * min(1.0, edit.strength * edit.guidance_scale / 1.6)
        if self.deaf and edit.prompt == wordings(name)[-1]:
            height = 0
        salt = f"{radiograph.id}/{edit.seed}".encode()
        height *= 1 + 0.1 * (hashlib.sha256(salt).digest()[0] / 255 - 0.5)
        sign = -1 if edit.action == "remove" else 1
        change = np.zeros(pixels.shape)
        for other in FINDINGS:
            share = 1 if other == name else self.leak
            change += sign * share * height * disc(pixels.shape, other)
        shown = sham + change
        if edit.strength > 0.7:
            shown = change + 0.3 + 0.2 * np.sin(np.arange(pixels.shape[1]) / 5)
        support = (change != 0) | (edit.composite == "none") | (edit.strength > 0.7)
        shown = shown + self.spill
        image = radiograph.with_pixels(np.clip(shown, 0, 1).astype(np.float32))
        control = radiograph.with_pixels(np.clip(control, 0, 1).astype(np.float32))
        return Counterfactual(
            radiograph, edit, "ok", image, control, image.pixels - radiograph.pixels, support
        )


class Exchanged(Stamp):
    """Returns the edits of other patients: `others` has one by the id of each radiograph."""

    def __init__(self, others):
        super().__init__()
        self.others = others

    def _one(self, radiograph, edit):
        other = super()._one(self.others[radiograph.id], edit)
        image, control = (radiograph.with_pixels(p.pixels) for p in (other.image, other.control))
        everywhere = np.ones(radiograph.pixels.shape, bool)
        change = image.pixels - radiograph.pixels
        return Counterfactual(radiograph, edit, "ok", image, control, change, everywhere)


class Corners:
    """Tells patients apart by the mean of each eighth of a side, brought to length 1."""

    name, size = "corners", SIZE

    def embed(self, images):
        blocks = (
            images.reshape(len(images), 8, SIZE // 8, 8, SIZE // 8).mean((2, 4)).reshape(-1, 64)
        )
        blocks = blocks - blocks.mean(1, keepdims=True)
        return (blocks / np.linalg.norm(blocks, axis=1, keepdims=True)).astype(np.float32)


def write_folder(folder, patients=10, real=0):
    """Write `patients` phantoms, a second visit of the first half, and four to remember.

    `real` other patients of the split carry a bright nodule.
    """
    lines = ["path,labels,view,patient_id,age,sex,split"]
    for number in range(patients + 4):
        pixels = 0.1 + 0.7 * phantom(300 + number, size=SIZE).radiograph.pixels
        rng = np.random.default_rng(number)
        for visit in range(2 if number < patients // 2 else 1):
            moved = np.roll(pixels, 3 * visit, axis=1) + 0.02 * visit
            noisy = np.clip(moved + rng.normal(0, 0.01, pixels.shape), 0, 1)
            name = f"p{number:02d}-{visit}.png"
            Image.fromarray((noisy * 255).astype(np.uint8)).save(folder / name)
            split = "test" if number < patients else "train"
            sex = "FM"[number % 2]
            lines.append(f"{name},No Finding,PA,p{number:02d},{50 + number},{sex},{split}")
    for number in range(real):
        pixels = 0.1 + 0.7 * phantom(600 + number, size=SIZE).radiograph.pixels
        pixels = np.clip(pixels + HEIGHT * disc(pixels.shape, "Nodule"), 0, 1)
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"r{number:02d}.png")
        lines.append(f"r{number:02d}.png,Nodule,PA,r{number:02d},50,{'FM'[number % 2]},test")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


SMALL = {
    "strengths": (0.2, 0.4, 0.8),
    "guidances": (1.5, 4.0),
    "swept": 2,
    "worded": 3,
    "undone": 2,
    "cycles": 2,
    "composited": 1,
    "strangers": 2,
    "known": 4,
    "real": 0,
    "detector_steps": 4,
    "resamples": 300,
    "permutations": 299,
}


class Blind(Meter):
    """Reads a finding at a quarter of its height, and all of the other one's beside it."""

    def logits(self, images):
        own = super().logits(images)
        return (own / 4 + own[:, ::-1]).astype(np.float32)


def run(
    data, folder, editor, *, chosen=None, workers="serial", second=None, recogniser=None, **changes
):
    return validation.run(
        data,
        choose(data, split="test") if chosen is None else chosen,
        editor,
        ValidatePlan(findings=FINDINGS, **(SMALL | changes)),
        folder,
        extractor=Blocks(),
        classifier=Meter(),
        second=second,
        recogniser=recogniser,
        split="test",
        workers=workers,
    )
