"""The manifest of a counterfactual training set: its table, its checks, and its plain CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.errors import DatasetError, UnknownFindingError
from roentmod.findings import NO_FINDING, finding
from roentmod.store import file_sha256

__all__ = ["COLUMNS", "MANIFEST", "check", "check_table", "labels_of", "plain", "tabled"]

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
    "edited_finding",
    "severity",
    "edit_id",
    "edit",
    "status",
    "message",
    "net_logit",
)
_NEEDED = ("image_id", "path", "patient_id", "split", "arm", "edited_finding", "status")
_NUMBERS = ("age", "net_logit")
Mask = NDArray[np.bool_]


def tabled(
    rows: Iterable[Mapping[Any, Any]], targets: Mapping[str, Mapping[str, float]]
) -> pd.DataFrame:
    """Return rows as a manifest: `COLUMNS`, then one column a head.

    Args:
        rows: one a picture, with `COLUMNS`; None is NaN in a column of numbers.
        targets: added finding to head to label; baselines and shams get 0.

    A row without a picture has no labels.
    """
    kinds: dict[str, Any] = {name: "float64" if name in _NUMBERS else str for name in COLUMNS}
    table = pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(kinds)
    heads = next(iter(targets.values()), {})
    there = (table["status"] == "ok").to_numpy()
    for head in heads:
        by_finding = {added: labels[head] for added, labels in targets.items()} | {"": 0.0}
        label = table["edited_finding"].map(by_finding).to_numpy(dtype=np.float64)
        table[head] = np.where(there, label, np.nan)
    return table


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
    there = (table["status"] == "ok").to_numpy()
    ids = table["image_id"].duplicated().to_numpy()
    _refuse(table, ids, lambda _: "is in the manifest before", "Remove one")
    _check_findings(table)
    _check_splits(table, there)
    _check_labels(table, there)
    _check_pictures(table, there, folder, hashes)


def _refuse(table: pd.DataFrame, bad: Mask, said: Any, remedy: str) -> None:
    """Refuse the first row that is `bad` (n).

    Raises:
        DatasetError: there is one.
    """
    if bad.any():
        at = int(np.argmax(bad))
        row = table.iloc[at]
        raise DatasetError(
            f"Manifest row {at + 1} ({row['image_id']}) {said(row)}; {int(bad.sum())} in all. "
            f"{remedy}."
        )


def _known(name: str) -> bool:
    try:
        return finding(name).name == name
    except UnknownFindingError:
        return False


def _check_findings(table: pd.DataFrame) -> None:
    edited = table["edited_finding"].astype(str)
    names = {name: all(map(_known, name.split(" + "))) for name in set(edited) - {""}}
    bad = ~edited.map(names | {"": True}).to_numpy(dtype=bool)
    remedy = "Use the canonical names of roentmod.findings"
    _refuse(table, bad, lambda row: f"adds an unknown finding '{row['edited_finding']}'", remedy)
    for name in labels_of(table):
        if not _known(name):
            labelled = table[name].notna().to_numpy()
            # A column without any label is as wrong as one with.
            labelled = labelled if labelled.any() else np.ones(len(table), dtype=bool)
            _refuse(
                table,
                labelled,
                lambda _, n=name: f"has a label of an unknown finding '{n}'",
                remedy,
            )


def _check_splits(table: pd.DataFrame, there: Mask) -> None:
    own = table["split"].astype(str)
    first = own[there].groupby(table["patient_id"][there]).first()
    usual = table["patient_id"].map(first)
    bad = there & usual.notna().to_numpy() & (own != usual).to_numpy()
    _refuse(
        table,
        bad,
        lambda row: (
            f"puts patient {row['patient_id']} into split '{row['split']}', and an earlier row "
            f"into '{first[row['patient_id']]}'"
        ),
        "A patient belongs to one split: correct the data set",
    )


def _check_labels(table: pd.DataFrame, there: Mask) -> None:
    for name in labels_of(table):
        values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
        unread = table[name].notna().to_numpy() & np.isnan(values)
        with np.errstate(invalid="ignore"):
            bad = there & (unread | (values < 0) | (values > 1))
        _refuse(
            table,
            bad,
            lambda row, n=name: f"has {row[n]!r} for {n}: labels are in [0, 1], or missing",
            "Correct it",
        )


def _check_pictures(table: pd.DataFrame, there: Mask, folder: Path, hashes: bool) -> None:
    files = [folder / str(path) for path in table["path"]]
    gone = np.array([ok and not file.is_file() for ok, file in zip(there, files, strict=True)])
    remedy = "Run roentmod augment again: it makes what is missing"
    _refuse(table, gone.astype(bool), lambda row: f"has no picture at '{row['path']}'", remedy)
    if not hashes:
        return
    kept = table["sha256"].astype(str)
    changed = [
        ok and file_sha256(file) != was for ok, file, was in zip(there, files, kept, strict=True)
    ]
    said = "has a picture with other bytes than when it was made"
    _refuse(table, np.array(changed, dtype=bool), lambda _: said, "Delete it, and run again")


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
        NO_FINDING.name: baseline.map({True: "1", False: "0"}).where(made["arm"] != "sham", ""),
    }
    columns |= {name: made[name].map(_state) for name in labels_of(table)}
    return pd.DataFrame(columns)


def _state(label: float) -> str:
    if np.isnan(label):
        return ""
    return str(int(label)) if label in (0, 1) else "-1"
