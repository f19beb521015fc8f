"""A study from one file: validate the editor, audit, augment, retrain, audit again.

Every stage has a folder of its own whose name ends in a hash of all that its result depends on:
its settings, the data, the editor, the stages before it. So a stage is done once, a changed
setting makes anew what depends on it and nothing else, and two studies in one folder share what
they have in common. A stage that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from roentmod.errors import StudyError
from roentmod.interfaces import Progress
from roentmod.jobs.study import timing
from roentmod.jobs.study.bench import Bench
from roentmod.jobs.study.spec import Spec, read
from roentmod.jobs.study.stages import Done, Stage, stages_of
from roentmod.store import write_json

__all__ = ["Planned", "Spec", "StudyResult", "plan", "read", "run"]

DONE = "done.json"
Stages = Callable[[str], Progress]
Publish = Callable[[str, Any], None]
State = Literal["done", "begun", "to do"]


@dataclass(frozen=True)
class Planned:
    """One stage before it is run.

    Attributes:
        name: "plant", "validate", "audit before", "augment", "retrain" or "audit after".
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
class StudyResult:
    """A finished study.

    Attributes:
        spec: what was asked.
        folder: the study's folder.
        stages: in order: name, folder, seconds, figures of each.
    """

    spec: Spec
    folder: Path
    stages: tuple[Done, ...]

    def figures(self, stage: str) -> dict[str, Any]:
        """Return the figures of a stage; none of one that the study leaves out."""
        return next((dict(one.figures) for one in self.stages if one.name == stage), {})

    def place(self, stage: str) -> Path | None:
        """Return the folder of a stage; None of one that the study leaves out."""
        return next((one.folder for one in self.stages if one.name == stage), None)

    def scores(self) -> pd.DataFrame:
        """Return the shortcut score of every retrained classifier: arm, seed, score."""
        found = self.figures("audit after").get("classifiers", {})
        rows = [(*name.rsplit("-", 1), one["score"]) for name, one in found.items()]
        table = pd.DataFrame(rows, columns=["arm", "seed", "score"])
        return table.astype({"seed": int, "score": float})


def plan(spec: Spec, folder: Path) -> list[Planned]:
    """Return what a run would do, and how long each stage should take; nothing is written.

    One radiograph is edited and a few steps are trained, to learn how fast this machine is.

    Raises:
        RoentModError: data, editor or a classifier cannot be used.
    """
    bench = Bench(spec)
    stages = stages_of(bench)
    rates = timing.rates(bench)
    planned = []
    for stage in stages:
        state = _state(folder, stage)
        seconds = 0.0 if state == "done" else timing.seconds(stage.work, rates)
        planned.append(Planned(stage.name, stage.what, state, seconds, _place(folder, stage)))
    return planned


def run(
    spec: Spec, folder: Path, *, publish: Publish | None = None, stages: Stages | None = None
) -> StudyResult:
    """Do what is left of a study.

    Args:
        spec: the study.
        folder: where stages are kept; several studies may share it.
        publish: called with a stage's name and result (an `AuditResult`, `ValidationResult`,
            `AugmentResult`, `RetrainResult` or path) before the stage counts as done.
        stages: called with the name of a part of a stage, returns what is told of its progress.

    Raises:
        StudyError: `folder` is a file.
        RoentModError: whatever a stage raises.
    """
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"--out names a folder; '{folder.name}' is a file. Name another.")
    bench, done = Bench(spec), []
    told = stages or (lambda _: lambda *_: None)
    for stage in stages_of(bench):
        place = _place(folder, stage)
        bench.folders[stage.name] = place
        if _state(folder, stage) != "done":
            place.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            result, figures = stage.run(bench, place, _named(told, stage.name))
            if publish:
                publish(stage.name, result)
            record = {"figures": figures, "seconds": round(time.monotonic() - started, 1)}
            write_json(place / DONE, {"stage": stage.name, "key": stage.key} | record)
        kept = json.loads((place / DONE).read_text(encoding="utf-8"))
        done.append(Done(stage.name, place, float(kept["seconds"]), kept["figures"]))
    return StudyResult(spec, folder, tuple(done))


def _named(told: Stages, stage: str) -> Stages:
    """Return `told` with the stage's name before each of its parts."""
    return lambda part: told(f"{stage}: {part}")


def _place(folder: Path, stage: Stage) -> Path:
    return folder / f"{stage.name.replace(' ', '-')}-{stage.key[:10]}"


def _state(folder: Path, stage: Stage) -> State:
    place = _place(folder, stage)
    if (place / DONE).exists():
        return "done"
    return "begun" if place.is_dir() else "to do"
