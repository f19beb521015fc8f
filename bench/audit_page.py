"""The page of the proof: ``docs/audit.md`` from ``bench/audit_truth.json``.

``python -m bench.audit_page`` writes it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from bench import graft, weights
from bench.audit_measures import interval_of
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
{n_honest} of them with rho 0. They go on from {starts} networks that had learned the same
findings where none co-occur: a head that hardly knows its own finding is moved by any other, and
its classifier is honest in its labels alone. Each was then audited on {n_baselines} radiographs of
other patients with the painter, which painted what they learned from, seeing nothing else of them.
A cell is planted if it joins the pair, in either direction, and a pair is found if either direction
is called. The real cost of a shortcut is the AUC that its head loses when the test set's findings
no longer co-occur; means by rho: {costs}. Of each rho above 0 there are {per_rho} classifiers:
{n_pairs} pairs, {seeds} trainings of each. Intervals, 95 %, are over classifiers, for these hosts
and edits, as if trainings of one pair were independent; those of shares of classifiers are exact
binomial ones, so that all of {per_rho} still allows for {ceiling:.0%}; areas near 1 are given at
least the width that as many disjoint pairs of classifiers allow for.

This table tests the net effect, the yardstick, the tests at the margin and the gate, and neither
sham nor leakage: the painter's sham is the baseline, and nothing is taken off. The judge sees
{passed} of the edits; {patients} patients count per pair. The other measures have all of them.

A classifier's score is its largest cell, planted or not.

| | {heads} |
|---|{rules}|
{table}

*Plain probability difference*: mean probability of the counterfactual less that of the baseline,
flagged where a one-sided t-test finds a rise, however small. *Relative change*: a head's change of
probability over that of the edited finding's head, as in counterfactual alignment, flagged beyond
the same margin. *Matched*: the plain difference, as a share of the head's own, with our margin,
yardsticks, test and adjustment, but without sham, gate and judge. *At 5 % false alarms*: beyond
what 95 % of one half of the honest classifiers stay below in all of their cells; alarms are counted
in the other half. What was not measured is below every score.

Honest classifiers called to have a shortcut: {wrong} of {n_honest} ({wrong_ci}); cleared:
{cleared}. On random halves of the patients, {halves}. {near}

{compared}

{ceiling_words}
{panels}
## Where it was wrong

Cells by direction, with the corrected share and the verdict; a pair is missed where neither
direction is called.

{errors}

## What it cannot say

- A shortcut is a reaction to a picture, not to a cause: a large effusion hides the heart, and a
  head that calls that cardiomegaly may be confused rather than shortcut. The judge's leakage is
  the guard for generated pictures, and the eye for the rest: look at the report's pictures.
{bounds}
- It is a research tool. Nothing here is for clinical use.
"""


_SAME = 0.0005
_STRONG = "rho >= 0.75"
# Cells of a kind that are named, of each arm.
_SHOWN = 8
# Figures of the table: key, words, form, and the best that each can be.
_ROWS = (
    ("detection_auroc", f"detection AUROC, {_STRONG} against rho 0, by classifier", "{:.3f}", 1.0),
    (
        "detection_auroc_by_cell",
        f"detection AUROC, {_STRONG} against rho 0, by cell",
        "{:.3f}",
        1.0,
    ),
    ("power", f"power, {_STRONG}", "{:.0%}", 1.0),
    (
        "false_alarm_rate",
        "false alarms, share of off-target cells of honest classifiers",
        "{:.1%}",
        0.0,
    ),
    (
        "false_alarm_rate_of_other_cells",
        "false alarms in cells that are not planted of classifiers with a shortcut",
        "{:.1%}",
        0.0,
    ),
    (
        "spearman_auc_drop",
        "Spearman correlation of measure and real AUC drop, measured planted cells, rho > 0",
        "{:.3f}",
        1.0,
    ),
)
_LESS = {"honest_alarms", "other_alarms"}
_SHORT = {
    "detection_auroc": "AUROC by classifier",
    "detection_auroc_by_cell": "AUROC by cell",
    "power": "power",
    "honest_alarms": "honest classifiers with an alarm",
    "other_alarms": "classifiers with an alarm in a cell that is not planted",
    "spearman_auc_drop": "agreement with the AUC drop",
}
_PANELS = """
## Other classifiers, other editors, other judges

Every audit below is judged as above, and all classifiers go on from networks that know their
findings. They learned from hosts of the training split, without
the quarter that the bundled judge learned from; `mini` learned from the same split without that
quarter, too. Donors of the grafts that teach are mostly of the training split, the judge's quarter
among them. Audits are of the test split, whose patients nobody learned from; so are the donors of
the editor's grafts, or of the validation split, or JSRT's. A donor stands in many hosts' edits, and
intervals take hosts as independent. All pictures but JSRT's are NIH's; without data, hosts are
phantoms.
"""
_KINDS = {
    "grafted": (
        "learned from *grafts*: differences that were measured in real patients (nodules of JSRT "
        "and NIH, enlarged {enlarged} times in width and in what they attenuate, to be masses; "
        "opacities in radiologists' boxes; one-sided effusions), and added to no-finding "
        "radiographs. No painter and no generator made any of it; the editor of grafts adds "
        "{moderate} times what was measured, and of the densest less, so that no graft is whiter "
        "than the host's heart. {size} px."
    ),
    "leaking": (
        "read findings whose pictures show much of each other, painted as above. {size} px."
    ),
    "deep": ("deep networks ({network}) at {size} px."),
}


def arms_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of every audit of ``bench/audit_truth.json``, by its name."""
    return {name: arm for panel in report["panels"].values() for name, arm in panel["arms"].items()}


def page(report: dict[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of the proof and of the simulated verdicts."""
    first = report["panels"]["usual"]["arms"]["usual-painter"]
    ours, each = first["measures"]["ours"], max(n for _, n in _of(first, "found_by_rho").values())
    return TEXT.format(
        verdicts="\n".join(_simulated(verdicts)),
        scenes="".join(
            f"; {words}"
            for mark, (_, words) in _SCENES.items()
            if f"false_clear{mark}" in verdicts[0]
        ),
        simulations=verdicts[0]["simulations"],
        noise="{:.1%} to {:.1%}".format(
            *binom(verdicts[0]["simulations"], 0.025).ppf([0.025, 0.975])
            / verdicts[0]["simulations"]
        ),
        gate=report["rules"]["gate_logit"],
        margin=report["rules"]["margin"],
        n_classifiers=report["n_classifiers"],
        n_honest=report["n_honest"],
        starts=report["starts"],
        n_baselines=first["n_baselines"],
        hosts=report["hosts"],
        per_rho=each,
        n_pairs=len(report["pairs"]),
        seeds=report["seeds_per_rho"],
        ceiling=interval_of(each, each)[0],
        pairs="; ".join(" and ".join(pair) for pair in report["pairs"]),
        costs=", ".join(f"{v:.3f} at {k}" for k, v in report["auc_drop_by_rho"].items()),
        heads=" | ".join(NAMES[name] for name in first["measures"]),
        rules="---|" * (len(first["measures"]) - 1) + "---",
        table="\n".join(_table(first["measures"])),
        wrong=ours["honest_wrong"],
        wrong_ci=_ends(ours["honest_ci"], "{:.0%}"),
        cleared=_cleared(first),
        halves=_halves(report["honest_halves"]),
        near=_near(first["near"]),
        compared=_compared(first["compared"]),
        ceiling_words=_at_ceiling(first["measures"]),
        panels=_panels(report) + _left_out(report),
        passed=_passed(first),
        patients="{} to {}".format(*first["patients"]),
        errors="\n".join(_errors(report)),
        bounds=_bounds(report),
    )


def _of(arm: Mapping[str, Any], key: str) -> Any:
    """Return one of our measure's figures of an arm."""
    return arm["measures"]["ours"][key]


def _table(measures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table of measures."""
    every = list(measures.values())
    for key, words, form, _ in _ROWS:
        yield _line(words, [_with(one[key], one["ci"][key], form) for one in every])
        if key == "power":
            for rho in every[0]["found_by_rho"]:
                yield _line(
                    f"planted pairs called, rho {rho}",
                    [_share(*one["found_by_rho"][rho]) for one in every],
                )
            for rho in every[0]["power_at_5_percent_by_rho"]:
                yield _line(
                    f"power at 5 % false alarms, rho {rho}",
                    [f"{one['power_at_5_percent_by_rho'][rho]:.0%}" for one in every],
                )
            yield _line(
                "false alarms that these thresholds raise, share of honest classifiers",
                [_number(one["alarms_at_5_percent"], "{:.0%}") for one in every],
            )
    yield _line(
        "honest classifiers with an alarm",
        [_share(one["honest_wrong"], one["honest"]) for one in every],
    )
    yield _line("cells not measured", [f"{one['not_measured']:.0%}" for one in every])


def _line(words: str, cells: Sequence[str]) -> str:
    return f"| {words} | {' | '.join(cells)} |"


def _share(count: int, of: int) -> str:
    """Return a share of classifiers or cells, and its exact interval."""
    if not of:
        return "none to count"
    return f"{count} of {of} ({_ends(interval_of(count, of), '{:.0%}')})"


def _with(value: float | None, ends: Sequence[float | None], form: str = "{:.3f}") -> str:
    """Return a figure with its interval."""
    own = _ends(ends, form)
    return f"{_number(value, form)} ({own})" if own else _number(value, form)


def _ends(ends: Sequence[float | None], form: str) -> str:
    low, high = ends
    return "" if low is None or high is None else f"{form.format(low)} to {form.format(high)}"


def _number(value: float | None, form: str = "{:.3f}") -> str:
    return "unknown" if value is None else form.format(value)


def _halves(half: Mapping[str, Any]) -> str:
    ends = _ends(half["ci"], "{:.1%}")
    return f"{half['wrong']:.1%} of {half['audits']} audits of them do ({ends}, over classifiers)"


def _near(near: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how near cells without a shortcut come to the margin."""
    words = {
        "honest": "Off-target cells of honest classifiers",
        "little": "Planted cells of classifiers with a little dependence (rho below 0.5)",
    }
    said = []
    for name, one in near.items():
        median, most, last = one["share"]
        said.append(
            f"{words[name]} move by {median:.1%} of the own effect (median of {one['cells']} cells;"
            f" 95 % by less than {most:.1%}, the largest by {last:.1%}); {one['called']} are called"
            " a shortcut."
        )
    return " ".join(said)


def _panels(report: Mapping[str, Any]) -> str:
    """Return the section of the classifiers and editors beside the first ones."""
    panels, arms = report["panels"], arms_of(report)
    others = {name: arm for name, arm in arms.items() if name != "usual-painter"}
    if not others:
        return ""
    text = [_PANELS]
    for name, panel in panels.items():
        area = ", ".join(f"{finding} {value:.2f}" for finding, value in panel["auc"].items())
        facts = {"enlarged": graft.ENLARGED, "moderate": graft.SHARE["moderate"]}
        words = _KINDS.get(name, "those of the table above. {size} px.").format(**panel, **facts)
        donors = panel.get("donors")
        if donors:
            counts = ", ".join(f"{n} of {f}" for f, n in donors["editor"].items())
            words += f" The editor's donors: {counts}; those that taught are other patients."
        text.append(
            f"- **{name}**: {words} {panel['classifiers']} classifiers, {panel['honest']} of them "
            f"with rho 0, whose heads read pictures of other patients with AUC: {area}."
        )
    text += ["", "Where the findings come from that each part of an audit learned or adds:", ""]
    text += ["| audit | classifiers | editor | the judge that chooses | leakage is judged by |"]
    text += ["|---" * 5 + "|"]
    text += [_line(name, [*arm["common"].values()]) for name, arm in arms.items()]
    text += ["", *_arms(others), "", *_leaking(others), "", *_by_measure(others), ""]
    text.append(_arms_at_ceiling(others))
    return "\n".join([*text, ""])


def _cleared(arm: Mapping[str, Any]) -> str:
    """Return how many honest ones were cleared; none can be whose finding is not added."""
    return _share(*arm["cleared"]) if arm["cleared"] else "none can be: not all findings are added"


def _passed(arm: Mapping[str, Any]) -> str:
    return ", ".join(f"{finding} {share:.0%}" for finding, share in arm["passed"].items())


def _errors(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each arm: what was called and is none, and what was missed."""
    words = {
        "false_alarms": "called in honest classifiers",
        "others_called": "called in cells that are not planted",
        "missed": f"missed pairs ({_STRONG})",
    }
    for name, arm in arms_of(report).items():
        parts = []
        for key, said in words.items():
            some = arm[key][:_SHOWN]
            more = f"; and {len(arm[key]) - _SHOWN} more" if len(arm[key]) > _SHOWN else ""
            if some:
                parts.append(f"{said}: {'; '.join(some)}{more}")
        yield f"- **{name}**: {'. '.join(parts) or 'nothing'}."


def _left_out(report: Mapping[str, Any]) -> str:
    left = report["left_out"]
    return f"\nAudits that this run has not measured: {', '.join(left)}.\n" if left else ""


def _arms(arms: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of what became of each arm by our measure."""
    heads = [
        "audit",
        "patients that count per pair",
        "edits that the judge sees",
        "cells with enough patients and a yardstick",
        "honest ones called",
        "honest ones cleared",
        "false alarms by cell",
        "detection AUROC",
        "found, by rho",
        "leaks most",
        f"verdicts of planted cells, {_STRONG}",
        "honest cells: median, 95 %, largest",
    ]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for name, arm in arms.items():
        own = arm["measures"]["ours"]
        low, high = arm["patients"]
        found = "; ".join(f"{rho}: {_share(*k)}" for rho, k in own["found_by_rho"].items())
        leaks = ", ".join(
            f"{pair.replace('->', '→')} {v:.0%}" for pair, v in arm["leaks_most"].items()
        )
        near = arm["near"].get("honest")
        yield _line(
            name,
            [
                f"{low} to {high} of {arm['n_baselines']}",
                _passed(arm),
                f"{arm['judged_cells']:.0%}",
                _share(own["honest_wrong"], own["honest"]),
                _cleared(arm),
                _with(own["false_alarm_rate"], own["ci"]["false_alarm_rate"], "{:.1%}"),
                _with(own["detection_auroc"], own["ci"]["detection_auroc"]),
                found,
                "nothing is taken off" if arm["exact"] else leaks or "not measured",
                ", ".join(f"{n} {word}" for word, n in arm["verdicts_planted"].items()),
                ", ".join(f"{share:.0%}" for share in near["share"]) if near else "none measured",
            ],
        )


def _leaking(arms: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of the editors that draw what nobody requested."""
    known = {name: arm for name, arm in arms.items() if arm["drawn_beside"]}
    if not known:
        return
    yield (
        "Painters that draw another finding beside the requested one, at its dose or at half of "
        "it, by classifiers. What is drawn besides may set off a real shortcut of its own: that is "
        "called in one of the other cells."
    )
    yield ""
    heads = ["audit", "draws", "called in a cell that leaks and is not planted"]
    heads += ["planted pairs called in the direction that leaks", "in the other direction"]
    heads += ["other cells, called"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for name, arm in known.items():
        words = "; ".join(f"{other} with {own}" for own, other in arm["drawn_beside"].items())
        parts = [_share(*arm["leaking"][part]) for part in ("null", "planted", "reverse")]
        aside = _number(_of(arm, "false_alarm_rate_of_other_cells"), "{:.1%}")
        yield _line(name, [words, *parts, aside])


def _by_measure(arms: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of all measures in each arm."""
    names = [*next(iter(arms.values()))["measures"]]
    yield (
        "The same audits by each measure: honest classifiers with an alarm, planted ones found "
        f"({_STRONG}), detection AUROC:"
    )
    yield ""
    yield _line("audit", [NAMES[name] for name in names])
    yield "|---" * (1 + len(names)) + "|"
    for name, arm in arms.items():
        cells = []
        for one in arm["measures"].values():
            area = _with(one["detection_auroc"], one["ci"]["detection_auroc"])
            alarms = f"{one['honest_wrong']} of {one['honest']}"
            cells.append(f"{alarms}; {one['strong_found']} of {one['strong']}; {area}")
        yield _line(name, cells)


def _arms_at_ceiling(arms: Mapping[str, Mapping[str, Any]]) -> str:
    """Say in which arms our measure could not have done better, and others could not either."""
    top, shared = [], []
    for name, arm in arms.items():
        ideal = [
            one["detection_auroc"] == 1
            and one["honest_wrong"] == 0
            and one["strong_found"] == one["strong"]
            for one in arm["measures"].values()
        ]
        if ideal[0]:
            top.append(name)
        if ideal[0] and any(ideal[1:]):
            shared.append(name)
    return (
        "At the ceiling (no alarm, everything found, AUROC 1) by RoentMod: "
        f"{', '.join(top) or 'none'}; by another measure as well: {', '.join(shared) or 'none'}."
    )


def _bounds(report: Mapping[str, Any]) -> str:
    """Return what the proof leaves open, by what it holds."""
    panels, lines = report["panels"], []
    if "grafted" in panels:
        lines.append(
            "- The first table shares its painter with the classifiers, with the bundled judge and "
            "with `mini`. Grafts of real findings share none: there classifiers learned from real "
            "findings of other patients, moved into hosts, and are audited with such of further "
            "ones. A graft is no real picture either: it is small, local, and of three findings, "
            "and the editor has few donors of each."
        )
    else:
        lines.append(
            "- Nothing here is independent of the painter. It painted what the classifiers and the "
            "judge learned from, and it taught `mini`. An audit of a model that learned from real "
            "patients has another painter than the model had, so that detection is harder than "
            "here."
        )
    if "deep" in panels:
        deep = panels["deep"]
        lines.append(
            f"- Deep networks are few ({deep['classifiers']}), go on from one network, and learned "
            f"{deep['epochs']} epochs more of {deep['hosts']} hosts at most."
        )
    return "\n".join(lines)


def _at_ceiling(measures: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which figures cannot be better, so that they do not tell measures apart."""
    top, apart = [], []
    for key, words, _, best in _ROWS:
        values = {name: one[key] for name, one in measures.items() if one[key] is not None}
        at = [NAMES[name] for name, value in values.items() if abs(value - best) < _SAME]
        if at:
            who = "every measure" if len(at) == len(measures) else " and ".join(at)
            top.append(f"- {words}: {who}")
        if values and np.ptp(list(values.values())) >= _SAME:
            apart.append(words)
    if not top:
        return "Nothing in the table is at its ceiling."
    said = "At the ceiling, where a figure could not be better and hides by how much:"
    return "\n".join([said, "", *top, "", f"Measures differ in: {'; '.join(apart) or 'nothing'}."])


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


def _compared(others: Mapping[str, Mapping[str, Any]]) -> str:
    """Say by which figures our measure is surely better or worse than each other one."""
    lines = [
        "RoentMod beside each other measure, over the same classifiers: differences with 95 % "
        "intervals of classifiers drawn anew, which near the ceiling are too sure, or with the p "
        "of an exact sign test of the classifiers in which the two differ; none is adjusted for "
        "how many there are:",
        "",
    ]
    for name, figures in others.items():
        said: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
        for key, one in figures.items():
            if one["difference"] is None:
                continue
            low, high = one.get("ci", (None, None))
            sure = one["p"] < 0.05 if "p" in one else low is not None and (low > 0 or high < 0)
            better = (one["difference"] > 0) != (key in _LESS)
            state = ("better" if better else "worse") if sure else "not told apart"
            ends = _p(one["p"]) if "p" in one else _ends((low, high), "{:+.3f}")
            shown = f"{_SHORT[key]} {one['difference']:+.3f}"
            said[state].append(f"{shown} ({ends or 'without an interval'})")
        parts = [f"{state}: {'; '.join(each) or 'nothing'}" for state, each in said.items()]
        lines.append(f"- {NAMES[name]}: {'. '.join(parts)}.")
    return "\n".join(lines)


def _p(value: float) -> str:
    return f"p {value:.2g}" if value >= 0.001 else "p < 0.001"


def write(source: Path = JSON, target: Path = PAGE) -> None:
    """Write the page of `source`, and of the simulated verdicts, to `target`."""
    report, rows = (json.loads(p.read_text(encoding="utf-8")) for p in (source, VERDICTS))
    text = weights.headed(page(report, rows), report, weights.of(JSON).weights)
    with atomic(target) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
