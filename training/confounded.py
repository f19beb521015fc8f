"""Classifiers whose shortcut is known: trained on cohorts with planted co-occurrence.

Every host is given every finding once; a training picture is its host with the changes that its
labels ask for, added in the painter's own domain (logits of the display value), where what
attenuates adds up. So labels are exact, may be drawn anew for every epoch, and co-occur as planted
and in no other way: one pair of findings has the correlation rho, all others are independent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit
from torch import Tensor, nn
from torch.nn import functional

from roentmod.anatomy import Anatomy
from roentmod.editors import compose
from roentmod.editors.painter import paint
from roentmod.imaging import segmentation
from roentmod.learning.networks import Small, build
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
# Side at which hosts are kept, and brought to a panel's size from.
FULL = 224
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


@dataclass(frozen=True)
class Panel:
    """Classifiers of one kind.

    Attributes:
        name: of the panel.
        findings: what they read.
        size: side of the pictures that they take.
        network: a form of `roentmod.learning.networks.build`, or ``resnet18``.
        epochs: passes over the hosts.
        hosts: at most so many.
        rate: highest learning rate.
        prevalence: of every finding.
    """

    name: str
    findings: tuple[str, ...] = FINDINGS
    size: int = SIZE
    network: str = "small"
    epochs: int = EPOCHS
    hosts: int = 10_000
    rate: float = LEARNING_RATE
    prevalence: float = PREVALENCE


USUAL = Panel("usual", epochs=15)


@dataclass(frozen=True, eq=False)
class Hosts:
    """Pictures to build cohorts from, h pixels a side.

    Attributes:
        plain: hosts, n x h x h.
        painted: each with each finding, n x k x h x h.
        findings: k names.
    """

    plain: Pictures
    painted: Pictures
    findings: tuple[str, ...] = FINDINGS

    def __len__(self) -> int:
        """Return how many hosts there are."""
        return len(self.plain)

    def of(self, panel: Panel) -> Hosts:
        """Return what a panel's classifiers learn from: its findings, size and number."""
        columns = [self.findings.index(name) for name in panel.findings]
        plain = _reduced(self.plain[: panel.hosts], panel.size)
        painted = np.stack(
            [_reduced(self.painted[: panel.hosts, column], panel.size) for column in columns], 1
        )
        return Hosts(plain, painted, panel.findings)


def _reduced(pictures: Pictures, size: int) -> Pictures:
    return np.stack([_levels(one.astype(np.float32) / 255, size) for one in pictures])


def _levels(picture: NDArray[np.float32], size: int = FULL) -> Pictures:
    return np.rint(255 * np.clip(compose.resize(picture, size), 0, 1)).astype(np.uint8)


def paint_all(
    findings: Sequence[str], picture: NDArray[np.float32], anatomy: Anatomy, key: int
) -> Pictures:
    """Return one host with each finding painted, k x h x h; sides, places and doses by chance."""
    rng = np.random.default_rng([8, key])
    made = []
    for name in findings:
        dose, seed = float(rng.uniform(0.35, 1)), int(rng.integers(2**31))
        made.append(_levels(paint(picture, anatomy, name, dose=dose, seed=seed).image))
    return np.stack(made)


def make_hosts(
    pictures: list[NDArray[np.float32]],
    anatomies: list[Anatomy | None],
    path: Path,
    findings: tuple[str, ...] = FINDINGS,
    draw: Callable[..., Pictures] = paint_all,
) -> Hosts:
    """Give every host whose outlines can be trusted each finding, or read what is at `path`.

    Args:
        pictures: display values in [0, 1], each 224 x 224.
        anatomies: known outlines; None is estimated.
        path: an .npz file, which an earlier call wrote.
        findings: names.
        draw: as `paint_all`.
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
            each = pool.map(partial(draw, findings), *zip(*jobs, strict=True), chunksize=16)
            painted = list(each)
        plain = np.stack([_levels(picture) for picture, _, _ in jobs])
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as part:
            np.savez(part, plain=plain, painted=np.stack(painted))
    stored = np.load(path)
    return Hosts(stored["plain"], stored["painted"], findings)


def draw_labels(count: int, plant: Plant, rng: np.random.Generator, panel: Panel = USUAL) -> Labels:
    """Return labels, count x k: findings at the panel's prevalence, the pair correlated by rho."""
    labels = rng.random((count, len(panel.findings))) < panel.prevalence
    first, second = (panel.findings.index(name) for name in plant.pair)
    # Copying the first into the second with probability rho gives exactly that correlation.
    copied = rng.random(count) < plant.rho
    labels[:, second] = np.where(copied, labels[:, first], labels[:, second])
    return labels


def compose_pictures(hosts: Hosts, rows: NDArray[np.int64], labels: Labels) -> Tensor:
    """Return display values in [0, 1], b x 1 x h x h, of hosts with their labels' changes."""
    plain = _logits(hosts.plain[rows])
    total = plain.copy()
    for column in range(labels.shape[1]):
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
    n, reach = len(x), 3 * x.shape[-1] // SIZE
    draw = torch.rand((5, n, 1, 1, 1), generator=generator)
    shift = [int(v) for v in torch.randint(-reach, reach + 1, (2,), generator=generator)]
    x = torch.roll(x, shift, (-2, -1))
    x = x.clamp(1e-4, 1) ** ((draw[0] - 0.5) * 0.6).exp()
    x = (x - 0.5) * (0.85 + 0.3 * draw[1]) + 0.5 + (draw[2] - 0.5) * 0.16
    grain = torch.randn(x.shape, generator=generator) * 0.02 * draw[3]
    return (x + grain).clamp(0, 1)


def untrained(panel: Panel) -> nn.Module:
    """Return a panel's network, with weights by torch's own random numbers."""
    if panel.network == "small":
        return Small(len(panel.findings))
    if panel.network == "resnet18":
        from monai.networks.nets.resnet import resnet18

        heads = len(panel.findings)
        made: nn.Module = resnet18(
            spatial_dims=2, n_input_channels=1, conv1_t_stride=2, num_classes=heads
        )
        return made
    seed = int(torch.randint(2**31, ()))
    return build(panel.network, len(panel.findings), seed, panel.size)


def train(
    hosts: Hosts, plant: Plant, panel: Panel = USUAL, *, start: nn.Module | None = None
) -> nn.Module:
    """Return a classifier trained on `hosts` with the plant's labels, in evaluation mode.

    Args:
        hosts: at the panel's size, with its findings.
        plant: what is planted.
        panel: network and how long.
        start: the network to go on from; None: an untrained one.
    """
    key = zlib.crc32(plant.name.encode())
    torch.manual_seed(key)
    rng, generator = np.random.default_rng([9, key]), torch.Generator().manual_seed(key)
    network = layout.channels_last(start or untrained(panel)).train()
    optimizer = torch.optim.AdamW(network.parameters(), panel.rate, weight_decay=1e-3)
    steps = panel.epochs * (len(hosts) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, panel.rate, total_steps=steps)
    started = time.monotonic()
    for _ in range(panel.epochs):
        order = rng.permutation(len(hosts))
        labels = draw_labels(len(hosts), plant, rng, panel)
        for begin in range(0, len(hosts) - BATCH + 1, BATCH):
            rows = order[begin : begin + BATCH]
            picked = labels[rows]
            x = vary(compose_pictures(hosts, rows, picked), generator)
            target = torch.from_numpy(picked.astype(np.float32))
            x = x.contiguous(memory_format=torch.channels_last)
            # The small network is too small to gain.
            with layout.cast() if panel.network != "small" else contextlib.nullcontext():
                logits = network(x)
            loss = functional.binary_cross_entropy_with_logits(logits.float(), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    log.info("%s: loss %.3f, %.0f s", plant.name, loss.item(), time.monotonic() - started)
    return network.eval()


def export(network: nn.Module, path: Path, name: str, panel: Panel = USUAL) -> None:
    """Write an ONNX file, and beside it the JSON file that says what it reads."""
    with atomic(path) as part, warnings.catch_warnings(), torch.no_grad():
        # The tracer warns about shape arithmetic that is constant here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 1, panel.size, panel.size),),
            str(part),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            dynamo=False,
        )
    card = {"name": name, "labels": list(panel.findings), "size": panel.size, "range": [0, 1]}
    card |= {"channels": 1}
    write_json(path.with_suffix(".onnx.json"), card | {"outputs": "logits"})
