import numpy as np
import pytest
from scipy import stats

from roentmod.science.stats import auc
from training import measures


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_interval_holds_the_value_and_narrows_with_more_patients(rng):
    def interval(n):
        sham = rng.normal(size=n)
        return measures.auroc_interval(sham + 1 + rng.normal(size=n), sham)

    small, large = interval(20), interval(400)
    assert small[1] - small[0] > 2 * (large[1] - large[0])
    # Normal scores, one apart, of deviations 1 and root 2.
    assert large[0] < stats.norm.cdf(1 / np.sqrt(3)) < large[1]


def test_the_interval_of_small_changes_lies_about_the_value(rng):
    """Each edit is just above its own baseline: that one pair in n does not count twice."""
    before = rng.normal(size=24)
    low, high = measures.auroc_interval(before + 0.01, before, rounds=4000)
    value = auc(before + 0.01, before)
    assert low < value < high
    assert abs((low + high) / 2 - value) < 0.01


def test_severity_is_taken_within_a_baseline(rng):
    offset = 100 * rng.normal(size=(30, 1))
    rising = offset + np.arange(3)
    assert measures.spearman_within(rising) == pytest.approx(1)
    assert measures.spearman_within(-rising) == pytest.approx(-1)
    assert abs(measures.spearman_within(100 + rng.normal(size=(500, 3)))) < 0.1
    assert measures.spearman_within(np.ones((4, 3))) == 0


def test_a_line_is_recovered_and_calibrates(rng):
    logit = rng.normal(0, 3, 20000)
    target = rng.random(20000) < 1 / (1 + np.exp(-(0.5 * logit - 1)))
    weight = np.ones_like(logit)
    slope, offset = measures.fit_line(logit, target, weight)
    assert (slope, offset) == (pytest.approx(0.5, abs=0.02), pytest.approx(-1, abs=0.06))

    def error(x):
        return measures.calibration_error(1 / (1 + np.exp(-x)), target, weight)

    assert error(slope * logit + offset) < 0.01 < 0.1 < error(logit)


def test_separable_classes_keep_a_finite_line():
    logit, target = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([0, 0, 1, 1])
    slope, offset = measures.fit_line(logit, target, np.ones(4))
    assert 1 < slope < 10
    assert offset == pytest.approx(0)


def test_similarity_outside_ignores_the_change_and_its_rim(rng):
    before = rng.random((64, 64), np.float32)
    support = np.zeros((64, 64), bool)
    support[20:30, 20:30] = True
    after = np.where(support, 1, before).astype(np.float32)
    assert measures.similarity_outside(before, after, support) == pytest.approx(1)
    assert measures.similarity_outside(before, 1 - before, support) < 0
    assert measures.similarity_outside(before, after, np.ones((64, 64), bool)) == 1


def test_nearest_finds_itself_whatever_its_exposure(rng):
    pictures = [rng.random((128, 128), np.float32) for _ in range(5)]
    prints = np.stack([measures.fingerprint(p) for p in pictures])
    again = np.stack([measures.fingerprint(0.5 * p + 0.2) for p in pictures])
    at, likeness = measures.nearest(again, prints)
    assert at.tolist() == list(range(5))
    np.testing.assert_allclose(likeness, 1, atol=1e-5)
