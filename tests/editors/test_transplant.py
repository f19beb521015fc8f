import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM

from roentmod.editors import DiffusionEditor, transplant
from roentmod.errors import MismatchError, WeightsError
from tests.tiny import write_generator

pytestmark = pytest.mark.slow


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
    with pytest.raises(WeightsError, match="pass --trust"):
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
        ({"absent": "no finding"}, "absent says where .* as {finding}"),
        ({"severity": {"Mass": {"mild": -1}}}, "mild = -1 for Mass"),
        ({"guidance_range": [1]}, r"two numbers from 1 up, the second larger; got \[1\]"),
        ({"guidance_range": [4, 3]}, "second larger"),
        ({"guidance_range": [True, "a"]}, "second larger"),
        ({"unsaid": {"Mass": "huge"}}, "'huge'"),
        ({"unsaid": {"Atelectsis": "severe"}}, "got 'Atelectsis'"),
        ({"usual": {"Mass": {"smooth": {"": 0}}}}, "got Mass"),
        ({"usual": {"Mass": {"smooth": 1}}}, "got Mass"),
        ({"usual": {"Masss": {"smooth": {"": 1}}}}, "got Masss"),
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


@pytest.fixture
def copied(generator, tmp_path):
    """A copy of the tiny generator that a test may spoil."""
    return shutil.copytree(generator, tmp_path / "copied")


PART_FILES = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


def rewrite(path, change):
    """Write the tensors of a file again, as `change` returns them."""
    save_file(change(load_file(path)), path, {"format": "pt"})


@pytest.mark.parametrize("part", PART_FILES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {f"module.{k}": v for k, v in s.items()}, r"missing .*unexpected module\."),
        (lambda s: {f"cond_stage_model.{k}": v for k, v in s.items()}, "unexpected cond_stage"),
        (lambda s: dict(list(s.items())[1:]), "missing [a-z]"),
        (lambda s: s | {"another.weight": torch.zeros(3)}, "unexpected another.weight"),
        (lambda s: {k: v[..., :1].contiguous() for k, v in s.items()}, "mismatched [a-z]"),
        (lambda s: {}, r"missing .* and \d+ more"),
    ],
)
def test_weights_that_do_not_fill_a_part_exactly_are_refused_naming_keys(
    copied, part, change, message
):
    rewrite(copied / part / PART_FILES[part], change)
    with pytest.raises(WeightsError, match=message) as caught:
        transplant(None, copied)
    assert f"copied/{part}" in str(caught.value)


def test_a_unet_without_cross_attention_weights_is_refused(copied):
    path = copied / "unet" / PART_FILES["unet"]
    rewrite(path, lambda s: {k: v for k, v in s.items() if "attn2" not in k})
    with pytest.raises(WeightsError, match=r"missing \S+attn2"):
        transplant(None, copied)


def test_position_ids_of_older_text_encoders_are_no_fault(copied, generator):
    path = copied / "text_encoder" / PART_FILES["text_encoder"]
    ids = torch.arange(40)[None]
    rewrite(path, lambda s: s | {"text_model.embeddings.position_ids": ids})
    text = [transplant(None, one).text_states("effusion") for one in (copied, generator)]
    assert torch.equal(*text)


def test_heads_that_text_states_do_not_need_are_left_out(copied):
    config = BertConfig(
        vocab_size=80,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=40,
    )
    shutil.rmtree(copied / "text_encoder")
    BertForMaskedLM(config).save_pretrained(copied / "text_encoder")
    path = copied / "text_encoder" / "config.json"
    path.write_text(path.read_text().replace("BertForMaskedLM", "CXRBertModel"))
    assert transplant(None, copied).text_states("effusion").shape == (40, 16)
    path.write_text(path.read_text().replace("CXRBertModel", "BertForMaskedLM"))
    with pytest.raises(WeightsError, match="text encoder of copied must run"):
        transplant(None, copied)


@pytest.mark.parametrize("kind", ["VQModel", "AutoencoderTiny"])
def test_a_part_of_another_class_is_refused(copied, kind):
    path = copied / "vae" / "config.json"
    path.write_text(path.read_text().replace("AutoencoderKL", kind))
    with pytest.raises(WeightsError, match=f"AutoencoderKL.*{kind}"):
        transplant(None, copied)


def as_variant(folder, variant, dtype=torch.float16):
    """Leave only one variant of each part's weights."""
    for part, name in PART_FILES.items():
        path = folder / part / name
        rewrite(path, lambda s: {k: v.to(dtype) for k, v in s.items()})
        path.rename(path.with_suffix(f".{variant}.safetensors"))


def test_where_there_is_only_a_variant_it_is_taken(copied, generator):
    plain = transplant(None, generator)
    as_variant(copied, "fp16")
    parts = transplant(None, copied)
    assert all(".fp16." in file.name for file in parts.files)
    for name, value in parts.unet.state_dict().items():
        assert torch.equal(value, plain.unet.state_dict()[name].half().float())


def test_plain_weights_come_before_variants_and_only_what_is_read_is_hashed(copied, generator):
    before = transplant(None, generator)
    for part, name in PART_FILES.items():
        path = copied / part / name
        shutil.copy(path, path.with_suffix(".fp16.safetensors"))
    assert transplant(None, copied).weights_hash == before.weights_hash


def shard(folder, part, variant=None):
    """Write a part's weights again as two files and an index."""
    stem = PART_FILES[part].removesuffix(".safetensors")
    path = folder / part / PART_FILES[part]
    state = list(load_file(path).items())
    path.unlink()
    middle = f"{stem}.{variant}" if variant else stem
    names = [f"{middle}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    halves = [state[: len(state) // 2], state[len(state) // 2 :]]
    for name, half in zip(names, halves, strict=True):
        save_file(dict(half), folder / part / name, {"format": "pt"})
    where = {key: name for name, half in zip(names, halves, strict=True) for key, _ in half}
    ending = f".index.{variant}.json" if variant else ".index.json"
    index = folder / part / f"{stem}.safetensors{ending}"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return folder / part / names[1]


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_sharded_weights_are_the_whole_ones(copied, generator, variant):
    last = [shard(copied, part, variant) for part in PART_FILES]
    plain, parts = transplant(None, generator), transplant(None, copied)
    assert len(parts.files) == 6
    for name in ("unet", "vae", "text_encoder"):
        wanted = getattr(plain, name).state_dict()
        for key, value in getattr(parts, name).state_dict().items():
            assert torch.equal(value, wanted[key])
    last[0].unlink()
    with pytest.raises(WeightsError, match="copied/unet"):
        transplant(None, copied)


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_folder_called_by_a_commit_has_the_name_of_its_model(copied, tmp_path):
    place = tmp_path / "models--someone--roentgen" / "snapshots" / COMMIT
    place.parent.mkdir(parents=True)
    copied.rename(place)
    assert transplant(None, place).profile.name == "roentgen"
    shutil.rmtree(place / "vae")
    with pytest.raises(WeightsError) as caught:
        transplant(None, place)
    assert "someone/roentgen" in str(caught.value)
    assert COMMIT not in str(caught.value)


def test_a_commit_elsewhere_is_named_by_its_metadata(copied, tmp_path):
    place = tmp_path / COMMIT
    copied.rename(place)
    assert transplant(None, place).profile.name == "generic"
    (place / "model_index.json").write_text(json.dumps({"_name_or_path": "someone/roentgen"}))
    assert transplant(None, place).profile.name == "roentgen"


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_a_hub_id_is_fetched_with_what_may_be_read_and_named_by_it(
    copied, tmp_path, monkeypatch, allow_pickle
):
    place = tmp_path / "cache" / COMMIT
    place.parent.mkdir()
    copied.rename(place)
    asked = []

    def snapshot_download(name, *, allow_patterns):
        asked.extend(allow_patterns)
        return str(place)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    parts = transplant(None, "someone/roentgen", allow_pickle=allow_pickle)
    assert parts.profile.name == "roentgen"
    assert ("*/*.bin" in asked) is allow_pickle
    host = write_generator(tmp_path / "otherhost", latents=8)
    with pytest.raises(MismatchError, match="otherhost and generator someone/roentgen do"):
        transplant(host, "someone/roentgen")


@pytest.mark.parametrize("file", ["unet/config.json", "tokenizer/vocab.json", "scheduler"])
def test_the_identity_follows_configurations_wherever_the_folder_lies(copied, generator, file):
    before = DiffusionEditor(transplant(None, generator)).describe()
    assert DiffusionEditor(transplant(None, copied)).describe() == before
    path = copied / (file if "." in file else "scheduler/scheduler_config.json")
    path.write_text(path.read_text() + "\n")
    after = DiffusionEditor(transplant(None, copied)).describe()
    assert after["configuration"] != before["configuration"]
    assert after["weights"] == before["weights"]


@pytest.mark.parametrize("field", ["beta_end", "beta_schedule", "rescale_betas_zero_snr"])
def test_a_host_with_another_noise_schedule_is_refused(copied, generator, field):
    path = copied / "scheduler" / "scheduler_config.json"
    other = {"beta_end": 0.02, "beta_schedule": "linear", "rescale_betas_zero_snr": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: other[field]}))
    with pytest.raises(MismatchError, match=field):
        transplant(copied, generator)


@pytest.mark.parametrize("content", ["[]", "{", "1", '{"a": NaN}'])
def test_a_configuration_that_is_no_object_is_one_line(content, tmp_path, generator):
    folder = tmp_path / "odd"
    shutil.copytree(generator, folder)
    (folder / "scheduler" / "scheduler_config.json").write_text(content)
    with pytest.raises(WeightsError, match=r"scheduler_config.json.*no JSON object"):
        transplant(None, folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tokenizer/vocab.json", b"{nonsense", "The tokenizer in .* cannot be read"),
        ("tokenizer/merges.txt", b"\xff\xfe", "The tokenizer in .* cannot be read"),
        ("tokenizer/tokenizer_config.json", b"[]", "The tokenizer in .* cannot be read"),
        ("text_encoder/config.json", b'{"architectures": [3]}', "declares '3'"),
        (
            "scheduler/scheduler_config.json",
            b'{"num_train_timesteps": "a"}',
            "must take the generator's schedule",
        ),
        (
            "scheduler/scheduler_config.json",
            b'{"beta_start": null}',
            "must take the generator's schedule",
        ),
        ("unet/diffusion_pytorch_model.safetensors", b"", "cannot be loaded as UNet2D"),
    ],
)
def test_files_that_hold_nonsense_are_one_line(copied, file, content, message):
    (copied / file).write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        transplant(None, copied)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
