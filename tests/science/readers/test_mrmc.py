import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from roentmod.errors import ReadersError
from roentmod.science import stats
from roentmod.science.readers.merits import Merit, area, difference, share
from roentmod.science.readers.mrmc import contrast, infer
from roentmod.science.stats import wilson

# Van Dyke et al. (1993), aortic dissection in MRI, 5 readers, 114 cases, spin echo (0), cine (1).
# Readers' areas, variances, Cov2 and analyses as published: Chakraborty, RJafroc book, chapter
# "Obuchowski Rockette (OR) Analysis"; MRMCaov (Smith, Hillis), README.
VAN_DYKE = {
    "spin echo": {
        "areas": [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066],
        "variance": 0.0010141,
        "cov2": 0.0004839618,
        "readers and cases": (0.8970370, 0.03317360, 12.74465, 0.8252236, 0.9688505),
        "cases": (0.8970, 0.02429, 113, 0.8494, 0.9446),
        "readers": (0.8970, 0.02483, 4, 0.8281, 0.9660),
    },
    "cine": {
        "areas": [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169],
        "variance": 0.0005905,
        "cov2": 0.0002041879,
        "readers and cases": (0.9408374, 0.02156637, 12.71019, 0.8941378, 0.9875369),
        "cases": (0.9408, 0.01678, 113, 0.9080, 0.9737),
        "readers": (0.9408, 0.01615, 4, 0.8960, 0.9857),
    },
}


def with_covariance(values, variance, covariance, patients):
    """Return areas whose influences give a covariance of equal variances and covariances."""
    r = len(values)
    wanted = np.full((r, r), covariance) + np.eye(r) * (variance - covariance)
    influence = np.zeros((patients, r))
    influence[:r] = np.linalg.cholesky(wanted).T
    return Merit("area", np.array(values), influence, np.arange(patients).astype(str), patients * r)


@pytest.mark.parametrize("treatment", VAN_DYKE)
@pytest.mark.parametrize("samples", ["readers and cases", "cases", "readers"])
def test_published_intervals_of_van_dyke(treatment, samples):
    case = VAN_DYKE[treatment]
    merit = with_covariance(case["areas"], case["variance"], case["cov2"], 114)
    result = infer(merit, samples=samples)
    value, error, df, low, high = case[samples]
    assert result.value == pytest.approx(value, abs=5e-5)
    assert result.error == pytest.approx(error, abs=1e-5)
    assert result.df == pytest.approx(df, rel=2e-4)
    # With fixed readers the published interval takes the normal quantile, 1.960 for t's 1.981.
    factor = 1.95996 / scipy_stats.t.isf(0.025, 113) if samples == "cases" else 1
    half = (result.high - result.low) / 2 * factor
    assert (value - half, value + half) == pytest.approx((low, high), abs=1.2e-4)


def test_the_covariance_of_areas_is_that_of_delong():
    rng = np.random.default_rng(3)
    positive = rng.random(60) < 0.4
    scores = rng.integers(1, 7, (60, 4)) + positive[:, None] * rng.integers(0, 3, (60, 4))
    merit = area(scores, positive, np.arange(60))
    expected = stats.delong(scores.T, positive)
    assert merit.values == pytest.approx(expected.auc)
    assert merit.covariance == pytest.approx(expected.covariance)


def test_cases_of_a_patient_are_taken_together():
    rng = np.random.default_rng(0)
    positive = np.arange(80) % 2 == 0
    scores = rng.normal(size=(80, 3)) + positive[:, None]
    twice = area(np.tile(scores, (2, 1)), np.tile(positive, 2), np.tile(np.arange(80), 2))
    once = area(scores, positive, np.arange(80))
    # Every case twice tells no more than every case once.
    assert twice.covariance == pytest.approx(once.covariance)


def test_shares_have_the_sandwich_of_a_gee():
    gee = pytest.importorskip("statsmodels.genmod.generalized_estimating_equations").GEE
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(25), 2)
    yes = (rng.random((50, 3)) + rng.normal(size=25)[patients][:, None] > 0.4) * 1.0
    yes[rng.random((50, 3)) < 0.2] = np.nan
    case, reader = np.nonzero(np.isfinite(yes))
    own = share(yes, patients)
    design = np.eye(3)[reader]
    fitted = gee(yes[case, reader], design, groups=patients[case]).fit(scale=1)
    assert own.values == pytest.approx(fitted.params)
    # The sandwich divides by g where a sample variance divides by g - 1.
    groups = np.array([np.unique(patients[case[reader == j]]).size for j in range(3)])
    factor = np.sqrt(groups / (groups - 1))
    assert own.covariance == pytest.approx(fitted.cov_robust * np.outer(factor, factor))


def test_an_answer_that_is_missing_leaves_the_other_readers_alone():
    rng = np.random.default_rng(5)
    positive = np.arange(40) < 20
    scores = rng.normal(size=(40, 3)) + positive[:, None]
    holes = scores.copy()
    holes[::3, 1] = np.nan
    full, part = (area(x, positive, np.arange(40)) for x in (scores, holes))
    assert part.values[[0, 2]] == pytest.approx(full.values[[0, 2]])
    assert part.covariance[0, 2] == pytest.approx(full.covariance[0, 2])
    assert part.values[1] == pytest.approx(
        stats.auc(holes[:20, 1][~np.isnan(holes[:20, 1])], holes[20:, 1][~np.isnan(holes[20:, 1])])
    )


def test_a_reader_without_answers_is_left_out():
    yes = np.array([[1, np.nan], [0, np.nan], [1, np.nan]])
    result = infer(share(yes, ["a", "b", "c"]))
    assert (result.readers, result.samples) == (1, "cases")
    assert result.value == pytest.approx(2 / 3)


def test_nobody_answered():
    result = infer(share(np.full((3, 2), np.nan), ["a", "b", "c"]))
    assert result.readers == 0
    assert math.isnan(result.value)
    assert result.method == "none: nobody answered"


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_patients_without_an_answer_are_no_sample(value):
    """As for a side that few edits request: the others say nothing of it."""
    yes = np.full((40, 3), np.nan)
    yes[:6] = value
    result = infer(share(yes, np.arange(40)))
    assert (result.patients, result.answers) == (6, 18)
    alone = infer(share(yes[:6], np.arange(6)))
    assert (result.low, result.high) == pytest.approx((alone.low, alone.high))


def test_a_reader_of_one_side_alone_is_no_part_of_an_area():
    rng = np.random.default_rng(6)
    positive = np.arange(20) < 10
    scores = rng.normal(size=(20, 3))
    scores[8:, 2] = np.nan
    scores[:4, :2] = np.nan
    result = infer(area(scores, positive, np.arange(20)))
    assert (result.readers, result.patients, result.answers) == (2, 16, 32)
    assert result.df <= 15


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_all_agree_each_patient_counts_once(value):
    result = infer(share(np.full((30, 5), value), np.arange(30)))
    expected = scipy_stats.binomtest(round(30 * value), 30).proportion_ci(method="wilson")
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
    assert result.method.startswith("Wilson's score with one answer per patient")


def test_independent_answers_have_wilsons_interval():
    """Readers and cases that have nothing in common leave n answers."""
    rng = np.random.default_rng(7)
    result = infer(share((rng.random((4000, 8)) < 0.3) * 1.0, np.arange(4000)))
    expected = wilson(result.value, 32000, 1.96)
    assert result.high - result.low == pytest.approx(expected[1] - expected[0], rel=0.6)


def test_areas_without_variance_have_no_interval():
    positive = np.arange(10) < 5
    result = infer(area(np.tile(positive * 1.0, (3, 1)).T, positive, np.arange(10)))
    assert result.value == 1
    assert math.isnan(result.low)
    assert "no answer differs" in result.method


@pytest.mark.parametrize("samples", ["readers and cases", "cases"])
def test_one_patient_tells_nothing_of_others(samples):
    result = infer(share([[1, 0], [1, 1]], ["a", "a"]), samples=samples)
    assert result.value == 0.75
    assert math.isnan(result.low)
    assert result.method == "none: a reader has answers of one patient"
    edits = infer(area([[3, 2], [2, 1], [1, 3]], [1, 0, 0], ["a", "b", "c"]), samples=samples)
    assert math.isnan(edits.low)
    assert edits.method == result.method
    _, p = contrast(share([[1, 0]], ["a"]), share([[1, 0], [0, 1]], ["b", "c"]))
    assert math.isnan(p)


def test_a_difference_at_the_end_has_an_interval_and_a_p():
    ones, zeros = (share(np.full((12, 3), v), np.arange(12) + 100 * v) for v in (1.0, 0.0))
    result, p = contrast(ones, zeros)
    newcombe = math.sqrt(2) * (1 - wilson(1, 12, 1.959964)[0])
    assert result.value == 1
    assert result.low == pytest.approx(1 - newcombe, abs=1e-5)
    assert result.high == pytest.approx(1)
    assert 0 < p < 0.001
    same, equal = contrast(zeros, share(np.zeros((9, 3)), np.arange(9) + 500))
    assert (same.value, equal) == (0, 1)
    assert same.low < 0 < same.high


def test_the_p_of_a_difference_fits_its_interval():
    rng = np.random.default_rng(2)
    one, other = (share((rng.random((40, 4)) < p) * 1.0, np.arange(40) + s) for p, s in
                  ((0.7, 0), (0.4, 100)))  # fmt: skip
    _, p = contrast(one, other)
    ends = contrast(one, other, level=1 - p)[0]
    assert ends.low == pytest.approx(0, abs=1e-6)


def test_readers_in_common_make_a_difference_surer():
    rng = np.random.default_rng(4)
    habit = rng.normal(0, 1.5, 6)

    def answers(shift, start):
        yes = (rng.normal(size=(50, 6)) + habit + shift > 0) * 1.0
        return share(yes, np.arange(50) + start)

    one, other = answers(0.3, 0), answers(0, 100)
    paired = contrast(one, other)[0]
    sides = [infer(merit) for merit in (one, other)]
    assert paired.error < math.hypot(sides[0].error, sides[1].error) / 2
    assert paired.high - paired.low < sum(side.high - side.low for side in sides) / 2


def test_differences_need_the_same_readers():
    one, other = share([[1], [0]], ["a", "b"]), share([[1, 0], [0, 1]], ["a", "b"])
    with pytest.raises(ReadersError, match="same readers"):
        difference(one, other)
