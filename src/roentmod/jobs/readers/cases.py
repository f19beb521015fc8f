"""Pictures that a reader study may show, and what is true of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from roentmod import datasets, imaging
from roentmod.datasets import Dataset
from roentmod.datasets.labels import NAMES
from roentmod.domain import NO_FINDING
from roentmod.editors import Painter
from roentmod.edits import Edit
from roentmod.errors import DatasetError, ReadersError
from roentmod.jobs import augment, edit
from roentmod.radiograph import Radiograph
from roentmod.store import file_sha256

__all__ = ["Case", "Kind", "Opener", "edited", "findings_of", "normals", "painted", "positives"]

Kind = Literal["edit", "real_positive", "real_normal", "repeat", "attention", "practice"]
# Large and plain enough, painted at full dose, that nobody who looks can miss them.
_PLAIN = (
    "Pleural Effusion", "Cardiomegaly", "Pneumothorax", "Consolidation", "Edema", "Mass",
)  # fmt: skip


class Opener(Protocol):
    """Reads a picture when it is needed."""

    def __call__(self) -> Radiograph:
        """Return it; errors as `roentmod.imaging.read`."""


@dataclass(frozen=True)
class Case:
    """One picture of a reader study, with its truth.

    Attributes:
        kind: what it is in the study.
        patient: pseudonym.
        open: reads the picture.
        finding: requested or labelled; "" for normals.
        present: all findings that are true of it, as far as known.
        side: "left", "right", "both" or "".
        severity: "mild", "moderate", "severe" or "".
        view: "PA", "AP" or "".
        source: where the picture is from: a data set's name.
        editor: who edited it; "" for a real one.
    """

    kind: Kind
    patient: str
    open: Opener
    finding: str = ""
    present: tuple[str, ...] = ()
    side: str = ""
    severity: str = ""
    view: str = ""
    source: str = ""
    editor: str = ""


def findings_of(cases: Iterable[Case]) -> list[str]:
    """Return the findings of edited cases, the most frequent first."""
    counts = Counter(case.finding for case in cases if case.kind == "edit")
    return [name for name, _ in counts.most_common()]


def edited(folder: Path) -> list[Case]:
    """Return the added findings of a run of `edit` or a training set of `augment`.

    Raises:
        ReadersError: neither is there, none is usable, or pictures have a word burned in.
        DatasetError: the training set is damaged.
    """
    if (folder / "augment.json").is_file():
        cases = list(_of_set(folder))
    elif (folder / edit.RECORD).is_file():
        cases = list(_of_run(folder))
    else:
        raise ReadersError(
            f"--edits is a folder of roentmod edit or roentmod augment; {folder} is neither. Name "
            "one."
        )
    if not cases:
        raise ReadersError(f"A reader study needs added findings; {folder} has none. Add some.")
    return cases


def _of_run(folder: Path) -> Iterable[Case]:
    record = edit.load(folder).record
    if record["settings"].get("burn_in"):
        raise ReadersError(
            "Readers must not see what a picture is; these edits have SYNTHETIC burned in. "
            "Edit again without --burn-in."
        )
    for item in record["items"]:
        wanted, files = item.get("edit", {}), item.get("files", {})
        if item["status"] != "ok" or wanted["action"] != "add" or not wanted["findings"]:
            continue
        name = next(name for name in ("counterfactual.png", "counterfactual.dcm") if name in files)
        yield Case(
            "edit",
            f"b-{item['baseline_id']}",
            _checked(folder / files[name]["path"], files[name]["sha256"]),
            wanted["findings"][0],
            tuple(wanted["findings"]),
            wanted["side"] or "",
            wanted["severity"] or "",
            source="edit",
            editor=str(record["settings"].get("editor", {}).get("name", "")),
        )


def _of_set(folder: Path) -> Iterable[Case]:
    made = augment.load(folder)
    rows = made.manifest
    for row in rows[(rows["arm"] == "counterfactual") & (rows["status"] == "ok")].to_dict(
        "records"
    ):
        wanted = _edit(row.get("edit"))
        yield Case(
            "edit",
            str(row["patient_id"]),
            _checked(folder / row["path"], str(row["sha256"])),
            str(row["edited_finding"]),
            (str(row["edited_finding"]),),
            wanted.get("side") or "",
            wanted.get("severity") or "",
            str(row["view"]) if row["view"] in ("PA", "AP") else "",
            source=str(row["site"]),
            editor=str(made.record.get("editor", {}).get("name", "")),
        )


def _edit(text: Any) -> Mapping[str, Any]:
    return dict(json.loads(text)) if isinstance(text, str) and text.startswith("{") else {}


def _checked(path: Path, digest: str) -> Opener:
    return partial(_open, path, digest)


def _open(path: Path, digest: str) -> Radiograph:
    if file_sha256(path) != digest:
        raise ReadersError(
            f"Pictures are those that were made; {path.name} has changed. Make them again."
        )
    return imaging.read(path)


def positives(
    data: Dataset, names: Sequence[str], views: Mapping[str, Counter[str]], seed: int
) -> list[Case]:
    """Return real cases with a finding, one per patient; the findings take turns.

    Args:
        data: where from; its names are pseudonyms.
        names: the findings, in the order in which they choose.
        views: of each finding's edits; the real ones have the same shares as far as there are any.
        seed: which random order.
    """
    queues = {name: _positive(data, name, views.get(name, Counter()), seed) for name in names}
    chosen: list[Case] = []
    taken: set[str] = set()
    while any(queues.values()):
        for queue in queues.values():
            while queue and queue[0].patient in taken:
                queue.pop(0)
            if queue:
                chosen.append(queue.pop(0))
                taken.add(chosen[-1].patient)
    return chosen


def _positive(data: Dataset, name: str, views: Counter[str], seed: int) -> list[Case]:
    """Return real cases with a finding, their views mixed as those of its edits."""
    try:
        table = datasets.positives(data, name, seed=seed).table
    except DatasetError:
        return []
    rank = dict.fromkeys((*views, *table["view"]), 0.0)
    order = []
    for place, view in enumerate(table["view"]):
        # The n-th of a view with share s stands at n / s; views without edits come last.
        rank[view] += 1 / views[view] if views[view] else 1e9 if views else 1
        order.append((rank[view], place))
    rows = table.iloc[[place for _, place in sorted(order)]]
    return [_real(data, row, "real_positive", name) for row in rows.to_dict("records")]


def normals(data: Dataset, seed: int) -> list[Case]:
    """Return real cases read as no finding, one per patient."""
    try:
        table = datasets.baselines(data, seed=seed).table
    except DatasetError:
        return []
    return [_real(data, row, "real_normal", "") for row in table.to_dict("records")]


def _real(data: Dataset, row: Mapping[Any, Any], kind: Kind, name: str) -> Case:
    known = data.table.loc[data.table["image_id"] == row["baseline_id"]].iloc[0]
    columns = [n for n in NAMES if n != NO_FINDING.name]
    present = tuple(n for n in columns if known[n] == "positive")
    opener = partial(data.radiograph, row["baseline_id"])
    view = str(row["view"])
    return Case(kind, str(row["patient_id"]), opener, name, present, view=view, source=data.name)


def painted(hosts: Sequence[Case], names: Sequence[str], count: int) -> list[Case]:
    """Return attention cases: hosts with an unmistakable finding, which the judge sees too.

    Args:
        hosts: real normals that the study shows to nobody else.
        names: findings that are asked.
        count: how many at most.
    """
    from roentmod.classifiers import Judge
    from roentmod.jobs.witness import Witness

    plain = [name for name in _PLAIN if name in names]
    made: list[Case] = []
    if not plain or not count:
        return made
    painter, witness = Painter(), Witness(Judge.load())
    for host in hosts:
        if len(made) == count:
            break
        name = plain[len(made) % len(plain)]
        wanted = Edit((name,), severity="severe", seed=len(made))
        (result,) = painter.edit([host.open()], [wanted])
        if result.image is not None and name in witness.present(result.image):
            opener = partial(_same, result.image)
            shown = replace(host, finding=name, present=(name,), severity="severe")
            made.append(replace(shown, kind="attention", open=opener, editor="painter"))
    return made


def _same(radiograph: Radiograph) -> Radiograph:
    return radiograph
