import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from skimage.metrics import structural_similarity

from roentmod import regions
from roentmod.anatomy import Anatomy
from roentmod.datasets.phantom import phantom
from roentmod.editors import painter as painter_module
from roentmod.editors.painter import (
    DOSE,
    FORMS,
    PAINTABLE,
    SIDED,
    Painter,
    form_of,
    paint,
    places,
)
from roentmod.editors.painter.devices import KINDS
from roentmod.edits import Edit
from roentmod.errors import EditError
from roentmod.radiograph import GreyScale, Radiograph

BODIES = [phantom(seed) for seed in range(3)]
SMALL = phantom(1, size=128)
cases = st.tuples(
    st.sampled_from(BODIES),
    st.sampled_from(PAINTABLE),
    st.sampled_from(["left", "right", "both"]),
    st.floats(0.05, 1.0),
    st.integers(0, 2**31 - 1),
)


def painted(body, name, side="left", dose=0.6, seed=3, form=None):
    pixels = body.radiograph.pixels
    return paint(pixels, body.anatomy, name, side=side, dose=dose, seed=seed, form=form)


def change_of(body, made):
    return made.image - body.radiograph.pixels


@settings(max_examples=40, deadline=None)
@given(cases)
def test_outside_the_mask_nothing_changes_and_inside_everything_does(case):
    body, name, side, dose, seed = case
    before = body.radiograph.pixels
    made = painted(body, name, side, dose, seed)
    assert made.image.dtype == np.float32
    assert made.image.min() >= 0
    assert made.image.max() <= 1
    assert (made.image[~made.mask] == before[~made.mask]).all()
    assert made.mask.any()
    # One level of an 8-bit picture or more: the mask survives storage.
    assert np.abs(made.image - before)[made.mask].min(initial=1) >= 1 / 255 - 1e-6


@settings(max_examples=12, deadline=None)
@given(cases)
def test_one_seed_is_one_picture(case):
    body, name, side, dose, seed = case
    one, two = (painted(body, name, side, dose, seed) for _ in range(2))
    assert one.image.tobytes() == two.image.tobytes()
    assert one.severity == two.severity


@settings(max_examples=24, deadline=None)
@given(
    st.sampled_from(BODIES),
    st.sampled_from(PAINTABLE),
    st.integers(0, 2**31 - 1),
    st.lists(st.floats(0.1, 1.0), min_size=2, max_size=2, unique=True),
)
def test_more_dose_is_never_less_of_it(body, name, seed, doses):
    low, high = sorted(doses)
    before = body.radiograph.pixels
    less, more = (painted(body, name, "left", dose, seed) for dose in (low, high))
    change = [float(np.abs(made.image - before).sum()) for made in (less, more)]
    assert change[1] >= change[0] * 0.999
    for key, value in less.severity.items():
        if isinstance(value, float):
            assert more.severity[key] >= value - 1e-6, key


@pytest.mark.parametrize("name", SIDED)
@pytest.mark.parametrize("body", BODIES)
def test_a_side_is_the_patients(name, body):
    for side, other in (("left", "right"), ("right", "left")):
        # Air under tension pushes the heart into the other half.
        made = painted(body, name, side, dose=0.75)
        own = made.mask & body.anatomy.lung(side)
        assert own.sum() > 20
        assert own.sum() > 20 * (made.mask & body.anatomy.lung(other)).sum()


@pytest.mark.parametrize("body", BODIES)
def test_cardiomegaly_reaches_the_ratio_it_states(body):
    """Truth: the border is found again in the picture, as where the added density ends."""
    made = painted(body, "Cardiomegaly", dose=0.8)
    stated = made.severity["cardiothoracic_ratio"]
    change = made.image - body.radiograph.pixels
    heart = body.anatomy.heart | (change > 0.4 * np.quantile(change[made.mask], 0.95))
    found = Anatomy(body.anatomy.right_lung, body.anatomy.left_lung, heart)
    assert found.cardiothoracic_ratio == pytest.approx(stated, abs=0.03)
    assert stated > made.severity["cardiothoracic_ratio_before"] + 0.02
    assert stated >= 0.55


@pytest.mark.parametrize(("name", "low", "high"), [("Nodule", 6, 30), ("Mass", 30, 100)])
def test_a_lesion_has_the_diameter_it_states(name, low, high):
    for seed in range(6):
        body = BODIES[seed % 3]
        spacing = body.radiograph.spacing_mm[0]
        made = paint(
            body.radiograph.pixels,
            body.anatomy,
            name,
            side="right",
            dose=0.5,
            seed=seed,
            spacing_mm=spacing,
        )
        stated = made.severity[f"{name.lower()}_right_mm"]
        assert low < stated < high
        change = made.image - body.radiograph.pixels
        half = change > 0.35 * np.quantile(change[made.mask], 0.95)
        measured = 2 * np.sqrt(half.sum() / np.pi) * spacing
        # Squeezed spheres, lobes and the lung's border take some of the area.
        assert 0.55 * stated < measured < 1.25 * stated


SIZES = {
    # The means of the three severities, which are those of real lesions and hearts.
    "Nodule": ("diameter_mm", (14.5, 21, 27)),
    "Mass": ("diameter_mm", (37, 47, 76)),
    "Cardiomegaly": ("ratio", (0.55, 0.6, 0.66)),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_the_thirds_of_real_ones(name):
    key, means = SIZES[name]
    table = np.array(json.loads(places.TABLE.read_text())[name][key])
    ranks = np.random.default_rng(2).random(400)
    drawn = np.array([[places.graded(name, key, d, r) for d in DOSE.values()] for r in ranks])
    assert (np.diff(drawn, axis=1) > 0).all()
    assert drawn.mean(0) == pytest.approx(means, rel=0.06)
    # All severities together are the real distribution.
    real = np.interp(ranks, np.linspace(0, 1, 41), table)
    assert stats.ks_2samp(drawn.ravel(), real).pvalue > 0.05


@pytest.mark.parametrize(
    ("name", "fact"), [("Nodule", "_mm"), ("Cardiomegaly", "cardiothoracic_ratio")]
)
def test_seeds_differ_in_size_at_one_severity_and_grow_with_it(name, fact):
    sizes = []
    for seed in range(6):
        facts = [painted(SMALL, name, "right", dose, seed).severity for dose in DOSE.values()]
        sizes.append([next(v for k, v in one.items() if k.endswith(fact)) for one in facts])
    assert (np.diff(sizes, axis=1) > 0).all()
    assert len({moderate for _, moderate, _ in sizes}) > 3


def test_fillings_of_a_lobe_do_not_lie_at_one_height():
    downs = [places.draw("Consolidation", np.random.default_rng([3, s])).down for s in range(200)]
    for low, high in ((0.08, 0.42), (0.55, 1.0)):
        heights = [places.within("Consolidation", down, low, high) for down in downs]
        assert min(heights) >= low
        assert max(heights) <= high
        assert max(np.histogram(heights, bins=20, range=(low, high))[0]) < 0.3 * len(heights)


def test_fluid_lies_at_the_base_and_air_at_the_apex():
    for body in BODIES:
        before = body.radiograph.pixels
        fluid = painted(body, "Pleural Effusion", "left", 0.5, form="meniscus").image - before
        air = painted(body, "Pneumothorax", "left", 0.3, form="apical").image - before
        upper, lower = (body.anatomy.zone("left", z) for z in ("upper", "lower"))
        assert fluid[lower].mean() > 0.03
        assert fluid[lower].mean() > 20 * abs(fluid[upper].mean())
        # A rim of air darkens, most of it high up.
        assert (air < -0.01)[upper].sum() > (air < -0.01)[lower].sum()


def test_texture_is_the_hosts():
    """Fine grain inside an opacity is neither smoothed away nor invented."""
    body = BODIES[0]
    made = painted(body, "Consolidation", "right", 1.0)
    inside = ndimage.binary_erosion(made.mask, iterations=6)
    grain = [x - ndimage.gaussian_filter(x, 1) for x in (made.image, body.radiograph.pixels)]
    ratio = grain[0][inside].std() / grain[1][inside].std()
    assert 0.3 < ratio < 1.5


def test_an_opacity_is_never_brighter_than_the_hosts_tissue():
    for body in BODIES:
        before = body.radiograph.pixels
        made = painted(body, "Pleural Effusion", "left", 1.0)
        inside = ndimage.binary_erosion(made.mask & body.anatomy.left_lung, iterations=3)
        assert np.median(made.image[inside]) <= np.quantile(before[body.anatomy.heart], 0.95)


def test_native_resolution_shows_the_same_lesion():
    large, small = phantom(4, size=896), phantom(4, size=224)
    masks = [painted(body, "Mass", "left", 0.7).mask for body in (large, small)]
    shrunk = masks[0].reshape(224, 4, 224, 4).mean((1, 3)) > 0.5
    both = (shrunk & masks[1]).sum()
    assert 2 * both / (shrunk.sum() + masks[1].sum()) > 0.85


@pytest.mark.parametrize("name", ["Consolidation", "Nodule", "Mass"])
def test_ten_seeds_are_ten_lesions(name):
    body = BODIES[1]
    changes = [change_of(body, painted(body, name, None, 0.6, seed)) for seed in range(10)]
    for one, two in combinations(changes, 2):
        ours = (one != 0) | (two != 0)
        seen = structural_similarity(one, two, data_range=0.3, full=True)[1][ours].mean()
        assert seen < 0.6


@pytest.mark.parametrize("name", ["Consolidation", "Nodule", "Mass"])
def test_places_are_those_of_real_lesions(name):
    """Thirds of the lungs' height, against the counts of the lesion boxes."""
    drawn = [places.draw(name, np.random.default_rng([7, seed])) for seed in range(300)]
    counts = np.histogram([place.down for place in drawn], bins=[0, 1 / 3, 2 / 3, 1.001])[0]
    wanted = np.array(json.loads(places.TABLE.read_text())[name]["thirds"]) * len(drawn)
    assert stats.chisquare(counts, wanted * counts.sum() / wanted.sum()).pvalue > 0.01
    assert np.ptp([place.across for place in drawn]) > 0.8


@pytest.mark.parametrize(("name", "form"), [(n, f) for n, forms in FORMS.items() for f in forms])
def test_every_form_is_drawn_and_named(name, form):
    body = BODIES[2]
    made = painted(body, name, "right", 0.6, 4, form)
    assert made.severity["form"] == form
    assert made.mask.sum() > 20
    others = [f for f in FORMS[name] if f != form][:1]
    for other in others:
        assert painted(body, name, "right", 0.6, 4, other).image.tobytes() != made.image.tobytes()


def test_seeds_take_every_form():
    body = BODIES[0]
    seen = {painted(body, "Pneumothorax", "left", 0.5, s).severity["form"] for s in range(24)}
    assert seen == set(FORMS["Pneumothorax"])


def test_fluid_climbs_along_the_chest_wall():
    """Truth: fluid begins higher at the wall than in the middle."""
    for body in BODIES:
        made = painted(body, "Pleural Effusion", "right", 0.55, form="meniscus")
        change = change_of(body, made) * body.anatomy.right_lung
        fluid = change > 0.3 * change.max()
        columns = np.flatnonzero(change.max(0) > 0.34 * change.max())
        tops = fluid.argmax(0)[columns]
        assert tops[:5].min() < np.median(tops[len(tops) // 4 : len(tops) // 2]) - 2


def test_the_heart_that_grows_keeps_its_own_grain_and_leaves_no_rim():
    body = BODIES[0]
    made = painted(body, "Cardiomegaly", dose=0.7)
    before = body.radiograph.pixels
    inside = ndimage.binary_erosion(body.anatomy.heart, iterations=4)
    grain = [x - ndimage.gaussian_filter(x, 1) for x in (made.image, before)]
    assert 0.7 < grain[0][inside].std() / grain[1][inside].std() < 1.4
    # The old border is not brighter than the heart on both sides of it.
    band = body.anatomy.heart & ~ndimage.binary_erosion(body.anatomy.heart, iterations=2)
    band &= made.mask
    assert made.image[band].mean() < before[inside].mean() + 0.02


def test_gas_holds_no_vessels_and_is_little_darker():
    body = BODIES[1]
    before = body.radiograph.pixels
    made = painted(body, "Pneumothorax", "left", 0.6, form="apical")
    gas = made.mask & body.anatomy.left_lung & (change_of(body, made) < 0)
    assert gas.sum() > 200
    assert before[gas].mean() - made.image[gas].mean() < 0.09


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_is_metal_of_its_kind(kind):
    body = BODIES[0]
    made = painted(body, "Support Devices", "left", 0.3, 2, kind)
    assert made.severity["devices"] == kind
    assert (change_of(body, made) >= 0).all()
    assert 30 < made.mask.sum() < 0.12 * made.mask.size


@pytest.mark.parametrize("kind", KINDS)
def test_a_named_device_is_the_only_one_at_every_severity(kind):
    body = BODIES[1]
    for dose in DOSE.values():
        made = painted(body, "Support Devices", None, dose, 2, kind)
        assert made.severity["devices"] == made.severity["form"] == kind


def test_without_a_kind_there_are_more_devices_with_dose_and_one_generator_at_most():
    body = SMALL
    for seed in range(12):
        counts = []
        for dose in DOSE.values():
            names = painted(body, "Support Devices", None, dose, seed).severity["devices"]
            counts.append(len(names.split(", ")))
            assert not ("pacemaker" in names and "defibrillator" in names)
        assert counts == [1, 2, 3]


def test_forms_of_a_lying_patient_are_not_in_pictures_taken_from_behind():
    for name, form in (("Pleural Effusion", "supine"), ("Pneumothorax", "deep sulcus")):
        usual = FORMS[name][form]
        for view, share in (("PA", 0.0), ("AP", usual / 0.4), ("", usual)):
            drawn = [form_of(name, seed, view) for seed in range(1500)]
            assert np.mean([one == form for one in drawn]) == pytest.approx(share, abs=0.04)
    body = SMALL
    for view in ("PA", "AP"):
        picture = replace(body.radiograph, view=view)
        painter = Painter({picture.id: body.anatomy})
        edits = [Edit(("Pneumothorax",), seed=seed) for seed in range(16)]
        made = painter.edit([picture], edits)
        lying = [one.facts["severity"]["form"] == "deep sulcus" for one in made]
        assert any(lying) == (view == "AP")
    (asked,) = painter.edit([replace(picture, view="PA")], [replace(edits[0], form="deep sulcus")])
    assert asked.facts["severity"]["form"] == "deep sulcus"


def test_what_the_painter_says_of_itself_changes_with_its_looks(monkeypatch, tmp_path):
    """Records of runs hold it: kept edits of another painter are not taken for this one's."""
    before = Painter().describe()
    assert before == Painter().describe()
    folder = tmp_path / "painter"
    shutil.copytree(Path(painter_module.__file__).parent, folder)
    table = folder / "places.json"
    table.write_text(table.read_text().replace("0.5", "0.6", 1))
    monkeypatch.setattr(painter_module, "__file__", str(folder / "__init__.py"))
    painter_module._looks.cache_clear()
    other = Painter().describe()
    painter_module._looks.cache_clear()
    assert {name for name in before if before[name] != other[name]} == {"looks"}


def test_a_dome_rises_with_loss_of_volume_and_sinks_with_emphysema():
    """Truth: beside the dome's top the border between lung and abdomen is found again."""
    body = BODIES[0]
    outer, top = body.anatomy.outer("right"), body.anatomy.dome("right")[1]
    columns = slice(round(0.6 * outer + 0.4 * top), round(0.4 * outer + 0.6 * top))
    made = [
        painted(body, "Atelectasis", "right", 1.0, form="lower lobe"),
        painted(body, "Emphysema", dose=1.0, form="diffuse"),
    ]
    # Rows of the abdomen's brightness within the lower half.
    level = np.quantile(body.radiograph.pixels[body.anatomy.heart], 0.25)
    pictures = [body.radiograph.pixels, *(m.image for m in made)]
    bright = [
        (picture[body.anatomy.shape[0] // 2 :, columns] > level).mean() for picture in pictures
    ]
    assert bright[1] > bright[0] > bright[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"finding": "Infiltration"}, "painter renders"),
        ({"finding": "Mass", "form": "square"}, "Forms of Mass are smooth"),
        ({"finding": "Hernia", "form": "large"}, "Forms of Hernia are none"),
        ({"finding": "Mass", "dose": 0.0}, "dose must be"),
        ({"finding": "Mass", "dose": 1.5}, "dose must be"),
    ],
)
def test_bad_requests_are_refused(arguments, words):
    body = BODIES[0]
    with pytest.raises(EditError, match=words):
        paint(body.radiograph.pixels, body.anatomy, **arguments)


class TestEditor:
    def test_stored_levels_change_exactly_where_the_mask_says(self):
        body = BODIES[1]
        levels = np.rint(body.radiograph.pixels * 255).astype(np.uint8)
        radiograph = Radiograph(levels, GreyScale.linear(256), body.radiograph.spacing_mm)
        painter = Painter({radiograph.id: body.anatomy})
        edits = [Edit(("Edema",)), Edit(("Pleural Effusion",), side="right", severity="severe")]
        for result in painter.edit([radiograph], edits):
            assert result.status == "ok"
            assert (result.support == (result.image.stored != levels)).all()
            assert result.support.any()
            assert result.sham.stored.tobytes() == levels.tobytes()

    def test_severities_are_ordered(self):
        body = BODIES[0]
        painter = Painter({body.radiograph.id: body.anatomy})
        edits = [Edit(("Pleural Effusion",), side="left", severity=s) for s in DOSE]
        results = painter.edit([body.radiograph], edits)
        shares = [r.facts["severity"]["effusion_left_lung_fraction"] for r in results]
        assert shares == sorted(set(shares))

    def test_a_region_confines_the_change(self):
        body = BODIES[0]
        painter = Painter({body.radiograph.id: body.anatomy})
        region = body.anatomy.zone("left", "lower")
        (result,) = painter.edit([body.radiograph], [Edit(("Edema",))], masks=[region])
        assert result.support.any()
        assert not (result.support & ~region).any()

    def test_a_region_that_holds_no_such_finding_is_a_status_without_a_claim(self):
        body = SMALL
        painter = Painter({body.radiograph.id: body.anatomy})
        place = Edit(("Nodule",), region="left upper zone")
        small = np.zeros(body.anatomy.shape, dtype=np.bool_)
        small[60:64, 90:94] = True
        (held,) = painter.edit([body.radiograph], [place])
        (none,) = painter.edit([body.radiograph], [Edit(("Nodule",))], masks=[small])
        left = body.anatomy.left_lung
        (side,) = painter.edit([body.radiograph], [Edit(("Nodule",), side="right")], masks=[left])
        assert held.status == "ok"
        assert none.status == side.status == "no_visible_change"
        assert none.image is None
        assert "severity" not in none.facts

    def test_a_picture_without_lungs_is_a_status_and_spares_the_others(self):
        body = BODIES[0]
        blank = Radiograph.from_array(np.full((224, 224), 0.5, dtype=np.float32))
        painter = Painter({body.radiograph.id: body.anatomy})
        results = painter.edit([blank, body.radiograph], [Edit(("Edema",)), Edit(("Mass",))])
        assert [r.status for r in results] == ["poor_anatomy"] * 2 + ["ok"] * 2
        assert results[0].image is None

    def test_removal_and_free_prompts_are_refused(self):
        body = BODIES[0]
        painter = Painter({body.radiograph.id: body.anatomy})
        for edit in (Edit(("Edema",), action="remove"), Edit(prompt="a big heart")):
            with pytest.raises(EditError, match="only adds"):
                painter.edit([body.radiograph], [edit])


def test_an_edit_may_name_the_form():
    body = phantom(3)
    painter = Painter({body.radiograph.id: body.anatomy})
    (made,) = painter.edit([body.radiograph], [Edit(("support devices",), form="pacemaker")])
    assert made.facts["severity"]["form"] == "pacemaker"
    with pytest.raises(EditError, match=r"Forms of Nodule are smooth, .*; got 'pacemaker'"):
        painter.edit([], [Edit(("nodule",), form="pacemaker")])


REGIONS = ("left upper zone", "right lower zone", "around both lungs")
# What never lies in a part of a chest, and what need not lie in it whole.
NEVER = {
    "left upper zone": ("Hernia", "Cardiomegaly", "Pleural Effusion", "Text Marker"),
    "right lower zone": ("Text Marker",),
}
NOT_ALWAYS = ("Hernia", "Cardiomegaly", "Pleural Effusion", "Support Devices", "Text Marker")


@pytest.mark.parametrize("words", REGIONS)
@pytest.mark.parametrize("name", PAINTABLE)
def test_in_a_region_a_finding_is_there_or_not_claimed(name, words):
    """No change without a claim, no claim without a change, none outside; some seeds of most."""
    body = SMALL
    region = regions.mask(words, body.anatomy)
    shown = 0
    for seed in range(3):
        made = paint(body.radiograph.pixels, body.anatomy, name, seed=seed, region=region)
        claims = set(made.severity) - {"dose", "millimetres_assumed"}
        assert bool(claims) == made.mask.any()
        assert not (made.mask & ~region).any()
        for side, other in (("left", "right"), ("right", "left")):
            if words.startswith(side):
                assert not any(f"_{other}_" in claim for claim in claims)
        shown += made.mask.any()
    never = name in NEVER.get(words, ())
    assert shown == 0 if never else shown == 3 or name in NOT_ALWAYS


@pytest.mark.parametrize("name", ["Nodule", "Mass"])
@pytest.mark.parametrize("words", ["left upper zone", "right lower zone", "brush"])
def test_a_lesion_in_a_region_is_whole(name, words):
    """Truth: its change ends before the region does, wherever there is lung on both sides."""
    body = SMALL
    region = regions.mask(words if words != "brush" else "left lung", body.anatomy)
    if words == "brush":
        row, column = np.argwhere(region).mean(0)
        down, across = np.ogrid[: region.shape[0], : region.shape[1]]
        region = np.hypot(down - row, across - column) < 45 / body.radiograph.spacing_mm[0]
    cut = ndimage.binary_dilation(body.anatomy.lungs & ~region, iterations=1) & region
    places = set()
    for seed in range(4):
        made = paint(
            body.radiograph.pixels,
            body.anatomy,
            name,
            dose=0.3,
            seed=seed,
            region=region,
            spacing_mm=body.radiograph.spacing_mm[0],
        )
        assert made.mask.any()
        change = change_of(body, made)
        assert change[cut].max(initial=0) < 0.1 * change.max()
        places.add(tuple(np.argwhere(made.mask).mean(0).round()))
    assert len(places) > 2


def test_fluid_in_a_region_ends_within_it():
    """Truth: the angle holds as much as it has room for, with a level and no cut; a lung none."""
    body = SMALL
    before = body.radiograph.pixels
    region = regions.mask("right costophrenic angle", body.anatomy)
    made = paint(before, body.anatomy, "Pleural Effusion", seed=3, dose=1.0, region=region)
    free = paint(before, body.anatomy, "Pleural Effusion", side="right", seed=3, dose=1.0)
    fact = "effusion_right_lung_fraction"
    assert 0 < made.severity[fact] < 0.2 * free.severity[fact]
    edge = region & ~ndimage.binary_erosion(region, iterations=1) & body.anatomy.right_lung
    change = change_of(body, made)
    assert np.abs(change[edge]).max() < 0.5 * change.max()
    middle = regions.mask("right middle zone", body.anatomy)
    assert not paint(before, body.anatomy, "Pleural Effusion", seed=3, region=middle).mask.any()


def test_a_region_leaves_half_a_finding_no_straight_border():
    """Across the lung an opacity that is cut off fades: no step is as high as its middle."""
    body = phantom(2, size=256)
    region = regions.mask("right lower zone", body.anatomy)
    made = paint(body.radiograph.pixels, body.anatomy, "Edema", dose=1.0, seed=1, region=region)
    change = change_of(body, made)
    first = np.flatnonzero(region.any(1))[0]
    inner = body.anatomy.right_lung & region
    assert change[first : first + 2].max() < 0.5 * np.quantile(change[inner], 0.9)
