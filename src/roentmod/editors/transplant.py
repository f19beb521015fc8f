"""Put a generator's U-Net, text encoder and tokenizer beside a host's autoencoder and schedule.

Nothing is trained: what makes the pair work is that both speak the same latents, which is checked
before any picture is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from roentmod.domain import check_profile, words
from roentmod.errors import InputError, MismatchError, WeightsError
from roentmod.prompts import PROFILES, Profile

__all__ = ["BUNDLED", "Components", "transplant"]

BUNDLED = {"mini": Path(__file__).parent / "mini"}
_TEXT_FOLDERS = ("text_encoder", "text_encoder_and_tokenizer")
_TOKENIZER_FOLDERS = ("tokenizer", "text_encoder_and_tokenizer")
# Classes published outside transformers whose weights a transformers class holds unchanged.
_SAME_WEIGHTS = {"CXRBertModel": "BertModel"}
_PATTERNS = ["*/*.json", "*/*.txt", "*.json", "*/*.safetensors", "*/*.model"]


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
    """

    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: dict[str, Any]
    profile: Profile
    files: tuple[Path, ...] = ()

    @property
    def downsampling(self) -> int:
        """Pixels per latent cell, along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def size(self) -> int:
        """Side of the working picture in pixels."""
        return self.profile.size or int(self.unet.config.sample_size) * self.downsampling

    @property
    def text_length(self) -> int:
        """Tokens of a prompt, padded or cut."""
        positions = int(self.text_encoder.config.max_position_embeddings)
        return min(int(self.tokenizer.model_max_length), positions)

    def float32(self) -> Components:
        """Return these parts in float32 (the same object where they are)."""
        if all(p.dtype == torch.float32 for p in (self.vae, self.unet, self.text_encoder)):
            return self
        names = ("vae", "unet", "text_encoder")
        return replace(self, **{name: deepcopy(getattr(self, name)).float() for name in names})

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the weight files, 16 hex digits."""
        digest = hashlib.sha256()
        for path in sorted(self.files):
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()[:16]


def transplant(
    host: str | Path | None,
    generator: str | Path,
    *,
    allow_pickle: bool = False,
    profile: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Components:
    """Build the image-to-image parts from diffusers folders, hub ids, or the bundled ``mini``.

    Args:
        host: gives autoencoder and schedule; None takes the generator's own.
        generator: gives U-Net, text encoder and tokenizer.
        allow_pickle: also load ``.bin`` weights, which can run code; safetensors alone otherwise.
        profile: name of a prompt profile; None takes it from the folder.
        dtype: floating-point type of all parts.
        device: torch's name of where they run.

    Raises:
        WeightsError: a folder or part is missing, unreadable, or pickled.
        MismatchError: host and generator do not speak the same latents or prompts.
    """
    body = _resolve(generator)
    frame = _resolve(host) if host is not None else body
    load = _Loader(allow_pickle, dtype, device)
    parts = Components(
        vae=load.diffusers(AutoencoderKL, frame, "vae"),
        unet=load.diffusers(UNet2DConditionModel, body, "unet"),
        text_encoder=load.text_encoder(body),
        tokenizer=load.tokenizer(body),
        scheduler_config=_json(frame / "scheduler" / "scheduler_config.json"),
        profile=_profile(body, profile),
        files=tuple(load.files),
    )
    problems = list(_problems(parts, body))
    if problems:
        raise MismatchError(
            f"Host {frame.name} and generator {body.name} do not fit: {'; '.join(problems)}. "
            "Name the host that the generator was trained with."
        )
    return parts


def _resolve(name: str | Path) -> Path:
    if str(name) in BUNDLED:
        folder = BUNDLED[str(name)]
        if not (folder / "unet").is_dir():
            raise WeightsError(f"The bundled generator '{name}' is not in this installation.")
        return folder
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    looks_like_path = path.is_absolute() or str(name).startswith(".") or str(name).count("/") != 1
    if path.exists() or looks_like_path:
        raise WeightsError(
            f"A model is a diffusers folder, a hub id (owner/name) or 'mini'; got '{name}', "
            "which is no folder. Check the path."
        )
    return _from_hub(str(name))


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_PATTERNS))
    except Exception as error:
        raise WeightsError(
            f"A hub id must be reachable or already downloaded; '{name}' gave "
            f"{type(error).__name__}. Download it to a folder and name that folder."
        ) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"A diffusers folder has {path.parent.name}/{path.name}; it is missing or no JSON in "
            f"'{path.parent.parent}'. Copy the whole model folder."
        ) from error
    return content


class _Loader:
    """Loads parts the safe way and remembers which files they came from."""

    def __init__(self, allow_pickle: bool, dtype: torch.dtype, device: str) -> None:
        self.allow_pickle = allow_pickle
        self.device = device
        self.dtype = dtype
        self.files: list[Path] = []

    def diffusers(self, kind: Any, root: Path, part: str) -> Any:
        folder = self._checked(root, (part,))
        # Stated, because diffusers' own default depends on whether accelerate is installed.
        return self._guarded(folder, kind, low_cpu_mem_usage=False)

    def text_encoder(self, root: Path) -> Any:
        folder = self._checked(root, _TEXT_FOLDERS)
        declared = (_json(folder / "config.json").get("architectures") or ["CLIPTextModel"])[0]
        kind = getattr(transformers, _SAME_WEIGHTS.get(declared, declared), None)
        if kind is None:
            raise WeightsError(
                f"A text encoder must be a class of transformers; {folder} declares '{declared}'. "
                "Convert it to the class it derives from."
            )
        return self._guarded(folder, kind)

    def tokenizer(self, root: Path) -> Any:
        folder = next((root / n for n in _TOKENIZER_FOLDERS if (root / n).is_dir()), None)
        if folder is None:
            raise WeightsError(f"A generator has a tokenizer folder; '{root}' has none.")
        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise WeightsError(f"The tokenizer in '{folder}' cannot be read: {error}") from error

    def _checked(self, root: Path, names: tuple[str, ...]) -> Path:
        folder = next((root / n for n in names if (root / n).is_dir()), None)
        if folder is None:
            raise WeightsError(
                f"A diffusers folder has the part '{names[0]}'; '{root}' has not. "
                "Copy the whole model folder."
            )
        safe = sorted(folder.glob("*.safetensors"))
        pickled = sorted(folder.glob("*.bin"))
        if not safe and pickled and not self.allow_pickle:
            raise WeightsError(
                f"Weights must be safetensors, because pickles can run code; {folder} has only "
                f"{pickled[0].name}. Convert it, or pass --allow-pickle if you trust its source."
            )
        if not safe and not pickled:
            raise WeightsError(f"'{folder}' has no weights (*.safetensors). Copy the whole folder.")
        self.files += safe or pickled
        return folder

    def _guarded(self, folder: Path, kind: Any, **options: Any) -> Any:
        safe = any(folder.glob("*.safetensors"))
        shown = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()
        try:
            model = kind.from_pretrained(
                folder,
                torch_dtype=self.dtype,
                use_safetensors=safe,
                local_files_only=True,
                **options,
            )
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise WeightsError(
                f"'{folder}' cannot be loaded as {kind.__name__}: {type(error).__name__} {first}"
            ) from error
        finally:
            if shown:
                transformers_logging.enable_progress_bar()
        return model.eval().requires_grad_(False).to(self.device)


def _profile(folder: Path, name: str | None) -> Profile:
    if name is not None:
        if name not in PROFILES:
            raise WeightsError(f"Profiles are {', '.join(PROFILES)}; got '{name}'.")
        return PROFILES[name]
    own = folder / "profile.json"
    if own.exists():
        fields = _json(own)
        try:
            base = PROFILES.get(str(fields.get("name")), PROFILES["generic"])
            named: Any = {w: str(fields.pop(w)) for w in ("name", "domain") if w in fields}
            check_profile(base.name, fields, (item.name for item in words().values()))
            return replace(base, **fields, **named)
        except InputError as error:
            raise WeightsError(f"{own}: {error}") from error
    lower = folder.name.lower()
    known = sorted((n for n in PROFILES if n in lower), key=len)
    return PROFILES[known[-1]] if known else PROFILES["generic"]


def _problems(parts: Components, generator: Path) -> Iterator[str]:
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
    if text.hidden_size != unet.cross_attention_dim:
        yield (
            f"the text encoder gives width {text.hidden_size}, "
            f"the U-Net's cross-attention takes {unet.cross_attention_dim}"
        )
    if len(parts.tokenizer) > text.vocab_size:
        yield (
            f"the tokenizer has {len(parts.tokenizer)} tokens, "
            f"the text encoder knows {text.vocab_size}"
        )
    yield from _schedule_problems(parts, generator)


def _schedule_problems(parts: Components, generator: Path) -> Iterator[str]:
    own_schedule = generator / "scheduler" / "scheduler_config.json"
    if own_schedule.exists():
        ours = parts.scheduler_config.get("prediction_type", "epsilon")
        theirs = _json(own_schedule).get("prediction_type", "epsilon")
        if ours != theirs:
            yield f"the host's schedule predicts {ours}, the generator was trained on {theirs}"
    own_vae = generator / "vae" / "config.json"
    if own_vae.exists():
        factor, theirs = parts.vae.config.scaling_factor, _json(own_vae).get("scaling_factor")
        if theirs is not None and abs(factor - theirs) > 1e-4 * abs(theirs):
            yield f"the host's latents are scaled by {factor:g}, the generator's by {theirs:g}"
