"""Our editor against diffusers' stock image-to-image pipeline, side by side in one run.

One baseline, six findings and the sham. The stock pipeline is called once per finding, with the
same weights, noise and working size, at RoentGen's published recipe (75 steps, 30 effective, DDIM).

*same output*: ours with the same sampler and steps. *equal quality*: ours with the fewest
DPM-Solver++ steps (even in log SNR) whose distance to a 400-effective-step reference is no larger
than stock's.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import data_store
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from numpy.typing import NDArray

from roentmod import imaging
from roentmod.editors import DiffusionEditor, compose, sampling, transplant
from roentmod.editors.engines import make_engine
from roentmod.edits import Edit
from roentmod.radiograph import Radiograph
from roentmod.store import write_json

FINDINGS = ("cardiomegaly", "pleural effusion", "edema", "consolidation", "nodule", "pneumothorax")
SOURCE = Path(data_store.__file__).parent / "data" / "RG1_UNCI.dcm"
RECIPE = 75
CANDIDATES = (5, 10, 15, 20)
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
    """The stock pipeline, one call a prompt, fed our noise so that pictures can be compared."""

    def __init__(self, parts: Any, picture: Radiograph) -> None:
        """Build the pipeline from the parts."""
        plan = sampling.make_schedule("ddim", RECIPE, 0.4)
        self.pipe = stock_pipeline(parts, plan)
        self.picture = picture
        self.shape = (parts.unet.config.in_channels, *[parts.size // parts.downsampling] * 2)

    def __call__(self, prompts: list[str]) -> NDArray[np.float32]:
        """Return one decoded picture a prompt, n x h x w in [0, 1]."""
        return np.stack([self._one(prompt) for prompt in prompts])

    def _one(self, prompt: str) -> NDArray[np.float32]:
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
                guidance_scale=4.0,
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


def main() -> None:
    """Run the benchmark and write its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench/results.json"))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    parts = transplant(None, "mini")
    native = imaging.read(SOURCE)
    small = Radiograph.from_array(compose.shrink(native, parts.size))
    editor = DiffusionEditor(parts, engine=make_engine("auto", parts))
    profile = parts.profile
    base = [Edit((name,), composite="none") for name in FINDINGS]
    default = [Edit((name,)) for name in FINDINGS]
    prompts = [profile.prompt(edit, small.id) for edit in base] + [profile.normal]

    def ours(steps: int, scheduler: Any) -> NDArray[np.float32]:
        edits = [replace(e, num_inference_steps=steps, scheduler=scheduler) for e in base]
        done = editor.edit([small], edits)
        images = [*(c.image for c in done), done[0].sham]
        return np.stack([image.pixels for image in images if image is not None])

    reference = ours(1000, "ddim")
    stock = Stock(parts, small)
    errors = {steps: error(ours(steps, "dpmsolver++-logsnr"), reference) for steps in CANDIDATES}
    plain = stock(prompts)
    error_stock = error(plain, reference)
    steps = next((n for n in CANDIDATES if errors[n] <= error_stock), CANDIDATES[-1])
    largest = float(np.abs(ours(RECIPE, "ddim") - plain).max())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rounds: dict[str, list[float]] = {"stock": [], "same": [], "quality": [], "native": []}
    for _ in range(args.rounds):
        rounds["stock"].append(timed(lambda: stock(prompts))[0])
        rounds["same"].append(timed(lambda: ours(RECIPE, "ddim"))[0])
        rounds["quality"].append(timed(lambda: ours(steps, "dpmsolver++-logsnr"))[0])
        rounds["native"].append(timed(lambda: editor.edit([native], default))[0])
    median = {name: statistics.median(times) for name, times in rounds.items()}
    effective = sampling.make_schedule("dpmsolver++-logsnr", steps, 0.4).effective_steps
    figures = {
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
        "unet_calls_stock": 30 * len(prompts),
        "unet_calls_ours": effective,
        "unet_calls_ours_same_output": 30,
        "peak_mb": round(peak),
        "seconds_per_counterfactual": median["native"] / len(FINDINGS),
        "rounds": args.rounds,
        "engine": editor.engine.name,
    }
    machine = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    write_json(args.out, {"edit": figures, "machine": machine})
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
