"""An editor without a painter: findings of real patients, moved into other patients' radiographs.

Nothing here renders a finding, and no generator does: what is added to a host is a difference that
was measured in a donor. A *mass* is a nodule, enlarged: what its square holds over the smoothest
surface through the square's rim (so that adding it is Poisson cloning, with gradients added); an
*opacity*, within radiologists' boxes, and an *effusion* are what their side of the chest has more
than the mirror image of the other side. All are in logits of the display value, and keep their
place in the lung.
Donors' labels and boxes: NIH, RSNA, JSRT; see `docs/audit.md`.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates
from scipy.special import expit, logit

from bench.real_judge import Box, Marked, filled, marked_pictures
from roentmod.anatomy import Anatomy, LungSide
from roentmod.domain import NO_FINDING
from roentmod.edits import Edit
from roentmod.errors import EditError
from roentmod.imaging import segmentation
from roentmod.interfaces import Counterfactual, Progress
from roentmod.radiograph import Radiograph
from roentmod.store import atomic
from training import benchmark, cohort
from training.judge_pictures import canonical

FINDINGS = ("Mass", "Pneumonia", "Pleural Effusion")
# Boxes of these labels are of opacities that a radiologist took for pneumonia or might have.
OPACITIES = ("Pneumonia", "Infiltration", "Consolidation", "Atelectasis")
# What a donor must not have beside its finding, as far as its labels say.
_APART = {
    "Nodule": {"Pleural Effusion", "Pneumonia", "Consolidation"},
    "Pneumonia": {"Nodule", "Mass", "Pleural Effusion"},
    "Pleural Effusion": {"Nodule", "Mass", "Pneumonia", "Consolidation"},
}
# Side of the square around a nodule of at most 3 cm, of 224 px, and how much a nodule is enlarged
# to be a mass: so much wider, it attenuates so much more.
SQUARE, ENLARGED = 32, 2.5
# What is smaller than so many of 224 px differs between the sides of anybody's chest.
BLUR = 2.5
# An effusion is grafted where the lower third of one lung is so much whiter, and the upper is not.
WHITE, LIKE = 0.6, 0.5
# How much of a donor's difference a severity adds.
SHARE = {"mild": 0.8, "moderate": 1.4, "severe": 2.0}
# Display values nearer than this to black or white have lost their logit.
EDGE = 0.02
# A donor whose finding can hardly be seen is none.
FAINTEST = 0.35
# Logits below which nothing is added.
LEAST = 1e-3
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Donor:
    """A finding of a patient.

    Attributes:
        name: of the finding.
        patient: whose it is.
        learned: whether the picture is of the split that judges were trained on.
        side: of the patient.
        change: what it adds in logits, h x w.
        place: top, left, bottom, right of `change`, in heights and widths of the lung's own box.
    """

    name: str
    patient: str
    learned: bool
    side: LungSide
    change: NDArray[np.float16]
    place: tuple[float, float, float, float]

    def added_to(self, anatomy: Anatomy) -> Array:
        """Return what a host of this anatomy is given, in logits, of the host's shape."""
        rows, columns = _bounds(anatomy.lung(self.side))
        height, width = rows[1] - rows[0], columns[1] - columns[0]
        y, x = np.mgrid[: anatomy.shape[0], : anatomy.shape[1]].astype(np.float64)
        top, left, bottom, right = self.place
        y = ((y + 0.5 - rows[0]) / height - top) / (bottom - top) * self.change.shape[0] - 0.5
        x = ((x + 0.5 - columns[0]) / width - left) / (right - left) * self.change.shape[1] - 0.5
        moved = map_coordinates(self.change.astype(np.float64), [y, x], order=1, cval=0.0)
        return np.asarray(moved, np.float32)


def nodule(picture: Array, anatomy: Anatomy, box: Box) -> tuple[LungSide, Array, Array]:
    """Return side, change and its window (h x w of the picture) of a nodule in the box's middle."""
    row, column = (round(v * cohort.SIZE) for v in (box.y + box.h / 2, box.x + box.w / 2))
    half = SQUARE // 2
    place = (
        slice(max(1, row - half), min(cohort.SIZE - 1, row + half)),
        slice(max(1, column - half), min(cohort.SIZE - 1, column + half)),
    )
    value = _logits(picture)
    change = value - filled(value, [place])
    y, x = np.mgrid[: cohort.SIZE, : cohort.SIZE]
    away = np.hypot(y - row, x - column) / half
    window = np.clip(2 - 2 * away, 0, 1).astype(np.float32)
    return _side_of(anatomy, column, row), np.maximum(change, 0) * window, window


def opacity(
    picture: Array, anatomy: Anatomy, boxes: Sequence[Box], side: LungSide
) -> tuple[Array, Array]:
    """Return change and window of what boxes of one side hold more than the other side."""
    inside = np.zeros(picture.shape, np.float32)
    for box in boxes:
        inside[box.place] = 1
    window = gaussian_filter(inside, 3.0) * _field(anatomy, side)
    return np.maximum(_apart(picture, anatomy), 0) * window, window


def effusion(picture: Array, anatomy: Anatomy) -> tuple[LungSide, Array, Array] | None:
    """Return side, change and window of a one-sided effusion; None where neither side has one."""
    apart = _apart(picture, anatomy)
    for side in ("right", "left"):
        other = _mirrored(_lung(anatomy, _across(side)), anatomy)
        (top, bottom), _ = _bounds(other > 0.5)
        height = (np.arange(picture.shape[0]) - top) / (bottom - top)
        own = other > 0.5
        upper, lower = own & (height < 1 / 3)[:, None], own & (height > 2 / 3)[:, None]
        if not upper.any() or not lower.any():
            continue
        if apart[lower].mean() < WHITE or abs(apart[upper].mean()) > LIKE:
            continue
        window = _field(anatomy, side) * np.clip((height - 0.35) / 0.15, 0, 1)[:, None]
        return side, np.maximum(apart, 0) * window, window.astype(np.float32)  # type: ignore[return-value]
    return None


def _across(side: str) -> LungSide:
    return "left" if side == "right" else "right"


def _side_of(anatomy: Anatomy, column: int, row: int) -> LungSide:
    return "right" if column < anatomy.midline[row] else "left"


def _lung(anatomy: Anatomy, side: LungSide) -> Array:
    return anatomy.lung(side).astype(np.float32)


def _mirrored(image: Array, anatomy: Anatomy) -> Array:
    """Return the image turned over at the midline."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float64)
    turned = map_coordinates(image, [y, 2 * anatomy.midline[:, None] - x], order=1, mode="nearest")
    return np.asarray(turned, np.float32)


def _field(anatomy: Anatomy, side: LungSide) -> Array:
    """Return where a side's lung would be if its finding hid nothing of it, softly in [0, 1].

    It is the lung and the mirror image of the other one, less the heart.
    """
    other = _mirrored(_lung(anatomy, _across(side)), anatomy)
    both = np.maximum(_lung(anatomy, side), other) * (1 - anatomy.heart.astype(np.float32))
    return np.asarray(gaussian_filter(both, 2.0), np.float32)


def _apart(picture: Array, anatomy: Anatomy) -> Array:
    """Return how much more each place attenuates than its mirror image, in logits."""
    value = _logits(picture)
    return np.asarray(gaussian_filter(value - _mirrored(value, anatomy), BLUR), np.float32)


def _logits(picture: Array) -> Array:
    return np.asarray(logit(np.clip(picture, EDGE, 1 - EDGE)), np.float32)


def _bounds(mask: NDArray[np.bool_]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return first and last row, and column, that a mask reaches, the last ones excluded."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def _donor(
    name: str, row: dict[str, str], anatomy: Anatomy, side: LungSide, both: tuple[Array, Array]
) -> Donor | None:
    """Return a donor cut out; None where there is nothing to be seen.

    Place and size are those in the lung that the finding does not hide: the other one, mirrored.
    """
    change, window = both
    if not (window > 0.01).any() or np.abs(change).max() < FAINTEST:
        return None
    lung, grown = anatomy.lung(side), ENLARGED if name == "Mass" else 1.0
    if name != "Mass":
        lung = _mirrored(_lung(anatomy, _across(side)), anatomy) > 0.5
    (r0, r1), (c0, c1) = _bounds(lung)
    (top, bottom), (left, right) = _bounds(window > 0.01)
    y, x = (top + bottom) / 2, (left + right) / 2
    high, wide = grown * (bottom - top) / 2, grown * (right - left) / 2
    rows = [(v - r0) / (r1 - r0) for v in (y - high, y + high)]
    columns = [(v - c0) / (c1 - c0) for v in (x - wide, x + wide)]
    place = (rows[0], columns[0], rows[1], columns[1])
    learned = row["split"] == "train" and row["set"] != "jsrt"
    cut = (grown * change[top:bottom, left:right]).astype(np.float16)
    return Donor(name, row["patient_id"], learned, side, cut, place)


def donors(data: Path, more: Path, nih: Path) -> list[Donor]:
    """Return all donors; those whose labels name another one of them are left out.

    Args:
        data: folder of the index.
        more: folder of JSRT and of RSNA's boxes.
        nih: folder of NIH's own tables.
    """
    marked = [m for m in marked_pictures(data, more, nih) if _pure(m.row, m.name)]
    rows = benchmark.rows_of(data)
    wet = [r for r in rows if "Pleural Effusion" in canonical(r) and _pure(r, "Pleural Effusion")]
    pictures = [m.pixels for m in marked]
    pictures += [cohort.unit(cohort.square(data / r["path"])) for r in wet]
    outlines = segmentation.estimate_all(pictures)
    cut = [d for m, a in zip(marked, outlines[: len(marked)], strict=True) for d in _of(m, a)]
    seen: set[tuple[str, str]] = set()
    for row, picture, anatomy in zip(
        wet, pictures[len(marked) :], outlines[len(marked) :], strict=True
    ):
        if anatomy.quality < segmentation.QUALITY_NEEDED:
            continue
        found = effusion(picture, anatomy)
        one = found and _donor("Pleural Effusion", row, anatomy, found[0], found[1:])
        if one:
            cut.append(one)
    # A picture with boxes of two sources is one donor.
    unique = []
    for one in cut:
        key = (one.name, one.patient)
        if key not in seen:
            seen.add(key)
            unique.append(one)
    return unique


def keep(every: Sequence[Donor], path: Path) -> None:
    """Write donors to an .npz file."""
    facts = [[d.name, d.patient, d.learned, d.side, *d.place] for d in every]
    changes: dict[str, Any] = {str(number): d.change for number, d in enumerate(every)}
    with atomic(path) as part:
        np.savez(part, facts=json.dumps(facts), **changes)


def kept(path: Path) -> list[Donor]:
    """Return donors that `keep` wrote."""
    with np.load(path) as stored:
        facts = json.loads(str(stored["facts"]))
        return [
            Donor(name, patient, learned, side, stored[str(number)], tuple(place))
            for number, (name, patient, learned, side, *place) in enumerate(facts)
        ]


def _pure(row: dict[str, str], name: str) -> bool:
    """Tell whether a picture has none of what a donor of `name` must not have."""
    apart = _APART.get("Pneumonia" if name in OPACITIES else name)
    return apart is not None and not apart & set(canonical(row))


def _of(marked: Marked, anatomy: Anatomy) -> Iterator[Donor]:
    """Yield the donor of a picture with boxes, if it is one."""
    if anatomy.quality < segmentation.QUALITY_NEEDED:
        return
    one: Donor | None = None
    if marked.name == "Nodule":
        side, *both = nodule(marked.pixels, anatomy, marked.boxes[0])
        if both[0][both[1] >= 1].mean() < FAINTEST / 2:
            return
        one = _donor("Mass", marked.row, anatomy, side, (both[0], both[1]))
    elif marked.name in OPACITIES and marked.side and marked.apart:
        chosen: LungSide = "right" if marked.side == "right" else "left"
        both_ = opacity(marked.pixels, anatomy, marked.boxes, chosen)
        one = _donor("Pneumonia", marked.row, anatomy, chosen, both_)
    if one:
        yield one


def halves(every: Sequence[Donor]) -> tuple[list[Donor], list[Donor]]:
    """Return donors that may teach classifiers, and donors of other patients for an editor.

    The editor's are not of the split that the judges learned from.
    """
    own = [d for d in every if not d.learned and not (d.name == "Mass" and _even(d.patient))]
    patients = {d.patient for d in own}
    return [d for d in every if d.patient not in patients], own


def _even(patient: str) -> bool:
    return zlib.crc32(patient.encode()) % 2 == 0


def grafted(picture: Array, anatomy: Anatomy, donor: Donor, share: float = 1.0) -> Array:
    """Return a picture (h x w in [0, 1]) with a donor's finding, in the host's lung alone.

    Each place goes a part of the way from what it is to the host's own heart, which is as thick as
    what fills a lung: in logits, all of it only for a finding without bounds, so that ribs and
    grain stay in it. Twice what a donor adds takes its dense half about 0.8 of that way at most.
    Where the finding does not reach the lung, or the lung is as white as the heart, the picture
    stays as it is.

    Args:
        picture: of the host.
        anatomy: the host's, h x w.
        donor: whose finding it gets.
        share: times what the donor's finding attenuates, 0 or more.
    """
    reach = picture.shape[0] / cohort.SIZE
    lung = binary_dilation(anatomy.lung(donor.side), iterations=max(1, round(3 * reach)))
    own = donor.added_to(anatomy) * gaussian_filter(lung.astype(np.float32), 2 * reach)
    value = logit(np.clip(picture, 1e-4, 1 - 1e-4))
    most = np.quantile(value[anatomy.heart], 0.75) if anatomy.heart.any() else value.max()
    room = np.maximum(most - value, 0)
    dense = own > max(LEAST, own.max() / 2)
    usual = np.median(room[dense]) if dense.any() else 0.0
    if not usual > 0:
        return picture
    part = share * own / max(usual, 2 * float(np.median(own[dense])))
    added = room * part / np.cbrt(1 + part**3)
    return np.where(added < LEAST, picture, expit(value + added)).astype(np.float32)


class Grafter:
    """Grafts as a `RadiographEditor`; severity scales what is added, other words are ignored.

    Attributes:
        donors: to draw from.
    """

    name = "grafts"
    exact = False
    findings = FINDINGS

    def __init__(self, donors: Sequence[Donor]) -> None:
        """Keep the donors."""
        self.donors = list(donors)
        self._outlines: dict[str, Anatomy] = {}

    def describe(self) -> dict[str, Any]:
        """Return what results depend on besides baseline and edit."""
        counts = {name: sum(d.name == name for d in self.donors) for name in FINDINGS}
        digest = hashlib.sha256(b"".join(d.change.tobytes() for d in self.donors)).hexdigest()
        return {"name": self.name, "donors": counts, "shares": SHARE, "sha256": digest}

    def edit(
        self,
        radiographs: Sequence[Radiograph],
        edits: Sequence[Edit],
        *,
        masks: Sequence[NDArray[np.bool_] | None] | None = None,
        progress: Progress | None = None,
    ) -> list[Counterfactual]:
        """Return every edit of every radiograph, radiograph by radiograph.

        Raises:
            EditError: another finding, a removal, a region or a mask.
        """
        for edit in edits:
            wrong = set(edit.findings) - {*FINDINGS, NO_FINDING.name}
            if wrong or edit.action == "remove" or edit.region is not None or edit.prompt:
                raise EditError(f"Grafts add {', '.join(FINDINGS)}, no more; got {edit}.")
        return [self._one(radiograph, edit) for radiograph in radiographs for edit in edits]

    def _one(self, radiograph: Radiograph, edit: Edit) -> Counterfactual:
        anatomy = self._outlines.get(radiograph.id)
        if anatomy is None:
            anatomy = segmentation.estimate(radiograph)
            self._outlines = {radiograph.id: anatomy}
        if anatomy.quality < segmentation.QUALITY_NEEDED:
            return Counterfactual(radiograph, edit, "poor_anatomy")
        pixels = radiograph.pixels
        if edit.arm == "counterfactual":
            for name in edit.findings:
                donor = self.drawn(name, f"{radiograph.id}/{edit.seed}", edit.side)
                pixels = grafted(pixels, anatomy, donor, SHARE[edit.severity or "moderate"])
        image = radiograph.with_pixels(pixels)
        difference = image.pixels - radiograph.pixels
        facts = {"editor": self.name}
        return Counterfactual(
            radiograph, edit, "ok", image, radiograph, difference, difference != 0, facts
        )

    def drawn(self, name: str, key: str, side: Literal["left", "right", "both"] | None) -> Donor:
        """Return the donor that a key draws."""
        fit = [d for d in self.donors if d.name == name and side in (None, "both", d.side)]
        if not fit:
            raise EditError(f"Grafts need donors of {name}; got none of side {side}.")
        return fit[zlib.crc32(f"{name}/{key}".encode()) % len(fit)]


def graft_all(
    every: Sequence[Donor], findings: Sequence[str], picture: Array, anatomy: Anatomy, key: int
) -> NDArray[np.uint8]:
    """Return one host with each finding grafted, k x h x h, as `training.confounded.paint_all`."""
    editor, rng = Grafter(every), np.random.default_rng([10, key])
    made = []
    for name in findings:
        donor = editor.drawn(name, str(key), None)
        made.append(grafted(picture, anatomy, donor, float(rng.uniform(0.8, 2.0))))
    return np.rint(255 * np.clip(np.stack(made), 0, 1)).astype(np.uint8)
