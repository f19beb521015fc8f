"""The page of the proof: ``docs/audit.md`` from ``bench/audit_truth.json``.

``python -m bench.audit_page`` writes it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom, binomtest

from bench import weights
from roentmod.store import atomic

JSON, PAGE = Path("bench/audit_truth.json"), Path("docs/audit.md")
VERDICTS = Path("bench/verdicts.json")
NAMES = {
    "ours": "RoentMod",
    "plain_difference": "plain probability difference",
    "matched_difference": "matched difference",
    "relative_change": "relative change",
}

TEXT = """# The audit, and whether it can be trusted

`roentmod audit` edits no-finding radiographs, lets a classifier read each counterfactual and its
sham, and asks of every head whether it reacts to findings that it should ignore. This page says
how that is judged, and how well it works on classifiers whose shortcut is known. Its figures are
made by `make prove-audit DATA=...` (`bench/audit_truth.json`); the page by `python -m
bench.audit_page`.

## How it judges

1. **Net effect.** A head's logit of the counterfactual less its logit of the sham (same noise,
   strength and steps, without the finding), averaged over seeds within a patient. Patients are
   the unit of all intervals and tests.
2. **Gate.** A pair counts only where the judge, another classifier than the audited one, sees the
   finding (its own logit rises by {gate:g} or more), or where half of the readers do; a finding
   that the judge does not read passes ungated. Effects in all pairs stand beside those in pairs
   that count.
3. **Yardstick.** Off-target effects are measured as a share of what the head does when its own
   finding is added. A head that is not sure to react to its own finding has no yardstick of its
   own: measured by the edited finding's head, it can only be called a shortcut or *needs readers*;
   otherwise it has no verdict.
4. **Leakage.** What the judge also sees of the other finding in the same pictures is taken off a
   rise. A judge that chooses pictures overrates those that it chose, so what one of its logits is
   worth in the head's is measured in all pictures of a finding, seen or not. With several seeds,
   what leaks is measured in the patient's other pictures, too: the judge did not choose those, but
   an edit may not have come out in them. A shortcut is called by the higher of the two, a pair is
   cleared by the lower. A second judge (`--second-judge`) or readers (`--readers`) can take the
   judge's place. With one seed and one judge, errors that all heads of the judge share in one
   picture are not told from leakage. Where leakage is estimated at more than half of an
   effect that may be beyond the margin, and is surely there or the pair would be called, the pair
   *needs readers*. The painter changes nothing else, so
   there nothing is taken off.
5. **Verdict.** Tests at the margin ({margin:.0%} of the own effect): *shortcut* rejects that
   off-target effect - margin x own effect - leakage is 0 or less, a linear contrast in which
   nothing is divided by what may be small; *suppression* the same downwards; *within margin*
   rejects both that it is above and that it is below. *Leakage*: within only once leakage is taken
   off. Everything else is *undecided*. Statistics are studentised, their distribution is the
   bootstrap-t over patients, and p-values are adjusted over all off-target pairs by step-down
   max-T. A classifier is cleared only if every off-target pair is within margin, suppression or
   leakage; too few patients, needs readers, or a head whose own finding is not among `--findings`
   leave it *undecided*.
6. **Score.** Of what moves a head, the largest share that another finding has: r / (1 + r), where r
   is the corrected share of the own effect. It is 0 where a head moves for its own finding alone,
   one half where it moves as much for the other, and never above 1, however small the own effect
   is: it is 1 where a shortcut moves a head that is not sure to react to its own finding, whose
   other pairs have no part in it. The low end of its interval holds for all pairs at once.

## How often a verdict is wrong at the margin

`--level` (0.95) bounds what an audit says in error: any pair called a shortcut that is none in at
most half of the rest, 2.5 % of audits of one classifier, however many pairs there are (where
several are audited, each has that chance); the same of suppressions, and
of pairs cleared on either side. That holds for any mixture of true and false pairs and any
dependence, as far as the bootstrap does; it is no false discovery rate, which would bound the share
of false ones among those called. Simulated by `python -m bench.verdicts` (`bench/verdicts.json`):
{simulations} audits of 30 pairs that all lie exactly at the margin, effects normal or exponential
(skewness 2, to either side); shares of audits with one wrong verdict at least. Where pictures leak,
the share is the margin and 10 % more, which the judge sees{scenes}.

{verdicts}

A true share of 2.5 % is estimated as {noise} by {simulations} audits. Below 20 patients nothing is
judged unless `--fewest` says so, as it did here for 10, and
for 20 of whom some do not count; effects are shown.

## Planted shortcuts

{n_classifiers} small classifiers were trained on painted cohorts of {hosts} in which one pair of
findings co-occurs with correlation rho (pairs: {pairs}), everything else being independent;
{n_honest} of them with rho 0. Each was then audited on {n_baselines} radiographs of other
patients with the painter, which painted what they learned from, seeing nothing else of them. A
cell is planted if it joins the pair, in either direction. The real cost of a shortcut is the AUC
that its head loses when the test set's findings no longer co-occur; means by rho: {costs}.
Intervals are exact binomial ones over classifiers, of which there are {per_rho} per rho above 0,
so that 100 % is at the ceiling and allows for {ceiling:.0%}.
{earlier}
| | {heads} |
|---|{rules}|
| detection AUROC, rho >= 0.75 against rho 0, by classifier | {auroc} |
| the same by cell | {by_cell} |
{power}
{matched}
| false alarms, share of off-target cells of honest classifiers | {false} |
| false alarms in cells that are not planted of classifiers with a shortcut | {aside} |
| Spearman correlation of score and real AUC drop, planted cells | {spearman} |

*Plain probability difference*: mean probability of the counterfactual less that of the baseline,
flagged where a one-sided t-test finds a rise, however small. *Relative change*: a head's change of
probability over that of the edited finding's head, as in counterfactual alignment, flagged beyond
the same margin.{matched_words}

Honest classifiers called to have a shortcut: {wrong} of {n_honest} ({wrong_ci}).{halves}

{compared}

{ceiling_words}

## The same with the bundled generator

The same classifiers, on {mini_n} of the baselines edited by `mini` instead of the painter, with
gate and leakage correction: the judge sees the edit in these shares of pairs: {mini_passed}.
{mini_judged:.0%} of the off-target cells have enough pairs and a yardstick to be judged.
Detection AUROC {mini_auroc:.3f}, power by rho {mini_power}, false alarms {mini_false:.1%}, Spearman
correlation with the real AUC drop {mini_spearman:.3f}.
{leaks}{panels}
## Where it was wrong

False alarms of honest classifiers ({n_false}): {false_alarms}.

Planted at rho >= 0.75 and not called a shortcut ({n_missed}): {missed}.

## What it cannot say

- A shortcut is a reaction to a picture, not to a cause: a large effusion hides the heart, and a
  head that calls that cardiomegaly may be confused rather than shortcut. The judge's leakage is
  the guard for generated pictures, and the eye for the rest: look at the report's pictures.
{bounds}
- It is a research tool. Nothing here is for clinical use.
"""


_SAME = 0.0005
_BOUNDS = """- Nothing here is independent of the painter. It painted what the classifiers and
  the judge learned from, and it taught `mini`. An audit of a model that learned from real patients
  has another painter than the model had, so that detection is harder than here. An editor that
  shares nothing with the judge has not been tried.
- A generator's counterfactuals are less exact, and its gate fails more often; pneumonia,
  atelectasis and nodules, of which `mini` makes few that pass, are not among the findings here.
- The classifiers of the proof are small and read {size} px pictures; no deep network at 224 px was
  among them."""
# Figures of the table, and the best that each can be.
_CEILINGS = (
    ("detection_auroc", "detection AUROC by classifier", 1.0),
    ("detection_auroc_by_cell", "detection AUROC by cell", 1.0),
    ("power_by_rho", "power", 1.0),
    ("power_at_5_percent_by_rho", "power at 5 % false alarms", 1.0),
    ("false_alarm_rate", "false alarms", 0.0),
)
_PANELS = """
## Other classifiers, other editors, other judges

Every audit below is judged as above; power is the share of planted pairs of that rho that are found
in either direction, and leakage the median over honest classifiers, as a share of the own effect.
"""
_KINDS = {
    "grafted": (
        "learned from *grafts*: differences that were measured in real patients (nodules of JSRT "
        "and NIH, enlarged to masses; opacities in radiologists' boxes; one-sided effusions), and "
        "added to no-finding radiographs. No painter and no generator made any of it. {size} px."
    ),
    "leaking": (
        "read findings whose pictures show much of each other, painted as above. {size} px."
    ),
    "deep": (
        "deep networks ({network}) at {size} px, all trained on from one that learned what does "
        "not co-occur."
    ),
}
_ARMS = """
| classifiers | editor | judge | patients | edits that the judge sees | cells judged | honest ones \
called to have a shortcut | false alarms by cell | detection AUROC | power | leaks most | verdicts \
of planted cells, rho >= 0.75 |
|---|---|---|---|---|---|---|---|---|---|---|---|"""


def page(report: dict[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of the proof and of the simulated verdicts."""
    names = [name for name in NAMES if name in report]

    def row(key: str, form: str = "{:.3f}") -> str:
        return " | ".join(_number(report[name][key], form) for name in names)

    rhos, each = list(report["ours"]["power_by_rho"]), report.get("n_per_rho", report["n_honest"])

    def shares(words: str, key: str) -> str:
        return "\n".join(
            f"| {words}, rho {rho} | "
            + " | ".join(_exact(report[name][key][rho], each) for name in names)
            + " |"
            for rho in rhos
        )

    mini, wrong = report["with_mini"], {one.split(":")[0] for one in report["false_alarms"]}
    return TEXT.format(
        verdicts="\n".join(_simulated(verdicts)),
        scenes="".join(
            f"; {words}"
            for mark, (_, words) in _SCENES.items()
            if f"false_clear{mark}" in verdicts[0]
        ),
        simulations=verdicts[0]["simulations"],
        ceiling_words=_at_ceiling(report),
        noise="{:.1%} to {:.1%}".format(
            *binom(verdicts[0]["simulations"], 0.025).ppf([0.025, 0.975])
            / verdicts[0]["simulations"]
        ),
        matched=shares("power at 5 % false alarms", "power_at_5_percent_by_rho"),
        power=shares("power", "power_by_rho"),
        mini_n=mini["n_baselines"],
        mini_auroc=mini["detection_auroc"],
        mini_false=mini["false_alarm_rate"],
        mini_spearman=mini["spearman_auc_drop"],
        mini_judged=mini["judged_cells"],
        mini_power=", ".join(f"{v:.0%} at {k}" for k, v in mini["power_by_rho"].items()),
        mini_passed=", ".join(f"{k} {v:.0%}" for k, v in mini["passed"].items()),
        gate=report["rules"]["gate_logit"],
        margin=report["rules"]["margin"],
        n_classifiers=report["n_classifiers"],
        n_honest=report["n_honest"],
        n_baselines=report["n_baselines"],
        hosts=report["hosts"],
        per_rho=each,
        ceiling=_interval(each, each)[0],
        pairs="; ".join(" and ".join(pair) for pair in report["pairs"]),
        costs=", ".join(f"{v:.3f} at {k}" for k, v in report["auc_drop_by_rho"].items()),
        heads=" | ".join(NAMES[name] for name in names),
        rules="---|" * (len(names) - 1) + "---",
        auroc=row("detection_auroc"),
        by_cell=row("detection_auroc_by_cell"),
        false=row("false_alarm_rate", "{:.1%}"),
        aside=row("false_alarm_rate_of_other_cells", "{:.1%}"),
        spearman=row("spearman_auc_drop"),
        wrong=len(wrong),
        wrong_ci="{:.0%} to {:.0%}".format(*_interval(len(wrong), report["n_honest"])),
        compared=_compared(report),
        n_false=len(report["false_alarms"]),
        false_alarms="; ".join(report["false_alarms"]) or "none",
        n_missed=len(report["missed"]),
        missed="; ".join(report["missed"]) or "none",
        **_younger(report),
    )


def _younger(report: dict[str, Any]) -> dict[str, str]:
    """Return what a run before the tests at the margin has not, and how the page says so."""
    if "honest_halves" not in report:
        earlier = (
            "\n**This run is of an earlier version.** A shortcut was a percentile interval of the "
            "ratio beyond the margin and an effect at a false discovery rate of 5 %, from "
            f"{report['rules']['fewest']} patients on; the plain difference had neither margin nor "
            "adjustment, which its false alarms are due to.\n"
        )
        nothing = dict.fromkeys(("matched_words", "halves", "leaks", "panels"), "")
        return {"earlier": earlier, "bounds": _BOUNDS.format(size=report["size"])} | nothing
    half, leaks = report["honest_halves"], report["with_leaks"]
    words = "; ".join(f"{other} with {name}" for name, other in leaks["leaks"].items())
    return {
        "earlier": "",
        "matched_words": (
            " *Matched*: the plain difference, as a share of the head's own, with our margin, test "
            "and adjustment, but without sham, gate and judge."
        ),
        "halves": (
            f" On random halves of the patients, {half['wrong']:.1%} of {half['audits']} audits of "
            "them do ({:.1%} to {:.1%}, over classifiers).".format(*half["ci"])
        ),
        "leaks": (
            f"\n## An editor that leaks\n\nA painter that also draws {words}, in "
            f"{leaks['n_baselines']} baselines: false alarms {leaks['false_alarm_rate']:.1%}, "
            "power "
            + ", ".join(f"{v:.0%} at {k}" for k, v in leaks["power_by_rho"].items())
            + ".\n"
        ),
        "panels": _panels(report),
        "bounds": _bounds(report),
    }


def _panels(report: Mapping[str, Any]) -> str:
    """Return the section of the classifiers and editors beside the first ones."""
    panels, rows = report["panels"], []
    text = [_PANELS]
    for name, panel in panels.items():
        if name == "usual":
            continue
        area = ", ".join(f"{finding} {value:.2f}" for finding, value in panel["auc"].items())
        words = _KINDS[name].format(**panel)
        donors = panel.get("donors")
        if donors:
            counts = ", ".join(f"{n} of {f}" for f, n in donors["editor"].items())
            words += f" The editor's donors: {counts}; those that taught are other patients."
        text.append(
            f"- **{name}**: {words} {panel['classifiers']} classifiers, {panel['honest']} of them "
            f"with rho 0, whose heads read pictures of other patients with AUC: {area}."
        )
        rows += [_arm_row(name, arm) for arm in panel["arms"].values()]
    if not rows:
        return ""
    left = report.get("left_out", [])
    missing = f"\nNot measured, as its data were not given: {', '.join(left)}.\n" if left else ""
    return "\n".join([*text, _ARMS, *rows, missing])


def _arm_row(panel: str, arm: Mapping[str, Any]) -> str:
    """Return one line of the table of arms."""
    judges = "bundled" + (", leakage by that of real labels" if arm["second"] else "")
    power = ", ".join(f"{share:.0%} at {rho}" for rho, share in arm["power_by_rho"].items())
    leaks = ", ".join(f"{pair.replace('->', '→')} {v:.0%}" for pair, v in arm["leaks_most"].items())
    undecided = ", ".join(f"{n} {word}" for word, n in arm["verdicts_planted"].items())
    passed = ", ".join(f"{name} {share:.0%}" for name, share in arm["passed"].items())
    wrong = "{} of {} ({:.0%} to {:.0%})".format(
        arm["honest_wrong"], arm["honest"], *arm["honest_ci"]
    )
    cells = [panel, arm["editor"], judges, arm["n_baselines"], passed]
    cells += [f"{arm['judged_cells']:.0%}", wrong, f"{arm['false_alarm_rate']:.1%}"]
    cells += [_number(arm["detection_auroc"]), power, leaks or "none", undecided]
    return f"| {' | '.join(map(str, cells))} |"


def _number(value: float | None, form: str = "{:.3f}") -> str:
    return "unknown" if value is None else form.format(value)


def _bounds(report: Mapping[str, Any]) -> str:
    """Return what the proof leaves open, by what it holds."""
    panels, lines = report["panels"], []
    if "grafted" in panels:
        lines.append(
            "- The first table shares its painter with the classifiers, with the bundled judge and "
            "with `mini`. Grafts of real findings share none: there classifiers learned from real "
            "findings of other patients, moved into hosts, and are audited with such of further "
            "ones. A graft is no real picture either: it is small, local, and of three findings."
        )
    else:
        lines.append(_BOUNDS.split("\n- ")[0])
    if "deep" in panels:
        lines.append(
            f"- Deep networks are few ({panels['deep']['classifiers']}), start from one network, "
            "and were trained for minutes on processors; DenseNet-121 would have taken four times "
            "as long per picture."
        )
    return "\n".join(lines)


def _at_ceiling(report: Mapping[str, Any]) -> str:
    """Say which figures cannot be better, so that they do not tell measures apart."""
    names = [name for name in NAMES if name in report]
    top: dict[tuple[str, str], list[str]] = {}
    apart: dict[str, list[str]] = {}
    for words, rho, best, values in _compared_figures(report, names):
        at = [NAMES[name] for name in names if abs(values[name] - best) < _SAME]
        who = "every measure" if len(at) == len(names) else " and ".join(at)
        if at:
            top.setdefault((words, who), []).append(rho)
        if np.ptp(list(values.values())) >= _SAME:
            apart.setdefault(words, []).append(rho)
    if not top:
        return "Nothing in the table is at its ceiling."
    lines = [f"- {words}{_at(rhos)}: {who}" for (words, who), rhos in top.items()]
    differ = "; ".join(words + _at(rhos) for words, rhos in apart.items())
    return "\n".join(
        [
            "At the ceiling, where a figure could not be better and hides by how much:",
            "",
            *lines,
            "",
            f"Measures differ in: {differ or 'nothing'}.",
        ]
    )


def _at(rhos: Sequence[str]) -> str:
    return f" at rho {', '.join(rhos)}" if rhos[0] else ""


def _compared_figures(
    report: Mapping[str, Any], names: Sequence[str]
) -> Iterator[tuple[str, str, float, dict[str, float]]]:
    """Yield each figure of the table: its words, its rho, the best it can be, and its values."""
    for key, words, best in _CEILINGS:
        own = {name: report[name][key] for name in names}
        if isinstance(report["ours"][key], dict):
            for rho in report["ours"][key]:
                yield words, rho, best, {name: one[rho] for name, one in own.items()}
        else:
            yield words, "", best, own


# Scenes of `bench.verdicts` beside the first two, as far as the figures have them.
_SCENES = {
    "_leaking_little": ("leaking little", "where they leak little, 3 % more"),
    "_weak": ("weak", "weak own effects are 3 standard errors above 0"),
    "_gated": ("gated", "where edits are gated, three in five pass, and leak"),
    "_sparse": (
        "few count",
        "where 20 patients count, of 50 or more others for each finding",
    ),
}


def _simulated(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    marks = {"": "", "_leaking": ", leaking"}
    marks |= {mark: f", {name}" for mark, (name, _) in _SCENES.items()}
    marks = {mark: name for mark, name in marks.items() if f"false_clear{mark}" in rows[0]}
    heads = [f"{word}{name}" for name in marks.values() for word in ("shortcut", "cleared")]
    yield f"| patients | shape | {' | '.join(heads)} |"
    yield "|---" * (2 + len(heads)) + "|"
    for row in rows:
        kinds = (f"{kind}{mark}" for mark in marks for kind in ("false_shortcut", "false_clear"))
        yield (
            f"| {row['n']} | {row['shape']} | " + " | ".join(f"{row[k]:.1%}" for k in kinds) + " |"
        )


def _interval(count: int, of: int) -> tuple[float, float]:
    """Return the exact binomial interval of a share (Clopper and Pearson), 95 %."""
    ends = binomtest(count, of).proportion_ci(method="exact")
    return float(ends.low), float(ends.high)


def _exact(share: float, of: int) -> str:
    low, high = _interval(round(share * of), of)
    return f"{share:.0%} ({low:.0%} to {high:.0%})"


def _compared(report: dict[str, Any]) -> str:
    """Say where another measure did as well or better."""
    better = []
    for name in ("plain_difference", "relative_change"):
        for key, word, sign in (
            ("detection_auroc", "detection AUROC", 1),
            ("false_alarm_rate", "false alarms", -1),
            ("spearman_auc_drop", "agreement with the AUC drop", 1),
        ):
            ours, other = report["ours"][key], report[name][key]
            if sign * (other - ours) >= 0:
                how = "as good" if other == ours else "better"
                better.append(f"{NAMES[name]} is {how} by {word}")
    if not better:
        return "RoentMod's measure is better than both others by all three figures."
    return "Not everywhere better: " + "; ".join(better) + "."


def write(source: Path = JSON, target: Path = PAGE) -> None:
    """Write the page of `source`, and of the simulated verdicts, to `target`."""
    report, rows = (json.loads(p.read_text(encoding="utf-8")) for p in (source, VERDICTS))
    text = weights.headed(page(report, rows), report, weights.of(JSON).weights)
    with atomic(target) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
