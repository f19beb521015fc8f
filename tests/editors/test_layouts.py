"""Checkpoints as people have them: each gives what diffusers' own pipeline gives of it."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler
from safetensors.torch import load_file, save_file

from roentmod.editors import DiffusionEditor, Editor, lora, transplant
from roentmod.errors import MismatchError, WeightsError
from tests.editors.test_parity import DEFAULT, ZERO_SNR, ours, theirs
from tests.editors.test_transplant import as_variant, shard
from tests.tiny import open_clip_names, original_names

pytestmark = pytest.mark.slow

POINT = {"strength": 0.5, "steps": 4}


@pytest.fixture
def copied(generator, tmp_path):
    """A copy of the tiny generator that a test may rewrite."""
    return shutil.copytree(generator, tmp_path / "copied")


def same_as_pipeline(loaded, plain, radiograph, monkeypatch, scheduler="ddim", **point):
    """Check our edit by `loaded` parts against diffusers' pipeline of `plain` ones."""
    kind = {"ddim": DDIMScheduler, "dpmsolver++": DPMSolverMultistepScheduler}[scheduler]
    square, shown = ours(loaded, radiograph, scheduler, **POINT | point)
    made = kind.from_config(plain.scheduler_config)
    wanted = theirs(plain, made, square, **POINT | point, monkeypatch=monkeypatch)
    assert np.abs(shown - wanted).max() < 1e-3


def from_diffusers(parts, folder, **options):
    """Return `parts` with the networks that diffusers and transformers load themselves."""
    for part in ("unet", "vae", "text_encoder"):
        kind = type(getattr(parts, part))
        model = kind.from_pretrained(folder / part, local_files_only=True, **options)
        object.__setattr__(parts, part, model.eval())
    return parts


@pytest.mark.parametrize("layout", ["variant", "shards", "shards of a variant"])
def test_variants_and_shards(copied, radiograph, monkeypatch, layout):
    if layout == "variant":
        as_variant(copied, "fp16")
    else:
        for part in ("unet", "vae", "text_encoder"):
            shard(copied, part, "fp16" if layout.endswith("variant") else None)
    parts = transplant(None, copied)
    variant = None if layout == "shards" else "fp16"
    plain = from_diffusers(
        transplant(None, copied), copied, variant=variant, torch_dtype=torch.float32
    )
    same_as_pipeline(parts, plain, radiograph, monkeypatch)


@pytest.fixture(scope="module")
def checkpoint(generator, tmp_path_factory):
    """All of the tiny generator's tensors in one file, by their original names."""
    path = tmp_path_factory.mktemp("single") / "mine.safetensors"
    save_file(original_names(generator), path)
    return path


def test_a_checkpoint_of_one_file(checkpoint, generator, radiograph, monkeypatch):
    parts = transplant(generator, checkpoint)
    same_as_pipeline(parts, transplant(None, generator), radiograph, monkeypatch)
    assert parts.files == (checkpoint,)
    assert transplant(generator, checkpoint).weights_hash == parts.weights_hash
    assert transplant(None, generator).weights_hash != parts.weights_hash


def test_one_file_whose_text_encoder_is_of_open_clip(
    checkpoint, generator, radiograph, tmp_path, monkeypatch
):
    own = {k: v for k, v in load_file(checkpoint).items() if not k.startswith("cond_stage_model")}
    path = tmp_path / "second.safetensors"
    save_file(own | open_clip_names(generator), path)
    parts, plain = transplant(generator, path), transplant(None, generator)
    assert parts.files == (path,)
    assert torch.equal(parts.text_states("effusion"), plain.text_states("effusion"))
    same_as_pipeline(parts, plain, radiograph, monkeypatch)


def test_what_one_file_lacks_comes_from_its_host(checkpoint, generator, tmp_path):
    alone = tmp_path / "alone.safetensors"
    state = {k: v for k, v in load_file(checkpoint).items() if k.startswith("model.diffusion")}
    save_file(state, alone)
    parts = transplant(generator, alone)
    assert len(parts.files) == 3
    wanted = transplant(None, generator).text_states("effusion")
    assert torch.equal(parts.text_states("effusion"), wanted)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("model.diffusion_model.input_blocks.3", "missing down_blocks.1"),
        ("first_stage_model.decoder.conv_out", "missing decoder.conv_out"),
        ("cond_stage_model.transformer.text_model.final", "missing .*final_layer_norm"),
    ],
)
def test_one_file_that_lacks_tensors_is_refused(checkpoint, generator, tmp_path, part, message):
    poor = tmp_path / "poor.safetensors"
    state = load_file(checkpoint)
    save_file({k: v for k, v in state.items() if not k.startswith(part)}, poor)
    with pytest.raises(WeightsError, match=message):
        transplant(generator, poor)


def test_one_file_needs_a_host_and_must_be_a_checkpoint(checkpoint, generator):
    with pytest.raises(WeightsError, match=r"one file has weights alone.*--host"):
        transplant(None, checkpoint)
    other = generator / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(WeightsError, match=r"model\.diffusion_model"):
        transplant(generator, other)


def with_shift(folder, shift):
    path = folder / "vae" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shift_factor": shift}))


def folded(vae, shift):
    """Return an autoencoder whose weights include its shift, which the pipeline does not read."""
    plain = AutoencoderKL.from_config(dict(vae.config) | {"shift_factor": None})
    plain.load_state_dict(vae.state_dict())
    with torch.no_grad():
        plain.quant_conv.bias[: vae.config.latent_channels] -= shift
        plain.post_quant_conv.bias += plain.post_quant_conv.weight.sum((1, 2, 3)) * shift
    return plain.eval()


def test_an_autoencoder_with_a_shift(copied, generator, radiograph, monkeypatch):
    with_shift(copied, 0.7)
    parts, plain = transplant(None, copied), transplant(None, copied)
    object.__setattr__(plain, "vae", folded(plain.vae, 0.7))
    same_as_pipeline(parts, plain, radiograph, monkeypatch)
    with pytest.raises(MismatchError, match=r"shifted by 0, the generator.s by 0\.7"):
        transplant(generator, copied)


@pytest.mark.parametrize("scheduler", ["ddim", "dpmsolver++"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_v_prediction_with_zero_terminal_snr(copied, radiograph, monkeypatch, scheduler, strength):
    config = DEFAULT | ZERO_SNR | {"prediction_type": "v_prediction"}
    (copied / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    parts = transplant(None, copied)
    same_as_pipeline(parts, parts, radiograph, monkeypatch, scheduler, strength=strength, steps=6)


LAYERS = {
    "unet": "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    "out": "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "conv": "down_blocks.0.resnets.0.conv1",
    "text": "encoder.layers.0.self_attn.q_proj",
}


def matrices(parts, rank=3):
    """Return (down, up) of layers of both networks."""
    torch.manual_seed(1)
    made = {}
    for part, name in LAYERS.items():
        model = parts.text_encoder if part == "text" else parts.unet
        shape = model.get_submodule(name).weight.shape
        down = torch.randn(rank, *shape[1:])
        made[part] = down, torch.randn(shape[0], rank, *([1, 1] if len(shape) > 2 else []))
    return made


def spelled(made, form):
    """Return the tensors of a LoRA by the names of one of the tools that write them."""
    state = {}
    for part, (down, up) in made.items():
        text = part == "text"
        name = f"text_model.{LAYERS[part]}" if text else LAYERS[part]
        if form == "kohya":
            start = f"lora_{'te' if text else 'unet'}_{name.replace('.', '_')}"
            state |= {f"{start}.lora_down.weight": down, f"{start}.lora_up.weight": up}
            state[f"{start}.alpha"] = torch.tensor(1.5)
        elif form == "peft":
            start = f"{'text_encoder' if text else 'unet'}.{name}"
            state |= {f"{start}.lora_A.weight": down, f"{start}.lora_B.weight": up}
        else:
            start = f"{'text_encoder' if text else 'unet'}.{name}"
            short = start.replace("attn1.to_q", "attn1.processor.to_q")
            short = short.replace("attn2.to_out.0", "attn2.processor.to_out")
            join = "." if short == start else "_"
            between = ".lora_linear_layer" if text else f"{join}lora"
            state |= {f"{short}{between}.down.weight": down, f"{short}{between}.up.weight": up}
    return {key: value.contiguous() for key, value in state.items()}


def adapted(parts, made, factor):
    """Let each layer of a LoRA compute its own branch, as peft does."""
    for part, (down, up) in made.items():
        model = parts.text_encoder if part == "text" else parts.unet
        layer = model.get_submodule(LAYERS[part])

        def hook(layer, args, out, down=down, up=up):
            if down.ndim == 2:
                return out + factor * (args[0] @ down.T) @ up.T
            inner = torch.nn.functional.conv2d(args[0], down, padding=layer.padding)
            return out + factor * torch.nn.functional.conv2d(inner, up)

        layer.register_forward_hook(hook)
    return parts


@pytest.mark.parametrize(("form", "alpha"), [("peft", 3), ("kohya", 1.5), ("old", 3)])
def test_a_lora_on_top(generator, radiograph, monkeypatch, tmp_path, form, alpha):
    plain = transplant(None, generator)
    made = {k: (d * 0.2, u * 0.2) for k, (d, u) in matrices(plain).items()}
    save_file(spelled(made, form), tmp_path / "mine.safetensors")
    wanted = adapted(plain, made, 0.8 * alpha / 3)
    one = lora.adapter(f"{tmp_path / 'mine.safetensors'}:0.8")
    parts = transplant(None, generator, adapters=[one])
    same_as_pipeline(parts, wanted, radiograph, monkeypatch)
    assert not torch.allclose(
        parts.text_states("effusion"), transplant(None, generator).text_states("effusion")
    )


@pytest.mark.parametrize("place", ["adapter_config.json", "header"])
def test_the_alpha_of_peft_is_obeyed(generator, tmp_path, place):
    plain = transplant(None, generator)
    made = {"unet": matrices(plain)["unet"]}
    names = {"adapter_config.json": "adapter_model", "header": "pytorch_lora_weights"}
    prefix = "base_model.model." if place.endswith("json") else "unet."
    tensors = {k.replace("unet.", prefix): v for k, v in spelled(made, "peft").items()}
    stated = {"lora_alpha": 6, "r": 3, "use_dora": False, "alpha_pattern": {}}
    headed = {"lora_adapter_metadata": json.dumps({f"unet.{k}": v for k, v in stated.items()})}
    path = tmp_path / f"{names[place]}.safetensors"
    save_file(tensors, path, headed if place == "header" else None)
    if place.endswith("json"):
        (tmp_path / place).write_text(json.dumps(stated))
    parts = transplant(None, generator, adapters=[lora.adapter(str(tmp_path))])
    down, up = made["unet"]
    change = parts.unet.get_submodule(LAYERS["unet"]).weight
    change = change - plain.unet.get_submodule(LAYERS["unet"]).weight
    assert torch.allclose(change, 2 * up @ down, atol=1e-4)


def test_a_lora_and_its_scale_are_in_the_identity(generator, tmp_path):
    plain = transplant(None, generator)
    file = tmp_path / "mine.safetensors"
    save_file(spelled(matrices(plain), "peft"), file)
    texts = ([], [f"{file}:0.5"], [str(file)], [str(file), f"{file}:0.5"])
    editors = [Editor.load(generator, lora=text, engine="torch") for text in texts]
    assert len({one.describe()["weights"] for one in editors}) == 4
    assert editors[1].describe()["lora"] == ["mine.safetensors:0.5"]
    assert "lora" not in editors[0].describe()
    assert editors[1].__reduce__()[0].keywords["lora"] == (f"{file}:0.5",)
    moved = tmp_path / "elsewhere.safetensors"
    file.rename(moved)
    again = DiffusionEditor(transplant(None, generator, adapters=[lora.adapter(f"{moved}:0.5")]))
    assert again.describe()["weights"] == editors[1].describe()["weights"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {}, "has none"),
        (lambda s: {k.replace("blocks.1", "blocks.7"): v for k, v in s.items()}, "blocks.7"),
        (lambda s: {k: v for k, v in s.items() if "lora_B" not in k}, "to_q"),
        (lambda s: {k: v[..., :1].contiguous() for k, v in s.items()}, "to_q"),
        (lambda s: s | {"unet.x.lora_magnitude_vector": torch.ones(3)}, "magnitude_vector"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused(generator, tmp_path, change, message):
    state = spelled(matrices(transplant(None, generator)), "peft")
    file = tmp_path / "mine.safetensors"
    save_file(change(state), file)
    with pytest.raises(WeightsError, match=message):
        transplant(None, generator, adapters=[lora.adapter(str(file))])


@pytest.mark.parametrize("stated", ["{", "[1]", '{"lora_alpha": "x"}', '{"lora_alpha": null}'])
@pytest.mark.parametrize("place", ["adapter_config.json", "header"])
def test_a_lora_that_does_not_state_its_alpha_is_refused(generator, tmp_path, stated, place):
    file = tmp_path / "mine.safetensors"
    metadata = {"lora_adapter_metadata": stated} if place == "header" else None
    save_file(spelled(matrices(transplant(None, generator)), "peft"), file, metadata)
    if place != "header":
        (tmp_path / place).write_text(stated)
    with pytest.raises(WeightsError, match=r"alpha in one JSON object; that of 'mine"):
        transplant(None, generator, adapters=[lora.adapter(str(file))])


@pytest.mark.parametrize(
    ("text", "message"),
    [("nowhere.safetensors", "got 'nowhere"), ("x.safetensors:nan", "finite"), (".", "got '.'")],
)
def test_a_lora_that_is_not_there_is_one_clear_line(text, message):
    with pytest.raises(WeightsError, match=message):
        lora.adapter(text)


def test_a_lora_on_an_editor_without_weights_is_refused():
    with pytest.raises(WeightsError, match="painter is none"):
        Editor.load("painter", lora=["x"])
