"""Libraries that only some commands need: imported late, named with the remedy when missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from roentmod.errors import MissingDependencyError

__all__ = ["OPTIONAL", "require"]

# Module: (distribution to install, what it is for).
OPTIONAL = {
    "onnxruntime": ("onnxruntime", "the engine 'onnxruntime', the quickest on most CPUs"),
    "onnx": ("onnx", "exporting graphs for onnxruntime and openvino"),
    "httpx": ("httpx", "a classifier behind an HTTP endpoint"),
    "sklearn": ("scikit-learn", "fitting a probe on embeddings"),
    "torchxrayvision": ("roentmod[xrv]", "a classifier of the form 'xrv:'"),
    "tensorboard": ("roentmod[tensorboard]", "metrics for TensorBoard"),
    "openvino": ("roentmod[openvino]", "the engine 'openvino'"),
    "ray": ("roentmod[scale]", "runs on a cluster"),
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
