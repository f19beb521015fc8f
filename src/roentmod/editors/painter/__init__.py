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
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from roentmod import regions
from roentmod.anatomy import Anatomy, LungSide, Mask
from roentmod.domain import NO_FINDING
from roentmod.domain import finding as lookup
from roentmod.editors.painter import airspace, devices, focal, heart, places, pleura
from roentmod.editors.painter.canvas import Array, Canvas, Change, apply
from roentmod.edits import Edit
from roentmod.errors import AnatomyError, EditError
from roentmod.imaging.segmentation import WEIGHTS, estimate, require
from roentmod.interfaces import Counterfactual, Progress
from roentmod.radiograph import Radiograph, View
from roentmod.store import canonical_hash, file_sha256

__all__ = [
    "DOSE",
    "FORMS",
    "PAINTABLE",
    "SIDED",
    "Painter",
    "Painting",
    "form_of",
    "paint",
    "stream",
]

log = logging.getLogger(__name__)
# Estimated outlines that are kept, in case a radiograph comes again.
_KEPT = 16
Sides = tuple[LungSide, ...]
Rendering = Callable[[Canvas, LungSide, float, np.random.Generator, str], Change | None]
DOSE = {"mild": 0.3, "moderate": 0.6, "severe": 1.0}
SIDED: dict[str, Rendering] = {
    "Pleural Effusion": pleura.effusion,
    "Consolidation": airspace.consolidation,
    "Pneumonia": airspace.pneumonia,
    "Atelectasis": airspace.atelectasis,
    "Nodule": focal.nodule,
    "Mass": focal.mass,
    "Pneumothorax": pleura.pneumothorax,
    "Fibrosis": airspace.fibrosis,
    "Pleural Thickening": pleura.pleural_thickening,
}
_WHOLE: dict[str, Rendering] = {
    "Cardiomegaly": heart.cardiomegaly,
    "Hernia": focal.hernia,
    "Support Devices": devices.support_devices,
    "Text Marker": devices.text_marker,
}
# Rendered in both lungs, whatever side is requested.
_BILATERAL: dict[str, Rendering] = {"Edema": airspace.edema, "Emphysema": airspace.emphysema}
# Forms of a finding and how often a seed takes each. The findings' own statistics do not tell
# forms apart: these shares are a choice of ours.
FORMS: dict[str, dict[str, float]] = {
    "Pleural Effusion": {"meniscus": 0.7, "supine": 0.12, "subpulmonic": 0.08, "loculated": 0.1},
    "Consolidation": {"lower lobe": 0.5, "middle lobe": 0.28, "upper lobe": 0.22},
    "Pneumonia": {"patchy": 0.55, "confluent": 0.45},
    "Atelectasis": {"plates": 0.6, "lower lobe": 0.25, "upper lobe": 0.15},
    "Nodule": {"smooth": 0.45, "spiculated": 0.25, "lobulated": 0.15, "calcified": 0.15},
    "Mass": {"smooth": 0.2, "spiculated": 0.3, "lobulated": 0.35, "cavitated": 0.15},
    "Pneumothorax": {"apical": 0.85, "deep sulcus": 0.15},
    "Fibrosis": {"basal": 0.6, "apical": 0.4},
    "Pleural Thickening": {"rind": 0.5, "apical cap": 0.3, "plaques": 0.2},
    "Cardiomegaly": {"left ventricular": 0.45, "globular": 0.35, "right-sided": 0.2},
    "Edema": {"interstitial": 0.5, "alveolar": 0.5},
    "Emphysema": {"diffuse": 0.75, "bullous": 0.25},
    "Support Devices": devices.SHARES,
}
# Forms of a lying patient, of whom no PA picture is taken; and the share of AP pictures in NIH
# ChestX-ray14, whose views are 67,310 PA and 44,810 AP.
_LYING = ("supine", "deep sulcus")
_AP_SHARE = 0.4
# Least part of a finding's change that a region must hold: a lesion, or an object, is not cut. Of
# others it is a part; or a smaller one, if their mean change in the region is such a part of the
# whole change's.
_LEAST = {"Nodule": 0.93, "Mass": 0.93, "Text Marker": 0.97, "Hernia": 0.8, "Support Devices": 0.4}
_LEAST_PART, _LEAST_AT_ALL = 0.1, 0.02
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
    form: str | None = None,
    spacing_mm: float | None = None,
    view: View = "",
    region: Mask | None = None,
) -> Painting:
    """Paint one finding.

    Args:
        pixels: display values in [0, 1], h x w, bright where the body attenuates.
        anatomy: outlines on the same pixels.
        finding: a name of `PAINTABLE`, or an alias of one.
        side: the patient's side; None takes one by the seed. Ignored where a finding has none.
        dose: severity in (0, 1]; more is never less of it.
        seed: place, form, shape and texture. One seed is one lesion at every dose.
        form: one of the finding's `FORMS`; None takes one by seed and view, and as many devices as
            the dose says.
        spacing_mm: pixel spacing; None assumes an adult's thoracic width of 280 mm.
        view: "PA", "AP", or "" where it is not known.
        region: where the picture may change, h x w; None: everywhere. The seed's place, and where
            none is named side and form, are such that it holds the finding; if there are none, the
            picture is as it was and no severity is stated.

    Raises:
        EditError: finding or form cannot be painted, the dose is out of range, or shapes differ.
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
    known = FORMS.get(name, {})
    if form is not None and form not in known:
        raise EditError(f"Forms of {name} are {', '.join(known) or 'none'}; got '{form}'.")
    canvas = Canvas.of(pixels, anatomy, spacing_mm, region)
    facts: dict[str, Any] = {"dose": round(dose, 4), "millimetres_assumed": not canvas.mm_known}
    for chosen, on in product(
        [form] if form else _forms(name, seed, view), _sides(canvas, name, side, seed)
    ):
        change = _render(canvas, name, on, dose, seed, chosen)
        if change is not None:
            image = apply(pixels, canvas, change)
            if region is not None:
                image = np.where(region, image, pixels)
            facts |= {"form": chosen} if chosen else {}
            return Painting(image, image != pixels, change.severity | facts)
    return Painting(pixels, np.zeros(pixels.shape, dtype=np.bool_), facts)


def form_of(name: str, seed: int, view: View = "") -> str:
    """Return the form that a seed takes, by the shares of `FORMS`; "" where a finding has none.

    Forms of a lying patient are not those of a PA picture, and in AP pictures more frequent, so
    that they have their share in both views together.
    """
    shares = _shares(name, view)
    if not shares:
        return ""
    total = np.cumsum(list(shares.values()))
    at = np.random.default_rng([*_key(name, seed), 3]).random() * total[-1]
    return list(shares)[int(np.searchsorted(total, at, side="right"))]


def _shares(name: str, view: View) -> dict[str, float]:
    shares = FORMS.get(name, {})
    part = sum(share for form, share in shares.items() if form in _LYING)
    lying = {"": 1.0, "PA": 0.0, "AP": 1 / _AP_SHARE}[view]
    upright = (1 - lying * part) / (1 - part)
    return {form: share * (lying if form in _LYING else upright) for form, share in shares.items()}


def _forms(name: str, seed: int, view: View) -> list[str]:
    """Return the form that a seed takes, and those that a region may need in its place."""
    if name == "Support Devices":
        return [""]
    first, shares = form_of(name, seed, view), _shares(name, view)
    usual = sorted(shares, key=lambda form: -shares[form])
    return [first, *(form for form in usual if shares[form] and form != first)]


def _sides(canvas: Canvas, name: str, side: str | None, seed: int) -> list[Sides]:
    """Return the sides that are painted, and those that a region may need in their place."""
    if name in _BILATERAL or (side == "both" and name not in _WHOLE):
        return [("left", "right")]
    share = places.right_share(name)
    drawn = np.random.default_rng(_key(name, seed)).random()
    first = side or ("right" if drawn < share else "left")
    sides: list[Sides] = [("right",), ("left",)] if first == "right" else [("left",), ("right",)]
    return sides if side is None and canvas.area is not None else sides[:1]


def stream(name: str, seed: int, side: LungSide) -> np.random.Generator:
    """Return the random numbers of one lesion; those of a table of places begin with its place."""
    return np.random.default_rng([*_key(name, seed), 1 if side == "right" else 2])


def _key(name: str, seed: int) -> list[int]:
    return [seed, zlib.crc32(name.encode())]


def _render(
    canvas: Canvas, name: str, sides: Sides, dose: float, seed: int, form: str
) -> Change | None:
    """Return the change on all sides where the canvas's area holds it, None where on none."""
    rendering = (SIDED | _BILATERAL | _WHOLE)[name]
    total: Change | None = None
    for side in sides:
        part = rendering(canvas, side, dose, stream(name, seed, side), form)
        if part is not None and canvas.area is not None:
            part = _held(canvas, name, side, part)
        if part is not None:
            total = part if total is None else total + part
    return total


def _held(canvas: Canvas, name: str, side: LungSide, change: Change) -> Change | None:
    """Return what the area shows of a change; None where that is not the finding any more."""
    assert canvas.area is not None
    shown = change.within(canvas.rim if name in _LEAST else canvas.seen)
    # What moves along is not the finding; a heart that grows says itself how far.
    kept: dict[str, Any] = {} if name == "Cardiomegaly" else {"shift": None}
    both = (replace(one, **kept) for one in (change, shown))
    free, held = (np.abs(apply(canvas.pixels, canvas, c) - canvas.pixels) for c in both)
    if not free.any():
        return None
    part = float(held.sum() / free.sum())
    room = int((canvas.area & canvas.anatomy.lung(side)).sum() or canvas.area.sum())
    mean = float(held.sum() / room / free[free > 0].mean())
    if name in _LEAST:
        enough = part >= _LEAST[name]
    else:
        enough = part >= _LEAST_AT_ALL and max(part, mean) >= _LEAST_PART
    return shown if enough else None


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
        return {"name": self.name, "doses": DOSE, "looks": _looks()}

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
                    form=edit.form if edit.form in FORMS.get(name, {}) else None,
                    spacing_mm=spacing,
                    view=radiograph.view,
                    region=region,
                )
                if not made.mask.any():
                    where = f" in {edit.region or 'the mask'}" if region is not None else ""
                    words = "%s: no room for %s%s; name a wider region ('around ...')"
                    log.warning(words, radiograph.source, name, where)
                    return Counterfactual(radiograph, edit, "no_visible_change")
                pixels, severity = made.image, severity | made.severity
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


@cache
def _looks() -> str:
    """Return a hash of what decides how findings look: code and tables, outlines; 16 hex digits."""
    folder = Path(__file__).parent
    own = sorted(p for p in folder.iterdir() if p.suffix in (".py", ".json"))
    return canonical_hash([file_sha256(path) for path in (*own, WEIGHTS)])[:16]


def _check(edit: Edit) -> None:
    if edit.action == "remove" or edit.prompt:
        raise EditError(
            "The painter only adds findings of its catalogue; got "
            f"{'a removal' if edit.action == 'remove' else 'a free prompt'}. Use a generator."
        )
    known = dict.fromkeys(form for n in edit.findings for form in FORMS.get(n, ()))
    if edit.form is not None and edit.form not in known:
        raise EditError(
            f"Forms of {', '.join(edit.findings)} are {', '.join(known) or 'none'}; got "
            f"'{edit.form}'. Choose one."
        )
    unknown = [n for n in edit.findings if n not in (*PAINTABLE, NO_FINDING.name)]
    if unknown:
        raise EditError(
            f"The painter renders {', '.join(PAINTABLE)}; got '{unknown[0]}'. Choose one."
        )
