"""Painted positives: the painter's findings in normal radiographs, which teach `mini` its words.

Real positives are few, and differ from normals in much besides the finding. A painted radiograph
differs from its original in nothing else, so it ties a word to its picture. Findings whose place
and shape are free keep one habit a side (HABITS): over free places a generator this small learns
their average, which is no finding at all.

``python -m training.painted --cohort DIR --out DIR`` writes ``painted.npy`` (n x 224 x 224, uint8)
and ``painted.csv``; originals whose anatomy is doubtful are left out.
"""

from __future__ import annotations

import argparse
import csv
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roentmod.anatomy import Anatomy
from roentmod.editors.painter import DOSE, SIDED, paint
from roentmod.imaging import segmentation
from training import cohort

# Text markers are no finding, and `mini` has enough to learn.
NAMES = (*SIDED, "Edema", "Cardiomegaly", "Hernia", "Support Devices")
WEIGHTS = {"Hernia": 0.4, "Edema": 0.6, "Cardiomegaly": 0.6, "Pleural Effusion": 0.7}
# The painter's seed, where one is kept: a nodule high and a mass in the middle of the right lung,
# opacities low, a pacemaker.
HABITS = {
    "Consolidation": 5,
    "Pneumonia": 1,
    "Atelectasis": 2,
    "Nodule": 1,
    "Mass": 0,
    "Support Devices": 2,
}
FIELDS = ("host", "findings", "side", "severity")
TOGETHER = 0.1


@dataclass(frozen=True)
class Request:
    """What is to be painted into the picture of row `host` of the cohort.

    A side that is not said is painted at the right.
    """

    host: int
    findings: tuple[str, ...]
    side: str | None
    severity: str


def is_normal(row: dict[str, str]) -> bool:
    """Tell whether a cohort row shows no finding, by its label or by a later reading."""
    return row["labels"] == cohort.NO_FINDING or row["trusted"] == "0"


def requests_for(host: int, rng: np.random.Generator) -> list[Request]:
    """Draw what to paint into one radiograph, at two severities."""
    weights = np.array([WEIGHTS.get(name, 1.0) for name in NAMES])
    count = 2 if rng.random() < TOGETHER else 1
    chosen = rng.choice(NAMES, count, replace=False, p=weights / weights.sum())
    findings = tuple(str(name) for name in chosen)
    side = None
    if any(name in SIDED for name in findings):
        drawn = str(rng.choice(["left", "right", "both", ""], p=[0.38, 0.30, 0.12, 0.20]))
        side = drawn or None
    levels = rng.choice(list(DOSE), 2, replace=False)
    return [Request(host, findings, side, str(level)) for level in levels]


def dose(severity: str, rng: np.random.Generator) -> float:
    """Draw a dose for a severity, a little about the one that the word stands for."""
    return float(np.clip(DOSE[severity] * rng.uniform(0.88, 1.12), 0.05, 1))


def carry_out(
    pixels: NDArray[np.uint8], anatomy: Anatomy, wanted: Request, key: int
) -> NDArray[np.uint8]:
    """Return the painting of one request, 224 x 224 uint8."""
    rng = np.random.default_rng([4, key])
    picture = cohort.unit(pixels)
    for name in wanted.findings:
        picture = paint(
            picture,
            anatomy,
            name,
            side=(wanted.side or "right") if name in SIDED else None,  # type: ignore[arg-type]
            dose=dose(wanted.severity, rng),
            seed=HABITS.get(name, int(rng.integers(2**31))),
        ).image
    return np.rint(picture * 255).astype(np.uint8)


def build(cohort_folder: Path, out: Path, hosts: int, requests: int) -> None:
    """Paint `requests` findings, each at two severities, into up to `hosts` normals."""
    images, rows = cohort.load(cohort_folder)
    normal = np.flatnonzero([is_normal(row) for row in rows])
    chosen = np.sort(np.random.default_rng(3).permutation(normal)[:hosts])
    anatomies = segmentation.estimate_all(cohort.unit(images[chosen]))
    jobs = []
    for host, anatomy in zip(chosen, anatomies, strict=True):
        if anatomy.quality >= segmentation.QUALITY_NEEDED:
            rng = np.random.default_rng([5, host])
            for i in range(requests):
                # One key: what is drawn about the finding is the same at both severities.
                pair = requests_for(int(host), rng)
                jobs += [(images[host], anatomy, w, 10 * int(host) + i) for w in pair]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(carry_out, *zip(*jobs, strict=True), chunksize=32))
    np.save(out / "painted.npy", np.stack(made))
    with (out / "painted.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        writer.writerows(
            [w.host, "|".join(w.findings), w.side or "", w.severity] for _, _, w, _ in jobs
        )


def load(folder: Path) -> tuple[NDArray[np.uint8], list[dict[str, str]]]:
    """Return the pictures (n x 224 x 224, uint8) and rows that `build` wrote."""
    with (folder / "painted.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.load(folder / "painted.npy"), rows


def main() -> None:
    """Paint from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hosts", type=int, default=1800)
    parser.add_argument("--requests", type=int, default=2)
    args = parser.parse_args()
    build(args.cohort, args.out, args.hosts, args.requests)


if __name__ == "__main__":
    main()
