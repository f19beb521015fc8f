from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from roentmod.datasets.phantom import phantom
from roentmod.imaging import marks
from roentmod.imaging.marks import Mark
from roentmod.radiograph import Frame, GreyScale, Radiograph

DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FONTS = (None, "DejaVuSans.ttf", "DejaVuSansMono.ttf", "DejaVuSerif-Bold.ttf")
BORDERS = ("top", "bottom", "left", "right")


@lru_cache
def grey():
    """A phantom's display values on 8 bits, with air around the body."""
    shown = phantom(3).radiograph.pixels
    padded = np.pad(shown, ((60, 60), (60, 60)), mode="constant", constant_values=0.02)
    noise = np.random.default_rng(0).normal(0, 0.004, padded.shape)
    return np.clip(padded + noise, 0, 1).astype(np.float32)


def font(name, size):
    return ImageFont.truetype(DEJAVU / name, size) if name else ImageFont.load_default(size)


def written(text, size, name=None, border="top", *, dark=False, pixels=None):
    """Return display values with a text in a border, and its box; along the left it runs up."""
    pixels = (grey() if pixels is None else pixels).copy()
    left, top, right, bottom = map(int, font(name, size).getbbox(text))
    plate = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(plate).text((1 - left, 1 - top), text, 255, font(name, size))
    turns = {"left": 1, "right": 3}.get(border, 0)
    shape = np.rot90(np.asarray(plate, np.float32) / 255, turns)
    (height, width), (tall, wide) = pixels.shape, shape.shape
    row = {"top": 4, "bottom": height - tall - 4}.get(border, (height - tall) // 2)
    column = {"left": 4, "right": width - wide - 4}.get(border, (width - wide) // 2)
    part = np.s_[row : row + tall, column : column + wide]
    if dark:
        around = np.s_[row - 4 : row + tall + 4, column - 4 : column + wide + 4]
        pixels[around] = 0.9
    ink = 0.02 if dark else 0.98
    pixels[part] = pixels[part] * (1 - shape) + ink * shape
    return pixels, (row, column, row + tall, column + wide)


def picture(pixels, levels=256, *, inverted=False):
    """Return a radiograph of display values; `inverted`: as MONOCHROME1 stores it."""
    scale = GreyScale.linear(levels)
    if inverted:
        scale = GreyScale(0, scale.table[::-1].copy())
    shown = np.clip(pixels, 0, 1)
    stored = np.rint((1 - shown if inverted else shown) * (levels - 1)).astype(np.uint16)
    return Radiograph(stored, scale, bits=int(levels).bit_length() - 1)


def share(mark, box):
    """Return how much of a box a mark holds with the margin that is covered."""
    by = max(2, round(0.3 * mark.height))
    tall = min(mark.box[2] + by, box[2]) - max(mark.box[0] - by, box[0])
    wide = min(mark.box[3] + by, box[3]) - max(mark.box[1] - by, box[1])
    return max(0, tall) * max(0, wide) / ((box[2] - box[0]) * (box[3] - box[1]))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("name", FONTS)
def test_a_name_is_found_in_every_border_font_and_polarity(name, border, dark):
    for size in (10, 16, 34):
        pixels, box = written("DOE, JANE", size, name, border, dark=dark)
        (mark,) = marks.find(picture(pixels))
        assert share(mark, box) > 0.9, (size, mark, box)
        assert 5 <= mark.characters <= 12


@pytest.mark.parametrize("text", ["12.03.1954", "ID 4711-083", "64Y M", "PORTABLE", "Müller"])
def test_dates_numbers_and_words_are_text(text):
    pixels, box = written(text, 20, "DejaVuSans.ttf")
    assert [share(mark, box) > 0.9 for mark in marks.find(picture(pixels))] == [True]


@pytest.mark.parametrize("letter", ["L", "R", "AP"])
def test_one_or_two_letters_name_nobody(letter):
    for size in (12, 30, 60):
        assert marks.find(picture(written(letter, size)[0])) == []


def test_a_phantom_has_no_text():
    assert marks.find(picture(grey())) == []
    assert not any(marks.find(phantom(seed).radiograph) for seed in range(4))


@pytest.mark.parametrize("levels", [256, 4096, 65536])
def test_text_is_found_as_it_is_shown_whatever_is_stored(levels):
    pixels, box = written("DOE, JANE", 18)
    plain, inverted = (picture(pixels, levels, inverted=i) for i in (False, True))
    assert marks.find(plain) == marks.find(inverted)
    assert share(marks.find(inverted)[0], box) > 0.9


@pytest.mark.parametrize("inverted", [False, True])
def test_covering_leaves_background_and_every_other_pixel(inverted):
    pixels, _ = written("DOE, JANE", 18)
    before = picture(pixels, 4096, inverted=inverted)
    (mark,) = marks.find(before)
    assert not mark.over_anatomy
    after = marks.cover(before, [mark])
    changed = np.argwhere(after.stored != before.stored)
    top, left, bottom, right = mark.box
    assert (changed.min(0) >= (top - 10, left - 10)).all()
    assert (changed.max(0) < (bottom + 10, right + 10)).all()
    # As the background beside it, grain included: neither a hole nor a ghost.
    inside = after.pixels[top:bottom, left:right]
    beside = grey()[top:bottom, left:right]
    assert inside.mean() == pytest.approx(beside.mean(), abs=0.01)
    assert 0.3 < inside.std() / beside.std() < 3
    assert inside.max() < 0.1
    assert marks.find(after) == []
    assert (after.synthetic, after.grey, after.bits) == (False, before.grey, before.bits)


def test_a_mark_over_the_body_is_reported_and_not_covered():
    pixels = grey().copy()
    body = np.argwhere(pixels > 0.5).mean(0).astype(int)
    plate, box = written("DOE, JANE", 18, pixels=np.zeros((60, 160), np.float32))
    text = plate[box[0] : box[2], box[1] : box[3]]
    tall, wide = text.shape
    part = np.s_[body[0] : body[0] + tall, body[1] - wide // 2 : body[1] - wide // 2 + wide]
    pixels[part] = np.where(text > 0.1, 1 - text, pixels[part])
    before = picture(pixels)
    (mark,) = marks.find(before)
    assert mark.over_anatomy
    after = marks.cover(before, [mark])
    assert after.stored is before.stored
    assert not after.marks[0].covered


def test_text_on_pixels_that_are_not_square_leaves_no_ghost_in_the_file():
    air = np.full((300, 300), 0.05, np.float32)
    pixels, _ = written("DOE, JANE", 24, pixels=air)
    levels = np.rint(pixels[::2] * 255).astype(np.uint8)
    before = Radiograph.on_file(
        levels, GreyScale.linear(256), (0.4, 0.2), frame=Frame(aspect=2.0, mirrored=True)
    )
    found = marks.find(before)
    assert [mark.over_anatomy for mark in found] == [False]
    after = marks.cover(before, found)
    changed = after.native != before.native
    assert 0 < changed.mean() < 0.05
    assert after.native.max() < 26


@pytest.mark.parametrize("shape", [(64, 64), (64, 300), (2000, 100)])
@pytest.mark.parametrize("tone", ["constant", "noise", "edge"])
def test_odd_pictures_have_no_text(shape, tone):
    rng = np.random.default_rng(0)
    pixels = np.full(shape, 0.4, np.float32)
    if tone == "noise":
        pixels = rng.random(shape).astype(np.float32)
    elif tone == "edge":
        pixels[shape[0] // 2 :] = 1
    assert marks.find(picture(pixels)) == []


def test_text_is_found_in_a_tiny_picture_and_in_a_huge_one():
    air = np.full((64, 64), 0.05, np.float32)
    pixels, box = written("JANE DOE", 9, pixels=air)
    assert [share(mark, box) > 0.9 for mark in marks.find(picture(pixels))] == [True]
    pixels, box = written("JANE DOE", 60, pixels=np.full((1500, 4000), 0.05, np.float32))
    assert [share(mark, box) > 0.9 for mark in marks.find(picture(pixels, 65536))] == [True]


def test_cables_and_pacemakers_are_no_text():
    """Long smooth lines, a coil, dots in a row, and a box with a lead."""
    board = Image.fromarray(np.rint(grey() * 255).astype(np.uint8))
    draw = ImageDraw.Draw(board)
    width = grey().shape[1]
    for shift in (0, 12, 24):
        draw.line([(10, 40 + shift), (width // 2, 90), (width - 10, 30 + 2 * shift)], 250, 3)
        draw.arc((30, 100 + shift, 130, 240 + shift), 0, 300, 250, 3)
    draw.rounded_rectangle((width - 120, 60, width - 70, 110), 12, 255)
    draw.line([(width - 90, 110), (width - 150, 200), (width - 140, 320)], 240, 4)
    for number in range(4):
        draw.ellipse((60 + 90 * number, 300, 76 + 90 * number, 316), 250)
    assert marks.find(picture(np.asarray(board) / np.float32(255))) == []


def test_a_mark_that_is_given_is_covered_whoever_found_it():
    before = picture(grey())
    mark = Mark((2, 2, 12, 60), 5, 8, over_anatomy=False)
    assert marks.cover(before, []).stored is before.stored
    after = marks.cover(before, [mark])
    assert (after.stored[20:] == before.stored[20:]).all()
    assert marks.cover(replace(before, synthetic=True), [mark]).synthetic
