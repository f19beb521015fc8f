"""The figures and the page of the two retraining experiments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from roentmod.science.performance import Rules, sure

Found = Mapping[str, Mapping[str, Any]]
_CORRECTED = ("isolated", "soft")
_RIVALS = ("oversampling", "reweighting")
_COMPARED = ("comparisons", "comparisons_by_test")
_RULES = Rules()


def gathered(found: Found, primary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``bench/retrain.json`` holds.

    ``truth`` joins both sets of pairs, with the arms that learned from the painter's
    counterfactuals named "ARM (painter)"; scores are means over the two sets, which compare with
    none of another study. ``primary`` {test: {arm: {mean, ci, ci_with_seeds, against}}} is over the
    pairs of both sets, and, in tests whose names begin with "real", over findings.
    """
    truth: dict[str, Any] = {"internal": {}, "external": {}}
    scores: dict[str, list[float]] = {}
    losses: dict[str, list[float]] = {}
    left: dict[str, list[float]] = {}
    for name, one in _truth(found):
        painter = name.endswith("painter")
        for where in ("internal", "external"):
            for pair, arms in one[where].items():
                truth[where].setdefault(pair, {}).update(_named(arms, painter))
        for kept, key in (
            (scores, "shortcut_score"),
            (losses, "reverse_shortcut"),
            (left, "residual_dependence"),
        ):
            for arm, value in _named(one[key], painter).items():
                kept.setdefault(arm, []).append(value)
    real = found["real"]
    return {
        "truth": truth,
        "real": {where: real[where] for where in ("internal", "external")},
        "primary": dict(primary),
        "shortcut_score": _means(scores),
        "reverse_shortcut": _means(losses),
        "residual_dependence": _means(left),
        "weights": _weights(found),
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


def page(found: Found, primary: Mapping[str, Any]) -> str:
    """Return the page."""
    told = gathered(found, primary)
    minutes = sum(one["minutes"] for one in found.values())
    lines = [
        "# Retraining: what counterfactuals correct",
        "",
        "Made by `python -m bench.retrain --data DIR` (`bench/retrain.json`), which runs "
        f"{len(found)} studies (`roentmod study`) in about {minutes / 60:.1f} hours on two cores. "
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
        "radiographs of other patients, Hannover (AP, COVID-19) and Kermany (children), together. "
        "Pairs were chosen in a pilot so that the read finding is the one that is harder to see; "
        "where the cause is the harder one, nothing is learned from it. Soft labels are the "
        "bundled NIH rates: the training's own rates hold the very link that was planted. A batch "
        "is half counterfactuals; it was a quarter in a first run, and was raised after its tests "
        "were seen. "
        f"Counterfactuals of `mini` are by the weights `{_weights(found)}`.",
        "",
        *_earlier(found),
        "## Primary outcome",
        "",
        *_primary(told["primary"]),
        "",
    ]
    for where in ("internal", "external"):
        lines += [f"### {where.capitalize()}", "", *_areas(told["truth"][where]), ""]
    lines += ["### Gains over erm, and over the rivals", "", *_gains(found), ""]
    lines += ["### By place", "", *_by_place(found), ""]
    lines += ["### Audit, reverse shortcut, residual dependence", "", *_scores(found), ""]
    lines += ["## (b) Real labels", "", *_real(found["real"]), ""]
    lines += ["## What was asked for, and what falls short", "", *_short(found, told), ""]
    return "\n".join(lines)


def _earlier(found: Found) -> list[str]:
    if not any(one.get("recomputed") for one in found.values()):
        return []
    return [
        "**These runs are of an earlier version.** Intervals with seeds and q of pairs were "
        "recomputed from the tables that they left; reverse shortcut and residual dependence from "
        "mean losses over pairs, so that they are lower bounds; the primary outcome was fixed "
        "after them. What those tables lack is shown as -, until `make prove-retrain` is run. "
        "Counterfactuals were gated against shams (composite `sham`, whose control is the "
        "baseline), half of a batch of theirs was taken from the real pictures, real labels were "
        "tested across sources, and scores were not bounded.",
        "",
    ]


def _primary(told: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "The mean AUC of the read findings over the six pairs of both sets (counterfactuals of "
        "`mini`), and the macro AUC of the real labels."
    )
    yield ""
    rows = []
    for test, arms in told.items():
        for arm, own in arms.items():
            gain = own["against"].get("erm", {})
            rows.append(
                (
                    *(test, arm, "-" if own["mean"] is None else f"{own['mean']:.3f}"),
                    _known(own["ci"], 1, "{:.3f}"),
                    _known([gain.get("mean")], 100, "{:+.1f}"),
                    _known(gain.get("ci"), 100, "{:+.1f}"),
                    _known(gain.get("ci_with_seeds"), 100, "{:+.1f}"),
                    _known([gain.get("q")], 1, "{:.3f}"),
                )
            )
    heads = ("test", "arm", "AUC", "95 %", "gain over erm", "95 %", "with seeds", "q")
    yield from _table(heads, rows)


def _known(values: Any, scale: float, form: str) -> str:
    """Return numbers as "low to high", or - where one is not known."""
    if values is None or None in values:
        return "-"
    return " to ".join(form.format(scale * value) for value in values)


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
    shown = (_known(two, 100, "{:+.1f}") for two in ends)
    return f"{100 * row['difference']:+.1f}", *shown, _known([row["q"]], 1, "{:.3f}")


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
    yield from _table(("pair", "where", "arm", "against", "gain", "95 %", "with seeds", "q"), rows)


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
        "The score is the largest off-target effect of an audit, of the own effect, less leakage; "
        "its fall is against erm of the same study. The loss is sensitivity where the read finding "
        "comes without the cause, less sensitivity where both are there, at the operating point "
        "chosen on validation, internal. Above 0 it is a reverse shortcut: the model under-calls "
        "what truly comes together. Its size is the residual dependence on the cause; below 0, the "
        "cause still helps."
    )
    yield ""
    rows = []
    for name, one in _truth(found):
        falls = _falls(one)
        for arm, loss in one["reverse_shortcut"].items():
            score = one["shortcut_score"].get(arm)
            fall = f"{falls[arm]:.1%}" if arm in falls and arm != "erm" else "-"
            shown = "-" if score is None else f"{score:.2f}"
            ends = (f"{x:.3f}" for x in (loss, one["residual_dependence"][arm]))
            rows.append((name.removeprefix("truth-"), arm, shown, fall, *ends))
    heads = ("study", "arm", "shortcut score", "fall against its erm", "reverse shortcut")
    yield from _table((*heads, "residual dependence"), rows)


def _falls(one: Mapping[str, Any]) -> dict[str, float]:
    """Return by how much each arm's score falls against the reference of its study."""
    base = one["shortcut_score"].get("erm")
    if not base:
        return {}
    return {arm: 1 - score / base for arm, score in one["shortcut_score"].items()}


def _real(one: Mapping[str, Any]) -> Iterator[str]:
    where = (
        "internal is the NIH test split, of all sources"
        if one.get("recomputed")
        else "internal is NIH in five folds by patient, where positives and negatives of a finding "
        "agree in source, view, sex and age band; logits are standardised within a fold"
    )
    yield (
        f"NIH labels, few positives: {where}; external is Kermany (children, pneumonia or normal, "
        "aspect ratio squashed). Hannover has no picture without COVID-19, so no area can be had "
        "from it. Pairs are a guess from the labels; each difference is of one finding, on all "
        "pictures. Half of a batch is counterfactuals, as in (a)."
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
    yield from _table(
        ("finding", "test", "arm", "gain over erm", "95 %", "with seeds", "q", "positives"), rows
    )


def _short(found: Found, told: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing asked for, met or not."""
    for arm in _CORRECTED:
        for where, wanted in (("internal", 6), ("external", 5)):
            rows = [r for n, r in _compared(found) if n.endswith("mini") and r["where"] == where]
            own = [r for r in rows if r["arm"] == arm]
            over = [r for r in own if r["reference"] == "erm"]
            won = [r for r in over if r["difference"] >= _RULES.gain and sure(r, _RULES)]
            yield (
                f"- {arm}, {where}: at least 3 points over erm, surely above 0, in {len(won)} of "
                f"{len(over)} pairs (asked for: {wanted}).{_missing(over, won)}"
            )
            for rival in _RIVALS:
                against = [r for r in own if r["reference"] == rival]
                better = [r for r in against if r["difference"] > 0 and sure(r, _RULES)]
                yield (
                    f"- {arm}, {where}: surely better than {rival} in {len(better)} of "
                    f"{len(against)} pairs.{_missing(against, better)}"
                )
    yield from _upper(found)
    yield from _real_short(found["real"])
    for arm in _CORRECTED:
        falls = [f"{_falls(one)[arm]:.1%} ({n})" for n, one in _truth(found) if arm in _falls(one)]
        yield f"- {arm}: the audit's score falls by {', '.join(falls)} (asked for: 70 %)."
    for key, words in (
        ("reverse_shortcut", "Reverse shortcut"),
        ("residual_dependence", "Residual dependence on the cause"),
    ):
        isolated, soft = (told[key][arm] for arm in _CORRECTED)
        compared = "lower" if soft < isolated else "no lower"
        yield f"- {words}: isolated {isolated:.3f}, soft {soft:.3f}: that of soft is {compared}."


def _real_short(one: Mapping[str, Any]) -> Iterator[str]:
    """Say of how many findings real labels gained or lost, and where for sure."""
    for arm in _CORRECTED:
        rows = [
            r for r in one["comparisons_by_test"] if r["reference"] == "erm" and r["arm"] == arm
        ]
        certain = [r for r in rows if sure(r, _RULES)]
        better = [_told(r) for r in certain if r["difference"] > 0]
        worse = [_told(r) for r in certain if r["difference"] < 0]
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
            won = [r for r in own if r["difference"] >= _RULES.gain and sure(r, _RULES)]
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
