"""What runs the two heavy parts, U-Net and decoder: torch itself, or ONNX Runtime on a CPU."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from roentmod.editors.transplant import Components
from roentmod.errors import MissingDependencyError, WeightsError

__all__ = ["Engine", "EngineName", "OnnxEngine", "TorchEngine", "make_engine"]

log = logging.getLogger(__name__)
EngineName = Literal["auto", "torch", "onnxruntime"]
_OPSET = 18


class Engine(Protocol):
    """Runs the U-Net and the decoder."""

    name: str

    def unet(self, latents: Tensor, time: Tensor, states: Tensor) -> Tensor:
        """Return the U-Net's prediction, n x c x h x w."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Return decoded pictures, n x channels x H x W in about [-1, 1]."""
        ...


class TorchEngine:
    """Runs the parts as they are."""

    name = "torch"

    def __init__(self, parts: Components) -> None:
        """Keep the parts."""
        self._parts = parts

    def unet(self, latents: Tensor, time: Tensor, states: Tensor) -> Tensor:
        """Return the U-Net's prediction, n x c x h x w."""
        predicted: Tensor = self._parts.unet(latents, time, states, return_dict=False)[0]
        return predicted

    def decode(self, latents: Tensor) -> Tensor:
        """Return decoded pictures, n x channels x H x W in about [-1, 1]."""
        pictures: Tensor = self._parts.vae.decode(latents, return_dict=False)[0]
        return pictures


class _Unet(nn.Module):
    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.inner = unet

    def forward(self, latents: Tensor, time: Tensor, states: Tensor) -> Tensor:
        out: Tensor = self.inner(latents, time, states, return_dict=False)[0]
        return out


class _Decoder(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.inner = vae

    def forward(self, latents: Tensor) -> Tensor:
        out: Tensor = self.inner.decode(latents, return_dict=False)[0]
        return out


class OnnxEngine:
    """Runs exported graphs in ONNX Runtime; exports are cached by weights hash."""

    name = "onnxruntime"

    def __init__(self, parts: Components, cache: Path, threads: int = 0) -> None:
        """Export what the cache lacks and open both graphs (`threads` 0: one a core).

        Raises:
            MissingDependencyError: onnxruntime or the exporter is not installed.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError(
                "The engine 'onnxruntime' needs onnxruntime; it is not installed. "
                "Run: pip install onnxruntime onnx onnxscript"
            ) from error
        side = parts.size // parts.downsampling
        channels = parts.unet.config.in_channels
        length = min(
            parts.tokenizer.model_max_length, parts.text_encoder.config.max_position_embeddings
        )
        latents = torch.zeros(2, channels, side, side)
        states = torch.zeros(2, length, parts.unet.config.cross_attention_dim)
        # The export is of one torch version and one opset; another must not find it.
        stem = f"{parts.weights_hash}-{side}-{_OPSET}-{torch.__version__.split('+')[0]}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3

        def session(name: str, build: Callable[[], nn.Module], inputs: dict[str, Tensor]) -> Any:
            path = cache / f"{name}-{stem}.onnx"
            if not path.exists():
                log.info("exporting the %s once to %s", name, path)
                _export(build(), inputs, path)
            return onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )

        time = torch.tensor(1, dtype=torch.int64)
        self._unet = session(
            "unet", lambda: _Unet(parts.unet), {"latents": latents, "time": time, "states": states}
        )
        self._decoder = session("decoder", lambda: _Decoder(parts.vae), {"latents": latents})

    def unet(self, latents: Tensor, time: Tensor, states: Tensor) -> Tensor:
        """Return the U-Net's prediction, n x c x h x w."""
        feed = {
            "latents": latents.contiguous().numpy(),
            "time": time.to(torch.int64).numpy(),
            "states": states.contiguous().numpy(),
        }
        return torch.from_numpy(self._unet.run(None, feed)[0])

    def decode(self, latents: Tensor) -> Tensor:
        """Return decoded pictures, n x channels x H x W in about [-1, 1]."""
        return torch.from_numpy(
            self._decoder.run(None, {"latents": latents.contiguous().numpy()})[0]
        )


def _export(module: nn.Module, inputs: dict[str, Tensor], path: Path) -> None:
    """Write an ONNX graph whose batch is dynamic; two processes may do so at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        partial = Path(folder) / path.name
        axes = {name: {0: "batch"} for name, value in inputs.items() if value.ndim > 0}
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                str(partial),
                input_names=list(inputs),
                output_names=["out"],
                dynamic_axes={**axes, "out": {0: "batch"}},
                opset_version=_OPSET,
                dynamo=False,
            )
        os.replace(partial, path)


def default_cache() -> Path:
    """Return the folder of exported graphs: ``$XDG_CACHE_HOME/roentmod`` or ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "roentmod"


def make_engine(name: EngineName, parts: Components, cache: Path | None = None) -> Engine:
    """Return the engine called `name`; "auto" takes the fastest one that works here.

    ONNX Runtime runs the bundled U-Net in about half of torch's time on a CPU at the same output
    (``make bench``), so "auto" takes it for float32 parts under 200 M parameters.

    Raises:
        MissingDependencyError: the engine's library is not installed.
        WeightsError: the engine's name is unknown.
    """
    if name == "torch":
        return TorchEngine(parts)
    if name == "onnxruntime":
        return OnnxEngine(parts, cache or default_cache())
    if name != "auto":
        raise WeightsError(f"Engines are auto, torch, onnxruntime; got '{name}'.")
    small = sum(p.numel() for p in parts.unet.parameters()) < 200e6
    if not small or parts.unet.dtype != torch.float32:
        return TorchEngine(parts)
    try:
        return OnnxEngine(parts, cache or default_cache())
    except (MissingDependencyError, OSError, RuntimeError, ValueError) as error:
        log.warning("ONNX Runtime is not used: %s", error)
        return TorchEngine(parts)
