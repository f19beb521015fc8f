"""How far do judges' readings fall when a finding really goes? Pairs of visits of one patient.

What a removal can be asked for: the later (or earlier) radiograph of the same patient, in the same
view, whose label lacks the finding and has no other one instead, is what a perfect removal would
give, up to breath, posture, exposure and mistakes of labels.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers import Judge
from roentmod.domain import NO_FINDING, finding
from roentmod.errors import UnknownFindingError
from roentmod.science.stats import auc
from training import cohort, measures

# Fewer patients say nothing about a finding.
FEWEST = 5
Floats = NDArray[np.floating]
Row = dict[str, str]


@dataclass(frozen=True)
class Change:
    """Two radiographs of one patient in one view, of which the second lacks findings of the first.

    Attributes:
        patient: whose they are.
        split: split of the patient.
        shown: path of the radiograph with the findings.
        cleared: path of the one without them.
        gone: canonical names of what the second lacks.
    """

    patient: str
    split: str
    shown: str
    cleared: str
    gone: frozenset[str]


def findings_of(row: Row) -> frozenset[str]:
    """Return what a row of the index shows; labels that a later reading contradicts show nothing.

    Names outside the catalogue stay as they are.
    """
    if "conflict" in row["tier"]:
        return frozenset()
    labels = row["labels"].replace("_", " ").split("|")
    return frozenset(_canonical(label) for label in labels) - {NO_FINDING.name, ""}


def _canonical(label: str) -> str:
    try:
        return finding(label).name
    except UnknownFindingError:
        return label


def changes(data: Path, pairs: Path) -> list[Change]:
    """Return the pairs of visits in one view in which findings went or came, and nothing else did.

    A pair in which findings came is turned round.

    Args:
        data: folder with ``index.csv``.
        pairs: table of follow-up pairs (``path_a``, ``path_b``, ``view_a``, ``view_b``).
    """
    with (data / "index.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    found = []
    with pairs.open(newline="") as file:
        for pair in csv.DictReader(file):
            ends = [rows.get(pair["path_a"]), rows.get(pair["path_b"])]
            if pair["view_a"] != pair["view_b"] or ends[0] is None or ends[1] is None:
                continue
            for shown, cleared in ((ends[0], ends[1]), (ends[1], ends[0])):
                before, after = findings_of(shown), findings_of(cleared)
                if after < before:
                    facts = (shown["patient_id"], shown["split"], shown["path"], cleared["path"])
                    found.append(Change(*facts, before - after))
    return found


def figures(before: Floats, after: Floats) -> dict[str, Any]:
    """Return how far logits fall from radiographs with a finding to those without, n each."""
    bounds = measures.auroc_interval(before, after)
    return {
        "patients": len(before),
        "logit_before": round(float(before.mean()), 3),
        "logit_after": round(float(after.mean()), 3),
        "auroc_fall": round(float(auc(before, after)), 3),
        "auroc_fall_ci": [round(float(bound), 3) for bound in bounds],
    }


def measure(data: Path, pairs: Path, judge: Judge, *, unseen: bool) -> dict[str, Any]:
    """Return the figures of each finding, of one pair a patient.

    Args:
        data: folder with ``index.csv``.
        pairs: table of follow-up pairs.
        judge: what reads them.
        unseen: leave out the training patients that are reserved for the bundled judge.
    """
    kept = [
        change
        for change in changes(data, pairs)
        if not (unseen and change.split == "train" and cohort.is_for_judge(change.patient))
    ]
    paths = sorted({path for change in kept for path in (change.shown, change.cleared)})
    if not paths:
        return {}
    pictures = np.stack([cohort.unit(cohort.square(data / path)) for path in paths])
    logits = dict(zip(paths, judge.logits(pictures), strict=True))
    table = {}
    for k, name in enumerate(judge.findings):
        own = {change.patient: change for change in reversed(kept) if name in change.gone}
        if len(own) >= FEWEST:
            ends = [(logits[c.shown][k], logits[c.cleared][k]) for c in own.values()]
            before, after = np.array(ends).T
            table[name] = figures(before, after)
    return table
