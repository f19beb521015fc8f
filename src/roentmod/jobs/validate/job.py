"""The parts of a validation: one baseline in one stage, edited and measured as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from roentmod.datasets import Dataset
from roentmod.edits import Edit
from roentmod.errors import EditError, InputError
from roentmod.interfaces import Counterfactual, RadiographEditor, described
from roentmod.jobs.batches import MARKS, EditingJob, Wanted, count_burned_in
from roentmod.jobs.validate.artefacts import Matched, detected
from roentmod.jobs.validate.judgement import RECORD, TABLES, assess, judged
from roentmod.jobs.validate.measure import Look, Readers, against, apart, change, fine, moved
from roentmod.jobs.validate.prompts import wordings
from roentmod.jobs.validate.result import ValidationResult
from roentmod.jobs.validate.sheets import Drawing, illustrate
from roentmod.plans.validate import COMPOSITES, ValidatePlan
from roentmod.radiograph import Radiograph
from roentmod.runs import Done, Made, Part, Row, Stage, Task
from roentmod.science import fidelity
from roentmod.science.fidelity import GROUPS
from roentmod.store import atomic, canonical_hash

__all__ = ["Subject", "ValidateJob"]

Edited = Sequence[Counterfactual]
ITEMS = ("stage", "baseline_id", "edit", "status", "message")
# What each stage is called while it runs.
_TITLES = {
    "radiographs": "comparing radiographs",
    "known": "looking at other patients",
    "real": "looking at real findings",
    "edits": "editing and measuring",
    "sweep": "sweeping strength and guidance",
    "prompts": "wording",
    "reversal": "removing again",
}


class Subject(NamedTuple):
    """One baseline and the pictures that it is compared with: (group, image id).

    Edits of the findings in `matched` are compared with real positives.
    """

    baseline_id: str
    patient_id: str
    companions: tuple[tuple[str, str], ...] = ()
    matched: tuple[str, ...] = ()

    @property
    def names(self) -> Row:
        """The columns that every row begins with."""
        return {"baseline_id": self.baseline_id, "patient_id": self.patient_id}


@dataclass(eq=False)
class ValidateJob(EditingJob[ValidationResult]):
    """Measurements of edits; the result judges them.

    Attributes:
        data: where radiographs come from.
        editor: what is validated.
        readers: judge, extractor and recogniser.
        plan: edits and numbers.
        subjects: what is edited.
        known: pictures of other patients.
        partners: by finding, real positives and the baselines that match them.
        baselines: what is known of each subject.
    """

    data: Dataset
    editor: RadiographEditor
    readers: Readers
    plan: ValidatePlan
    subjects: Sequence[Subject] = ()
    known: Sequence[Subject] = ()
    partners: Mapping[str, Matched] = field(default_factory=dict)
    baselines: pd.DataFrame = field(default_factory=pd.DataFrame)
    kind = "validate"
    article = "a validation"
    record = RECORD
    libraries = ("numpy", "pandas", "scipy", "scikit-learn", "torch", "onnxruntime", "diffusers")

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what only plan and end of the run need."""
        return ValidateJob, (self.data, self.editor, self.readers, self.plan)

    def identity(self) -> Mapping[str, Any]:
        """Return what ``validation.json`` holds of plan, data, editor and readers."""
        return {
            "plan": self.plan.facts(),
            "control": self.plan.control,
            "data": described(self.data),
            "editor": described(self.editor),
            "judge": _described(self.readers.judge),
            **({"second": _described(self.readers.second)} if self.readers.second else {}),
            "extractor": _described(self.readers.extractor),
            "recogniser": _described(self.readers.recogniser),
            "cases": [[one.baseline_id, one.companions] for one in self.subjects],
            "known": [one.baseline_id for one in self.known],
            "partners": self.partners,
        }

    def stages(self) -> Iterator[Stage]:
        """Yield the stages that the plan asks for, each with a part per subject."""
        for name, some in self._by_stage().items():
            yield Stage.of(_TITLES[name], [_part(name, one) for one in some])

    def work(self) -> list[Sequence[Edit]]:
        """Return the edits of every part that has any; what is edited again is not among them."""
        return [
            self.edits[name]
            for name, some in self._by_stage().items()
            for _ in some
            if self.edits.get(name)
        ]

    def _by_stage(self) -> dict[str, Sequence[Subject]]:
        """Return who is looked at in each stage."""
        plan, absent = self.plan, self._absences()
        return {
            "radiographs": self.subjects,
            "known": self.known,
            "real": [] if "detectors" in absent else self._real(),
            "edits": self.subjects,
            "sweep": [] if "sweep" in absent else self.subjects[: plan.swept],
            "prompts": self.subjects[: plan.worded],
            "reversal": self.subjects[: plan.undone],
        }

    def _real(self) -> list[Subject]:
        """Return the real positives, each once."""
        pairs = dict(pair for one in self.partners.values() for pair in one.real)
        return [Subject(image, patient) for image, patient in sorted(pairs.items())]

    def _absences(self) -> dict[str, str]:
        """Return the sections that need no try, and why."""
        absent = {}
        if getattr(self.editor, "exact", False):
            absent["sweep"] = "Strength and guidance mean nothing to this editor."
        elif not self.plan.swept:
            absent["sweep"] = "The plan asks for no sweep."
        if not self.plan.worded:
            absent["wording"] = "The plan asks for no wordings."
        if not self.plan.undone:
            absent["reversal"] = "The plan asks for no removals."
        if not self.plan.detector_steps:
            absent["detectors"] = "The plan asks for no detectors."
        return absent

    @cached_property
    def edits(self) -> dict[str, Sequence[Edit]]:
        """What every subject of a stage is edited by, first."""
        plan = self.plan
        wordy = [
            plan.edit(name, prompt=prompt, seed=seed)
            for name in plan.first
            for prompt in wordings(name)
            for seed in range(plan.seeds)
        ]
        plain = [plan.edit(name) for name in plan.first]
        return {"edits": plan.edits(), "sweep": plan.sweep(), "prompts": wordy, "reversal": plain}

    def wanted(self, task: Task) -> Wanted:
        """Return a subject's radiograph, and the edits of the stage."""
        stage, subject = task.part.inputs
        return Wanted(self.data.radiograph(subject.baseline_id), self.edits.get(stage, ()))

    def made(self, task: Task, radiograph: Radiograph, edited: Sequence[Counterfactual]) -> Made:
        """Measure one subject in one stage."""
        stage, subject = task.part.inputs
        sitting = _Sitting(self, stage, subject, radiograph)
        getattr(sitting, stage)(edited)
        return sitting.made

    def make(self, task: Task) -> Made:
        """Measure one subject; an editor that takes no prompts has no wordings."""
        try:
            return super().make(task)
        except EditError as error:
            if task.part.inputs[0] != "prompts":
                raise
            return Made(facts={"planned": 0, "ok": 0, "absent": {"wording": str(error)}})

    def lost(self, part: Part, status: str, message: str) -> Made:
        """Return the item of a subject that could not be measured."""
        stage, subject = part.inputs
        made = Made()
        made.missing(status, message, stage=stage, baseline_id=subject.baseline_id, edit="")
        return made

    def finish(self, done: Done) -> ValidationResult:
        """Write tables and pictures, and judge."""
        absent, counts = self._absences(), {"planned": 0, "ok": 0}
        for _, made in done.parts():
            absent |= made.facts.get("absent", {})
            for name in counts:
                counts[name] += made.facts.get(name, 0)
        done.record["absent"] = absent
        done.record["counts"] = counts | {"missing": counts["planned"] - counts["ok"]}
        noted = {
            p.inputs[1].baseline_id: row for p, m in done.parts() for row in m.rows.get(MARKS, ())
        }
        done.record["burned_in"] = count_burned_in(noted.values())
        # What the parts took, in whichever calls.
        done.record["provenance"]["seconds"] = round(done.seconds, 1)
        tables = {name: done.table(name) for name in TABLES}
        tables["artefacts"] = detected(tables["fine"], self.partners, self.plan)
        tables["fine"] = tables["fine"].drop(columns="views", errors="ignore")
        tables |= {"baselines": self.baselines, "items": done.items(ITEMS)}
        for name, table in tables.items():
            with atomic(done.folder / f"{name}.parquet") as partial:
                table.to_parquet(partial)
        first = self.subjects[0].baseline_id
        drawing = Drawing(self.data, self.editor, self.plan, first)
        illustrate(drawing, done.folder / "pictures", sweep="sweep" not in absent)
        return judged(done.folder, done.record, self.plan)

    def load(self, folder: Path) -> ValidationResult:
        """Return the result of the finished validation in `folder`.

        Raises:
            AuditError: a table of it is gone.
        """
        return assess(folder)


def _part(stage: str, subject: Subject) -> Part:
    depends = subject if stage == "radiographs" else subject[:2]
    return Part(canonical_hash([stage, depends])[:32], (stage, subject))


# What a judge or extractor says of the weights it has.
_NAMED = ("source", "sha256", "weights", "files", "trained_on", "val")


def _described(reader: Any) -> dict[str, Any]:
    """Return what identifies a judge or extractor."""
    facts = described(reader)
    kept: Row = {key: facts[key] for key in _NAMED if key in facts}
    name = str(getattr(reader, "name", type(reader).__name__))
    return {"name": name, "size": int(reader.size), **kept}


class _Sitting:
    """One subject in one stage: a method per stage, called with the edits of its radiograph."""

    def __init__(
        self, job: ValidateJob, stage: str, subject: Subject, radiograph: Radiograph
    ) -> None:
        self._job, self._plan, self._readers = job, job.plan, job.readers
        self._stage, self._subject = stage, subject
        self.made = Made(facts={"planned": 0, "ok": 0, "absent": {}})
        self._before = Look(radiograph, job.readers)
        # The first sham of every mode.
        self._shams: dict[str, Look] = {}

    def radiographs(self, _: Edited) -> None:
        """Look at a baseline, and compare it with its patient's other visit and with strangers."""
        own = self._before
        self._add("vectors", _known_by(own))
        for group, image in self._subject.companions:
            try:
                other = Look(self._job.data.radiograph(image), self._readers)
            except InputError as error:
                self._missing(image, error.status, str(error))
                continue
            if other.picture.id == own.picture.id:
                self._missing(image, "same_picture", f"{image} is the same picture")
                continue
            measured = {"pfid": fidelity.pfid(own.gaussian, other.gaussian)}
            self._pair(group, image, "", measured | {"displaced": apart(other, own)})
            if group == GROUPS[2]:
                self._add("visits", _known_by(other))

    def known(self, _: Edited) -> None:
        """Look at a picture of another patient, for memorisation."""
        self._add("known", {"vector": self._before.vector})

    def real(self, _: Edited) -> None:
        """Look at a real positive."""
        self._fine("", "real", self._before)

    def edits(self, edited: Edited) -> None:
        """Edit a baseline at the operating point and measure everything."""
        made = list(self._looks(edited))
        self._fine("", "untouched", self._before)
        for one, after, control in made:
            name, way = _own(one.edit), _way(one.edit)
            if one.edit.composite == COMPOSITES[0]:
                self._measure({"edited": name, "way": way}, one, after, control)
            else:
                self._add("modes", {"edited": name} | self._likeness(one, after))
            seen = (*self._plan.findings[: self._plan.composited], *self._subject.matched)
            if way == "plain" and name in seen:
                self._fine(one.edit.composite, "edited", after, name)
        self._measure_shams()

    def sweep(self, edited: Edited) -> None:
        """Edit a baseline at every point of the grid."""
        for one, after, control in self._looks(edited):
            row: Row = {
                "strength": one.edit.strength,
                "guidance_scale": one.edit.guidance_scale,
                "edited": _own(one.edit),
            }
            nets = _nets(after, control)
            for read, net in nets.items():
                self._add("sweep_nets", row | {"read": read, "net": net})
            row |= {"net": nets.get(row["edited"], math.nan), "vector": after.vector}
            self._add("sweep", row | against(after, self._before))
            after.release()

    def prompts(self, edited: Edited) -> None:
        """Word every finding in many ways, at several seeds."""
        for one, after, control in self._looks(edited):
            name = _own(one.edit)
            row = {
                "edited": name,
                "wording": wordings(name).index(str(one.edit.prompt)),
                "prompt": one.edit.prompt,
                "seed": one.edit.seed,
                "net": _nets(after, control).get(name, math.nan),
            }
            self._add("prompts", row)

    def reversal(self, edited: Edited) -> None:
        """Remove what was added, and edit shams into shams."""
        made = list(self._well(edited))
        self._cycle(made)
        for one, added, _ in made:
            undo = replace(one.edit, action="remove")
            try:
                removed = list(self._well(self._edited(added, undo)))
            except EditError as error:
                self.made.facts["absent"]["reversal"] = str(error)
                return
            for _, back, _ in removed:
                self._compare_removed(_own(one.edit), *self._readers.look([added, back]))

    def _compare_removed(self, name: str, added: Look, back: Look) -> None:
        row: Row = {"edited": name}
        for label, look in (("added", added), ("back", back)):
            gap = look.logits.get(name, math.nan) - self._before.logits.get(name, math.nan)
            measured = against(look, self._before)
            row |= {f"net_{label}": gap, f"l1_{label}": measured["l1"]}
            row |= {f"perceptual_{label}": measured["perceptual"]}
        self._add("reversal", row)

    def _cycle(self, made: Sequence[tuple[Counterfactual, Radiograph, Radiograph]]) -> None:
        """Edit the first edit's sham into its sham, again and again (Monteiro et al., 2023)."""
        for cycle in range(2, self._plan.cycles + 1):
            if not made:
                return
            one, _, sham = made[0]
            made = list(self._well(self._edited(sham, one.edit)))
            if made:
                row = {"composite": COMPOSITES[0], "cycle": cycle}
                look = Look(made[0][2], self._readers)
                self._add("shams", row | against(look, self._before))

    def _measure(self, row: Row, one: Counterfactual, after: Look, control: Look) -> None:
        """Add the rows of one edit in the default mode."""
        name = row["edited"]
        sides = {"nets": (after.logits, control.logits), "second": (after.second, control.second)}
        for table, (edit, without) in sides.items():
            for read, logit in edit.items():
                logits = {"edit": logit, "control": without[read]}
                self._add(table, row | {"read": read, "net": logit - without[read]} | logits)
        net = {"net": _nets(after, control).get(name, math.nan)}
        measured = self._likeness(one, after)
        self._add("edits", row | net | measured)
        if row["way"] == "plain":
            self._pair(GROUPS[0], one.edit.id, name, measured)

    def _likeness(self, one: Counterfactual, after: Look) -> Row:
        """Return how like its baseline an edit is, and what it changed."""
        own = {"composite": one.edit.composite} | _known_by(after)
        return own | against(after, self._before) | change(one, after, self._before)

    def _measure_shams(self) -> None:
        """Add the rows of the first sham of every mode."""
        for mode in COMPOSITES:
            if mode not in self._shams:
                continue
            look = self._shams[mode]
            measured = against(look, self._before)
            row = {"composite": mode, "cycle": 1} | _known_by(look) | measured
            self._fine(mode, "sham", look)
            if mode == COMPOSITES[0]:
                line = fidelity.longest_line(look.small - self._before.small)
                row |= {"line": line} | moved(look, self._before)
                self._pair(GROUPS[1], "sham", "", measured)
            self._add("shams", row)

    def _looks(self, edited: Edited) -> Iterator[tuple[Counterfactual, Look, Look]]:
        """Yield the edits that came out well, with looks at counterfactual and control."""
        for one, image, sham in self._well(edited):
            first = self._shams.setdefault(one.edit.composite, Look(sham, self._readers))
            assert one.control is not None
            after, control = self._readers.look([image, one.control], self._before, first)
            yield one, after, control

    def _edited(self, picture: Radiograph, edit: Edit) -> Edited:
        """Edit a picture that was made.

        Raises:
            EditError: the editor does not make such edits.
        """
        return self._job.editor.edit([picture], [edit])

    def _well(self, edited: Edited) -> Iterator[tuple[Counterfactual, Radiograph, Radiograph]]:
        """Yield the edits that came out well, with image and sham; note which did not."""
        self.made.facts["planned"] += len(edited)
        for one in edited:
            if one.status == "ok" and one.image is not None and one.sham is not None:
                self.made.facts["ok"] += 1
                yield one, one.image, one.sham
            else:
                self._missing(one.edit.label, one.status, "the editor made no picture")

    def _add(self, table: str, row: Row) -> None:
        self.made.add(table, self._subject.names | row)

    def _fine(self, composite: str, arm: str, look: Look, edited: str = "") -> None:
        names = {"edited": edited, "composite": composite, "arm": arm}
        self._add("fine", names | fine(look))

    def _pair(self, group: str, other: str, edited: str, measured: Row) -> None:
        row = {"other_id": other, "edited": edited}
        row |= {key: measured[key] for key in ("pfid", "displaced")}
        self.made.add("pairs", {"group": group, **self._subject.names, **row})

    def _missing(self, edit: str, status: str, message: str) -> None:
        names = {"stage": self._stage, "baseline_id": self._subject.baseline_id, "edit": edit}
        self.made.missing(status, message, **names)


def _own(edit: Edit) -> str:
    return " + ".join(edit.findings)


def _way(edit: Edit) -> str:
    """Return which of `WAYS` an edit goes."""
    if edit.hold:
        return "hold"
    return "region" if edit.region else "plain"


def _known_by(look: Look) -> Row:
    """Return what a picture is found again by: mean features, and the recogniser's vector."""
    return {"vector": look.vector, "patient": look.patient}


def _nets(look: Look, control: Look) -> dict[str, float]:
    return {name: value - control.logits[name] for name, value in look.logits.items()}
