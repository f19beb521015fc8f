"""Noise, time steps and the denoising loop, as in Stable Diffusion's image-to-image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, PNDMScheduler
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor

from roentmod.editors.weights import quoted
from roentmod.edits import Scheduler
from roentmod.errors import NoEffectiveStepsError, WeightsError

__all__ = [
    "Denoiser",
    "Guidance",
    "Schedule",
    "Shared",
    "build",
    "check",
    "denoise",
    "draw",
    "embedding",
    "end",
    "levels",
    "make_schedule",
    "spare",
]

Denoiser = Callable[..., Tensor]
_SWEEPS = 64
_PREDICTIONS = ("epsilon", "v_prediction", "sample")
# What diffusers' pipelines put in place of whatever a configuration has or lacks.
_PIPELINE = {"clip_sample": False, "steps_offset": 1}
# Ways of spacing noise levels that leave no choice of times.
_SPACINGS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")


@dataclass(frozen=True)
class Schedule:
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
    def calls(self) -> int:
        """Steps of the sampler: pndm takes one twice."""
        return self.effective_steps + (self.scheduler == "pndm")

    @property
    def follows(self) -> bool:
        """Whether true predictions lead along the path; pndm begins in the middle, mistimed."""
        return self.scheduler != "pndm"

    @property
    def effective_strength(self) -> float:
        """The strength that was really applied."""
        return self.effective_steps / self.num_inference_steps


def make_schedule(scheduler: Scheduler, num_inference_steps: int, strength: float) -> Schedule:
    """Return the schedule; diffusers' rule: ``min(int(N * strength), N)`` steps.

    Raises:
        NoEffectiveStepsError: no step is left.
    """
    steps = min(int(num_inference_steps * strength), num_inference_steps)
    if steps < 1:
        raise NoEffectiveStepsError(
            f"int(steps x strength) must be at least 1; got int({num_inference_steps} x "
            f"{strength:g}) = 0. Raise strength or steps."
        )
    return Schedule(scheduler, num_inference_steps, steps)


def draw(key: str, seed: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return two standard normal tensors of `shape`: for the posterior, then for the noise.

    One stream per (baseline, seed), in diffusers' order, so that a result depends on neither its
    neighbours in the batch nor their order, and all edits of a baseline share their noise.
    """
    digest = hashlib.sha256(f"{key}/{seed}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def build(
    schedule: Schedule, config: dict[str, Any], device: torch.device | None = None
) -> tuple[Any, Tensor]:
    """Return a fresh diffusers scheduler and the time steps of `schedule`.

    ``ddim``, ``pndm`` and ``dpmsolver++`` take the last steps of the whole schedule, as diffusers
    does. ``dpmsolver++-logsnr`` spaces its steps evenly in log signal-to-noise ratio from the
    strength's own noise level down to the least (Lu et al., NeurIPS 2022, section 3.4): with few
    steps that is several times nearer to the limit of many (``make bench``).

    Latents are never clipped and ``steps_offset`` is 1, whatever the configuration has or lacks:
    so do diffusers' pipelines.

    Raises:
        WeightsError: the sampler cannot run the schedule.
    """
    config = config | _PIPELINE
    try:
        _check_sampler(schedule, config)
        return _built(schedule, config, device)
    except (AttributeError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise WeightsError(
            f"The sampler {schedule.scheduler} must take the generator's schedule; it gave: "
            f"{quoted(error)}. Correct scheduler_config.json, or choose another sampler."
        ) from error


def _built(
    schedule: Schedule, config: dict[str, Any], device: torch.device | None
) -> tuple[Any, Tensor]:
    if schedule.scheduler == "dpmsolver++-logsnr":
        free = dict.fromkeys(_SPACINGS, False)
        made = _multistep(config, final_sigmas_type="sigma_min", **free)
        made.set_timesteps(timesteps=_even_in_log_snr(schedule, made), device=device)
        made.set_begin_index(0)
        return made, made.timesteps
    if schedule.scheduler == "ddim":
        made = DDIMScheduler.from_config(config)
    elif schedule.scheduler == "pndm":
        made = PNDMScheduler.from_config(config, skip_prk_steps=True)
    else:
        made = _multistep(config)
    made.set_timesteps(schedule.num_inference_steps, device=device)
    start = schedule.num_inference_steps - schedule.effective_steps
    times = made.timesteps[start * made.order :]
    if hasattr(made, "set_begin_index"):
        made.set_begin_index(start * made.order)
    return made, times


def check(config: dict[str, Any]) -> None:
    """Refuse a schedule that is none of denoising from discrete, variance-preserving noise.

    Raises:
        WeightsError: naming what it has instead.
    """
    name = str(config.get("_class_name", ""))
    flow = "a flow's (use_flow_sigmas)" if config.get("use_flow_sigmas") else ""
    if flow or name.startswith(("FlowMatch", "EDM", "CM")):
        raise WeightsError(
            f"A schedule has betas of discrete times; that of the model is {flow or name}. "
            "Use a generator of the Stable Diffusion 1 or 2 kind."
        )
    predicted = config.get("prediction_type", "epsilon")
    if predicted not in _PREDICTIONS:
        raise WeightsError(
            f"A U-Net predicts {', '.join(_PREDICTIONS)}; the schedule's prediction_type is "
            f"'{predicted}'. Correct scheduler_config.json."
        )


def _check_sampler(schedule: Schedule, config: dict[str, Any]) -> None:
    """Refuse a schedule that a sampler cannot run, or would run by other noise levels.

    Raises:
        WeightsError: naming the samplers to use.
    """
    most = config.get("num_train_timesteps", 1000)
    if schedule.num_inference_steps > most:
        raise WeightsError(
            f"Steps are at most those of training, {most}; got {schedule.num_inference_steps}. "
            "Lower --steps."
        )
    foreign = [
        field
        for field, plain in (("rescale_betas_zero_snr", False), ("prediction_type", "epsilon"))
        if config.get(field, plain) not in (plain, "v_prediction")
    ]
    if schedule.scheduler == "pndm" and foreign:
        raise WeightsError(
            f"The sampler pndm knows no {foreign[0]} {config[foreign[0]]}, which this generator "
            "has. Use ddim or dpmsolver++."
        )


def _multistep(config: dict[str, Any], **options: Any) -> Any:
    return DPMSolverMultistepScheduler.from_config(
        config, algorithm_type="dpmsolver++", solver_order=2, **options
    )


def _even_in_log_snr(schedule: Schedule, scheduler: Any) -> list[int]:
    alphas = scheduler.alphas_cumprod.double().numpy()
    log_snr = np.log(alphas / (1 - alphas)) / 2
    first = max(round(len(alphas) * schedule.effective_strength) - 1, 1)
    levels = np.linspace(log_snr[first], log_snr[0], schedule.effective_steps + 1)[:-1]
    times = np.rint(np.interp(-levels, -log_snr, np.arange(len(alphas)))).astype(int)
    # Many steps crowd at the end, where times are whole numbers: each must be its own.
    for i in range(len(times) - 2, -1, -1):
        times[i] = max(times[i], times[i + 1] + 1)
    return [int(t) for t in times]


def levels(scheduler: Any, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return the amplitudes of signal and noise in the latents after each step, each of steps.

    After step i they are those of time i + 1, which the next call of the U-Net gets; after the
    last step those the scheduler itself ends at, which need not be clean.
    """
    if hasattr(scheduler, "sigmas"):
        sigmas = scheduler.sigmas[scheduler.begin_index + 1 :]
        signal = (1 + sigmas**2) ** -0.5
        return signal, sigmas * signal
    alphas = scheduler.alphas_cumprod
    end = int(times[-1]) - len(alphas) // scheduler.num_inference_steps
    last = alphas[end] if end >= 0 else scheduler.final_alpha_cumprod
    after = torch.cat([alphas[times[1:].cpu()], last.reshape(1)])
    return after**0.5, (1 - after) ** 0.5


def end(schedule: Schedule, config: dict[str, Any], clean: Tensor, noise: Tensor) -> Tensor:
    """Return latents at the end of a schedule, where true predictions lead, of any shape.

    Args:
        schedule: which steps.
        config: scheduler configuration.
        clean: scaled latents.
        noise: standard normal, same shape.
    """
    signals, noises = levels(*build(schedule, config, clean.device))
    return float(signals[-1]) * clean + float(noises[-1]) * noise


class Shared(NamedTuple):
    """Predictions of a step that are made once, as several of them are the same.

    Attributes:
        kept: numbers of those to make, among all of a step.
        back: for each of all, its number among those made.
    """

    kept: Tensor
    back: Tensor

    @classmethod
    def by(cls, keys: Sequence[Hashable], device: torch.device) -> Shared:
        """Let predictions with one key be one."""
        first: dict[Hashable, int] = {}
        for number, key in enumerate(keys):
            first.setdefault(key, number)
        places = {key: place for place, key in enumerate(first)}
        kept, back = list(first.values()), [places[key] for key in keys]
        return cls(torch.tensor(kept, device=device), torch.tensor(back, device=device))


@dataclass(frozen=True, eq=False)
class Guidance:
    """Directions of the n rows of a batch.

    Attributes:
        towards: text states of the prompts to go to, n x tokens x width.
        away: text states of the prompts to go away from, the same shape.
        scale: guidance scale of each row, n; rows of 1 or less are not guided.
        held: text states of the findings each row must leave alone, n x k x tokens x width.
        removes: whether a row takes its finding away, n bool; None: no row does. Matters to `held`.
        inside: whether the U-Net guides by itself, from the scale (`scales`) that it is given: away
            from the empty prompt alone, so that every row of `away` is that one, and none is held.
        own: number of each row's baseline (with its noise and `away`) among those of the batch,
            from 0, n; what the U-Net misses of it is put right (`denoise`). None: it is not.
        embedded: whether the U-Net takes the scale of each prediction (`scales`).
        shared: what of `context` is the same in the first step, and in the others; None: nothing.
    """

    towards: Tensor
    away: Tensor
    scale: Tensor
    held: Tensor | None = None
    removes: Tensor | None = None
    inside: bool = False
    own: Tensor | None = None
    embedded: bool = False
    shared: tuple[Shared, Shared] | None = None

    @cached_property
    def paths(self) -> Tensor:
        """First row of each baseline that `own` counts, in its order."""
        if self.own is None:
            return torch.zeros(0, dtype=torch.long, device=self.scale.device)
        return torch.stack([(self.own == k).nonzero()[0, 0] for k in self.own.unique()])

    @property
    def copies(self) -> int:
        """Predictions per row and step."""
        if self.held is not None:
            return 2 + self.held.shape[1]
        return 2 if not self.inside and bool((self.scale > 1).any()) else 1

    @property
    def scales(self) -> Tensor:
        """Guidance scale of each prediction of `context`, for a U-Net that takes one."""
        scale = torch.clamp(self.scale, min=1.0) if self.inside else torch.ones_like(self.scale)
        return torch.cat([scale.repeat(self.copies), torch.ones_like(self.scale[self.paths])])

    @property
    def context(self) -> Tensor:
        """Text states of a step's predictions, (copies n + paths) x tokens x width."""
        away = (self.away,) if self.copies > 1 else ()
        kept = () if self.held is None else self.held.unbind(1)
        return torch.cat([*away, self.towards, *kept, self.away[self.paths]])

    def predictor(self, unet: Denoiser, first: bool) -> Callable[[Tensor, Tensor], Tensor]:
        """Return (latents, time) -> predictions of a step, in the order of `context`."""
        feed = (self.context, self.scales) if self.embedded else (self.context,)
        if self.shared is None:
            return lambda latents, time: unet(latents, time, *feed)
        kept, back = self.shared[0 if first else 1]
        own = tuple(one[kept] for one in feed)
        return lambda latents, time: unet(latents[kept], time, *own)[back]

    def combine(self, predicted: Tensor) -> Tensor:
        """Return one prediction per row, n x c x h x w, of the (copies n) of `context`."""
        if self.copies == 1:
            return predicted
        away, towards, *kept = predicted.chunk(self.copies)
        direction = towards - away
        scale = _column(torch.clamp(self.scale, min=1.0)).to(direction.dtype)
        if self.held is None:
            return away + scale * direction
        # All is seen from the prompt that names no finding, which is where removal arrives.
        none = torch.zeros_like(self.scale, dtype=torch.bool)
        removes = _column(none if self.removes is None else self.removes)
        others = [torch.where(removes, towards - one, one - away) for one in kept]
        spared = spare(direction, torch.stack(others, 1))
        return torch.where(removes, towards + (scale - 1) * spared, away + scale * spared)


def embedding(scales: Tensor, width: int) -> Tensor:
    """Return guidance scales as a U-Net with ``time_cond_proj_dim`` takes them, n x width.

    Sinusoids of 1000 (scale - 1), as in diffusers' pipelines (Luo et al., 2023, of Meng et al.,
    CVPR 2023).
    """
    made: Tensor = get_timestep_embedding(scales - 1, width, scale=1000)
    return made


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def spare(direction: Tensor, others: Tensor) -> Tensor:
    """Return `direction` less all it has in common with `others`: the nearest that favours none.

    With guidance direction d and the directions e_1 .. e_k of the held findings it is the solution
    of min |d' - d| subject to <d', e_j> <= 0 for all j, which is ``d - sum_j a_j e_j`` with the
    a >= 0 that minimise ``|d - sum_j a_j e_j|`` (Moreau, 1962). For one held finding that is
    ``d - max(0, <d, e> / <e, e>) e``. Products run over all latents of a row.

    Args:
        direction: n x c x h x w.
        others: n x k x c x h x w.
    """
    d, e = direction.flatten(1).float(), others.flatten(2).float()
    products = torch.einsum("nkd,nld->nkl", e, e)
    along = torch.einsum("nkd,nd->nk", e, d)
    share = torch.zeros_like(along)
    # Coordinate descent; with one held finding the first sweep is exact.
    for _ in range(_SWEEPS if e.shape[1] > 1 else 1):
        for j in range(e.shape[1]):
            own = products[:, j, j].clamp(min=torch.finfo(d.dtype).tiny)
            rest = along[:, j] - (products[:, j] * share).sum(1)
            share[:, j] = (share[:, j] + rest / own).clamp(min=0)
    kept = d - torch.einsum("nk,nkd->nd", share, e)
    return kept.to(direction.dtype).reshape(direction.shape)


def _truth(scheduler: Any, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Return what a perfect U-Net predicts where `clean` was noised to a time."""
    kind = scheduler.config.prediction_type
    if kind != "v_prediction":
        return clean if kind == "sample" else noise
    alpha = scheduler.alphas_cumprod[int(time)].to(clean)
    velocity: Tensor = alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean
    return velocity


def denoise(
    unet: Denoiser,
    schedule: Schedule,
    config: dict[str, Any],
    clean: Tensor,
    noise: Tensor,
    guidance: Guidance,
    region: Tensor | None = None,
) -> Tensor:
    """Noise `clean` to the first step of the schedule and denoise it along the prompts.

    With a region, after every step the latents outside it are put back to `clean`, noised to that
    step's level with the same `noise` (blended latent diffusion, Avrahami et al., 2023). As the
    noise is one and the same on both sides, a soft border does not weaken it.

    With ``guidance.own``, each step also shows the U-Net the baseline, noised to that step's level
    with the edit's own noise and under the prompt to go away from, and adds to the row's prediction
    what is missed there of the truth, which is known. Rows with nothing to guide then end at the
    baseline, and what a generator cannot draw (a patient's other findings) stays, as only what
    differs from the baseline's own predictions moves the picture (compare delta denoising, Hertz et
    al., ICCV 2023, and DDPM inversion, Huberman-Spiegelglas et al., CVPR 2024).

    Args:
        unet: (latents, time step, text states) -> prediction, any batch size; with
            ``guidance.embedded``, of scales, too.
        schedule: which steps.
        config: scheduler configuration.
        clean: scaled latents, n x c x h x w.
        noise: standard normal, same shape.
        guidance: the prompts of each row.
        region: weights in [0, 1], n x 1 x h x w: 0 keeps the baseline, 1 edits.

    Returns:
        Scaled latents, n x c x h x w.
    """
    scheduler, times = build(schedule, config, clean.device)
    latents: Tensor = scheduler.add_noise(clean, noise, times[:1].repeat(len(clean)))
    copies, paths = guidance.copies, guidance.paths
    predict = [guidance.predictor(unet, first) for first in (True, False)]
    signals, noises = levels(scheduler, times)
    for index, time in enumerate(times):
        shown = [latents] * copies
        if guidance.own is not None:
            shown.append(scheduler.add_noise(clean[paths], noise[paths], time.repeat(len(paths))))
        model_input = torch.cat(shown) if len(shown) > 1 else latents
        model_input = scheduler.scale_model_input(model_input, time)
        predicted = predict[min(index, 1)](model_input, time)
        rows, seen = predicted.split([copies * len(latents), len(paths)])
        predicted = guidance.combine(rows)
        if guidance.own is not None:
            truth = _truth(scheduler, clean[paths], noise[paths], time)
            predicted = predicted + (truth - seen)[guidance.own]
        latents = scheduler.step(predicted, time, latents, return_dict=False)[0]
        if region is not None:
            known = float(signals[index]) * clean + float(noises[index]) * noise
            # Not a weighted sum alone: where the weight is 1 not a bit may change.
            latents = torch.where(region == 1, latents, region * latents + (1 - region) * known)
    return latents
