"""Sections and rows that the pages of several jobs have in common."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from roentmod.report.page import Block, Section
from roentmod.report.tables import settings, table, text, value
from roentmod.report.texts import prose
from roentmod.report.words import Row, decimals, flat, readable, records

__all__ = ["Missing", "baselines", "named", "provenance", "weights_named"]


def named(described: Any) -> str:
    """Return the name in what an editor, judge or data set says of itself."""
    return str(described.get("name", "") if isinstance(described, Mapping) else described or "")


def weights_named(described: Any) -> str:
    """Return the name of a network, and the beginning of its hash, as several share a name."""
    facts = described if isinstance(described, Mapping) else {}
    return f"{named(described)} {str(facts.get('sha256') or '')[:8]}".strip()


def provenance(
    plan: Mapping[str, Any], made: Mapping[str, Any], title: str = "Provenance"
) -> Section:
    """Return the section of all parameters, versions and hashes."""
    return Section(
        title,
        (
            settings("Parameters", flat(plan), "No parameters were recorded."),
            settings("Versions, hashes and machine", flat(made), "No provenance was recorded."),
        ),
        id="provenance",
        label="Provenance",
    )


def baselines(frame: pd.DataFrame) -> str:
    """Return who the baselines are: counts by sex, view and site, and the range of ages."""
    rows = records(frame)
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


class Missing:
    """What a run could not make: in a sentence, and by stage and status."""

    def __init__(
        self, counts: Mapping[str, int], done: str, items: Sequence[Row], note: str = ""
    ) -> None:
        """Take counts ("planned", "ok", "missing") of what was planned and `done`, and items.

        Args:
            counts: how many.
            done: what they are, as "planned edits were made".
            items: stage, status, message, and optionally finding.
            note: what stands below the table.
        """
        missing, self._items, self._note = int(counts.get("missing", 0)), items, note
        self._unknown = missing > 0 and not items
        self._any = missing > 0 or len(items) > 0
        self.text = f"{counts.get('ok', 0)} of {counts.get('planned', 0)} {done}"
        self.text += f"; {missing} are missing." if missing else "."
        self.text += "" if self._any else " Nothing is missing."

    def in_short(self) -> Block:
        """Return a line for the summary; None where nothing is missing."""
        if not self._any:
            return None
        return prose("**{text}** [What and why](#missing)", text=self.text)

    def section(self, *more: Block) -> Section:
        """Return the section, with `more` at its end."""
        empty = "Which items are missing was not recorded." if self._unknown else ""
        columns = [
            text("Stage", "stage"),
            text("Status", "status"),
            value("Items", "count", decimals(0)),
        ]
        if any("finding" in item for item in self._items):
            columns.append(text("Findings", "findings"))
        columns.append(text("First message", "message", "long"))
        shown = table(
            "Missing items by stage and status", columns, self._groups(), empty, self._note
        )
        return Section(
            "What is missing, and why",
            (prose("{text}", text=self.text), shown, *more),
            id="missing",
            label="What is missing",
        )

    def _groups(self) -> list[Row]:
        groups: dict[tuple[str, str], list[Row]] = {}
        for item in self._items:
            groups.setdefault((str(item["stage"]), str(item["status"])), []).append(item)
        return [
            {
                "stage": stage,
                "status": status,
                "count": len(items),
                "findings": ", ".join(sorted({str(i.get("finding", "")) for i in items} - {""})),
                "message": readable(
                    next((str(i["message"]) for i in items if i["message"]), ""), 300
                ),
            }
            for (stage, status), items in sorted(groups.items())
        ]
