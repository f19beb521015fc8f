"""What each arm of a retraining draws, how much each label counts, and what it adds to the loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from roentmod.errors import RetrainError
from roentmod.learning.batches import (
    Drawn,
    Draws,
    balanced_weights,
    cell_weights,
    cumulated,
    error_weights,
    groups,
    row_weights,
)
from roentmod.learning.material import CONTROL, Counterfactuals, Material
from roentmod.learning.samples import Floats
from roentmod.plans.retrain import Arm, RetrainPlan, Task

__all__ = ["Objective", "objective_of", "pair_penalty", "updated"]

Rows = NDArray[np.int64]
Doubles = NDArray[np.float64]
State = dict[str, Any]


class Objective:
    """Empirical risk: all real rows alike, all labels alike.

    Attributes:
        task: arm and seed.
        plan: batch and the arm's numbers.
        material: what is learned from.
        alone: steps in which only synthetic pictures are learned from.
        together: whether a counterfactual and its control are varied alike, in one process.
        relative: whether the loss is divided by the sum of the weights of labels, not their number.
        adaptive: whether the weights follow the losses of the batch.
    """

    together = False
    relative = True
    adaptive = False

    def __init__(self, task: Task, plan: RetrainPlan, material: Material) -> None:
        """Find out which rows may be drawn.

        Raises:
            RetrainError: there is nothing that the arm learns from.
        """
        self.task, self.plan, self.material = task, plan, material
        self.alone = 0
        samples, pictures = material.train
        self.targets = samples.targets
        rows = np.flatnonzero(pictures.readable)
        shares = self.shares()
        chance = None if shares is None else cumulated(shares[rows])
        self.draws = Draws(task.seed, rows, rows[:0], plan.batch, 0, chance)

    def shares(self) -> Doubles | None:
        """Return how often each row of the training split is drawn, n; None: all alike."""
        return None

    def counted(self) -> Doubles:
        """Return what each label of the training split counts, n x k or n x 1, of any scale.

        It is how often it is drawn, and what its loss is multiplied by; class weights make up for
        what is left of the classes' imbalance.
        """
        shares = self.shares()
        return np.ones((len(self.targets), 1)) if shares is None else shares[:, None]

    def draw(self, step: int) -> Drawn:
        """Return the rows of a step."""
        return self.draws.batch(step)

    def labels(self, drawn: Drawn) -> Floats:
        """Return the labels of a batch, (b + e) x k, NaN where there is none."""
        return self.targets[drawn.real]

    def weights(self, drawn: Drawn, losses: Floats) -> Floats:
        """Return what the loss of each label of a batch is multiplied by, (b + e) x k.

        Args:
            drawn: its rows.
            losses: before that, NaN where there is no label; of the whole batch where `adaptive`.
        """
        return np.ones(losses.shape, dtype=np.float32)

    def penalty(self, logits: Tensor, own: Rows, drawn: Drawn) -> Tensor:
        """Return what is added to the loss: this process's part of a sum.

        Args:
            logits: of its rows of `drawn.extra`, in order.
            own: which ones they are.
            drawn: rows of the whole batch.
        """
        return logits.new_zeros(())

    def state(self) -> State:
        """Return what a checkpoint must hold of it."""
        return {}

    def restore(self, state: State) -> None:
        """Go back to where `state` was taken."""


class _Oversampling(Objective):
    def shares(self) -> Doubles:
        return row_weights(self.targets, self.plan)


class _Balanced(Objective):
    def shares(self) -> Doubles:
        return balanced_weights(self.targets, self.plan, self.task.seed)


class _Weighted(Objective):
    """Labels that count more than others."""

    def __init__(self, task: Task, plan: RetrainPlan, material: Material) -> None:
        super().__init__(task, plan, material)
        self._cells = self.cells()

    def cells(self) -> Doubles:
        """Return what each label counts, n x k."""
        raise NotImplementedError

    def counted(self) -> Doubles:
        return self._cells

    def weights(self, drawn: Drawn, losses: Floats) -> Floats:
        return self._cells[drawn.real].astype(np.float32)


class _Reweighting(_Weighted):
    def cells(self) -> Doubles:
        return cell_weights(self.targets, self.plan)


class _TrainTwice(_Weighted):
    def cells(self) -> Doubles:
        assert self.material.erm is not None
        return error_weights(self.targets, self.material.erm, self.plan.jtt_upweight)


class _GroupDRO(Objective):
    """The loss of each group counts by a weight that follows it (algorithm 1 of the paper).

    Groups are drawn alike, as in the paper's own code: a rare group that is not in a batch could
    neither raise its weight nor use it.
    """

    relative = False
    adaptive = True

    def __init__(self, task: Task, plan: RetrainPlan, material: Material) -> None:
        super().__init__(task, plan, material)
        self._groups = groups(self.targets, plan)
        counts = [np.array(group.counts()) for group in self._groups]
        self.group_weights = [(some > 0) / max(1, int((some > 0).sum())) for some in counts]

    def shares(self) -> Doubles:
        return row_weights(self.targets, self.plan)

    def counted(self) -> Doubles:
        # Groups weigh alike at first, and then by their losses alone, however often they are drawn.
        return cell_weights(self.targets, self.plan)

    def weights(self, drawn: Drawn, losses: Floats) -> Floats:
        total, number = np.zeros(losses.shape), np.zeros(losses.shape)
        for place, group in enumerate(self._groups):
            codes = group.codes[drawn.real]
            known = codes >= 0
            own = self.group_weights[place]
            counts = np.bincount(codes[known], minlength=len(own))
            heads = list(group.heads)
            means = np.zeros(len(own))
            for code in np.flatnonzero(counts):
                means[code] = np.nanmean(losses[codes == code][:, heads])
            own = self.group_weights[place] = updated(own, means, self.plan.group_step)
            share = np.where(known, own[codes] * known.sum() / np.maximum(counts[codes], 1), 0)
            total[:, heads] += share[:, None]
            number[:, heads] += known[:, None]
        return np.where(number > 0, total / np.maximum(number, 1), 1).astype(np.float32)

    def state(self) -> State:
        return {"group_weights": [torch.from_numpy(own) for own in self.group_weights]}

    def restore(self, state: State) -> None:
        self.group_weights = [own.numpy() for own in state["group_weights"]]


def updated(weights: Doubles, losses: Doubles, step: float) -> Doubles:
    """Return the weights of g groups after a step of exponentiated gradient ascent.

    Args:
        weights: before, g, of sum 1.
        losses: mean loss of each group in the batch, g, 0 where it is not there.
        step: the step size, eta of the paper.
    """
    raised = weights * np.exp(step * losses)
    return np.asarray(raised / raised.sum())


class _Counterfactual(Objective):
    """Real rows and counterfactuals; their controls beside them, if labelled.

    A control has the labels of its counterfactual, but for what was added: traces of the editor
    then tell nothing.
    """

    def __init__(self, task: Task, plan: RetrainPlan, material: Material) -> None:
        super().__init__(task, plan, material)
        rows, control = self._extra()
        self.draws = replace(self.draws, extra_count=plan.extra, extra=rows, control=control)

    def _extra(self) -> tuple[Rows, Rows | None]:
        """Return which rows of the counterfactual set are drawn, and their controls."""
        labelled = self._readable() & np.isfinite(self.made).any(axis=1)
        control = self._counterfactuals().control
        rows = np.flatnonzero(labelled & (control > CONTROL))
        beside = np.where(labelled[control[rows]], control[rows], -1)
        if not len(rows):
            raise RetrainError(
                f"The arm '{self.task.arm}' learns from counterfactuals; none of the training set "
                "has a label of its heads. Give a training set that adds them, or leave the arm "
                "out."
            )
        return rows, beside if (beside >= 0).any() else None

    def _counterfactuals(self) -> Counterfactuals:
        assert self.material.extra is not None
        return self.material.extra[0]

    def _readable(self) -> NDArray[np.bool_]:
        assert self.material.extra is not None
        return self.material.extra[1].readable

    @property
    def made(self) -> Floats:
        """Labels of the counterfactual set, m x k."""
        return self._counterfactuals().targets[self.task.arm]

    def labels(self, drawn: Drawn) -> Floats:
        added = self._counterfactuals().added[drawn.source]
        made = np.where(added, self.made[drawn.extra], self.made[drawn.source])
        return np.concatenate([self.targets[drawn.real], made])


class _Staged(_Counterfactual):
    """Synthetic pictures alone, then real ones alone."""

    def __init__(self, task: Task, plan: RetrainPlan, material: Material) -> None:
        super().__init__(task, plan, material)
        self.alone = plan.synthetic_steps
        beside = self.draws.control is not None
        number = max(1, plan.batch // 2) if beside else plan.batch
        self._first = replace(self.draws, real_count=0, extra_count=number)
        self._then = replace(self.draws, extra_count=0)

    def draw(self, step: int) -> Drawn:
        return (self._first if step < self.alone else self._then).batch(step)


class _WithControls(_Counterfactual):
    """Every counterfactual with its control."""

    def _extra(self) -> tuple[Rows, Rows | None]:
        control, readable = self._counterfactuals().control, self._readable()
        rows = np.flatnonzero((control >= 0) & readable & readable[control])
        if not len(rows):
            raise RetrainError(
                f"The arm '{self.task.arm}' compares counterfactuals with their controls; none of "
                "the training set can be read with its own. Make the set again with "
                "--with-shams, or leave the arm out."
            )
        return rows, control[rows]


class _Teacher(_WithControls):
    """Of a counterfactual, what was added is there, and the rest is what erm says of its control.

    What was added is absent in the control, where that is known of the host.
    """

    def labels(self, drawn: Drawn) -> Floats:
        assert self.material.erm is not None
        made = self._counterfactuals()
        added, logits = made.added[drawn.source], self.material.erm[made.control[drawn.source]]
        chance = 1 / (1 + np.exp(-logits.astype(np.float64)))
        soft = np.where(added, self.made[drawn.extra], chance).astype(np.float32)
        return np.concatenate([self.targets[drawn.real], soft])


class _Pair(_WithControls):
    """Real rows; a counterfactual and its control differ in nothing but what was added."""

    together = True
    margin: float | None = None

    def labels(self, drawn: Drawn) -> Floats:
        none = np.full((len(drawn.extra), self.targets.shape[1]), np.nan, dtype=np.float32)
        return np.concatenate([self.targets[drawn.real], none])

    def penalty(self, logits: Tensor, own: Rows, drawn: Drawn) -> Tensor:
        every = self._counterfactuals().added[drawn.source[::2]]
        added = torch.from_numpy(every[own[::2] // 2]).to(logits.device)
        # Parts of processes are summed: each knows how many there are in all.
        number = int((~every).sum()), int(every.sum())
        return pair_penalty(
            *(logits[::2], logits[1::2], added),
            weight=self.plan.pair_weight,
            number=number,
            margin=self.margin,
        )


class _PairHinge(_Pair):
    """`pair`, and what was added must be seen."""

    def __init__(self, task: Task, plan: RetrainPlan, material: Material) -> None:
        super().__init__(task, plan, material)
        self.margin = plan.pair_margin


def pair_penalty(
    edited: Tensor,
    control: Tensor,
    added: Tensor,
    *,
    weight: float = 1.0,
    number: tuple[int, int] | None = None,
    margin: float | None = None,
) -> Tensor:
    """Return how much counterfactuals differ from their controls in what was not added.

    It is `weight` times the mean Huber loss (delta 1) of the differences of logits, and with
    `margin`, besides, the mean of what added findings lack of rising by it.

    Args:
        edited: logits of counterfactuals, p x k.
        control: those of their controls, p x k.
        added: which heads were added, p x k, bool.
        weight: lambda.
        number: of heads not added, and added, that the means are over; None: those of `added`.
        margin: in logits.
    """
    off, on = number or (int((~added).sum()), int(added.sum()))
    rise = edited - control
    apart = functional.huber_loss(edited, control, reduction="none")
    penalty = weight * (apart * ~added).sum() / max(1, off)
    if margin is not None:
        penalty = penalty + (functional.relu(margin - rise) * added).sum() / max(1, on)
    return penalty


_OBJECTIVES: dict[Arm, type[Objective]] = {
    "erm": Objective,
    "oversampling": _Oversampling,
    "reweighting": _Reweighting,
    "balanced": _Balanced,
    "group_dro": _GroupDRO,
    "jtt": _TrainTwice,
    "synthetic": _Counterfactual,
    "isolated": _Counterfactual,
    "soft": _Counterfactual,
    "pair": _Pair,
    "pair_hinge": _PairHinge,
    "staged": _Staged,
    "teacher": _Teacher,
}


def objective_of(task: Task, plan: RetrainPlan, material: Material) -> Objective:
    """Return what a training minimises; of `dfr`, which makes no step, there is none.

    Raises:
        RetrainError: there is nothing that the arm learns from.
    """
    return _OBJECTIVES[task.arm](task, plan, material)
