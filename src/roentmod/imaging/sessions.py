"""ONNX Runtime sessions, all opened in one way."""

from __future__ import annotations

import os
from typing import Any

from roentmod._optional import require

__all__ = ["open_session"]


def open_session(source: str | bytes) -> Any:
    """Return a session of a graph, on the processors that this process may use.

    The runtime counts the machine's processors, also where a container or `taskset` leaves fewer;
    its threads then wait for each other, at a fraction of the speed.

    Args:
        source: path of an ONNX file, or its bytes.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        Exception: what the runtime raises; its exceptions share no public base.
    """
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if allowed and allowed < (os.cpu_count() or 1):
        options.intra_op_num_threads = allowed
    return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
