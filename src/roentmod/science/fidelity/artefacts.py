"""What an editor leaves in any picture: spectra, what a detector sees, and memorised pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupKFold

from roentmod.errors import AuditError
from roentmod.science import stats
from roentmod.science.fidelity.likeness import nearest

__all__ = ["Detected", "Learner", "detect", "radial_spectrum", "towards"]

Floats = NDArray[np.float64]
# What learns from m pictures, which of them are positive and a seed, and scores others.
Learner = Callable[[Any, NDArray[np.bool_], int], Callable[[Any], Floats]]
_TINY = 1e-12
_FOLDS = 5
# Patients of either sort below which a detector cannot be trained and tested.
_FEWEST = 2 * _FOLDS


@dataclass(frozen=True, eq=False)
class Detected:
    """How well a detector tells two sorts of pictures of patients it has not seen apart.

    Attributes:
        auc: area under the curve in [0, 1]; NaN with too few patients.
        low: of its interval, which resamples patients.
        high: of its interval.
        patients: how many there were.
        scores: out-of-fold scores, n; NaN with too few patients.
    """

    auc: float
    low: float
    high: float
    patients: int
    scores: Floats


def radial_spectrum(image: ArrayLike, bins: int = 32) -> tuple[Floats, Floats]:
    """Return the radially averaged power spectrum of a picture.

    The largest centred square is taken less its mean, under a Hann window; its periodogram is
    averaged over rings of equal width, up to Nyquist's frequency. Noise of variance v has power v
    in every ring.

    Args:
        image: h x w display values.
        bins: number of rings.

    Returns:
        Middle frequency of each ring in cycles per pixel, and log10 of its mean power (-12 or
        more).

    Raises:
        AuditError: more rings than the picture has frequencies.
    """
    picture = np.asarray(image, np.float64)
    side = min(picture.shape)
    if not 1 <= bins <= side // 2:
        raise AuditError(f"A spectrum needs 1 to {side // 2} rings for {side} pixels; got {bins}.")
    top, left = ((n - side) // 2 for n in picture.shape)
    square = picture[top : top + side, left : left + side]
    rings, counts = _rings(side, bins)
    total = np.bincount(rings.ravel(), _power(square).ravel(), bins + 1)[:bins]
    frequencies = (np.arange(bins) + 0.5) * 0.5 / bins
    return frequencies, np.log10(np.maximum(total / counts, _TINY))


def _power(square: Floats) -> Floats:
    """Return the periodogram of ... x side x side, scaled so that white noise has its variance."""
    side = square.shape[-1]
    window = np.outer(*(np.hanning(side + 2)[1:-1],) * 2)
    centred = square - square.mean(axis=(-2, -1), keepdims=True)
    spectrum = np.abs(np.fft.fft2(centred * window)) ** 2
    return np.asarray(spectrum / (window**2).sum())


def _rings(side: int, bins: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the ring of every frequency (`bins`: beyond Nyquist's), and the size of each ring."""
    step = np.fft.fftfreq(side)
    radius = np.hypot(step[:, None], step[None])
    rings = np.minimum((radius / 0.5 * bins).astype(np.int64), bins)
    counts = np.bincount(rings.ravel(), minlength=bins + 1)[:bins]
    return rings, np.maximum(counts, 1).astype(np.float64)


def detect(
    pictures: Sequence[ArrayLike],
    positive: ArrayLike,
    patient: ArrayLike,
    learn: Learner,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Detected:
    """Teach a detector to tell two sorts of pictures apart, and say how well it does on new ones.

    Five-fold cross-validation by patient; areas are within folds. An AUC of 0.5 is no proof of
    absence: another detector may read more.

    Args:
        pictures: n arrays of one shape.
        positive: n bool.
        patient: n labels.
        learn: takes the pictures of a fold's training side (m x ...), which of them are positive
            and a seed, and returns what scores others (k x ... to k).
        resamples: of patients, for the interval.
        seed: of resamples and training.
        level: of the interval.

    Raises:
        AuditError: lengths differ.
    """
    wanted, groups = np.asarray(positive, bool), np.asarray(patient, str)
    if not len(pictures) == wanted.size == groups.size:
        raise AuditError(
            f"A detector needs one label and patient per picture; got {len(pictures)} pictures, "
            f"{wanted.size} labels and {groups.size} patients."
        )
    patients = len(set(groups))
    scores, folds = np.full(len(pictures), np.nan), np.zeros(len(pictures), np.int64)
    if min(len(set(groups[wanted == side])) for side in (True, False)) < _FEWEST:
        return Detected(math.nan, math.nan, math.nan, patients, scores)
    table = np.stack([np.asarray(one) for one in pictures])
    # In one order whatever that of the pictures: folds depend on it.
    order = np.lexsort((wanted, groups))
    for number, (train, test) in enumerate(GroupKFold(_FOLDS).split(order, groups=groups[order])):
        score = learn(table[order[train]], wanted[order[train]], seed)
        scores[order[test]] = score(table[order[test]])
        folds[order[test]] = number
    # The same picture in both sorts is a tie, also where the last bits of a sum differ.
    scores = np.round(scores, 5)
    # Detectors of different folds differ in scale: pictures are compared within a fold.
    once = np.ones((wanted.size, 1))
    area = float(stats.weighted_auc(scores, wanted, once, folds)[0])
    low, high = stats.clustered_auc_interval(scores, wanted, groups, resamples, seed, level, folds)
    return Detected(area, low, high, patients, scores)


def towards(edited: ArrayLike, baselines: ArrayLike, own: ArrayLike, known: ArrayLike) -> Floats:
    """Return how far edits move from their baseline towards pictures of other patients, n.

    It is by how much the distance to the nearest of them shrinks, as a share: 1 would be a copy of
    any of them, and below 0 is away from all.

    Args:
        edited: features of n edits, n x d.
        baselines: features of b baselines, b x d.
        own: which baseline each edit is of, n.
        known: features of pictures of other patients, such as those a generator was taught by,
            m x d.

    Raises:
        AuditError: arrays do not fit.
    """
    after, before = np.asarray(edited, np.float64), np.asarray(baselines, np.float64)
    place, library = np.asarray(own, np.intp), np.asarray(known, np.float64)
    _, first = nearest(before, library)
    _, now = nearest(after, library)
    return np.asarray(1 - now / np.maximum(first[place], _TINY), np.float64)
