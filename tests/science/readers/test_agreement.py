import math

import krippendorff
import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa

from roentmod.errors import ReadersError
from roentmod.science.readers.agreement import (
    agreement,
    coefficients,
    counts,
    repeats,
    weights,
)

NA = math.nan
# Gwet, Handbook of Inter-Rater Reliability (4th ed., 2014), page 120: 4 raters, 12 units, answers 1
# to 5; coefficients as in R's irrCAC, the author's own package, and its Python port.
FOUR_RATERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NA, NA, NA],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NA, NA],
        [NA, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 3],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NA],
    ]
).T
# The same book, page 125: 5 observers, answers 0 to 3.
FIVE_OBSERVERS = np.array(
    [
        [1, 1, 2, NA, 0, 0, 1, 1, 2, 2, NA, 0, 1, 3, 1],
        [1, 1, 3, 0, 0, 0, 0, NA, 2, 1, 1, 0, 2, 3, 1],
        [2, 0, 3, 0, 0, 0, 2, 2, 2, 1, 0, 0, 2, 2, 1],
        [NA, 1, 3, NA, NA, NA, NA, 0, NA, 1, 0, 0, 2, 2, NA],
        [2, NA, NA, 0, 0, 0, 1, NA, 2, NA, NA, NA, NA, 3, 1],
    ]
).T


@pytest.mark.parametrize(
    ("form", "observed", "value"),
    [
        ("identity", 0.818, 0.775),
        ("linear", 0.939, 0.859),
        ("ordinal", 0.968, 0.899),
        ("quadratic", 0.975, 0.914),
    ],
)
def test_gwets_own_example(form, observed, value):
    result = coefficients(counts(FOUR_RATERS - 1, 5), form=form)
    assert result["agreement"][0] == pytest.approx(observed, abs=5e-4)
    assert result["AC"][0] == pytest.approx(value, abs=5e-4)


def test_gwets_second_example():
    result = coefficients(counts(FIVE_OBSERVERS, 4))
    assert result["agreement"][0] == pytest.approx(0.616, abs=5e-4)
    assert result["AC"][0] == pytest.approx(0.497, abs=5e-4)


@pytest.mark.parametrize("answers", [FOUR_RATERS - 1, FIVE_OBSERVERS])
def test_alpha_is_that_of_the_library_krippendorff(answers):
    expected = krippendorff.alpha(
        answers.T, level_of_measurement="ordinal", value_domain=np.arange(5)
    )
    assert coefficients(counts(answers, 5))["alpha"][0] == pytest.approx(expected)


def test_fleiss_is_that_of_statsmodels():
    table = counts(np.random.default_rng(0).integers(0, 3, (40, 5)), 3)
    assert coefficients(table)["fleiss"][0] == pytest.approx(fleiss_kappa(table))


def test_two_raters_have_the_published_positive_agreement():
    """Cicchetti and Feinstein: 2a / (2a + b + c), and 2d / (2d + b + c)."""
    a, b, c, d = 40, 9, 6, 45
    pairs = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], [a, b, c, d], axis=0)
    result = coefficients(counts(pairs, 2))
    assert result["positive"][0] == pytest.approx(2 * a / (2 * a + b + c))
    assert result["negative"][0] == pytest.approx(2 * d / (2 * d + b + c))
    assert result["prevalence"][0] == pytest.approx((2 * a + b + c) / 200)


def test_fleiss_misleads_where_nearly_all_say_yes():
    rng = np.random.default_rng(1)
    result = coefficients(counts(rng.random((300, 5)) < 0.93, 2))
    assert abs(result["fleiss"][0]) < 0.1
    assert result["AC"][0] > 0.8


def test_a_resample_is_the_table_of_its_cases():
    rng = np.random.default_rng(2)
    table = counts(rng.integers(0, 5, (20, 4)), 5)
    drawn = rng.multinomial(20, np.full(20, 1 / 20), size=3).T
    together = coefficients(table, drawn.astype(float), "ordinal")
    for j in range(3):
        alone = coefficients(np.repeat(table, drawn[:, j], axis=0), form="ordinal")
        for name, value in alone.items():
            assert together[name][j] == pytest.approx(value[0]), name


def test_a_single_answer_tells_nothing():
    result = coefficients(counts([[1, NA], [0, NA]], 2))
    assert math.isnan(result["AC"][0])
    assert math.isnan(result["positive"][0])
    assert result["prevalence"][0] == 0.5
    assert agreement([[1, NA], [0, NA]], ["a", "b"], 2)["low"].isna().sum() >= 5


def test_all_answers_the_same_have_full_agreement_and_no_kappa():
    result = coefficients(counts(np.ones((10, 3)), 2))
    assert result["AC"][0] == 1
    assert math.isnan(result["fleiss"][0])
    assert math.isnan(result["alpha"][0])


def test_intervals_come_from_patients():
    rng = np.random.default_rng(3)
    answers = (rng.normal(size=(60, 1)) + rng.normal(size=(60, 4)) > 0) * 1
    alone = agreement(answers, np.arange(60), 2).set_index("measure")
    twice = agreement(np.tile(answers, (2, 1)), np.tile(np.arange(60), 2), 2).set_index("measure")
    assert (alone["low"] < alone["value"]).all()
    assert (alone["value"] < alone["high"]).all()
    assert twice.loc["AC", "high"] == pytest.approx(alone.loc["AC", "high"])


@pytest.mark.parametrize("cases", [np.ones(20), np.arange(20) % 2])
def test_where_no_resample_differs_there_is_no_interval(cases):
    table = agreement(np.tile(cases[:, None], (1, 4)), np.arange(20), 2).set_index("measure")
    assert table.loc["AC", "value"] == 1
    assert table.loc[["AC", "agreement", "positive"], ["low", "high"]].isna().all(axis=None)


def test_repeats_are_two_raters_of_one_picture():
    pairs = repeats([[1, 0], [1, 1]], [[1, 1], [NA, 1]])
    assert pairs.tolist()[1] == [[0, 1], [1, 1]]
    table = agreement(pairs, ["a", "b"], 2).set_index("measure")
    assert table.loc["agreement", "value"] == pytest.approx((1 + 1 / 2) / 2)
    assert (table["cases"] == 3).all()
    assert (table["raters"] == 2).all()


def test_readers_who_answer_at_random_do_not_agree_with_themselves_beyond_chance():
    """One says yes to 10 %, one to 90 %: chance is that of each reader's own rate."""
    rng = np.random.default_rng(0)
    first, second = (rng.random((2000, 2)) < [0.1, 0.9] for _ in range(2))
    table = agreement(repeats(first, second), np.arange(2000), 2, resamples=200)
    table = table.set_index("measure")
    for name in ("fleiss", "alpha"):
        assert abs(table.loc[name, "value"]) < 0.05
        assert table.loc[name, "low"] < 0 < table.loc[name, "high"]
    # Of 0.82 observed and 0.18 by chance.
    assert table.loc["AC", "value"] == pytest.approx(0.64 / 0.82, abs=0.03)


def test_ordinal_weights_are_gwets():
    assert weights(5, "ordinal")[0] == pytest.approx([1, 0.9, 0.7, 0.4, 0])


def test_answers_outside_the_scale_are_refused():
    with pytest.raises(ReadersError, match="below 5; got 1 to 6"):
        counts([[1, 6]], 5)
