"""Classifiers and embedders in ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod._optional import open_session, require
from roentmod.errors import ClassifierError, RoentModError, WeightsError

__all__ = ["Graph", "existing", "in_fixed_batches", "opened", "tensor_files"]

Array = NDArray[np.float32]
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Graph:
    """One ONNX file with one image input.

    Attributes:
        size: side the graph demands, None where it takes any.
        channels: number it demands, None where it takes any.
        width: numbers it answers per image, None where the graph does not say.
        tensor_files: further files that it consists of.
    """

    def __init__(self, path: Path, *, output: str | None = None) -> None:
        """Open the file; `output` names the answer where the graph has several.

        Raises:
            WeightsError: the file is missing or no ONNX graph.
            ClassifierError: its inputs or outputs are not those of a classifier of pictures.
            MissingDependencyError: ONNX Runtime is not installed.
        """
        self.tensor_files = tensor_files(path)
        self._session = opened(path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _FLOATS:
            got = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise ClassifierError(
                f"{path.name} must have one float input, n x channels x h x w; got {got}. "
                "Export it so."
            )
        shape = [side if isinstance(side, int) else None for side in inputs[0].shape]
        # TensorFlow exports put channels last.
        self._last = shape[3] in (1, 3) and shape[1] not in (1, 3)
        batch, self.channels, height, width = (
            [shape[i] for i in (0, 3, 1, 2)] if self._last else shape
        )
        if None not in (height, width) and height != width:
            raise ClassifierError(
                f"{path.name} must take square pictures; got {height} x {width}. Export it so."
            )
        self.size = height or width
        self._input, self._dtype = inputs[0].name, _FLOATS[inputs[0].type]
        self._output, self.width = self._answer(path, output)
        self._run = in_fixed_batches(self._once, batch)

    def __call__(self, batch: Array) -> Any:
        """Return what the graph answers for n x channels x size x size pictures."""
        return self._run(batch)

    def _answer(self, path: Path, wanted: str | None) -> tuple[str, int | None]:
        outputs = {o.name: o.shape for o in self._session.get_outputs()}
        if wanted is None and len(outputs) == 1:
            wanted = next(iter(outputs))
        if wanted is None or wanted not in outputs:
            raise ClassifierError(
                f"{path.name} must have one output, or say which is meant; it has "
                f"{', '.join(outputs)}, and '{wanted or ''}' was requested. Give output=."
            )
        shape = outputs[wanted]
        last = shape[-1] if shape else None
        return wanted, last if isinstance(last, int) else None

    def _once(self, batch: Array) -> Array:
        laid = np.moveaxis(batch, 1, 3) if self._last else batch
        feed = {self._input: np.ascontiguousarray(laid, self._dtype)}
        answer: Array = self._session.run([self._output], feed)[0]
        return answer


def in_fixed_batches(run: Callable[[Array], Any], size: int | None) -> Callable[[Array], Any]:
    """Return `run` for any number of images, where it takes exactly `size` (None: any already)."""
    if size is None:
        return run

    def fixed(batch: Array) -> Any:
        answers = []
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            short = size - len(part)
            full = np.concatenate([part, np.repeat(part[-1:], short, axis=0)]) if short else part
            answers.append(np.asarray(run(full))[: len(part)])
        return np.concatenate(answers)

    return fixed


def existing(path: Path) -> Path:
    """Return `path`.

    Raises:
        WeightsError: there is no such file.
    """
    if not path.is_file():
        raise WeightsError(f"A classifier's file must exist; {path} does not. Correct the path.")
    return path


def opened(path: Path) -> Any:
    """Return an ONNX Runtime session of the file `path`.

    Raises:
        WeightsError: the file is missing or no ONNX graph.
        MissingDependencyError: ONNX Runtime is not installed.
    """
    try:
        return open_session(str(existing(path)))
    except RoentModError:
        raise
    except Exception as error:  # the runtime's own exceptions share no public base
        raise _unopened(path, error) from error


def tensor_files(path: Path) -> list[Path]:
    """Return the files in which the ONNX file `path` keeps tensors (external data), sorted.

    Raises:
        WeightsError: the file is missing or damaged; or one of these is missing, or elsewhere.
    """
    content = existing(path).read_bytes()
    # The key under which a tensor names its file; most graphs have none, and are not parsed.
    if b"location" not in content:
        return []
    try:
        names = set(_locations(require("onnx").load_model_from_string(content)))
    except RoentModError:
        raise
    except Exception as error:  # protobuf's exceptions share no public base
        raise _unopened(path, error) from error
    folder = path.absolute().parent
    # A hub's cache holds links: what they lead to stays within the model's own part of the cache.
    cached = folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--")
    root = (folder.parents[1] if cached else folder).resolve()
    files = []
    for name in sorted(names):
        place, file = PureWindowsPath(name), folder / name
        plain = not place.anchor and ".." not in place.parts
        if not (plain and file.is_file() and file.resolve().is_relative_to(root)):
            raise WeightsError(
                f"{path.name} keeps tensors in '{name[:80]}', which must be a file in its folder. "
                "Put it there, or export the model again, to one file."
            )
        files.append(path.parent / name)
    return files


def _locations(message: Any) -> Iterator[str]:
    """Yield the file of every tensor in a message, wherever it stands in it, that has one."""
    if message.DESCRIPTOR.name == "TensorProto" and message.data_location == message.EXTERNAL:
        yield next((e.value for e in message.external_data if e.key == "location"), "")
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _locations(one)


def _unopened(path: Path, error: Exception) -> WeightsError:
    text = " ".join(str(error).split())[:300]
    return WeightsError(f"{path.name} cannot be opened: {text}. Export it again.")
