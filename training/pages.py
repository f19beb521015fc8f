"""The page of an evaluation in plain words."""

from __future__ import annotations

from typing import Any

import numpy as np


def targets(figures: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return the targets: what, target, value, whether it is met."""
    auroc, sides = figures["success_auroc"], figures["side_obeyed"]
    spearman, high = figures["severity_spearman"], sum(v >= 0.9 for v in auroc.values())
    least = [min(table, key=table.__getitem__) for table in (auroc, sides, spearman)]
    seeds = figures["seeds"][figures["editor"]["name"]]
    places, alike = ({n: one[key] for n, one in seeds.items()} for key in ("p", "alike"))
    return [
        (
            "findings with success AUROC of 0.90 or more",
            ">= 8",
            f"{high} of {len(auroc)}",
            high >= 8,
        ),
        _least("lowest success AUROC", auroc, least[0], 0.8),
        _least("side obeyed, lowest", sides, least[1], 0.9),
        _least("severity Spearman, lowest", spearman, least[2], 0.8),
        _most("leakage, times the exact painter's", figures["painter"]["ratio"], 1.5),
        _most("shams move the judge's logit by", figures["shams"]["logit"], 0.1),
        _most("network that knows shams, AUC", figures["shams"]["network"]["auc"], 0.6),
        _least("places of ten seeds, lowest p", places, min(places, key=places.__getitem__), 0.05),
        _most("pairs of seeds that are alike, highest share", max(alike.values()), 0.0),
        _least("SSIM outside the change", {"": figures["ssim_outside"]}, "", 0.99),
        _least("nearest baseline is its own", {"": figures["nearest_is_own"]}, "", 1.0),
        _most("seconds per counterfactual", figures["seconds_per_counterfactual"], 2.0),
    ]


def _least(
    what: str, table: dict[str, float], name: str, wanted: float
) -> tuple[str, str, str, bool]:
    value = table[name]
    return what, f">= {wanted:g}", f"{value:.3f} {name}".strip(), value >= wanted


def _most(what: str, value: float, wanted: float) -> tuple[str, str, str, bool]:
    return what, f"<= {wanted:g}", f"{value:.3f}", value <= wanted


def page(figures: dict[str, Any], folder: str) -> str:
    """Return the page in Markdown: what was measured, how, and what falls short."""
    name = figures["editor"]["name"]
    parts = [
        f"# How well `{name}` edits",
        _how(figures),
        _table(("what", "target", "value", "met"), _rows_of_targets(figures)),
        "## What falls short",
        _short(figures),
        "## By finding",
        _by_finding(figures),
        _leaks(figures),
        "## Ten seeds",
        _seeds(figures["seeds"]),
        "## Shams",
        _shams(figures["shams"]),
        "## Pictures",
        f"![Film]({folder}/film.png)\n\nA film of 1955 x 1841 pixels (pydicom-data, MIT; it shows "
        "several masses) and its edits. Edits of real radiographs beside real positives of the "
        "same sources, at full size, are not published: `python -m training.sheets --data DIR` "
        "makes them.",
        f"![Findings]({folder}/findings.png)\n\nFirst row: the film and phantoms. Below: "
        "counterfactuals.",
        f"![Failures]({folder}/failures.png)\n\nThe edits of these that the judge's logit "
        "followed least.",
    ]
    if "tradeoff" in figures:
        parts += ["## Strength and guidance", _tradeoff(figures["tradeoff"], folder)]
    if figures["memorisation"]:
        parts += ["## Memorisation", _memorisation(figures["memorisation"])]
    parts += ["## The judge", _judge(figures)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _how(figures: dict[str, Any]) -> str:
    settings = figures["settings"]
    return (
        f"Written by `make evaluate-mini DATA=DIR`. {figures['n_baselines']} baselines: adult, no "
        f"finding, {figures['split']} split, one per patient; none was seen in any training. "
        f"Settings are the defaults: strength {settings['strength']:g}, guidance "
        f"{settings['guidance_scale']:g}, composite `{settings['composite']}`. Success is the "
        "area under the ROC curve (AUROC) of "
        f"the judge's logit for the finding, counterfactuals against their {_control(figures)}s, "
        "with a 95 % bootstrap interval over patients. The judge learned from other patients than "
        "the editor."
    )


def _control(figures: dict[str, Any]) -> str:
    """Return what edits are compared with; figures that name nothing compared with shams."""
    return str(figures["settings"].get("control", "sham"))


def _rows_of_targets(figures: dict[str, Any]) -> list[list[str]]:
    return [[*row[:3], "yes" if row[3] else "**no**"] for row in targets(figures)]


def _short(figures: dict[str, Any]) -> str:
    missed = [
        f"- {w}: {value}, target {target}." for w, target, value, ok in targets(figures) if not ok
    ]
    below = [f"{n} {v:.2f}" for n, v in figures["success_auroc"].items() if v < 0.9]
    if below:
        missed.append(f"- Success below 0.90: {', '.join(below)}.")
    flat = [f"{n} {v:.2f}" for n, v in figures["severity_spearman"].items() if v < 0.8]
    if flat:
        missed.append(f"- Severity hardly followed (Spearman below 0.80): {', '.join(flat)}.")
    return "\n".join(missed) or "Every target is met."


def _by_finding(figures: dict[str, Any]) -> str:
    rows, real = [], figures.get("real_judge", {"success_auroc": {}})
    for name in figures["success_auroc"]:
        side, level = (figures[k].get(name) for k in ("side_obeyed", "severity_spearman"))
        cells = [name, _area(figures, name), f"{figures['net_logit'][name]:+.2f}"]
        known = name in real["success_auroc"]
        cells += [_area(real, name), f"{real['net_logit'][name]:+.2f}"] if known else ["", ""]
        cells += ["" if v is None else f"{v:.2f}" for v in (side, level)]
        if level is not None:
            low, high = figures["severity_ci"][name]
            cells[-1] += f" ({low:.2f} to {high:.2f})"
        for table in (figures, figures["painter"]):
            own = table["leakage_by_finding"].get(name)
            cells.append("" if own is None else f"{own:.2f}")
        rows.append(cells)
    judged = ("success AUROC", "net logit", "by the judge of real labels", "net logit")
    heads = ("finding", *judged, "side obeyed", "severity Spearman", "leakage", "the painter's")
    note = (
        f"\n\nNet logit: mean change of a judge's logit against the {_control(figures)}. "
        "Severity: Spearman's correlation of mild, moderate, severe with the judge's logit over "
        "all baselines, each baseline's mean taken off. Leakage: mean size of the off-target "
        "changes over the on-target one; the painter changes the finding alone, so that what the "
        "judge reads of its edits is the judge's own linking of findings."
    )
    return _table(heads, rows) + note


def _area(figures: dict[str, Any], name: str) -> str:
    low, high = figures["success_auroc_ci"][name]
    return f"{figures['success_auroc'][name]:.3f} ({low:.3f} to {high:.3f})"


def _seeds(figures: dict[str, Any]) -> str:
    rows = [
        [
            f"`{editor}`",
            name,
            f"{one['edits']} in {one['hosts']}",
            *(str(count) for count in one["places"].values()),
            f"{one['chi_squared']:.1f} (p {one['p']:.3f})",
            f"{one['ssim_mean']:.2f}, {one['ssim_highest']:.2f}",
            f"{one['alike']:.0%}",
        ]
        for editor, found in figures.items()
        for name, one in found.items()
    ]
    first = next(iter(next(iter(figures.values())).values()))
    places = tuple(first["places"])
    likeness = ("chi-squared", "SSIM of changes: mean, highest", "alike")
    heads = ("editor", "finding", "edits in radiographs", *places, *likeness)
    return (
        "Ten seeds of the same edit per radiograph, nothing but the finding said. Each change is "
        "counted where its middle lies; chi-squared holds the counts against NIH's boxes "
        "(`training.places`), its p by simulation. Two changes are alike where their mean SSIM, "
        "where either is, is 0.6 or more.\n\n" + _table(heads, rows)
    )


def _shams(figures: dict[str, Any]) -> str:
    low, high = figures["logit_ci"]
    net = figures["network"]
    moved = sorted(figures["logit_by_finding"].items(), key=lambda item: -abs(item[1]))[:3]
    most = ", ".join(f"{name} {value:+.2f}" for name, value in moved)
    return (
        f"Shams (composite `sham`) of {figures['n']} radiographs move the judge's logits by "
        f"{figures['logit']:.3f} in the mean of sizes ({low:.3f} to {high:.3f}); most moved: "
        f"{most}. A small network that was taught to tell shams from untouched radiographs does "
        f"so with an AUC of {net['auc']:.2f} ({net['ci'][0]:.2f} to {net['ci'][1]:.2f}) in "
        "patients that it never saw."
    )


def _leaks(figures: dict[str, Any]) -> str:
    idle = ", ".join(figures["without_effect"])
    note = f"\n\nWithout effect (net logit below 0.5), so left out: {idle}." if idle else ""
    above = figures["leakage_pairs_above"]
    if not above:
        return "No finding but the edited one changes by more than a quarter of it." + note
    rows = [
        [fact["edited"], fact["read"], f"{fact['fraction']:.2f}", fact["reason"] or "leakage"]
        for fact in above
    ]
    heads = ("edited", "also changes", "fraction of the requested change", "why")
    whole = figures["leakage_fraction_with_explained"]
    exact, (low, high) = figures["painter"], figures["painter"]["ratio_ci"]
    means = (
        f"\n\nOver all findings the mean is {figures['leakage_fraction']:.3f}, the painter's "
        f"{exact['leakage_fraction']:.3f}: {exact['ratio']:.2f} times as much ({low:.2f} to "
        f"{high:.2f}). With the explained pairs it is {whole:.3f}."
    )
    return _table(heads, rows) + means + note


def _tradeoff(facts: dict[str, Any], folder: str) -> str:
    success, identity = np.array(facts["success"]), np.array(facts["identity"])
    return (
        f"![Trade-off]({folder}/tradeoff.png)\n\n"
        f"{facts['finding']} in {facts['baselines']} baselines (shown: the film), whole decoded "
        "pictures (composite `none`). From least to most strength and guidance the judge's logit "
        "changes by "
        f"{success[0, 0]:.1f} to {success[-1, -1]:.1f}, and similarity to the baseline (SSIM) goes "
        f"from {identity[0, 0]:.2f} to {identity[-1, -1]:.2f}."
    )


def _memorisation(figures: dict[str, Any]) -> str:
    names = {
        "held_out_real": "real test radiographs",
        "default": "edits at default settings",
        "strength_1": "edits at strength 1 (nothing of the baseline left)",
    }
    rows = []
    for group, said in names.items():
        cells = [said]
        for space in ("features", "pixels"):
            facts = figures[group][space]
            cells.append(f"{facts['median']:.3f}")
            cells.append(f"{facts['above_threshold']:.1%} ({facts['highest']:.3f})")
        rows.append(cells)
    heads = ("pictures", "features: median", "above (highest)", "pixels: median", "above (highest)")
    pixels = figures["strength_1"]["pixels"]
    nearer = pixels["median"] > figures["held_out_real"]["pixels"]["median"]
    more = "nearer to their nearest training picture than" if nearer else "no nearer than"
    return (
        f"Likeness of each picture to the nearest of {figures['training_images']} training "
        "pictures: cosine in the judge's feature space, and pixel correlation at 64 px. The "
        "threshold is what 1 % of real test radiographs exceed.\n\n"
        + _table(heads, rows)
        + f"\n\nBy the median pixel correlation, samples are {more} unseen real radiographs are."
        + f" The most alike pair correlates to {pixels['highest']:.3f}."
    )


def _judge(figures: dict[str, Any]) -> str:
    own = figures["judge"]["figures"]
    columns = ("auroc_painted", "auroc_real_training_patients_of_mini", "calibration_error")
    if not all(column in own for column in columns):
        return "The judge has no figures of its own."
    rows = [
        [name, *("" if own[c].get(name) is None else f"{own[c][name]:.3f}" for c in columns)]
        for name in own["auroc_painted"]
    ]
    heads = ("finding", "AUROC painted", "AUROC real", "calibration error")
    note = (
        "\n\nPainted findings: patients of the validation split. Real ones: radiographs of other "
        "patients that the judge never saw, against No Finding; NIH mined its labels from reports."
    )
    return _table(heads, rows) + note


def _table(heads: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
