import json
import shutil

import pytest
import torch

from roentmod.editors import transplant
from roentmod.errors import MismatchError, WeightsError
from tests.tiny import write_generator


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"latents": 8}, "8 latent channels"),
        ({"prediction": "v_prediction"}, "predicts v_prediction"),
        ({"scaling": 0.18215}, "scaled by 0.18215"),
    ],
)
def test_a_host_that_does_not_fit_is_refused_naming_both(tmp_path, generator, change, said):
    host = write_generator(tmp_path / "otherhost", **change)
    with pytest.raises(MismatchError, match=said) as caught:
        transplant(host, generator)
    assert "otherhost" in str(caught.value)
    assert generator.name in str(caught.value)


def test_text_width_and_vocabulary_are_checked(tmp_path, generator):
    wide = write_generator(tmp_path / "wide", width=32)
    shutil.rmtree(wide / "unet")
    shutil.copytree(generator / "unet", wide / "unet")
    with pytest.raises(MismatchError, match=r"width 32.*takes 16"):
        transplant(None, wide)
    poor = write_generator(tmp_path / "poor", vocabulary=30)
    with pytest.raises(MismatchError, match="knows 30"):
        transplant(None, poor)


def test_a_fitting_rgb_host_is_accepted_and_gives_its_own_autoencoder(tmp_path, generator):
    host = write_generator(tmp_path / "rgb", channels=3)
    parts = transplant(host, generator)
    assert parts.vae.config.in_channels == 3
    assert parts.size == 64


def test_pickles_are_refused_unless_allowed(tmp_path, generator):
    folder = tmp_path / "pickled"
    shutil.copytree(generator, folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    state = transplant(None, generator).unet.state_dict()
    torch.save(state, folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(WeightsError, match="allow-pickle"):
        transplant(None, folder)
    loaded = transplant(None, folder, allow_pickle=True).unet.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in state.items())


def test_text_encoder_and_tokenizer_may_share_a_folder(tmp_path, generator):
    folder = tmp_path / "joint"
    shutil.copytree(generator, folder)
    joint = folder / "text_encoder_and_tokenizer"
    (folder / "text_encoder").rename(joint)
    for file in (folder / "tokenizer").iterdir():
        file.rename(joint / file.name)
    (folder / "tokenizer").rmdir()
    parts = transplant(None, folder)
    assert parts.tokenizer("no finding").input_ids[0] == 0


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(tmp_path, generator, part):
    folder = tmp_path / "broken"
    shutil.copytree(generator, folder)
    shutil.rmtree(folder / part)
    with pytest.raises(WeightsError, match=part) as caught:
        transplant(None, folder)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_one_clear_line(tmp_path):
    with pytest.raises(WeightsError, match="no folder"):
        transplant(None, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"severity": 2}, "severity is a table; got 2"),
        ({"scheduler": "zz"}, "one of ddim, .*got 'zz'"),
        ({"guidance_scale": "x"}, "guidance_scale is a number; got 'x'"),
        ({"steps": 0}, "steps of a profile is 1 to 1000; got 0"),
        ({"template": "{impression.__class__}"}, "no other braces"),
        ({"template": "{impression!r:>99999999}"}, "no other braces"),
        ({"severity": {"Mass": {"mild": -1}}}, "mild = -1 for Mass"),
        ({"unsaid": {"Mass": "huge"}}, "'huge'"),
        ({"unsaid": {"Atelectsis": "severe"}}, "got 'Atelectsis'"),
        ({"speed": 2}, "got 'speed', which is none"),
    ],
)
def test_a_wrong_profile_file_is_one_clear_line(wrong, said, tmp_path, generator):
    folder = tmp_path / "profiled"
    shutil.copytree(generator, folder)
    (folder / "profile.json").write_text(json.dumps({"name": "mini"} | wrong))
    with pytest.raises(WeightsError, match=said):
        transplant(None, folder)


def test_a_profile_file_is_obeyed_and_the_weights_hash_follows_the_weights(tmp_path, generator):
    folder = tmp_path / "profiled"
    shutil.copytree(generator, folder)
    before = transplant(None, folder)
    (folder / "profile.json").write_text(json.dumps({"name": "mine", "normal": "clear lungs"}))
    after = transplant(None, folder)
    assert after.profile.normal == "clear lungs"
    assert before.weights_hash == after.weights_hash
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert transplant(None, folder).weights_hash != before.weights_hash
