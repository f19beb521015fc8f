"""How an editor is to be asked for a severity: calibrated by the judge, on the validation split.

Guidance carries a mild finding nearly as far as a severe one, so a profile may scale it. For each
finding this takes the factors of mild and moderate by which severity and the judge's logit agree
best (Spearman, within baselines) and a mild edit still does `LEAST` of what a severe one does. Of
those nearly as good (`TOLERANCE`) it takes the ones nearest to thirds (`SHARES`). A finding of
which the judge says too little (`FAINT`) without a severity, and more with "severe", is called
severe where an edit leaves it open.

``python -m training.severity --data DIR`` writes both into the bundled ``profile.json``; it goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.classifiers.judge import Judge
from roentmod.editors import BUNDLED, Editor
from roentmod.editors.diffusion import DiffusionEditor
from roentmod.edits import Edit
from roentmod.science.stats import auc
from roentmod.store import write_json
from training.benchmark import Bench, Result, choose, rows_of
from training.measures import spearman_within

SHARES = {"mild": 1 / 3, "moderate": 2 / 3}
LEAST, TOLERANCE = 0.2, 0.02
FACTORS = (0.25, 0.3, 0.35, 0.42, 0.5, 0.6, 0.75, 1.0)
# AUROC, edited against control, below which a finding is faint; by which "severe" must be better.
FAINT, BETTER = 0.9, 0.05
Array = NDArray[np.float32]
log = logging.getLogger(__name__)


Results = dict[tuple[str, str, float], list[Result]]


def measure(bench: Bench, asked: Sequence[tuple[str, float]], count: int) -> Results:
    """Return the results of every finding, severity ("" for none) and factor on guidance."""
    found: Results = {}
    for baseline in range(min(count, len(bench.rows))):
        for level, factor in asked:
            edits = [_at(edit, level, factor) for edit in bench.asked(baseline)]
            for result in bench.run(baseline, edits):
                found.setdefault((result.edit.findings[0], level, factor), []).append(result)
        log.info("%d of %d baselines", baseline + 1, count)
    return found


def _at(edit: Edit, level: str, factor: float) -> Edit:
    severity: Any = level or None
    return replace(edit, severity=severity, guidance_scale=factor * edit.guidance_scale)


def chosen(tables: dict[tuple[str, float], Array]) -> dict[str, float]:
    """Return the factor of each severity below "severe", moderate's never below mild's.

    Args:
        tables: net changes of the judge's logit by severity and factor, one a baseline.
    """
    severe = tables["severe", 1.0]
    known = []
    for mild, moderate in itertools.combinations_with_replacement(FACTORS, 2):
        levels = np.stack([tables["mild", mild], tables["moderate", moderate], severe], axis=1)
        parts = levels.mean(axis=0) / severe.mean()
        away = abs(parts[0] - SHARES["mild"]) + abs(parts[1] - SHARES["moderate"])
        known.append((spearman_within(levels), parts[0], float(away), mild, moderate))
    able = [one for one in known if one[1] >= LEAST] or known
    best = max(one[0] for one in able)
    near = min((one for one in able if one[0] >= best - TOLERANCE), key=lambda one: one[2])
    return {"mild": near[3], "moderate": near[4]}


def severities(bench: Bench, count: int) -> dict[str, dict[str, float]]:
    """Return the factors of every finding, from the first `count` baselines."""
    asked = [*itertools.product(SHARES, FACTORS), ("severe", 1.0)]
    results = measure(bench, asked, count)
    factors = {}
    for name in bench.findings:
        own = {key[1:]: value for key, value in results.items() if key[0] == name}
        k = bench.column(name)
        tables = {key: np.array([r.net[k] for r in some]) for key, some in own.items()}
        factors[name] = chosen(tables)
        means = {key: round(float(table.mean()), 2) for key, table in tables.items()}
        log.info("%s: %s of %s", name, factors[name], means)
    return factors


def unsaid(bench: Bench) -> dict[str, str]:
    """Return the findings that are to be called severe where an edit leaves it open."""
    results = measure(bench, [("", 1.0), ("severe", 1.0)], len(bench.rows))
    words = {}
    for name in bench.findings:
        k = bench.column(name)
        plain, severe = (
            auc(np.array([r.logits[k] for r in some]), np.array([r.control[k] for r in some]))
            for some in (results[name, level, 1.0] for level in ("", "severe"))
        )
        log.info("%s: AUROC %.3f, called severe %.3f", name, plain, severe)
        if plain < FAINT and severe >= plain + BETTER:
            words[name] = "severe"
    return words


def main() -> None:
    """Calibrate from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", type=Path, default=BUNDLED["mini"])
    parser.add_argument("--limit", type=int, default=10, help="baselines; twice as many for words")
    parser.add_argument("--run", type=Path, default=Path("runs/severity"), help="keeps edits")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rows = choose(rows_of(args.data), 2 * args.limit, 0, split="val")
    editor = Editor.load(str(args.target))
    if not isinstance(editor, DiffusionEditor):
        raise SystemExit(f"Only a generator has a profile; got '{args.target}'.")
    plain = replace(editor.parts.profile, severity={}, unsaid={})
    editor.parts = replace(editor.parts, profile=plain)
    bench = Bench(editor, Judge.load(), args.data, rows, args.run)
    fields = {"severity": severities(bench, args.limit), "unsaid": unsaid(bench)}
    own = args.target / "profile.json"
    write_json(own, json.loads(own.read_text(encoding="utf-8")) | fields)


if __name__ == "__main__":
    main()
