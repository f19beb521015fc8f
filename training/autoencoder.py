"""Train the one-channel autoencoder of `mini` (224 px to 4 x 28 x 28) on crops of radiographs.

Crops suffice because the network is purely convolutional (no attention in its middle block), and
they show it eight times as many patients a second. Loss: L1 on pixels and on their gradients, which
keeps ribs and vessels, plus a small Kullback-Leibler term (Rombach et al., CVPR 2022).
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from training import checkpoints, cohort

CROP = 112
BATCH = 12
KL_WEIGHT = 1e-6
LEARNING_RATE = 1e-3
LATENTS = 4
SAVE_EVERY = 250
log = logging.getLogger(__name__)


def build() -> AutoencoderKL:
    """Return the untrained autoencoder: 2.6 M parameters, 8 x 8 downsampling."""
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(16, 32, 64, 128),
        layers_per_block=1,
        latent_channels=LATENTS,
        norm_num_groups=8,
        sample_size=cohort.SIZE,
        mid_block_add_attention=False,
    )


def crops(images: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Draw BATCH random crops, some re-windowed: b x 1 x CROP x CROP in [-1, 1]."""
    picked = []
    for index in rng.integers(0, len(images), BATCH):
        top, left = rng.integers(0, cohort.SIZE - CROP + 1, 2)
        patch = images[index, top : top + CROP, left : left + CROP].astype(np.float32)
        patch = patch / 127.5 - 1
        if rng.random() < 0.3:
            patch = np.clip(patch * rng.uniform(0.7, 1.2) + rng.uniform(-0.2, 0.2), -1, 1)
        picked.append(patch)
    return torch.from_numpy(np.stack(picked))[:, None]


def gradients(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return horizontal and vertical first differences."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def loss_of(vae: AutoencoderKL, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training loss and the plain L1 error."""
    posterior = vae.encode(x).latent_dist
    y = vae.decode(posterior.sample()).sample
    pixel = functional.l1_loss(y, x)
    edges = sum(functional.l1_loss(a, b) for a, b in zip(gradients(y), gradients(x), strict=True))
    return pixel + edges + KL_WEIGHT * posterior.kl().mean(), pixel


def train(
    images: np.ndarray, folder: Path, minutes: float, steps: int, begin: Path | None = None
) -> None:
    """Train up to `steps` or for `minutes`, whichever ends first, resuming where it stopped.

    `begin` names a diffusers folder whose autoencoder a new run starts from.
    """
    torch.manual_seed(0)
    vae = build()
    if begin:
        vae.load_state_dict(AutoencoderKL.from_pretrained(begin, subfolder="vae").state_dict())
    vae.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    average = checkpoints.Average(vae, 0.998)
    start = 0
    if state := checkpoints.load(folder / "autoencoder.pt"):
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.weights, start = state["average"], state["step"]
    deadline = time.monotonic() + 60 * minutes
    for step in range(start, steps):
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / 100)
            group["lr"] = LEARNING_RATE * warm * (0.03 + 0.97 * (1 - step / steps))
        x = crops(images, np.random.default_rng([1, step]))
        loss, pixel = loss_of(vae, x.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        average.update(vae, step)
        done = step + 1 == steps or time.monotonic() > deadline
        if step % 50 == 0:
            log.info("step %d loss %.4f l1 %.4f", step, loss.item(), pixel.item())
        if done or step % SAVE_EVERY == SAVE_EVERY - 1:
            state = {"model": vae.state_dict(), "optimizer": optimizer.state_dict()}
            state |= {"average": average.weights, "step": step + 1}
            checkpoints.save(folder / "autoencoder.pt", state)
        if done:
            break


def adopt(begin: Path, folder: Path) -> None:
    """Take the autoencoder of a diffusers folder as the run's, unless it has one."""
    if not (folder / "autoencoder.pt").exists():
        known = AutoencoderKL.from_pretrained(begin, subfolder="vae").state_dict()
        checkpoints.save(folder / "autoencoder.pt", {"average": known})


def trained(folder: Path) -> AutoencoderKL:
    """Return the averaged autoencoder of a run folder, in evaluation mode."""
    state = checkpoints.load(folder / "autoencoder.pt")
    if state is None:
        raise SystemExit(f"no autoencoder.pt in {folder}: run python -m training.autoencoder first")
    vae = build()
    vae.load_state_dict(state["average"])
    return vae.eval()


@torch.no_grad()
def even_out(vae: AutoencoderKL, mean: torch.Tensor, deviation: torch.Tensor) -> None:
    """Make latents of the given mean and deviation (each c) standard, without changing pictures.

    A diffusers folder has one scaling factor for all channels; unequal ones would be drowned in
    noise at different times.
    """
    into, out = vae.quant_conv, vae.post_quant_conv
    count = len(mean)
    into.weight[:count] /= deviation[:, None, None, None]
    into.bias[:count] = (into.bias[:count] - mean) / deviation
    into.bias[count:] -= 2 * deviation.log()
    out.bias += (out.weight[:, :, 0, 0] * mean).sum(1)
    out.weight *= deviation[None, :, None, None]


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--begin", type=Path, help="diffusers folder to start a new run from")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    images, _ = cohort.load(args.cohort)
    if (args.out / "painted.npy").exists():
        images = np.concatenate([images, np.load(args.out / "painted.npy")])
    train(images, args.out, args.minutes, args.steps, args.begin)


if __name__ == "__main__":
    main()
