"""The one class behind every foreign classifier: checks, input, outputs and description."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers.card import CLIP, Card
from roentmod.classifiers.checks import check_finite, check_images, check_shape
from roentmod.classifiers.heads import Head, Labels, map_heads
from roentmod.errors import ClassifierError, RoentModError
from roentmod.interfaces import Loaded
from roentmod.store import file_sha256

__all__ = ["Adapter", "Described", "Forward", "Origin"]

Array = NDArray[np.float32]
# From n x channels x size x size, as the model wants it, to n x heads.
Forward = Callable[[Array], Any]
# Values and images after which "logits" that never left [0, 1] are taken for probabilities.
_VALUES, _IMAGES = 32, 8


class Described(Protocol):
    """A `roentmod.interfaces.Classifier` that describes itself.

    Attributes:
        name: in tables.
        findings: canonical names of what it reads, k of them.
        size: side in pixels of the square pictures it takes.
        heads: every output, read or not, in the model's order.
    """

    name: str
    findings: tuple[str, ...]
    size: int
    heads: tuple[Head, ...]

    def logits(self, images: Array) -> Array:
        """Return logits, n x k, of images, n x size x size float32 in [0, 1]."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return facts for provenance, in words JSON has."""
        ...


@dataclasses.dataclass(frozen=True)
class Origin:
    """Origin of a model.

    Attributes:
        kind: which adapter ("onnx", "hf", ...).
        source: name of a file or folder, hub id or address, without credentials. No path, as
            records and pages are shown to people whom the user's folders are no matter of.
        sha256: of its weights, where they are a file.
        facts: further ones for provenance.
    """

    kind: str
    source: str
    sha256: str | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_file(cls, kind: str, path: Path, others: Sequence[Path] = ()) -> Origin:
        """Return the origin of a model in the file `path`, and `others` below its folder."""
        names = {file.relative_to(path.parent).as_posix(): file for file in (path, *others)}
        hashes = {name: file_sha256(file) for name, file in names.items()}
        return cls(kind, path.name, hashes[path.name], {"weights": hashes} if others else {})

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of all files that the model is known to consist of, by name."""
        weights = self.facts.get("weights") or {self.source: self.sha256}
        return {k: v for k, v in (weights | self.facts.get("files", {})).items() if v}


class Adapter(Loaded):
    """Any model as a `Described` classifier; `card` is its declaration."""

    def __init__(
        self,
        card: Card,
        forward: Forward,
        origin: Origin,
        *,
        labels: Labels | None = None,
        untrained: tuple[int, ...] = (),
        batch_size: int | None = 16,
    ) -> None:
        """Put checks around `forward`.

        Args:
            card: declaration of the model.
            forward: takes n x channels x size x size, gives n x heads.
            origin: for provenance.
            labels: head -> finding, over and above the card's and the aliases.
            untrained: numbers of the heads that were never trained.
            batch_size: the most images per call of `forward`, None for any number.

        Raises:
            ClassifierError: no head means a finding, or the labels name heads that are not there.
        """
        self.card = card
        self.heads = map_heads(card.labels, {**card.mapping, **(labels or {})}, untrained=untrained)
        self._read = [i for i, head in enumerate(self.heads) if head.state == "read"]
        self.findings: tuple[str, ...] = tuple(str(self.heads[i].finding) for i in self._read)
        self.size = card.size
        self.name = card.name or origin.source
        self._forward = forward
        self._origin = origin
        self._batch = batch_size
        self._unit = _Unit() if card.check_outputs and card.outputs == "logits" else None

    def logits(self, images: Array) -> Array:
        """Return logits, n x k, of images, n x size x size float32 in [0, 1].

        Raises:
            NotFiniteError: some answers are NaN or infinite.
            ClassifierError: other images than declared, or an answer that cannot be used.
        """
        check_images(images, self.size)
        if not len(images):
            return np.zeros((0, len(self.findings)), np.float32)
        step = self._batch or len(images)
        names = [head.name or f"output {i}" for i, head in enumerate(self.heads)]
        chunks = [images[i : i + step] for i in range(0, len(images), step)]
        parts = [check_shape(self._call(chunk), len(chunk), names) for chunk in chunks]
        # Heads that are not read may answer what they like, except under a softmax.
        kept = list(range(len(names))) if self.card.activation == "softmax" else self._read
        values = np.concatenate(parts)[:, kept]
        check_finite(values, [names[i] for i in kept])
        if self._unit is not None:
            self._unit.check(values)
        result = self.card.to_logits(values)
        return result[:, [kept.index(i) for i in self._read]]

    def describe(self) -> dict[str, Any]:
        """Return facts of the model for provenance, in words JSON has."""
        card = self.card
        answers = "raw logits"
        if card.outputs == "probabilities":
            answers = f"probabilities, made logits, clipped to {CLIP:g}"
        elif card.activation == "softmax":
            answers = "softmax logits, made one against the rest"
        return {
            "name": self.name,
            "kind": self._origin.kind,
            "source": self._origin.source,
            "sha256": self._origin.sha256,
            "size": self.size,
            "input_range": list(card.range),
            "channels": card.channels,
            "mean": list(card.mean),
            "std": list(card.std),
            "outputs": answers,
            **({"output": card.output} if card.output else {}),
            "findings": list(self.findings),
            "heads": [dataclasses.asdict(head) for head in self.heads],
            **self._origin.facts,
        }

    def _call(self, images: Array) -> Any:
        try:
            return self._forward(self.card.prepare(images))
        except RoentModError:
            raise
        # Foreign code raises anything; the batch is lost, the run is not.
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise ClassifierError(
                f"The classifier {self.name} must answer; it raised {type(error).__name__}: {text}"
            ) from error


class _Unit:
    """Tells probabilities that were declared as logits."""

    def __init__(self) -> None:
        self._images = 0
        self._values = 0
        self._left = False

    def check(self, values: NDArray[np.float64]) -> None:
        self._left = self._left or bool(((values < 0) | (values > 1)).any())
        self._images += len(values)
        self._values += values.size
        if not self._left and self._images >= _IMAGES and self._values >= _VALUES:
            raise ClassifierError(
                f"Logits take any sign; all {self._values} so far are in [0, 1], as probabilities "
                "are. Declare outputs='probabilities', or check_outputs=False if they are logits; "
                'in a card, "outputs": "probabilities", or "check_outputs": false.'
            )
