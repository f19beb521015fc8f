"""Our measure of a shortcut beside others: cells, figures and their intervals over classifiers.

Everything here is of one audit (`bench.audit_arms.Arm`) of classifiers whose shortcut is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binomtest, spearmanr, ttest_1samp

from bench.audit_arms import STRONG, Arm, plants
from roentmod.jobs.audit import AuditResult
from roentmod.science import effects, margins, stats

__all__ = [
    "MEASURES",
    "RESAMPLES",
    "cells_of",
    "compared",
    "figures",
    "interval_of",
    "leaking",
    "near",
    "rounded",
]

# Names in the figures, and columns of the cells.
MEASURES = {
    "ours": "ours",
    "plain_difference": "plain",
    "matched_difference": "matched",
    "relative_change": "relative",
}
# Change of probability of the edited finding's head below which a relative change means nothing.
BASE_CHANGE = 0.1
# Of intervals over classifiers.
RESAMPLES = 400
# Below every score: what was not measured is found by no threshold.
_NOT_FOUND = -1e300
# False alarms among honest classifiers that a threshold may raise.
ALARMS = 0.05
Floats = NDArray[np.float64]


def cells_of(result: AuditResult, arm: Arm) -> pd.DataFrame:
    """Return every off-target cell of every classifier under the four measures.

    A measure is NaN where it could not be made, and flags nothing there. `ours` is the
    leakage-corrected share of the own effect and `ours_flag` the verdict. `plain` is the paper's
    mean difference of probability between counterfactual and baseline, flagged where a one-sided
    t-test calls it a rise. `matched` is the same difference as a share of the read head's own,
    flagged by the same test at the same margin as ours, with the same yardsticks and adjusted in
    the same way, but without sham, gate and judge. `relative` is that of counterfactual alignment,
    the change of a head's probability over that of the edited finding's head, where the latter
    moved by BASE_CHANGE at least, flagged beyond the same margin as ours.

    Other columns: plant, edited, read, verdict, n (patients that count), leak, rho, planted (the
    cell joins the planted pair, in either direction), leaking (the editor draws the read finding).
    """
    predictions = pd.read_parquet(result.folder / "predictions.parquet")
    done = predictions[predictions["arm"] == "counterfactual"]
    edited = list(result.plan["findings"])
    by_name = {plant.name: plant for plant in plants(arm.panel)}
    # A pair of which one finding was not edited cannot be found.
    kept = {n for n, plant in by_name.items() if plant.rho == 0 or {*plant.pair} <= {*edited}}
    done = done.assign(change=expit(done["logit_edited"]) - expit(done["logit_baseline"]))
    rules = effects.Rules(exact=True, margin=result.plan["margin"], fewest=result.plan["fewest"])
    rows = []
    for one in result:
        wide = done[done["classifier"] == one.name].pivot_table(
            index=["edited_finding", "baseline_id"], columns="read_finding", values="change"
        )
        matched = _matched(wide, rules)
        off = one.cells[~one.cells["on_target"].astype(bool) & one.cells["read"].isin(edited)]
        for cell in off.itertuples() if one.name in kept else ():
            added, read = str(cell.edited), str(cell.read)
            known = cell.verdict != "too few"
            row: dict[str, Any] = {"plant": one.name, "edited": added, "read": read}
            row |= {"ours": cell.corrected if known else math.nan}
            row |= {"ours_flag": cell.verdict == "shortcut"}
            row |= _differences(wide, added, read, float(result.plan["margin"]))
            row |= matched.get((added, read), {"matched": math.nan, "matched_flag": False})
            row |= {"verdict": cell.verdict, "n": cell.n, "leak": cell.leak}
            rows.append(row | {"leaking": arm.leaks.get(added) == read})
    table = pd.DataFrame(rows)
    pairs = [by_name[name] for name in table["plant"]]
    table["rho"] = [plant.rho for plant in pairs]
    table["planted"] = [
        {added, read} == set(plant.pair)
        for plant, added, read in zip(pairs, table["edited"], table["read"], strict=True)
    ]
    return table


def _differences(wide: pd.DataFrame, added: str, read: str, margin: float) -> dict[str, Any]:
    """Return the plain and the relative difference of a cell, with their flags."""
    if added not in wide.index.get_level_values(0):
        nothing = {"plain": math.nan, "plain_flag": False}
        return nothing | {"relative": math.nan, "relative_flag": False}
    part = wide.loc[added]
    change, base = part[read].to_numpy(float), part[added].to_numpy(float)
    rise = ttest_1samp(change, 0, alternative="greater").pvalue
    moved = base >= BASE_CHANGE
    relative = float((change[moved] / base[moved]).mean()) if moved.any() else math.nan
    found = {"plain": float(change.mean()), "plain_flag": bool(rise < 0.05)}
    return found | {"relative": relative, "relative_flag": relative > margin}


def _matched(wide: pd.DataFrame, rules: effects.Rules) -> dict[tuple[str, str], dict[str, Any]]:
    """Return plain differences as shares of own ones, and their tests at the margin, by cell.

    As in an audit, a head that is not sure to react to its own finding is measured by the edited
    finding's, and has neither share nor flag where that one is not sure either. Rows are baselines,
    the same in all columns.
    """
    names = [name for name in wide.columns if name in set(wide.index.get_level_values(0))]
    if not names:
        return {}
    own = pd.concat([wide.loc[name][name] for name in names], axis=1, keys=names)
    drawn = stats.resampled_means(own.to_numpy(float), rules.resamples, rules.seed)
    enough = own.notna().sum().to_numpy() >= rules.fewest
    above = (stats.percentile_interval(drawn, rules.level)[0] > 0) & enough
    sure = {name for name, yes in zip(names, above, strict=True) if yes}
    found: dict[tuple[str, str], dict[str, Any]] = {
        (edited, read): {"matched": math.nan, "matched_flag": False}
        for edited in names
        for read in names
        if edited != read
    }
    by = {
        (edited, read): read if read in sure else edited
        for edited, read in found
        if {edited, read} & sure
    }
    if by:
        off = pd.concat([wide.loc[edited][read] for edited, read in by], axis=1)
        off = off.reindex(own.index).to_numpy(float)
        scale, nothing = own[[*by.values()]].to_numpy(float), np.zeros_like(off)
        # Nothing leaks by these rules, so that the judge's terms are of no account.
        terms = margins.Terms(off=off, own=scale, leak=nothing, rate=scale, seen=np.ones_like(off))
        shares = margins.shares(terms, rules)
        flags = shares.beyond_p <= (1 - rules.level) / 2
        for pair, value, flag in zip(by, shares.ratio, flags, strict=True):
            found[pair] = {"matched": float(value), "matched_flag": bool(flag)}
    return found


def interval_of(count: int, of: int) -> list[float | None]:
    """Return the exact binomial interval of a share (Clopper and Pearson), 95 %."""
    if not of:
        return [None, None]
    low, high = binomtest(count, of).proportion_ci(method="exact")
    return [round(float(low), 4), round(float(high), 4)]


def rounded(value: float) -> float | None:
    """Return a figure to four digits; None: there is none."""
    return round(float(value), 4) if np.isfinite(value) else None


class _Classifiers:
    """A measure's values and flags, to be drawn with all of their cells by classifier."""

    def __init__(self, cells: pd.DataFrame, costs: pd.DataFrame, column: str) -> None:
        cells = cells.merge(costs, on=["plant", "edited", "read"], how="left")
        cells = cells.sort_values("plant", kind="stable", ignore_index=True)
        self.value = cells[column].to_numpy(float)
        self.flag = cells[f"{column}_flag"].to_numpy(bool)
        self.planted = cells["planted"].to_numpy(bool)
        self.rho, self.drop = cells["rho"].to_numpy(float), cells["drop"].to_numpy(float)
        # What an editor draws besides is counted by itself (`leaking`).
        self.aside = (self.rho > 0) & ~self.planted & ~cells["leaking"].to_numpy(bool)
        self.rows = [np.flatnonzero(cells["plant"] == name) for name in cells["plant"].unique()]
        self.model_rho = np.array([self.rho[rows[0]] for rows in self.rows])
        filled = np.nan_to_num(self.value, nan=_NOT_FOUND)
        self.filled = filled
        self.most = np.array([filled[rows].max() for rows in self.rows])
        of_pair = [rows[self.planted[rows]] for rows in self.rows]
        self.found = np.array([self.flag[rows].any() for rows in of_pair])
        self.most_planted = np.array([filled[rows].max(initial=_NOT_FOUND) for rows in of_pair])
        self.alarmed = np.array([self.flag[rows].any() for rows in self.rows])
        aside = [rows[self.aside[rows]] for rows in self.rows]
        self.alarmed_aside = np.array([self.flag[rows].any() for rows in aside])
        self.known = np.isfinite(self.value)

    def values(self, models: NDArray[np.intp]) -> dict[str, float]:
        """Return the figures that are shares or areas, of some classifiers."""
        rows = np.concatenate([self.rows[i] for i in models])
        value, filled = self.value[rows], self.filled[rows]
        rho, planted, flag = self.rho[rows], self.planted[rows], self.flag[rows]
        honest, strong = self.model_rho[models] == 0, self.model_rho[models] >= STRONG
        dropped = planted & (rho > 0) & self.known[rows] & np.isfinite(self.drop[rows])
        most = self.most[models]
        return {
            "detection_auroc": stats.auc(most[strong], most[honest]),
            "detection_auroc_by_cell": stats.auc(
                filled[planted & (rho >= STRONG)], filled[rho == 0]
            ),
            "power": _mean(self.found[models][strong]),
            "false_alarm_rate": _mean(flag[rho == 0]),
            "false_alarm_rate_of_other_cells": _mean(flag[self.aside[rows]]),
            "spearman_auc_drop": _agreement(value[dropped], self.drop[rows][dropped]),
        }

    def drawn(self) -> list[dict[str, float]]:
        """Return the figures of classifiers drawn anew, as many of each rho, RESAMPLES times.

        They are the same ones for every measure, so that differences are paired.
        """
        rng = np.random.default_rng(5)
        groups = [np.flatnonzero(self.model_rho == rho) for rho in np.unique(self.model_rho)]
        return [
            self.values(np.concatenate([rng.choice(group, len(group)) for group in groups]))
            for _ in range(RESAMPLES)
        ]

    def with_few_alarms(self) -> tuple[dict[str, float], float]:
        """Return power by rho, and false alarms, by a threshold for ALARMS of honest classifiers.

        It is set on one half of the honest classifiers, and its alarms are counted in the other.
        """
        honest = np.flatnonzero(self.model_rho == 0)
        halves = honest[::2], honest[1::2]
        limits = [
            float(np.quantile(self.most[half], 1 - ALARMS, method="higher"))
            for half in halves
            if len(half)
        ]
        if len(limits) < 2:
            return {}, math.nan
        wrong = [self.most[half] > limit for half, limit in zip(halves[::-1], limits, strict=True)]
        power = {}
        for rho in self._planted_rhos():
            own = self.most_planted[self.model_rho == rho]
            power[f"{rho:g}"] = float(np.mean([(own > limit).mean() for limit in limits]))
        return power, float(np.concatenate(wrong).mean())

    def by_rho(self) -> dict[str, list[int]]:
        """Return how many planted pairs were called, in either direction, and of how many."""
        return {
            f"{rho:g}": [
                int(self.found[self.model_rho == rho].sum()),
                int((self.model_rho == rho).sum()),
            ]
            for rho in self._planted_rhos()
        }

    def _planted_rhos(self) -> list[float]:
        return [float(rho) for rho in np.unique(self.model_rho) if rho > 0]


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else math.nan


def _agreement(value: Floats, drop: Floats) -> float:
    known = len(np.unique(value)) > 1 and len(np.unique(drop)) > 1
    return float(spearmanr(value, drop)[0]) if known else math.nan


def figures(cells: pd.DataFrame, costs: pd.DataFrame, measure: str) -> dict[str, Any]:
    """Return detection, power, false alarms and agreement of one measure, with intervals.

    `ci` is over classifiers, conditional on hosts and edits: of shares of classifiers exact
    binomial ones, else bootstrapped, with None where no draw differs from another. No area's is
    narrower at its low end than what chance allows for where all are told apart.
    """
    own = _Classifiers(cells, costs, MEASURES[measure])
    every = np.arange(len(own.rows))
    values, drawn = own.values(every), own.drawn()
    honest, strong = own.model_rho == 0, own.model_rho >= STRONG
    wrong, found = int(own.alarmed[honest].sum()), int(own.found[strong].sum())
    by_rho, (power, alarms) = own.by_rho(), own.with_few_alarms()
    ends = {name: _ends([one[name] for one in drawn]) for name in values}
    pairs = int(min(honest.sum(), strong.sum()))
    for name in ("detection_auroc", "detection_auroc_by_cell"):
        # As many disjoint pairs of an honest and another one could all be told apart.
        least = round(0.025 ** (1 / pairs), 4) if pairs else 0.0
        if values[name] == 1:
            ends[name] = [least, 1.0]
        elif ends[name][0] is not None:
            ends[name][0] = min(float(ends[name][0] or 0), least)
    ends["power"] = interval_of(found, int(strong.sum()))
    for name, some in (
        ("false_alarm_rate", honest),
        ("false_alarm_rate_of_other_cells", own.model_rho > 0),
    ):
        if values[name] in (0, 1):
            ends[name] = interval_of(int(values[name] * some.sum()), int(some.sum()))
    return {
        **{name: rounded(value) for name, value in values.items()},
        "ci": ends,
        "honest_wrong": wrong,
        "honest": int(honest.sum()),
        "honest_ci": interval_of(wrong, int(honest.sum())),
        "strong_found": found,
        "strong": int(strong.sum()),
        "found_by_rho": by_rho,
        "power_by_rho": {rho: round(k / n, 4) for rho, (k, n) in by_rho.items()},
        "power_ci_by_rho": {rho: interval_of(k, n) for rho, (k, n) in by_rho.items()},
        "power_at_5_percent_by_rho": {rho: round(share, 4) for rho, share in power.items()},
        "alarms_at_5_percent": rounded(alarms),
        "not_measured": round(float(np.isnan(own.value).mean()), 4),
    }


def _ends(drawn: list[float]) -> list[float | None]:
    """Return the interval of a figure's draws; of nine in ten of them at least, if they differ."""
    finite = [one for one in drawn if np.isfinite(one)]
    enough = len(finite) >= 0.9 * RESAMPLES and np.ptp(finite) > 0
    return [rounded(end) for end in stats.interval(finite)] if enough else [None, None]


def compared(cells: pd.DataFrame, costs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return by how much our measure is above each other one, over the same classifiers.

    By measure and figure: difference, with the ci of classifiers drawn for both (None where no draw
    differs from another), or, of shares of classifiers, the p of an exact sign test of those in
    which the two differ (McNemar). Agreement is over the cells that both have measured.
    """
    every = {name: _Classifiers(cells, costs, column) for name, column in MEASURES.items()}
    ours = every.pop("ours")
    models, known = np.arange(len(ours.rows)), ours.known
    found: dict[str, dict[str, Any]] = {}
    for name, other in every.items():
        ours.known = other.known = known & other.known
        first, second = ours.values(models), other.values(models)
        drawn = list(zip(ours.drawn(), other.drawn(), strict=True))
        found[name] = {
            figure: {
                "difference": rounded(first[figure] - second[figure]),
                "ci": _ends([one[figure] - two[figure] for one, two in drawn]),
            }
            for figure in ("detection_auroc", "detection_auroc_by_cell", "spearman_auc_drop")
        }
        for figure, some, one, two in (
            ("power", ours.model_rho >= STRONG, ours.found, other.found),
            ("honest_alarms", ours.model_rho == 0, ours.alarmed, other.alarmed),
            ("other_alarms", ours.model_rho > 0, ours.alarmed_aside, other.alarmed_aside),
        ):
            apart = one[some].astype(int) - two[some].astype(int)
            difference = rounded(float(apart.mean())) if apart.size else None
            found[name][figure] = {"difference": difference, "p": _sign_test(apart)}
    return found


def _sign_test(differences: NDArray[np.int_]) -> float:
    """Return the two-sided p of as uneven a split of those that are not 0."""
    apart = int((differences != 0).sum())
    p = binomtest(int((differences > 0).sum()), apart).pvalue if apart else 1.0
    return round(float(p), 4)


def near(cells: pd.DataFrame) -> dict[str, Any]:
    """Return how near cells without a planted shortcut come to the margin.

    By kind: `share`, the median, 95th percentile and largest absolute share of the own effect, the
    number of `cells` it is of, and how many are `called` a shortcut; no kind without cells.
    Of honest classifiers, and of pairs with a little dependence, which is none beyond the margin.
    """
    little = cells[cells["planted"] & (cells["rho"] > 0) & (cells["rho"] < 0.5)]
    found = {}
    for name, part in (("honest", cells[cells["rho"] == 0]), ("little", little)):
        share = part["ours"].abs().dropna()
        if len(share):
            ends = [float(share.quantile(q)) for q in (0.5, 0.95, 1.0)]
            found[name] = {
                "cells": len(share),
                "share": [round(end, 4) for end in ends],
                "called": int(part["ours_flag"].sum()),
            }
    return found


def leaking(cells: pd.DataFrame) -> dict[str, list[int]]:
    """Return classifiers with a flagged cell, and of how many, in which an editor leaks.

    null: cells that leak and are not planted. planted: planted pairs with a strong rho, in the
    direction that leaks; reverse: the same pairs in the other one.
    """
    strong = cells[cells["planted"] & (cells["rho"] >= STRONG)]
    both = strong.groupby("plant")["leaking"].transform("any").astype(bool)
    parts: Mapping[str, pd.DataFrame] = {
        "null": cells[cells["leaking"] & ~cells["planted"]],
        "planted": strong[strong["leaking"]],
        "reverse": strong[both & ~strong["leaking"]],
    }
    called = {name: part.groupby("plant")["ours_flag"].any() for name, part in parts.items()}
    return {name: [int(one.sum()), len(one)] for name, one in called.items()}
