"""Does the audit find planted shortcuts, and does it leave honest classifiers alone?

``python -m bench.audit_truth --data DIR`` trains classifiers on painted cohorts whose co-occurrence
is known (`training.confounded`), audits each through the public door, seeing nothing but the model,
and writes ``bench/audit_truth.json`` and ``docs/audit.md``. Without ``--data`` the hosts are
phantoms. Everything is kept in ``--run`` and resumed from there.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from roentmod.anatomy import Anatomy
from roentmod.phantom import phantom
from training import cohort, confounded, evaluate
from training.confounded import Hosts, Plant

PAIRS = (
    ("Pleural Effusion", "Cardiomegaly"),
    ("Support Devices", "Pneumothorax"),
    ("Edema", "Mass"),
    ("Cardiomegaly", "Edema"),
)
RHOS = (0.0, 0.5, 0.75, 0.9, 1.0)
SEEDS = (0, 1)
REAL = {"train": 1100, "test": 340}
DRAWN = {"train": 400, "test": 110}
PHANTOM_SEED = {"train": 1_000_000, "test": 2_000_000}
log = logging.getLogger(__name__)
Picture = NDArray[np.float32]


def plants() -> list[Plant]:
    """Return every classifier to train."""
    return [Plant(pair, rho, seed) for rho in RHOS for pair in PAIRS for seed in SEEDS]


def hosts(data: Path | None, split: str, folder: Path) -> Hosts:
    """Return painted hosts of one split: real no-finding radiographs, and phantoms beside them."""
    pictures: list[Picture] = []
    drawn = DRAWN[split]
    if data is None:
        drawn += REAL[split]
    else:
        fit = [
            row
            for row in evaluate.rows_of(data)
            if row["split"] == split and row["labels"] == cohort.NO_FINDING
        ]
        order = np.random.default_rng(12).permutation(len(fit))[: REAL[split]]
        pictures += [cohort.square(data / fit[i]["path"]).astype(np.float32) / 255 for i in order]
    known: list[Anatomy | None] = [None] * len(pictures)
    for number in range(drawn):
        one = phantom(PHANTOM_SEED[split] + number)
        pictures.append(one.radiograph.pixels)
        known.append(one.anatomy)
    return confounded.paint_hosts(pictures, known, folder / f"hosts-{split}.npz")


def train_all(data: Path | None, run: Path) -> None:
    """Train and export what is not there yet."""
    waiting = [p for p in plants() if not (run / "models" / f"{p.name}.onnx").exists()]
    if not waiting:
        return
    (run / "models").mkdir(parents=True, exist_ok=True)
    own = hosts(data, "train", run)
    for number, plant in enumerate(waiting, 1):
        log.info("classifier %d of %d", number, len(waiting))
        network = confounded.train(own, plant)
        confounded.export(network, run / "models" / f"{plant.name}.onnx", plant.name)


def main() -> None:
    """Train, audit and write from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--run", type=Path, default=Path("runs/audit"))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(0)
    hosts(args.data, "test", args.run)
    train_all(args.data, args.run)


if __name__ == "__main__":
    main()
