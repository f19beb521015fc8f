"""What is computed in a window only has the bits that the whole picture would have."""

import numpy as np
import pytest

from roentmod.editors import compose
from roentmod.radiograph import GreyScale, Radiograph, Square


@pytest.mark.parametrize("shape", [(300, 400), (401, 300), (96, 80)])
@pytest.mark.parametrize("size", [64, 224])
def test_a_window_is_cut_from_the_whole_enlarged_picture(shape, size):
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.1, (size, size)).astype(np.float32)
    square = Square(*shape)
    whole = square.crop(compose.resize(image, square.side))
    for window in ((slice(10, 70), slice(20, 75)), (slice(0, shape[0]), slice(0, shape[1]))):
        part = compose._Enlarged(image, square, window[1])[window[0]]
        # Pillow's bits, but for the order in which doubles are added.
        assert np.abs(part - whole[window]).max() <= 1e-8
    assert compose._Enlarged(image, square, slice(0, 9))[slice(5, 5)].shape == (0, 9)
    assert compose._Enlarged(image, square, slice(9, 9))[slice(5, 8)].shape == (3, 0)


@pytest.mark.parametrize("mode", ["sham", "baseline", "none"])
@pytest.mark.parametrize("with_region", [False, True])
@pytest.mark.parametrize("spot", [(100, 40, 12), (0, 0, 9), (223, 120, 20), (110, 110, 300)])
def test_a_local_change_is_composed_as_the_whole_picture_would_be(spot, with_region, mode):
    rng = np.random.default_rng(1)
    baseline = Radiograph.from_array(rng.uniform(0, 1, (500, 430)).astype(np.float32))
    before = compose.shrink(baseline, 224)
    down, across = np.ogrid[:224, :224]
    row, column, radius = spot
    change = 0.2 * np.exp(-(((down - row) ** 2 + (across - column) ** 2) / radius**2))
    decoded = compose.Decoded(before + change.astype(np.float32), before, before)
    region = np.zeros(baseline.stored.shape, dtype=bool)
    region[:, :200] = True
    inside = compose.feather(region) if with_region else None
    result, difference, support = compose.compose(baseline, decoded, mode, inside)

    square, moved = baseline.square, decoded.edit - decoded.sham
    wanted = baseline.pixels + square.crop(compose.resize(moved, square.side))
    soft = np.clip(compose.resize(compose.significance(moved), square.side), 0, 1)
    weight = square.crop(np.where(soft > 1e-3, soft, 0).astype(np.float32))
    if mode == "none":
        wanted = square.crop(compose.resize(decoded.edit, square.side))
    if mode != "sham":
        weight = np.ones_like(weight)
    weight = weight * (inside if with_region else 1)
    mixed = baseline.pixels + weight * (wanted - baseline.pixels)
    pixels = np.where(
        weight > 0, np.clip(np.where(weight == 1, wanted, mixed), 0, 1), baseline.pixels
    )
    stored = baseline.grey.store(pixels.astype(np.float32), baseline.stored)
    assert np.array_equal(result.stored, stored)
    assert np.array_equal(support, weight > 0)
    assert np.array_equal(difference, baseline.grey.display(stored) - baseline.pixels)
    assert np.array_equal(result.pixels, result.grey.display(result.stored))


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("kind", ["even", "window", "steps", "curve"])
def test_levels_are_those_that_interpolation_finds(kind, falling):
    rng = np.random.default_rng(2)
    levels = np.arange(4096)
    tables = {
        "even": levels / 4095,
        "window": np.clip((levels - 900) / 1500, 0, 1),
        "steps": np.floor(levels / 300) / 13,
        "curve": 1 / (1 + np.exp(-(levels - 1800) / 40)),
    }
    table = tables[kind].astype(np.float32)
    grey = GreyScale(7, table[::-1].copy() if falling else table)
    stored = (rng.integers(0, 4096, (90, 90)) + 7).astype(np.uint16)
    display = rng.uniform(-0.1, 1.1, stored.shape).astype(np.float32)
    display[::3] = table[rng.integers(0, 4096, display[::3].shape)]
    display[::7] = grey.display(stored)[::7]

    changed = display != grey.display(stored)
    values, first = np.unique(table, return_index=True)
    last = np.concatenate([first[1:] - 1, [table.size - 1]])
    inner = np.where(values <= values.mean(), last, first)
    wanted = np.clip(display[changed].astype(np.float64), 0, 1)
    index = np.rint(np.interp(wanted, values.astype(np.float64), inner)).astype(np.int64)
    expected = stored.copy()
    expected[changed] = (table.size - 1 - index if falling else index) + 7
    assert np.array_equal(grey.store(display, stored), expected)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("shape", [(500, 430), (96, 120)])
def test_one_way_keeps_what_goes_in_the_findings_direction_and_nothing_else(direction, shape):
    rng = np.random.default_rng(2)
    baseline = Radiograph.from_array(rng.uniform(0.2, 0.8, shape).astype(np.float32))
    before = compose.shrink(baseline, 224)
    down, across = np.ogrid[:224, :224]
    brighter, darker = (
        0.15 * np.exp(-((down - row) ** 2 + (across - 112) ** 2) / 400) for row in (60, 160)
    )
    change = (brighter - darker).astype(np.float32)
    decoded = compose.Decoded(before + change, before, before)
    both = compose.compose(baseline, decoded, "sham")[1]
    moved, support = compose.compose(baseline, decoded, "one-way", direction=direction)[1:]
    # Sharp edges in the change, too, which interpolation overshoots.
    sharp = compose.Decoded(before + np.where(change > 0.05, 0.2, -0.1), before, before)
    edge = compose.compose(baseline, sharp, "one-way", direction=direction)[1]
    for difference in (moved, edge):
        assert (difference * direction).min() == 0
        assert (difference * direction).max() > 0.1
    level = 2 / 255
    kept = both * direction > level
    assert kept.any()
    assert np.abs(moved - both)[kept].max() <= level
    assert not moved[~support].any()
    free = compose.compose(baseline, decoded, "one-way")
    assert np.array_equal(free[1], both)
