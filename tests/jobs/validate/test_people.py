"""Who is compared with whom, and how findings are worded."""

import dataclasses

import pytest

from roentmod.domain import FINDINGS, NO_FINDING
from roentmod.jobs.validate import choose
from roentmod.jobs.validate.companions import companions, library
from roentmod.jobs.validate.prompts import wordings


def test_patients_with_a_second_visit_come_first(data):
    chosen = choose(data, split="test")
    assert len(chosen) == 10
    assert set(chosen["patient_id"].head(5)) == {f"p{i:02d}" for i in range(5)}
    assert list(choose(data, count=4, split="test")["baseline_id"]) == list(
        chosen["baseline_id"].head(4)
    )


def test_companions_are_visits_and_matched_strangers(data):
    chosen = choose(data, split="test")
    pairs = companions(data, chosen, strangers=3, split="test")
    table = data.table.set_index("image_id")
    for row in pairs.to_dict("records"):
        own, other = table.loc[row["baseline_id"]], table.loc[row["image_id"]]
        same = row["group"] == "same patient"
        assert (own["patient_id"] == other["patient_id"]) is same
        assert row["baseline_id"] != row["image_id"]
        assert own["sex"] == other["sex"]
        assert other["split"] == "test"
    counts = pairs.groupby(["group", "baseline_id"]).size()
    assert len(counts["same patient"]) == 5
    assert (counts["different patient"] <= 3).all()
    # Ages are 50 to 59: one band, so every baseline has strangers.
    assert len(counts["different patient"]) == 10


def test_another_band_view_or_a_finding_is_no_companion(data):
    chosen = choose(data, split="test")
    table = data.table.copy()
    first = chosen["patient_id"].iloc[0]
    of_first = table["patient_id"] == first
    table.loc[of_first, "age"] = 80.0
    changed = dataclasses.replace(data, table=table)
    again = chosen.assign(age=chosen["age"].where(chosen["patient_id"] != first, 80.0))
    pairs = companions(changed, again, strangers=3, split="test")
    own = pairs[pairs["baseline_id"] == again["baseline_id"].iloc[0]]
    assert list(own["group"]) == ["same patient"]
    table = data.table.copy()
    visit = pairs.loc[pairs["group"] == "same patient", "image_id"].iloc[0]
    table.loc[table["image_id"] == visit, "Edema"] = "uncertain"
    pairs = companions(dataclasses.replace(data, table=table), chosen, strangers=3)
    assert visit not in set(pairs.loc[pairs["group"] == "same patient", "image_id"])


def test_order_of_rows_changes_no_companion(data):
    chosen = choose(data, split="test")
    keys = ["baseline_id", "group", "image_id"]
    one = companions(data, chosen, strangers=2).sort_values(keys).reset_index(drop=True)
    other = companions(data, chosen[::-1], strangers=2).sort_values(keys).reset_index(drop=True)
    assert one.equals(other)


def test_the_library_is_of_others(data):
    chosen = choose(data, split="test")
    names = library(data, chosen, count=3)
    assert len(names) == 3
    assert all(name.startswith(("p10", "p11", "p12", "p13")) for name in names)


@pytest.mark.parametrize("name", [f.name for f in FINDINGS if f != NO_FINDING])
def test_eight_wordings_a_finding(name):
    said = wordings(name)
    assert len(said) >= 8
    assert len({text.lower() for text in said}) == len(said)
    assert all(3 <= len(text) <= 100 for text in said)
