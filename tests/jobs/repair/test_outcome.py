"""The verdict of a repair, by its rules."""

import math
from collections import Counter
from types import SimpleNamespace

import pandas as pd
import pytest

from roentmod.jobs.repair.given import Given
from roentmod.jobs.repair.outcome import HELD_OUT, _best, _new, _verdict, editors_of, found_in
from roentmod.plans.repair import RepairPlan

A, B = "Edema", "Cardiomegaly"
GIVEN = Given("model.pt", "data", RepairPlan(arms="erm,isolated", seeds=3))
GOOD = {"n": 30, "share": 0.1, "fall_low": 0.2, "part": 0.8, "called": 0, "reacts": 3}
GOOD["alive"] = (0, 1, 2)


def shares(**changes):
    """Shares by both editors; `changes` are of the repaired arm, of one editor."""
    own = {editor: GOOD | changes.get(editor, {}) for editor in ("painter", "mini")}
    was = {"cause": A, "read": B, "share": 0.5, "n": 30, "called": 1, "arm": "before"}
    rows = [
        row
        for editor, after in own.items()
        for row in (
            {**was, "editor": editor},
            {**was, **after, "arm": "isolated", "editor": editor},
        )
    ]
    return pd.DataFrame(rows)


def tables(
    difference=0.0, low=-0.02, high=0.02, q=0.5, reverse=(-0.1, 0.1), state="ok", test="test"
):
    head = {"arm": "isolated", "reference": "before", "test": test}
    area = head | {"difference": difference, "seeds_low": low, "seeds_high": high, "q": q}
    back = head | {"measure": "reverse", "low": reverse[0], "seeds_low": reverse[0]}
    own = head | {"finding": B, "state": state}
    return {
        "areas": pd.DataFrame([area]),
        "comparisons": pd.DataFrame([own, own | {"finding": A, "state": "ok"}]),
        "reversals": pd.DataFrame([back]),
    }


def test_a_fall_by_both_editors_without_loss_is_a_repair():
    assert _verdict(shares(), tables(), [], GIVEN) == ("repaired", [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fall_low": -0.01}, "by mini the share falls from 0.50 to 0.10, not surely"),
        ({"part": 0.4, "share": 0.3}, "by mini the share falls from 0.50 to 0.30"),
        ({"part": math.nan}, "by mini the share falls"),
        ({"called": 2}, "mini still finds Edema → Cardiomegaly in 2 of 3"),
        (
            {"reacts": 1},
            "by mini the head for Cardiomegaly surely reacts to Cardiomegaly itself in 1",
        ),
        ({"n": 19}, "mini cannot judge Edema → Cardiomegaly: too few"),
        ({"share": math.nan}, "mini cannot judge"),
    ],
)
def test_what_one_editor_does_not_confirm_is_no_repair(changes, said):
    verdict, (reason, *_) = _verdict(shares(mini=changes), tables(), [], GIVEN)
    assert verdict == "not repaired"
    assert reason.startswith(said)
    assert _verdict(shares(painter=changes), tables(), [], GIVEN)[0] == "not repaired"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"difference": -0.004, "low": -0.006, "high": -0.002, "q": 0.01}, "surely falls, by 0.4"),
        ({"difference": -0.02, "low": -0.05, "high": 0.01}, "falls, by 2.0 points"),
        ({"reverse": (0.02, 0.1)}, "a reverse shortcut appears in test"),
        ({"state": "too few"}, "no test has enough positives and negatives to see a loss of Card"),
        ({"reverse": (math.nan, math.nan)}, "no test has enough pictures of both findings"),
        ({"test": HELD_OUT}, "validation, which chose each training's step, may hide a loss"),
    ],
)
def test_what_is_lost_is_a_cost(changes, said):
    verdict, (cost,) = _verdict(shares(), tables(**changes), [], GIVEN)
    assert verdict == "repaired at a cost"
    assert said in cost
    # A small fall that may be chance is none.
    assert _verdict(shares(), tables(-0.009, -0.02, 0.01), [], GIVEN)[0] == "repaired"


def test_where_no_test_has_an_area_a_loss_is_not_ruled_out():
    none = {name: table[:0] for name, table in tables().items()}
    verdict, (cost, back) = _verdict(shares(), none, [], GIVEN)
    assert verdict == "repaired at a cost"
    assert cost.startswith("no test has enough positives and negatives to see a loss")
    assert back.startswith("no test has enough pictures of both findings")
    # One test that can show it is enough.
    one, other = tables(), tables(state="too few")
    both = {name: pd.concat([other[name], one[name]]) for name in one}
    assert _verdict(shares(), both, [], GIVEN) == ("repaired", [])


def test_a_shortcut_of_most_seeds_that_was_not_there_is_new():
    called = {
        "mini": {
            (B, A): Counter(isolated=2),
            (A, B): Counter(isolated=3),
            (A, "Mass"): Counter(isolated=1),
            ("Mass", A): Counter(isolated=3, before=1),
        }
    }
    new = _new(called, ((A, B),), "isolated", 3)
    assert new == [("mini", B, A)]
    verdict, (cost,) = _verdict(shares(), tables(), new, GIVEN)
    assert (verdict, cost) == ("repaired at a cost", f"mini finds a new shortcut: {B} → {A}")


def test_what_either_audit_calls_a_shortcut_is_found_what_both_call_first():
    def audited(*pairs, judged=True):
        cells = pd.DataFrame([], columns=["on_target", "edited", "read", "n", "corrected",
                             "corrected_low", "corrected_high", "verdict", "reason"])  # fmt: skip
        one = SimpleNamespace(name="given", judged=judged, obstacle="few", cells=cells)
        one.shortcuts = lambda: list(pairs)
        return [one]

    both = {"audit before": audited((B, A), (A, B)), "audit before unseen": audited((A, B))}
    found = found_in(both, "given")
    assert found.pairs == ((A, B), (B, A))
    assert found.judged
    none = {"audit before": audited(judged=False), "audit before unseen": audited(judged=False)}
    assert found_in(none, "given").obstacle == "few"
    assert not found_in(none, "given").judged


def test_the_file_to_use_has_the_fewest_shortcuts_then_the_best_validation():
    def best(left, areas=(0.9, 0.8, 0.7), **changes):
        audits = [
            SimpleNamespace(name=f"isolated-{seed}", shortcuts=lambda n=number: [(A, B)] * n)
            for each in left
            for seed, number in enumerate(each)
        ]
        trainings = {f"isolated-{s}": {"val_auc": area} for s, area in enumerate(areas)}
        return _best(audits, {"trainings": trainings}, GIVEN.plan, shares(**changes))

    assert best([(0, 0, 0), (0, 0, 0)]) == 0
    assert best([(0, 1, 0), (1, 0, 0)]) == 2
    assert best([(1, 0, 0), (1, 1, 1)], (0.9, 0.7, 0.8)) == 2
    # A head that reacts to nothing has no shortcut, and is no repair.
    assert best([(0, 1, 1), (0, 1, 1)], mini={"alive": (1, 2)}) == 1
    assert best([(0, 1, 1), (0, 1, 1)], mini={"alive": (0,)}, painter={"alive": (1, 2)}) == 0


def test_editors_are_named_without_their_folders():
    assert editors_of(RepairPlan(unseen="/data/Zebulon/net")) == ("painter", "net")
    assert editors_of(RepairPlan(editor="/data/Zebulon/mini")) == (
        "the first editor",
        "the other one",
    )
