"""Who gets which finding, and what is said of the others: counting and arithmetic."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roentmod.domain import FINDINGS
from roentmod.errors import DatasetError, EditError
from roentmod.jobs.augment import AugmentPlan, Labelling
from roentmod.science.cooccurrence import CoOccurrence

NAMES = tuple(item.name for item in FINDINGS[1:])
MATRIX = CoOccurrence.from_json(
    {
        "findings": ["Edema", "Mass", "Hernia"],
        "n_row": [[10, 10, 10], [5, 5, 5], [0, 0, 0]],
        "n_both": [[10, 2, 0], [2, 5, 0], [0, 0, 0]],
        "n_effective": [[10, 10, 10], [5, 5, 5], [0, 0, 0]],
        "unit": "image",
        "source": "ten images",
        "level": 0.95,
    }
)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 40), k=st.integers(1, 9), share=st.floats(0.01, 1), seed=st.integers(0, 5))
def test_findings_are_dealt_evenly(n, k, share, seed):
    plan = AugmentPlan(findings=NAMES[:k], ratio=share * k, seed=seed)
    dealt = plan.assign(f"picture {i}" for i in range(n))
    assert len(dealt) == n
    each = [[edit.findings[0] for edit in edits] for edits in dealt.values()]
    assert all(len(set(names)) == len(names) for names in each)
    total = Counter(name for names in each for name in names)
    assert sum(total.values()) == round(share * k * n)
    counts = [total[name] for name in NAMES[:k]]
    assert max(counts) - min(counts) <= 1
    sizes = [len(names) for names in each]
    assert max(sizes) - min(sizes) <= 1


def test_order_changes_nothing_and_the_seed_does():
    names = [f"picture {i}" for i in range(30)]
    plan = AugmentPlan(findings=NAMES[:3], ratio=2, severities=("mild", "severe"))
    one, other = plan.assign(names), plan.assign(reversed(names))
    assert list(one.items()) == list(other.items())
    assert {edit.severity for edits in one.values() for edit in edits} == {"mild", "severe"}
    another = AugmentPlan(
        findings=NAMES[:3], ratio=2, severities=("mild", "severe"), seed=1
    ).assign(names)
    assert list(one) != list(another)


def test_all_findings_once():
    dealt = AugmentPlan(findings=NAMES[:4], ratio=4).assign("abcdef")
    assert all([e.findings[0] for e in edits] == list(NAMES[:4]) for edits in dealt.values())


def test_policies_by_pair():
    labelling = Labelling(
        policy="soft", pairs=(("oedema", "Hernia", "masked"), ("Mass", "Edema", "isolated"))
    )
    heads = ("Edema", "Mass", "Hernia")
    targets = Labelling(policy="soft", pairs=labelling.pairs, heads=heads).targets(
        ("Edema", "Mass"), MATRIX
    )
    assert list(targets) == ["Edema", "Mass"]
    assert targets["Edema"]["Edema"] == 1
    assert targets["Edema"]["Mass"] == 0.2
    assert math.isnan(targets["Edema"]["Hernia"])
    assert targets["Mass"] == {"Edema": 0, "Mass": 1, "Hernia": 0}
    plain = Labelling().targets(("Edema", "Mass"), None)
    assert plain == {"Edema": {"Edema": 1, "Mass": 0}, "Mass": {"Edema": 0, "Mass": 1}}
    masked = Labelling(policy="masked").targets(("Edema", "Mass"), None)
    assert math.isnan(masked["Mass"]["Edema"])
    assert Labelling(policy="masked", pairs=(("Edema", "Mass", "soft"),)).needs_rates
    assert not Labelling(policy="masked").needs_rates


@pytest.mark.parametrize(
    ("added", "heads"),
    [
        # No unit shows a hernia, the matrix does not know pneumonia, and without one there is none.
        (("Hernia", "Edema"), ()),
        (("Edema",), ("Edema", "Pneumonia")),
    ],
)
def test_a_soft_label_needs_a_rate(added, heads):
    with pytest.raises(DatasetError, match="it has none of"):
        Labelling(policy="soft", heads=heads).targets(added, MATRIX)
    with pytest.raises(DatasetError, match="it has none of"):
        Labelling(policy="soft").targets(("Edema", "Mass"), None)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AugmentPlan(findings=()), "got none"),
        (lambda: AugmentPlan(findings=("Edema", "oedema")), "Name each once"),
        (lambda: AugmentPlan(findings=("No Finding",)), "not No Finding"),
        (lambda: AugmentPlan(findings=("Edema",), ratio=1.5), r"\(0, 1\]"),
        (lambda: AugmentPlan(findings=("Edema",), ratio=0), "got 0"),
        (lambda: AugmentPlan(findings=("Edema",), shard=0), "1 to 100,000"),
        (lambda: Labelling(policy="hard"), "got 'hard'"),
        (lambda: Labelling(pairs=(("Edema", "Mass", "hard"),)), "got 'hard'"),
        (lambda: Labelling(pairs=(("Edema", "oedema", "soft"),)), "two different findings"),
        (lambda: Labelling(heads=("Mass",)).targets(("Edema",), None), "got 'Edema' besides"),
        (lambda: AugmentPlan(findings=("Edema",)).assign(["a", "b", "a"]), "got 'a' again"),
    ],
)
def test_what_cannot_be_meant_is_refused(make, said):
    with pytest.raises(DatasetError, match=said):
        make()


def test_an_edit_that_cannot_be_is_refused_before_any_work():
    with pytest.raises(EditError, match="strength"):
        AugmentPlan(findings=("Edema",), strength=2)
    with pytest.raises(DatasetError, match=r"severities.*one of mild"):
        AugmentPlan(findings=("Edema",), severities=("awful",))
