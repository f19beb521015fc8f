"""How fast a generator runs here, before it has run: its parts are timed, on small pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from roentmod.editors.components import Components, tile
from roentmod.editors.engines import Engine, TorchEngine, large

__all__ = ["Speed", "measure"]

# A large generator is timed at these parts of its side, in turn, while the next is expected to take
# no longer than so many seconds.
_PARTS = (4, 2, 1)
_PATIENCE = 4.0
_Call = Callable[[Components, Engine, int], Tensor]


class Speed(NamedTuple):
    """Seconds per call.

    Attributes:
        predicted: of one prediction of the U-Net.
        encoded: of encoding one picture.
        decoded: of decoding one picture.
    """

    predicted: float
    encoded: float
    decoded: float


@torch.inference_mode()
def measure(parts: Components, engine: Engine, predictions: int) -> Speed:
    """Time U-Net and autoencoder, the U-Net with so many predictions per call.

    A large generator on a processor is timed on pictures of a quarter and of half its side; from
    there, time rises with the floating-point operations, which torch counts without computing.
    """
    cells = parts.size // parts.downsampling
    step = 2 ** (len(parts.unet.config.block_out_channels) - 1)
    sides = [cells]
    if large(parts) and parts.unet.device.type == "cpu" and engine.name == TorchEngine.name:
        sides = sorted({min(cells, -(-cells // part // step) * step) for part in _PARTS})

    def predict(own: Components, by: Engine, side: int) -> Tensor:
        unet, length = own.unet, own.text_length
        latents = _blank(unet, predictions, unet.config.in_channels, side, side)
        states = parts.text_states("")[None].to(latents).expand(predictions, length, -1)
        scales = torch.ones(predictions).to(latents) if own.takes_guidance else None
        return by.unet(latents, torch.tensor(1, device=latents.device), states, scales)

    def encode(own: Components, by: Engine, side: int) -> Tensor:
        pixels = side * own.downsampling
        picture = _blank(own.vae, 1, own.vae.config.in_channels, pixels, pixels)
        mean: Tensor = own.vae.encode(picture).latent_dist.mean
        return mean

    def decode(own: Components, by: Engine, side: int) -> Tensor:
        return by.decode(_blank(own.vae, 1, own.vae.config.latent_channels, side, side))

    calls: tuple[_Call, ...] = (predict, encode, decode)
    predicted, encoded, decoded = (_seconds(call, parts, engine, sides) for call in calls)
    return Speed(predicted / predictions, encoded, decoded)


def _blank(model: Any, *shape: int) -> Tensor:
    return torch.zeros(shape, device=model.device, dtype=model.dtype)


def _seconds(call: _Call, parts: Components, engine: Engine, sides: Sequence[int]) -> float:
    """Return how long a call takes at the last of `sides`."""
    work = _operations(call, parts, sides) if len(sides) > 1 else {sides[0]: 1.0}
    # What is done at the first call alone is not timed: weights are read, kernels are chosen.
    call(parts, engine, sides[0]).flatten()[0].item()
    timed: list[tuple[float, float]] = []
    for side in sides:
        if len(timed) > 1 and timed[-1][1] * work[side] / timed[-1][0] > _PATIENCE:
            break
        started = time.perf_counter()
        # A number has to be waited for.
        call(parts, engine, side).flatten()[0].item()
        timed.append((work[side], time.perf_counter() - started))
    done, seconds = timed[-1]
    if len(timed) == len(sides):
        return seconds
    before, shorter = timed[-2]
    return seconds + max(0.0, seconds - shorter) / (done - before) * (work[sides[-1]] - done)


def _operations(call: _Call, parts: Components, sides: Sequence[int]) -> dict[int, float]:
    """Return the floating-point operations of a call by side, of parts without memory."""
    with torch.device("meta"):
        models = {name: getattr(parts, name) for name in ("unet", "vae")}
        models = {name: type(one).from_config(one.config) for name, one in models.items()}
    empty = replace(parts, **models)
    if parts.tiled:
        tile(empty)
    counted = {}
    for side in sides:
        with FlopCounterMode(display=False) as counter:
            call(empty, TorchEngine(empty), side)
        counted[side] = float(counter.get_total_flops())
    return counted
