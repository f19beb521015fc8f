import pytest

from training.severity import FACTORS, chosen


@pytest.mark.parametrize(
    ("bend", "mild", "moderate"),
    [(1.0, 0.35, 0.6), (0.25, 0.25, 0.25), (3.0, 0.75, 0.75)],
)
def test_factors_move_the_judge_by_thirds(bend, mild, moderate):
    """The effect is guidance to the power of `bend`: a third of it lies at 3 ** (-1 / bend)."""
    nets = {(level, f): 9 * f**bend for level in ("mild", "moderate") for f in FACTORS}
    assert chosen(nets | {("severe", 1.0): 9.0}) == {"mild": mild, "moderate": moderate}


def test_moderate_is_never_below_mild():
    nets = {("mild", f): 0.1 * f for f in FACTORS} | {("moderate", f): 5 + f for f in FACTORS}
    factors = chosen(nets | {("severe", 1.0): 6.0})
    assert factors["mild"] == factors["moderate"] == 1.0
