"""Edits of one generator beside another's, on validation: what a distilled one lost of its teacher.

``python -m training.compare --data DIR TEACHER STUDENT`` prints one JSON: for each finding how far
the student's pictures are from the teacher's, as a share of the teacher's change, and each one's
success by the bundled judge; how far shams move it; how severity is followed; seconds per edit.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers import Judge
from roentmod.domain import SEVERITIES
from roentmod.editors import Editor, compose
from roentmod.interfaces import Counterfactual
from roentmod.science.stats import auc
from training.benchmark import Bench, choose, rows_of
from training.measures import spearman_within

Array = NDArray[np.float32]


def distance(teacher: Sequence[Counterfactual], student: Sequence[Counterfactual]) -> float:
    """Return the mean size of what differs, over that of the teacher's change; both in pixels.

    Edits without a picture count in neither.
    """
    pairs = [
        (one.difference, other.difference)
        for one, other in zip(teacher, student, strict=True)
        if one.difference is not None and other.difference is not None
    ]
    apart = sum(float(np.abs(other - one).mean()) for one, other in pairs)
    return apart / max(sum(float(np.abs(one).mean()) for one, _ in pairs), 1e-9)


class Measured:
    """One generator on the baselines: its edits, and what the judge reads in them."""

    def __init__(self, name: str, judge: Judge, data: Path, rows: list[dict[str, str]]) -> None:
        """Make and read all edits: default ones, then mild, moderate and severe."""
        self.bench = Bench(Editor.load(name), judge, data, rows)
        self.edits: dict[str, list[Counterfactual]] = {n: [] for n in self.bench.findings}
        self.net: dict[str, list[float]] = {n: [] for n in self.edits}
        self.levels: dict[str, list[list[float]]] = {n: [] for n in self.edits}
        self.shams: list[Array] = []
        self.before: list[Array] = []
        self.seconds = 0.0
        for number in range(len(rows)):
            self._measure(number)

    def _measure(self, number: int) -> None:
        plain, radiograph = self.bench.asked(number), self.bench.radiographs[number]
        started = time.perf_counter()
        done = self.bench.editor.edit([radiograph], plain)
        self.seconds += time.perf_counter() - started
        before, sham = self._logits([radiograph, done[0].sham or radiograph])
        self.before.append(before)
        self.shams.append(sham - before)
        graded = [replace(e, severity=level) for e in plain for level in SEVERITIES]
        read = self._logits([one.image or radiograph for one in done])
        levels = self._logits(
            [one.image or radiograph for one in self.bench.editor.edit([radiograph], graded)]
        )
        for i, (name, one) in enumerate(zip(self.edits, done, strict=True)):
            k, span = self.bench.column(name), slice(3 * i, 3 * i + 3)
            self.edits[name].append(one)
            self.net[name].append(float(read[i, k] - before[k]))
            self.levels[name].append([float(v) for v in levels[span, k]])

    def _logits(self, pictures: Sequence[Any]) -> Array:
        judge = self.bench.judge
        return judge.logits(np.stack([compose.shrink(one, judge.size) for one in pictures]))

    def figures(self) -> dict[str, Any]:
        """Return success, its logits, and order of severity per finding; shams; seconds."""
        before, rows = np.stack(self.before), {}
        for name, net in self.net.items():
            plain = before[:, self.bench.column(name)]
            rows[name] = {
                "success_auroc": round(float(auc(plain + np.array(net), plain)), 3),
                "net_logit": round(float(np.mean(net)), 3),
                "severity_spearman": round(spearman_within(np.array(self.levels[name])), 3),
            }
        moved = np.stack(self.shams).mean(0)
        return {
            "findings": rows,
            "sham_logit": round(float(np.abs(moved).mean()), 3),
            "seconds_per_edit": round(self.seconds / len(self.before) / len(self.net), 3),
        }


def compared(teacher: Measured, student: Measured) -> dict[str, Any]:
    """Return both generators' figures and how far the student's edits are from the teacher's."""
    return {
        "teacher": teacher.figures(),
        "student": student.figures(),
        "distance": {
            name: round(distance(edits, student.edits[name]), 3)
            for name, edits in teacher.edits.items()
        },
    }


def main() -> None:
    """Compare two generators from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher")
    parser.add_argument("student")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=20, help="baselines")
    args = parser.parse_args()
    rows = choose(rows_of(args.data), args.limit, 0, split="val")
    judge = Judge.load()
    both = [Measured(name, judge, args.data, rows) for name in (args.teacher, args.student)]
    print(json.dumps(compared(*both), indent=2))


if __name__ == "__main__":
    main()
