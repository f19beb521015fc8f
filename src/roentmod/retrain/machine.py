"""Devices, processes and precision, by Accelerate; and how fast a machine is."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import torch

from roentmod.errors import RetrainError
from roentmod.phantom import phantom
from roentmod.retrain.course import Course, Material
from roentmod.retrain.pictures import Pictures
from roentmod.retrain.plan import Plan, Precision, Task
from roentmod.retrain.samples import Samples

__all__ = ["accelerator_of", "facts_of", "seconds_per_step"]

_TIMED = 3


def accelerator_of(device: str, precision: Precision) -> Any:
    """Return the Accelerate object for a device.

    Raises:
        RetrainError: the device is not there, or lacks that precision.
    """
    from accelerate import Accelerator, InitProcessGroupKwargs

    if device == "cpu" and precision == "fp16":
        raise RetrainError("fp16 needs a GPU; got device cpu. Use bf16, or no mixed precision.")
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise RetrainError(
            f"A device is one of torch's, such as cpu or cuda; got '{device}'."
        ) from (error)
    # The main process reads pictures and tests while the others wait.
    waits = InitProcessGroupKwargs(timeout=timedelta(days=1))
    made = Accelerator(cpu=kind == "cpu", mixed_precision=precision, kwargs_handlers=[waits])
    if made.device.type != kind:
        raise RetrainError(
            f"A training needs its device; '{device}' was asked for, and Accelerate found "
            f"{made.device.type}. Install torch for it, or use that."
        )
    return made


def facts_of(accelerator: Any) -> dict[str, Any]:
    """Return what a record says of the machine."""
    return {
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
    }


def seconds_per_step(plan: Plan, device: str = "cpu") -> float:
    """Return how long one step of a training takes here, in seconds, without looks at val.

    Raises:
        RetrainError: the network cannot be built, or the device is not there.
    """
    rng = np.random.default_rng(0)
    count, k = 2 * plan.batch, len(plan.findings)
    blocks = rng.integers(256, size=(count, plan.size, plan.size), dtype=np.uint8)
    pictures = Pictures((blocks,), {}, np.ones(count, dtype=np.bool_))
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
