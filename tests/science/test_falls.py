"""Shares before and after, of known effects."""

import numpy as np
import pandas as pd
import pytest

from roentmod.plans import Rules
from roentmod.science.falls import FALLS, falls

A, B, C = "Edema", "Cardiomegaly", "Mass"
RULES = Rules(resamples=400, fewest=3)
N = 40


def nets(effects, *, spread=0.0, seed=0, patients=N):
    """One row per patient, edit and head; `effects` has (edited, read) to mean net effect."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"b{i}", f"p{i}", f"{edited}-{i}", "add", edited, read, mean + spread * rng.normal())
        for (edited, read), mean in effects.items()
        for i in range(patients)
    ]
    names = ["baseline_id", "patient_id", "pair_id", "action", "edited_finding", "read_finding"]
    return pd.DataFrame(rows, columns=[*names, "net"])


def matrix(own, off, *, pairs=((A, B),)):
    return {(f, f): own for f in (A, B, C)} | dict.fromkeys(pairs, off)


def pairs_of(table):
    return table[["baseline_id", "pair_id"]].drop_duplicates()


BLIND = nets({(f, f): 4.0 for f in (A, B, C)} | {(A, B): 0.0, (C, B): 0.0})


def test_a_share_is_off_over_off_and_own_and_its_fall_is_the_difference():
    before, after = nets(matrix(3.0, 1.0)), nets(matrix(2.0, 0.0))
    table = falls(
        {("before", 0): before, ("pair", 0): after}, BLIND, pairs_of(before), [(A, B)], RULES,
        "before",
    )  # fmt: skip
    assert tuple(table.columns) == FALLS
    first, second = table.to_dict("records")
    assert (first["arm"], first["n"], first["seeds"]) == ("before", N, 1)
    assert first["share"] == pytest.approx(0.25)
    assert np.isnan(first["fall"])
    assert second["share"] == 0
    assert (second["fall"], second["part"]) == pytest.approx((0.25, 1.0))
    assert second["fall_low"] == pytest.approx(0.25)


def test_what_the_pictures_show_is_taken_off_unless_the_editor_is_exact():
    # The judge sees a quarter of an own effect of what is read.
    judge = nets({(f, f): 4.0 for f in (A, B, C)} | {(A, B): 1.0})
    before = nets(matrix(2.0, 1.0))
    given = ({("before", 0): before}, judge, pairs_of(before), [(A, B)])
    share = falls(*given, RULES, "before")["share"].iloc[0]
    assert share == pytest.approx(0.5 / 2.5)
    exact = falls(*given, RULES.but(exact=True), "before")["share"].iloc[0]
    assert exact == pytest.approx(1 / 3)


def test_only_what_a_gate_let_pass_counts_and_a_head_that_nothing_moves_has_no_share():
    before = nets(matrix(2.0, 0.0) | {(A, C): 5.0, (C, C): -1.0})
    odd = before["baseline_id"].str[1:].astype(int) % 2 == 1
    before.loc[odd & (before["edited_finding"] == A) & (before["read_finding"] == B), "net"] = 9.0
    given = {("before", 0): before}
    whole = falls(given, BLIND, pairs_of(before), [(A, B)], RULES, "before").iloc[0]
    half = falls(given, BLIND, pairs_of(before[~odd]), [(A, B)], RULES, "before").iloc[0]
    assert (whole["n"], half["n"]) == (N, N // 2)
    assert whole["share"] > 0.5
    assert half["share"] == 0
    still = nets({(A, B): -1.0, (B, B): -1.0})
    none = falls({("before", 0): still}, BLIND, pairs_of(still), [(A, B)], RULES, "before")
    assert none["share"].iloc[0] == 0


def test_several_pairs_have_a_mean_and_one_without_patients_is_left_out_of_it():
    both = matrix(3.0, 1.0, pairs=((A, B), (C, B)))
    before, after = nets(both), nets(matrix(3.0, 0.0, pairs=((A, B), (C, B))))
    models = {("before", 0): before, ("erm", 0): before, ("pair", 0): after}
    pairs = [(A, B), (C, B)]
    table = falls(models, BLIND, pairs_of(before), pairs, RULES, "before")
    mean = table[table["cause"] == ""]
    assert list(mean["arm"]) == ["before", "erm", "pair"]
    assert list(mean["share"]) == pytest.approx([0.25, 0.25, 0])
    assert list(mean["fall"])[1:] == pytest.approx([0, 0.25])
    lacking = falls(models, BLIND, pairs_of(before), [(A, B), (B, C)], RULES, "before")
    assert np.isnan(lacking.loc[lacking["read"] == C, "share"]).all()
    assert lacking.loc[lacking["cause"] == "", "share"].iloc[0] == pytest.approx(0.25)


def test_intervals_of_falls_hold_the_truth():
    """Two networks of one truth: the interval of the fall holds 0 in about 95 % of audits."""
    held = 0
    for seed in range(200):
        models = {
            (arm, 0): nets(matrix(2.0, 1.0), spread=1.0, seed=10 * seed + at, patients=30)
            for at, arm in enumerate(("before", "pair"))
        }
        judge = nets({(f, f): 4.0 for f in (A, B, C)} | {(A, B): 0.0}, patients=30)
        table = falls(
            models, judge, pairs_of(judge), [(A, B)], RULES.but(resamples=200, seed=seed), "before"
        )
        row = table.iloc[1]
        held += row["fall_low"] <= 0 <= row["fall_high"]
    assert 181 <= held <= 199


def test_patients_are_those_of_both_effects_off_and_own():
    table = nets(matrix(3.0, 1.0))
    own = (table["edited_finding"] == B) & (table["read_finding"] == B)
    counted = pairs_of(table[~own | table["patient_id"].isin(["p0", "p1"])])
    models = {("before", 0): table, ("pair", 0): nets(matrix(2.0, 0.0))}
    rows = falls(models, BLIND, counted, [(A, B)], RULES, "before")
    assert list(rows["n"]) == [2, 2]
    # The mean over pairs is of those that have a share: of no others' patients.
    both = falls(models, BLIND, counted, [(A, B), (C, A)], RULES, "before")
    assert list(both.loc[both["cause"] == "", "n"]) == [2, 2]


def test_a_head_that_surely_reacts_to_its_own_finding_is_counted_by_seed():
    before, still = nets(matrix(3.0, 1.0)), nets(matrix(0.0, -0.5))
    noisy = nets(matrix(0.05, -0.5))
    noisy["net"] += np.where(noisy["patient_id"].str[1:].astype(int) % 2, 1.0, -1.0)
    models = {("before", 0): before, ("pair", 0): still, ("pair", 1): noisy, ("pair", 2): before}
    rows = falls(models, BLIND, pairs_of(before), [(A, B)], RULES, "before")
    assert list(rows["reacts"]) == [1, 1]
    assert list(rows["alive"]) == [(0,), (2,)]


def test_a_seed_whose_head_is_dead_falls_by_nothing():
    """Its share of nothing would be 0, and make the fall of the others look larger."""
    before, better = nets(matrix(3.0, 1.0)), nets(matrix(3.0, 0.5))
    dead = nets(matrix(0.0, 0.0))
    models = {("before", 0): before, ("pair", 0): better, ("pair", 1): dead}
    mean = falls(models, BLIND, pairs_of(before), [(A, B)], RULES, "before").iloc[1]
    alone = {key: table for key, table in models.items() if key != ("pair", 1)}
    alone = falls(alone, BLIND, pairs_of(before), [(A, B)], RULES, "before").iloc[1]
    assert mean["fall"] == pytest.approx(alone["fall"] / 2)
    # One that its own finding moves no longer, and the other one does, is worse, not better.
    worse = models | {("pair", 1): nets(matrix(0.0, 4.0))}
    assert falls(worse, BLIND, pairs_of(before), [(A, B)], RULES, "before").iloc[1]["fall"] < 0


def test_the_mean_over_pairs_is_of_the_fewest_patients_behind_any():
    pairs = [(A, B), (C, A)]
    before = nets(matrix(3.0, 1.0, pairs=pairs))
    counted = pairs_of(before)
    counted = counted[~counted["pair_id"].isin([f"{C}-{i}" for i in range(5, N)])]
    models = {("before", 0): before}
    rows = falls(models, BLIND, counted, pairs, RULES.but(exact=True), "before")
    assert dict(zip(rows["cause"], rows["n"], strict=True)) == {A: N, C: 5, "": 5}
