"""Pictures of the pairs in which a classifier reacted to what it should ignore."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roentmod import imaging
from roentmod.edits import Edit
from roentmod.imaging import provenance
from roentmod.interfaces import RadiographEditor
from roentmod.jobs.audit.plan import AuditResult, ClassifierResult, Plan
from roentmod.rundir import Source
from roentmod.science import effects
from roentmod.science.effects import JUDGE, Rules
from roentmod.store import write_json

__all__ = ["illustrate"]

CELLS_SHOWN = 4
PAIRS_SHOWN = 2
_LONGEST = 512


def illustrate(
    result: AuditResult,
    predictions: pd.DataFrame,
    plan: Plan,
    source: Source,
    editor: RadiographEditor,
) -> None:
    """Make again, and save, the pairs that the report shows; edits are deterministic.

    For each classifier the shortcuts, largest first, or without any the largest off-target effect;
    of each, the pairs nearest to the mean effect: typical ones, not the worst.
    """
    folder, path = result.folder / "pictures", result.folder / "pictures" / "examples.json"
    wanted = {one.name: [list(cell) for cell in _shown(one)] for one in result}
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["cells"] == wanted:
        return
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    seen = effects.net_effects(predictions[predictions["classifier"] == JUDGE])
    rules = Rules(**{field.name: result.plan[field.name] for field in fields(Rules)})
    counted, _ = effects.gate(seen, rules)
    passed = predictions.merge(counted) if len(counted) else predictions
    pairs = {
        one.name: [
            made
            for cell in _shown(one)
            for made in _pairs(cell, one.name, passed, plan, source, editor, folder)
        ]
        for one in result
    }
    write_json(path, {"cells": wanted, "pairs": pairs})


def _shown(one: ClassifierResult) -> list[tuple[str, str]]:
    found = one.shortcuts()[:CELLS_SHOWN]
    off = one.cells[~one.cells["on_target"].astype(bool)].dropna(subset=["corrected"])
    if found or off.empty:
        return found
    largest = off.sort_values("corrected", ascending=False, kind="stable").iloc[0]
    return [(str(largest["edited"]), str(largest["read"]))]


def _pairs(
    cell: tuple[str, str],
    name: str,
    predictions: pd.DataFrame,
    plan: Plan,
    source: Source,
    editor: RadiographEditor,
    folder: Path,
) -> list[dict[str, Any]]:
    """Save the typical pairs of one cell and return what the list of examples says of them."""
    edited, read = cell
    edits = {edit.id: edit for edit in plan.edits()[: len(plan.findings) * len(plan.seeds)]}
    rows = predictions[
        (predictions["classifier"] == name)
        & (predictions["edited_finding"] == edited)
        & (predictions["read_finding"] == read)
        & predictions["pair_id"].isin(edits)
    ]
    arms = rows.pivot_table(index=["baseline_id", "pair_id"], columns="arm", values="logit_edited")
    arms = arms.dropna()
    if arms.empty:
        return []
    net = arms["counterfactual"] - arms["sham"]
    order = np.argsort((net - net.mean()).abs().to_numpy(), kind="stable")[:PAIRS_SHOWN]
    made = []
    for at in order:
        baseline, pair = arms.index[at]
        saved = _save(str(baseline), edits[str(pair)], source, editor, folder)
        if saved:
            made.append(
                {
                    "edited": edited,
                    "read": read,
                    "baseline_id": str(baseline),
                    **saved,
                    "logit_sham": float(arms["sham"].iloc[at]),
                    "logit_counterfactual": float(arms["counterfactual"].iloc[at]),
                }
            )
    return made


def _save(
    baseline: str, edit: Edit, source: Source, editor: RadiographEditor, folder: Path
) -> Mapping[str, Any]:
    """Edit once more and save the three pictures; the synthetic ones say so in their text."""
    one = editor.edit([source.radiograph(baseline)], [edit])[0]
    if one.image is None or one.difference is None:
        return {}
    stem = f"{len(list(folder.glob('*.png'))):03d}"
    facts = {"synthetic": "YES", "statement": provenance.STATEMENT, "edit": asdict(edit)}
    shown: dict[str, tuple[Any, dict[str, Any] | None]] = {
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
    files: dict[str, Any] = {"real": not one.baseline.synthetic}
    for kind, (picture, said) in shown.items():
        files[kind] = f"pictures/{stem}-{kind}.png"
        imaging.save_picture(picture, folder.parent / files[kind], said)
    return files
