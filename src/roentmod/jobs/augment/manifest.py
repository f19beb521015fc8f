"""The manifest of a counterfactual training set: its tables and checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from roentmod.domain import NO_FINDING, finding
from roentmod.errors import DatasetError, UnknownFindingError
from roentmod.store import atomic, file_sha256, file_size, inside, is_name

__all__ = [
    "COLUMNS",
    "MANIFEST",
    "NUMBERS",
    "Row",
    "check",
    "check_table",
    "labelled",
    "labels_of",
    "plain",
    "tabled",
    "written",
]

Row = dict[str, Any]
MANIFEST = "manifest.parquet"
COLUMNS = (
    "image_id",
    "path",
    "sha256",
    "baseline_id",
    "patient_id",
    "split",
    "site",
    "view",
    "sex",
    "age",
    "arm",
    "synthetic",
    "edited_finding",
    "severity",
    "edit_id",
    "edit",
    "status",
    "message",
    "net_logit",
    "burned_in",
    "marks",
    "host_labels",
)
_NEEDED = ("image_id", "path", "patient_id", "split", "arm", "edited_finding", "status")
NUMBERS = ("age", "net_logit")
# Rows held in memory while tables are written.
_ROWS = 4_000
Mask = NDArray[np.bool_]
Fault = tuple[Mask, Callable[[Any], str], str]


def labelled(row: Row, targets: Mapping[str, Mapping[str, float]]) -> Row:
    """Return a manifest's row with its labels, NaN where it has no picture.

    Args:
        row: with `COLUMNS`.
        targets: added finding to head to label; baselines and shams get 0. What is known of a host
            with findings is its label, whatever the policy, but for masked ones; what is not known
            of it is not taken as absent.
    """
    heads = next(iter(targets.values()), {})
    added = row["edited_finding"]
    known = targets.get(added, dict.fromkeys(heads, 0.0))
    if row["host_labels"]:
        host = json.loads(row["host_labels"])
        known = dict(known) | {
            head: host.get(head, label if 0 < label < 1 else np.nan)
            for head, label in known.items()
            if head != added and not np.isnan(label)
        }
    return {**row, **(known if row["status"] == "ok" else dict.fromkeys(heads, np.nan))}


def tabled(rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows with their labels as a manifest: `COLUMNS`, then one column per head.

    None is NaN in a column of numbers.
    """
    table = pd.DataFrame(list(rows))
    heads = [name for name in table.columns if name not in COLUMNS]
    kinds: dict[str, Any] = dict.fromkeys(COLUMNS, str) | dict.fromkeys(NUMBERS, "float64")
    return table[[*COLUMNS, *heads]].astype(kinds | dict.fromkeys(heads, "float64"))


@contextmanager
def written(folder: Path) -> Iterator[Callable[[Row], None]]:
    """Give what takes the rows of a manifest, with labels, in order, and writes them piecewise.

    ``manifest.csv`` and ``manifest.parquet`` are whole, or as they were; the latter comes last.

    Raises:
        OSError: the folder cannot be written.
    """
    piece: list[Row] = []
    writer: Any = None
    with (
        atomic(folder / MANIFEST) as part,
        atomic(folder / "manifest.csv") as listing,
        listing.open("w", encoding="utf-8", newline="") as text,
        ExitStack() as stack,
    ):

        def flush() -> None:
            nonlocal writer
            table = tabled(piece)
            plain(table).to_csv(text, header=writer is None, index=False, lineterminator="\n")
            rows = pa.Table.from_pandas(table, preserve_index=False)
            writer = writer or stack.enter_context(pq.ParquetWriter(part, rows.schema))
            writer.write_table(rows)
            piece.clear()

        def add(row: Row) -> None:
            piece.append(row)
            if len(piece) == _ROWS:
                flush()

        yield add
        if piece:
            flush()


def labels_of(table: pd.DataFrame) -> list[str]:
    """Return the columns of a manifest that are labels."""
    return [str(name) for name in table.columns if name not in COLUMNS]


def check(manifest: Path, *, hashes: bool = False) -> pd.DataFrame:
    """Return a manifest's table, n rows, if a training may trust it.

    Args:
        manifest: the Parquet file, or its folder; paths in it start there.
        hashes: also read every picture, and compare its SHA-256.

    Raises:
        DatasetError: with the first row at fault, counted from 1: a missing or changed picture, an
            unknown finding, a patient in two splits, a label outside [0, 1], an image_id given
            twice; or no such table.
    """
    file = manifest / MANIFEST if manifest.is_dir() else manifest
    try:
        table = pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"A manifest is a Parquet file; reading {file.name} gave '{type(error).__name__}'. "
            "Finish roentmod augment, or check the path."
        ) from error
    check_table(table, file.parent, hashes=hashes)
    return table


def check_table(table: pd.DataFrame, folder: Path, *, hashes: bool = False) -> None:
    """Refuse a manifest's table as `check` does; its paths start at `folder`."""
    lacking = [name for name in _NEEDED if name not in table.columns]
    if lacking or not labels_of(table):
        raise DatasetError(
            f"A manifest has {', '.join(_NEEDED)} and one column a label; it lacks "
            f"{', '.join(lacking) or 'labels'}. Make it with roentmod augment."
        )
    for bad, fault, remedy in _faults(table, folder, hashes):
        if bad.any():
            at = int(np.argmax(bad))
            row = table.iloc[at]
            raise DatasetError(
                f"Manifest row {at + 1} ({row['image_id']}) {fault(row)}; {int(bad.sum())} in all. "
                f"{remedy}."
            )


def _faults(table: pd.DataFrame, folder: Path, hashes: bool) -> Iterator[Fault]:
    """Yield what may be wrong with rows: which are (n), what is, and what to do."""
    there = (table["status"] == "ok").to_numpy()
    strange = ~table["image_id"].map(lambda name: is_name(str(name))).to_numpy(dtype=bool)
    yield strange, lambda _: "has an image_id that names no file", "Use A-Z, a-z, 0-9, _, -"
    away = [
        ok and not inside(folder, str(path)) for ok, path in zip(there, table["path"], strict=True)
    ]
    yield np.array(away, dtype=bool), lambda _: "has a path out of its folder", "Correct it"
    twice = table["image_id"].duplicated().to_numpy()
    yield twice, lambda _: "is in the manifest before", "Remove one"
    remedy = "Use the canonical names of roentmod.domain"
    known = {name: all(map(_known, name.split(" + "))) for name in set(table["edited_finding"])}
    bad = ~table["edited_finding"].map(known | {"": True}).to_numpy(dtype=bool)
    yield bad, lambda row: f"adds an unknown finding '{row['edited_finding']}'", remedy
    for name in labels_of(table):
        if not _known(name):
            labelled = table[name].notna().to_numpy()
            # A column without any label is as wrong as one with.
            bad = labelled if labelled.any() else np.ones(len(table), dtype=bool)
            yield bad, partial(_label_of_unknown, name), remedy
    yield _other_split(table, there)
    for name in labels_of(table):
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
        unread = table[name].notna().to_numpy() & np.isnan(values)
        with np.errstate(invalid="ignore"):
            bad = there & (unread | (values < 0) | (values > 1))
        yield bad, partial(_label_beyond, name), "Correct it"
    files = [folder / str(path) for path in table["path"]]
    gone = [ok and not _is_there(file) for ok, file in zip(there, files, strict=True)]
    remedy = "Run roentmod augment again: it makes what is missing"
    yield np.array(gone, dtype=bool), lambda row: f"has no picture at '{row['path']}'", remedy
    if hashes:
        rows = zip(there, files, table["sha256"].astype(str), strict=True)
        changed = [ok and file_sha256(file) != was for ok, file, was in rows]
        message = "has a picture with other bytes than when it was made"
        yield (
            np.array(changed, dtype=bool),
            lambda _: message,
            "Delete it, and run roentmod augment again",
        )


def _label_of_unknown(name: str, _: Any) -> str:
    return f"has a label of an unknown finding '{name}'"


def _label_beyond(name: str, row: Any) -> str:
    return f"has {row[name]!r} for {name}: labels are in [0, 1], or missing"


def _other_split(table: pd.DataFrame, there: Mask) -> Fault:
    own = table["split"].astype(str)
    first = own[there].groupby(table["patient_id"][there]).first()
    usual = table["patient_id"].map(first)
    bad = there & usual.notna().to_numpy() & (own != usual).to_numpy()
    return (
        bad,
        lambda row: (
            f"puts patient {row['patient_id']} into split '{row['split']}', and an earlier row "
            f"into '{first[row['patient_id']]}'"
        ),
        "A patient belongs to one split: correct the data set",
    )


def _known(name: str) -> bool:
    try:
        return finding(name).name == name
    except UnknownFindingError:
        return False


def _is_there(file: Path) -> bool:
    try:
        return file_size(file) >= 0
    except OSError:
        return False


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Return the pictures of a manifest in the plain form that `roentmod.datasets` loads.

    A label of 1 or 0 is that, a rate between them -1 (uncertain), NaN empty (unmentioned). The tier
    "synthetic" keeps counterfactuals and shams from being chosen as real pictures.
    """
    made = table[table["status"] == "ok"]
    baseline = made["arm"] == "baseline"
    columns = {name: made[name] for name in ("path", "image_id", "patient_id")}
    columns |= {
        # The table of baselines says "" where PA and AP are not told apart.
        "view": made["view"].replace("", "frontal"),
        "age": made["age"].map(lambda years: "" if np.isnan(years) else f"{years:g}"),
        **{name: made[name] for name in ("sex", "split", "site")},
        "tier": baseline.map({True: "A", False: "synthetic"}),
        NO_FINDING.name: baseline.map({True: "1", False: "0"}).where(
            (made["arm"] != "sham") & (~baseline | (made.get("host_labels", "") == "")), ""
        ),
    }
    columns |= {name: made[name].map(_state) for name in labels_of(table)}
    return pd.DataFrame(columns)


def _state(label: float) -> str:
    if np.isnan(label):
        return ""
    return str(int(label)) if label in (0, 1) else "-1"
