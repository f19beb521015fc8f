"""How long a study should take: a little of everything is done once and timed."""

from __future__ import annotations

import time
from collections.abc import Mapping

from roentmod.datasets.phantom import phantom
from roentmod.edits import Edit
from roentmod.interfaces import RadiographEditor
from roentmod.jobs import retrain
from roentmod.jobs.study.bench import Bench

__all__ = ["rates", "seconds"]

# What reading pictures and writing files adds to editing.
_AROUND = 1.5
# Seconds a trained classifier takes besides its steps: reading the test sets, exporting.
_MODEL = 10.0


def rates(bench: Bench) -> dict[str, float]:
    """Return seconds per unit here: "edits", "made", "unseen", "painted", "steps", "models".

    A phantom is edited, after once to warm up, and a few steps of the planned training are made. A
    slow editor gives a forecast instead.
    """
    findings = bench.spec.findings
    plan = bench.spec.retrain
    rates = {
        "edits": _AROUND * _an_edit(bench.editor, findings),
        "made": _AROUND * _an_edit(bench.corrector, findings),
        "steps": retrain.seconds_per_step(plan, bench.spec.device),
        "models": _MODEL,
    }
    if bench.unseen is not None:
        rates["unseen"] = _AROUND * _an_edit(bench.unseen, findings)
    if bench.spec.plant is not None:
        painted = 1 + len(findings) * bench.spec.plant.prevalence
        rates["painted"] = _AROUND * painted * _an_edit(bench.planter, findings[:1])
    return rates


def seconds(work: Mapping[str, float], rates: Mapping[str, float]) -> float:
    """Return how long some work takes."""
    return sum(count * rates[unit] for unit, count in work.items())


def _an_edit(editor: RadiographEditor, findings: tuple[str, ...]) -> float:
    edits = [Edit((name,)) for name in findings]
    if getattr(editor, "slow", False):
        return float(editor.forecast(edits)) / len(edits)  # type: ignore[attr-defined]
    radiograph = phantom(0).radiograph
    editor.edit([radiograph], edits)
    started = time.perf_counter()
    editor.edit([radiograph], edits)
    return (time.perf_counter() - started) / len(edits)
