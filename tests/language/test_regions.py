import numpy as np
import pytest
from scipy import ndimage

from roentmod import regions
from roentmod.anatomy import Anatomy
from roentmod.datasets.phantom import phantom
from roentmod.domain import finding
from roentmod.editors.painter import PAINTABLE, paint
from roentmod.editors.painter import SIDED as SIDED_FINDINGS
from roentmod.errors import AnatomyError, EditError

BODIES = [phantom(seed) for seed in range(4)]
SIDED = [p for p in regions.PLACES if p not in ("heart", "mediastinum", "retrocardiac")]


@pytest.mark.parametrize("place", SIDED)
@pytest.mark.parametrize("body", BODIES)
def test_a_place_lies_on_its_own_side_and_both_are_the_union(place, body):
    left, right = (regions.mask(f"{side} {place}", body.anatomy) for side in ("left", "right"))
    assert np.array_equal(regions.mask(place, body.anatomy), left | right)
    middles = [np.nonzero(mask)[1].mean() for mask in (right, left)]
    spine = body.anatomy.midline.mean()
    assert middles[0] < spine < middles[1]
    assert not (left & right).any()


@pytest.mark.parametrize("body", BODIES)
def test_zones_divide_the_lungs(body):
    zones = [regions.mask(f"{name} zones", body.anatomy) for name in ("upper", "middle", "lower")]
    assert np.array_equal(np.sum(zones, axis=0), body.anatomy.lungs.astype(int))
    assert np.array_equal(regions.mask("lungs", body.anatomy), body.anatomy.lungs)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("body", BODIES)
def test_angle_and_hilum_lie_where_they_were_drawn(body, side):
    for place, fact in (("costophrenic angle", f"angle_{side}"), ("hilum", f"hilum_{side}")):
        row, column = (round(v) for v in body.facts[fact])
        assert regions.mask(f"{side} {place}", body.anatomy)[row, column]
        other = "left" if side == "right" else "right"
        assert not regions.mask(f"{other} {place}", body.anatomy)[row, column]


@pytest.mark.parametrize("body", BODIES)
def test_apex_is_the_top_and_base_lies_on_the_floor(body):
    for side in ("left", "right"):
        apex, base = (regions.mask(f"{side} {p}", body.anatomy) for p in ("apex", "base"))
        lung = body.anatomy.lung(side)
        assert not (apex & ~regions.mask(f"{side} upper zone", body.anatomy)).any()
        assert not (base & ~regions.mask(f"{side} lower zone", body.anatomy)).any()
        assert apex[np.flatnonzero(lung.any(1))[0]].any()
        assert base[np.flatnonzero(lung.any(1))[-1]].any()
        assert 0.02 < apex.sum() / lung.sum() < 0.2
        assert 0.05 < base.sum() / lung.sum() < 0.35


@pytest.mark.parametrize("body", BODIES)
def test_around_adds_a_margin_on_all_sides(body):
    lungs, wider = (regions.mask(words, body.anatomy) for words in ("lungs", "around lungs"))
    margin = 0.15 * max(np.ptp(np.nonzero(body.anatomy.lung(s))[0]) + 1 for s in ("left", "right"))
    distance = ndimage.distance_transform_edt(~lungs)
    assert (wider == (distance <= margin)).all()
    assert (wider & ~lungs).any()
    assert regions.canonical("Around LUNG") == "around both lungs"
    assert regions.on_side("around lung + heart", "left") == "around left lung + heart"


@pytest.mark.parametrize("name", PAINTABLE)
def test_the_usual_place_holds_what_the_painter_paints(name):
    words = finding(name).place
    if not words:
        pytest.skip("text markers lie anywhere")
    # Tubes and lines come from outside the chest, a heart may grow past the margin, and a collapsed
    # lower lobe shows through the heart.
    least = {"Support Devices": 0.5, "Cardiomegaly": 0.75, "Atelectasis": 0.85}.get(name, 0.9)
    for body in BODIES:
        for seed in range(3):
            side = "left" if name in SIDED_FINDINGS else None
            painted = paint(
                body.radiograph.pixels, body.anatomy, name, side=side, dose=0.6, seed=seed
            )
            change = np.abs(painted.image - body.radiograph.pixels)
            inside = regions.mask(regions.on_side(words, side or "both"), body.anatomy)
            assert change[inside].sum() > least * change.sum()


def test_a_large_hearts_border_is_not_taken_for_the_dome():
    """A heart that hides the diaphragm but for its edge: the dome lies there, not on the heart."""
    rows, columns = np.mgrid[:512, :512]
    left = (rows > 60) & (rows < 345 - 0.3 * (380 - columns)) & (columns > 290) & (columns < 380)
    left &= (columns > 365) | (rows < 285 - 1.2 * (365 - columns))
    right = (rows > 60) & (rows < 320) & (columns > 130) & (columns < 220)
    row, column = Anatomy(right, left, np.zeros_like(left)).dome("left")
    assert column > 364
    assert row > 330


@pytest.mark.parametrize("body", BODIES)
def test_the_middle(body):
    anatomy = body.anatomy
    heart, behind, middle = (
        regions.mask(name, anatomy) for name in ("heart", "retrocardiac", "mediastinum")
    )
    assert np.array_equal(heart, anatomy.heart)
    assert not (behind & ~heart).any()
    assert 0.2 < behind.sum() / heart.sum() < 0.8
    assert (np.nonzero(behind)[1] > anatomy.midline[np.nonzero(behind)[0]]).all()
    assert not (heart & ~middle).any()
    assert not (middle & anatomy.lungs & ~heart).any()
    assert middle[: int(np.nonzero(heart)[0].min())].any()


@pytest.mark.parametrize("body", BODIES)
def test_a_small_effusion_is_painted_where_the_words_say_fluid_lies(body):
    """Truth from the painter: fluid in the left chest gathers in its costophrenic angle."""
    made = paint(body.radiograph.pixels, body.anatomy, "effusion", side="left", dose=0.15)
    angle = regions.mask("left costophrenic angle", body.anatomy)
    lower = regions.mask("left lower zone + left costophrenic angle", body.anatomy)
    assert (made.mask & angle).any()
    assert (made.mask & lower).sum() > 0.75 * made.mask.sum()
    assert not (made.mask & regions.mask("right lung", body.anatomy)).any()


def test_a_mask_cuts_the_region_and_must_meet_it():
    body = BODIES[0]
    left = regions.mask("left lung", body.anatomy)
    lower = regions.mask("both lower zones", body.anatomy, left)
    assert np.array_equal(lower, regions.mask("left lower zone", body.anatomy))
    with pytest.raises(EditError, match="must overlap"):
        regions.mask("right lung", body.anatomy, left)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("Left Lower-Zone", "left lower zone"),
        ("apices", "both apices"),
        ("bilateral lung bases", "both bases"),
        ("right hilum + left hilum", "both hila"),
        ("heart + left apex", "left apex + heart"),
        ("left mid zone+right_mid_zone", "both middle zones"),
        ("cardiac silhouette", "heart"),
        ("behind the heart", "retrocardiac"),
        ("lungs + left lung", "both lungs"),
    ],
)
def test_every_spelling_has_one_canonical_form(words, said):
    assert regions.canonical(words) == said
    assert regions.canonical(said) == said


@pytest.mark.parametrize(
    "words",
    ["", "left", "left lower lobe", "left heart", "heart +", "both", "zone", "left left lung"],
)
def test_other_words_are_refused_with_the_list(words):
    with pytest.raises(EditError) as caught:
        regions.canonical(words)
    assert all(place in str(caught.value) for place in regions.PLACES)
    assert f"got '{words}'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sides_are_those_touched():
    assert regions.sides("left apex + left base") == ("left",)
    assert regions.sides("heart") == ("left", "right")
    assert regions.sides("right hilum + retrocardiac") == ("left", "right")


def test_outlines_without_the_region_are_poor_anatomy():
    known = BODIES[0].anatomy
    heartless = Anatomy(known.right_lung, known.left_lung, np.zeros_like(known.heart))
    with pytest.raises(AnatomyError, match="leave none for 'retrocardiac'"):
        regions.mask("retrocardiac", heartless)


def test_a_spot_is_where_reports_would_say():
    anatomy = BODIES[0].anatomy
    first, last = anatomy.span("left")
    row = first + 0.3 * (last - first)
    own = np.flatnonzero(anatomy.lung("left")[round(row)])
    assert regions.spot(anatomy, "left", row, own[-1]) == "peripheral upper zone"
    assert regions.spot(anatomy, "left", last, own[0]) == "perihilar base"


def test_spots_are_those_that_an_area_holds():
    anatomy = BODIES[0].anatomy
    whole = np.ones(anatomy.shape, dtype=bool)
    assert len(regions.spots(whole, anatomy)) == 2 * 5 * 3
    upper = regions.spots(regions.mask("right upper zone", anatomy), anatomy)
    assert {side for side, _ in upper} == {"right"}
    assert {place.split(" ", 1)[1] for _, place in upper} == {"apex", "upper zone"}
    small = np.zeros(anatomy.shape, dtype=bool)
    rows, columns = np.nonzero(regions.mask("left base", anatomy))
    small[rows[:3], columns[:3]] = True
    ((side, place),) = regions.spots(small, anatomy)
    assert (side, place.split(" ", 1)[1]) in {("left", "base"), ("left", "lower zone")}
    assert regions.spots(np.zeros_like(small), anatomy) == frozenset()
