"""The analysis of a reader study: truth and answers meet, for the first time, in a folder beside.

``STUDY-analysis`` holds ``analysis.json`` (what was analysed, by which rules), ``tables/`` (each
table of `Analysis` as Parquet) and the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod._optional import require
from roentmod.documents import read_document
from roentmod.errors import InputError, ReadersError
from roentmod.jobs.readers import design
from roentmod.jobs.readers.answers import read_answers, read_truth
from roentmod.plans.readings import AnalysisPlan
from roentmod.runs.record import made_with, now
from roentmod.science.readers.analysis import Analysis, Rules, analyse, sightings
from roentmod.store import atomic, write_json

__all__ = ["RECORD", "ReadersResult", "folder_of", "load", "run", "seen_by"]

RECORD = "analysis.json"
_TABLES = "tables"
_LIBRARIES = ("numpy", "scipy", "pandas", "choix")


@dataclass(frozen=True, repr=False)
class ReadersResult:
    """What a reader study found.

    Attributes:
        plan: the study's plan, its findings, what counts, the rule of exclusion.
        provenance: versions, hash of the study's plan, when.
        simulated: the skill of simulated readers; None: people.
        counts: "planned" and "ok" pages (a case or a pair, of one reader), and "missing" ones.
        analysis: all tables.
        folder: of the analysis.
    """

    plan: dict[str, Any]
    provenance: dict[str, Any]
    simulated: dict[str, Any] | None
    counts: dict[str, int]
    analysis: Analysis
    folder: Path = field(compare=False)

    def __repr__(self) -> str:
        """Return readers, the area of realism and folder."""
        one = self.realism()
        return (
            f"<ReadersResult: {len(self.analysis.readers)} readers, realism "
            f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f}), in '{self.folder}'>"
        )

    @property
    def group(self) -> str:
        """The readers that count: "attentive" where the rule excludes somebody, else "all"."""
        return str(self.analysis.realism["group"].iloc[-1])

    def realism(self) -> dict[str, Any]:
        """Return the primary outcome: the row of the area, edited against all real cases."""
        table = self.analysis.realism
        table = table[(table["group"] == self.group) & (table["against"] == "real")]
        return {str(name): value for name, value in table.iloc[0].items()}

    def report(self) -> Path:
        """Write ``report.html`` and ``report.json`` into the folder.

        Returns:
            The path of the page.

        Raises:
            OSError: the folder cannot be written.
        """
        from roentmod.jobs.readers.sections import shown
        from roentmod.report import publish

        return publish(shown(self), self.folder, self)


def folder_of(study: str | Path) -> Path:
    """Return where an analysis is put unless told otherwise: beside the study, as its truth is."""
    place = Path(study).absolute()
    return place.with_name(f"{place.name}-analysis")


def run(
    study: str | Path,
    out: str | Path | None = None,
    plan: AnalysisPlan | None = None,
    *,
    answers: str | Path | None = None,
) -> ReadersResult:
    """Analyse a study; the plan says what counts, and was frozen before the first answer.

    Args:
        study: the study's folder; its truth lies beside it.
        out: folder of the analysis; None: `folder_of` the study.
        plan: numbers of the analysis.
        answers: a database's URL or an exported file; None: the study's own database.

    Raises:
        ReadersError: study, truth or answers are not there, or do not fit each other.
        MissingDependencyError: choix is not installed.
    """
    require("choix")
    plan = plan or AnalysisPlan()
    made, truth, table, rules = _opened(study, answers, plan)
    folder = Path(out) if out is not None else folder_of(study)
    (folder / _TABLES).mkdir(parents=True, exist_ok=True)
    record = {
        "plan": made.content["plan"]
        | {"findings": made.findings, "present": rules.present, "altered": rules.altered}
        | {"exclusion": made.content["exclusion"]["rule"], "least": rules.least}
        | {"outcomes": made.content["outcomes"], "notes": made.notes}
        | {"analysis": plan.model_dump()},
        "provenance": made_with(_LIBRARIES) | {"study": made.hash},
        "simulated": table.attrs.get("simulated"),
        "counts": _counts(made, truth, table),
    }
    analysis = analyse(truth, table, rules)
    for one in fields(analysis):
        with atomic(folder / _TABLES / f"{one.name}.parquet") as part:
            getattr(analysis, one.name).to_parquet(part, index=False)
    record["provenance"] |= {"finished": now()}
    write_json(folder / RECORD, record)
    return load(folder)


def load(folder: Path) -> ReadersResult:
    """Return the result of a finished analysis.

    Raises:
        ReadersError: none is there, or it is damaged.
    """
    try:
        record = read_document(folder / RECORD)
        tables = {
            one.name: pd.read_parquet(folder / _TABLES / f"{one.name}.parquet")
            for one in fields(Analysis)
        }
        facts = {name: record[name] for name in ("plan", "provenance", "simulated", "counts")}
    except (OSError, InputError, ValueError, KeyError) as error:
        raise ReadersError(
            f"A finished analysis has {RECORD} and its tables; reading {folder} gave '{error}'. "
            "Analyse the study again."
        ) from error
    return ReadersResult(**facts, analysis=Analysis(**tables), folder=folder)


def seen_by(study: str | Path, *, answers: str | Path | None = None) -> pd.DataFrame:
    """Return what a study's readers saw in its edits, for the gate and leakage of an audit.

    Args:
        study: as `run`.
        answers: as `run`.

    Returns:
        `sightings`: patient_id, edited_finding, seen, and a column per finding.

    Raises:
        ReadersError: as `run`, or the readers are simulated: an audit is judged by people.
    """
    _, truth, table, rules = _opened(study, answers, AnalysisPlan())
    if table.attrs.get("simulated"):
        raise ReadersError(
            "An audit is judged by people; these answers are simulated. Leave --readers out."
        )
    return sightings(truth, table, rules)


def _opened(
    study: str | Path, answers: str | Path | None, plan: AnalysisPlan
) -> tuple[design.Design, pd.DataFrame, pd.DataFrame, Rules]:
    made, truth = design.load(Path(study)), read_truth(study)
    table = read_answers(answers if answers is not None else study)
    rules = Rules(
        tuple(made.findings),
        level=plan.level,
        present=int(made.content["present"]),
        # Plans of earlier versions do not name it; it was 4.
        altered=int(made.content.get("altered", 4)),
        least=float(made.content["exclusion"]["least"]),
        resamples=plan.resamples,
        seed=plan.seed,
    )
    return made, truth, _of_readers(table, made.readers), rules


def _of_readers(table: pd.DataFrame, readers: Sequence[str]) -> pd.DataFrame:
    """Return the answers; those of nobody in the plan are refused."""
    others = sorted(set(table["reader"]) - set(readers))
    if others:
        raise ReadersError(
            f"Answers are of the plan's readers; got {others[0]}. Give the study's own answers."
        )
    return table


def _counts(made: design.Design, truth: pd.DataFrame, table: pd.DataFrame) -> dict[str, int]:
    """Return how many pages were planned and are done."""
    planned = {
        (reader, step.case, step.other) for reader, steps in made.steps.items() for step in steps
    }
    last = table[table["question"].isin(["realism", "pair"])]
    done = zip(last["reader"], last["case"], last["other"].fillna(""), strict=True)
    ok = len(planned & set(done))
    return {"planned": len(planned), "ok": ok, "missing": len(planned) - ok}
