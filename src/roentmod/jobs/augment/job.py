"""Edits, gate and pictures of a training set: one part per baseline, with all its edits."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import roentmod
from roentmod import imaging
from roentmod.datasets import Dataset
from roentmod.documents import read_document
from roentmod.edits import Arm, Control, Edit
from roentmod.errors import InputError, RunError
from roentmod.imaging.provenance import STATEMENT
from roentmod.interfaces import Classifier, Counterfactual, RadiographEditor, described
from roentmod.jobs.audit.readers import Readers
from roentmod.jobs.augment.manifest import MANIFEST, Row, labelled, written
from roentmod.jobs.augment.result import RECORD, AugmentResult, label_facts
from roentmod.jobs.augment.shards import Repacking
from roentmod.jobs.batches import MARKS, EditingJob, Wanted, count_burned_in, noting
from roentmod.plans import AugmentPlan
from roentmod.radiograph import Radiograph
from roentmod.runs import AGAIN, Done, Made, Part, Stage, Task
from roentmod.runs.attempts import attempt
from roentmod.runs.record import made_with
from roentmod.science.cooccurrence import CoOccurrence
from roentmod.science.effects import JUDGE
from roentmod.store import canonical_hash, file_sha256, write_json

__all__ = ["AugmentJob", "Case"]

_TABLE = "pictures"


@dataclass(frozen=True, slots=True)
class Case:
    """One baseline, what is done to it, and the folder of loose pictures that it belongs to."""

    baseline_id: str
    edits: tuple[Edit, ...]
    shard: int

    @property
    def key(self) -> str:
        """Name of its files: 16 hex digits, as ids may hold slashes and patients' names."""
        return hashlib.sha256(self.baseline_id.encode()).hexdigest()[:16]


@dataclass(eq=False)
class AugmentJob(EditingJob[AugmentResult]):
    """Pictures of cases; the result is their manifest.

    Attributes:
        data: where radiographs come from.
        editor: makes counterfactuals and shams.
        judge: gates them; None lets all pass.
        plan: edits, gate and labels.
        form: "files", or of shards "webdataset" or "parquet".
        cases: what is done to each baseline, in the order of the manifest.
        facts: what is known of each baseline.
        targets: labels by added finding.
        rates: where soft ones come from.
    """

    data: Dataset
    editor: RadiographEditor
    judge: Classifier | None
    plan: AugmentPlan
    form: Any
    cases: Sequence[Case] = ()
    facts: pd.DataFrame = field(default_factory=pd.DataFrame)
    targets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rates: CoOccurrence | None = None
    kind = "augment"
    article = "a training set"
    record = "run.json"
    libraries = ("numpy", "pandas", "pyarrow", "torch", "onnxruntime", "diffusers", "pillow")
    free = ("labels", "cooccurrence")
    moved = hashed = True

    def __post_init__(self) -> None:
        """Keep pictures for shards in the journal until then."""
        super().__post_init__()
        self.packed = self.form != "files"

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what only plan and end of the run need."""
        return AugmentJob, (self.data, self.editor, self.judge, self.plan, self.form)

    @cached_property
    def readers(self) -> Readers:
        """The judge, which is not asked for ever if it does not answer."""
        return Readers({} if self.judge is None else {JUDGE: self.judge})

    def identity(self) -> dict[str, Any]:
        """Return what ``augment.json`` holds, less counts and provenance; labels may change."""
        names = "\n".join(f"{case.shard} {case.baseline_id}" for case in self.cases)
        fixed = {key: value for key, value in self.plan.facts().items() if key != "labelling"}
        judged = () if self.judge is None else self.judge.findings
        return {
            "synthetic": "YES",
            "statement": STATEMENT,
            "version": roentmod.__version__,
            "plan": fixed,
            "control": self.plan.control,
            "data": described(self.data),
            "cases": len(self.cases),
            "cases_sha256": hashlib.sha256(names.encode()).hexdigest(),
            "editor": described(self.editor),
            "judge": None if self.judge is None else described(self.judge),
            "not_gated": [name for name in self.plan.findings if name not in judged],
            "form": self.form,
            **label_facts(self.plan.labelling, self.targets, self.rates),
        }

    def stages(self) -> Iterator[Stage]:
        """Yield the only stage: one part per case."""
        yield Stage("editing", len(self.cases), lambda: map(self._part, self.cases))

    def _part(self, case: Case) -> Part:
        # All else is the folder's.
        edits = [_columns(edit)["edit_id"] for edit in case.edits]
        return Part(canonical_hash([case.baseline_id, edits])[:32], case)

    def wanted(self, task: Task) -> Wanted:
        """Return a baseline and its edits."""
        case: Case = task.part.inputs
        return Wanted(self.data.radiograph(case.baseline_id), case.edits)

    def lost(self, part: Part, status: str, message: str) -> Made:
        """Return the rows of a case of which nothing was made."""
        case: Case = part.inputs
        rows = [_row(case, "baseline")] if "baseline" in self.plan.beside else []
        rows += [_row(case, "counterfactual", edit) for edit in case.edits]
        made = Made()
        why = {"status": "editor_failed" if status == "failed" else status, "message": message}
        for row in rows:
            _add(made, row | why)
        return made

    def made(self, task: Task, radiograph: Radiograph, edited: Sequence[Counterfactual]) -> Made:
        """Let the judge see the edits of a baseline, and encode what passes."""
        case: Case = task.part.inputs
        made = Made()
        verdicts = self._verdicts(edited)
        if "baseline" in self.plan.beside:
            self._keep(made, case, _row(case, "baseline"), radiograph)
        passed = [e for e, why in zip(edited, verdicts, strict=True) if why["status"] == "ok"]
        if "sham" in self.plan.beside and passed:
            # All edits of a baseline share the noise, so that one sham stands for all.
            self._keep(made, case, _row(case, "sham", passed[0].edit.sham()), passed[0])
        for one, verdict in zip(edited, verdicts, strict=True):
            row = _row(case, "counterfactual", one.edit) | verdict
            if row["status"] == "ok":
                self._keep(made, case, row, one)
            else:
                _add(made, row)
        return made

    def _keep(self, made: Made, case: Case, row: Row, picture: Radiograph | Counterfactual) -> None:
        """Add a picture, and its row with path and hash."""
        name = f"{row['image_id']}.png"
        if isinstance(picture, Radiograph):
            data = imaging.encode(picture, name, provenance=None)
            row = row | {"synthetic": "YES" if picture.synthetic else "NO"}
        else:
            arm: Arm = "sham" if row["arm"] == "sham" else "counterfactual"
            data = imaging.encode_edit(picture, name, arm=arm)
        path = name if self.packed else f"images/{case.shard:05d}/{name}"
        made.files[path] = data
        _add(made, row | {"path": path, "sha256": hashlib.sha256(data).hexdigest()})

    def _verdicts(self, edited: Sequence[Counterfactual]) -> list[Row]:
        """Return status, message and net logit of every edit."""
        verdicts: list[Row] = [
            {"status": one.status, "message": "" if one.status == "ok" else "no picture was made"}
            for one in edited
        ]
        judge = self.judge
        gate = self.plan.gate_logit
        if judge is None or gate is None:
            return verdicts
        seen = [n for n, one in enumerate(edited) if one.edit.findings[0] in judge.findings]
        both = {n: (edited[n].image, edited[n].control) for n in seen}
        seen = [n for n in seen if None not in both[n]]
        pictures = [picture for n in seen for picture in both[n] if picture is not None]
        if not pictures:
            return verdicts
        reading = self.readers.read(JUDGE, pictures)
        for at, number in enumerate(seen):
            bad = [s for s in reading.status[2 * at : 2 * at + 2] if s != "ok"]
            if bad:
                verdicts[number] = {"status": bad[0], "message": f"the judge: {reading.message}"}
                continue
            column = judge.findings.index(edited[number].edit.findings[0])
            logit, before = np.asarray(reading.logits[2 * at : 2 * at + 2, column], np.float64)
            control = edited[number].edit.control
            verdicts[number] |= _verdict(float(logit - before), gate, control)
        return verdicts

    def finish(self, done: Done) -> AugmentResult:
        """Write shards, tables and record; the manifest comes last."""
        heads = list(next(iter(self.targets.values())))
        counts: Counter[tuple[str, str]] = Counter()
        pictures = 0
        packing = Repacking(done.folder, self.form, heads) if self.packed else None
        with packing or nullcontext(), written(done.folder) as add:
            for row, part in self._rows(done):
                if row["arm"] == "counterfactual":
                    counts[row["edited_finding"], row["status"]] += 1
                if row["status"] == "ok":
                    pictures += 1
                    if packing is not None:
                        self._pack(done, part, row, packing)
                add(row)
            # No times: two runs give the same bytes.
            own = made_with(self.libraries)
            provenance = {k: v for k, v in own.items() if k not in ("started", "synthetic")}
            record = self.identity() | {"counts": _crosstab(counts), "pictures": pictures}
            record["provenance"] = provenance
            record["burned_in"] = count_burned_in(done.rows(MARKS))
            if packing is not None:
                record["shards"] = packing.finish()
            write_json(done.folder / RECORD, record)
        return AugmentResult(done.folder, record)

    def _rows(self, done: Done) -> Iterator[tuple[Row, Part]]:
        """Yield the rows of the manifest with their labels, in order."""
        columns = list(self.facts.columns)
        rows = pd.Index(self.facts["baseline_id"]).get_indexer([c.baseline_id for c in self.cases])
        facts = zip(*(self.facts[name].iloc[rows] for name in columns), strict=True)
        for values, (part, made) in zip(facts, done.parts(), strict=True):
            known = dict(zip(columns, values, strict=True))
            known |= noting(next(iter(made.rows.get(MARKS, ())), None))
            for row in made.rows.get(_TABLE, ()):
                yield labelled(known | row, self.targets), part

    def _pack(self, done: Done, part: Part, row: Row, packing: Repacking) -> None:
        """Put a row's picture into its shard."""
        picture = self._picture(done, part, row, packing)
        row["sha256"] = hashlib.sha256(picture).hexdigest()
        row["path"] = packing.add(row, picture)

    def _picture(self, done: Done, part: Part, row: Row, packing: Repacking) -> bytes:
        """Return a row's picture: the journal has it, or a shard that is there.

        Where neither has it whole, as a file was lost, it is made again.

        Raises:
            RunError: it cannot be made again.
        """
        name = row["path"]
        looks: tuple[Callable[[], bytes | None], ...] = (
            partial(done.content, part, name),
            partial(packing.earlier, name),
        )
        for look in looks:
            with suppress(OSError):
                picture = look()
                if picture and hashlib.sha256(picture).hexdigest() == row["sha256"]:
                    return picture
        made = attempt(self, [Task(part, done.folder)])[0]
        if name not in made.files:
            raise RunError(
                f"Pictures are kept in shards; {name} is in none, and making it again gave "
                f"'{made.items[0]['message']}'. Mend that, and run again."
            )
        return made.files[name]

    def load(self, folder: Path) -> AugmentResult | None:
        """Return the training set as it lies there, None where a file of it is gone."""
        try:
            record = read_document(folder / RECORD)
            shards = record.get("shards", ())
            whole = all(file_sha256(folder / one["path"]) == one["sha256"] for one in shards)
        except (OSError, InputError, KeyError, TypeError):
            return None
        same = all(record.get(key) == value for key, value in self.identity().items())
        there = whole and same and (folder / MANIFEST).is_file()
        return AugmentResult(folder, record) if there else None


@lru_cache(maxsize=1024)
def _columns(edit: Edit | None) -> Mapping[str, str]:
    """Return what rows say of an edit; few edits differ."""
    if edit is None:
        return dict.fromkeys(("edited_finding", "severity", "edit_id", "edit"), "")
    return {
        "edited_finding": " + ".join(edit.findings) if edit.arm == "counterfactual" else "",
        "severity": edit.severity or "",
        "edit_id": edit.id,
        "edit": json.dumps(asdict(edit), sort_keys=True),
    }


def _add(made: Made, row: Row) -> None:
    made.add(_TABLE, row)
    if row["status"] in AGAIN:
        made.missing(row["status"], row["message"], image_id=row["image_id"])


def _row(case: Case, arm: str, edit: Edit | None = None) -> Row:
    columns = _columns(edit)
    last = columns["edit_id"] if arm == "counterfactual" else arm
    files = {
        "image_id": f"{case.key}-{last}",
        "path": "",
        "sha256": "",
        "arm": arm,
        "synthetic": "YES",
    }
    return {**files, **columns, "status": "ok", "message": "", "net_logit": None}


def _verdict(net: float, gate: float, control: Control) -> Row:
    if not math.isfinite(net):
        return {"status": "not_finite", "message": "the judge's logits are not finite"}
    if net >= gate:
        return {"net_logit": net}
    message = f"the judge's logit rises by {net:.2f} against the {control}, less than {gate:g}"
    return {"status": "not_seen", "message": message, "net_logit": net}


def _crosstab(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Return counts by finding and status, with a 0 where there is none."""
    statuses = sorted({status for _, status in counts})
    findings = sorted({finding for finding, _ in counts})
    return {name: {one: counts.get((name, one), 0) for one in statuses} for name in findings}
