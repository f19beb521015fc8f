"""What the page shows of an audit, section by section, ready for the template."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from roentmod import domain
from roentmod.report import figures, tables, words
from roentmod.report.tables import Table, settings, table
from roentmod.report.words import cell_sentence, off_target, percent, ranked, readable

if TYPE_CHECKING:
    from roentmod.jobs.audit import AuditResult, ClassifierResult, Example

__all__ = ["Shortcut", "Shown", "content"]

Row = Mapping[str, Any]
_EXAMPLES = 20  # triples of photographs a report: what keeps it a file one can send
_FOREST = 12  # lines of the figure of off-target pairs
_SUBGROUPS = 60  # rows of the table of subgroups
_NOTABLE = 0.05  # q of an interaction from which its pair is shown
_BADGES = {"shortcuts found": "▲", "no shortcut beyond the margin": "✓", "undecided": "?"}
_STYLES = {"shortcuts found": "bad", "no shortcut beyond the margin": "good"}


@dataclass(frozen=True)
class Shown:
    """An example with its photographs: pairs of a label and a data URI ("" where unreadable)."""

    title: str
    photographs: tuple[tuple[str, str, str], ...]
    files: tuple[str, ...]
    real: bool


@dataclass(frozen=True)
class Shortcut:
    """A pair in the ranking: its sentence and its examples."""

    title: str
    sentence: str
    examples: tuple[Shown, ...]


def content(result: AuditResult) -> dict[str, Any]:
    """Return everything the template needs, as text, `Table` and `Picture`."""
    plan = result.plan
    each = max(1, _EXAMPLES // max(1, len(result.classifiers)))
    classifiers = [
        _classifier(one, result, number, each) for number, one in enumerate(result.classifiers, 1)
    ]
    return {
        "title": "Shortcut audit",
        "pictures": _pictures(result),
        "names": ", ".join(readable(one.name) for one in result.classifiers),
        "date": _date(result.provenance),
        "overview": settings("What was audited", _overview(result)),
        "missing": _missing(result),
        "classifiers": classifiers,
        "margin": percent(plan["margin"]) if "margin" in plan else "the stated share",
        "level": percent(plan.get("level", 0.95)),
        "gate_logit": words.number(plan.get("gate_logit"), 1) if "gate_logit" in plan else "",
        "plan": settings("Parameters", words.flat(plan), empty="No parameters were recorded."),
        "provenance": settings(
            "Versions, hashes and machine",
            words.flat(result.provenance),
            empty="No provenance was recorded.",
        ),
        "command": _command(result),
        "symbols": words.SYMBOLS,
        "exact": bool(plan.get("exact", False)),
    }


def _pictures(result: AuditResult) -> str:
    """Return what the pictures are, in the plural: the domain of the findings edited says it."""
    names = [name for name in result.plan.get("findings", ()) if domain.key(name) in domain.words()]
    packs = [domain.named(domain.words()[domain.key(name)].domain) for name in names]
    return f"{next((pack.statement for pack in packs if pack), 'picture')}s"


def _records(frame: pd.DataFrame) -> list[Row]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _date(provenance: Mapping[str, Any]) -> str:
    told = str(provenance.get("finished") or provenance.get("started") or "date not recorded")
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        return readable(told)
    return f"{moment:%Y-%m-%d %H:%M} {moment:%Z}".strip()


def _overview(result: AuditResult) -> list[tuple[str, str]]:
    rows = [
        (f"Classifier {number}", f"{one.name} ({one.source})")
        for number, one in enumerate(result.classifiers, 1)
    ]
    for label, key in (("Editor", "editor"), ("Data", "data"), ("Findings edited", "findings")):
        told = _told(result, key, "name")
        if told is not None:
            rows.append((label, ", ".join(value for _, value in words.flat({key: told}))))
    return [*rows, ("Baselines", _baselines(result.baselines)), ("Date", _date(result.provenance))]


def _told(result: AuditResult, key: str, inner: str) -> Any:
    """Return what plan or provenance say of `key`, its `inner` entry where it has several."""
    told = result.plan.get(key, result.provenance.get(key))
    return told.get(inner, told) if isinstance(told, Mapping) else told


def _baselines(frame: pd.DataFrame) -> str:
    """Return who the baselines are: counts by sex, view and site, and the range of ages."""
    rows = _records(frame)
    people = len({str(row["patient_id"]) for row in rows})
    parts = [f"{len(rows)} pictures of {people} patients"]
    for key in ("sex", "view", "site"):
        counts = Counter(str(row.get(key) or f"{key} unknown") for row in rows)
        if counts and set(counts) != {f"{key} unknown"}:
            parts.append(", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
    ages = [float(row["age"]) for row in rows if math.isfinite(float(row.get("age", math.nan)))]
    if ages:
        parts.append(f"age {min(ages):.0f} to {max(ages):.0f}")
    return "; ".join(parts)


def _missing(result: AuditResult) -> dict[str, Any]:
    """Return what is missing in words, and as a table by stage and status."""
    counts = result.counts
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in _records(result.items):
        stage = str(row["classifier"]) or "editing"
        groups.setdefault((stage, str(row["status"])), []).append(row)
    rows = [
        {
            "stage": stage,
            "status": status,
            "count": len(items),
            "findings": ", ".join(sorted({str(i["edited_finding"]) for i in items} - {""})),
            "message": next((str(i["message"]) for i in items if i["message"]), ""),
        }
        for (stage, status), items in sorted(groups.items())
    ]
    planned, ok, missing = (int(counts.get(key, 0)) for key in ("planned", "ok", "missing"))
    text = f"{ok} of {planned} planned pairs of edit and classifier were read"
    text += f"; {missing} are missing." if missing else ". Nothing is missing."
    columns = (
        tables.Column("Stage", lambda row: tables.Cell(readable(row["stage"])), "text"),
        tables.Column("Status", lambda row: tables.Cell(readable(row["status"])), "text"),
        tables.Column("Items", lambda row: tables.Cell(str(row["count"]))),
        tables.Column("Findings", lambda row: tables.Cell(readable(row["findings"])), "text"),
        tables.Column("Message", lambda row: tables.Cell(readable(row["message"], 300)), "long"),
    )
    note = "The message is that of the first item; every item is in the JSON." if rows else ""
    empty = "" if not missing else "Which items are missing was not recorded."
    return {
        "complete": not missing,
        "text": text,
        "table": table("Missing items by stage and status", columns, rows, empty=empty, note=note),
    }


def _classifier(
    one: ClassifierResult, result: AuditResult, place: int, examples: int
) -> dict[str, Any]:
    plan = result.plan
    rows = _records(one.cells)
    off = ranked(off_target(rows))
    pictures = _Examples(one.examples, result, examples)
    shortcuts = [_shortcut(row, plan, pictures) for row in off if row["verdict"] == "shortcut"]
    others = [example for example in one.examples if not pictures.seen(example)]
    margin = float(plan["margin"]) if "margin" in plan else None
    drawn = sorted(
        (row for row in off if math.isfinite(float(row["corrected"]))),
        key=lambda row: -abs(float(row["corrected"])),
    )[:_FOREST]
    level = float(plan.get("level", 0.95))
    return {
        "id": f"classifier-{place}",
        "name": readable(one.name),
        "source": readable(one.source),
        "verdict": readable(one.verdict),
        "badge": _BADGES.get(one.verdict, "•"),
        "style": _STYLES.get(one.verdict, "open"),
        "score": percent(one.score),
        "worst": _worst(off, plan),
        "counts": words.count_sentence(off),
        "matrix": figures.matrix(rows, margin=margin) if rows else None,
        "forest": figures.forest(drawn, margin=margin, level=level) if drawn else None,
        "shortcuts": shortcuts,
        "other_examples": pictures.show(others),
        "left_out": pictures.left_out,
        "cells": table(
            "All pairs, by verdict and size",
            tables.CELLS,
            ranked(rows),
            empty="No pair of findings could be tested.",
        ),
        "gate": _gate(one),
        "leakage": _leakage(off),
        **_doses(one),
        "subgroups": _subgroups(one, off),
        "reverse": _reverse(one, plan),
        "stress": _stress(one),
        "heads": table(
            "Heads of the classifier and the findings they were taken for",
            tables.HEADS,
            _records(one.heads),
            empty="No heads were recorded.",
        ),
    }


def _worst(off: Sequence[Row], plan: Mapping[str, Any]) -> str:
    """Return the pair that matters most in a sentence."""
    if not off:
        return "No off-target pair was tested."
    if off[0]["verdict"] == "shortcut":
        return cell_sentence(off[0], plan)
    known = [row for row in off if math.isfinite(float(row["corrected"]))]
    if not known:
        return "No off-target effect could be compared with an own effect."
    largest = max(known, key=lambda row: abs(float(row["corrected"])))
    verdict = readable(largest["verdict"])
    return f"Largest off-target effect ({verdict}): {cell_sentence(largest, plan)}"


class _Examples:
    """Deals out the photographs a classifier has room for."""

    def __init__(self, examples: Sequence[Example], result: AuditResult, room: int) -> None:
        self._examples, self._result, self._room = examples, result, room
        self._a_pair = max(1, room // max(1, len({(e.edited, e.read) for e in examples})))
        self._seen: set[int] = set()
        self.left_out = 0

    def seen(self, example: Example) -> bool:
        return id(example) in self._seen

    def of(self, row: Row) -> tuple[Shown, ...]:
        key = (row["edited"], row["read"])
        return self.show([e for e in self._examples if (e.edited, e.read) == key])

    def show(self, examples: Sequence[Example]) -> tuple[Shown, ...]:
        shown = examples[: min(self._room, self._a_pair)]
        self._seen.update(id(example) for example in examples)
        self._room -= len(shown)
        self.left_out += len(examples) - len(shown)
        return tuple(self._one(example) for example in shown)

    def _one(self, example: Example) -> Shown:
        edited, read = readable(example.edited), readable(example.read)
        change = (
            f"{read}: {words.signed(example.logit_sham, 1)} in the sham, "
            f"{words.signed(example.logit_counterfactual, 1)} in the counterfactual (logits)"
        )
        baseline = readable(example.baseline_id)
        alts = (
            f"Baseline {baseline}, before editing.",
            f"Synthetic counterfactual of {baseline} with {edited}. {change}.",
            f"Difference of counterfactual and baseline {baseline}, {edited}.",
        )
        kinds = ("baseline", "counterfactual", "difference")
        paths = [getattr(example, kind) for kind in kinds]
        uris = [figures.photograph(path) for path in paths]
        return Shown(
            f"{edited} added to {baseline}. {change}.",
            tuple(zip(kinds, uris, alts, strict=True)),
            tuple(readable(path.name) for path in paths),
            example.real,
        )


def _shortcut(row: Row, plan: Mapping[str, Any], pictures: _Examples) -> Shortcut:
    return Shortcut(words.pair(row), cell_sentence(row, plan), pictures.of(row))


def _gate(one: ClassifierResult) -> Table:
    return table(
        "Edits that the judge sees",
        tables.GATE,
        _records(one.gate),
        empty="The gate was not used: every edit counts, whether or not a judge sees it.",
    )


def _leakage(off: Sequence[Row]) -> Table:
    return table(
        "Shares of the own effect in pairs called leakage",
        tables.LEAKAGE,
        [row for row in off if row["verdict"] == "leakage"],
        empty="No pair was called leakage.",
    )


def _doses(one: ClassifierResult) -> dict[str, Any]:
    panels, drawn = figures.dose_panels(_records(one.doses)) if len(one.doses) else ([], [])
    return {
        "dose_panels": panels,
        "doses": tables.doses(
            drawn,
            empty="Only one dose was asked for, so there is no dose curve.",
            note="Pairs that are not drawn are in the JSON." if len(drawn) < len(one.doses) else "",
        ),
    }


def _subgroups(one: ClassifierResult, off: Sequence[Row]) -> Table:
    """Return the groups of pairs that are shortcuts or differ between groups."""
    rows = _records(one.subgroups)
    found = {(row["edited"], row["read"]) for row in off if row["verdict"] == "shortcut"}

    def q(row: Row) -> float:
        value = float(row["interaction_q"])
        return value if math.isfinite(value) else 2.0

    wanted = [row for row in rows if (row["edited"], row["read"]) in found or q(row) < _NOTABLE]
    # Stable: the groups of one attribute stay together, in their order.
    shown = sorted(wanted, key=lambda r: (q(r), words.pair(r), str(r["attribute"])))[:_SUBGROUPS]
    note = ""
    if len(shown) < len(rows):
        note = (
            f"Shown are {len(shown)} of {len(rows)} rows: pairs called a shortcut, and pairs whose "
            f"effect differs between groups (q < {_NOTABLE:g}). All are in the JSON."
        )
    empty = "No subgroups were compared: the baselines carry no attribute with two large groups."
    if rows:
        empty = "No shortcut was found, and no effect differs between groups."
    return table("Net effect by subgroup", tables.SUBGROUPS, shown, empty=empty, note=note)


def _reverse(one: ClassifierResult, plan: Mapping[str, Any]) -> dict[str, Any]:
    rows = ranked(_records(one.reverse))
    off = [row for row in rows if not row["on_target"] and row["verdict"] == "shortcut"]
    return {
        "sentences": [cell_sentence(row, plan, removed=True) for row in off],
        "counts": words.count_sentence(off_target(rows)) if rows else "",
        "table": table(
            "All pairs of removal edits",
            tables.CELLS,
            rows,
            empty="No removal edits were asked for.",
            note="Effects with their sign turned: positive is a fall when the finding is removed.",
        ),
    }


def _stress(one: ClassifierResult) -> Table:
    return table(
        "AUC of each head against clean negatives and against negatives with another finding",
        tables.STRESS,
        _records(one.stress),
        empty="No labelled radiographs were given, so specificity under stress was not measured.",
    )


def _command(result: AuditResult) -> str:
    """Return the command line of this audit, as recorded or as its parameters say."""
    if result.provenance.get("command"):
        return readable(result.provenance["command"])
    parts = ["roentmod", "audit"]
    for one in result.classifiers:
        parts += ["--classifier", one.source]
    for key, inner in (("data", "root"), ("editor", "name"), ("findings", "")):
        value = _told(result, key, inner)
        if isinstance(value, list | tuple):
            value = ",".join(map(str, value))
        if isinstance(value, str):
            parts += [f"--{key}", value]
    return readable(shlex.join([*parts, "--out", "DIR"]))
