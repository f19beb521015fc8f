"""The sheets of a validation: the sweep at a glance, and one baseline with every finding."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from roentmod import imaging
from roentmod.documents import read_document
from roentmod.edits import Edit
from roentmod.errors import InputError
from roentmod.imaging import provenance
from roentmod.imaging.pictures import Cell, grid
from roentmod.interfaces import Counterfactual, RadiographEditor, Source
from roentmod.plans import ValidatePlan
from roentmod.store import write_json

__all__ = ["Drawing", "drawn", "illustrate"]


class Drawing(NamedTuple):
    """What pictures are made with, and of which baseline."""

    source: Source
    editor: RadiographEditor
    plan: ValidatePlan
    baseline: str


_LIST = "sheets.json"
_CELL = 168
_FACTS = {"synthetic": "YES", "statement": provenance.STATEMENT}


def illustrate(job: Drawing, folder: Path, *, sweep: bool) -> None:
    """Make again, and save, the pictures of one baseline, unless they are there.

    "edits" and, with `sweep`, "sweep" are in ``sheets.json``, as far as there are pictures.
    """
    if drawn(folder) is not None:
        return
    folder.mkdir(exist_ok=True)
    files, plan = {}, job.plan
    try:
        picture = job.source.radiograph(job.baseline)
        done = job.editor.edit([picture], [plan.edit(name) for name in plan.findings])
        edits = [edit for edit in plan.sweep() if edit.findings == (plan.first[0],)]
        points = job.editor.edit([picture], edits) if sweep else []
    # Pictures for people are no reason to end a run.
    except Exception:
        return
    rows = [
        imaging.Row(" + ".join(d.edit.findings), picture.pixels, d.image.pixels, d.difference)
        for d in done
        if d.image is not None and d.difference is not None
    ]
    if rows:
        files["edits"] = "edits.png"
        imaging.save_picture(imaging.sheet(rows, cell=_CELL), folder / "edits.png", _FACTS)
    cells = _cells(plan, {_point(one.edit): one for one in points}) if points else []
    if cells:
        files["sweep"] = "sweep.png"
        columns = [f"guidance {g:g}" for g in plan.guidances]
        shown = grid(cells, title=f"{plan.first[0]} added", columns=columns, cell=_CELL)
        imaging.save_picture(shown, folder / "sweep.png", _FACTS)
    write_json(folder / _LIST, files)


def drawn(folder: Path) -> dict[str, Path] | None:
    """Return the pictures that `illustrate` listed by name; None where the list is lost."""
    try:
        listed = read_document(folder / _LIST)
    except (OSError, InputError):
        return None
    return {name: folder / str(file) for name, file in listed.items()}


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
