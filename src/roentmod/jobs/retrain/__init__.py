"""Retraining: the same classifier taught in several ways, on the same budget, seeds and steps.

`run` writes what will be compared (``plan.json``), then trains every arm with every seed, and lets
each read the validation split and all test sets. The directory holds ``pictures/`` (at the
network's size, shared by all trainings), ``checkpoints/`` of what is not finished,
``metrics/ARM-SEED.jsonl``, ``models/ARM-SEED.onnx`` with cards and ``.pt`` (weights alone),
``parts/`` (what is done), ``predictions.parquet`` (one row per reading;
`roentmod.science.performance` takes it from there) and ``retrain.json``. An interrupted run goes on
where it stopped, to the same weights. Under ``accelerate launch`` or ``torchrun`` several processes
share a batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod.datasets import Dataset, with_validation
from roentmod.errors import RetrainError
from roentmod.interfaces import Progress
from roentmod.jobs.augment import AugmentResult, load_cooccurrence
from roentmod.jobs.retrain import results as outcome
from roentmod.jobs.retrain.counterfactuals import check_counterfactuals, counterfactuals
from roentmod.jobs.retrain.registration import Sets, registered
from roentmod.learning import samples
from roentmod.learning.devices import accelerator_of, check_device, facts_of, seconds_per_step
from roentmod.learning.pictures import Pictures, gather
from roentmod.learning.trainer import Material
from roentmod.learning.training import train
from roentmod.plans.retrain import ARMS, COUNTERFACTUAL_ARMS, Arm, Plan, Task, check_test
from roentmod.rundir import claim, now
from roentmod.science.cooccurrence import CoOccurrence
from roentmod.store import atomic, write_json

__all__ = [
    "ARMS",
    "Arm",
    "Plan",
    "RetrainResult",
    "Stages",
    "Tests",
    "check_device",
    "check_test",
    "load",
    "run",
    "seconds_per_step",
]

REGISTERED, RECORD, TABLE = "plan.json", "retrain.json", "predictions.parquet"
Stages = Callable[[str], Progress]
# Name to data, split (None: all pictures), and "internal" or "external".
Tests = Mapping[str, tuple[Dataset, str | None, str]]


@dataclass(frozen=True, eq=False)
class RetrainResult:
    """What a retraining left.

    Attributes:
        folder: the run directory.
        record: what ``retrain.json`` holds.
        predictions: one row a reading, the columns of `evaluation.PREDICTIONS`: `test` is "val" or
            a test's name, `where` "val", "internal" or "external", `label` 1, 0, or NaN where
            unknown.
    """

    folder: Path
    record: dict[str, Any]
    predictions: pd.DataFrame

    def model(self, arm: str, seed: int) -> Path:
        """Return the file of a trained classifier, for ``onnx:``."""
        return self.folder / "models" / f"{arm}-{seed}.onnx"


def run(
    data: Dataset,
    plan: Plan,
    folder: Path,
    *,
    training_set: AugmentResult | None = None,
    tests: Tests,
    rates: CoOccurrence | None = None,
    device: str = "cpu",
    arms: Sequence[Arm] | None = None,
    tensorboard: bool = False,
    stages: Stages | None = None,
) -> RetrainResult:
    """Train and read; an interrupted run goes on where it stopped.

    Args:
        data: with splits "train" and "val"; without "val", a tenth of the training patients is it
            (`datasets.with_validation`).
        plan: arms, seeds, network and numbers.
        folder: the run directory.
        training_set: counterfactuals of training patients, for the arms that need them.
        tests: what is read in the end.
        rates: where soft labels come from; None is the matrix that the package brings.
        device: "cpu" or "cuda"; which ones, and how many, is Accelerate's affair.
        arms: train only these of the plan now. Other calls, also at the same time, do the others in
            the same folder; the last one to end writes the tables of all.
        tensorboard: also write ``tensorboard/``.
        stages: called with a stage's name, returns what is told of its progress.

    Raises:
        RetrainError: a split without pictures, positives or negatives, a patient in two splits,
            counterfactuals that are needed and missing or of a tested patient, a network that
            cannot be built, or a device that is not there.
        DatasetError: a manifest that no training may trust.
        AuditError: `folder` holds a retraining of something else.
    """
    chosen = _chosen(plan, arms)
    if rates is None and "soft" in plan.arms:
        rates = load_cooccurrence()
    sets = _sets(data, plan, tests, training_set, rates)
    accelerator = accelerator_of(device, plan.precision)
    record = registered(plan, sets, training_set, rates if "soft" in plan.arms else None)
    if accelerator.is_main_process:
        claim(folder / REGISTERED, record, "a retraining")
    accelerator.wait_for_everyone()
    told = stages or (lambda _: lambda *_: None)
    with accelerator.main_process_first():
        shown = {
            one.name: gather(
                one, folder / "pictures", plan.size, plan.through, told(f"pictures of {one.name}")
            )
            for one in sets.all()
        }
    material = _material(sets, shown)
    for task in chosen:
        if not outcome.finished(folder, task):
            stage = told(f"training {task.arm}, seed {task.seed}")
            done = train(
                task, material, plan, folder, accelerator, tensorboard=tensorboard, progress=stage
            )
            if accelerator.is_main_process:
                outcome.keep(done, task, plan, folder, sets, shown, accelerator.device)
            accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        unread = {name: pictures.unread for name, pictures in shown.items() if pictures.unread}
        _write(folder, plan, record, unread, facts_of(accelerator))
    accelerator.wait_for_everyone()
    return _result(folder, plan)


def load(folder: Path) -> RetrainResult:
    """Return a finished retraining.

    Raises:
        RetrainError: none is there, or it is not finished.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        table = pd.read_parquet(folder / TABLE)
    except (OSError, ValueError) as error:
        raise RetrainError(
            f"A finished retraining has {RECORD} and {TABLE}; reading them in {folder.name} gave "
            f"'{type(error).__name__}'. Finish roentmod retrain, or check the path."
        ) from error
    return RetrainResult(folder, record, table)


def _chosen(plan: Plan, arms: Sequence[Arm] | None) -> list[Task]:
    strange = [arm for arm in arms or () if arm not in plan.arms]
    if strange or (arms is not None and not arms):
        raise RetrainError(
            f"Arms to train now are of the plan's, {', '.join(plan.arms)}; got "
            f"'{', '.join(strange)}'. Choose there."
        )
    return [task for task in plan.tasks if arms is None or task.arm in arms]


def _sets(
    data: Dataset,
    plan: Plan,
    tests: Tests,
    made: AugmentResult | None,
    rates: CoOccurrence | None,
) -> Sets:
    """Return all samples, checked against each other."""
    for name, (_, _, where) in tests.items():
        check_test(name, where)
    data = with_validation(data)
    training, val = (samples.labelled(data, split, plan, split) for split in ("train", "val"))
    own = {
        name: samples.labelled(source, split, plan, name)
        for name, (source, split, _) in tests.items()
    }
    for one in (training, val):
        samples.check_labels(one)
    samples.check_patients(training, [val, *own.values()])
    samples.check_patients(val, list(own.values()))
    places = {name: test[2] for name, test in tests.items()}
    if not plan.needs_training_set:
        return Sets(training, val, own, places)
    if made is None:
        wanting = [arm for arm in plan.arms if arm in COUNTERFACTUAL_ARMS]
        raise RetrainError(
            f"{', '.join(wanting)} learn from counterfactuals; got none. Give a training set of "
            "roentmod augment, or leave these arms out."
        )
    check_counterfactuals(made, [val, *own.values()])
    extra, targets = counterfactuals(made, plan, rates)
    return Sets(training, val, own, places, extra, targets)


def _material(sets: Sets, shown: Mapping[str, Pictures]) -> Material:
    return Material(
        (sets.train, shown[sets.train.name]),
        (sets.val, shown[sets.val.name]),
        None if sets.extra is None else shown[sets.extra.name],
        sets.targets,
    )


def _write(
    folder: Path,
    plan: Plan,
    record: Mapping[str, Any],
    unread: Mapping[str, Any],
    machine: Mapping[str, Any],
) -> None:
    """Write table and record, where all trainings are done; the record comes last."""
    facts, table = outcome.together(folder, plan)
    if len(facts) < len(plan.tasks):
        return
    with atomic(folder / TABLE) as part:
        table.to_parquet(part, index=False)
    provenance = record["provenance"] | {"finished": now()}
    done = {key: value for key, value in record.items() if key != "provenance"}
    done |= {"trainings": facts, "unread": unread, "machine": machine, "provenance": provenance}
    write_json(folder / RECORD, done)


def _result(folder: Path, plan: Plan) -> RetrainResult:
    """Return what is there; without a record, as far as it is done."""
    if (folder / RECORD).exists():
        return load(folder)
    facts, table = outcome.together(folder, plan)
    return RetrainResult(folder, {"trainings": facts}, table)
