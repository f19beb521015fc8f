"""Our loop gives what diffusers' image-to-image pipeline gives, from the same noise."""

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
)

from roentmod.editors import DiffusionEditor, compose, sampling, transplant
from roentmod.edits import Edit
from roentmod.errors import WeightsError
from roentmod.radiograph import Radiograph
from tests.tiny import pipeline_draws, write_unet

pytestmark = pytest.mark.slow

KINDS = {"ddim": DDIMScheduler, "pndm": PNDMScheduler, "dpmsolver++": DPMSolverMultistepScheduler}
DEFAULT = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
SCHEDULES = {
    "empty": {},
    "betas alone": DEFAULT,
    "clipped": DEFAULT | {"clip_sample": True, "steps_offset": 1},
    "no offset": DEFAULT | {"clip_sample": False, "steps_offset": 0},
    "offset missing": DEFAULT | {"clip_sample": False, "set_alpha_to_one": False},
    "ends at one": DEFAULT | {"steps_offset": 1, "set_alpha_to_one": True},
    "trailing": DEFAULT | {"timestep_spacing": "trailing"},
    "linspace": DEFAULT | {"timestep_spacing": "linspace"},
    "of PNDM": DEFAULT | {"_class_name": "PNDMScheduler", "skip_prk_steps": True},
    "of Euler": DEFAULT | {"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": False},
    "of DPM-Solver": DEFAULT | {"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3},
    "of DDPM": DEFAULT | {"_class_name": "DDPMScheduler", "variance_type": "fixed_small"},
    "trained betas": {"trained_betas": np.linspace(1e-4, 0.02, 1000).tolist()},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "thresholding": DEFAULT | {"thresholding": True, "sample_max_value": 4.0},
    "predicts the picture": DEFAULT | {"prediction_type": "sample"},
    "predicts v": DEFAULT | {"prediction_type": "v_prediction"},
    "zero terminal SNR": DEFAULT | ZERO_SNR | {"prediction_type": "v_prediction"},
    "fewer times": DEFAULT | {"num_train_timesteps": 500},
}
UNETS = {
    "pair of sizes": {"sample_size": (8, 8)},
    "widths by block": {"cross_attention_dim": (16, 16)},
    "projected text": {"encoder_hid_dim": 16, "cross_attention_dim": 24},
    "text in the time embedding": {
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 2,
        "encoder_hid_dim": 16,
    },
    "centred input": {"center_input_sample": True},
    "other time embedding": {"flip_sin_to_cos": False, "freq_shift": 1},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "linear projections": {"use_linear_projection": True, "upcast_attention": True},
    "guidance inside": {"time_cond_proj_dim": 10},
}


@pytest.fixture(scope="module")
def parts(generator):
    return transplant(None, generator)


def theirs(parts, scheduler, square, *, strength, steps, monkeypatch):
    """Return what diffusers' pipeline makes of a picture, h x w."""
    with warnings.catch_warnings():
        # It corrects outdated configurations, and says so.
        warnings.simplefilter("ignore", FutureWarning)
        pipe = StableDiffusionImg2ImgPipeline(
            parts.vae,
            parts.text_encoder,
            parts.tokenizer,
            parts.unet,
            scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipe.set_progress_bar_config(disable=True)
    pipeline_draws(monkeypatch, square.id, 3, (4, 8, 8))
    shown = pipe(
        prompt="pleural effusion",
        image=torch.from_numpy(square.pixels.copy())[None, None],
        strength=strength,
        guidance_scale=4.0,
        num_inference_steps=steps,
        output_type="pt",
    )
    return shown.images[0].mean(0).numpy()


def ours(parts, radiograph, scheduler, *, strength, steps):
    """Return the baseline at the generator's size, and our edit of it."""
    square = Radiograph.from_array(compose.shrink(radiograph, parts.size))
    edit = Edit(
        ("effusion",),
        composite="none",
        strength=strength,
        scheduler=scheduler,
        num_inference_steps=steps,
        seed=3,
    )
    done = DiffusionEditor(parts).edit([square], [edit])[0]
    assert done.facts["effective_steps"] == int(steps * strength)
    return square, done.image.pixels


@pytest.mark.parametrize("scheduler", ["ddim", "pndm", "dpmsolver++"])
@pytest.mark.parametrize("strength", [0.2, 0.4, 0.75, 1.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_equals_the_diffusers_pipeline(
    parts, radiograph, monkeypatch, scheduler, strength, prediction
):
    monkeypatch.setitem(parts.scheduler_config, "prediction_type", prediction)
    point = {"strength": strength, "steps": 20}
    square, shown = ours(parts, radiograph, scheduler, **point)
    made, _ = sampling.build(
        sampling.make_schedule(scheduler, 20, strength), parts.scheduler_config
    )
    same = type(made).from_config(made.config)
    wanted = theirs(parts, same, square, **point, monkeypatch=monkeypatch)
    assert np.abs(shown - wanted).max() < 1e-4


@pytest.fixture(scope="module")
def folder(generator, tmp_path_factory):
    """A generator whose files a test may replace."""
    return shutil.copytree(generator, tmp_path_factory.mktemp("unusual") / "tiny")


@pytest.mark.parametrize("scheduler", ["ddim", "dpmsolver++"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_incomplete_and_unusual_schedules_are_read_as_the_pipeline_reads_them(
    parts, radiograph, monkeypatch, name, scheduler
):
    config = SCHEDULES[name]
    own = replace(parts, scheduler_config=config)
    point = {"strength": 0.5, "steps": 8}
    square, shown = ours(own, radiograph, scheduler, **point)
    extra = {} if scheduler == "ddim" else {"algorithm_type": "dpmsolver++", "solver_order": 2}
    plain = KINDS[scheduler].from_config(config, **extra)
    wanted = theirs(own, plain, square, **point, monkeypatch=monkeypatch)
    assert np.abs(shown - wanted).max() < 1e-4


@pytest.mark.parametrize("name", UNETS)
def test_unusual_unets_run_as_in_the_pipeline(folder, radiograph, monkeypatch, name):
    write_unet(folder / "unet", **UNETS[name])
    parts = transplant(None, folder)
    point = {"strength": 0.5, "steps": 4}
    square, shown = ours(parts, radiograph, "ddim", **point)
    plain = DDIMScheduler.from_config(parts.scheduler_config)
    parts.unet.register_to_config(sample_size=8)  # the pipeline compares it with a number
    wanted = theirs(parts, plain, square, **point, monkeypatch=monkeypatch)
    assert np.abs(shown - wanted).max() < 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_size": (8, 16)}, r"sample_size is .*8, 16"),
        ({"sample_size": None}, "sample_size is None.*profile.json"),
        (
            {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 32,
            },
            "addition_embed_type text_time",
        ),
        ({"class_embed_type": "timestep"}, "class_embed_type timestep"),
        ({"num_class_embeds": 3}, "num_class_embeds 3"),
        (
            {"encoder_hid_dim_type": "image_proj", "encoder_hid_dim": 16},
            "encoder_hid_dim_type image_proj",
        ),
        ({"cross_attention_dim": (16, 24)}, "takes 16, 24"),
    ],
)
def test_a_unet_that_asks_for_more_is_refused_when_it_is_loaded(folder, change, message):
    write_unet(folder / "unet", **change)
    with pytest.raises(WeightsError, match=message):
        transplant(None, folder)


def test_an_old_unet_has_the_size_that_the_pipeline_gives_it(folder):
    write_unet(folder / "unet")
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_diffusers_version": "0.6.0"}))
    assert transplant(None, folder).size == 512


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatchEuler"),
        ({"_class_name": "EDMEulerScheduler"}, "EDMEuler"),
        ({"prediction_type": "flow_prediction"}, "'flow_prediction'"),
        ({"use_flow_sigmas": True}, "a flow's"),
        ({"num_train_timesteps": 50}, "at most those of training, 50"),
        ({"beta_schedule": "mine"}, "mine"),
        ({"trained_betas": "x"}, "schedule"),
    ],
)
def test_a_schedule_that_cannot_be_run_is_refused_when_it_is_loaded(
    folder, generator, change, message
):
    write_unet(folder / "unet")
    own = json.loads((generator / "scheduler" / "scheduler_config.json").read_text())
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(own | change))
    try:
        with pytest.raises(WeightsError, match=message):
            transplant(None, folder)
    finally:
        path.write_text(json.dumps(own))


@pytest.mark.parametrize("change", [ZERO_SNR, {"prediction_type": "sample"}])
def test_a_sampler_that_would_run_another_schedule_is_refused(change):
    plan = sampling.make_schedule("pndm", 10, 0.5)
    with pytest.raises(WeightsError, match=r"pndm knows no .*Use ddim"):
        sampling.build(plan, DEFAULT | change)


def test_even_log_snr_steps_need_no_other_spacing():
    plan = sampling.make_schedule("dpmsolver++-logsnr", 10, 0.5)
    _, wanted = sampling.build(plan, DEFAULT)
    for field in ("use_karras_sigmas", "use_exponential_sigmas", "use_lu_lambdas"):
        assert torch.equal(sampling.build(plan, DEFAULT | {field: True})[1], wanted)
