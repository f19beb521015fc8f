"""Retraining: the same classifier taught in several ways, on the same budget, seeds and steps.

`run` writes what will be compared (``plan.json``), then trains every arm with every seed, and lets
each read the validation split and all test sets. The directory holds ``pictures/`` (at the
network's size, shared by all trainings), ``checkpoints/`` of what is not finished,
``metrics/ARM-SEED.jsonl``, ``early/`` (what an early erm says, for `jtt`),
``models/ARM-SEED.onnx`` with cards and ``.pt`` (weights alone), ``parts/`` (what is done),
``predictions.parquet`` (one row per reading; `roentmod.science.performance` takes it from there)
and ``retrain.json``. An interrupted run goes on where it stopped, to the same weights. Under
``accelerate launch`` or ``torchrun`` several processes share a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from roentmod import runs
from roentmod.datasets import Dataset, with_validation
from roentmod.errors import RetrainError
from roentmod.jobs.augment import AugmentResult, load_cooccurrence
from roentmod.jobs.retrain.counterfactuals import (
    check_counterfactuals,
    check_hosts,
    counterfactuals,
)
from roentmod.jobs.retrain.job import RetrainJob
from roentmod.jobs.retrain.registration import Sets, registered
from roentmod.jobs.retrain.result import RetrainResult, load
from roentmod.learning import samples
from roentmod.learning.devices import check_device, seconds_per_step
from roentmod.plans.retrain import ARMS, COUNTERFACTUAL_ARMS, Arm, RetrainPlan, Task, check_test
from roentmod.runs import Stages, Workers
from roentmod.science.cooccurrence import CoOccurrence

__all__ = [
    "ARMS",
    "Arm",
    "RetrainPlan",
    "RetrainResult",
    "Tests",
    "check_device",
    "check_test",
    "load",
    "run",
    "seconds_per_step",
]

# Name to data, split (None: all pictures), and "internal" or "external".
Tests = Mapping[str, tuple[Dataset, str | None, str]]


def run(
    data: Dataset,
    plan: RetrainPlan,
    folder: Path,
    *,
    training_set: AugmentResult | None = None,
    tests: Tests,
    rates: CoOccurrence | None = None,
    warnings: Sequence[str] = (),
    device: str = "cpu",
    arms: Sequence[Arm] | None = None,
    tensorboard: bool = False,
    workers: str | Workers = "serial",
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
        warnings: what the result says of the data, such as which facts predict labels.
        device: "cpu" or "cuda"; which ones, and how many, is Accelerate's affair.
        arms: train only these of the plan now, and the erm that they begin after. Other calls, also
            at the same time, do the others in the same folder; the last one to end writes the
            tables of all.
        tensorboard: also write ``tensorboard/``.
        workers: who trains, as `roentmod.runs.workers` says.
        stages: called with a stage's name, returns what shows its progress.

    Raises:
        RetrainError: a split without pictures, positives or negatives, a patient in two splits,
            counterfactuals that are needed and missing or of a tested patient, a network that
            cannot be built, or a device that is not there.
        DatasetError: a manifest that no training may trust.
        RunError: `folder` holds a retraining of something else.
    """
    chosen = _chosen(plan, arms)
    if rates is None and "soft" in plan.arms:
        rates = load_cooccurrence()
    sets = _sets(data, plan, tests, training_set, rates)
    rates = rates if "soft" in plan.arms else None
    job = RetrainJob(
        plan,
        sets,
        registered(plan, sets, training_set, rates),
        chosen,
        device,
        tensorboard,
        tuple(warnings),
    )
    return runs.run(job, folder, workers=workers, stages=stages)


def _chosen(plan: RetrainPlan, arms: Sequence[Arm] | None) -> list[Task]:
    strange = [arm for arm in arms or () if arm not in plan.arms]
    if strange or (arms is not None and not arms):
        raise RetrainError(
            f"Arms to train now are of the plan's, {', '.join(plan.arms)}; got "
            f"'{', '.join(strange)}'. Choose there."
        )
    return [task for task in plan.tasks if arms is None or task.arm in arms]


def _sets(
    data: Dataset,
    plan: RetrainPlan,
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
    check_hosts(made, data)
    check_counterfactuals(made, [val, *own.values()])
    extra, facts = counterfactuals(made, plan, rates, data)
    return Sets(training, val, own, places, extra, facts)
