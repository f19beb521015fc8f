"""How an editor is to be asked for a severity: calibrated on the validation split.

A generator's words carry a finding as far as it learned to, so a profile may scale guidance by
severity. For each finding this takes the factors with which the editor moves the judge as far as
the exact painter does with the same severities on the same radiographs, among those that keep the
severities in order (Spearman within baselines, `ORDER` or the best there is); and the factor of
edits that leave it open.

``python -m training.severity --data DIR`` writes them into the bundled ``profile.json``; it goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers.judge import Judge
from roentmod.domain import SEVERITIES, UNSAID
from roentmod.editors import BUNDLED, Editor, Painter
from roentmod.editors.diffusion import DiffusionEditor
from roentmod.edits import Edit
from roentmod.store import write_json
from training.benchmark import Bench, Result, choose, rows_of
from training.measures import spearman_within

# A guidance of twice the usual one moves the judge further, and bleaches what it draws.
FACTORS = (0.35, 0.5, 0.7, 1.0, 1.4)
ORDER = 0.85
# Mean change of a logit below which one edit is as faint as another.
FAINT = 0.1
Array = NDArray[np.float32]
log = logging.getLogger(__name__)


Results = dict[tuple[str, str, float], list[Result]]
Tables = Mapping[tuple[str, float], Array]


def measure(bench: Bench, asked: Sequence[tuple[str, float]]) -> Results:
    """Return the results of every finding, severity and factor on guidance."""
    found: Results = {}
    for baseline in range(len(bench.rows)):
        for level, factor in asked:
            edits = [_at(edit, level, factor) for edit in bench.asked(baseline)]
            for result in bench.run(baseline, edits):
                found.setdefault((result.edit.findings[0], level, factor), []).append(result)
        log.info("%d of %d baselines", baseline + 1, len(bench.rows))
    return found


def _at(edit: Edit, level: str, factor: float) -> Edit:
    severity: Any = None if level == UNSAID else level
    return replace(edit, severity=severity, guidance_scale=factor * edit.guidance_scale)


def chosen(tables: Tables, wanted: Mapping[str, float]) -> dict[str, float]:
    """Return the factor of each severity, none below a milder one's, and of edits without one.

    Args:
        tables: net changes of the judge's logit by severity and factor, one per baseline.
        wanted: mean net change by severity.
    """
    known = []
    for factors in itertools.combinations_with_replacement(FACTORS, len(SEVERITIES)):
        own = [tables[key] for key in zip(SEVERITIES, factors, strict=True)]
        away = sum(map(_away, own, (wanted[level] for level in SEVERITIES)))
        known.append((spearman_within(np.stack(own, axis=1)), away, factors))
    enough = min(ORDER, max(order for order, _, _ in known))
    _, factors = min((away, factors) for order, away, factors in known if order >= enough)
    _, left = min((_away(tables[UNSAID, factor], wanted[UNSAID]), factor) for factor in FACTORS)
    return dict(zip(SEVERITIES, factors, strict=True)) | {UNSAID: left}


def _away(changes: Array, wanted: float) -> float:
    """Return how far a mean is from the wanted one, as a ratio's logarithm."""
    return abs(math.log(max(float(changes.mean()), FAINT) / max(wanted, FAINT)))


def severities(bench: Bench, painter: Bench) -> dict[str, dict[str, float]]:
    """Return the factors of every finding."""
    levels = (UNSAID, *SEVERITIES)
    exact = measure(painter, [(level, 1.0) for level in levels])
    results = measure(bench, list(itertools.product(levels, FACTORS)))
    factors = {}
    for name in painter.findings:
        k = bench.column(name)
        wanted = {key[1]: _mean(some, k) for key, some in exact.items() if key[0] == name}
        own = {key[1:]: some for key, some in results.items() if key[0] == name}
        tables = {key: np.array([r.net[k] for r in some]) for key, some in own.items()}
        factors[name] = chosen(tables, wanted)
        means = {key: round(_mean(some, k), 2) for key, some in own.items()}
        log.info("%s: %s of %s, painter %s", name, factors[name], means, wanted)
    return factors


def _mean(results: Sequence[Result], column: int) -> float:
    return float(np.mean([r.net[column] for r in results]))


def main() -> None:
    """Calibrate from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", type=Path, default=BUNDLED["mini"])
    parser.add_argument("--limit", type=int, default=8, help="baselines")
    parser.add_argument("--run", type=Path, default=Path("runs/severity"), help="keeps edits")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rows = choose(rows_of(args.data), args.limit, 0, split="val")
    editor = Editor.load(str(args.target))
    if not isinstance(editor, DiffusionEditor):
        raise SystemExit(f"Only a generator has a profile; got '{args.target}'.")
    plain = replace(editor.parts.profile, severity={}, unsaid={})
    editor.parts = replace(editor.parts, profile=plain)
    bench = Bench(editor, Judge.load(), args.data, rows, args.run)
    painter = bench.using(editor=Painter())
    fields = {"severity": severities(bench, painter), "unsaid": {}}
    own = args.target / "profile.json"
    write_json(own, json.loads(own.read_text(encoding="utf-8")) | fields)


if __name__ == "__main__":
    main()
