"""What was asked of the corrected arms, and whether it was reached."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from roentmod.errors import DatasetError
from roentmod.science.performance.panels import Rules
from roentmod.science.performance.primary import sure

__all__ = ["checks", "score_falls"]

_CHECKS = ["check", "arm", "test", "where", "subject", "value", "low", "high", "limit", "state"]
_FALLS = ["arm", "editor", "seeds", "score", "lowest", "highest", "fall"]


def score_falls(scores: pd.DataFrame, rules: Rules | None = None) -> pd.DataFrame:
    """Return each arm's shortcut score, the mean over seeds, and its fall against the reference.

    Args:
        scores: one row per arm and seed, with `score` in [0, 1], of audits that are alike in all
            else; where several editors made them, `editor`, within which arms are compared.
        rules: the reference.

    Returns:
        one row per editor and arm: seeds, score, the lowest and highest of its seeds, and ``fall``:
        0.7 where the score is 30 % of the reference's, NaN where the reference has none above 0.

    Raises:
        DatasetError: a column is missing.
    """
    rules = rules or Rules()
    missing = {"arm", "seed", "score"} - set(scores.columns)
    if missing:
        raise DatasetError(f"Scores need the columns {', '.join(sorted(missing))}; add them.")
    known = scores[scores["score"].notna()].sort_values(["arm", "seed"])
    known = known if "editor" in known else known.assign(editor="")
    rows = []
    for editor, part in known.groupby("editor", sort=False):
        means = {str(arm): own["score"] for arm, own in part.groupby("arm", sort=False)}
        base = float(means[rules.reference].mean()) if rules.reference in means else math.nan
        for arm, own in means.items():
            fall = 1 - own.mean() / base if base > 0 else math.nan
            rows.append([arm, editor, len(own), own.mean(), own.min(), own.max(), fall])
    return pd.DataFrame(rows, columns=_FALLS)


def checks(
    pairs: pd.DataFrame, reverse: pd.DataFrame, scores: pd.DataFrame, rules: Rules | None = None
) -> pd.DataFrame:
    """Return what was asked for, and whether each corrected arm reached it.

    ``gain``: a pair's area over all pictures of a test is at least `rules.gain` above the
    reference's, and surely above it. ``rival``: it is surely above a rival's. ``shares``: how many
    pairs of a test gain; all must inside, `rules.external_share` outside. ``fall``: the audit's
    score falls by `rules.fall`. ``reverse``: where findings come together, the last corrected arm
    depends on the cause, in whichever direction, surely less than the first. Intervals are over
    patients and seeds; `sure` is as of contrasts.

    Args:
        pairs: of `pair_comparisons`.
        reverse: of `reverse_comparisons`.
        scores: of `score_falls`.
        rules: arms and limits.

    Returns:
        one row per check; state is "passed", "failed" or "not measured", which is also what too few
        pictures are.
    """
    rules = rules or Rules()
    rows = [*_gains(pairs, rules), *_falls(scores, rules), *_reverse(reverse, rules)]
    return pd.DataFrame(rows, columns=_CHECKS)


def _state(reached: bool, known: bool) -> str:
    return "not measured" if not known else "passed" if reached else "failed"


def _gains(pairs: pd.DataFrame, rules: Rules) -> list[list[Any]]:
    rows: list[list[Any]] = []
    own = pairs[(pairs["slice"] == "all") & pairs["arm"].isin(rules.corrected)]
    for (arm, test, where), some in own.groupby(["arm", "test", "where"], sort=False):
        for row in some.to_dict("records"):
            known = row["state"] == "ok" and math.isfinite(row["seeds_low"])
            over = row["reference"] == rules.reference
            if not over and row["reference"] not in rules.rivals:
                continue
            limit = rules.gain if over else 0.0
            name = f"{row['cause']} → {row['read']}"
            subject = name if over else f"{name}, {row['reference']}"
            result = [row["difference"], row["seeds_low"], row["seeds_high"], limit]
            state = _state(row["difference"] >= limit and sure(row, rules), known)
            rows.append(["gain" if over else "rival", arm, test, where, subject, *result, state])
        limit = 1.0 if where == "internal" else rules.external_share
        states = [row[-1] for row in rows if row[:3] == ["gain", arm, test]]
        if states:
            share = states.count("passed") / len(states)
            # Whatever is not measured could still tip a share that is not reached.
            known = share >= limit or 1 - states.count("failed") / len(states) < limit
            head = ["shares", arm, test, where, f"{states.count('passed')} of {len(states)} pairs"]
            rows.append([*head, share, math.nan, math.nan, limit, _state(share >= limit, known)])
    return rows


def _falls(scores: pd.DataFrame, rules: Rules) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for arm in rules.corrected:
        own = scores[scores["arm"] == arm].to_dict("records")
        for row in own or [{"fall": math.nan}]:
            fall, editor = float(row["fall"]), row.get("editor", "")
            subject = f"audit by {editor}" if editor else "audit"
            state = _state(fall >= rules.fall, not math.isnan(fall))
            rows.append(["fall", arm, "", "", subject, fall, math.nan, math.nan, rules.fall, state])
    return rows


def _reverse(reverse: pd.DataFrame, rules: Rules) -> list[list[Any]]:
    first, last = rules.corrected[0], rules.corrected[-1]
    own = reverse[(reverse["arm"] == last) & (reverse["reference"] == first)]
    own = own[own["measure"] == "dependence"]
    rows: list[list[Any]] = []
    for row in own.to_dict("records"):
        ends = [row["seeds_low"], row["seeds_high"]]
        head = ["reverse", last, row["test"], row["where"], first, row["difference"]]
        rows.append([*head, *ends, 0.0, _state(ends[1] < 0, math.isfinite(ends[1]))])
    if not rows:
        head = ["reverse", last, "", "", first]
        rows.append([*head, math.nan, math.nan, math.nan, 0.0, "not measured"])
    return rows
