"""How an editor is to be asked for a severity: calibrated by the judge, on the validation split.

Guidance carries a mild finding nearly as far as a severe one, so a profile may scale it. For each
finding this takes the factor at which a mild edit moves the judge's logit by a third of what a
severe one does, and a moderate one by two thirds (`SHARES`), means over baselines. A finding of
which the judge says too little (`FAINT`) without a severity, and more with "severe", is called
severe where an edit leaves it open.

``python -m training.severity --data DIR`` writes both into the bundled ``profile.json``.
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

from roentmod.classifiers.judge import Judge
from roentmod.editors import BUNDLED, Editor
from roentmod.editors.diffusion import DiffusionEditor
from roentmod.edits import Edit
from roentmod.stats import auc
from roentmod.store import write_json
from training.evaluate import Bench, Result, choose, rows_of

SHARES = {"mild": 1 / 3, "moderate": 2 / 3}
FACTORS = (0.25, 0.3, 0.35, 0.42, 0.5, 0.6, 0.75, 1.0)
# AUROC, edited against sham, below which a finding is faint, and by which "severe" must be better.
FAINT, BETTER = 0.9, 0.05
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


def chosen(nets: dict[tuple[str, float], float]) -> dict[str, float]:
    """Return the factor of each severity below "severe".

    Args:
        nets: mean net change of the judge's logit by severity and factor.

    Returns:
        Factors; that of moderate is never below that of mild. Of equally good ones, the least.
    """
    whole, least, factors = nets["severe", 1.0], 0.0, {}
    for level, share in SHARES.items():
        able = [factor for factor in FACTORS if factor >= least]
        least = min(able, key=lambda factor: abs(nets[level, factor] - share * whole))
        factors[level] = least
    return factors


def severities(bench: Bench, count: int) -> dict[str, dict[str, float]]:
    """Return the factors of every finding, from the first `count` baselines."""
    asked = [*itertools.product(SHARES, FACTORS), ("severe", 1.0)]
    results = measure(bench, asked, count)
    factors = {}
    for name in bench.findings:
        own = {key[1:]: value for key, value in results.items() if key[0] == name}
        nets = {key: _mean_net(bench, name, some) for key, some in own.items()}
        factors[name] = chosen(nets)
        log.info("%s: %s of %s", name, factors[name], nets)
    return factors


def unsaid(bench: Bench) -> dict[str, str]:
    """Return the findings that are to be called severe where an edit leaves it open."""
    results = measure(bench, [("", 1.0), ("severe", 1.0)], len(bench.rows))
    words = {}
    for name in bench.findings:
        k = bench.column(name)
        plain, severe = (
            auc(np.array([r.logits[k] for r in some]), np.array([r.sham[k] for r in some]))
            for some in (results[name, level, 1.0] for level in ("", "severe"))
        )
        log.info("%s: AUROC %.3f, called severe %.3f", name, plain, severe)
        if plain < FAINT and severe >= plain + BETTER:
            words[name] = "severe"
    return words


def _mean_net(bench: Bench, name: str, results: list[Result]) -> float:
    return float(np.mean([result.net[bench.column(name)] for result in results]))


def main() -> None:
    """Calibrate from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", type=Path, default=BUNDLED["mini"])
    parser.add_argument("--limit", type=int, default=10, help="baselines; twice as many for words")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    editor = Editor.load(str(args.target))
    if not isinstance(editor, DiffusionEditor):
        raise SystemExit(f"Only a generator has a profile; got '{args.target}'.")
    plain = replace(editor.parts.profile, severity={}, unsaid={})
    editor.parts = replace(editor.parts, profile=plain)
    rows = choose(rows_of(args.data), 2 * args.limit, 0, split="val")
    bench = Bench(editor, Judge.load(), args.data, rows)
    fields = {"severity": severities(bench, args.limit), "unsaid": unsaid(bench)}
    own = args.target / "profile.json"
    write_json(own, json.loads(own.read_text(encoding="utf-8")) | fields)


if __name__ == "__main__":
    main()
