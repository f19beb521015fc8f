"""What one training leaves, and all of them together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from roentmod.jobs.retrain.registration import Sets
from roentmod.learning.export import export
from roentmod.learning.networks import build
from roentmod.learning.pictures import Pictures
from roentmod.learning.samples import Samples
from roentmod.learning.trainer import Trained, answer
from roentmod.learning.training import checkpoint
from roentmod.plans.retrain import Plan, Task
from roentmod.science.performance import PREDICTIONS
from roentmod.store import atomic, write_json

__all__ = ["finished", "keep", "together"]


def finished(folder: Path, task: Task) -> bool:
    """Tell whether a training left all that it should."""
    return _note(folder, task).exists()


def keep(
    done: Trained,
    task: Task,
    plan: Plan,
    folder: Path,
    sets: Sets,
    pictures: Mapping[str, Pictures],
    device: torch.device,
) -> None:
    """Let a trained network read val and all tests, write that, its graph, and last its facts.

    Its checkpoint is removed.
    """
    network = build(plan.model, len(plan.findings), task.seed, plan.size)
    network.load_state_dict(done.weights)
    network.to(device)
    asked = [(sets.val, "val"), *((test, sets.where[name]) for name, test in sets.tests.items())]
    parts = [_read(network, one, pictures[one.name], where, device) for one, where in asked]
    table = pd.concat(parts, ignore_index=True).assign(arm=task.arm, seed=task.seed)
    note = _note(folder, task)
    note.parent.mkdir(exist_ok=True)
    with atomic(note.with_suffix(".parquet")) as part:
        table[list(PREDICTIONS)].to_parquet(part, index=False)
    export(network, folder / "models" / f"{task.name}.onnx", plan)
    with atomic(folder / "models" / f"{task.name}.pt") as part:
        torch.save(done.weights, part)
    write_json(note, done.facts)
    # Optimiser and averages weigh many times the network, and are of no more use.
    checkpoint(folder, task).unlink(missing_ok=True)


def together(folder: Path, plan: Plan) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return facts by training and all predictions, in the plan's order, of what is finished."""
    facts, tables = {}, []
    for note in (_note(folder, task) for task in plan.tasks):
        if note.exists():
            facts[note.stem] = json.loads(note.read_text(encoding="utf-8"))
            tables.append(pd.read_parquet(note.with_suffix(".parquet")))
    empty = pd.DataFrame(columns=list(PREDICTIONS))
    return facts, pd.concat(tables, ignore_index=True) if tables else empty


def _note(folder: Path, task: Task) -> Path:
    return folder / "parts" / f"{task.name}.json"


def _read(
    network: nn.Module, samples: Samples, pictures: Pictures, where: str, device: torch.device
) -> pd.DataFrame:
    """Return one row a readable picture and finding."""
    logits = answer(network, pictures, len(samples), device)[pictures.readable]
    known = samples.targets[pictures.readable]
    n, k = logits.shape
    table = samples.table[pictures.readable]
    repeated = table.loc[table.index.repeat(k)].reset_index(drop=True)
    return repeated.assign(
        test=samples.name,
        where=where,
        finding=np.tile(np.array(samples.findings, dtype=object), n),
        label=known.ravel().astype(np.float64),
        logit=logits.ravel().astype(np.float64),
    )
