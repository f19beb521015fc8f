"""U-Nets that take the guidance scale: one pass, against a plain loop and against two passes."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from roentmod.editors import DiffusionEditor, compose, sampling, transplant
from roentmod.editors.engines import GraphEngine, TorchEngine
from roentmod.edits import Edit
from roentmod.radiograph import Radiograph
from tests.editors.test_sampling import CLEAN, NOISE, SCHEDULE, SHAPE, directions, linear
from tests.tiny import write_unet

WIDTH, STEPS = 10, 10
WORDS = {"num_inference_steps": STEPS, "composite": "none", "scheduler": "ddim", "seed": 2}


@pytest.fixture(scope="module")
def parts(generator, tmp_path_factory):
    folder = shutil.copytree(generator, tmp_path_factory.mktemp("embedded") / "tiny")
    torch.manual_seed(1)
    write_unet(folder / "unet", time_cond_proj_dim=WIDTH)
    return transplant(None, folder)


class Counter(TorchEngine):
    """Torch, which notes the rows and the scales of each call."""

    def __init__(self, parts):
        super().__init__(parts)
        self.calls = []

    def unet(self, latents, time, states, scales=None):
        self.calls.append((len(latents), None if scales is None else scales.tolist()))
        return super().unet(latents, time, states, scales)


def sinusoids(scale):
    """The embedding by its definition: of 1000 (scale - 1), frequencies from 1 to 1e-4."""
    half = WIDTH // 2
    angles = [1000 * (scale - 1) * 1e-4 ** (i / (half - 1)) for i in range(half)]
    return torch.tensor([[*map(math.sin, angles), *map(math.cos, angles)]])


@torch.inference_mode()
def looped(parts, square, prompt, scale, combine=lambda one: one):
    """Return the picture of a plain DDIM loop with one prediction per prompt and step."""
    shape, alphas = (4, 8, 8), torch.cumprod(1 - _betas(), 0)
    posterior = parts.vae.encode(torch.from_numpy(square.pixels * 2 - 1)[None, None]).latent_dist
    first, noise = sampling.draw(square.id, WORDS["seed"], shape)
    clean = (posterior.mean + posterior.std * first) * parts.vae.config.scaling_factor
    prompts = [prompt] if isinstance(prompt, str) else prompt
    # The last 4 of 10 steps, whose times lie 100 apart, plus 1.
    times = [301, 201, 101, 1]
    x = alphas[times[0]] ** 0.5 * clean + (1 - alphas[times[0]]) ** 0.5 * noise
    for t in times:
        each = [
            parts.unet(
                x.float(), t, parts.text_states(p)[None], timestep_cond=sinusoids(scale)
            ).sample.double()
            for p in prompts
        ]
        eps = combine(*each)
        picture = (x - (1 - alphas[t]) ** 0.5 * eps) / alphas[t] ** 0.5
        after = alphas[t - 100] if t > 100 else alphas[0]
        x = after**0.5 * picture + (1 - after) ** 0.5 * eps
    shown = parts.vae.decode(x.float() / parts.vae.config.scaling_factor).sample
    return (shown[0].mean(0) / 2 + 0.5).clamp(0, 1).numpy()


def _betas():
    return torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2


@pytest.fixture(scope="module")
def square(parts, radiograph):
    return Radiograph.from_array(compose.shrink(radiograph, parts.size))


def spared(d, e):
    """Direction d less what it has in common with e."""
    return d - max(0.0, float((d * e).sum() / (e * e).sum())) * e


def test_one_pass_is_a_plain_loop_with_the_scale_as_an_input(parts, square):
    engine = Counter(parts)
    own = replace(parts, profile=replace(parts.profile, severity={"mild": 0.5}))
    editor = DiffusionEditor(own, engine=engine)
    edits = [
        Edit(("effusion",), **WORDS),
        Edit(("effusion",), severity="mild", **WORDS),
        Edit(("effusion",), guidance_scale=0.5, **WORDS),
    ]
    done = editor.edit([square], edits)
    for one, scale in zip(done, (4.0, 2.0, 1.0), strict=True):
        wanted = looped(parts, square, one.facts["prompt"], scale)
        assert np.abs(one.image.pixels - wanted).max() < 1e-4
        sham = looped(parts, square, parts.profile.normal, max(one.facts["guidance"], 1))
        assert np.abs(one.sham.pixels - sham).max() < 1e-4
    # Six pictures (each sham is guided alike), one prediction each, in four steps.
    assert [rows for rows, _ in engine.calls] == [6] * 4
    assert engine.calls[0][1] == [4, 4, 2, 2, 1, 1]


def test_what_is_no_single_prompt_is_guided_from_outside_at_scale_one(parts, square):
    engine = Counter(parts)
    editor = DiffusionEditor(parts, engine=engine)
    held = editor.edit([square], [Edit(("effusion",), hold=("Mass",), **WORDS)])[0]
    assert sorted({rows for rows, _ in engine.calls}) == [1, 3]
    prompts = ["", held.facts["prompt"], held.facts["held_prompts"][0]]
    wanted = looped(parts, square, prompts, 1.0, lambda a, t, h: a + 4 * spared(t - a, h - a))
    assert np.abs(held.image.pixels - wanted).max() < 1e-4
    gone = editor.edit([square], [Edit(("effusion",), action="remove", **WORDS)])[0]
    prompts = [gone.facts["negative_prompt"], gone.facts["prompt"]]
    wanted = looped(parts, square, prompts, 1.0, lambda a, t: a + 4 * (t - a))
    assert np.abs(gone.image.pixels - wanted).max() < 1e-4
    assert engine.calls[-1] in ((2, [1, 1]), (1, [4]))


@pytest.mark.parametrize("scheduler", ["ddim", "dpmsolver++-logsnr"])
def test_a_student_that_is_exact_gives_what_two_passes_give(scheduler):
    away, towards, _ = directions()
    scale, rows = torch.tensor([4.0, 1.5, 0.5]), []

    def student(latents, time, states):
        rows.append(len(latents))
        shift = guided.scales[:, None, None] - 1
        return linear(latents, time, states + shift * (states - away))

    guided = sampling.Guidance(towards, away, scale, inside=True)
    twice = replace(guided, inside=False)
    plan = sampling.make_schedule(scheduler, 15, 0.4)
    one, two = (
        sampling.denoise(unet, plan, SCHEDULE, CLEAN, NOISE, guidance)
        for unet, guidance in ((student, guided), (linear, twice))
    )
    assert torch.allclose(one, two, atol=1e-5)
    assert rows == [SHAPE[0]] * 6


def test_a_scale_beyond_those_taught_is_the_nearest_and_said_once(parts, square, caplog):
    taught = replace(parts, profile=replace(parts.profile, guidance_range=[1.5, 6.0]))
    editor, free = DiffusionEditor(taught, deterministic=True), DiffusionEditor(parts)
    edits = [Edit(("effusion",), guidance_scale=scale, **WORDS) for scale in (11, 6, 11, 0.5)]
    high, most, again, low = editor.edit([square], edits)
    assert [one.facts["guidance"] for one in (high, most, again, low)] == [6, 6, 6, 1.5]
    assert np.array_equal(high.image.stored, most.image.stored)
    said = [one.getMessage() for one in caplog.records if "taught" in one.getMessage()]
    assert said == [
        "guidance scales that generic was taught are 1.5 to 6; 6 is taken for 11",
        "guidance scales that generic was taught are 1.5 to 6; 1.5 is taken for 0.5",
    ]
    # What two passes or a removal are guided by from outside has no such end.
    outside = [replace(edits[0], hold=("Mass",)), replace(edits[0], action="remove")]
    assert [one.facts["guidance"] for one in editor.edit([square], outside)] == [11, 11]
    assert free.edit([square], edits[:1])[0].facts["guidance"] == 11


def test_batches_do_not_change_an_edit(parts, radiograph):
    edits = [
        Edit(("effusion",), **WORDS),
        Edit(("effusion",), action="remove", guidance_scale=1, **WORDS),
        Edit(("edema",), guidance_scale=1, **WORDS),
        Edit(("mass",), guidance_scale=7.5, **WORDS),
        Edit(("edema",), hold=("Mass",), **WORDS),
    ]
    editor = DiffusionEditor(parts)
    for edit, one in zip(edits, editor.edit([radiograph], edits), strict=True):
        alone = editor.edit([radiograph], [edit])[0]
        assert np.abs(alone.image.pixels - one.image.pixels).max() <= 1e-4


def test_onnx_runtime_takes_the_scale(parts, radiograph, tmp_path):
    edits = [Edit(("effusion",), **WORDS), Edit(("mass",), guidance_scale=7.5, **WORDS)]
    graphs = GraphEngine("onnxruntime", parts, tmp_path)
    ours, plain = (
        DiffusionEditor(parts, engine=engine).edit([radiograph], edits)
        for engine in (graphs, TorchEngine(parts))
    )
    for one, other in zip(ours, plain, strict=True):
        assert np.abs(one.image.pixels - other.image.pixels).max() <= 1e-4
