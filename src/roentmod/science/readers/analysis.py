"""From a study's answers to its results: realism, shares, off-target findings, agreement, pairs.

Everything is computed twice where the attention rule excludes somebody: of all readers ("all") and
of those it keeps ("attentive"). Findings and realism are asked on scales; a finding counts as seen,
and a picture as realistic, from answers that the study's plan names before the first one is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.errors import ReadersError
from roentmod.science import stats
from roentmod.science.readers import pairs
from roentmod.science.readers.agreement import AGREEMENT, Weighting, agreement, repeats
from roentmod.science.readers.merits import Merit, area, share
from roentmod.science.readers.mrmc import Inference, Samples, contrast, infer

__all__ = ["GROUPS", "Analysis", "Rules", "analyse", "sightings"]

Floats = NDArray[np.float64]
GROUPS = ("all", "attentive")
_REAL = ("real_positive", "real_normal")
_SCORED = ("edit", *_REAL)
_AGAINST = {"real": _REAL, "real_positive": _REAL[:1], "real_normal": _REAL[1:]}
_LEVELS = {"finding": 5, "realism": 6}
_SIDES = {"left": 1, "right": 2, "both": 3}
_SEVERITIES = {"mild": 1, "moderate": 2, "severe": 3}


@dataclass(frozen=True)
class Rules:
    """What counts, fixed before the first answer.

    Attributes:
        findings: asked of every case, in order.
        level: of all intervals.
        present: answer from which a finding counts as seen, of 5.
        altered: answer from which a picture counts as altered, of 6.
        least: share of attention cases below which a reader is excluded.
        resamples: of patients for agreement, of pairs for the strengths of `pairs`.
        seed: of the resamples.
    """

    findings: tuple[str, ...]
    level: float = 0.95
    present: int = 4
    altered: int = 4
    least: float = 0.75
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Analysis:
    """All tables of a study. `group` is one of `GROUPS`.

    Attributes:
        readers: reader, answers, cases, attention, passed, included, seconds, drift: median seconds
            per answer, and the rank correlation of time and position.
        realism: group, against, samples, then `Inference` of the area of "altered" for edits.
        areas: reader, against, auc, low, high (t, with DeLong's variance, patients as the unit).
        shares: group, measure, finding ("all" or one), kind, then `Inference`. Measures:
            "realistic"; "seen" of the requested or labelled finding, in normals of any of them;
            "side" and "severity" as requested, among answers that see it.
        contrasts: group, measure, finding, read, then `Inference` of a difference, p and p_holm
            over the measure. Measures: "realistic", edits less real; "seen", edits less normals;
            "seen_real", edits less real positives; "off_target", a finding nobody requested, edits
            less normals.
        agreement: group, raters ("readers" or "repeats"), question, scale ("binary" or "ordinal"),
            then `AGREEMENT`.
        pairs: group, finding, then `Inference` of the share of pairs in which the edited picture
            is called the altered one.
        strengths: group, item, then log odds against real pictures with low and high.
    """

    readers: pd.DataFrame
    realism: pd.DataFrame
    areas: pd.DataFrame
    shares: pd.DataFrame
    contrasts: pd.DataFrame
    agreement: pd.DataFrame
    pairs: pd.DataFrame
    strengths: pd.DataFrame


def analyse(truth: pd.DataFrame, answers: pd.DataFrame, rules: Rules) -> Analysis:
    """Return all tables of a study.

    Args:
        truth: one row per case: case, kind, of, patient, finding, present, side, severity.
        answers: one row per answer: reader, session, position, case, block, question, value, other,
            server_ms.
        rules: what counts.

    Raises:
        ReadersError: a case that the truth does not know, an answer given twice, or none at all.
    """
    _check(truth, answers)
    people = _people(truth, answers, rules)
    kept = people.loc[people["included"], "reader"].tolist()
    groups = {"all": people["reader"].tolist()}
    if len(kept) < len(people):
        groups["attentive"] = kept
    parts: dict[str, list[pd.DataFrame]] = {}
    for group, readers in groups.items():
        own = _Readings(truth, answers, readers, rules)
        tables = {
            "realism": own.realism(),
            "shares": own.shares(),
            "contrasts": own.contrasts(),
            "agreement": own.agreement(),
        }
        own_pairs = answers[answers["reader"].isin(readers) & (answers["question"] == "pair")]
        tables["pairs"], tables["strengths"] = pairs.preferences(
            truth, own_pairs, level=rules.level, resamples=rules.resamples, seed=rules.seed
        )
        for name, table in tables.items():
            table.insert(0, "group", group)
            parts.setdefault(name, []).append(table)
    merged: dict[str, Any] = {n: pd.concat(p, ignore_index=True) for n, p in parts.items()}
    areas = _Readings(truth, answers, groups["all"], rules).areas()
    return Analysis(readers=people, areas=areas, **merged)


def sightings(truth: pd.DataFrame, answers: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Return what readers saw in each edited case, for an audit's gate and leakage.

    Readers who fail the attention rule are left out. Nobody was shown an edit's own control: what
    readers see in real normals is, as `effects.readings` describes.

    Returns:
        One row per edited case: patient_id, edited_finding, `seen`, the share of readers who see
        the edited finding; and one column per finding that was asked: the share who see it. Then
        one row per real normal, whose edited_finding is "" and seen NaN.

    Raises:
        ReadersError: as `analyse`, or there is no real normal.
    """
    _check(truth, answers)
    people = _people(truth, answers, rules)
    own = _Readings(truth, answers, people.loc[people["included"], "reader"].tolist(), rules)
    normal = own.kinds("real_normal")
    if not normal.any():
        raise ReadersError(
            "What readers see in edits is measured against real normals; the study has none. "
            "Design it with normals."
        )
    table = own.cases[["patient", "finding"]].reset_index(drop=True)
    table.columns = pd.Index(["patient_id", "edited_finding"])
    shares = pd.DataFrame({name: _mean(own.seen(name)) for name in rules.findings})
    seen = np.full(len(table), np.nan)
    for name in rules.findings:
        requested = (table["edited_finding"] == name).to_numpy()
        seen[requested] = shares.loc[requested, name]
    table.insert(2, "seen", seen)
    table.loc[normal, ["edited_finding", "seen"]] = "", np.nan
    table = table.join(shares)
    edits = table[own.kinds("edit")].dropna(subset=["seen"])
    return pd.concat([edits, table[normal]], ignore_index=True)


def _check(truth: pd.DataFrame, answers: pd.DataFrame) -> None:
    if answers.empty:
        raise ReadersError("An analysis needs answers; there are none. Hold the study first.")
    unknown = set(answers["case"]) - set(truth["case"])
    if unknown:
        raise ReadersError(
            f"Answers are to cases of the study; {len(unknown)} are to others, as "
            f"{min(unknown)}. Give the study's own answers."
        )
    twice = answers.duplicated(["reader", "case", "other", "question"])
    if twice.any():
        row = answers[twice].iloc[0]
        raise ReadersError(
            f"A reader answers each question once; {row['reader']} answered {row['question']} of "
            f"{row['case']} twice. Export the answers again."
        )


def _people(truth: pd.DataFrame, answers: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Return who the readers are, and whom the attention rule keeps."""
    attention = truth[truth["kind"] == "attention"]
    wanted = attention["case"] + " finding:" + attention["finding"]
    checked = answers[(answers["case"] + " " + answers["question"]).isin(wanted)]
    right = (checked["value"] >= rules.present).groupby(checked["reader"])
    rows = []
    for reader, own in answers.groupby("reader", sort=True):
        count = int(right.size().get(reader, 0))
        passed = float(right.mean()[reader]) if count else np.nan
        course = own[["server_ms", "position"]]
        varied = (course.nunique() > 1).all()
        drift = course.corr(method="spearman").iloc[0, 1] if varied else np.nan
        rows.append(
            {
                "reader": reader,
                "answers": len(own),
                "cases": own["case"].nunique(),
                "attention": count,
                "passed": passed,
                "included": not passed < rules.least,
                "seconds": float(own["server_ms"].median()) / 1000,
                "drift": drift,
            }
        )
    return pd.DataFrame(rows)


class _Readings:
    """The answers of some readers as tables, cases by readers."""

    def __init__(
        self, truth: pd.DataFrame, answers: pd.DataFrame, readers: Sequence[str], rules: Rules
    ) -> None:
        self.rules, self.readers = rules, list(readers)
        scored = truth["kind"].isin(_SCORED)
        self.cases = truth[scored].set_index("case", drop=False)
        again = truth[truth["kind"] == "repeat"]
        self.again = again[again["of"].isin(self.cases.index)].set_index("case", drop=False)
        own = answers[answers["reader"].isin(readers) & answers["other"].fillna("").eq("")]
        self._answers = own[["question", "case", "reader", "value"]]
        self._wide: dict[str, pd.DataFrame] = {}

    def kinds(self, *names: str) -> NDArray[np.bool_]:
        """Return which scored cases are of a kind, n."""
        return np.asarray(self.cases["kind"].isin(names), bool)

    def values(self, question: str, cases: Any = None) -> Floats:
        """Return the answers to a question, n x r, NaN where there is none."""
        if question not in self._wide:
            own = self._answers[self._answers["question"] == question]
            self._wide[question] = own.pivot(index="case", columns="reader", values="value")
        wanted = self.cases.index if cases is None else cases
        wide = self._wide[question].reindex(index=wanted, columns=self.readers)
        return np.asarray(wide.to_numpy(float))

    def seen(self, name: str) -> Floats:
        """Return whether readers see a finding, n x r, NaN where there is no answer."""
        return _from(self.values(f"finding:{name}"), self.rules.present)

    def share(self, yes: Floats, cases: NDArray[np.bool_]) -> Merit:
        """Return the share of yes among chosen cases, of readers who have any."""
        return share(yes[cases], self.cases["patient"].to_numpy(str)[cases])

    def realism(self) -> pd.DataFrame:
        """Return the areas of realism."""
        scores, edits, rows = self.values("realism"), self.kinds("edit"), []
        patients = self.cases["patient"].to_numpy(str)
        for against, kinds in _AGAINST.items():
            chosen = edits | self.kinds(*kinds)
            merit = area(scores[chosen], edits[chosen], patients[chosen])
            if not merit.values.size and against != "real":
                continue
            for samples in get_args(Samples):
                if merit.values.size < 2 and samples != "cases":
                    continue
                result = infer(merit, level=self.rules.level, samples=samples)
                rows.append({"against": against} | vars(result))
        return pd.DataFrame(rows)

    def areas(self) -> pd.DataFrame:
        """Return each reader's area of realism."""
        scores, edits, rows = self.values("realism"), self.kinds("edit"), []
        patients = self.cases["patient"].to_numpy(str)
        for against, kinds in _AGAINST.items():
            chosen = edits | self.kinds(*kinds)
            for reader, column in zip(self.readers, scores.T, strict=True):
                some = chosen & np.isfinite(column)
                if not 0 < edits[some].sum() < some.sum():
                    continue
                # A patient may have several edits: patients are the unit here, too.
                merit = area(column[some, None], edits[some], patients[some])
                own = infer(merit, level=self.rules.level, samples="cases")
                row = {"reader": reader, "against": against, "auc": own.value}
                rows.append(row | {"low": own.low, "high": own.high})
        return pd.DataFrame(rows, columns=["reader", "against", "auc", "low", "high"])

    def shares(self) -> pd.DataFrame:
        """Return the shares."""
        rows = [
            {"measure": measure, "finding": finding, "kind": kind}
            | vars(infer(self.share(yes, cases), level=self.rules.level))
            for measure, finding, kind, yes, cases in self._measures()
            if cases.any() and np.isfinite(yes[cases]).any()
        ]
        return pd.DataFrame(rows, columns=["measure", "finding", "kind", *_FIELDS])

    def _measures(self) -> Iterator[tuple[str, str, str, Floats, NDArray[np.bool_]]]:
        realistic = _below(self.values("realism"), self.rules.altered)
        own = self.cases["finding"].to_numpy(str)
        seen = {name: self.seen(name) for name in self.rules.findings}
        requested = np.full(realistic.shape, np.nan)
        for name, yes in seen.items():
            requested[own == name] = yes[own == name]
        for kind in _SCORED:
            yield "realistic", "all", kind, realistic, self.kinds(kind)
        for kind in ("edit", "real_positive"):
            yield "seen", "all", kind, requested, self.kinds(kind)
        for name, yes in seen.items():
            for kind in _SCORED:
                carrying = (own == name) | (kind == "real_normal")
                yield "seen", name, kind, yes, self.kinds(kind) & carrying
            yield "realistic", name, "edit", realistic, self.kinds("edit") & (own == name)
        for measure, codes in (("side", _SIDES), ("severity", _SEVERITIES)):
            yield measure, "all", "edit", self._as_requested(measure, codes), self.kinds("edit")

    def _as_requested(self, measure: str, codes: dict[str, int]) -> Floats:
        """Return whether side or severity are as requested, where the finding is seen."""
        wanted = self.cases[measure].map(codes).to_numpy(float)
        own = self.cases["finding"].to_numpy(str)
        result = np.full((len(own), len(self.readers)), np.nan)
        for name in self.rules.findings:
            here = (own == name) & np.isfinite(wanted)
            values = self.values(f"{measure}:{name}")[here]
            same = (values == wanted[here, None]) * 1.0
            result[here] = np.where(np.isfinite(values), same, np.nan)
        return result

    def contrasts(self) -> pd.DataFrame:
        """Return differences between edits and real cases."""
        edits, normals, own = self.kinds("edit"), self.kinds("real_normal"), self.cases["finding"]
        realistic = _below(self.values("realism"), self.rules.altered)
        tests = [("realistic", "all", "", realistic, edits, self.kinds(*_REAL))]
        present = self.cases["present"]
        for read in self.rules.findings:
            yes, real = self.seen(read), self.kinds("real_positive") & (own == read).to_numpy()
            free = ~np.array([read in names for names in present], bool)
            for name in self.rules.findings:
                cases = edits & (own == name).to_numpy()
                if name == read:
                    tests.append(("seen", name, read, yes, cases, normals))
                    tests.append(("seen_real", name, read, yes, cases, real))
                else:
                    tests.append(("off_target", name, read, yes, cases & free, normals))
        rows = []
        for measure, name, read, yes, one, other in tests:
            row = {"measure": measure, "finding": name, "read": read}
            result = self._contrast(yes, one, other)
            if result is not None:
                rows.append(row | vars(result[0]) | {"p": result[1]})
        table = pd.DataFrame(rows, columns=["measure", "finding", "read", *_FIELDS, "p"])
        adjusted = table.groupby("measure")["p"].transform(lambda p: stats.holm(p.to_numpy(float)))
        return table.assign(p_holm=adjusted.astype(float))

    def _contrast(
        self, yes: Floats, one: NDArray[np.bool_], other: NDArray[np.bool_]
    ) -> tuple[Inference, float] | None:
        """Return a difference of shares, of readers who answered on both sides."""
        sides = [np.isfinite(yes[cases]).any(axis=0) for cases in (one, other)]
        both = sides[0] & sides[1]
        if not both.any():
            return None
        merits = (self.share(yes[:, both], cases) for cases in (one, other))
        return contrast(*merits, level=self.rules.level)

    def agreement(self) -> pd.DataFrame:
        """Return agreement between readers, and of readers with themselves."""
        rules, tables = self.rules, []
        questions = [(f"finding:{name}", "finding", rules.present) for name in rules.findings]
        for question, scale, least in [*questions, ("realism", "realism", rules.altered)]:
            first = self.values(question)
            earlier = self.values(question, self.again["of"])
            again = repeats(earlier, self.values(question, self.again.index))
            patients = self.again["patient"].to_numpy(str)
            own = self.cases["patient"].to_numpy(str)
            for raters, values, names in (("readers", first, own), ("repeats", again, patients)):
                for kind, form, coded, count in _scaled(values, least, _LEVELS[scale]):
                    table = agreement(
                        coded, names, count, form=form, level=rules.level,
                        resamples=rules.resamples, seed=rules.seed,
                    )  # fmt: skip
                    about = {"raters": raters, "question": question, "scale": kind}
                    tables.append(table.rename(columns={"raters": "answering"}).assign(**about))
        merged = pd.concat(tables, ignore_index=True)
        measures = [name for name in AGREEMENT if name != "raters"]
        return merged[["raters", "question", "scale", *measures, "answering"]]


_FIELDS = tuple(Inference.__dataclass_fields__)


def _scaled(values: Floats, least: int, count: int) -> Iterator[tuple[str, Weighting, Floats, int]]:
    """Yield answers as yes or no, and on their scale, from 0."""
    yield "binary", "identity", _from(values, least), 2
    yield "ordinal", "ordinal", values - 1, count


def _from(values: Floats, least: int) -> Floats:
    return np.where(np.isfinite(values), values >= least, np.nan)


def _below(values: Floats, least: int) -> Floats:
    return np.where(np.isfinite(values), values < least, np.nan)


def _mean(yes: Floats) -> Floats:
    """Return the mean of each row over the readers who answered; NaN without any."""
    here = np.isfinite(yes)
    return stats.ratio(np.where(here, yes, 0).sum(axis=1), here.sum(axis=1))
