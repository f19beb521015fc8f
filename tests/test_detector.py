"""The network of a validation finds what was planted, ties what is equal, disturbs nothing."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage

from roentmod import detector
from roentmod.radiograph import Radiograph
from roentmod.science.fidelity import detect

pytestmark = pytest.mark.slow

learn = partial(detector.learn, steps=40)


def pictures(n, change, seed=0):
    """Views of n patients' noise, untouched and changed, with which is which and whose."""
    rng = np.random.default_rng(seed)
    plain = [
        np.clip(rng.normal(0.5, 0.05 + 0.02 * rng.random(), (160, 140)), 0, 1) for _ in range(n)
    ]
    every = [*plain, *map(change, plain)]
    seen = [detector.views(Radiograph.from_array(one)) for one in every]
    return seen, np.repeat([False, True], n), [f"p{i}" for i in range(n)] * 2


def soft(picture):
    return ndimage.gaussian_filter(picture, 0.6)


def spotted(picture):
    """A faint square, which a statistic of the whole picture misses."""
    marked = picture.copy()
    marked[70:90, 60:80] += 0.15
    return np.clip(marked, 0, 1)


def test_views_are_patches_at_the_pictures_resolution_and_its_quarters():
    pixels = np.linspace(0, 1, 200 * 160, dtype=np.float32).reshape(200, 160)
    seen = detector.views(Radiograph.from_array(pixels))
    assert seen.shape == (13, 32, 32)
    wanted = np.round(pixels[42:74, 32:64] * 65535)
    np.testing.assert_allclose(seen[0], wanted, atol=1)


def test_what_was_planted_is_found_and_what_is_equal_is_a_tie():
    assert detect(*pictures(10, soft), learn, resamples=200).auc > 0.9
    same = detect(*pictures(10, lambda one: one), learn, resamples=200)
    assert same.auc == pytest.approx(0.5)


def test_what_was_planted_in_one_place_is_found():
    assert detect(*pictures(10, spotted), learn, resamples=200).auc > 0.8


def test_the_same_seed_learns_the_same_and_nothing_random_is_left_behind():
    seen, positive, _ = pictures(10, soft)
    table = np.stack(seen)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    first = learn(table, positive, 0)(table)
    assert torch.equal(torch.rand(3), wanted)
    np.testing.assert_array_equal(first, learn(table, positive, 0)(table))
    assert not np.array_equal(first, learn(table, positive, 1)(table))
