import numpy as np
import pytest
from PIL import Image

from roentmod import imaging
from roentmod.edits import Edit
from roentmod.imaging import pictures, provenance
from roentmod.imaging.pictures import Cell, Row, colour_limit, difference_picture, grid, sheet
from roentmod.radiograph import Frame, GreyScale, Radiograph

from .conftest import facts_of

GREY = np.full((300, 200), 0.5, np.float32)


def change(amount, shape=(300, 200)):
    difference = np.zeros(shape, np.float32)
    difference[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = amount
    return difference


def colours(image, wanted):
    """Count pixels whose strongest channel is `wanted` by far."""
    data = np.asarray(image).astype(int)
    other = [c for c in range(3) if c != wanted]
    return int((data[..., wanted] > data[..., other].max(axis=-1) + 60).sum())


def test_brighter_is_warm_and_darker_is_cold():
    warm, cold = difference_picture(change(0.1), GREY), difference_picture(change(-0.1), GREY)
    # The bar shows both colours in both pictures; the change shows in one.
    assert colours(warm, 0) > colours(cold, 0) + 3000
    assert colours(cold, 2) > colours(warm, 2) + 3000


def test_where_nothing_changed_the_dimmed_baseline_shows():
    picture = np.asarray(difference_picture(change(0.1), GREY))
    dimmed = (picture == round(0.5 * 0.5 * 255)).all(axis=-1) | (picture == 63).all(axis=-1)
    assert dimmed.sum() > 300 * 200 * 0.85


@pytest.mark.parametrize(
    ("amount", "limit"), [(0.0, 0.1), (0.006, 0.1), (0.07, 0.1), (-0.15, 0.2), (1.0, 1.0)]
)
def test_limits_are_round_and_hold_the_change(amount, limit):
    assert colour_limit([change(amount)]) == limit


def test_a_few_extreme_pixels_do_not_set_the_limit():
    difference = change(0.09)
    difference[0, :7] = 1
    assert colour_limit([difference]) == 0.1


def test_a_change_is_visible_from_two_percent_in_some_pixels():
    assert pictures.visible(change(0.03))
    assert pictures.visible(change(-0.03))
    assert not pictures.visible(change(0.015))
    assert not pictures.visible(change(0.0))


@pytest.mark.parametrize("shape", [(64, 80), (300, 200)])
def test_a_burned_in_word_is_bright_on_dark_at_the_lower_left_alone(shape):
    grey = Radiograph.from_array(np.full(shape, 0.5))
    before = grey.stored.copy()
    burned = pictures.burned(grey)
    assert np.array_equal(grey.stored, before)
    changed = np.argwhere(burned.pixels != grey.pixels)
    assert changed[:, 0].min() > 0.7 * shape[0]
    assert changed[:, 1].min() < 0.1 * shape[1]
    word = burned.pixels[burned.pixels != grey.pixels]
    assert word.min() == 0
    assert word.max() > 0.9
    assert burned.synthetic
    assert not grey.synthetic


def test_the_word_is_burned_in_as_the_file_lies():
    levels = np.full((96, 80), 128, np.uint8)
    plain, turned = (
        Radiograph.on_file(levels, GreyScale.linear(256), None, frame=frame)
        for frame in (Frame(), Frame(transposed=True, mirrored=True))
    )
    assert np.array_equal(pictures.burned(plain).native, pictures.burned(turned).native)


def test_a_note_stands_on_the_row_and_alarms_in_colour():
    row = Row("Edema added", GREY, GREY, change(0.1))
    plain, calm, alarm = (
        np.asarray(sheet([one]))
        for one in (row, row._replace(note="judge: sees it"), row._replace(note="x", alarm=True))
    )
    assert (plain != calm).any()
    assert (calm != alarm).any()
    # Only in the band above the pictures.
    assert not (plain != calm)[46 + 34 :].any()


def test_sizes():
    large = difference_picture(change(0.1, (3000, 1500)), long_side=1024)
    assert 1024 < large.height < 1100
    small = difference_picture(change(0.1))
    assert 300 < small.height < 380


def test_the_word_synthetic_is_drawn(monkeypatch):
    """Without the word the pictures differ, and only where it belongs."""
    row = Row("Edema added", GREY, GREY, change(0.1))
    spoken = [difference_picture(change(0.1), GREY), sheet([row, row])]
    monkeypatch.setattr(pictures, "_MARK", " ")
    silent = [difference_picture(change(0.1), GREY), sheet([row, row])]
    for with_word, without in zip(spoken, silent, strict=True):
        differ = (np.asarray(with_word) != np.asarray(without)).any(axis=-1)
        assert differ.sum() > 200
    # On a sheet: never on the baseline's column.
    assert not differ[:, : 18 + 420].any()
    assert differ[:, 18 + 420 :].any()


def test_a_sheet_shows_every_row_in_equal_cells():
    rows = [Row(f"row {i}", GREY, GREY, change(0.1 * i)) for i in range(3)]
    one, three = sheet(rows[:1]), sheet(rows)
    assert three.width == one.width
    assert three.height - one.height == 2 * (420 + 34)
    assert sheet(rows, title="seed 0").height > three.height
    wide = [Row("wide", GREY.T, GREY.T, change(0.1).T)]
    assert sheet(wide).size == one.size


def test_pictures_repeat_and_are_saved_with_their_facts(tmp_path):
    baseline = Radiograph.from_array(np.tile(np.linspace(0, 1, 200, dtype=np.float32), (300, 1)))
    for name in ("1.png", "2.png"):
        image = difference_picture(change(0.1), baseline.pixels)
        imaging.save_picture(image, tmp_path / name, facts_of(baseline))
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    with Image.open(tmp_path / "1.png") as image:
        assert image.text["SyntheticData"] == "YES"


@pytest.mark.parametrize(
    ("edit", "title"),
    [
        (Edit(("Edema",)), "SYNTHETIC with Edema"),
        (Edit(("Edema",), action="remove"), "SYNTHETIC without Edema"),
        (Edit(("Edema",)).sham(), "SYNTHETIC sham (not the control)"),
        (Edit(("Edema",), composite="none").sham(), "SYNTHETIC sham (control arm)"),
        (Edit(prompt="a name that must not be here"), "SYNTHETIC with free prompt"),
    ],
)
def test_titles(edit, title):
    facts = provenance.describe(Radiograph.from_array(GREY), edit, {})
    assert provenance.title(facts) == title


def test_many_findings_fit_their_fields():
    names = ("Pleural Effusion", "Cardiomegaly", "Pleural Thickening", "Pneumothorax", "Edema")
    facts = provenance.describe(Radiograph.from_array(GREY), Edit(names), {})
    assert len(provenance.title(facts)) == 64
    assert len(provenance.summary(facts)) <= 1024


def test_facts_do_not_depend_on_the_clock():
    baseline = Radiograph.from_array(GREY)
    slow, quick = (
        provenance.describe(baseline, Edit(("Edema",)), {"seconds": s, "size": 224}) for s in (1, 2)
    )
    assert slow == quick
    assert slow["model"] == {"size": 224}
    assert slow["versions"]["numpy"] == np.__version__


def test_a_grid_marks_what_is_synthetic_and_nothing_else(monkeypatch):
    rows = [
        ("Baseline", [Cell(GREY, synthetic=False)] * 2),
        ("Edema", [Cell(GREY, note="left"), Cell(GREY.T)]),
    ]
    spoken = grid(rows, cell=100)
    monkeypatch.setattr(pictures, "_MARK", " ")
    differ = (np.asarray(spoken) != np.asarray(grid(rows, cell=100))).any(axis=-1)
    assert not differ[:114].any()
    assert differ[114:, :138].sum() > 100
    assert differ[114:, 138:].sum() > 100


def test_a_grid_has_equal_cells_and_room_for_titles():
    rows = [(f"row {i}", [Cell(GREY)] * 3) for i in range(4)]
    one, four = grid(rows[:1], cell=100), grid(rows, cell=100)
    assert four.width == one.width == 34 + 3 * 104 + 6
    assert four.height - one.height == 3 * 104
    assert grid(rows, title="seed 0", columns=["a", "b", "c"]).height > grid(rows).height
