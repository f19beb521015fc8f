"""What the studio shows of a finished run: tables, the audit's matrix, cases, pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod import imaging, verbs
from roentmod.datasets import Dataset
from roentmod.edits import Edit
from roentmod.errors import RunError, printable
from roentmod.interfaces import Counterfactual, described
from roentmod.plans import AuditPlan
from roentmod.radiograph import Radiograph
from roentmod.report import as_json

__all__ = ["Finished"]

# Rows of a table, and pictures of a run, that a page lists.
_ROWS, _PICTURES = 400, 5000
_EFFECT = ("n", "effect", "low", "high", "n_all", "effect_all")
_CELL = ("edited", "read", "on_target", *_EFFECT, "verdict", "reason")
# What an editor says of the machine's part, which hardly changes its pictures.
_MACHINE = frozenset({"engine", "deterministic", "batch_size", "precision", "licence"})


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished run.

    Attributes:
        folder: of the run.
        data: the data set it was made of, where that is at hand: cases can then be shown.
    """

    folder: Path
    data: Dataset | None = None

    @cached_property
    def result(self) -> Any:
        """What `roentmod.open` returns."""
        return verbs.open(self.folder)

    @property
    def kind(self) -> str:
        """Its verb, such as "audit"."""
        return type(self.result).__name__.removesuffix("Result").lower()

    @cached_property
    def stages(self) -> list[Finished]:
        """The runs that a study or repair consists of."""
        stages = self.result.stages if self.kind in ("study", "repair") else ()
        return [Finished(one.folder, self.data) for one in stages]

    def facts(self) -> dict[str, Any]:
        """Return what a page shows of it, as JSON has it."""
        own = getattr(self, f"_{self.kind}", dict)
        return {
            "kind": self.kind,
            "name": printable(self.folder.resolve().name),
            "words": repr(self.result).partition(": ")[2].partition(", in '")[0],
            "report": (self.folder / "report.html").is_file(),
            "shows": self.data is not None,
            "pictures": [printable(title) for title, _ in self.pictures],
            "stages": [f"{one.kind}: {one.folder.name}" for one in self.stages],
            "matrices": [],
            "tables": _tables(self._evaluated()),
        } | own()

    def _evaluated(self) -> Any:
        return self.result.evaluate() if self.kind == "retrain" else self.result

    def _audit(self) -> dict[str, Any]:
        matrices = []
        for one in self.result:
            cells = one.cells.reindex(columns=list(_CELL))
            rows = as_json(cells)
            for name in ("edited", "read"):
                order = list(dict.fromkeys(cells[name]))
                rows = [row | {f"{name}_at": order.index(row[name])} for row in rows]
            facts = {"name": one.name, "verdict": str(one.verdict), "cells": rows}
            matrices.append(facts)
        return {"matrices": matrices, "tables": _tables(self.result, without=("baselines",))}

    def cases(self, classifier: int, edited: str, read: str) -> list[dict[str, Any]]:
        """Return the pairs behind a cell, largest change first: readings by arm, and the net.

        Raises:
            RunError: the run is no audit, or has no such cell.
        """
        from roentmod.jobs.audit.predictions import read_table
        from roentmod.science.effects import net_effects

        if self.kind != "audit" or not 0 <= classifier < len(self.result.classifiers):
            raise RunError("Cases belong to a cell of an audit; this is none.")
        name = self.result.classifiers[classifier].name
        wanted = [("edited_finding", "==", edited), ("read_finding", "==", read)]
        table = read_table(self.folder, "predictions", name, wanted)
        keys = ["baseline_id", "pair_id"]
        arms = table.drop_duplicates([*keys, "arm"]).set_index([*keys, "arm"])["logit_edited"]
        wide = arms.unstack("arm").reindex(columns=["sham", "counterfactual"])
        wide["baseline"] = table.drop_duplicates(keys).set_index(keys)["logit_baseline"]
        wide["net"] = net_effects(table).drop_duplicates(keys).set_index(keys)["net"]
        wide = wide.sort_values("net", ascending=False, kind="stable").head(_PICTURES)
        rows: list[dict[str, Any]] = as_json(wide.reset_index())
        return rows

    def case(self, baseline: str, pair: str) -> tuple[str, Callable[[Any], Counterfactual]]:
        """Return the title of an audit's pair, and what makes its pictures again with an editor.

        What makes them refuses another editor than the audit's, by a `RunError`.

        Raises:
            RunError: no such pair, or the data are not at hand.
        """
        data = self.data
        if data is None:
            raise RunError("Pictures of cases need the audit's data. Start the studio with --data.")
        edit = self._edits.get(pair)
        if edit is None or baseline not in set(self.result.baselines["baseline_id"]):
            raise RunError("The audit has no such case. Load the page again.")

        def make(editor: Any) -> Counterfactual:
            _same(self.result.provenance["editor"], described(editor))
            (made,) = editor.edit([data.radiograph(baseline)], [edit])
            return made  # type: ignore[no-any-return]

        return f"{baseline} {edit.label}", make

    def fitting(self, editors: Sequence[str]) -> str:
        """Return which editor makes cases again: the one of the audit's name, else the first."""
        own = self.result.provenance["editor"]["name"] if self.kind == "audit" else ""
        return own if own in editors else editors[0]

    @cached_property
    def _edits(self) -> dict[str, Edit]:
        """Edits of an audit by id."""
        known: Mapping[str, Any] = self.result.plan
        plan = AuditPlan(**{n: known[n] for n in AuditPlan.model_fields if n in known})
        removals = [edit for name in plan.findings for edit in plan.removal(name)]
        return {edit.id: edit for edit in [*plan.edits(), *removals]}

    @cached_property
    def pictures(self) -> list[tuple[str, dict[str, Path]]]:
        """Title and files by arm of the pictures that the run wrote."""
        listed: list[tuple[str, dict[str, Path]]] = []
        if self.kind == "edit":
            listed = [
                (f"{item['input']}: {item['label']}", _arms(self.folder, item["files"]))
                for item in self.result.record["items"]
                if item.get("files")
            ]
        elif self.kind in ("augment", "plant"):
            table = self.result.training if self.kind == "augment" else self.result.table
            column = "image_id" if "image_id" in table else "path"
            listed = [
                (str(name), {"counterfactual": self.folder / str(path)})
                for name, path in zip(table[column], table["path"], strict=True)
            ]
        return listed[:_PICTURES]

    def picture(self, number: int, arm: str) -> Radiograph:
        """Return a picture that the run wrote.

        Raises:
            RunError: there is none, or it lies outside the run's folder.
        """
        files = self.pictures[number][1] if 0 <= number < len(self.pictures) else {}
        path = files.get(arm)
        if path is None or not path.resolve().is_relative_to(self.folder.resolve()):
            raise RunError("The run has no such picture. Load the page again.")
        return imaging.read(path)


def _same(own: Mapping[str, Any], editor: Mapping[str, Any]) -> None:
    """Refuse an editor that would not make an audit's pictures."""
    names = (own.keys() | editor.keys()) - _MACHINE
    differ = sorted(name for name in names if own.get(name) != editor.get(name))
    if differ:
        raise RunError(
            f"Cases are made again by the audit's editor, {own['name']}; {editor['name']} differs "
            f"in {', '.join(differ)}. Start the studio with that editor."
        )


def _arms(folder: Path, files: Mapping[str, Mapping[str, str]]) -> dict[str, Path]:
    arms: dict[str, Path] = {}
    for kind, file in files.items():
        arm = kind.partition(".")[0]
        if arm in ("counterfactual", "sham"):
            arms.setdefault(arm, folder / file["path"])
    return arms


def _tables(result: Any, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return the tables of a result, the first rows of each."""
    names = [one.name for one in dataclasses.fields(result) if one.name not in without]
    frames = {name: getattr(result, name) for name in names}
    return [
        {
            "name": name.replace("_", " "),
            "columns": [str(column) for column in frame.columns],
            "rows": [list(row.values()) for row in as_json(frame.head(_ROWS))],
            "count": len(frame),
        }
        for name, frame in frames.items()
        if isinstance(frame, pd.DataFrame) and len(frame)
    ]
