import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from roentmod.errors import UnsuitableError
from roentmod.radiograph import GreyScale, Radiograph, Square

sides = st.integers(64, 90)


@given(sides, sides, st.randoms(use_true_random=False))
def test_crop_undoes_pad_bit_for_bit(height, width, random):
    image = np.random.default_rng(random.randrange(2**32)).random((height, width), np.float32)
    square = Square(height, width)
    padded = square.pad(image)
    assert padded.shape == (max(height, width),) * 2
    assert np.array_equal(square.crop(padded), image)


@given(
    hnp.arrays(np.uint16, (64, 64), elements=st.integers(0, 4095)),
    st.integers(0, 3000),
    st.integers(1, 4095),
    st.booleans(),
)
def test_unchanged_pixels_keep_their_stored_level_in_any_window(stored, low, width, inverted):
    levels = np.arange(4096, dtype=np.float64)
    table = np.clip((levels - low) / width, 0, 1).astype(np.float32)
    grey = GreyScale(0, 1 - table if inverted else table)
    radiograph = Radiograph(stored, grey, bits=12)
    pixels = radiograph.pixels.copy()
    pixels[:10] = np.clip(pixels[:10] + 0.25, 0, 1)
    edited = radiograph.with_pixels(pixels)
    assert np.array_equal(edited.stored[10:], stored[10:])
    same = pixels[:10] == radiograph.pixels[:10]
    assert np.array_equal(edited.stored[:10][same], stored[:10][same])


@given(st.integers(0, 100), st.booleans())
def test_a_change_is_shown_as_asked_within_a_grey_level(low, inverted):
    levels = np.arange(1024, dtype=np.float64)
    table = np.clip((levels - low) / 800, 0, 1).astype(np.float32)
    grey = GreyScale(0, table[::-1].copy() if inverted else table)
    stored = np.tile(np.linspace(0, 1023, 64).astype(np.uint16), (64, 1))
    radiograph = Radiograph(stored, grey, bits=10)
    wanted = np.clip(radiograph.pixels * 0.5 + 0.2, 0, 1)
    shown = radiograph.with_pixels(wanted).pixels
    assert np.abs(shown - wanted).max() <= 0.5001 / 800 + 1e-6


def test_the_id_is_of_the_shown_picture():
    stored = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 256
    eight = Radiograph(stored.astype(np.uint8), GreyScale.linear(256))
    inverted = GreyScale(0, GreyScale.linear(256).table[::-1].copy())
    assert eight.id == Radiograph((255 - stored).astype(np.uint8), inverted).id
    assert eight.id != Radiograph(stored[:, ::-1].astype(np.uint8).copy(), eight.grey).id


@pytest.mark.parametrize("shape", [(64,), (3, 64, 64), (63, 64), (64, 16385)])
def test_what_is_not_one_picture_is_refused(shape):
    with pytest.raises(UnsuitableError, match="one grey picture"):
        Radiograph(np.zeros(shape, np.uint8), GreyScale.linear(256))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_display_values_outside_the_range_are_refused(value):
    pixels = np.full((64, 64), 0.5)
    pixels[3, 4] = value
    with pytest.raises(UnsuitableError, match="in \\[0, 1\\]"):
        Radiograph.from_array(pixels)


def test_a_spacing_that_is_not_positive_is_refused():
    with pytest.raises(UnsuitableError, match="spacing"):
        Radiograph(np.zeros((64, 64), np.uint8), GreyScale.linear(256), spacing_mm=(0.0, 0.0))
