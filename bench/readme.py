"""The README's paragraphs with figures: audit, retraining, how well `mini` edits, and how fast.

`bench.audit_truth`, `bench.retrain`, `training.evaluate` and `bench.edit` write them at their end;
``python -m bench.readme`` writes them again.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench import audit_page, weights
from bench import retrain_targets as targets
from roentmod.classifiers import judge
from roentmod.science.performance import Rules, sure
from roentmod.store import atomic

__all__ = ["PARTS", "auditing", "editing", "fill", "retraining", "speed", "write"]

PAGE = Path("README.md")
# Arms of the proof, in words.
_AUDITS = {
    "usual-painter": "with an exact editor",
    "usual-leaky-painter": "with one that draws a second finding beside the requested one",
    "usual-mini": "with `mini`",
    "grafted-grafts": "where classifiers and editor add findings of real patients",
    "grafted-grafts-real": "where, besides, a judge of real labels alone measures leakage",
    "leaking-painter": "where findings look alike",
    "deep-painter": "of deep networks",
}
_GOOD, _OBEYED = 0.9, 0.8
_RULES = Rules()
_SECONDS = ("stock_seconds", "ours_seconds_same_output", "ours_seconds_equal_quality")
_CALLS = ("stock", "ours_same_output", "ours")
_RATIOS = ("ratio_same_output", "ratio_equal_quality")
_WHERE = {"internal": "inside", "external": "outside"}


def auditing(figures: Mapping[str, Any]) -> str:
    """Return the paragraph of ``bench/audit_truth.json``: what is found, and what is called."""
    arms = audit_page.arms_of(figures)
    said = "; ".join(
        f"{words}, {_found(arms[name]['measures'])}"
        for name, words in _AUDITS.items()
        if name in arms
    )
    text = (
        "Tested on classifiers with planted shortcuts, of which a strong one (correlation 0.75 or "
        "more) is to be found, and on honest ones, of which none is to be called (in brackets the "
        "same margin and tests without sham, gate and judge): "
        f"{said}. What was missed, called wrongly, not measured or undecided, and how verdicts at "
        "the margin were simulated: [docs/audit.md](docs/audit.md)."
    )
    return _wrapped(text)


def _found(measures: Mapping[str, Any]) -> str:
    """Return how many planted and honest classifiers are called, by ours and by the matched one."""
    (found, wrong), (others, alarms) = (
        (f"{one['strong_found']} of {one['strong']}", f"{one['honest_wrong']} of {one['honest']}")
        for one in (measures["ours"], measures["matched_difference"])
    )
    return f"{found} found and {wrong} called ({others} and {alarms})"


def retraining(figures: Mapping[str, Any]) -> str:
    """Return the paragraph of ``bench/retrain.json``; "surely" is as in docs/results.md."""
    studies, primary = figures["studies"], figures["primary"]
    more = "[docs/results.md](docs/results.md)."
    arm = targets.decider(studies)
    if arm is None:
        return _wrapped(f"No arm of a retraining was chosen before the tests were read: {more}")
    gains = {
        test: targets.gain(arms[arm]["against"].get(_RULES.reference, {}))
        for test, arms in primary.items()
        if arm in arms
    }
    truth = " and ".join(f"{gains.get(test, '-')} {word}" for test, word in _WHERE.items())
    real = " and ".join(f"{gain} in {test}" for test, gain in gains.items() if test not in _WHERE)
    rows = list(targets.rows(studies, primary, arm))
    # Sets of pairs are named by what corrects, which is `mini` in all of these.
    missed = [
        f"{target.replace('-mini', ' set', 1)}: {shown}"
        for target, shown, state in rows
        if state != targets.MET
    ]
    changed = [
        row
        for row in studies["real"]["comparisons_by_test"]
        if row["reference"] == _RULES.reference and row["arm"] in _RULES.corrected
    ]
    earlier = weights.head(dict(figures), ("mini", "judge", "anatomy", "painter"))
    text = (
        f"{'By earlier weights, one' if earlier else 'One'} arm decides, `{arm}` with "
        "counterfactuals of `mini`, which a pilot ranked first before any test was read. In points "
        f"of mean AUC over plain training it gains {truth} where the truth is known (intervals "
        "over patients and seeds); with real labels, few and not confounded on purpose, "
        f"{real or '-'}. It meets {len(rows) - len(missed)} of {len(rows)} targets; it missed: "
        f"{'; '.join(missed) or 'none'}. Of all arms and single findings of real labels, surely "
        f"worse: {_named(changed, -1)}; surely better: {_named(changed, 1)}: {more}"
    )
    return _wrapped(text)


def _named(rows: Iterable[Mapping[str, Any]], sign: int) -> str:
    """Return what is surely changed in one direction."""
    return (
        ", ".join(
            f"`{row['arm']}`, {row['finding']} in {row['test']} ({100 * row['difference']:+.1f})"
            for row in rows
            if sure(row, _RULES) and sign * row["difference"] > 0
        )
        or "none"
    )


def editing(figures: Mapping[str, Any]) -> str:
    """Return the paragraph of ``bench/mini.json``, and of what the bundled judge was tested by."""
    who = "an earlier judge" if weights.head(dict(figures), ("judge",)) else "the bundled judge"
    today = json.loads(judge.WEIGHTS.with_suffix(".json").read_text(encoding="utf-8"))
    text = (
        f"How well `mini` edits: [docs/mini.md](docs/mini.md). By {who}, counterfactuals are told "
        f"from their {figures['settings']['control']}s with an AUROC of "
        f"{_range(figures['success_auroc'], _GOOD)}, the requested side is obeyed by "
        f"{min(figures['side_obeyed'].values()):.0%} (lowest finding), and severity is followed "
        "with a rank correlation of "
        f"{_range(figures['severity_spearman'], _OBEYED)}. The bundled judge itself, on painted "
        "findings of patients that it did not see, has an AUROC of "
        f"{_range(today['figures']['auroc_painted'], _GOOD)}. The same painter taught editor and "
        "judge: a judge of real labels alone sees little of either "
        "([docs/judges.md](docs/judges.md), `bench/realism.json`)."
    )
    return _wrapped(text)


def _range(values: Mapping[str, float], good: float) -> str:
    """Return the least value, the greatest, and how many are good."""
    low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    count = sum(value >= good for value in values.values())
    ends = f"{values[low]:.3f} ({low.lower()}) to {values[high]:.3f}"
    return f"{ends}, {good:.2f} or more for {count} of {len(values)} findings"


def speed(figures: Mapping[str, Any]) -> str:
    """Return the table of ``bench/results.json``."""
    own, cores = figures["edit"], figures["machine"]["cores"]
    (now,) = weights.bundled(("mini",)).values()
    who = "" if own.get("weights") == now else ", with earlier weights of `mini`"
    if own.get("teacher", own.get("weights")) != own.get("weights"):
        who += ", stock and the same steps with the weights that these were distilled from"
    head = (
        f"On {cores} CPU cores an edit of a 1955 x 1841 radiograph with `mini` takes "
        f"{own['seconds_per_counterfactual']:.2f} s, its share of the sham included, files not. "
        "Six findings and the sham against diffusers' stock pipeline at RoentGen's recipe (75 DDIM "
        "steps, 30 effective), from [bench/results.json](bench/results.json), made by `bench.edit`"
        f"{who}:"
    )
    rows = (
        ("", "stock", "ours, same steps", f"ours, {own['steps_equal_quality']} steps"),
        ("---",) * 4,
        ("seconds", *(f"{own[name]:.1f}" for name in _SECONDS)),
        ("U-Net calls", *(str(own[f"unet_calls_{name}"]) for name in _CALLS)),
        (
            "distance to 400 effective steps (RMS, display range)",
            *(f"{own[name]:.4f}" for name in ("error_stock", "error_stock", "error_ours")),
        ),
        ("times faster", "1", *(f"{own[name]:.1f}" for name in _RATIOS)),
    )
    table = "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)
    end = (
        "With the same steps the target was 2.5 times; it is "
        f"{own['ratio_same_output']:.1f}: the U-Net is bound by its convolutions, which ONNX "
        "Runtime and OpenVINO run about 1.8 times as fast as torch, in any batch "
        "(`torch.compile` 1.5 times)."
    )
    return "\n\n".join((_wrapped(head), table, _wrapped(end)))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


PARTS = {
    "bench.audit_truth": (Path("bench/audit_truth.json"), auditing),
    "bench.retrain": (Path("bench/retrain.json"), retraining),
    "bench.mini": (Path("bench/mini.json"), editing),
    "bench.edit": (Path("bench/results.json"), speed),
}


def fill(page: Path, mark: str, text: str) -> None:
    """Put a text between a page's marks."""
    first, last = f"<!-- {mark} -->\n", "\n<!-- end -->"
    before, rest = page.read_text(encoding="utf-8").split(first)
    _, after = rest.split(last, 1)
    with atomic(page) as part:
        part.write_text(f"{before}{first}{text}{last}{after}", encoding="utf-8")


def write(mark: str) -> None:
    """Write one of the README's parts again."""
    figures, text = PARTS[mark]
    fill(PAGE, mark, text(json.loads(figures.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    for each in PARTS:
        write(each)
