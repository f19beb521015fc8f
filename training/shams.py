"""What an editor does where nothing is requested: how its shams move a judge, and look.

A sham of composite ``sham`` is the picture that edits are held against; what it changes is left out
of them. A small network is taught to tell shams from the untouched radiographs of other patients:
an area of 0.5 is what it cannot tell apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from roentmod.edits import Edit
from roentmod.learning.networks import Small
from roentmod.science import stats
from training import measures
from training.benchmark import Bench

SEEDS, FOLDS = 4, 5
STEPS, PAIRS, CROP = 200, 12, 112
LEARNING_RATE = 3e-3
ROUNDS = 1000
Array = NDArray[np.float32]


def shams(bench: Bench) -> dict[str, Any]:
    """Return how far shams move the judge, with an interval over patients, and the network."""
    edits = [Edit((bench.findings[0],), seed=seed).sham() for seed in range(SEEDS)]
    made = [bench.run(baseline, edits) for baseline in range(len(bench.rows))]
    made = [own for own in made if len(own) == SEEDS]
    columns = [bench.column(name) for name in bench.findings]
    net = np.array([[one.net[columns] for one in own] for own in made])
    sizes = np.abs(net).mean(axis=(1, 2))
    drawn = stats.resampled_means(sizes[:, None], ROUNDS, 0)[:, 0]
    pictures = np.array([[one.pixels for one in own] for own in made])
    plain = np.stack([own[0].against for own in made])
    return {
        "logit": round(float(sizes.mean()), 4),
        "logit_ci": [round(value, 4) for value in stats.interval(drawn)],
        "logit_by_finding": {
            name: round(float(value), 4)
            for name, value in zip(bench.findings, net.mean(axis=(0, 1)), strict=True)
        },
        "network": network(pictures, plain),
        "n": len(made),
    }


def network(pictures: Array, plain: Array) -> dict[str, Any]:
    """Return the area, with its interval, of telling n x s shams from n untouched pictures.

    Patients are in five folds; a network is trained with the others, a sham always beside its own
    radiograph, which it differs from in nothing else.

    Args:
        pictures: n x s x h x w display values.
        plain: n x h x w.
    """
    n, s = pictures.shape[:2]
    scores, fold = np.zeros((n, 1 + s)), np.arange(n) % FOLDS
    every = torch.from_numpy(np.concatenate([plain[:, None], pictures], axis=1))
    for number in range(FOLDS):
        model = _trained(every[torch.from_numpy(fold != number)], number)
        with torch.no_grad():
            for i in np.flatnonzero(fold == number):
                scores[i] = model(every[i][:, None])[:, 0].numpy()
    positive = np.broadcast_to(np.arange(1 + s) > 0, scores.shape)
    names = np.repeat(np.arange(n), 1 + s)
    area, low, high = measures.matched_auc(
        np.round(scores, 6).ravel(),
        positive.ravel(),
        np.repeat(fold, 1 + s),
        names,
        rounds=ROUNDS,
    )
    return {"auc": round(area, 4), "ci": [round(low, 4), round(high, 4)], "patients": n}


def _trained(every: Tensor, seed: int) -> Small:
    """Return a network that was taught to tell column 0 of n x (1 + s) pictures from the others."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Small(1)
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.01)
    n, columns, height, width = every.shape
    target = torch.arange(2 * PAIRS).remainder(2).float()
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / STEPS)
        rows = []
        for i, k in zip(rng.integers(n, size=PAIRS), rng.integers(1, columns, PAIRS), strict=True):
            y, x = (int(rng.integers(max(1, side - CROP + 1))) for side in (height, width))
            pair = every[i][[0, k]][:, y : y + CROP, x : x + CROP]
            rows.append(pair.flip(-1) if rng.random() < 0.5 else pair)
        logits = model(torch.cat(rows)[:, None])[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()
