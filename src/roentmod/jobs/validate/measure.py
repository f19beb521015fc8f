"""What is measured of one picture, and of a picture against its baseline."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod import detector
from roentmod.anatomy import Anatomy
from roentmod.classifiers import Recogniser
from roentmod.classifiers.extractors import Extractor
from roentmod.editors import compose
from roentmod.imaging import segmentation
from roentmod.interfaces import Classifier, Counterfactual
from roentmod.radiograph import Radiograph
from roentmod.science import fidelity
from roentmod.science.fidelity import Gaussian

__all__ = ["SIDE", "Look", "Readers", "against", "apart", "change", "fine", "moved", "views_of"]

Array = NDArray[np.float32]
Row = dict[str, Any]
SIDE = 224
RINGS = 24
# Pixels of the fine structure: the centre of the picture at its own resolution.
_FINE = 512
# Pixels from the border that the window of the structural similarity does not reach.
_RIM = 5


@dataclass(frozen=True, eq=False)
class Readers:
    """Who looks at pictures.

    Attributes:
        judge: reads findings.
        extractor: sees features of places.
        recogniser: tells patients apart.
        second: reads them too, where there is a second judge.
    """

    judge: Classifier
    extractor: Extractor
    recogniser: Recogniser
    second: Classifier | None = None

    def look(self, pictures: Sequence[Radiograph], *known: Look) -> list[Look]:
        """Return a look at each picture; equal ones and those already known are looked at once."""
        seen = {look.picture.id: look for look in known}
        return [seen.setdefault(one.id, Look(one, self)) for one in pictures]


class Look:
    """One picture, with what readers say of it, each computed when first asked for."""

    def __init__(self, picture: Radiograph, readers: Readers) -> None:
        """Keep the picture."""
        self.picture = picture
        self._readers = readers

    @cached_property
    def small(self) -> Array:
        """The picture padded to a square, 224 x 224."""
        return compose.shrink(self.picture, SIDE)

    @cached_property
    def logits(self) -> dict[str, float]:
        """The judge's logit of each finding."""
        return self._read(self._readers.judge)

    @cached_property
    def second(self) -> dict[str, float]:
        """The second judge's; empty where there is none."""
        return self._read(self._readers.second) if self._readers.second else {}

    def _read(self, judge: Classifier) -> dict[str, float]:
        image = compose.shrink(self.picture, judge.size)
        return dict(zip(judge.findings, map(float, judge.logits(image[None])[0]), strict=True))

    @cached_property
    def grid(self) -> Array:
        """Features of every place, h x w x d."""
        image = compose.shrink(self.picture, self._readers.extractor.size)
        result: Array = self._readers.extractor.grid(image[None])[0]
        return result

    @cached_property
    def gaussian(self) -> Gaussian:
        """The distribution of the features."""
        return fidelity.gaussian(self.grid)

    @property
    def vector(self) -> list[float]:
        """The mean of the features, d numbers: what retrieval compares."""
        return [round(float(x), 6) for x in self.grid.mean(axis=(0, 1), dtype=np.float64)]

    @cached_property
    def patient(self) -> list[float]:
        """The recogniser's vector, of length 1: nearer for the same patient than for another."""
        image = compose.shrink(self.picture, self._readers.recogniser.size)
        return [round(float(x), 6) for x in self._readers.recogniser.embed(image[None])[0]]

    @cached_property
    def anatomy(self) -> Anatomy | None:
        """Lungs and heart in the 224 pixels, None where they are not found well enough."""
        result = segmentation.estimate_all([self.small])[0]
        return result if result.quality >= segmentation.QUALITY_NEEDED else None

    def release(self) -> None:
        """Forget what can be computed again and is large."""
        for name in ("grid", "gaussian", "small"):
            self.__dict__.pop(name, None)


def against(after: Look, before: Look) -> Row:
    """Return how alike two pictures are: ssim, l1, perceptual and pfid, at 224 pixels; `apart`."""
    similar = fidelity.similarity(before.small, after.small)
    return {
        "ssim": float(similar[_RIM:-_RIM, _RIM:-_RIM].mean()),
        "l1": float(np.abs(after.small - before.small).mean(dtype=np.float64)),
        "perceptual": fidelity.perceptual(before.grid, after.grid),
        "pfid": fidelity.pfid(before.gaussian, after.gaussian),
        "displaced": apart(after, before),
    }


def apart(after: Look, before: Look, where: NDArray[np.bool_] | None = None) -> float:
    """Return how far places moved, as `fidelity.displaced`; `where` is at 224 pixels."""
    kept: NDArray[np.bool_] | None = None
    if where is not None:
        kept = np.asarray(where.reshape(SIDE // 2, 2, SIDE // 2, 2).all((1, 3)))
    return fidelity.displaced(_half(before.small), _half(after.small), kept)


def _half(picture: Array) -> Array:
    half: Array = picture.reshape(SIDE // 2, 2, SIDE // 2, 2).mean((1, 3))
    return half


def change(made: Counterfactual, after: Look, before: Look) -> Row:
    """Return what an edit changed and where; NaN where it cannot be said.

    ``l1_inside`` and ``l1_outside`` are mean sizes of the change inside and outside the edit's own
    support, at the picture's resolution; ``ssim_outside`` is taken at 224 pixels, where the support
    reaches no part of a pixel's window, and so is ``displaced_outside``; ``line`` is the longest
    line in the change.
    """
    assert made.difference is not None
    assert made.support is not None
    inside, outside = fidelity.inside_outside(np.abs(made.difference), made.support)
    covered = compose.resize(made.baseline.square.pad(made.support.astype(np.float32)), SIDE) > 0
    _, alike = fidelity.inside_outside(
        fidelity.similarity(before.small, after.small), _grown(covered)
    )
    return {
        "support": float(made.support.mean()),
        "l1_inside": inside,
        "l1_outside": outside,
        "ssim_outside": alike,
        "displaced_outside": apart(after, before, ~covered),
        "line": fidelity.longest_line(after.small - before.small),
        **moved(after, before),
    }


def moved(after: Look, before: Look) -> Row:
    """Return how far outlines moved, as `fidelity.drift`; NaN where either is poor."""
    if after.anatomy is None or before.anatomy is None:
        return dict.fromkeys(("lungs", "heart", "ratio", "rotation"), float("nan"))
    return dict(fidelity.drift(before.anatomy, after.anatomy))


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `mask` grown by the reach of the similarity's window."""
    wide = np.pad(mask, _RIM)
    span = 2 * _RIM + 1
    rows = np.lib.stride_tricks.sliding_window_view(wide, span, axis=0).any(axis=-1)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, span, axis=1).any(axis=-1))


def fine(look: Look) -> Row:
    """Return the fine structure of a picture: spectrum, and the views of it for the detector."""
    pixels = look.picture.pixels
    rows, columns = (
        slice(max(0, (n - _FINE) // 2), (n + _FINE) // 2 + n % 2) for n in pixels.shape
    )
    centre = pixels[rows, columns]
    views = zlib.compress(detector.views(look.picture).astype("<u2").tobytes(), 1)
    return {
        "views": base64.b64encode(views).decode(),
        "spectrum": np.round(fidelity.radial_spectrum(centre, RINGS)[1], 5).tolist(),
    }


def views_of(text: str) -> detector.Views:
    """Return the views that `fine` packed into a text."""
    numbers = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u2")
    return numbers.reshape(detector.VIEWS, *detector.SHAPE).astype(np.uint16)
