"""One training, from its last checkpoint on. Killed at any time, it ends with the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from roentmod._optional import require
from roentmod.interfaces import Progress
from roentmod.learning.material import Material
from roentmod.learning.trainer import Course, Trained, written
from roentmod.plans.retrain import RetrainPlan, Task
from roentmod.store import atomic

__all__ = ["checkpoint", "metrics", "train"]

SAVE_SECONDS = 120.0
Write = Callable[[dict[str, Any]], None]


def checkpoint(folder: Path, task: Task) -> Path:
    """Return the file that an unfinished training goes on from."""
    return folder / "checkpoints" / f"{task.name}.pt"


def metrics(task: Task) -> str:
    """Return the path, from the run's folder, of what was seen on val."""
    return f"metrics/{task.name}.jsonl"


def train(
    task: Task,
    material: Material,
    plan: RetrainPlan,
    folder: Path,
    accelerator: Any,
    *,
    tensorboard: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Train one arm with one seed, from its last checkpoint in `folder` where there is one.

    Args:
        task: arm and seed.
        material: pictures and labels.
        plan: everything else.
        folder: the run directory; ``checkpoints/`` and ``metrics/`` are written.
        accelerator: of Accelerate; says device, processes and precision.
        tensorboard: also write ``tensorboard/``.
        progress: called with steps done and in all.

    Raises:
        RetrainError: the network cannot be built, or the arm has nothing to learn from.
        MissingDependencyError: TensorBoard is requested, and is not installed.
    """
    path = checkpoint(folder, task)
    main = bool(accelerator.is_main_process)
    # Dropout needs the global stream; it is given back as it was.
    with torch.random.fork_rng(devices=[]):
        course = Course(task, material, plan, accelerator)
        if path.exists():
            course.restore(torch.load(path, map_location="cpu", weights_only=True))
        log = folder / "tensorboard" / task.name if tensorboard and main else None
        with _board(log, course.step) as write:
            saved = time.monotonic()
            while not course.ended:
                course.advance()
                looked = course.step % plan.evaluate_every == 0 or course.step == plan.steps
                if looked:
                    write(course.look())
                if plan.shows_early(task) and (course.step == plan.early or course.ended):
                    course.note()
                if main and (course.ended or time.monotonic() - saved >= SAVE_SECONDS):
                    _save(course, path, folder)
                    saved = time.monotonic()
                if progress and main:
                    progress(course.step, plan.steps)
    return course.result()


def _save(course: Course, path: Path, folder: Path) -> None:
    for own in (path, folder / metrics(course.task)):
        own.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as part:
        torch.save(course.state(), part)
    with atomic(folder / metrics(course.task)) as part:
        part.write_bytes(written(course.history))


@contextmanager
def _board(folder: Path | None, step: int) -> Iterator[Write]:
    """Give a function that writes one row of metrics for TensorBoard, or that does nothing."""
    if folder is None:
        yield lambda row: None
        return
    require("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    # What an interrupted run wrote beyond its last checkpoint is taken back.
    writer = SummaryWriter(str(folder), purge_step=step)
    try:
        yield lambda row: _write(writer, row)
    finally:
        writer.close()


def _write(writer: Any, row: dict[str, Any]) -> None:
    writer.add_scalar("loss", row["loss"], row["step"])
    writer.add_scalar("mean AUC on val", row["mean_auc"], row["step"])
    for name, value in row["auc"].items():
        if value is not None:
            writer.add_scalar(f"AUC on val/{name}", value, row["step"])
