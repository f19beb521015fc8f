"""DICOM headers of strangers: read within limits of size and number."""

from __future__ import annotations

import io
import zlib
from typing import Any, BinaryIO

import pydicom
from pydicom.dataset import FileDataset
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from roentmod.errors import UnreadableError
from roentmod.imaging.checks import check_expansion

__all__ = ["read_header"]

# Bytes before the file meta information, and of a piece of inflated data.
_PREAMBLE, _PIECE = 132, 2**24
# An element is read in one to three pieces, a compressed picture in 8 kB; real headers have some
# hundred elements, and 20 MB of zeros would be millions.
_MOST_PIECES = 100_000
_DEFLATED = DeflatedExplicitVRLittleEndian.encode()


def read_header(stream: BinaryIO, **options: Any) -> FileDataset:
    """Return what `pydicom.dcmread` reads of a file, with its options.

    A deflated file comes back as one that is not.

    Raises:
        UnreadableError: more elements than any honest file has.
        UnsuitableError: a deflated file that holds far more than it weighs.
        Exception: what pydicom raises.
    """
    file: FileDataset = pydicom.dcmread(_Counted(_inflated(stream)), **options)
    return file


class _Counted:
    """A stream that is read in a limited number of pieces."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._left = stream, _MOST_PIECES
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise UnreadableError(
                f"A DICOM header is read in at most {_MOST_PIECES:,} pieces; got one with more "
                "elements. Export it again."
            )
        return self._stream.read(size)


def _inflated(stream: BinaryIO) -> BinaryIO:
    """Return a stream with its data inflated, where it says that they are deflated."""
    stream.seek(_PREAMBLE)
    meta = read_dataset(_Counted(stream), False, True, stop_when=lambda tag, *_: tag.group != 2)
    end = stream.tell()
    stream.seek(0)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return stream
    plain = ExplicitVRLittleEndian.encode().ljust(len(_DEFLATED), b"\0")
    parts, size = [stream.read(end).replace(_DEFLATED, plain)], 0
    inflater, packed = zlib.decompressobj(-zlib.MAX_WBITS), stream.read()
    while packed:
        parts.append(inflater.decompress(packed, _PIECE))
        packed, size = inflater.unconsumed_tail, size + len(parts[-1])
        check_expansion(size, stream.tell())
    return io.BytesIO(b"".join([*parts, inflater.flush()]))
