"""How far shortcuts fell: the same edited pictures, read by networks before and after.

A pair's *share* is what the audit's score is made of: of what moves the read head, the part that is
the other finding and not its own, off / (off + own), with what the pictures really show of the read
finding taken off. It is in [0, 1] whatever the effects are. All networks share the resamples of
patients, so that a fall has an honest interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from roentmod.plans.audit import Rules
from roentmod.science import stats
from roentmod.science.effects import among
from roentmod.science.performance.measures import two_way

__all__ = ["FALLS", "falls"]

Floats = NDArray[np.float64]
Model = tuple[str, int]
FALLS: tuple[str, ...] = ("cause", "read", "arm", "seeds", "n", "share", "low", "high")
FALLS += ("fall", "fall_low", "fall_high", "part", "reacts", "alive")


def falls(
    nets: Mapping[Model, pd.DataFrame],
    judge: pd.DataFrame,
    counted: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    rules: Rules,
    reference: str,
) -> pd.DataFrame:
    """Return each arm's share of each pair, and its fall against the reference.

    Args:
        nets: net effects (`effects.net_effects`) of each network, by arm and seed, of the same
            edits.
        judge: those of the judge, of whom leakage is.
        counted: baseline_id and pair_id of the pairs that a gate let pass.
        pairs: (edited, read), whose shares are given, and in a last row per arm their mean: of the
            pairs that have a share in all networks.
        rules: level, resamples, seed; `exact`: nothing leaks.
        reference: the arm before, of one seed.

    Returns:
        one row per pair and arm (`FALLS`): means over seeds; n, the fewest patients behind any
        effect, off or own; the share's interval over patients; the fall's over patients, and over
        seeds, too, where there are several; `part` is the fall as a share of the reference's;
        `reacts`, how many seeds' heads surely react to their own finding, and `alive`, which. A
        seed whose head does not has learned nothing that could be a repair: its share counts as the
        reference's where it is less. `cause` and `read` are "" in rows of means, whose `alive` are
        the seeds in which all heads react.
    """
    models = list(nets)
    shares, reacts, counts = _shares(nets, judge, counted, pairs, rules)
    later = np.array([arm != reference for arm, _ in models])
    dead = (later[:, None] & ~reacts)[..., None]
    shares = np.where(dead, np.maximum(shares, shares[~later].mean(axis=0)), shares)
    rows = [
        row
        for at, pair in enumerate(pairs)
        for row in _rows(pair, models, shares[:, at], reacts[:, at], counts[at], rules, reference)
    ]
    whole = np.isfinite(shares[:, :, 0]).all(axis=0)
    if len(pairs) > 1 and whole.any():
        mean, fewest = shares[:, whole].mean(axis=1), min(counts[whole])
        sure = np.asarray(reacts[:, whole].all(axis=1))
        rows += _rows(("", ""), models, mean, sure, fewest, rules, reference)
    return pd.DataFrame(rows, columns=list(FALLS))


def _shares(
    nets: Mapping[Model, pd.DataFrame],
    judge: pd.DataFrame,
    counted: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    rules: Rules,
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """Return shares, models x pairs x (1 + resamples), sure own reactions, and patients by pair."""
    kept, columns, seen = among(judge, counted), [], []
    for cause, read in pairs:
        seen += [_mean(kept, cause, read), _mean(judge, read, read)]
    for table in nets.values():
        some = among(table, counted)
        for cause, read in pairs:
            columns += [_mean(some, cause, read), _mean(some, read, read), _mean(table, read, read)]
    values = pd.concat([*seen, *columns], axis=1).to_numpy(np.float64)
    counts = np.isfinite(values).sum(axis=0)
    point = stats.ratio(np.nansum(values, axis=0), counts.astype(np.float64))
    drawn = stats.resampled_means(values, rules.resamples, rules.seed)
    samples = np.concatenate([point[None], drawn]).T
    first, rest = samples[: len(seen)], samples[len(seen) :]
    terms = rest.reshape(len(nets), len(pairs), 3, -1)
    judged = first.reshape(1, len(pairs), 2, -1)
    off, own, rate = (terms[:, :, at] for at in range(3))
    leak = np.zeros_like(off) if rules.exact else _leak(judged, rate)
    left = np.maximum(off - np.clip(leak, 0, np.maximum(off, 0)), 0)
    total = left + np.maximum(own, 0)
    # A head that nothing moves has no share of anything.
    shares = np.where(total > 0, stats.ratio(left, total), np.where(np.isnan(total), np.nan, 0.0))
    reacts = stats.percentile_interval(own[..., 1:], rules.level, axis=-1)[0] > 0
    patients = counts[len(seen) :].reshape(len(nets), len(pairs), 3)[:, :, :2].min(axis=(0, 2))
    return shares, reacts, patients


def _leak(judged: Floats, rate: Floats) -> Floats:
    """Return what the pictures really show of the read finding, in the heads' logits."""
    leak, seen = judged[:, :, 0], judged[:, :, 1]
    each = np.maximum(rate, 0) * stats.ratio(np.maximum(leak, 0), seen)
    return np.asarray(each, np.float64)


def _mean(nets: pd.DataFrame, edited: str, read: str) -> pd.Series[float]:
    """Return the mean net effect per patient of one cell."""
    chosen = (nets["edited_finding"].astype(str) == edited) & (
        nets["read_finding"].astype(str) == read
    )
    return nets[chosen].groupby("patient_id", observed=True)["net"].mean()


def _rows(
    pair: tuple[str, str],
    models: Sequence[Model],
    shares: Floats,
    reacts: NDArray[np.bool_],
    patients: int,
    rules: Rules,
    reference: str,
) -> list[list[object]]:
    """Return the rows of one pair; shares are models x (1 + resamples), reacts models."""
    arms = np.array([arm for arm, _ in models])
    before = shares[arms == reference].mean(axis=0)
    rows: list[list[object]] = []
    for arm in dict.fromkeys(arm for arm, _ in models):
        own, mean = shares[arms == arm], shares[arms == arm].mean(axis=0)
        alive = tuple(
            seed for (name, seed), sure in zip(models, reacts, strict=True) if name == arm and sure
        )
        row = [*pair, arm, len(own), patients, mean[0], *_ends(mean, rules)]
        if arm == reference:
            rows.append([*row, *[math.nan] * 4, len(alive), alive])
            continue
        fall = before - mean
        both = two_way(fall, before[0] - own[:, 0], patients, rules.level)[:2]
        ends = both if math.isfinite(both[0]) else _of_patients(fall, patients, rules)
        part = fall[0] / before[0] if before[0] > 0 else math.nan
        rows.append([*row, fall[0], *ends, part, len(alive), alive])
    return rows


def _of_patients(samples: Floats, patients: int, rules: Rules) -> tuple[float, float]:
    """Return the interval of a fall of one seed: percentiles hold 92 % of truths, this holds 95."""
    if patients < 2:
        return math.nan, math.nan
    t = float(special.stdtrit(patients - 1, (1 + rules.level) / 2))
    half = t * float(np.nanstd(samples[1:], ddof=1))
    return float(samples[0]) - half, float(samples[0]) + half


def _ends(samples: Floats, rules: Rules) -> tuple[float, float]:
    return stats.interval(samples[1:], rules.level)
