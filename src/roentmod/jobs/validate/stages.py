"""The expensive part: edits, looks at them, and the files they are kept in.

A *part* is one baseline in one stage. It is edited and measured as a whole and written to
``parts/STAGE-NUMBER.json`` before the next one begins, so that a run that is killed loses at most
that part. Parts do not see each other: order and restarts change nothing.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod.edits import Edit
from roentmod.errors import EditError, InputError
from roentmod.interfaces import Counterfactual, Progress, RadiographEditor
from roentmod.jobs.validate.measure import Look, Readers, Row, against, change, fine, moved
from roentmod.jobs.validate.prompts import wordings
from roentmod.plans.validate import COMPOSITES, ValidatePlan
from roentmod.radiograph import Radiograph
from roentmod.rundir import Source
from roentmod.science import fidelity
from roentmod.science.fidelity import GROUPS
from roentmod.store import write_json

__all__ = ["Bench", "Part", "Subject", "joined", "run_stage"]

log = logging.getLogger(__name__)
_ITEMS = ("stage", "baseline_id", "edit", "status", "message")


@dataclass(frozen=True)
class Bench:
    """What every part works with."""

    source: Source
    editor: RadiographEditor
    readers: Readers
    plan: ValidatePlan


@dataclass(frozen=True)
class Subject:
    """One baseline and the pictures that it is compared with: (group, image id)."""

    baseline_id: str
    patient_id: str
    companions: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> Row:
        """What every row says of it."""
        return {"baseline_id": self.baseline_id, "patient_id": self.patient_id}


@dataclass
class Part:
    """What is kept of one part.

    Attributes:
        tables: rows by table.
        items: what has no result.
        absent: sections that the editor has nothing for, and why.
        edits: edits asked for, and those that came out well.
        seconds: how long it took.
    """

    tables: dict[str, list[Row]] = field(default_factory=dict)
    items: list[Row] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    edits: dict[str, int] = field(default_factory=lambda: {"planned": 0, "ok": 0})
    seconds: float = 0.0

    def add(self, table: str, row: Row) -> None:
        """Add one row."""
        self.tables.setdefault(table, []).append(row)

    def missing(self, stage: str, name: str, edit: str, status: str, message: str) -> None:
        """Say that something has no result."""
        row = dict(zip(_ITEMS, (stage, name, edit, status, message), strict=True))
        self.items.append(row)


Stage = Callable[[Bench, Subject, Part], None]


def run_stage(
    name: str,
    bench: Bench,
    subjects: Sequence[Subject],
    folder: Path,
    progress: Progress | None = None,
) -> list[Part]:
    """Do what is left of a stage and return all its parts, in the subjects' order."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, subject in enumerate(subjects):
        path = folder / f"{name}-{number:05d}.json"
        if not path.exists():
            write_json(path, _plain(vars(_carry_out(name, bench, subject))))
        parts.append(Part(**json.loads(path.read_text(encoding="utf-8"))))
        if progress:
            progress(number + 1, len(subjects))
    return parts


def joined(parts: Sequence[Part], table: str) -> pd.DataFrame:
    """Return the rows of one table of all parts."""
    rows = [row for part in parts for row in part.tables.get(table, [])]
    frame = pd.DataFrame(rows)
    # What JSON calls null was not a number.
    for column in frame:
        if frame[column].dtype == object and frame[column].map(_numeric).all():
            frame[column] = frame[column].astype(float)
    return frame


def _numeric(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _plain(value: Any) -> Any:
    """Return `value` with null for what is no finite number."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _carry_out(name: str, bench: Bench, subject: Subject) -> Part:
    part, started = Part(), time.perf_counter()
    try:
        _STAGES[name](bench, subject, part)
    except InputError as error:
        part = Part()
        part.missing(name, subject.baseline_id, "", "unreadable", str(error))
    part.seconds = round(time.perf_counter() - started, 3)
    return part


def _edited(
    bench: Bench,
    subject: Subject,
    part: Part,
    stage: str,
    picture: Radiograph,
    edits: Sequence[Edit],
) -> Iterator[Counterfactual]:
    """Yield the edits that came out well, and say which did not.

    Raises:
        EditError: the editor does not make such edits.
    """
    done = bench.editor.edit([picture], edits)
    part.edits["planned"] += len(done)
    for one in done:
        if one.status == "ok" and one.image is not None and one.sham is not None:
            part.edits["ok"] += 1
            yield one
        else:
            said = "the editor made no picture"
            part.missing(stage, subject.baseline_id, one.edit.label, one.status, said)


def _own(edit: Edit) -> str:
    return " + ".join(edit.findings)


def _nets(look: Look, sham: Look) -> dict[str, float]:
    return {name: value - sham.logits[name] for name, value in look.logits.items()}


def _radiographs(bench: Bench, subject: Subject, part: Part) -> None:
    """Look at a baseline, and compare it with its patient's other visit and with strangers."""
    own = Look(bench.source.radiograph(subject.baseline_id), bench.readers)
    part.add("vectors", subject.names | {"vector": own.vector})
    for group, image in subject.companions:
        try:
            other = Look(bench.source.radiograph(image), bench.readers)
        except InputError as error:
            part.missing("radiographs", subject.baseline_id, image, "unreadable", str(error))
            continue
        if other.picture.id == own.picture.id:
            said = f"{image} is the same picture"
            part.missing("radiographs", subject.baseline_id, image, "same_picture", said)
            continue
        distance = fidelity.pfid(own.gaussian, other.gaussian)
        part.add("pairs", _pair(subject, group, image, "", distance))


def _pair(subject: Subject, group: str, other: str, edited: str, distance: float) -> Row:
    return {
        "group": group,
        **subject.names,
        "other_id": other,
        "edited": edited,
        "pfid": distance,
    }


def _known(bench: Bench, subject: Subject, part: Part) -> None:
    """Look at a picture of another patient, for memorisation."""
    look = Look(bench.source.radiograph(subject.baseline_id), bench.readers)
    part.add("known", subject.names | {"vector": look.vector})


def _edits(bench: Bench, subject: Subject, part: Part) -> None:
    """Edit a baseline at the operating point and measure everything."""
    picture = bench.source.radiograph(subject.baseline_id)
    before = Look(picture, bench.readers)
    made = list(_edited(bench, subject, part, "edits", picture, bench.plan.edits()))
    part.add("fine", subject.names | {"composite": "", "arm": "untouched"} | fine(before))
    shams: dict[tuple[str, str], Look] = {}
    for one in made:
        assert one.image is not None
        assert one.sham is not None
        after, sham = bench.readers.look([one.image, one.sham], before)
        sham = shams.setdefault((one.edit.composite, one.sham.id), sham)
        row = subject.names | {"edited": _own(one.edit), "way": _way(one.edit)}
        if one.edit.composite == COMPOSITES[0]:
            _measure(part, subject, row, (one, after, sham, before))
        composited = bench.plan.findings[: bench.plan.composited]
        if row["way"] == "plain" and _own(one.edit) in composited:
            arm = {"composite": one.edit.composite, "arm": "edited"}
            part.add("fine", row | arm | fine(after))
    _measure_shams(part, subject, shams, before)


def _way(edit: Edit) -> str:
    """Return which of `WAYS` an edit goes."""
    if edit.hold:
        return "hold"
    return "region" if edit.region else "plain"


def _measure(
    part: Part,
    subject: Subject,
    row: Row,
    looks: tuple[Counterfactual, Look, Look, Look],
) -> None:
    """Add the rows of one edit in the default mode."""
    one, after, sham, before = looks
    nets = _nets(after, sham)
    for read, net in nets.items():
        part.add(
            "nets",
            row | {"read": read, "net": net, "edit": after.logits[read], "sham": sham.logits[read]},
        )
    measured = against(after, before) | change(one, after, before)
    own = nets.get(row["edited"], math.nan)
    part.add("edits", row | {"net": own, "vector": after.vector} | measured)
    if row["way"] == "plain":
        name = one.edit.id
        pair = _pair(subject, GROUPS[0], name, row["edited"], measured["pfid"])
        part.add("pairs", pair)


def _measure_shams(
    part: Part, subject: Subject, shams: dict[tuple[str, str], Look], before: Look
) -> None:
    """Add the rows of the first sham of every mode."""
    for mode in COMPOSITES:
        look = next((look for (own, _), look in shams.items() if own == mode), None)
        if look is None:
            continue
        measured = against(look, before)
        row = subject.names | {"composite": mode, "cycle": 1} | measured
        part.add("fine", subject.names | {"composite": mode, "arm": "sham"} | fine(look))
        if mode == COMPOSITES[0]:
            line = fidelity.longest_line(look.small - before.small)
            row |= {"line": line} | moved(look, before)
            part.add("pairs", _pair(subject, GROUPS[1], "sham", "", measured["pfid"]))
        part.add("shams", row)


def _sweep(bench: Bench, subject: Subject, part: Part) -> None:
    """Edit a baseline at every point of the grid."""
    picture = bench.source.radiograph(subject.baseline_id)
    before = Look(picture, bench.readers)
    shams: dict[str, Look] = {}
    for one in _edited(bench, subject, part, "sweep", picture, bench.plan.sweep()):
        assert one.image is not None
        assert one.sham is not None
        after, sham = bench.readers.look([one.image, one.sham], before)
        sham = shams.setdefault(one.sham.id, sham)
        row = subject.names | {
            "strength": one.edit.strength,
            "guidance_scale": one.edit.guidance_scale,
            "edited": _own(one.edit),
        }
        nets = _nets(after, sham)
        for read, net in nets.items():
            part.add("sweep_nets", row | {"read": read, "net": net})
        part.add(
            "sweep",
            row
            | {"net": nets.get(row["edited"], math.nan), "vector": after.vector}
            | against(after, before),
        )
        for look in (after, sham):
            look.release()


def _prompts(bench: Bench, subject: Subject, part: Part) -> None:
    """Word every finding in many ways, at several seeds."""
    picture = bench.source.radiograph(subject.baseline_id)
    plan = bench.plan
    edits = [
        plan.edit(name, prompt=prompt, seed=seed)
        for name in plan.first
        for prompt in wordings(name)
        for seed in range(plan.seeds)
    ]
    try:
        made = list(_edited(bench, subject, part, "prompts", picture, edits))
    except EditError as error:
        part.absent["wording"] = str(error)
        return
    shams: dict[str, Look] = {}
    for one in made:
        assert one.image is not None
        assert one.sham is not None
        after, sham = bench.readers.look([one.image, one.sham])
        sham = shams.setdefault(one.sham.id, sham)
        name = _own(one.edit)
        part.add(
            "prompts",
            subject.names
            | {
                "edited": name,
                "wording": wordings(name).index(str(one.edit.prompt)),
                "prompt": one.edit.prompt,
                "seed": one.edit.seed,
                "net": _nets(after, sham).get(name, math.nan),
            },
        )


def _reversal(bench: Bench, subject: Subject, part: Part) -> None:
    """Remove what was added, and edit shams into shams."""
    plan = bench.plan
    picture = bench.source.radiograph(subject.baseline_id)
    before = Look(picture, bench.readers)
    edits = [plan.edit(name) for name in plan.first]
    made = list(_edited(bench, subject, part, "reversal", picture, edits))
    _cycle(bench, subject, part, made, before)
    for one in made:
        assert one.image is not None
        undo = replace(one.edit, action="remove")
        try:
            undone = list(_edited(bench, subject, part, "reversal", one.image, [undo]))
        except EditError as error:
            part.absent["reversal"] = str(error)
            return
        for back in undone:
            assert back.image is not None
            _compare_undone(part, subject, _own(one.edit), (before, one.image, back.image), bench)


def _compare_undone(
    part: Part,
    subject: Subject,
    name: str,
    pictures: tuple[Look, Radiograph, Radiograph],
    bench: Bench,
) -> None:
    before = pictures[0]
    added, back = bench.readers.look(pictures[1:])
    row = subject.names | {"edited": name}
    for label, look in (("added", added), ("back", back)):
        gap = look.logits.get(name, math.nan) - before.logits.get(name, math.nan)
        measured = against(look, before)
        row |= {f"net_{label}": gap, f"l1_{label}": measured["l1"]}
        row |= {f"perceptual_{label}": measured["perceptual"]}
    part.add("reversal", row)


def _cycle(
    bench: Bench, subject: Subject, part: Part, made: Sequence[Counterfactual], before: Look
) -> None:
    """Edit the first edit's sham into its sham, again and again (Monteiro et al., ICLR 2023)."""
    if not made or made[0].sham is None:
        return
    one = made[0]
    for cycle in range(2, bench.plan.cycles + 1):
        assert one.sham is not None
        again = list(_edited(bench, subject, part, "reversal", one.sham, [one.edit]))
        if not again or again[0].sham is None:
            return
        one = again[0]
        assert one.sham is not None
        look = Look(one.sham, bench.readers)
        row = subject.names | {"composite": COMPOSITES[0], "cycle": cycle}
        part.add("shams", row | against(look, before))


_STAGES: dict[str, Stage] = {
    "radiographs": _radiographs,
    "known": _known,
    "edits": _edits,
    "sweep": _sweep,
    "prompts": _prompts,
    "reversal": _reversal,
}
