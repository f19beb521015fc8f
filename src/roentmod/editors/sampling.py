"""Noise, time steps and the denoising loop, as in Stable Diffusion's image-to-image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, PNDMScheduler
from torch import Tensor

from roentmod.edits import Scheduler
from roentmod.errors import NoEffectiveStepsError

__all__ = ["Plan", "denoise", "draw", "make_plan"]

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Plan:
    """The part of a noise schedule that an edit runs through.

    Attributes:
        scheduler: which sampler.
        num_inference_steps: steps of the whole schedule.
        effective_steps: steps that strength leaves.
    """

    scheduler: Scheduler
    num_inference_steps: int
    effective_steps: int

    @property
    def effective_strength(self) -> float:
        """The strength that was really applied."""
        return self.effective_steps / self.num_inference_steps


def make_plan(scheduler: Scheduler, num_inference_steps: int, strength: float) -> Plan:
    """Return the plan; diffusers' rule: ``min(int(N * strength), N)`` steps.

    Raises:
        NoEffectiveStepsError: no step is left.
    """
    steps = min(int(num_inference_steps * strength), num_inference_steps)
    if steps < 1:
        raise NoEffectiveStepsError(
            f"int(steps x strength) must be at least 1; got int({num_inference_steps} x "
            f"{strength:g}) = 0. Raise strength or steps."
        )
    return Plan(scheduler, num_inference_steps, steps)


def draw(key: str, seed: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return two standard normal tensors of `shape`: for the posterior, then for the noise.

    One stream a (baseline, seed), in diffusers' order, so that a result depends on neither its
    neighbours in the batch nor their order, and all edits of a baseline share their noise.
    """
    digest = hashlib.sha256(f"{key}/{seed}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def build(
    plan: Plan, schedule: dict[str, Any], device: torch.device | None = None
) -> tuple[Any, Tensor]:
    """Return a fresh diffusers scheduler and the time steps of the plan.

    ``ddim``, ``pndm`` and ``dpmsolver++`` take the last steps of the whole schedule, as diffusers
    does. ``dpmsolver++-logsnr`` spaces its steps evenly in log signal-to-noise ratio from the
    strength's own noise level down to the least (Lu et al., NeurIPS 2022, section 3.4): with few
    steps that is several times nearer to the limit of many (``make bench``).
    """
    if plan.scheduler == "dpmsolver++-logsnr":
        made = _multistep(schedule, final_sigmas_type="sigma_min")
        made.set_timesteps(timesteps=_even_in_log_snr(plan, made), device=device)
        made.set_begin_index(0)
        return made, made.timesteps
    if plan.scheduler == "ddim":
        made = DDIMScheduler.from_config(schedule)
    elif plan.scheduler == "pndm":
        made = PNDMScheduler.from_config(schedule, skip_prk_steps=True)
    else:
        made = _multistep(schedule)
    made.set_timesteps(plan.num_inference_steps, device=device)
    start = plan.num_inference_steps - plan.effective_steps
    times = made.timesteps[start * made.order :]
    if hasattr(made, "set_begin_index"):
        made.set_begin_index(start * made.order)
    return made, times


def _multistep(schedule: dict[str, Any], **options: Any) -> Any:
    return DPMSolverMultistepScheduler.from_config(
        schedule, algorithm_type="dpmsolver++", solver_order=2, **options
    )


def _even_in_log_snr(plan: Plan, scheduler: Any) -> list[int]:
    alphas = scheduler.alphas_cumprod.double().numpy()
    log_snr = np.log(alphas / (1 - alphas)) / 2
    first = max(round(len(alphas) * plan.effective_strength) - 1, 1)
    levels = np.linspace(log_snr[first], log_snr[0], plan.effective_steps + 1)[:-1]
    times = np.rint(np.interp(-levels, -log_snr, np.arange(len(alphas)))).astype(int)
    # Many steps crowd at the end, where times are whole numbers: each must be its own.
    for i in range(len(times) - 2, -1, -1):
        times[i] = max(times[i], times[i + 1] + 1)
    return [int(t) for t in times]


def denoise(
    unet: Denoiser,
    plan: Plan,
    schedule: dict[str, Any],
    clean: Tensor,
    noise: Tensor,
    states: tuple[Tensor, Tensor],
    guidance: Tensor,
) -> Tensor:
    """Noise `clean` to the plan's first step and denoise it along the prompts.

    Args:
        unet: (latents, time step, text states) -> prediction, any batch size.
        plan: which steps.
        schedule: scheduler configuration.
        clean: scaled latents, n x c x h x w.
        noise: standard normal, same shape.
        states: text states to go away from and towards, each n x tokens x width.
        guidance: guidance scale of each row, n; rows of 1 or less are not guided.

    Returns:
        Scaled latents, n x c x h x w.
    """
    scheduler, times = build(plan, schedule, clean.device)
    latents: Tensor = scheduler.add_noise(clean, noise, times[:1].repeat(len(clean)))
    guided = bool((guidance > 1).any())
    context = torch.cat(states) if guided else states[1]
    scale = torch.clamp(guidance, min=1.0).to(clean.dtype)[:, None, None, None]
    for time in times:
        model_input = torch.cat([latents] * 2) if guided else latents
        predicted = unet(scheduler.scale_model_input(model_input, time), time, context)
        if guided:
            away, towards = predicted.chunk(2)
            predicted = away + scale * (towards - away)
        latents = scheduler.step(predicted, time, latents, return_dict=False)[0]
    return latents
