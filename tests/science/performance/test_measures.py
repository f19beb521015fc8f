import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from roentmod.errors import AuditError
from roentmod.science import stats
from roentmod.science.performance import measures

some = settings(max_examples=40, deadline=None)
cases = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=4, max_size=40).filter(
    lambda rows: 0 < sum(label for _, label in rows) < len(rows)
)


def arrays(rows):
    scores, labels = zip(*rows, strict=True)
    return np.array(scores, float), np.array(labels, bool)


def resamples(n, seed):
    """Indices and the same as weights, n x 5."""
    index = np.random.default_rng(seed).integers(0, n, (5, n))
    return index, np.stack([np.bincount(row, minlength=n) for row in index], axis=1).astype(float)


@some
@given(cases, st.integers(0, 9))
def test_weighted_measures_are_those_of_the_drawn_cases(rows, seed):
    scores, positive = arrays(rows)
    index, weights = resamples(len(scores), seed)
    areas = stats.weighted_auc(scores, positive, weights)
    precisions = measures.average_precision(scores, positive, weights)
    briers = measures.weighted_mean((expit(scores) - positive) ** 2, weights)
    for row, area, precision, brier in zip(index, areas, precisions, briers, strict=True):
        truth = positive[row]
        assert brier == pytest.approx(brier_score_loss(truth, expit(scores[row])))
        if not truth.any():
            assert math.isnan(precision)
        else:
            assert precision == pytest.approx(average_precision_score(truth, scores[row]))
        if truth.all() or not truth.any():
            assert math.isnan(area)
        else:
            assert area == pytest.approx(roc_auc_score(truth, scores[row]))


def test_weights_must_fit_the_cases():
    with pytest.raises(AuditError, match="4 x count"):
        stats.weighted_auc(np.arange(4), [True, False, True, False], np.ones((3, 4)))


@some
@given(cases)
def test_the_threshold_has_the_greatest_youden_index(rows):
    scores, positive = arrays(rows)
    threshold = measures.youden(scores, positive)
    if len(set(scores)) == 1:
        assert math.isnan(threshold)
        return
    called = scores >= threshold
    own = called[positive].mean() - called[~positive].mean()
    false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
    inner = (true - false)[1:-1]  # neither nobody nor everybody is called
    assert own == pytest.approx(inner.max())
    assert threshold not in scores


def test_of_equal_thresholds_the_balanced_one_is_taken():
    scores, positive = np.arange(6.0), np.array([0, 1, 0, 1, 0, 1], bool)
    # 1/3 + 1, 2/3 + 2/3 and 1 + 1/3 are the same sum.
    assert measures.youden(scores, positive) == 2.5


def test_platt_finds_the_line_that_labels_were_drawn_from():
    rng = np.random.default_rng(0)
    scores = rng.normal(3, 5, 4000)
    positive = rng.random(4000) < expit(0.5 * scores - 1.0)
    slope, intercept = measures.platt(scores, positive)
    truth = LogisticRegression(C=1e9).fit(scores[:, None], positive)
    assert slope == pytest.approx(truth.coef_[0, 0], rel=0.01)
    assert intercept == pytest.approx(truth.intercept_[0], rel=0.02)


def test_platt_stays_finite_where_classes_are_apart_and_is_unknown_of_one_class():
    scores = np.array([-3.0, -2.0, 2.0, 3.0])
    slope, intercept = measures.platt(scores, scores > 0)
    assert 0 < slope < 5
    assert intercept == pytest.approx(0, abs=1e-3)
    assert math.isnan(measures.platt(scores, scores > 9)[0])


def test_calibration_error_is_the_mean_gap_of_bins():
    probability = np.repeat([0.2, 0.8], 10)
    positive = np.arange(20) % 2 == 0  # half of each
    one = np.ones((20, 1))
    assert measures.calibration_error(probability, positive, one, 2)[0] == pytest.approx(0.3)
    # One bin cannot see that both halves are off.
    assert measures.calibration_error(probability, positive, one, 1)[0] == pytest.approx(0)
    half = np.repeat([[1.0], [0.0]], 10, axis=0)
    assert measures.calibration_error(probability, positive, half, 2)[0] == pytest.approx(0.3)


def test_equal_probabilities_are_in_one_bin_whatever_their_order():
    positive = np.arange(30) < 15
    found = measures.calibration_error(np.full(30, 0.5), positive, np.ones((30, 1)), 15)
    assert found[0] == pytest.approx(0)


def test_right_probabilities_show_chance_error():
    rng = np.random.default_rng(1)
    probability = rng.beta(1, 2, 400)
    one = np.ones((400, 1))
    shown = [
        measures.calibration_error(probability, rng.random(400) < probability, one)[0]
        for _ in range(300)
    ]
    assert measures.chance_error(probability) == pytest.approx(np.mean(shown), rel=0.05)
