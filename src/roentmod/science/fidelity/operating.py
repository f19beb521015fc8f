"""Where to work: success, leakage and identity over strength and guidance, and a rule to choose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.plans.validate import Rule
from roentmod.science import stats

__all__ = ["SAME_THING", "Rule", "leakage", "leakage_interval", "points", "recommend"]

Floats = NDArray[np.float64]
# Mean on-target change, in logits, below which there is no effect to relate leakage to.
_LEAST = 1e-3

# Nearly synonymous findings: reading one where the other was added is no leakage.
SAME_THING = frozenset(
    {
        frozenset({"Pneumonia", "Consolidation"}),  # a pneumonia is a consolidation of one cause
        frozenset({"Nodule", "Mass"}),  # one kind of lesion; 3 cm divide them
    }
)
POINT = ["strength", "guidance_scale"]


def leakage(nets: pd.DataFrame) -> float:
    """Return how much edits change what they were not meant to change.

    The mean over pairs of edited and another read finding of the size of the mean net change of the
    judge's logit, over the mean on-target net change (both after averaging over edits). Pairs of
    `SAME_THING` are left out.

    Args:
        nets: `edited`, `read` and `net`, one row per reading of an edit.

    Returns:
        the fraction, 0 or more; NaN where edits have no effect on their own finding.
    """
    if nets.empty:
        return math.nan
    means = nets.groupby(["edited", "read"], sort=True)["net"].mean()
    return float(_fraction(means.to_numpy(float)[None], list(means.index))[0])


def leakage_interval(
    nets: pd.DataFrame, *, resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return low and high of `leakage`, by the bootstrap over patients.

    Sizes of means that are 0 come out above 0, the more so in a resample: the interval leans high.

    Args:
        nets: as `leakage`, with `patient_id`.
        resamples: of patients.
        seed: of resamples.
        level: of the interval.
    """
    if nets.empty:
        return math.nan, math.nan
    table = nets.pivot_table(
        index="patient_id", columns=["edited", "read"], values="net", sort=True
    )
    drawn = stats.resampled_means(table.to_numpy(float), resamples, seed)
    return stats.interval(_fraction(drawn, [(k[0], k[1]) for k in table.columns]), level)


def _fraction(means: Floats, pairs: Sequence[tuple[str, str]]) -> Floats:
    """Return leakage of each row of mean net changes, one column per pair (edited, read)."""
    own = np.array([edited == read for edited, read in pairs])
    same = np.array([frozenset(pair) in SAME_THING for pair in pairs])
    off = ~own & ~same
    if not own.any() or not off.any():
        return np.full(len(means), np.nan)
    on = means[:, own].mean(axis=1)
    size = np.abs(means[:, off]).mean(axis=1)
    return stats.ratio(size, on, least=_LEAST)


def points(edits: pd.DataFrame, nets: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Return one row per operating point.

    Args:
        edits: one row per edit: strength, guidance_scale, edited, net (of the edited finding),
            own (whether it is nearest to its own baseline), ssim, perceptual.
        nets: strength, guidance_scale, edited, read and net, one row per reading.
        rule: what counts.

    Returns:
        strength, guidance_scale, edits, success, leakage, identity, ssim, perceptual, score,
        eligible; sorted by strength and guidance.
    """
    columns = [*POINT, "edits", "success", "leakage", "identity", "ssim", "perceptual"]
    rows = []
    for point, part in edits.groupby(POINT, sort=True):
        read = nets[(nets[POINT[0]] == point[0]) & (nets[POINT[1]] == point[1])]
        success = float((part["net"] >= rule.gate_logit).mean())
        kept = (float(part[name].mean()) for name in ("own", "ssim", "perceptual"))
        rows.append([*point, len(part), success, leakage(read), *kept])
    table = pd.DataFrame(rows, columns=columns)
    lost = table["leakage"].clip(upper=1).fillna(1.0)
    table["score"] = table["success"] * (1 - lost)
    table["eligible"] = table["identity"] >= rule.identity
    return table


def recommend(table: pd.DataFrame, rule: Rule) -> dict[str, float] | None:
    """Return the row of `points` that the rule chooses, or None where no edit succeeds safely."""
    good = table[table["eligible"].astype(bool) & (table["score"] > 0)]
    if good.empty:
        return None
    near = good[good["score"] >= good["score"].max() - rule.tolerance]
    row = near.sort_values(POINT, kind="stable").iloc[0]
    return {str(key): float(value) for key, value in row.items() if key != "eligible"}
