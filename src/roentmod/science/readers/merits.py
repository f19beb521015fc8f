"""Figures of merit of readers: areas and shares, and how much each patient moves them.

A *merit* is one number per reader (an area, a share, a difference of two), with the influence of
every patient on it. The cross-product of influences is the covariance of readers' numbers over
patients: DeLong's for areas, the sandwich of a GEE with independent working correlation and one
group per patient for shares. Readers need not have read the same cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from roentmod.errors import ReadersError
from roentmod.science import stats

__all__ = ["Merit", "area", "difference", "share"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Merit:
    """A figure of merit of each reader.

    Attributes:
        kind: what it is.
        values: of r readers; readers without any are left out.
        influence: g x r, one row per patient.
        patients: names of those it was computed from, g.
        answers: how many it was computed from.
    """

    kind: Literal["area", "share", "difference"]
    values: Floats
    influence: Floats
    patients: NDArray[Any]
    answers: int

    @property
    def covariance(self) -> Floats:
        """Covariance of readers' values over patients, r x r."""
        return np.asarray(self.influence.T @ self.influence)


def area(scores: ArrayLike, positive: ArrayLike, patients: ArrayLike) -> Merit:
    """Return the area under each reader's curve.

    With one case per patient, and all cases read by all, the covariance is DeLong's. Cases of one
    patient are taken together (Obuchowski, Biometrics 53 (1997) 567).

    Args:
        scores: n x r, NaN where a reader did not answer.
        positive: n bool.
        patients: n names.

    Raises:
        ReadersError: lengths differ.
    """
    table, names, code = _checked(scores, patients)
    high = np.asarray(positive, bool)
    values, influence = np.full(table.shape[1], np.nan), np.zeros(table.shape)
    for j, column in enumerate(table.T):
        here = np.isfinite(column)
        up, down = here & high, here & ~high
        if not (up.any() and down.any()):
            continue
        first, second = stats.structural_components(column[up][None], column[down][None])
        values[j] = first.mean()
        influence[up, j] = _influence(first[0], code[up])
        influence[down, j] = _influence(second[0], code[down])
    return _merit("area", values, influence, names, code, np.isfinite(table))


def share(yes: ArrayLike, patients: ArrayLike) -> Merit:
    """Return the share of cases to which each reader says yes.

    Args:
        yes: n x r of 0 and 1, NaN where a reader did not answer.
        patients: n names.

    Raises:
        ReadersError: lengths differ.
    """
    table, names, code = _checked(yes, patients)
    here = np.isfinite(table)
    values = stats.ratio(np.where(here, table, 0).sum(axis=0), here.sum(axis=0))
    influence = np.zeros(table.shape)
    for j in np.flatnonzero(np.isfinite(values)):
        influence[here[:, j], j] = _influence(table[here[:, j], j], code[here[:, j]])
    return _merit("share", values, influence, names, code, here)


def difference(one: Merit, other: Merit) -> Merit:
    """Return the difference of two merits of the same readers; patients of both count once.

    Raises:
        ReadersError: the readers are not as many.
    """
    if one.values.size != other.values.size:
        raise ReadersError(
            f"A difference is of the same readers; got {one.values.size} and {other.values.size}. "
            "Leave out readers who answered for one side alone."
        )
    names = np.union1d(one.patients, other.patients)
    influence = np.zeros((names.size, one.values.size))
    influence[np.searchsorted(names, one.patients)] += one.influence
    influence[np.searchsorted(names, other.patients)] -= other.influence
    values = one.values - other.values
    return Merit("difference", values, influence, names, one.answers + other.answers)


def _checked(table: ArrayLike, patients: ArrayLike) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    values = np.asarray(table, np.float64)
    names, code = np.unique(np.asarray(patients, str), return_inverse=True)
    if values.ndim != 2 or len(values) != code.size:
        raise ReadersError(
            f"Answers are one row per case with its patient; got shape {values.shape} and "
            f"{code.size} patients."
        )
    return values, names, code


def _influence(values: Floats, code: NDArray[Any]) -> Floats:
    """Return what each case adds to the mean's deviation, with the factor of a sample variance."""
    groups = np.unique(code).size
    factor = math.sqrt(groups / (groups - 1)) if groups > 1 else math.nan
    return np.asarray((values - values.mean()) / values.size * factor)


def _merit(
    kind: Literal["area", "share"],
    values: Floats,
    influence: Floats,
    names: NDArray[Any],
    code: NDArray[Any],
    here: NDArray[np.bool_],
) -> Merit:
    """Return a merit of the readers who have a value, influences summed by patient.

    Patients without an answer are no part of it: they must not count as observed.
    """
    known = np.isfinite(values)
    answered = here[:, known]
    by_patient = np.zeros((names.size, int(known.sum())))
    np.add.at(by_patient, code, influence[:, known])
    some = np.bincount(code[answered.any(axis=1)], minlength=names.size) > 0
    return Merit(kind, values[known], by_patient[some], names[some], int(answered.sum()))
