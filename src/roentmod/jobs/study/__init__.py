"""A study from one file: validate the editor, audit, augment, retrain, audit again.

Every stage has a folder whose name ends in a hash of all that its result depends on: its settings,
the data, the editor, the stages before it. So a stage is done once, a changed setting makes again
what depends on it and nothing else, and two studies in one folder share what they have in common.
A study is a job whose parts are jobs: one that was stopped goes on where it was. ``study.json``
names the stages of the study that was finished last, which `load` returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from roentmod import datasets, runs
from roentmod.datasets.table import PHANTOMS
from roentmod.errors import RoentModError, StudyError
from roentmod.jobs.audit import AuditResult
from roentmod.jobs.study import timing
from roentmod.jobs.study.bench import Bench
from roentmod.jobs.study.spec import read, spec_of
from roentmod.jobs.study.stages import UNSEEN, Stage, stages_of
from roentmod.jobs.validate import ValidationResult
from roentmod.plans.study import StudyPlan
from roentmod.runs import Made, Part, Stages, Task, Workers
from roentmod.store import pseudonym

__all__ = [
    "SCORES",
    "Finished",
    "Planned",
    "StudyJob",
    "StudyPlan",
    "StudyResult",
    "load",
    "place_of",
    "plan",
    "planned",
    "read",
    "run",
    "spec_of",
]

RECORD = "study.json"
# Columns of `StudyResult.scores`.
SCORES = ("arm", "seed", "score", "editor", "low", "high", "blind")
# User and password, query and fragment of an address.
_SECRETS = re.compile(r"(?<=://)[^/\s]*@|[?#].*")
State = Literal["done", "begun", "to do"]


@dataclass(frozen=True)
class Planned:
    """One stage before it is run.

    Attributes:
        name: "plant", "validate", "audit before", "audit before unseen", "augment", "retrain",
            "audit after" or "audit unseen".
        what: what is computed.
        state: "done", "begun" or "to do".
        seconds: how long the whole stage should take on this machine, 0 where it is done.
        folder: where its results are.
    """

    name: str
    what: str
    state: State
    seconds: float
    folder: Path


@dataclass(frozen=True)
class Finished:
    """A stage that is done: its name, folder, seconds it took, and figures."""

    name: str
    folder: Path
    seconds: float
    figures: Mapping[str, Any]


@dataclass(frozen=True, repr=False)
class StudyResult:
    """A finished study.

    Attributes:
        spec: the study.
        folder: its folder.
        stages: in order.
    """

    spec: StudyPlan
    folder: Path
    stages: tuple[Finished, ...]

    def __repr__(self) -> str:
        """Return stages and folder."""
        names = ", ".join(one.name for one in self.stages)
        return f"<StudyResult: {names}, in '{self.folder}'>"

    def figures(self, stage: str) -> dict[str, Any]:
        """Return the figures of a stage; none of one that the study leaves out."""
        return next((dict(one.figures) for one in self.stages if one.name == stage), {})

    @property
    def failed(self) -> dict[str, int]:
        """How much in each stage could not be read, or failed; only of stages with any."""
        return {one.name: n for one in self.stages if (n := one.figures.get("failed", 0))}

    def place(self, stage: str) -> Path | None:
        """Return the folder of a stage; None of one that the study leaves out."""
        return next((one.folder for one in self.stages if one.name == stage), None)

    def report(self) -> Path:
        """Write the study's page, and its retraining's with the scores of the audits after it.

        The pages of the other stages are there already.

        Returns:
            The path of the study's page.

        Raises:
            OSError: the folder cannot be written.
        """
        from roentmod.jobs.retrain import load
        from roentmod.jobs.study.sections import shown
        from roentmod.report import write

        trained, scores = self.place("retrain"), self.scores()
        # First, as the study's page links to what is there.
        if trained is not None:
            load(trained).report(scores=scores if len(scores) else None)
        name = "-".join(re.findall(r"[a-z0-9]+", self.spec.name.lower())) or "study"
        path = self.folder / f"{name}.html"
        write(shown(self), path)
        return path

    def scores(self) -> pd.DataFrame:
        """Return the shortcut score of every retrained classifier, as the audits after have it.

        Columns: arm, seed, score, editor, low, high, blind. `low` and `high` are the score's
        interval over patients, NaN where the audit has none. `editor` is "" of the study's, which
        made counterfactuals that taught them, and the name of one that did not. `blind` are the
        heads that the score leaves out, in one text.
        """
        audit = self.spec.audit
        unseen, given = (audit.unseen, audit.classifiers) if audit else (None, {})
        rows = [
            (
                *name.rsplit("-", 1),
                one["score"],
                editor,
                *one.get("score_ends", (None, None)),
                "; ".join(one.get("blind", ())),
            )
            for stage, editor in (("audit after", ""), (UNSEEN, unseen))
            for name, one in self.figures(stage).get("classifiers", {}).items()
            if name not in given
        ]
        table = pd.DataFrame(rows, columns=list(SCORES))
        return table.astype({"seed": int} | dict.fromkeys(("score", "low", "high"), float))


def plan(spec: StudyPlan, folder: Path, *, trust: bool = False) -> list[Planned]:
    """Return what a run would do, and how long each stage should take; nothing is written.

    One radiograph is edited and a few steps are trained, to learn how fast this machine is.

    Raises:
        RoentModError: data, editor or a classifier cannot be used.
    """
    return planned(Bench(spec, trust=trust), folder)


def planned(bench: Bench, folder: Path) -> list[Planned]:
    """Return `plan` of the study that a bench is of."""
    stages, rates = stages_of(bench), timing.rates(bench)
    result = []
    with runs.reading(folder) as journal:
        for stage in stages:
            place = place_of(folder, stage)
            state: State = "begun" if place.is_dir() else "to do"
            state = "done" if journal.settled(stage.key) else state
            seconds = 0.0 if state == "done" else timing.seconds(stage.work, rates)
            result.append(Planned(stage.name, stage.what, state, seconds, place))
    return result


def run(
    spec: StudyPlan,
    folder: Path,
    *,
    workers: str | Workers = "serial",
    stages: Stages | None = None,
    trust: bool = False,
    until: str | None = None,
) -> StudyResult:
    """Do what is left of a study.

    Several calls in one folder share the parts of each stage; a shard is therefore not needed.

    Args:
        spec: the study.
        folder: where stages are kept; several studies may share it.
        workers: who makes the parts of each stage.
        stages: called with the name of a part of a stage, returns what shows its progress.
        trust: whether programs that the study names may be loaded; the study itself cannot say so.
        until: the last stage to do now, such as "augment"; another call does the others.

    Raises:
        RunError: `folder` is a file.
        StudyError: the study has no such stage.
        RoentModError: whatever a stage raises.
    """
    team = runs.read_workers(workers, shards=False)
    job = StudyJob(spec, Bench(spec, workers=team, trust=trust), stages, until)
    return runs.run(job, folder, stages=stages)


@dataclass(eq=False)
class StudyJob(runs.Job[StudyResult]):
    """Stages, each a run in its own folder."""

    spec: StudyPlan
    bench: Bench
    shown: Stages | None = None
    until: str | None = None
    _made: list[tuple[Stage, Part]] = field(default_factory=list)
    _error: Exception | None = None
    kind = "study"
    article = "studies"
    record = RECORD

    def __post_init__(self) -> None:
        """Plan all stages, so that what does not fit is said first."""
        planned = stages_of(self.bench)
        names = [stage.name for stage in planned]
        if self.until is not None and self.until not in names:
            raise StudyError(
                f"A study is done until one of its stages, {', '.join(names)}; got '{self.until}'. "
                "Choose there."
            )
        last = len(names) if self.until is None else names.index(self.until) + 1
        self._planned = {stage.name: stage for stage in planned[:last]}

    def identity(self) -> Mapping[str, Any]:
        """Return the kind alone: several studies may share a folder."""
        return {"kind": self.kind}

    def begin(self, done: runs.Done) -> None:
        """Keep what tells the figures of stages."""
        self._done = done

    def stages(self) -> Iterator[runs.Stage]:
        """Yield the stages of the study, one part each.

        Raises:
            RoentModError: whatever the stage before raised.
        """
        for stage in self._planned.values():
            yield from self._one(stage)

    def _one(self, stage: Stage) -> Iterator[runs.Stage]:
        place = place_of(self._done.folder, stage)
        self.bench.folders[stage.name] = place
        part = Part(stage.key, stage.name)
        self._made.append((stage, part))
        yield runs.Stage(stage.name, 1, lambda: [part], shared=True)
        if self._error is not None:
            raise self._error

    def make(self, task: Task) -> Made:
        """Run a stage."""
        stage = self._planned[task.part.inputs]
        place = place_of(task.folder, stage)
        place.mkdir(parents=True, exist_ok=True)
        try:
            result, figures = stage.run(self.bench, place, self._named(stage.name))
            if isinstance(result, AuditResult | ValidationResult):
                result.report()
        except (RoentModError, OSError) as error:
            self._error = error
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self._error = StudyError(f"The stage '{stage.name}' failed: {message}")
            raise
        return Made(facts={"figures": figures})

    def _named(self, name: str) -> Stages:
        """Return what shows the progress of a stage's parts, with the stage's name before each."""
        if self.shown is None:
            return lambda _: lambda *_: None
        shown = self.shown
        return lambda part: shown(f"{name}: {part}")

    def finish(self, done: runs.Done) -> StudyResult:
        """Return the figures of all stages, and name them in the record."""
        stages = []
        for stage, part in self._made:
            made = done.get(part)
            assert made is not None
            place = self.bench.folders[stage.name].name
            facts = {"name": stage.name, "folder": place, "seconds": made.seconds}
            stages.append(facts | {"figures": made.facts["figures"]})
        done.record |= {"study": _facts(self.spec), "stages": stages}
        return _result(done.record, done.folder)

    def load(self, folder: Path) -> StudyResult | None:
        """Return the result as it lies there; None where that is another study's."""
        record = runs.read_record(folder / self.record)
        same = record.get("study") == _facts(self.spec)
        return _result(record, folder) if same and self._places(record) else None

    def _places(self, record: Mapping[str, Any]) -> bool:
        """Tell whether the stages of a record are those of this run."""
        own = [self.bench.folders[stage.name].name for stage, _ in self._made]
        return own == [stage["folder"] for stage in record["stages"]]


def load(folder: Path, *, record: str = RECORD) -> StudyResult:
    """Return the study that was finished last in a folder, by the name of its record.

    Raises:
        StudyError: none was, or a stage's folder is gone.
    """
    try:
        result = _result(runs.read_record(folder / record), folder)
        gone = [one.folder.name for one in result.stages if not one.folder.is_dir()]
        what = f"the folder '{gone[0]}' is gone" if gone else ""
    except (KeyError, TypeError, AttributeError):
        what = "no study was finished there"
    if what:
        raise StudyError(
            f"A study's folder has {record} and the folders of its stages; in {folder.name} "
            f"{what}. Finish roentmod study."
        )
    return result


def _result(record: Mapping[str, Any], folder: Path) -> StudyResult:
    stages = [Finished(**one | {"folder": folder / one["folder"]}) for one in record["stages"]]
    return StudyResult(StudyPlan.of(record["study"]), folder, tuple(stages))


def _facts(spec: StudyPlan) -> dict[str, Any]:
    """Return a study as its record has it.

    Places of data whose names are hidden are pseudonyms; of other absolute paths the last name is
    left, of addresses what is no secret.
    """
    facts = spec.facts()
    shared: dict[str, Any] = _shared(facts)
    for source, own in zip(_sources(facts), _sources(shared), strict=True):
        for name in ("source", "images"):
            kept = source.get("keep_ids") or source[name] is None
            own[name] = source[name] if kept else _hidden(source[name])
    start = facts["retrain"].get("start")
    if start:
        # The network's own name, as a retraining records it.
        shared["retrain"]["start"] = ":".join(Path(part).name for part in start.split(":"))
    return shared


def _sources(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    audited = (facts.get("audit") or {}).get("source")
    return [facts["train"], *facts["tests"].values(), *([audited] if audited else [])]


def _hidden(place: str) -> str:
    kind, mark, folder = place.partition(":")
    if not mark or kind.lower() not in datasets.NAMES:
        return pseudonym(place, "s")
    return place if kind == PHANTOMS else f"{kind}:{pseudonym(folder, 's')}"


def _shared(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _shared(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shared(one) for one in value]
    if not isinstance(value, str):
        return value
    if "://" in value:
        return _SECRETS.sub("", value)
    parts = value.split(":")
    return ":".join(Path(part).name if Path(part).is_absolute() else part for part in parts)


def place_of(folder: Path, stage: Stage) -> Path:
    """Return the folder of a stage in that of its study."""
    return folder / f"{stage.name.replace(' ', '-')}-{stage.key[:10]}"
