"""Engines for the two heavy parts, U-Net and decoder: torch itself, or a runtime of graphs."""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roentmod._optional import open_session, require, threads
from roentmod.editors.components import Components
from roentmod.editors.sampling import embedding
from roentmod.errors import MissingDependencyError, WeightsError
from roentmod.store import atomic, write_json

__all__ = [
    "CompiledEngine",
    "Engine",
    "EngineName",
    "GraphEngine",
    "TorchEngine",
    "default_cache",
    "large",
    "make_engine",
]

log = logging.getLogger(__name__)
EngineName = Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
_OPSET = 18
# Parameters of a U-Net above which an export is not worth its minutes and gigabytes.
_LARGE = 200e6
# Rows of the measured batch: six findings, each guided, and the path of their baseline.
_ROWS = 13


class Engine(Protocol):
    """Runs the U-Net and the decoder."""

    name: str

    def unet(
        self, latents: Tensor, time: Tensor, states: Tensor, scales: Tensor | None = None
    ) -> Tensor:
        """Return the U-Net's prediction, n x c x h x w; `scales` (n) where it takes guidance."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Return decoded pictures, n x channels x H x W in about [-1, 1]."""
        ...


class _Unet(nn.Module):
    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.inner = unet

    def forward(
        self, latents: Tensor, time: Tensor, states: Tensor, scales: Tensor | None = None
    ) -> Tensor:
        guided = None
        if scales is not None:
            guided = embedding(scales, self.inner.config.time_cond_proj_dim).to(latents)
        out: Tensor = self.inner(latents, time, states, timestep_cond=guided, return_dict=False)[0]
        return out


class _Decoder(nn.Module):
    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.inner = vae

    def forward(self, latents: Tensor) -> Tensor:
        out: Tensor = self.inner.decode(latents, return_dict=False)[0]
        return out


class TorchEngine:
    """Runs the parts as they are."""

    name = "torch"

    def __init__(self, parts: Components) -> None:
        """Keep the parts."""
        self._unet: Callable[..., Tensor] = _Unet(parts.unet)
        self._decoder: Callable[..., Tensor] = _Decoder(parts.vae)

    def unet(
        self, latents: Tensor, time: Tensor, states: Tensor, scales: Tensor | None = None
    ) -> Tensor:
        """Return the U-Net's prediction, n x c x h x w; `scales` (n) where it takes guidance."""
        feed = (latents, time, states)
        return self._unet(*feed) if scales is None else self._unet(*feed, scales)

    def decode(self, latents: Tensor) -> Tensor:
        """Return decoded pictures, n x channels x H x W in about [-1, 1]."""
        return self._decoder(latents)


class CompiledEngine(TorchEngine):
    """Runs the parts through `torch.compile`: slow to start, and needs a C++ compiler.

    Shapes are fixed: batches are filled up to one of few sizes. Torch gives up compiling after
    eight, and a run has batches of all sizes.
    """

    name = "compile"

    def __init__(self, parts: Components) -> None:
        """Wrap the parts; each size of batch is compiled at its first use."""
        super().__init__(parts)
        self._unet = _compiled(self._unet)
        self._decoder = _compiled(self._decoder)

    def unet(
        self, latents: Tensor, time: Tensor, states: Tensor, scales: Tensor | None = None
    ) -> Tensor:
        """Return the U-Net's prediction, n x c x h x w; `scales` (n) where it takes guidance."""
        full = None if scales is None else _filled(scales)
        return super().unet(_filled(latents), time, _filled(states), full)[: len(latents)]

    def decode(self, latents: Tensor) -> Tensor:
        """Return decoded pictures, n x channels x H x W in about [-1, 1]."""
        return super().decode(_filled(latents))[: len(latents)]


class GraphEngine(TorchEngine):
    """Runs exported graphs in ONNX Runtime or OpenVINO; exports are cached by weights hash."""

    def __init__(self, name: Literal["onnxruntime", "openvino"], parts: Components, cache: Path):
        """Export what the cache lacks and open both graphs.

        Raises:
            MissingDependencyError: the runtime is not installed.
        """
        self.name = name
        cache.mkdir(parents=True, exist_ok=True)
        for library in (name, "onnx"):
            require(library)
        opened = _onnxruntime if name == "onnxruntime" else _openvino
        self._unet = opened(_graph("unet", parts, cache))
        self._decoder = opened(_graph("decoder", parts, cache))


def _filled(rows: Tensor) -> Tensor:
    """Return rows, and copies of the last up to the next size that is compiled.

    Those are powers of two, with one size half-way (3, 6, 12), and from 16 on a second (20, 24).
    """
    whole = 1 << (len(rows) - 1).bit_length()
    sizes = [whole * 5 // 8] * (whole > 16) + [whole * 3 // 4, whole]
    more = next(size for size in sizes if size >= len(rows)) - len(rows)
    return torch.cat([rows, rows[-1:].expand(more, *rows.shape[1:])]) if more else rows


def _compiled(module: Any) -> Callable[..., Tensor]:
    run: Any = torch.compile(module, dynamic=False)
    # A later call may write into what an earlier one returned.
    return lambda *feed: cast(Tensor, run(*feed).clone())


def _onnxruntime(path: Path) -> Callable[..., Tensor]:
    session = open_session(str(path))
    names = [one.name for one in session.get_inputs()]

    def run(*feed: Tensor) -> Tensor:
        arrays = dict(zip(names, _arrays(feed), strict=True))
        return torch.from_numpy(session.run(None, arrays)[0])

    return run


def _openvino(path: Path) -> Callable[..., Tensor]:
    # Its default precision may be bfloat16, which changes pictures by several grey levels.
    hints = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads(),
    }
    model = require("openvino").Core().compile_model(str(path), "CPU", hints)
    return lambda *feed: torch.from_numpy(model(_arrays(feed))[0].copy())


def _arrays(feed: Sequence[Tensor]) -> list[NDArray[Any]]:
    """Return inputs of a graph; time, the only scalar, as a whole number."""
    whole = (one.to(torch.int64) if one.ndim == 0 else one for one in feed)
    return [one.contiguous().numpy() for one in whole]


def _stem(parts: Components) -> str:
    """Name what an export depends on: weights, settings, size, opset, the exporter's version."""
    side, exporter = parts.size // parts.downsampling, torch.__version__.split("+")[0]
    return f"{parts.weights_hash}-{parts.settings_hash}-{side}-{_OPSET}-{exporter}"


def _inputs(parts: Components, rows: int) -> dict[str, Tensor]:
    side, guided = parts.size // parts.downsampling, {"scales": torch.ones(rows)}
    return {
        "latents": torch.zeros(rows, parts.unet.config.in_channels, side, side),
        "time": torch.tensor(1, dtype=torch.int64),
        "states": torch.zeros(rows, parts.text_length, parts.unet.config.cross_attention_dim),
        **(guided if parts.takes_guidance else {}),
    }


def _graph(name: Literal["unet", "decoder"], parts: Components, cache: Path) -> Path:
    """Return the path of an exported graph; it is made where the cache lacks it."""
    path = cache / f"{name}-{_stem(parts)}.onnx"
    if not path.exists():
        log.info("exporting the %s once to %s", name, path)
        inputs = _inputs(parts, 2)
        if name == "unet":
            _export(_Unet(parts.unet), inputs, path)
        else:
            _export(_Decoder(parts.vae), {"latents": inputs["latents"]}, path)
    return path


def _export(module: nn.Module, inputs: dict[str, Tensor], path: Path) -> None:
    """Write an ONNX graph whose batch is dynamic; two processes may do so at once."""
    axes = {name: {0: "batch"} for name, value in inputs.items() if value.ndim > 0}
    with atomic(path) as partial, warnings.catch_warnings(), torch.no_grad():
        # The tracer warns about shape arithmetic that is constant here.
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


def default_cache() -> Path:
    """Return the folder of exported graphs: ``$XDG_CACHE_HOME/roentmod`` or ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "roentmod"


def make_engine(name: EngineName, parts: Components, cache: Path | None = None) -> Engine:
    """Return the engine called `name`.

    "auto" is ONNX Runtime or torch, whichever was quicker when both ran once on this machine; the
    measurement is kept beside the exported graphs, so that later runs take the same engine. Parts
    that are not float32 on the CPU, or large, or work in tiles, stay in torch.

    Raises:
        MissingDependencyError: the engine's library is not installed.
        WeightsError: the engine's name is unknown, or it cannot run these parts.
    """
    folder = cache or default_cache()
    if name not in get_args(EngineName):
        raise WeightsError(f"Engines are {', '.join(get_args(EngineName))}; got '{name}'.")
    exact = parts.unet.dtype == torch.float32 and parts.unet.device.type == "cpu"
    exact = exact and not parts.tiled
    if name == "torch" or (name == "auto" and not (exact and not large(parts))):
        return TorchEngine(parts)
    if name == "compile":
        return CompiledEngine(parts)
    if not exact:
        raise WeightsError(
            f"The engine '{name}' runs float32 on the CPU, whole pictures. Use --engine torch."
        )
    if name != "auto":
        return GraphEngine(name, parts, folder)
    try:
        return _quicker(parts, folder)
    except (MissingDependencyError, OSError, RuntimeError, ValueError) as error:
        log.warning("ONNX Runtime is not used: %s", error)
        return TorchEngine(parts)


def large(parts: Components) -> bool:
    """Tell whether a generator is one of minutes on a processor."""
    return bool(sum(p.numel() for p in parts.unet.parameters()) >= _LARGE)


def _quicker(parts: Components, cache: Path) -> Engine:
    """Return torch or ONNX Runtime by a measurement made once per machine and set of weights."""
    record = cache / f"engine-{_stem(parts)}-{os.cpu_count()}.json"
    known = json.loads(record.read_text())["engine"] if record.exists() else None
    if known == "torch":
        return TorchEngine(parts)
    graph = GraphEngine("onnxruntime", parts, cache)
    if known is not None:
        return graph
    torch_engine = TorchEngine(parts)
    feed = tuple(_inputs(parts, _ROWS).values())
    seconds = {engine.name: _median_seconds(engine, feed) for engine in (torch_engine, graph)}
    # Torch must be clearly quicker to be taken: a close race is not decided by the day's noise.
    chosen = torch_engine if seconds["torch"] < 0.8 * seconds["onnxruntime"] else graph
    write_json(record, {"engine": chosen.name, "seconds": seconds, "rows": _ROWS})
    return chosen


@torch.inference_mode()
def _median_seconds(engine: Engine, feed: tuple[Tensor, ...], rounds: int = 3) -> float:
    engine.unet(*feed)
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        engine.unet(*feed)
        times.append(time.perf_counter() - started)
    return statistics.median(times)
