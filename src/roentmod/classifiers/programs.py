"""Classifiers as torch programs (TorchScript, torch.export), and as Python functions."""

from __future__ import annotations

import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers.adapter import Origin
from roentmod.classifiers.card import sidecar
from roentmod.classifiers.graphs import existing, in_fixed_batches, opened
from roentmod.errors import ClassifierError, WeightsError
from roentmod.store import atomic, file_sha256, write_json

__all__ = [
    "exported",
    "function",
    "in_torch",
    "need_trust",
    "pick",
    "python_origin",
    "to_onnx",
    "torchscript",
]

Array = NDArray[np.float32]
# Largest difference between a program's answers and its graph's, as a share of their size.
_ALIKE = 1e-3


def need_trust(name: str, trust: bool, why: str, instead: str = "") -> None:
    """Refuse a program that is not trusted.

    Raises:
        WeightsError: with why it is one, and what to use `instead`.
    """
    if not trust:
        raise WeightsError(
            f"Programs are loaded only with --trust (in Python, trust=True): they can run any code "
            f"and write any file. {name} is one: {why} {instead}Give --trust if you trust its "
            "source (docs/security.md)."
        )


def _need_trust(path: Path, trust: bool, why: str) -> None:
    instead = f"ONNX files are none: 'roentmod export {path.name} --trust' makes one. "
    need_trust(path.name, trust, why, instead)


def torchscript(
    path: Path, *, device: str, output: str | None, trust: bool = False
) -> Callable[[Array], Any]:
    """Return a TorchScript file as a function of n x channels x size x size pictures.

    Raises:
        WeightsError: the file is missing, no TorchScript (a state dict, a pickled model), or not
            trusted.
    """
    import torch

    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(existing(path)) else []
    if not any(name.partition("/")[2].startswith("code/") for name in names):
        raise _no_torchscript(path, "it holds no code, as a state dict or a pickled model")
    _need_trust(path, trust, "a TorchScript program may open and write files.")
    try:
        with warnings.catch_warnings():
            # Deprecated, and still what many people have.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(str(path), map_location=device)
    except (RuntimeError, ValueError) as error:
        why = f"torch.jit.load gave '{str(error).splitlines()[0][:120]}'"
        raise _no_torchscript(path, why) from error
    return _run(module.eval(), device, output)


def _no_torchscript(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"{path.name} must be a TorchScript program; {why}. Export the model to ONNX where it was "
        "made (docs/classifiers.md)."
    )


def exported(
    path: Path, *, device: str, output: str | None, trust: bool = False
) -> Callable[[Array], Any]:
    """Return a torch.export file as a function of n x channels x size x size pictures.

    A program exported for one batch size gets its pictures in batches of that size.

    Raises:
        WeightsError: the file is missing, no exported program, or not trusted.
    """
    module, shape = _program(path, trust)
    batch = shape[0] if isinstance(shape[0], int) else None
    return in_fixed_batches(_run(module.to(device), device, output), batch)


def _program(path: Path, trust: bool) -> tuple[Any, Sequence[Any]]:
    """Return the module of a torch.export file and its input's shape, whose sides may be free."""
    import torch

    existing(path)
    _need_trust(path, trust, "reading one evaluates expressions and unpickles objects of its own.")
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
    return program.module(), shapes[str(first)]


def to_onnx(path: Path, out: Path | None = None, *, trust: bool = False) -> Path:
    """Write a TorchScript or torch.export program, and its card, as an ONNX file; return its path.

    Args:
        path: the program.
        out: the ONNX file; None is beside the program.
        trust: whether it may run.

    Raises:
        WeightsError: no such program, not trusted, or one that ONNX cannot say.
        ClassifierError: its card does not say size and channels, and it does not either.
    """
    import torch

    words = sidecar(path)
    target = out or path.with_suffix(".onnx")
    if path.suffix.lower() == ".pt2":
        module, shape = _program(path, trust)
        # It is as it was exported, and raises where the exporter would have it train or not.
        module.train = lambda *_: module
    else:
        torchscript(path, device="cpu", output=None, trust=trust)
        module = torch.jit.load(str(path), map_location="cpu").eval()
        shape = (None, words.get("channels", 1), *[words.get("size")] * 2)
    if not all(isinstance(side, int) for side in shape[1:]):
        shape = (shape[0], words.get("channels", 1), *[words.get("size")] * 2)
    if not isinstance(shape[2], int):
        raise ClassifierError(
            f"An export needs the size of pictures; {path.name} does not say it. Write "
            f'{path.name}.json beside it, with "size" and "channels".'
        )
    fixed = isinstance(shape[0], int)
    example = torch.rand(shape[0] if fixed else 2, *shape[1:], generator=torch.manual_seed(0))
    _write_graph(module, example, target, fixed)
    if words:
        write_json(target.with_name(f"{target.name}.json"), words)
    return target


def _write_graph(module: Any, example: Any, target: Path, fixed: bool) -> None:
    """Write a module as ONNX, compared with itself on one batch.

    Raises:
        WeightsError: ONNX cannot say it, or answers otherwise.
    """
    import torch

    free = {} if fixed else {"image": {0: "n"}}
    try:
        with warnings.catch_warnings(), torch.no_grad(), atomic(target) as part:
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                str(part),
                dynamo=False,
                input_names=["image"],
                dynamic_axes=free,
                opset_version=18,
            )
            theirs = opened(part).run(None, {"image": example.numpy()})
            ours = module(example)
            ours = list(ours.values()) if isinstance(ours, Mapping) else ours
            pairs = zip(theirs, ours if isinstance(ours, list | tuple) else [ours], strict=True)
            for graph, program in pairs:
                np.testing.assert_allclose(graph, program.numpy(), rtol=_ALIKE, atol=_ALIKE)
    # The exporter raises whatever it met.
    except Exception as error:
        raise WeightsError(
            f"{target.stem} cannot be written as ONNX: {str(error)[:300]}. Export it where it was "
            "made."
        ) from error


def function(name: str) -> Callable[[Array], Any]:
    """Return the callable that ``package.module:function`` names.

    Modules of the current folder are found after all others, as a script's own are by Python.

    Raises:
        ClassifierError: there is no such module or function.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ClassifierError(
            f"A Python classifier is package.module:function; got '{name}'. Name both."
        )
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        target = import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise ClassifierError(
            f"A Python classifier must be importable; '{name}' gave: {error}. "
            "Install its package, or run this in the folder of the module."
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
