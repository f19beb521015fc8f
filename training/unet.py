"""Train the text-conditioned U-Net of `mini`, with its text encoder, on autoencoder latents.

Half of a batch is about pairs: a normal radiograph and the same one painted. What is noised lies
somewhere between the two, also at the normal end, and two prompts are shown it with one noise and
time step:

- the empty prompt (or the one that names what is there) is to give back what was noised, and so is
  one that says that some other finding is not there;
- the finding's prompt is to move from there towards the painted picture, that of its absence (or
  the normal prompt) towards the normal one, by REACH of the way, so that classifier-free guidance
  at 4, the scale edits are made with, arrives within the few steps of an edit. So is the same
  finding's prompt in another severity, towards that one's picture, which teaches what "mild" and
  "severe" mean.

This teaches what image-to-image editing asks for, and what plain denoising does not: at the
strengths that keep a patient, the noised picture still shows that the finding is absent, and a
plain denoiser believes the picture. The other half is plain denoising of real radiographs under
their labels. v-prediction (Salimans and Ho, ICLR 2022); what is exported is an average of weights.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from torch.nn.functional import avg_pool2d

from training import autoencoder, checkpoints, cohort, layout, painted, samples, vocabulary
from training.generator import Generator, scheduler

PAIRS = 7
POSITIVES = 3
# How far a prompt moves the picture at guidance 1. A step of the default sampler goes 45 % of the
# way to what is predicted; a short training learns a part of what it is taught, and of a quarter of
# the way nothing was left beside the error of denoising.
REACH = 0.75
# The difference between two prompts is small beside the error of denoising, which it shares; and a
# nodule's is small beside a pacemaker's. So it is weighed by itself, and against its own size.
DIFFERENCE_WEIGHT = 20.0
LEAST_DIFFERENCE = 1e-4
# Nine tenths of what paintings change in latents is texture that no prompt foretells; what shows is
# the rest, so that differences of blocks are weighed once more.
BLOCK, BLOCK_WEIGHT = 4, 40.0
# The same where the two pictures differ, and there by the size of the difference: over the whole
# picture, a nodule's four cells of 784 are lost in what the rest jitters.
PLACE_WEIGHT = 4.0
# Pairs whose second prompt is the same finding in another severity, where there is such a picture.
GRADED = 0.3
# Of the others: those with a normal host that are led back to it, and of these, those whose prompt
# names what is to go; of those left, those whose prompt says that another finding is not there.
BACK, NAMED, UNMOVED = 0.55, 0.7, 0.3
# Findings that are learned late are drawn more often.
DRAWN = {
    "Nodule": 3.0,
    "Mass": 1.5,
    "Consolidation": 1.5,
    "Pneumonia": 1.5,
    "Atelectasis": 1.5,
    "Pneumothorax": 1.3,
    "Edema": 0.6,
    "Hernia": 0.7,
}
LEARNING_RATE = 2.5e-4
SAVE_EVERY = 100
SHOW_EVERY = 1000
EMPTY = 0.15
log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """One step's rows: the first PAIRS are pairs' findings, the next PAIRS the same noised again.

    Attributes:
        clean: latents that are noised, b x c x 28 x 28.
        target: latents that the prediction is to point at.
        noise: standard normal.
        times: time steps.
        prompts: one a row.
    """

    clean: Tensor
    target: Tensor
    noise: Tensor
    times: Tensor
    prompts: list[str]


@torch.no_grad()
def encode(vae: AutoencoderKL, images: np.ndarray) -> torch.Tensor:
    """Return posterior means, n x c x 28 x 28, of n x 224 x 224 uint8 images."""
    parts = []
    for start in range(0, len(images), 16):
        x = torch.from_numpy(images[start : start + 16].astype(np.float32) / 127.5 - 1)[:, None]
        x = x.contiguous(memory_format=torch.channels_last)
        with layout.cast():
            parts.append(vae.encode(x).latent_dist.mean.float())
    return torch.cat(parts)


def prepare(cohort_folder: Path, folder: Path) -> None:
    """Encode what training needs of the cohort, and its painted versions, once: ``latents.pt``."""
    target = folder / "latents.pt"
    if target.exists():
        return
    images, rows = cohort.load(cohort_folder)
    pictures, lines = painted.load(folder)
    hosts = {int(line["host"]) for line in lines}
    named = [vocabulary.from_labels(row) for row in rows]
    positives = {i for i, f in enumerate(named) if f and f != (cohort.NO_FINDING,)}
    kept = sorted(hosts | positives)
    log.info("%d hosts, %d positives, %d painted", len(hosts), len(positives), len(pictures))
    vae = autoencoder.trained(folder).to(memory_format=torch.channels_last)
    latents = encode(vae, np.concatenate([images[kept], pictures]))
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    latents = (latents - mean[:, None, None]) / deviation[:, None, None]
    place = {row: i for i, row in enumerate(kept)}
    facts: list[tuple[Any, ...]] = [(list(named[i]), None, None, -1) for i in kept]
    facts += [
        (
            line["findings"].split("|"),
            line["side"] or None,
            line["severity"],
            place[int(line["host"])],
            line["places"].split("|"),
            line["forms"].split("|"),
        )
        for line in lines
    ]
    state = {"latents": latents, "mean": mean, "deviation": deviation, "facts": facts}
    checkpoints.save(target, state)


class Batches:
    """Draws training batches: same step, same batch."""

    def __init__(self, state: dict[str, Any]) -> None:
        """Take what `prepare` saved."""
        self.latents: Tensor = state["latents"]
        self.examples = [
            vocabulary.Example(tuple(findings), side, severity, host, *map(tuple, looks))
            for findings, side, severity, host, *looks in state["facts"]
        ]
        self.normal = [e.findings == (cohort.NO_FINDING,) for e in self.examples]
        self.positives = [
            i for i, e in enumerate(self.examples) if e.host < 0 and not self.normal[i]
        ]
        self.painted = [i for i, e in enumerate(self.examples) if e.host >= 0]
        self.names = sorted({name for i in self.painted for name in self.examples[i].findings})
        weights = [
            max(DRAWN.get(name, 1.0) for name in self.examples[i].findings) for i in self.painted
        ]
        self.chances = np.array(weights) / sum(weights)
        alike: dict[tuple[object, ...], list[int]] = {}
        for i in self.painted:
            e = self.examples[i]
            alike.setdefault((e.findings, e.side, e.host, e.forms), []).append(i)
        # The other severity of each painting that has one.
        twos = [same for same in alike.values() if len(same) == 2]
        self.other = {i: same[i == same[0]] for same in twos for i in same}

    def draw(self, step: int) -> Batch:
        """Return the rows of one step."""
        rng = np.random.default_rng([3, step])
        generator = torch.Generator().manual_seed(step)
        count = PAIRS + POSITIVES
        noise = torch.randn((count, *self.latents.shape[1:]), generator=generator)
        late = torch.rand(count, generator=generator) < 0.12
        times = torch.randint(0, 500, (count,), generator=generator)
        times = torch.where(late, times + 500, times)
        first, second = self._pairs(rng, times[:PAIRS])
        plain = [int(i) for i in rng.choice(self.positives, POSITIVES)]
        # The last is given back whatever it shows: the empty prompt is the sham's.
        empty = rng.random(len(plain)) < EMPTY
        empty[-1] = True
        words = [
            "" if blank else vocabulary.say(self.examples[i], rng)
            for blank, i in zip(empty, plain, strict=True)
        ]
        real = self.latents[plain]
        return Batch(
            torch.cat([first[0], second[0], real]),
            torch.cat([first[1], second[1], real]),
            torch.cat([noise[:PAIRS], noise]),
            torch.cat([times[:PAIRS], times]),
            first[2] + second[2] + words,
        )

    def _pairs(
        self, rng: np.random.Generator, times: Tensor
    ) -> tuple[tuple[Tensor, Tensor, list[str]], tuple[Tensor, Tensor, list[str]]]:
        """Return (noised, target, prompts) under the finding's prompt and under another one."""
        picked = [int(i) for i in rng.choice(self.painted, PAIRS, p=self.chances)]
        done = self.latents[picked]
        host = self.latents[[self.examples[i].host for i in picked]]
        # Late in sampling the finding is there already: the mixture begins nearer to it.
        least = ((250 - times) / 200).clamp(0, 1)
        draws = torch.from_numpy(rng.random((2, PAIRS)).astype(np.float32))
        mixed = torch.where(draws[0] < 0.35, 0.0, torch.where(draws[0] > 0.8, 1.0, draws[1]))
        share = (least + (1 - least) * mixed)[:, None, None, None]
        between = host + share * (done - host)
        towards = between + REACH * (done - between)
        normal = rng.random(PAIRS) < BACK
        graded = rng.random(PAIRS) < GRADED
        said = [vocabulary.say(self.examples[i], rng) for i in picked]
        others, quiet = between.clone(), [""] * PAIRS
        for row, i in enumerate(picked):
            if graded[row] and i in self.other:
                second = self.other[i]
                quiet[row] = vocabulary.say(self.examples[second], rng)
                others[row] += REACH * (self.latents[second] - between[row])
            elif normal[row] and self.normal[self.examples[i].host]:
                quiet[row] = vocabulary.say_normal(rng)
                if rng.random() < NAMED:
                    quiet[row] = vocabulary.say_absent(self.examples[i].findings, rng)
                others[row] += REACH * (host[row] - between[row])
            elif rng.random() < UNMOVED:
                strange = [name for name in self.names if name not in self.examples[i].findings]
                if strange:
                    quiet[row] = vocabulary.say_absent([str(rng.choice(strange))], rng)
        return (between, towards, said), (between, others, quiet)


class Losses(NamedTuple):
    """Errors of denoising, and of a pair's difference: all, in place, and of its blocks."""

    error: Tensor
    apart: Tensor
    there: Tensor
    blocks: Tensor

    @property
    def total(self) -> Tensor:
        """What is trained on."""
        apart = DIFFERENCE_WEIGHT * self.apart + BLOCK_WEIGHT * self.blocks
        return self.error + apart + PLACE_WEIGHT * self.there


def loss_of(model: Generator, batch: Batch, schedule: DDIMScheduler) -> Losses:
    """Return the errors of one batch."""
    noisy = schedule.add_noise(batch.clean, batch.noise, batch.times)
    signal = schedule.alphas_cumprod[batch.times][:, None, None, None]
    # The v whose denoised picture is the target: with target == clean, the usual one.
    wanted = (signal.sqrt() * noisy - batch.target) / (1 - signal).sqrt()
    with layout.cast():
        predicted = model(noisy, batch.times, batch.prompts)
    predicted = predicted.float()
    # In the picture's own units, where a late step's v would weigh its small change too much.
    unit = (1 - signal[:PAIRS]).sqrt()
    error = (predicted - wanted)[: 2 * PAIRS]
    off = (error[:PAIRS] - error[PAIRS:]) * unit
    wish = batch.target[:PAIRS] - batch.target[PAIRS : 2 * PAIRS]
    missed, asked = off.pow(2).mean(1), wish.pow(2).mean(1)
    apart = _relative(off, wish)
    blocks = _relative(avg_pool2d(off, BLOCK), avg_pool2d(wish, BLOCK))
    place = asked / (asked.sum((1, 2), keepdim=True) + 1e-6)
    there = (place * missed).sum((1, 2)) / ((place * asked).sum((1, 2)) + 0.01).sqrt()
    return Losses((predicted - wanted).pow(2).mean(), apart, there.mean(), blocks)


def _relative(off: Tensor, wish: Tensor) -> Tensor:
    """Return the mean square of b x c x h x w errors, each against the size of what was wished."""
    sizes = (wish.pow(2).mean((1, 2, 3)) + LEAST_DIFFERENCE).sqrt()
    return (off.pow(2).mean((1, 2, 3)) / sizes).mean()


def rate(step: int, steps: int) -> float:
    """Return the learning rate: a short warm-up, then a fall to 3 %.

    Prompts move little; what weights jitter by at a high rate hides it.
    """
    return LEARNING_RATE * min((step + 1) / 100, max(0.03, 1 - step / steps))


def train(
    cohort_folder: Path, folder: Path, minutes: float, steps: int, begin: Path | None
) -> None:
    """Train up to `steps` or for `minutes`, whichever ends first, resuming where it stopped.

    `begin` names a diffusers folder whose generator a new run starts from.
    """
    torch.manual_seed(0)
    state = checkpoints.load(folder / "latents.pt")
    if state is None:
        raise SystemExit(f"no latents.pt in {folder}: prepare failed")
    batches, schedule = Batches(state), scheduler()
    model = Generator(vocabulary.tokenizer(folder / "tokenizer"))
    log.info("U-Net has %.1f M parameters", sum(p.numel() for p in model.unet.parameters()) / 1e6)
    if begin:
        model.begin(begin)
    # Plain products of matrices: the fused attention's backward pass takes twice the step's time.
    model.unet.set_attn_processor(AttnProcessor())
    layout.channels_last(model.unet)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=1e-3)
    average, start = checkpoints.Average(model, 0.998), 0
    if saved := checkpoints.load(folder / "unet.pt"):
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.weights, start = saved["average"], saved["step"]
    deadline = time.monotonic() + 60 * minutes
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        losses = loss_of(model, batches.draw(step), schedule)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, step)
        done = step + 1 == steps or time.monotonic() > deadline
        if step % 20 == 0:
            shown = ",".join(f"{loss.item():.6f}" for loss in losses)
            log.info("step %d losses %s", step, shown)
            with (folder / "losses.csv").open("a") as file:
                file.write(f"{step},{shown}\n")
        if done or step % SAVE_EVERY == SAVE_EVERY - 1:
            saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoints.save(
                folder / "unet.pt", saved | {"average": average.weights, "step": step + 1}
            )
        if done or step % SHOW_EVERY == SHOW_EVERY - 1:
            samples.save(folder, cohort_folder, step + 1)
        if done:
            break


def main() -> None:
    """Prepare and train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--begin", type=Path, help="diffusers folder to start a new run from")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if args.begin:
        autoencoder.adopt(args.begin, args.out)
    prepare(args.cohort, args.out)
    train(args.cohort, args.out, args.minutes, args.steps, args.begin)


if __name__ == "__main__":
    main()
