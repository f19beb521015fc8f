import math
import time
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from MLstatkit.delong import Delong_test
from scipy import stats as truth
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.oneway import anova_oneway

from roentmod.errors import AuditError
from roentmod.science import stats

some = settings(max_examples=40, deadline=None)
whole = st.integers(-20, 20)
cases = st.lists(st.tuples(whole, whole, st.booleans()), min_size=6, max_size=40).filter(
    lambda rows: 2 <= sum(label for *_, label in rows) <= len(rows) - 2
)
columns = st.lists(st.integers(-5, 5) | st.just(math.nan), min_size=1, max_size=20)


def columns_of(rows):
    a, b, labels = (np.array(column) for column in zip(*rows, strict=True))
    return a.astype(float), b.astype(float), labels.astype(bool)


def cohort(n=300, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    common = rng.normal(size=n)
    a = common + positive + rng.normal(size=n)
    b = common + 0.6 * positive + rng.normal(size=n)
    return (a.round(), b.round(), positive) if ties else (a, b, positive)


def kernel(positive, negative):
    """All pairs, as DeLong's paper defines them."""
    gap = positive[:, None] - negative[None]
    return (gap > 0) + 0.5 * (gap == 0)


def resamples(n, count, seed):
    """Indices as scipy.stats.bootstrap draws them, and the same as weights."""
    index = np.random.default_rng(seed).integers(0, n, (count, n))
    return index, np.stack([np.bincount(row, minlength=n) for row in index])


def within_binomial(p_values, alpha=0.05):
    low, high = truth.binom.interval(0.999, len(p_values), alpha)
    return low <= np.sum(np.asarray(p_values) < alpha) <= high


# Areas under the curve


@some
@given(cases)
def test_area_and_covariance_are_those_of_all_pairs(rows):
    a, b, positive = columns_of(rows)
    result = stats.delong(np.stack([a, b]), positive)
    pairs = [kernel(x[positive], x[~positive]) for x in (a, b)]
    np.testing.assert_allclose(result.auc, [p.mean() for p in pairs], atol=1e-12)
    np.testing.assert_allclose(result.auc[0], roc_auc_score(positive, a), atol=1e-12)
    assert stats.auc(a[positive], a[~positive]) == pytest.approx(result.auc[0], abs=1e-12)
    covariance = sum(
        np.cov([p.mean(axis=axis) for p in pairs]) / pairs[0].shape[1 - axis] for axis in (0, 1)
    )
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_delong_agrees_with_mlstatkit(ties, level):
    a, b, positive = cohort(ties=ties)
    z, p, ci_a, ci_b, auc_a, auc_b, info = Delong_test(positive, a, b, alpha=level)
    assert info["method"] == "delong"
    difference, low, high, own_p = stats.delong_paired(a, b, positive, level=level)
    assert (difference, own_p) == pytest.approx((auc_a - auc_b, p), abs=1e-10)
    error = (auc_b - auc_a) / z
    half = truth.norm.ppf((1 + level) / 2) * error
    assert (low, high) == pytest.approx((difference - half, difference + half), abs=1e-10)
    for scores, area, interval in ((a, auc_a, ci_a), (b, auc_b, ci_b)):
        own = stats.delong_interval(scores, positive, level=level)
        assert own == pytest.approx((area, *interval), abs=1e-10)


def test_the_logit_interval_stays_inside_and_follows_the_delta_method():
    scores, positive = np.array([1, 2, 3, 5, 4, 6, 7, 8.0]), np.arange(8) >= 4
    area, low, high = stats.delong_interval(scores, positive, scale="logit")
    assert stats.delong_interval(scores, positive)[2] == 1
    assert 0 < low < area < high < 1
    error = math.sqrt(stats.delong(scores, positive).covariance[0, 0])
    centre = math.log(area / (1 - area))
    reach = truth.norm.ppf(0.975) * error / (area * (1 - area))
    assert truth.logistic.cdf(centre - reach) == pytest.approx(low)
    assert truth.logistic.cdf(centre + reach) == pytest.approx(high)


@some
@given(cases, st.randoms(use_true_random=False))
def test_areas_do_not_change_with_a_monotone_scale_or_the_order_of_cases(rows, random):
    a, b, positive = columns_of(rows)
    order = list(range(len(a)))
    random.shuffle(order)
    before = stats.delong_paired(a, b, positive)
    after = stats.delong_paired((a**3 + a)[order], np.exp(b / 9)[order], positive[order])
    assert after == pytest.approx(before, abs=1e-9, nan_ok=True)
    swapped = stats.delong_paired(b, a, positive)
    assert swapped[0] == pytest.approx(-before[0])
    assert swapped[3] == pytest.approx(before[3], nan_ok=True)
    assert stats.auc(a[positive], a[~positive]) == pytest.approx(
        1 - stats.auc(a[~positive], a[positive])
    )


def test_areas_without_variance_or_without_a_side():
    scores, positive = np.arange(6.0), np.arange(6) >= 3
    assert stats.delong_interval(scores, positive) == (1, 1, 1)
    assert stats.delong_interval(scores, positive, scale="logit") == (1, 1, 1)
    assert stats.delong_paired(scores, scores, positive) == (0, 0, 0, 1)
    difference, *rest = stats.delong_paired(scores, -scores, positive)
    assert difference == 1
    assert np.isnan(rest).all()
    assert math.isnan(stats.auc([], [1.0]))
    assert np.isnan(stats.delong(scores, scores > 9).auc).all()
    assert np.isnan(stats.delong_interval(scores, scores > 4)[1:]).all()
    assert np.isnan(stats.auc_difference_shared_positives([1.0], [], [2.0])).all()


# One head against two sets of negatives


def shared(seed, m=40, n_a=60, n_b=30, shift=0.5):
    rng = np.random.default_rng(seed)
    return rng.normal(1, 1, m), rng.normal(0, 1, n_a), rng.normal(shift, 1.5, n_b)


def test_shared_positives_follow_the_structural_components():
    positive, a, b = shared(0)
    on_a, on_b = kernel(positive, a), kernel(positive, b)
    variance = (
        np.var(on_a.mean(axis=1) - on_b.mean(axis=1), ddof=1) / len(positive)
        + np.var(on_a.mean(axis=0), ddof=1) / len(a)
        + np.var(on_b.mean(axis=0), ddof=1) / len(b)
    )
    difference, low, high, p = stats.auc_difference_shared_positives(positive, a, b)
    assert difference == pytest.approx(on_a.mean() - on_b.mean())
    assert high - low == pytest.approx(2 * truth.norm.ppf(0.975) * math.sqrt(variance))
    assert p == pytest.approx(2 * truth.norm.sf(abs(difference) / math.sqrt(variance)))


def test_shared_positives_have_the_error_of_simulation_and_of_the_bootstrap():
    results = np.array(
        [stats.auc_difference_shared_positives(*shared(seed)) for seed in range(1500)]
    )
    errors = (results[:, 2] - results[:, 1]) / (2 * truth.norm.ppf(0.975))
    assert np.sqrt((errors**2).mean()) == pytest.approx(results[:, 0].std(), rel=0.06)

    positive, a, b = shared(1500)
    rng = np.random.default_rng(0)
    booted = []
    for _ in range(1500):
        again = [rng.choice(x, len(x)) for x in (positive, a, b)]
        booted.append(stats.auc(again[0], again[1]) - stats.auc(again[0], again[2]))
    _, low, high, _ = stats.auc_difference_shared_positives(positive, a, b)
    assert high - low == pytest.approx(2 * truth.norm.ppf(0.975) * np.std(booted), rel=0.1)


def test_shared_positives_raise_no_false_alarms():
    p = [stats.auc_difference_shared_positives(*nulls(seed))[3] for seed in range(1000)]
    assert within_binomial(p)


def nulls(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(1, 1, 80), rng.normal(0, 1, 80), rng.normal(0, 1, 60)


@pytest.mark.parametrize("sizes", [(4, 5), (4, 4)])
def test_negatives_told_apart_completely_have_the_permutation_p(sizes):
    positive, a = np.array([10.0, 11, 12]), np.arange(sizes[0]) + 0.0
    b = np.arange(sizes[1]) + 20.0
    difference, low, high, p = stats.auc_difference_shared_positives(positive, a, b)
    assert difference == 1
    assert math.isnan(low)
    assert math.isnan(high)

    def distance(x, y):
        return abs(stats.auc(positive, x) - stats.auc(positive, y))

    exact = truth.permutation_test((a, b), distance, alternative="greater", n_resamples=10**6)
    assert p == pytest.approx(exact.pvalue)


# Resampling of patients


def test_draws_are_a_bootstrap():
    drawn = stats.draws(4000, 30, seed=3)
    assert drawn.shape == (4000, 30)
    assert (drawn.sum(axis=1) == 30).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(30), abs=0.1)
    assert drawn.var() == pytest.approx(1 - 1 / 30, rel=0.03)
    assert (stats.draws(4000, 30, seed=3) == drawn).all()
    assert (stats.draws(4000, 30, seed=4) != drawn).any()
    assert stats.draws(3, 0, seed=0).shape == (3, 0)


def test_bootstrap_means_are_the_means_of_the_drawn_rows():
    values = np.random.default_rng(0).normal(size=(12, 5))
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    values[:, 4] = np.nan
    values[0, 4] = 2.0
    index, weights = resamples(12, 200, 5)
    own = stats.bootstrap_means(values, weights)
    for sample, rows in zip(own, index, strict=True):
        for column in range(5):
            drawn = values[rows, column]
            drawn = drawn[~np.isnan(drawn)]
            expected = drawn.mean() if drawn.size else math.nan
            assert sample[column] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert np.isnan(own[:, 4]).any()


def test_resampling_does_not_depend_on_the_size_of_its_blocks(monkeypatch):
    values = np.random.default_rng(0).normal(size=(40, 3))
    values[:5, 1] = np.nan
    whole, means = stats.draws(70, 40, 6), stats.resampled_means(values, 70, 6)
    np.testing.assert_allclose(means, stats.bootstrap_means(values, whole), rtol=0, atol=1e-15)
    areas = stats.clustered_auc_interval(values[:, 0], values[:, 2] > 0, np.arange(40), 70, 6)
    monkeypatch.setattr(stats.resampling, "_BLOCK", 130)
    assert max(map(len, stats.draw_blocks(70, 40, 6))) == 3
    np.testing.assert_array_equal(stats.draws(70, 40, 6), whole)
    np.testing.assert_allclose(stats.resampled_means(values, 70, 6), means, rtol=0, atol=1e-14)
    again = stats.clustered_auc_interval(values[:, 0], values[:, 2] > 0, np.arange(40), 70, 6)
    assert again == pytest.approx(areas, abs=1e-14)


def test_memory_does_not_grow_with_resamples():
    values = np.random.default_rng(0).normal(size=(20_000, 2))
    tracemalloc.start()
    try:
        stats.resampled_means(values, 400, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32e6  # all resamples at once are 64 MB as drawn, and as much again as floats


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_on_the_same_draws_are_those_of_scipy(level):
    values = np.random.default_rng(2).exponential(size=25)
    expected = truth.bootstrap(
        (values,),
        np.mean,
        n_resamples=2000,
        method="percentile",
        confidence_level=level,
        rng=np.random.default_rng(7),
    )
    weights = resamples(25, 2000, 7)[1]
    samples = stats.bootstrap_means(values[:, None], weights)
    np.testing.assert_allclose(samples[:, 0], expected.bootstrap_distribution, atol=1e-12)
    own = tuple(end.item() for end in stats.percentile_interval(samples, level))
    assert own == pytest.approx(tuple(expected.confidence_interval), abs=1e-9)


def test_percentiles_leave_missing_samples_out():
    samples = np.random.default_rng(0).normal(size=(100, 3))
    samples[:40, 1] = np.nan
    samples[:, 2] = np.nan
    low, high = stats.percentile_interval(samples, 0.9)
    np.testing.assert_allclose(low[:2], [np.quantile(samples[s:, j], 0.05) for s, j in SLICES])
    np.testing.assert_allclose(high[:2], [np.quantile(samples[s:, j], 0.95) for s, j in SLICES])
    assert np.isnan([low[2], high[2]]).all()
    across = stats.percentile_interval(samples.T, 0.9, axis=1)
    np.testing.assert_array_equal(across[0], low)


SLICES = ((0, 0), (40, 1))


def test_the_bootstrap_covers_what_it_should():
    rng, hits = np.random.default_rng(0), 0
    weights = stats.draws(800, 60, seed=1)
    for _ in range(400):
        samples = stats.bootstrap_means(rng.exponential(size=(60, 1)), weights)
        low, high = stats.percentile_interval(samples[:, 0])
        hits += low <= 1 <= high
    assert 0.88 < hits / 400 < 0.98


def matched_pairs(scores, positive, strata, cluster):
    """All pairs of a stratum: ranks of each, and the clusters of both sides."""
    high, low = np.nonzero(positive[:, None] & ~positive[None] & (strata[:, None] == strata[None]))
    above = (scores[high] > scores[low]) + 0.5 * (scores[high] == scores[low])
    return above, cluster[high], cluster[low]


@pytest.mark.parametrize("parts", [1, 3])
def test_clustered_areas_are_those_of_the_drawn_patients(parts):
    """A pair of two patients counts as often as both were drawn, one of a patient but once."""
    a, _, positive = cohort(60, ties=True)
    rng = np.random.default_rng(0)
    cluster, strata = rng.integers(100, 120, 60), rng.integers(parts, size=60)
    names = np.unique(cluster)
    above, first, second = matched_pairs(a, positive, strata, np.searchsorted(names, cluster))
    areas = []
    for weights in stats.draws(300, len(names), seed=4):
        same = (1 - 1 / len(names)) * weights[first]
        times = np.where(first == second, same, weights[first] * weights[second])
        areas.append((times * above).sum() / times.sum())
    expected = tuple(np.quantile(areas, [0.05, 0.95]))
    for labels in (cluster, cluster.astype(str)):
        own = stats.clustered_auc_interval(a, positive, labels, 300, 4, 0.9, strata)
        assert own == pytest.approx(expected, abs=1e-12)
    if parts == 1:
        assert own == stats.clustered_auc_interval(a, positive, labels, 300, 4, 0.9)


@pytest.mark.parametrize("parts", [1, 4])
def test_areas_within_strata_are_of_pairs_of_one_stratum(parts):
    a, _, positive = cohort(50, ties=True)
    rng = np.random.default_rng(1)
    strata, weights = rng.integers(parts, size=50), rng.integers(3, size=(50, 20))
    above, first, second = matched_pairs(a, positive, strata, np.arange(50))
    times = weights[first] * weights[second]
    expected = above @ times / times.sum(axis=0)
    found = stats.weighted_auc(a, positive, weights, strata.astype(str))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    # What tells strata apart alone tells nothing within them.
    assert stats.weighted_auc(strata, positive, weights, strata) == pytest.approx(0.5)
    with pytest.raises(AuditError, match="one stratum; got 3 for 50"):
        stats.weighted_auc(a, positive, weights, strata[:3])


def test_delong_within_strata_is_delongs_in_one_and_covers_in_many():
    a, b, positive = cohort(120, ties=True)
    plain, one = stats.delong([a, b], positive), stats.delong([a, b], positive, np.full(120, "x"))
    np.testing.assert_array_equal(plain.auc, one.auc)
    np.testing.assert_array_equal(plain.covariance, one.covariance)
    assert np.isnan(stats.delong(a, positive, positive).auc).all()
    rng, values, errors = np.random.default_rng(0), [], []
    for _ in range(150):
        strata = rng.integers(6, size=90)
        label = rng.random(90) < 0.2 + 0.1 * strata
        scores = 3 * strata + label + rng.normal(size=(2, 90))
        found = stats.delong(scores, label, strata)
        own = np.ones((90, 1))
        assert found.auc[0] == pytest.approx(stats.weighted_auc(scores[0], label, own, strata)[0])
        values.append(found.auc)
        errors.append(found.covariance)
    assert np.mean(values, axis=0) == pytest.approx(truth.norm.cdf(1 / np.sqrt(2)), abs=0.015)
    expected, estimated = np.cov(np.transpose(values)), np.mean(errors, axis=0)
    assert np.diag(estimated) == pytest.approx(np.diag(expected), rel=0.4)
    assert stats.delong_paired(*scores, label, strata=strata)[3] > 0


@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize("strata", [False, True])
def test_intervals_of_edits_beside_their_own_baselines_hold(n, strata):
    """Patients differ far more than an edit changes: each is above itself, and that counts once."""
    rng, hits, above = np.random.default_rng(n), 0, 0
    places = np.tile(np.arange(n) % 2, 2) if strata else None
    truth_of = truth.norm.cdf(0.2 / np.sqrt(8))
    for _ in range(150):
        before = rng.normal(0, 2, n)
        scores = np.concatenate([before + 0.2 + rng.normal(0, 0.1, n), before])
        positive = np.arange(2 * n) < n
        low, high = stats.clustered_auc_interval(
            scores, positive, np.tile(np.arange(n), 2), 300, 0, strata=places
        )
        own = np.ones((2 * n, 1))
        above += low > float(stats.weighted_auc(scores, positive, own, places)[0])
        # Of all pairs one in n is a patient's own, which nearly always rises.
        share = (2 if strata else 1) / n
        hits += low <= (1 - share) * truth_of + share * truth.norm.cdf(2.0) <= high
    assert above == 0
    assert hits / 150 > 0.85


def test_clusters_widen_an_area_and_single_cases_agree_with_delong():
    a, _, positive = cohort(200)
    alone = stats.clustered_auc_interval(a, positive, np.arange(200), 1000, 0)
    assert alone == pytest.approx(stats.delong_interval(a, positive)[1:], abs=0.015)
    four = np.tile(np.arange(200), 4)
    copied = stats.clustered_auc_interval(np.tile(a, 4), np.tile(positive, 4), four, 1000, 0)
    assert copied == pytest.approx(alone, abs=1e-12)
    assert np.isnan(stats.clustered_auc_interval(a, positive | True, four[:200], 10, 0)).all()


# Tests of a mean


@pytest.mark.parametrize("n", [2, 5, 9, 12])
def test_few_patients_are_enumerated_as_scipy_does(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    exact = truth.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=10**5
    )
    assert stats.sign_flip(values, seed=0) == pytest.approx(exact.pvalue, abs=1e-12)
    assert stats.sign_flip([*values, math.nan], seed=1) == pytest.approx(exact.pvalue, abs=1e-12)


def test_many_patients_agree_with_a_fine_enumeration():
    values = np.random.default_rng(3).normal(0.45, 1, 16)
    exact = truth.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=2**17
    ).pvalue
    own = stats.sign_flip(values, count=20000, seed=0)
    assert own == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20000))
    assert stats.sign_flip(np.ones(40), count=99, seed=0) == 1 / 100
    assert stats.sign_flip([3.0], seed=0) == 1
    assert stats.sign_flip(np.zeros(40), count=99, seed=0) == 1


def test_ties_count_as_extreme_whatever_the_rounding():
    values = [0.1, 0.2, 0.3, 0.1, 0.2, 0.3]
    scaled = [1, 2, 3, 1, 2, 3]
    assert stats.sign_flip(values, seed=0) == stats.sign_flip(scaled, seed=0) == 2 / 64
    assert stats.sign_flip([0.1, 0.2, -0.3], seed=0) == 1


@some
@given(columns, st.floats(0.01, 100), st.integers(0, 5))
def test_sign_flips_ignore_unit_sign_order_and_missing_patients(values, unit, seed):
    column = np.array(values, float)
    p = stats.sign_flip(column, count=99, seed=seed)
    if np.isnan(column).all():
        assert math.isnan(p)
        return
    assert 0 < p <= 1
    assert stats.sign_flip(-unit * column, count=99, seed=seed) == p
    if np.isfinite(column).sum() <= 12:
        assert stats.sign_flip(column[::-1], count=99, seed=seed) == p
        assert stats.sign_flip(column[~np.isnan(column)], count=99, seed=seed) == p


def test_a_column_does_not_depend_on_its_neighbours():
    values = np.random.default_rng(0).normal(0.2, 1, (40, 7))
    values[5:, 3] = np.nan
    values[::3, 4] = np.nan
    values[:, 6] = np.nan
    p = stats.sign_flip_columns(values, 1500, 9)
    order = [6, 3, 0, 5, 4, 2, 1]
    np.testing.assert_array_equal(stats.sign_flip_columns(values[:, order], 1500, 9), p[order])
    alone = [stats.sign_flip(column, count=1500, seed=9) for column in values.T]
    np.testing.assert_array_equal(alone, p)
    assert math.isnan(p[6])
    assert p[3] == stats.sign_flip(values[:5, 3], seed=0)


def test_a_whole_matrix_is_tested_in_two_seconds():
    values = np.random.default_rng(0).normal(size=(100, 100))
    started = time.process_time()
    stats.sign_flip_columns(values, 9999, 0)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("n", [10, 25])
def test_sign_flips_raise_no_false_alarms(n):
    values = np.random.default_rng(n).standard_t(3, (n, 2000))
    p = stats.sign_flip_columns(values, 1999, 0)
    assert within_binomial(p)
    assert (stats.sign_flip_columns(values + 2, 1999, 0) < 0.05).mean() > 0.8


# Many tests, and none


@some
@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=30))
def test_false_discovery_rates_are_those_of_statsmodels_and_scipy(p):
    q = stats.benjamini_hochberg(p)
    known = ~np.isnan(p)
    assert (np.isnan(q) == ~known).all()
    assume(known.any())
    raw = np.array(p)[known]
    np.testing.assert_allclose(q[known], multipletests(raw, method="fdr_bh")[1], atol=1e-12)
    np.testing.assert_allclose(q[known], truth.false_discovery_control(raw), atol=1e-12)


@some
@given(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p):
    adjusted, known = stats.holm(p), ~np.isnan(p)
    assert (np.isnan(adjusted) == ~known).all()
    assume(known.any())
    # It collects garbage at each call, which takes longer the more a process holds.
    with mock.patch("gc.collect"):
        expected = multipletests(np.array(p)[known], method="holm")[1]
    np.testing.assert_allclose(adjusted[known], expected, atol=1e-12)


def test_false_discovery_rates_keep_the_shape():
    p = np.array([[0.01, 0.2], [math.nan, 0.03]])
    np.testing.assert_allclose(stats.benjamini_hochberg(p), [[0.03, 0.2], [math.nan, 0.045]])
    assert stats.benjamini_hochberg([]).shape == (0,)


# Groups and doses


@pytest.mark.parametrize("shift", [0.0, 0.12, 0.3])
def test_two_groups_agree_with_welch(shift):
    rng = np.random.default_rng(5)
    first, second = rng.normal(0, 1, 200), rng.normal(shift, 2, 300)
    own = stats.interaction(
        np.concatenate([first, second]), ["F"] * 200 + ["M"] * 300, count=4999, seed=0
    )
    assert own == pytest.approx(truth.ttest_ind(first, second, equal_var=False).pvalue, abs=0.025)


def test_small_groups_agree_with_all_permutations_of_welch():
    first, second = np.array([0.1, 1.2, 0.7, 0.4]), np.array([1.1, 2.9, 1.6, 0.9, 2.2])

    def statistic(x, y):
        return abs(truth.ttest_ind(x, y, equal_var=False).statistic)

    exact = truth.permutation_test(
        (first, second), statistic, alternative="greater", n_resamples=1000
    ).pvalue
    own = stats.interaction([*first, *second], [0] * 4 + [1] * 5, count=20000, seed=0)
    assert own == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20000))


def test_three_groups_agree_with_welch_anova():
    rng = np.random.default_rng(8)
    groups = [rng.normal(m, s, n) for m, s, n in ((0, 1, 120), (0.25, 2, 150), (0, 0.7, 90))]
    labels = np.repeat(["a", "b", "c"], [120, 150, 90])
    own = stats.interaction(np.concatenate(groups), labels, count=4999, seed=0)
    assert own == pytest.approx(anova_oneway(groups, use_var="unequal").pvalue, abs=0.025)


def test_groups_raise_no_false_alarms_when_sizes_and_variances_differ():
    rng, labels = np.random.default_rng(0), np.repeat(["old", "young"], [15, 45])
    spread = np.where(labels == "old", 3.0, 1.0)
    p = [
        stats.interaction(rng.normal(0, spread), labels, count=199, seed=seed)
        for seed in range(600)
    ]
    # Plain sums of squares would raise about three times too many here.
    assert np.mean(np.array(p) < 0.05) < 0.085
    assert np.mean(np.array(p) < 0.05) > 0.02


def test_groups_of_one_and_missing_values_are_left_out():
    values = [1.0, 2.0, 3.0, 7.0, 8.0, 9.5, 100.0]
    labels = ["a"] * 3 + ["b"] * 3 + ["c"]
    p = stats.interaction(values, labels, count=999, seed=1)
    assert p == stats.interaction(values[:6], labels[:6], count=999, seed=1)
    assert p == stats.interaction([*values, math.nan], [*labels, "c"], count=999, seed=1)
    scaled = stats.interaction(1e-6 * np.array(values) + 5, labels, count=999, seed=1)
    assert scaled == pytest.approx(p)
    assert math.isnan(stats.interaction(values[:3], labels[:3], seed=1))
    assert math.isnan(stats.interaction([], [], seed=1))
    assert stats.interaction([0.1] * 6, labels[:6], seed=1) == 1


def test_slopes_are_least_squares_a_patient():
    rng = np.random.default_rng(0)
    levels = np.array([0.2, 0.3, 0.4, 0.6])
    values = 2 * levels + rng.normal(0, 1, (30, 1)) + rng.normal(0, 0.1, (30, 4))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[0] = [1, math.nan, math.nan, math.nan]
    slopes = []
    for row in values:
        here = ~np.isnan(row)
        if here.sum() >= 2:
            slopes.append(np.polyfit(levels[here], row[here], 1)[0])
    slope, p = stats.trend(levels, values, count=999, seed=3)
    assert 2 <= len(slopes) < 30
    assert slope == pytest.approx(np.mean(slopes), abs=1e-9)
    assert p == stats.sign_flip(slopes, count=999, seed=3)
    shifted = stats.trend(levels + 1e3, values + 7, count=999, seed=3)
    assert shifted == pytest.approx((slope, p), abs=1e-6)


def test_no_slope_without_two_doses():
    assert np.isnan(stats.trend([1.0], [[2.0], [3.0]], seed=0)).all()
    assert np.isnan(stats.trend([1.0, 1.0], [[2.0, 4.0]], seed=0)).all()
    assert np.isnan(stats.trend([1.0, 2.0], np.empty((0, 2)), seed=0)).all()


# What cannot be meant


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.auc([math.nan], [1.0]), "finite; got 1"),
        (lambda: stats.delong([1.0, 2.0], [True]), r"k x n .* \(1, 2\) and 1"),
        (lambda: stats.delong_interval([1.0, 2.0], [True, False], level=95), "level .* 95"),
        (lambda: stats.draws(0, 3, seed=0), "count >= 1 .* got 0"),
        (lambda: stats.bootstrap_means([[1.0]], np.ones((4, 2))), r"count x 1.*\(4, 2\)"),
        (lambda: stats.bootstrap_means([1.0], np.ones((4, 1))), r"n x m.*\(1,\)"),
        (lambda: stats.benjamini_hochberg([0.5, 1.2]), "got 0.5 to 1.2"),
        (lambda: stats.interaction([1.0, 2.0], ["a"], seed=0), "got 1 for 2"),
        (lambda: stats.trend([1.0, 2.0], [[1.0]], seed=0), "a dose, 2; got 1"),
        (
            lambda: stats.clustered_auc_interval([1.0, 2.0], [True, False], ["a"], 9, 0),
            "got 1 for 2",
        ),
    ],
)
def test_errors_say_rule_and_what_was_got(call, message):
    with pytest.raises(AuditError, match=message):
        call()


def test_means_have_students_interval_and_shares_wilsons():
    values = np.random.default_rng(0).normal(2, 1, 12)
    expected = truth.t.interval(0.9, 11, values.mean(), truth.sem(values))
    assert stats.mean_interval(values, 0.9) == pytest.approx(expected)
    for hits, n in ((0, 40), (40, 40), (7, 30)):
        own = np.arange(n) < hits
        wilson = tuple(truth.binomtest(hits, n).proportion_ci(method="wilson"))
        # One answer per patient: the variance is worth n - 1 answers, and t stands for z.
        near = 0.015 if 0 < hits < n else 1e-9
        assert stats.share_interval(own) == pytest.approx(wilson, abs=near)
    assert stats.share_interval(np.zeros(40))[1] == pytest.approx(0.088, abs=0.001)
    assert np.isnan(stats.mean_interval([1.0])).all()
    assert np.isnan(stats.share_interval([1.0])).all()


def test_the_share_of_patients_who_answer_alike_counts_patients():
    patients = np.repeat([0.0, 1.0], 10)
    low, high = stats.share_interval(patients)
    mixed = stats.share_interval(np.full(20, 0.5) + np.tile([-0.1, 0.1], 10))
    assert high - low > 2 * (mixed[1] - mixed[0])
