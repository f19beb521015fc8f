"""A data set whose labels are true and whose co-occurrence is planted: the ground truth of a study.

Findings are drawn by chance for every host, and an editor that is exact (the painter) puts them in.
In the splits named as planted, one finding of a pair comes with the other; in the others every
finding is independent of every other. A classifier that learns the link pays for it where the link
is broken. The folder that `run` writes is a plain one that `roentmod.datasets` loads.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roentmod import datasets, imaging
from roentmod.datasets import Dataset
from roentmod.domain import NO_FINDING
from roentmod.edits import Severity
from roentmod.errors import DatasetError, RunError
from roentmod.imaging.provenance import STATEMENT
from roentmod.interfaces import Counterfactual, Progress, RadiographEditor, described
from roentmod.jobs.batches import (
    MARKS,
    EditingJob,
    Wanted,
    count_burned_in,
    noting,
    say_time,
)
from roentmod.plans import PlantPlan
from roentmod.radiograph import Radiograph
from roentmod.runs import AGAIN, Done, Made, Part, Row, Stage, Task, Workers, read_record
from roentmod.runs import run as carry_out
from roentmod.store import atomic, canonical_hash

__all__ = ["INDEX", "PlantJob", "PlantPlan", "PlantResult", "draw", "hosts", "load", "run"]

INDEX, RECORD = "index.csv", "planted.json"
_FACTS = ("patient_id", "view", "age", "sex", "split", "site")
# Rows held in memory while the table is written.
_ROWS = 4_000


def hosts(data: Dataset, *, count: int | None = None) -> list[str]:
    """Return the ids of baselines to plant in, of each split, as `run` takes them.

    Pictures without a split are one more; a patient who has a split is not taken from them.

    Args:
        data: where from.
        count: how many at most of each split; None for all.

    Raises:
        DatasetError: there are none in the data or in a split, or a patient is in two splits.
    """
    table = data.table
    apart = table["split"] == ""
    placed = table["patient_id"].isin(table.loc[~apart, "patient_id"])
    every = datasets.baselines(replace(data, table=table[~(apart & placed)])).table["baseline_id"]
    chosen = list(every[every.isin(table.loc[apart, "image_id"])][:count])
    for split in sorted(set(table.loc[~apart, "split"])):
        chosen += list(datasets.baselines(data, count=count, split=split).table["baseline_id"])
    return chosen


def draw(host: str, split: str, plan: PlantPlan) -> tuple[dict[str, bool], Severity]:
    """Return what one host shows, and how severe; it depends on plan, id and split alone."""
    rng = _stream(host, plan, "labels")
    chance = dict(zip(plan.findings, rng.random(len(plan.findings)), strict=True))
    shown = {name: bool(value < plan.prevalence) for name, value in chance.items()}
    for cause, read in plan.pairs:
        copied = rng.random() < plan.correlation
        if copied and split in plan.planted:
            shown[read] = shown[cause]
    return shown, plan.severities[int(rng.integers(len(plan.severities)))]


@dataclass(frozen=True, eq=False, repr=False)
class PlantResult:
    """A planted data set.

    Attributes:
        folder: of the data set.
        record: what ``planted.json`` holds: also how many "pictures" there are, and how many hosts
            were "left_out", by status.
    """

    folder: Path
    record: dict[str, Any]

    def __repr__(self) -> str:
        """Return number and folder."""
        return f"<PlantResult: {self.record['pictures']} pictures in '{self.folder}'>"

    @property
    def failed(self) -> int:
        """How many hosts were left out as they could not be read, or the editor failed."""
        return sum(n for status, n in self.record["left_out"].items() if status in AGAIN)

    @property
    def index(self) -> Path:
        """The table's file."""
        return self.folder / INDEX

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per picture: path, ids, facts, 1 or 0 per finding, and its host."""
        return pd.read_csv(self.index)


def run(
    data: Dataset,
    hosts: Sequence[str],
    editor: RadiographEditor,
    plan: PlantPlan,
    folder: Path,
    *,
    workers: str | Workers = "serial",
    progress: Progress | None = None,
) -> PlantResult:
    """Write the planted data set; an interrupted run goes on where it stopped.

    A host in which the editor cannot work is left out, whatever it was to show.

    Args:
        data: where hosts come from; without splits, patients are assigned by the plan.
        hosts: their image ids.
        editor: puts findings in; labels are as true as it is exact.
        plan: what is planted.
        folder: the data set's folder.
        workers: who makes the parts, a form of `roentmod.runs.workers`.
        progress: called with hosts done and in all.

    Raises:
        DatasetError: an unknown host, or no picture came about.
        RunError: `folder` holds another data set.
        EditError: the editor cannot add one of the findings.
    """
    rows = pd.Index(data.table["image_id"]).get_indexer(list(hosts))
    if not len(hosts) or (rows < 0).any():
        strange = hosts[int(np.argmax(rows < 0))] if len(hosts) else "none"
        raise DatasetError(f"Hosts are pictures of {data.name}; got {strange}. Choose them there.")
    editor.edit([], [plan.edit(name) for name in plan.findings])
    # One picture per host, whatever it shows.
    say_time(editor, [[plan.edit(plan.findings[0])]] * len(hosts))
    facts = data.table[list(_FACTS)].iloc[rows].assign(host=list(map(str, hosts)))
    facts["split"] = [
        str(split) or _split_of(str(patient), plan)
        for split, patient in zip(facts["split"], facts["patient_id"], strict=True)
    ]
    stages = None if progress is None else lambda _: progress
    job = PlantJob(data, editor, plan, facts)
    return carry_out(job, folder, workers=workers, stages=stages)


def load(folder: Path) -> PlantResult:
    """Return a finished planted data set.

    Raises:
        RunError: none is there.
    """
    record = read_record(folder / RECORD)
    if "pictures" not in record or not (folder / INDEX).is_file():
        raise RunError(f"{folder.name} has no planted data set. Finish roentmod plant.")
    return PlantResult(folder, record)


@dataclass(eq=False)
class PlantJob(EditingJob[PlantResult]):
    """Pictures of hosts, one part per host; the result is their table.

    Attributes:
        data: where hosts come from.
        editor: puts findings in.
        plan: what is planted.
        facts: what is known of each host, in the order of the table.
    """

    data: Dataset
    editor: RadiographEditor
    plan: PlantPlan
    facts: pd.DataFrame = field(default_factory=pd.DataFrame)
    kind = "plant"
    article = "a planted data set"
    record = RECORD
    hashed = True
    libraries = ("numpy", "pandas", "pillow")

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave out what only plan and end of the run need."""
        return PlantJob, (self.data, self.editor, self.plan)

    def identity(self) -> Mapping[str, Any]:
        """Return plan, hosts and editor."""
        names = hashlib.sha256("\n".join(self.facts["host"]).encode()).hexdigest()
        return {
            "statement": STATEMENT,
            "plan": self.plan.facts(),
            "data": {"name": self.data.name, "hosts": len(self.facts), "hosts_sha256": names},
            "editor": described(self.editor),
        }

    def stages(self) -> Iterator[Stage]:
        """Yield the only stage."""
        yield Stage("planting", len(self.facts), self._parts)

    def _parts(self) -> Iterator[Part]:
        # Plan and editor are the folder's.
        for host in zip(self.facts["host"], self.facts["split"], strict=True):
            yield Part(canonical_hash(host)[:32], host)

    def wanted(self, task: Task) -> Wanted:
        """Return a host and its edit; one is tried where nothing is shown, too.

        Hosts without a finding must be of the same kind as the others: ones that can be edited.
        """
        host, split = task.part.inputs
        shown, severity = draw(host, split, self.plan)
        names = tuple(name for name, on in shown.items() if on)
        seed = int(_stream(host, self.plan, "edit").integers(2**31))
        edit = self.plan.edit(*(names or self.plan.findings[:1]), severity=severity, seed=seed)
        return Wanted(self.data.radiograph(host), [edit])

    def made(self, task: Task, radiograph: Radiograph, edited: Sequence[Counterfactual]) -> Made:
        """Encode a host's picture."""
        host, split = task.part.inputs
        made = Made()
        path = f"images/{_name(host)}.png"
        if edited[0].status != "ok":
            made.missing(edited[0].status, "the editor made no picture", host=host)
        elif any(draw(host, split, self.plan)[0].values()):
            made.files[path] = imaging.encode_edit(edited[0], path)
        else:
            made.files[path] = imaging.encode(radiograph, path, provenance=None)
        return made

    def finish(self, done: Done) -> PlantResult:
        """Write the table.

        Raises:
            DatasetError: it has no row.
        """
        left_out: Counter[str] = Counter()
        rows = self._rows(done, left_out)
        pictures = 0
        with atomic(done.folder / INDEX) as part, part.open("w", newline="") as text:
            while piece := list(islice(rows, _ROWS)):
                table = pd.DataFrame(piece)
                table.to_csv(text, header=not pictures, index=False, lineterminator="\n")
                pictures += len(piece)
            if not pictures:
                raise DatasetError(
                    f"Findings are planted where {self.editor.name} can work; it could in none of "
                    f"{len(self.facts)} hosts. Choose others."
                )
        done.record |= {"pictures": pictures, "left_out": dict(sorted(left_out.items()))}
        done.record["burned_in"] = count_burned_in(done.rows(MARKS))
        return PlantResult(done.folder, done.record)

    def _rows(self, done: Done, left_out: Counter[str]) -> Iterator[Row]:
        """Yield the rows of hosts with a picture, and count the others."""
        columns = zip(*(self.facts[name] for name in (*_FACTS, "host")), strict=True)
        for values, (_, made) in zip(columns, done.parts(), strict=True):
            if made.items:
                left_out[made.items[0]["status"]] += 1
                continue
            facts = dict(zip(_FACTS, values, strict=False))
            host = str(values[-1])
            shown, _ = draw(host, facts["split"], self.plan)
            labels = {name: int(on) for name, on in shown.items()}
            labels[NO_FINDING.name] = int(not any(shown.values()))
            name = _name(host)
            place = {"path": f"images/{name}.png", "image_id": name}
            noted = noting(next(iter(made.rows.get(MARKS, ())), None))
            yield place | facts | labels | {"host": host} | noted

    def load(self, folder: Path) -> PlantResult:
        """Return the data set as it lies there."""
        return load(folder)


def _name(host: str) -> str:
    return hashlib.sha256(host.encode()).hexdigest()[:16]


def _split_of(patient: str, plan: PlantPlan) -> str:
    """Return the split of a patient of a source without splits."""
    at = float(_stream(patient, plan, "split").random()) * sum(s for _, s in plan.shares)
    for split, share in plan.shares:
        at -= share
        if at < 0:
            return split
    return plan.shares[-1][0]


def _stream(name: str, plan: PlantPlan, what: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{what}/{plan.seed}/{name}".encode()).digest()
    return np.random.default_rng(list(digest[:16]))
