"""LoRA: low-rank changes of a generator's weights (Hu et al., 2021), added to them when loading."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from roentmod.documents import read_document
from roentmod.editors.weights import fetched, quoted
from roentmod.errors import InputError, WeightsError
from roentmod.interfaces import anchored

__all__ = ["Adapter", "adapter", "merge"]

_FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
_KEY = re.compile(
    r"(?P<module>.+?)[._]lora(?:_linear_layer)?[._](?P<role>A|B|down|up)(?:\.default)?\.weight"
    r"|(?P<scaled>.+)\.alpha"
)
_ROLES = {"A": "down", "B": "up"}
_TEXT = ("text_encoder.", "lora_te_", "lora_te1_")
_UNET = ("unet.", "lora_unet_", "base_model.model.")
# Settings of peft that change what the tensors mean.
_OTHER_KINDS = ("use_dora", "use_rslora", "alpha_pattern")
_NAMED = 3


class Adapter(NamedTuple):
    """One LoRA to put on top.

    Attributes:
        path: its safetensors file.
        scale: how much of it; 1 is as trained.
    """

    path: Path
    scale: float

    @property
    def text(self) -> str:
        """The adapter, as `adapter` reads it."""
        return f"{anchored(self.path)}:{self.scale!r}"


def adapter(text: str) -> Adapter:
    """Return the LoRA of ``PATH[:scale]``; PATH is a file, a folder, or a hub id.

    Raises:
        WeightsError: there is none, or the scale is no finite number.
    """
    name, _, number = text.rpartition(":")
    try:
        name, scale = (name, float(number)) if name else (text, 1.0)
    except ValueError:
        name, scale = text, 1.0
    if not math.isfinite(scale):
        raise WeightsError(f"The scale of a LoRA is a finite number; got '{text}'. Correct it.")
    path = Path(name).expanduser()
    if not path.exists() and name.count("/") == 1 and not name.startswith("."):
        path = fetched(name, ["*.safetensors", "*.json"])
    if path.is_dir():
        found = [path / n for n in _FILES if (path / n).is_file()] or [*path.glob("*.safetensors")]
        path = found[0] if len(found) == 1 else path
    if not path.is_file() or path.suffix != ".safetensors":
        raise WeightsError(
            f"A LoRA is a .safetensors file, a folder with one, or a hub id; got '{name}'. "
            "Name the file."
        )
    return Adapter(path, scale)


@torch.no_grad()
def merge(adapters: Sequence[Adapter], unet: nn.Module, text_encoder: nn.Module) -> None:
    """Add the changes of each LoRA to the weights, ``scale x alpha / rank x up down`` each.

    Raises:
        WeightsError: a file holds no LoRA, another kind of it, or one of another generator.
    """
    layers = {("unet", _flat(name)): layer for name, layer in _layers(unet)}
    layers |= {("text", _flat(name)): layer for name, layer in _layers(text_encoder)}
    for one in adapters:
        _merge(one, layers)


def _merge(one: Adapter, layers: dict[tuple[str, str], Any]) -> None:
    pairs, alphas, unknown = _read(one.path)
    for name, found in pairs.items():
        layer = layers.get(_place(name)) or layers.get(_place(f"{name}_0"))
        change = _product(found)
        if layer is None or change is None or change.numel() != layer.weight.numel():
            unknown.append(name)
            continue
        rank = found["down"].shape[0]
        factor = one.scale * alphas.get(name, alphas.get(_place(name)[0], rank)) / rank
        weight = layer.weight
        change = change.reshape(weight.shape).to(weight.device)
        weight.copy_((weight.float() + factor * change).to(weight.dtype))
    if unknown or not pairs:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        shown = ", ".join(sorted(unknown)[:_NAMED]) + more
        raise WeightsError(
            f"A LoRA changes layers of its generator by pairs of matrices; '{one.path.name}' has "
            f"{shown or 'none'}. Use a LoRA that was trained on this generator."
        )


def _read(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, float], list[str]]:
    """Return matrices by layer and role, alphas by layer or part, and keys of another kind."""
    pairs: dict[str, dict[str, Tensor]] = {}
    unknown = []
    try:
        with safe_open(path, "pt") as file:
            alphas = _alphas(path, file.metadata() or {})
            for key in file.keys():  # noqa: SIM118
                match = _KEY.fullmatch(key)
                if match is None:
                    unknown.append(key)
                elif match["scaled"]:
                    alphas[match["scaled"]] = float(file.get_tensor(key))
                else:
                    role = _ROLES.get(match["role"], match["role"])
                    pairs.setdefault(match["module"], {})[role] = file.get_tensor(key).float()
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"The LoRA '{path}' cannot be read: {quoted(error)}") from error
    return pairs, alphas, unknown


def _alphas(path: Path, metadata: dict[str, str]) -> dict[str, float]:
    """Return the alpha of each part, as peft and diffusers state it.

    Raises:
        WeightsError: the file is of a kind whose matrices mean something else.
    """
    beside = path.with_name("adapter_config.json")
    try:
        stated = dict(json.loads(metadata.get("lora_adapter_metadata", "{}")))
        stated |= read_document(beside) if beside.is_file() else {}
        alphas = {
            "text" if key.startswith("text_encoder.") else "unet": float(value)
            for key, value in stated.items()
            if key.rpartition(".")[2] == "lora_alpha"
        }
    except (InputError, ValueError, TypeError) as error:
        raise WeightsError(
            f"A LoRA states its alpha in one JSON object; that of '{path.name}' gave: {error}. "
            "Copy it again."
        ) from error
    for key, value in stated.items():
        field = key.rpartition(".")[2]
        if field in _OTHER_KINDS and value:
            raise WeightsError(
                f"A LoRA is plain, with one alpha; '{path.name}' has {field}. Merge it into its "
                "generator with the tool that trained it."
            )
    return alphas


def _product(found: dict[str, Tensor]) -> Tensor | None:
    """Return up x down as a matrix, or None where they do not belong together."""
    up, down = found.get("up"), found.get("down")
    if up is None or down is None or up.flatten(1).shape[1] != down.shape[0]:
        return None
    return up.flatten(1) @ down.flatten(1)


def _layers(model: nn.Module) -> list[tuple[str, Any]]:
    kinds = (nn.Linear, nn.Conv2d)
    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, kinds)]


def _place(name: str) -> tuple[str, str]:
    """Return part and layer of a name in any of the spellings there are."""
    plain = name.replace(".processor.", ".")
    for part, starts in (("text", _TEXT), ("unet", _UNET)):
        for start in starts:
            if plain.startswith(start):
                return part, _flat(plain.removeprefix(start))
    return "unet", _flat(plain)


def _flat(name: str) -> str:
    return name.replace(".", "_").removeprefix("text_model_")
