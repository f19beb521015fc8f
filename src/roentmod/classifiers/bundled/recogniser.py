"""The recogniser: the bundled network that tells patients apart.

It was trained on visits of the same patients (``training/reidentify.py``) and says whether two
pictures may be of one patient: it verifies that an edit kept its patient. It teaches no generator,
and identifies nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers.checks import check_images
from roentmod.classifiers.graphs import opened
from roentmod.documents import read_document
from roentmod.errors import InputError, WeightsError
from roentmod.interfaces import Loaded
from roentmod.store import file_sha256

__all__ = ["Recogniser"]

Array = NDArray[np.float32]
_FOLDER = Path(__file__).parent
_GRAPH, _CARD = "recogniser.onnx", "recogniser.json"


class Recogniser(Loaded):
    """A small convolutional network of 128 x 128 pictures, run by ONNX Runtime.

    Attributes:
        size: side in pixels of the square pictures it takes.
        numbers: length d of its vectors.
        card: content of ``recogniser.json``: what it was trained on, how well it finds the other
            visits of patients of ``val``.
    """

    name = "recogniser"

    def __init__(self, folder: Path) -> None:
        """Open ``recogniser.onnx`` and ``recogniser.json`` of `folder`.

        Raises:
            WeightsError: a file is missing or damaged.
            MissingDependencyError: ONNX Runtime is not installed.
        """
        try:
            self.card = read_document(folder / _CARD)
            self.size, self.numbers = int(self.card["size"]), int(self.card["numbers"])
        except (OSError, InputError, KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"A recogniser is a folder with {_GRAPH} and {_CARD}, which names size and "
                f"numbers; {folder.name} gave {error!r}. Export it again, or reinstall roentmod."
            ) from error
        self._weights = folder / _GRAPH
        self._session = opened(self._weights)
        shape = self._session.get_outputs()[0].shape
        if shape != [1, self.numbers]:
            raise WeightsError(
                f"A recogniser returns one vector of {self.numbers} numbers, as {_CARD} says; "
                f"{_GRAPH} returns {shape}. Export both again."
            )
        # The bundled one is wherever the package is.
        self.remember(Recogniser.load, None if folder == _FOLDER else folder.absolute())

    @classmethod
    def load(cls, folder: Path | None = None) -> Recogniser:
        """Return the bundled recogniser, or one that was exported to `folder`; raises as above."""
        return cls(folder or _FOLDER)

    def embed(self, pictures: Array) -> Array:
        """Return vectors of length 1, n x d: the nearer two are, the likelier is one patient.

        Args:
            pictures: n x size x size float32 display values in [0, 1], padded to a square and
                reduced as `compose.shrink` does.

        Raises:
            ClassifierError: another size, range or type.
        """
        check_images(pictures, self.size)
        # One picture per call, so that a vector cannot depend on what is read beside it.
        rows = [self._session.run(None, {"image": one[None, None]})[0] for one in pictures]
        return np.concatenate(rows) if rows else np.zeros((0, self.numbers), np.float32)

    def describe(self) -> dict[str, Any]:
        """Return facts of the recogniser for provenance, in words JSON has."""
        return {
            "name": self.name,
            "source": _GRAPH,
            "sha256": file_sha256(self._weights),
            "size": self.size,
            "trained_on": self.card.get("trained_on"),
            "val": self.card.get("val"),
        }
