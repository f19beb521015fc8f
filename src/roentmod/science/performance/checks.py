"""What was asked of the corrected arms, and whether it was reached."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from roentmod.errors import DatasetError
from roentmod.science.performance.panels import Rules
from roentmod.science.performance.primary import MACRO, sure

__all__ = ["checks", "score_falls"]

_CHECKS = ["check", "arm", "test", "where", "subject", "value", "low", "high", "limit", "state"]
_ENDS = ("difference", "seeds_low", "seeds_high")
_ENDS_OF = ["score", "low", "high"]
_FALLS = ["arm", "editor", "seeds", "unscored", "blinded", "score", "lowest", "highest"]
_FALL = ["fall", "fall_low", "fall_high"]
_FALLS += _FALL


def score_falls(scores: pd.DataFrame, rules: Rules | None = None) -> pd.DataFrame:
    """Return each arm's shortcut score, the mean over seeds, and its fall against the reference.

    Args:
        scores: one row per arm and audited seed, with `score` in [0, 1], NaN where an audit gives
            none, of audits that are alike in all else; `low` and `high`, where there are, its
            interval over patients; where several editors made them, `editor`, within which arms
            are compared; `blind`, the heads that a score leaves out, in one text.
        rules: the reference, and the level of intervals.

    Returns:
        one row per editor and arm that has a score: ``seeds`` that were audited, ``unscored`` of
        them without a score, ``blinded`` in which a head that counts in the reference's may react
        to its own finding no longer, score, the lowest and highest of its seeds, and ``fall``: 0.7
        where the score is 30 % of the reference's, of the seeds that both have. One that is blinded
        is of fewer heads, and falls by nothing unless it rises. ``fall_low`` and
        ``fall_high`` are over patients and seeds: the margin between seeds is Fieller's, that over
        patients, whom all seeds share, is of the scores' mean ends (Donner and Zou, Stat Med 31
        (2012) 3207, as if arms had patients of their own), and the two are added in quadrature.
        What is missing, `low` and `high` or a second seed, adds nothing. NaN where an end is not
        bounded. All three are NaN where a seed of either is unscored, or the reference scores 0.

    Raises:
        DatasetError: a column is missing.
    """
    rules = rules or Rules()
    missing = {"arm", "seed", "score"} - set(scores.columns)
    if missing:
        raise DatasetError(f"Scores need the columns {', '.join(sorted(missing))}; add them.")
    columns = ["arm", "seed", "score", "low", "high", "editor", "blind"]
    table = scores.reindex(columns=columns).astype({"editor": object, "blind": object})
    table = table.fillna({"editor": "", "blind": ""}).sort_values(["arm", "seed"])
    rows = []
    for editor, part in table.groupby("editor", sort=False):
        arms = {str(arm): own.set_index("seed") for arm, own in part.groupby("arm", sort=False)}
        base = arms.get(rules.reference, part.iloc[:0].set_index("seed"))
        for arm, own in arms.items():
            score, blinded = own["score"].dropna(), _blinded(own, base)
            if len(score):
                counts = [len(own), len(own) - len(score), int(blinded.sum())]
                ends = [score.mean(), score.min(), score.max()]
                rows.append([arm, editor, *counts, *ends, *_fall(own, base, blinded, rules.level)])
    return pd.DataFrame(rows, columns=_FALLS)


def _blinded(own: pd.DataFrame, base: pd.DataFrame) -> pd.Series[bool]:
    """Return in which seeds a score leaves out a head that the reference's does not."""
    heads, known = (
        part["blind"].map(lambda text: set(filter(None, text.split("; ")))) for part in (own, base)
    )
    return pd.Series(
        [bool(heads[seed] - known[seed]) if seed in known else False for seed in own.index],
        index=own.index,
        dtype=bool,
    )


def _fall(
    own: pd.DataFrame, base: pd.DataFrame, blinded: pd.Series[bool], level: float
) -> tuple[float, float, float]:
    """Return the fall of a score and its interval; all are one row per seed."""
    both = own[_ENDS_OF].join(base[_ENDS_OF].add_suffix("_base"), how="inner").astype(float)
    none = blinded[both.index] & (both["score"] < both["score_base"])
    for name in _ENDS_OF:
        both[name] = both[name].mask(none, both[f"{name}_base"])
    unscored = own["score"].isna().any() or base["score"].isna().any()
    if unscored or both.empty or both["score_base"].mean() <= 0:
        return (math.nan,) * 3
    mean = both.mean()
    ratio = float(mean["score"] / mean["score_base"])
    parts = [_over_seeds(both, level)] if len(both) > 1 else []
    if np.isfinite(mean).all():
        parts.append(_over_patients(mean))
    if not parts:
        return 1 - ratio, math.nan, math.nan
    less = math.hypot(*(ratio - low for low, _ in parts))
    more = math.hypot(*(high - ratio for _, high in parts))
    return 1 - ratio, 1 - ratio - more, 1 - ratio + less


def _over_seeds(both: pd.DataFrame, level: float) -> tuple[float, float]:
    """Return the ends of the ratio of two mean scores, patients as they are."""
    count, (a, b) = len(both), both[["score", "score_base"]].mean()
    t = float(special.stdtrit(count - 1, (1 + level) / 2)) ** 2
    (aa, ab), (_, bb) = t * np.cov(both["score"], both["score_base"]) / count
    first, second = b * b - bb, a * b - ab
    if first <= 0:
        return math.nan, math.nan
    root = math.sqrt(max(second * second - first * (a * a - aa), 0.0))
    return float((second - root) / first), float((second + root) / first)


def _over_patients(mean: pd.Series[float]) -> tuple[float, float]:
    """Return the ends of the ratio of two mean scores, seeds as they are."""
    a, b = float(mean["score"]), float(mean["score_base"])
    if mean["low_base"] <= 0:
        return math.nan, math.nan

    def end(above: str, below: str, sign: int) -> float:
        first = b * b - (mean[below] - b) ** 2
        root = math.sqrt(max((a * b) ** 2 - first * (a * a - (mean[above] - a) ** 2), 0.0))
        return float((a * b + sign * root) / first) if first > 0 else 0.0

    return max(end("low", "high_base", -1), 0.0), end("high", "low_base", 1)


def checks(
    primary: pd.DataFrame,
    pairs: pd.DataFrame,
    reverse: pd.DataFrame,
    scores: pd.DataFrame,
    rules: Rules | None = None,
) -> pd.DataFrame:
    """Return what was asked for, and whether each corrected arm that was trained reached it.

    First what was to be decided first. ``superior``: the mean over pairs is `rules.gain` above the
    reference's at least, and surely above it. ``best rival``: it is surely above that of the rival
    with the greatest mean. ``not inferior``: where nothing was planted, macro AUC is surely not
    `rules.inferior` below the reference's.

    Then part by part. ``gain``: a pair's area over all pictures of a test is `rules.gain` above the
    reference's at least, and surely above it. ``shares``: how many pairs of a test gain; all must
    inside, `rules.external_share` outside. ``fall``: the audit's score falls by `rules.fall`, and
    surely falls.
    ``reverse``: where findings come together, an arm depends on the cause, in whichever direction,
    surely less than the first corrected one. Intervals are over patients and seeds; `sure` is as of
    contrasts.

    Args:
        primary: of `primary`.
        pairs: of `pair_comparisons`.
        reverse: of `reverse_comparisons`.
        scores: of `score_falls`.
        rules: arms and limits.

    Returns:
        one row per check; state is "passed", "failed" or "not measured", which is also what too few
        pictures are.
    """
    rules = rules or Rules()
    arms = {arm for table in (primary, pairs, reverse, scores) for arm in table["arm"]}
    trained = [arm for arm in rules.corrected if arm in arms]
    rows = [
        *_decided(primary, rules),
        *_gains(pairs, rules),
        *_falls(scores, trained, rules),
        *_reverse(reverse, trained),
    ]
    return pd.DataFrame(rows, columns=_CHECKS)


def _state(reached: bool, known: bool) -> str:
    return "not measured" if not known else "passed" if reached else "failed"


def _decided(primary: pd.DataFrame, rules: Rules) -> list[list[Any]]:
    """Return the rows of the primary outcome."""
    rows: list[list[Any]] = []
    own = primary[primary["arm"].isin(rules.corrected) & (primary["reference"] != "")]
    means = primary[primary["reference"] == ""].to_dict("records")
    values = {(str(row["test"]), str(row["arm"])): float(row["value"]) for row in means}
    for (arm, test, where), some in own.groupby(["arm", "test", "where"], sort=False):
        against = {str(row["reference"]): row for row in some.to_dict("records")}
        limits = {"not inferior": (rules.reference, -rules.inferior)}
        if some["outcome"].iloc[0] != MACRO:
            limits = {"superior": (rules.reference, rules.gain)}
            if rivals := [name for name in rules.rivals if name in against]:
                best = max((values[str(test), name], name) for name in rivals)[1]
                limits["best rival"] = best, 0.0
        for check, (reference, limit) in limits.items():
            row = against[reference]
            low, value = float(row["seeds_low"]), float(row["difference"])
            reached = low > limit if limit < 0 else value >= limit and sure(row, rules)
            head = [check, arm, test, where, f"{row['outcome']}, {reference}"]
            result = [value, low, float(row["seeds_high"]), limit]
            rows.append([*head, *result, _state(reached, math.isfinite(low))])
    return rows


def _gains(pairs: pd.DataFrame, rules: Rules) -> list[list[Any]]:
    rows: list[list[Any]] = []
    own = pairs[(pairs["slice"] == "all") & pairs["arm"].isin(rules.corrected)]
    own = own[own["reference"] == rules.reference]
    for (arm, test, where), some in own.groupby(["arm", "test", "where"], sort=False):
        for row in some.to_dict("records"):
            known = row["state"] == "ok" and math.isfinite(row["seeds_low"])
            subject = f"{row['cause']} → {row['read']}"
            result = [row["difference"], row["seeds_low"], row["seeds_high"], rules.gain]
            state = _state(row["difference"] >= rules.gain and sure(row, rules), known)
            rows.append(["gain", arm, test, where, subject, *result, state])
        limit = 1.0 if where == "internal" else rules.external_share
        states = [row[-1] for row in rows if row[:3] == ["gain", arm, test]]
        if states:
            share = states.count("passed") / len(states)
            # Whatever is not measured could still tip a share that is not reached.
            known = share >= limit or 1 - states.count("failed") / len(states) < limit
            head = ["shares", arm, test, where, f"{states.count('passed')} of {len(states)} pairs"]
            rows.append([*head, share, math.nan, math.nan, limit, _state(share >= limit, known)])
    return rows


def _falls(scores: pd.DataFrame, arms: list[str], rules: Rules) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for arm in arms:
        own = scores[scores["arm"] == arm].to_dict("records")
        for row in own or [dict.fromkeys(_FALL, math.nan)]:
            fall, low, high = (float(row[name]) for name in _FALL)
            subject = f"audit by {editor}" if (editor := row.get("editor")) else "audit"
            state = _state(fall >= rules.fall and low > 0, math.isfinite(low))
            rows.append(["fall", arm, "", "", subject, fall, low, high, rules.fall, state])
    return rows


def _reverse(reverse: pd.DataFrame, arms: list[str]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    unknown: dict[Hashable, Any] = {"test": "", "where": "", **dict.fromkeys(_ENDS, math.nan)}
    for arm in arms[1:]:
        own = reverse[(reverse["arm"] == arm) & (reverse["reference"] == arms[0])]
        own = own[own["measure"] == "dependence"]
        for row in own.to_dict("records") or [unknown]:
            ends = [float(row[name]) for name in _ENDS]
            head = ["reverse", arm, row["test"], row["where"], arms[0]]
            rows.append([*head, *ends, 0.0, _state(ends[2] < 0, math.isfinite(ends[2]))])
    return rows
