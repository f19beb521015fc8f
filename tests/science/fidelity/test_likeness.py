"""Likeness against scikit-image, against phantoms of known geometry, and against algebra."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from roentmod.datasets.phantom import phantom
from roentmod.errors import AuditError
from roentmod.science.fidelity import dice, drift, inside_outside, nearest, perceptual, similarity


@pytest.fixture(scope="module")
def body():
    return phantom(3, size=256)


def test_similarity_is_that_of_scikit_image(body):
    picture = body.radiograph.pixels.astype(np.float64)
    noisy = np.clip(picture + np.random.default_rng(0).normal(0, 0.05, picture.shape), 0, 1)
    ours = similarity(picture, noisy)
    mean, whole = structural_similarity(
        picture,
        noisy,
        data_range=1.0,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    assert ours[5:-5, 5:-5].mean() == pytest.approx(mean, abs=1e-9)
    np.testing.assert_allclose(ours, whole, atol=1e-9)
    assert ours.mean() < 0.95
    np.testing.assert_allclose(similarity(picture, picture), 1, atol=1e-9)


def test_inside_and_outside():
    values = np.arange(12.0).reshape(3, 4)
    support = values >= 8
    assert inside_outside(values, support) == (9.5, 3.5)
    inside, outside = inside_outside(values, np.zeros((3, 4), bool))
    assert math.isnan(inside)
    assert outside == 5.5
    assert math.isnan(inside_outside(values, np.ones((3, 4), bool))[1])
    with pytest.raises(AuditError, match="one shape"):
        inside_outside(values, support[:2])


def test_perceptual_distance_sees_directions_only():
    grid = np.random.default_rng(1).normal(size=(7, 7, 16))
    assert perceptual(grid, 3 * grid) == pytest.approx(0, abs=1e-12)
    assert perceptual(grid, -grid) == pytest.approx(4)
    across = np.zeros((2, 2, 2))
    across[..., 0] = 1
    assert perceptual(across, across[..., ::-1]) == pytest.approx(2)
    assert perceptual(np.zeros((2, 2, 2)), across) == pytest.approx(1)


def test_the_nearest_is_found_also_among_near_equals():
    rng = np.random.default_rng(2)
    gallery = 1e3 + rng.normal(0, 1e-4, (30, 12))
    at, away = nearest(gallery[::-1] + 1e-7, gallery)
    np.testing.assert_array_equal(at, np.arange(30)[::-1])
    np.testing.assert_allclose(away, 1e-7 * math.sqrt(12), rtol=1e-3)
    with pytest.raises(AuditError, match="Retrieval"):
        nearest(gallery, gallery[:0])


def test_dice_by_counting():
    first = np.zeros((4, 4), bool)
    first[:2] = True
    assert dice(first, first) == 1
    assert dice(first, ~first) == 0
    assert dice(first, np.ones((4, 4), bool)) == pytest.approx(2 * 8 / 24)
    assert math.isnan(dice(first & False, first & False))


def test_nothing_drifts_from_itself(body):
    same = drift(body.anatomy, body.anatomy)
    assert same == {"lungs": 1.0, "heart": 1.0, "ratio": 0.0, "rotation": 0.0}


@pytest.mark.parametrize("degrees", [-4.0, 1.0, 3.0])
def test_a_turned_picture_is_told_by_its_angle(body, degrees):
    def turned(mask):
        # scipy turns anticlockwise as shown, so that the lower end of the spine moves right.
        return ndimage.rotate(mask.astype(float), degrees, reshape=False, order=1) > 0.5

    anatomy = body.anatomy
    after = replace(
        anatomy,
        right_lung=turned(anatomy.right_lung),
        left_lung=turned(anatomy.left_lung),
        heart=turned(anatomy.heart),
    )
    moved = drift(anatomy, after)
    assert moved["rotation"] == pytest.approx(degrees, abs=0.4)
    assert 0.8 < moved["lungs"] < 1


def test_a_local_change_of_an_outline_is_hardly_a_rotation(body):
    """An effusion hides the lowest quarter of one lung."""
    anatomy = body.anatomy
    first, last = anatomy.span("left")
    hidden = anatomy.left_lung.copy()
    hidden[int(last - (last - first) / 4) :] = False
    assert abs(drift(anatomy, replace(anatomy, left_lung=hidden))["rotation"]) < 1.5


def test_a_wider_heart_has_a_greater_ratio(body):
    anatomy = body.anatomy
    wider = replace(anatomy, heart=ndimage.binary_dilation(anatomy.heart, iterations=6))
    moved = drift(anatomy, wider)
    assert moved["ratio"] == pytest.approx(12 / anatomy.thoracic_width, rel=0.25)
    assert moved["lungs"] == 1
    assert moved["heart"] < 1
