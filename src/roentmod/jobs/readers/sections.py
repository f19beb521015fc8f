"""The page of a reader study's analysis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from roentmod.report import figures, standard
from roentmod.report.page import Block, Page, Picture, Section
from roentmod.report.tables import Cell
from roentmod.report.texts import Texts
from roentmod.report.words import (
    NOTHING,
    Row,
    date,
    decimals,
    interval,
    known,
    number,
    percent,
    records,
    signed,
    triple,
)

if TYPE_CHECKING:
    from roentmod.jobs.readers.analyse import ReadersResult

__all__ = ["shown"]

_say = Texts(Path(__file__).with_name("page.md"))
_AREA = decimals(3)
_SAMPLES = {
    "readers and cases": "Readers and cases are both taken for samples.",
    "cases": "It is of this reader alone; cases are taken for a sample.",
}
_WORDS = {
    "real": "all real cases",
    "real_positive": "real cases with a finding",
    "real_normal": "real cases without a finding",
    "edit": "edited cases",
    "readers": "readers",
    "seen": "finding seen",
    "realistic": "realistic",
    "side": "side as requested, where seen",
    "severity": "severity as requested, where seen",
}
_MEASURES = ("AC", "alpha", "positive", "negative", "fleiss", "prevalence")


def shown(result: ReadersResult) -> Page:
    """Return what is shown of an analysis."""
    tables = result.analysis
    contrasts = _worded(tables.contrasts)
    off = contrasts["measure"] == "off_target"
    simulated = "simulated readers" if result.simulated else "readers"
    return Page(
        "Reader study",
        f"Do {simulated} take edited radiographs for real, and see in them what was requested? "
        f"RoentMod, {date(result.provenance)}.",
        (*_warnings(result), *_summary(result)),
        (
            Section(
                "Realism",
                (
                    _say.table("realism", _worded(tables.realism)),
                    _areas(result),
                    _say.table("areas", _worded(tables.areas)),
                    Section("Pairs", (
                        _say.table("pairs", tables.pairs), _say.table("strengths", tables.strengths)
                    )),
                ),
                id="realism",
            ),
            Section(
                "Findings",
                (
                    _seen(result),
                    _say.table("shares", _worded(tables.shares)),
                    _say.table("contrasts", contrasts[contrasts["measure"] == "finding seen"],
                               caption="Finding seen: edited less real cases without a finding"),
                    _say.table("contrasts", contrasts[contrasts["measure"] == "seen_real"],
                               caption="Finding seen: edited less real cases with it",
                               empty="No real cases with a finding were read to compare with."),
                ),
                id="findings",
            ),
            Section(
                "Off-target findings",
                (_say.table("contrasts", contrasts[off], caption="A finding nobody requested: "
                            "edited less real cases without a finding"),),
                id="off-target",
            ),
            Section("Agreement", _agreement(tables.agreement), id="agreement"),
            Section("Readers", (_say.table("readers", _included(tables.readers)),),
                    id="readers"),
            _say.section(
                "methods",
                present=result.plan["present"],
                altered=result.plan["altered"],
                level=percent(result.plan["analysis"]["level"]),
                resamples=result.plan["analysis"]["resamples"],
            ),
            standard.provenance(result.plan | {"counts": result.counts}, result.provenance),
        ),
        synthetic="Edited cases",
    )  # fmt: skip


def _warnings(result: ReadersResult) -> list[Block]:
    blocks: list[Block] = []
    if result.simulated:
        skill = ", ".join(f"{name} {value:g}" for name, value in result.simulated.items())
        blocks.append(_say("simulated", skill=skill))
    if result.counts["missing"]:
        blocks.append(_say("interim", **result.counts))
    return [*blocks, *(_say("notes", text=text) for text in result.plan["notes"])]


def _summary(result: ReadersResult) -> list[Block]:
    tables, own = result.analysis, result.realism()
    excluded = int((~tables.readers["included"]).sum())
    unchecked = int(tables.readers["attention"].eq(0).sum())
    attention = _say(
        "excluded" if excluded else "unchecked" if unchecked else "included",
        count=excluded or unchecked,
        readers=len(tables.readers),
        rule=result.plan["exclusion"],
    )
    primary = _say(
        "primary",
        auc=_AREA(own["value"]),
        interval=interval(own["low"], own["high"], _AREA),
        samples=_SAMPLES.get(str(own["samples"]), ""),
    )
    seen = _share(result, "seen", "edit")
    kinds = {"edit": _share(result, "realistic", "edit")}
    kinds["normal"] = _share(result, "realistic", "real_normal")
    values: dict[str, Any] = {"value": percent(seen["value"]), "interval": _ends(seen)}
    for name, row in kinds.items():
        values |= {name: percent(row["value"]), f"{name}_interval": _ends(row)}
    return [primary, _say("seen", **values), _say("off", text=_off(result)), attention]


def _share(result: ReadersResult, measure: str, kind: str) -> Row:
    table = result.analysis.shares
    table = table[(table["group"] == result.group) & (table["measure"] == measure)]
    table = table[(table["finding"] == "all") & (table["kind"] == kind)]
    return records(table)[0] if len(table) else dict.fromkeys(("value", "low", "high"), None)


def _ends(row: Row) -> str:
    return interval(row["low"], row["high"], percent)


def _off(result: ReadersResult) -> str:
    table = result.analysis.contrasts
    table = table[(table["group"] == result.group) & (table["measure"] == "off_target")]
    if table.empty:
        return "nothing could be compared."
    sure = table[(table["p_holm"] < 1 - result.plan["analysis"]["level"]) & (table["value"] > 0)]
    parts = [
        f"{row['read']} in edits of {row['finding']} ({signed(100 * row['value'], 0)} points)"
        for row in records(sure)
    ]
    if parts:
        return "; ".join(parts) + "."
    # That none is shown is not that there is none: what the readings leave open is said.
    most = float(table["high"].max())
    left = f"; up to {signed(100 * most, 0)} points are not excluded" if known(most) else ""
    return f"none shown, of {len(table)} pairs{left}."


def _worded(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its codes in words."""
    columns = [name for name in ("against", "kind", "measure") if name in table]
    return table.assign(**{name: table[name].map(lambda t: _WORDS.get(t, t)) for name in columns})


def _included(readers: pd.DataFrame) -> pd.DataFrame:
    """Return the table of readers with who is included in words."""
    return readers.assign(included=readers["included"].map({True: "yes", False: "no"}))


def _areas(result: ReadersResult) -> Picture | None:
    """Return readers' areas and their mean, as a forest plot."""
    rows = records(result.analysis.areas[result.analysis.areas["against"] == "real"])
    mean = result.realism()
    points = [
        figures.Point(str(row["reader"]), triple(row, ("auc", "low", "high")), colour="#6b6b70")
        for row in rows
        if known(row["auc"])
    ]
    if not known(mean["low"]):
        return None
    points.append(figures.Point("mean", triple(mean, ("value", "low", "high"))))
    axis = figures.Axis("AUC: 0.5 is chance", _AREA, goal=0.5, least=0.0)
    return figures.intervals(points, axis, "Realism, each reader and the mean")


def _seen(result: ReadersResult) -> Block:
    """Return how often each finding is seen, in edits and in real cases."""
    table = _worded(result.analysis.shares)
    table = table[(table["group"] == result.group) & (table["measure"] == "finding seen")]
    rows = [row for row in records(table) if row["finding"] != "all" and known(row["low"])]
    points = [
        figures.Point(row["finding"], triple(row, ("value", "low", "high")), series=row["kind"])
        for row in rows
    ]
    axis = figures.Axis("Readings that see the finding", percent, least=0.0)
    return figures.intervals(points, axis, "Finding seen") if points else None


def _agreement(table: pd.DataFrame) -> tuple[Block, ...]:
    """Return the tables of agreement: between readers, and with themselves."""
    table = table.assign(question=table["question"].str.removeprefix("finding:"))
    blocks: list[Block] = [_say("fleiss")]
    cells: dict[str, Any] = {name: _cell(name) for name in _MEASURES}
    for raters, caption in (
        ("readers", "Agreement between readers"),
        ("repeats", "Agreement of readers with themselves, at repeats"),
    ):
        own = table[table["raters"] == raters]
        lines: list[dict[str, Any]] = []
        for _, part in own.groupby(["group", "question", "scale"], sort=False):
            by = {row["measure"]: row for row in records(part)}
            lines.append(records(part)[0] | {"own": by})
        blocks.append(
            _say.table("agreement", lines, caption=caption, **cells)
        )  # fmt: skip
    return tuple(blocks)


def _cell(measure: str) -> Callable[[Row], Cell]:
    def cell(line: Row) -> Cell:
        row = line["own"][measure]
        ends = interval(row["low"], row["high"], number)
        return Cell(number(row["value"]), ends if ends != NOTHING else "")

    return cell
