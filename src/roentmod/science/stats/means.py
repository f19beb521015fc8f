"""Intervals of means and shares over patients."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["mean_interval", "share_interval", "wilson"]

Floats = NDArray[np.float64]


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return Student's interval of the mean of n patients' values; NaN of fewer than two."""
    own = np.asarray(values, np.float64)
    if own.size < 2:
        return math.nan, math.nan
    t = float(special.stdtrit(own.size - 1, (1 + level) / 2))
    half = t * float(own.std(ddof=1)) / math.sqrt(own.size)
    return float(own.mean()) - half, float(own.mean()) + half


def share_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share: the mean of n patients' shares of what is or is not.

    It is at the number of independent answers that their variance is worth, with t for z (Korn and
    Graubard, Survey Methodology 24 (1998) 193); where there is no variance, each patient is one.
    NaN of fewer than two patients.
    """
    own = np.asarray(values, np.float64)
    if own.size < 2:
        return math.nan, math.nan
    mean, variance = float(own.mean()), float(own.var(ddof=1)) / own.size
    if variance <= 0 or not 0 < mean < 1:
        low, high = wilson(mean, own.size, float(special.ndtri((1 + level) / 2)))
    else:
        t = float(special.stdtrit(own.size - 1, (1 + level) / 2))
        low, high = wilson(mean, mean * (1 - mean) / variance, t)
    return float(low), float(high)


def wilson(value: ArrayLike, n: ArrayLike, quantile: float) -> tuple[Floats, Floats]:
    """Return Wilson's score interval of shares of n answers (JASA 22 (1927) 209), in [0, 1]."""
    share, count = np.asarray(value, np.float64), np.asarray(n, np.float64)
    c = quantile**2 / count
    centre = share + c / 2
    half = np.sqrt(c * (share * (1 - share) + c / 4))
    low, high = (centre - half) / (1 + c), (centre + half) / (1 + c)
    return np.maximum(low, 0), np.minimum(high, 1)
