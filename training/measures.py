"""Figures on tables and arrays: discrimination, calibration, agreement of ranks, likeness."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage, stats
from skimage.metrics import structural_similarity

from roentmod.science.stats import clustered_auc_interval, weighted_auc

Floats = NDArray[np.floating]
_SMALL = 64


def auroc_interval(
    positive: Floats, negative: Floats, *, seed: int = 0, rounds: int = 1000
) -> tuple[float, float]:
    """Return the 95 % interval of the AUROC of n paired arms, over their baselines (patients)."""
    scores, n = np.concatenate([positive, negative]), len(positive)
    return clustered_auc_interval(
        scores, np.arange(2 * n) < n, np.tile(np.arange(n), 2), rounds, seed
    )


def spearman_within(values: Floats) -> float:
    """Return Spearman's correlation of level and value over all baselines, each centred first.

    Args:
        values: baselines x levels, levels in rising order. With three levels a correlation within
            one baseline can take four values only, so that the mean of those would be coarse.
    """
    # Rounded, so that the last bits of large logits do not rank what is equal.
    centred = np.round(values - values.mean(axis=1, keepdims=True), 9)
    levels = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    # Constant values have no ranks to agree with.
    if np.ptp(centred) == 0:
        return 0.0
    return float(stats.spearmanr(levels.ravel(), centred.ravel()).statistic)


def calibration_error(
    probability: Floats, target: Floats, weight: Floats, *, bins: int = 10
) -> float:
    """Return the expected calibration error over bins of equal weight (Naeini et al., 2015)."""
    order = np.argsort(probability, kind="stable")
    p, y, w = (a[order].astype(np.float64) for a in (probability, target, weight))
    total = w.sum()
    place = np.minimum((np.cumsum(w) - w / 2) / total * bins, bins - 1e-9).astype(int)
    gaps = [abs((w * (p - y))[place == b].sum()) for b in range(bins)]
    return float(sum(gaps) / total)


def fit_line(logit: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """Return slope and offset of a logistic calibration (Platt, 1999), by Newton's method.

    The slope stays positive; a little ridge towards (1, 0) keeps it finite where classes separate.
    """
    x, y, w = (a.astype(np.float64) for a in (logit, target, weight))
    beta, ridge = np.array([1.0, 0.0]), 1.0
    design = np.stack([x, np.ones_like(x)], axis=1)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        slope = design.T @ (w * (p - y)) + ridge * (beta - [1.0, 0.0])
        curve = (design * (w * p * (1 - p))[:, None]).T @ design + ridge * np.eye(2)
        step = np.linalg.solve(curve, slope)
        beta = beta - np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-8:
            break
    return float(max(beta[0], 1e-2)), float(beta[1])


def similarity_outside(
    before: NDArray[np.float32], after: NDArray[np.float32], support: NDArray[np.bool_]
) -> float:
    """Return the mean SSIM (Wang et al., 2004) at least three pixels away from `support`.

    One where nothing lies outside.
    """
    # Square, as SSIM's window of seven pixels is.
    outside = ~ndimage.binary_dilation(support, np.ones((3, 3)), iterations=3)
    if not outside.any():
        return 1.0
    _, values = structural_similarity(before, after, data_range=1.0, full=True)
    return float(values[outside].mean())


def similarity(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return the mean SSIM of two pictures in [0, 1]."""
    return float(structural_similarity(before, after, data_range=1.0))


def fingerprint(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a square picture at 64 px, of mean 0 and length 1: products are correlations."""
    image = Image.fromarray(np.ascontiguousarray(picture, dtype=np.float32))
    small = np.asarray(image.resize((_SMALL, _SMALL), Image.Resampling.BOX)).ravel()
    centred = small - small.mean()
    return np.asarray(centred / (np.linalg.norm(centred) + 1e-9), dtype=np.float32)


def directions(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features, n x d, scaled to length 1: products are cosines."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / (lengths + 1e-9), dtype=np.float32)


def nearest(
    items: NDArray[np.float32], others: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return index and likeness of the nearest of `others` for each of `items` (rows, length 1)."""
    likeness = items @ others.T
    at = likeness.argmax(axis=1)
    return at, likeness[np.arange(len(items)), at]


def matched_auc(
    values: Floats,
    positive: NDArray[np.bool_],
    strata: ArrayLike,
    patients: ArrayLike,
    *,
    rounds: int = 0,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return the AUROC of pairs within a stratum alone, and its interval over patients.

    See `weighted_auc`. NaN where there is no such pair.

    Args:
        values: n.
        positive: n.
        strata: n names.
        patients: n names, resampled together.
        rounds: resamples of the 95 % percentile interval; 0 leaves it NaN.
        seed: of the resamples.
    """
    area = float(weighted_auc(values, positive, np.ones((len(values), 1)), strata)[0])
    ends = (np.nan, np.nan)
    if rounds:
        ends = clustered_auc_interval(values, positive, patients, rounds, seed, strata=strata)
    return area, *ends
