import numpy as np
import pytest

from training.severity import FACTORS, chosen


def tables(mild, moderate, severe=9.0, noise=0.0):
    """Net changes of twelve baselines whose editor does `mild` and `moderate` at each factor."""
    rng = np.random.default_rng(0)
    made = {("mild", f): np.full(12, mild(f)) for f in FACTORS}
    made |= {("moderate", f): np.full(12, moderate(f)) for f in FACTORS}
    made["severe", 1.0] = np.full(12, severe)
    return {key: value + noise * rng.normal(size=12) for key, value in made.items()}


@pytest.mark.parametrize(("bend", "expected"), [(1.0, (0.35, 0.6)), (3.0, (0.75, 0.75))])
def test_where_all_agree_factors_are_those_of_thirds(bend, expected):
    """The effect is guidance to the power of `bend`: a third of it lies at 3 ** (-1 / bend)."""
    factors = chosen(tables(lambda f: 8 * f**bend, lambda f: 9 * f**bend - 0.01))
    assert (factors["mild"], factors["moderate"]) == expected


def test_factors_keep_apart_what_noise_would_mix():
    """Two thirds are too near to a severe edit that is hardly stronger, so moderate goes lower."""
    calm, noisy = (
        chosen(tables(lambda f: 9 * f, lambda f: 9 * f, noise=noise)) for noise in (0.0, 2.5)
    )
    assert calm["moderate"] == 0.6
    assert noisy["moderate"] <= 0.6
    assert noisy["mild"] < noisy["moderate"]


def test_mild_is_not_bought_with_an_edit_that_does_nothing():
    factors = chosen(tables(lambda f: 0.0 if f < 0.5 else 9 * f, lambda f: 9 * f, noise=1.0))
    assert factors["mild"] >= 0.5


def test_where_no_factor_shows_a_mild_edit_the_best_is_taken_all_the_same():
    assert chosen(tables(lambda f: 0.1 * f, lambda f: 6 * f))["moderate"] == 1.0
