"""Orders: Latin squares, balanced blocks, pairs."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from roentmod.jobs.readers.orders import Shown, assign, count_sessions, orders, pairings

READERS = [f"r{n}" for n in range(5)]


def study(patients=6, versions=3, repeats=4):
    cases = [
        Shown(f"e{p}.{v}", "edit", f"p{p}", f"F{v}")
        for p in range(patients)
        for v in range(versions)
    ]
    cases += [Shown(f"n{n}", "real_normal", f"q{n}") for n in range(10)]
    cases += [Shown(f"a{n}", "attention", f"a{n}", "F0") for n in range(3)]
    cases += [Shown(f"t{n}", "practice", f"t{n}") for n in range(2)]
    of = [cases[0], cases[4], *cases[18:20]][:repeats]
    return cases + [Shown(f"x{one.case}", "repeat", one.patient, "", one.case) for one in of]


def drawn(cases, readings=5, pairs=(), seed=0):
    rng = np.random.default_rng(seed)
    groups = assign(cases, READERS, readings, rng)
    return groups, orders(cases, pairs, groups, rng)


def test_no_patient_comes_twice_in_a_session_and_all_cases_come_once():
    cases = study()
    patient = {one.case: one.patient for one in cases}
    assert count_sessions(cases) == 4
    for steps in drawn(cases)[1].values():
        scored = [step for step in steps if step.scored]
        assert sorted(step.case for step in steps) == sorted(one.case for one in cases)
        assert [step.scored for step in steps].index(True) == 2
        met = Counter((step.session, patient[step.case]) for step in scored)
        assert set(met.values()) == {1}
        assert [step.session for step in steps] == sorted(step.session for step in steps)


def test_a_repeat_comes_in_a_later_session():
    cases = study()
    of = {one.case: one.of for one in cases if one.kind == "repeat"}
    for steps in drawn(cases)[1].values():
        session = {step.case: step.session for step in steps}
        assert of
        assert all(session[again] > session[first] for again, first in of.items())


def test_versions_follow_a_latin_square_over_readers():
    cases = study(patients=4, versions=4, repeats=0)
    _, order = drawn(cases)
    for version in range(4):
        seen = Counter()
        for steps in order.values():
            session = {step.case: step.session for step in steps}
            seen.update(session[f"e{patient}.{version}"] for patient in range(4))
        # A version is in each session equally often, within one.
        assert max(seen.values()) - min(seen.values()) <= 1


@pytest.mark.parametrize("readings", [1, 2, 3])
def test_blocks_are_balanced(readings):
    cases = study(patients=10)
    groups, order = drawn(cases, readings)
    edits = [one for one in cases if one.kind == "edit"]
    loads = Counter(reader for one in edits for reader in groups[one.case])
    assert max(loads.values()) - min(loads.values()) <= 1
    for finding in ("F0", "F1", "F2"):
        some = [one for one in edits if one.finding == finding]
        loads = Counter(reader for one in some for reader in groups[one.case])
        assert max(loads.values()) - min(loads.values()) <= 1
    assert all(len(groups[one.case]) == readings for one in edits)
    assert all(groups[one.case] == READERS for one in cases if one.kind == "attention")
    assert all(groups[one.case] == groups[one.of] for one in cases if one.kind == "repeat")
    met = Counter(pair for one in edits for pair in combinations(groups[one.case], 2))
    if readings > 1:
        assert len(met) == 10
        assert max(met.values()) - min(met.values()) <= 3
    for reader, steps in order.items():
        assert {step.case for step in steps} == {c for c, some in groups.items() if reader in some}


def test_pairs_are_of_different_patients_and_sides_vary():
    cases = study(patients=8, versions=2, repeats=0)
    edits = [one for one in cases if one.kind == "edit"]
    reals = [one for one in cases if one.kind == "real_normal"]
    pairs = pairings(edits, reals, 20, np.random.default_rng(0))
    patient = {one.case: one.patient for one in cases}
    used = [patient[case] for pair in pairs for case in pair]
    assert len(pairs) == 8
    assert len(set(used)) == len(used)
    _, order = drawn(cases, pairs=pairs)
    last = count_sessions(cases) + 1
    lefts = Counter()
    for steps in order.values():
        assert all(step.other for step in steps[-8:])
        assert {step.session for step in steps[-8:]} == {last}
        lefts.update(step.case in {edit for edit, _ in pairs} for step in steps[-8:])
    assert 8 < lefts[True] < 32
    assert len({tuple(steps) for steps in order.values()}) == 5
