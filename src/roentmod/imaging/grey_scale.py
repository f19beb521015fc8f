"""DICOM's grey-scale tags as one table: stored level -> display value in [0, 1].

The chain is the standard's (PS3.3 C.11.1 modality, C.11.2 VOI, then polarity):

* Modality LUT, or rescale slope and intercept.
* VOI LUT, else the window, the first of several. A window's output is 0 to 1, and so is 0 to
  2^n - 1 of a LUT whose descriptor says n bits (C.11.2.1.1); n is what the entries need where that
  is more, or at most 14 where the descriptor says 16, as many do that mean 12. A window that cannot
  be (no width) counts as none, with a warning.
* Without either, the lowest and highest levels that occur, padding apart (C.7.5.1.1.2), become 0
  and 1. That window is then written into the data set, so that an edit cannot move it.
* Presentation LUT Shape INVERSE, or MONOCHROME1 unless that shape is IDENTITY, turns the scale
  over: once, as digital X-ray files state both for the same thing.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat, format_number_as_ds

from roentmod.errors import UnreadableError, UnsuitableError
from roentmod.radiograph import GreyScale

__all__ = ["check_shown", "grey_scale", "set_window"]

log = logging.getLogger(__name__)
Values = NDArray[np.float64]
_MODALITY_TYPES = ("OD", "HU", "US")
# Difference of display values that a file of 16 bits can hold.
_LEAST = 2**-16


def grey_scale(data: Dataset, stored: NDArray[np.integer], *, little: bool = True) -> GreyScale:
    """Return the grey scale of a data set, and leave in `data` the tags that reproduce it.

    Args:
        data: the data set; its LUTs become little-endian and anonymous, its window complete.
        stored: the levels of the picture, h x w.
        little: whether the file was little-endian.

    Raises:
        UnreadableError: a LUT shorter than it says.
        UnsuitableError: a scale that is flat, or rises and falls.
    """
    bits = int(data.BitsStored)
    lowest = -(1 << (bits - 1)) if data.PixelRepresentation else 0
    levels = np.arange(lowest, lowest + (1 << bits), dtype=np.int64)
    values = _modality(data, levels, little)
    shown = _voi(data, values, _occurring(data, stored, lowest, levels.size), little)
    if _inverse(data):
        shown = 1 - shown
    table = shown.astype(np.float32)
    steps = np.diff(table)
    if not ((steps >= 0).all() or (steps <= 0).all()):
        raise UnsuitableError(
            "A grey scale must rise or fall throughout; got a look-up table that does both. "
            "Export the picture without it."
        )
    return GreyScale(lowest, table)


def check_shown(data: Dataset, stored: NDArray[np.integer], grey: GreyScale) -> None:
    """Refuse a grey scale on which different levels of a picture look the same.

    Args:
        data: the data set, as `grey_scale` left it.
        stored: the levels of the picture, h x w.
        grey: its scale.

    Raises:
        UnsuitableError: the lowest and the highest level differ by less than 16 bits can hold.
    """
    ends = np.array([stored.min(), stored.max()])
    shown = grey.display(ends)
    if ends[0] == ends[1] or abs(shown[1] - shown[0]) >= _LEAST:
        return
    window = None if data.get("VOILUTSequence") else _window(data)
    scale = "VOI LUT" if window is None else f"window of centre {window[0]:g}, width {window[1]:g}"
    raise UnsuitableError(
        f"A radiograph must show something; by its {scale}, levels of {ends[0]} to {ends[1]} all "
        f"are {shown[0]:g}. Correct the header, or give another picture."
    )


def _inverse(data: Dataset) -> bool:
    inverse = data.PhotometricInterpretation == "MONOCHROME1"
    shape = str(data.get("PresentationLUTShape") or "").upper()
    if inverse and shape == "IDENTITY":
        log.warning("MONOCHROME1 and Presentation LUT Shape IDENTITY contradict: not turned over")
    return shape == "INVERSE" or (inverse and shape != "IDENTITY")


def set_window(data: Dataset, low: float, high: float) -> tuple[float, float]:
    """Make the window that shows `low` as 0 and `high` as 1 the data set's own; return it.

    Returns:
        Centre and width as the file will hold them (16 characters each).
    """
    # C.11.2.1.2.1: the ramp runs from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2.
    pair = [float(format_number_as_ds(float(v))) for v in ((low + high) / 2 + 0.5, high - low + 1)]
    for name in ("VOILUTSequence", "VOILUTFunction", "WindowCenterWidthExplanation"):
        if name in data:
            del data[name]
    data.WindowCenter = DSfloat(pair[0], auto_format=True)
    data.WindowWidth = DSfloat(pair[1], auto_format=True)
    return pair[0], pair[1]


def _modality(data: Dataset, levels: NDArray[np.int64], little: bool) -> Values:
    if data.get("ModalityLUTSequence"):
        item = data.ModalityLUTSequence[0]
        first, entries = _lut(item, little, signed=bool(data.PixelRepresentation))
        kind = item.get("ModalityLUTType")
        clean = _clean_lut(first, entries, 8 if entries.max() < 256 else 16)
        clean.ModalityLUTType = kind if kind in _MODALITY_TYPES else "US"
        data.ModalityLUTSequence = [clean]
        return _look_up(levels, first, entries)
    slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
    slope = 1.0 if slope is None else float(slope)
    intercept = 0.0 if intercept is None else float(intercept)
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        raise UnsuitableError(
            f"Rescale slope and intercept must be finite, the slope not 0; got {slope:g} and "
            f"{intercept:g}. Correct the header."
        )
    values: Values = levels.astype(np.float64) * slope + intercept
    return values


def _voi(data: Dataset, values: Values, occurs: NDArray[np.bool_], little: bool) -> Values:
    if data.get("VOILUTSequence"):
        item = data.VOILUTSequence[0]
        first, entries = _lut(item, little, signed=bool(values.min() < 0))
        if entries.min() == entries.max():
            raise UnsuitableError("A VOI LUT must show a difference; got one value throughout.")
        bits = _depth(int(item.LUTDescriptor[2]), int(entries.max()))
        # Images may say 8 or 16 bits only; what is shown is what the output file will say.
        depth = 8 if bits <= 8 else 16
        scaled = np.rint(entries * (((1 << depth) - 1) / ((1 << bits) - 1))).astype(np.uint16)
        if _depth(depth, int(scaled.max())) != depth:
            depth, scaled = bits, entries
        top = (1 << depth) - 1
        data.VOILUTSequence = [_clean_lut(first, scaled, depth)]
        return _look_up(np.rint(values).astype(np.int64), first, scaled) / top
    window = _window(data)
    if window is None:
        used = values[occurs]
        return _linear(values, *set_window(data, float(used.min()), float(used.max())))
    centre, width, function = window
    if function == "SIGMOID":
        curve: Values = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
        return curve
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    return _linear(values, centre, width)


def _depth(stated: int, highest: int) -> int:
    """Return the bits of a LUT's output range: as stated, unless its entries contradict."""
    needed = max(highest.bit_length(), 8)
    contradicts = not needed <= stated <= 16 or (stated == 16 and needed <= 14)
    return needed if contradicts else stated


def _linear(values: Values, centre: float, width: float) -> Values:
    """PS3.3 C.11.2.1.2.1, with an output range of 0 to 1."""
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    shown: Values = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    return shown


def _window(data: Dataset) -> tuple[float, float, str] | None:
    centre, width = (_first(data.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return None
    function = str(data.get("VOILUTFunction") or "LINEAR").upper()
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise UnsuitableError(
            f"A VOI LUT function is LINEAR, LINEAR_EXACT or SIGMOID; got '{function}'. "
            "Correct the header."
        )
    if not np.isfinite([centre, width]).all() or width < (1 if function == "LINEAR" else 1e-9):
        log.warning("window of centre %g and width %g is impossible; left out", centre, width)
        return None
    return centre, width, function


def _first(value: Any) -> float | None:
    if value is None or isinstance(value, (str, int, float)):
        return None if value in (None, "") else float(value)
    return float(value[0]) if len(value) else None


def _occurring(
    data: Dataset, stored: NDArray[np.integer], lowest: int, count: int
) -> NDArray[np.bool_]:
    occurs = np.zeros(count, dtype=bool)
    occurs[stored.astype(np.int64).ravel() - lowest] = True
    ends = [_level(data, n) for n in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is not None:
        known = [end for end in ends if end is not None]
        rest = occurs.copy()
        rest[max(min(known) - lowest, 0) : max(max(known) - lowest + 1, 0)] = False
        # A picture of one level and padding has no other range.
        occurs = rest if rest.sum() > 1 else occurs
    return occurs


def _level(data: Dataset, keyword: str) -> int | None:
    """Return a level that a file states, in whatever value representation, as pixels hold it."""
    value = data.get(keyword)
    if isinstance(value, bytes):  # of unknown representation
        value = int.from_bytes(value, "little") if value else None
    elif isinstance(value, (MultiValue, list)):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    bits = int(data.BitsStored)
    level = int(value) & ((1 << bits) - 1)
    return level - (1 << bits) if data.PixelRepresentation and level >> (bits - 1) else level


def _lut(item: Dataset, little: bool, *, signed: bool) -> tuple[int, NDArray[np.uint16]]:
    """Return the level of a LUT's first entry and its entries (PS3.3 C.11.1.1.1, C.11.2.1.1)."""
    count, first = int(item.LUTDescriptor[0]) & 0xFFFF or 1 << 16, int(item.LUTDescriptor[1])
    if signed and first > 32767:
        first -= 1 << 16
    raw = item.LUTData
    if isinstance(raw, bytes):
        words = np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<u2" if little else ">u2")
        # 8-bit entries may be packed two per word; the length tells.
        packed = len(raw) <= count + 1
        entries = words.astype("<u2").view("u1") if packed else words
    else:
        entries = np.atleast_1d(np.asarray(raw, dtype=np.int64))
    if entries.size < count:
        raise UnreadableError(
            f"A look-up table must be complete; got {entries.size} of {count} entries. "
            "Copy the file again."
        )
    return first, entries[:count].astype(np.uint16)


def _look_up(levels: NDArray[np.int64], first: int, entries: NDArray[np.uint16]) -> Values:
    return entries[np.clip(levels - first, 0, entries.size - 1)].astype(np.float64)


def _clean_lut(first: int, entries: NDArray[np.uint16], depth: int) -> Dataset:
    """Return a LUT item without its explanation, which is free text."""
    item = Dataset()
    count = entries.size & 0xFFFF
    if first < 0 and count > 32767:
        count -= 1 << 16
    kind = "SS" if first < 0 else "US"
    item.add(DataElement("LUTDescriptor", kind, [count, first, depth]))
    raw = entries.astype("u1" if depth == 8 else "<u2").tobytes()
    item.add(DataElement("LUTData", "OW", raw + b"\0" * (len(raw) % 2)))
    return item
