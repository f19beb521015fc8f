"""Libraries that only some commands need: imported late, named with the remedy when missing."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Any

from roentmod.errors import MissingDependencyError

__all__ = ["OPTIONAL", "open_session", "require", "threads"]

# Module: (distribution to install, what it is for).
OPTIONAL = {
    "onnxruntime": ("onnxruntime", "the engine 'onnxruntime', the quickest on most CPUs"),
    "onnx": ("onnx", "exporting graphs for onnxruntime and openvino"),
    "httpx": ("httpx", "a classifier behind an HTTP endpoint"),
    "sklearn": ("scikit-learn", "fitting a probe on embeddings"),
    "torchxrayvision": ("roentmod[xrv]", "a classifier of the form 'xrv:'"),
    "tensorboard": ("roentmod[tensorboard]", "metrics for TensorBoard"),
    "openvino": ("roentmod[openvino]", "the engine 'openvino'"),
    "openpyxl": ("openpyxl", "a table in an Excel workbook"),
    "c2pa": ("roentmod[c2pa]", "signing PNG files"),
    "ray": ("roentmod[scale]", "runs on a cluster"),
    "litestar": ("roentmod[web]", "the reader study and the studio in a browser"),
    "sqlalchemy": ("roentmod[web]", "the answers of a reader study"),
    "choix": ("roentmod[web]", "the analysis of a reader study"),
    "psycopg": ("roentmod[postgresql]", "a reader study's answers in PostgreSQL"),
}


def require(module: str) -> ModuleType:
    """Import and return an optional `module`.

    Raises:
        MissingDependencyError: it is not installed, or fails to import.
    """
    name, purpose = OPTIONAL[module]
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose[0].upper()}{purpose[1:]} needs {module}; importing it gave '{error}'. "
            f"Run: pip install '{name}'"
        ) from error


def open_session(source: str | bytes) -> Any:
    """Return an ONNX Runtime session of a graph, on the processors that this process may use.

    The runtime counts the machine's processors, also where a container, `taskset` or
    OMP_NUM_THREADS leaves fewer, as it does in each of several worker processes; its threads then
    wait for each other, at a fraction of the speed.

    Args:
        source: path of an ONNX file, or its bytes.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        Exception: what the runtime raises; its exceptions share no public base.
    """
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    allowed = threads()
    if allowed < (os.cpu_count() or 1):
        options.intra_op_num_threads = allowed
    return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def threads() -> int:
    """Return how many threads a library may use in this process."""
    every = os.cpu_count() or 1
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else every
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(own, int(told)) if told.isdecimal() and int(told) > 0 else own
