"""Big generators: on a GPU against diffusers' own pipeline, and on a processor within its memory.

Generators of the size of Stable Diffusion 1.5 and 2.1 with random weights are made here (speed and
memory do not depend on weights; how far half precision is from single does), and edit phantoms at
512 px, 75 steps at strength 0.4: seconds per picture in batches of 1 and 16, memory, half against
single precision, tiles, and an autoencoder that overflows in half precision: ``bench/gpu.json``,
part "gpu". Ours are timed in composite "none", whose pictures are those of diffusers' pipeline, and
in "sham", the default.

Without a GPU, ``--proof`` measures what ``roentmod edit`` takes of memory and time with a folder of
the size of Stable Diffusion 1.5 (4 GB) on a processor, and what it says of that beforehand: part
"cpu". ``--tiny --device cpu`` goes through all that the GPU is to do with a tiny generator: part
"tiny", whose times mean nothing and are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    UNet2DConditionModel,
)
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from bench import readme
from bench.edit import stock_pipeline
from roentmod.datasets.phantom import phantom
from roentmod.editors import Components, DiffusionEditor, sampling, transplant
from roentmod.editors.engines import Engine, EngineName, make_engine
from roentmod.edits import Composite, Edit
from roentmod.radiograph import Radiograph
from roentmod.store import write_json

OUT, PAGE = Path("bench/gpu.json"), Path("docs/generators.md")
FINDING = "Pleural Effusion"
STEPS = 75
BATCHES = (1, 16)
PRECISIONS = ("float32", "float16", "bfloat16")
COMPOSITES: tuple[Composite, ...] = ("none", "sham")
# Steps of the proof on a processor, of which two are effective.
FEW = 5
# Factor of the decoder's first kernels by which sums pass 65504, where half precision ends; the
# kernels themselves do not.
OVERFLOW = 1.9e5
_DRAWS = (
    "diffusers.models.autoencoders.vae.randn_tensor",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img.randn_tensor",
)
_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
_UNITS = {"s": 1, "min": 60, "h": 3600}
Pictures = NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """Configurations of a generator's parts; what they leave out is Stable Diffusion 1.5's."""

    unet: dict[str, Any] = field(default_factory=dict)
    vae: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)


KINDS = {
    "sd15": Kind(),
    "sd21": Kind(
        unet={
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
        text={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "hidden_act": "gelu",
        },
    ),
    "tiny": Kind(
        unet={
            "sample_size": 8,
            "block_out_channels": (8, 16, 16, 16),
            "layers_per_block": 1,
            "cross_attention_dim": 16,
            "norm_num_groups": 4,
        },
        vae={
            "block_out_channels": (8, 8, 16, 16),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "sample_size": 64,
        },
        text={
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
    ),
}
_UNET = {"sample_size": 64, "cross_attention_dim": 768}
_VAE: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "sample_size": 512,
}
_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}


def build(kind: str, folder: Path) -> Path:
    """Write a generator with random weights in the diffusers layout, float32; return its folder."""
    torch.manual_seed(0)
    own = KINDS[kind]
    UNet2DConditionModel(**_UNET | own.unet).save_pretrained(folder / "unet")
    AutoencoderKL(**_VAE | own.vae).save_pretrained(folder / "vae")
    CLIPTextModel(CLIPTextConfig(**_TEXT | own.text)).save_pretrained(folder / "text_encoder")
    DDIMScheduler(**_SCHEDULE).save_pretrained(folder / "scheduler")
    tokens = ["<|startoftext|>", "<|endoftext|>"]
    tokens += [one + end for one in string.ascii_lowercase + "-.," for end in ("", "</w>")]
    place = folder / "tokenizer"
    place.mkdir(exist_ok=True)
    (place / "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(tokens)}))
    (place / "merges.txt").write_text("#version: 0.2\n")
    start, end = tokens[:2]
    words: dict[str, Any] = {
        "bos_token": start,
        "eos_token": end,
        "unk_token": end,
        "pad_token": end,
    }
    words |= {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (place / "tokenizer_config.json").write_text(json.dumps(words))
    return folder


@dataclass(frozen=True, eq=False)
class Bench:
    """A generator in one precision, and the phantoms that it edits."""

    parts: Components
    films: Sequence[Radiograph]
    steps: int
    engines: dict[str, Engine] = field(default_factory=dict)

    @property
    def edit(self) -> Edit:
        """The edit of each film; its sham is rendered too, as always."""
        return Edit((FINDING,), composite="none", num_inference_steps=self.steps)

    def engine(self, name: EngineName) -> Engine:
        """Return an engine of the parts, always the same: what it has compiled is kept."""
        if name not in self.engines:
            self.engines[name] = make_engine(name, self.parts)
        return self.engines[name]

    def some(self, batch: int) -> Sequence[Radiograph]:
        """Return the films whose edits and shams fill a batch; of one, both are made in turn."""
        return self.films[: max(1, batch // 2)]

    def ours(
        self, batch: int, engine: EngineName = "torch", composite: Composite = "none"
    ) -> Pictures:
        """Return our pictures: the edits of some films, then their shams."""
        editor = DiffusionEditor(self.parts, engine=self.engine(engine), batch_size=batch)
        films, edit = self.some(batch), replace(self.edit, composite=composite)
        done = [own[0] for own in editor.edit_each(films, [[edit]] * len(films))]
        shown = [one.image for one in done] + [one.sham for one in done]
        return np.stack([one.pixels for one in shown if one is not None])

    def stock(self, batch: int) -> Pictures:
        """Return the same pictures by diffusers' pipeline, from our noise."""
        parts, films = self.parts, list(self.some(batch))
        plan = sampling.make_schedule("ddim", self.steps, self.edit.strength)
        pipe = stock_pipeline(parts, plan)
        # Colours are averaged before they are cut off, as ours are.
        pipe.image_processor.postprocess = _grey
        prompts = [parts.profile.pair(self.edit, film.id)[0] for film in films]
        rows = [
            *zip(films, prompts, strict=True),
            *((film, parts.profile.normal) for film in films),
        ]
        chunks = [rows[start : start + batch] for start in range(0, len(rows), batch)]
        return np.concatenate([self._piped(pipe, chunk) for chunk in chunks])

    def _piped(self, pipe: Any, rows: Sequence[tuple[Radiograph, str]]) -> Pictures:
        films, prompts = zip(*rows, strict=True)
        unet, side = self.parts.unet, self.parts.size // self.parts.downsampling
        shape = (unet.config.in_channels, side, side)
        drawn = [sampling.draw(film.id, self.edit.seed, shape) for film in films]
        draws = iter([torch.stack(each) for each in zip(*drawn, strict=True)])
        pixels = torch.from_numpy(np.stack([film.pixels for film in films]))[:, None]

        def replay(*_: Any, **__: Any) -> torch.Tensor:
            return next(draws).to(unet.device, unet.dtype)

        with mock.patch(_DRAWS[0], replay), mock.patch(_DRAWS[1], replay):
            made: Pictures = pipe(
                prompt=list(prompts),
                image=pixels.expand(-1, self.parts.vae.config.in_channels, -1, -1),
                strength=self.edit.strength,
                guidance_scale=self.edit.guidance_scale,
                num_inference_steps=self.steps,
                output_type="pt",
            ).images
        return made


def _grey(decoded: torch.Tensor, **_: Any) -> Pictures:
    """Return decoded pictures, n x c x h x w, as n x h x w in [0, 1]."""
    grey: Pictures = (decoded.float().mean(1) / 2 + 0.5).clamp(0, 1).cpu().numpy()
    return grey


def measure(
    kind: str,
    folder: Path,
    device: str,
    *,
    engines: Sequence[EngineName] = ("torch", "compile"),
    batches: Sequence[int] = BATCHES,
    steps: int = STEPS,
    rounds: int = 3,
) -> dict[str, Any]:
    """Return the figures of a generator on a device.

    Args:
        kind: of `KINDS`.
        folder: where it lies.
        device: torch's name.
        engines: ours.
        batches: rows per call of the U-Net.
        steps: of the whole schedule, of which strength leaves a part.
        rounds: timed, after one to warm up.
    """
    size = (_VAE | KINDS[kind].vae)["sample_size"]
    films = [phantom(seed, size=size).radiograph for seed in range(max(1, max(batches) // 2))]
    runs, pictures, last = [], {}, max(batches)
    for precision in PRECISIONS:
        # Torch gives up after eight compilations of one function, whatever it was compiled for.
        torch.compiler.reset()
        bench = Bench(_loaded(folder, precision, device), films, steps)
        for batch in batches:
            row = {"precision": precision, "batch": batch, "composite": "none"}
            facts, plain = timed(partial(bench.stock, batch), rounds, device)
            runs.append({"by": "stock"} | row | facts)
            for name, composite in product(engines, COMPOSITES):
                work = partial(bench.ours, batch, name, composite)
                facts, made = timed(work, rounds, device)
                facts |= {"from_stock": gap(made, plain)} if composite == "none" else {}
                runs.append({"by": name} | row | {"composite": composite} | facts)
                if (name, composite) == ("torch", "none"):
                    pictures[precision] = made
    half = {name: pictures[name] for name in PRECISIONS[1:]}
    return {
        "size": size,
        "effective_steps": sampling.make_schedule("ddim", steps, 0.4).effective_steps,
        "runs": runs,
        "from_float32": {name: gap(made, pictures["float32"]) for name, made in half.items()},
        "tiles": _tiles(folder, device, films, steps, last, pictures["float16"]),
        "overflow": _overflow(folder, device, films, steps, last),
    }


def _loaded(folder: Path, precision: str, device: str, **options: Any) -> Components:
    return transplant(None, folder, dtype=getattr(torch, precision), device=device, **options)


def _tiles(
    folder: Path,
    device: str,
    films: Sequence[Radiograph],
    steps: int,
    batch: int,
    whole: Pictures,
) -> dict[str, Any]:
    """Return memory and change of pictures whose autoencoder works in tiles."""
    bench = Bench(_loaded(folder, "float16", device, tiled=True), films, steps)
    facts, made = timed(partial(bench.ours, batch), 1, device)
    return facts | {"from_whole": gap(made, whole)}


def _overflow(
    folder: Path, device: str, films: Sequence[Radiograph], steps: int, batch: int
) -> dict[str, Any]:
    """Return what became of edits whose decoder passes the range of half precision."""
    shown = {}
    for precision in PRECISIONS[:2]:
        parts = _loaded(folder, precision, device)
        parts.vae.decoder.conv_in.weight *= OVERFLOW
        editor = DiffusionEditor(parts, batch_size=batch)
        edit = Bench(parts, films, steps).edit
        shown[precision] = [
            own[0] for own in editor.edit_each(films[:2], [[edit]] * len(films[:2]))
        ]
    images = {
        name: np.stack([one.image.pixels for one in done if one.image is not None])
        for name, done in shown.items()
    }
    return {
        "edits": len(shown["float16"]),
        "ok": sum(one.status == "ok" for one in shown["float16"]),
        "redone_in_float32": sum(one.facts["redone_in_float32"] for one in shown["float16"]),
        "from_float32": gap(images["float16"], images["float32"]),
    }


def timed(
    work: Callable[[], Pictures], rounds: int, device: str
) -> tuple[dict[str, Any], Pictures]:
    """Return seconds per picture (the median) and memory of some work, and what it made."""
    made, times, on_gpu = work(), [], torch.device(device).type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    for _ in range(rounds):
        started = time.perf_counter()
        made = work()
        times.append((time.perf_counter() - started) / len(made))
    peak = round(torch.cuda.max_memory_allocated() / 1e9, 2) if on_gpu else None
    return {"seconds_per_picture": statistics.median(times), "peak_gb": peak}, made


def gap(one: Pictures, other: Pictures) -> dict[str, float]:
    """Return the largest and the mean distance of pictures, in the display range."""
    apart = np.abs(one - other)
    return {"largest": float(apart.max()), "mean": float(apart.mean())}


def proof(kind: str, folder: Path) -> dict[str, Any]:
    """Edit one picture with a generator by ``roentmod edit`` in a process of its own, and watch it.

    Returns:
        `peak_gb` of the process, its `seconds` in all, those of them for the edit
        (`edit_seconds`), those it had said beforehand (`said_seconds`; None where it says nothing,
        as of small generators), and what was done.
    """
    film = np.rint(phantom(0, size=1024).radiograph.pixels * 255).astype(np.uint8)
    with tempfile.TemporaryDirectory() as place:
        out, said = Path(place) / "out", Path(place) / "said"
        Image.fromarray(film).save(Path(place) / "film.png")
        command = [sys.executable, "-c", "from roentmod.cli import main; main()", "edit"]
        command += [f"{place}/film.png", "--editor", str(folder), "--add", FINDING]
        command += ["--steps", str(FEW), "--out", str(out)]
        started = time.perf_counter()
        with said.open("w") as lines:
            process = subprocess.Popen(command, stdout=lines, stderr=lines)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        text = said.read_text()
        if process.returncode:
            raise SystemExit(f"The proof's edit failed: {text[-500:]}")
        (item,) = json.loads((out / "edits.json").read_text())["items"]
    expected = re.search(r"will take about ([\d.]+) (s|min|h)", text)
    return {
        "generator": kind,
        "folder_gb": round(sum(f.stat().st_size for f in folder.rglob("*.*")) / 1e9, 2),
        "peak_gb": round(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9, 2),
        "seconds": round(seconds, 1),
        "edit_seconds": round(item["facts"]["seconds"], 1),
        "said_seconds": float(expected[1]) * _UNITS[expected[2]] if expected else None,
        "effective_steps": item["facts"]["effective_steps"],
        "size": item["facts"]["size"],
        "engine": item["facts"]["engine"],
        "precision": "float32",
        "threads": torch.get_num_threads(),
    }


def machine(device: str) -> dict[str, Any]:
    """Return what figures were measured on."""
    on_gpu = torch.device(device).type == "cuda"
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
    }


@contextmanager
def _generator(kind: str, kept: Path | None) -> Iterator[Path]:
    """Give the folder of a generator, made where it is not there; only a named one is kept."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / kind if kept is None else kept / kind
        if not (folder / "tokenizer" / "tokenizer_config.json").is_file():
            build(kind, folder)
        yield folder


def _part(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Measure what was requested; return the part of the JSON, and what it says.

    Raises:
        SystemExit: a GPU was requested, and there is none.
    """
    kinds = ("tiny",) if args.tiny else ("sd15", "sd21")
    if args.proof:
        with _generator(kinds[0], args.folder) as folder:
            return "cpu", proof(kinds[0], folder) | {"machine": machine("cpu")}
    if torch.device(args.device).type == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "bench.gpu needs a CUDA GPU, and torch finds none here. On a processor, --proof "
            "measures memory and time of one edit with a generator of 4 GB, and --tiny --device "
            "cpu goes through the rest with a tiny one."
        )
    figures = {}
    for kind in kinds:
        with _generator(kind, args.folder) as folder:
            engines: tuple[EngineName, ...] = ("torch",) if args.tiny else ("torch", "compile")
            figures[kind] = measure(kind, folder, args.device, engines=engines, rounds=args.rounds)
    if not args.tiny:
        return "gpu", figures | {"machine": machine(args.device)}
    for run in figures["tiny"]["runs"] + [figures["tiny"]["tiles"]]:
        del run["seconds_per_picture"]
    return "tiny", figures["tiny"] | {"machine": machine(args.device)}


def lines(figures: dict[str, Any]) -> str:
    """Return what the page says of the figures."""
    told = [] if figures.get("gpu") else ["- On a GPU nothing has been measured: none was at hand."]
    for kind, one in (figures.get("gpu") or {}).items():
        told += [_run(kind, run) for run in one.get("runs", ())]
    if tiny := figures.get("tiny"):
        single = [run for run in tiny["runs"] if run["precision"] == PRECISIONS[0]]
        largest = max(run["from_stock"]["largest"] for run in single if "from_stock" in run)
        half, overflow = tiny["from_float32"]["float16"]["mean"], tiny["overflow"]
        told.append(
            f"- The same script with a tiny generator on a processor: single precision is at most "
            f"{largest:.0e} of the range from diffusers' pipeline, float16 {half:.0e} from float32 "
            f"in the mean; of {overflow['edits']} edits whose decoder passes 65,504 in float16, "
            f"{overflow['ok']} came out, {overflow['redone_in_float32']} redone in float32."
        )
    if one := figures.get("cpu"):
        said = "nothing" if one["said_seconds"] is None else f"{one['said_seconds']:.0f} s"
        told.append(
            f"- A folder of {one['folder_gb']:.1f} GB (Stable Diffusion 1.5, float32) on a "
            f"processor: `roentmod edit` with {one['effective_steps']} effective steps at "
            f"{one['size']} px held {one['peak_gb']:.2f} GB at most. The edit took "
            f"{one['edit_seconds']:.0f} s of {one['seconds']:.0f} s; beforehand, {said} were said "
            f"(threads: {one['threads']}; other programs ran on the machine)."
        )
    return "\n".join(told)


def _run(kind: str, run: dict[str, Any]) -> str:
    return (
        f"- {kind}, {run['by']}, {run['precision']}, batch {run['batch']}, composite "
        f"{run['composite']}: "
        f"{run['seconds_per_picture']:.2f} s per picture, {run['peak_gb']} GB."
    )


def write_page(figures: dict[str, Any], page: Path = PAGE) -> None:
    """Put what the page says of the figures between its marks."""
    readme.fill(page, "bench.gpu", lines(figures))


def main() -> None:
    """Measure, print, and write a part of the JSON and of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--device", default="cuda", help="torch's name of it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="a tiny generator")
    parser.add_argument("--proof", action="store_true", help="one edit on a processor")
    parser.add_argument("--folder", type=Path, help="keep generators here; 4 to 6 GB each")
    args = parser.parse_args()
    name, figures = _part(args)
    known = json.loads(args.out.read_text()) if args.out.exists() else {"gpu": None}
    write_json(args.out, known | {name: figures})
    if args.out == OUT:
        write_page(known | {name: figures})
    print(json.dumps({name: figures}, indent=2))


if __name__ == "__main__":
    main()
