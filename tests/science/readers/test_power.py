import math

import pytest

from roentmod.errors import ReadersError
from roentmod.science.readers.power import Assumed, needed, precision


def test_known_precision_of_five_readers_with_a_hundred_of_each():
    """At chance, one reader's variance is exactly (m + n + 1) / 12 m n."""
    own = 201 / (12 * 100 * 100)
    assumed = Assumed("realism", 0.5, spread=0.0, correlation=0.4)
    assert precision(assumed, 5, 100).error == pytest.approx(
        math.sqrt(own * (0.6 / 5 + 0.4)), rel=1e-9
    )


def test_a_share_of_independent_answers_is_binomial():
    assumed = Assumed("share", 0.3, spread=0.0, correlation=0.0)
    assert precision(assumed, 4, 50).error == pytest.approx(math.sqrt(0.3 * 0.7 / 200))


def test_more_readers_need_fewer_cases_until_cases_alone_decide():
    table = needed(Assumed("realism", 0.55), (3, 5, 10, 40), half_width=0.08)
    edited = table["edited"].dropna().tolist()
    assert edited == sorted(edited, reverse=True)
    assert table["half_width"].le(0.08)[table["edited"].notna()].all()
    row = table.dropna(subset=["edited"]).iloc[-1]
    fewer = precision(Assumed("realism", 0.55), int(row["readers"]), int(row["edited"]) - 1)
    assert fewer.half_width > 0.08


def test_where_readers_differ_too_much_no_number_of_cases_will_do():
    table = needed(Assumed("realism", 0.5, spread=0.1), (2,), half_width=0.05)
    assert table["edited"].isna().all()
    assert table["half_width"].iloc[0] > 0.05


def test_a_size_is_found_though_more_cases_would_be_too_many():
    """Three readers have 10 degrees of freedom with few cases, and 2 with very many."""
    assumed = Assumed("realism", 0.55)
    row = needed(assumed, (3,), half_width=0.12).iloc[0]
    assert row["half_width"] <= 0.12
    assert precision(assumed, 3, int(row["edited"]) - 1).half_width > 0.12
    assert precision(assumed, 3, 5000).half_width > 0.12
    assert needed(assumed, (3,), limit=0.7, chance=0.8)["edited"].notna().all()


def test_the_chance_of_leaving_out_a_limit_is_met():
    assumed = Assumed("realism", 0.55)
    row = needed(assumed, (8,), limit=0.7, chance=0.9).iloc[0]
    assert row["chance"] >= 0.9
    assert precision(assumed, 8, int(row["edited"]) - 1, limit=0.7).chance < 0.9


@pytest.mark.parametrize("wanted", [{}, {"half_width": 0.1, "limit": 0.6}, {"limit": 0.5}])
def test_one_wish_at_a_time(wanted):
    with pytest.raises(ReadersError, match="Give one of them"):
        needed(Assumed("realism", 0.5), (5,), **wanted)


def test_one_reader_is_no_sample():
    with pytest.raises(ReadersError, match="needs 2 readers"):
        precision(Assumed("realism", 0.5), 1, 100)
