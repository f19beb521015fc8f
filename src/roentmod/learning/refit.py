"""Deep feature reweighting: a trained network whose last layer is fitted again on balanced rows.

Kirichenko, Izmailov and Wilson, "Last layer re-training is sufficient for robustness to spurious
correlations", ICLR 2023 (arXiv 2204.02937): features of validation rows are standardised, and a
logistic regression with an l1 penalty is fitted on as many rows of each group as the smallest has;
its coefficients are the mean over ten choices of rows. The penalty is the one with the best
accuracy in the worst group, where half of the rows are fitted and the other half is read. Where
validation has too few rows of a group, rows of the training split take its place, as in the paper's
variant without held-out data.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roentmod.errors import RetrainError
from roentmod.learning.batches import Group, balanced_rows, groups
from roentmod.learning.material import Material
from roentmod.learning.pictures import Pictures
from roentmod.learning.samples import Floats, Samples
from roentmod.learning.starts import last_layer
from roentmod.learning.trainer import Trained, answer, area
from roentmod.plans.retrain import RetrainPlan, Task

__all__ = ["fit_head", "refitted"]

Doubles = NDArray[np.float64]
_CHOICES = 10
_STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01)  # C of scikit-learn
_FEWEST = 10  # rows of a group that a layer is fitted on


def refitted(
    task: Task, network: nn.Module, material: Material, plan: RetrainPlan, device: torch.device
) -> Trained:
    """Return a network with a new last layer.

    Args:
        task: arm and seed; of the choices of rows.
        network: the trained one, on `device`; it gets the new layer.
        material: its validation split is what is fitted, or the training split.
        plan: findings and pairs: groups are those of the arms that even them out.
        device: of the network.

    Raises:
        RetrainError: the network does not end in a linear layer.
    """
    started = time.monotonic()
    ending = _Penultimate(network, plan.size)
    layer = ending.layer
    splits = [_features(ending, split, device) for split in (material.val, material.train)]
    with torch.no_grad():
        for head in range(len(plan.findings)):
            fits = [
                fit_head(*rows, (task.seed, head, n))
                for n, rows in enumerate(_rows(head, splits, plan))
            ]
            made = [fit for fit in fits if fit is not None]
            if made:
                slope, offset = np.mean(made, axis=0)[:-1], np.mean(made, axis=0)[-1]
                layer.weight[head] = torch.from_numpy(slope).to(layer.weight)
                layer.bias[head] = float(offset)
    samples, pictures = material.val
    said = answer(network, pictures, len(samples), device)[pictures.readable]
    areas = area(said, samples.targets[pictures.readable])
    mean = float(np.nanmean(areas)) if np.isfinite(areas).any() else 0.0
    names = [None if np.isnan(value) else round(value, 5) for value in areas]
    seconds = round(time.monotonic() - started, 2)
    row = {
        "step": 0,
        "loss": None,
        "auc": dict(zip(plan.findings, names, strict=True)),
        "mean_auc": mean,
        "seconds": seconds,
    }
    facts = {"steps": 0, "best_step": 0, "val_auc": mean, "seconds": seconds}
    weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
    return Trained(weights, facts | {"seconds_per_step": 0.0}, [row])


def _features(
    ending: _Penultimate, split: tuple[Samples, Pictures], device: torch.device
) -> tuple[Doubles, Floats]:
    """Return features and labels of a split's readable pictures, n x d and n x k."""
    samples, pictures = split
    readable = pictures.readable
    features = answer(ending, pictures, len(samples), device)[readable].astype(np.float64)
    return features, samples.targets[readable]


def _rows(
    head: int, splits: Sequence[tuple[Doubles, Floats]], plan: RetrainPlan
) -> Iterator[tuple[Doubles, Floats, NDArray[np.int64]]]:
    """Yield features, labels and groups for each of a head's partitions, of the split that fits."""
    found = [list(_groups_of(head, targets, plan)) for _, targets in splits]
    for each in zip(*found, strict=True):
        counts = np.array([group.counts() for group in each])
        # A group that a split lacks is the one that it would forget.
        enough = (counts[:, counts.any(axis=0)] >= _FEWEST).all(axis=1)
        at = int(np.argmax(enough))
        features, targets = splits[at]
        yield features, targets[:, head], each[at].codes


def _groups_of(head: int, targets: Floats, plan: RetrainPlan) -> Iterator[Group]:
    """Yield the partitions that a head is refitted in: its pairs, else its own two groups."""
    own = [group for group in groups(targets, plan) if head in group.heads]
    yield from own or [groups(targets, plan.but(pairs=()))[head]]


def fit_head(
    features: Doubles, truth: Floats, codes: NDArray[np.int64], seed: tuple[int, ...]
) -> Doubles | None:
    """Return d weights and the offset of one head, for features as they are; None: not to be had.

    Args:
        features: n x d.
        truth: labels of the head, n.
        codes: group of each row, n, -1 where unknown.
        seed: of the choices of rows.
    """
    strength = _strength(features, truth, codes, (*seed, 0))
    fits = []
    for number in range(_CHOICES):
        rows = balanced_rows(codes, (*seed, 1, number))
        fit = _fit(features[rows], truth[rows], strength)
        if fit is None:
            return None
        fits.append(fit)
    return np.asarray(np.mean(fits, axis=0))


def _strength(
    features: Doubles, truth: Floats, codes: NDArray[np.int64], seed: tuple[int, ...]
) -> float:
    """Return the C that is best in the worst group of rows that were not fitted."""
    rows = balanced_rows(codes, seed)
    mixed = np.random.default_rng(seed).permutation(rows)
    each = [mixed[codes[mixed] == code] for code in np.unique(codes[rows])]
    fitted, read = (
        np.concatenate([own[half] for own in each]) if each else rows
        for half in (slice(0, None, 2), slice(1, None, 2))
    )
    best = (-1.0, _STRENGTHS[0])
    for strength in _STRENGTHS:
        fit = _fit(features[fitted], truth[fitted], strength)
        if fit is None:
            break
        right = (features[read] @ fit[:-1] + fit[-1] > 0) == (truth[read] == 1)
        worst = min((right[codes[read] == c].mean() for c in np.unique(codes[read])), default=0)
        best = max(best, (float(worst), strength))
    return best[1]


def _fit(features: Doubles, truth: Floats, strength: float) -> Doubles | None:
    """Return weights and offset of a logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(truth)) < 2:
        return None
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1)
    # Releases before 1.8 know the penalty by its name only.
    name = {"penalty": "l1"} if LogisticRegression().penalty == "l2" else {"l1_ratio": 1}
    model = LogisticRegression(
        **name, solver="liblinear", C=strength, max_iter=1000, random_state=0
    )
    model.fit((features - mean) / spread, truth == 1)
    slope = model.coef_[0] / spread
    return np.append(slope, model.intercept_[0] - slope @ mean)


class _Penultimate(nn.Module):
    """A network that answers what its last layer is given."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        layer = network.get_submodule(last_layer(network, size))
        if not isinstance(layer, nn.Linear) or layer.bias is None:
            raise _ends_otherwise()
        self.layer = layer

    def forward(self, image: Tensor) -> Tensor:
        """Return features, n x d."""
        seen: list[Tensor] = []
        hook = self.layer.register_forward_hook(
            lambda _, *given: seen.extend([*given[0], given[1]])
        )
        try:
            logits = self.network(image)
        finally:
            hook.remove()
        given, answer = seen
        if not torch.equal(answer, logits):
            raise _ends_otherwise()
        return given


def _ends_otherwise() -> RetrainError:
    return RetrainError(
        "dfr fits the last layer again: a linear one with an offset, whose answers are the logits; "
        "this network ends otherwise. Leave dfr out, or choose another network."
    )
