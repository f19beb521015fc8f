"""Tiny real components on disk, in the diffusers layout, with a tokenizer of their own."""

import json
import re
import string

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from roentmod.editors import sampling

WORDS = ("no</w>", "finding</w>", "pleural</w>", "effusion</w>", "left</w>", "severe</w>")


def write_tokenizer(folder):
    folder.mkdir(parents=True)
    vocab = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    for letter in string.ascii_lowercase + "-.,":
        for token in (letter, letter + "</w>"):
            vocab[token] = len(vocab)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    config |= {"unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    config |= {"tokenizer_class": "CLIPTokenizer", "model_max_length": 40}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(vocab)


def write_unet(folder, **changes):
    config = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "cross_attention_dim": 16,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
    }
    UNet2DConditionModel(**config | changes).save_pretrained(folder)


def pipeline_draws(monkeypatch, key, seed, shape):
    """Let diffusers' image-to-image pipeline draw the noise of our edit."""
    draws = iter(sampling.draw(key, seed, shape))
    replay = lambda *args, **kwargs: next(draws)[None]  # noqa: E731
    pipelines = "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img"
    for module in ("diffusers.models.autoencoders.vae", pipelines):
        monkeypatch.setattr(f"{module}.randn_tensor", replay)


def write_generator(
    root, *, width=16, latents=4, prediction="epsilon", scaling=0.3, vocabulary=None, channels=1
):
    torch.manual_seed(0)
    size = write_tokenizer(root / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=vocabulary or size,
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=40,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    CLIPTextModel(text).save_pretrained(root / "text_encoder")
    write_unet(root / "unet", in_channels=latents, out_channels=latents, cross_attention_dim=width)
    AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(8, 8, 8, 16),
        layers_per_block=1,
        latent_channels=latents,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=scaling,
        mid_block_add_attention=False,
    ).save_pretrained(root / "vae")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(root / "scheduler")
    return root


_UNET_NAMES = (
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
    ("mid_block.attentions.0", "middle_block.1"),
    ("mid_block.resnets.0", "middle_block.0"),
    ("mid_block.resnets.1", "middle_block.2"),
    ("down_blocks.0.resnets.0", "input_blocks.1.0"),
    ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"),
    ("down_blocks.1.resnets.0", "input_blocks.3.0"),
    ("down_blocks.1.attentions.0", "input_blocks.3.1"),
    ("up_blocks.0.resnets.0", "output_blocks.0.0"),
    ("up_blocks.0.attentions.0", "output_blocks.0.1"),
    ("up_blocks.0.resnets.1", "output_blocks.1.0"),
    ("up_blocks.0.attentions.1", "output_blocks.1.1"),
    ("up_blocks.0.upsamplers.0", "output_blocks.1.2"),
    ("up_blocks.1.resnets.0", "output_blocks.2.0"),
    ("up_blocks.1.resnets.1", "output_blocks.3.0"),
    (".norm1.", ".in_layers.0."),
    (".conv1.", ".in_layers.2."),
    (".norm2.", ".out_layers.0."),
    (".conv2.", ".out_layers.3."),
    (".time_emb_proj.", ".emb_layers.1."),
    (".conv_shortcut.", ".skip_connection."),
)
_VAE_NAMES = (
    *((f"up_blocks.{i}.resnets.", f"up.{3 - i}.block.") for i in range(4)),
    *((f"up_blocks.{i}.upsamplers.0.", f"up.{3 - i}.upsample.") for i in range(4)),
    *((f"down_blocks.{i}.resnets.", f"down.{i}.block.") for i in range(4)),
    *((f"down_blocks.{i}.downsamplers.0.", f"down.{i}.downsample.") for i in range(4)),
    ("mid_block.resnets.0", "mid.block_1"),
    ("mid_block.resnets.1", "mid.block_2"),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
)


# Text encoders of Stable Diffusion 2, by the names of OpenCLIP.
_OPEN_CLIP_NAMES = (
    ("text_model.", ""),
    ("embeddings.token_embedding", "token_embedding"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("final_layer_norm", "ln_final"),
    ("encoder.layers", "transformer.resblocks"),
    ("self_attn", "attn"),
    ("layer_norm", "ln_"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
)


def open_clip_names(folder):
    """Return the tensors of a tiny text encoder by the names of OpenCLIP, which has a layer more.

    Stable Diffusion 2 reads the layer before the last: the 24th is in its files and not read.
    """
    text = load_file(folder / "text_encoder" / "model.safetensors")
    state, joined = {}, {}
    for key, value in text.items():
        name = _renamed(key, _OPEN_CLIP_NAMES)
        if any(f".{part}_proj." in name for part in "qkv"):
            stem, part, kind = re.fullmatch(r"(.*)\.([qkv])_proj\.(\w+)", name).groups()
            joined.setdefault(f"{stem}.in_proj_{kind}", {})[part] = value
        else:
            state[name] = value
    state |= {name: torch.cat([own[part] for part in "qkv"]) for name, own in joined.items()}
    first = "transformer.resblocks.0."
    last = {name: value for name, value in state.items() if name.startswith(first)}
    for name, value in last.items():
        state[name.replace(first, "transformer.resblocks.23.")] = torch.zeros_like(value)
    width = len(state["ln_final.weight"])
    state |= {"text_projection": torch.eye(width), "logit_scale": torch.tensor(1.0)}
    return {f"cond_stage_model.model.{name}": value for name, value in state.items()}


def original_names(folder):
    """Return the tensors of a tiny generator by the names of the original code."""
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    state = {"betas": torch.zeros(1000), "model_ema.decay": torch.zeros(1)}
    for key, value in unet.items():
        # Norms of transformers keep their names.
        pairs = _UNET_NAMES if "transformer_blocks" not in key else _UNET_NAMES[:19]
        state[f"model.diffusion_model.{_renamed(key, pairs)}"] = value
    for key, value in vae.items():
        state[f"first_stage_model.{_renamed(key, _VAE_NAMES)}"] = value
    for key, value in text.items():
        state[f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}"] = value
    return state


def _renamed(key, pairs):
    for ours, theirs in pairs:
        key = key.replace(ours, theirs)
    return key
