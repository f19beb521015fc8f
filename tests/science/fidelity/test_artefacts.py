"""Spectra of known noise, a detector on planted traces, and planted moves."""

import math

import numpy as np
import pytest
from scipy import ndimage

from roentmod.errors import AuditError
from roentmod.science.fidelity import detect, nearest, radial_spectrum, towards

SIDE = 128


def noise(seed, deviation=0.1, side=SIDE):
    return 0.5 + np.random.default_rng(seed).normal(0, deviation, (side, side))


def test_white_noise_has_its_variance_at_every_frequency():
    frequencies, power = radial_spectrum(noise(0), bins=16)
    assert frequencies[0] == pytest.approx(0.5 / 32)
    assert frequencies[-1] == pytest.approx(0.5 - 0.5 / 32)
    # The innermost ring holds a dozen values, less the mean that is taken off.
    np.testing.assert_allclose(10 ** power[2:], 0.01, rtol=0.2)


@pytest.mark.parametrize("cycles", [0.1, 0.3])
def test_a_wave_stands_in_its_ring(cycles):
    wave = 0.5 + 0.2 * np.sin(2 * np.pi * cycles * np.arange(SIDE))[:, None] * np.ones(SIDE)
    frequencies, power = radial_spectrum(wave, bins=16)
    assert frequencies[power.argmax()] == pytest.approx(cycles, abs=0.5 / 16)


def test_parseval():
    """Power summed over all frequencies is the windowed picture's energy."""
    from roentmod.science.fidelity.artefacts import _power

    picture = noise(1)
    window = np.outer(*(np.hanning(SIDE + 2)[1:-1],) * 2)
    energy = (((picture - picture.mean()) * window) ** 2).sum() / (window**2).sum()
    assert _power(picture).mean() == pytest.approx(energy, rel=1e-9)


def test_only_the_centred_square_counts():
    tall = np.vstack([np.zeros((10, SIDE)), noise(2), np.zeros((10, SIDE))])
    np.testing.assert_array_equal(radial_spectrum(tall)[1], radial_spectrum(noise(2))[1])
    with pytest.raises(AuditError, match="rings"):
        radial_spectrum(noise(2), bins=SIDE)


def arms(n, change):
    """n patients' pictures untouched and changed, with which is which and whose."""
    bodies = [noise(seed, 0.02 + 0.02 * (seed % 5)) for seed in range(n)]
    pictures = [*bodies, *(change(b) for b in bodies)]
    return pictures, [False] * n + [True] * n, [f"p{i}" for i in range(n)] * 2, by_sharpness


def by_sharpness(pictures, positive, seed):
    """A detector of one statistic: which way the sorts differ in sharpness is what it learns."""

    def sharp(some):
        return np.diff(some, axis=1).std((1, 2)) / some.std((1, 2))

    way = np.sign(sharp(pictures[positive]).mean() - sharp(pictures[~positive]).mean())
    return lambda some: way * sharp(some)


def test_softened_pictures_are_detected():
    found = detect(*arms(20, lambda b: ndimage.gaussian_filter(b, 0.4)), resamples=300)
    assert found.auc > 0.95
    assert found.patients == 20
    assert found.low > 0.9
    assert np.isfinite(found.scores).all()


def test_the_same_picture_is_a_tie():
    found = detect(*arms(15, lambda b: b), resamples=300)
    assert found.auc == 0.5
    assert found.low == pytest.approx(0.5, abs=0.02)


def test_chance_is_about_one_half():
    """Other noise of the same law, so nothing but the patient differs."""
    rng = np.random.default_rng(9)
    areas = []
    for _ in range(3):
        found = detect(
            *arms(15, lambda b: 0.5 + rng.permutation((b - 0.5).ravel()).reshape(b.shape)),
            resamples=200,
        )
        areas.append(found.auc)
    assert 0.3 < np.mean(areas) < 0.7


def test_order_does_not_matter():
    pictures, positive, patient, learn = arms(12, lambda b: ndimage.gaussian_filter(b, 0.25))
    order = np.random.default_rng(1).permutation(len(pictures))
    one = detect(pictures, positive, patient, learn, resamples=200)
    other = detect(
        [pictures[i] for i in order],
        np.array(positive)[order],
        np.array(patient)[order],
        learn,
        resamples=200,
    )
    np.testing.assert_array_equal(one.scores[order], other.scores)


def test_no_fold_is_scored_by_what_learned_from_its_patients():
    seen = []

    def learn(pictures, positive, seed):
        own = {float(one[0, 0]) for one in pictures}

        def score(some):
            seen.append(own & {float(one[0, 0]) for one in some})
            return some[:, 0, 0]

        return score

    pictures, positive, patient, _ = arms(15, lambda b: b)
    detect(pictures, positive, patient, learn, resamples=200)
    assert seen == [set()] * 5


def test_too_few_patients_are_said():
    found = detect(*arms(6, lambda b: b))
    assert math.isnan(found.auc)
    assert found.patients == 6
    with pytest.raises(AuditError, match="one label"):
        detect([noise(0)], [True, False], ["a"], by_sharpness)


def test_moves_towards_known_pictures_are_found():
    rng = np.random.default_rng(4)
    baselines, known = rng.normal(size=(10, 8)), rng.normal(size=(50, 8))
    own = np.arange(10)
    assert (np.abs(towards(baselines + 1e-3, baselines, own, known)) < 0.01).all()
    at, _ = nearest(baselines, known)
    np.testing.assert_allclose(towards(known[at], baselines, own, known), 1)
    # A copy of any of them is one, not of the nearest alone.
    np.testing.assert_allclose(towards(known[rng.permutation(50)[:10]], baselines, own, known), 1)
    half = towards((baselines + known[at]) / 2, baselines, own, known)
    np.testing.assert_allclose(half, 0.5)
