"""Strokes become masks, and masks lie as the file's own rows and columns do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roentmod import imaging
from roentmod.errors import EditError
from roentmod.radiograph import Frame, GreyScale, Radiograph
from roentmod.web.studio.brush import Stroke, painted


def stroke(radius, *points, erase=False):
    return Stroke(radius=radius, erase=erase, points=[{"x": x, "y": y} for x, y in points])


def test_a_dot_is_a_disc():
    mask = painted([stroke(10, (32, 20))], (64, 80))
    rows, columns = np.mgrid[:64, :80] + 0.5
    assert (mask == ((rows - 20) ** 2 + (columns - 32) ** 2 <= 100)).all()


def test_later_strokes_win():
    line = stroke(5, (10, 32), (70, 32))
    mask = painted([line, stroke(8, (40, 32), erase=True)], (64, 80))
    assert mask[32, 20]
    assert not mask[32, 40]
    assert mask[32, 60]
    assert painted([line, stroke(8, (40, 32), erase=True), stroke(2, (40, 32))], (64, 80))[32, 40]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(*[st.floats(-50, 150)] * 2), min_size=1, max_size=6), st.floats(1, 40))
def test_a_line_is_what_is_near_it(points, radius):
    try:
        mask = painted([stroke(radius, *points)], (64, 80))
    except EditError:
        return
    rows, columns = np.mgrid[:64, :80] + 0.5
    near = np.full((64, 80), np.inf)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[-1]], strict=True):
        for share in np.linspace(0, 1, 200):
            x, y = x0 + share * (x1 - x0), y0 + share * (y1 - y0)
            near = np.minimum(near, np.hypot(rows - y, columns - x))
    assert not (mask & (near > radius + 1)).any()
    assert mask[near <= radius - 1].all()


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        ([stroke(5, (500, 500))], "holds a pixel"),
        ([stroke(5, (9, 9)), stroke(9, (9, 9), erase=True)], "holds a pixel"),
        ([stroke(5, *[(1, 1)] * 15_000)] * 2, "at most 20,000 points"),
    ],
)
def test_nonsense_is_refused(strokes, message):
    with pytest.raises(EditError, match=message):
        painted(strokes, (64, 80))


@pytest.mark.parametrize("frame", [Frame(), Frame(True, False, True), Frame(aspect=2.0)])
def test_a_written_mask_is_read_back(tmp_path, frame):
    levels = np.random.default_rng(0).integers(0, 4096, (90, 70)).astype(np.uint16)
    radiograph = Radiograph.on_file(levels, GreyScale.linear(4096), (1.0, 1.0), frame=frame)
    height, width = radiograph.stored.shape
    mask = painted([stroke(18, (30, 30), (40, 50))], (height, width))
    imaging.write_mask(mask, radiograph, tmp_path / "mask.png")
    back = imaging.read_mask(tmp_path / "mask.png", radiograph)
    if frame.aspect == 1:
        assert (back == mask).all()
    else:
        assert (back != mask).mean() < 0.02
