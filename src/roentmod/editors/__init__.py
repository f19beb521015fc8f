"""Editors add and remove findings. `Editor.load` is the door."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from roentmod.editors.painter import Painter
from roentmod.errors import WeightsError
from roentmod.interfaces import RadiographEditor, anchored

if TYPE_CHECKING:
    from roentmod.editors.components import BUNDLED, Components, transplant
    from roentmod.editors.diffusion import DiffusionEditor
    from roentmod.editors.engines import EngineName

__all__ = ["BUNDLED", "Components", "DiffusionEditor", "Editor", "Painter", "transplant"]

log = logging.getLogger(__name__)
Precision = Literal["float32", "float16", "bfloat16"]
# Generators bring torch and diffusers, which take many seconds; the painter needs neither.
_LATE = {
    "BUNDLED": "roentmod.editors.components",
    "Components": "roentmod.editors.components",
    "DiffusionEditor": "roentmod.editors.diffusion",
    "transplant": "roentmod.editors.components",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'roentmod.editors' has no attribute '{name}'")
    return getattr(import_module(_LATE[name]), name)


class Editor:
    """The door to every editor."""

    @staticmethod
    def load(
        name: str | Path,
        *,
        host: str | Path | None = None,
        engine: EngineName = "auto",
        deterministic: bool = False,
        batch_size: int = 8,
        allow_pickle: bool = False,
        profile: str | None = None,
        lora: Sequence[str] = (),
        device: str = "cpu",
        precision: Precision = "float32",
        vae_tiling: bool = False,
    ) -> RadiographEditor:
        """Return the editor `name`: ``mini``, ``painter``, a folder, a hub id, or an entry point.

        A checkpoint of one file needs a `host`. `lora` names LoRA to put on top, ``PATH[:scale]``.

        Third parties add editors through the entry-point group ``roentmod.editors``: a callable
        without arguments that returns a `RadiographEditor`.

        Raises:
            WeightsError: the folder is missing, incomplete, unsafe, or does not fit the host.
            MissingDependencyError: the engine's library is not installed.
        """
        for point in entry_points(group="roentmod.editors"):
            if point.name == str(name):
                _ignored(name, device, lora)
                return cast(RadiographEditor, point.load()())
        if str(name) == Painter.name:
            _ignored(name, device, lora)
            return Painter()
        import torch

        from roentmod.editors.components import transplant
        from roentmod.editors.diffusion import DiffusionEditor
        from roentmod.editors.engines import make_engine
        from roentmod.editors.lora import adapter

        adapters = [adapter(text) for text in lora]
        settings = {
            "engine": engine,
            "deterministic": deterministic,
            "batch_size": batch_size,
            "allow_pickle": allow_pickle,
            "profile": profile,
            "lora": tuple(one.text for one in adapters),
            "device": device,
            "precision": precision,
            "vae_tiling": vae_tiling,
        }
        parts = transplant(
            host,
            name,
            allow_pickle=allow_pickle,
            profile=profile,
            adapters=adapters,
            dtype=getattr(torch, precision),
            device=device,
            tiled=vae_tiling,
        )
        made = DiffusionEditor(
            parts,
            engine=make_engine(engine, parts),
            batch_size=batch_size,
            deterministic=deterministic,
        )
        there = None if host is None else _place(host)
        made.remember(Editor.load, _place(name), host=there, **settings)
        return made


def _place(name: str | Path) -> str:
    from roentmod.editors.components import BUNDLED

    # A bundled generator comes before a folder of the same name.
    return str(name) if str(name) in BUNDLED else anchored(name)


def _ignored(name: str | Path, device: str, lora: Sequence[str]) -> None:
    if lora:
        raise WeightsError(f"A LoRA goes on top of a diffusion generator; {name} is none. Omit it.")
    if device != "cpu":
        log.warning("%s: device '%s' is ignored", name, device)
