"""Pictures of the pairs in which a classifier reacted to what it should ignore."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from roentmod import imaging
from roentmod.edits import Edit
from roentmod.imaging import provenance
from roentmod.interfaces import RadiographEditor, Source
from roentmod.jobs.audit.judgement import EXAMPLES, listed, read_table
from roentmod.jobs.audit.result import AuditResult, ClassifierResult
from roentmod.plans import AuditPlan
from roentmod.science import effects
from roentmod.science.effects import JUDGE, Rules
from roentmod.store import write_json

__all__ = ["illustrate"]

CELLS_SHOWN = 4
PAIRS_SHOWN = 2
_LONGEST = 512
Row = dict[str, Any]


def illustrate(
    result: AuditResult, plan: AuditPlan, source: Source, editor: RadiographEditor
) -> None:
    """Make again, and save, the pairs that the report shows; edits are deterministic.

    For each classifier the shortcuts, largest first, or without any the largest off-target effect;
    of each, the pairs nearest to the mean effect: typical ones, not the worst. Pictures that show
    them already are kept.
    """
    folder, path = result.folder / "pictures", result.folder / EXAMPLES
    wanted = {one.name: list(_typical(one, result, plan)) for one in result}
    if listed(result.folder).get("wanted") == wanted:
        return
    folder.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    edits = {edit.id: edit for edit in plan.edits()}
    pairs: dict[str, list[Row]] = {name: [] for name in wanted}
    for name, rows in wanted.items():
        for row in rows:
            facts = {key: value for key, value in row.items() if key != "pair_id"}
            files = _save(row["baseline_id"], edits[row["pair_id"]], source, editor, folder)
            pairs[name] += [facts | files] if files else []
    write_json(path, {"wanted": wanted, "pairs": pairs})


def _shown(one: ClassifierResult) -> list[tuple[str, str]]:
    found = one.shortcuts()[:CELLS_SHOWN]
    off = one.cells[~one.cells["on_target"].astype(bool)].dropna(subset=["corrected"])
    if found or off.empty:
        return found
    largest = off.sort_values("corrected", ascending=False, kind="stable").iloc[0]
    return [(str(largest["edited"]), str(largest["read"]))]


def _typical(one: ClassifierResult, result: AuditResult, plan: AuditPlan) -> Iterator[Row]:
    """Yield what the list of examples says of a classifier's pairs, less their files."""
    cells = _shown(one)
    if not cells:
        return
    rules = Rules(**{name: result.plan[name] for name in Rules.model_fields})
    seen = effects.net_effects(read_table(result.folder, "predictions", JUDGE))
    counted, _ = effects.gate(seen, rules)
    rows = read_table(result.folder, "predictions", one.name)
    usual = [edit.id for edit in plan.edits()[: len(plan.findings) * len(plan.seeds)]]
    rows = rows.merge(counted) if len(counted) else rows
    rows = rows[rows["pair_id"].isin(usual)]
    for edited, read in cells:
        own = rows[(rows["edited_finding"] == edited) & (rows["read_finding"] == read)]
        arms = own.pivot_table(
            index=["baseline_id", "pair_id"], columns="arm", values="logit_edited", observed=True
        ).dropna()
        if arms.empty:
            continue
        net = arms["counterfactual"] - arms["sham"]
        order = np.argsort((net - net.mean()).abs().to_numpy(), kind="stable")[:PAIRS_SHOWN]
        for row in arms.iloc[order].reset_index().to_dict("records"):
            yield {
                "edited": edited,
                "read": read,
                "baseline_id": str(row["baseline_id"]),
                "pair_id": str(row["pair_id"]),
                "logit_sham": float(row["sham"]),
                "logit_counterfactual": float(row["counterfactual"]),
            }


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
