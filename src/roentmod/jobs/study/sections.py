"""The page of a study: what was done, where it is, and what came out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from roentmod.jobs.study.stages import BEFORE_UNSEEN, UNSEEN
from roentmod.report.page import Page, Section
from roentmod.report.tables import Cell, Table
from roentmod.report.texts import Texts
from roentmod.report.words import Row
from roentmod.science.performance import Rules, sure

if TYPE_CHECKING:
    from roentmod.jobs.study import Finished, StudyResult

__all__ = ["shown", "stages_shown"]

_say = Texts(Path(__file__).with_name("page.md"))
_NAMES = {
    "plant": "Planting findings",
    "validate": "Validation of the editor",
    "audit before": "Audit before",
    BEFORE_UNSEEN: "Audit before, by an editor never seen",
    "augment": "Counterfactual training set",
    "retrain": "Retraining",
    "audit after": "Audit after",
    UNSEEN: "Audit after, by an editor never seen",
}


def shown(result: StudyResult) -> Page:
    """Return what is shown of a study; it links to the pages of stages that have one."""
    spec = result.spec
    pairs = "; ".join(f"{cause} > {read}" for cause, read in spec.pairs)
    gains = [_say("gain", text=text) for text in _gains(result)]
    return Page(
        f"Study: {spec.name}",
        f"Findings: {', '.join(spec.findings)}. Suspected shortcuts: {pairs or 'none named'}.",
        (
            _say("planted") if spec.plant is not None else None,
            *(_say("warning", text=text) for text in _warnings(result)),
            *(gains or [_say("nothing")]),
        ),
        (
            Section("Stages", (stages_shown(result),), id="stages"),
            Section("Audits", (_say.table("audits", _verdicts(result)),), id="audits"),
        ),
        studio=True,
    )


def stages_shown(result: StudyResult) -> Table:
    """Return the stages of a study, with links to the pages of those that have one."""
    stages = [_stage(result, one) for one in result.stages]
    return _say.table("stages", stages, page=_page)


def _page(row: Row) -> Cell:
    return Cell(row["page"])


def _stage(result: StudyResult, one: Finished) -> dict[str, Any]:
    path = one.folder / "report.html"
    link = os.path.relpath(path, result.folder).replace(os.sep, "/")
    return {
        "name": _NAMES[one.name],
        "minutes": one.seconds / 60,
        "folder": os.path.relpath(one.folder, result.folder),
        "page": Markup('<a href="{}">report</a>').format(link) if path.exists() else "-",
    }


def _verdicts(result: StudyResult) -> Iterator[dict[str, Any]]:
    for stage in ("audit before", BEFORE_UNSEEN, "audit after", UNSEEN):
        for name, figures in result.figures(stage).get("classifiers", {}).items():
            pairs = "; ".join(f"{edited} > {read}" for edited, read in figures["shortcuts"])
            yield {
                **figures,
                "stage": stage.removeprefix("audit "),
                "classifier": name,
                "pairs": pairs or "none",
            }


def _warnings(result: StudyResult) -> list[str]:
    """Return what stages say of the data, each once."""
    said = [text for one in result.stages for text in one.figures.get("warnings", ())]
    return list(dict.fromkeys(said))


def _gains(result: StudyResult) -> Iterator[str]:
    """Yield what each arm gained over plain training, mean over findings, test by test."""
    rows = result.figures("retrain").get("comparisons", [])
    known = [row for row in rows if row["reference"] == "erm" and row["difference"] is not None]
    for test, arm in dict.fromkeys((row["test"], row["arm"]) for row in known):
        own = [row for row in known if (row["test"], row["arm"]) == (test, arm)]
        certain = [row for row in own if sure(row, Rules())]
        better = sum(row["difference"] > 0 for row in certain)
        worse = len(certain) - better
        mean = sum(row["difference"] for row in own) / len(own)
        yield (
            f"{test}: {arm} changes AUC by {100 * mean:+.1f} points against erm, mean of "
            f"{len(own)} findings; surely better in {better}, surely worse in {worse}."
        )
