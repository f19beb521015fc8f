"""Pictures of the pairs in which a classifier reacted to what it should ignore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roentmod import imaging
from roentmod.documents import read_document
from roentmod.edits import Edit
from roentmod.errors import InputError
from roentmod.imaging import provenance
from roentmod.interfaces import RadiographEditor, Source
from roentmod.jobs.audit.predictions import Numbers, logits_of
from roentmod.jobs.audit.result import ClassifierResult, Example
from roentmod.plans import AuditPlan
from roentmod.store import write_json

__all__ = ["examples_of", "illustrate", "typical"]

EXAMPLES = "pictures/examples.json"
CELLS_SHOWN = 4
PAIRS_SHOWN = 2
_LONGEST = 512
Row = dict[str, Any]


def typical(one: ClassifierResult, nets: pd.DataFrame, numbers: Numbers) -> list[Row]:
    """Return the pairs that show a classifier's habits: edited, read, baseline_id, pair_id.

    They are of its shortcuts, largest first, or without any of the largest off-target effect; of
    each, the pairs nearest to the mean effect: typical ones, not the worst.

    Args:
        one: tables of the classifier.
        nets: net effects of the pairs of its matrix.
        numbers: what stands for ids in them.
    """
    chosen: list[Row] = []
    for edited, read in _shown(one):
        own = nets[(nets["edited_finding"] == edited) & (nets["read_finding"] == read)]
        own = own.sort_values(["baseline_id", "pair_id"])
        away = (own["net"] - own["net"].mean()).abs().to_numpy()
        nearest = own.iloc[np.argsort(away, kind="stable")[:PAIRS_SHOWN]]
        for place, pair in zip(nearest["baseline_id"], nearest["pair_id"], strict=True):
            names = {"baseline_id": numbers.names[place], "pair_id": str(pair)}
            chosen.append({"edited": edited, "read": read, **names})
    return chosen


def illustrate(
    folder: Path,
    chosen: Mapping[str, Sequence[Row]],
    plan: AuditPlan,
    source: Source,
    editor: RadiographEditor,
) -> None:
    """Make again, and save, the pairs that the report shows; edits are deterministic.

    Pictures that show them already are kept.

    Args:
        folder: of the audit.
        chosen: what `typical` chose, by classifier.
        plan: of the audit.
        source: of the radiographs.
        editor: of the audit.
    """
    place, path = folder / "pictures", folder / EXAMPLES
    wanted = {name: _read(folder, name, rows) for name, rows in chosen.items()}
    if _listed(folder).get("wanted") == wanted:
        return
    place.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    for old in place.glob("*.png"):
        old.unlink()
    edits = {edit.id: edit for edit in plan.edits()}
    pairs: dict[str, list[Row]] = {name: [] for name in wanted}
    made: dict[tuple[str, str], Row] = {}
    for name, rows in wanted.items():
        for row in rows:
            facts = {key: value for key, value in row.items() if key != "pair_id"}
            # Classifiers that react alike are shown the same pairs.
            pair = row["baseline_id"], row["pair_id"]
            if pair not in made:
                made[pair] = _save(pair[0], edits[pair[1]], source, editor, place)
            pairs[name] += [facts | made[pair]] if made[pair] else []
    write_json(path, {"wanted": wanted, "pairs": pairs})


def _shown(one: ClassifierResult) -> list[tuple[str, str]]:
    shortcuts = one.shortcuts()[:CELLS_SHOWN]
    off = one.cells[~one.cells["on_target"].astype(bool)].dropna(subset=["corrected"])
    if shortcuts or off.empty:
        return shortcuts
    largest = off.sort_values("corrected", ascending=False, kind="stable").iloc[0]
    return [(str(largest["edited"]), str(largest["read"]))]


def _read(folder: Path, classifier: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows with what the classifier read in sham and counterfactual."""
    if not rows:
        return []
    places = ("baseline_id", "read")
    table = logits_of(folder, classifier, *([row[name] for row in rows] for name in places))
    keys = ["baseline_id", "pair_id", "read_finding", "arm"]
    logits = table.drop_duplicates(keys).set_index(keys)["logit_edited"]

    def read(row: Row, arm: str) -> float:
        return float(logits[row["baseline_id"], row["pair_id"], row["read"], arm])

    arms = ("sham", "counterfactual")
    return [row | {f"logit_{arm}": read(row, arm) for arm in arms} for row in rows]


def _save(baseline: str, edit: Edit, source: Source, editor: RadiographEditor, folder: Path) -> Row:
    """Edit once more and save the three pictures; the synthetic ones say so in their text."""
    try:
        one = editor.edit([source.radiograph(baseline)], [edit])[0]
    # It could be edited before: an example is no reason to end a run.
    except Exception:
        return {}
    if one.image is None or one.difference is None:
        return {}
    stem = f"{len(list(folder.glob('*.png'))):03d}"
    facts = {"synthetic": "YES", "statement": provenance.STATEMENT, "edit": asdict(edit)}
    shown: dict[str, tuple[Any, Row | None]] = {
        "baseline": (
            imaging.grey_picture(one.baseline.pixels, _LONGEST),
            provenance.own(one.baseline),
        ),
        "counterfactual": (imaging.grey_picture(one.image.pixels, _LONGEST), facts),
        "difference": (
            imaging.difference_picture(one.difference, one.baseline.pixels, long_side=_LONGEST),
            facts,
        ),
    }
    files: Row = {"real": not one.baseline.synthetic}
    for kind, (picture, text) in shown.items():
        files[kind] = f"pictures/{stem}-{kind}.png"
        imaging.save_picture(picture, folder.parent / files[kind], text)
    return files


def examples_of(folder: Path, name: str) -> tuple[Example, ...]:
    """Return the pictures of a classifier's pairs that lie in an audit's folder."""
    files = ("baseline", "counterfactual", "difference")
    try:
        return tuple(
            Example(**{key: folder / v if key in files else v for key, v in one.items()})
            for one in _listed(folder)["pairs"].get(name, ())
        )
    # A damaged list is made again by the next call of the audit.
    except (KeyError, TypeError, AttributeError):
        return ()


def _listed(folder: Path) -> dict[str, Any]:
    """Return the list of an audit's example pictures; nothing where it is missing or damaged."""
    try:
        return read_document(folder / EXAMPLES)
    except (OSError, InputError):
        return {}
