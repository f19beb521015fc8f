"""Train the text-conditioned U-Net of `mini`, with its text encoder, on autoencoder latents.

Each batch holds pairs: a normal radiograph and the same one painted, sharing noise and time step,
so that the gradient is about the finding; beside them real positives under their labels. Prompts
vary in wording, side and severity, and one in eight is empty, which classifier-free guidance needs.
v-prediction (Salimans and Ho, ICLR 2022); an average of the weights is what is exported.
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training import autoencoder, checkpoints, cohort, painted, vocabulary

PAIRS = 7
POSITIVES = 4
LEARNING_RATE = 4e-4
SAVE_EVERY = 100
EMPTY = 0.125
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Example:
    """One picture's prompt ingredients; `pair` is the row of the unpainted original, or -1."""

    findings: tuple[str, ...]
    side: str | None
    severity: str | None
    pair: int


def scheduler() -> DDIMScheduler:
    """Return the noise schedule `mini` is trained on (Stable Diffusion's, with v-prediction)."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def build_unet() -> UNet2DConditionModel:
    """Return the untrained U-Net."""
    return UNet2DConditionModel(
        sample_size=28,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        cross_attention_dim=vocabulary.WIDTH,
        attention_head_dim=32,
        norm_num_groups=16,
    )


def build_text(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return the untrained text encoder for `tokenizer`."""
    end = tokenizer.eos_token_id
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=vocabulary.WIDTH,
        intermediate_size=4 * vocabulary.WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=vocabulary.LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
        pad_token_id=end,
    )
    return CLIPTextModel(config)


@torch.no_grad()
def encode(vae: AutoencoderKL, images: np.ndarray) -> torch.Tensor:
    """Return posterior means, n x 4 x 28 x 28, of n x 224 x 224 uint8 images."""
    parts = []
    for start in range(0, len(images), 16):
        x = torch.from_numpy(images[start : start + 16].astype(np.float32) / 127.5 - 1)[:, None]
        parts.append(vae.encode(x).latent_dist.mean)
    return torch.cat(parts)


def paint_all(
    images: np.ndarray, rows: list[dict[str, str]], limit: int
) -> tuple[list[np.ndarray], list[Example]]:
    """Paint up to `limit` normals twice each; originals stay in front with no pair."""
    pictures: list[np.ndarray] = []
    examples: list[Example] = []
    rng = np.random.default_rng(2)
    for index, row in enumerate(rows):
        if len(pictures) >= limit:
            break
        normal = row["labels"] == cohort.NO_FINDING or row["trusted"] == "0"
        lungs = painted.find_lungs(images[index]) if normal else None
        if lungs is None:
            continue
        for name in rng.choice(painted.PAINTABLE, 2, replace=False):
            side = str(rng.choice(["left", "right", "both"])) if name in painted.SIDED else None
            severity = str(rng.choice(list(painted.SEVERITY)))
            pictures.append(painted.paint(images[index], lungs, str(name), side, severity, rng))
            examples.append(Example((str(name),), side, severity, index))
    return pictures, examples


def prepare(cohort_folder: Path, folder: Path, limit: int) -> None:
    """Encode the cohort and its painted versions once, to ``latents.pt``."""
    target = folder / "latents.pt"
    if target.exists():
        return
    images, rows = cohort.load(cohort_folder)
    vae = autoencoder.trained(folder)
    pictures, painted_examples = paint_all(images, rows, limit)
    log.info("%d real, %d painted", len(images), len(pictures))
    latents = encode(vae, np.concatenate([images, np.stack(pictures)]))
    examples = [Example(vocabulary.from_labels(row), None, None, -1) for row in rows]
    examples += painted_examples
    facts = [(list(e.findings), e.side, e.severity, e.pair) for e in examples]
    factor = float(1 / latents.std())
    state = {"latents": latents * factor, "scaling_factor": factor, "facts": facts}
    checkpoints.save(target, state)


class Batches:
    """Draws training batches: same step, same batch."""

    def __init__(self, state: dict[str, object]) -> None:
        """Take what `prepare` saved."""
        self.latents: torch.Tensor = state["latents"]  # type: ignore[assignment]
        facts: list[tuple[list[str], str | None, str | None, int]] = state["facts"]  # type: ignore[assignment]
        self.examples = [Example(tuple(f), side, severity, p) for f, side, severity, p in facts]
        self.painted = [i for i, e in enumerate(self.examples) if e.pair >= 0]
        real = [i for i, e in enumerate(self.examples) if e.pair < 0 and e.findings]
        self.positives = [i for i in real if self.examples[i].findings != (cohort.NO_FINDING,)]

    def draw(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str]]:
        """Return clean latents, noise, time steps and prompts of one step."""
        rng = np.random.default_rng([3, step])
        generator = torch.Generator().manual_seed(step)
        left = [self.painted[i] for i in rng.integers(0, len(self.painted), PAIRS)]
        right = [self.examples[i].pair for i in left]
        real = [self.positives[i] for i in rng.integers(0, len(self.positives), POSITIVES)]
        clean = self.latents[left + right + real]
        noise = torch.randn((PAIRS + POSITIVES, *clean.shape[1:]), generator=generator)
        late = torch.rand(PAIRS + POSITIVES, generator=generator) < 0.25
        times = torch.randint(0, 500, (PAIRS + POSITIVES,), generator=generator)
        times = torch.where(late, times + 500, times)
        noise = torch.cat([noise[:PAIRS], noise])
        times = torch.cat([times[:PAIRS], times])
        empty = rng.random(PAIRS + POSITIVES) < EMPTY
        prompts = [vocabulary.say(self.examples[i], rng) for i in left]
        prompts += [vocabulary.say_normal(rng) for _ in right]
        prompts += [vocabulary.say(self.examples[i], rng) for i in real]
        empty = np.concatenate([empty[:PAIRS], empty])
        return clean, noise, times, ["" if e else p for e, p in zip(empty, prompts, strict=True)]


class Generator(torch.nn.Module):
    """U-Net and text encoder, trained together."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        """Build both, untrained."""
        super().__init__()
        self.tokenizer = tokenizer
        self.unet = build_unet()
        self.text = build_text(tokenizer)

    def forward(self, noisy: torch.Tensor, times: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        """Return the predicted v, b x 4 x 28 x 28."""
        ids = vocabulary.tokens(self.tokenizer, prompts)
        states = self.text(ids).last_hidden_state
        predicted: torch.Tensor = self.unet(noisy, times, states).sample
        return predicted


def train(folder: Path, minutes: float, steps: int) -> None:
    """Train up to `steps` or for `minutes`, whichever ends first, resuming where it stopped."""
    torch.manual_seed(0)
    state = checkpoints.load(folder / "latents.pt")
    if state is None:
        raise SystemExit(f"no latents.pt in {folder}: prepare failed")
    batches, noise_schedule = Batches(state), scheduler()
    model = Generator(vocabulary.tokenizer(folder / "tokenizer"))
    log.info("U-Net has %.1f M parameters", sum(p.numel() for p in model.unet.parameters()) / 1e6)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=1e-3)
    average, start = checkpoints.Average(model, 0.998), 0
    if saved := checkpoints.load(folder / "unet.pt"):
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.weights, start = saved["average"], saved["step"]
    deadline = time.monotonic() + 60 * minutes
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 200)
        clean, noise, times, prompts = batches.draw(step)
        noisy = noise_schedule.add_noise(clean, noise, times)
        wanted = noise_schedule.get_velocity(clean, noise, times)
        loss = torch.nn.functional.mse_loss(model(noisy, times, prompts), wanted)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        done = step + 1 == steps or time.monotonic() > deadline
        if step % 20 == 0:
            log.info("step %d loss %.4f", step, loss.item())
        if done or step % SAVE_EVERY == SAVE_EVERY - 1:
            saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoints.save(
                folder / "unet.pt", saved | {"average": average.weights, "step": step + 1}
            )
        if done:
            break


def main() -> None:
    """Prepare and train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--painted", type=int, default=5000)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    prepare(args.cohort, args.out, args.painted)
    train(args.out, args.minutes, args.steps)


if __name__ == "__main__":
    main()
