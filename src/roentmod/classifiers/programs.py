"""Classifiers as torch programs (TorchScript, torch.export), and as Python functions."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers.adapter import Origin
from roentmod.classifiers.graphs import existing, in_fixed_batches
from roentmod.errors import ClassifierError, WeightsError
from roentmod.store import file_sha256

__all__ = ["exported", "function", "in_torch", "pick", "python_origin", "torchscript"]

Array = NDArray[np.float32]


def torchscript(path: Path, *, device: str, output: str | None) -> Callable[[Array], Any]:
    """Return a TorchScript file as a function of n x channels x size x size pictures.

    Raises:
        WeightsError: the file is missing, or no TorchScript (a state dict, a pickled model).
    """
    import torch

    existing(path)
    try:
        with warnings.catch_warnings():
            # Deprecated, and still what many people have.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(str(path), map_location=device)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{path.name} must be a TorchScript program; torch.jit.load gave "
            f"'{str(error).splitlines()[0][:120]}'. Save it by torch.export.save (.pt2) or to ONNX."
        ) from error
    return _run(module.eval(), device, output)


def exported(path: Path, *, device: str, output: str | None) -> Callable[[Array], Any]:
    """Return a torch.export file as a function of n x channels x size x size pictures.

    A program exported for one batch size gets its pictures in batches of that size.

    Raises:
        WeightsError: the file is missing, or no exported program.
    """
    import torch

    existing(path)
    try:
        program = torch.export.load(str(path))
    # torch wraps what goes wrong in whatever its archive reader raises.
    except Exception as error:
        raise WeightsError(
            f"{path.name} must be a program saved by torch.export.save; reading it gave "
            f"'{(str(error).splitlines() or [''])[0][:120]}'. Export it again."
        ) from error
    first = program.graph_signature.user_inputs[0]
    shapes = {n.name: n.meta["val"].shape for n in program.graph.nodes if n.op == "placeholder"}
    batch = shapes[str(first)][0]
    module = program.module().to(device)
    return in_fixed_batches(_run(module, device, output), batch if isinstance(batch, int) else None)


def function(name: str) -> Callable[[Array], Any]:
    """Return the callable that ``package.module:function`` names.

    Raises:
        ClassifierError: there is no such module or function.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ClassifierError(
            f"A Python classifier is package.module:function; got '{name}'. Name both."
        )
    try:
        target = import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise ClassifierError(
            f"A Python classifier must be importable; '{name}' gave: {error}. "
            "Install its package, or add its folder to PYTHONPATH."
        ) from error
    if not callable(target):
        raise ClassifierError(
            f"A Python classifier must be callable; '{name}' is {type(target).__name__}."
        )
    return target


def python_origin(name: str) -> Origin:
    """Return the origin of an imported ``package.module:function``, with its module's hash."""
    file = getattr(sys.modules[name.partition(":")[0]], "__file__", None)
    files = {Path(file).name: file_sha256(file)} if file else {}
    return Origin("python", name, None, {"files": files})


def in_torch(run: Callable[[Any], Any], device: str) -> Callable[[Array], Any]:
    """Return a function of tensors on `device` as one of arrays, without gradients."""
    import torch

    def forward(batch: Array) -> Array:
        with torch.inference_mode():
            answer: Array = run(torch.from_numpy(batch).to(device)).float().cpu().numpy()
        return answer

    return forward


def _run(module: Any, device: str, output: str | None) -> Callable[[Array], Any]:
    return in_torch(lambda batch: pick(module(batch), output), device)


def pick(answer: Any, output: str | None) -> Any:
    """Return the one answer that is meant: `output` is a key, or a number in a tuple.

    Raises:
        ClassifierError: several answers, and none chosen.
    """
    if isinstance(answer, Mapping) and output in answer:
        return answer[output]
    if isinstance(answer, tuple | list):
        if len(answer) == 1 and output is None:
            return answer[0]
        if output is not None and output.isdigit() and int(output) < len(answer):
            return answer[int(output)]
    if isinstance(answer, Mapping | tuple | list):
        names = ", ".join(answer) if isinstance(answer, Mapping) else f"0 to {len(answer) - 1}"
        raise ClassifierError(
            f"A classifier must answer one array, or say which is meant; it answers {names}. "
            "Give output=."
        )
    return answer
