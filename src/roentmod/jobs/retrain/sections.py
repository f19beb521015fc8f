"""The page of a retraining."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from roentmod.plans.retrain import ABOUT, COUNTERFACTUAL_ARMS
from roentmod.report import figures, standard
from roentmod.report.page import Block, Page, Picture, Section, Verdict, verdict
from roentmod.report.tables import Cell, Table, across, pivot, settings
from roentmod.report.texts import Texts, listed
from roentmod.report.words import (
    NOTHING,
    Row,
    date,
    decimals,
    interval,
    known,
    number,
    p_value,
    percent,
    records,
    signed,
    triple,
    unique,
)
from roentmod.runs.record import EARLIER
from roentmod.science.performance import Evaluation, sure

if TYPE_CHECKING:
    from roentmod.jobs.retrain.result import RetrainResult

__all__ = ["shown"]

_say = Texts(Path(__file__).with_name("page.md"))
_DIFFERENCE = ("difference", "low", "high")
_GAPS = 40  # rows of the table of gaps
# Requirements of the primary outcome, by check.
_PRIMARY = {
    "superior": "at least {:.1f}, with an interval above 0",
    "best rival": "more than {:.0f}, with an interval above 0",
    "not inferior": "an interval above {:.1f}",
}
_GAINED = {"passed": "gained everywhere", "failed": "not everywhere"}
# Each table of measures: key, what it is called, and whether it is a share.
_OPERATING = {
    "ap": ("Average precision", False),
    "sensitivity": ("Sensitivity", True),
    "specificity": ("Specificity", True),
}
_STRESS = {
    "clean": ("Nothing found", True),
    "stress": ("Another finding", True),
    "drop": ("Drop", True),
}
_CALIBRATION = {
    "ece": ("ECE", False),
    "ece_chance": ("ECE by chance", False),
    "ece_platt": ("ECE, calibrated", False),
    "brier": ("Brier", False),
    "brier_platt": ("Brier, calibrated", False),
}
_REVERSE = {
    "single": ("Sensitivity, alone", True),
    "both": ("Sensitivity, with the cause", True),
    "loss": ("Loss", True),
    "reverse": ("Reverse shortcut", True),
    "dependence": ("Residual dependence", True),
    "change": ("Loss against reference", True),
    "auc": ("AUC, cause present", False),
}


def shown(result: RetrainResult, evaluation: Evaluation) -> Page:
    """Return what is shown of a retraining."""
    record, rules = result.record, evaluation.rules
    plan, made = record.get("plan", {}), record.get("provenance", {})
    level, reference = percent(rules.level), rules.reference
    methods = {"resamples": rules.resamples, "bins": rules.bins, "fewest": rules.fewest}
    return Page(
        "Retraining",
        "Do counterfactuals correct the shortcut, and does that hold outside? RoentMod, "
        f"{date(made)}.",
        (
            *(_headlines(evaluation) or [_say("uncompared", reference=reference)]),
            *_decided(evaluation),
            *_shares(evaluation),
            _fall(evaluation),
            *(_say("warning", text=text) for text in record.get("warnings", ())),
            _say("intervals", level=level),
        ),
        (
            _primary(evaluation),
            _gains(evaluation),
            Section("Findings", _findings(evaluation), id="findings"),
            Section(
                "Operating points",
                (
                    _measured("operating", evaluation.mean, _OPERATING),
                    Section(
                        "Specificity under stress",
                        (_measured("stress", evaluation.stress, _STRESS),),
                    ),
                ),
                id="operating",
            ),
            Section(
                "Calibration",
                (_measured("calibration", evaluation.mean, _CALIBRATION),),
                id="calibration",
            ),
            Section(
                "The audit, before and after",
                (_say.table("scores", evaluation.scores, ends=_ends, fell=_fell),),
                id="audit",
                label="Audit",
            ),
            Section(
                "Reverse shortcut",
                (
                    _say("reverse"),
                    _say.table("losing", _placed(evaluation.reverse_scores)),
                    _measured("losses", evaluation.reverse, _REVERSE),
                ),
                id="reverse",
            ),
            Section("Subgroups", (_gaps(evaluation),), id="gaps"),
            Section("Seeds", (_say("seeds"), _seeds(evaluation)), id="seeds"),
            Section("What fell short", _short(plan, evaluation), id="short"),
            Section("Arms", (_arms(plan),), id="arms"),
            _say.section("methods", level=level, reference=reference, **methods),
            _limits(evaluation),
            standard.provenance(plan, made, "Plan and provenance"),
        ),
        overview=(settings("What was trained and tested", _overview(record, evaluation)),),
        studio=True,
    )


def _overview(record: Mapping[str, Any], evaluation: Evaluation) -> list[tuple[str, str]]:
    plan, made = record.get("plan", {}), record.get("provenance", {})
    counterfactuals = record.get("counterfactuals")
    pairs = [f"{cause} → {read}" for cause, read in plan.get("pairs", ())]
    rows = [
        *_network(record.get("network", {}), str(plan.get("model", NOTHING))),
        ("Findings", ", ".join(plan.get("findings", ()))),
        ("Confounded pairs (cause → read)", ", ".join(pairs) or "none"),
        ("Arms", ", ".join(map(str, plan.get("arms", ())))),
        ("Seeds", ", ".join(map(str, plan.get("seeds", ())))),
    ]
    if counterfactuals:
        control = counterfactuals.get("control", EARLIER["control"])
        rows.append(("Control of counterfactuals", f"the {control}"))
    for (where, test), own in evaluation.mean.groupby(["where", "test"], sort=False):
        size = f"up to {own['n'].max()} radiographs of {own['patients'].max()} patients"
        rows.append((f"Test, {where}", f"{test}: {size}"))
    return [*rows, ("Date", date(made))]


def _network(network: Mapping[str, Any], model: str) -> list[tuple[str, str]]:
    """Return what was trained: a new network, or which one was started from."""
    heads = network.get("heads")
    if heads is None:
        return [("Classifier", model)]
    layers = {"all": "all layers", "last": "the last layer alone"}[network["layers"]]
    return [
        ("Classifier", f"{network['model']}, of which {layers} learnt; as it was: arm “before”"),
        ("Heads kept", ", ".join(heads["kept"]) or "none"),
        ("New heads", ", ".join(heads["new"]) or "none"),
    ]


def _arms(plan: Mapping[str, Any]) -> Table:
    """Return what each arm of the plan does."""
    known = ((arm, ABOUT.get(arm, "")) for arm in plan.get("arms", ()))
    return _say.table("arms", [{"arm": arm, "about": about} for arm, about in known])


def _placed(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows with the place of their test, and the name of their pair, in words."""
    paired = {"cause", "read"} <= set(frame.columns)
    return [
        {
            **row,
            "place": f"{row['where']} ({row['test']})",
            "pair": f"{row['cause']} → {row['read']}" if paired else "",
        }
        for row in records(frame)
    ]


def _few(row: Row) -> str:
    return "; too few" if row["state"] == "too few" else ""


def _points(row: Row, key: str = "difference") -> tuple[str, str]:
    """Return a difference of areas in points, and its interval."""
    value, low, high = triple(row, (key, "low", "high"), 100)
    return signed(value, 1), interval(low, high, decimals(1, sign=True))


def _in_brackets(row: Row, key: str = "difference") -> str:
    value, ends = _points(row, key)
    return f"{value} ({ends}{_few(row)})"


def _subjects(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return comparisons with the reference, of pairs where there are any, else of findings."""
    pairs = evaluation.pair_comparisons
    rows = _placed(pairs[pairs["slice"] == "all"] if len(pairs) else evaluation.comparisons)
    return [
        {**_widest(row), "subject": row["pair"] or row["finding"]}
        for row in rows
        if row["reference"] == evaluation.rules.reference
    ]


def _widest(row: Row) -> dict[str, Any]:
    """Return a contrast with its ends over patients and seeds, where seeds say something."""
    both = {end: row[f"seeds_{end}"] for end in ("low", "high")}
    return {**row, **(both if known(both["low"]) else {})}


def _headlines(evaluation: Evaluation) -> list[Block]:
    """Return one verdict per subject: what the corrected arms gained over the reference."""
    rows = [row for row in _subjects(evaluation) if row["arm"] in evaluation.rules.corrected]
    gained = records(evaluation.checks[evaluation.checks["check"] == "gain"])
    return [
        _headline(
            subject,
            [row for row in rows if row["subject"] == subject],
            {row["state"] for row in gained if row["subject"] == subject},
            evaluation.rules.reference,
        )
        for subject in unique(rows, "subject")
    ]


def _headline(subject: str, rows: list[Row], states: set[str], reference: str) -> Verdict:
    state = next((s for s in ("failed", "not measured", "passed") if s in states), "")
    parts = []
    for place in unique(rows, "place"):
        arms = [f"{row['arm']} {_in_brackets(row)}" for row in rows if row["place"] == place]
        parts.append(f"{place}: {', '.join(arms)}")
    return verdict(
        state,
        _GAINED.get(state, state),
        lambda mark: _say("headline", name=subject, badge=mark),
        _say("gained", reference=reference, text="; ".join(parts)),
    )


def _decided(evaluation: Evaluation) -> list[Block]:
    """Return a line per arm and requirement of the primary outcome."""
    rows = evaluation.checks[evaluation.checks["check"].isin(_PRIMARY)]
    return [
        _say(
            "decided",
            arm=row["arm"],
            where=row["place"],
            points=_in_brackets({**row, "state": ""}, "value"),
            required=_PRIMARY[row["check"]].format(100 * row["limit"]),
            **{key: row[key] for key in ("subject", "state")},
        )
        for row in _placed(rows)
    ]


def _shares(evaluation: Evaluation) -> list[Block]:
    return [
        _say(
            "shares",
            where=row["place"],
            gain=number(100 * evaluation.rules.gain, 1),
            limit=percent(row["limit"]),
            **{key: row[key] for key in ("arm", "subject", "state")},
        )
        for row in _placed(evaluation.checks[evaluation.checks["check"] == "shares"])
    ]


def _fall(evaluation: Evaluation) -> Block:
    rows = [row for row in records(evaluation.scores) if row["arm"] in evaluation.rules.corrected]
    falls = ", ".join(
        f"{row['arm']} {percent(row['fall'])}{' by ' * bool(row['editor'])}{row['editor']}"
        for row in rows
    )
    return (
        _say("fell", falls=falls, limit=percent(evaluation.rules.fall))
        if falls
        else _say("unaudited")
    )


def _primary(evaluation: Evaluation) -> Section:
    """Return the outcome that was to be decided first, and by how much arms differ in it."""
    rows = _placed(evaluation.primary)
    values = [
        {**row, "value": row["value"], "low": row["value_low"], "high": row["value_high"]}
        for row in rows
        if not row["reference"]
    ]
    against = [row for row in rows if row["reference"]]
    return Section(
        "Primary outcome",
        (
            _say.table("outcome", values, ends=_with_seeds),
            _say.table("outcomes", against, gain=_gain, sure=partial(_sure, evaluation)),
        ),
        id="primary",
    )


def _with_seeds(row: Row) -> Cell:
    return Cell(interval(row["value_seeds_low"], row["value_seeds_high"], decimals(3)))


def _gain(row: Row) -> Cell:
    both = {"difference": row["difference"], "low": row["seeds_low"], "high": row["seeds_high"]}
    value, ends = _points(row)
    return Cell(value, f"{ends}; with seeds {_points(both)[1]}")


def _sure(evaluation: Evaluation, row: Row) -> Cell:
    better = "better" if row["difference"] > 0 else "worse"
    return Cell(better if sure(row, evaluation.rules) else "neither")


def _gains(evaluation: Evaluation) -> Section:
    rows = [row for row in _subjects(evaluation) if known(row["difference"])]
    tables: tuple[Block, ...] = ()
    if len(evaluation.pairs):
        pairs = _placed(evaluation.pairs.rename(columns={"auc": "value"}))
        whole = [row for row in pairs if row["slice"] == "all"]
        sliced = [row for row in pairs if row["slice"] != "all"]
        tables = (
            _across("pairs", ("arm", "place"), whole, _value, key="pair"),
            _across("slices", ("pair", "place", "slice"), sliced, _value),
        )
    title = f"Gains over {evaluation.rules.reference}"
    drawn = _drawn(rows, evaluation, title) if rows else _say("undrawn")
    return Section(title, (drawn, *tables), id="gains", label="Gains")


def _drawn(rows: list[dict[str, Any]], evaluation: Evaluation, title: str) -> Picture:
    """Return gains in points of AUC with intervals: a panel per test, a line per subject."""
    points = [
        figures.Point(
            row["subject"],
            triple(row, _DIFFERENCE, 100),
            series=row["arm"],
            panel=f"{row['where']}: {row['test']}",
        )
        for row in rows
    ]
    goal, label = 100 * evaluation.rules.gain, f"Points of AUC above {evaluation.rules.reference}"
    axis = figures.Axis(label, decimals(1, sign=True), goal=goal)
    caption = (
        f"Dotted: the required gain, {number(goal, 1)} points. Intervals of "
        f"{percent(evaluation.rules.level)} over patients and seeds; of one seed, over patients."
    )
    return dataclasses.replace(figures.intervals(points, axis, title), caption=caption)


def _across(
    name: str,
    by: Sequence[str],
    rows: Iterable[Row],
    cell: Callable[[Row], Cell],
    *,
    key: str = "arm",
    empty: str = "",
    caption: str = "",
) -> Table:
    """Return a table with a line per combination of `by`, and a column per value of `key`."""
    lines = pivot(rows, by, key)
    return _say.table(name, lines, *across(lines, cell), empty=empty, caption=caption)


def _value(row: Row) -> Cell:
    """Return a value with its interval, as the row's measure is shown."""
    form = percent if row.get("share") else decimals(3)
    shown, ends = form(row["value"]), interval(row["low"], row["high"], form)
    return Cell(shown, "" if ends == NOTHING else f"{ends}{_few(row)}")


def _measured(name: str, frame: pd.DataFrame, measures: Mapping[str, tuple[str, bool]]) -> Table:
    """Return a table with one row per row and measure, and one column per arm."""
    rows = [
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
    return _across(
        name, ("finding" if "finding" in frame else "pair", "place", "measure"), rows, _value
    )


def _findings(evaluation: Evaluation) -> tuple[Block, ...]:
    ends = {"auc": "value", "auc_low": "low", "auc_high": "high"}
    areas = _placed(evaluation.mean.rename(columns=ends))
    planned = evaluation.comparisons["reference"] == evaluation.rules.reference
    return (
        _across("areas", ("arm", "place"), areas, _value, key="finding"),
        _compared(
            evaluation.comparisons[planned],
            evaluation.rules.reference,
            "No arms could be compared.",
        ),
        _compared(evaluation.comparisons[~planned], "each other", ""),
    )


def _compared(frame: pd.DataFrame, against: str, empty: str) -> Table:
    rows = [{**row, "contrast": f"{row['arm']} − {row['reference']}"} for row in _placed(frame)]
    return _across(
        "comparisons",
        ("finding", "place"),
        rows,
        _difference,
        key="contrast",
        caption=f"Points of AUC by which arms differ from {against}, by finding",
        empty=empty,
    )


def _difference(row: Row) -> Cell:
    value, ends = _points(row)
    return Cell(value, f"{ends}; q {p_value(row['q'])}{_few(row)}")


def _ends(row: Row) -> Cell:
    return Cell(f"{percent(row['lowest'])}, {percent(row['highest'])}")


def _fell(row: Row) -> Cell:
    return Cell(percent(row["fall"]), interval(row["fall_low"], row["fall_high"], percent))


def _gaps(evaluation: Evaluation) -> Table:
    rows = _placed(evaluation.gaps[evaluation.gaps["largest"].astype(bool)])
    for row in rows:
        row["attribute"] = str(row["attribute"]).replace("_", " ")
    drawn = sorted(rows, key=lambda row: -float(row["gap"]))[:_GAPS]
    note = "The gap is the AUC of the best read group less that of the worst."
    if len(drawn) < len(rows):
        note += f" Shown are the {len(drawn)} largest of {len(rows)}; all are in the JSON."
    empty = f"No attribute has two groups with {evaluation.rules.fewest} positives and negatives."
    return _say.table("gaps", drawn, empty=empty, note=note, groups=_groups)


def _groups(row: Row) -> Cell:
    return Cell(row["best"], row["worst"])


def _seeds(evaluation: Evaluation) -> Table:
    by = ["test", "finding", "arm"]
    kept = evaluation.each.groupby(by, sort=False)["auc"].agg(list).to_dict()

    def cell(row: Row) -> Cell:
        seeds = kept[tuple(row[key] for key in by)]
        return Cell(number(row["auc_sd"], 3), ", ".join(number(auc, 3) for auc in seeds))

    return _across("deviations", ("finding", "place"), _placed(evaluation.mean), cell)


def _short(plan: Mapping[str, Any], evaluation: Evaluation) -> tuple[Block, ...]:
    """Return in plain words what was required and not reached, and what is missing."""
    missed = [_missed(row) for row in _placed(evaluation.checks) if row["state"] != "passed"]
    few = evaluation.mean[evaluation.mean["state"] != "ok"].drop_duplicates(["test", "finding"])
    missed += [
        f"{row['place']}, {row['finding']}: {row['state']} ({row['positives']} positive of "
        f"{row['n']}); its numbers say little."
        for row in _placed(few)
    ]
    seeds = {str(seed) for seed in plan.get("seeds", ())}
    for arm in plan.get("arms", ()):
        own = evaluation.each[evaluation.each["arm"] == arm]["seed"].astype(str)
        if missing := sorted(seeds - set(own)):
            missed.append(f"{arm}: no predictions of seed {', '.join(missing)}.")
    return (listed(missed) if missed else _say("reached"),)


def _missed(row: Row) -> str:
    limit, place = row["limit"], f" in {row['place']}" if row["test"] else ""
    arm, subject = row["arm"], row["subject"]
    end = " (not measured)" if row["state"] == "not measured" else ""
    if row["check"] in ("gain", *_PRIMARY):
        required = _PRIMARY.get(row["check"], _PRIMARY["superior"]).format(100 * limit)
        return (
            f"{arm}, {subject}{place}: {_in_brackets(row, 'value')} points of AUC; required: "
            f"{required}{end}."
        )
    if row["check"] == "shares":
        return f"{arm}{place}: {subject} gain; required: {percent(limit)} of pairs{end}."
    if row["check"] == "fall":
        fell = percent(row["value"])
        return f"{arm}: the shortcut score fell by {fell}; required: {percent(limit)}{end}."
    return (
        f"{arm} against {subject}{place}: the dependence on the cause differs by "
        f"{' ('.join(_points(row, 'value'))}) points; required: an interval below 0{end}."
    )


def _limits(evaluation: Evaluation) -> Section:
    used = [arm for arm in COUNTERFACTUAL_ARMS if arm in set(evaluation.mean["arm"])]
    limits = _say.section("limits")
    more = _say("synthetic", arms=", ".join(used)) if used else None
    return dataclasses.replace(limits, blocks=(*limits.blocks, more))
