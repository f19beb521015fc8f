"""The figures and the page of the two retraining experiments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from roentmod.science.performance import Rules

Found = Mapping[str, Mapping[str, Any]]
_CORRECTED = ("isolated", "soft")
_RIVALS = ("oversampling", "reweighting")
_COMPARED = ("comparisons", "comparisons_by_test")
_RULES = Rules()


def gathered(found: Found) -> dict[str, Any]:
    """Return what ``bench/retrain.json`` holds.

    ``truth`` joins both sets of pairs, with the arms that learned from the painter's
    counterfactuals named "ARM (painter)"; scores are means over the two sets.
    """
    truth: dict[str, Any] = {"internal": {}, "external": {}}
    scores: dict[str, list[float]] = {}
    losses: dict[str, list[float]] = {}
    for name, one in _truth(found):
        painter = name.endswith("painter")
        for where in ("internal", "external"):
            for pair, arms in one[where].items():
                truth[where].setdefault(pair, {}).update(_named(arms, painter))
        for kept, key in ((scores, "shortcut_score"), (losses, "reverse_shortcut")):
            for arm, value in _named(one[key], painter).items():
                kept.setdefault(arm, []).append(value)
    real = found["real"]
    return {
        "truth": truth,
        "real": {where: real[where] for where in ("internal", "external")},
        "shortcut_score": _means(scores),
        "reverse_shortcut": _means(losses),
        "seeds": found["truth-first-mini"]["seeds"],
        "studies": {name: trimmed(one) for name, one in found.items()},
    }


def trimmed(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a study, less the comparisons that neither page nor reader asks for.

    What is left out follows from a run's predictions: slices of a pair, and how findings differ
    between other arms than erm.
    """
    return {
        key: [row for row in told if _kept(row)] if key in _COMPARED else told
        for key, told in study.items()
    }


def _kept(row: Mapping[str, Any]) -> bool:
    """Return whether a comparison is of all pictures of a pair, or of a finding with erm."""
    if "slice" in row:
        return bool(row["slice"] == "all")
    return bool(row["reference"] == "erm")


def _truth(found: Found) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from ((name, one) for name, one in found.items() if name.startswith("truth"))


def _named(arms: Mapping[str, Any], painter: bool) -> dict[str, Any]:
    """Return what is told of arms; of the painter's studies only those that saw counterfactuals."""
    if not painter:
        return dict(arms)
    return {f"{arm} (painter)": value for arm, value in arms.items() if arm in _CORRECTED}


def _means(values: Mapping[str, list[float]]) -> dict[str, float]:
    return {arm: round(sum(own) / len(own), 4) for arm, own in values.items()}


def page(found: Found) -> str:
    """Return the page."""
    told = gathered(found)
    minutes = sum(one["minutes"] for one in found.values())
    lines = [
        "# Retraining: what counterfactuals correct",
        "",
        "Made by `python -m bench.retrain --data DIR` (`bench/retrain.json`), which runs "
        f"{len(found)} studies (`roentmod study`) in about {minutes / 60:.1f} hours on two cores. "
        "AUC are means over seeds; intervals are 95 %, of patients drawn anew; gains are in points "
        "of AUC. Findings of experiment (a) are painted, and the classifier is a small "
        "one (56 px): this says how classifiers learn, not how they serve patients.",
        "",
        "## (a) Known truth",
        "",
        "NIH PA radiographs without finding, findings painted in. In training the read finding of "
        "a pair is a copy of the cause with the chance 0.9; in every test all findings are "
        "independent. Internal: PA radiographs of other NIH patients. External: NIH AP bedside "
        "radiographs of other patients, Hannover (AP, COVID-19) and Kermany (children), together. "
        "Pairs were chosen in a pilot so that the read finding is the one that is harder to see; "
        "where the cause is the harder one, nothing is learned from it. Soft labels are the "
        "bundled NIH rates: the training's own rates hold the very link that was planted. A batch "
        "is half counterfactuals; it was a quarter in a first run, and was raised after its tests "
        "were seen. "
        f"Counterfactuals of `mini` are by the weights {_weights(found)}.",
        "",
    ]
    for where in ("internal", "external"):
        lines += [f"### {where.capitalize()}", "", *_areas(told["truth"][where]), ""]
    lines += ["### Gains over erm, and over the rivals", "", *_gains(found), ""]
    lines += ["### By place", "", *_by_place(found), ""]
    lines += ["### Audit and reverse shortcut", "", *_scores(told), ""]
    lines += ["## (b) Real labels", "", *_real(found["real"]), ""]
    lines += ["## What was asked for, and what falls short", "", *_short(found, told), ""]
    return "\n".join(lines)


def _weights(found: Found) -> str:
    made = {str(one["editor"].get("weights", "")) for one in found.values()} - {""}
    return " and ".join(f"`{name}`" for name in sorted(made))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    words = list(head)
    yield _line(words)
    yield "|" + "---|" * len(words)
    yield from map(_line, rows)


def _line(cells: Iterable[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _points(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return a difference of areas and its interval, in points."""
    low, high = (f"{100 * row[end]:+.1f}" for end in ("low", "high"))
    return f"{100 * row['difference']:+.1f}", f"{low} to {high}"


def _areas(areas: Mapping[str, Any]) -> Iterator[str]:
    arms = list(dict.fromkeys(arm for own in areas.values() for arm in own))
    rows = (
        (name, *(_area(own[arm]) if arm in own else "-" for arm in arms))
        for name, own in areas.items()
    )
    yield from _table(("", *arms), rows)


def _area(one: Mapping[str, Any]) -> str:
    if one["auc"] is None:
        return "-"
    low, high = one["ci"]
    return f"{one['auc']:.3f} ({low:.3f} to {high:.3f})"


def _compared(found: Found) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every comparison of all pictures of a pair, with the name of its study."""
    for name, one in _truth(found):
        for row in one["comparisons"]:
            if row["slice"] == "all":
                yield name, row


def _gains(found: Found) -> Iterator[str]:
    rows = []
    for name, row in _compared(found):
        if row["arm"] in _CORRECTED and row["reference"] in ("erm", *_RIVALS):
            arm = row["arm"] + (" (painter)" if name.endswith("painter") else "")
            pair = f"{row['cause']} → {row['read']}"
            rows.append((pair, row["where"], arm, row["reference"], *_points(row)))
    yield from _table(("pair", "where", "arm", "against", "gain", "95 %"), rows)


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


def _scores(told: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "The score is the largest off-target effect of an audit, of the own effect, less leakage. "
        "The reverse shortcut is sensitivity where the read finding comes without the cause, less "
        "sensitivity where both are there, at the operating point chosen on validation, internal: "
        "above 0, the model under-calls what truly comes together; below 0, the cause helps it."
    )
    yield ""
    rows = []
    base = told["shortcut_score"].get("erm")
    for arm, loss in told["reverse_shortcut"].items():
        score = told["shortcut_score"].get(arm)
        fall = f"{1 - score / base:.0%}" if base and score is not None and arm != "erm" else "-"
        rows.append((arm, "-" if score is None else f"{score:.2f}", fall, f"{loss:+.3f}"))
    yield from _table(("arm", "shortcut score", "fall against erm", "reverse shortcut"), rows)


def _real(one: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "NIH labels as they are, few positives: internal is the NIH test split, external Kermany "
        "(children, pneumonia or normal, aspect ratio squashed). Hannover has no picture without "
        "COVID-19, so no area can be had from it. Pairs are a guess from the labels; each "
        "difference is of one finding, on all pictures. Half of a batch is counterfactuals, as in "
        "(a)."
    )
    yield ""
    for where in (where for where in ("internal", "external") if one[where]):
        yield from (f"{where.capitalize()}, read findings of the suspected pairs:", "")
        yield from (*_areas(one[where]), "")
    rows = (
        (row["finding"], row["test"], row["arm"], *_points(row), str(row["positives"]))
        for row in one["comparisons_by_test"]
        if row["reference"] == "erm" and row["arm"] in _CORRECTED
    )
    yield from _table(("finding", "test", "arm", "gain over erm", "95 %", "positives"), rows)


def _short(found: Found, told: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing asked for, met or not."""
    for arm in _CORRECTED:
        for where, wanted in (("internal", 6), ("external", 5)):
            rows = [r for n, r in _compared(found) if n.endswith("mini") and r["where"] == where]
            own = [r for r in rows if r["arm"] == arm]
            over = [r for r in own if r["reference"] == "erm"]
            won = [r for r in over if r["difference"] >= _RULES.gain and r["low"] > 0]
            yield (
                f"- {arm}, {where}: at least 3 points over erm, surely above 0, in {len(won)} of "
                f"{len(over)} pairs (asked for: {wanted}).{_missing(over, won)}"
            )
            for rival in _RIVALS:
                against = [r for r in own if r["reference"] == rival]
                better = [r for r in against if r["low"] > 0]
                yield (
                    f"- {arm}, {where}: surely better than {rival} in {len(better)} of "
                    f"{len(against)} pairs.{_missing(against, better)}"
                )
    yield from _upper(found)
    yield from _real_short(found["real"])
    base = told["shortcut_score"]["erm"]
    for arm in _CORRECTED:
        fall = 1 - told["shortcut_score"][arm] / base if base else float("nan")
        yield f"- {arm}: the audit's score falls by {fall:.0%} (asked for: 70 %)."
    isolated, soft = (told["reverse_shortcut"][arm] for arm in _CORRECTED)
    yield (
        f"- Reverse shortcut: isolated {isolated:+.3f}, soft {soft:+.3f}: soft "
        f"{'is lower' if soft < isolated else 'is not lower'}."
    )


def _real_short(one: Mapping[str, Any]) -> Iterator[str]:
    """Say of how many findings real labels gained or lost, and where for sure."""
    for arm in _CORRECTED:
        rows = [
            r for r in one["comparisons_by_test"] if r["reference"] == "erm" and r["arm"] == arm
        ]
        better = [_told(r) for r in rows if r["low"] > 0]
        worse = [_told(r) for r in rows if r["high"] < 0]
        yield (
            f"- Real labels, {arm}: of {len(rows)} findings and tests, surely better than erm: "
            f"{', '.join(better) or 'none'}; surely worse: {', '.join(worse) or 'none'}."
        )


def _told(row: Mapping[str, Any]) -> str:
    return f"{row['finding']} in {row['test']} ({100 * row['difference']:+.1f})"


def _upper(found: Found) -> Iterator[str]:
    """Say what the painter's counterfactuals reach: how much of a miss is the editor's."""
    for arm in _CORRECTED:
        for where in ("internal", "external"):
            own = [
                row
                for name, row in _compared(found)
                if name.endswith("painter")
                and (row["arm"], row["reference"], row["where"]) == (arm, "erm", where)
            ]
            won = [r for r in own if r["difference"] >= _RULES.gain and r["low"] > 0]
            yield (
                f"- {arm} with the painter's counterfactuals (first set), {where}: {len(won)} of "
                f"{len(own)} pairs."
            )
    yield (
        "- What `mini` misses beyond the painter is the editor's part: it draws a finding at much "
        "the same place and with one look, the tests do not."
    )


def _missing(rows: list[Any], won: list[Any]) -> str:
    lost = [f"{r['cause']} → {r['read']} ({100 * r['difference']:+.1f})" for r in rows]
    kept = {id(r) for r in won}
    lost = [text for text, r in zip(lost, rows, strict=True) if id(r) not in kept]
    return f" Not in {', '.join(lost)}." if lost else ""
