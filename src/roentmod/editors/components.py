"""Put a generator's U-Net, text encoder and tokenizer beside a host's autoencoder and schedule.

Nothing is trained: what makes the pair work is that both speak the same latents, which is checked
before any picture is made.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from roentmod.domain import check_profile, words
from roentmod.editors import lora, sampling
from roentmod.editors.checkpoint import FileLoader
from roentmod.editors.weights import BUNDLED, Loader, Source, quoted, read_json, resolve
from roentmod.errors import InputError, MismatchError, WeightsError
from roentmod.prompts import PROFILES, Profile

__all__ = ["BUNDLED", "Components", "tile", "transplant"]

log = logging.getLogger(__name__)
# Fields of a U-Net by which it asks for more than latents, time and text states, and the values
# with which it does not.
_CALL = {
    "addition_embed_type": (None, "text"),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "encoder_hid_dim_type": (None, "text_proj"),
}
_ASKED = "Use a text-to-image generator of the Stable Diffusion 1 or 2 kind."
# Fields that must be the same in the schedules of host and generator where both state them.
_SCHEDULE = ("rescale_betas_zero_snr", "beta_schedule", "beta_start", "beta_end")
# Older U-Nets of 512 px state 32 or 64 cells; diffusers' pipelines take 64.
_OLD, _OLD_CELLS = (0, 9), 64
# Folders of parts: names that the order of files may depend on.
_PARTS = ("unet", "vae", "text_encoder", "text_encoder_and_tokenizer", "tokenizer", "scheduler")
# Tokens that a text encoder without a table of positions gets at most.
_POSITIONS = 512


@dataclass(frozen=True, eq=False)
class Components:
    """A checked set of parts for image-to-image editing.

    Attributes:
        vae: autoencoder of the host, grey or RGB.
        unet: denoiser of the generator.
        text_encoder: text encoder of the generator.
        tokenizer: tokenizer of the generator.
        scheduler_config: of the host.
        profile: how the generator is spoken to.
        files: the weight files, for the hash.
        settings: their configurations and vocabularies, for theirs.
        adapters: LoRA that the weights already include, for the hash.
        tiled: whether the autoencoder works in tiles.
        reread: reads the text encoder again; None where it must stay.
    """

    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: dict[str, Any]
    profile: Profile
    files: tuple[Path, ...] = ()
    settings: tuple[Path, ...] = ()
    adapters: tuple[lora.Adapter, ...] = ()
    tiled: bool = False
    reread: Callable[[], Any] | None = None

    @property
    def downsampling(self) -> int:
        """Pixels per latent cell, along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def size(self) -> int:
        """Side of the working picture in pixels."""
        return self.profile.size or _cells(self.unet.config) * self.downsampling

    @property
    def takes_guidance(self) -> bool:
        """Whether the U-Net guides by itself: it takes the scale (``time_cond_proj_dim``)."""
        return self.unet.config.get("time_cond_proj_dim") is not None

    @property
    def picture_bytes(self) -> int:
        """What the autoencoder needs to work on one picture, about: its widest layer, four times.

        The decoder's last block gets the channels of the block before at the picture's size.
        """
        side = self.size // 2 if self.tiled else self.size
        channels = max(self.vae.config.block_out_channels[:2])
        return int(4 * channels * side**2 * self.vae.dtype.itemsize)

    @property
    def text_length(self) -> int:
        """Tokens of a prompt, padded or cut."""
        positions = getattr(self.text_encoder.config, "max_position_embeddings", _POSITIONS)
        return min(int(self.tokenizer.model_max_length), int(positions))

    def text_states(self, prompt: str) -> Tensor:
        """Return the text states of a prompt, tokens x width; what is too long is cut."""
        encoder, length = self._awake(), self.text_length
        tokens = self.tokenizer(
            [prompt],
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        if len(self.tokenizer(prompt).input_ids) > length:
            log.warning("prompt cut to %d tokens: %s", length, prompt)
        mask = {}
        if getattr(encoder.config, "use_attention_mask", False):
            mask = {"attention_mask": tokens.attention_mask.to(encoder.device)}
        states: Tensor = encoder(tokens.input_ids.to(encoder.device), **mask).last_hidden_state
        return states[0]

    def rest(self) -> None:
        """Give back the memory of the text encoder until the next prompt."""
        if self.reread is not None:
            self.text_encoder.to("meta")

    def _awake(self) -> Any:
        if self.text_encoder.device.type == "meta" and self.reread is not None:
            object.__setattr__(self, "text_encoder", self.reread())
        return self.text_encoder

    def scaled(self, latents: Tensor) -> Tensor:
        """Return the autoencoder's latents as the U-Net takes them."""
        shift = self.vae.config.get("shift_factor") or 0
        return ((latents - shift) if shift else latents) * self.vae.config.scaling_factor  # type: ignore[no-any-return]

    def unscaled(self, latents: Tensor) -> Tensor:
        """Return latents as the autoencoder takes them."""
        plain = latents / self.vae.config.scaling_factor
        return plain + (self.vae.config.get("shift_factor") or 0)  # type: ignore[no-any-return]

    @cached_property
    def exact_vae(self) -> Any:
        """The autoencoder in float32; where it is not, a copy."""
        return self.vae if self.vae.dtype == torch.float32 else deepcopy(self.vae).float()

    def float32(self) -> Components:
        """Return these parts in float32 (the same object where they are)."""
        if all(p.dtype == torch.float32 for p in (self.vae, self.unet, self.text_encoder)):
            return self
        copies = {"unet": self.unet, "text_encoder": self._awake()}
        exact = {name: deepcopy(one).float() for name, one in copies.items()}
        return replace(self, vae=self.exact_vae, reread=None, **exact)

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the weight files, and over each LoRA and its scale, 16 hex digits."""
        own = _digest(self.files)
        if not self.adapters:
            return own
        parts = [own, *(f"{_digest([one.path])}:{one.scale!r}" for one in self.adapters)]
        return hashlib.sha256("+".join(parts).encode()).hexdigest()[:16]

    @cached_property
    def settings_hash(self) -> str:
        """SHA-256 over configurations and vocabularies, 16 hex digits."""
        return _digest(self.settings)


def transplant(
    host: str | Path | None,
    generator: str | Path,
    *,
    allow_pickle: bool = False,
    profile: str | None = None,
    adapters: Sequence[lora.Adapter] = (),
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    tiled: bool = False,
) -> Components:
    """Build the image-to-image parts from diffusers folders, hub ids, or the bundled ``mini``.

    Args:
        host: gives autoencoder and schedule; None takes the generator's own.
        generator: gives U-Net, text encoder and tokenizer. A checkpoint of one file also gives its
            own autoencoder; its host then gives the configurations and the tokenizer.
        allow_pickle: also load ``.bin`` weights, which can run code; safetensors alone otherwise.
        profile: name of a prompt profile; None takes it from the folder.
        adapters: LoRA on top.
        dtype: floating-point type of all parts.
        device: torch's name of where they run.
        tiled: let the autoencoder work in tiles of half the picture's side.

    Raises:
        WeightsError: a folder or part is missing, unreadable, or pickled.
        MismatchError: host and generator do not speak the same latents or prompts.
    """
    settings = (allow_pickle, dtype, device)
    if Path(generator).suffix == ".safetensors" and Path(generator).expanduser().is_file():
        file = Path(generator).expanduser()
        if host is None:
            raise WeightsError(
                f"A checkpoint of one file has weights alone; got '{file}'. Name a diffusers "
                "folder or hub id of the same family by --host: it gives the configurations, the "
                "tokenizer and the schedule."
            )
        load: Loader = FileLoader(file, *settings)
        frame = resolve(host, allow_pickle=allow_pickle)
        body = replace(frame, name=file.stem)
    else:
        load = Loader(*settings)
        body = resolve(generator, allow_pickle=allow_pickle)
        frame = resolve(host, allow_pickle=allow_pickle) if host is not None else body
    parts = Components(
        vae=load.diffusers(AutoencoderKL, frame, "vae"),
        unet=load.diffusers(UNet2DConditionModel, body, "unet"),
        text_encoder=load.text_encoder(body),
        tokenizer=load.tokenizer(body),
        scheduler_config=load.scheduler(frame),
        profile=_profile(body, profile),
        files=tuple(load.files),
        settings=tuple(load.settings),
        adapters=tuple(adapters),
        tiled=tiled,
        reread=None if adapters else partial(load.text_encoder, body),
    )
    lora.merge(adapters, parts.unet, parts.text_encoder)
    _check_call(parts, body)
    if problems := list(_problems(parts, body)):
        raise MismatchError(
            f"Host {frame.name} and generator {body.name} do not fit: {'; '.join(problems)}. "
            "Name the host that the generator was trained with."
        )
    _try(parts, body)
    if tiled:
        tile(parts)
    return parts


def tile(parts: Components) -> None:
    """Let the autoencoder work in tiles: diffusers' own would be as large as most pictures."""
    parts.vae.enable_tiling()
    parts.vae.tile_sample_min_size = parts.size // 2
    parts.vae.tile_latent_min_size = parts.size // 2 // parts.downsampling


def _digest(files: Iterable[Path]) -> str:
    """Return 16 hex digits of files in the order of their own names, wherever they lie."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda p: (p.parent.name * (p.parent.name in _PARTS), p.name)):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _profile(source: Source, name: str | None) -> Profile:
    if name is not None:
        if name not in PROFILES:
            raise WeightsError(f"Profiles are {', '.join(PROFILES)}; got '{name}'.")
        return PROFILES[name]
    own = source.path / "profile.json"
    if own.exists():
        fields = read_json(own)
        try:
            base = PROFILES.get(str(fields.get("name")), PROFILES["generic"])
            named: Any = {w: str(fields.pop(w)) for w in ("name", "domain") if w in fields}
            check_profile(base.name, fields, (item.name for item in words().values()))
            return replace(base, **fields, **named)
        except InputError as error:
            raise WeightsError(f"{source.place}/profile.json: {error}") from error
    lower = source.name.lower()
    known = sorted((n for n in PROFILES if n in lower), key=len)
    return PROFILES[known[-1]] if known else PROFILES["generic"]


def _cells(config: Any) -> int:
    """Return the side of a U-Net's latents.

    Raises:
        WeightsError: they are not square, or not stated.
    """
    stated = config.sample_size
    sides = set(stated) if isinstance(stated, list | tuple) else {stated}
    if len(sides) != 1 or not isinstance(side := sides.pop(), int):
        raise WeightsError(
            f"A U-Net draws squares; its sample_size is {stated}. State the picture's side as "
            "'size' in a profile.json in the generator's folder."
        )
    version = str(config.get("_diffusers_version") or "1.0").split(".")
    old = tuple(int(n) if n.isdigit() else 0 for n in version[:2]) < _OLD
    return max(side, _OLD_CELLS) if old else side


def _check_call(parts: Components, source: Source) -> None:
    """Refuse a generator that needs other inputs than an edit gives it.

    Raises:
        WeightsError: naming the field of its configuration.
    """
    config = parts.unet.config
    for field, plain in _CALL.items():
        if (value := config.get(field)) not in plain:
            raise WeightsError(
                f"A U-Net takes latents, a time and text alone; that of {source.name} has {field} "
                f"{value}. {_ASKED}"
            )
    sampling.check(parts.scheduler_config)
    profile = parts.profile
    plan = sampling.make_schedule(profile.scheduler, profile.steps, 1)
    sampling.build(plan, parts.scheduler_config)
    if parts.size % parts.downsampling:
        raise WeightsError(
            f"Pictures of {source.name} have sides in steps of {parts.downsampling} pixels; got "
            f"{parts.size}. Correct the size in its profile."
        )


@torch.inference_mode()
def _try(parts: Components, source: Source) -> None:
    """Run each part once on the smallest picture that it takes.

    Raises:
        WeightsError: naming the part that fails.
    """
    part = "text encoder"
    try:
        text = parts.text_states("")[None]
        part = "autoencoder"
        vae, levels = parts.vae, len(parts.unet.config.block_out_channels)
        side = parts.downsampling * 2 ** (levels - 1)
        blank = torch.zeros(1, vae.config.in_channels, side, side).to(vae.device, vae.dtype)
        latents = vae.encode(blank).latent_dist.mean
        vae.decode(latents)
        part = "U-Net"
        guided = None
        if parts.takes_guidance:
            ones = torch.ones(1, device=latents.device)
            guided = sampling.embedding(ones, parts.unet.config.time_cond_proj_dim).to(latents)
        time = torch.tensor(1, device=latents.device)
        parts.unet(latents, time, text, timestep_cond=guided)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"The {part} of {source.name} must run as Stable Diffusion's; one call gave "
            f"{type(error).__name__} {quoted(error)}. {_ASKED}"
        ) from error


def _problems(parts: Components, generator: Source) -> Iterator[str]:
    vae, unet, text = parts.vae.config, parts.unet.config, parts.text_encoder.config
    if vae.latent_channels != unet.in_channels:
        yield (
            f"the host's autoencoder makes {vae.latent_channels} latent channels, "
            f"the generator's U-Net takes {unet.in_channels}"
        )
    if unet.in_channels != unet.out_channels:
        yield (
            f"the generator's U-Net takes {unet.in_channels} and gives {unet.out_channels} "
            "channels (an inpainting model)"
        )
    width, taken = getattr(text, "hidden_size", None), _width(unet)
    if {width} != taken:
        shown = ", ".join(map(str, sorted(taken)))
        yield f"the text encoder gives width {width}, the U-Net's cross-attention takes {shown}"
    if len(parts.tokenizer) > getattr(text, "vocab_size", 0):
        yield (
            f"the tokenizer has {len(parts.tokenizer)} tokens, "
            f"the text encoder knows {getattr(text, 'vocab_size', 0)}"
        )
    yield from _schedule_problems(parts, generator)
    yield from _scale_problems(parts, generator)


def _width(unet: Any) -> set[int]:
    """Return the widths of text states that a U-Net takes; its blocks may differ."""
    stated = unet.encoder_hid_dim or unet.cross_attention_dim
    return set(stated) if isinstance(stated, list | tuple) else {stated}


def _schedule_problems(parts: Components, generator: Source) -> Iterator[str]:
    own_schedule = generator.path / "scheduler" / "scheduler_config.json"
    if not own_schedule.exists():
        return
    host, own = parts.scheduler_config, read_json(own_schedule)
    ours, theirs = (one.get("prediction_type", "epsilon") for one in (host, own))
    if ours != theirs:
        yield f"the host's schedule predicts {ours}, the generator was trained on {theirs}"
    for field in _SCHEDULE:
        if field in host and field in own and host[field] != own[field]:
            yield f"the host's schedule has {field} {host[field]}, the generator's {own[field]}"


def _scale_problems(parts: Components, generator: Source) -> Iterator[str]:
    own_vae = generator.path / "vae" / "config.json"
    if not own_vae.exists():
        return
    for field, word in (("scaling_factor", "scaled"), ("shift_factor", "shifted")):
        ours, theirs = parts.vae.config.get(field) or 0, read_json(own_vae).get(field)
        if theirs is not None and abs(ours - theirs) > 1e-4 * abs(theirs):
            yield f"the host's latents are {word} by {ours:g}, the generator's by {theirs:g}"
