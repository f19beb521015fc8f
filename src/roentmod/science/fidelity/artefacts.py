"""What an editor leaves in any picture: spectra, residuals, a detector, and memorised pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from roentmod.errors import AuditError
from roentmod.science import stats
from roentmod.science.fidelity.likeness import nearest

__all__ = ["TRACES", "Detected", "detect", "radial_spectrum", "towards", "traces"]

Floats = NDArray[np.float64]
_BANDS = 8  # of a tile's spectrum, from `_FROM` to Nyquist's frequency
_FROM = 0.1  # cycles per pixel below which a spectrum shows the patient and not the editor
_TINY = 1e-12
TRACES = tuple(f"power {n + 1}" for n in range(_BANDS))
TRACES += ("residual", "kurtosis", "across", "down", "diagonal", "flat")
_FOLDS = 5
# Patients below which a detector cannot be trained and tested.
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


def traces(image: ArrayLike, tiles: int = 4) -> Floats:
    """Return what a picture's fine structure looks like, tile by tile: tiles^2 x len(`TRACES`).

    Of each tile: log power in rings from 0.1 cycles per pixel up; and of the residual, the picture
    less its Gaussian blur of one pixel: log deviation, log kurtosis, correlation with its
    neighbour across, down and on the diagonal; and the share of pixels equal to their neighbour.

    Args:
        image: h x w display values; its largest centred square is used.
        tiles: along a side.

    Raises:
        AuditError: tiles of fewer than 16 pixels.
    """
    picture = np.asarray(image, np.float64)
    side = min(picture.shape) // tiles
    if side < 16:
        raise AuditError(f"Tiles must be 16 pixels a side or more; got {side}. Use fewer tiles.")
    residual = picture - ndimage.gaussian_filter(picture, 1.0)
    parts = [_cut(layer, tiles, side) for layer in (picture, residual)]
    rings = np.clip((np.hypot(*_grid(side)) - _FROM) / (0.5 - _FROM) * _BANDS, -1, _BANDS)
    power = _power(parts[0])
    columns = []
    for band in range(_BANDS):
        inside = np.floor(rings).astype(int) == band
        columns.append(np.log10(np.maximum(power[:, inside].mean(axis=1), _TINY)))
    return np.stack([*columns, *_statistics(parts[1]), _flatness(parts[0])], axis=1)


def _grid(side: int) -> tuple[Floats, Floats]:
    step = np.fft.fftfreq(side)
    rows, columns = np.meshgrid(step, step, indexing="ij")
    return rows, columns


def _cut(layer: Floats, tiles: int, side: int) -> Floats:
    """Return tiles^2 x side x side of the centred square."""
    top, left = ((n - tiles * side) // 2 for n in layer.shape)
    square = layer[top : top + tiles * side, left : left + tiles * side]
    cut = square.reshape(tiles, side, tiles, side).swapaxes(1, 2)
    return np.asarray(cut.reshape(-1, side, side))


def _statistics(residual: Floats) -> list[Floats]:
    r = residual - residual.mean(axis=(1, 2), keepdims=True)
    variance = (r**2).mean(axis=(1, 2))
    floor = np.maximum(variance, _TINY)
    kurtosis = np.maximum((r**4).mean(axis=(1, 2)) / floor**2, 1.0)
    moved = (
        (r[:, :, 1:] * r[:, :, :-1]).mean(axis=(1, 2)),
        (r[:, 1:] * r[:, :-1]).mean(axis=(1, 2)),
        (r[:, 1:, 1:] * r[:, :-1, :-1]).mean(axis=(1, 2)),
    )
    return [np.log10(floor) / 2, np.log10(kurtosis), *(m / floor for m in moved)]


def _flatness(tiles: Floats) -> Floats:
    return np.asarray((tiles[:, :, 1:] == tiles[:, :, :-1]).mean(axis=(1, 2)))


def detect(
    pictures: Sequence[ArrayLike],
    positive: ArrayLike,
    patient: ArrayLike,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Detected:
    """Train a detector to tell two sorts of pictures apart, and say how well it does on new ones.

    A logistic regression on standardised `traces` of tiles, both sorts weighted alike; five-fold
    cross-validation by patient; a picture's score is the mean over its tiles. It is linear and
    sees few statistics: a classifier may read more, so an AUC of 0.5 is no proof of absence.

    Args:
        pictures: n arrays of tiles x features.
        positive: n bool.
        patient: n labels.
        resamples: of patients, for the interval.
        seed: of resamples.
        level: of the interval.

    Raises:
        AuditError: lengths differ.
    """
    tables = [np.asarray(one, np.float64) for one in pictures]
    wanted, groups = np.asarray(positive, bool), np.asarray(patient, str)
    if not len(tables) == wanted.size == groups.size:
        raise AuditError(
            f"A detector needs one label and patient per picture; got {len(tables)} pictures, "
            f"{wanted.size} labels and {groups.size} patients."
        )
    patients = len(set(groups))
    nothing = np.full(len(tables), np.nan)
    if patients < _FEWEST or not 0 < wanted.sum() < wanted.size:
        return Detected(math.nan, math.nan, math.nan, patients, nothing)
    # In one order whatever that of the pictures: folds depend on it.
    order = np.lexsort((wanted, groups))
    scores = nothing.copy()
    for train, test in GroupKFold(_FOLDS).split(order, groups=groups[order]):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000)
        )
        rows = order[train]
        labels = np.repeat(wanted[rows], [len(tables[i]) for i in rows])
        model.fit(np.concatenate([tables[i] for i in rows]), labels)
        for i in order[test]:
            scores[i] = model.decision_function(tables[i]).mean()
    # The same picture in both sorts is a tie, also where the last bits of a sum differ.
    scores = np.round(scores, 9)
    area = stats.auc(scores[wanted], scores[~wanted])
    low, high = stats.clustered_auc_interval(scores, wanted, groups, resamples, seed, level)
    return Detected(area, low, high, patients, scores)


def towards(edited: ArrayLike, baselines: ArrayLike, own: ArrayLike, known: ArrayLike) -> Floats:
    """Return how far edits move from their baseline towards pictures of other patients, n.

    As a share of the distance to the picture that was nearest to the baseline: 1 would be that
    picture, and below 0 is away from it.

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
    at, first = nearest(before, library)
    now = np.linalg.norm(after - library[at[place]], axis=1)
    return np.asarray((first[place] - now) / np.maximum(first[place], _TINY), np.float64)
