"""Train and export the recogniser: a network that tells patients apart, on two visits of each.

``python -m training.reidentify --data DIR --pairs CSV --out RUN`` trains it: two films of one
patient shall be nearer than those of two, after van den Oord et al. (2018, arXiv:1807.03748). Run
it again to go on where it stopped. With ``--export`` it then writes ``recogniser.onnx`` and
``recogniser.json`` into the package. The split ``val`` chooses the weights.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from roentmod.classifiers import judge as package
from roentmod.store import write_json
from training import checkpoints, judge
from training.judge_network import Layer, Residual
from training.reidentify_pictures import SIZE, Batches, Films, films, search

PATIENTS = 32
STEPS, RATE, EVERY = 6000, 2e-3, 200
NUMBERS = 96
# What likeness is divided by: the less, the more the nearest strangers count.
_TEMPERATURE = 0.1
_WIDTHS = (24, 48, 96, 160)
PACKAGE = package.WEIGHTS.parent
log = logging.getLogger(__name__)


class Network(nn.Module):
    """A slim residual network of 128 px pictures: 1 M parameters.

    Blocks of 4 x 4 pixels are its first channels, so that little is computed at full size.
    """

    def __init__(self) -> None:
        """Build it, untrained."""
        super().__init__()
        a, b, c, d = _WIDTHS
        self.grid = nn.Sequential(
            nn.PixelUnshuffle(4),
            Layer(16, a, 3),
            Residual(a, b, 2),
            Residual(b, b),
            Residual(b, c, 2),
            Residual(c, c),
            Residual(c, d, 2),
            Layer(d, d, 1),
        )
        # Where something is tells a patient too: places are not pooled.
        self.drop = nn.Dropout(0.2)
        self.embed = nn.Linear(d * (SIZE // 32) ** 2, NUMBERS)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Return vectors of length 1, n x d, of n x 1 x 128 x 128 in [0, 1]."""
        places = self.grid((image - 0.5) * 4).float().flatten(1)
        return (functional.normalize(self.embed(self.drop(places)), dim=1),)


def loss_of(outputs: tuple[Tensor, ...], _: judge.Bank) -> Tensor:
    """Return the cross-entropy of finding the second film among all others of the batch."""
    (vectors,) = outputs
    n = len(vectors) // 2
    alike = vectors @ vectors.T / _TEMPERATURE
    alike = alike.masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    return functional.cross_entropy(alike, torch.arange(2 * n).roll(n))


@torch.no_grad()
def embedded(network: nn.Module, pixels: Tensor) -> NDArray[np.float32]:
    """Return vectors, n x d, of n x 128 x 128 uint8."""
    network.eval()
    parts = [network(p[:, None].float() / 255)[0] for p in pixels.split(64)]
    return np.asarray(torch.cat(parts).numpy())


class School:
    """Films to learn from, and those that choose."""

    def __init__(self, data: Path, pairs: Path, out: Path) -> None:
        """Read them; the first call makes the pictures, which takes a minute."""
        self.train, self.val = (films(data, pairs, split, out) for split in ("train", "val"))

    def score(self, network: nn.Module) -> float:
        """Return 1 - the mean reciprocal rank of other visits on val."""
        found = search(self.val, embedded(network, self.val.pixels))
        log.info("val: rank-1 %.3f, AUROC %.3f", found.first, found.above.mean())
        return 1 - found.reciprocal

    def teach(self, args: argparse.Namespace) -> None:
        """Train, resuming where it stopped."""
        torch.manual_seed(args.seed)
        batches = Batches(self.train, PATIENTS, args.seed)
        lesson = judge.Lesson(Network(), batches.draw, loss_of, self.score)
        course = judge.Course(args.steps, args.minutes, highest=RATE, every=EVERY)
        judge.fit(lesson, course, args.out / "recogniser.pt")


def card_of(found: dict[str, object], train: Films, steps: int) -> dict[str, Any]:
    """Return what the recogniser's file says of itself."""
    visited = {i for pair in train.visits for i in pair}
    return {
        "name": "recogniser",
        "size": SIZE,
        "numbers": NUMBERS,
        "licence": "Apache-2.0; trained on NIH ChestX-ray14",
        "trained_on": {
            "films": len(train.rows),
            "patients": len(np.unique(train.patients)),
            "pairs": len(train.visits),
            "patients_with_pairs": len(np.unique(train.patients[sorted(visited)])),
        },
        "val": found,
        "steps": steps,
    }


def export(school: School, run: Path, target: Path) -> dict[str, Any]:
    """Write the best weights of a run as graph and card to `target`; return the card."""
    saved = checkpoints.load(run / "recogniser.pt")
    if saved is None:
        raise SystemExit(f"no recogniser.pt in {run}: train first")
    network = Network()
    network.load_state_dict(saved["best"])
    found = search(school.val, embedded(network, school.val.pixels)).summary()
    judge.export(network, target / "recogniser.onnx", ["vector"], SIZE)
    card = card_of(found, school.train, saved["step"])
    write_json(target / "recogniser.json", card)
    return card


def main() -> None:
    """Train, and export where it is requested, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of index.csv")
    parser.add_argument("--pairs", type=Path, required=True, help="table of follow-up pairs")
    parser.add_argument("--out", type=Path, required=True, help="run folder: pictures, checkpoints")
    parser.add_argument("--minutes", type=float, default=60, help="most, over all runs of it")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--export", action="store_true", help="write graph and card afterwards")
    parser.add_argument("--target", type=Path, default=PACKAGE, help="where they are written")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    school = School(args.data, args.pairs, args.out)
    school.teach(args)
    if args.export:
        print(export(school, args.out, args.target)["val"])


if __name__ == "__main__":
    main()
