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
    truth = [studies[name] for name in studies if name.startswith("truth-") and "mini" in name]
    pairs = [
        row
        for one in truth
        for row in _against(one["comparisons"])
        if row.get("slice", "all") == "all"
    ]
    better = sum(sure(row, _RULES) and row["difference"] > 0 for row in pairs)
    means = (f"{word} by {_gains(primary[test])}" for test, word in _WHERE.items())
    real = (
        gain for test in primary if test.startswith("real") for gain, _ in _means(primary[test])
    )
    rows = _against(studies["real"]["comparisons_by_test"])
    earlier = weights.head(dict(figures), ("mini", "judge", "anatomy", "painter"))
    by = " by the editor that made none" if "shortcut_score_unseen" in truth[0] else ""
    text = (
        f"{'By earlier weights, where' if earlier else 'Where'} the truth is known, "
        f"counterfactuals of `mini` changed the audit's score{by} by "
        f"{_span(_changes(truth), '{:+.0f}')} % and the mean AUC {' and '.join(means)} "
        f"points; of {len(pairs)} gains of single pairs {better or 'none'} "
        f"{'hold' if better > 1 else 'holds'} surely once seeds and multiple tests count. With "
        "real labels, few and not confounded on purpose, the macro AUC changed by "
        f"{_span(real, '{:+.1f}')} points; surely worse: {_named(rows, -1)}; surely better: "
        f"{_named(rows, 1)}: [docs/results.md](docs/results.md)."
    )
    return _wrapped(text)


def _against(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return comparisons of arms with counterfactuals with the reference."""
    return [
        row
        for row in rows
        if row["reference"] == _RULES.reference and row["arm"] in _RULES.corrected
    ]


def _means(arms: Mapping[str, Any]) -> list[tuple[float, bool | None]]:
    """Return mean gains over the reference; whether each is surely above 0, None where unknown."""
    overs = (
        arms[arm]["against"].get(_RULES.reference, {}) for arm in _RULES.corrected if arm in arms
    )
    return [(one["mean"], _above(one)) for one in overs if one.get("mean") is not None]


def _above(one: Mapping[str, Any]) -> bool | None:
    low, high = one.get("ci_with_seeds") or (None, None)
    if low is None:
        return None
    return sure({"seeds_low": low, "seeds_high": high, "q": one["q"]}, _RULES) and one["mean"] > 0


def _gains(arms: Mapping[str, Any]) -> str:
    """Return the span of mean gains, and of how many arms they are sure."""
    means = _means(arms)
    certain = [one for _, one in means if one is not None]
    words = f" (surely for {sum(certain)} of {len(means)} arms)" if certain else ""
    return _span((gain for gain, _ in means), "{:+.1f}") + words


def _changes(studies: Iterable[Mapping[str, Any]]) -> list[float]:
    """Return by which shares scores differ from the reference's of the same study.

    They are by the editor that made no counterfactual, where one did.
    """
    scores = [one.get("shortcut_score_unseen", one["shortcut_score"]) for one in studies]
    return [
        own[arm] / own[_RULES.reference] - 1
        for own in scores
        for arm in _RULES.corrected
        if own.get(arm) is not None and own.get(_RULES.reference)
    ]


def _span(shares: Iterable[float], form: str) -> str:
    """Return the least and the greatest of shares, in hundredths; "-" of none."""
    listed = sorted(shares)
    if not listed:
        return "-"
    low, high = (form.format(100 * share) for share in (listed[0], listed[-1]))
    return low if low == high else f"{low} to {high}"


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
