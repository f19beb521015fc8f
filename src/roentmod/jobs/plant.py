"""A data set whose labels are true and whose co-occurrence is planted: the ground truth of a study.

Findings are drawn by chance for every host, and an editor that is exact (the painter) puts them in.
In the splits named as planted, one finding of a pair comes with the other; in the others every
finding is independent of every other. A classifier that learns the link pays for it where the link
is broken. The folder that `run` writes is a plain one that `roentmod.datasets` loads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from roentmod import imaging, rundir
from roentmod.datasets import Dataset
from roentmod.edits import Edit, Severity
from roentmod.errors import DatasetError, InputError
from roentmod.findings import NO_FINDING, finding
from roentmod.imaging.provenance import STATEMENT
from roentmod.interfaces import Progress, RadiographEditor
from roentmod.store import atomic, write_json

__all__ = ["INDEX", "Plan", "draw", "run"]

INDEX, RECORD = "index.csv", "planted.json"
_FACTS = ("patient_id", "view", "age", "sex", "split", "site")
_LIBRARIES = ("numpy", "pandas", "pillow")


@dataclass(frozen=True)
class Plan:
    """What is planted.

    Attributes:
        findings: what pictures may show; each is there with the chance `prevalence`.
        pairs: (cause, read): where planted, `read` is a copy of `cause` with the chance
            `correlation`, which is then exactly their correlation. A finding is in one pair only.
        correlation: in [0, 1].
        planted: splits in which pairs are correlated.
        prevalence: in (0, 1).
        severities: drawn from for every picture, one for all its findings.
        shares: (split, share) of patients, for a source that has no splits.
        seed: of all drawing.
    """

    findings: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    correlation: float = 0.9
    planted: tuple[str, ...] = ("train", "val")
    prevalence: float = 0.35
    severities: tuple[Severity, ...] = ("mild", "moderate", "severe")
    shares: tuple[tuple[str, float], ...] = (("train", 0.6), ("val", 0.15), ("test", 0.25))
    seed: int = 0

    def __post_init__(self) -> None:
        """Make names canonical and check everything.

        Raises:
            DatasetError: a finding of two pairs or of none listed, a number out of range, or an
                unknown severity.
            UnknownFindingError: a finding that is not in the catalogue.
        """
        object.__setattr__(self, "findings", tuple(finding(n).name for n in self.findings))
        pairs = tuple((finding(a).name, finding(b).name) for a, b in self.pairs)
        object.__setattr__(self, "pairs", pairs)
        paired = [name for pair in pairs for name in pair]
        strange = [name for name in paired if name not in self.findings]
        if not self.findings or strange or len({*paired}) < len(paired):
            raise DatasetError(
                "Pairs are of two planted findings, each in one pair; got "
                f"{', '.join(f'{a} > {b}' for a, b in pairs) or 'no finding'}. Correct the pairs."
            )
        if not (0 <= self.correlation <= 1 and 0 < self.prevalence < 1):
            raise DatasetError(
                "correlation is in [0, 1] and prevalence in (0, 1); got "
                f"{self.correlation} and {self.prevalence}. Correct them."
            )
        unknown = [word for word in self.severities if word not in get_args(Severity)]
        if unknown or not self.severities:
            known = ", ".join(get_args(Severity))
            raise DatasetError(f"Severities are of {known}; got {', '.join(unknown) or 'none'}.")


def draw(host: str, split: str, plan: Plan) -> tuple[dict[str, bool], Severity]:
    """Return what one host shows, and how severe; it depends on plan, id and split alone."""
    rng = _stream(host, plan, "labels")
    chance = dict(zip(plan.findings, rng.random(len(plan.findings)), strict=True))
    shown = {name: bool(value < plan.prevalence) for name, value in chance.items()}
    for cause, read in plan.pairs:
        copied = rng.random() < plan.correlation
        if copied and split in plan.planted:
            shown[read] = shown[cause]
    return shown, plan.severities[int(rng.integers(len(plan.severities)))]


def run(
    data: Dataset,
    hosts: Sequence[str],
    editor: RadiographEditor,
    plan: Plan,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> Path:
    """Write the planted data set; an interrupted run goes on where it stopped.

    A host in which the editor cannot work is left out, whatever it was to show.

    Args:
        data: where hosts come from; without splits, patients are dealt out by `Plan.shares`.
        hosts: their image ids.
        editor: puts findings in; labels are as true as it is exact.
        plan: what is planted.
        folder: the data set's folder.
        progress: called with hosts done and in all.

    Returns:
        The table, ``index.csv``.

    Raises:
        DatasetError: an unknown host, or no picture came about.
        AuditError: `folder` holds another data set.
        EditError: the editor cannot add one of the findings.
    """
    table = data.table.set_index("image_id")
    strange = [name for name in hosts if name not in table.index]
    if strange or not hosts:
        raise DatasetError(
            f"Hosts are pictures of {data.name}; got {strange[0] if strange else 'none'}. Choose "
            "them there."
        )
    editor.edit([], [Edit((name,)) for name in plan.findings])
    rundir.claim(folder / RECORD, _record(data, hosts, editor, plan), "a planted data set")
    (folder / "images").mkdir(exist_ok=True)
    (folder / "parts").mkdir(exist_ok=True)
    rows = []
    for number, host in enumerate(hosts, 1):
        facts = {name: table.at[host, name] for name in _FACTS}
        facts["split"] = str(facts["split"]) or _dealt(str(facts["patient_id"]), plan)
        rows += _row(data, str(host), facts, editor, plan, folder)
        if progress:
            progress(number, len(hosts))
    if not rows:
        raise DatasetError(
            f"Findings are planted where {editor.name} can work; it could in none of {len(hosts)} "
            "hosts. Choose others."
        )
    with atomic(folder / INDEX) as part:
        pd.DataFrame(rows).to_csv(part, index=False, lineterminator="\n")
    return folder / INDEX


def _row(
    data: Dataset,
    host: str,
    facts: dict[str, Any],
    editor: RadiographEditor,
    plan: Plan,
    folder: Path,
) -> list[dict[str, Any]]:
    """Return the row of one host, or none; its picture is written where it is missing."""
    key = hashlib.sha256(host.encode()).hexdigest()[:16]
    path, note = Path("images", f"{key}.png"), folder / "parts" / f"{key}.json"
    shown, severity = draw(host, str(facts["split"]), plan)
    made = _noted(note)
    if made is None or (made and not (folder / path).exists()):
        one = _make(data, host, [n for n, on in shown.items() if on], severity, editor, plan)
        made = one is not None
        if made:
            _save(one, folder / path, edited=any(shown.values()))
        write_json(note, {"made": made})
    if not made:
        return []
    labels = {name: int(on) for name, on in shown.items()}
    labels |= {NO_FINDING.name: int(not any(shown.values()))}
    return [{"path": path.as_posix(), "image_id": key} | facts | labels | {"host": host}]


def _noted(note: Path) -> bool | None:
    """Return whether an earlier run made the picture; None where none tried."""
    return bool(json.loads(note.read_text())["made"]) if note.exists() else None


def _make(
    data: Dataset,
    host: str,
    names: list[str],
    severity: Severity,
    editor: RadiographEditor,
    plan: Plan,
) -> Any:
    """Return the edit of a host, None where there can be none; an empty one is tried, too.

    Hosts without a finding must be of the same kind as the others: ones that can be edited.
    """
    seed = int(_stream(host, plan, "edit").integers(2**31))
    edit = Edit(tuple(names) or plan.findings[:1], severity=severity, seed=seed)
    try:
        made = editor.edit([data.radiograph(host)], [edit])[0]
    except InputError:
        return None
    return made if made.status == "ok" else None


def _save(made: Any, path: Path, *, edited: bool) -> None:
    if edited:
        imaging.write_edit(made, path)
    else:
        imaging.write(made.baseline, path, provenance=None)


def _dealt(patient: str, plan: Plan) -> str:
    """Return the split of a patient of a source without splits."""
    at = float(_stream(patient, plan, "split").random()) * sum(s for _, s in plan.shares)
    for split, share in plan.shares:
        at -= share
        if at < 0:
            return split
    return plan.shares[-1][0]


def _stream(name: str, plan: Plan, what: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{what}/{plan.seed}/{name}".encode()).digest()
    return np.random.default_rng(list(digest[:16]))


def _record(
    data: Dataset, hosts: Sequence[str], editor: RadiographEditor, plan: Plan
) -> dict[str, Any]:
    names = hashlib.sha256("\n".join(map(str, hosts)).encode()).hexdigest()
    told = getattr(editor, "describe", lambda: {"name": editor.name})
    return {
        "statement": STATEMENT,
        "plan": json.loads(json.dumps(asdict(plan))),
        "data": {"name": data.name, "hosts": len(hosts), "hosts_sha256": names},
        "editor": json.loads(json.dumps(told())),
        "provenance": rundir.made_with(_LIBRARIES),
    }
