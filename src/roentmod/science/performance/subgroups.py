"""Does an arm read some patients worse than others?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.science.performance.panels import Panel, Rules
from roentmod.science.performance.performance import state, tests

__all__ = ["ATTRIBUTES", "Subgroups", "subgroups"]

ATTRIBUTES = ("sex", "age_band", "view")
_EDGES, _BANDS = (40, 65), ("under 40", "40 to 64", "65 and over")
_GROUP = ["arm", "test", "where", "finding", "attribute", "group", "n", "positives"]
_GROUP += ["auc", "low", "high"]
_GAP = ["arm", "test", "where", "finding", "attribute", "best", "worst", "gap", "low", "high"]


@dataclass(frozen=True, eq=False)
class Subgroups:
    """Areas by group of patients, and how far they are apart.

    Attributes:
        groups: one row per arm, test, finding, attribute and group; areas are means over seeds.
        gaps: one row per arm, test, finding and attribute: best less worst group, and whether it
            is the ``largest`` of the arm's gaps for this finding and test.
    """

    groups: pd.DataFrame
    gaps: pd.DataFrame


def subgroups(panels: Sequence[Panel], rules: Rules | None = None) -> Subgroups:
    """Return areas by sex, age band and view, and the gaps between groups.

    A group counts with at least `rules.fewest` positives and as many negatives, an attribute with
    two such groups. Best and worst group are those of the test as it is, also in its resamples;
    as they are picked for being far apart, a gap is too large rather than too small.

    Args:
        panels: all of them; validation is left out.
        rules: fewest.
    """
    rules = rules or Rules()
    groups: list[list[Any]] = []
    gaps: list[list[Any]] = []
    for panel in tests(panels):
        for finding in panel.findings:
            for attribute in ATTRIBUTES:
                _split(panel, finding, attribute, rules, groups, gaps)
    table = pd.DataFrame(gaps, columns=_GAP)
    largest = table.groupby(["arm", "test", "finding"])["gap"].transform("max")
    return Subgroups(
        pd.DataFrame(groups, columns=_GROUP), table.assign(largest=table["gap"] == largest)
    )


def _split(
    panel: Panel, finding: str, attribute: str, rules: Rules, groups: Any, gaps: Any
) -> None:
    label, of = panel.label(finding), _groups(panel, attribute)
    result = {}
    for name in sorted(set(of) - {""}):
        chosen = (of == name) & np.isfinite(label)
        if state(panel, label == 1, chosen, rules) == "ok":
            samples = panel.areas(finding, label == 1, chosen)
            high = int((label[chosen] == 1).sum())
            result[name] = (int(chosen.sum()), high, panel.by_arm(samples))
    if len(result) < 2:
        return
    for arm in dict.fromkeys(panel.arms):
        head = [arm, panel.test, panel.where, finding, attribute]
        areas = {name: means[arm] for name, (_, _, means) in result.items()}
        for name, (n, positives, _) in result.items():
            groups.append([*head, name, n, positives, *panel.interval(areas[name])])
        best, worst = (f(areas, key=lambda name: areas[name][0]) for f in (max, min))
        gaps.append([*head, best, worst, *panel.interval(areas[best] - areas[worst])])


def _groups(panel: Panel, attribute: str) -> NDArray[np.str_]:
    """Return each picture's group, n; "" where it is not known."""
    if attribute != "age_band":
        return panel.cases[attribute].to_numpy(str)
    age = panel.cases["age"].to_numpy(float)
    return np.where(np.isnan(age), "", np.array(_BANDS)[np.digitize(age, _EDGES)])
