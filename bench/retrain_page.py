"""The figures and the page of the two retraining experiments.

``bench/retrain_tries.json`` holds what earlier tries of experiment (a) gained over erm, in points
of AUC with intervals over patients and seeds where there were any, as they were written down.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import retrain_targets as targets
from roentmod.science.performance import Rules, sure

Found = Mapping[str, Mapping[str, Any]]
_COMPARED = ("comparisons", "comparisons_by_test")
_RULES = Rules()
_TRIES = Path(__file__).with_name("retrain_tries.json")


def gathered(found: Found, primary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``bench/retrain.json`` holds.

    ``truth`` joins both sets of pairs, with the arms that learned from the painter's
    counterfactuals named "ARM (painter)"; scores are means over the two sets, which compare with
    none of another study. ``primary`` {test: {arm: {mean, ci, ci_with_seeds, against}}} is over the
    pairs of both sets, and, in tests whose names begin with "real", over findings.
    """
    truth: dict[str, Any] = {"internal": {}, "external": {}}
    scores: dict[str, list[float]] = {}
    unseen: dict[str, list[float]] = {}
    losses: dict[str, list[float]] = {}
    left: dict[str, list[float]] = {}
    for name, one in _truth(found):
        painter = name.endswith("painter")
        for where in ("internal", "external"):
            for pair, arms in one[where].items():
                truth[where].setdefault(pair, {}).update(_named(arms, painter))
        for kept, key in (
            (scores, "shortcut_score"),
            (unseen, "shortcut_score_unseen"),
            (losses, "reverse_shortcut"),
            (left, "residual_dependence"),
        ):
            for arm, value in _named(one.get(key, {}), painter).items():
                if value is not None:
                    kept.setdefault(arm, []).append(value)
    real = found["real"]
    return {
        "truth": truth,
        "real": {where: real[where] for where in ("internal", "external")},
        "primary": dict(primary),
        "shortcut_score": _means(scores),
        "shortcut_score_unseen": _means(unseen),
        "reverse_shortcut": _means(losses),
        "residual_dependence": _means(left),
        "seeds": found["truth-first-mini"]["seeds"],
        "studies": {name: trimmed(one) for name, one in found.items()},
    }


def trimmed(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a study, less the comparisons that neither page nor reader asks for.

    What is left out follows from a run's predictions: slices of a pair, and how other arms than erm
    differ.
    """
    return {
        key: [row for row in told if _kept(row)] if key in _COMPARED else told
        for key, told in study.items()
    }


def _kept(row: Mapping[str, Any]) -> bool:
    """Return whether a comparison is with erm, and of all pictures."""
    return bool(row["reference"] == _RULES.reference and row.get("slice", "all") == "all")


def _truth(found: Found) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from ((name, one) for name, one in found.items() if name.startswith("truth"))


def _named(arms: Mapping[str, Any], painter: bool) -> dict[str, Any]:
    """Return what is told of arms; of the painter's studies only those that saw counterfactuals."""
    if not painter:
        return dict(arms)
    return {f"{arm} (painter)": value for arm, value in arms.items() if arm in _RULES.corrected}


def _means(values: Mapping[str, list[float]]) -> dict[str, float]:
    """Return means over the sets, of arms that have a value in each set that erm has one in."""
    sets = len(values.get(_RULES.reference, ()))
    return {
        arm: round(sum(own) / len(own), 4)
        for arm, own in values.items()
        if len(own) == sets or arm.endswith("(painter)")
    }


def page(found: Found, primary: Mapping[str, Any]) -> str:
    """Return the page."""
    told = gathered(found, primary)
    minutes = sum(one["minutes"] for one in found.values())
    studies = sum(len(one["numbers"]) for one in found.values())
    lines = [
        "# Retraining: what counterfactuals correct",
        "",
        "Made by `python -m bench.retrain --data DIR` (`bench/retrain.json`), which runs "
        f"{studies} studies (`roentmod study`) in about {minutes / 60:.1f} hours on two cores. "
        "AUC are means over seeds; intervals are 95 %; gains are in points of AUC. *With seeds*, "
        "an interval is over patients and seeds: the margin over patients drawn again and that "
        "between seeds, each with its own t, in quadrature. *Surely* means that such an interval "
        "is on one side of 0, q (false discovery rate) is below 0.05, and there are 10 positives "
        "and negatives at least. Findings of experiment (a) are painted, and the classifier is a "
        "small one (56 px): this says how classifiers learn, not how they serve patients.",
        "",
        "## (a) Known truth",
        "",
        "NIH PA radiographs without finding, findings painted in. In training the read finding of "
        "a pair is a copy of the cause with the chance 0.9; in every test all findings are "
        "independent. Internal: PA radiographs of other NIH patients. External: NIH AP bedside "
        "radiographs of other patients, Hannover (AP and PA, COVID-19) and Kermany (children), "
        "together: areas are of pairs of one source, so that NIH counts most. "
        "Pairs were chosen in a pilot so that the read finding is the one that is harder to see; "
        "where the cause is the harder one, nothing is learned from it. Soft labels are the "
        "bundled NIH rates: the training's own rates hold the very link that was planted. "
        f"Counterfactuals of `mini` are by the weights `{_weights(found)}`.",
        "",
        *_numbers(found),
        "## Primary outcome",
        "",
        *_primary(told["primary"]),
        "",
    ]
    for where in ("internal", "external"):
        lines += [f"### {where.capitalize()}", "", *_areas(told["truth"][where]), ""]
    lines += ["### Gains over erm by pair", "", *_gains(found), ""]
    lines += ["### By place", "", *_by_place(found), ""]
    lines += ["### Audit, reverse shortcut, residual dependence", "", *_scores(found), ""]
    lines += ["## (b) Real labels", "", *_real(found["real"]), ""]
    lines += ["## Targets, and what falls short", "", *_short(found, told["primary"]), ""]
    lines += ["## Earlier tries", "", *_tries(), ""]
    return "\n".join(lines)


def _tries() -> Iterator[str]:
    tries = json.loads(_TRIES.read_text(encoding="utf-8"))["tries"]
    yield (
        f"{len(tries)} tries were made before the one that this page reports. Gains over erm, mean "
        "over their pairs, in points (95 % with seeds, where it was worked out):"
    )
    yield ""
    rows = [
        (one["name"], arm, *(_tried(one[where].get(arm)) for where in ("internal", "external")))
        for one in tries
        for arm in one["internal"]
    ]
    yield from _table(("try", "arm", "internal", "external"), rows)
    yield ""
    for one in tries:
        yield f"- {one['name']}: {one['plan']}."


def _tried(gain: tuple[float, list[float] | None] | None) -> str:
    if gain is None:
        return "-"
    mean, ends = gain
    return f"{mean:+.1f}" + (f" ({targets.span(ends, 1, '{:+.1f}')})" if ends else "")


def _numbers(found: Found) -> list[str]:
    """Return a table of the numbers of arms by study, of the real labels by fold."""
    rows = [
        (f"{name} {fold}" if len(one["numbers"]) > 1 else name, numbers)
        for name, one in found.items()
        for fold, numbers in enumerate(one["numbers"], 1)
    ]
    names = list(rows[0][1])
    return [
        "Numbers of the arms ([retrain.md](retrain.md)), but for the steps of real labels chosen "
        "in a pilot (`bench/retrain_tuned.json`): three other pairs of the same findings, tested "
        "on de-confounded radiographs of other patients of the training split, who are in no test "
        "of (a); folds of (b) test them, too, on real labels, which the pilot did not read. "
        "What it said of the arms decided which of them read real labels:",
        "",
        f"| study | {' | '.join(names)} |",
        "|---" * (1 + len(names)) + "|",
        *(f"| {name} | {' | '.join(_number(own[key]) for key in names)} |" for name, own in rows),
        "",
    ]


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _primary(told: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "The mean AUC of the read findings over the six pairs of both sets (counterfactuals of "
        "`mini`), and the macro AUC of the real labels within source (pairs of a positive and a "
        "negative of one source, read by one fold's models; Kermany is read by all folds' models "
        "together). The best rival is the arm without "
        f"counterfactuals ({', '.join(_RULES.rivals)}) that has the greatest mean in a test; "
        "q, over all contrasts with erm, and apart from them over all others, decides nothing here."
    )
    yield ""
    rows = []
    for test, arms in told.items():
        rival = _best(arms)
        for arm, own in arms.items():
            over = (own["against"].get(name, {}) for name in ("erm", rival))
            mean = "-" if own["mean"] is None else f"{own['mean']:.3f}"
            row = [test, arm, mean, targets.span(own["ci_with_seeds"], 1, "{:.3f}")]
            for one in over:
                row += [targets.gain(one), targets.span([one.get("q")], 1, "{:.3f}")]
            rows.append([*row, rival if arm in _RULES.corrected else ""])
    heads = ("test", "arm", "AUC", "95 % with seeds", "gain over erm", "q", "over best rival", "q")
    yield from _table((*heads, "best rival"), rows)


def _best(arms: Mapping[str, Any]) -> str:
    """Return the rival with the greatest mean in a test, "" where there is none."""
    rivals = [name for name in _RULES.rivals if name in arms]
    return max(rivals, key=lambda name: arms[name]["mean"] or 0.0, default="")


def _weights(found: Found) -> str:
    made = {str(one["editor"].get("weights", "")) for one in found.values()} - {""}
    return ", ".join(sorted(made))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    words = list(head)
    yield _line(words)
    yield "|" + "---|" * len(words)
    yield from map(_line, rows)


def _line(cells: Iterable[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _points(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a difference of areas and its intervals in points, and its q."""
    ends = ([row["low"], row["high"]], [row["seeds_low"], row["seeds_high"]])
    shown = (targets.span(two, 100, "{:+.1f}") for two in ends)
    return f"{100 * row['difference']:+.1f}", *shown, targets.span([row["q"]], 1, "{:.3f}")


def _areas(areas: Mapping[str, Any]) -> Iterator[str]:
    arms = list(dict.fromkeys(arm for own in areas.values() for arm in own))
    rows = (
        (arm, *(_area(own[arm]) if arm in own else "-" for own in areas.values())) for arm in arms
    )
    yield from _table(("", *areas), rows)


def _area(one: Mapping[str, Any]) -> str:
    if one["auc"] is None:
        return "-"
    return f"{one['auc']:.3f} ({targets.span(one['ci'], 1, '{:.3f}')})"


def _compared(found: Found) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every comparison of all pictures of a pair, with the name of its study."""
    for name, one in _truth(found):
        for row in one["comparisons"]:
            if row["slice"] == "all":
                yield name, row


def _gains(found: Found) -> Iterator[str]:
    rows = []
    for name, row in _compared(found):
        if row["arm"] in _RULES.corrected and row["reference"] == _RULES.reference:
            arm = row["arm"] + (" (painter)" if name.endswith("painter") else "")
            pair = f"{row['cause']} → {row['read']}"
            rows.append((pair, row["where"], arm, *_points(row)))
    yield from _table(("pair", "where", "arm", "gain", "95 %", "with seeds", "q"), rows)


def _by_place(found: Found) -> Iterator[str]:
    yield "Gain of the read findings over erm, mean of the three pairs of a set:"
    yield ""
    gains: dict[tuple[str, str], dict[str, list[float]]] = {}
    for name, one in _truth(found):
        reads = {row["read"] for row in one["comparisons"]}
        for row in one["comparisons_by_test"]:
            if row["reference"] == "erm" and row["finding"] in reads:
                own = gains.setdefault((name.removeprefix("truth-"), row["test"]), {})
                own.setdefault(row["arm"], []).append(row["difference"])
    arms = list(dict.fromkeys(arm for own in gains.values() for arm in own))
    rows = ((*place, *(_mean_points(own.get(arm)) for arm in arms)) for place, own in gains.items())
    yield from _table(("study", "test", *arms), rows)


def _mean_points(values: list[float] | None) -> str:
    return f"{100 * sum(values) / len(values):+.1f}" if values else "-"


def _scores(found: Found) -> Iterator[str]:
    yield (
        "The score is the largest off-target share of an audit: with r an off-target effect over "
        "the own effect, less leakage, it is r / (1 + r), from 0 to 1. Its fall is against erm of "
        "the same study, where every audited seed of both has a score and the fall an interval. A "
        "seed is blinded where a head that counts in erm's score may react to its own finding no "
        "longer: its score is of fewer heads, and counts as no fall. "
        "The gap is sensitivity where the read finding comes without the cause, less sensitivity "
        "where both are there, at the operating point chosen on validation, internal. Above 0 it "
        "is a reverse shortcut: the model under-calls what truly comes together. Its size is the "
        "residual dependence on the cause; below 0, the cause still helps."
    )
    yield ""
    rows = []
    for name, one in _truth(found):
        for arm in one["seeds"]:
            shown = [_fallen(one, unseen, arm) for unseen in (False, True)]
            sides = (one[key].get(arm) for key in ("reverse_shortcut", "residual_dependence"))
            ends = ("-" if side is None else f"{side:.3f}" for side in sides)
            rows.append((name.removeprefix("truth-"), arm, *shown, *ends))
    heads = ("study", "arm", "score (fall)", "score by the other editor (fall)")
    yield from _table((*heads, "reverse shortcut", "residual dependence"), rows)


def _fallen(one: Mapping[str, Any], unseen: bool, arm: str) -> str:
    """Return an arm's score, and by how much it is below erm's of the same study."""
    score = one.get(f"shortcut_score{'_unseen' if unseen else ''}", {}).get(arm)
    fall = targets.falls(one, unseen).get(arm)
    if score is None:
        return "-"
    if fall is None or arm == _RULES.reference:
        return f"{score:.2f}"
    return f"{score:.2f} ({fall[0]:.1%}{targets.blinded(one, arm, unseen)})"


def _real(one: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "NIH labels, few positives: internal is NIH in five folds by patient, where positives and "
        "negatives of a finding agree in source, view, sex and age band; areas are of pairs of one "
        "fold and source; external is Kermany (children, pneumonia or normal, aspect ratio "
        "squashed). Hannover has no picture without COVID-19, so no area can be had from it. Each "
        "difference is of one finding, on all its pictures. The arms are erm, plain "
        "counterfactuals, and those that the pilot found best: what is asked of real labels is "
        "that they are not harmed."
    )
    yield ""
    rows = (
        (row["finding"], row["test"], row["arm"], *_points(row), str(row["positives"]))
        for row in one["comparisons_by_test"]
        if row["reference"] == "erm" and row["arm"] in _RULES.corrected
    )
    yield from _table(
        ("finding", "test", "arm", "gain over erm", "95 %", "with seeds", "q", "positives"), rows
    )


def _short(found: Found, primary: Mapping[str, Any]) -> Iterator[str]:
    """Say of each target whether it is met, first for the arm that decides."""
    arm = targets.decider(found)
    others = [name for name in _RULES.corrected if name != arm and name in primary["internal"]]
    heads = ("target", "found", "state")
    if arm is None:
        yield "No arm was chosen before the tests were read: nothing is decided."
    else:
        rows = list(targets.rows(found, primary, arm))
        met = sum(state == targets.MET for _, _, state in rows)
        yield (
            f"One arm decides, `{arm}`, which the pilot ranked first. It meets {met} of "
            f"{len(rows)} targets; of a miss, the state says what the interval tells. Differences "
            "are in points, with seeds."
        )
        yield ""
        yield from _table(heads, rows)
        yield ""
        yield from targets.painted(found, arm)
        yield from targets.why(found, primary, arm)
        yield ""
        yield "The other arms, for comparison: the best of several looks better than it is."
    yield ""
    every = [(name, *row) for name in others for row in targets.rows(found, primary, name)]
    yield from _table(("arm", *heads), every)
    yield ""
    yield from _real_short(found["real"])
    yield ""
    yield "What the intervals take no account of:"
    yield ""
    yield from targets.limits()


def _real_short(one: Mapping[str, Any]) -> Iterator[str]:
    """Say of how many findings real labels gained or lost, and where for sure."""
    for arm in _RULES.corrected:
        rows = [
            r for r in one["comparisons_by_test"] if r["reference"] == "erm" and r["arm"] == arm
        ]
        if not rows:
            continue
        certain = [r for r in rows if sure(r, _RULES)]
        better = [_told(r) for r in certain if r["difference"] > 0]
        worse = [_told(r) for r in certain if r["difference"] < 0]
        yield (
            f"- Real labels, {arm}: of {len(rows)} findings and tests, surely better than erm: "
            f"{', '.join(better) or 'none'}; surely worse: {', '.join(worse) or 'none'}."
        )


def _told(row: Mapping[str, Any]) -> str:
    return f"{row['finding']} in {row['test']} ({100 * row['difference']:+.1f})"
