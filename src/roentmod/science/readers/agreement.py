"""Agreement of readers: between them, and of each with an earlier answer to the same picture.

All coefficients come from one table of counts, cases by categories, so that readers may have read
different cases. Gwet's AC1 and AC2 stand first: where nearly every answer is the same, kappas go
to 0 although readers agree (Feinstein and Cicchetti, J Clin Epidemiol 43 (1990) 543). Intervals are
percentiles over resampled patients; readers are taken as they are. Agreement of readers with
themselves is the mean over readers of each one's own: chance is that of each reader's own rates, as
readers who differ in their rates would otherwise seem to agree with themselves by more than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from roentmod.errors import ReadersError
from roentmod.science import stats

__all__ = ["AGREEMENT", "MEASURES", "agreement", "coefficients", "counts", "repeats", "weights"]

Floats = NDArray[np.float64]
Weighting = Literal["identity", "linear", "quadratic", "ordinal"]
MEASURES = ("AC", "alpha", "fleiss", "agreement", "positive", "negative", "prevalence")
AGREEMENT = ("measure", "value", "low", "high", "cases", "raters")


def weights(categories: int, form: Weighting) -> Floats:
    """Return how much two answers agree, q x q in [0, 1].

    Gwet, Handbook of Inter-Rater Reliability (4th ed., 2014), section 3.5; "ordinal" is 1 less the
    share of pairs of categories that lie within two answers.
    """
    step = np.abs(np.subtract.outer(np.arange(categories), np.arange(categories)))
    far = max(1, categories - 1)
    match form:
        case "identity":
            apart = (step > 0).astype(np.float64)
        case "linear":
            apart = step / far
        case "quadratic":
            apart = (step / far) ** 2
        case "ordinal":
            apart = step * (step + 1) / (far * (far + 1))
    return np.asarray(1 - apart, np.float64)


def counts(answers: ArrayLike, categories: int) -> Floats:
    """Return how many readers gave each answer, n x q.

    Args:
        answers: n x r, whole numbers from 0 to q - 1, NaN where a reader did not answer.
        categories: q.

    Raises:
        ReadersError: an answer is none of the categories.
    """
    table = np.asarray(answers, np.float64)
    known = table[np.isfinite(table)]
    if known.size and not np.isin(known, np.arange(categories)).all():
        raise ReadersError(
            f"Answers are whole numbers below {categories}; got {known.min():g} to "
            f"{known.max():g}. Code them from 0."
        )
    return np.stack([(table == k).sum(axis=1) for k in range(categories)], axis=1).astype(float)


def coefficients(
    table: Floats, drawn: Floats | None = None, form: Weighting = "identity"
) -> dict[str, Floats]:
    """Return the coefficients (`MEASURES`) in each resample; NaN where one cannot be known.

    ``AC`` is Gwet's AC1 (weights "identity") or AC2 (Br J Math Stat Psychol 61 (2008) 29),
    ``alpha`` Krippendorff's ordinal one (nominal for two categories), ``fleiss`` the kappa with
    the same weights, ``agreement`` the weighted share of agreeing pairs, ``positive`` and
    ``negative`` the agreement on the last and on the first category (Cicchetti and Feinstein,
    J Clin Epidemiol 43 (1990) 551), ``prevalence`` the mean share of the last.

    Args:
        table: n x q, of `counts`.
        drawn: n x count, how often each case is drawn; None: once.
        form: of the weights.
    """
    n, q = table.shape
    drawn = np.ones((n, 1)) if drawn is None else drawn
    size = table.sum(axis=1)
    some, several = size > 0, size > 1
    shares = _over(table, size[:, None], some)
    rate = stats.ratio(shares.T @ drawn, np.broadcast_to((some * 1.0) @ drawn, (q, drawn.shape[1])))
    weight = weights(q, form)
    alike = (table * (table @ weight - 1)).sum(axis=1)
    observed = stats.ratio(
        _over(alike, size * (size - 1), several) @ drawn, (several * 1.0) @ drawn
    )
    expected = {
        "AC": weight.sum() / (q * (q - 1)) * (rate * (1 - rate)).sum(axis=0),
        "fleiss": np.einsum("kb,kl,lb->b", rate, weight, rate),
    }
    result = {
        name: stats.ratio(observed - chance, 1 - chance, least=1e-12)
        for name, chance in expected.items()
    }
    result |= {"alpha": _alpha(table, drawn), "agreement": observed, "prevalence": rate[-1]}
    for name, k in (("positive", -1), ("negative", 0)):
        both = _over(table[:, k] * (table[:, k] - 1), size - 1, several)
        result[name] = stats.ratio(both @ drawn, (table[:, k] * several) @ drawn)
    return {name: result[name] for name in MEASURES}


def agreement(
    answers: ArrayLike,
    patients: ArrayLike,
    categories: int,
    *,
    form: Weighting = "identity",
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the coefficients with intervals (`AGREEMENT`), one row per measure.

    Args:
        answers: n x r, whole numbers from 0, NaN where missing; a rater is a column. Or several
            such tables of the same cases, m x n x r, as of `repeats`: each coefficient is then the
            mean over the tables in which it can be known.
        patients: n names, which are resampled.
        categories: how many answers there are.
        form: of the weights of AC and Fleiss.
        level: of the intervals.
        resamples: of patients.
        seed: of the resamples.

    Returns:
        `AGREEMENT`: cases have two answers or more, summed over tables. low and high are NaN where
        no resample differs, as where all readers agree on all cases.

    Raises:
        ReadersError: an answer is none of the categories.
    """
    given = np.asarray(answers, np.float64)
    given = given if given.ndim == 3 else given[None]
    # Without readers there is one table, of no answers.
    tables = [counts(one, categories) for one in given] or [np.zeros((given.shape[1], categories))]
    names, code = np.unique(np.asarray(patients, str), return_inverse=True)
    value = _averaged(tables, None, form)
    samples: list[dict[str, Floats]] = []
    if names.size:
        blocks = stats.draw_blocks(resamples, names.size, seed, width=code.size * categories)
        samples = [
            _averaged(tables, np.asarray(block.T[code], np.float64), form) for block in blocks
        ]
    several = sum(int((table.sum(axis=1) > 1).sum()) for table in tables)
    raters = int(np.isfinite(given).any(axis=(0, 1)).sum())
    rows = []
    for name in MEASURES:
        ends = (np.nan, np.nan)
        if samples and np.isfinite(value[name][0]):
            ends = stats.interval(np.concatenate([one[name] for one in samples]), level)
            # Resamples that are all alike know nothing of what other cases would show.
            ends = (np.nan, np.nan) if np.isclose(*ends) else ends
        rows.append([name, float(value[name][0]), *ends, several, raters])
    return pd.DataFrame(rows, columns=list(AGREEMENT))


def repeats(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return each reader's answers to pictures and to their repeats as two raters, r x n x 2.

    Args:
        first: n x r, NaN where missing.
        second: n x r, of the repeats.
    """
    return np.stack([np.transpose(first), np.transpose(second)], axis=2).astype(float)


def _averaged(tables: Sequence[Floats], drawn: Floats | None, form: Weighting) -> dict[str, Floats]:
    """Return the coefficients, each the mean over the tables in which it can be known."""
    every = [coefficients(table, drawn, form) for table in tables]
    result = {}
    for name in MEASURES:
        values = np.stack([one[name] for one in every])
        known = np.isfinite(values)
        result[name] = stats.ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))
    return result


def _over(above: Floats, below: Floats, where: NDArray[Any]) -> Floats:
    """Return above / below where it is meant, and 0 elsewhere."""
    chosen = where if above.ndim == 1 else where[:, None]
    return np.divide(
        above, below, out=np.zeros_like(above), where=np.broadcast_to(chosen, above.shape)
    )


def _alpha(table: Floats, drawn: Floats) -> Floats:
    """Return Krippendorff's alpha with the ordinal metric, in each resample.

    Krippendorff, Content Analysis (3rd ed., 2013), chapter 12: 1 less observed over expected
    disagreement, from the coincidences of values within cases of two answers or more.
    """
    n, q = table.shape
    size = table.sum(axis=1)
    pairs = table[:, :, None] * (table[:, None, :] - np.eye(q))
    pairs = _over(pairs.reshape(n, q * q), np.maximum(size - 1, 1)[:, None], size > 1)
    met = (pairs.T @ drawn).reshape(q, q, -1)
    mass = met.sum(axis=1)
    # The distance of two ranks: what lies between their middles.
    middle = np.cumsum(mass, axis=0) - mass / 2
    apart = (middle[:, None] - middle[None]) ** 2
    total = mass.sum(axis=0)
    expected = np.einsum("kb,lb,klb->b", mass, mass, apart)
    return 1 - stats.ratio((total - 1) * (met * apart).sum(axis=(0, 1)), expected)
