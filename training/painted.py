"""Painted positives: the painter's findings in normal radiographs, which teach `mini` its words.

Real positives are few, and differ from normals in much besides the finding. A painted radiograph
differs from its original in nothing else, so it ties a word to its picture. Each request (findings,
side, severity) is painted several times where its place is free, so that training can pick the
place that the noise of a batch already suggests.

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

from roentmod import segmentation
from roentmod.anatomy import Anatomy
from roentmod.editors.painter import DOSE, SIDED, paint
from training import cohort

# Text markers are no finding, and `mini` has enough to learn.
NAMES = (*SIDED, "Edema", "Cardiomegaly", "Hernia", "Support Devices")
WEIGHTS = {"Hernia": 0.6, "Nodule": 1.2, "Pneumothorax": 1.2, "Support Devices": 1.2}
# Findings whose place is free are painted this often for one request.
PLACES = {"Consolidation": 2, "Pneumonia": 2, "Atelectasis": 2, "Nodule": 3, "Mass": 3}
FIELDS = ("host", "request", "findings", "side", "severity")
TOGETHER = 0.15


@dataclass(frozen=True)
class Request:
    """What is to be painted into the picture of row `host` of the cohort."""

    host: int
    findings: tuple[str, ...]
    side: str | None
    severity: str

    @property
    def places(self) -> int:
        """How many times it is painted."""
        return max(PLACES.get(name, 1) for name in self.findings)


def is_normal(row: dict[str, str]) -> bool:
    """Tell whether a cohort row shows no finding, by its label or by a later reading."""
    return row["labels"] == cohort.NO_FINDING or row["trusted"] == "0"


def request(host: int, rng: np.random.Generator) -> Request:
    """Draw what to paint into one radiograph."""
    weights = np.array([WEIGHTS.get(name, 1.0) for name in NAMES])
    count = 2 if rng.random() < TOGETHER else 1
    chosen = rng.choice(NAMES, count, replace=False, p=weights / weights.sum())
    findings = tuple(str(name) for name in chosen)
    side = None
    if any(name in SIDED for name in findings):
        side = str(rng.choice(["left", "right", "both"], p=[0.42, 0.42, 0.16]))
    return Request(host, findings, side, str(rng.choice(list(DOSE))))


def dose(severity: str, rng: np.random.Generator) -> float:
    """Draw a dose for a severity, a little about the one that the word stands for."""
    return float(np.clip(DOSE[severity] * rng.uniform(0.88, 1.12), 0.05, 1))


def carry_out(
    pixels: NDArray[np.uint8], anatomy: Anatomy, wanted: Request, key: int
) -> list[NDArray[np.uint8]]:
    """Return the paintings of one request, each 224 x 224 uint8."""
    made = []
    for place in range(wanted.places):
        rng = np.random.default_rng([4, key, place])
        picture = pixels.astype(np.float32) / 255
        for name in wanted.findings:
            picture = paint(
                picture,
                anatomy,
                name,
                side=wanted.side if name in SIDED else None,  # type: ignore[arg-type]
                dose=dose(wanted.severity, rng),
                seed=int(rng.integers(2**31)),
            ).image
        made.append(np.rint(picture * 255).astype(np.uint8))
    return made


def build(cohort_folder: Path, out: Path, hosts: int, requests: int) -> None:
    """Paint `requests` requests into each of up to `hosts` normals and write them to `out`."""
    images, rows = cohort.load(cohort_folder)
    normal = np.flatnonzero([is_normal(row) for row in rows])
    chosen = np.sort(np.random.default_rng(3).permutation(normal)[:hosts])
    anatomies = segmentation.estimate_all(images[chosen].astype(np.float32) / 255)
    jobs = []
    for host, anatomy in zip(chosen, anatomies, strict=True):
        if anatomy.quality >= segmentation.QUALITY_NEEDED:
            rng = np.random.default_rng([5, host])
            wanted = [request(int(host), rng) for _ in range(requests)]
            jobs += [(images[host], anatomy, w, 10 * int(host) + i) for i, w in enumerate(wanted)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(carry_out, *zip(*jobs, strict=True), chunksize=32))
    np.save(out / "painted.npy", np.stack([picture for group in made for picture in group]))
    with (out / "painted.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for number, ((_, _, w, _), group) in enumerate(zip(jobs, made, strict=True)):
            line = [w.host, number, "|".join(w.findings), w.side or "", w.severity]
            writer.writerows([line] * len(group))


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
    parser.add_argument("--hosts", type=int, default=2400)
    parser.add_argument("--requests", type=int, default=2)
    args = parser.parse_args()
    build(args.cohort, args.out, args.hosts, args.requests)


if __name__ == "__main__":
    main()
