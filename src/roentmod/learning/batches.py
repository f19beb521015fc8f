"""Rows that a step learns from, and how much each of their labels counts: pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roentmod.errors import RetrainError
from roentmod.plans.retrain import COUNTERFACTUAL_ARMS, RetrainPlan, Task

__all__ = ["Draws", "Group", "balance", "cell_weights", "draws_of", "groups", "row_weights"]

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


def balance(targets: Targets) -> Floats:
    """Return what a positive counts for each head, k: negatives a positive, 20 at most."""
    positive, negative = (targets == 1).sum(axis=0), (targets == 0).sum(axis=0)
    return np.asarray(np.minimum(negative / np.maximum(positive, 1), _MOST_BALANCE))


@dataclass(frozen=True, eq=False)
class Draws:
    """How one arm and seed draws its batches.

    Attributes:
        seed: of the training.
        real: rows of the training split that may be drawn.
        extra: rows of the counterfactual set that may be drawn; empty for arms without.
        real_count, extra_count: how many of each make a batch.
        cumulative: chance of each of `real` and all before it; None where all are alike.
    """

    seed: int
    real: Rows
    extra: Rows
    real_count: int
    extra_count: int
    cumulative: Floats | None = None

    def batch(self, step: int) -> tuple[Rows, Rows]:
        """Return rows of the training split and of the counterfactual set; same step, same rows."""
        rng = np.random.default_rng([self.seed, step, 0])
        chance = rng.random(self.real_count)
        if self.cumulative is None:
            places = (chance * len(self.real)).astype(np.int64)
        else:
            places = np.searchsorted(self.cumulative, chance, side="right")
        real = self.real[np.minimum(places, len(self.real) - 1)]
        if not self.extra_count:
            return real, self.extra[:0]
        return real, self.extra[rng.integers(len(self.extra), size=self.extra_count)]


def draws_of(
    task: Task,
    plan: RetrainPlan,
    targets: Targets,
    readable: NDArray[np.bool_],
    extra: tuple[Targets, NDArray[np.bool_]] | None,
) -> Draws:
    """Return how a training draws.

    Args:
        task: arm and seed.
        plan: batch and share.
        targets: of the training split, n x k.
        readable: which of its pictures can be used, n.
        extra: the same two of the counterfactual set; None where there is none.

    Raises:
        RetrainError: the arm needs counterfactuals, and none has a label.
    """
    rows = np.flatnonzero(readable)
    if task.arm not in COUNTERFACTUAL_ARMS:
        none = np.zeros(0, dtype=np.int64)
        if task.arm != "oversampling":
            return Draws(task.seed, rows, none, plan.batch, 0)
        weights = row_weights(targets, plan)[rows]
        return Draws(task.seed, rows, none, plan.batch, 0, np.cumsum(weights) / weights.sum())
    more = np.zeros(0, dtype=np.int64) if extra is None else _labelled(*extra)
    if not len(more):
        raise RetrainError(
            f"The arm '{task.arm}' learns from counterfactuals; none of the training set has a "
            "label of its heads. Give a training set that adds them, or leave the arm out."
        )
    return Draws(task.seed, rows, more, plan.batch, plan.extra)


def _labelled(targets: Targets, readable: NDArray[np.bool_]) -> Rows:
    return np.flatnonzero(np.isfinite(targets).any(axis=1) & readable)
