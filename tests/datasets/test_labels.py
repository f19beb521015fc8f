"""States of labels, views, ages and splits, one by one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roentmod.datasets import fields, labels, published
from roentmod.domain import FINDINGS

some = st.lists(st.sampled_from(["Mass", "Edema?", "Edema", "Stent", "Scar?"]), max_size=4)


@settings(max_examples=50, deadline=None)
@given(st.lists(some, min_size=1, max_size=6))
def test_nothing_uncertain_becomes_positive_and_nothing_is_lost(rows):
    texts = np.array(["|".join(row) for row in rows], dtype=object)
    read = labels.named(texts, labels.Vocabulary())
    for place, row in enumerate(rows):
        assert (read.of("Edema")[place] == labels.POSITIVE) == ("Edema" in row)
        assert (read.of("Mass")[place] == labels.POSITIVE) == ("Mass" in row)
        kept = read.others[place].split("|") if read.others[place] else []
        assert kept == [label for label in row if label in ("Stent", "Scar?")]
        if not row:
            assert set(read.codes[place]) == {labels.UNMENTIONED}


def test_order_of_rows_plays_no_part():
    texts = np.array(["Mass", "No Finding", "Edema?", "", "Mass"], dtype=object)
    back = np.array([3, 0, 4, 2, 1])
    one, other = (labels.named(t, labels.Vocabulary()) for t in (texts, texts[back]))
    assert np.array_equal(one.codes[back], other.codes)


def test_two_labels_of_one_finding_the_later_state_holds():
    columns = {
        "effusion": np.array([0, 3, 1], np.int8),
        "Pleural Effusion": np.array([2, 0, 0], np.int8),
    }
    read = labels.answered(columns, labels.Vocabulary())
    assert [labels.STATES[code] for code in read.of("Pleural Effusion")] == [
        "uncertain", "positive", "unmentioned",
    ]  # fmt: skip


def test_others_are_counted_once_a_picture():
    texts = np.array(["a|a?", "a", "b?", ""], dtype=object)
    assert labels.others_of(texts) == {"a": 2, "b": 1}


@pytest.mark.parametrize("vocabulary", [published.CHEXPERT, published.PADCHEST, published.VINDR])
def test_vocabularies_mean_findings_of_the_catalogue(vocabulary):
    known = {item.name for item in FINDINGS}
    for table in (vocabulary.own, vocabulary.either):
        assert all(key == key.lower() and set(names) <= known for key, names in table.items())
    assert set(published.PADCHEST_MEANT) <= known


@pytest.mark.parametrize(
    ("text", "years"),
    [("57", 57), ("57.0", 57), ("058Y", 58), ("006M", 0.5), ("", math.nan), ("x", math.nan)],
)
def test_ages(text, years):
    assert fields.age(text) == pytest.approx(years, nan_ok=True)


def test_views_and_splits():
    assert [fields.view(text) for text in ("ap_horizontal", "PA", "LL", "AP LLD", "")] == [
        "AP", "PA", "lateral", "other", "unknown",
    ]  # fmt: skip
    assert [fields.split_name(text) for text in ("VALID", "validate", "Train", "external")] == [
        "val", "val", "train", "external",
    ]  # fmt: skip
