"""Classifiers that read pictures one after the other, and may stop answering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers import checks
from roentmod.editors import compose
from roentmod.interfaces import Classifier
from roentmod.radiograph import Radiograph

__all__ = ["Readers"]

# An endpoint that failed this often in a row is not asked again by this process.
_PATIENCE = 3
Array = NDArray[np.float32]


@dataclass
class Readers:
    """Classifiers by name, and how often in a row each has failed."""

    by_name: Mapping[str, Classifier]
    failures: dict[str, int] = field(default_factory=dict)
    _shown: tuple[Sequence[Radiograph], dict[int, list[Array]]] = field(
        default=((), {}), repr=False
    )

    def given_up(self, name: str) -> bool:
        """Tell whether a classifier has failed too often to be asked again."""
        return self.failures.get(name, 0) >= _PATIENCE

    def read(self, name: str, pictures: Sequence[Radiograph]) -> checks.Reading:
        """Read pictures at the classifier's size, each distinct one once."""
        classifier = self.by_name[name]
        if self.given_up(name):
            nothing = np.full((len(pictures), len(classifier.findings)), np.nan, np.float32)
            message = f"not asked: it failed {_PATIENCE} times in a row; run again to go on"
            return checks.Reading(nothing, ["classifier_failed"] * len(pictures), message)
        images = self._at(classifier.size, pictures)
        # Without anything to undo, a sham is its baseline, and one reading serves both.
        places: dict[bytes, int] = {}
        rows = [places.setdefault(image.tobytes(), len(places)) for image in images]
        first = [rows.index(row) for row in range(len(places))]
        reading = checks.read(classifier, np.stack([images[n] for n in first]))
        dead = all(status == "classifier_failed" for status in reading.status)
        self.failures[name] = self.failures.get(name, 0) + 1 if dead else 0
        return checks.Reading(
            reading.logits[rows], [reading.status[row] for row in rows], reading.message
        )

    def _at(self, size: int, pictures: Sequence[Radiograph]) -> list[Array]:
        """Return pictures at a size, made once for all who read the same ones in turn."""
        if self._shown[0] is not pictures:
            self._shown = pictures, {}
        sizes = self._shown[1]
        if size not in sizes:
            sizes[size] = [compose.shrink(picture, size) for picture in pictures]
        return sizes[size]
