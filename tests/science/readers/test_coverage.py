"""A small version of ``python -m bench.readings``."""

import pytest
from scipy import stats

from bench.readings import Size, coverage


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    studies = 24
    result = coverage(Size(4, 40, 20, 24, 12), studies, resamples=200)
    least = stats.binom.ppf(0.0005, studies, 0.95)
    held = {name: one["share"] * studies for name, one in result["coverage"].items()}
    assert {name: n for name, n in held.items() if n < least - 1e-9} == {}
    assert result["family_wise_error"]["share"] * studies <= stats.binom.ppf(0.9995, studies, 0.05)
    planned = result["planning"]
    assert planned["half_width_expected"] == pytest.approx(planned["half_width_mean"], rel=0.35)
    assert planned["error_expected"] == pytest.approx(planned["error_observed"], rel=0.45)
