import json
import logging
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from roentmod.editors import DiffusionEditor, sampling, transplant
from roentmod.editors.engines import GraphEngine, TorchEngine, make_engine
from roentmod.edits import Edit
from roentmod.errors import EditError, WeightsError
from roentmod.radiograph import Radiograph

FINDINGS = ("effusion", "cardiomegaly", "edema", "nodule", "mass", "pneumonia")
EDITS = [Edit((f,), num_inference_steps=10, composite="none") for f in FINDINGS]


@pytest.fixture
def parts(generator):
    return transplant(None, generator)


def test_an_edit_among_six_is_the_edit_alone(parts, radiograph):
    editor = DiffusionEditor(parts)
    together = editor.edit([radiograph], EDITS)
    for edit, one in zip(EDITS, together, strict=True):
        alone = editor.edit([radiograph], [edit])[0]
        assert np.abs(alone.image.pixels - one.image.pixels).max() <= 1e-4


def test_deterministic_is_bit_for_bit_in_any_company_and_order(parts, radiograph):
    editor = DiffusionEditor(parts, deterministic=True)
    together = editor.edit([radiograph], EDITS)
    backwards = DiffusionEditor(parts, deterministic=True).edit([radiograph], EDITS[::-1])
    alone = editor.edit([radiograph], EDITS[2:3])[0]
    assert np.array_equal(alone.image.stored, together[2].image.stored)
    assert np.array_equal(backwards[3].image.stored, together[2].image.stored)


def test_another_baseline_seed_or_prompt_gives_another_picture(parts, radiograph):
    editor = DiffusionEditor(parts)
    mirrored = Radiograph.from_array(radiograph.pixels[:, ::-1])
    seeded = Edit(("effusion",), num_inference_steps=10, composite="none", seed=1)
    first = editor.edit([radiograph], [EDITS[0], EDITS[1], seeded])
    other = editor.edit([mirrored], EDITS[:1])[0]
    assert not np.array_equal(first[0].image.stored, first[1].image.stored)
    assert not np.array_equal(first[0].image.stored, first[2].image.stored)
    assert not np.array_equal(first[0].image.stored, other.image.stored[:, ::-1])


def test_the_sham_arm_shares_noise_and_differs_only_by_prompt(parts, radiograph):
    editor = DiffusionEditor(parts)
    edit = EDITS[0]
    with_sham = editor.edit([radiograph], [edit])[0]
    asked = editor.edit([radiograph], [edit.sham()])[0]
    normal = Edit(("no finding",), num_inference_steps=10, composite="none")
    prompted = editor.edit([radiograph], [normal])[0]
    assert np.abs(with_sham.sham.pixels - asked.image.pixels).max() <= 1e-4
    assert np.abs(with_sham.sham.pixels - prompted.image.pixels).max() <= 1e-4


@pytest.mark.parametrize("composite", ["sham", "baseline", "none"])
def test_outside_a_mask_nothing_changes_and_inside_something_does(parts, radiograph, composite):
    mask = np.zeros(radiograph.stored.shape, bool)
    mask[20:70, 10:60] = True
    edit = Edit(("effusion",), num_inference_steps=10, composite=composite, strength=0.8)
    done = DiffusionEditor(parts).edit([radiograph], [edit], masks=[mask])[0]
    assert np.array_equal(done.image.stored[~mask], radiograph.stored[~mask])
    assert not done.support[~mask].any()
    if composite != "sham":
        assert (done.image.stored[mask] != radiograph.stored[mask]).any()


def test_default_composite_of_an_edit_that_is_its_own_sham_is_the_baseline(parts, radiograph):
    edit = Edit(("no finding",), num_inference_steps=10)
    done = DiffusionEditor(parts).edit([radiograph], [edit])[0]
    assert np.array_equal(done.image.stored, radiograph.stored)
    assert not done.support.any()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_shams_of_the_default_composite_keep_what_the_generator_cannot_draw(
    parts, radiograph, monkeypatch, prediction
):
    """Random weights draw nothing of a radiograph, let alone a mass: the sham has it all."""
    monkeypatch.setitem(parts.scheduler_config, "prediction_type", prediction)
    parts = replace(parts, profile=replace(parts.profile, normal=""))
    # Nothing is drawn of the posterior, which is wide without training, and the end is clean.
    drawn = sampling.draw
    monkeypatch.setattr(sampling, "draw", lambda *key: (torch.zeros(key[2]), drawn(*key)[1]))
    edit = Edit(("mass",), num_inference_steps=10, strength=0.8, scheduler="dpmsolver++")
    editor = DiffusionEditor(parts)
    kept, lost = editor.edit([radiograph], [edit, replace(edit, composite="baseline")])
    assert np.array_equal(kept.sham.stored, radiograph.stored)
    assert np.abs(lost.sham.pixels - radiograph.pixels).mean() > 0.02


def test_one_way_is_the_default_composite_in_the_findings_direction(parts, radiograph):
    """Random weights brighten and darken; an opacity that is added or removed does one of them."""
    words = {"num_inference_steps": 10, "guidance_scale": 30, "strength": 0.9}
    edits = [Edit(("mass",), composite="one-way", **words)]
    edits += [replace(edits[0], action="remove"), replace(edits[0], composite="sham")]
    added, removed, plain = DiffusionEditor(parts).edit([radiograph], edits)
    assert added.difference.min() == 0 < added.difference.max()
    assert removed.difference.max() == 0 > removed.difference.min()
    assert plain.difference.min() < 0 < plain.difference.max()
    assert np.array_equal(added.sham.stored, plain.sham.stored)
    assert np.array_equal(added.baseline.stored, radiograph.stored)


def test_edits_of_the_default_composite_are_the_same_alone_and_together(parts, radiograph):
    mirrored = Radiograph.from_array(radiograph.pixels[:, ::-1])
    words = {"num_inference_steps": 10, "guidance_scale": 30, "strength": 0.9}
    edits = [
        Edit(("effusion",), **words),
        Edit(("effusion",), action="remove", **words),
        Edit(("mass",), seed=2, hold=("Edema",), **words),
        Edit(("mass",), region="left lung", **words),
    ]
    editor = DiffusionEditor(parts)
    together = editor.edit_each([mirrored, radiograph], [edits, edits[:2]])[1]
    for edit, one in zip(edits, together, strict=False):
        alone = editor.edit([radiograph], [edit])[0]
        assert np.abs(one.difference).max() > 0.01
        assert np.abs(alone.image.pixels - one.image.pixels).max() <= 1e-4


def test_outside_the_support_stored_levels_are_the_sources(parts, radiograph):
    edit = Edit(("effusion",), num_inference_steps=10, guidance_scale=30, strength=0.9)
    done = DiffusionEditor(parts).edit([radiograph], [edit])[0]
    outside = ~done.support
    assert np.array_equal(done.image.stored[outside], radiograph.stored[outside])


def test_no_effective_step_is_reported_and_spares_the_others(parts, radiograph, caplog):
    weak = Edit(("effusion",), num_inference_steps=10, strength=0.05)
    with caplog.at_level(logging.WARNING):
        results = DiffusionEditor(parts).edit([radiograph], [weak, EDITS[0]])
    assert [r.status for r in results] == ["no_effective_steps", "ok"]
    assert "Raise strength or steps" in caplog.text


def test_strengths_with_the_same_steps_are_reported(parts):
    edits = [Edit(("effusion",), num_inference_steps=10, strength=s) for s in (0.4, 0.45, 0.5)]
    assert DiffusionEditor(parts).aliases(edits) == [(0.4, 0.45)]


def test_nan_from_the_decoder_is_reported_per_item(parts, radiograph):
    class Broken(TorchEngine):  # torch itself, in float32: there is nothing to redo it with
        def decode(self, latents):
            pictures = super().decode(latents)
            pictures[0] = torch.nan
            return pictures

    results = DiffusionEditor(parts, engine=Broken(parts)).edit([radiograph], EDITS[:2])
    assert [r.status for r in results] == ["not_finite", "ok"]
    assert results[0].image is None


@pytest.mark.parametrize("spoilt", [torch.nan, -1.0])
def test_what_a_quicker_engine_spoils_is_redone_in_float32(parts, radiograph, spoilt):
    class Broken:
        name = "broken"
        unet = TorchEngine(parts).unet

        def decode(self, latents):
            return torch.full_like(TorchEngine(parts).decode(latents), spoilt)

    redone = DiffusionEditor(parts, engine=Broken()).edit([radiograph], EDITS[:2])
    plain = DiffusionEditor(parts).edit([radiograph], EDITS[:2])
    for one, other in zip(redone, plain, strict=True):
        assert one.status == "ok"
        assert one.facts["redone_in_float32"]
        assert not other.facts["redone_in_float32"]
        assert np.array_equal(one.image.stored, other.image.stored)


def test_a_mask_of_another_shape_is_refused(parts, radiograph):
    with pytest.raises(EditError, match="radiograph's shape"):
        DiffusionEditor(parts).edit([radiograph], EDITS[:1], masks=[np.ones((3, 3), bool)])


def test_onnx_runtime_gives_the_same_pictures_and_caches_its_graphs(parts, radiograph, tmp_path):
    engine = GraphEngine("onnxruntime", parts, tmp_path)
    graphs = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert sorted(p.name.split("-")[0] for p in graphs) == ["decoder", "unet"]
    ours = DiffusionEditor(parts, engine=engine).edit([radiograph], EDITS)
    plain = DiffusionEditor(parts).edit([radiograph], EDITS)
    for one, other in zip(ours, plain, strict=True):
        assert np.abs(one.image.pixels - other.image.pixels).max() <= 1e-4
    GraphEngine("onnxruntime", parts, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == graphs


def test_openvino_gives_the_same_pictures(parts, radiograph, tmp_path):
    pytest.importorskip("openvino")
    engine = GraphEngine("openvino", parts, tmp_path)
    ours = DiffusionEditor(parts, engine=engine).edit([radiograph], EDITS)
    plain = DiffusionEditor(parts).edit([radiograph], EDITS)
    for one, other in zip(ours, plain, strict=True):
        assert np.abs(one.image.pixels - other.image.pixels).max() <= 1e-4


@pytest.mark.parametrize("chosen", ["torch", "onnxruntime"])
def test_auto_keeps_to_what_was_measured(parts, tmp_path, chosen):
    make_engine("auto", parts, tmp_path)
    (record,) = tmp_path.glob("engine-*.json")
    assert set(json.loads(record.read_text())["seconds"]) == {"torch", "onnxruntime"}
    record.write_text(json.dumps({"engine": chosen}))
    assert make_engine("auto", parts, tmp_path).name == chosen


def test_an_unknown_engine_is_refused_with_the_choices(parts):
    with pytest.raises(WeightsError, match=r"auto, torch, compile.*got 'cuda'"):
        make_engine("cuda", parts)


def test_even_log_snr_steps_are_even_start_at_the_strength_and_come_nearer_the_limit(parts):
    plan = sampling.make_schedule("dpmsolver++-logsnr", 15, 0.4)
    made, times = sampling.build(plan, parts.scheduler_config)
    assert times[0] == 399
    assert len(times) == plan.effective_steps == 6
    alphas = made.alphas_cumprod[times[:4]].double()
    gaps = torch.diff(torch.log(alphas / (1 - alphas)) / 2)
    assert gaps.max() / gaps.min() < 1.1
    many = sampling.make_schedule("dpmsolver++-logsnr", 250, 0.4)
    assert len(set(sampling.build(many, parts.scheduler_config)[1].tolist())) == 100


@pytest.mark.slow
def test_few_even_log_snr_steps_come_nearer_the_limit_than_ddim(parts, radiograph):
    def shown(scheduler, steps):
        edit = Edit(("effusion",), scheduler=scheduler, num_inference_steps=steps, composite="none")
        return DiffusionEditor(parts).edit([radiograph], [edit])[0].image.pixels

    limit = shown("ddim", 1000)
    near, far = (np.abs(shown(s, 15) - limit).mean() for s in ("dpmsolver++-logsnr", "ddim"))
    assert near < 0.5 * far


def test_the_seconds_of_an_edit_are_its_own(parts, radiograph):
    """Ten times the steps take more; all together no more than was spent."""
    edits = [Edit(("mass",), num_inference_steps=n, composite="none") for n in (10, 100)]
    started = time.perf_counter()
    few, many = (one.facts["seconds"] for one in DiffusionEditor(parts).edit([radiograph], edits))
    assert few + many <= time.perf_counter() - started + 1e-3
    assert many > 2 * few > 0


def test_removals_are_those_of_these_weights(parts):
    table = {"weights": parts.weights_hash, "findings": {"Mass": {"works": True}}}
    for removal, known in (
        ({}, None),
        (table, table["findings"]),
        (table | {"weights": "x"}, None),
    ):
        own = replace(parts, profile=replace(parts.profile, removal=removal))
        assert DiffusionEditor(own).removals == known
