"""The page of the proof: ``docs/audit.md`` from ``bench/audit_truth.json``.

``python -m bench.audit_page`` writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roentmod.store import atomic

JSON, PAGE = Path("bench/audit_truth.json"), Path("docs/audit.md")
NAMES = {
    "ours": "RoentMod",
    "plain_difference": "plain probability difference",
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
   the unit of all intervals (percentile bootstrap) and tests (sign flips, then Benjamini-Hochberg
   over the off-target cells).
2. **Gate.** A pair counts only where the judge, a classifier that shares nothing with the audited
   one, sees the finding: its own logit rises by {gate:g} or more.
3. **Yardstick.** Off-target effects are measured as a share of what the head does when its own
   finding is added. A head that is not sure to react to its own finding has no yardstick, and no
   verdict.
4. **Leakage.** What the judge, by its own yardstick, also sees of the other finding in the same
   pictures is taken off a rise, and no more than there is. The painter changes nothing else, so
   there nothing is taken off.
5. **Verdict.** *Shortcut*: the interval of the corrected share lies beyond the margin
   ({margin:.0%}) and the test says that there is an effect. *Within margin*: the interval lies
   inside it. *Suppression*: the same downwards; the edit hides the other finding, or speaks
   against it. *Leakage*: beyond the margin only before the correction. Everything else is
   *undecided*, and the smallest detectable effect says what this many patients could have shown.
   A classifier is cleared only if no off-target cell is undecided.

## Planted shortcuts

{n_classifiers} small classifiers were trained on painted cohorts of {hosts} in which one pair of
findings co-occurs with correlation rho (pairs: {pairs}), everything else being independent;
{n_honest} of them with rho 0. Each was then audited on {n_baselines} radiographs of other
patients with the painter, seeing nothing but the model. A cell is planted if it joins the pair,
in either direction. The real cost of a shortcut is the AUC that its head loses when the test
set's findings no longer co-occur; means by rho: {costs}.

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
flagged where a one-sided t-test finds a rise. *Relative change*: a head's change of probability
over that of the edited finding's head, as in counterfactual alignment, flagged beyond the same
margin.

Type I error: in {null_audits} simulated audits of honest classifiers in which an edit does nothing
to the other heads (counterfactual and sham are exchanged by chance), the adjusted tests call an
off-target effect real in {type_one:.1%}; 5 % are to be expected. Where effects only average to
zero and keep the skewed distribution they have, it is {skewed:.1%}: sign flips assume symmetry, and
this is what the margin is for: verdicts called a shortcut in {type_one_verdicts:.1%} of either.

{compared}

## The same with the bundled generator

The same classifiers, on {mini_n} of the baselines edited by `mini` instead of the painter, with
gate and leakage correction: the judge sees the edit in these shares of pairs: {mini_passed}.
{mini_judged:.0%} of the off-target cells have enough pairs and a yardstick to be judged.
Detection AUROC {mini_auroc:.3f}, power by rho {mini_power}, false alarms {mini_false:.1%}, Spearman
correlation with the real AUC drop {mini_spearman:.3f}.

## Where it was wrong

False alarms of honest classifiers ({n_false}): {false_alarms}.

Planted at rho >= 0.75 and not called a shortcut ({n_missed}): {missed}.

## What it cannot say

- A shortcut is a reaction to a picture, not to a cause: a large effusion hides the heart, and a
  head that calls that cardiomegaly may be confused rather than shortcut. The judge's leakage is
  the guard for generated pictures, and the eye for the rest: look at the report's pictures.
- Truth here is the painter's. A generator's counterfactuals are less exact, and its gate fails
  more often; with `mini`, pneumonia, atelectasis and nodules pass it in few patients. `mini` was
  taught by the painter, too: other generators have other leakage.
- The classifiers of the proof are small and read {size} px pictures.
- It is a research tool. Nothing here is for clinical use."""


def page(report: dict[str, Any]) -> str:
    """Return the page."""

    def row(key: str, form: str = "{:.3f}") -> str:
        return " | ".join(form.format(report[name][key]) for name in NAMES)

    rhos = list(report["ours"]["power_by_rho"])
    power = "\n".join(
        f"| power, rho {rho} | "
        + " | ".join(f"{report[name]['power_by_rho'][rho]:.0%}" for name in NAMES)
        + " |"
        for rho in rhos
    )
    matched = "\n".join(
        f"| power at 5 % false alarms, rho {rho} | "
        + " | ".join(f"{report[name]['power_at_5_percent_by_rho'][rho]:.0%}" for name in NAMES)
        + " |"
        for rho in rhos
    )
    mini = report["with_mini"]
    return TEXT.format(
        matched=matched,
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
        size=report["size"],
        pairs="; ".join(" and ".join(pair) for pair in report["pairs"]),
        costs=", ".join(f"{v:.3f} at {k}" for k, v in report["auc_drop_by_rho"].items()),
        heads=" | ".join(NAMES.values()),
        rules="---|" * (len(NAMES) - 1) + "---",
        auroc=row("detection_auroc"),
        by_cell=row("detection_auroc_by_cell"),
        power=power,
        false=row("false_alarm_rate", "{:.1%}"),
        aside=row("false_alarm_rate_of_other_cells", "{:.1%}"),
        spearman=row("spearman_auc_drop"),
        null_audits=report["null_audits"],
        type_one=report["type_one_error"],
        skewed=report["type_one_error_skewed"],
        type_one_verdicts=report["type_one_error_of_verdicts"],
        compared=_compared(report),
        n_false=len(report["false_alarms"]),
        false_alarms="; ".join(report["false_alarms"]) or "none",
        n_missed=len(report["missed"]),
        missed="; ".join(report["missed"]) or "none",
    )


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
    """Write the page of `source` to `target`."""
    text = page(json.loads(source.read_text(encoding="utf-8")))
    with atomic(target) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
