"""Our editor against diffusers' stock image-to-image pipeline, side by side in one run.

One baseline, six findings and the sham. The stock pipeline is called once per finding, with the
same noise and working size, at RoentGen's published recipe (75 steps, 30 effective, DDIM).

*same output*: ours with the same weights, sampler and steps. *equal quality*: ours with the fewest
DPM-Solver++ steps (even in log SNR) whose distance to a 400-effective-step reference is no larger
than stock's.

A generator that was distilled cannot be its own reference: ``--teacher FOLDER`` names the one that
it was distilled from. Reference, stock and *same output* then have the teacher's weights.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import data_store
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from numpy.typing import NDArray

from bench import readme
from roentmod import imaging
from roentmod.editors import DiffusionEditor, compose, sampling, transplant
from roentmod.editors.engines import make_engine
from roentmod.edits import Edit, Scheduler
from roentmod.radiograph import Radiograph
from roentmod.store import write_json

FINDINGS = ("cardiomegaly", "pleural effusion", "edema", "consolidation", "nodule", "pneumothorax")
SOURCE = Path(data_store.__file__).parent / "data" / "RG1_UNCI.dcm"
OUT = Path("bench/results.json")
RECIPE = 75
REFERENCE = 1000
CANDIDATES = (5, 8, 10, 15, 20)
MODULE = "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img.randn_tensor"


def stock_pipeline(parts: Any, plan: sampling.Schedule) -> Any:
    """Return diffusers' own image-to-image pipeline of the parts, with a plan's sampler.

    The safety checker is left out, which blacks out radiographs.
    """
    pipe = StableDiffusionImg2ImgPipeline(
        parts.vae,
        parts.text_encoder,
        parts.tokenizer,
        parts.unet,
        sampling.build(plan, parts.scheduler_config)[0],
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


class Stock:
    """The stock pipeline, one call per edit, fed our noise so that pictures can be compared."""

    def __init__(self, parts: Any, picture: Radiograph) -> None:
        """Build the pipeline from the parts."""
        plan = sampling.make_schedule("ddim", RECIPE, 0.4)
        self.pipe = stock_pipeline(parts, plan)
        self.picture = picture
        self.shape = (parts.unet.config.in_channels, *[parts.size // parts.downsampling] * 2)

    def __call__(self, wanted: Sequence[tuple[str, float]]) -> NDArray[np.float32]:
        """Return one decoded picture per prompt and guidance scale, n x h x w in [0, 1]."""
        return np.stack([self._one(*one) for one in wanted])

    def _one(self, prompt: str, scale: float) -> NDArray[np.float32]:
        draws = iter(sampling.draw(self.picture.id, 0, self.shape))
        replay = lambda *args, **kwargs: next(draws)[None]  # noqa: E731
        with (
            mock.patch("diffusers.models.autoencoders.vae.randn_tensor", replay),
            mock.patch(MODULE, replay),
        ):
            image = torch.from_numpy(self.picture.pixels.copy())[None, None]
            picture: NDArray[np.float32] = self.pipe(
                prompt=prompt,
                image=image,
                strength=0.4,
                guidance_scale=scale,
                num_inference_steps=RECIPE,
                output_type="np",
            ).images[0, :, :, 0]
            return picture


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result of one call."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def error(pictures: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return the root mean squared distance, in the display range."""
    return float(np.sqrt(np.mean((pictures - reference) ** 2)))


class Ours:
    """Our pictures of one radiograph by one generator: its edits, and their sham."""

    def __init__(self, folder: str | Path, native: Radiograph) -> None:
        """Load the generator, and shrink the radiograph to its working size."""
        self.parts = transplant(None, folder)
        self.editor = DiffusionEditor(self.parts, engine=make_engine("auto", self.parts))
        self.small = Radiograph.from_array(compose.shrink(native, self.parts.size))

    @property
    def wanted(self) -> list[tuple[str, float]]:
        """Prompt and guidance scale of each edit, and of the sham."""
        profile, edits = self.parts.profile, [Edit((name,)) for name in FINDINGS]
        each = [(profile.prompt(edit, self.small.id), profile.guidance(edit)) for edit in edits]
        return [*each, (profile.normal, edits[0].guidance_scale)]

    def __call__(self, steps: int, scheduler: Scheduler) -> NDArray[np.float32]:
        """Return the decoded pictures, n x h x w in [0, 1]."""
        edits = [
            Edit((name,), composite="none", num_inference_steps=steps, scheduler=scheduler)
            for name in FINDINGS
        ]
        done = self.editor.edit([self.small], edits)
        images = [*(one.image for one in done), done[0].sham]
        return np.stack([image.pixels for image in images if image is not None])

    def native(self, radiograph: Radiograph) -> None:
        """Make the default edits of a radiograph at its own size."""
        self.editor.edit([radiograph], [Edit((name,)) for name in FINDINGS])


def measure(ours: Ours, teacher: Ours, native: Radiograph, rounds: int) -> dict[str, Any]:
    """Return the figures of a generator, against the stock pipeline with the teacher's weights."""
    wanted = teacher.wanted
    stock = Stock(teacher.parts, teacher.small)
    reference, plain = teacher(REFERENCE, "ddim"), stock(wanted)
    error_stock = error(plain, reference)
    errors = {steps: error(ours(steps, "dpmsolver++-logsnr"), reference) for steps in CANDIDATES}
    steps = next((n for n in CANDIDATES if errors[n] <= error_stock), CANDIDATES[-1])
    largest = float(np.abs(teacher(RECIPE, "ddim") - plain).max())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    work: dict[str, Callable[[], Any]] = {
        "stock": lambda: stock(wanted),
        "same": lambda: teacher(RECIPE, "ddim"),
        "quality": lambda: ours(steps, "dpmsolver++-logsnr"),
        "native": lambda: ours.native(native),
    }
    times = [{name: timed(one)[0] for name, one in work.items()} for _ in range(rounds)]
    median = {name: statistics.median(one[name] for one in times) for name in work}
    effective = sampling.make_schedule("dpmsolver++-logsnr", steps, 0.4).effective_steps
    return {
        "stock_seconds": median["stock"],
        "ours_seconds_same_output": median["same"],
        "ratio_same_output": median["stock"] / median["same"],
        "largest_difference_same_output": largest,
        "ours_seconds_equal_quality": median["quality"],
        "ratio_equal_quality": median["stock"] / median["quality"],
        "error_stock": error_stock,
        "error_ours": errors[steps],
        "errors_by_steps": {str(n): e for n, e in errors.items()},
        "steps_equal_quality": steps,
        "unet_calls_stock": 30 * len(wanted),
        "unet_calls_ours": effective,
        "unet_calls_ours_same_output": 30,
        "peak_mb": round(peak),
        "seconds_per_counterfactual": median["native"] / len(FINDINGS),
        "rounds": rounds,
        "engine": ours.editor.engine.name,
        "weights": ours.parts.weights_hash,
        "teacher": teacher.parts.weights_hash,
    }


def main() -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--editor", default="mini", help="its folder")
    parser.add_argument("--teacher", help="folder of the one that it was distilled from")
    args = parser.parse_args()
    native = imaging.read(SOURCE)
    ours = Ours(args.editor, native)
    teacher = Ours(args.teacher, native) if args.teacher else ours
    figures = measure(ours, teacher, native, args.rounds)
    machine = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    write_json(args.out, {"edit": figures, "machine": machine})
    if args.out == OUT:
        readme.write("bench.edit")
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
