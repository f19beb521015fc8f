"""Train and export a judge on real labels alone: no painted picture, nothing that `mini` made.

``python -m training.real_judge --data DIR --nih DIR --out RUN --name NAME`` trains one network:
first, on all pictures, to tell view, sex and age, then findings, in pairs matched on source, view,
sex and detector (`training.real_judge_pictures`). Run it again to go on where it stopped.
``--export TARGET`` with several names writes their mean as ``judge.onnx`` and ``judge.json``,
calibrated on ``val``.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from roentmod.store import write_json
from training import checkpoints, cohort, judge, measures
from training.judge_network import Network
from training.judge_pictures import Row, canonical
from training.real_judge_pictures import (
    FINDINGS,
    SIDED,
    Bank,
    Batches,
    Greys,
    Strata,
    View,
    bank,
    stratum,
    targets_of,
)

PAIRS = 16
WARM_STEPS, STEPS = 3000, 6000
WARM_RATE, RATE = 2e-3, 1e-3
EVERY = 250
# Findings with fewer positives in val say little about a network.
FEWEST = 6
POOLED = 2 * 160
# What a warm-up tells: AP, male, age in decades from 50.
FACTS = 3
log = logging.getLogger(__name__)


class Warming(nn.Module):
    """A judge's network that also tells view, sex and age from its pooled features."""

    def __init__(self, network: Network) -> None:
        """Keep the network, and add a layer."""
        super().__init__()
        self.network, self.facts = network, nn.Linear(POOLED, FACTS)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of findings, n x k, and facts, n x 3."""
        logits, _, pooled = self.network(image)
        return logits, self.facts(pooled)


def facts_of(rows: list[Row]) -> NDArray[np.float32]:
    """Return AP, male and age of each row, n x 3, NaN where it is not known."""
    ages = [float(row["age"] or "nan") for row in rows]
    told = [
        ({"AP": 1.0, "PA": 0.0}.get(r["view"]), {"M": 1.0, "F": 0.0}.get(r["sex"])) for r in rows
    ]
    table = [(*both, (age - 50) / 10) for both, age in zip(told, ages, strict=True)]
    return np.array(table, dtype=np.float32)


def warm_loss(outputs: tuple[Tensor, ...], rows: Bank) -> Tensor:
    """Return cross-entropy of view and sex, error of age, and that of text-mined labels if any."""
    logits, facts = outputs
    known = rows["facts"].isfinite().float()
    wanted = rows["facts"].nan_to_num()
    told = functional.binary_cross_entropy_with_logits(
        facts[:, :2].float(), wanted[:, :2], reduction="none"
    )
    apart = functional.smooth_l1_loss(facts[:, 2:].float(), wanted[:, 2:], reduction="none")
    each = torch.cat([told, apart], 1) * known
    return each.sum() / known.sum() + judge.entropy(logits, rows["target"], rows["weight"])


def loss_of(outputs: tuple[Tensor, ...], rows: Bank) -> Tensor:
    """Return the cross-entropy of findings, each label weighed by its stratum."""
    return judge.entropy(outputs[0], rows["target"], rows["weight"])


class Everything:
    """Draws from all pictures alike, for the warm-up: same step, same batch."""

    def __init__(self, pixels: Tensor, rows: list[Row], seed: int, *, mined: bool) -> None:
        """Keep pictures (n x 224 x 224 uint8) and facts; with `mined`, text-mined labels too."""
        self.pixels, self.seed = pixels, seed
        self.variation = Greys(pixels, seed)
        self.facts = torch.from_numpy(facts_of(rows))
        targets = np.array([[name in canonical(r) for name in FINDINGS] for r in rows], np.float32)
        strata = Strata([stratum(row) for row in rows], targets)
        weights = strata.weights(np.ones(len(rows))) * float(mined)
        self.targets, self.weights = torch.from_numpy(targets), torch.from_numpy(weights)

    def draw(self, step: int) -> tuple[Tensor, Bank]:
        """Return varied pictures, b x 1 x 224 x 224, and what is known of them."""
        rows = np.random.default_rng([self.seed, 1, step]).integers(
            len(self.pixels), size=2 * PAIRS
        )
        return self.variation(rows, step), self.known(rows)

    def known(self, rows: NDArray[np.int64]) -> Bank:
        """Return facts and labels of some pictures."""
        both = {"target": self.targets[rows], "weight": self.weights[rows]}
        return both | {"facts": self.facts[rows]}


def areas(
    logits: NDArray[np.floating], rows: list[Row], targets: NDArray[np.float32]
) -> dict[str, tuple[float, int]]:
    """Return each finding's AUROC against No Finding, and the number of its positives.

    Only pairs of one source, view and detector count.
    """
    clean = np.array([row["labels"] == cohort.NO_FINDING for row in rows])
    strata = np.array(["|".join(row[k] for k in ("set", "view", "detector")) for row in rows])
    patients = np.array([row["patient_id"] for row in rows])
    found = {}
    for k, name in enumerate(FINDINGS):
        there = targets[:, k] == 1
        use = there | clean
        area, _, _ = measures.matched_auc(logits[use, k], there[use], strata[use], patients[use])
        found[name] = (area, int(there.sum()))
    return found


def mean_area(found: dict[str, tuple[float, int]]) -> float:
    """Return the mean AUROC, findings weighed by the root of their positives."""
    kept = [(a, n) for a, n in found.values() if n >= FEWEST and np.isfinite(a)]
    weights = np.sqrt([n for _, n in kept])
    return float(np.average([a for a, _ in kept], weights=weights))


class School:
    """Pictures and labels of ``train`` and ``val``, views filled in."""

    def __init__(self, data: Path, nih: Path, out: Path) -> None:
        """Read them; the first call makes the pictures, which takes minutes."""
        both = {split: bank(data, nih, split, out) for split in ("train", "val")}
        view = View(both["train"][0]["pixels"], both["train"][1])
        self.pixels = {split: one["pixels"] for split, (one, _) in both.items()}
        self.rows = {s: view.fill(one["pixels"], rows) for s, (one, rows) in both.items()}
        self.targets = {split: targets_of(rows) for split, rows in self.rows.items()}

    def score(self, network: nn.Module) -> float:
        """Return 1 - the mean matched AUROC on val."""
        rows, targets = self.rows["val"], self.targets["val"]
        own = np.flatnonzero(np.isfinite(targets).any(axis=1))
        logits, _ = judge.read(network, self.pixels["val"][own])
        found = areas(logits, [rows[i] for i in own], targets[own])
        log.info(" ".join(f"{name[:8]} {area:.2f}" for name, (area, _) in found.items()))
        return 1 - mean_area(found)

    def warm_up(self, network: Network, args: argparse.Namespace, folder: Path) -> None:
        """Teach the network view, sex and age."""
        train, val = (
            Everything(self.pixels[s], self.rows[s], args.seed, mined=args.mined)
            for s in ("train", "val")
        )
        known = val.known(np.arange(len(val.pixels)))

        def score(warming: nn.Module) -> float:
            # Batches of pictures, as `judge.read` has them.
            logits, facts = judge.read(warming, val.pixels)
            return warm_loss((torch.from_numpy(logits), torch.from_numpy(facts)), known).item()

        lesson = judge.Lesson(Warming(network), train.draw, warm_loss, score)
        course = judge.Course(args.warm_steps, args.minutes, highest=WARM_RATE, every=EVERY)
        state = judge.fit(lesson, course, folder / "warm.pt")
        lesson.network.load_state_dict(state["best"])

    def teach(self, args: argparse.Namespace, folder: Path) -> None:
        """Train one network, resuming where it stopped."""
        torch.manual_seed(args.seed)
        network = made(args.size, near=args.near)
        if args.warm_steps:
            self.warm_up(network, args, folder)
        strata = Strata([stratum(row) for row in self.rows["train"]], self.targets["train"])
        batches = Batches(self.pixels["train"], strata, PAIRS, args.seed)
        lesson = judge.Lesson(network, batches.draw, loss_of, self.score)
        course = judge.Course(args.steps, args.minutes, highest=RATE, every=EVERY)
        judge.fit(lesson, course, folder / "judge.pt")


class Mean(nn.Module):
    """The mean answer of several networks, of some findings alone; features lie side by side."""

    def __init__(self, networks: Sequence[Network], findings: Sequence[str]) -> None:
        """Keep the networks, and where their logits and sides hold the findings."""
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.findings = [FINDINGS.index(name) for name in findings]
        self.sided = [SIDED.index(name) for name in findings if name in SIDED]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, sides and features as one network does."""
        outputs = [network(image) for network in self.networks]
        logits, sides = (torch.stack([o[i] for o in outputs]).mean(0) for i in (0, 1))
        features = torch.cat([o[2] for o in outputs], dim=1)
        return logits[:, self.findings], sides[:, self.sided], features


def calibration(
    logits: NDArray[np.float32], targets: NDArray[np.float32], rows: list[Row]
) -> dict[str, Any]:
    """Return slope and offset of each logit, n x k, fitted on matched pictures.

    Half of them, weighed by stratum, show the finding: 0 means even odds there. No label says a
    side, so the logits of sides stay as they are.
    """
    weights = Strata([stratum(row) for row in rows], targets).weights(np.ones(len(rows)))
    lines = [
        measures.fit_line(logits[:, k], np.nan_to_num(targets[:, k]), weights[:, k])
        for k in range(logits.shape[1])
    ]
    return {"slope": [a for a, _ in lines], "offset": [b for _, b in lines]}


def made(size: int, *, near: bool) -> Network:
    """Return an untrained network that works at a size; one that sees `near` or far."""
    return Network(FINDINGS, SIDED, size=size, labelled_sides=False, near=near)


def network_of(folder: Path) -> tuple[Network, int]:
    """Return a trained network of a run folder, and the step that was best on val."""
    saved = checkpoints.load(folder / "judge.pt")
    if saved is None:
        raise SystemExit(f"no judge.pt in {folder}: train first")
    weights = saved["best"]
    network = made(8 * weights["place"].shape[-1], near="whole.weight" not in weights)
    network.load_state_dict(saved["best"])
    return network.eval(), saved["step"]


def export(school: School, folders: Sequence[Path], findings: Sequence[str], target: Path) -> None:
    """Write the mean of the networks of some run folders, calibrated on val, to `target`."""
    networks, steps = zip(*map(network_of, folders), strict=True)
    mean = Mean(networks, findings)
    rows, targets = school.rows["val"], school.targets["val"][:, mean.findings]
    own = np.flatnonzero(np.isfinite(targets).any(axis=1))
    logits, _ = judge.read(mean, school.pixels["val"][own])
    sided = [name for name in findings if name in SIDED]
    plain = {
        "slope": np.ones((len(sided), 2)).tolist(),
        "offset": np.zeros((len(sided), 2)).tolist(),
    }
    lines = calibration(logits, targets[own], [rows[i] for i in own])
    card = {
        "name": "judge:real",
        "findings": list(findings),
        "sided": sided,
        "size": cohort.SIZE,
        "licence": "Apache-2.0; trained on NIH ChestX-ray14",
        "calibration": {"logits": lines, "sides": plain},
        "figures": {"networks": len(networks), "steps": list(steps)},
    }
    judge.export(mean, target / "judge.onnx")
    write_json(target / "judge.json", card)


def main() -> None:
    """Train or export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--nih", type=Path, required=True, help="folder of NIH's own tables")
    parser.add_argument("--out", type=Path, required=True, help="run folder: pictures, checkpoints")
    parser.add_argument(
        "--name", nargs="+", default=["real"], help="of the network in the run folder; of several"
    )
    parser.add_argument("--size", type=int, default=160, help="side that it works at, px")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--warm-steps", type=int, default=WARM_STEPS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--minutes", type=float, default=120, help="most for each of the two parts")
    parser.add_argument("--mined", action="store_true", help="warm up on text-mined labels too")
    parser.add_argument("--near", action="store_true", help="read findings from small places alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--export", type=Path, help="write the mean of the named networks here")
    parser.add_argument("--findings", nargs="+", default=FINDINGS, help="that are exported")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    school, folders = School(args.data, args.nih, args.out), [args.out / name for name in args.name]
    if args.export:
        export(school, folders, args.findings, args.export)
    else:
        for folder in folders:
            school.teach(args, folder)


if __name__ == "__main__":
    main()
