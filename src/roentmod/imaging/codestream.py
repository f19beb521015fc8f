"""Size of a compressed picture as its own stream states it, read without decoding it.

A header may be honest while the stream inside it states 65,535 x 65,535: decoders allocate for the
stream. Markers are those of ITU-T T.81 (JPEG), T.87 (JPEG-LS) and T.800 (JPEG 2000).
"""

from __future__ import annotations

__all__ = ["stream_size"]

_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
# Start of frame: baseline to differential arithmetic, less tables; and that of JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}
# Boxes of JP2 come before the stream.
_HEAD = 4096


def stream_size(data: bytes) -> tuple[int, int] | None:
    """Return height and width that a JPEG, JPEG-LS or JPEG 2000 stream states; None for others."""
    if data.startswith(_JPEG):
        return _jpeg(data)
    at = data.find(_JPEG_2000, 0, _HEAD)
    if at < 0 or len(data) < at + 24:
        return None
    right, lower, left, upper = (
        int.from_bytes(data[at + start : at + start + 4], "big") for start in (8, 12, 16, 20)
    )
    return lower - upper, right - left


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = data[at + 5 : at + 7], data[at + 7 : at + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
        # Fill bytes, and markers without a length.
        at += 1 if marker == 0xFF else 2
        if marker != 0xFF and marker not in _ALONE:
            at += int.from_bytes(data[at : at + 2], "big")
    return None
