"""How far one training is: network, averaged weights, optimiser, and what was seen on val.

Everything a step draws follows from (seed, step), so that a checkpoint needs no state of random
numbers. Dropout, where a network has it, is seeded by step and process.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from roentmod.errors import RetrainError
from roentmod.learning.augmentation import vary
from roentmod.learning.batches import Drawn, balance
from roentmod.learning.material import Material
from roentmod.learning.objectives import objective_of
from roentmod.learning.pictures import Pictures
from roentmod.learning.samples import Floats
from roentmod.learning.starts import begun
from roentmod.plans.retrain import RetrainPlan, Task

__all__ = ["Course", "State", "Trained", "answer", "area", "learning_rate", "written"]

State = dict[str, Any]
_READ = 32


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training.

    Attributes:
        weights: the averaged weights that were best on val, or the last.
        facts: steps made, which was best, mean AUC there, seconds.
        history: one row per look at val.
        early: what averaged weights said of the training split after `RetrainPlan.early` steps,
            n x k, where another arm needs it.
    """

    weights: dict[str, Tensor]
    facts: dict[str, Any]
    history: list[dict[str, Any]]
    early: Floats | None = None

    def lines(self) -> bytes:
        """Return the history as JSON, one row per line."""
        return written(self.history)


def written(history: list[dict[str, Any]]) -> bytes:
    """Return what was seen on val as JSON, one row per line."""
    return "".join(json.dumps(row) + "\n" for row in history).encode()


def learning_rate(step: int, plan: RetrainPlan) -> float:
    """Return the learning rate of a step (from 0): a linear warm-up, then half a cosine to 0."""
    warm = round(plan.warmup * plan.steps)
    if step < warm:
        return plan.learning_rate * (step + 1) / warm
    part = (step - warm) / max(1, plan.steps - warm)
    return plan.learning_rate * (1 + math.cos(math.pi * part)) / 2


def area(logits: Floats, targets: Floats) -> list[float]:
    """Return the AUC of each head, k, over the rows that are labelled for it (n x k both).

    It is NaN for a head without a positive or without a negative.
    """
    areas = []
    for own, truth in zip(logits.T, targets.T, strict=True):
        known = (truth == 0) | (truth == 1)
        both = len(np.unique(truth[known])) == 2
        areas.append(float(roc_auc_score(truth[known], own[known])) if both else math.nan)
    return areas


@torch.no_grad()
def answer(network: nn.Module, pictures: Pictures, count: int, device: torch.device) -> Floats:
    """Return the logits of the first `count` pictures, count x k, in float32.

    Every batch has the same size, so that an answer does not depend on how many are requested.
    """
    network.eval()
    parts = []
    for start in range(0, count, _READ):
        rows = np.minimum(np.arange(start, start + _READ), count - 1)
        parts.append(network(_display(pictures[rows], device)).float().cpu().numpy())
    return np.concatenate(parts)[:count]


def _display(levels: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(levels).to(device)[:, None].float() / 255


class Course:
    """One training in progress.

    Attributes:
        task: arm and seed.
        step: steps made.
        ended: whether it is over, by steps or by patience.
        history: one row a look at val.
    """

    def __init__(self, task: Task, material: Material, plan: RetrainPlan, accelerator: Any) -> None:
        """Build it at step 0.

        Raises:
            RetrainError: the network cannot be built, or the arm has nothing to learn from.
        """
        self.task, self.plan = task, plan
        self.material, self.accelerator = material, accelerator
        self.objective = objective_of(task, plan, material)
        device = accelerator.device
        positives = balance(material.train[0].targets, self.objective.counted())
        self.balance = torch.tensor(positives, dtype=torch.float32, device=device)
        self.plain = begun(plan, task.seed).to(device)
        self.plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Copied before Accelerate wraps what computes; the weights stay the same tensors.
        self.average = AveragedModel(self.plain, multi_avg_fn=self._average, use_buffers=True)
        learning = [one for one in self.plain.parameters() if one.requires_grad]
        optimizer = torch.optim.AdamW(learning, plan.learning_rate, weight_decay=plan.weight_decay)
        self.network, self.optimizer = accelerator.prepare(self.plain, optimizer)
        self.step, self.waited, self.seconds = 0, 0, 0.0
        self.ended, self.loss = False, 0.0
        self.best: State = {"auc": -1.0, "step": 0, "weights": {}}
        self.early: Tensor | None = None
        self.history: list[dict[str, Any]] = []

    def _average(self, averaged: Any, current: Any, number: Any) -> None:
        """Average over few steps at first: the first weights mean nothing."""
        made = float(number)
        decay = min(self.plan.ema, (1 + made) / (10 + made))
        get_ema_multi_avg_fn(decay)(averaged, current, number)

    def advance(self) -> None:
        """Make one step."""
        started = time.monotonic()
        torch.manual_seed(_mixed(self.task.seed, self.step, 1 + self.accelerator.process_index))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.plan)
        loss = self._loss()
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.network.parameters(), self.plan.clip)
        self.optimizer.step()
        self.average.update_parameters(self.plain)
        self.step += 1
        self.loss += loss.item()
        self.seconds += time.monotonic() - started

    def _loss(self) -> Tensor:
        """Return this process's part of the mean loss over the labels of the whole batch."""
        drawn = self.objective.draw(self.step)
        targets, number = self.objective.labels(drawn), self.accelerator.num_processes
        real, unit = len(drawn.real), np.arange(len(targets))
        if self.objective.together:
            unit[real:] = real + np.arange(len(drawn.extra)) // 2
        own = np.flatnonzero(unit % number == self.accelerator.process_index)
        logits = self._logits(self._shown(drawn)[own], unit[own].tolist(), len(targets))
        target = torch.from_numpy(np.nan_to_num(targets[own])).to(logits.device)
        each = functional.binary_cross_entropy_with_logits(
            logits, target, reduction="none", pos_weight=self._positives(own < real)
        )
        known = np.isfinite(targets)
        weights = known * self.objective.weights(drawn, self._losses(each, own, known))
        total = max(1.0, float(weights.sum() if self.objective.relative else known.sum()))
        counted = torch.from_numpy(weights[own].astype(np.float32)).to(logits.device)
        extra = own >= real
        more = self.objective.penalty(logits[extra], own[extra] - real, drawn)
        # Processes' gradients are averaged; this makes it the mean over the whole batch.
        loss: Tensor = (each * counted).sum() * (number / total) + more * number
        return loss

    def _logits(self, shown: NDArray[np.uint8], rows: list[int], total: int) -> Tensor:
        """Return what the network says of pictures, varied as those rows of the whole batch."""
        x = _display(shown, self.accelerator.device)
        if self.plan.augmentation:
            x = vary(x, rows, total, _mixed(self.task.seed, self.step, 0))
        # Layers that do not learn keep their statistics, too.
        self.network.train(self.plan.layers == "all")
        logits: Tensor = self.network(x.contiguous(memory_format=torch.channels_last)).float()
        return logits

    def _losses(self, each: Tensor, own: NDArray[np.int64], known: NDArray[np.bool_]) -> Floats:
        """Return the losses of the whole batch where the arm follows them, NaN without a label."""
        losses = np.full(known.shape, np.nan, dtype=np.float32)
        if self.objective.adaptive:
            every = each.new_zeros(known.shape)
            every[torch.from_numpy(own).to(every.device)] = each.detach()
            every = self.accelerator.reduce(every, "sum")
            losses[known] = every.cpu().numpy()[known]
        return losses

    def _positives(self, real: NDArray[np.bool_]) -> Tensor:
        """Return what positives of some rows of the batch count, rows x k; counterfactuals 1."""
        which = torch.from_numpy(real).to(self.balance.device)
        return torch.where(which[:, None], self.balance, 1.0)

    def _shown(self, drawn: Drawn) -> NDArray[np.uint8]:
        """Return the pictures of a batch."""
        parts = [self.material.train[1][drawn.real]] if len(drawn.real) else []
        if len(drawn.extra) and self.material.extra is not None:
            parts.append(self.material.extra[1][drawn.extra])
        return np.concatenate(parts)

    def note(self) -> None:
        """Keep what the averaged weights say of the training split, once."""
        if self.early is None and self.accelerator.is_main_process:
            samples, pictures = self.material.train
            device = self.accelerator.device
            logits = answer(self.average.module, pictures, len(samples), device)
            self.early = torch.from_numpy(logits)

    def look(self) -> dict[str, Any]:
        """Ask the averaged weights about val, keep them where they are the best, or end.

        Raises:
            RetrainError: they answer something that is not finite.
        """
        started = time.monotonic()
        row: dict[str, Any] = {}
        if self.accelerator.is_main_process:
            row = self._look()
        self.ended = _agreed(self.accelerator, self.ended or self.step >= self.plan.steps)
        self.loss = 0.0
        self.seconds += time.monotonic() - started
        return row

    def _look(self) -> dict[str, Any]:
        samples, pictures = self.material.val
        device = self.accelerator.device
        rows = pictures.readable
        logits = answer(self.average.module, pictures, len(samples), device)[rows]
        if not np.isfinite(logits).all():
            raise RetrainError(
                f"A network answers finite numbers; {self.task.name} gives others after "
                f"{self.step} steps. Lower the learning rate, or lengthen the warm-up."
            )
        areas = area(logits, samples.targets[rows])
        mean = float(np.nanmean(areas)) if np.isfinite(areas).any() else 0.0
        # What has seen no real picture yet is neither kept nor given up.
        begun = self.step > self.objective.alone
        self.waited += begun
        if begun and (mean > self.best["auc"] or self.plan.keep == "last"):
            weights = self.average.module.state_dict()
            kept = {k: v.detach().cpu().clone() for k, v in weights.items()}
            self.best, self.waited = {"auc": mean, "step": self.step, "weights": kept}, 0
        self.ended = self.waited >= self.plan.patience
        since = self.history[-1]["step"] if self.history else 0
        names = [None if math.isnan(value) else round(value, 5) for value in areas]
        row = {
            "step": self.step,
            "loss": self.loss / (self.step - since),
            "auc": dict(zip(self.plan.findings, names, strict=True)),
            "mean_auc": mean,
            "seconds": round(self.seconds, 2),
        }
        self.history.append(row)
        return row

    def state(self) -> State:
        """Return all that a checkpoint must hold."""
        scaler = self.accelerator.scaler
        return {
            "model": self.plain.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "step": self.step,
            "waited": self.waited,
            "seconds": self.seconds,
            "ended": self.ended,
            "loss": self.loss,
            "best": self.best,
            "history": self.history,
            "early": self.early,
            "objective": self.objective.state(),
        }

    def restore(self, state: State) -> None:
        """Go back to where `state` was taken."""
        self.plain.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.objective.restore(state["objective"])
        for name in ("step", "waited", "seconds", "ended", "loss", "best", "history", "early"):
            setattr(self, name, state[name])

    def result(self) -> Trained:
        """Return the best weights, and how the training went."""
        facts = {
            "steps": self.step,
            "best_step": self.best["step"],
            "val_auc": self.best["auc"],
            "seconds": round(self.seconds, 2),
            "seconds_per_step": round(self.seconds / max(1, self.step), 4),
        }
        early = None if self.early is None else self.early.numpy()
        return Trained(self.best["weights"], facts, self.history, early)


def _mixed(*parts: int) -> int:
    """Return one seed that depends on all `parts`."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _agreed(accelerator: Any, ended: bool) -> bool:
    """Return what the main process says."""
    if accelerator.num_processes == 1:
        return ended
    from accelerate.utils import broadcast_object_list

    agreed: list[bool] = broadcast_object_list([ended])
    return bool(agreed[0])
