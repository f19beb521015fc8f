"""How well each arm reads each finding in each test, and how it compares with the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from roentmod.errors import DatasetError
from roentmod.science import stats
from roentmod.science.performance.measures import (
    average_precision,
    calibration_error,
    chance_error,
    platt,
    weighted_mean,
    youden,
)
from roentmod.science.performance.panels import CONTRAST, Floats, Mask, Panel, Rules, spread

__all__ = [
    "MEASURES",
    "Performance",
    "adjusted",
    "comparisons",
    "operating_points",
    "performance",
    "state",
    "tests",
]

MEASURES: tuple[str, ...] = ("auc", "ap", "sensitivity", "specificity")
MEASURES += ("brier", "ece", "brier_platt", "ece_platt")
_ERRORS = ("ece", "ece_platt")
_POINTS = ["arm", "seed", "finding", "n", "positives", "threshold", "sensitivity", "specificity"]
_POINTS += ["slope", "intercept"]
_HEAD = ["test", "where", "finding", "n", "patients", "positives", "state"]
_COMPARED = ["arm", "reference", *_HEAD, *CONTRAST, "delong_difference", "p"]


@dataclass(frozen=True, eq=False)
class Performance:
    """What each model reaches, and what each arm reaches on average.

    Attributes:
        each: one row per arm, seed, test and finding; each of `MEASURES` with `_low` and `_high`,
            and `ece_chance`.
        mean: one row per arm, test and finding: means over seeds. Intervals are of patients alone,
            as seeds are averaged within each resample; `_sd` is between seeds.
    """

    each: pd.DataFrame
    mean: pd.DataFrame


def tests(panels: Sequence[Panel]) -> list[Panel]:
    """Return the panels that are tests: all but validation, by which models were chosen."""
    return [panel for panel in panels if panel.where != "val"]


def state(panel: Panel, positive: Mask, chosen: Mask, rules: Rules) -> str:
    """Return whether areas of the chosen pictures mean something.

    Returns:
        "ok", "too few" with fewer than `rules.fewest` positives or negatives in sites that have
        both, or "one class".
    """
    size = panel.strata.max(initial=-1) + 1
    high, low = (
        np.bincount(panel.strata[chosen & side], minlength=size) for side in (positive, ~positive)
    )
    both = (high > 0) & (low > 0)
    fewer = min(int(high[both].sum()), int(low[both].sum()))
    return "one class" if fewer == 0 else "ok" if fewer >= rules.fewest else "too few"


def operating_points(panels: Sequence[Panel]) -> pd.DataFrame:
    """Return where each head of each model calls, and its calibration, both chosen on validation.

    Args:
        panels: with one of validation.

    Returns:
        one row per arm, seed and finding: n and positives labelled, threshold (Youden's, of logits)
        with its sensitivity and specificity on validation, and Platt's slope and intercept. NaN
        where validation has one class.

    Raises:
        DatasetError: there is not one validation split.
    """
    result = [panel for panel in panels if panel.where == "val"]
    if len(result) != 1:
        raise DatasetError(f"Operating points need one validation split; got {len(result)}.")
    rows: list[list[Any]] = []
    for finding in result[0].findings:
        label = result[0].label(finding)
        known, logits = np.isfinite(label), result[0].logits[..., result[0].column(finding)]
        positive = label[known] == 1
        for arm, seed, scores in zip(
            result[0].arms, result[0].seeds, logits[:, known], strict=True
        ):
            threshold = youden(scores, positive)
            called = scores >= threshold
            rows.append([arm, seed, finding, positive.size, int(positive.sum()), threshold])
            rows[-1] += [_share(called, positive), _share(~called, ~positive)]
            rows[-1] += platt(scores, positive)
    return pd.DataFrame(rows, columns=_POINTS)


def _share(hits: Mask, among: Mask) -> float:
    one_class = among.all() or not among.any()
    return math.nan if one_class else float(hits[among].mean())


def performance(
    panels: Sequence[Panel], points: pd.DataFrame, rules: Rules | None = None
) -> Performance:
    """Return area, average precision, and what is reached at the operating points, by test.

    Areas are within sites (`Panel.areas`), everything else is of all pictures.
    Sensitivity and specificity are at the validation thresholds. Brier score and expected
    calibration error (equal mass) are of the model's own probabilities, and with ``_platt`` of
    those calibrated on validation. Resampling adds to a calibration error what sampling has added
    already: its resamples are centred on the value, so that the interval is of spread alone, and
    ``ece_chance`` is what a model whose probabilities were exactly right would show.

    Args:
        panels: all of them; validation is left out.
        points: of `operating_points`.
        rules: fewest and bins.
    """
    rules = rules or Rules()
    each: list[dict[str, Any]] = []
    mean: list[dict[str, Any]] = []
    for panel in tests(panels):
        for finding in panel.findings:
            label = panel.label(finding)
            if not np.isfinite(label).any():
                continue
            head = _head(panel, finding, label, rules)
            samples, chance = _measured(panel, finding, points, rules)
            for i, (arm, seed) in enumerate(zip(panel.arms, panel.seeds, strict=True)):
                row = {"arm": arm, "seed": seed, **head, "ece_chance": chance[i]}
                each.append(row | _intervals(panel, samples[i]))
            for arm, own in panel.by_arm(samples).items():
                at = [i for i, name in enumerate(panel.arms) if name == arm]
                row = {"arm": arm, **head, "seeds": len(at), "ece_chance": chance[at].mean()}
                sd = {f"{k}_sd": spread(samples[at, j, 0]) for j, k in enumerate(MEASURES)}
                mean.append(row | _intervals(panel, own) | sd)
    columns = [f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")]
    sds = [f"{name}_sd" for name in MEASURES]
    return Performance(
        pd.DataFrame(each, columns=["arm", "seed", *_HEAD, *columns, "ece_chance"]),
        pd.DataFrame(mean, columns=["arm", *_HEAD, "seeds", *columns, *sds, "ece_chance"]),
    )


def _head(panel: Panel, finding: str, label: Floats, rules: Rules) -> dict[str, Any]:
    known, positive = np.isfinite(label), label == 1
    return {
        "test": panel.test,
        "where": panel.where,
        "finding": finding,
        "n": int(known.sum()),
        "patients": len(np.unique(panel.member[known])),
        "positives": int(positive.sum()),
        "state": state(panel, positive, known, rules),
    }


def _measured(
    panel: Panel, finding: str, points: pd.DataFrame, rules: Rules
) -> tuple[Floats, Floats]:
    """Return all measures, m x measures x (1 + resamples), and chance's calibration error, m."""
    label = panel.label(finding)
    known = np.isfinite(label)
    positive = label[known] == 1
    own = points[points["finding"] == finding].set_index(["arm", "seed"])
    models = [own.loc[key] for key in zip(panel.arms, panel.seeds, strict=True)]
    logits = panel.logits[:, known, panel.column(finding)]

    def statistic(weights: Floats) -> Floats:
        pairs = zip(logits, models, strict=True)
        return np.stack([_of_one(s, positive, weights, model, rules) for s, model in pairs])

    chance = np.array([chance_error(expit(scores), rules.bins) for scores in logits])
    areas, others = panel.areas(finding, label == 1, known), panel.resampled(known, statistic)
    return np.concatenate([areas[:, None], others], axis=1), chance


def _of_one(scores: Floats, positive: Mask, weights: Floats, point: Any, rules: Rules) -> Floats:
    """Return the measures of one model but the area, measures x count."""
    threshold = float(point["threshold"])
    called = (scores >= threshold).astype(np.float64) if threshold == threshold else scores * np.nan
    own, set_right = expit(scores), expit(point["slope"] * scores + point["intercept"])
    result = [
        average_precision(scores, positive, weights),
        weighted_mean(called[positive], weights[positive]),
        weighted_mean(1 - called[~positive], weights[~positive]),
    ]
    for probability in (own, set_right):
        result.append(weighted_mean((probability - positive) ** 2, weights))
        result.append(calibration_error(probability, positive, weights, rules.bins))
    return np.stack(result)


def _intervals(panel: Panel, samples: Floats) -> dict[str, float]:
    result: dict[str, float] = {}
    for name, own in zip(MEASURES, samples, strict=True):
        if name in _ERRORS:
            own = np.maximum(0, own - np.append(0, np.full(len(own) - 1, own[1:].mean() - own[0])))
        value, low, high = panel.interval(own)
        result |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return result


def comparisons(panels: Sequence[Panel], rules: Rules | None = None) -> pd.DataFrame:
    """Return differences of areas between arms, by test and finding.

    The difference is of means over seeds, with the interval of patients resampled together for
    both arms; ``seeds_low``, ``seeds_high`` and ``seeds_p`` are `two_way`, over patients and seeds.
    p is of the paired DeLong test on logits averaged over seeds: it is of the two ensembles, whose
    difference is ``delong_difference``, and takes pictures as independent and seeds as they are, so
    that it is too sure where patients have several pictures, and says nothing of another seed. q is
    seeds_p, or p where there is one seed, adjusted over all rows with the reference, which are one
    family, and over those among other arms, which are another.

    Args:
        panels: all of them; validation is left out.
        rules: which arms are compared, and fewest.

    Returns:
        one row per contrast, test and finding that has positives and negatives; ``seeds_above`` of
        the ``seeds`` that both arms have are better than the reference.
    """
    rules = rules or Rules()
    rows: list[list[Any]] = []
    for panel in tests(panels):
        for finding in panel.findings:
            label = panel.label(finding)
            head = _head(panel, finding, label, rules)
            if head["state"] == "one class":
                continue
            samples = panel.areas(finding, label == 1, np.isfinite(label))
            for arms, result in panel.contrasts(samples, rules):
                rows.append([*arms, *head.values(), *result, *_delong(panel, finding, *arms)])
    table = pd.DataFrame(rows, columns=_COMPARED)
    tested = table["seeds_p"].fillna(table["p"])
    return table.assign(q=adjusted(table.assign(seeds_p=tested), rules, tested.notna()))


def adjusted(table: pd.DataFrame, rules: Rules, chosen: pd.Series) -> Floats:
    """Return q of the chosen contrasts, NaN of others: one family with the reference, one without.

    Args:
        table: with "reference" and "seeds_p", whose tests are adjusted.
        rules: the reference.
        chosen: which rows.
    """
    values, q = table["seeds_p"].to_numpy(float), np.full(len(table), np.nan)
    chosen = chosen.to_numpy(bool) & np.isfinite(values)
    planned = (table["reference"] == rules.reference).to_numpy(bool)
    for family in (chosen & planned, chosen & ~planned):
        q[family] = stats.benjamini_hochberg(values[family])
    return q


def _delong(panel: Panel, finding: str, arm: str, reference: str) -> tuple[float, float]:
    """Return difference of areas and p of the logits averaged over seeds."""
    label = panel.label(finding)
    known = np.isfinite(label)
    scores = panel.by_arm(panel.logits[:, known, panel.column(finding)])
    difference, _, _, p = stats.delong_paired(
        scores[arm], scores[reference], label[known] == 1, strata=panel.strata[known]
    )
    return difference, p
