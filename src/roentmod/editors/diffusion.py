"""The image-to-image editor: transplanted parts, all edits of a baseline in one batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roentmod import regions
from roentmod.anatomy import Anatomy
from roentmod.editors import compose, sampling
from roentmod.editors.engines import Engine, TorchEngine
from roentmod.editors.transplant import Components
from roentmod.edits import Edit
from roentmod.errors import AnatomyError, EditError, NoEffectiveStepsError
from roentmod.imaging.segmentation import estimate, require
from roentmod.interfaces import Counterfactual, Progress, Status
from roentmod.radiograph import Radiograph

__all__ = ["DiffusionEditor"]

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
_DARK = 0.02


@dataclass(frozen=True, eq=False)
class _Area:
    """Where one edit may change one baseline.

    Attributes:
        mask: h x w, or None for the whole picture.
        weights: the same on the latents, 1 x h x w.
        quality: of the outlines it was found with, or None where it needed none.
    """

    mask: NDArray[np.bool_] | None = None
    weights: Tensor | None = None
    quality: float | None = None


@dataclass(frozen=True, eq=False)
class _Item:
    """One row of a denoising batch: an edit (or its sham) with its plan, prompts and place."""

    edit: Edit
    plan: sampling.Plan
    prompts: tuple[str, str]
    guidance: float
    held: tuple[str, ...]
    area: _Area

    @property
    def key(self) -> tuple[Any, ...]:
        """Rows with one key are the same picture of one baseline."""
        edit = self.edit
        # The action too: it says which way a held finding would change.
        kept = (self.held, edit.action) if self.held else ()
        return self.prompts, self.plan, self.guidance, edit.seed, edit.region, kept

    @property
    def batch_key(self) -> tuple[Any, ...]:
        guided = self.guidance > 1 or bool(self.held)
        return self.plan, guided, len(self.held)


class DiffusionEditor:
    """Edits radiographs by image-to-image diffusion with transplanted parts.

    Args:
        parts: what `transplant` returned.
        engine: runs the U-Net and the decoder; None runs them in torch.
        batch_size: rows a denoising batch (each row is two with guidance, and one more a held
            finding).
        deterministic: one row a batch, so that an edit's pixels do not depend, to the last bit, on
            what is edited beside it; costs what batching saves.
        anatomies: known outlines by radiograph id, for regions in words; others are estimated, and
            an edit with a region is refused ("poor_anatomy") where they are poor.
    """

    def __init__(
        self,
        parts: Components,
        *,
        engine: Engine | None = None,
        batch_size: int = 8,
        deterministic: bool = False,
        anatomies: Mapping[str, Anatomy] | None = None,
    ) -> None:
        """Keep the parts; nothing is computed yet."""
        self.parts = parts
        self.name = parts.profile.name
        self.engine = engine or TorchEngine(parts)
        self.batch_size = 1 if deterministic else batch_size
        self.deterministic = deterministic
        self._anatomies = dict(anatomies or {})
        self._states: dict[str, Tensor] = {}

    def edit(
        self,
        radiographs: Sequence[Radiograph],
        edits: Sequence[Edit],
        *,
        masks: Sequence[NDArray[np.bool_] | None] | None = None,
        progress: Progress | None = None,
    ) -> list[Counterfactual]:
        """Return every edit of every radiograph, radiograph by radiograph, in the order given.

        Args:
            radiographs: the baselines.
            edits: what to do to each of them.
            masks: where each radiograph may change (h x w bool), or None for the whole picture; an
                edit with a region of its own changes what lies in both.
            progress: called with (done, total) counterfactuals.

        Raises:
            EditError: a mask does not fit its radiograph or misses an edit's region, or the numbers
                of masks and radiographs differ.
        """
        for lower, higher in self.aliases(edits):
            log.warning("strengths %g and %g give the same effective steps", lower, higher)
        regions = list(masks) if masks is not None else [None] * len(radiographs)
        _check_masks(radiographs, regions)
        results: list[Counterfactual] = []
        for radiograph, mask in zip(radiographs, regions, strict=True):
            results += self._edit_one(radiograph, edits, mask)
            if progress:
                progress(len(results), len(radiographs) * len(edits))
        return results

    def describe(self) -> dict[str, Any]:
        """Return what results depend on besides baseline and edit: weights, prompts, engine."""
        profile = self.parts.profile
        return {
            "name": self.name,
            "weights": self.parts.weights_hash,
            "engine": self.engine.name,
            "deterministic": self.deterministic,
            "batch_size": self.batch_size,
            "precision": str(self.parts.unet.dtype).removeprefix("torch."),
            "profile": profile.name,
            "normal_prompt": profile.normal,
            "template": profile.template,
            "severity": dict(profile.severity),
            "unsaid": dict(profile.unsaid),
            "num_inference_steps": profile.steps,
            "scheduler": profile.scheduler,
            "licence": profile.licence,
        }

    def plan(self, edit: Edit) -> sampling.Plan:
        """Return the part of the schedule that `edit` runs through.

        Raises:
            NoEffectiveStepsError: strength times steps leaves nothing.
        """
        profile = self.parts.profile
        steps = edit.num_inference_steps or profile.steps
        return sampling.make_plan(edit.scheduler or profile.scheduler, steps, edit.strength)

    def aliases(self, edits: Sequence[Edit]) -> list[tuple[float, float]]:
        """Return pairs of different strengths among `edits` that give the same effective steps."""
        seen: dict[tuple[Any, ...], float] = {}
        pairs = []
        for edit in sorted(edits, key=lambda e: e.strength):
            try:
                key = (self.plan(edit), edit.findings, edit.seed)
            except NoEffectiveStepsError:
                continue
            first = seen.setdefault(key, edit.strength)
            if first != edit.strength:
                pairs.append((first, edit.strength))
        return pairs

    @torch.inference_mode()
    def _edit_one(
        self, radiograph: Radiograph, edits: Sequence[Edit], mask: NDArray[np.bool_] | None
    ) -> list[Counterfactual]:
        started = time.perf_counter()
        jobs = self._jobs(radiograph, edits, mask)
        items = {i.key: i for job in jobs if not isinstance(job, str) for i in job}
        if not items:
            return [
                Counterfactual(radiograph, edit, job)
                for edit, job in zip(edits, jobs, strict=True)
                if isinstance(job, str)
            ]
        decoded, reconstruction = self._decode_all(radiograph, list(items.values()))
        broken = [items[key] for key, picture in decoded.items() if _fault(picture)]
        if broken and self._exact is not self:
            log.warning("%d pictures of %s redone in float32", len(broken), radiograph.source)
            redone, reconstruction = self._exact._decode_all(radiograph, broken)
            decoded |= redone
        seconds = time.perf_counter() - started
        results = []
        for edit, job in zip(edits, jobs, strict=True):
            if isinstance(job, str):
                results.append(Counterfactual(radiograph, edit, job))
                continue
            shown = compose.Decoded(decoded[job[0].key], decoded[job[1].key], reconstruction)
            facts = self._facts(job[0]) | {
                "redone_in_float32": any(item in broken for item in job),
                "seconds": round(seconds / len(edits), 4),
            }
            results.append(_finish(radiograph, edit, shown, job[0].area.mask, facts))
        return results

    def _jobs(
        self, radiograph: Radiograph, edits: Sequence[Edit], mask: NDArray[np.bool_] | None
    ) -> list[tuple[_Item, _Item] | Status]:
        """Return the rows of each edit and of its sham, or why there are none."""
        areas = self._areas(radiograph, {edit.region for edit in edits}, mask)
        jobs: list[tuple[_Item, _Item] | Status] = []
        for edit in edits:
            area = areas[edit.region]
            if area is None:
                jobs.append("poor_anatomy")
                continue
            try:
                jobs.append((self._item(edit, area), self._item(edit.sham(), area)))
            except NoEffectiveStepsError as error:
                log.warning("%s", error)
                jobs.append("no_effective_steps")
        return jobs

    def _areas(
        self, radiograph: Radiograph, names: set[str | None], mask: NDArray[np.bool_] | None
    ) -> dict[str | None, _Area | None]:
        """Return where each region lies; None where the outlines do not tell."""
        areas: dict[str | None, _Area | None] = dict.fromkeys(names)
        if None in names:
            areas[None] = self._area(mask, None)
        named = sorted(name for name in names if name is not None)
        if not named:
            return areas
        anatomy = self._anatomies.get(radiograph.id) or estimate(radiograph)
        try:
            require(anatomy, radiograph.source)
        except AnatomyError as error:
            log.warning("%s", error)
            return areas
        for name in named:
            try:
                areas[name] = self._area(regions.mask(name, anatomy, mask), anatomy.quality)
            except AnatomyError as error:
                log.warning("%s", error)
        return areas

    def _area(self, mask: NDArray[np.bool_] | None, quality: float | None) -> _Area:
        if mask is None:
            return _Area()
        weights = compose.soften(mask, self.parts.size // self.parts.downsampling)
        return _Area(mask, torch.from_numpy(weights)[None], quality)

    @cached_property
    def _exact(self) -> DiffusionEditor:
        """The same editor in torch and float32, for pictures that another engine spoils."""
        parts = self.parts.float32()
        if parts is self.parts and isinstance(self.engine, TorchEngine):
            return self
        return DiffusionEditor(parts, batch_size=self.batch_size, deterministic=self.deterministic)

    def _item(self, edit: Edit, area: _Area) -> _Item:
        profile = self.parts.profile
        names = () if edit.arm == "sham" else edit.hold
        held = tuple(profile.prompt(Edit((name,))) for name in names)
        plan, guidance = self.plan(edit), profile.guidance(edit)
        return _Item(edit, plan, profile.pair(edit), guidance, held, area)

    def _decode_all(
        self, radiograph: Radiograph, items: list[_Item]
    ) -> tuple[dict[tuple[Any, ...], Array], Array]:
        """Return the decoded picture of every item, by key, and the baseline's reconstruction."""
        picture = compose.shrink(radiograph, self.parts.size)
        mean, deviation = self._encode(picture)
        latents: dict[tuple[Any, ...], Tensor] = {}
        for batch in self._batches(items):
            rows = self._denoise(radiograph, batch, mean, deviation)
            latents |= {item.key: row for item, row in zip(batch, rows, strict=True)}
        scaled = mean * self.parts.vae.config.scaling_factor
        pictures = self._decode(torch.stack([scaled, *latents.values()]))
        return dict(zip(latents, pictures[1:], strict=True)), pictures[0]

    def _batches(self, items: list[_Item]) -> list[list[_Item]]:
        groups: dict[tuple[Any, ...], list[_Item]] = {}
        for item in items:
            groups.setdefault(item.batch_key, []).append(item)
        size = self.batch_size
        return [g[i : i + size] for g in groups.values() for i in range(0, len(g), size)]

    def _denoise(
        self, radiograph: Radiograph, batch: list[_Item], mean: Tensor, deviation: Tensor
    ) -> Tensor:
        factor = self.parts.vae.config.scaling_factor
        draws = [sampling.draw(radiograph.id, item.edit.seed, tuple(mean.shape)) for item in batch]
        clean = torch.stack([(mean + deviation * first.to(mean)) * factor for first, _ in draws])
        noise = torch.stack([second.to(mean) for _, second in draws])
        return sampling.denoise(
            self.engine.unet,
            batch[0].plan,
            self.parts.schedule,
            clean,
            noise,
            self._guidance(batch, mean.device),
            _weights(batch, clean),
        )

    def _guidance(self, batch: list[_Item], device: torch.device) -> sampling.Guidance:
        held = removes = None
        if batch[0].held:
            held = torch.stack([torch.stack([self._text(p) for p in i.held]) for i in batch])
            removes = torch.tensor([i.edit.action == "remove" for i in batch], device=device)
        return sampling.Guidance(
            towards=torch.stack([self._text(item.prompts[0]) for item in batch]),
            away=torch.stack([self._text(item.prompts[1]) for item in batch]),
            scale=torch.tensor([item.guidance for item in batch], device=device),
            held=held,
            removes=removes,
        )

    def _encode(self, picture: Array) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of the posterior of a size x size picture, each c x h x w."""
        vae = self.parts.vae
        x = torch.from_numpy(picture * 2 - 1)[None, None].to(vae.device, vae.dtype)
        posterior = vae.encode(x.expand(1, vae.config.in_channels, -1, -1)).latent_dist
        return posterior.mean[0], posterior.std[0]

    def _decode(self, latents: Tensor) -> list[Array]:
        """Return pictures, size x size in [0, 1], of scaled latents."""
        unscaled = latents / self.parts.vae.config.scaling_factor
        pictures: list[Array] = []
        for part in unscaled.split(self.batch_size):
            # A channel mean, because a grey picture may come from an RGB autoencoder.
            grey = self.engine.decode(part).float().mean(1)
            pictures += list((grey / 2 + 0.5).clamp(0, 1).cpu().numpy())
        return pictures

    def _text(self, prompt: str) -> Tensor:
        """Return the text states of a prompt, tokens x width; each prompt is encoded once."""
        if prompt not in self._states:
            tokenizer, encoder = self.parts.tokenizer, self.parts.text_encoder
            length = self.parts.text_length
            tokens = tokenizer(
                [prompt],
                padding="max_length",
                max_length=length,
                truncation=True,
                return_tensors="pt",
            )
            if len(tokenizer(prompt).input_ids) > length:
                log.warning("prompt cut to %d tokens: %s", length, prompt)
            mask = {}
            if getattr(encoder.config, "use_attention_mask", False):
                mask = {"attention_mask": tokens.attention_mask.to(encoder.device)}
            ids = tokens.input_ids.to(encoder.device)
            self._states[prompt] = encoder(ids, **mask).last_hidden_state[0]
        return self._states[prompt]

    def _facts(self, item: _Item) -> dict[str, Any]:
        quality = item.area.quality
        return {
            "editor": self.name,
            "prompt": item.prompts[0],
            "negative_prompt": item.prompts[1],
            "sham_prompt": self.parts.profile.normal,
            "guidance": item.guidance,
            "region": item.edit.region,
            "anatomy_quality": None if quality is None else round(quality, 3),
            "hold": list(item.edit.hold),
            "held_prompts": list(item.held),
            "scheduler": item.plan.scheduler,
            "num_inference_steps": item.plan.num_inference_steps,
            "effective_steps": item.plan.effective_steps,
            "effective_strength": item.plan.effective_strength,
            "size": self.parts.size,
            "engine": self.engine.name,
            "deterministic": self.deterministic,
            "weights": self.parts.weights_hash,
        }


def _weights(batch: list[_Item], like: Tensor) -> Tensor | None:
    """Return the weights of each row, n x 1 x h x w, or None where no row has a region."""
    if all(item.area.weights is None for item in batch):
        return None
    whole = torch.ones_like(like[0, :1])
    rows = [whole if i.area.weights is None else i.area.weights.to(whole) for i in batch]
    return torch.stack(rows)


def _check_masks(
    radiographs: Sequence[Radiograph], masks: Sequence[NDArray[np.bool_] | None]
) -> None:
    if len(masks) != len(radiographs):
        raise EditError(f"Give one mask a radiograph; got {len(masks)} for {len(radiographs)}.")
    for radiograph, mask in zip(radiographs, masks, strict=True):
        if mask is not None and mask.shape != radiograph.stored.shape:
            raise EditError(
                f"A mask has its radiograph's shape {radiograph.stored.shape}; got {mask.shape}."
            )
        if mask is not None and not mask.any():
            raise EditError("A mask must mark at least one pixel; got an empty one.")


def _fault(picture: Array) -> Literal["not_finite", "black_image"] | None:
    if not np.isfinite(picture).all():
        return "not_finite"
    return "black_image" if float(picture.max()) < _DARK else None


def _finish(
    radiograph: Radiograph,
    edit: Edit,
    decoded: compose.Decoded,
    mask: NDArray[np.bool_] | None,
    facts: dict[str, Any],
) -> Counterfactual:
    status = _fault(decoded.edit) or _fault(decoded.sham)
    if status:
        return Counterfactual(radiograph, edit, status, facts=facts)
    wants_sham = edit.arm == "sham"
    image, difference, support = compose.compose(
        radiograph, decoded, edit.composite, mask, sham=wants_sham
    )
    sham, _, _ = compose.compose(radiograph, decoded, edit.composite, mask, sham=True)
    return Counterfactual(radiograph, edit, "ok", image, sham, difference, support, facts)
