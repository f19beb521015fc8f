import numpy as np
import pytest

from roentmod.domain import SEVERITIES, UNSAID
from training.severity import FACTORS, chosen

WANTED = {"mild": 2.0, "moderate": 4.0, "severe": 8.0, UNSAID: 4.0}


def tables(effects, noise=0.0):
    """Net changes of twelve baselines, by severity and factor, of an editor that does `effects`."""
    rng = np.random.default_rng(0)
    made = {}
    for level in (UNSAID, *SEVERITIES):
        for factor in FACTORS:
            made[level, factor] = effects[level] * factor + noise * rng.normal(size=12)
    return made


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_a_weak_editor_is_guided_more_until_it_does_what_the_painter_does(strength):
    effects = {level: strength * value for level, value in WANTED.items()}
    nearest = min(FACTORS, key=lambda f: abs(np.log(f * strength)))
    assert chosen(tables(effects), WANTED) == dict.fromkeys((UNSAID, *SEVERITIES), nearest)


def test_words_that_say_nothing_are_kept_apart_by_guidance():
    factors = chosen(tables(dict.fromkeys(WANTED, 4.0)), WANTED)
    assert factors == {"mild": 0.5, "moderate": 1.0, "severe": 1.4, UNSAID: 1.0}


def test_order_comes_before_what_the_painter_does():
    """Where the painter hardly tells severities apart, noise would mix them."""
    near = {"mild": 4.0, "moderate": 4.0, "severe": 4.0, UNSAID: 4.0}
    calm, noisy = (chosen(tables(near, noise), near) for noise in (0.0, 1.5))
    assert calm["severe"] == calm["mild"] or calm["severe"] <= 1.4
    assert noisy["mild"] < noisy["moderate"] < noisy["severe"]


def test_a_milder_severity_never_has_the_greater_factor():
    effects = {"mild": 1.0, "moderate": 8.0, "severe": 4.0, UNSAID: 4.0}
    factors = chosen(tables(effects), WANTED)
    assert factors["mild"] <= factors["moderate"] <= factors["severe"]


def test_where_nothing_moves_the_judge_there_are_factors_all_the_same():
    assert set(chosen(tables(dict.fromkeys(WANTED, 0.0)), WANTED)) == {UNSAID, *SEVERITIES}
