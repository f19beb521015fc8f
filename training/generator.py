"""The untrained generator of `mini`: U-Net, text encoder and noise schedule."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training import autoencoder, vocabulary


def scheduler() -> DDIMScheduler:
    """Return the noise schedule `mini` is trained on (Stable Diffusion's, with v-prediction)."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def build_unet() -> UNet2DConditionModel:
    """Return the untrained U-Net."""
    return UNet2DConditionModel(
        sample_size=28,
        in_channels=autoencoder.LATENTS,
        out_channels=autoencoder.LATENTS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        cross_attention_dim=vocabulary.WIDTH,
        attention_head_dim=32,
        norm_num_groups=16,
    )


def build_text(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return the untrained text encoder for `tokenizer`."""
    end = tokenizer.eos_token_id
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=vocabulary.WIDTH,
        intermediate_size=4 * vocabulary.WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=vocabulary.LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
        pad_token_id=end,
    )
    return CLIPTextModel(config)


class Generator(torch.nn.Module):
    """U-Net and text encoder, trained together."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        """Build both, untrained."""
        super().__init__()
        self.tokenizer = tokenizer
        self.unet = build_unet()
        self.text = build_text(tokenizer)

    def forward(self, noisy: Tensor, times: Tensor, prompts: list[str]) -> Tensor:
        """Return the predicted v, b x c x 28 x 28."""
        ids = vocabulary.tokens(self.tokenizer, prompts)
        states = self.text(ids).last_hidden_state
        predicted: Tensor = self.unet(noisy, times, states).sample
        return predicted

    def begin(self, folder: Path) -> None:
        """Take the weights of an earlier generator of the same build.

        Its vocabulary may be another: tokens of both keep their states, new ones begin untrained.
        """
        words = CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict()
        vocabulary_of = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab
        earlier, own = vocabulary_of(), self.tokenizer.get_vocab()
        for name, weights in words.items():
            if name.endswith("token_embedding.weight"):
                begun = self.text.state_dict()[name].clone()
                both = earlier.keys() & own.keys()
                begun[[own[t] for t in both]] = weights[[earlier[t] for t in both]].to(begun)
                words[name] = begun
        self.text.load_state_dict(words)
        known = UNet2DConditionModel.from_pretrained(folder / "unet")
        self.unet.load_state_dict(known.state_dict())
