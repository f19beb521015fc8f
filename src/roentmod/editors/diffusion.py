"""The image-to-image editor: transplanted parts, edits of all baselines in common batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roentmod import regions
from roentmod.anatomy import Anatomy
from roentmod.editors import compose, sampling
from roentmod.editors.components import Components
from roentmod.editors.engines import CompiledEngine, Engine, TorchEngine, large
from roentmod.editors.rows import Area, Case, Key, Row, passes, predictions, spent
from roentmod.editors.speed import Speed, measure
from roentmod.edits import Edit
from roentmod.errors import AnatomyError, EditError, NoEffectiveStepsError, WeightsError
from roentmod.imaging.segmentation import QUALITY_NEEDED, estimate, require
from roentmod.interfaces import Counterfactual, Loaded, Progress, Status
from roentmod.radiograph import Radiograph

__all__ = ["DiffusionEditor"]

log = logging.getLogger(__name__)
Array = NDArray[np.float32]
Masks = Sequence[NDArray[np.bool_] | None]
T = TypeVar("T")
S = TypeVar("S")
Pictures = dict[Key, Array]
_DARK = 0.02
# Denoising batches whose pictures exist at once.
_BATCHES = 4
# Radiographs per call on an accelerator: results at native resolution take gigabytes beyond it.
_AT_ONCE = 4
# What a forecast edits.
_BLANK = Radiograph.from_array(np.zeros((64, 64), np.float32))
# Bytes that one call of the autoencoder may work in.
_MEMORY = {"cpu": 1 << 30, "accelerator": 4 << 30}


class DiffusionEditor(Loaded):
    """Edits radiographs by image-to-image diffusion with transplanted parts.

    Args:
        parts: from `transplant`.
        engine: runs the U-Net and the decoder; None runs them in torch.
        batch_size: rows per denoising batch, whichever baselines they come from (each row is two
            with guidance, and one more per held finding).
        deterministic: one row per batch, so that an edit's pixels do not depend, to the last bit,
            on what is edited beside it; costs what batching saves.
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
        self._speeds: dict[int, Speed] = {}
        self._beyond: set[float] = set()

    @property
    def at_once(self) -> int:
        """Radiographs to edit in one call of `edit_each`; several fill an accelerator.

        On a CPU they would save nothing, and an edit's last bits would depend on its company.
        """
        alone = self.deterministic or self.parts.unet.device.type == "cpu"
        return 1 if alone else _AT_ONCE

    def edit(
        self,
        radiographs: Sequence[Radiograph],
        edits: Sequence[Edit],
        *,
        masks: Masks | None = None,
        progress: Progress | None = None,
    ) -> list[Counterfactual]:
        """Return every edit of every radiograph, radiograph by radiograph, in the order given.

        Args:
            radiographs: the baselines.
            edits: what to do to each of them.
            masks: where each radiograph may change (h x w bool), or None for the whole picture; an
                edit with a region changes what lies in both.
            progress: called with (done, total) counterfactuals.

        Raises:
            EditError: a mask does not fit its radiograph or misses an edit's region, or the numbers
                of masks and radiographs differ.
        """
        self._warn(edits)
        results: list[Counterfactual] = []
        for done in self._edited(radiographs, [edits] * len(radiographs), masks):
            results += done
            if progress:
                progress(len(results), len(radiographs) * len(edits))
        return results

    def edit_each(
        self,
        radiographs: Sequence[Radiograph],
        edits: Sequence[Sequence[Edit]],
        *,
        masks: Masks | None = None,
    ) -> list[list[Counterfactual]]:
        """Return the counterfactuals of each radiograph by the edits in its place.

        Rows of all radiographs share batches; arguments and errors are those of `edit`.
        """
        self._warn([edit for own in edits for edit in own])
        return list(self._edited(radiographs, edits, masks))

    def describe(self) -> dict[str, Any]:
        """Return what results depend on besides baseline and edit: weights, prompts, engine."""
        profile = self.parts.profile
        adapters = [f"{one.path.name}:{one.scale:g}" for one in self.parts.adapters]
        return ({"lora": adapters} if adapters else {}) | {
            "name": self.name,
            "weights": self.parts.weights_hash,
            "configuration": self.parts.settings_hash,
            "engine": self.engine.name,
            "deterministic": self.deterministic,
            "batch_size": self.batch_size,
            "precision": str(self.parts.unet.dtype).removeprefix("torch."),
            **({"vae_tiling": True} if self.parts.tiled else {}),
            "profile": profile.name,
            "normal_prompt": profile.normal,
            "template": profile.template,
            "severity": dict(profile.severity),
            "unsaid": dict(profile.unsaid),
            **({"usual": dict(profile.usual)} if profile.usual else {}),
            **({"absent": profile.absent} if profile.absent else {}),
            **({"guidance_range": list(taught)} if (taught := profile.guidance_range) else {}),
            "num_inference_steps": profile.steps,
            "scheduler": profile.scheduler,
            "licence": profile.licence,
        }

    @property
    def removals(self) -> Mapping[str, Any] | None:
        """How well each finding is removed, a row of figures for each; None: nobody measured it."""
        table = self.parts.profile.removal
        if not table or table.get("weights") != self.parts.weights_hash:
            return None
        return dict(table.get("findings", {}))

    def schedule(self, edit: Edit) -> sampling.Schedule:
        """Return the part of the schedule that `edit` runs through.

        Raises:
            NoEffectiveStepsError: strength times steps leaves nothing.
        """
        profile = self.parts.profile
        steps = edit.num_inference_steps or profile.steps
        return sampling.make_schedule(edit.scheduler or profile.scheduler, steps, edit.strength)

    @property
    def slow(self) -> bool:
        """Whether edits take so long that it should be said beforehand."""
        return large(self.parts)

    def forecast(self, edits: Sequence[Edit]) -> float:
        """Return how many seconds the edits of one radiograph take here, roughly.

        The first call times the parts, which may take some seconds.
        """
        pairs: list[tuple[Row, Row] | Status] = []
        for edit in edits:
            try:
                pairs.append(self._pair(0, _BLANK, edit, Area()))
            except NoEffectiveStepsError:
                pairs.append("no_effective_steps")
        case = Case(_BLANK, edits, pairs)
        rows = list(case.rows.values())
        if not rows:
            return 0.0
        together = 1 if self.parts.unet.device.type == "cpu" else min(len(rows), self.batch_size)
        if together not in self._speeds:
            self._speeds[together] = measure(self.parts, self.engine, 2 * together)
        speed = self._speeds[together]
        calls = sum(predictions(batch) for batch in self._batches(rows))
        pictures = len(rows) + case.compared
        return calls * speed.predicted + speed.encoded + pictures * speed.decoded

    def aliases(self, edits: Sequence[Edit]) -> list[tuple[float, float]]:
        """Return pairs of different strengths among `edits` that give the same effective steps."""
        seen: dict[tuple[Any, ...], float] = {}
        pairs = []
        for edit in sorted(edits, key=lambda e: e.strength):
            try:
                key = (self.schedule(edit), edit.findings, edit.seed)
            except NoEffectiveStepsError:
                continue
            first = seen.setdefault(key, edit.strength)
            if first != edit.strength:
                pairs.append((first, edit.strength))
        return pairs

    def _warn(self, edits: Sequence[Edit]) -> None:
        for lower, higher in self.aliases(edits):
            log.warning("strengths %g and %g give the same effective steps", lower, higher)

    def _edited(
        self,
        radiographs: Sequence[Radiograph],
        edits: Sequence[Sequence[Edit]],
        masks: Masks | None,
    ) -> Iterator[list[Counterfactual]]:
        """Yield the counterfactuals of each radiograph; a few batches of pictures exist at once."""
        regions = list(masks) if masks is not None else [None] * len(radiographs)
        _check(radiographs, edits, regions)
        cases: list[Case] = []
        for radiograph, own, mask in zip(radiographs, edits, regions, strict=True):
            cases.append(self._case(len(cases), radiograph, own, mask))
            if sum(len(case.rows) for case in cases) >= _BATCHES * self.batch_size:
                yield from self._finished(cases)
                cases = []
        yield from self._finished(cases)

    @torch.inference_mode()
    def _finished(self, cases: list[Case]) -> list[list[Counterfactual]]:
        started = time.perf_counter()
        rows = {key: row for case in cases for key, row in case.rows.items()}
        compared = {number for number, case in enumerate(cases) if case.compared}
        pictures, redone = self._render(list(rows.values()), compared)
        spoilt = [key for key in rows if _fault(pictures[key])]
        # Asked for only where it is needed: it may be a second copy of the weights.
        exact = self._exact if spoilt else self
        if exact is not self:
            redone |= set(spoilt)
            again = [rows[key] for key in spoilt]
            pictures |= exact._render(again, compared & {row.number for row in again})[0]
        if redone:
            sources = dict.fromkeys(cases[key[0]].baseline.source for key in redone)
            log.warning("%d pictures of %s redone in float32", len(redone), ", ".join(sources))
        seconds = spent(time.perf_counter() - started, cases)
        return [self._composed(case, pictures, redone, seconds) for case in cases]

    def _composed(
        self, case: Case, pictures: Pictures, redone: set[Key], seconds: dict[Key, float]
    ) -> list[Counterfactual]:
        shams = self._shams(case, pictures)

        def one(edit: Edit, pair: tuple[Row, Row] | Status) -> Counterfactual:
            if isinstance(pair, str):
                return Counterfactual(case.baseline, edit, pair)
            row, sham = pair
            started = time.perf_counter() - seconds[row.key] - seconds[sham.key]
            own = self._facts(row)
            own["redone_in_float32"] = bool(redone & {row.key, sham.key, (row.number,)})
            status = _fault(pictures[row.key]) or _fault(pictures[sham.key])
            if status:
                return Counterfactual(case.baseline, edit, status, facts=own)
            made = control = shams[sham.key, edit.composite]
            if edit.arm != "sham":
                shown = _shown(pictures, row, sham)
                made = compose.compose(
                    case.baseline,
                    shown,
                    edit.composite,
                    row.area.inside,
                    direction=edit.direction,
                )
            own["seconds"] = round(time.perf_counter() - started, 4)
            return Counterfactual(case.baseline, edit, "ok", made[0], control[0], *made[1:], own)

        # Arrays and resampling release the interpreter; results do not depend on threads.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return list(pool.map(one, case.edits, case.pairs))

    def _shams(self, case: Case, pictures: Pictures) -> dict[Key, compose.Composed]:
        """Return the composed sham of each picture and mode: edits of a baseline share them.

        One that nothing moves is the baseline: all that its picture shows is the autoencoder's.
        """
        shams: dict[Key, compose.Composed] = {}
        for edit, pair in zip(case.edits, case.pairs, strict=True):
            if isinstance(pair, str):
                continue
            row, sham = pair
            key = sham.key, edit.composite
            if key in shams or _fault(pictures[sham.key]):
                continue
            if sham.still:
                shams[key] = compose.unchanged(case.baseline)
            else:
                shown, inside = _shown(pictures, row, sham), row.area.inside
                shams[key] = compose.compose(
                    case.baseline, shown, edit.composite, inside, sham=True
                )
        return shams

    def _case(
        self,
        number: int,
        baseline: Radiograph,
        edits: Sequence[Edit],
        mask: NDArray[np.bool_] | None,
    ) -> Case:
        """Return the rows of each edit and of its sham, or why there are none."""
        areas = self._areas(baseline, {edit.region for edit in edits}, mask)
        pairs: list[tuple[Row, Row] | Status] = []
        for edit in edits:
            area = areas[edit.region]
            if area is None:
                pairs.append("poor_anatomy")
                continue
            try:
                pairs.append(self._pair(number, baseline, edit, area))
            except NoEffectiveStepsError as error:
                log.warning("%s", error)
                pairs.append("no_effective_steps")
        return Case(baseline, edits, pairs)

    def _areas(
        self, radiograph: Radiograph, names: set[str | None], mask: NDArray[np.bool_] | None
    ) -> dict[str | None, Area | None]:
        """Return where each region lies; None where the outlines do not tell."""
        areas: dict[str | None, Area | None] = dict.fromkeys(names)
        named = sorted(name for name in names if name is not None)
        # A generator that is told places needs to know where a mask lies.
        told = mask is not None and bool(self.parts.profile.usual)
        anatomy = None
        if named or told:
            anatomy = self._anatomies.get(radiograph.id) or estimate(radiograph)
        if None in names:
            areas[None] = self._area(mask, None, anatomy if told else None)
        if anatomy is None or not named:
            return areas
        try:
            require(anatomy, radiograph.source)
        except AnatomyError as error:
            log.warning("%s", error)
            return areas
        for name in named:
            try:
                area = regions.mask(name, anatomy, mask)
                areas[name] = self._area(area, anatomy.quality, anatomy)
            except AnatomyError as error:
                log.warning("%s", error)
        return areas

    def _area(
        self, mask: NDArray[np.bool_] | None, quality: float | None, anatomy: Anatomy | None
    ) -> Area:
        if mask is None:
            return Area()
        weights = compose.soften(mask, self.parts.size // self.parts.downsampling)
        held = None
        if anatomy and self.parts.profile.usual:
            # Where outlines cannot be trusted, no place is said.
            sound = anatomy.quality >= QUALITY_NEEDED
            held = regions.spots(mask, anatomy) if sound else frozenset()
        return Area(mask, torch.from_numpy(weights)[None], quality, held)

    @cached_property
    def _exact(self) -> DiffusionEditor:
        """The same editor in torch and float32, for pictures that another engine spoils."""
        parts = self.parts.float32()
        if parts is self.parts and self.engine.name == TorchEngine.name:
            return self
        return DiffusionEditor(parts, batch_size=self.batch_size, deterministic=self.deterministic)

    def _pair(self, number: int, baseline: Radiograph, edit: Edit, area: Area) -> tuple[Row, Row]:
        """Return the rows of an edit and of its sham.

        Raises:
            NoEffectiveStepsError: strength times steps leaves nothing.
        """
        row, sham = (self._row(number, baseline, one, area) for one in (edit, edit.sham()))
        return row, sham

    def _row(self, number: int, baseline: Radiograph, edit: Edit, area: Area) -> Row:
        profile = self.parts.profile
        names = () if edit.arm == "sham" else edit.hold
        held = tuple(profile.prompt(Edit((name,))) for name in names)
        schedule, guidance = self.schedule(edit), profile.guidance(edit)
        prompts = profile.pair(edit, baseline.id, area.spots)
        inside = self.parts.takes_guidance and not (prompts[1] or held)
        if inside:
            guidance = 1.0 if prompts[0] == prompts[1] else self._taught(guidance)
        return Row(number, baseline, edit, schedule, prompts, guidance, held, area, inside)

    def _taught(self, scale: float) -> float:
        """Return a guidance scale, or the nearest that the U-Net was taught to take."""
        taught = self.parts.profile.guidance_range or (scale, scale)
        nearest = min(max(scale, taught[0]), taught[1])
        if nearest != max(scale, 1.0) and scale not in self._beyond:
            self._beyond.add(scale)
            log.warning(
                "guidance scales that %s was taught are %g to %g; %g is taken for %g",
                *(self.name, *taught, nearest, scale),
            )
        return nearest

    def _render(self, rows: list[Row], compared: set[int]) -> tuple[Pictures, set[Key]]:
        """Return pictures by key, and the keys of those whose autoencoder was redone in float32.

        There is one of each row, and under (number,) the unedited one of each baseline in
        `compared`.
        """
        if not rows:
            return {}, set()
        posteriors, again = self._encode({row.number: row.baseline for row in rows})
        latents: dict[Key, Tensor] = {
            (number,): self.parts.scaled(posteriors[number][0]) for number in sorted(compared)
        }
        for batch in self._batches(rows):
            made = self._halving(partial(self._denoise, posteriors), batch)
            latents |= {row.key: one for row, one in zip(batch, made, strict=True)}
        for row in rows:
            if row.still:
                latents[row.key] = self._unmoved(row, *posteriors[row.number])
        if self.slow and self.parts.unet.device.type == "cpu":
            self.parts.rest()
        pictures, redone = self._decode(latents)
        return pictures, redone | {key for key in latents if key[0] in again}

    def _halving(self, work: Callable[[list[T]], Sequence[S]], items: list[T]) -> list[S]:
        """Return what `work` makes of items, by halves where the device's memory is short.

        Raises:
            WeightsError: it is too short for one.
        """
        try:
            return list(work(items))
        except torch.OutOfMemoryError as error:
            if len(items) == 1:
                raise WeightsError(
                    f"An edit at {self.parts.size} px must fit into the memory of "
                    f"{self.parts.unet.device}. Use --precision float16 and --vae-tiling."
                ) from error
        log.warning("memory is short: batches of %d by halves; lower --batch-size", len(items))
        half = len(items) // 2
        return [one for part in (items[:half], items[half:]) for one in self._halving(work, part)]

    def _batches(self, rows: list[Row]) -> list[list[Row]]:
        groups: dict[Key, list[Row]] = {}
        for row in rows:
            if not row.still:
                groups.setdefault(row.batch_key, []).append(row)
        size = self.batch_size
        return [g[i : i + size] for g in groups.values() for i in range(0, len(g), size)]

    def _start(self, row: Row, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents of a row's baseline, and its noise, c x h x w each."""
        first, second = sampling.draw(row.baseline.id, row.edit.seed, tuple(mean.shape))
        return self.parts.scaled(mean + deviation * first.to(mean)), second.to(mean)

    def _unmoved(self, row: Row, mean: Tensor, deviation: Tensor) -> Tensor:
        clean, noise = self._start(row, mean, deviation)
        return sampling.end(row.schedule, self.parts.scheduler_config, clean, noise)

    def _denoise(
        self, posteriors: Mapping[int, tuple[Tensor, Tensor]], batch: list[Row]
    ) -> list[Tensor]:
        starts = [self._start(row, *posteriors[row.number]) for row in batch]
        clean, noise = (torch.stack(each) for each in zip(*starts, strict=True))
        made = sampling.denoise(
            self.engine.unet,
            batch[0].schedule,
            self.parts.scheduler_config,
            clean,
            noise,
            self._guidance(batch, clean.device),
            _weights(batch, clean),
        )
        return list(made)

    def _guidance(self, batch: list[Row], device: torch.device) -> sampling.Guidance:
        held = removes = own = None
        # A first step with less to predict is one more shape to compile.
        shrinks = self.engine.name != CompiledEngine.name
        shared = [sampling.Shared.by(passes(batch, now), device) for now in (True, False)]
        if batch[0].anchored:
            paths = list(dict.fromkeys(row.path for row in batch))
            own = torch.tensor([paths.index(row.path) for row in batch], device=device)
        if batch[0].held:
            held = torch.stack([torch.stack([self._text(p) for p in row.held]) for row in batch])
            removes = torch.tensor([row.reverses for row in batch], device=device)
        return sampling.Guidance(
            towards=torch.stack([self._text(row.prompts[0]) for row in batch]),
            away=torch.stack([self._text(row.prompts[1]) for row in batch]),
            scale=torch.tensor([row.guidance for row in batch], device=device),
            held=held,
            removes=removes,
            inside=batch[0].inside,
            own=own,
            embedded=self.parts.takes_guidance,
            shared=(shared[0] if shrinks else shared[1], shared[1]),
        )

    @property
    def _at_most(self) -> int:
        """Pictures per call of the autoencoder, by the memory that one needs."""
        budget = _MEMORY["cpu" if self.parts.vae.device.type == "cpu" else "accelerator"]
        fitting = max(1, budget // self.parts.picture_bytes)
        # A power of two, as compiled decoders take them.
        return min(self.batch_size, 1 << (fitting.bit_length() - 1))

    def _encode(
        self, baselines: dict[int, Radiograph]
    ) -> tuple[dict[int, tuple[Tensor, Tensor]], set[int]]:
        """Return mean and deviation of each posterior, c x h x w each, and which were redone."""
        pictures = [compose.shrink(one, self.parts.size) for one in baselines.values()]
        found: list[tuple[Tensor, Tensor, bool]] = []
        for part in torch.from_numpy(np.stack(pictures) * 2 - 1)[:, None].split(self._at_most):
            found += self._halving(self._posteriors, list(part))
        posteriors = {n: one[:2] for n, one in zip(baselines, found, strict=True)}
        return posteriors, {n for n, one in zip(baselines, found, strict=True) if one[2]}

    def _posteriors(self, pictures: list[Tensor]) -> list[tuple[Tensor, Tensor, bool]]:
        """Return mean and deviation of pictures, 1 x h x w each in [-1, 1], and if redone."""
        vae, grey = self.parts.vae, torch.stack(pictures).to(self.parts.vae.device)
        grey = grey.expand(-1, vae.config.in_channels, -1, -1)
        posterior = vae.encode(grey.to(vae.dtype)).latent_dist
        made = []
        for number, (mean, deviation) in enumerate(zip(posterior.mean, posterior.std, strict=True)):
            redo = vae.dtype != torch.float32 and not bool(mean.isfinite().all())
            if redo:
                exact = self.parts.exact_vae.encode(grey[number : number + 1]).latent_dist
                mean, deviation = exact.mean[0].to(mean), exact.std[0].to(mean)
            made.append((mean, deviation, redo))
        return made

    def _decode(self, latents: dict[Key, Tensor]) -> tuple[Pictures, set[Key]]:
        """Return pictures, size x size in [0, 1], of scaled latents, and which were redone."""
        pictures = self._pictures(self.engine.decode, latents)
        spoilt = {key: latents[key].float() for key in latents if _fault(pictures[key])}
        # Asked for only where it is needed: it may be a second copy of the weights.
        exact = self._exact_decoder if spoilt else None
        if exact is None:
            return pictures, set()
        return pictures | self._pictures(exact, spoilt), set(spoilt)

    def _pictures(self, decode: Callable[[Tensor], Tensor], latents: dict[Key, Tensor]) -> Pictures:
        def made(part: list[Tensor]) -> list[Array]:
            # A channel mean, because a grey picture may come from an RGB autoencoder.
            grey = decode(self.parts.unscaled(torch.stack(part))).float().mean(1)
            return list((grey / 2 + 0.5).clamp(0, 1).cpu().numpy())

        rows, size = list(latents.values()), self._at_most
        parts = (rows[start : start + size] for start in range(0, len(rows), size))
        each = [picture for part in parts for picture in self._halving(made, part)]
        return dict(zip(latents, each, strict=True))

    @cached_property
    def _exact_decoder(self) -> Callable[[Tensor], Tensor] | None:
        """The decoder in torch and float32; None where that is the engine's."""
        vae = self.parts.exact_vae
        if vae is self.parts.vae and self.engine.name == TorchEngine.name:
            return None
        return lambda latents: vae.decode(latents, return_dict=False)[0]

    def _text(self, prompt: str) -> Tensor:
        """Return the text states of a prompt, tokens x width; each prompt is encoded once."""
        if prompt not in self._states:
            self._states[prompt] = self.parts.text_states(prompt)
        return self._states[prompt]

    def _facts(self, row: Row) -> dict[str, Any]:
        quality = row.area.quality
        return {
            "editor": self.name,
            "prompt": row.prompts[0],
            "negative_prompt": row.prompts[1],
            "sham_prompt": self.parts.profile.normal,
            "guidance": row.guidance,
            "region": row.edit.region,
            "anatomy_quality": None if quality is None else round(quality, 3),
            "hold": list(row.edit.hold),
            "held_prompts": list(row.held),
            "scheduler": row.schedule.scheduler,
            "num_inference_steps": row.schedule.num_inference_steps,
            "effective_steps": row.schedule.effective_steps,
            "effective_strength": row.schedule.effective_strength,
            "size": self.parts.size,
            "engine": self.engine.name,
            "deterministic": self.deterministic,
            "weights": self.parts.weights_hash,
        }


def _shown(pictures: Pictures, row: Row, sham: Row) -> compose.Decoded:
    return compose.Decoded(pictures[row.key], pictures[sham.key], pictures.get((row.number,)))


def _weights(batch: list[Row], like: Tensor) -> Tensor | None:
    """Return the weights of each row, n x 1 x h x w, or None where no row has a region."""
    if all(row.area.weights is None for row in batch):
        return None
    whole = torch.ones_like(like[0, :1])
    rows = [whole if row.area.weights is None else row.area.weights.to(whole) for row in batch]
    return torch.stack(rows)


def _check(
    radiographs: Sequence[Radiograph], edits: Sequence[Sequence[Edit]], masks: Masks
) -> None:
    for what, values in (("list of edits", edits), ("mask", masks)):
        if len(values) != len(radiographs):
            raise EditError(
                f"Give one {what} per radiograph; got {len(values)} for {len(radiographs)}."
            )
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
