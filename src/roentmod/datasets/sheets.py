"""Tables as people have them: CSV of any delimiter and encoding, compressed or not, and workbooks.

What spreadsheets leave is read: a mark before the first column's name, UTF-16, Windows' code page,
semicolons, tabs, a first line ``sep=;``, empty rows and columns at the end. All cells are texts.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import pandas as pd

from roentmod._optional import require
from roentmod.errors import DatasetError, MissingDependencyError
from roentmod.store import open_bytes

__all__ = ["Reading", "header", "read_table"]

_HEAD = 2**16
_DELIMITERS = ",;\t|"
_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_PACKED: dict[bytes, Callable[[BinaryIO], io.BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
# Tables unpack to some twenty times their size; what is far above that is an attack on memory.
_SMALL, _MOST, _SHARE = 2**26, 2**30, 100
_ZIP, _OLD = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_BROKEN = (
    OSError, ValueError, EOFError, csv.Error, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
_READING = "reading"


@dataclass(frozen=True)
class Reading:
    """What a table was understood as.

    Attributes:
        file: its name.
        encoding: of its texts; "workbook" for one of Excel's.
        delimiter: between its cells; "" in a workbook.
        rows: how many, without the header.
        columns: fact or finding to the column that holds it.
    """

    file: str
    encoding: str
    delimiter: str
    rows: int
    columns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: pd.DataFrame, table: Path, columns: Mapping[str, str]) -> Reading:
        """Return what a frame of `read_table` was understood as."""
        encoding, delimiter = frame.attrs.get(_READING, ("", ""))
        there = {fact: name for fact, name in columns.items() if name in frame.columns}
        return cls(table.name, encoding, delimiter, len(frame), there)


def header(path: Path) -> list[str]:
    """Return the names of a table's columns; none where it cannot be read."""
    try:
        if _is_workbook(path):
            return [str(name).strip() for name in _workbook(path).columns]
        text, _ = _decoded(_unpacked(path, _HEAD), "ignore")
        return _Layout.of(text).names
    except (*_BROKEN, MissingDependencyError):
        return []


def read_table(path: Path, needed: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table as texts; an empty cell is "". The index counts the file's rows from 0.

    Raises:
        DatasetError: it cannot be read, is empty, has a row of more cells than columns that are
            not empty, two columns of one name, or lacks a column of `needed`.
        MissingDependencyError: it is a workbook, and the library for those is not installed.
    """
    try:
        frame = _workbook(path) if _is_workbook(path) else _csv(path)
    except _BROKEN as error:
        raise DatasetError(
            f"A data set's table is a CSV; reading {path.name} gave "
            f"'{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}'. Save it as "
            "CSV in UTF-8, or download it again."
        ) from error
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise DatasetError(
            f"{path.name} must have the columns {', '.join(needed)}; it lacks "
            f"{', '.join(missing)}. Take the file as published, or use a plain folder's index.csv."
        )
    blank = np.asarray(frame == "", dtype=np.bool_)
    if blank.all():
        raise DatasetError(f"{path.name} has no rows. Download it again.")
    nameless = np.array([name.startswith("Unnamed:") for name in frame.columns], dtype=np.bool_)
    kept = frame.iloc[np.flatnonzero(~blank.all(axis=1))]
    kept = kept.iloc[:, np.flatnonzero(~(blank.all(axis=0) & nameless))]
    kept.attrs = frame.attrs
    return kept


@dataclass(frozen=True)
class _Layout:
    """Where a text's header is, and what parts its cells."""

    before: int
    delimiter: str
    names: list[str]

    @classmethod
    def of(cls, text: str) -> _Layout:
        """Find the first line with a name; the delimiter is the one most frequent there."""
        said = ""
        for number, line in enumerate(io.StringIO(text, newline=None)):
            bare = line.strip().strip('"')
            if bare.lower().startswith("sep=") and len(bare) == 5:
                said = bare[4]
            elif bare.strip(_DELIMITERS):
                outside = "".join(line.split('"')[::2])
                most = said or max(_DELIMITERS, key=outside.count)
                (names,) = csv.reader([line.rstrip("\r\n")], delimiter=most)
                return cls(number, most, [name.strip() for name in names])
        raise ValueError("it is empty")


def _csv(path: Path) -> pd.DataFrame:
    text, encoding = _decoded(_unpacked(path), "strict")
    if "\0" in text:
        raise ValueError("it is no text")
    layout = _Layout.of(text)
    double = [name for name in layout.names if name and layout.names.count(name) > 1]
    if double:
        raise DatasetError(
            f"Columns have different names; {path.name} has '{double[0]}' "
            f"{layout.names.count(double[0])} times. Rename or remove one."
        )
    try:
        frame = _parsed(text, layout.delimiter, layout.before)
    except (pd.errors.ParserError, pd.errors.ParserWarning):
        frame = _parsed(_evened(path, text, layout), layout.delimiter)
    frame.index += layout.before
    frame.attrs = {_READING: (encoding, layout.delimiter)}
    return frame


def _parsed(text: str, delimiter: str, before: int = 0) -> pd.DataFrame:
    """Read a text whose header comes `before` lines down, and whose rows are no longer than it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            io.StringIO(text, newline=None),
            sep=delimiter,
            dtype=str,
            keep_default_na=False,
            index_col=False,
            skiprows=before,
            skipinitialspace=delimiter != "\t",
            skip_blank_lines=False,
        ).fillna("")


def _evened(path: Path, text: str, layout: _Layout) -> str:
    """Return a text from its header on, without the empty cells by which rows are longer than it.

    Raises:
        DatasetError: such a cell is not empty, or where cells end is not clear.
    """
    width, last = len(layout.names), layout.before
    evened = io.StringIO()
    written = csv.writer(
        evened, delimiter=layout.delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n"
    )
    try:
        for row, cells in enumerate(_rows(text, layout), last + 1):
            if any(map(str.strip, cells[width:])):
                raise DatasetError(
                    f"A row has one cell per column; {path.name} row {row} has {len(cells)}, and "
                    f"there are {width} columns. Put a cell that holds '{layout.delimiter}' in "
                    "double quotes."
                )
            written.writerow(cells[:width])
            last = row
    except csv.Error as error:
        raise DatasetError(
            f"A row has one cell per column; {path.name} row {last + 1} cannot be split into cells "
            f"('{error}'). Close its quotes, or remove what rows have after the last column."
        ) from error
    return evened.getvalue()


def _rows(text: str, layout: _Layout) -> Iterator[list[str]]:
    """Yield the cells of rows from the header on; a quote that is not closed is an error."""
    lines = io.StringIO(text, newline=None)
    spaced = layout.delimiter != "\t"
    rows = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=spaced, strict=True)
    return islice(rows, layout.before, None)


def _decoded(content: bytes, errors: str) -> tuple[str, str]:
    """Return a text and its encoding: its mark's, UTF-8, or Windows' code page for Europe."""
    start = content[:200]
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    if marked is None and start.count(0) * 3 > len(start):
        marked = "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
    if marked:
        return content.decode(marked, errors), marked.removesuffix("-sig")
    try:
        return content.decode("utf-8", errors), "utf-8"
    except UnicodeDecodeError:
        return content.decode("cp1252", errors), "cp1252"


def _unpacked(path: Path, most: int = -1) -> bytes:
    """Return a file's content, decompressed; of a large one the first bytes are enough.

    Raises:
        ValueError: it would unpack to far more than it weighs.
    """
    with open_bytes(path) as file:
        if most < 0:
            _check_size(path.stat().st_size, _MOST)
        content = file.read(most)
        if content.startswith(b"\x1f\x8b") and most > 0:
            return zlib.decompressobj(31).decompress(content, most)
        packed = next((name for name in _PACKED if content.startswith(name)), None)
        if packed is None and not content.startswith(_ZIP):
            return content
        content += file.read()
    if packed:
        with _PACKED[packed](io.BytesIO(content)) as inner:
            return _limited(inner, len(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = archive.namelist()
        with archive.open(name) as inner:
            return _limited(inner, len(content))


def _limited(file: io.BufferedIOBase | IO[bytes], packed: int) -> bytes:
    most = _most(packed)
    content = file.read(most + 1)
    _check_size(len(content), most)
    return content


def _most(packed: int) -> int:
    return min(max(_SMALL, _SHARE * packed), _MOST)


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"it has, or unpacks to, more than {most:,} bytes")


def _is_workbook(path: Path) -> bool:
    with open_bytes(path) as file:
        start = file.read(4)
    if start == _OLD or path.suffix.lower() in (".xls", ".ods", ".numbers"):
        raise ValueError("it is a spreadsheet in a form that is not read")
    return start == _ZIP and "xl/workbook.xml" in zipfile.ZipFile(path).namelist()


def _workbook(path: Path) -> pd.DataFrame:
    try:
        require("openpyxl")
    except MissingDependencyError as error:
        raise MissingDependencyError(
            f"{path.name} is an Excel workbook. Save it as 'CSV UTF-8', or run: pip install "
            "'openpyxl'"
        ) from error
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    _check_size(size, _most(path.stat().st_size))
    frame = pd.read_excel(path, dtype=str, keep_default_na=False, na_filter=False)
    frame.attrs = {_READING: ("workbook", "")}
    return frame
