"""The parts of an audit: radiographs edited and read, and labelled ones read as they are.

A *case* is one radiograph with all its edits: it is edited, and read by every classifier and by the
judge. What the readers say is kept as lists of logits and becomes rows at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import roentmod
from roentmod.classifiers import checks
from roentmod.datasets import Dataset
from roentmod.datasets.phantom import phantom
from roentmod.editors.compose import shrink
from roentmod.edits import Edit
from roentmod.errors import InputError
from roentmod.interfaces import Classifier, Counterfactual, RadiographEditor, described
from roentmod.jobs.audit.examples import illustrate
from roentmod.jobs.audit.judgement import RECORD, judged, keep, kept
from roentmod.jobs.audit.predictions import TABLES
from roentmod.jobs.audit.readers import Readers
from roentmod.jobs.audit.result import AuditResult
from roentmod.jobs.batches import MARKS, EditingJob, Wanted, count_burned_in, noting
from roentmod.plans import AuditPlan, Rules
from roentmod.radiograph import Radiograph
from roentmod.runs import AGAIN, Done, Made, Part, Row, Stage, Task, read_record
from roentmod.science.effects import JUDGE, SECOND
from roentmod.store import atomic, canonical_hash

__all__ = ["AuditJob", "Batch", "Case"]

EDITING, READING = "editing and reading", "reading labelled radiographs"
ITEMS = ("baseline_id", "edited_finding", "severity", "seed", "classifier", "status", "message")
# Radiographs read together.
_BATCH = 16
# More cases than this are in the record as number and hash.
_LISTED = 1000


class Case(NamedTuple):
    """One radiograph, and the finding that is removed from it; "" where findings are added."""

    baseline_id: str
    patient_id: str
    removed: str = ""


class Batch(NamedTuple):
    """Labelled radiographs that are read together: image and patient of each."""

    images: tuple[tuple[str, str], ...]


@dataclass(eq=False)
class AuditJob(EditingJob[AuditResult]):
    """Readings of edited and of labelled radiographs; the result judges them.

    Attributes:
        data: where radiographs come from.
        editor: makes counterfactuals and shams.
        readers: classifiers and judge.
        plan: edits and numbers.
        rules: how to judge.
        cases: what is edited, one row per `Case`.
        labelled: image and patient of the unedited radiographs to read.
        baselines: what is known of each case.
        states: what is known of each labelled radiograph.
        warnings: which facts predict their labels.
    """

    data: Dataset
    editor: RadiographEditor
    readers: Readers
    plan: AuditPlan
    rules: Rules
    cases: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(Case._fields)))
    labelled: Sequence[tuple[str, str]] = ()
    baselines: pd.DataFrame = field(default_factory=pd.DataFrame)
    states: pd.DataFrame = field(default_factory=pd.DataFrame)
    warnings: tuple[str, ...] = ()
    kind = "audit"
    article = "an audit"
    record = RECORD
    libraries = ("numpy", "pandas", "scipy", "torch", "onnxruntime", "diffusers", "pillow")
    free = ("rules",)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what only plan and end of the run need."""
        return AuditJob, (self.data, self.editor, self.readers, self.plan, self.rules)

    def identity(self) -> Mapping[str, Any]:
        """Return what ``audit.json`` holds; rules may change."""
        readers = {name: _described(one) for name, one in self.readers.by_name.items()}
        cases = self.cases[["baseline_id", "patient_id"]].to_numpy().tolist()
        labelled = [self.labelled, self.states.to_csv()]
        return {
            "plan": self.plan.facts(),
            "control": self.plan.control,
            "data": described(self.data),
            "editor": described(self.editor),
            "judge": readers.pop(JUDGE),
            **({"second": readers.pop(SECOND)} if SECOND in readers else {}),
            "classifiers": readers,
            "version": roentmod.__version__,
            "cases": cases if len(cases) <= _LISTED else _summary(cases),
            "pairs": sum(len(self.edits[name]) for name in self.cases["removed"]),
            "levels": self.plan.levels(),
            "stress_findings": self.plan.findings,
            "rules": self.rules.facts(),
            "labelled": canonical_hash(labelled)[:16],
        }

    @cached_property
    def edits(self) -> dict[str, tuple[Edit, ...]]:
        """The edits of a case, by the finding that is removed."""
        removals = {name: tuple(self.plan.removal(name)) for name in self.plan.findings}
        return {"": tuple(self.plan.edits()), **removals}

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return {name: canonical_hash([e.id for e in some]) for name, some in self.edits.items()}

    def stages(self) -> Iterator[Stage]:
        """Yield a part per case, then a part per batch of labelled radiographs."""
        yield Stage(EDITING, len(self.cases), self._parts)
        starts = range(0, len(self.labelled), _BATCH)
        batches = [Batch(tuple(self.labelled[start : start + _BATCH])) for start in starts]
        yield Stage.of(READING, [Part(canonical_hash(["labelled", b.images]), b) for b in batches])

    def _parts(self) -> Iterator[Part]:
        for case in map(Case._make, self.cases.itertuples(index=False)):
            key = canonical_hash([case.baseline_id, case.patient_id, self._hashes[case.removed]])
            yield Part(key[:32], case)

    def wanted(self, task: Task) -> Wanted:
        """Return a case's radiograph and edits; nothing where nobody is left to read them."""
        case = task.part.inputs
        if isinstance(case, Batch) or self._given_up(task):
            return Wanted()
        return Wanted(self.data.radiograph(case.baseline_id), self.edits[case.removed])

    def made(self, task: Task, radiograph: Any, edited: Sequence[Counterfactual]) -> Made:
        """Read a case or batch; readers that answered earlier are not asked again."""
        case, names, made = task.part.inputs, self._silent(task), Made()
        if task.earlier is not None and self._given_up(task):
            return task.earlier
        if isinstance(case, Batch):
            self._read_batch(case, names, made)
        else:
            self._read_case(case, radiograph, edited, names, made)
        return made if task.earlier is None else self._joined(task.earlier, made, names)

    def _given_up(self, task: Task) -> bool:
        """Tell whether an earlier run made all of a part that can be made now."""
        return task.earlier is not None and all(map(self.readers.given_up, self._silent(task)))

    def _silent(self, task: Task) -> list[str]:
        """Return the readers that a part has yet to be read by."""
        every = list(self.readers.by_name)
        if isinstance(task.part.inputs, Batch):
            every = [name for name in every if name not in (JUDGE, SECOND)]
        if task.earlier is None:
            return every
        again = {item["classifier"] for item in task.earlier.items if item["status"] in AGAIN}
        # Without a name: the radiograph or the editor.
        return every if "" in again else [name for name in every if name in again]

    def _joined(self, earlier: Made, made: Made, names: Sequence[str]) -> Made:
        """Return the earlier part with what the readers `names` say now, as if made in one go."""
        place = {name: number for number, name in enumerate(("", *self.readers.by_name))}
        requested = {"", *names}
        joined = Made()
        for table in {**earlier.rows, **made.rows}:
            if table == MARKS:
                continue
            kept = [
                row for row in earlier.rows.get(table, ()) if row["classifier"] not in requested
            ]
            rows = [*kept, *made.rows.get(table, ())]
            joined.add(table, *sorted(rows, key=lambda row: place[row["classifier"]]))
        items = [item for item in earlier.items if item["classifier"] not in requested] + made.items
        joined.items = sorted(items, key=lambda item: place[item["classifier"]])
        return joined

    def lost(self, part: Part, status: str, message: str) -> Made:
        """Return the items of a case, or of a batch, of which nothing was made."""
        made = Made()
        case = part.inputs
        if isinstance(case, Batch):
            for image, _ in case.images:
                made.missing(**_item(image, None, "", status, message))
        else:
            reason = "editor_failed" if status == "failed" else status
            made.missing(**_item(case.baseline_id, None, "", reason, message))
        return made

    def _read_case(
        self,
        case: Case,
        radiograph: Radiograph,
        edited: Sequence[Counterfactual],
        names: Sequence[str],
        made: Made,
    ) -> None:
        """Add what the readers `names` say of a radiograph and its edits."""
        pictures, arms = [radiograph], list[tuple[int, str]]()
        for number, one in enumerate(edited):
            if one.status != "ok":
                message = "the editor made no picture"
                made.missing(**_item(case.baseline_id, one.edit, "", one.status, message))
            if one.image is not None and one.sham is not None:
                pictures += [one.image, one.sham]
                arms += [(number, "counterfactual"), (number, "sham")]
        for name in names:
            logits, status, message = self.readers.read(name, pictures)
            if all(one == "classifier_failed" for one in status):
                made.missing(**_item(case.baseline_id, None, name, status[0], message))
                continue
            if status[0] != "ok":
                why = f"baseline: {message}"
                made.missing(**_item(case.baseline_id, None, name, status[0], why))
            read = []
            for at, (number, arm) in enumerate(arms, start=1):
                if status[at] == "ok":
                    read.append([number, arm, logits[at].tolist()])
                    continue
                why, edit = f"{arm}: {message}", edited[number].edit
                made.missing(**_item(case.baseline_id, edit, name, status[at], why))
            made.add("predictions", {"classifier": name, "of": logits[0].tolist(), "read": read})

    def _read_batch(self, batch: Batch, names: Sequence[str], made: Made) -> None:
        """Add what the readers `names` say of labelled radiographs."""
        pictures, kept = [], []
        for image, patient in batch.images:
            try:
                pictures.append(self.data.radiograph(image))
                kept.append((image, patient))
            except InputError as error:
                made.missing(**_item(image, None, "", error.status, str(error)))
        for name in names if pictures else ():
            reading = self.readers.read(name, pictures)
            for (image, patient), logits, status in zip(
                kept, reading.logits, reading.status, strict=True
            ):
                if status != "ok":
                    made.missing(**_item(image, None, name, status, reading.message))
                    continue
                row = {"classifier": name, "image_id": image, "patient_id": patient}
                made.add("readings", row | {"logits": logits.tolist()})

    def finish(self, done: Done) -> AuditResult:
        """Write tables and pictures, and judge."""
        rows = {"predictions": self._predictions(done), "readings": self._readings(done)}
        for name, columns in TABLES.items():
            done.write_table(name, columns, rows[name])
        items = done.items(ITEMS)
        tables = {"baselines": self._marked(done), "states": self.states, "items": items}
        for name, table in tables.items():
            with atomic(done.folder / f"{name}.parquet") as part:
                table.to_parquet(part)
        done.record["warnings"] = list(self.warnings)
        result, chosen = judged(done.folder, done.record)
        illustrate(done.folder, chosen, self.plan, self.data, self.editor)
        return keep(result, done.record)

    def _marked(self, done: Done) -> pd.DataFrame:
        """Return the table of baselines with what is burned in, and count that in the record."""
        known = {
            part.inputs.baseline_id: row
            for part, made in done.parts(EDITING)
            for row in made.rows.get(MARKS, ())
        }
        done.record["burned_in"] = count_burned_in(known.values())
        names = self.baselines["baseline_id"]
        noted = [noting(known.get(name)) for name in names]
        return self.baselines.assign(**{key: [row[key] for row in noted] for key in noting(None)})

    def _predictions(self, done: Done) -> Iterator[Row]:
        """Yield one row per reading of an edited picture."""
        for part, made in done.parts(EDITING):
            case: Case = part.inputs
            for row in made.rows.get("predictions", ()):
                name = row["classifier"]
                common = {"classifier": name} | case._asdict()
                for number, arm, logits in row["read"]:
                    own = common | self._described[case.removed, number, arm]
                    findings = self.readers.by_name[name].findings
                    for read, before, after in zip(findings, row["of"], logits, strict=True):
                        yield own | {
                            "read_finding": read,
                            "logit_baseline": before,
                            "logit_edited": after,
                        }

    @cached_property
    def _described(self) -> dict[tuple[str, int, str], Row]:
        """What a row says of an arm of an edit."""
        return {
            (removed, number, arm): {
                "pair_id": edit.id,
                "edit_id": (edit if arm == "counterfactual" else edit.sham()).id,
                "action": edit.action,
                "arm": arm,
                "edited_finding": " + ".join(edit.findings),
                "severity": edit.severity or "",
                "strength": edit.strength,
                "seed": edit.seed,
            }
            for removed, edits in self.edits.items()
            for number, edit in enumerate(edits)
            for arm in ("counterfactual", "sham")
        }

    def _readings(self, done: Done) -> Iterator[Row]:
        """Yield one row per reading of a labelled radiograph."""
        for row in done.rows("readings"):
            findings = self.readers.by_name[row["classifier"]].findings
            for read, logit in zip(findings, row["logits"], strict=True):
                yield row | {"read_finding": read, "logit": logit}

    def load(self, folder: Path) -> AuditResult:
        """Return the result of the finished audit in `folder`.

        Raises:
            AuditError: a table of it is gone.
        """
        return kept(folder, read_record(folder / RECORD))


def _item(image: str, edit: Edit | None, classifier: str, status: str, message: str) -> Row:
    """Return what the table of items says of a radiograph, or of an edit of it."""
    return {
        "baseline_id": image,
        "edited_finding": " + ".join(edit.findings) if edit else "",
        "severity": (edit.severity or "") if edit else "",
        "seed": edit.seed if edit else -1,
        "classifier": classifier,
        "status": status,
        "message": message,
    }


def _summary(cases: Sequence[Any]) -> dict[str, Any]:
    return {"count": len(cases), "sha256": canonical_hash(cases)}


def _described(classifier: Classifier) -> dict[str, Any]:
    """Return what a classifier says of itself; one that says nothing has the heads it reads."""
    plain = [
        {"name": name, "finding": name, "state": "read", "note": ""} for name in classifier.findings
    ]
    usual = {"source": type(classifier).__name__, "size": classifier.size, "heads": plain}
    facts = usual | described(classifier)
    return facts | {"fingerprint": None if facts.get("sha256") else _fingerprint(classifier)}


def _fingerprint(classifier: Classifier) -> list[float] | None:
    """Return what a classifier says of one phantom; None where it does not answer now.

    A model without a hash of its weights that is exchanged behind the same name is noticed by it.
    """
    picture = shrink(phantom(0).radiograph, classifier.size)
    reading = checks.read(classifier, picture[None])
    return [round(float(v), 3) for v in reading.logits[0]] if reading.status == ["ok"] else None
