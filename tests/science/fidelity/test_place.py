"""Anatomy that moved: what pFID cannot see, and the displacement of places can."""

import numpy as np
import pytest
from scipy import ndimage

from roentmod.classifiers import Judge
from roentmod.datasets.phantom import phantom
from roentmod.errors import AuditError
from roentmod.science.fidelity import displaced, gaussian, pfid

SIDE = 112


@pytest.fixture(scope="module")
def picture():
    return np.asarray(phantom(3, size=224).radiograph.pixels, np.float32)


@pytest.fixture(scope="module")
def stranger():
    return np.asarray(phantom(4, size=224).radiograph.pixels, np.float32)


def small(image):
    return image.reshape(SIDE, 2, SIDE, 2).mean((1, 3))


def warped(image):
    """A place of the left lung pulled 10 pixels inwards, smoothly; all else stays."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    pull = 10 * np.exp(-((rows - 110) ** 2 + (columns - 150) ** 2) / (2 * 35**2))
    return ndimage.map_coordinates(image, [rows, columns + pull], order=1, mode="nearest")


# And how near pFID finds it, of the distance to another patient, at most.
MOVES = {
    "shifted": (lambda image: np.roll(image, 8, axis=0), 0.35),
    "mirrored": (lambda image: image[:, ::-1], 0.8),
    "warped": (warped, 0.35),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_is_seen_by_places_and_hardly_by_pfid(name, picture, stranger):
    judge = Judge.load()

    def far(image):
        grids = judge.grid(np.stack([picture, np.ascontiguousarray(image, np.float32)]))
        return pfid(*map(gaussian, grids))

    move, near = MOVES[name]
    moved = move(picture)
    assert far(moved) < near * far(stranger)
    assert displaced(small(picture), small(moved)) > 0.004


def test_a_shift_is_measured_and_half_of_one_in_half_of_the_picture(picture):
    own = small(picture)
    shifted = np.roll(picture, 4, axis=1)
    assert displaced(own, small(shifted)) == pytest.approx(2 / SIDE, rel=0.2)
    half = np.where(np.arange(SIDE)[:, None] < SIDE // 2, own, small(shifted))
    assert displaced(own, half) == pytest.approx(1 / SIDE, rel=0.3)
    still = np.zeros((SIDE, SIDE), bool)
    still[: SIDE // 2] = True
    assert displaced(own, half, still) == 0
    assert displaced(own, half, ~still) == pytest.approx(2 / SIDE, rel=0.2)


def test_light_contrast_noise_and_an_opacity_move_nothing(picture):
    own, rng = small(picture), np.random.default_rng(0)
    assert displaced(own, own) == 0
    assert displaced(own, 0.1 + 0.6 * own) == 0
    assert displaced(own, own + rng.normal(0, 0.01, own.shape)) < 0.001
    rows, columns = np.mgrid[:SIDE, :SIDE]
    opacity = 0.15 * np.exp(-((rows - 60) ** 2 + (columns - 30) ** 2) / (2 * 12**2))
    assert displaced(own, own + opacity) < 0.001


def test_pictures_that_cannot_be_compared_are_refused(picture):
    assert np.isnan(displaced(np.zeros((SIDE, SIDE)), np.ones((SIDE, SIDE))))
    with pytest.raises(AuditError, match="square pictures of one shape"):
        displaced(picture, picture[:-1])
    with pytest.raises(AuditError, match="56 pixels"):
        displaced(picture[:40, :40], picture[:40, :40])
