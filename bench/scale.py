"""Does a run cost the same per item, however many there are? Audit and augment at three sizes.

``python -m bench.scale`` writes ``bench/scale.json``. A trivial editor and trivial classifiers
leave what the package itself costs: reading, keeping, judging and finishing. Radiographs are a few
small phantoms that many rows refer to; training sets are kept in tars at all sizes. Each run has a
process, so that its peak memory is known; the same process then resumes the finished run.

`seconds_per_item` is what one more item costs: the seconds of the run less those of a run of 100
items, per item that it has more. What every run costs, however small, is `seconds_per_run`, of
those 100 (claiming the folder, resampling patients, pictures of examples); the process has made one
such run before, which imports and draws.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod import datasets
from roentmod.datasets import Dataset
from roentmod.datasets.phantom import phantom
from roentmod.editors.compose import resize
from roentmod.edits import Edit
from roentmod.interfaces import Counterfactual, Progress
from roentmod.jobs import audit, augment
from roentmod.radiograph import Radiograph
from roentmod.store import write_json

JSON = Path("bench/scale.json")
SIZES = (1_000, 10_000, 100_000)
SIDE, DIFFERENT = 64, 16
# Items of the smallest run.
FEW = 100
FINDINGS: tuple[str, ...] = ("Edema", "Cardiomegaly")
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Referring(Dataset):
    """Phantoms by reference: every row is one of a few small pictures."""

    def radiograph(self, image_id: str) -> Radiograph:
        """Return the picture that a row refers to."""
        return _small(self._row(image_id) % DIFFERENT)


@lru_cache(maxsize=DIFFERENT)
def _small(number: int) -> Radiograph:
    drawn = phantom(number).radiograph
    small = resize(drawn.square.pad(drawn.pixels), SIDE)
    return replace(Radiograph.from_array(np.clip(small, 0, 1)), synthetic=True)


class Trivial:
    """An editor that brightens the band of a finding, and whose shams are the baseline."""

    name = "trivial"
    findings: tuple[str, ...] = FINDINGS
    exact = True

    def edit(
        self,
        radiographs: Sequence[Radiograph],
        edits: Sequence[Edit],
        *,
        masks: Sequence[NDArray[np.bool_] | None] | None = None,
        progress: Progress | None = None,
    ) -> list[Counterfactual]:
        """Return every edit of every radiograph."""
        return [_brightened(one, edit) for one in radiographs for edit in edits]


def _brightened(radiograph: Radiograph, edit: Edit) -> Counterfactual:
    pixels = radiograph.pixels.copy()
    place = FINDINGS.index(edit.findings[0])
    band = slice(place * SIDE // 2, (place + 1) * SIDE // 2)
    pixels[band] = np.minimum(pixels[band] + 0.2, 1)
    difference = pixels - radiograph.pixels
    image = radiograph.with_pixels(pixels)
    return Counterfactual(radiograph, edit, "ok", image, radiograph, difference, difference != 0)


class Bands:
    """A classifier whose logit of each finding is the mean of its band."""

    name = "bands"
    findings: tuple[str, ...] = FINDINGS
    size = SIDE

    def logits(self, images: Array) -> Array:
        """Return n x 2."""
        halves = images.reshape(len(images), 2, SIDE // 2, SIDE).mean((2, 3))
        return np.asarray(20 * halves - 10, dtype=np.float32)


def _audit(data: Dataset, folder: Path) -> None:
    chosen = datasets.baselines(data).table
    plan = audit.AuditPlan(findings=FINDINGS)
    audit.run(data, chosen, Trivial(), {"bands": Bands()}, plan, folder, judge=Bands())


def _augment(data: Dataset, folder: Path) -> None:
    chosen = datasets.baselines(data).table
    plan = augment.AugmentPlan(findings=FINDINGS)
    augment.run(data, chosen, Trivial(), plan, folder, judge=Bands(), pictures="webdataset")


VERBS = {"audit": _audit, "augment": _augment}


def _referring(items: int) -> Dataset:
    plain = datasets.load(f"phantoms:{items}")
    return Referring(plain.name, plain.root, plain.table)


def measure(verb: str, items: int, folder: Path) -> dict[str, float]:
    """Return what one run costs; called in a process by itself."""
    # The first run pays for what a process does once: imports, drawing the phantoms.
    for _ in range(2):
        with TemporaryDirectory() as place:
            least, _ = _run(verb, FEW, Path(place))
    took, size = _run(verb, items, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    resumed, _ = _run(verb, items, folder)
    return {
        "items": items,
        "seconds_per_item": (took - least) / (items - FEW),
        "seconds_per_run": least,
        "bytes_per_item": size / items,
        "peak_mb": peak,
        "resume_seconds": resumed,
        "files": sum(path.is_file() for path in folder.rglob("*")),
    }


def _run(verb: str, items: int, folder: Path) -> tuple[float, int]:
    """Return the seconds that a run takes, and the bytes of its folder."""
    data = _referring(items)
    started = time.perf_counter()
    VERBS[verb](data, folder)
    took = time.perf_counter() - started
    return took, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all verbs at all sizes, each in a process, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/scale"))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--one", nargs=2, metavar=("VERB", "ITEMS"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        verb, items = args.one[0], int(args.one[1])
        print(json.dumps(measure(verb, items, args.run)))
        return
    results: dict[str, dict[str, list[float]]] = {}
    for verb in VERBS:
        rows = []
        for items in args.sizes:
            folder = args.run / f"{verb}-{items}"
            shutil.rmtree(folder, ignore_errors=True)
            command = [sys.executable, "-m", "bench.scale", "--run", str(folder)]
            command += ["--one", verb, str(items)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(verb, rows[-1])
            shutil.rmtree(folder)
        results[verb] = {key: [_rounded(row[key]) for row in rows] for key in rows[0]}
    write_json(JSON, results)


def _rounded(value: float) -> Any:
    return value if isinstance(value, int) else float(f"{value:.4g}")


if __name__ == "__main__":
    main()
