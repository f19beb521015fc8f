"""A small network that learns, within a validation, to tell two sorts of pictures apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.editors import compose
from roentmod.radiograph import Radiograph

__all__ = ["SHAPE", "VIEWS", "Views", "learn", "views"]

Views = NDArray[np.uint16]
_SIDE = 32
# Patches at the picture's own resolution, and quarters of the whole picture at 64 pixels.
_FINE, _COARSE = 9, 4
VIEWS, SHAPE = _FINE + _COARSE, (_SIDE, _SIDE)
_HALF, _RATE = 8, 1e-2


def views(radiograph: Radiograph) -> Views:
    """Return what the network sees of a picture, `VIEWS` x 32 x 32.

    Nine patches of 32 pixels at the picture's own resolution, evenly over it, and the whole of it
    at 64 pixels in four parts: fine structure, and where light and dark lie.
    """
    pixels = radiograph.pixels
    tops, lefts = (np.linspace(0, n - _SIDE, 5).round().astype(int)[1:4] for n in pixels.shape)
    fine = [pixels[top : top + _SIDE, left : left + _SIDE] for top in tops for left in lefts]
    whole = compose.shrink(radiograph, 2 * _SIDE)
    coarse = whole.reshape(2, _SIDE, 2, _SIDE).swapaxes(1, 2).reshape(-1, _SIDE, _SIDE)
    every = np.concatenate([np.stack(fine), coarse])
    seen: Views = np.round(np.clip(every, 0, 1) * 65535).astype(np.uint16)
    return seen


def learn(
    pictures: Views, positive: NDArray[np.bool_], seed: int, *, steps: int
) -> Callable[[Views], NDArray[np.float64]]:
    """Teach a network to tell two sorts apart, and return what scores other pictures.

    A few thousand weights see each view, as its grey values and as what differs from the mean of
    3 x 3 pixels; a picture is read from the mean and the largest of its views. Both sorts are shown
    alike often, flipped at random. Equal pictures get equal scores.

    Args:
        pictures: n x `VIEWS` x 32 x 32, of `views`.
        positive: n, with both sorts in it.
        seed: of first weights, batches and flips.
        steps: of training, 1 or more.
    """
    import torch

    sides = [np.flatnonzero(positive == which) for which in (True, False)]
    truth = torch.tensor([1.0] * _HALF + [0.0] * _HALF)
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network()
        optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=1e-2)
        for step in range(steps):
            rows = np.concatenate([rng.choice(side, _HALF) for side in sides])
            batch = _tensor(pictures[rows])
            for axis in (2, 3):
                batch = batch.flip(axis) if rng.random() < 0.5 else batch
            optimizer.param_groups[0]["lr"] = _RATE * (1 - step / steps)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(batch), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()

    def score(some: Views) -> NDArray[np.float64]:
        with torch.inference_mode():
            parts = [network(_tensor(one[None])) for one in some]
        return np.asarray([float(part) for part in parts])

    return score


def _tensor(pictures: Views) -> Any:
    import torch

    return torch.from_numpy(pictures.astype(np.float32) / 65535)


def _network() -> Any:
    """Return the network: n x `VIEWS` x 32 x 32 in [0, 1] to n logits."""
    from torch import cat, nn
    from torch.nn.functional import avg_pool2d

    def eye() -> nn.Sequential:
        parts: list[nn.Module] = []
        for inward, outward, kernel in ((2, 6, 5), (6, 12, 3), (12, 16, 3)):
            parts += [nn.Conv2d(inward, outward, kernel, 2, kernel // 2), nn.BatchNorm2d(outward)]
            parts += [nn.ReLU()]
        return nn.Sequential(*parts)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.eyes = nn.ModuleList([eye(), eye()])
            self.read = nn.Sequential(nn.Dropout(0.3), nn.Linear(8 * 16, 1))

        def forward(self, pictures: Any) -> Any:
            features = []
            for eye, some in zip(self.eyes, pictures.split((_FINE, _COARSE), 1), strict=True):
                flat = some.flatten(0, 1)[:, None]
                fine = flat - avg_pool2d(flat, 3, 1, 1, count_include_pad=False)
                seen = eye(cat([4 * (flat - flat.mean((2, 3), keepdim=True)), 30 * fine], 1))
                seen = cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)
                seen = seen.unflatten(0, some.shape[:2])
                features += [seen.mean(1), seen.amax(1)]
            return self.read(cat(features, 1))[:, 0]

    return Network()
