"""Edits, readings and the files they are kept in: the expensive part of an audit.

One *case* is one radiograph with all its edits. It is edited, read by every classifier and by the
judge, and written to ``parts/`` as a whole before the next one begins, so that a run that is killed
loses at most the case it was at. Cases do not see each other: order and restarts change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.classifiers import checks
from roentmod.editors import compose
from roentmod.edits import Edit
from roentmod.errors import InputError, RoentModError
from roentmod.interfaces import Classifier, Counterfactual, Progress, RadiographEditor
from roentmod.radiograph import Radiograph
from roentmod.rundir import Source
from roentmod.science.effects import PREDICTIONS
from roentmod.store import atomic, write_json

__all__ = ["ITEMS", "Case", "Readers", "predict", "read_labelled"]

ITEMS = (
    "baseline_id",
    "edited_finding",
    "severity",
    "seed",
    "classifier",
    "status",
    "message",
)
# Failures that are tried again with the whole case.
_AGAIN = ("unreadable", "editor_failed")
# An endpoint that failed this often in a row is not asked again in this run.
_PATIENCE = 3
_BATCH = 16
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One radiograph and what is done to it."""

    baseline_id: str
    patient_id: str
    edits: tuple[Edit, ...]


@dataclass
class Readers:
    """Classifiers by name, and which of them have stopped answering."""

    by_name: Mapping[str, Classifier]
    failures: dict[str, int] = field(default_factory=dict)

    def given_up(self, name: str) -> bool:
        """Tell whether a classifier has failed too often to be asked again in this run."""
        return self.failures.get(name, 0) >= _PATIENCE

    def read(self, name: str, images: Sequence[Array]) -> checks.Reading:
        """Read pictures of the classifier's size, each distinct one once."""
        classifier = self.by_name[name]
        if self.given_up(name):
            nothing = np.full((len(images), len(classifier.findings)), np.nan, np.float32)
            said = f"not asked: it failed {_PATIENCE} times in a row; run again to go on"
            return checks.Reading(nothing, ["classifier_failed"] * len(images), said)
        # Without anything to undo, a sham is its baseline, and one reading serves both.
        keys = [image.tobytes() for image in images]
        first = {key: number for number, key in reversed(list(enumerate(keys)))}
        places = {key: row for row, key in enumerate(first)}
        reading = checks.read(classifier, np.stack([images[n] for n in first.values()]))
        dead = all(status == "classifier_failed" for status in reading.status)
        self.failures[name] = self.failures.get(name, 0) + 1 if dead else 0
        rows = [places[key] for key in keys]
        status = [reading.status[row] for row in rows]
        return checks.Reading(reading.logits[rows], status, reading.message)


def predict(
    cases: Sequence[Case],
    source: Source,
    editor: RadiographEditor,
    readers: Readers,
    folder: Path,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Do what is left of the cases and return the predictions and items of all.

    What may end well another time is tried again: a radiograph that could not be read, an editor
    that failed, and, alone, a classifier that did not answer. Other failures are final.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables, items = [], []
    for number, case in enumerate(cases):
        part = folder / f"{number:05d}.parquet"
        note = part.with_suffix(".json")
        waiting = _waiting(note, readers)
        if waiting:
            table, missing = _carry_out(case, source, editor, readers, waiting)
            if note.exists():
                table, missing = _mended(part, note, waiting, table, missing)
            _keep(part, table, missing)
        tables.append(pd.read_parquet(part))
        items += json.loads(note.read_text(encoding="utf-8"))
        if progress:
            progress(number + 1, len(cases))
    full = [table for table in tables if len(table)]
    joined = pd.concat(full, ignore_index=True) if full else _nothing()
    return joined, pd.DataFrame(items, columns=list(ITEMS))


def _keep(part: Path, table: pd.DataFrame, items: list[dict[str, Any]]) -> None:
    """Write a part's table, then its items, which say that it is whole."""
    with atomic(part) as partial:
        table.to_parquet(partial, index=False)
    write_json(part.with_suffix(".json"), items)


def _waiting(note: Path, readers: Readers) -> list[str]:
    """Return the classifiers that a part has yet to be read by."""
    if not note.exists():
        return list(readers.by_name)
    items = json.loads(note.read_text(encoding="utf-8"))
    if any(item["status"] in _AGAIN for item in items):
        return list(readers.by_name)
    silent = {item["classifier"] for item in items if item["status"] == "classifier_failed"}
    return [n for n in readers.by_name if n in silent and not readers.given_up(n)]


def _mended(
    part: Path,
    note: Path,
    asked: Sequence[str],
    table: pd.DataFrame,
    items: list[dict[str, Any]],
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return a part with the rows and items of the classifiers `asked` exchanged."""
    old = pd.read_parquet(part)
    kept = old[~old["classifier"].isin(asked)]
    others = [
        item
        for item in json.loads(note.read_text(encoding="utf-8"))
        if item["classifier"] and item["classifier"] not in asked
    ]
    both = [piece for piece in (kept, table) if len(piece)]
    return (pd.concat(both, ignore_index=True) if both else _nothing()), others + items


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=list(PREDICTIONS))


def _carry_out(
    case: Case,
    source: Source,
    editor: RadiographEditor,
    readers: Readers,
    names: Sequence[str],
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return predictions of the classifiers `names` and items of one case."""
    try:
        radiograph = source.radiograph(case.baseline_id)
        done = editor.edit([radiograph], case.edits)
    except InputError as error:
        return _nothing(), [_item(case, None, "", "unreadable", str(error))]
    except RoentModError:
        raise
    # The editor runs foreign libraries: whatever they raise must not cost the other radiographs.
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _nothing(), [_item(case, None, "", "editor_failed", said)]
    items = [
        _item(case, one.edit, "", one.status, "the editor made no picture")
        for one in done
        if one.status != "ok"
    ]
    made = [one for one in done if one.image is not None and one.sham is not None]
    rows: list[dict[str, Any]] = []
    for name in names:
        found, missing = _read_case(case, radiograph, made, readers, name)
        rows += found
        items += missing
    return (pd.DataFrame(rows, columns=list(PREDICTIONS)) if rows else _nothing()), items


def _read_case(
    case: Case,
    radiograph: Radiograph,
    made: Sequence[Counterfactual],
    readers: Readers,
    name: str,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return one classifier's predictions of a case, and what it could not read."""
    classifier = readers.by_name[name]
    pictures = [radiograph]
    for one in made:
        assert one.image is not None
        assert one.sham is not None
        pictures += [one.image, one.sham]
    reading = readers.read(name, [compose.shrink(p, classifier.size) for p in pictures])
    if all(status == "classifier_failed" for status in reading.status):
        return [], [_item(case, None, name, "classifier_failed", reading.message)]
    items = []
    if reading.status[0] != "ok":
        items.append(_item(case, None, name, reading.status[0], f"baseline: {reading.message}"))
    rows = []
    for number, one in enumerate(made):
        for offset, arm in ((1, "counterfactual"), (2, "sham")):
            at = 2 * number + offset
            if reading.status[at] != "ok":
                said = f"{arm}: {reading.message}"
                items.append(_item(case, one.edit, name, reading.status[at], said))
                continue
            rows += _rows(case, one.edit, name, arm, classifier.findings, reading.logits[[0, at]])
    return rows, items


def _rows(
    case: Case, edit: Edit, name: str, arm: str, findings: Iterable[str], logits: Array
) -> list[dict[str, Any]]:
    own = edit if arm == "counterfactual" else edit.sham()
    common = {
        "classifier": name,
        "baseline_id": case.baseline_id,
        "patient_id": case.patient_id,
        "pair_id": edit.id,
        "edit_id": own.id,
        "action": edit.action,
        "arm": arm,
        "edited_finding": " + ".join(edit.findings),
        "severity": edit.severity or "",
        "strength": edit.strength,
        "seed": edit.seed,
    }
    return [
        common
        | {
            "read_finding": read,
            "logit_baseline": float(logits[0, k]),
            "logit_edited": float(logits[1, k]),
        }
        for k, read in enumerate(findings)
    ]


def _item(
    case: Case, edit: Edit | None, classifier: str, status: str, message: str
) -> dict[str, Any]:
    return {
        "baseline_id": case.baseline_id,
        "edited_finding": " + ".join(edit.findings) if edit else "",
        "severity": (edit.severity or "") if edit else "",
        "seed": edit.seed if edit else -1,
        "classifier": classifier,
        "status": status,
        "message": message,
    }


def read_labelled(
    images: pd.DataFrame,
    source: Source,
    readers: Readers,
    folder: Path,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what every classifier says of unedited radiographs, and the items that are missing.

    Args:
        images: image_id and patient_id.
        source: reads them.
        readers: classifiers.
        folder: finished batches are kept here.
        progress: called with batches done and in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables, items = [], []
    starts = range(0, len(images), _BATCH)
    for number, start in enumerate(starts):
        part = folder / f"{number:05d}.parquet"
        note = part.with_suffix(".json")
        if _waiting(note, readers):
            batch = images.iloc[start : start + _BATCH]
            table, missing = _read_batch(batch, source, readers)
            _keep(part, table, missing)
        tables.append(pd.read_parquet(part))
        items += json.loads(note.read_text(encoding="utf-8"))
        if progress:
            progress(number + 1, len(starts))
    columns = ["classifier", "image_id", "patient_id", "read_finding", "logit"]
    joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    return joined, pd.DataFrame(items, columns=list(ITEMS))


def _read_batch(
    batch: pd.DataFrame, source: Source, readers: Readers
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    pictures, kept, items = [], [], []
    for image, patient in zip(batch["image_id"], batch["patient_id"], strict=True):
        case = Case(str(image), str(patient), ())
        try:
            pictures.append(source.radiograph(case.baseline_id))
            kept.append(case)
        except InputError as error:
            items.append(_item(case, None, "", "unreadable", str(error)))
    rows = []
    for name, classifier in readers.by_name.items():
        if not pictures:
            break
        reading = readers.read(name, [compose.shrink(p, classifier.size) for p in pictures])
        for number, case in enumerate(kept):
            if reading.status[number] != "ok":
                items.append(_item(case, None, name, reading.status[number], reading.message))
                continue
            for k, read in enumerate(classifier.findings):
                logit = float(reading.logits[number, k])
                rows.append([name, case.baseline_id, case.patient_id, read, logit])
    columns = ["classifier", "image_id", "patient_id", "read_finding", "logit"]
    return pd.DataFrame(rows, columns=columns), items
