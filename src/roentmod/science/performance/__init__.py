"""What retraining has changed: areas, calibration, confounded pairs, reverse shortcuts, gaps.

Everything starts from the predictions of all arms and seeds (`PREDICTIONS` names the columns).
`panels` checks them once; the functions take panels and return tables; `evaluate` does it all.
Thresholds and calibration are chosen on validation and used as they are elsewhere. Areas are of
pairs of one site, so that what differs between sites tells nothing (`STRATUM`). Patients are
the unit of all resampling; intervals of differences are also given over patients and seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from roentmod.science.performance.checks import checks, score_falls
from roentmod.science.performance.pairs import (
    SLICES,
    pair_comparisons,
    pair_performance,
    reverse_comparisons,
    reverse_scores,
    reverse_shortcut,
    stress_specificity,
)
from roentmod.science.performance.panels import (
    ARMS,
    PREDICTIONS,
    STRATUM,
    Panel,
    Rules,
    panels,
)
from roentmod.science.performance.performance import (
    MEASURES,
    Performance,
    comparisons,
    operating_points,
    performance,
)
from roentmod.science.performance.primary import primary, sure
from roentmod.science.performance.subgroups import ATTRIBUTES, Subgroups, subgroups

__all__ = [
    "ARMS",
    "ATTRIBUTES",
    "MEASURES",
    "PREDICTIONS",
    "SLICES",
    "STRATUM",
    "Evaluation",
    "Panel",
    "Performance",
    "Rules",
    "Subgroups",
    "checks",
    "comparisons",
    "evaluate",
    "operating_points",
    "pair_comparisons",
    "pair_performance",
    "panels",
    "performance",
    "primary",
    "primary_figures",
    "reverse_comparisons",
    "reverse_scores",
    "reverse_shortcut",
    "score_falls",
    "stress_specificity",
    "subgroups",
    "sure",
]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All tables of one retraining, most of them named after the function that makes them.

    `points` are `operating_points`; `each` (every model) and `mean` (over seeds) are of
    `performance`, `pairs` of `pair_performance`, `reverse` of `reverse_shortcut`, `stress` of
    `stress_specificity`, `groups` (areas) and `gaps` (differences) of `subgroups`, and `scores` of
    `score_falls`, empty where no audit was given. `primary` is what was to be decided first.
    """

    rules: Rules
    primary: pd.DataFrame
    points: pd.DataFrame
    each: pd.DataFrame
    mean: pd.DataFrame
    comparisons: pd.DataFrame
    pairs: pd.DataFrame
    pair_comparisons: pd.DataFrame
    reverse: pd.DataFrame
    reverse_scores: pd.DataFrame
    reverse_comparisons: pd.DataFrame
    stress: pd.DataFrame
    groups: pd.DataFrame
    gaps: pd.DataFrame
    scores: pd.DataFrame
    checks: pd.DataFrame

    def figures(self) -> dict[str, Any]:
        """Return what ``bench/retrain.json`` holds of one experiment; None where unknown.

        ``internal`` and ``external`` {finding, or "cause → read" where there are pairs:
        {arm: {auc, ci}}}, with the test's name in brackets where a place has several;
        ``shortcut_score`` {arm}, ``shortcut_score_unseen`` {arm} where another editor audited, too;
        ``reverse_shortcut`` and ``residual_dependence`` {arm}, means of the internal tests;
        ``primary`` as `primary_figures`; ``seeds`` {arm}.
        """
        inside = self.reverse_scores[self.reverse_scores["where"] == "internal"]
        sides = inside.groupby("arm", sort=False)[["reverse", "dependence"]].mean()
        seeds = self.each.groupby("arm", sort=False)["seed"].nunique()
        return {
            "internal": self._areas("internal"),
            "external": self._areas("external"),
            **self._scores(),
            "reverse_shortcut": {str(k): _number(x) for k, x in sides["reverse"].items()},
            "residual_dependence": {str(k): _number(x) for k, x in sides["dependence"].items()},
            "primary": primary_figures(self.primary),
            "seeds": {str(arm): int(count) for arm, count in seeds.items()},
        }

    def _scores(self) -> dict[str, Any]:
        other = self.scores["editor"].astype(bool)
        parts = {"": self.scores[~other], "_unseen": self.scores[other]}
        return {
            f"shortcut_score{mark}": {
                str(row["arm"]): _number(row["score"])
                for row in part.to_dict("records")
                if not row["unscored"]
            }
            for mark, part in parts.items()
            if len(part) or not mark
        }

    def _areas(self, where: str) -> dict[str, Any]:
        paired = len(self.pairs) > 0
        table = self.pairs[self.pairs["slice"] == "all"] if paired else self.mean
        table = table[table["where"] == where]
        several = table["test"].nunique() > 1
        ends = ("low", "high") if paired else ("auc_low", "auc_high")
        result: dict[str, Any] = {}
        for row in table.to_dict("records"):
            name = f"{row['cause']} → {row['read']}" if paired else str(row["finding"])
            name += f" ({row['test']})" if several else ""
            area = {"auc": _number(row["auc"]), "ci": [_number(row[end]) for end in ends]}
            result.setdefault(name, {})[str(row["arm"])] = area
        return result


def evaluate(
    predictions: pd.DataFrame,
    pairs: Iterable[tuple[str, str]] = (),
    *,
    scores: pd.DataFrame | None = None,
    rules: Rules | None = None,
) -> Evaluation:
    """Return all tables of a retraining.

    Args:
        predictions: of all arms and seeds, on validation and every test; see `panels`.
        pairs: of (cause, read), which training confounded.
        scores: one row per arm and seed, with the audit's shortcut `score`.
        rules: what is compared, and what counts as reached.

    Raises:
        DatasetError: predictions are malformed (see `panels`), have not one validation split, or
            lack a finding of a pair.
    """
    rules, requested = rules or Rules(), [(cause, read) for cause, read in pairs]
    own = panels(predictions, rules)
    points = operating_points(own)
    reached, groups = performance(own, points, rules), subgroups(own, rules)
    compared = pair_comparisons(own, requested, rules)
    reverse = reverse_comparisons(own, requested, points, rules)
    if scores is None:
        scores = pd.DataFrame(columns=["arm", "seed", "score"])
    falls = score_falls(scores, rules)
    decided = primary([(own, requested)], rules)
    return Evaluation(
        rules=rules,
        primary=decided,
        points=points,
        each=reached.each,
        mean=reached.mean,
        comparisons=comparisons(own, rules),
        pairs=pair_performance(own, requested, rules),
        pair_comparisons=compared,
        reverse=reverse_shortcut(own, requested, points, rules),
        reverse_scores=reverse_scores(own, requested, points, rules),
        reverse_comparisons=reverse,
        stress=stress_specificity(own, points, rules),
        groups=groups.groups,
        gaps=groups.gaps,
        scores=falls,
        checks=checks(decided, compared, reverse, falls, rules),
    )


def primary_figures(table: pd.DataFrame) -> dict[str, Any]:
    """Return what JSON holds of `primary`: {test: {arm: {mean, ci, ci_with_seeds, against}}}.

    ``against`` {reference: {mean, ci, ci_with_seeds, q}} holds differences; None where unknown.
    """
    result: dict[str, Any] = {}
    for row in table.to_dict("records"):
        arms, name = result.setdefault(str(row["test"]), {}), "difference"
        if not row["reference"]:
            arms[str(row["arm"])] = _ends(row, "value", "value_") | {"against": {}}
        else:
            own = _ends(row, name, "") | {"q": _number(row["q"])}
            arms[str(row["arm"])]["against"][str(row["reference"])] = own
    return result


def _ends(row: Any, value: str, start: str) -> dict[str, Any]:
    keys = {"ci": ("low", "high"), "ci_with_seeds": ("seeds_low", "seeds_high")}
    ends = {name: [_number(row[start + end]) for end in two] for name, two in keys.items()}
    return {"mean": _number(row[value])} | ends


def _number(value: Any) -> float | None:
    return round(float(value), 4) if math.isfinite(float(value)) else None
