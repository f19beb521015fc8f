"""The painter: an exact, procedural editor whose every change is known.

It renders a finding into a radiograph whose anatomy is known and returns picture, mask and
severity. It is the ground truth that generators, judges and audits are measured against, and the
teacher of `mini`; it is no model of disease.
"""

from __future__ import annotations

import hashlib
import logging
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roentmod import regions
from roentmod.anatomy import Anatomy, LungSide, Mask
from roentmod.domain import NO_FINDING
from roentmod.domain import finding as lookup
from roentmod.editors.painter import opacities, shapes
from roentmod.editors.painter.canvas import Array, Canvas, Change, apply
from roentmod.edits import Edit
from roentmod.errors import AnatomyError, EditError
from roentmod.imaging.segmentation import estimate, require
from roentmod.interfaces import Counterfactual, Progress
from roentmod.radiograph import Radiograph

__all__ = ["DOSE", "PAINTABLE", "SIDED", "Painter", "Painting", "paint"]

log = logging.getLogger(__name__)
# Estimated outlines that are kept, in case a radiograph comes again.
_KEPT = 16
Rendering = Callable[[Canvas, LungSide, float, np.random.Generator], Change]
DOSE = {"mild": 0.3, "moderate": 0.6, "severe": 1.0}
SIDED: dict[str, Rendering] = {
    "Pleural Effusion": opacities.effusion,
    "Consolidation": opacities.consolidation,
    "Pneumonia": opacities.pneumonia,
    "Atelectasis": opacities.atelectasis,
    "Nodule": opacities.nodule,
    "Mass": opacities.mass,
    "Pneumothorax": shapes.pneumothorax,
}
_WHOLE: dict[str, Rendering] = {
    "Cardiomegaly": shapes.cardiomegaly,
    "Hernia": shapes.hernia,
    "Support Devices": shapes.support_devices,
    "Text Marker": shapes.text_marker,
}
# Rendered in both lungs, whatever side is requested.
_BILATERAL: dict[str, Rendering] = {"Edema": opacities.edema}
PAINTABLE = (*SIDED, *_BILATERAL, *_WHOLE)


@dataclass(frozen=True, eq=False)
class Painting:
    """A radiograph with one finding painted in.

    Attributes:
        image: display values in [0, 1], h x w.
        mask: exactly where `image` differs from the radiograph, h x w.
        severity: of the finding, in units (millimetres, fractions, ratios), and the dose.
    """

    image: Array
    mask: Mask
    severity: dict[str, Any]


def paint(
    pixels: Array,
    anatomy: Anatomy,
    finding: str,
    *,
    side: Literal["left", "right", "both"] | None = None,
    dose: float = 0.6,
    seed: int = 0,
    spacing_mm: float | None = None,
) -> Painting:
    """Paint one finding.

    Args:
        pixels: display values in [0, 1], h x w, bright where the body attenuates.
        anatomy: outlines on the same pixels.
        finding: a name of `PAINTABLE`, or an alias of one.
        side: the patient's side; None takes one by the seed. Ignored where a finding has none.
        dose: severity in (0, 1]; more is never less of it.
        seed: place, shape and texture. One seed is one lesion at every dose.
        spacing_mm: pixel spacing; None assumes an adult's thoracic width of 280 mm.

    Raises:
        EditError: the finding cannot be painted, the dose is out of range, or shapes differ.
    """
    name = lookup(finding).name
    if name not in PAINTABLE:
        raise EditError(f"The painter renders {', '.join(PAINTABLE)}; got '{name}'. Choose one.")
    if not 0 < dose <= 1:
        raise EditError(f"dose must be in (0, 1]; got {dose}.")
    if pixels.shape != anatomy.shape:
        raise EditError(
            f"Pixels and anatomy have one shape; got {pixels.shape} and {anatomy.shape}."
        )
    canvas = Canvas.of(pixels, anatomy, spacing_mm)
    change = _render(canvas, name, side, dose, seed)
    grain = np.random.default_rng([seed, zlib.crc32(name.encode()), 9])
    image = apply(pixels, canvas, change, grain)
    facts = {"dose": round(dose, 4), "millimetres_assumed": not canvas.mm_known}
    return Painting(image, image != pixels, change.severity | facts)


def _render(canvas: Canvas, name: str, side: str | None, dose: float, seed: int) -> Change:
    key = [seed, zlib.crc32(name.encode())]
    chosen: tuple[LungSide, ...] = ("left", "right")
    if name not in _BILATERAL and side != "both":
        pick = "right" if np.random.default_rng(key).random() < 0.5 else "left"
        chosen = ("right",) if (side or pick) == "right" else ("left",)
    if name in _WHOLE:
        chosen = chosen[:1]
    rendering = (SIDED | _BILATERAL | _WHOLE)[name]
    total: Change | None = None
    for one in chosen:
        rng = np.random.default_rng([*key, 1 if one == "right" else 2])
        part = rendering(canvas, one, dose, rng)
        total = part if total is None else total + part
    assert total is not None
    return total


class Painter:
    """The painter as a `RadiographEditor`; radiographs it cannot outline are "poor_anatomy".

    Strength, guidance, steps and scheduler mean nothing to it and are ignored, and so is what to
    hold: it paints nothing but the finding. Severity gives the dose (none given:
    moderate), a region clips the change. The sham arm is the baseline itself.

    Args:
        anatomies: known outlines by radiograph id; others are estimated, and refused where poor.
    """

    name = "painter"
    # It changes nothing but the finding; an audit need not look for leakage.
    exact = True
    findings = PAINTABLE

    def __init__(self, anatomies: dict[str, Anatomy] | None = None) -> None:
        """Keep the known outlines."""
        self._anatomies = dict(anatomies or {})
        self._estimated: dict[str, Anatomy] = {}

    def __reduce__(self) -> tuple[type[Painter], tuple[dict[str, Anatomy]]]:
        return Painter, (self._anatomies,)

    def describe(self) -> dict[str, Any]:
        """Return what results depend on besides baseline and edit."""
        return {"name": self.name, "doses": DOSE, "grid": 512, "version": 1}

    def edit(
        self,
        radiographs: Sequence[Radiograph],
        edits: Sequence[Edit],
        *,
        masks: Sequence[NDArray[np.bool_] | None] | None = None,
        progress: Progress | None = None,
    ) -> list[Counterfactual]:
        """Return every edit of every radiograph, radiograph by radiograph, in the order given.

        Raises:
            EditError: removal, a free prompt, a finding the painter has no rendering for, or a mask
                that misses an edit's region.
        """
        for edit in edits:
            _check(edit)
        regions = list(masks) if masks is not None else [None] * len(radiographs)
        results: list[Counterfactual] = []
        for radiograph, region in zip(radiographs, regions, strict=True):
            anatomy = self._outlines(radiograph)
            try:
                require(anatomy, radiograph.source)
            except AnatomyError as error:
                log.warning("%s", error)
                results += [Counterfactual(radiograph, edit, "poor_anatomy") for edit in edits]
            else:
                results += [self._one(radiograph, anatomy, edit, region) for edit in edits]
            if progress:
                progress(len(results), len(radiographs) * len(edits))
        return results

    def edit_each(
        self,
        radiographs: Sequence[Radiograph],
        edits: Sequence[Sequence[Edit]],
        *,
        masks: Sequence[NDArray[np.bool_] | None] | None = None,
    ) -> list[list[Counterfactual]]:
        """Return the counterfactuals of each radiograph by the edits in its place."""
        regions = list(masks) if masks is not None else [None] * len(radiographs)
        each = zip(radiographs, edits, regions, strict=True)
        return [self.edit([radiograph], own, masks=[region]) for radiograph, own, region in each]

    def _outlines(self, radiograph: Radiograph) -> Anatomy:
        """Return known outlines, or estimated ones; the last few of these are kept."""
        known = self._anatomies.get(radiograph.id) or self._estimated.get(radiograph.id)
        if known is None:
            known = self._estimated[radiograph.id] = estimate(radiograph)
            if len(self._estimated) > _KEPT:
                del self._estimated[next(iter(self._estimated))]
        return known

    def _one(
        self, radiograph: Radiograph, anatomy: Anatomy, edit: Edit, region: Mask | None
    ) -> Counterfactual:
        started = time.perf_counter()
        if edit.region is not None:
            try:
                region = regions.mask(edit.region, anatomy, region)
            except AnatomyError as error:
                log.warning("%s", error)
                return Counterfactual(radiograph, edit, "poor_anatomy")
        pixels = radiograph.pixels
        severity: dict[str, Any] = {}
        dose = DOSE[edit.severity or "moderate"]
        spacing = float(np.mean(radiograph.spacing_mm)) if radiograph.spacing_mm else None
        digest = hashlib.sha256(f"{radiograph.id}/{edit.seed}".encode()).digest()
        if edit.arm == "counterfactual":
            for name in (n for n in edit.findings if n != NO_FINDING.name):
                made = paint(
                    pixels,
                    anatomy,
                    name,
                    side=edit.side,
                    dose=dose,
                    seed=int.from_bytes(digest[:6], "little"),
                    spacing_mm=spacing,
                )
                pixels, severity = made.image, severity | made.severity
        if region is not None:
            pixels = np.where(region, pixels, radiograph.pixels)
        image = radiograph.with_pixels(pixels)
        difference = image.pixels - radiograph.pixels
        facts = {
            "editor": self.name,
            "severity": severity,
            "region": edit.region,
            "hold": list(edit.hold),
            "anatomy_quality": round(anatomy.quality, 3),
            "seconds": round(time.perf_counter() - started, 4),
        }
        return Counterfactual(
            radiograph, edit, "ok", image, radiograph, difference, difference != 0, facts
        )


def _check(edit: Edit) -> None:
    if edit.form is not None:
        raise EditError(f"The painter names no forms; got '{edit.form}'. Leave it out.")
    if edit.action == "remove" or edit.prompt:
        raise EditError(
            "The painter only adds findings of its catalogue; got "
            f"{'a removal' if edit.action == 'remove' else 'a free prompt'}. Use a generator."
        )
    unknown = [n for n in edit.findings if n not in (*PAINTABLE, NO_FINDING.name)]
    if unknown:
        raise EditError(
            f"The painter renders {', '.join(PAINTABLE)}; got '{unknown[0]}'. Choose one."
        )
