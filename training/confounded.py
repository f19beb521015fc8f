"""Classifiers whose shortcut is known: trained on painted cohorts with planted co-occurrence.

Every host is painted once with every finding; a training picture is its host with the changes that
its labels ask for, added in the painter's own domain (logits of the display value), where what
attenuates adds up. So labels are exact, may be drawn anew for every epoch, and co-occur as planted
and in no other way: one pair of findings has the correlation rho, all others are independent.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch import Tensor
from torch.nn import functional

from roentmod.anatomy import Anatomy
from roentmod.editors import compose
from roentmod.editors.painter import paint
from roentmod.imaging import segmentation
from roentmod.learning.networks import Small
from roentmod.store import atomic, write_json
from training import layout

FINDINGS = (
    "Cardiomegaly",
    "Pleural Effusion",
    "Edema",
    "Mass",
    "Pneumothorax",
    "Support Devices",
)
SIZE = 56
PREVALENCE = 0.35
EPOCHS, BATCH, LEARNING_RATE = 40, 32, 3e-3
# Display values nearer than this to black or white have lost their logit.
EDGE = 0.01
Pictures = NDArray[np.uint8]
Labels = NDArray[np.bool_]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plant:
    """What is planted: `pair` co-occurs with correlation `rho` in what a classifier learns from."""

    pair: tuple[str, str]
    rho: float
    seed: int

    @property
    def name(self) -> str:
        """File name, such as ``edema-cardiomegaly-075-1``."""
        words = "-".join(part.lower().replace(" ", "-") for part in self.pair)
        return f"{words}-{round(100 * self.rho):03d}-{self.seed}"


@dataclass(frozen=True, eq=False)
class Hosts:
    """Pictures to build cohorts from.

    Attributes:
        plain: hosts, n x SIZE x SIZE.
        painted: each with each finding, n x k x SIZE x SIZE.
    """

    plain: Pictures
    painted: Pictures

    def __len__(self) -> int:
        """Return how many hosts there are."""
        return len(self.plain)


def _levels(picture: NDArray[np.float32]) -> Pictures:
    return np.rint(255 * np.clip(compose.resize(picture, SIZE), 0, 1)).astype(np.uint8)


def _paint_all(picture: NDArray[np.float32], anatomy: Anatomy, key: int) -> Pictures:
    """Return one host with each of FINDINGS, sides, places and doses by chance."""
    rng = np.random.default_rng([8, key])
    made = []
    for name in FINDINGS:
        dose, seed = float(rng.uniform(0.35, 1)), int(rng.integers(2**31))
        made.append(_levels(paint(picture, anatomy, name, dose=dose, seed=seed).image))
    return np.stack(made)


def paint_hosts(
    pictures: list[NDArray[np.float32]], anatomies: list[Anatomy | None], path: Path
) -> Hosts:
    """Paint every host whose outlines can be trusted, or read what an earlier call wrote to `path`.

    Args:
        pictures: display values in [0, 1], each 224 x 224.
        anatomies: known outlines; None is estimated.
        path: an .npz file.
    """
    if not path.exists():
        missing = [i for i, known in enumerate(anatomies) if known is None]
        guessed = segmentation.estimate_all([pictures[i] for i in missing]) if missing else []
        every = dict(enumerate(anatomies)) | dict(zip(missing, guessed, strict=True))
        jobs = [
            (pictures[i], known, i)
            for i, known in every.items()
            if known is not None and known.quality >= segmentation.QUALITY_NEEDED
        ]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            painted = list(pool.map(_paint_all, *zip(*jobs, strict=True), chunksize=16))
        plain = np.stack([_levels(picture) for picture, _, _ in jobs])
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as part:
            np.savez(part, plain=plain, painted=np.stack(painted))
    stored = np.load(path)
    return Hosts(stored["plain"], stored["painted"])


def draw_labels(count: int, plant: Plant, rng: np.random.Generator) -> Labels:
    """Return labels, count x k: every finding at PREVALENCE, the pair correlated by rho."""
    labels = rng.random((count, len(FINDINGS))) < PREVALENCE
    first, second = (FINDINGS.index(name) for name in plant.pair)
    # Copying the first into the second with probability rho gives exactly that correlation.
    copied = rng.random(count) < plant.rho
    labels[:, second] = np.where(copied, labels[:, first], labels[:, second])
    return labels


def compose_pictures(hosts: Hosts, rows: NDArray[np.int64], labels: Labels) -> Tensor:
    """Return display values in [0, 1], b x 1 x SIZE x SIZE, of hosts with their labels' changes."""
    plain = _logits(hosts.plain[rows])
    total = plain.copy()
    for column in range(len(FINDINGS)):
        own = labels[:, column]
        total[own] += _logits(hosts.painted[rows[own], column]) - plain[own]
    return torch.from_numpy(expit(total).astype(np.float32))[:, None]


def _logits(levels: Pictures) -> NDArray[np.float32]:
    table = logit(np.clip(np.arange(256) / 255, EDGE, 1 - EDGE)).astype(np.float32)
    return np.asarray(table[levels])


class Network(Small):
    """The small classifier of `roentmod.learning` with a head per finding, SIZE x SIZE pictures."""

    def __init__(self) -> None:
        """Build it, untrained."""
        super().__init__(len(FINDINGS))


def vary(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures with other exposure, place and grain; never mirrored."""
    n = len(x)
    draw = torch.rand((5, n, 1, 1, 1), generator=generator)
    shift = [int(v) for v in torch.randint(-3, 4, (2,), generator=generator)]
    x = torch.roll(x, shift, (-2, -1))
    x = x.clamp(1e-4, 1) ** ((draw[0] - 0.5) * 0.6).exp()
    x = (x - 0.5) * (0.85 + 0.3 * draw[1]) + 0.5 + (draw[2] - 0.5) * 0.16
    grain = torch.randn(x.shape, generator=generator) * 0.02 * draw[3]
    return (x + grain).clamp(0, 1)


def train(hosts: Hosts, plant: Plant) -> Network:
    """Return a classifier trained on `hosts` with the plant's labels, in evaluation mode."""
    key = zlib.crc32(plant.name.encode())
    torch.manual_seed(key)
    rng, generator = np.random.default_rng([9, key]), torch.Generator().manual_seed(key)
    network = layout.channels_last(Network())
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-3)
    steps = EPOCHS * (len(hosts) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    started = time.monotonic()
    for _ in range(EPOCHS):
        order, labels = rng.permutation(len(hosts)), draw_labels(len(hosts), plant, rng)
        for start in range(0, len(hosts) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            picked = labels[rows]
            x = vary(compose_pictures(hosts, rows, picked), generator)
            target = torch.from_numpy(picked.astype(np.float32))
            x = x.contiguous(memory_format=torch.channels_last)
            loss = functional.binary_cross_entropy_with_logits(network(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    log.info("%s: loss %.3f, %.0f s", plant.name, loss.item(), time.monotonic() - started)
    return network.eval()


@torch.no_grad()
def read(network: Network, hosts: Hosts, labels: Labels) -> NDArray[np.float32]:
    """Return logits, n x k, of all hosts under the given labels."""
    rows = np.arange(len(hosts))
    parts = [
        network(compose_pictures(hosts, rows[at : at + 64], labels[at : at + 64]))
        for at in range(0, len(rows), 64)
    ]
    return torch.cat(parts).numpy()


def export(network: Network, path: Path, name: str) -> None:
    """Write an ONNX file, and beside it the JSON file that says what it reads."""
    with atomic(path) as part, warnings.catch_warnings(), torch.no_grad():
        # The tracer warns about shape arithmetic that is constant here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 1, SIZE, SIZE),),
            str(part),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            dynamo=False,
        )
    card = {"name": name, "labels": list(FINDINGS), "size": SIZE, "range": [0, 1], "channels": 1}
    write_json(path.with_suffix(".onnx.json"), card | {"outputs": "logits"})
