"""A self-test of an editor: does it edit, how long does it take, how much memory.

It takes about a minute, longer with a large generator on a processor, which is said first.

What is seen on one phantom says whether weights are read as they were meant, not how good they are.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from roentmod.datasets.phantom import phantom
from roentmod.domain import NO_FINDING
from roentmod.editors.diffusion import DiffusionEditor
from roentmod.edits import Edit
from roentmod.errors import AnatomyError
from roentmod.imaging.segmentation import estimate, require
from roentmod.interfaces import Counterfactual, RadiographEditor
from roentmod.radiograph import Radiograph

__all__ = ["Check", "trial"]

_FINDING = "Pleural Effusion"
_WARNED = "See the warnings above"
# Seconds that one edit may take; a slower generator is tried with fewer steps, of which noise needs
# more than a film.
_PATIENCE = 15.0
_FEWEST, _FEWEST_FROM_NOISE = 2, 8
# Least mean change that is one, and the most in any pixel that is rounding; of the range.
_VISIBLE, _ROUNDING = 0.001, 1 / 255
# Most that a decoded sham drifts from its film, in the mean: half of what two phantoms differ by
# (0.127 in the median of pairs). The bundled generator's drifts by 0.034 to 0.047.
_DRIFT = 0.06


class Check(NamedTuple):
    """One thing tried.

    Attributes:
        name: what.
        passed: whether it is as it should be.
        text: what was seen, with its figures.
        remedy: what to do where it is not; else "".
    """

    name: str
    passed: bool
    text: str
    remedy: str = ""


def trial(editor: RadiographEditor, *, seed: int = 0) -> Iterator[Check]:
    """Try an editor on a phantom: a normal film from noise, an edit, its sham, time and memory.

    Args:
        editor: any; only a diffusion editor draws from noise.
        seed: of the phantom and of the noise.
    """
    generator = editor if isinstance(editor, DiffusionEditor) else None
    film = phantom(seed, size=generator.parts.size if generator else 512).radiograph
    edit = Edit((_FINDING,), seed=seed)
    if generator is not None:
        plain = Edit(("No Finding",), strength=1.0, composite="none")
        drawing, edit = _affordable(generator, edit, plain)
        if generator.slow:
            # An edit, and its sham as decoded.
            expected = generator.forecast([drawing]) + 2 * generator.forecast([edit])
            yield Check("this test", True, f"takes about {expected:.0f} s more")
        yield _drawn(generator, film, drawing)
    started = time.perf_counter()
    done, nothing = editor.edit([film], [edit, replace(edit, findings=(NO_FINDING.name,))])
    seconds = time.perf_counter() - started
    yield _does_something(done)
    yield _keeps_the_film(nothing)
    drawn = editor.edit([film], [replace(nothing.edit, composite="none")])[0]
    yield _drift(drawn)
    yield _speed(generator, seconds, done)
    yield Check("memory", True, _memory())


def _affordable(editor: DiffusionEditor, edit: Edit, drawing: Edit) -> tuple[Edit, Edit]:
    """Return a drawing and an edit with the editor's own steps, or with those of patience."""
    own = editor.schedule(edit).effective_steps
    whole, least = editor.forecast([edit]), editor.forecast([_with(edit, 1)])
    if whole <= _PATIENCE:
        return drawing, edit
    step = (whole - least) / max(1, own - 1)
    steps = max(_FEWEST, min(own, 1 + int((_PATIENCE - least) / step))) if step else own
    # Few steps from noise to a film are those of a solver of second order.
    quick = replace(_with(drawing, max(steps, _FEWEST_FROM_NOISE)), scheduler="dpmsolver++")
    return quick, _with(edit, steps)


def _with(edit: Edit, effective: int) -> Edit:
    """Return an edit with so many effective steps."""
    return replace(edit, num_inference_steps=math.ceil(effective / edit.strength))


def _drawn(editor: DiffusionEditor, film: Radiograph, drawing: Edit) -> Check:
    """Let the editor draw from noise alone, and look for lungs and a heart."""
    done = editor.edit([film], [drawing])[0]
    name = "draws a normal film"
    remedy = "Check the profile (--profile) and the host: prompts, autoencoder, schedule"
    if done.image is None:
        return Check(name, False, done.status, remedy)
    if editor.parts.profile.domain != "cxr":
        return Check(name, True, f"drawn; not looked at: {editor.parts.profile.domain}")
    anatomy = estimate(done.image)
    try:
        require(anatomy)
    except AnatomyError:
        return Check(name, False, f"no chest seen (quality {anatomy.quality:.2f})", remedy)
    return Check(name, True, f"lungs and heart seen (quality {anatomy.quality:.2f})")


def _does_something(done: Counterfactual) -> Check:
    """Compare a default edit with its control."""
    name = "the edit does something"
    if done.image is None or done.control is None:
        return Check(name, False, done.status, _WARNED)
    change = float(np.abs(done.image.pixels - done.control.pixels).mean())
    seen = change >= _VISIBLE
    text = f"{_FINDING} changes the phantom by {change:.2%} of the range in the mean"
    remedy = "The prompts change nothing: check --profile and --lora"
    return Check(name, seen, text, "" if seen else remedy)


def _keeps_the_film(done: Counterfactual) -> Check:
    """Look at a default edit that requests no finding: the sham's prompt and noise."""
    most, _ = _moved(done)
    text = f"no finding, composed as by default, changes no pixel by more than {most:.2%}"
    remedy = "One prompt and one noise give two pictures: check the device and the engine"
    return _kept("the sham keeps the film", done, most <= _ROUNDING, text, remedy)


def _drift(done: Counterfactual) -> Check:
    """Look at what autoencoder and denoising do to the film where nothing takes it off again."""
    _, drift = _moved(done)
    text = f"decoded, it drifts by {drift:.2%} of the range in the mean; at most {_DRIFT:.0%} pass"
    remedy = "It makes another film of it: lower --strength, or check the host"
    return _kept("the film is still itself", done, drift <= _DRIFT, text, remedy)


def _moved(done: Counterfactual) -> tuple[float, float]:
    """Return the largest and the mean change of the film, of the range; NaN without a picture."""
    if done.image is None:
        return math.nan, math.nan
    change = np.abs(done.image.pixels - done.baseline.pixels)
    return float(change.max()), float(change.mean())


def _kept(name: str, done: Counterfactual, kept: bool, text: str, remedy: str) -> Check:
    """Return a check of a picture, which fails by its status where there is none."""
    if done.image is None:
        return Check(name, False, done.status, _WARNED)
    return Check(name, kept, text, "" if kept else remedy)


def _speed(editor: DiffusionEditor | None, seconds: float, done: Counterfactual) -> Check:
    """Return the seconds per picture at the editor's own steps."""
    if editor is None:
        return Check("speed", True, f"{seconds:.1f} s per picture")
    own = replace(done.edit, num_inference_steps=None)
    used = done.facts.get("effective_steps", 1)
    wanted = editor.schedule(own).effective_steps
    if used == wanted:
        text = f"{seconds:.1f} s per picture, {wanted} effective steps"
    else:
        seconds += editor.forecast([own]) - editor.forecast([done.edit])
        text = (
            f"about {seconds:.1f} s per picture, {wanted} effective steps (estimated from {used})"
        )
    return Check("speed", True, f"{text}, with its sham, {editor.parts.unet.device}")


def _memory() -> str:
    """Return the most memory that this process has held."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB on the GPU at most"
    try:
        import resource
    except ImportError:
        return "not measured on this system"
    unit = 1 if sys.platform == "darwin" else 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f"{most / 1e9:.1f} GB at most"
