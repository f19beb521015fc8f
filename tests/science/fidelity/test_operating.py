"""Leakage by hand, and the rule that chooses a point."""

import math

import numpy as np
import pandas as pd
import pytest

from roentmod.errors import AuditError
from roentmod.science.fidelity import Rule, leakage, leakage_interval, points, recommend


def nets(rows):
    return pd.DataFrame(rows, columns=["edited", "read", "net"])


def test_leakage_by_hand():
    table = nets(
        [
            ("Edema", "Edema", 4.0),
            ("Edema", "Cardiomegaly", 1.0),
            ("Edema", "Cardiomegaly", -3.0),
            ("Cardiomegaly", "Cardiomegaly", 2.0),
            ("Cardiomegaly", "Edema", 0.5),
        ]
    )
    # On target (4 + 2) / 2; off target |(1 - 3) / 2| and 0.5.
    assert leakage(table) == pytest.approx((1 + 0.5) / 2 / 3)


def test_the_interval_of_leakage_holds_it():
    rng = np.random.default_rng(0)
    rows = [
        (edited, read, rng.normal(3.0 if edited == read else 1.0, 0.5), f"p{patient}")
        for patient in range(30)
        for edited in ("Edema", "Cardiomegaly")
        for read in ("Edema", "Cardiomegaly")
    ]
    table = pd.DataFrame(rows, columns=["edited", "read", "net", "patient_id"])
    low, high = leakage_interval(table, resamples=500)
    assert low < 1 / 3 < high
    assert low < leakage(table) < high
    assert high - low < 0.12


def test_synonyms_are_no_leakage():
    table = nets([("Nodule", "Nodule", 2.0), ("Nodule", "Mass", 2.0), ("Nodule", "Edema", 0.2)])
    assert leakage(table) == pytest.approx(0.1)


def test_without_an_effect_there_is_nothing_to_leak():
    assert math.isnan(leakage(nets([("Edema", "Edema", 0.0), ("Edema", "Mass", 1.0)])))
    assert math.isnan(leakage(nets([])))


def grid(points_):
    """Edits and readings of points (strength, guidance): (own net, off-target net, kept)."""
    edits, read = [], []
    for (strength, guidance), (own, off, kept) in points_.items():
        for number in range(20):
            near = number < round(20 * kept)
            edits.append([strength, guidance, "Edema", own, near, 0.9, 0.1])
            read.append([strength, guidance, "Edema", "Edema", own])
            read.append([strength, guidance, "Edema", "Mass", off])
    columns = ["strength", "guidance_scale", "edited", "net", "own", "ssim", "perceptual"]
    names = ["strength", "guidance_scale", "edited", "read", "net"]
    return pd.DataFrame(edits, columns=columns), pd.DataFrame(read, columns=names)


PLANTED = {
    (0.2, 4.0): (0.5, 0.0, 1.0),  # does nothing
    (0.4, 4.0): (3.0, 0.3, 1.0),  # good
    (0.4, 10.0): (3.0, 1.5, 1.0),  # leaks
    (0.6, 4.0): (3.0, 0.25, 1.0),  # hardly better, and rougher
    (0.8, 4.0): (6.0, 0.0, 0.5),  # another patient
}


def test_points_are_summed_up():
    table = points(*grid(PLANTED), Rule()).set_index(["strength", "guidance_scale"])
    assert list(table["success"]) == [0, 1, 1, 1, 1]
    assert table.loc[(0.4, 4.0), "leakage"] == pytest.approx(0.1)
    assert table.loc[(0.4, 10.0), "score"] == pytest.approx(0.5)
    assert list(table["eligible"]) == [True, True, True, True, False]
    assert (table["edits"] == 20).all()


def test_the_gentlest_of_the_best_is_recommended():
    table = points(*grid(PLANTED), Rule())
    chosen = recommend(table, Rule())
    assert (chosen["strength"], chosen["guidance_scale"]) == (0.4, 4.0)
    strict = recommend(table, Rule(tolerance=0))
    assert strict["strength"] == 0.6
    lax = recommend(points(*grid(PLANTED), Rule(identity=0.4)), Rule(identity=0.4, tolerance=0))
    assert lax["strength"] == 0.8


def test_nothing_is_recommended_where_nothing_works():
    lost = {(0.4, 4.0): (3.0, 0.0, 0.2), (0.2, 4.0): (0.1, 0.0, 1.0)}
    assert recommend(points(*grid(lost), Rule()), Rule()) is None


@pytest.mark.parametrize("wrong", [{"identity": 1.2}, {"tolerance": -1}])
def test_a_wrong_rule_is_refused(wrong):
    with pytest.raises(AuditError, match="must be"):
        Rule(**wrong)
