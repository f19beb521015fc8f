"""Edits, gate and pictures: the expensive part of a training set.

One *case* is one baseline with all its edits. It is edited, seen by the judge, and written as a
whole; its note in ``parts/`` comes last, so that a run that is killed loses at most the case it was
at. Cases do not see each other: order and restarts change nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from roentmod import imaging
from roentmod.editors import compose
from roentmod.edits import Edit
from roentmod.errors import InputError, RoentModError
from roentmod.interfaces import Classifier, Counterfactual, Progress, RadiographEditor
from roentmod.jobs.audit.predict import Readers
from roentmod.radiograph import Radiograph
from roentmod.rundir import Source
from roentmod.science.effects import JUDGE
from roentmod.store import file_sha256, write_json

__all__ = ["Case", "Maker", "cases_of"]

Row = dict[str, Any]
PARTS = "parts"
_AGAIN = ("unreadable", "editor_failed", "classifier_failed")


@dataclass(frozen=True)
class Case:
    """One baseline, what is known of it, what is done to it, and the shard it belongs to."""

    facts: Mapping[str, Any]
    edits: tuple[Edit, ...]
    shard: int

    @property
    def baseline_id(self) -> str:
        """The data set's id of the baseline."""
        return str(self.facts["baseline_id"])

    @property
    def key(self) -> str:
        """Name of its files: 16 hex digits, as ids may hold slashes and patients' names."""
        return hashlib.sha256(self.baseline_id.encode()).hexdigest()[:16]

    @property
    def note(self) -> Path:
        """Where its rows are kept, from the run directory."""
        return Path(PARTS, f"{self.shard:05d}", f"{self.key}.json")


def cases_of(
    facts: Mapping[str, Mapping[str, Any]],
    dealt: Mapping[str, tuple[Edit, ...]],
    extra: int,
    size: int,
) -> list[Case]:
    """Return the cases in order, shards filled to `size` planned pictures.

    Args:
        facts: what is known of each baseline.
        dealt: edits of each baseline, in order.
        extra: pictures of a baseline besides its edits.
        size: most pictures of a shard.
    """
    cases, shard, filled = [], 0, 0
    for name, edits in dealt.items():
        planned = len(edits) + extra
        if not planned:
            continue
        if filled and filled + planned > size:
            shard, filled = shard + 1, 0
        cases.append(Case(facts[name], edits, shard))
        filled += planned
    return cases


class Maker:
    """Makes the pictures of cases, and keeps what it has made.

    Args:
        source: where radiographs come from.
        editor: makes counterfactuals and shams.
        judge: gates them; None lets all pass.
        gate: least net rise of the judge's logit.
        arms: which of "baseline" and "sham" are written besides counterfactuals.
        folder: the run directory.
    """

    def __init__(
        self,
        source: Source,
        editor: RadiographEditor,
        judge: Classifier | None,
        gate: float | None,
        arms: Sequence[str],
        folder: Path,
    ) -> None:
        """Take the parts; nothing is done yet."""
        self._source, self._editor, self._judge = source, editor, judge
        self._gate, self._arms, self._folder = gate, tuple(arms), folder
        self._readers = Readers({} if judge is None else {JUDGE: judge})

    def make(self, cases: Sequence[Case], progress: Progress | None = None) -> list[Row]:
        """Do what is left of the cases and return the rows of all, in order.

        A case is done again where a picture of it is gone, or something failed that may end well
        another time (`_AGAIN`); other failures are final.
        """
        rows: list[Row] = []
        for number, case in enumerate(cases, 1):
            done = self._kept(case)
            if done is None:
                done = self._carry_out(case)
                (self._folder / case.note).parent.mkdir(parents=True, exist_ok=True)
                write_json(self._folder / case.note, done)
            rows += [dict(case.facts) | row for row in done]
            if progress:
                progress(number, len(cases))
        return rows

    def _kept(self, case: Case) -> list[Row] | None:
        """Return the rows of a case that needs nothing more, None of any other."""
        note = self._folder / case.note
        if not note.exists():
            return None
        rows: list[Row] = json.loads(note.read_text(encoding="utf-8"))
        whole = all(
            row["status"] not in _AGAIN
            and (row["status"] != "ok" or (self._folder / row["path"]).is_file())
            for row in rows
        )
        return rows if whole else None

    def _carry_out(self, case: Case) -> list[Row]:
        self._sweep(case)
        try:
            radiograph = self._source.radiograph(case.baseline_id)
            made = self._editor.edit([radiograph], case.edits) if case.edits else []
        except InputError as error:
            return self._lost(case, "unreadable", str(error))
        except RoentModError:
            raise
        # The editor runs foreign libraries: whatever they raise must not cost the other baselines.
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            return self._lost(case, "editor_failed", said)
        gated = self._gated(made)
        rows = []
        if "baseline" in self._arms:
            rows.append(self._written(case, _row(case, "baseline"), radiograph))
        shams = [one for one, verdict in zip(made, gated, strict=True) if verdict["status"] == "ok"]
        if "sham" in self._arms and shams:
            # All edits of a baseline share the noise, so that one sham stands for all.
            rows.append(self._written(case, _row(case, "sham", shams[0].edit.sham()), shams[0]))
        for one, verdict in zip(made, gated, strict=True):
            row = _row(case, "counterfactual", one.edit) | verdict
            rows.append(self._written(case, row, one) if row["status"] == "ok" else row)
        return rows

    def _lost(self, case: Case, status: str, message: str) -> list[Row]:
        """Return the rows of a case of which nothing was made."""
        rows = [_row(case, "baseline")] if "baseline" in self._arms else []
        rows += [_row(case, "counterfactual", edit) for edit in case.edits]
        return [row | {"status": status, "message": message} for row in rows]

    def _gated(self, made: Sequence[Counterfactual]) -> list[Row]:
        """Return status, message and net logit of every edit."""
        verdicts: list[Row] = [
            {"status": one.status, "message": "" if one.status == "ok" else "no picture was made"}
            for one in made
        ]
        judge = self._judge
        if judge is None or self._gate is None:
            return verdicts
        seen = [n for n, one in enumerate(made) if one.edit.findings[0] in judge.findings]
        seen = [n for n in seen if made[n].image is not None and made[n].sham is not None]
        pictures = [p for n in seen for p in (made[n].image, made[n].sham) if p is not None]
        if not pictures:
            return verdicts
        reading = self._readers.read(JUDGE, [compose.shrink(p, judge.size) for p in pictures])
        for at, number in enumerate(seen):
            bad = [s for s in reading.status[2 * at : 2 * at + 2] if s != "ok"]
            if bad:
                said = f"the judge: {reading.message}"
                verdicts[number] = {"status": bad[0], "message": said}
                continue
            column = judge.findings.index(made[number].edit.findings[0])
            edited, sham = np.asarray(reading.logits[2 * at : 2 * at + 2, column], np.float64)
            verdicts[number] |= _verdict(float(edited - sham), self._gate)
        return verdicts

    def _written(self, case: Case, row: Row, picture: Radiograph | Counterfactual) -> Row:
        """Write a picture and return its row with path and hash."""
        path = Path("images", f"{case.shard:05d}", f"{row['image_id']}.png")
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, Radiograph):
            imaging.write(picture, target, provenance=None)
        else:
            imaging.write_edit(
                picture, target, arm="sham" if row["arm"] == "sham" else "counterfactual"
            )
        return row | {"path": path.as_posix(), "sha256": file_sha256(target)}

    def _sweep(self, case: Case) -> None:
        """Remove what an interrupted run left of a case."""
        place = self._folder / "images" / f"{case.shard:05d}"
        for stray in [*place.glob(f"{case.key}-*.png"), *place.glob(f".{case.key}-*.png")]:
            stray.unlink()


def _row(case: Case, arm: str, edit: Edit | None = None) -> Row:
    added = " + ".join(edit.findings) if edit and arm == "counterfactual" else ""
    last = edit.id if edit and arm == "counterfactual" else arm
    return {
        "image_id": f"{case.key}-{last}",
        "path": "",
        "sha256": "",
        "arm": arm,
        "edited_finding": added,
        "severity": (edit.severity or "") if edit else "",
        "edit_id": edit.id if edit else "",
        "edit": json.dumps(asdict(edit), sort_keys=True) if edit else "",
        "status": "ok",
        "message": "",
        "net_logit": None,
    }


def _verdict(net: float, gate: float) -> Row:
    if not math.isfinite(net):
        return {"status": "not_finite", "message": "the judge's logits are not finite"}
    if net >= gate:
        return {"net_logit": net}
    said = f"the judge's logit rises by {net:.2f} against the sham, less than {gate:g}"
    return {"status": "not_seen", "message": said, "net_logit": net}
