"""Readers made of numbers: what they answer, and what a study of them should find.

A reader's impression of a picture is a normal number: d' where the thing asked about is there, plus
what the picture does to all readers, what it does to this one, and noise; the reader's own bias
moves it, and fixed limits turn it into an answer (Roe and Metz, Academic Radiology 4 (1997) 298).
Side and severity are answered as they are. `shares`, `area` and `preference` are what infinitely
many such readers would show on infinitely many cases.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = [
    "FINDING",
    "REALISM",
    "Scale",
    "Skill",
    "answers",
    "area",
    "drawn",
    "order",
    "preference",
    "shares",
]

Floats = NDArray[np.float64]
_NODES = 21
_START = np.datetime64("2000-01-01T08:00:00", "ms")
_PLAIN = 4.0  # d' of an attention case's finding
_SIDES = {"left": 1, "right": 2, "both": 3}
_SEVERITIES = {"mild": 1, "moderate": 2, "severe": 3}


@dataclass(frozen=True)
class Skill:
    """Readers of one kind.

    Attributes:
        realism: mean d' of altered against real pictures.
        finding: mean d' of a finding that is there.
        spread: standard deviation of d' between readers.
        bias: standard deviation between readers of what is added to every impression.
        correlation: share of an impression's variance that all readers have from the picture.
        habit: share of the rest that a reader has again at the picture's repeat.
        lapses: share of questions answered at random.
        fatigue: share of d' lost from a reader's first case to the last.
    """

    realism: float = 0.4
    finding: float = 2.4
    spread: float = 0.3
    bias: float = 0.3
    correlation: float = 0.3
    habit: float = 0.5
    lapses: float = 0.02
    fatigue: float = 0.1


@dataclass(frozen=True)
class Scale:
    """A scale of answers: impressions above the n-th limit get an answer above n."""

    limits: tuple[float, ...]

    def coded(self, impressions: Floats) -> NDArray[np.int64]:
        """Return answers from 1."""
        return np.searchsorted(self.limits, impressions) + 1


REALISM = Scale((-0.5, 0.4, 1.1, 1.6, 2.1))
FINDING = Scale((0.3, 0.8, 1.3, 1.9))


def drawn(skill: Skill, readers: Sequence[str], seed: int) -> pd.DataFrame:
    """Return readers of a kind: `reader`, their d' `realism` and `finding`, `bias`, `lapses`."""
    rng, n = np.random.default_rng([seed, 1]), len(readers)
    return pd.DataFrame(
        {
            "reader": list(readers),
            "realism": skill.realism + skill.spread * rng.normal(size=n),
            "finding": skill.finding + skill.spread * rng.normal(size=n),
            "bias": skill.bias * rng.normal(size=n),
            "lapses": skill.lapses,
        }
    )


def order(cases: Sequence[str], readers: Sequence[str], seed: int) -> pd.DataFrame:
    """Return who sees what and when (`reader`, `session`, `position`, `case`, `other`): all, mixed.

    Positions count from 1.
    """
    rng, n = np.random.default_rng([seed, 2]), len(cases)
    own = [pd.DataFrame({"reader": one, "case": rng.permutation(cases)}) for one in readers]
    table = pd.concat(own, ignore_index=True)
    return table.assign(session=1, other="", position=np.tile(np.arange(1, n + 1), len(readers)))


def answers(
    truth: pd.DataFrame,
    readers: pd.DataFrame,
    shown: pd.DataFrame,
    findings: Sequence[str],
    skill: Skill,
    *,
    shows: Mapping[str, Collection[str]] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what readers answer, one row per answer, in the columns of a study's answers.

    Args:
        truth: one row per case: `case`, `kind`, `of`, `finding`, `present`, `side`, `severity`.
        readers: of `drawn`.
        shown: of `order`; rows with `other` are pairs.
        findings: asked of every case.
        skill: correlation, habit and fatigue.
        shows: findings that edits of a finding also show, though nobody requested them.
        seed: of all impressions.
    """
    cases = truth.set_index("case")
    single = shown["other"].eq("").to_numpy()
    last = shown["position"].where(single).groupby(shown["reader"]).transform("max")
    # Pairs come last, when a reader is as tired as at the last single picture.
    course = (shown["position"] - 1) / (last - 1).clip(lower=1)
    rest = 1 - skill.fatigue * course.clip(0, 1).fillna(1)
    seen = _Seen(cases, readers.set_index("reader"), shown.assign(rest=rest), skill, seed)
    altered = _altered(cases)
    plain = cases["kind"].eq("attention").to_numpy()
    parts = []
    for number, name in enumerate(findings):
        also = [finding for finding, others in (shows or {}).items() if name in others]
        there = cases["present"].map(lambda names, name=name: name in names).to_numpy(bool)
        there = there | altered & cases["finding"].isin(also).to_numpy()
        values = seen.coded(
            "finding", there.astype(np.float64), FINDING, number + 1, single, there & plain
        )
        parts.append(seen.rows(single, "findings", f"finding:{name}", values))
        parts += seen.details(name, single, values)
    amount = altered.astype(np.float64)
    values = seen.coded("realism", amount, REALISM, 0, single)
    parts.append(seen.rows(single, "realism", "realism", values))
    if not single.all():
        parts.append(seen.rows(~single, "pairs", "pair", seen.preferred(amount, ~single)))
    return _timed(pd.concat(parts, ignore_index=True), seed)


def _altered(cases: pd.DataFrame) -> NDArray[np.bool_]:
    """Return whether each case, or what it repeats, is an edited or painted picture."""
    kind = cases["kind"].where(cases["kind"] != "repeat", cases["of"].map(cases["kind"]))
    return np.asarray(kind.isin(["edit", "attention"]), bool)


def shares(skill: Skill, what: str, there: ArrayLike, least: int, scale: Scale) -> Floats:
    """Return the expected share of answers of at least `least`, by what is there.

    Args:
        skill: of the readers.
        what: "realism" or "finding".
        there: 0 or 1 (or a share of d'), any shape.
        least: an answer, from 2.
        scale: of the answers.
    """
    rest = 1 - skill.fatigue * np.linspace(0, 1, 201)
    d = np.multiply.outer(np.asarray(there, float), rest)
    spread = np.sqrt(1 + skill.bias**2 + (skill.spread * d) ** 2)
    mean = special.ndtr((getattr(skill, what) * d - scale.limits[least - 2]) / spread).mean(axis=-1)
    count = len(scale.limits) + 1
    return np.asarray((1 - skill.lapses) * mean + skill.lapses * (count - least + 1) / count)


def area(skill: Skill, what: str = "realism", scale: Scale = REALISM) -> float:
    """Return the expected area under one reader's curve, with equal answers as one half."""
    node, mass = np.polynomial.hermite_e.hermegauss(_NODES)
    mass = mass / mass.sum()
    own = getattr(skill, what) + skill.spread * node[:, None]
    bias = skill.bias * node[None, :]
    high, low = (_chances(own * there, bias, skill, scale) for there in (1.0, 0.0))
    below = np.cumsum(low, axis=-1) - low / 2
    return float(np.einsum("i,j,ijk,ijk->", mass, mass, high, below))


def preference(skill: Skill) -> float:
    """Return the expected share of pairs in which the altered picture is called altered."""
    d, spread = (x * (1 - skill.fatigue) for x in (skill.realism, skill.spread))
    return float((1 - skill.lapses) * special.ndtr(d / np.sqrt(2 + spread**2)) + skill.lapses / 2)


def _chances(d: Floats, bias: Floats, skill: Skill, scale: Scale) -> Floats:
    """Return the chance of each answer, ... x q, over the course of a study."""
    rest = 1 - skill.fatigue * np.linspace(0, 1, 41)
    mean = d[..., None] * rest + bias[..., None]
    upto = special.ndtr(np.array([*scale.limits])[:, None] - mean[..., None, :]).mean(axis=-1)
    ends = [np.zeros((*upto.shape[:-1], 1)), upto, np.ones((*upto.shape[:-1], 1))]
    count = len(scale.limits) + 1
    own = np.diff(np.concatenate(ends, axis=-1), axis=-1)
    return np.asarray((1 - skill.lapses) * own + skill.lapses / count)


class _Seen:
    """Impressions of pictures, with what readers and repeats have in common."""

    def __init__(
        self,
        cases: pd.DataFrame,
        readers: pd.DataFrame,
        shown: pd.DataFrame,
        skill: Skill,
        seed: int,
    ) -> None:
        self.cases, self.readers, self.shown, self.skill, self.seed = (
            cases, readers, shown, skill, seed,
        )  # fmt: skip
        first = cases["of"].where(cases["of"] != "", cases.index.to_series())
        self.picture = cases.index.get_indexer(pd.Index(first))
        self.reader = readers.index.get_indexer(pd.Index(shown["reader"]))

    def impressions(
        self, what: str, there: Floats, question: int, column: str, plain: NDArray[np.bool_] | None
    ) -> Floats:
        """Return the impression of every row's picture in `column`."""
        skill = self.skill
        rng = np.random.default_rng([self.seed, 3, question])
        place = self.cases.index.get_indexer(pd.Index(self.shown[column]))
        picture, n, r = self.picture[place], len(self.cases), len(self.readers)
        common, own = rng.normal(size=n)[picture], rng.normal(size=(n, r))[picture, self.reader]
        noise = np.sqrt(skill.habit) * own + np.sqrt(1 - skill.habit) * rng.normal(size=len(place))
        d = self.readers[what].to_numpy(float)[self.reader]
        d = d if plain is None else np.where(plain[place], _PLAIN, d)
        whole = np.sqrt(skill.correlation) * common + np.sqrt(1 - skill.correlation) * noise
        return np.asarray(d * there[place] * self.shown["rest"].to_numpy(float) + whole)

    def coded(
        self,
        what: str,
        there: Floats,
        scale: Scale,
        question: int,
        rows: NDArray[np.bool_],
        plain: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int64]:
        """Return the answers to a question of the chosen rows."""
        impression = self.impressions(what, there, question, "case", plain)
        impression += self.readers["bias"].to_numpy(float)[self.reader]
        values = scale.coded(impression)
        rng = np.random.default_rng([self.seed, 4, question])
        lapse = rng.random(len(values)) < self.readers["lapses"].to_numpy(float)[self.reader]
        values = np.where(lapse, rng.integers(1, len(scale.limits) + 2, len(values)), values)
        return np.asarray(values[rows])

    def preferred(self, there: Floats, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return which picture of each chosen pair looks more altered: 0 or 1."""
        table = self.shown[rows]
        part = _Seen(self.cases, self.readers, table, self.skill, self.seed)
        sides = [
            part.impressions("realism", there, 1000 + n, column, None)
            for n, column in enumerate(("case", "other"))
        ]
        rng = np.random.default_rng([self.seed, 5])
        lapse = rng.random(len(table)) < self.readers["lapses"].to_numpy(float)[part.reader]
        return np.where(lapse, rng.integers(0, 2, len(table)), (sides[1] > sides[0]).astype(int))

    def details(
        self, name: str, chosen: NDArray[np.bool_], values: NDArray[np.int64]
    ) -> list[pd.DataFrame]:
        """Return side and severity of a finding, as they are, where it is called present."""
        parts = []
        case = self.shown.loc[chosen, "case"]
        asked = (values >= len(FINDING.limits)) & (self.cases["finding"].reindex(case) == name)
        for question, codes in (("side", _SIDES), ("severity", _SEVERITIES)):
            known = self.cases[question].map(codes).reindex(case).to_numpy(float)
            some = np.asarray(asked) & np.isfinite(known)
            rows = np.zeros(len(self.shown), bool)
            rows[np.flatnonzero(chosen)[some]] = True
            parts.append(self.rows(rows, "findings", f"{question}:{name}", known[some].astype(int)))
        return parts

    def rows(
        self, chosen: NDArray[np.bool_], block: str, question: str, values: NDArray[np.int64]
    ) -> pd.DataFrame:
        table = self.shown.loc[chosen, ["reader", "session", "position", "case", "other"]]
        return table.assign(block=block, question=question, value=values)


def _timed(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return answers in their order, with times: about four seconds each."""
    table = table.sort_values(["reader", "position"], kind="stable", ignore_index=True)
    rng = np.random.default_rng([seed, 6])
    spent = np.rint(rng.lognormal(np.log(4000), 0.5, len(table))).astype(np.int64)
    until = table.assign(ms=spent).groupby("reader")["ms"].cumsum().to_numpy()
    stamps = {"shown_at": until - spent, "answered_at": until}
    for name, ms in stamps.items():
        text = np.datetime_as_string(_START + ms.astype("timedelta64[ms]"), unit="ms")
        table[name] = np.char.add(text, "+00:00")
    return table.assign(client_ms=spent, server_ms=spent)
