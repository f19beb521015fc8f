"""Train, calibrate and export the judge that verifies edits (it never teaches a generator).

``python -m training.judge --data DIR --out runs/judge`` paints its pictures once, trains, and
writes ``judge.onnx`` and ``judge.json`` into the package. Run it again to go on where it stopped.
Patients are those that `training.cohort` keeps from `mini`; calibration and early stopping use the
split ``val``.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from roentmod import classifiers
from roentmod.store import write_json
from training import checkpoints, cohort, judge_figures, judge_pictures, layout
from training.judge_network import Network, Variation

BATCH = 32
REAL = 4
STEPS = 6000
LEARNING_RATE = 2e-3
CHECK_EVERY = 500
# Findings that it reads worse than this, painted in held-out patients, are left out of the judge.
LEAST_AUROC = 0.7
# Weight of the error of severity beside cross-entropy.
SEVERITY = 0.1
ROUNDS = {"train": 4, "val": 2}
PACKAGE = classifiers.judge.WEIGHTS.parent
log = logging.getLogger(__name__)
Bank = dict[str, Tensor]


def wanted(dose: Tensor) -> Tensor:
    """Return the logit that a painted finding of this dose should have.

    With one and the same target for every dose the judge learns presence alone: its logit rises
    steeply and then says nothing of severity.
    """
    return 4 * dose - 0.5


def loss_of(outputs: tuple[Tensor, ...], bank: Bank) -> Tensor:
    """Return the cross-entropy of findings and sides over what is known, and the error of severity.

    Sides are told, not measured: theirs has no dose.
    """
    logits, sides, _ = outputs
    painted = bank["dose"] > 0
    level = wanted(bank["dose"])
    target = torch.where(painted, level.sigmoid(), bank["target"])
    total = entropy(logits, target, bank["weight"])
    total = total + entropy(sides, bank["side_target"], bank["side_weight"])
    apart = functional.smooth_l1_loss(logits, level, reduction="none")
    return total + SEVERITY * (apart * painted).sum() / painted.sum().clamp_min(1)


def entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the weighed mean cross-entropy; all three of one shape."""
    each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * weight).sum() / weight.sum().clamp_min(1)


class Batches:
    """Draws training batches, a fixed share of them real positives: same step, same batch."""

    def __init__(self, bank: Bank) -> None:
        """Keep the bank."""
        self.bank = bank
        real = bank["kind"] == judge_pictures.KINDS.index("real")
        self.real, self.rest = (torch.nonzero(m).ravel().numpy() for m in (real, ~real))

    def draw(self, step: int) -> tuple[Tensor, Bank]:
        """Return varied pictures, b x 1 x 224 x 224, and their rows of the bank."""
        rng = np.random.default_rng([5, step])
        real = rng.choice(self.real, REAL) if len(self.real) else self.real
        picked = np.concatenate([real, rng.choice(self.rest, BATCH - len(real))])
        rows = {name: values[picked] for name, values in self.bank.items()}
        return Variation()(rows["pixels"], torch.Generator().manual_seed(step)), rows


@dataclass
class Course:
    """How far a training is; a slow machine shortens it to `minutes`.

    It is looked at and saved `every` so many steps; `highest` is its learning rate after warm-up.
    """

    steps: int
    minutes: float
    step: int = 0
    spent: float = 0.0
    highest: float = LEARNING_RATE
    every: int = CHECK_EVERY

    @property
    def part(self) -> float:
        """Part of the way behind us, 0 to 1, by steps or by minutes."""
        return min(1.0, max(self.step / self.steps, self.spent / (60 * self.minutes)))

    @property
    def rate(self) -> float:
        """Learning rate: a short warm-up, then half a cosine."""
        warm = min(1.0, (self.step + 1) / 150)
        return self.highest * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * self.part)) / 2)


@torch.no_grad()
def read(network: nn.Module, pixels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and sides of n x 224 x 224 uint8 pictures, float32 arithmetic."""
    network.eval()
    parts = [network(p[:, None].float() / 255) for p in pixels.split(BATCH)]
    logits, sides = (torch.cat([part[i] for part in parts]).numpy() for i in (0, 1))
    return logits, sides


def train(folder: Path, steps: int, minutes: float) -> None:
    """Train until `steps` or `minutes` (over all runs) are spent, resuming where it stopped."""
    train_bank, val_bank = (_bank(folder, split) for split in ("train", "val"))

    def score(network: nn.Module) -> float:
        logits, sides = read(network, val_bank["pixels"])
        found = (torch.from_numpy(logits), torch.from_numpy(sides), torch.empty(0))
        return loss_of(found, val_bank).item()

    torch.manual_seed(0)
    lesson = Lesson(Network(), Batches(train_bank).draw, loss_of, score)
    fit(lesson, Course(steps, minutes), folder / "judge.pt")


@dataclass(frozen=True, eq=False)
class Lesson:
    """All that a training needs besides its course.

    Attributes:
        network: learns; takes b x 1 x 224 x 224 pictures.
        draw: returns the pictures and rows of a step.
        loss: of the network's outputs and the rows.
        score: of a network on held-out patients, the less the better.
    """

    network: nn.Module
    draw: Callable[[int], tuple[Tensor, Bank]]
    loss: Callable[[tuple[Tensor, ...], Bank], Tensor]
    score: Callable[[nn.Module], float]


def fit(lesson: Lesson, course: Course, path: Path) -> dict[str, Any]:
    """Train to the end of the course, resuming from `path`; return the last checkpoint."""
    network = layout.channels_last(lesson.network)
    optimizer = torch.optim.AdamW(network.parameters(), course.highest, weight_decay=0.02)
    average, best = checkpoints.Average(network, 0.998), _Best(lesson)
    state: dict[str, Any] = {}
    if saved := checkpoints.load(path):
        state = saved
        network.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.weights, best.loss, best.weights = saved["average"], saved["loss"], saved["best"]
        course.step, course.spent = saved["step"], saved["spent"]
    log.info("%.2f M parameters", sum(p.numel() for p in network.parameters()) / 1e6)
    while course.part < 1:
        started = time.monotonic()
        loss = _step(lesson, optimizer, course)
        average.update(network, course.step)
        course.step += 1
        course.spent += time.monotonic() - started
        if course.step % 50 == 0:
            log.info("step %d loss %.4f, %.0f s", course.step, loss, course.spent)
        if course.step % course.every == 0 or course.part >= 1:
            best.offer(average.weights, course.step)
            state = {
                "model": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.weights,
                "best": best.weights,
                "loss": best.loss,
                "step": course.step,
                "spent": course.spent,
            }
            checkpoints.save(path, state)
    return state


def _step(lesson: Lesson, optimizer: torch.optim.Optimizer, course: Course) -> float:
    lesson.network.train()
    for group in optimizer.param_groups:
        group["lr"] = course.rate
    pictures, rows = lesson.draw(course.step)
    with layout.cast():
        outputs = lesson.network(pictures.contiguous(memory_format=torch.channels_last))
    loss = lesson.loss(outputs, rows)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(lesson.network.parameters(), 2.0)
    optimizer.step()
    return loss.item()


class _Best:
    """The averaged weights with the least loss on held-out patients so far."""

    def __init__(self, lesson: Lesson) -> None:
        self.score, self.network = lesson.score, deepcopy(lesson.network)
        self.loss, self.weights = float("inf"), self.network.state_dict()

    def offer(self, weights: dict[str, Tensor], step: int) -> None:
        self.network.load_state_dict(weights)
        loss = self.score(self.network)
        log.info("step %d: loss on held-out patients %.4f", step, loss)
        if loss < self.loss:
            self.loss, self.weights = loss, {k: v.clone() for k, v in weights.items()}


def _bank(folder: Path, split: str) -> Bank:
    bank = checkpoints.load(folder / f"{split}.pt")
    if bank is None:
        raise SystemExit(f"no {split}.pt in {folder}: the pictures were not made")
    return bank


def export(
    network: nn.Module,
    path: Path,
    names: Sequence[str] = ("logits", "sides", "features"),
    size: int = cohort.SIZE,
) -> None:
    """Write the network as a graph of one picture, 1 x 1 x size x size, with named outputs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns about shapes that are constant here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            layout.arranged(network.eval(), torch.contiguous_format),
            (torch.zeros(1, 1, size, size),),
            str(path),
            input_names=["image"],
            output_names=list(names),
            opset_version=18,
            dynamo=False,
        )


def finish(data: Path, folder: Path, target: Path) -> dict[str, Any]:
    """Calibrate the best weights on `val`, write graph and card to `target`, return the card."""
    saved = checkpoints.load(folder / "judge.pt")
    if saved is None:
        raise SystemExit(f"no judge.pt in {folder}: train first")
    network = Network()
    network.load_state_dict(saved["best"])
    bank = _bank(folder, "val")
    outputs = read(network, bank["pixels"])
    card: dict[str, Any] = {
        "name": "judge",
        "findings": list(judge_pictures.FINDINGS),
        "sided": list(judge_pictures.SIDED),
        "size": cohort.SIZE,
        "licence": "Apache-2.0; trained on NIH ChestX-ray14",
        "calibration": judge_figures.calibration(*outputs, bank),
    }
    logits = judge_figures.calibrated(outputs[0], card["calibration"]["logits"])
    sides = judge_figures.calibrated(outputs[1], card["calibration"]["sides"])
    card["figures"] = judge_figures.held_out(logits, sides, bank)
    card["figures"]["calibration_error"] = judge_figures.calibration_error(outputs[0], bank)
    pixels, labels = judge_figures.unused_patients(data)
    raw, _ = read(network, pixels)
    card["figures"]["auroc_real_training_patients_of_mini"] = judge_figures.real(raw, labels)
    card["figures"]["steps"] = saved["step"]
    export(_Kept(network, narrow(card)), target / "judge.onnx")
    write_json(target / "judge.json", card)
    return card


def narrow(card: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Leave out the findings that are read too badly, and return the places of the others.

    Of findings and of sides; the card says which are left out, with their AUROC.
    """
    reads = card["figures"]["auroc_painted"]
    every, sided = card["findings"], card["sided"]
    kept = [name for name in every if reads[name] is not None and reads[name] >= LEAST_AUROC]
    places = [i for i, name in enumerate(every) if name in kept]
    of_sides = [i for i, name in enumerate(sided) if name in kept]
    left_out = {name: reads[name] for name in every if name not in kept}
    card["figures"] = {
        key: {name: value for name, value in figure.items() if name in kept}
        if isinstance(figure, dict)
        else figure
        for key, figure in card["figures"].items()
    } | {"left_out": left_out}
    for what, own in (("logits", places), ("sides", of_sides)):
        lines = card["calibration"][what]
        card["calibration"][what] = {part: [lines[part][i] for i in own] for part in lines}
    card["findings"], card["sided"] = kept, [sided[i] for i in of_sides]
    return places, of_sides


class _Kept(nn.Module):
    """A network of which some findings and sides are shown."""

    def __init__(self, network: nn.Module, places: tuple[list[int], list[int]]) -> None:
        super().__init__()
        self.network = network
        self.findings, self.sides = places

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, sides, features = self.network(image)
        return logits[:, self.findings], sides[:, self.sides], features


def main() -> None:
    """Prepare, train, calibrate and export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="run folder: pictures, checkpoints")
    parser.add_argument("--minutes", type=float, default=16)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--target", type=Path, default=PACKAGE)
    parser.add_argument("--limit", type=int, help="radiographs a split, for a quick trial")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    for split, rounds in ROUNDS.items():
        rows = judge_pictures.rows_of(args.data, split)[: args.limit]
        target = args.out / f"{split}.pt"
        judge_pictures.build(args.data, rows, target, rounds=rounds, workers=args.threads)
    train(args.out, args.steps, args.minutes)
    card = finish(args.data, args.out, args.target)
    print(judge_figures.table(card))


if __name__ == "__main__":
    main()
