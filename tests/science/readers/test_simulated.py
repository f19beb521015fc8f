import numpy as np
import pytest

from roentmod.science import stats
from roentmod.science.readers import simulated
from roentmod.science.readers.simulated import FINDING, REALISM, Skill
from tests.science.readers.studies import FINDINGS, held, truth

SKILL = Skill(0.8, 2.0, spread=0.4, bias=0.4, lapses=0.05, fatigue=0.3, correlation=0)


@pytest.fixture(scope="module")
def crowd():
    """Many readers of many cases: what they show is what is expected."""
    table = truth(edits=120, positives=0, normals=120, repeats=0, attention=0, findings=("Edema",))
    return table, held(table, SKILL, readers=150, findings=("Edema",))


def test_the_expected_shares_are_what_a_crowd_answers(crowd):
    table, answers = crowd
    kind = answers["case"].map(table.set_index("case")["kind"])
    for question, what, scale, least in (
        ("realism", "realism", REALISM, 4), ("finding:Edema", "finding", FINDING, 4),
    ):  # fmt: skip
        own = answers["question"] == question
        expected = simulated.shares(SKILL, what, [1, 0], least, scale)
        for name, value in zip(("edit", "real_normal"), expected, strict=True):
            share = (answers.loc[own & (kind == name), "value"] >= least).mean()
            assert share == pytest.approx(value, abs=0.025)


def test_the_expected_area_is_what_a_crowd_has(crowd):
    _, answers = crowd
    own = answers[answers["question"] == "realism"]
    edit = own["case"].str.startswith("edit")
    areas = [
        stats.auc(*(one["value"].to_numpy(float) for one in (part[e], part[~e])))
        for (_, part), (_, e) in zip(
            own.groupby("reader"), edit.groupby(own["reader"]), strict=True
        )
    ]
    assert np.mean(areas) == pytest.approx(simulated.area(SKILL), abs=0.015)


def test_readers_without_skill_are_at_chance():
    assert simulated.area(Skill(realism=0, spread=0)) == pytest.approx(0.5)


def test_equal_seeds_give_equal_answers():
    table = truth(edits=8, positives=4, normals=4)
    assert held(table, seed=3, pairs=3).equals(held(table, seed=3, pairs=3))
    assert not held(table, seed=3).equals(held(table, seed=4))


def test_repeats_are_answered_by_habit():
    table = truth(edits=60, positives=0, normals=0, repeats=60, attention=0)

    def same(habit):
        answers = held(table, Skill(habit=habit, lapses=0, fatigue=0), readers=4)
        own = answers[answers["question"] == "finding:Edema"]
        first = own.set_index(["reader", "case"])["value"]
        pairs = table[table["kind"] == "repeat"]
        return np.mean([first[r, c] == first[r, o] for r in ("r0", "r1", "r2")
                        for c, o in zip(pairs["case"], pairs["of"], strict=True)])  # fmt: skip

    assert same(1.0) == 1
    assert same(0.0) < 0.7


def test_a_finding_that_nobody_requested_is_seen_where_it_is_shown():
    table = truth(edits=80, positives=0, normals=40, repeats=0, attention=0)
    answers = held(table, shows={"Edema": ["Cardiomegaly"]})
    finding = answers["case"].map(table.set_index("case")["finding"])
    own = answers[answers["question"] == "finding:Cardiomegaly"]
    seen = (own["value"] >= 4).groupby(finding[own.index]).mean()
    assert seen["Edema"] > seen["Consolidation"] + 0.4


def test_answers_have_the_columns_and_ranges_of_a_study():
    table = truth(edits=8, positives=4, normals=4)
    answers = held(table, pairs=3)
    questions = {f"finding:{name}" for name in FINDINGS}
    assert questions | {"realism", "pair"} <= set(answers["question"])
    values = answers.groupby("question")["value"].agg(["min", "max"])
    assert values.loc["realism"].between(1, 6).all()
    assert values.loc["pair"].between(0, 1).all()
    assert (answers["answered_at"] > answers["shown_at"]).all()
    later = answers.groupby("reader")["shown_at"]
    assert all(times.is_monotonic_increasing for _, times in later)
