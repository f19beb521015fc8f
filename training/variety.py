"""Whether an editor's seeds give different pictures, and findings where real ones lie.

Findings without a side, place or form are edited into the same radiographs by several seeds. Where
each lies is counted over the thirds of both lungs and held against the boxes that radiologists drew
in NIH ChestX-ray14 (`training.places`); and the changes of every two seeds are compared.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from roentmod.anatomy import THIRDS, Anatomy, LungSide
from roentmod.editors.painter.places import TABLE
from roentmod.edits import Edit
from roentmod.imaging.segmentation import QUALITY_NEEDED, estimate_all
from training.benchmark import Bench

NAMES = ("Consolidation", "Nodule", "Mass")
SEEDS, HOSTS = 10, 6
SIDES: tuple[LungSide, ...] = ("right", "left")
CELLS = tuple(f"{side} {third}" for side in SIDES for third in THIRDS)
# Changes below this share of the largest one are no part of what was drawn.
FAINT = 0.15
# SSIM of two changes from which they are alike.
ALIKE = 0.6
ROUNDS = 10_000
Array = NDArray[np.float32]


def cell(change: Array, anatomy: Anatomy) -> int | None:
    """Return the lung third (of `CELLS`) that a change's middle lies in; None without a change."""
    sizes = [np.where(anatomy.lung(side), np.abs(change), 0) for side in SIDES]
    number = int(np.argmax([size.sum() for size in sizes]))
    if not sizes[number].any():
        return None
    first, last = anatomy.span(SIDES[number])
    row = float(np.average(np.arange(len(change)), weights=sizes[number].sum(axis=1)))
    down = (row - first) / (last + 1 - first)
    return len(THIRDS) * number + min(int(len(THIRDS) * down), len(THIRDS) - 1)


def shares(name: str) -> NDArray[np.float64]:
    """Return how real boxes of a finding are spread over `CELLS`; sides and heights are apart."""
    row = json.loads(TABLE.read_text())[name]
    spread = np.outer([row["right"], 1 - row["right"]], row["thirds"]).ravel()
    return np.asarray(spread / spread.sum())


def fit(counts: NDArray[np.int64], expected: NDArray[np.float64]) -> tuple[float, float]:
    """Return Pearson's chi-squared of counts, and its p by drawing from the expected shares.

    Cells are too rare for the approximation by a distribution.
    """
    total = int(counts.sum())
    drawn = np.random.default_rng(0).multinomial(total, expected, ROUNDS)
    wanted = np.maximum(total * expected, 1e-9)
    own, others = (((rows - wanted) ** 2 / wanted).sum(-1) for rows in (counts, drawn))
    return float(own), float((1 + (others >= own - 1e-9).sum()) / (1 + ROUNDS))


def alikeness(one: Array, other: Array) -> float:
    """Return the mean SSIM of two changes where either of them is, scaled by the larger one."""
    top = max(float(np.abs(one).max()), float(np.abs(other).max()))
    if top == 0:
        return 1.0
    _, values = structural_similarity(one / top, other / top, data_range=1.0, full=True)
    there = np.maximum(np.abs(one), np.abs(other)) > FAINT * top
    return float(values[there].mean())


def variety(bench: Bench, hosts: int = HOSTS, seeds: int = SEEDS) -> dict[str, Any]:
    """Return the figures of each finding of `NAMES`: places, chi-squared, likeness of pairs."""
    outlines = estimate_all(np.stack([picture.pixels for picture in bench.baselines]))
    chosen = [i for i, a in enumerate(outlines) if a.quality >= QUALITY_NEEDED][:hosts]
    figures = {}
    for name in (n for n in NAMES if n in bench.findings):
        counts, likeness, edits = np.zeros(len(CELLS), int), [], 0
        for baseline in chosen:
            made = bench.run(baseline, [Edit((name,), seed=seed) for seed in range(seeds)])
            changes = [one.pixels - bench.baselines[baseline].pixels for one in made]
            cells = [cell(change, outlines[baseline]) for change in changes]
            edits += len(cells)
            counts += np.bincount([c for c in cells if c is not None], minlength=len(CELLS))
            likeness += [alikeness(*pair) for pair in itertools.combinations(changes, 2)]
        chi_squared, p = fit(counts, shares(name))
        figures[name] = {
            "hosts": len(chosen),
            "edits": edits,
            "without_change": int(edits - counts.sum()),
            "places": dict(zip(CELLS, counts.tolist(), strict=True)),
            "expected": dict(zip(CELLS, np.round(shares(name), 4).tolist(), strict=True)),
            "chi_squared": round(chi_squared, 2),
            "p": round(p, 4),
            "pairs": len(likeness),
            "ssim_mean": round(float(np.mean(likeness)), 4),
            "ssim_highest": round(float(np.max(likeness)), 4),
            "alike": round(float(np.mean(np.array(likeness) >= ALIKE)), 4),
        }
    return figures
