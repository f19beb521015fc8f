"""Rows that a step learns from, and how much each of their labels counts: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roentmod.plans.retrain import RetrainPlan

__all__ = [
    "Drawn",
    "Draws",
    "Group",
    "balance",
    "balanced_rows",
    "balanced_weights",
    "cell_weights",
    "cumulated",
    "error_weights",
    "groups",
    "row_weights",
]

Floats = NDArray[np.float64]
Targets = NDArray[np.float32]
Rows = NDArray[np.int64]
# A finding seen once in ten thousand pictures must not outweigh all others.
_MOST_BALANCE = 20.0


@dataclass(frozen=True, eq=False)
class Group:
    """A partition of n rows.

    Attributes:
        name: a pair ("Mass > Edema") or a finding.
        heads: columns whose labels it is made of.
        codes: n; 2 x (first there) + (second there) of a pair, or there or not of a finding; -1
            where a label is not known.
    """

    name: str
    heads: tuple[int, ...]
    codes: Rows

    def counts(self) -> list[int]:
        """Return how many rows each code has."""
        known = self.codes[self.codes >= 0]
        return [int(n) for n in np.bincount(known, minlength=2 ** len(self.heads))]

    def weights(self) -> Floats:
        """Return the inverse of each row's group's frequency, n, of mean 1; 1 where unknown."""
        counts, known = np.array(self.counts()), self.codes >= 0
        weights = np.ones(len(self.codes))
        present = max(1, int((counts > 0).sum()))
        weights[known] = known.sum() / (present * counts[self.codes[known]])
        return weights


def groups(targets: Targets, plan: RetrainPlan) -> list[Group]:
    """Return the partitions of n rows that oversampling and reweighting even out.

    One per pair, of four groups; without pairs, one per finding, of two.

    Args:
        targets: n x k, NaN where unlabelled; only 0 and 1 belong to a group.
        plan: findings and pairs.
    """
    column = {name: i for i, name in enumerate(plan.findings)}
    pairs: list[tuple[int, ...]] = [(column[a], column[b]) for a, b in plan.pairs]
    heads = pairs or [(i,) for i in column.values()]
    names = [f"{a} > {b}" for a, b in plan.pairs] or list(plan.findings)
    return [
        Group(name, own, _codes(targets[:, own])) for name, own in zip(names, heads, strict=True)
    ]


def _codes(labels: Targets) -> Rows:
    known = np.isin(labels, (0, 1)).all(axis=1)
    powers = 2 ** np.arange(labels.shape[1])[::-1]
    codes = np.where(known, np.nan_to_num(labels) @ powers, -1)
    return codes.astype(np.int64)


def row_weights(targets: Targets, plan: RetrainPlan) -> Floats:
    """Return how often `oversampling` draws each row, n: the mean of its groups' weights."""
    return np.asarray(np.mean([group.weights() for group in groups(targets, plan)], axis=0))


def cell_weights(targets: Targets, plan: RetrainPlan) -> Floats:
    """Return what each label's loss is multiplied by in `reweighting`, n x k.

    It is `Group.weights` for the heads of a group, their mean for a head of several, 1 for others.
    """
    total, number = np.zeros(targets.shape), np.zeros(targets.shape[1])
    for group in groups(targets, plan):
        for head in group.heads:
            total[:, head] += group.weights()
            number[head] += 1
    return np.where(number > 0, total / np.maximum(number, 1), 1.0)


def balance(targets: Targets, counted: Floats) -> Floats:
    """Return what a positive counts for each head, k: negatives per positive, 20 at most.

    Args:
        targets: n x k, NaN where unlabelled.
        counted: what labels count already, by how often they are drawn and how their loss is
            weighed, n x k or n x 1.
    """
    positive, negative = ((counted * (targets == label)).sum(axis=0) for label in (1, 0))
    most = np.full(targets.shape[1], _MOST_BALANCE)
    share = np.divide(negative, positive, out=most, where=positive > 0)
    return np.asarray(np.minimum(share, _MOST_BALANCE))


class Drawn(NamedTuple):
    """Rows of a batch.

    Attributes:
        real: rows of the training split, b.
        extra: rows of the counterfactual set, e; a control comes right after its counterfactual.
        source: row of the counterfactual that each of `extra` is, or is the control of, e.
    """

    real: Rows
    extra: Rows
    source: Rows


@dataclass(frozen=True, eq=False)
class Draws:
    """How one arm and seed draws its batches.

    Attributes:
        seed: of the training.
        real: rows of the training split that may be drawn.
        extra: rows of the counterfactual set that may be drawn; empty for arms without.
        real_count, extra_count: how many of each make a batch; controls come on top.
        cumulative: chance of each of `real` and all before it; None where all are alike.
        control: row of the control that is drawn with each of `extra`; -1 where none is.
    """

    seed: int
    real: Rows
    extra: Rows
    real_count: int
    extra_count: int
    cumulative: Floats | None = None
    control: Rows | None = None

    def batch(self, step: int) -> Drawn:
        """Return the rows of a step; same step, same rows."""
        rng = np.random.default_rng([self.seed, step, 0])
        chance = rng.random(self.real_count)
        if self.cumulative is None:
            places = (chance * len(self.real)).astype(np.int64)
        else:
            places = np.searchsorted(self.cumulative, chance, side="right")
        real = self.real[np.minimum(places, len(self.real) - 1)]
        if not self.extra_count:
            return Drawn(real, self.extra[:0], self.extra[:0])
        places = rng.integers(len(self.extra), size=self.extra_count)
        both = [self.extra] if self.control is None else [self.extra, self.control]
        rows = np.stack([one[places] for one in both], axis=1).ravel()
        source = np.repeat(self.extra[places], len(both))
        there = rows >= 0
        return Drawn(real, rows[there], source[there])


def cumulated(weights: Floats) -> Floats:
    """Return what `Draws.cumulative` is where rows are drawn in proportion to weights, n."""
    return np.asarray(np.cumsum(weights) / weights.sum())


def balanced_rows(codes: Rows, seed: int | Sequence[int]) -> Rows:
    """Return rows of all groups, as many of each as the smallest has, in order.

    Args:
        codes: group of each of n rows; rows of -1 are in none.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(codes))
    own = [order[codes[order] == code] for code in np.unique(codes[codes >= 0])]
    fewest = min(map(len, own), default=0)
    chosen = [rows[:fewest] for rows in own]
    return np.sort(np.concatenate([*chosen, np.zeros(0, dtype=np.int64)]))


def balanced_weights(targets: Targets, plan: RetrainPlan, seed: int) -> Floats:
    """Return how often `balanced` draws each row, n: 0 where its groups were cut down to others.

    A partition draws its `balanced_rows`, and rows whose group is unknown, alike; it is the mean
    over partitions.
    """
    shares = []
    for number, group in enumerate(groups(targets, plan)):
        kept = np.flatnonzero(group.codes < 0)
        kept = np.concatenate([kept, balanced_rows(group.codes, (seed, number))])
        shares.append(np.bincount(kept, minlength=len(targets)) / len(kept))
    return np.asarray(np.mean(shares, axis=0))


def error_weights(targets: Targets, logits: Targets, factor: float) -> Floats:
    """Return what each label's loss is multiplied by in `jtt`, n x k: `factor` where it is wrong.

    Args:
        targets: n x k, NaN where unlabelled.
        logits: what the early network says, n x k.
        factor: what a wrong label counts, per right one.
    """
    known = np.isin(targets, (0, 1))
    wrong = known & ((logits > 0) != (targets == 1))
    return np.where(wrong, factor, 1.0)
