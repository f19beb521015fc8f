"""Train the network that outlines lungs and heart (`roentmod.imaging.segmentation`).

``python -m training.segmentation --cohort DIR --out DIR --minutes 8`` trains (run it again to go
on), ``--export`` writes the bundled weights, ``--measure --data DIR`` writes
``bench/anatomy.json``.

No outlines of the real radiographs exist, so three teachers stand in for them: phantoms, whose
outlines are exact; thresholding, where its result has the shape of lungs; and, from the second
round on, the network's own sure and plausible answers (averaged over distorted copies).
Every picture is then made harder than the one its outline came from: opacities over the lungs,
bright bases, enlarged hearts, collimation, labels. That is how it learns to outline lungs that
thresholding cannot see.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from roentmod.anatomy import heart_between
from roentmod.datasets.phantom import phantom
from roentmod.imaging.segmentation import SIDE, WEIGHTS, _largest
from training import checkpoints, cohort, layout, outlines
from training.outlines import shrink, thresholded

BATCH = 32
PHANTOMS = 2400
ROUNDS = (0.35, 0.7)
OPAQUE = {
    "Atelectasis",
    "Consolidation",
    "COVID-19",
    "Edema",
    "Effusion",
    "Hernia",
    "Infiltration",
    "Mass",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
}
WIDTHS = (12, 24, 48, 72, 96)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Outliner(nn.Module):
    """A small U-Net: 1 x 128 x 128 standardised picture to chances of right, left lung, heart."""

    def __init__(self) -> None:
        """Make random weights."""
        super().__init__()
        self.entry = nn.Sequential(
            nn.Conv2d(1, WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        pairs = list(pairwise(WIDTHS))
        self.down = nn.ModuleList(_block(a, b) for a, b in pairs)
        self.up = nn.ModuleList(_block(a + b, a) for a, b in reversed(pairs))
        self.exit = nn.Conv2d(WIDTHS[0], 3, 1)

    def logits(self, pictures: Tensor) -> Tensor:
        """Return logits, n x 3 x h x w."""
        here = self.entry(pictures)
        kept = []
        for block in self.down:
            kept.append(here)
            here = block(functional.avg_pool2d(here, 2))
        for block in self.up:
            wide = functional.interpolate(here, scale_factor=2.0, mode="nearest")
            here = block(torch.cat([kept.pop(), wide], 1))
        out: Tensor = self.exit(here)
        return out

    def forward(self, pictures: Tensor) -> Tensor:
        """Return chances, n x 3 x h x w."""
        return torch.sigmoid(self.logits(pictures))


# --- teachers ---------------------------------------------------------------------------------


@dataclass
class Lessons:
    """Pictures with outlines and how much each pixel's outline counts.

    Attributes:
        pictures: n x SIDE x SIDE in [0, 1], float32.
        chances: n x 3 x SIDE x SIDE, uint8 in 0..255.
        weights: n x 3 x SIDE x SIDE, uint8 in 0..255.
    """

    pictures: NDArray[np.float32]
    chances: NDArray[np.uint8]
    weights: NDArray[np.uint8]

    @classmethod
    def join(cls, parts: list[Lessons]) -> Lessons:
        """Return all lessons as one."""
        names = ("pictures", "chances", "weights")
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def from_phantoms(count: int, first: int = 0, size: int = SIDE) -> Lessons:
    """Return phantoms with their exact outlines."""
    pictures, chances = [], []
    for seed in range(first, first + count):
        made = phantom(seed, size=size)
        square = made.radiograph.square
        known = [made.anatomy.right_lung, made.anatomy.left_lung, made.anatomy.heart]
        pictures.append(square.pad(np.asarray(made.radiograph.pixels)))
        chances.append([square.pad(mask.astype(np.float32)) for mask in known])
    flat = shrink(np.asarray(chances, np.float32).reshape(-1, *pictures[0].shape))
    outlines = np.rint(255 * flat.reshape(count, 3, SIDE, SIDE)).astype(np.uint8)
    return Lessons(shrink(np.stack(pictures)), outlines, np.full_like(outlines, 255))


def from_thresholds(pictures: NDArray[np.float32]) -> tuple[Lessons, NDArray[np.int64]]:
    """Return pictures (n x SIDE x SIDE) whose thresholded lungs are credible, and which they are.

    Hearts follow from the lungs, and count little. Borders of thresholded lungs are not exact, so
    the pixels along them do not count.
    """
    chances, weights, which = [], [], []
    for index, picture in enumerate(pictures):
        lungs = thresholded(picture)
        if lungs is None:
            continue
        masks = np.stack([*lungs, heart_between(*lungs)])
        rim = [ndimage.binary_dilation(m) & ~ndimage.binary_erosion(m) for m in masks]
        counts = np.where(rim, 0, np.array([160, 160, 50])[:, None, None])
        # Breasts and clavicles hide bases and apices from a threshold: there "not lung" is a guess.
        ends = [ndimage.binary_dilation(m, np.ones((29, 1))) & ~m for m in masks]
        counts = np.where(ends, counts // 5, counts)
        chances.append(255 * masks.astype(np.uint8))
        weights.append(counts.astype(np.uint8))
        which.append(index)
    chosen = np.array(which, np.int64)
    return Lessons(pictures[chosen], np.stack(chances), np.stack(weights)), chosen


@torch.inference_mode()
def from_itself(network: Outliner, pictures: NDArray[np.float32], seed: int) -> Lessons:
    """Return pictures that the network outlines surely and plausibly, with its mean answer."""
    network.eval()
    kept: list[tuple[int, NDArray[np.float32]]] = []
    for first in range(0, len(pictures), BATCH):
        batch = torch.from_numpy(pictures[first : first + BATCH])[:, None]
        answers = torch.stack([_distorted_answer(network, batch, seed + k) for k in range(2)])
        mean, spread = answers.mean(0).numpy(), answers.std(0).amax(1).numpy()
        for row, (chance, doubt) in enumerate(zip(mean, spread, strict=True)):
            if _trusted(chance, doubt):
                kept.append((first + row, chance))
    network.train()
    chosen = np.array([index for index, _ in kept], np.int64)
    chances = np.array([chance for _, chance in kept], np.float32).reshape(-1, 3, SIDE, SIDE)
    # Sure pixels are pulled to a clear answer; unsure ones do not count.
    weights = np.where(np.abs(chances - 0.5) > 0.2, 255, 40)
    weights[:, 2] = weights[:, 2] * 0.6
    sharp = 1 / (1 + np.exp(-2 * np.log((chances + 1e-4) / (1 - chances + 1e-4))))
    return Lessons(
        pictures[chosen], np.rint(255 * sharp).astype(np.uint8), weights.astype(np.uint8)
    )


def _distorted_answer(network: Outliner, batch: Tensor, seed: int) -> Tensor:
    """Return chances of a shifted, scaled, differently exposed copy, mapped back."""
    rng = torch.Generator().manual_seed(seed)
    scale, shift = (
        1 + 0.16 * (torch.rand(1, generator=rng) - 0.4),
        0.08 * torch.randn(2, generator=rng),
    )
    there = torch.tensor([[[scale, 0, shift[0]], [0, scale, shift[1]]]])
    back = torch.tensor([[[1 / scale, 0, -shift[0] / scale], [0, 1 / scale, -shift[1] / scale]]])
    gamma = float(torch.exp(0.3 * torch.randn(1, generator=rng)))
    seen = _warp(batch, there) ** gamma
    with torch.autocast("cpu", torch.bfloat16):
        logits = network.logits(standardise(seen).contiguous(memory_format=torch.channels_last))
    return _warp(torch.sigmoid(logits.float()), back)


def _warp(batch: Tensor, matrix: Tensor) -> Tensor:
    grid = functional.affine_grid(
        matrix.expand(len(batch), 2, 3), list(batch.shape), align_corners=False
    )
    return functional.grid_sample(batch, grid, align_corners=False)


def _trusted(chance: NDArray[np.float32], spread: NDArray[np.float32]) -> bool:
    """Tell whether an answer has the shape of a chest and does not depend on the distortion."""
    masks = chance > 0.5
    if min(mask.sum() for mask in masks) < 0.015 * SIDE**2 or spread.mean() > 0.035:
        return False
    areas = sorted(mask.sum() for mask in masks[:2])
    certainty = min(float(c[m].mean()) for c, m in zip(chance, masks, strict=True))
    if areas[0] < 0.45 * areas[1] or certainty < 0.85:
        return False
    rows = [np.flatnonzero(mask.any(1)) for mask in masks[:2]]
    # One base far above the other is more likely fluid taken for the abdomen than anatomy.
    if min(np.ptp(r) for r in rows) < 0.28 * SIDE or abs(rows[0][-1] - rows[1][-1]) > 0.11 * SIDE:
        return False
    return min(_largest(mask)[1] for mask in masks) > 0.93


# --- making it harder -------------------------------------------------------------------------


def standardise(pictures: Tensor) -> Tensor:
    """Return pictures (n x 1 x h x w) as `roentmod.imaging.segmentation.prepare` makes them."""
    mean = pictures.mean((1, 2, 3), keepdim=True)
    std = pictures.std((1, 2, 3), keepdim=True, correction=0)
    return (pictures - mean) / (std + 0.02)


class Hardener:
    """Distorts pictures; outlines follow the geometry and ignore everything else."""

    def __init__(self, seed: int) -> None:
        """Draw from `seed`."""
        self._rng = torch.Generator().manual_seed(seed)

    def _uniform(self, count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=self._rng)

    def _chance(self, count: int, share: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1, generator=self._rng) < share).float()

    def _field(self, count: int, cells: int) -> Tensor:
        """Return smooth noise of about unit deviation, n x 1 x SIDE x SIDE."""
        coarse = torch.randn(count, 1, cells, cells, generator=self._rng)
        return functional.interpolate(coarse, SIDE, mode="bicubic", align_corners=False)

    def __call__(
        self, pictures: Tensor, chances: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return harder pictures (n x 1, standardised) with outlines and weights (n x 3)."""
        count = len(pictures)
        pictures = self._opacities(pictures, chances)
        pictures, chances, weights = self._spoil(pictures, chances, weights)
        packed = self._move(torch.cat([pictures, chances, weights], 1))
        pictures, chances, weights = packed.split([1, 3, 3], 1)
        pictures = pictures.clamp(0, 1) ** torch.exp(0.35 * self._uniform(count, -1.5, 1.5))
        pictures = pictures + 0.12 * self._chance(count, 0.5) * self._field(count, 3)
        pictures = self._wires(self._equalise(pictures))
        pictures = self._labels(self._collimate(pictures))
        soft = functional.avg_pool2d(pictures, 3, 1, 1)
        blur = self._chance(count, 0.3)
        pictures = blur * soft + (1 - blur) * pictures
        noise = torch.randn(pictures.shape, generator=self._rng)
        pictures = pictures + noise * self._uniform(count, 0, 0.035) * self._chance(count, 0.5)
        return standardise(pictures.clamp(0, 1)), chances, weights

    def _spoil(
        self, pictures: Tensor, chances: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Turn some pictures over, on their side or into negatives: there is nothing to outline."""
        draw = torch.rand(len(pictures), 1, 1, 1, generator=self._rng)
        ways = (
            pictures.flip(2),
            pictures.flip(2, 3),
            torch.rot90(pictures, 1, (2, 3)),
            torch.rot90(pictures, 3, (2, 3)),
            1 - pictures,
        )
        for number, spoilt in enumerate(ways):
            pictures = torch.where(
                (draw >= 0.02 * number) & (draw < 0.02 * (number + 1)), spoilt, pictures
            )
        sound = (draw >= 0.02 * len(ways)).float()
        return pictures, chances * sound, torch.maximum(weights, 1 - sound)

    def _equalise(self, pictures: Tensor) -> Tensor:
        """Take part of the large-scale brightness away, as bedside processing does."""
        count = len(pictures)
        coarse = functional.avg_pool2d(pictures, 16)
        coarse = functional.interpolate(coarse, SIDE, mode="bilinear", align_corners=False)
        share = self._chance(count, 0.3) * self._uniform(count, 0.2, 0.75)
        gain = 1 + share * self._uniform(count, 0, 1.5)
        return (0.5 * share + gain * (pictures - share * coarse)).clamp(0, 1)

    def _wires(self, pictures: Tensor) -> Tensor:
        """Lay bright curves, as of leads and tubes, over some pictures."""
        count = len(pictures)
        for cells in (3, 5):
            field = self._field(count, cells) - self._uniform(count, -0.8, 0.8)
            line = torch.exp(-((field / self._uniform(count, 0.015, 0.04)) ** 2))
            bright = self._chance(count, 0.2) * self._uniform(count, 0.1, 0.5)
            pictures = pictures + bright * line * (1 - pictures)
        return pictures

    def _opacities(self, pictures: Tensor, chances: Tensor) -> Tensor:
        count = len(pictures)
        white = self._uniform(count, 0.6, 0.95)
        inside = functional.avg_pool2d(chances[:, :2].sum(1, keepdim=True).clamp(0, 1), 5, 1, 2)
        haze = self._chance(count, 0.25) * self._uniform(count, 0.1, 0.6)
        density = haze * (0.6 + 0.4 * self._field(count, 5))
        for _ in range(2):
            blob = (self._field(count, 4) - self._uniform(count, 0.2, 1.5)).clamp(0, 1)
            blob = blob * (1 + 0.4 * self._field(count, 24))
            density = density + self._chance(count, 0.35) * self._uniform(count, 0.4, 1.3) * blob
        density = torch.maximum(density, self._base(chances, 0))
        density = torch.maximum(density, self._base(chances, 1))
        density = (density * inside).clamp(0, 0.95)
        return pictures + (torch.maximum(white, pictures) - pictures) * density

    def _base(self, chances: Tensor, lung: int) -> Tensor:
        """Return a bright base as of an effusion: dense below a level that rises outwards."""
        count = len(chances)
        mask = chances[:, lung : lung + 1] > 0.5
        depth = mask.float().cumsum(2) / mask.sum(2, keepdim=True).clamp(min=1)
        level = self._uniform(count, 0.35, 0.95)
        fluid = torch.sigmoid((depth - level) * self._uniform(count, 8, 40))
        return self._chance(count, 0.22) * self._uniform(count, 0.4, 1.0) * fluid * mask

    def _move(self, packed: Tensor) -> Tensor:
        count = len(packed)
        angle = (0.09 * torch.randn(count, generator=self._rng)).clamp(-0.3, 0.3)
        scale = 1 + 0.3 * (torch.rand(count, generator=self._rng) - 0.45)
        stretch = 1 + 0.08 * torch.randn(count, generator=self._rng).clamp(-2, 2)
        shift = 0.07 * torch.randn(count, 2, generator=self._rng)
        cos, sin = scale * angle.cos(), scale * angle.sin()
        rows = [
            torch.stack([cos * stretch, -sin, shift[:, 0]], 1),
            torch.stack([sin, cos, shift[:, 1]], 1),
        ]
        grid = functional.affine_grid(
            torch.stack(rows, 1), [count, 1, SIDE, SIDE], align_corners=False
        )
        bend = torch.cat([self._field(count, 4), self._field(count, 4)], 1)
        grid = grid + 0.018 * bend.permute(0, 2, 3, 1)
        grid = self._swell(grid, packed[:, 3:4])
        return functional.grid_sample(packed, grid, align_corners=False)

    def _swell(self, grid: Tensor, heart: Tensor) -> Tensor:
        """Return the grid of a picture whose heart is wider (or a little narrower)."""
        line = (torch.arange(SIDE).float() + 0.5) / SIDE * 2 - 1
        mass = heart.sum((1, 2, 3)).clamp(min=1).view(-1, 1, 1)
        row = (heart[:, 0] * line.view(1, -1, 1)).sum((1, 2), keepdim=True) / mass
        column = (heart[:, 0] * line.view(1, 1, -1)).sum((1, 2), keepdim=True) / mass
        gain = self._uniform(len(grid), -0.1, 0.4)[..., 0] * self._chance(len(grid), 0.4)[..., 0]
        away = grid[..., 0] - column
        near = torch.exp(-(((grid[..., 1] - row) / 0.4) ** 2)) * torch.exp(
            -((away / 0.55).abs() ** 3)
        )
        return torch.stack([grid[..., 0] - gain * near * away, grid[..., 1]], 3)

    def _collimate(self, pictures: Tensor) -> Tensor:
        """Blacken or whiten a frame, up to an eighth of the picture a side."""
        count = len(pictures)
        line = torch.arange(SIDE).float() / SIDE
        sides = [self._uniform(count, -0.08, 0.1) for _ in range(4)]
        down, across = line.view(1, 1, -1, 1), line.view(1, 1, 1, -1)
        seen = (
            (down >= sides[0])
            & (down < 1 - sides[1])
            & (across >= sides[2])
            & (across < 1 - sides[3])
        )
        use = self._chance(count, 0.35)
        frame = self._chance(count, 0.15)
        keep = torch.maximum(seen.float(), 1 - use)
        return keep * pictures + (1 - keep) * frame

    def _labels(self, pictures: Tensor) -> Tensor:
        """Stamp a white patch, as of a side marker, on some pictures."""
        count = len(pictures)
        line = torch.arange(SIDE).float() / SIDE
        row, column = self._uniform(count, 0, 0.95), self._uniform(count, 0, 0.95)
        high, wide = self._uniform(count, 0.02, 0.08), self._uniform(count, 0.02, 0.15)
        down, across = line.view(1, 1, -1, 1), line.view(1, 1, 1, -1)
        patch = (down >= row) & (down < row + high) & (across >= column) & (across < column + wide)
        stamp = patch.float() * self._chance(count, 0.3) * self._uniform(count, 0.7, 1.0)
        return torch.maximum(pictures, stamp)


# --- training ---------------------------------------------------------------------------------


def loss_of(logits: Tensor, chances: Tensor, weights: Tensor) -> Tensor:
    """Return weighted cross entropy plus soft Dice loss."""
    entropy = functional.binary_cross_entropy_with_logits(logits, chances, weights)
    guess = torch.sigmoid(logits) * weights
    overlap = 2 * (guess * chances).sum((2, 3)) + 1
    total = (guess + chances * weights).sum((2, 3)) + 1
    share = weights.amax((2, 3))
    return entropy + 0.3 * ((1 - overlap / total) * share).mean()


def _batches(
    phantoms: Lessons, real: Lessons, seed: int, share: float
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield endless random batches, a `share` of each from phantoms."""
    rng = np.random.default_rng(seed)
    some = round(BATCH * share)
    while True:
        parts = []
        for source, count in ((phantoms, some), (real, BATCH - some)):
            pick = rng.integers(len(source.pictures), size=count)
            parts.append(Lessons(source.pictures[pick], source.chances[pick], source.weights[pick]))
        batch = Lessons.join(parts)
        chances, weights = (
            torch.from_numpy(a).float() / 255 for a in (batch.chances, batch.weights)
        )
        yield torch.from_numpy(batch.pictures)[:, None], chances, weights


def _prepared(folder: Path, out: Path) -> tuple[Lessons, Lessons, NDArray[np.float32]]:
    """Return phantoms, thresholded lessons and the pictures to learn from by itself; cached."""
    path = out / "lessons.npz"
    if not path.exists():
        images, rows = cohort.load(folder)
        # Thresholds stop where fluid or consolidation begins, so such pictures would teach that.
        clear = np.array(
            [i for i, r in enumerate(rows) if not OPAQUE & set(r["labels"].split("|"))]
        )
        real, credible = from_thresholds(shrink(images[clear]) / np.float32(255))
        np.savez(path, **vars(real), own=_worth(rows, clear[credible]))
    stored = np.load(path)
    real = Lessons(stored["pictures"], stored["chances"], stored["weights"])
    other = out / f"phantoms-{PHANTOMS}.npz"
    if not other.exists():
        np.savez(other, **vars(from_phantoms(PHANTOMS)))
    made = np.load(other)
    images, _ = cohort.load(folder)
    own = shrink(images[stored["own"]]) / np.float32(255)
    return Lessons(made["pictures"], made["chances"], made["weights"]), real, own


def _worth(rows: list[dict[str, str]], credible: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pictures most worth self-training: sick or bedside first, thresholds failing."""
    easy = set(credible.tolist())

    def rank(index: int) -> tuple[int, int]:
        row = rows[index]
        hard = (row["labels"] != "No Finding") + (row["view"] == "AP") + (index not in easy)
        return -hard, index * 2654435761 % 2**32

    return np.array(sorted(range(len(rows)), key=rank)[:1800])


def _rate(progress: float) -> float:
    """Return the learning rate: short warm-up, cosine to a tenth of a percent."""
    return 3e-3 * min(1, progress / 0.03) * (0.5 + 0.5 * math.cos(math.pi * progress)) + 3e-6


def train(folder: Path, out: Path, minutes: float, seed: int = 0) -> None:
    """Train for `minutes` in all, calls that were cut off included."""
    out.mkdir(parents=True, exist_ok=True)
    phantoms, real, own = _prepared(folder, out)
    torch.manual_seed(seed)
    network = layout.channels_last(Outliner())
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-3)
    average = checkpoints.Average(network, 0.99)
    state: dict[str, Any] = {"step": 0, "spent": 0.0, "round": 0}
    held = checkpoints.load(out / "outliner.pt")
    if held is not None:
        network.load_state_dict(held["network"])
        optimiser.load_state_dict(held["optimiser"])
        average.weights = held["average"]
        state = {name: held[name] for name in state}
    budget, lessons = 60 * minutes, real
    if state["round"]:
        lessons = Lessons.join([real, _self_lessons(average, own, state["round"])])
    batches = _batches(phantoms, lessons, seed + state["step"], 0.4)
    # The thread's own time: a busy machine costs patience, not steps.
    saved = started = time.thread_time()
    spent_before = state["spent"]
    while state["spent"] < budget:
        progress = state["spent"] / budget
        if state["round"] < len(ROUNDS) and progress > ROUNDS[state["round"]]:
            state["round"] += 1
            taught = _self_lessons(average, own, state["round"])
            print(
                f"round {state['round']}: {len(taught.pictures)} of {len(own)} own answers trusted"
            )
            lessons = Lessons.join([real, taught])
            batches = _batches(phantoms, lessons, seed + state["step"], 0.3)
        loss = _step(network, optimiser, next(batches), _rate(progress), seed + state["step"])
        average.update(network, state["step"])
        state["step"] += 1
        state["spent"] = spent_before + time.thread_time() - started
        if state["step"] % 50 == 0:
            print(f"step {state['step']} {state['spent']:.0f} s loss {loss:.4f}", flush=True)
        if time.thread_time() - saved > 45 or state["spent"] >= budget:
            saved = time.thread_time()
            parts = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
            checkpoints.save(out / "outliner.pt", parts | state | {"average": average.weights})


def _step(
    network: Outliner,
    optimiser: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor, Tensor],
    rate: float,
    seed: int,
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    with torch.no_grad():
        pictures, chances, weights = Hardener(seed)(*batch)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network.logits(pictures.contiguous(memory_format=torch.channels_last))
    loss = loss_of(logits.float(), chances.clamp(0, 1), weights.clamp(0, 1))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _averaged(average: checkpoints.Average) -> Outliner:
    network = Outliner()
    network.load_state_dict(average.weights)
    return layout.channels_last(network.eval())


def _self_lessons(average: checkpoints.Average, own: NDArray[np.float32], number: int) -> Lessons:
    return from_itself(_averaged(average), own, 1000 * number)


def export(out: Path, target: Path = WEIGHTS) -> None:
    """Write the averaged weights of a training as an ONNX graph."""
    held = checkpoints.load(out / "outliner.pt")
    if held is None:
        raise SystemExit(f"Nothing was trained in {out}. Run the training first.")
    network = Outliner()
    network.load_state_dict(held["average"])
    target.parent.mkdir(exist_ok=True)
    torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 1, SIDE, SIDE),),
        str(target),
        input_names=["pictures"],
        output_names=["chances"],
        dynamic_axes={"pictures": {0: "batch"}, "chances": {0: "batch"}},
        opset_version=18,
        dynamo=False,
    )
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB after {held['step']} steps")


FIGURES = Path("bench/anatomy.json")


def main() -> None:
    """Train, export or measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path, default=Path("runs/mini/cohort"))
    parser.add_argument("--out", type=Path, default=Path("runs/anatomy"))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--export", action="store_true")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--masks", action="store_true", help="measure on drawn masks alone")
    parser.add_argument("--data", type=Path, help="folder of cxr/, nih/ and more/, to measure")
    args = parser.parse_args()
    if args.export:
        export(args.out)
    elif args.measure or args.masks:
        if args.data is None:
            parser.error("--measure and --masks need --data")
        if args.measure:
            outlines.measure(args.data, FIGURES)
        outlines.measure_masks(args.data / "more", FIGURES)
    else:
        train(args.cohort, args.out, args.minutes)


if __name__ == "__main__":
    main()
