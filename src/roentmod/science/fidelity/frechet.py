"""pFID: how far apart two single pictures are, by the features of their places.

The paper names a pairwise Frechet distance and gives neither extractor nor formula; this is ours.

A picture's features are m vectors of d numbers, one per place of an extractor's grid. They are
taken for a sample of a normal distribution with

    mean        mu = mean of the vectors
    covariance  C  = (1 - s) S + s (trace(S) / d) I,    S the unbiased sample covariance,

where the shrinkage s = `SHRINKAGE` = 0.1 is fixed: m is often below d, S is then singular, and a
shrinkage chosen from each picture would make the distance depend on how it was chosen. The distance
of two pictures is the squared Frechet (2-Wasserstein) distance of their distributions, as in the
FID of Heusel et al. (NeurIPS 2017):

    pFID = |mu1 - mu2|^2 + trace(C1) + trace(C2) - 2 trace((C1 C2)^(1/2)).

The last trace is the sum of the singular values of C1^(1/2) C2^(1/2), with symmetric square roots
from eigenvalues in float64: it equals the trace of the matrix square root of C1 C2 that other
libraries take, and stays real where rounding makes theirs complex. It is a distance of the order
of the features squared; only distances by the same extractor compare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from roentmod.errors import AuditError
from roentmod.science import stats

__all__ = ["GROUPS", "Gaussian", "compare_groups", "gaussian", "own_closer", "pfid", "summarise"]

Floats = NDArray[np.float64]
SHRINKAGE = 0.1
# Pairs a baseline is in: with its counterfactuals, their shams, its patient at another visit, and
# other patients matched on sex, age band and view.
GROUPS = ("baseline-edit", "baseline-sham", "same patient", "different patient")
# Which group should be nearer than which.
_ORDERS = (
    ("baseline-edit", "different patient"),
    ("baseline-edit", "same patient"),
    ("baseline-sham", "different patient"),
    ("same patient", "different patient"),
)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The normal distribution of one picture's features.

    Attributes:
        mean: d.
        root: symmetric square root of the covariance, d x d.
        trace: of the covariance.
    """

    mean: Floats
    root: Floats
    trace: float


def gaussian(vectors: ArrayLike, *, shrinkage: float = SHRINKAGE) -> Gaussian:
    """Return the distribution of features: m x d, or a grid h x w x d of them.

    Args:
        vectors: features of one picture, two places or more.
        shrinkage: share of the covariance that is spread evenly, in [0, 1].

    Raises:
        AuditError: fewer than two vectors, one that is not finite, or shrinkage out of range.
    """
    table = np.asarray(vectors, np.float64)
    table = table.reshape(-1, table.shape[-1]) if table.ndim > 1 else table[:, None]
    if len(table) < 2 or not np.isfinite(table).all() or not 0 <= shrinkage <= 1:
        raise AuditError(
            "pFID needs two or more finite feature vectors per picture and a shrinkage in [0, 1]; "
            f"got {len(table)} vectors and {shrinkage:g}. Use an extractor with a grid."
        )
    d = table.shape[1]
    mean = table.mean(axis=0)
    centred = table - mean
    covariance = centred.T @ centred / (len(table) - 1)
    trace = float(np.trace(covariance))
    covariance = (1 - shrinkage) * covariance + shrinkage * trace / d * np.eye(d)
    values, axes = np.linalg.eigh(covariance)
    root = (axes * np.sqrt(np.clip(values, 0, None))) @ axes.T
    return Gaussian(mean, root, float(np.trace(covariance)))


def pfid(first: Gaussian, second: Gaussian) -> float:
    """Return the squared Frechet distance of two pictures' distributions, 0 or more.

    Raises:
        AuditError: they are of features of different length.
    """
    if first.mean.shape != second.mean.shape:
        raise AuditError(
            f"pFID compares features of one extractor; got {first.mean.size} and "
            f"{second.mean.size} numbers per vector."
        )
    across = np.linalg.svd(first.root @ second.root, compute_uv=False).sum()
    between = float(((first.mean - second.mean) ** 2).sum())
    # Equal pictures give rounding of either sign.
    return max(0.0, between + first.trace + second.trace - 2 * float(across))


def summarise(
    pairs: pd.DataFrame, *, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Return each group's distances in numbers, with bootstrap intervals over patients.

    A patient's value is the median of the patient's pairs in the group; the group's is the median
    over patients. A resample draws patients, each with all pairs.

    Args:
        pairs: `group`, `patient_id` and `pfid`, one row per pair of pictures.
        resamples: bootstrap resamples.
        seed: of the resamples.
        level: of the interval.

    Returns:
        One row per group of `GROUPS`: group, pairs, patients, median, low, high; NaN where there
        are no pairs.
    """
    rows = []
    for group in GROUPS:
        part = pairs[pairs["group"] == group]
        values = part.groupby("patient_id", sort=True)["pfid"].median().to_numpy(float)
        low, high = _median_interval(values, resamples, seed, level)
        middle = float(np.median(values)) if values.size else math.nan
        rows.append([group, len(part), len(values), middle, low, high])
    return pd.DataFrame(rows, columns=["group", "pairs", "patients", "median", "low", "high"])


def _median_interval(
    values: Floats, resamples: int, seed: int, level: float
) -> tuple[float, float]:
    if values.size < 2:
        return math.nan, math.nan
    order = np.sort(values)
    n = len(order)
    medians = []
    for weights in stats.draw_blocks(resamples, n, seed):
        # Sorted, a resample's median is where its cumulated weights reach the middle two places.
        reached = weights.cumsum(axis=1)
        lower, upper = (
            order[(reached >= place).argmax(axis=1)] for place in ((n + 1) // 2, n // 2 + 1)
        )
        medians.append((lower + upper) / 2)
    return stats.interval(np.concatenate(medians), level)


def compare_groups(pairs: pd.DataFrame, *, permutations: int = 9999, seed: int = 0) -> pd.DataFrame:
    """Test, within baselines, that one group's pairs are nearer than another's.

    A baseline's gap is its mean distance in the farther group less that in the nearer one. Its
    pairs share a picture, so that baselines are the unit: p is that of a mean gap of 0, by
    flipping signs of gaps. Baselines without pairs in both groups are left out.

    Args:
        pairs: `group`, `baseline_id` and `pfid`.
        permutations: how many flips.
        seed: of them.

    Returns:
        One row per hypothesis: nearer, farther, baselines, difference, share (of baselines in which
        it holds), p (one-sided); NaN where no baseline has both.
    """
    rows = []
    for nearer, farther in _ORDERS:
        near = _by_baseline(pairs, nearer)
        far = _by_baseline(pairs, farther)
        both = [(near[key], far[key]) for key in sorted(near.keys() & far.keys())]
        gaps = np.array([b.mean() - a.mean() for a, b in both])
        p = _above(gaps, permutations, seed) if both else math.nan
        mean, share = (gaps.mean(), (gaps > 0).mean()) if both else (math.nan, math.nan)
        rows.append([nearer, farther, len(both), mean, share, p])
    columns = ["nearer", "farther", "baselines", "difference", "share", "p"]
    return pd.DataFrame(rows, columns=columns)


def _by_baseline(pairs: pd.DataFrame, group: str) -> dict[str, Floats]:
    part = pairs[pairs["group"] == group]
    return {
        str(name): values.to_numpy(float)
        for name, values in part.groupby("baseline_id", sort=True)["pfid"]
    }


def _above(gaps: Floats, count: int, seed: int) -> float:
    """Return the one-sided p of a mean of 0 or less."""
    p = stats.sign_flip(gaps, count=count, seed=seed)
    return p / 2 if gaps.mean() > 0 else 1 - p / 2


def own_closer(pairs: pd.DataFrame, *, level: float = 0.95) -> dict[str, Any]:
    """Return in how many baselines edits, on average, stay nearer than anything else.

    Args:
        pairs: `group`, `baseline_id`, `other_id` and `pfid`.
        level: of the interval.

    Returns:
        baselines (those with a counterfactual and at least one other picture to compare), closer
        (of these, those whose mean distance over counterfactuals is below the distance to the same
        patient's other visit, where there is one, and below the distance to every matched other
        patient), fraction, low, high (Wilson's interval); NaN without baselines.
    """
    edits = _by_baseline(pairs, "baseline-edit")
    visits = _by_baseline(pairs, "same patient")
    others = _by_baseline(pairs, "different patient")
    closer = total = 0
    for name, own in edits.items():
        rivals = [group[name].min() for group in (visits, others) if name in group]
        if rivals:
            total += 1
            closer += int(own.mean() < min(rivals))
    fraction = low = high = math.nan
    if total:
        low, high = map(float, binomtest(closer, total).proportion_ci(level, method="wilson"))
        fraction = closer / total
    counts = {"baselines": total, "closer": closer}
    return {**counts, "fraction": fraction, "low": low, "high": high}
