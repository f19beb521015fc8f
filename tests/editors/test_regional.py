"""Edits in a region and edits that hold linked findings, through the whole editor."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from roentmod import regions
from roentmod.datasets.phantom import phantom
from roentmod.editors import DiffusionEditor, Painter, transplant
from roentmod.editors.compose import soften
from roentmod.editors.engines import GraphEngine
from roentmod.edits import Edit
from roentmod.errors import EditError
from roentmod.imaging import provenance
from roentmod.radiograph import Radiograph

pytestmark = pytest.mark.slow

BODY = phantom(1, size=160)
BLANK = Radiograph.from_array(np.full((96, 96), 0.5, dtype=np.float32))
COMMON = {"num_inference_steps": 5, "composite": "baseline", "strength": 0.8}
PLAIN = Edit(("edema",), **COMMON)
LOW = Edit(("edema",), region="left lower zone", **COMMON)
HELD = Edit(("edema",), hold=("cardiomegaly", "effusion"), **COMMON)
BOTH = Edit(("edema",), region="both hila", hold=("mass",), **COMMON)
TAKEN = Edit(("edema",), action="remove", hold=("mass",), **COMMON)
MIXED = [PLAIN, LOW, HELD, BOTH, TAKEN]


@pytest.fixture(scope="module")
def parts(generator):
    return transplant(None, generator)


def editor(parts, **options):
    return DiffusionEditor(parts, anatomies={BODY.radiograph.id: BODY.anatomy}, **options)


@pytest.mark.parametrize("composite", ["sham", "baseline", "none"])
def test_a_region_in_words_confines_both_arms_to_it(parts, composite):
    edit = Edit(**{**vars(LOW), "composite": composite, "strength": 0.9, "guidance_scale": 30})
    (done,) = editor(parts).edit([BODY.radiograph], [edit])
    outside = ~regions.mask("left lower zone", BODY.anatomy)
    before = BODY.radiograph.stored
    assert np.array_equal(done.image.stored[outside], before[outside])
    assert np.array_equal(done.sham.stored[outside], before[outside])
    assert (done.image.stored != before).any()
    assert not done.support[outside].any()


def test_latents_outside_are_the_baselines_and_inside_see_them(parts):
    """Not the plain edit cut out: what is kept outside changes what is made inside."""
    plain, low = editor(parts).edit([BODY.radiograph], [PLAIN, LOW])
    inside = regions.mask("left lower zone", BODY.anatomy)
    core = inside & (low.support)
    assert np.abs(plain.image.pixels[core] - low.image.pixels[core]).max() > 1e-3


@pytest.mark.parametrize("film", [BLANK, BODY.radiograph], ids=["blank", "chest"])
def test_a_mask_needs_no_outlines_of_a_generator_that_is_told_places(parts, film):
    usual = {"Mass": {"smooth": {"perihilar left upper zone": 1.0}}}
    told = replace(parts, profile=replace(parts.profile, usual=usual))
    brush = np.zeros(film.stored.shape, bool)
    brush[30:60, 60:80] = True
    one = DiffusionEditor(told, anatomies={BODY.radiograph.id: BODY.anatomy})
    edit = Edit(("mass",), **COMMON)
    (done,) = one.edit([film], [edit], masks=[brush])
    assert done.status == "ok"
    assert not done.support[~brush].any()


@pytest.mark.parametrize("scheduler", ["ddim", "dpmsolver++", "dpmsolver++-logsnr", "pndm"])
def test_a_mask_of_the_whole_picture_is_no_mask_bit_for_bit(parts, radiograph, scheduler):
    edit = Edit(("edema",), **COMMON, scheduler=scheduler)
    whole = np.ones(radiograph.stored.shape, bool)
    free, masked = (
        DiffusionEditor(parts).edit([radiograph], [edit], masks=[m])[0] for m in (None, whole)
    )
    assert np.array_equal(free.image.stored, masked.image.stored)
    assert np.array_equal(free.sham.stored, masked.sham.stored)


def test_region_and_mask_are_intersected_and_must_meet(parts):
    mask = regions.mask("left lower zone", BODY.anatomy)
    edits = [Edit(("edema",), region="lungs", **COMMON)]
    (cut,) = editor(parts).edit([BODY.radiograph], edits, masks=[mask])
    (said,) = editor(parts).edit([BODY.radiograph], [LOW])
    assert np.array_equal(cut.image.stored, said.image.stored)
    apex = [Edit(("edema",), region="left apex", **COMMON)]
    for one in (editor(parts), Painter({BODY.radiograph.id: BODY.anatomy})):
        with pytest.raises(EditError, match="must overlap"):
            one.edit([BODY.radiograph], apex, masks=[mask])


def test_poor_outlines_refuse_regions_and_nothing_else(parts, caplog):
    results = DiffusionEditor(parts).edit([BLANK], [LOW, PLAIN, BOTH])
    assert [r.status for r in results] == ["poor_anatomy", "ok", "poor_anatomy"]
    alone = DiffusionEditor(parts).edit([BLANK], [LOW])
    assert [r.status for r in alone] == ["poor_anatomy"]
    assert results[0].image is None


def test_outlines_are_estimated_where_none_are_given(parts):
    (done,) = DiffusionEditor(parts).edit([phantom(1, size=224).radiograph], [LOW])
    assert done.status == "ok"
    assert 0.5 <= done.facts["anatomy_quality"] <= 1
    rows, columns = np.nonzero(done.support)
    # The patient's left lower zone lies in the picture's right lower half.
    assert rows.min() > 90
    assert columns.min() > 105


def test_regional_and_held_edits_in_company_are_those_alone(parts):
    together = editor(parts).edit([BODY.radiograph], MIXED)
    small = editor(parts, batch_size=2).edit([BODY.radiograph], MIXED[::-1])[::-1]
    for edit, one, other in zip(MIXED, together, small, strict=True):
        (alone,) = editor(parts).edit([BODY.radiograph], [edit])
        for again in (alone, other):
            assert np.abs(again.image.pixels - one.image.pixels).max() <= 1e-4
            assert np.abs(again.sham.pixels - one.sham.pixels).max() <= 1e-4


def test_deterministic_is_bit_for_bit_in_any_company(parts):
    together = editor(parts, deterministic=True).edit([BODY.radiograph], MIXED)
    for edit, one in zip(MIXED, together, strict=True):
        (alone,) = editor(parts, deterministic=True).edit([BODY.radiograph], [edit])
        assert np.array_equal(alone.image.stored, one.image.stored)
        assert np.array_equal(alone.sham.stored, one.sham.stored)


def test_hold_changes_the_edit_and_never_the_sham(parts):
    plain, held = editor(parts, deterministic=True).edit([BODY.radiograph], [PLAIN, HELD])
    assert np.array_equal(plain.sham.stored, held.sham.stored)
    assert not np.array_equal(plain.image.stored, held.image.stored)
    (asked,) = editor(parts, deterministic=True).edit([BODY.radiograph], [HELD.sham()])
    assert np.array_equal(asked.image.stored, held.sham.stored)
    assert asked.facts["held_prompts"] == []


@pytest.mark.parametrize("scheduler", ["dpmsolver++", "dpmsolver++-logsnr", "pndm"])
def test_every_scheduler_takes_regions_and_holds(parts, scheduler):
    edit = Edit(**{**vars(BOTH), "scheduler": scheduler})
    free = Edit(("edema",), region="both hila", **COMMON, scheduler=scheduler)
    held, loose = editor(parts).edit([BODY.radiograph], [edit, free])
    assert held.status == "ok"
    assert not np.array_equal(held.image.stored, loose.image.stored)


def test_other_engines_give_the_same_pictures(parts, tmp_path):
    engine = GraphEngine("onnxruntime", parts, tmp_path)
    ours = editor(parts, engine=engine).edit([BODY.radiograph], MIXED)
    for one, other in zip(ours, editor(parts).edit([BODY.radiograph], MIXED), strict=True):
        assert np.abs(one.image.pixels - other.image.pixels).max() <= 1e-4


def test_facts_and_provenance_name_region_and_held_findings(parts):
    plain, both = editor(parts).edit([BODY.radiograph], [PLAIN, BOTH])
    assert (plain.facts["region"], plain.facts["hold"]) == (None, [])
    assert plain.facts["anatomy_quality"] is None
    assert both.facts["region"] == "both hila"
    assert both.facts["hold"] == ["Mass"]
    assert both.facts["held_prompts"] == ["lung mass"]
    assert both.facts["anatomy_quality"] == 1.0
    said = provenance.summary(provenance.describe(BODY.radiograph, BOTH, both.facts))
    assert "region both hila; held: Mass;" in said
    assert "held" not in provenance.summary(
        provenance.describe(BODY.radiograph, PLAIN, plain.facts)
    )


def test_the_painter_clips_to_the_region_and_needs_no_hold():
    painter = Painter({BODY.radiograph.id: BODY.anatomy})
    inside = regions.mask("right lower zone", BODY.anatomy)
    edits = [
        Edit(("edema",)),
        Edit(("edema",), region="right lower zone"),
        Edit(("edema",), hold=("cardiomegaly",)),
    ]
    plain, low, held = painter.edit([BODY.radiograph], edits)
    assert low.support.any()
    assert not (low.support & ~inside).any()
    # Towards the region's border it fades.
    deep = binary_erosion(inside, iterations=8)
    assert deep.any()
    assert np.array_equal(low.image.stored[deep], plain.image.stored[deep])
    assert np.array_equal(held.image.stored, plain.image.stored)
    assert low.facts["region"] == "right lower zone"


@pytest.mark.parametrize("cells", [8, 28, 64])
@pytest.mark.parametrize("side", [100, 160])
def test_weights_are_whole_inside_and_nothing_outside(side, cells):
    mask = np.zeros((side, side), bool)
    mask[side // 4 : side // 2, side // 4 :] = True
    weights = soften(mask, cells)
    rows = (np.arange(cells) + 0.5) / cells
    inside = (rows > 0.25) & (rows < 0.5)
    far = (rows < 0.25 - 1 / cells) | (rows > 0.5 + 1 / cells)
    near = (rows > 0.25 + 1 / cells) & (rows < 0.5 - 1 / cells)
    assert (weights[far] == 0).all()
    # To the picture's edge, beyond which there is nothing to blend with.
    assert (weights[near][:, -1] == 1).all()
    assert (weights[inside][:, -1] > 0).all()
    assert weights.dtype == np.float32
    assert 0 <= weights.min() <= weights.max() <= 1


def test_padding_goes_with_the_pixels_beside_it():
    whole = np.ones((96, 70), bool)
    assert (soften(whole, 8) == 1).all()
    assert (soften(~whole, 8) == 0).all()
