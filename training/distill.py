"""Distil guidance, and then pairs of steps, into a U-Net that takes the guidance scale.

The student starts as the teacher, a diffusers folder such as ``training.export`` writes (the
bundled one unless ``--teacher`` names another), and sees what edits see: radiographs of a cohort,
and what ``training.painted`` made of them in RUN.
Without ``--few`` it learns to give in one pass what the teacher gives with two, at any time and
scale (Meng et al., CVPR 2023). With ``--few N`` it learns to take, in each step of a schedule of N,
the way that the teacher takes in two (Salimans and Ho, ICLR 2022), on its own path: what is noised
is the baseline, what it has made of it by then is where the teacher takes over. The text encoder is
the teacher's.

``python -m training.distill --cohort DIR --run RUN --out OUT --minutes 30`` resumes where it
stopped; ``--begin OUT`` starts from another student, ``--export FOLDER`` writes what OUT holds.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from transformers import CLIPTokenizer

from roentmod.editors import BUNDLED, sampling, transplant
from roentmod.editors.engines import Engine, make_engine
from roentmod.store import write_json
from training import autoencoder, checkpoints, generator, layout, unet, vocabulary

# Sinusoids of the scale.
WIDTH = 64
# Guidance scales that are drawn, evenly in their logarithm: mild edits take 1, severe ones 4.
SCALES = (1.0, 12.0)
# Rows of a sixth of the change weigh as much as they would by their error alone.
LEAST_CHANGE = 1e-3
# Strength of most edits, and how often its steps and times are drawn; the others are of any.
STRENGTH, USUAL = 0.4, 0.8
LEARNING_RATE = 2e-4
SAVE_EVERY = 100
# Of the rows of a batch of `training.unet`: what a teacher says has no noise to be averaged out.
ROWS = 12
NAME = "student.pt"
log = logging.getLogger(__name__)


class Teacher(NamedTuple):
    """A frozen generator, its schedule, and how it is guided.

    Its U-Net runs in the engine that edits run in, on a CPU in a third of torch's time.
    """

    model: generator.Generator
    schedule: DDIMScheduler
    engine: Engine

    @torch.no_grad()
    def states(self, prompts: list[str]) -> Tensor:
        """Return the text states of prompts, n x tokens x width."""
        states: Tensor = self.model.text(
            vocabulary.tokens(self.model.tokenizer, prompts)
        ).last_hidden_state
        return states

    @torch.no_grad()
    def guided(
        self, noisy: Tensor, time: Tensor, states: Tensor, scales: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return v guided away from the empty prompt, and v unguided, n x c x h x w each."""
        away = self.states([""]).expand_as(states)
        both = torch.cat([away, states])
        empty, plain = self.engine.unet(torch.cat([noisy, noisy]), time, both).float().chunk(2)
        return empty + column(scales) * (plain - empty), plain

    def ahead(self, noisy: Tensor, start: int, end: int, states: Tensor, scales: Tensor) -> Tensor:
        """Return the latents at time `end` of those at `start`: one step of DPM-Solver++(2S).

        Two guided predictions, at the start and half-way in log signal-to-noise ratio (Lu et al.,
        2022, algorithm 1).
        """
        signal, noise, level = self.levels()

        def clean(x: Tensor, at: int) -> Tensor:
            return signal[at] * x - noise[at] * self.guided(x, torch.tensor(at), states, scales)[0]

        def step(picture: Tensor, to: int) -> Tensor:
            gone = torch.exp(level[start] - level[to])
            return noise[to] / noise[start] * noisy + signal[to] * (1 - gone) * picture

        first = clean(noisy, start)
        half = int((level - (level[start] + level[end]) / 2).abs().argmin())
        if not end < half < start:
            return step(first, end)
        second = clean(step(first, half), half)
        ratio = (level[half] - level[start]) / (level[end] - level[start])
        return step(first + (second - first) / (2 * ratio), end)

    def levels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return signal, noise, and half the log signal-to-noise ratio, of each time."""
        alphas = self.schedule.alphas_cumprod
        signal, noise = alphas.sqrt(), (1 - alphas).sqrt()
        return signal, noise, torch.log(signal / noise)


def column(values: Tensor) -> Tensor:
    """Return values of rows, n, as they multiply latents."""
    return values[:, None, None, None]


def student_of(teacher: UNet2DConditionModel) -> UNet2DConditionModel:
    """Return a U-Net that takes the guidance scale and, at first, does not heed it."""
    student = UNet2DConditionModel.from_config(dict(teacher.config), time_cond_proj_dim=WIDTH)
    student.load_state_dict(teacher.state_dict(), strict=False)
    torch.nn.init.zeros_(student.time_embedding.cond_proj.weight)
    return student


def ask(
    student: UNet2DConditionModel, noisy: Tensor, times: Tensor, states: Tensor, scales: Tensor
) -> Tensor:
    """Return the student's v, n x c x h x w."""
    guided = sampling.embedding(scales, WIDTH)
    with layout.cast():
        predicted: Tensor = student(noisy, times, states, timestep_cond=guided).sample
    return predicted.float()


def drawn_scales(step: int, count: int) -> Tensor:
    """Return the guidance scales of a step's rows."""
    low, high = np.log(SCALES)
    draws = np.random.default_rng([5, step]).uniform(low, high, count)
    return torch.from_numpy(np.exp(draws).astype(np.float32))


def guidance_loss(
    student: UNet2DConditionModel, teacher: Teacher, batch: unet.Batch, scales: Tensor
) -> Tensor:
    """Return the error of one pass, in the picture's units, by what guidance does there.

    The rows have one time.
    """
    noisy = teacher.schedule.add_noise(batch.clean, batch.noise, batch.times)
    states = teacher.states(batch.prompts)
    wanted, plain = teacher.guided(noisy, batch.times[0], states, scales)
    unit = column(1 - teacher.schedule.alphas_cumprod[batch.times]).sqrt()
    got = ask(student, noisy, batch.times, states, scales)
    missed, moved = (((one - wanted) * unit).pow(2).mean((1, 2, 3)) for one in (got, plain))
    return (missed / (moved + LEAST_CHANGE).sqrt()).mean()


def part_of(batch: unet.Batch, step: int) -> unet.Batch:
    """Return the rows of a batch that a step learns from, at one time of an edit's way."""
    rng = np.random.default_rng([9, step])
    rows = rng.permutation(len(batch.prompts))[:ROWS]
    time = rng.integers(round(1000 * STRENGTH) if rng.random() < USUAL else 1000)
    clean, target, noise = (one[torch.from_numpy(rows)] for one in batch[:3])
    times = torch.full((len(rows),), int(time))
    return unet.Batch(clean, target, noise, times, [batch.prompts[i] for i in rows])


def plan_of(step: int, few: int) -> tuple[sampling.Schedule, int]:
    """Return the schedule of an edit and which of its steps is trained, for a training step."""
    rng = np.random.default_rng([7, step])
    most = rng.random() < USUAL
    effective = max(1, int(few * STRENGTH)) if most else int(rng.integers(1, few + 1))
    plan = sampling.Schedule("dpmsolver++-logsnr", few, effective)
    return plan, int(rng.integers(effective))


def step_loss(
    student: UNet2DConditionModel,
    teacher: Teacher,
    batch: unet.Batch,
    scales: Tensor,
    plan: tuple[sampling.Schedule, int],
) -> Tensor:
    """Return the error of one step of the student against two of the teacher's, from one place."""
    made, times = sampling.build(plan[0], dict(teacher.schedule.config))
    states, rows = teacher.states(batch.prompts), torch.ones(len(scales), dtype=torch.long)
    noisy = made.add_noise(batch.clean, batch.noise, times[:1].repeat(len(scales)))
    for at in times[: plan[1]]:
        with torch.no_grad():
            predicted = ask(student, noisy, at * rows, states, scales)
        noisy = made.step(predicted, at, noisy, return_dict=False)[0]
    at, until = times[plan[1]], [*times.tolist(), 0][plan[1] + 1]
    wanted = teacher.ahead(noisy, int(at), until, states, scales)
    predicted = ask(student, noisy, at * rows, states, scales)
    got: Tensor = made.step(predicted, at, noisy, return_dict=False)[0]
    return (got - wanted).pow(2).mean()


def teacher_of(folder: Path) -> Teacher:
    """Return the generator of a diffusers folder, frozen."""
    model = generator.Generator(CLIPTokenizer.from_pretrained(folder / "tokenizer"))
    model.begin(folder)
    parts = transplant(None, folder)
    return Teacher(model.requires_grad_(False), generator.scheduler(), make_engine("auto", parts))


def latents_of(folder: Path, cohort_folder: Path, run: Path) -> dict[str, Any]:
    """Return what `unet.Batches` draws from, in the units of a teacher's own latents.

    Raises:
        SystemExit: if the latents in `run` are another autoencoder's.
    """
    known = AutoencoderKL.from_pretrained(folder, subfolder="vae").state_dict()
    autoencoder.adopt(folder, run)
    kept = autoencoder.trained(run).state_dict()
    if any(not torch.equal(kept[name], weights) for name, weights in known.items()):
        raise SystemExit(
            f"{run} holds latents of another autoencoder than {folder}'s: name another"
        )
    unet.prepare(cohort_folder, run)
    state = checkpoints.load(run / "latents.pt")
    assert state is not None
    deviation, mean = (state[name][:, None, None] for name in ("deviation", "mean"))
    return state | {"latents": state["latents"] * deviation + mean}


def begun(teacher: Teacher, begin: Path | None) -> UNet2DConditionModel:
    """Return the student to start with: the teacher, or the average that `begin` holds."""
    student = student_of(teacher.model.unet)
    if begin:
        saved = checkpoints.load(begin / NAME)
        if saved is None:
            raise SystemExit(f"no {NAME} in {begin}: distil guidance first")
        student.load_state_dict(saved["average"])
    return student


def train(args: argparse.Namespace) -> None:
    """Train up to ``steps`` or for ``minutes``, whichever ends first, resuming where it stopped."""
    torch.manual_seed(0)
    teacher = teacher_of(args.teacher)
    batches = unet.Batches(latents_of(args.teacher, args.cohort, args.run))
    student = layout.channels_last(begun(teacher, args.begin))
    # As in `training.unet`.
    student.set_attn_processor(AttnProcessor())
    optimizer = torch.optim.AdamW(student.parameters(), LEARNING_RATE, weight_decay=1e-3)
    average, start = checkpoints.Average(student, 0.99), 0
    if saved := checkpoints.load(args.out / NAME):
        student.load_state_dict(saved["student"])
        optimizer.load_state_dict(saved["optimizer"])
        average.weights, start = saved["average"], saved["step"]
    deadline = time.monotonic() + 60 * args.minutes
    for step in range(start, args.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, args.steps)
        batch = part_of(batches.draw(step), step)
        scales = drawn_scales(step, len(batch.prompts))
        if args.few:
            loss = step_loss(student, teacher, batch, scales, plan_of(step, args.few))
        else:
            loss = guidance_loss(student, teacher, batch, scales)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        average.update(student, step)
        done = step + 1 == args.steps or time.monotonic() > deadline
        if step % 20 == 0:
            log.info("step %d loss %.6f", step, loss.item())
            with (args.out / "losses.csv").open("a") as file:
                file.write(f"{step},{loss.item():.6f}\n")
        if done or step % SAVE_EVERY == SAVE_EVERY - 1:
            kept = {"student": student.state_dict(), "optimizer": optimizer.state_dict()}
            kept |= {"average": average.weights, "step": step + 1}
            checkpoints.save(args.out / NAME, kept)
        if done:
            break


def rate(step: int, steps: int) -> float:
    """Return the learning rate: a short warm-up, then a fall to 3 %."""
    return LEARNING_RATE * min((step + 1) / 50, max(0.03, 1 - step / steps))


def export(folder: Path, out: Path, few: int | None, target: Path) -> None:
    """Write the student into `target`, beside the other parts of the teacher in `folder`.

    What lies there already stays, but for the U-Net, the profile's range of guidance and, with
    `few`, its steps.
    """
    if not (target / "profile.json").exists():
        shutil.copytree(folder, target, dirs_exist_ok=True)
    student = begun(teacher_of(folder), out).to(torch.float16)
    student.save_pretrained(target / "unet", safe_serialization=True)
    path = target / "profile.json"
    profile: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    taught = {"guidance_range": list(SCALES)} | ({"steps": few} if few else {})
    write_json(path, profile | taught)


def main() -> None:
    """Distil, or export, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, default=BUNDLED["mini"], help="diffusers folder")
    parser.add_argument("--cohort", type=Path, help="of training.cohort: to train")
    parser.add_argument("--run", type=Path, help="of training.painted: to train")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--begin", type=Path, help="OUT of the student to start from")
    parser.add_argument("--few", type=int, help="num_inference_steps to be made do with")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--export", type=Path, help="folder to write OUT's student to")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.export:
        export(args.teacher, args.out, args.few, args.export)
    elif args.cohort and args.run:
        train(args)
    else:
        parser.error("training needs --cohort and --run")


if __name__ == "__main__":
    main()
