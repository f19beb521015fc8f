"""Our loop gives what diffusers' image-to-image pipeline gives, from the same noise."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline

from roentmod.editors import DiffusionEditor, compose, sampling, transplant
from roentmod.edits import Edit
from roentmod.radiograph import Radiograph


@pytest.mark.parametrize("scheduler", ["ddim", "pndm", "dpmsolver++"])
@pytest.mark.parametrize("strength", [0.2, 0.4, 0.75, 1.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_equals_the_diffusers_pipeline(
    generator, radiograph, monkeypatch, scheduler, strength, prediction
):
    parts = transplant(None, generator)
    parts.scheduler_config["prediction_type"] = prediction
    square = Radiograph.from_array(compose.shrink(radiograph, parts.size))
    edit = Edit(
        ("effusion",),
        composite="none",
        strength=strength,
        scheduler=scheduler,
        num_inference_steps=20,
        seed=3,
    )
    ours = DiffusionEditor(parts).edit([square], [edit])[0]
    assert ours.facts["effective_steps"] == int(20 * strength)

    plan = sampling.make_schedule(scheduler, 20, strength)
    made, _ = sampling.build(plan, parts.scheduler_config)
    pipe = StableDiffusionImg2ImgPipeline(
        parts.vae,
        parts.text_encoder,
        parts.tokenizer,
        parts.unet,
        type(made).from_config(made.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    draws = iter(sampling.draw(square.id, 3, (4, 8, 8)))
    replay = lambda *args, **kwargs: next(draws)[None]  # noqa: E731
    monkeypatch.setattr("diffusers.models.autoencoders.vae.randn_tensor", replay)
    monkeypatch.setattr(
        "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img.randn_tensor",
        replay,
    )
    theirs = pipe(
        prompt="pleural effusion",
        image=torch.from_numpy(square.pixels.copy())[None, None],
        strength=strength,
        guidance_scale=4.0,
        num_inference_steps=20,
        output_type="pt",
    ).images[0, 0]
    shown = ours.image.pixels
    assert np.abs(shown - theirs.numpy()).max() < 1e-4
