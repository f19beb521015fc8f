"""The judge: the bundled classifier that verifies edits.

It was trained on patients that the generator `mini` never saw, on real and painted findings
(``training/judge.py``), and never teaches a generator. It reads editing success; it is no model for
patients.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod._optional import open_session, require
from roentmod.classifiers.checks import check_images
from roentmod.classifiers.graphs import opened, tensor_files
from roentmod.classifiers.heads import Head
from roentmod.documents import read_document
from roentmod.errors import InputError, WeightsError
from roentmod.interfaces import Loaded
from roentmod.store import file_sha256

__all__ = ["SIDES", "Judge"]

Array = NDArray[np.float32]
SIDES = ("right", "left")
WEIGHTS = Path(__file__).parent / "bundled" / "judge.onnx"
_OUTPUTS = ("logits", "sides", "features")
# Nodes that end the grid: they take places together. A grid has more places a side than this.
_POOLING = ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "Flatten")
_FEWEST_PLACES = 4


class Judge(Loaded):
    """A small convolutional classifier of 224 x 224 pictures, run by ONNX Runtime.

    Attributes:
        findings: canonical names of what it reads, k of them.
        sided: those whose side it tells, k_sided of them.
        size: side in pixels of the square pictures it takes.
        heads: one per finding, all of them read.
        card: content of ``judge.json``: calibration, figures on held-out patients.
    """

    name = "judge"

    def __init__(self, folder: Path) -> None:
        """Open ``judge.onnx`` and ``judge.json`` of `folder`.

        Raises:
            WeightsError: a file is missing or damaged.
            MissingDependencyError: ONNX Runtime is not installed.
        """
        self.card = _card(folder / "judge.json")
        try:
            self.findings: tuple[str, ...] = tuple(self.card["findings"])
            self.sided: tuple[str, ...] = tuple(self.card["sided"])
            self.size = int(self.card["size"])
            self._scale = {name: _line(self.card, name) for name in ("logits", "sides")}
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"judge.json must name findings, sided, size, calibration; {error!r} is missing or "
                "wrong. Export the judge again."
            ) from error
        self.heads: tuple[Head, ...] = tuple(Head(f, f, "read") for f in self.findings)
        self._weights = folder / "judge.onnx"
        self._files = [folder / "judge.json", *tensor_files(self._weights)]
        self._session = _open(self._weights)
        # The bundled one is wherever the package is.
        bundled = folder == WEIGHTS.parent
        self.remember(Judge.load, None if bundled else folder.absolute())

    @classmethod
    def load(cls, folder: Path | None = None) -> Judge:
        """Return the bundled judge, or the one exported to `folder`; raises as the class does."""
        return cls(folder or WEIGHTS.parent)

    def logits(self, images: Array) -> Array:
        """Return calibrated logits, n x k, of images, n x size x size float32 in [0, 1].

        Raises:
            ClassifierError: another size, range or type.
        """
        return self._run("logits", images)

    def probabilities(self, images: Array) -> Array:
        """Return calibrated probabilities, n x k in (0, 1); arguments and errors as `logits`."""
        return (1 / (1 + np.exp(-self.logits(images).astype(np.float64)))).astype(np.float32)

    def sides(self, images: Array) -> Array:
        """Return calibrated logits of each sided finding at each side, n x k_sided x 2.

        The last axis is the patient's right, then left (`SIDES`). Arguments and errors as `logits`.
        """
        return self._run("sides", images)

    def features(self, images: Array) -> Array:
        """Return the last layer before the logits, n x d; arguments and errors as `logits`."""
        return self._run("features", images)

    def grid(self, images: Array) -> Array:
        """Return the features of every place, before they are pooled: n x h x w x d.

        The bundled judge has 14 x 14 places of 160 features. The file names no such output: the
        tensor that is pooled first is made one when this is first called. Arguments and errors as
        `logits`.

        Raises:
            WeightsError: the graph pools nothing that has places.
            MissingDependencyError: onnx is not installed.
        """
        check_images(images, self.size)
        session, shape = self._spatial
        rows = [session.run(["grid"], {"image": one[None, None]})[0] for one in images]
        raw: Array = np.concatenate(rows) if rows else np.zeros((0, *shape), np.float32)
        return np.ascontiguousarray(np.moveaxis(raw, 1, 3))

    @cached_property
    def _spatial(self) -> tuple[Any, tuple[int, ...]]:
        """A session whose one output is the grid, and the grid's shape, d x h x w."""
        onnx = require("onnx")
        model = onnx.shape_inference.infer_shapes(onnx.load(str(self._weights)))
        shapes = {
            value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in model.graph.value_info
        }
        name = _pooled(model.graph, shapes)
        if name is None:
            raise WeightsError(
                f"A judge must pool features of several places; {self._weights.name} does not. "
                "Export it again, or name another extractor."
            )
        # Only what leads to the grid is kept, so that heads are not computed in vain.
        del model.graph.output[:]
        grid = onnx.helper.make_node("Identity", [name], ["grid"], name="grid")
        model.graph.node.append(grid)
        kind = onnx.TensorProto.FLOAT
        model.graph.output.append(onnx.helper.make_tensor_value_info("grid", kind, shapes[name]))
        return open_session(model.SerializeToString()), shapes[name][1:]

    def describe(self) -> dict[str, Any]:
        """Return facts of the judge for provenance, in words JSON has."""
        return {
            "name": self.name,
            "kind": "judge",
            "source": self._weights.name,
            "sha256": file_sha256(self._weights),
            "files": {file.name: file_sha256(file) for file in self._files},
            "size": self.size,
            "input_range": [0.0, 1.0],
            "channels": 1,
            "mean": [],
            "std": [],
            "outputs": "calibrated logits",
            "findings": list(self.findings),
            "heads": [dataclasses.asdict(head) for head in self.heads],
        }

    def _run(self, output: str, images: Array) -> Array:
        check_images(images, self.size)
        # One image per call, so that a result cannot depend on what is read beside it.
        rows = [self._session.run([output], {"image": one[None, None]})[0] for one in images]
        empty = self._shape(output)
        raw: Array = np.concatenate(rows) if rows else np.zeros((0, *empty), np.float32)
        if output not in self._scale:
            return raw
        slope, offset = self._scale[output]
        return raw * slope + offset

    def _shape(self, output: str) -> tuple[int, ...]:
        shapes = {o.name: o.shape for o in self._session.get_outputs()}
        return tuple(int(n) for n in shapes[output][1:])


def _card(path: Path) -> dict[str, Any]:
    try:
        return read_document(path)
    except (OSError, InputError) as error:
        raise WeightsError(
            f"A judge is a folder with judge.onnx and judge.json; reading {path.name} gave "
            f"'{type(error).__name__}'. Export it again, or reinstall roentmod."
        ) from error


def _line(card: dict[str, Any], output: str) -> tuple[Array, Array]:
    """Return slope and offset of an output's calibration."""
    line = card["calibration"][output]
    return np.array(line["slope"], np.float32), np.array(line["offset"], np.float32)


def _pooled(graph: Any, shapes: dict[str, tuple[int, ...]]) -> str | None:
    """Return the first tensor of several places that a pooling node takes; None without one."""
    for node in graph.node:
        shape = shapes.get(node.input[0], ()) if node.input else ()
        if node.op_type in _POOLING and len(shape) == 4 and min(shape[2:]) >= _FEWEST_PLACES:
            return str(node.input[0])
    return None


def _open(path: Path) -> Any:
    session = opened(path)
    missing = set(_OUTPUTS) - {o.name for o in session.get_outputs()}
    if missing:
        raise WeightsError(f"{path.name} lacks the outputs {', '.join(sorted(missing))}.")
    return session
