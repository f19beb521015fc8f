"""How often findings come together: P(column | row), counted from labels or from readers' answers.

A unit (an image, a patient, a reading) counts in a cell where its row is present and its column is
known; what is uncertain is not known. Units of one cluster (images of a patient, readings of a
case) are not independent: intervals are Wilson's at the effective number of units, that is at the
number over the design effect (Kish, Survey Sampling, 1965; Korn and Graubard, Survey Methodology 24
(1998) 193). Where every unit is its own cluster they are Wilson's plain ones (JASA 22 (1927)
209).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from roentmod.domain import FINDINGS, NO_FINDING, finding
from roentmod.errors import DatasetError, UnknownFindingError
from roentmod.science.stats import ratio, wilson

__all__ = ["CoOccurrence", "Unit", "from_labels", "from_readings", "linked"]

Unit = Literal["image", "patient", "reading", "case"]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
_FIELDS = ("findings", "n_row", "n_both", "n_effective", "unit", "source", "level")
_UNCERTAIN = 0.5
_YES = ("yes", "y", "true", "1", "1.0", "positive")
_NO = ("no", "n", "false", "0", "0.0", "negative")


@dataclass(frozen=True, eq=False)
class CoOccurrence:
    """Rates at which findings come with others.

    Attributes:
        findings: canonical names of rows and of columns, k of them.
        n_row: units that show the row and of which the column is known, k x k.
        n_both: those of them that show the column too, k x k.
        n_effective: independent units that `n_row` is worth, k x k, at most `n_row`.
        unit: what was counted.
        source: where the labels or answers come from, in a sentence.
        level: of the intervals, in (0, 1).
        n_known: units of which each finding is known, whatever else they show, k; None where it was
            not counted.
        n_known_effective: independent units that `n_known` is worth, k, at most `n_known`, or None.
    """

    findings: tuple[str, ...]
    n_row: Counts
    n_both: Counts
    n_effective: Floats
    unit: Unit
    source: str
    level: float = 0.95
    n_known: Counts | None = None
    n_known_effective: Floats | None = None

    def __post_init__(self) -> None:
        """Check that the counts are counts of these findings.

        Raises:
            DatasetError: a wrong shape, counts that contradict each other, or no source.
            UnknownFindingError: a finding that is not in the catalogue.
        """
        names = tuple(finding(name).name for name in self.findings)
        object.__setattr__(self, "findings", names)
        k = len(names)
        tables = (self.n_row, self.n_both, self.n_effective)
        if not k or len(set(names)) < k or any(table.shape != (k, k) for table in tables):
            shapes = ", ".join("x".join(map(str, table.shape)) for table in tables)
            raise DatasetError(
                f"A co-occurrence matrix has k different findings and k x k counts; got {k} "
                f"findings and {shapes}. Make it again."
            )
        good = (self.n_both >= 0) & (self.n_both <= self.n_row)
        good &= (self.n_effective >= 0) & (self.n_effective <= self.n_row)
        if not good.all():
            row, column = np.argwhere(~good)[0]
            raise DatasetError(
                f"A cell holds 0 <= n_both <= n_row and 0 <= n_effective <= n_row; {names[row]} x "
                f"{names[column]} has {self.n_both[row, column]}, {self.n_row[row, column]} and "
                f"{self.n_effective[row, column]:g}. Make the matrix again."
            )
        self._check_known()
        if self.unit not in get_args(Unit) or not self.source or not 0 < self.level < 1:
            raise DatasetError(
                f"A co-occurrence matrix states its unit ({', '.join(get_args(Unit))}), its source "
                f"and a level in (0, 1); got '{self.unit}', '{self.source}', {self.level}."
            )

    def _check_known(self) -> None:
        if self.n_known is None or self.n_known_effective is None:
            return
        shape = (len(self.findings),)
        whole = self.n_known.shape == self.n_known_effective.shape == shape
        least = np.maximum(np.diag(self.n_row), self.n_known_effective) if whole else np.inf
        if (least > self.n_known).any():
            raise DatasetError(
                "n_known counts k findings, each at least as often as it is present and as "
                f"n_known_effective; got {self.n_known.tolist()}. Make the matrix again."
            )

    @cached_property
    def rates(self) -> Floats:
        """P(column | row), k x k in [0, 1]; 1 on the diagonal, NaN where no unit shows the row."""
        return ratio(self.n_both, self.n_row)

    @cached_property
    def interval(self) -> tuple[Floats, Floats]:
        """Low and high ends of each rate, k x k each in [0, 1], NaN where the rate is."""
        return _wilson(self.n_both, self.n_row, self.n_effective, self.level)

    def rate(self, row: str, column: str) -> float:
        """Return P(column | row) by names or aliases; NaN where no unit shows the row.

        Raises:
            DatasetError: the matrix lacks one of the findings.
        """
        return float(self.rates[self._place(row), self._place(column)])

    def soft_labels(self, edited: str) -> dict[str, float]:
        """Return the rate of every other finding where `edited` (a name or alias) is present.

        Raises:
            DatasetError: the matrix lacks the finding.
        """
        row = self._place(edited)
        return {
            name: float(self.rates[row, column])
            for column, name in enumerate(self.findings)
            if column != row
        }

    def table(self) -> pd.DataFrame:
        """Return one row per cell off the diagonal.

        Columns: row, column, n_row, n_both, n_effective, rate, low, high.
        """
        rows, columns = np.nonzero(~np.eye(len(self.findings), dtype=bool))
        names = np.array(self.findings, dtype=object)
        low, high = self.interval
        cells = {"n_row": self.n_row, "n_both": self.n_both, "n_effective": self.n_effective}
        cells |= {"rate": self.rates, "low": low, "high": high}
        picked = {name: values[rows, columns] for name, values in cells.items()}
        return pd.DataFrame({"row": names[rows], "column": names[columns], **picked})

    def to_json(self) -> dict[str, Any]:
        """Return counts, unit and source in what JSON has a form for; `from_json` undoes it."""
        head = {"source": self.source, "unit": self.unit, "level": self.level}
        counts = ("n_row", "n_both", "n_effective", "n_known", "n_known_effective")
        tables = {name: getattr(self, name) for name in counts}
        known = {name: table.tolist() for name, table in tables.items() if table is not None}
        return {**head, "findings": list(self.findings), **known}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CoOccurrence:
        """Return the matrix of what `to_json` returned.

        Raises:
            DatasetError: a field is missing or wrong.
            UnknownFindingError: a finding that is not in the catalogue.
        """
        try:
            return cls(
                findings=tuple(str(name) for name in data["findings"]),
                n_row=_whole(data["n_row"]),
                n_both=_whole(data["n_both"]),
                n_effective=np.array(data["n_effective"], dtype=np.float64),
                unit=data["unit"],
                source=str(data["source"]),
                level=float(data["level"]),
                n_known=_whole(data["n_known"]) if "n_known" in data else None,
                n_known_effective=_floats(data.get("n_known_effective")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"A co-occurrence matrix in JSON has {', '.join(_FIELDS)}; got {error!r}. "
                "Make it again with roentmod cooccurrence."
            ) from error

    def lift(self) -> tuple[Floats, Floats]:
        """Return P(column | row) / P(column) and a bound it is surely above, k x k each.

        The bound is the low end of P(column | row) over the high end of P(column), both of the
        matrix's level: two intervals are wider than that of their ratio, so it errs to the low
        side. NaN where no unit shows the row, or the column.

        Raises:
            DatasetError: the matrix does not say how many units are known.
        """
        if self.n_known is None or self.n_known_effective is None:
            raise DatasetError(
                "A lift needs n_known, the units of which each finding is known; this matrix has "
                "not. Make it again with roentmod cooccurrence."
            )
        present = np.diag(self.n_row)
        _, high = _wilson(present, self.n_known, self.n_known_effective, self.level)
        low, _ = self.interval
        marginal, shape = ratio(present, self.n_known), self.n_row.shape
        first, second = (np.broadcast_to(below, shape) for below in (marginal, high))
        return ratio(self.rates, first), ratio(low, second)

    def _place(self, name: str) -> int:
        canonical = finding(name).name
        if canonical not in self.findings:
            raise DatasetError(
                f"This co-occurrence matrix knows {', '.join(self.findings)}; got '{canonical}'. "
                "Leave it out, or give a matrix that has it."
            )
        return self.findings.index(canonical)


def _whole(rows: Any) -> Counts:
    counts = np.array(rows)
    if counts.dtype.kind != "i":
        raise ValueError(f"counts of type {counts.dtype}")
    return counts.astype(np.int64)


def _floats(values: Any) -> Floats | None:
    return None if values is None else np.array(values, dtype=np.float64)


def _wilson(hits: Counts, count: Counts, effective: Floats, level: float) -> tuple[Floats, Floats]:
    """Return low and high ends of hits / count, of any shape, NaN where `count` is 0."""
    p, n = ratio(hits, count), np.where(effective > 0, effective, np.nan)
    low, high = wilson(p, n, float(stats.norm.isf((1 - level) / 2)))
    # At rates of 0 and 1 rounding would leave an end beside the rate.
    low = np.where(hits == 0, np.minimum(p, 0), low)
    return low, np.where(hits == count, np.maximum(p, 1), high)


def linked(
    matrix: CoOccurrence,
    edited: Sequence[str],
    *,
    least: float = 1.5,
    most: int = 4,
) -> tuple[str, ...]:
    """Return the findings that come along with the edited ones, the most surely linked first.

    A finding is linked to an edited one where it is surely more than `least` times as frequent in
    units that show the edited one as in all: where the bound of `CoOccurrence.lift` is above
    `least`. Of several edited findings the strongest link counts.

    Args:
        matrix: the rates.
        edited: names or aliases of what is edited; never linked itself.
        least: lift that must surely be exceeded, 1 or more.
        most: how many at most.

    Raises:
        DatasetError: the matrix lacks an edited finding or the numbers for a lift, or `least` or
            `most` is below 1.
    """
    if least < 1 or most < 1:
        raise DatasetError(f"least and most are 1 or more; got {least:g} and {most}.")
    rows = [matrix._place(name) for name in edited]
    if not rows:
        return ()
    bounds = np.nan_to_num(matrix.lift()[1][rows], nan=0.0).max(axis=0)
    bounds[rows] = 0
    order = np.argsort(-bounds, kind="stable")[:most]
    return tuple(matrix.findings[column] for column in order if bounds[column] > least)


def _names() -> tuple[str, ...]:
    return tuple(item.name for item in FINDINGS if item != NO_FINDING)


def from_labels(
    table: pd.DataFrame,
    *,
    source: str,
    unit: Literal["image", "patient"] = "image",
    unmentioned: Literal["unknown", "absent"] = "unknown",
    findings: Sequence[str] | None = None,
    level: float = 0.95,
) -> CoOccurrence:
    """Count a data set's labels.

    Args:
        table: of a data set: `patient_id`, and one column per finding (canonical names) that holds
            "positive", "negative", "uncertain" or "unmentioned", n rows.
        source: where the labels come from, in a sentence.
        unit: count images (a patient is a cluster of them), or patients: a finding is present where
            any of their images shows it, and unknown where none does and one is uncertain.
        unmentioned: whether what a source does not mention is unknown or absent. Absent fits
            reports, which pass over what is normal.
        findings: rows and columns; None takes all that are present in some unit.
        level: of the intervals, in (0, 1).

    Raises:
        DatasetError: a column is missing, a word is no state, or no finding is present.
        UnknownFindingError: a finding that is not in the catalogue.
    """
    wanted = _names() if findings is None else tuple(finding(name).name for name in findings)
    names = [n for n in wanted if n in table.columns]
    lacking = [n for n in wanted if n not in table.columns] if findings is not None else []
    if "patient_id" not in table.columns or lacking or not names:
        got = ", ".join(lacking) or "patient_id or findings"
        raise DatasetError(
            "Co-occurrence is counted in a table with patient_id and one column per finding; it "
            f"lacks {got}. Give the table of a loaded data set."
        )
    words = np.column_stack([_states(table[name], unmentioned) for name in names])
    states = np.where(words == _UNCERTAIN, np.nan, words)
    patients, cluster = np.unique(table["patient_id"].astype(str), return_inverse=True)
    if unit == "patient":
        states = _by_patient(words, cluster, len(patients))
        cluster = np.arange(len(patients))
    return _counted(names, states, cluster, findings is None, unit, source, level)


def from_readings(
    table: pd.DataFrame,
    *,
    source: str,
    unit: Literal["reading", "case"] = "reading",
    threshold: float = 0.5,
    level: float = 0.95,
) -> CoOccurrence:
    """Count readers' answers.

    Args:
        table: one row per answer: `reader`, `case`, `finding` (name or alias), and either `answer`
            (yes or no) or `probability` (in [0, 1]). An empty answer is none.
        source: who read what, in a sentence.
        unit: count readings (a case is a cluster of them), or cases: a finding is present where
            more than half of its readers say so, and unknown where half do.
        threshold: least probability that counts as yes, in (0, 1].
        level: of the intervals, in (0, 1).

    Raises:
        DatasetError: a column is missing, an answer is wrong or given twice (with its row, counted
            from 1 without the header), or no finding is present.
    """
    given = [name for name in ("answer", "probability") if name in table.columns]
    if not {"reader", "case", "finding"} <= set(table.columns) or len(given) != 1:
        raise DatasetError(
            "Readers' answers have the columns reader, case, finding, and one of answer and "
            f"probability; got {', '.join(map(str, table.columns))}. Rename them."
        )
    if not 0 < threshold <= 1:
        raise DatasetError(f"A threshold of probability is in (0, 1]; got {threshold:g}.")
    answers = pd.DataFrame(
        {
            "reader": table["reader"].astype(str).to_numpy(),
            "case": table["case"].astype(str).to_numpy(),
            "finding": [_named(str(name), n) for n, name in enumerate(table["finding"], 1)],
            "state": _answers(table[given[0]], given[0], threshold),
        }
    )
    twice = answers.duplicated(["reader", "case", "finding"]).to_numpy()
    if twice.any():
        n = int(np.argmax(twice))
        reader, case, name = answers.iloc[n][["reader", "case", "finding"]]
        raise DatasetError(
            f"A reader answers once per case and finding; row {n + 1} repeats {reader}, {case}, "
            f"{name}. Remove one."
        )
    wide = answers.pivot(index=["reader", "case"], columns="finding", values="state")
    names = [name for name in _names() if name in wide.columns]
    states = wide[names].to_numpy(dtype=np.float64)
    cases, cluster = np.unique(wide.index.get_level_values("case"), return_inverse=True)
    if unit == "case":
        states = _majority(states, cluster, len(cases))
        cluster = np.arange(len(cases))
    return _counted(names, states, cluster, True, unit, source, level)


def _states(column: pd.Series[Any], unmentioned: str) -> Floats:
    """Return 1 where present, 0 where absent, `_UNCERTAIN`, NaN where not mentioned."""
    known = {"positive": 1.0, "negative": 0.0, "uncertain": _UNCERTAIN}
    known["unmentioned"] = 0.0 if unmentioned == "absent" else np.nan
    words = column.astype(str)
    wrong = ~words.isin(list(known)).to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(
            f"A finding is {', '.join(known)}; {column.name} of row {row + 1} is "
            f"'{words.iloc[row]}'. Load the table with roentmod.datasets."
        )
    return np.asarray(words.map(known), dtype=np.float64)


def _answers(column: pd.Series[Any], kind: str, threshold: float) -> Floats:
    """Return 1 for yes, 0 for no, NaN for no answer."""
    states = np.full(len(column), np.nan)
    for row, (empty, value) in enumerate(zip(column.isna(), column, strict=True)):
        text = "" if empty else str(value).strip().lower()
        if text in ("", "nan"):
            continue
        number = _number(text.replace(",", ".")) if kind == "probability" else np.nan
        if kind == "probability" and 0 <= number <= 1:
            states[row] = number >= threshold
        elif kind == "answer" and text in (*_YES, *_NO):
            states[row] = text in _YES
        else:
            rule = "in [0, 1]" if kind == "probability" else "yes or no"
            raise DatasetError(
                f"A reader's {kind} is {rule}, or empty; row {row + 1} has '{value}'. Correct it."
            )
    return states


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _named(name: str, row: int) -> str:
    try:
        canonical = finding(name).name
    except UnknownFindingError as error:
        raise DatasetError(f"Readers' answers, row {row}: {error}") from error
    if canonical == NO_FINDING.name:
        raise DatasetError(
            f"Readers' answers, row {row}: '{NO_FINDING.name}' comes with nothing. Leave it out."
        )
    return canonical


def _by_patient(words: Floats, patient: NDArray[np.intp], count: int) -> Floats:
    """Return one row per patient: 1 present in any image, NaN not known, else 0."""
    has = {value: _sums(words == value, patient, count) > 0 for value in (1.0, _UNCERTAIN, 0.0)}
    absent = has[0.0] & ~has[_UNCERTAIN]
    return _three(has[1.0], absent)


def _majority(states: Floats, cluster: NDArray[np.intp], count: int) -> Floats:
    yes, no = (_sums(states == value, cluster, count) for value in (1, 0))
    return _three(yes > no, no > yes)


def _three(present: NDArray[np.bool_], absent: NDArray[np.bool_]) -> Floats:
    states: Floats = np.where(present, 1.0, np.where(absent, 0.0, np.nan))
    return states


def _sums(values: NDArray[Any], cluster: NDArray[np.intp], count: int) -> Floats:
    """Return the sums of n x k values over clusters, count x k."""
    columns = [np.bincount(cluster, values[:, j], count) for j in range(values.shape[1])]
    return np.column_stack(columns)


def _counted(
    names: Sequence[str],
    states: Floats,
    cluster: NDArray[np.intp],
    only_present: bool,
    unit: Unit,
    source: str,
    level: float,
) -> CoOccurrence:
    """Count n x k states (1, 0, NaN); findings that no unit shows are left out if asked for."""
    kept = (states == 1).any(axis=0) if only_present else np.ones(len(names), dtype=bool)
    if not kept.any():
        raise DatasetError(
            f"Co-occurrence needs units that show a finding; none of {len(states)} does. Give a "
            "table with positive labels."
        )
    states = states[:, kept]
    present, known = (states == 1).astype(np.float64), (~np.isnan(states)).astype(np.float64)
    n_row = np.rint(present.T @ known).astype(np.int64)
    n_both = np.rint(present.T @ present).astype(np.int64)
    effective = np.array(
        [
            _effective(known[rows], present[rows], cluster[rows])
            for rows in (states[:, j] == 1 for j in range(states.shape[1]))
        ]
    )
    return CoOccurrence(
        tuple(name for name, keep in zip(names, kept, strict=True) if keep),
        n_row,
        n_both,
        effective,
        unit,
        source,
        level,
        n_known=known.sum(axis=0).astype(np.int64),
        n_known_effective=_effective(known, present, cluster),
    )


def _effective(known: Floats, present: Floats, cluster: NDArray[np.intp]) -> Floats:
    """Return the effective number of units in each column of one row, k.

    The design effect is the variance of the rate between clusters (of a ratio, linearised, with
    the usual factor of g clusters, g / (g - 1)) over that of independent units.
    """
    if not len(known):
        return np.zeros(known.shape[1])
    _, member = np.unique(cluster, return_inverse=True)
    sizes, hits = (_sums(x, member, int(member.max()) + 1) for x in (known, present))
    n, groups = known.sum(axis=0), (sizes > 0).sum(axis=0)
    rate = ratio(present.sum(axis=0), n)
    squares = ((hits - np.nan_to_num(rate) * sizes) ** 2).sum(axis=0)
    between = ratio(squares * groups, groups - 1)
    within = ratio(n**2 * rate * (1 - rate), n - 1)
    worth = n * ratio(within, between)
    # Rates of 0 and 1 do not vary: a cluster is then taken to be worth one unit.
    plain = ~np.isfinite(worth) | (rate == 0) | (rate == 1)
    # Three decimals are ample, and keep the files short.
    effective: Floats = np.round(np.minimum(np.where(plain, groups, worth), n), 3)
    return effective
