"""Pairs of an edited and a real picture: which of the two is called the altered one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.science import stats
from roentmod.science.readers.merits import share
from roentmod.science.readers.mrmc import Inference, infer

__all__ = ["REAL", "preferences"]

REAL = "real"
_RIDGE = 0.01
_STRENGTHS = ("item", "strength", "low", "high", "wins", "losses")


def preferences(
    truth: pd.DataFrame,
    answers: pd.DataFrame,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how often the edited picture is called altered, and strengths of Bradley and Terry.

    Strengths (Biometrika 39 (1952) 324) are log odds of being called altered beside a real picture,
    one per edited finding, slightly drawn to each other so that they stay finite; their intervals
    are percentiles over resampled pairs, of these readers. A finding with one pair, or whose
    answers are all alike, has none: what keeps its strength finite would decide it.

    Args:
        truth: one row per case.
        answers: to the question "pair".
        level: of the intervals.
        resamples: of pairs.
        seed: of the resamples.

    Returns:
        finding ("all" or one) with `Inference` of the share; and item, strength, low, high, wins,
        losses.
    """
    shares = pd.DataFrame(columns=["finding", *Inference.__dataclass_fields__])
    strengths = pd.DataFrame(columns=list(_STRENGTHS))
    known = truth.set_index("case")
    kind = answers["case"].map(known["kind"]), answers["other"].map(known["kind"])
    # Both pictures edited, or neither, says nothing of edits against real ones.
    own = answers[(kind[0] == "edit") ^ (kind[1] == "edit")]
    if own.empty:
        return shares, strengths
    left = own["case"].map(known["kind"]) == "edit"
    edit = own["case"].where(left, own["other"])
    table = own.assign(
        edit=edit,
        pair=edit + " " + own["other"].where(left, own["case"]),
        right=(own["value"].eq(0) == left) * 1.0,
        finding=edit.map(known["finding"]),
        patient=edit.map(known["patient"]),
    )
    wide = table.pivot(index="pair", columns="reader", values="right")
    about = table.drop_duplicates("pair").set_index("pair").loc[wide.index]
    rows = []
    for name in ["all", *sorted(about["finding"].unique())]:
        chosen = (
            np.ones(len(about), bool) if name == "all" else about["finding"].eq(name).to_numpy()
        )
        merit = share(wide.to_numpy(float)[chosen], about["patient"].to_numpy(str)[chosen])
        rows.append({"finding": name} | vars(infer(merit, level=level)))
    return pd.DataFrame(rows), _strengths(wide, about["finding"], level, resamples, seed)


def _strengths(
    wide: pd.DataFrame, finding: pd.Series[str], level: float, resamples: int, seed: int
) -> pd.DataFrame:
    names = sorted(finding.unique())
    place = finding.map({name: n for n, name in enumerate(names)}).to_numpy()
    won = np.nansum(wide.to_numpy(float), axis=1)
    lost = np.isfinite(wide.to_numpy(float)).sum(axis=1) - won
    member = np.eye(len(names))[place]
    value = _fitted(member.T @ won, member.T @ lost)
    drawn = stats.draws(resamples, len(place), seed)
    samples = np.stack([_fitted(member.T @ (w * won), member.T @ (w * lost)) for w in drawn])
    wins, losses = member.T @ won, member.T @ lost
    known = (wins > 0) & (losses > 0) & (member.sum(axis=0) > 1)
    low, high = (np.where(known, end, np.nan) for end in stats.percentile_interval(samples, level))
    rows = zip(names, value, low, high, wins, losses, strict=True)
    return pd.DataFrame(rows, columns=list(_STRENGTHS)).astype({"wins": int, "losses": int})


def _fitted(won: NDArray[np.float64], lost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the strength of each item against real pictures."""
    import choix

    n = len(won)
    wins = np.zeros((n + 1, n + 1))
    wins[:n, n], wins[n, :n] = won, lost
    fitted = choix.ilsr_pairwise_dense(wins, alpha=_RIDGE)
    return np.asarray(fitted[:n] - fitted[n])
