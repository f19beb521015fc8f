"""Painted positives: the painter's findings in normal radiographs, which teach `mini` its words.

Real positives are few, and differ from normals in much besides the finding. A painted radiograph
differs from its original in nothing else, so it ties a word to its picture. Words say
severity, side, place and form. What words leave open keeps a few habits (`HABITS`, and one lesion
per form and place of nodules, masses and consolidations): over what is free a generator this small
learns an average, which is no finding at all. A part of the originals shows other findings, so that
adding one leaves those alone.

``python -m training.painted --cohort DIR --out DIR`` writes ``painted.npy`` (n x 224 x 224, uint8)
and ``painted.csv``; originals whose anatomy is doubtful are left out.
"""

from __future__ import annotations

import argparse
import csv
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from roentmod import regions
from roentmod.anatomy import Anatomy, LungSide
from roentmod.editors.painter import DOSE, FORMS, SIDED, paint, places, stream
from roentmod.imaging import segmentation
from roentmod.regions import DEPTHS, LEVELS
from training import cohort, vocabulary

# Text markers are no finding, and `mini` has enough to learn.
NAMES = (*SIDED, "Edema", "Emphysema", "Cardiomegaly", "Hernia", "Support Devices")
WEIGHTS = {"Hernia": 0.4, "Edema": 0.6, "Cardiomegaly": 0.6, "Pleural Effusion": 0.7}
# The painter's seeds that are kept per form; of findings that lie anywhere, one per place.
HABITS = {"Support Devices": 1, "Hernia": 1, "Pneumonia": 4, "Atelectasis": 4}
USUAL_HABITS = 2
LESIONS = ("Nodule", "Mass", "Consolidation")
SEEDS = 3000
# Findings whose place is said: that of others is their nature, or part of their form.
PLACED = (*LESIONS, "Pneumonia")
FIELDS = ("host", "findings", "side", "severity", "places", "forms")
TOGETHER = 0.08
# Originals with other findings, as a share of the normal ones.
ABNORMAL = 0.4


@dataclass(frozen=True)
class Request:
    """What is to be painted into the picture of row `host` of the cohort."""

    host: int
    findings: tuple[str, ...]
    side: Literal["left", "right", "both"] | None
    severity: str
    forms: tuple[str, ...]


def is_normal(row: dict[str, str]) -> bool:
    """Tell whether a cohort row shows no finding, by its label or by a later reading."""
    return row["labels"] == cohort.NO_FINDING or row["trusted"] == "0"


def requests_for(host: int, shown: tuple[str, ...], rng: np.random.Generator) -> list[Request]:
    """Draw what to paint into one radiograph, at two severities, beside what it shows."""
    names = [name for name in NAMES if name not in shown]
    weights = np.array([WEIGHTS.get(name, 1.0) for name in names])
    count = 2 if rng.random() < TOGETHER else 1
    chosen = rng.choice(names, count, replace=False, p=weights / weights.sum())
    findings = tuple(str(name) for name in chosen)
    side = None
    if any(name in SIDED for name in findings):
        side = rng.choice(["left", "right", "both"], p=[0.46, 0.46, 0.08])
    forms = tuple(_form(name, rng) for name in findings)
    levels = rng.choice(list(DOSE), 2, replace=False)
    return [Request(host, findings, side, str(level), forms) for level in levels]


def _form(name: str, rng: np.random.Generator) -> str:
    """Draw a form, rare ones more often than they are seen: each is to be learned."""
    shares = FORMS.get(name)
    if not shares:
        return ""
    weights = np.sqrt(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


@cache
def _drawn(name: str, side: LungSide) -> NDArray[np.float64]:
    """Return down, across and size (mm) of the lesion of each seed, SEEDS x 3."""
    made = [places.draw(name, stream(name, seed, side)) for seed in range(SEEDS)]
    return np.array([(place.down, place.across, place.size_mm) for place in made])


def seed_of(name: str, side: str | None, rng: np.random.Generator) -> int:
    """Draw the painter's seed: a habit, or the lesion nearest to the middle of a usual place."""
    if name not in LESIONS:
        return int(rng.integers(HABITS.get(name, USUAL_HABITS)))
    usual = places.draw(name, rng)
    down = (int(min(usual.down, 0.99) * len(LEVELS)) + 0.5) / len(LEVELS)
    across = (int(min(usual.across, 0.99) * len(DEPTHS)) + 0.5) / len(DEPTHS)
    if name == "Consolidation":
        # In the middle of its lobe.
        down = 0.68
    known = _drawn(name, "left" if side == "left" else "right")
    apart = np.hypot(known[:, 0] - down, known[:, 1] - across)
    apart = apart + 0.3 * abs(np.log(known[:, 2] / np.median(known[:, 2])))
    return int(apart.argmin())


def place_of(change: NDArray[np.float32], anatomy: Anatomy, side: LungSide) -> str:
    """Return the words for where a change lies in a lung: the middle of what it changes there."""
    weight = np.abs(change) * anatomy.lung(side)
    if not weight.any():
        return ""
    at = np.nonzero(weight)
    row, column = (float(np.average(each, weights=weight[at])) for each in at)
    return regions.spot(anatomy, side, row, column)


def dose(severity: str, rng: np.random.Generator) -> float:
    """Draw a dose for a severity, a little about the one that the word stands for."""
    return float(np.clip(DOSE[severity] * rng.uniform(0.88, 1.12), 0.05, 1))


def carry_out(
    pixels: NDArray[np.uint8], anatomy: Anatomy, wanted: Request, key: int
) -> tuple[NDArray[np.uint8], list[str]]:
    """Return the painting of one request, 224 x 224 uint8, and the place of each finding."""
    rng = np.random.default_rng([4, key])
    picture, said = cohort.unit(pixels), []
    for name, form in zip(wanted.findings, wanted.forms, strict=True):
        before, side = picture, wanted.side if name in SIDED else None
        seed = seed_of(name, side, rng)
        amount = dose(wanted.severity, rng)
        picture = paint(
            picture, anatomy, name, side=side, dose=amount, seed=seed, form=form or None
        ).image
        if name in PLACED and side is not None and side != "both":
            said.append(place_of(picture - before, anatomy, side))
        else:
            said.append("")
    return np.rint(picture * 255).astype(np.uint8), said


def build(cohort_folder: Path, out: Path, hosts: int, requests: int) -> None:
    """Paint `requests` findings, each at two severities, into up to `hosts` normals.

    As many as `ABNORMAL` says come beside them.
    """
    images, rows = cohort.load(cohort_folder)
    normal = np.array([is_normal(row) for row in rows])
    shown = [vocabulary.from_labels(row) for row in rows]
    rng = np.random.default_rng(3)
    picked = [rng.permutation(np.flatnonzero(normal))[:hosts]]
    others = np.flatnonzero(~normal & [bool(names) for names in shown])
    picked.append(rng.permutation(others)[: round(ABNORMAL * len(picked[0]))])
    chosen = np.sort(np.concatenate(picked))
    anatomies = segmentation.estimate_all(cohort.unit(images[chosen]))
    jobs = []
    for host, anatomy in zip(chosen, anatomies, strict=True):
        if anatomy.quality >= segmentation.QUALITY_NEEDED:
            rng = np.random.default_rng([5, host])
            for i in range(requests):
                # One key: what is drawn about the finding is the same at both severities.
                pair = requests_for(int(host), shown[host], rng)
                jobs += [(images[host], anatomy, w, 10 * int(host) + i) for w in pair]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(carry_out, *zip(*jobs, strict=True), chunksize=32))
    np.save(out / "painted.npy", np.stack([picture for picture, _ in made]))
    with (out / "painted.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for (_, _, w, _), (_, said) in zip(jobs, made, strict=True):
            lists = ("|".join(words) for words in (w.findings, said, w.forms))
            findings, where, forms = lists
            writer.writerow([w.host, findings, w.side or "", w.severity, where, forms])


def load(folder: Path) -> tuple[NDArray[np.uint8], list[dict[str, str]]]:
    """Return the pictures (n x 224 x 224, uint8) and rows that `build` wrote."""
    return np.load(folder / "painted.npy"), rows_of(folder)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows that `build` wrote."""
    with (folder / "painted.csv").open(newline="") as file:
        return list(csv.DictReader(file))


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
