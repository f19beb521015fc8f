"""The intraclass correlation against the literature's example, and against planted variances."""

import math

import numpy as np
import pytest

from roentmod.errors import AuditError
from roentmod.science.fidelity import agreement, intraclass

# Shrout and Fleiss (1979), table 2: six targets, four judges; ICC(2,1) = 0.29.
PUBLISHED = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


def test_the_published_example():
    result = intraclass(PUBLISHED[None])
    assert result["icc"] == pytest.approx(0.2898, abs=5e-4)
    assert result["patients"] == 1
    assert math.isnan(result["low"])


def planted(wording, seed, rest, n=60, w=8, s=3):
    rng = np.random.default_rng(0)
    level = rng.normal(0, 5, (n, 1, 1))
    parts = rng.normal(0, wording, (n, w, 1)) + rng.normal(0, seed, (n, 1, s))
    return level + parts + rng.normal(0, rest, (n, w, s))


@pytest.mark.parametrize("parts", [(1.0, 1.0, 1.0), (0.0, 1.0, 1.0), (2.0, 0.5, 0.5)])
def test_planted_variances_come_back(parts):
    result = intraclass(planted(*parts))
    whole = sum(x * x for x in parts)
    assert result["icc"] == pytest.approx(parts[0] ** 2 / whole, abs=0.07)
    assert result["low"] < result["icc"] < result["high"]
    names = ("variance_wording", "variance_seed", "variance_rest")
    for name, value in zip(names, parts, strict=True):
        assert result[name] == pytest.approx(value**2, abs=0.3 * max(value**2, 0.4))


def test_a_patient_with_a_gap_is_left_out():
    table = planted(1.0, 1.0, 1.0)
    table[0, 2, 1] = np.nan
    assert intraclass(table)["patients"] == 59
    assert intraclass(table)["icc"] == intraclass(table[1:])["icc"]
    assert intraclass(table[:1])["patients"] == 0
    assert math.isnan(intraclass(table[:1])["icc"])


def test_tables_of_one_patient_are_drawn_together():
    table = planted(1.0, 1.0, 1.0, n=20)
    single = intraclass(table)
    thrice = intraclass(np.concatenate([table] * 3), np.tile(np.arange(20), 3))
    assert thrice["icc"] == pytest.approx(single["icc"])
    assert thrice["patients"] == 20
    width = single["high"] - single["low"]
    assert thrice["high"] - thrice["low"] == pytest.approx(width, rel=0.1)
    with pytest.raises(AuditError, match="one patient"):
        intraclass(table, ["a"])


def test_one_seed_is_refused():
    with pytest.raises(AuditError, match="more seeds"):
        intraclass(np.zeros((4, 8, 1)))


def test_agreement_by_hand():
    passed = np.zeros((1, 3, 2), bool)
    passed[0, 0] = True  # one wording always succeeds, two never do
    assert agreement(passed) == {"wordings": pytest.approx(1 / 3), "seeds": 1.0}
    assert math.isnan(agreement(np.zeros((1, 1, 2), bool))["wordings"])
    with pytest.raises(AuditError, match="patients x wordings"):
        agreement(np.zeros((2, 2), bool))
