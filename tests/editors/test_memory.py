"""Big generators in little memory: weights stay mapped, pictures pass one by one, or in tiles."""

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from roentmod.editors import DiffusionEditor, Editor, diffusion, engines, transplant
from roentmod.editors.engines import CompiledEngine, TorchEngine, make_engine
from roentmod.editors.weights import Loader
from roentmod.edits import Edit
from roentmod.errors import WeightsError
from tests.tiny import original_names, write_unet

EDITS = [Edit((f,), num_inference_steps=5, composite="none") for f in ("effusion", "edema")]


@pytest.fixture
def parts(generator):
    return transplant(None, generator)


def test_a_device_that_is_not_there_is_one_line_before_anything_is_read(generator):
    for device in ("cuda", "cdua", "xpu:9"):
        if device == "cuda" and torch.cuda.is_available():
            continue
        with pytest.raises(WeightsError, match=f"torch can use here.*'{device}'") as caught:
            Editor.load(generator, device=device)
        assert "\n" not in str(caught.value)


def test_weights_are_in_memory_once(generator, tmp_path, monkeypatch):
    save_file(original_names(generator), tmp_path / "one.safetensors")
    moved, copy = [], torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", lambda own, *_: moved.append(own) or copy(own, *_))
    for parts in (transplant(None, generator), transplant(generator, tmp_path / "one.safetensors")):
        assert not [one for one in moved if one.numel() > 500 and not one.is_meta]
        assert not any(one.is_meta for one in parts.unet.parameters())


def test_on_an_accelerator_kernels_lie_channels_last(tmp_path):
    write_unet(tmp_path / "unet")
    unet = UNet2DConditionModel.from_pretrained(tmp_path / "unet")
    # A device without memory stands for one.
    kernel = Loader(False, torch.float16, "meta")._placed(unet).conv_in.weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert kernel.dtype == torch.float16


def test_the_autoencoder_takes_as_many_pictures_as_memory_holds(parts, radiograph, monkeypatch):
    calls = []

    class Counter(TorchEngine):
        def decode(self, latents):
            calls.append(len(latents))
            return super().decode(latents)

    # The widest layer at the picture's size, in single precision, four times.
    assert parts.picture_bytes == 4 * 8 * 64 * 64 * 4
    plain = DiffusionEditor(parts).edit([radiograph], EDITS)
    for pictures, wanted in ((3, [2, 1]), (0.5, [1, 1, 1]), (100, [3])):
        monkeypatch.setitem(diffusion._MEMORY, "cpu", int(pictures * parts.picture_bytes))
        made = DiffusionEditor(parts, engine=Counter(parts)).edit([radiograph], EDITS)
        assert calls == wanted
        calls.clear()
        for one, other in zip(made, plain, strict=True):
            assert np.abs(one.image.pixels - other.image.pixels).max() <= 1e-4


def test_tiles_need_less_and_give_nearly_the_same(generator, parts, radiograph):
    editor = Editor.load(generator, engine="auto", vae_tiling=True)
    assert editor.engine.name == "torch"
    assert editor.describe()["vae_tiling"]
    assert "vae_tiling" not in DiffusionEditor(parts).describe()
    assert editor.parts.picture_bytes == parts.picture_bytes // 4
    sides, decoder = [], editor.parts.vae.decoder
    decoder.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    (tiled,) = editor.edit([radiograph], EDITS[:1])
    assert max(sides) == 4
    (plain,) = DiffusionEditor(parts).edit([radiograph], EDITS[:1])
    # Norms are over a tile each; random weights make much of it.
    assert 0 < np.abs(tiled.image.pixels - plain.image.pixels).mean() < 0.2
    with pytest.raises(WeightsError, match="whole pictures"):
        make_engine("onnxruntime", editor.parts)


def test_batches_are_halved_where_memory_is_short(parts, radiograph, caplog):
    class Small(TorchEngine):
        most, rows = 2, []

        def unet(self, latents, time, states):
            self.rows.append(len(latents))
            if len(latents) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().unet(latents, time, states)

    engine = Small(parts)
    made = DiffusionEditor(parts, engine=engine).edit([radiograph], EDITS)
    plain = DiffusionEditor(parts).edit([radiograph], EDITS)
    for one, other in zip(made, plain, strict=True):
        assert np.abs(one.image.pixels - other.image.pixels).max() <= 1e-4
    # Three guided rows: an edit, an edit, and the sham of both, of which the first step has one
    # prediction in common. The first refused is the step of all, then that of two.
    assert engine.rows == [4, 2, 2, 3, 2, 2, 2, 2]
    assert "batches of 3 by halves" in caplog.text
    engine.most = 1
    with pytest.raises(WeightsError, match=r"64 px must fit.*float16 and --vae-tiling"):
        DiffusionEditor(parts, engine=engine).edit([radiograph], EDITS)


def test_compiled_parts_see_few_shapes(parts, radiograph, monkeypatch):
    seen = set()

    def compiled(module):
        return lambda *feed: seen.add((type(module), len(feed[0]))) or module(*feed)

    monkeypatch.setattr(engines, "_compiled", compiled)
    editor = DiffusionEditor(parts, engine=CompiledEngine(parts), batch_size=5)
    for count in (1, 3):
        edits = [Edit(("effusion",), num_inference_steps=5, seed=seed) for seed in range(count)]
        made = editor.edit([radiograph], edits)
        plain = DiffusionEditor(parts).edit([radiograph], edits)
        for one, other in zip(made, plain, strict=True):
            assert np.abs(one.image.pixels - other.image.pixels).max() <= 1e-4
    # Of the U-Net 5 (an edit, its sham, and the path of both), then 13 and 3 (three of each, in two
    # batches); of the decoder 3, then 5 and 2.
    assert {rows for part, rows in seen if part is engines._Unet} == {6, 16, 3}
    assert {rows for part, rows in seen if part is engines._Decoder} == {3, 6, 2}


def test_the_next_size_that_is_compiled_is_near():
    sizes = {n: len(engines._filled(torch.zeros(n, 1))) for n in range(1, 65)}
    assert sorted(set(sizes.values())) == [1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64]
    assert all(n <= size <= max(1.34 * n, n + 1) for n, size in sizes.items())
    # Eight rows of four baselines, each with its path.
    assert sizes[20] == 20


@pytest.mark.parametrize("part", ["decoder", "encoder"])
def test_a_half_precision_autoencoder_that_overflows_is_redone_in_float32(
    generator, radiograph, part, caplog
):
    half = transplant(None, generator, dtype=torch.float16)
    exact = transplant(None, generator)
    for own in (half.vae, exact.vae):
        # Sums beyond 65504, where half precision ends; the norms that follow take it back.
        getattr(own, part).conv_in.weight *= 1.9e5
    halves = DiffusionEditor(half)
    made = halves.edit([radiograph], EDITS)
    assert [one.status for one in made] == ["ok", "ok"]
    assert "redone in float32" in caplog.text
    assert all(one.facts["redone_in_float32"] for one in made)
    assert "_exact" not in vars(halves), "the U-Net was copied too"
    plain = DiffusionEditor(exact).edit([radiograph], EDITS)
    for one, other in zip(made, plain, strict=True):
        assert np.abs(one.image.pixels - other.image.pixels).max() < 0.02


def test_the_text_encoder_of_a_large_generator_rests_between_prompts(
    generator, radiograph, monkeypatch
):
    plain = DiffusionEditor(transplant(None, generator)).edit([radiograph], EDITS[:1])[0]
    monkeypatch.setattr(engines, "_LARGE", 0)
    editor = DiffusionEditor(transplant(None, generator))
    digest, seen, decode = editor.parts.weights_hash, [], editor.engine.decode
    where = lambda: editor.parts.text_encoder.device.type  # noqa: E731
    monkeypatch.setattr(editor.engine, "decode", lambda one: seen.append(where()) or decode(one))
    (one,) = editor.edit([radiograph], EDITS[:1])
    assert set(seen) == {"meta"}
    assert np.array_equal(one.image.stored, plain.image.stored)
    # Read again for another prompt, and for a copy in another precision.
    assert editor.edit([radiograph], EDITS[1:])[0].status == "ok"
    assert where() == "meta"
    editor.parts.text_states("left effusion")
    assert where() == "cpu"
    assert editor.parts.weights_hash == digest
    half = transplant(None, generator, dtype=torch.float16)
    half.rest()
    exact = half.float32()
    assert exact.text_states("effusion").dtype == torch.float32
