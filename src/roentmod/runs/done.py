"""All parts of a run together, in the order of its plan, for the end of the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from roentmod.runs.journal import Journal
from roentmod.runs.parts import Made, Part, Row, Stage
from roentmod.store import atomic

__all__ = ["Done"]

# Rows of a table held in memory while it is written.
_ROWS = 50_000


class Done:
    """What a finished run's parts left, whoever made them.

    Attributes:
        folder: the run's folder.
        record: what its record says.
        seconds: the sum over all parts.
    """

    def __init__(
        self, folder: Path, record: dict[str, Any], stages: Sequence[Stage], journal: Journal
    ) -> None:
        """Keep stages and journal; nothing is read yet."""
        self.folder, self.record = folder, record
        self._stages, self._journal = stages, journal

    def parts(self, stage: str | None = None) -> Iterator[tuple[Part, Made]]:
        """Yield each part and what was made of it, in order, of one stage or of all."""
        for one in self._stages:
            if stage is None or one.title == stage:
                for part in one.parts():
                    yield part, self._journal.get(part.key)

    def get(self, part: Part) -> Made | None:
        """Return what was made of a part; None where nothing was."""
        return self._journal.get(part.key) if part.key in self._journal else None

    @property
    def seconds(self) -> float:
        """How long all parts took, one after the other."""
        return sum(made.seconds for _, made in self.parts())

    def rows(self, table: str) -> Iterator[Row]:
        """Yield the rows of a table, part by part."""
        for _, made in self.parts():
            yield from made.rows.get(table, ())

    def table(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return a table whole; with `columns`, these, also where it has no row."""
        rows = list(self.rows(name))
        return pd.DataFrame(rows, columns=None if columns is None else list(columns))

    def items(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return what has no result, one row per item."""
        rows = [item for _, made in self.parts() for item in made.items]
        return pd.DataFrame(rows, columns=list(columns))

    def write_table(
        self, name: str, columns: Mapping[str, str], rows: Iterable[Row] | None = None
    ) -> Path:
        """Write a table as NAME.parquet, a piece at a time, and return its path.

        Args:
            name: the table.
            columns: its columns and their types: "string", "float64", "int64" or "bool".
            rows: its rows, where they are not kept as such; None takes those of the parts.

        Raises:
            OSError: the folder cannot be written.
        """
        schema = pa.schema([(column, pa.type_for_alias(kind)) for column, kind in columns.items()])
        path = self.folder / f"{name}.parquet"
        with atomic(path) as part, pq.ParquetWriter(part, schema) as writer:
            source = iter(self.rows(name) if rows is None else rows)
            while True:
                # Columns, as so many rows by themselves are ten times as large.
                piece: dict[str, list[Any]] = {column: [] for column in columns}
                for row in islice(source, _ROWS):
                    for column, values in piece.items():
                        values.append(row.get(column))
                writer.write_table(pa.Table.from_pydict(piece, schema))
                if len(piece[next(iter(columns))]) < _ROWS:
                    break
        return path

    def files(self, part: Part) -> list[str]:
        """Return the paths of a part's files."""
        return self._journal.files(part.key)

    def content(self, part: Part, path: str) -> bytes:
        """Return the bytes of a part's file.

        Raises:
            KeyError: the part has no such file.
        """
        return self._journal.content(part.key, path)
