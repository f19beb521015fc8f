"""What the page shows of a retraining, section by section, ready for the template."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from roentmod.report import words
from roentmod.report.gains import gains
from roentmod.report.page import _date, _records
from roentmod.report.tables import (
    Cell,
    Column,
    Table,
    _area,
    _count,
    _text,
    _with_interval,
    settings,
    table,
)
from roentmod.report.words import NOTHING, number, p_value, percent, readable, signed
from roentmod.science.performance import Evaluation

__all__ = ["Retrained", "content"]

Row = Mapping[str, Any]
_BADGES = {"passed": ("✓", "good"), "failed": ("▲", "bad"), "not measured": ("?", "open")}
_SYNTHETIC = ("synthetic", "isolated", "soft")
_GAPS = 40  # rows of the table of gaps
_WHAT = (("Finding", "finding"), ("Test", "place"))
_UNLABELLED = "No finding is labelled in a test."


class Retrained(Protocol):
    """A finished retraining: a `roentmod.jobs.retrain.RetrainResult`."""

    @property
    def folder(self) -> Path:
        """The run directory."""
        ...

    @property
    def record(self) -> dict[str, Any]:
        """What it was made with: plan, tests and provenance."""
        ...

    @property
    def predictions(self) -> pd.DataFrame:
        """One row a reading; see `roentmod.science.performance.panels`."""
        ...


def content(result: Retrained, found: Evaluation) -> dict[str, Any]:
    """Return everything the template needs, as text, `Table` and `Picture`."""
    record, rules = result.record, found.rules
    plan = record.get("plan", {})
    drawn = _drawn(found)
    used = [arm for arm in _SYNTHETIC if arm in set(found.mean["arm"])]
    return {
        "title": "Retraining",
        "date": _date(record.get("provenance", {})),
        "overview": settings("What was trained and tested", _overview(record, found)),
        "headlines": _headlines(found),
        "shares": _shares(found),
        "scores_said": _scores_said(found),
        "chart": gains(drawn, limit=rules.gain, reference=rules.reference) if drawn else None,
        "level": percent(rules.level),
        "resamples": str(rules.resamples),
        "reference": readable(rules.reference),
        "limit": number(100 * rules.gain, 1),
        "bins": str(rules.bins),
        "fewest": str(rules.fewest),
        "synthetic": ", ".join(used),
        "paired": len(found.pairs) > 0,
        "pairs": _pairs(found),
        "slices": _slices(found),
        "areas": _areas(found.mean),
        "comparisons": _comparisons(found, planned=True),
        "contrasts": _comparisons(found, planned=False),
        "operating": _operating(found),
        "stress": _stress(found),
        "calibration": _calibration(found),
        "reverse": _reverse(found),
        "reverse_scores": _reverse_scores(found),
        "gaps": _gaps(found),
        "seeds": _seeds(found),
        "scores": _scores(found),
        "short": _short(record, found),
        "plan": settings("Parameters", words.flat(plan), empty="No plan was recorded."),
        "provenance": settings(
            "Versions, hashes and machine",
            words.flat(record.get("provenance", {})),
            empty="No provenance was recorded.",
        ),
    }


def _overview(record: Mapping[str, Any], found: Evaluation) -> list[tuple[str, str]]:
    plan = record.get("plan", {})
    pairs = [f"{cause} → {read}" for cause, read in plan.get("pairs", ())]
    rows = [
        ("Classifier", str(plan.get("model", NOTHING))),
        ("Findings", ", ".join(plan.get("findings", ()))),
        ("Confounded pairs (cause → read)", ", ".join(pairs) or "none"),
        ("Arms", ", ".join(map(str, plan.get("arms", ())))),
        ("Seeds", ", ".join(map(str, plan.get("seeds", ())))),
    ]
    for (where, test), own in found.mean.groupby(["where", "test"], sort=False):
        told = f"up to {own['n'].max()} radiographs of {own['patients'].max()} patients"
        rows.append((f"Test, {where}", f"{test}: {told}"))
    return [*rows, ("Date", _date(record.get("provenance", {})))]


def _name(row: Row) -> str:
    return f"{readable(row['cause'])} → {readable(row['read'])}"


def _where(row: Row) -> str:
    return f"{readable(row['where'])} ({readable(row['test'])})"


def _points(row: Row) -> str:
    """Return a difference of areas in points, with its interval."""
    value, low, high = (100 * float(row[key]) for key in ("difference", "low", "high"))
    few = "; too few" if row["state"] == "too few" else ""
    return f"{signed(value, 1)} ({words.interval(low, high, 1)}{few})"


def _subjects(found: Evaluation) -> list[dict[str, Any]]:
    """Return comparisons with the reference, of pairs where there are any, else of findings."""
    if len(found.pair_comparisons):
        rows = _records(found.pair_comparisons[found.pair_comparisons["slice"] == "all"])
        named = [{**row, "subject": _name(row)} for row in rows]
    else:
        rows = _records(found.comparisons)
        named = [{**row, "subject": readable(row["finding"])} for row in rows]
    return [row for row in named if row["reference"] == found.rules.reference]


def _drawn(found: Evaluation) -> list[dict[str, Any]]:
    return [row for row in _subjects(found) if math.isfinite(float(row["difference"]))]


def _headlines(found: Evaluation) -> list[dict[str, Any]]:
    """Return one sentence a subject: what the corrected arms gained over the reference."""
    rows = [row for row in _subjects(found) if row["arm"] in found.rules.corrected]
    gained = _records(found.checks[found.checks["check"] == "gain"])
    told = []
    for subject in dict.fromkeys(row["subject"] for row in rows):
        own = [row for row in rows if row["subject"] == subject]
        states = {row["state"] for row in gained if readable(row["subject"]) == subject}
        state = next((s for s in ("failed", "not measured", "passed") if s in states), "")
        badge, style = _BADGES.get(state, ("•", "open"))
        parts = []
        for where in dict.fromkeys(map(_where, own)):
            arms = [f"{row['arm']} {_points(row)}" for row in own if _where(row) == where]
            parts.append(f"{where}: {', '.join(arms)}")
        words_ = {"passed": "gained everywhere", "failed": "not everywhere"}.get(state, state)
        told.append(
            {
                "name": subject,
                "badge": f"{badge} {words_}".strip(),
                "style": style,
                "text": f"Points of AUC above {readable(found.rules.reference)}. "
                + "; ".join(parts)
                + ".",
            }
        )
    return told


def _shares(found: Evaluation) -> list[str]:
    told = []
    for row in _records(found.checks[found.checks["check"] == "shares"]):
        told.append(
            f"{readable(row['arm'])}, {_where(row)}: {readable(row['subject'])} gain at least "
            f"{number(100 * found.rules.gain, 1)} points with an interval above 0 (asked for: "
            f"{percent(row['limit'])}; {row['state']})."
        )
    return told


def _scores_said(found: Evaluation) -> str:
    rows = [r for r in _records(found.scores) if r["arm"] in found.rules.corrected]
    parts = [f"{readable(row['arm'])} {percent(row['fall'])}" for row in rows]
    if not parts:
        return "No audit of the trained models was given: how the shortcut score fell is not known."
    asked = percent(found.rules.fall)
    return f"The audit's shortcut score fell by: {', '.join(parts)} (asked for: {asked})."


def _across(
    caption: str,
    down: Sequence[tuple[str, str]],
    rows: Iterable[Row],
    cell: Callable[[Row], Cell],
    *,
    key: str = "arm",
    empty: str = "",
    note: str = "",
) -> Table:
    """Return `rows` as a table, a line each combination of `down`, a column each value of `key`."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    names: dict[str, None] = {}
    for row in rows:
        names[str(row[key])] = None
        place = tuple(str(row[name]) for _, name in down)
        start = {**{name: row[name] for _, name in down}, "own": {}}
        lines.setdefault(place, start)["own"][str(row[key])] = row

    def column(name: str) -> Column:
        def shown(line: Row) -> Cell:
            return cell(line["own"][name]) if name in line["own"] else Cell(NOTHING)

        return Column(readable(name), shown)

    heads = [_text(label, name) for label, name in down]
    columns = (*heads, *map(column, names))
    return table(caption, columns, lines.values(), empty=empty, note=note)


def _placed(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows with the place of their test, and the name of their pair, in words."""
    paired = {"cause", "read"} <= set(frame.columns)
    return [
        {**row, "place": _where(row), "pair": _name(row) if paired else ""}
        for row in _records(frame)
    ]


def _value(row: Row) -> Cell:
    """Return a value with its interval, as the row's measure is shown."""
    share = bool(row.get("share"))
    text = percent(row["value"]) if share else number(row["value"], 3)
    if text == NOTHING or not math.isfinite(float(row["low"])):
        return Cell(text)
    ends = f"{number(row['low'], 3)} to {number(row['high'], 3)}"
    if share:
        ends = words.interval(row["low"], row["high"], share=True)
    few = "; too few" if row["state"] == "too few" else ""
    return Cell(text, f"{ends}{few}")


def _measured(
    frame: pd.DataFrame, measures: Mapping[str, tuple[str, bool]]
) -> list[dict[str, Any]]:
    """Return one row a row and measure: what it is called, and whether it is a share."""
    return [
        {
            **row,
            "measure": label,
            "share": share,
            "value": row[key],
            "low": row.get(f"{key}_low", math.nan),
            "high": row.get(f"{key}_high", math.nan),
        }
        for row in _placed(frame)
        for key, (label, share) in measures.items()
    ]


def _pairs(found: Evaluation) -> Table:
    own = found.pairs[found.pairs["slice"] == "all"].rename(columns={"auc": "value"})
    return _across(
        "AUC of the read finding, by arm and pair, all pictures, means over seeds",
        (("Arm", "arm"), ("Test", "place")),
        _placed(own),
        _value,
        key="pair",
        empty="No pair of findings was confounded.",
    )


def _slices(found: Evaluation) -> Table:
    own = found.pairs[found.pairs["slice"] != "all"].rename(columns={"auc": "value"})
    down = (("Cause → read", "pair"), ("Test", "place"), ("Slice", "slice"))
    return _across(
        "AUC of the read finding, by slice of the test",
        (*down, ("Pictures", "n"), ("Positive", "positives")),
        _placed(own),
        _value,
        note="Cross: read without cause against cause without read. A head that answers to the "
        "cause alone has an area of 0 there, and of 0.5 where the cause is the same in all.",
    )


def _areas(mean: pd.DataFrame) -> Table:
    named = {"auc": "value", "auc_low": "low", "auc_high": "high"}
    return _across(
        "AUC by arm and finding, means over seeds",
        (("Arm", "arm"), ("Test", "place")),
        _placed(mean.rename(columns=named)),
        _value,
        key="finding",
        empty=_UNLABELLED,
    )


def _comparisons(found: Evaluation, *, planned: bool) -> Table:
    own = found.comparisons
    own = own[(own["reference"] == found.rules.reference) == planned]
    rows = [{**row, "contrast": f"{row['arm']} − {row['reference']}"} for row in _placed(own)]
    against = readable(found.rules.reference) if planned else "each other"
    return _across(
        f"Points of AUC by which arms differ from {against}, by finding",
        (*_WHAT, ("Pictures", "n"), ("Positive", "positives")),
        rows,
        _difference,
        key="contrast",
        empty="No arms could be compared." if planned else "",
        note="Below each difference its interval, and q of the paired DeLong test." if rows else "",
    )


def _difference(row: Row) -> Cell:
    value, low, high = (100 * float(row[key]) for key in ("difference", "low", "high"))
    few = "; too few" if row["state"] == "too few" else ""
    return Cell(signed(value, 1), f"{words.interval(low, high, 1)}; q {p_value(row['q'])}{few}")


def _places(*more: Column) -> tuple[Column, ...]:
    where = Column("Test", lambda row: Cell(_where(row)), "text")
    return (_text("Arm", "arm"), where, *more)


def _operating(found: Evaluation) -> Table:
    measures = {
        "ap": ("Average precision", False),
        "sensitivity": ("Sensitivity", True),
        "specificity": ("Specificity", True),
    }
    return _across(
        "Average precision, and what is reached at the thresholds chosen on validation",
        (*_WHAT, ("Measure", "measure")),
        _measured(found.mean, measures),
        _value,
        empty=_UNLABELLED,
    )


def _share(label: str, key: str) -> Column:
    return _with_interval(label, key, f"{key}_low", f"{key}_high", share=True)


def _stress(found: Evaluation) -> Table:
    measures = {
        "clean": ("Nothing found", True),
        "stress": ("Another finding", True),
        "drop": ("Drop", True),
    }
    return _across(
        "Specificity where nothing is found, and where another finding is",
        (*_WHAT, ("Clean", "n_clean"), ("Other", "n_stress"), ("Negatives", "measure")),
        _measured(found.stress, measures),
        _value,
        empty="No test has negatives of both kinds.",
    )


def _calibration(found: Evaluation) -> Table:
    measures = {
        "ece": ("ECE", False),
        "ece_chance": ("ECE by chance", False),
        "ece_platt": ("ECE, calibrated", False),
        "brier": ("Brier", False),
        "brier_platt": ("Brier, calibrated", False),
    }
    return _across(
        "Calibration: expected error, and Brier score, as trained and calibrated on validation",
        (*_WHAT, ("Measure", "measure")),
        _measured(found.mean, measures),
        _value,
        empty=_UNLABELLED,
        note="By chance: the ECE that a model would show here if its probabilities were exactly "
        "right.",
    )


def _reverse(found: Evaluation) -> Table:
    measures = {
        "single": ("Sensitivity, alone", True),
        "both": ("Sensitivity, with the cause", True),
        "loss": ("Loss", True),
        "change": ("Loss against reference", True),
        "auc": ("AUC, cause present", False),
    }
    down = (("Cause → read", "pair"), ("Test", "place"), ("Alone", "n_single"), ("Both", "n_both"))
    return _across(
        "Sensitivity where the finding comes alone, and where it truly comes with the cause",
        (*down, ("Measure", "measure")),
        _measured(found.reverse, measures),
        _value,
        empty="No pair of findings was confounded.",
    )


def _reverse_scores(found: Evaluation) -> Table:
    return table(
        "Reverse-shortcut score: mean loss over pairs",
        _places(
            _count("Pairs", "pairs"),
            _with_interval("Loss", "loss", "low", "high", share=True),
            Column("SD of seeds", lambda row: Cell(percent(row["seed_sd"]))),
        ),
        _records(found.reverse_scores),
        empty="In no test does a finding come both alone and with its cause.",
    )


def _gaps(found: Evaluation) -> Table:
    rows = _records(found.gaps[found.gaps["largest"].astype(bool)])
    shown = sorted(rows, key=lambda row: -float(row["gap"]))[:_GAPS]
    note = "The gap is the AUC of the best read group less that of the worst."
    if len(shown) < len(rows):
        note += f" Shown are the {len(shown)} largest of {len(rows)}; all are in the JSON."
    return table(
        "Largest gap of AUC between groups of patients, by arm and finding",
        _places(
            _text("Finding", "finding"),
            Column("Attribute", lambda row: Cell(readable(row["attribute"]).replace("_", " "))),
            Column(
                "Best, worst",
                lambda row: Cell(readable(row["best"]), readable(row["worst"])),
                "text",
            ),
            _area("Gap", "gap", "low", "high"),
        ),
        shown,
        empty=f"No attribute has two groups with {found.rules.fewest} positives and negatives.",
        note=note,
    )


def _seeds(found: Evaluation) -> Table:
    kept: dict[tuple[str, str, str], list[str]] = {}
    for row in _records(found.each):
        told = kept.setdefault((row["test"], row["finding"], row["arm"]), [])
        told.append(number(row["auc"], 3))

    def cell(row: Row) -> Cell:
        seeds = kept[row["test"], row["finding"], row["arm"]]
        return Cell(number(row["auc_sd"], 3), ", ".join(seeds))

    return _across(
        "Deviation of AUC between seeds, and the AUC of every seed",
        _WHAT,
        _placed(found.mean),
        cell,
        empty=_UNLABELLED,
    )


def _scores(found: Evaluation) -> Table:
    return table(
        "Shortcut score of the audit",
        (
            _text("Arm", "arm"),
            _count("Seeds", "seeds"),
            Column("Score", lambda row: Cell(percent(row["score"]))),
            Column(
                "Lowest, highest seed",
                lambda row: Cell(f"{percent(row['lowest'])}, {percent(row['highest'])}"),
            ),
            Column("Fall", lambda row: Cell(percent(row["fall"]))),
        ),
        _records(found.scores),
        empty="No audit of the trained models was given.",
    )


def _short(record: Mapping[str, Any], found: Evaluation) -> list[str]:
    """Return in plain words what was asked for and not reached, and what is missing."""
    told = [_missed(row) for row in _records(found.checks) if row["state"] != "passed"]
    few = found.mean[found.mean["state"] != "ok"].drop_duplicates(["test", "finding"])
    for row in _records(few):
        told.append(
            f"{_where(row)}, {readable(row['finding'])}: {row['state']} ({row['positives']} "
            f"positive of {row['n']}); its numbers say little."
        )
    asked = {str(seed) for seed in record.get("plan", {}).get("seeds", ())}
    for arm in record.get("plan", {}).get("arms", ()):
        own = found.each[found.each["arm"] == arm]["seed"].astype(str)
        if missing := sorted(asked - set(own)):
            told.append(f"{readable(arm)}: no predictions of seed {', '.join(missing)}.")
    return told


def _missed(row: Row) -> str:
    value, limit = row["value"], row["limit"]
    place = f" in {_where(row)}" if row["test"] else ""
    arm, subject = readable(row["arm"]), readable(row["subject"])
    end = " (not measured)" if row["state"] == "not measured" else ""
    if row["check"] in ("gain", "rival"):
        asked = f"at least {number(100 * limit, 1)}" if limit else "more than 0"
        text = _points({**row, "difference": value})
        against = "" if row["check"] == "gain" else " (the rival named)"
        return (
            f"{arm}, {subject}{against}{place}: {text} points of AUC; asked for {asked}, with an "
            f"interval above 0{end}."
        )
    if row["check"] == "shares":
        return f"{arm}{place}: {subject} gain; asked for {percent(limit)} of pairs{end}."
    if row["check"] == "fall":
        return (
            f"{arm}: the shortcut score fell by {percent(value)}; asked for {percent(limit)}{end}."
        )
    told = f"{signed(100 * value, 1)} ({words.interval(100 * row['low'], 100 * row['high'], 1)})"
    return (
        f"{arm} against {subject}{place}: the loss where findings come together differs by {told} "
        f"points; asked for an interval below 0{end}."
    )
