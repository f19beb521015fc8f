"""pFID against scipy's matrix square root, against algebra, and its groups against planted ones."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import linalg

from roentmod.errors import AuditError
from roentmod.science.fidelity import GROUPS, compare_groups, gaussian, own_closer, pfid, summarise
from roentmod.science.fidelity.frechet import SHRINKAGE


def features(seed, m=60, d=24, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (m, d)) @ rng.normal(0, 1, (d, d)) / math.sqrt(d)


def shrunk(x):
    sample = np.cov(x, rowvar=False)
    d = len(sample)
    return (1 - SHRINKAGE) * sample + SHRINKAGE * np.trace(sample) / d * np.eye(d)


def as_torch_fidelity(x, y):
    """The formula of pytorch-fid and torch-fidelity: sqrtm of the product of covariances."""
    mean, other = x.mean(0), y.mean(0)
    a, b = shrunk(x), shrunk(y)
    root = linalg.sqrtm(a @ b)
    return ((mean - other) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * np.trace(root).real


def as_torchmetrics(x, y):
    """The formula of torchmetrics: square roots of the eigenvalues of that product."""
    a, b = shrunk(x), shrunk(y)
    roots = np.sqrt(linalg.eigvals(a @ b).astype(complex)).real.sum()
    gap = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return gap + np.trace(a) + np.trace(b) - 2 * roots


# The last has fewer vectors than numbers in each: the sample covariance is singular.
@pytest.mark.parametrize(("m", "d"), [(60, 24), (196, 64), (49, 80)])
@pytest.mark.parametrize("other", [as_torch_fidelity, as_torchmetrics])
def test_it_is_other_libraries_distance(m, d, other):
    x, y = features(1, m, d), features(2, m, d, shift=0.3)
    ours = pfid(gaussian(x), gaussian(y))
    assert ours == pytest.approx(other(x, y), rel=1e-6, abs=1e-6)
    assert ours > 0.1


def test_commuting_covariances_have_a_closed_form():
    """With diagonal covariances it is the sum of squared differences of deviations."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(400, 5))
    base -= base.mean(0)
    white = base @ linalg.sqrtm(linalg.inv(np.cov(base, rowvar=False))).real
    first, second = np.array([1.0, 2, 3, 4, 5]), np.array([5.0, 4, 3, 2, 1])
    shift = np.array([1.0, 0, -1, 0, 2])
    got = pfid(gaussian(white * first, shrinkage=0), gaussian(white * second + shift, shrinkage=0))
    assert got == pytest.approx(((first - second) ** 2).sum() + (shift**2).sum(), rel=1e-9)


def test_it_is_a_distance_of_pictures_whatever_the_order_of_places():
    x, y = features(3), features(4)
    a, b = gaussian(x), gaussian(y)
    assert pfid(a, a) == pytest.approx(0, abs=1e-9)
    assert pfid(a, b) == pytest.approx(pfid(b, a), rel=1e-9)
    assert pfid(gaussian(x[::-1]), b) == pytest.approx(pfid(a, b), rel=1e-9)
    assert pfid(gaussian(x.reshape(6, 10, 24)), b) == pytest.approx(pfid(a, b), rel=1e-9)
    scaled = pfid(gaussian(10 * x), gaussian(10 * y))
    assert scaled == pytest.approx(100 * pfid(a, b), rel=1e-6)


@pytest.mark.parametrize(
    ("vectors", "shrinkage"),
    [(np.ones((1, 3)), 0.1), (np.full((4, 3), np.nan), 0.1), (np.ones((4, 3)), 1.5)],
)
def test_what_is_no_sample_is_refused(vectors, shrinkage):
    with pytest.raises(AuditError, match="two or more finite"):
        gaussian(vectors, shrinkage=shrinkage)


def test_two_extractors_do_not_compare():
    with pytest.raises(AuditError, match="one extractor"):
        pfid(gaussian(features(1)), gaussian(features(1, d=8)))


def table(edit, sham, visit, others, n=20, seed=0):
    """Pairs of n baselines, one patient each; distances are these numbers with noise of 5 %."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        levels = [(GROUPS[0], edit), (GROUPS[0], edit), (GROUPS[1], sham), (GROUPS[2], visit)]
        levels += [(GROUPS[3], others)] * 4
        for group, level in levels:
            if level is not None:
                distance = level * rng.uniform(0.95, 1.05)
                rows.append([group, f"b{number}", f"p{number}", "x", distance])
    return pd.DataFrame(rows, columns=["group", "baseline_id", "patient_id", "other_id", "pfid"])


def test_groups_are_summed_up_by_patient():
    pairs = table(2.0, 1.0, 3.0, 4.0)
    result = summarise(pairs).set_index("group")
    assert list(result.index) == list(GROUPS)
    assert list(result["pairs"]) == [40, 20, 20, 80]
    assert (result["patients"] == 20).all()
    by_hand = pairs[pairs["group"] == GROUPS[3]].groupby("patient_id")["pfid"].median().median()
    assert result.loc[GROUPS[3], "median"] == pytest.approx(by_hand)
    assert (result["low"] <= result["median"]).all()
    assert (result["median"] <= result["high"]).all()


def test_the_interval_of_the_median_is_the_plain_bootstrap():
    rng = np.random.default_rng(5)
    values = rng.exponential(size=31)
    pairs = pd.DataFrame({"group": GROUPS[0], "patient_id": range(31), "pfid": values})
    row = summarise(pairs, resamples=4000).iloc[0]
    drawn = np.median(values[rng.integers(0, 31, (4000, 31))], axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert row["low"] == pytest.approx(low, abs=0.08)
    assert row["high"] == pytest.approx(high, abs=0.08)


def test_an_empty_group_is_nan_and_said():
    result = summarise(table(2.0, 1.0, None, 4.0)).set_index("group")
    assert result.loc["same patient", "pairs"] == 0
    assert math.isnan(result.loc["same patient", "median"])
    tests = compare_groups(table(2.0, 1.0, None, 4.0), permutations=199)
    missing = tests[tests["farther"] == "same patient"].iloc[0]
    assert missing["baselines"] == 0
    assert math.isnan(missing["p"])


def test_planted_orders_are_found_and_equal_ones_are_not():
    found = compare_groups(table(2.0, 1.0, 3.0, 4.0), permutations=999)
    assert (found["p"] <= 0.002).all()
    assert (found["share"] == 1).all()
    reverse = compare_groups(table(4.0, 1.0, 3.0, 2.0), permutations=999)
    one = reverse[(reverse["nearer"] == GROUPS[0]) & (reverse["farther"] == GROUPS[3])].iloc[0]
    assert one["p"] > 0.99


def test_p_is_uniform_under_the_null():
    values = [
        compare_groups(table(3.0, None, None, 3.0, n=6, seed=seed), permutations=99)["p"].iloc[0]
        for seed in range(25)
    ]
    assert 0.3 < np.mean(values) < 0.7
    assert np.mean(np.array(values) <= 0.1) < 0.25


def test_the_share_of_baselines_that_stay_their_own():
    pairs = table(2.0, 1.0, 3.0, 4.0)
    result = own_closer(pairs)
    assert (result["baselines"], result["closer"], result["fraction"]) == (20, 20, 1.0)
    assert result["low"] < 1
    # One stranger nearer than the edit is enough to lose a baseline, one near edit not to gain it.
    spoilt = pairs.copy()
    first = spoilt.index[(spoilt["group"] == GROUPS[3]) & (spoilt["baseline_id"] == "b0")][0]
    spoilt.loc[first, "pfid"] = 0.1
    near = spoilt.index[(spoilt["group"] == GROUPS[2]) & (spoilt["baseline_id"] == "b1")][0]
    spoilt.loc[near, "pfid"] = 1.0
    assert own_closer(spoilt)["closer"] == 18
    assert own_closer(pairs[pairs["group"] == GROUPS[0]])["baselines"] == 0


def test_pairs_of_one_picture_are_not_counted_as_many():
    """Thirteen edits of a baseline that go together: exchanging pairs called 24 % of nothing."""
    called = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        rows = []
        for n in range(20):
            shared = rng.normal()
            edits = 10 + np.sqrt(0.9) * shared + np.sqrt(0.1) * rng.normal(size=13)
            rows += [["baseline-edit", str(n), value] for value in edits]
            rows.append(["same patient", str(n), 10 + rng.normal()])
        pairs = pd.DataFrame(rows, columns=["group", "baseline_id", "pfid"])
        found = compare_groups(pairs, permutations=499, seed=seed).set_index(["nearer", "farther"])
        called.append(found["p"]["baseline-edit", "same patient"] <= 0.05)
    assert np.mean(called) <= 0.11
