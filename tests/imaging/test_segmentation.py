"""Outlines are right on phantoms, keep to the picture's own grid, and are refused where wrong."""

import numpy as np
import pytest

from roentmod.datasets.phantom import phantom
from roentmod.errors import AnatomyError
from roentmod.imaging.segmentation import (
    QUALITY_NEEDED,
    _largest,
    estimate,
    estimate_all,
    looks_mirrored,
    require,
)
from roentmod.radiograph import Radiograph

pytestmark = pytest.mark.slow

# The network never saw phantoms of these seeds.
UNSEEN = 2_000_000


def dice(one, other):
    return 2 * (one & other).sum() / max(one.sum() + other.sum(), 1)


@pytest.fixture(scope="module")
def made():
    return [phantom(UNSEEN + k, size=224) for k in range(16)]


@pytest.fixture(scope="module")
def pictures(made):
    return [np.asarray(m.radiograph.pixels) for m in made]


@pytest.fixture(scope="module")
def found(pictures):
    return estimate_all(pictures)


def test_outlines_of_phantoms(made, found):
    lungs = [dice(m.anatomy.lungs, f.lungs) for m, f in zip(made, found, strict=True)]
    hearts = [dice(m.anatomy.heart, f.heart) for m, f in zip(made, found, strict=True)]
    assert np.median(lungs) > 0.96
    assert min(lungs) > 0.9
    assert np.median(hearts) > 0.93


def test_sides_are_the_patients(made, found):
    for m, f in zip(made, found, strict=True):
        for side in ("right", "left"):
            assert dice(m.anatomy.lung(side), f.lung(side)) > 0.9


def test_lungs_do_not_overlap(found):
    assert not any((f.right_lung & f.left_lung).any() for f in found)


def test_cardiothoracic_ratio(made, found):
    errors = [
        m.anatomy.cardiothoracic_ratio - f.cardiothoracic_ratio
        for m, f in zip(made, found, strict=True)
    ]
    assert np.median(np.abs(errors)) < 0.03


def test_phantoms_are_accepted(found):
    assert np.mean([f.quality >= QUALITY_NEEDED for f in found]) > 0.9


def refused():
    rng = np.random.default_rng(0)
    blank = np.full((224, 224), 0.5, np.float32)
    noise = rng.random((224, 224), dtype=np.float32)
    ramp = np.tile(np.linspace(0, 1, 224, dtype=np.float32), (224, 1))
    return {"blank": blank, "noise": noise, "ramp": ramp, "black": 0 * blank}


@pytest.mark.parametrize("name", ["blank", "noise", "ramp", "black"])
def test_pictures_of_nothing_are_refused(name):
    outline = estimate(Radiograph.from_array(refused()[name]))
    assert outline.quality < QUALITY_NEEDED
    assert outline.doubts


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(np.flipud, id="upside down"),
        pytest.param(lambda p: np.rot90(p, 2), id="turned by 180 degrees"),
        pytest.param(np.rot90, id="on its side"),
        pytest.param(lambda p: 1 - p, id="negative"),
    ],
)
def test_phantoms_turned_or_negative_are_refused(pictures, turn):
    for outline in estimate_all([np.ascontiguousarray(turn(p)) for p in pictures[:6]]):
        assert outline.quality < QUALITY_NEEDED
        assert outline.doubts


def test_one_lung_out_of_the_picture_is_refused(made, pictures):
    cut = int(made[0].anatomy.midline[112])
    assert estimate_all([pictures[0][:, :cut]])[0].quality < QUALITY_NEEDED


def test_resolution_is_the_radiographs_own(found):
    small, large = found[0], phantom(UNSEEN, size=448)
    outline = estimate(large.radiograph)
    assert outline.shape == large.radiograph.pixels.shape
    halved = outline.lungs[::2, ::2]
    height, width = (min(a, b) for a, b in zip(halved.shape, small.shape, strict=True))
    assert dice(halved[:height, :width], small.lungs[:height, :width]) > 0.97
    assert dice(outline.lungs, large.anatomy.lungs) > 0.95


def test_outlines_are_smooth(found):
    """A border enlarged without interpolation has twice the corners."""
    outline = estimate(phantom(UNSEEN, size=448).radiograph)
    lung = outline.left_lung.astype(int)
    # A corner is a 2 x 2 block with one or three pixels of lung.
    blocks = lung[:-1, :-1] + lung[1:, :-1] + lung[:-1, 1:] + lung[1:, 1:]
    steps = np.abs(np.diff(lung, axis=0)).sum() + np.abs(np.diff(lung, axis=1)).sum()
    assert ((blocks == 1) | (blocks == 3)).sum() > 0.25 * steps


def test_a_batch_gives_what_singles_give(pictures, found):
    for index in (0, 7):
        alone = estimate_all([pictures[index]])[0]
        assert alone.quality == pytest.approx(found[index].quality, abs=2e-3)
        assert dice(alone.lungs, found[index].lungs) > 0.9999
        assert dice(alone.heart, found[index].heart) > 0.9999


def test_pictures_of_unlike_shapes(pictures):
    wide = np.pad(pictures[1], ((0, 0), (30, 30)))
    both = estimate_all([pictures[0], wide])
    assert [o.shape for o in both] == [pictures[0].shape, wide.shape]


def test_refusal_says_rule_finding_and_remedy():
    outline = estimate(Radiograph.from_array(refused()["noise"]))
    with pytest.raises(AnatomyError) as caught:
        require(outline, "noise.png")
    message = str(caught.value)
    assert "at least 0.5" in message
    assert f"{outline.quality:.2f} on noise.png" in message
    assert outline.doubts[0] in message
    assert "Use an upright" in message
    assert "\n" not in message


def test_a_good_estimate_passes(found):
    good = max(found, key=lambda f: f.quality)
    assert require(good) is good


def test_pieces_are_told_apart():
    mask = np.zeros((9, 9), bool)
    mask[1:8, 1] = mask[1, 1:8] = mask[7, 1:8] = mask[3:8, 7] = mask[3, 3:8] = mask[3:6, 3] = True
    mask[5, 5] = True
    piece, share = _largest(mask)
    assert not piece[5, 5]
    assert share == pytest.approx((mask.sum() - 1) / mask.sum())


def test_holes_are_filled():
    mask = np.zeros((8, 8), bool)
    mask[1:7, 1:7] = True
    holed = mask.copy()
    holed[3, 4] = False
    assert (_largest(holed)[0] == mask).all()


def test_mirrored_pictures_are_reported(made, pictures, found, caplog):
    assert not any(map(looks_mirrored, pictures, found))
    assert sum(f.lean(p) > 0 for p, f in zip(pictures, found, strict=True)) >= 14
    mirrored = [np.ascontiguousarray(p[:, ::-1]) for p in pictures]
    seen = list(map(looks_mirrored, mirrored, estimate_all(mirrored)))
    assert sum(seen) >= 10
    first = seen.index(True)
    estimate(made[first].radiograph)
    assert caplog.text == ""
    estimate(Radiograph.from_array(mirrored[first], source="turned.png"))
    assert "turned.png looks mirrored" in caplog.text
