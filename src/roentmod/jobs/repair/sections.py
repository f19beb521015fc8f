"""The page of a repair: what was found, what was done, before and after, which file to use."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roentmod.jobs.repair.outcome import FALL, LOSS
from roentmod.jobs.study.sections import stages_shown
from roentmod.plans.retrain import BASE, BEFORE
from roentmod.report import figures, standard
from roentmod.report.page import Block, Page, Picture, Section, verdict
from roentmod.report.tables import Cell, Table, across, pivot, settings
from roentmod.report.texts import Texts, listed
from roentmod.report.words import Row, decimals, interval, known, number, percent, signed

if TYPE_CHECKING:
    from roentmod.jobs.repair import RepairResult

__all__ = ["shown"]

_say = Texts(Path(__file__).with_name("page.md"))
_STATES = {"repaired": "passed", "repaired at a cost": "not measured", "not repaired": "failed"}
_TRIPLE = ("share", "low", "high")
_LAYERS = {"all": "all layers learning", "last": "the last layer alone learning"}


def shown(result: RepairResult) -> Page:
    """Return what is shown of a repair."""
    facts, spec = result.facts, result.study.spec
    level = percent(spec.audit.level if spec.audit else 0.95)
    rules = {"margin": percent(facts["margin"]), "level": level, "fall": percent(FALL)}
    done = _done(result) if "shares" in facts else ()
    text = _say("rules", **rules, loss=number(100 * LOSS, 1))
    limits = _say.section("limits")
    if done:
        limits = dataclasses.replace(limits, blocks=(*limits.blocks, _say("trained")))
    return Page(
        "Repair of a classifier",
        "Which findings does the model take for others, can it be taught not to, and what does "
        "that cost?",
        (*_summary(facts),),
        (
            Section("What was found", (_found(facts),), id="found"),
            *done,
            Section("Stages", (stages_shown(result.study),), id="stages"),
            Section("Rules", (text,), id="rules"),
            limits,
            standard.provenance(spec.facts(), facts.get("network", {}), "Plan and model"),
        ),
        overview=(settings("What was repaired", _overview(result)),),
        studio=True,
    )


def _overview(result: RepairResult) -> Iterator[tuple[str, str]]:
    facts, spec = result.facts, result.study.spec
    yield "Model", str(facts["model"])
    yield "Data", spec.train.source
    yield "Findings edited in audits", ", ".join(facts["edited"])
    yield "Pairs repaired (edited → read)", ", ".join(map(_pair, facts["pairs"])) or "none"
    yield "Editor that made the counterfactuals", facts["editors"]["made"]
    yield "Editor never seen", facts["editors"]["unseen"]
    yield "Heads", ", ".join(spec.findings)


def _pair(pair: Iterable[str]) -> str:
    return " → ".join(pair)


def _summary(facts: Mapping[str, Any]) -> Iterator[Block]:
    word = facts["verdict"]
    if "shares" not in facts:
        yield _say("nothing") if facts["judged"] else _say("unjudged", obstacle=facts["obstacle"])
        return
    file, arm = facts["candidate"], facts["arm"]
    use = _say("use", file=file, arm=arm) if facts["use"] else _say("keep", file=file)
    reasons = (listed(facts["reasons"]),) if facts["reasons"] else ()
    yield verdict(
        _STATES[word],
        word,
        lambda mark: _say("headline", name=facts["model"], badge=mark),
        *reasons,
        use,
    )
    yield _say("control", control=BASE, text="; ".join(_control(facts)))
    if facts["requested"]:
        yield _say("requested")
    yield from (_say("unfound", editor=e, pair=pair) for e, pair in _unfound(facts))
    if facts["held_out"]:
        yield _say("heldout")
    if facts["heads"]["lost"]:
        yield _say("lost", heads=", ".join(facts["heads"]["lost"]))


def _control(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield how far the control falls, editor by editor."""
    for editor in facts["editors"].values():
        rows = [r for r in facts["shares"] if (r["editor"], r["arm"]) == (editor, BASE)]
        yield f"by {editor} a share of {percent(rows[-1]['share'])} (fall {_fall(rows[-1]).text})"


def _unfound(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    pairs = [list(pair) for pair in facts["pairs"]]
    for row in facts["found"]:
        if [row["edited"], row["read"]] in pairs and row["verdict"] != "shortcut":
            yield row["editor"], _pair((row["edited"], row["read"]))


def _found(facts: Mapping[str, Any]) -> Table:
    pairs = [list(pair) for pair in facts["pairs"]]
    rows = [
        {
            **row,
            "pair": _pair((row["edited"], row["read"])),
            "repaired": "yes" if [row["edited"], row["read"]] in pairs else "no",
        }
        for row in facts["found"]
    ]
    return _say.table("found", rows)


def _done(result: RepairResult) -> tuple[Section, ...]:
    facts = result.facts
    return (
        Section("What was done", (_made(result),), id="done"),
        Section("Before and after", (_drawn(facts), _shares(facts)), id="shares"),
        Section("How well it reads", (_areas(facts), _findings(facts)), id="areas"),
        Section(
            "Where findings truly come together",
            (_say.table("reverse", _tests(facts["reverse"])),),
            id="reverse",
            label="Reverse shortcut",
        ),
    )


def _made(result: RepairResult) -> Block:
    facts, plan = result.facts, result.study.spec.retrain
    network = facts["network"]
    return _say(
        "done",
        made=facts["set"],
        hosts=facts["hosts"],
        causes=", ".join(dict.fromkeys(cause for cause, _ in facts["pairs"])),
        editor=facts["editors"]["made"],
        model=network["model"],
        layers=_LAYERS[network["layers"]],
        arms=" and ".join(plan.arms),
        seeds=", ".join(map(str, plan.seeds)),
        steps=plan.steps,
        batch=plan.batch,
        rate=f"{plan.learning_rate:g}",
        control=BASE,
        kept=", ".join(network["heads"]["kept"]),
    )


def _named(row: Row) -> dict[str, Any]:
    pair = _pair((row["cause"], row["read"])) if row["cause"] else "mean over pairs"
    return {**row, "pair": pair}


def _shares(facts: Mapping[str, Any]) -> Table:
    return _say.table("shares", map(_named, facts["shares"]), fall=_fall, called=_called)


def _fall(row: Row) -> Cell:
    if not known(row["fall"]):
        return Cell("")
    points = decimals(0, sign=True)
    ends = interval(100 * (row["fall_low"] or 0), 100 * (row["fall_high"] or 0), points)
    part = f" ({percent(row['part'])} of it)" if known(row["part"]) else ""
    return Cell(f"{points(100 * row['fall'])} points{part}", ends)


def _called(row: Row) -> Cell:
    of = 1 if row["arm"] == BEFORE else row["seeds"]
    return Cell(f"{row['called']} of {of}" if row["cause"] else "")


def _drawn(facts: Mapping[str, Any]) -> Picture:
    """Return shares before and after, a panel per editor."""
    made = facts["editors"]["made"]
    points = [
        figures.Point(
            str(row["pair"]),
            tuple(100 * float(row[key]) for key in _TRIPLE),  # type: ignore[arg-type]
            series=row["arm"],
            panel=f"{row['editor']}, " + ("made the set" if row["editor"] == made else "unseen"),
        )
        for row in map(_named, facts["shares"])
        if all(known(row[key]) for key in _TRIPLE)
    ]
    axis = figures.Axis("Share of the other finding, %", decimals(0))
    drawn = figures.intervals(points, axis, "Shares before and after, by both editors")
    caption = (
        "Intervals are over patients. A share of 0 is a head that its own finding moves alone."
    )
    return dataclasses.replace(drawn, caption=caption)


def _tests(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [{**row, "place": f"{row['where']} ({row['test']})"} for row in rows]


def _areas(facts: Mapping[str, Any]) -> Table:
    rows = _tests(facts["areas"])
    against = {(r["arm"], r["test"]): r for r in rows if r["reference"] == BEFORE}

    def gain(row: Row) -> Cell:
        other = against.get((row["arm"], row["test"]))
        return Cell("") if other is None else _points(other)

    return _say.table("areas", [row for row in rows if not row["reference"]], gain=gain)


def _points(row: Row) -> Cell:
    """Return a difference of areas in points, with its widest interval."""
    seeds = known(row["seeds_low"])
    low, high = (row[f"seeds_{end}" if seeds else end] for end in ("low", "high"))
    form = decimals(1, sign=True)
    ends = interval(100 * low, 100 * high, form) if known(low) and known(high) else ""
    return Cell(signed(100 * row["difference"], 1), ends)


def _findings(facts: Mapping[str, Any]) -> Table:
    lines = pivot(_tests(facts["reached"]), ("finding", "place"), "arm")

    def cell(row: Row) -> Cell:
        few = "; too few" if row["state"] == "too few" else ""
        ends = interval(row["auc_low"], row["auc_high"], decimals(3))
        return Cell(number(row["auc"], 3), f"{ends}{few}")

    return _say.table("findings", lines, *across(lines, cell))
