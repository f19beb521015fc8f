"""The sheets of a validation: the sweep at a glance, and one baseline with every finding."""

from __future__ import annotations

from pathlib import Path

from roentmod import imaging
from roentmod.edits import Edit
from roentmod.imaging import provenance
from roentmod.imaging.pictures import Cell, grid
from roentmod.interfaces import Counterfactual
from roentmod.jobs.validate.stages import Bench, Subject
from roentmod.plans import ValidatePlan

__all__ = ["illustrate"]

_CELL = 168
_FACTS = {"synthetic": "YES", "statement": provenance.STATEMENT}


def illustrate(bench: Bench, subject: Subject, folder: Path, *, sweep: bool) -> dict[str, Path]:
    """Make again, and save, the pictures of one baseline; edits are deterministic.

    Returns:
        "edits" and, if asked for, "sweep", as far as there are pictures, and their files.
    """
    folder.mkdir(exist_ok=True)
    files = {}
    plan = bench.plan
    picture = bench.source.radiograph(subject.baseline_id)
    done = bench.editor.edit([picture], [plan.edit(name) for name in plan.findings])
    rows = [
        imaging.Row(" + ".join(d.edit.findings), picture.pixels, d.image.pixels, d.difference)
        for d in done
        if d.image is not None and d.difference is not None
    ]
    if rows:
        files["edits"] = folder / "edits.png"
        imaging.save_picture(imaging.sheet(rows, cell=_CELL), files["edits"], _FACTS)
    if sweep:
        edits = [edit for edit in plan.sweep() if edit.findings == (plan.first[0],)]
        made = {_point(one.edit): one for one in bench.editor.edit([picture], edits)}
        cells = _cells(plan, made)
        if cells:
            files["sweep"] = folder / "sweep.png"
            columns = [f"guidance {g:g}" for g in plan.guidances]
            title = f"{plan.first[0]} added"
            shown = grid(cells, title=title, columns=columns, cell=_CELL)
            imaging.save_picture(shown, files["sweep"], _FACTS)
    return files


def _point(edit: Edit) -> tuple[float, float]:
    return edit.strength, edit.guidance_scale


def _cells(
    plan: ValidatePlan, made: dict[tuple[float, float], Counterfactual]
) -> list[tuple[str, list[Cell]]]:
    rows = []
    for strength in plan.strengths:
        row = []
        for guidance in plan.guidances:
            image = made[strength, guidance].image
            if image is not None:
                row.append(Cell(image.pixels))
        if len(row) == len(plan.guidances):
            rows.append((f"strength {strength:g}", row))
    return rows
