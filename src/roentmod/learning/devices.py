"""Devices, processes and precision, by Accelerate; and how fast a machine is."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import torch

from roentmod.datasets.phantom import phantom
from roentmod.errors import RetrainError
from roentmod.learning.material import Material
from roentmod.learning.pictures import Pictures
from roentmod.learning.samples import Samples
from roentmod.learning.trainer import Course
from roentmod.plans.retrain import Precision, RetrainPlan, Task

__all__ = ["accelerator_of", "check_device", "facts_of", "seconds_per_step"]

_TIMED = 3


def accelerator_of(device: str, precision: Precision) -> Any:
    """Return the Accelerate object for a device.

    Raises:
        RetrainError: the device is not there, or lacks that precision.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs

    kind = _kind(device, precision)
    # The main process reads pictures and tests while the others wait.
    waits = InitProcessGroupKwargs(timeout=timedelta(days=1))
    made = Accelerator(cpu=kind == "cpu", mixed_precision=precision, kwargs_handlers=[waits])
    if made.device.type != kind:
        raise RetrainError(
            f"A training needs its device; '{device}' was requested, and Accelerate found "
            f"{made.device.type}. Install torch for it, or use that."
        )
    return made


def check_device(device: str, precision: Precision) -> None:
    """Refuse a device that a training would refuse, before anything else is done.

    Raises:
        RetrainError: the device is not there, or lacks that precision.
    """
    _kind(device, precision)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason, _, _ = str(error).partition("\n")
        raise RetrainError(
            f"A training needs its device; '{device}' was requested, and torch reports: {reason}. "
            "Install torch for it, or use cpu."
        ) from error


def _kind(device: str, precision: Precision) -> str:
    """Return the kind of a device, such as "cuda".

    Raises:
        RetrainError: torch knows no such device, or it lacks that precision.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise RetrainError(
            f"A device is one of torch's, such as cpu or cuda; got '{device}'. Correct it."
        ) from error
    if kind == "cpu" and precision == "fp16":
        raise RetrainError(
            f"fp16 needs a GPU; got device {device}. Use bf16, or no mixed precision."
        )
    return kind


def facts_of(accelerator: Any) -> dict[str, Any]:
    """Return what a record says of the machine."""
    return {
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
    }


def seconds_per_step(plan: RetrainPlan, device: str = "cpu") -> float:
    """Return how long one step of a training takes here, in seconds, without looks at val.

    Raises:
        RetrainError: the network cannot be built, or the device is not there.
    """
    rng = np.random.default_rng(0)
    count, k = 2 * plan.batch, len(plan.findings)
    blocks = rng.integers(256, size=(count, plan.size, plan.size), dtype=np.uint8)
    pictures = Pictures((blocks,), np.ones(count, dtype=np.bool_))
    targets = (np.arange(count * k).reshape(count, k) % 2).astype(np.float32)
    table = pd.DataFrame(index=range(count))
    samples = Samples("timing", table, targets, plan.findings, lambda _: phantom(0).radiograph)
    accelerator = accelerator_of(device, plan.precision)
    both = (samples, pictures)
    with torch.random.fork_rng(devices=[]):
        course = Course(Task("erm", 0), Material(both, both), plan, accelerator)
        course.advance()
        started = time.perf_counter()
        for _ in range(_TIMED):
            course.advance()
        return (time.perf_counter() - started) / _TIMED
