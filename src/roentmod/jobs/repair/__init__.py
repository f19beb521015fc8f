"""A repair: audit a model, retrain it with counterfactuals of what was found, audit it again.

It is a study (`roentmod.jobs.study`) of one given model: audits before by two editors, a
counterfactual set by the first, a retraining from the model beside a control without
counterfactuals, audits after by both. What the audits before find decides what is made; where they
find nothing, nothing is. Stages are kept as those of studies are, so that a repair that was stopped
goes on where it was. ``repair.json`` is the record of the one that was finished last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from roentmod import runs
from roentmod.errors import RetrainError, StudyError
from roentmod.jobs import audit
from roentmod.jobs import study as studies
from roentmod.jobs.repair.given import GIVEN, Given, Tests, bench_of, exported
from roentmod.jobs.repair.outcome import Found, found_in, outcome
from roentmod.jobs.study import Finished, Planned, StudyJob, StudyResult
from roentmod.jobs.study.bench import Bench
from roentmod.jobs.study.stages import BEFORE_UNSEEN, stages_of
from roentmod.learning.devices import check_device
from roentmod.plans.repair import RepairPlan
from roentmod.plans.study import StudyPlan
from roentmod.runs import Stages, Workers
from roentmod.runs.record import check_folder

__all__ = ["Given", "RepairJob", "RepairPlan", "RepairResult", "Tests", "load", "plan", "run"]

_RECORD = "repair.json"
_BEFORE = ("audit before", BEFORE_UNSEEN)


@dataclass(frozen=True, repr=False)
class RepairResult:
    """What a repair left.

    Attributes:
        study: its stages, with their folders and figures.
        facts: what was found, done and reached, as ``repair.json`` has it.
        folder: its folder.
    """

    study: StudyResult
    facts: Mapping[str, Any]
    folder: Path

    def __repr__(self) -> str:
        """Return verdict and folder."""
        return f"<RepairResult: {self.verdict}, in '{self.folder}'>"

    @property
    def verdict(self) -> str:
        """How it ended: "repaired", "repaired at a cost", "not repaired", "nothing found"."""
        return str(self.facts["verdict"])

    @property
    def judged(self) -> bool:
        """Whether the audits before could judge any pair."""
        return bool(self.facts["judged"])

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The (edited, read) pairs that were repaired."""
        return [(cause, read) for cause, read in self.facts["pairs"]]

    @property
    def model(self) -> Path | None:
        """The repaired model's ONNX file; None where it is not repaired."""
        name = self.facts.get("use")
        return self.folder / name if name else None

    @property
    def stages(self) -> tuple[Finished, ...]:
        """Its stages, in order."""
        return self.study.stages

    @property
    def shares(self) -> pd.DataFrame:
        """Shares before and after by editor, pair and arm; empty where nothing was done."""
        return pd.DataFrame(self.facts.get("shares", []))

    def report(self) -> Path:
        """Write ``report.html`` and ``report.json`` into the folder, and return the page's path.

        Raises:
            OSError: the folder cannot be written.
        """
        from roentmod.jobs.repair.sections import shown
        from roentmod.report import publish

        trained = self.study.place("retrain")
        if trained is not None:
            from roentmod.jobs.retrain import load as retrained

            retrained(trained).report(scores=self.study.scores())
        return publish(shown(self), self.folder, {"repair": self.facts})


def plan(given: Given, folder: Path) -> list[Planned]:
    """Return what a run would do, and how long each stage should take; nothing is written.

    Where no pairs are given, the counterfactual set is taken to be of all that is audited.

    Raises:
        RoentModError: model, data or an editor cannot be used.
    """
    with TemporaryDirectory() as place:
        model = exported(given, Path(place))
        bench = bench_of(given, model.graph, Workers())
        model.write()
        pairs = given.plan.pairs or _known(bench, folder)
        if pairs is not None:
            bench.spec = _about(bench.spec, pairs)
        return studies.planned(bench, folder)


def _known(bench: Bench, folder: Path) -> tuple[tuple[str, str], ...] | None:
    """Return what audits have found already; None where they are not done."""
    first = {stage.name: stage for stage in stages_of(bench) if stage.name in _BEFORE}
    places = {name: studies.place_of(folder, stage) for name, stage in first.items()}
    with runs.reading(folder) as journal:
        if not all(journal.settled(stage.key) for stage in first.values()):
            return None
    return found_in({n: audit.load(place) for n, place in places.items()}, GIVEN).pairs


def run(
    given: Given,
    folder: Path,
    *,
    workers: str | Workers = "serial",
    stages: Stages | None = None,
) -> RepairResult:
    """Repair a model; a repair that was stopped goes on where it was.

    Args:
        given: model, data, plan.
        folder: where stages are kept.
        workers: who makes the parts of each stage.
        stages: called with the name of a part of a stage, returns what shows its progress.

    Raises:
        RunError: `folder` is a file, or holds no repair.
        RoentModError: whatever a stage raises.
    """
    team, model = runs.read_workers(workers, shards=False), exported(given, folder)
    bench = bench_of(given, model.graph, team)
    # What is refused, is refused before anything is written.
    check_device(given.device, given.plan.precision)
    check_folder(folder / _RECORD, {"kind": RepairJob.kind}, RepairJob.article, RepairJob.free)
    model.write()
    job: runs.Job[Any] = RepairJob(bench.spec, bench, stages, given=given)
    result: RepairResult = runs.run(job, folder, stages=stages)
    return result


@dataclass(eq=False)
class RepairJob(StudyJob):
    """A study whose later stages follow from what its first audits find."""

    given: Given | None = None
    kind = "repair"
    article = "repairs"
    record = _RECORD

    def stages(self) -> Iterator[runs.Stage]:
        """Yield the audits before, and the rest where there is something to repair.

        Raises:
            RoentModError: whatever the stage before raised.
        """
        for name in _BEFORE:
            yield from self._one(self._planned[name])
        pairs = self._pairs()
        if not pairs:
            return
        self.spec = self.bench.spec = _about(self.spec, pairs)
        self._planned = {stage.name: stage for stage in stages_of(self.bench)}
        for stage in self._planned.values():
            if stage.name not in _BEFORE:
                yield from self._one(stage)

    def _found(self) -> Found:
        return found_in({n: audit.load(self.bench.folders[n]) for n in _BEFORE}, GIVEN)

    def _pairs(self) -> tuple[tuple[str, str], ...]:
        assert self.given is not None
        return self.given.plan.pairs or self._found().pairs

    def finish(self, done: runs.Done) -> Any:
        """Return the result, and keep in the record what was found, done and reached."""
        assert self.given is not None
        whole = super().finish(done)
        facts = outcome(whole, self.spec, self._found(), self.given, self._pairs())
        done.record["repair"] = facts
        return RepairResult(whole, facts, done.folder)

    def load(self, folder: Path) -> Any:
        """Return the result as it lies there; None where that is another repair's."""
        return None if super().load(folder) is None else load(folder)


def _about(spec: StudyPlan, pairs: tuple[tuple[str, str], ...]) -> StudyPlan:
    """Return a repair's study of some pairs: counterfactuals add their causes."""
    causes = tuple(dict.fromkeys(cause for cause, _ in pairs))
    assert spec.augment is not None
    return spec.but(
        pairs=pairs,
        augment=spec.augment.but(findings=causes),
        retrain=spec.retrain.but(pairs=pairs),
    )


def load(folder: Path) -> RepairResult:
    """Return the repair that was finished last in a folder.

    Raises:
        RetrainError: none was, or a stage's folder is gone.
    """
    try:
        facts = runs.read_record(folder / _RECORD)["repair"]
        whole = studies.load(folder, record=_RECORD)
    except (KeyError, TypeError, StudyError) as error:
        raise RetrainError(
            f"A repair's folder has {_RECORD} and the folders of its stages; {folder.name} does "
            "not. Finish roentmod repair."
        ) from error
    return RepairResult(replace(whole, folder=folder), facts, folder)
