"""Estimating lungs and heart on a frontal radiograph, and knowing when the estimate is poor.

A small U-Net (trained by ``training/segmentation.py``) looks at the picture twice, the second time
a little smaller and off centre. Both answers are averaged, brought to the picture's own resolution
and thresholded. What anatomy does not allow, what the network is unsure of, what the two looks
disagree on, and a third look at the picture upside down that is as sure as the first, lower
`Anatomy.quality`; below `QUALITY_NEEDED` an estimate is not to be used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from roentmod._optional import open_session
from roentmod.anatomy import Anatomy, Mask
from roentmod.errors import AnatomyError, WeightsError
from roentmod.radiograph import Radiograph, Square

__all__ = ["QUALITY_NEEDED", "estimate", "estimate_all", "looks_mirrored", "prepare", "require"]

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
QUALITY_NEEDED = 0.5
SIDE = 128
WEIGHTS = Path(__file__).parent / "anatomy.onnx"
_BATCH = 16
# The two looks: left, top and side of what is looked at, as fractions of the padded square.
_LOOKS = ((0.0, 0.0, 1.0), (-0.05, -0.03, 1.08))
_SURE = 0.5
# Weights of two signs that a picture is mirrored (how much surer the network is of it than of its
# mirror image; `Anatomy.lean`), fitted on 386 radiographs of NIH and Hannover, and the sum below
# which it is reported: 62 % of mirrored ones and 1 % of others; 64 and 2 % of 156 other patients.
_MIRROR, _MIRRORED = (330.0, 2.9), -2.5
# Below this share of the picture a part counts as not found; below this score a doubt is reported.
_TRACE, _DOUBT = 0.002, 0.75


@dataclass(frozen=True)
class _Check:
    """A number that anatomy keeps within limits.

    Attributes:
        words: the doubt, with a place for the number.
        limits: refused below, beyond doubt from, beyond doubt to, refused above.
    """

    words: str
    limits: tuple[float, float, float, float]

    def judge(self, value: float, name: str = "") -> tuple[str, float]:
        """Return the doubt, and 1 within the inner limits, 0 beyond the outer, linear between."""
        score = float(np.interp(value, self.limits, (0, 1, 1, 0))) if np.isfinite(value) else 0.0
        return self.words.format(name=name, value=value), score


@dataclass(frozen=True, eq=False)
class _Evidence:
    """The network's answers for one picture, all at SIDE x SIDE.

    Attributes:
        mean: average chances of the upright looks, 3 x SIDE x SIDE.
        looks: chances of each upright look, mapped back to the picture.
        turned: chances on the picture upside down.
        whole: share of right lung, left lung and heart in its largest piece.
    """

    mean: Array
    looks: Sequence[Array]
    turned: Array
    whole: Sequence[float]


# Areas and heights are shares of the padded square; limits enclose the outlines that were found
# right by eye on validation radiographs, from infants' to hyperinflated chests.
_EACH_LUNG = {
    "area": _Check("the {name} covers {value:.0%} of the picture", (0.015, 0.04, 0.22, 0.3)),
    "height": _Check("the {name} is {value:.0%} of the picture high", (0.2, 0.3, 0.9, 1.0)),
    "whole": _Check("the {name} falls into pieces ({value:.0%} whole)", (0.6, 0.9, 1, 1.1)),
    "cut": _Check("{value:.0%} of the {name}'s outline is the picture's edge", (-1, 0, 0.15, 0.4)),
    "sure": _Check("the {name}'s outline is unsure ({value:.2f})", (0.78, 0.9, 1, 1.1)),
}
_BOTH = {
    "balance": _Check("one lung has {value:.0%} of the other's area", (0.2, 0.45, 1, 1.1)),
    "dark": _Check(
        "the lungs are hardly darker than the mediastinum ({value:.2f} SD)", (0, 0.4, 9, 99)
    ),
    "order": _Check("the lungs do not lie side by side ({value:.2f})", (0.1, 0.25, 0.8, 1)),
    "heart_low": _Check(
        "the heart's centre lies {value:.0%} of the lungs' height below the apices",
        (0.42, 0.55, 0.95, 1.2),
    ),
    "heart_left": _Check(
        "{value:.0%} of the heart lies left of the midline", (0.2, 0.42, 0.98, 1.2)
    ),
    "ratio": _Check("the cardiothoracic ratio is {value:.2f}", (0.26, 0.34, 0.75, 0.9)),
    "heart_sure": _Check("the heart's outline is unsure ({value:.2f})", (0.75, 0.87, 1, 1.1)),
    "agreement": _Check("two looks agree only to a Dice of {value:.2f}", (0.82, 0.93, 1, 1.1)),
    "upright": _Check(
        "it looks no more like a chest than upside down ({value:+.3f})", (-0.02, 0.02, 1, 2)
    ),
}


def estimate(radiograph: Radiograph) -> Anatomy:
    """Return lungs and heart of `radiograph`, at its own resolution.

    The result may be poor: check with `require` before using it. A picture that looks mirrored is
    reported, as no header need say how a picture lies.

    Raises:
        WeightsError: the bundled weights are missing.
    """
    anatomy = estimate_all([radiograph.pixels])[0]
    if anatomy.quality >= QUALITY_NEEDED and looks_mirrored(radiograph.pixels, anatomy):
        log.warning(
            "%s looks mirrored, with the heart more to the right. Left and right are as its header "
            "says, or as it lies where that says nothing: check a marker in the picture",
            radiograph.source,
        )
    return anatomy


def looks_mirrored(pixels: Array, anatomy: Anatomy) -> bool:
    """Return whether a picture (h x w in [0, 1]) looks more like a mirrored chest; some do not.

    Raises:
        WeightsError: the bundled weights are missing.
    """
    seen = prepare(Square(*pixels.shape).pad(pixels))
    both = _run(np.stack([seen, seen[:, ::-1]]))
    sure, turned = (float(np.mean([_certainty(part) for part in look])) for look in both)
    signs = (sure - turned, anatomy.lean(pixels))
    return sum(weight * sign for weight, sign in zip(_MIRROR, signs, strict=True)) < _MIRRORED


def estimate_all(pictures: Sequence[Array] | Array) -> list[Anatomy]:
    """Return lungs and heart of every picture (h x w in [0, 1], bright = dense).

    Raises:
        WeightsError: the bundled weights are missing.
    """
    outlines = []
    for first in range(0, len(pictures), _BATCH):
        batch = [np.asarray(p, dtype=np.float32) for p in pictures[first : first + _BATCH]]
        squares = [Square(*picture.shape) for picture in batch]
        padded = [square.pad(picture) for square, picture in zip(squares, batch, strict=True)]
        seen = [np.stack([prepare(p, window) for p in padded]) for window in _LOOKS]
        looks = [_run(pictures) for pictures in (*seen, seen[0][:, ::-1])]
        for index, square in enumerate(squares):
            outlines.append(_assemble(padded[index], square, [look[index] for look in looks]))
    return outlines


def require(anatomy: Anatomy, source: str = "") -> Anatomy:
    """Return `anatomy` if it may be used.

    Args:
        anatomy: an estimate.
        source: what it was estimated on, for the message.

    Raises:
        AnatomyError: its quality is below `QUALITY_NEEDED`.
    """
    if anatomy.quality >= QUALITY_NEEDED:
        return anatomy
    name = f" on {source}" if source else ""
    raise AnatomyError(
        f"Lungs and heart must be found with a quality of at least {QUALITY_NEEDED:g}; got "
        f"{anatomy.quality:.2f}{name}: {'; '.join(anatomy.doubts)}. "
        "Use an upright, unmirrored frontal radiograph that shows both lungs."
    )


def prepare(square: Array, window: tuple[float, float, float] = _LOOKS[0]) -> Array:
    """Return what the network sees of a padded square: SIDE x SIDE, zero mean, unit variance."""
    left, top, width = window
    across = _averaging(square.shape[1], left, width)
    down = _averaging(square.shape[0], top, width)
    small: Array = (down @ square @ across.T).astype(np.float32)
    return np.asarray((small - small.mean()) / (small.std() + np.float32(0.02)))


@lru_cache(maxsize=64)
def _averaging(side: int, start: float, width: float) -> Array:
    """Return SIDE x side weights that average pixels by area over a window of the square."""
    edges = (start + width * np.arange(SIDE + 1) / SIDE) * side
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(overlap, 0, None) / (edges[1] - edges[0]), np.float32)


@lru_cache(maxsize=64)
def _cubic(side: int, start: float, width: float) -> Array:
    """Return side x SIDE weights of cubic interpolation back from a window (Keys, 1981)."""
    at = ((np.arange(side) + 0.5) / side - start) / width * SIDE - 0.5
    away = np.abs(np.clip(at, 0, SIDE - 1)[:, None] - np.arange(SIDE))
    near = 1.5 * away**3 - 2.5 * away**2 + 1
    far = -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    weights = np.where(away <= 1, near, np.where(away < 2, far, 0))
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _enlarge(chances: Array, side: int, window: tuple[float, float, float]) -> Array:
    """Return chances (3 x SIDE x SIDE) over a window at side x side of the whole square."""
    left, top, width = window
    return np.asarray(_cubic(side, top, width) @ chances @ _cubic(side, left, width).T)


@lru_cache(maxsize=1)
def _session(path: Path) -> Any:
    if not path.exists():
        raise WeightsError(
            f"Outlines need the bundled weights; {path} is missing. Reinstall the package."
        )
    return open_session(str(path))


def _run(seen: Array) -> Array:
    """Return the network's chances of right lung, left lung and heart, n x 3 x SIDE x SIDE."""
    pictures = np.ascontiguousarray(seen[:, None], np.float32)
    chances: Array = _session(WEIGHTS).run(None, {"pictures": pictures})[0]
    return chances


def _assemble(padded: Array, square: Square, looks: Sequence[Array]) -> Anatomy:
    """Return the anatomy of one picture from the looks at it, the last one upside down."""
    *upright, turned = looks
    small = [_enlarge(c, SIDE, w) for c, w in zip(upright, _LOOKS, strict=True)]
    mean: Array = np.mean(small, axis=0)
    pieces = [_largest(chance > _SURE) for chance in mean]
    rims = [ndimage.binary_dilation(piece, np.ones((3, 3))) for piece, _ in pieces]
    kept = np.where(np.stack(rims), mean, 0)
    large = _enlarge(kept.astype(np.float32), square.side, _LOOKS[0])
    right, left, heart = (square.crop(chance) > _SURE for chance in large)
    # A pixel of both lungs goes to the likelier one.
    right &= ~left | (square.crop(large[0] - large[1]) > 0)
    outline = Anatomy(right, left & ~right, heart)
    missing = [name for name, mask in _named(outline) if mask.mean() < _TRACE]
    if missing:
        doubts = tuple(f"no {name} was found" for name in missing)
        return replace(outline, quality=0.0, doubts=doubts)
    evidence = _Evidence(mean, small, turned, [share for _, share in pieces])
    checks = [*_check_lungs(outline, evidence)]
    checks += _check_both(outline, square.crop(padded), evidence)
    worst = sorted(checks, key=lambda check: check[1])
    doubts = tuple(words for words, score in worst if score < _DOUBT)
    return replace(outline, quality=round(worst[0][1], 3), doubts=doubts)


def _named(outline: Anatomy) -> tuple[tuple[str, Mask], ...]:
    parts = (outline.right_lung, outline.left_lung, outline.heart)
    return tuple(zip(("right lung", "left lung", "heart"), parts, strict=True))


def _largest(mask: Mask) -> tuple[Mask, float]:
    """Return the largest piece of a mask, holes filled, and its share of the mask."""
    if not mask.any():
        return mask, 0.0
    labels, _ = ndimage.label(mask)
    counts = np.bincount(labels[mask])
    piece: Mask = ndimage.binary_fill_holes(labels == counts.argmax())
    return piece, float(counts.max() / counts.sum())


def _check_lungs(outline: Anatomy, evidence: _Evidence) -> Iterator[tuple[str, float]]:
    """Yield doubt and score of every check of a lung by itself."""
    side = max(outline.shape)
    for index, (name, lung) in enumerate(_named(outline)[:2]):
        first, last = np.flatnonzero(lung.any(1))[[0, -1]]
        edge = lung[0].sum() + lung[-1].sum() + lung[:, 0].sum() + lung[:, -1].sum()
        values = {
            "area": lung.sum() / side**2,
            "height": (last - first + 1) / side,
            "whole": evidence.whole[index],
            "cut": edge / (last - first + 1),
            "sure": _certainty(evidence.mean[index]),
        }
        yield from (check.judge(values[key], name) for key, check in _EACH_LUNG.items())


def _check_both(
    outline: Anatomy, picture: Array, evidence: _Evidence
) -> Iterator[tuple[str, float]]:
    """Yield doubt and score of every check of lungs and heart together."""
    areas = outline.right_lung.sum(), outline.left_lung.sum()
    columns = [np.nonzero(lung)[1].mean() for lung in (outline.right_lung, outline.left_lung)]
    width = np.ptp(np.flatnonzero(outline.lungs.any(0))) + 1
    rows = np.nonzero(outline.heart)[0]
    right, left = outline.heart_extent
    one, other = (look > _SURE for look in evidence.looks)
    sure = [np.mean([_certainty(c) for c in look]) for look in (evidence.looks[0], evidence.turned)]
    values = {
        "balance": min(areas) / max(areas),
        "dark": _contrast(outline, picture),
        "order": (columns[1] - columns[0]) / width,
        "heart_low": (rows.mean() - outline.top) / (outline.bottom - outline.top + 1),
        "heart_left": left / max(right + left, 1e-6),
        "ratio": outline.cardiothoracic_ratio,
        "heart_sure": _certainty(evidence.mean[2]),
        "agreement": 2 * (one & other).sum() / max(one.sum() + other.sum(), 1),
        "upright": sure[0] - sure[1],
    }
    yield from (check.judge(values[key]) for key, check in _BOTH.items())


def _certainty(chance: Array) -> float:
    """Return the mean chance within the outline: near 1 where the network is sure of it."""
    inside = chance > _SURE
    return float(chance[inside].mean()) if inside.any() else 0.0


def _contrast(outline: Anatomy, picture: Array) -> float:
    """Return how much darker the darker half of the lungs is than the heart, in SD of the picture.

    The darker half, because a consolidated lung is still a lung.
    """
    lungs = np.median(picture[outline.lungs])
    darker = picture[outline.lungs & (picture <= lungs)].mean()
    return float((picture[outline.heart].mean() - darker) / (picture.std() + 1e-3))
