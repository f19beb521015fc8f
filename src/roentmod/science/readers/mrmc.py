"""Readers and cases as samples: intervals of a mean over readers (MRMC).

The mean of readers' figures of merit varies because other readers and other cases might have been
taken. Obuchowski and Rockette (Communications in Statistics 24 (1995) 285) add both: with the mean
square of readers MS and the mean covariance of two readers Cov2, the variance of a mean over r
readers is (MS + r max(Cov2, 0)) / r, with the degrees of freedom of Hillis (Statistics in Medicine
26 (2007) 596), (MS + r Cov2)^2 / (MS^2 / (r - 1)). They are capped here at patients - 1, as Cov2
is an estimate, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, special

from roentmod.science import stats
from roentmod.science.readers.merits import Merit, difference

__all__ = ["Inference", "contrast", "infer"]

Samples = Literal["readers and cases", "cases", "readers"]
_WILSON = "Wilson's score at the effective number of answers"
_BOUND = "Wilson's score with one answer per patient, as no answer differs"
_NEWCOMBE = "Newcombe's hybrid of two score intervals"
_PLAIN = "t"
_NOTHING = "none: no answer differs"
_ALONE = "none: a reader has answers of one patient"
_NOBODY = "none: nobody answered"


@dataclass(frozen=True)
class Inference:
    """A mean over readers with its interval.

    Attributes:
        value: the mean; NaN without readers.
        low, high: its interval; NaN where it cannot be known.
        error: standard error.
        df: degrees of freedom.
        readers: how many.
        patients: how many.
        answers: how many.
        samples: what is random: "readers and cases", or one of them; one reader is never random.
        spread: variance of readers' true values, MS - Var + Cov2, which can come out below 0.
        variance: mean variance of one reader's value over cases.
        covariance: mean covariance of two readers' values over cases, Cov2.
        method: of the interval.
    """

    value: float
    low: float
    high: float
    error: float
    df: float
    readers: int
    patients: int
    answers: int
    samples: Samples
    spread: float
    variance: float
    covariance: float
    method: str


def infer(
    merit: Merit, *, level: float = 0.95, samples: Samples = "readers and cases"
) -> Inference:
    """Return the mean over readers with its interval.

    Areas and differences have a t interval within their range. Shares have Wilson's score interval
    at the number of independent answers that the variance is worth (Korn and Graubard, Survey
    Methodology 24 (1998) 193), with t for z; where all answers agree there is no variance, and
    each patient counts as one answer.

    Args:
        merit: of at least one reader.
        level: of the interval, in (0, 1).
        samples: "readers and cases" speaks of other readers with other cases; "cases" of these
            readers, "readers" of these cases.
    """
    r = merit.values.size
    if not r:
        nothing = (math.nan,) * 5
        return Inference(*nothing, 0, 0, 0, samples, *nothing[:3], _NOBODY)
    value, patients = float(merit.values.mean()), len(merit.patients)
    variance, covariance = _components(merit)
    square = float(merit.values.var(ddof=1)) if r > 1 else math.nan
    if r == 1:
        samples = "cases"
    error, df = _error(square, variance, covariance, r, patients, samples)
    low, high, method = _interval(merit, value, error, _quantile(level, df), level)
    return Inference(
        value, low, high, error, df, r, patients, merit.answers, samples,
        square - variance + covariance, variance, covariance, method,
    )  # fmt: skip


def contrast(
    one: Merit, other: Merit, *, level: float = 0.95, samples: Samples = "readers and cases"
) -> tuple[Inference, float]:
    """Return the difference of two shares with its interval, and the two-sided p of no difference.

    The interval is Newcombe's hybrid of the shares' score intervals (Statistics in Medicine 17
    (1998) 873), with the correlation that readers and patients in common give the two (Zou and
    Donner, Statistics in Medicine 27 (2008) 1693). It is good at 0 % and 100 %, where t is not. The
    p is 1 less the largest level at which the interval leaves out 0.
    """
    both = infer(difference(one, other), level=level, samples=samples)
    if not both.readers or not (np.isfinite(both.error) and np.isfinite(both.value)):
        return both, math.nan
    sides = [infer(merit, level=level, samples=samples) for merit in (one, other)]
    errors = [side.error for side in sides]
    link = 0.0
    if all(errors):
        link = (errors[0] ** 2 + errors[1] ** 2 - both.error**2) / (2 * errors[0] * errors[1])

    def ends(level: float) -> tuple[float, float]:
        first, second = (
            _score(merit, side.value, side.error, _quantile(level, side.df), level)[:2]
            for merit, side in zip((one, other), sides, strict=True)
        )
        reach = (sides[0].value - first[0], second[1] - sides[1].value)
        upper = (first[1] - sides[0].value, sides[1].value - second[0])
        link_ = float(np.clip(link, -1, 1))
        low, high = (
            math.sqrt(max(0.0, a * a - 2 * link_ * a * b + b * b)) for a, b in (reach, upper)
        )
        return both.value - low, both.value + high

    low, high = ends(level)
    p = 1.0
    if abs(both.value) > 1e-12:
        inner = 0 if both.value > 0 else 1

        def beyond(level: float) -> float:
            return ends(level)[inner] * math.copysign(1, both.value)

        top = 1 - 1e-12
        p = 1 - (top if beyond(top) > 0 else float(optimize.brentq(beyond, 1e-9, top)))
    fields = {**vars(both), "low": low, "high": high, "method": _NEWCOMBE}
    return Inference(**fields), p


def _wilson(value: float, n: float, quantile: float) -> tuple[float, float]:
    low, high = stats.wilson(value, n, quantile)
    return float(low), float(high)


def _components(merit: Merit) -> tuple[float, float]:
    """Return the mean variance of a reader's value, and the mean covariance of two."""
    covariance, r = merit.covariance, merit.values.size
    own = float(np.trace(covariance))
    other = (float(covariance.sum()) - own) / (r * (r - 1)) if r > 1 else 0.0
    return own / r, other


def _error(
    square: float, variance: float, covariance: float, r: int, patients: int, samples: Samples
) -> tuple[float, float]:
    """Return standard error and degrees of freedom of a mean over readers."""
    most = max(1.0, patients - 1.0)
    if not math.isfinite(variance):  # a reader's one patient tells nothing of others
        return math.nan, most
    if samples == "cases":
        return math.sqrt(max(0.0, (variance + (r - 1) * covariance) / r)), most
    if samples == "readers":
        return math.sqrt(square / r), r - 1.0
    whole = square + r * max(covariance, 0.0)
    df = whole**2 * (r - 1) / square**2 if square > 0 else most
    return math.sqrt(whole / r), min(df, most)


def _quantile(level: float, df: float) -> float:
    return float(special.stdtrit(df, (1 + level) / 2))


def _interval(
    merit: Merit, value: float, error: float, quantile: float, level: float
) -> tuple[float, float, str]:
    if merit.kind == "share":
        return _score(merit, value, error, quantile, level)
    if not math.isfinite(error):
        return math.nan, math.nan, _ALONE
    if not error > 0:
        return math.nan, math.nan, _NOTHING
    least, most = (-1.0, 1.0) if merit.kind == "difference" else (0.0, 1.0)
    return max(least, value - quantile * error), min(most, value + quantile * error), _PLAIN


def _score(
    merit: Merit, value: float, error: float, quantile: float, level: float
) -> tuple[float, float, str]:
    """Return the score interval of a share."""
    if not np.isfinite(error):
        return math.nan, math.nan, _ALONE
    if error <= 1e-12:
        normal = float(special.ndtri((1 + level) / 2))
        return *_wilson(value, len(merit.patients), normal), _BOUND
    n = min(float(merit.answers), value * (1 - value) / error**2)
    return *_wilson(value, n, quantile), _WILSON
