"""The page of a study: what was done, where it is, and what came out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from roentmod.report.tables import Cell, Column, table
from roentmod.report.words import readable

if TYPE_CHECKING:
    from roentmod.jobs.study import StudyResult

__all__ = ["content", "file_name"]

_WORDS = {
    "plant": "Planting findings",
    "validate": "Validation of the editor",
    "audit before": "Audit before",
    "augment": "Counterfactual training set",
    "retrain": "Retraining",
    "audit after": "Audit after",
}


def file_name(result: StudyResult) -> str:
    """Return the study's title as the name of a file."""
    return "-".join(re.findall(r"[a-z0-9]+", result.spec.name.lower())) or "study"


def content(result: StudyResult) -> dict[str, Any]:
    """Return what the template shows."""
    return {
        "title": result.spec.name,
        "findings": ", ".join(result.spec.findings),
        "pairs": "; ".join(f"{cause} > {read}" for cause, read in result.spec.pairs),
        "planted": result.spec.plant is not None,
        "sentences": list(_sentences(result)),
        "stages": [_stage(result, one) for one in result.stages],
        "audits": table("Verdicts of the audits", _AUDITS, _verdicts(result), empty="No audit."),
    }


def _stage(result: StudyResult, one: Any) -> dict[str, str]:
    page = one.folder / "report.html"
    link = os.path.relpath(page, result.folder) if page.exists() else ""
    return {
        "name": _WORDS[one.name],
        "minutes": f"{one.seconds / 60:.1f}",
        "folder": os.path.relpath(one.folder, result.folder),
        "link": link.replace(os.sep, "/"),
    }


def _verdicts(result: StudyResult) -> list[dict[str, Any]]:
    rows = []
    for stage in ("audit before", "audit after"):
        for name, found in result.figures(stage).get("classifiers", {}).items():
            rows.append({"stage": stage, "classifier": name} | dict(found))
    return rows


def _sentences(result: StudyResult) -> Iterator[str]:
    """Say what each arm gained over plain training, mean over findings, test by test."""
    rows = result.figures("retrain").get("comparisons", [])
    tests = list(dict.fromkeys((row["test"], row["arm"]) for row in rows))
    for test, arm in tests:
        own = [r for r in rows if (r["test"], r["arm"]) == (test, arm)]
        own = [r for r in own if r["reference"] == "erm" and r["difference"] is not None]
        if own:
            better = sum(row["low"] is not None and row["low"] > 0 for row in own)
            worse = sum(row["high"] is not None and row["high"] < 0 for row in own)
            mean = sum(row["difference"] for row in own) / len(own)
            yield (
                f"{test}: {arm} changes AUC by {100 * mean:+.1f} points against erm, mean of "
                f"{len(own)} findings; surely better in {better}, surely worse in {worse}."
            )


def _shortcuts(row: Mapping[str, Any]) -> str:
    return "; ".join(f"{edited} > {read}" for edited, read in row["shortcuts"]) or "none"


_AUDITS = (
    Column("Audit", lambda row: Cell(row["stage"].removeprefix("audit ")), "text"),
    Column("Classifier", lambda row: Cell(readable(row["classifier"])), "text"),
    Column("Verdict", lambda row: Cell(row["verdict"]), "text"),
    Column("Score", lambda row: Cell(f"{row['score']:.2f}" if row["score"] is not None else "-")),
    Column("Shortcuts", lambda row: Cell(_shortcuts(row)), "long"),
)
