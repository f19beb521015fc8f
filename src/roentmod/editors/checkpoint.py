"""Checkpoints of one file, whose tensors have the names of the original Stable Diffusion code."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers.loaders import single_file_utils
from safetensors import SafetensorError, safe_open
from torch import Tensor

from roentmod.editors.weights import Loader, check_keys, quiet, quoted, read_json
from roentmod.errors import WeightsError

__all__ = ["FileLoader"]

_PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.",
}
_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."


class FileLoader(Loader):
    """Loads parts from one file, by the configurations of a folder of the same family.

    What the file lacks comes from the folder: the tokenizer and the schedule always do.
    """

    def __init__(self, file: Path, *settings: Any) -> None:
        """Read the names of the tensors.

        Raises:
            WeightsError: the file is no checkpoint.
        """
        super().__init__(*settings)
        self.file = file
        try:
            with safe_open(file, "pt") as content:
                self._names = list(content.keys())
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"'{file}' cannot be read: {quoted(error)}") from error
        if not any(name.startswith(_PREFIXES["unet"]) for name in self._names):
            raise WeightsError(
                f"A checkpoint of one file has tensors {_PREFIXES['unet']}*; '{file}' has none. "
                "Name a LoRA by --lora, and the folder of other files."
            )
        self.files.append(file)

    def _guarded(
        self, folder: Path, where: str, kind: Any, spare: tuple[str, ...], **options: Any
    ) -> Any:
        part = folder.name.removesuffix("_and_tokenizer")
        prefix = _PREFIXES[part]
        if not any(name.startswith(prefix) for name in self._names):
            return super()._guarded(folder, where, kind, spare, **options)
        fill = self._text if part == "text_encoder" else self._diffusers
        with safe_open(self.file, "pt") as content:
            state = {n: content.get_tensor(n) for n in self._names if n.startswith(prefix)}
        place = f"'{self.file}'"
        try:
            with quiet():
                model = fill(folder, kind, state, place, spare)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{place} does not hold the {part} of {where}: {type(error).__name__} "
                f"{quoted(error)}. Name the host of the same family."
            ) from error
        return self._placed(model)

    def _diffusers(
        self, folder: Path, kind: Any, state: dict[str, Tensor], place: str, spare: tuple[str, ...]
    ) -> Any:
        config = read_json(folder / "config.json")
        # Without memory: the file's own tensors take their places.
        with torch.device("meta"):
            model = kind.from_config(config)
        names = {
            "unet": single_file_utils.convert_ldm_unet_checkpoint,
            "vae": single_file_utils.convert_ldm_vae_checkpoint,
        }
        renamed = names[folder.name](state, dict(model.config))
        own = model.state_dict()
        keys = {
            "missing_keys": own.keys() - renamed.keys(),
            "unexpected_keys": renamed.keys() - own.keys(),
            "mismatched_keys": [
                k for k in own.keys() & renamed.keys() if own[k].shape != renamed[k].shape
            ],
        }
        check_keys(place, kind.__name__, keys, spare)
        model.load_state_dict(renamed, assign=True)
        return model

    def _text(
        self, folder: Path, kind: Any, state: dict[str, Tensor], place: str, spare: tuple[str, ...]
    ) -> Any:
        config = kind.config_class.from_pretrained(folder, local_files_only=True)
        if any(name.startswith(_OPEN_CLIP) for name in state):
            like = SimpleNamespace(config=config)
            renamed = single_file_utils.convert_open_clip_checkpoint(like, state, _OPEN_CLIP)
            renamed.pop("text_projection.weight", None)
        else:
            renamed = {n.removeprefix(_CLIP): value for n, value in state.items()}
        model, keys = kind.from_pretrained(
            None,
            config=config,
            state_dict=renamed,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        check_keys(place, kind.__name__, keys, spare)
        return model
