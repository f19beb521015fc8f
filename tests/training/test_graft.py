"""Grafts: what is moved from a donor to a host, where, and how much of it."""

import numpy as np
import pytest
from scipy.special import expit, logit

from bench import graft
from bench.real_judge import Box
from roentmod.datasets.phantom import phantom
from roentmod.edits import Edit
from roentmod.errors import EditError
from training import cohort

BLOB = Box(0.25, 0.4, 0.1, 0.1)


@pytest.fixture(scope="module")
def chest():
    one = phantom(3)
    assert one.radiograph.pixels.shape == (cohort.SIZE, cohort.SIZE)
    return one


def donor(**changes):
    words = {"name": "Mass", "patient": "a", "learned": False, "side": "right"}
    words |= {"change": np.full((6, 6), 0.5, np.float16), "place": (0.4, 0.4, 0.6, 0.6)}
    return graft.Donor(**(words | changes))


def test_a_graft_adds_its_change_at_its_place_in_the_lung_and_nothing_elsewhere(chest):
    picture, anatomy = chest.radiograph.pixels, chest.anatomy
    made = graft.grafted(picture, anatomy, donor(), 1.0)
    rows, columns = graft._bounds(anatomy.right_lung)
    y, x = np.nonzero(made != picture)
    for found, (first, last) in ((y, rows), (x, columns)):
        size = last - first
        # Half a cell of the change is lost at each end.
        assert found.min() == pytest.approx(first + 0.4 * size, abs=0.02 * size + 1)
        assert found.max() == pytest.approx(first + 0.6 * size, abs=0.02 * size + 1)
    rise = logit(made[y, x]) - logit(picture[y, x])
    assert np.median(rise[rise > rise.max() / 2]) == pytest.approx(0.5, abs=0.05)
    assert (made >= picture).all()
    # However much is added, it is no whiter than the heart.
    row, column = (round((a + b) / 2) for a, b in (rows, columns))
    white = graft.grafted(picture, anatomy, donor(), 1000.0)
    assert white[row, column] == pytest.approx(np.quantile(picture[anatomy.heart], 0.75), abs=0.01)


def test_the_densest_finding_leaves_ribs_and_grain_in_it(chest):
    anatomy, rng = chest.anatomy, np.random.default_rng(0)
    picture = np.clip(chest.radiograph.pixels + rng.normal(0, 0.01, (cohort.SIZE,) * 2), 0, 1)
    picture = picture.astype(np.float32)
    dense = donor(change=np.full((6, 6), 4, np.float16), place=(0.2, 0.2, 0.8, 0.8))
    made = graft.grafted(picture, anatomy, dense, graft.SHARE["severe"])
    inside = anatomy.right_lung & (made - picture > 0.05)
    assert inside.sum() > 0.2 * anatomy.right_lung.sum()
    whiter = np.median(logit(made)[inside]) - np.median(logit(picture)[inside])
    assert whiter > 0.5
    # No patch of one grey level.
    level = np.rint(255 * made).astype(int)
    equal = (np.diff(level, axis=0)[:, :-1] == 0) & (np.diff(level, axis=1)[:-1] == 0)
    assert equal[inside[:-1, :-1]].mean() < 0.2
    # Nor a rim where the lung ends: what is nearly as white as the heart hardly changes.
    white = picture > np.quantile(picture[anatomy.heart], 0.7)
    assert (made - picture)[white].max() < 0.05


def test_a_nodule_is_what_rises_over_its_surroundings(chest):
    y, x = np.mgrid[: cohort.SIZE, : cohort.SIZE]
    row, column = (round(v * cohort.SIZE) for v in (BLOB.y + BLOB.h / 2, BLOB.x + BLOB.w / 2))
    slope = 0.004 * (x - column)
    blob = 1.2 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 3.0**2))
    side, change, window = graft.nodule(expit(slope + blob).astype(np.float32), chest.anatomy, BLOB)
    assert side == "right"
    assert change[row, column] == pytest.approx(1.2, abs=0.05)
    # A slope of the background is none of it, and its rim is 0.
    assert np.abs(change - blob * window).max() < 0.05
    assert not change[window == 0].any()
    flat = graft.nodule(expit(slope).astype(np.float32), chest.anatomy, BLOB)
    row_ = {"patient_id": "a", "split": "test", "set": "jsrt"}
    assert graft._donor("Mass", row_, chest.anatomy, "right", flat[1:]) is None
    mass = graft._donor("Mass", row_, chest.anatomy, "right", (change, window))
    assert mass.change.max() == pytest.approx(graft.ENLARGED * 1.2, rel=0.05)
    rows, _ = graft._bounds(chest.anatomy.right_lung)
    wide = (mass.place[2] - mass.place[0]) * (rows[1] - rows[0])
    assert wide == pytest.approx(graft.ENLARGED * mass.change.shape[0])


@pytest.mark.parametrize("side", ["right", "left"])
def test_an_effusion_is_found_on_its_side_and_only_there(chest, side):
    picture, anatomy = chest.radiograph.pixels, chest.anatomy
    assert graft.effusion(picture, anatomy) is None
    lung = anatomy.lung(side)
    (top, bottom), _ = graft._bounds(lung)
    low = lung & (np.arange(cohort.SIZE) > top + 0.6 * (bottom - top))[:, None]
    wet = np.where(low, np.maximum(picture, 0.85), picture)
    found, change, window = graft.effusion(wet, anatomy)
    assert found == side
    assert change.min() >= 0
    assert change[low].mean() > 5 * change[~low].mean()
    assert not change[: top + round(0.3 * (bottom - top))].any()
    assert (window <= 1.001).all()


def test_an_opacity_is_taken_within_its_boxes(chest):
    picture = chest.radiograph.pixels
    rows, columns = BLOB.place
    hazy = picture.copy()
    hazy[rows, columns] = np.maximum(hazy[rows, columns], 0.8)
    change, _ = graft.opacity(hazy, chest.anatomy, [BLOB], "right")
    assert change[rows, columns].mean() > 0.3
    far = np.ones(picture.shape, bool)
    far[rows.start - 14 : rows.stop + 14, columns.start - 14 : columns.stop + 14] = False
    assert np.abs(change[far]).max() < 1e-3


def test_donors_of_the_editor_taught_nobody(tmp_path):
    every = [
        donor(name=name, patient=f"{name}{n}", learned=n % 2 == 0 and name != "Mass")
        for name in graft.FINDINGS
        for n in range(12)
    ]
    teaching, own = graft.halves(every)
    assert {d.patient for d in teaching}.isdisjoint(d.patient for d in own)
    assert not any(d.learned for d in own)
    assert all({d.name for d in half} == {*graft.FINDINGS} for half in (teaching, own))
    graft.keep(every, tmp_path / "donors.npz")
    again = graft.kept(tmp_path / "donors.npz")
    assert [(d.name, d.patient, d.place) for d in again] == [
        (d.name, d.patient, d.place) for d in every
    ]
    assert np.array_equal(again[3].change, every[3].change)


def test_the_editor_grafts_by_severity_and_refuses_the_rest(chest):
    editor = graft.Grafter([donor(name=name) for name in graft.FINDINGS])
    editor._outlines = {chest.radiograph.id: chest.anatomy}
    edits = [Edit(("Mass",), severity=s) for s in ("mild", "moderate", "severe")]
    edits.append(Edit(("Mass",), arm="sham"))
    changes = [float(one.difference.sum()) for one in editor.edit([chest.radiograph], edits)]
    assert 0 < changes[0] < changes[1] < changes[2]
    assert changes[3] == 0
    with pytest.raises(EditError, match="Grafts add"):
        editor.edit([chest.radiograph], [Edit(("Edema",))])
    with pytest.raises(EditError, match="donors of Mass"):
        editor.edit([chest.radiograph], [Edit(("Mass",), side="left")])
