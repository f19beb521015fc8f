"""Tests at the margin against closed forms, other libraries, and truth by construction."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from bench import verdicts
from roentmod.errors import AuditError
from roentmod.science import effects, margins, stats
from roentmod.science.effects import JUDGE, Rules

pytestmark = pytest.mark.slow

FINDINGS = ("Edema", "Mass")
QUICK = Rules(resamples=2000, flips=199)


def terms(off, own):
    nothing = np.zeros_like(off)
    return margins.Terms(off, own, nothing, own, own)


def test_step_down_is_holms_where_statistics_exclude_each_other():
    """One column at a time exceeds: the chance of the largest is the sum of the chances."""
    chance = np.kron(np.eye(4), np.random.default_rng(0).exponential(size=(250, 1)))
    observed = np.array([2.5, 1.0, 0.4, 3.0])
    plain = (chance >= observed).mean(axis=0)
    holm = multipletests(plain, method="holm")[1]
    np.testing.assert_allclose(stats.step_down(observed, chance), holm, atol=0.002)


def test_step_down_of_independent_statistics_is_step_down_sidak():
    chance = np.random.default_rng(1).normal(size=(200_000, 5))
    observed = np.array([0.3, 2.6, 1.9, 2.2, 1.2])
    sidak = multipletests(scipy_stats.norm.sf(observed), method="holm-sidak")[1]
    np.testing.assert_allclose(stats.step_down(observed, chance), sidak, atol=0.005)
    one = stats.step_down([np.nan, 1.9], chance[:, :2])
    assert np.isnan(one[0])
    assert one[1] == pytest.approx(scipy_stats.norm.sf(1.9), abs=0.003)
    # Copies of one statistic are one test.
    copies = stats.step_down([1.9] * 3, np.repeat(chance[:, :1], 3, axis=1))
    np.testing.assert_allclose(copies, scipy_stats.norm.sf(1.9), atol=0.003)
    with pytest.raises(AuditError, match="one column per statistic"):
        stats.step_down([1.0], chance)


def test_one_cell_is_a_t_test_of_the_contrast_and_its_interval_is_fiellers():
    rng = np.random.default_rng(3)
    off, own = rng.normal(1.1, 1.0, (60, 1)), rng.normal(4.0, 1.5, (60, 1))
    found = margins.shares(terms(off, own), QUICK.but(exact=True, resamples=20_000))
    test = scipy_stats.ttest_1samp((off - 0.2 * own)[:, 0], 0, alternative="greater")
    assert found.beyond_p[0] == pytest.approx(test.pvalue, abs=0.012)
    # Fieller: all r at which the t test of off - r x own does not reject at 5 %.
    grid = np.linspace(-0.2, 0.8, 4001)
    t = scipy_stats.ttest_1samp(off - grid * own, 0).pvalue
    kept = grid[t >= 0.05]
    assert found.ratio_low[0] == pytest.approx(kept[0], abs=0.015)
    assert found.ratio_high[0] == pytest.approx(kept[-1], abs=0.015)
    assert found.least[0] == pytest.approx(found.corrected_low[0])


def test_a_divisor_that_may_be_zero_has_no_bounds_and_no_false_verdict():
    rng = np.random.default_rng(4)
    off, own = rng.normal(0.0, 1.0, (40, 1)), rng.normal(0.05, 1.0, (40, 1))
    found = margins.shares(terms(off, own), QUICK.but(exact=True))
    assert np.isinf([found.ratio_low[0], found.ratio_high[0]]).any()
    assert min(found.beyond_p[0], found.within_p[0]) > 0.025


def test_groups_of_patients_are_as_sure_as_patients():
    rng = np.random.default_rng(5)
    off, own = rng.normal(0.8, 2.0, (9000, 2)), rng.normal(4.0, 1.5, (9000, 2))
    found = margins.shares(terms(off, own), QUICK.but(exact=True))
    error = (off - found.ratio * own).std(axis=0) / np.sqrt(9000) / own.mean(axis=0)
    np.testing.assert_allclose(found.ratio_high - found.ratio, 1.96 * error, rtol=0.08)


def test_detectable_of_one_cell_is_that_of_a_one_sided_t_test_at_the_margin():
    # Quantiles of the normal distribution, so that the patients are no more skewed than it is.
    spread = scipy_stats.norm.ppf((np.arange(60) + 0.5) / 60)[:, None]
    off, own = 1.0 + 1.2 * spread, 4.0 + 1.5 * np.random.default_rng(6).permutation(spread)
    found = margins.shares(terms(off, own), QUICK.but(exact=True, resamples=20_000))
    deviation = (off - 0.2 * own).std(ddof=1)
    beyond = TTestPower().solve_power(None, 60, 0.025, 0.8, alternative="larger") * deviation
    assert found.detectable[0] - 0.2 * own.mean() == pytest.approx(beyond, rel=0.04)


@pytest.mark.parametrize(("shape", "low", "high"), [("normal", 0.74, 0.86), ("skewed", 0.6, 0.8)])
def test_what_is_detectable_is_called_in_80_of_100_audits(shape, low, high):
    """One of six cells is shifted to what other patients like these say is detectable.

    Of effects as skewed as an exponential, 40 patients say too little, and 7 of 10 are called.
    """
    rules, n = QUICK.but(exact=True, resamples=400), 40

    def drawn(rng, shift=0.0):
        own = 4.0 + verdicts.noise(rng, shape, n, 6)
        off = 0.3 + 1.2 * verdicts.noise(rng, shape, n, 6)
        return off + shift * (np.arange(6) == 0), own

    shown = [
        margins.shares(terms(*drawn(np.random.default_rng([1, k]))), rules).detectable[0]
        for k in range(40)
    ]
    shift = float(np.mean(shown)) - 0.3
    runs = [
        margins.shares(terms(*drawn(np.random.default_rng([2, k]), shift)), rules).beyond_p[0]
        for k in range(200)
    ]
    assert low <= (np.array(runs) <= 0.025).mean() <= high


def test_nothing_is_detectable_where_the_resamples_cannot_reach_the_level():
    rng = np.random.default_rng(7)
    off, own = rng.normal(1.0, 1.2, (40, 1)), rng.normal(4.0, 1.5, (40, 1))
    found = margins.shares(terms(off, own), QUICK.but(exact=True, resamples=200, level=0.995))
    assert np.isnan(found.detectable[0])
    assert found.beyond_p[0] > 0.0025


@pytest.mark.parametrize("shape", ["normal", "skewed"])
def test_at_the_margin_few_audits_are_wrong(shape):
    """Thirty cells exactly at the margin, 20 patients: unadjusted, half of audits call some."""
    wrong = np.mean([verdicts.audit(i, 20, shape) for i in range(40)], axis=0)
    assert wrong.max() <= 0.125, wrong


@pytest.mark.parametrize("scene", ["_leaking_little", "_weak", "_gated"])
def test_weak_yardsticks_gates_and_small_leaks_make_no_more_audits_wrong(scene):
    wrong = np.mean([verdicts.audit(i, 20, "normal", scene) for i in range(10)], axis=0)
    assert wrong.max() <= 0.2, wrong


def test_few_of_many_patients_are_as_sure_as_few():
    """Twenty of 200 count: resamples that took the others for patients were wrong in 11 %."""
    wrong = np.mean([verdicts.audit(i, 200, "normal", "_sparse") for i in range(60)], axis=0)
    assert wrong.max() <= 0.07, wrong


def test_a_simulation_that_was_stopped_goes_on(tmp_path, monkeypatch):
    rows = {}

    def row(n, shape, count, pool):
        if len(rows) == 3 and "stopped" not in rows:
            rows["stopped"] = 0
            raise KeyboardInterrupt
        rows[n, shape] = rows.get((n, shape), 0) + 1
        return {"n": n, "shape": shape, "simulations": count}

    out = tmp_path / "verdicts.json"
    given = ["verdicts", "--out", str(out), "--run", str(tmp_path / "run"), "--simulations", "2"]
    monkeypatch.setattr(verdicts, "row", row)
    monkeypatch.setattr("sys.argv", given)
    with pytest.raises(KeyboardInterrupt):
        verdicts.main()
    assert not out.exists()
    verdicts.main()
    assert {count for name, count in rows.items() if name != "stopped"} == {1}
    told = [(one["n"], one["shape"]) for one in json.loads(out.read_text())]
    assert told == [(n, shape) for shape in verdicts.SHAPES for n in verdicts.PATIENTS]
    assert not list((tmp_path / "run").iterdir())


def test_a_cell_is_the_same_beside_one_that_lacks_a_patient():
    """Means of the same patients are resampled as one, others each for themselves."""
    rng = np.random.default_rng(5)
    five = [rng.normal(mean, 1, (30, 2)) for mean in (1, 4, 0.3, 4, 3)]
    whole = margins.shares(margins.Terms(*five), QUICK)
    five[0][0, 1] = np.nan
    beside = margins.shares(margins.Terms(*five), QUICK)
    for name in ("ratio", "leak", "corrected"):
        for end in ("", "_low", "_high"):
            same = getattr(beside, name + end)[0]
            assert getattr(whole, name + end)[0] == pytest.approx(same, abs=1e-9)
    assert beside.ratio[1] != whole.ratio[1]


def test_no_cells_are_no_shares():
    nobody = margins.shares(margins.Terms(*[np.zeros((30, 0))] * 5), QUICK)
    assert all(column.shape == (0,) for column in nobody)


def test_a_mean_of_some_patients_varies_by_those_who_are_drawn():
    """Chance of a term is that of a bootstrap-t of its own patients, however many others are."""
    rng = np.random.default_rng(5)
    off, own = rng.exponential(size=(12, 1)) + 0.4, rng.normal(4, 0.1, (12, 1))
    alone = margins.shares(terms(off, own), QUICK.but(exact=True, resamples=20_000))
    off = np.concatenate([off, np.full((588, 1), np.nan)])
    own = np.concatenate([own, rng.normal(4, 0.1, (588, 1))])
    among = margins.shares(terms(off, own), QUICK.but(exact=True, resamples=20_000))
    assert among.ratio_low[0] == pytest.approx(alone.ratio_low[0], abs=0.007)
    assert among.ratio_high[0] == pytest.approx(alone.ratio_high[0], abs=0.01)


def reader(rng, who, n, means, *, noise=0.56, shared=0.0, seeds=1):
    """Net effects of one reader, whose errors in a picture are partly `shared` by its heads."""
    rows = []
    for edited in FINDINGS:
        for seed in range(seeds):
            common = rng.normal(size=n) * np.sqrt(shared)
            for read in FINDINGS:
                error = common + rng.normal(size=n) * np.sqrt(1 - shared)
                rows.append(
                    pd.DataFrame(
                        {
                            "classifier": who,
                            "baseline_id": np.arange(n),
                            "patient_id": np.arange(n),
                            "pair_id": f"{edited}-{seed}",
                            "action": "add",
                            "edited_finding": edited,
                            "read_finding": read,
                            "net": means[edited, read] + noise * error,
                            "net_p": 0.0,
                        }
                    )
                )
    return pd.concat(rows, ignore_index=True)


# The judge lets 56 % of the pictures pass; they show 0.30 of the other finding.
SHOWN = {(a, b): 1.084 * (1.0 if a == b else 0.30) for a in FINDINGS for b in FINDINGS}
HONEST = {(a, b): 4.0 * (1.0 if a == b else 0.30) for a in FINDINGS for b in FINDINGS}


@pytest.mark.parametrize(("shared", "second"), [(0, 0), (0.5, 1)])
def test_leakage_is_measured_where_the_gate_did_not_choose(shared, second):
    """The same judge's readings chose and measured: 0.30 was measured as 0.22."""
    found, passed, rules = [], [], QUICK.but(resamples=200)
    for number in range(3):
        rng = np.random.default_rng([8, number])
        model = reader(rng, "model", 4000, HONEST, noise=1.0)
        judge = reader(rng, JUDGE, 4000, SHOWN, shared=shared)
        counted, gate = effects.gate(model, rules, judge=judge)
        passed.append(gate["share"].mean())
        seen = reader(rng, "other", 4000, SHOWN, shared=shared) if second else judge
        cells = effects.cells(
            model,
            seen,
            rules,
            counted=counted,
            witness="second" if second else "gate",
        )
        off = cells[~cells["on_target"].astype(bool)]
        found.append(off[["leak", "corrected"]].mean())
        assert (off["n_all"] == 4000).all()
        assert (off["n"] < 4000).all()
    assert np.mean(passed) == pytest.approx(0.56, abs=0.02)
    mean = pd.DataFrame(found).mean()
    assert mean["leak"] == pytest.approx(0.30, abs=0.015)
    assert mean["corrected"] == pytest.approx(0, abs=0.02)


def test_a_pair_is_cleared_by_what_other_pictures_leak():
    """Nothing leaks, but the judge's errors go together: pictures it chose seem to show both."""
    rng = np.random.default_rng(10)
    model = reader(rng, "model", 300, HONEST, noise=1.0, seeds=2)
    clean = {key: value * (key[0] == key[1]) for key, value in SHOWN.items()}
    judge = reader(rng, JUDGE, 300, clean, shared=0.9, seeds=2)
    counted, _ = effects.gate(model, QUICK, judge=judge)
    for witness, cleared in (("gate", False), ("second", True)):
        cells = effects.cells(model, judge, QUICK, counted=counted, witness=witness)
        off = cells[~cells["on_target"].astype(bool)]
        assert ((off["within_p"] <= 0.025) == cleared).all()
        assert off["leak"].to_numpy() == pytest.approx(0.33, abs=0.05)


def test_edits_that_did_not_come_out_make_no_shortcut():
    """What leaks is in the pictures that show the edit; a patient's others show nothing at all."""
    rng = np.random.default_rng(11)
    shown = {key: 4.0 * (1.0 if key[0] == key[1] else 0.5) for key in HONEST}
    model, judge = (reader(rng, who, 200, shown, seeds=3) for who in ("model", JUDGE))
    came_out = rng.random((200, 2, 3)) < 0.4
    at = came_out[
        model["patient_id"],
        model["edited_finding"].map(FINDINGS.index),
        model["pair_id"].str[-1].astype(int),
    ]
    model, judge = (
        one.assign(net=np.where(at, one["net"], 0.1 * one["net"] - 0.1 * one["net"].mean()))
        for one in (model, judge)
    )
    counted, gate = effects.gate(model, QUICK, judge=judge)
    assert gate["share"].to_numpy() == pytest.approx(0.4, abs=0.06)
    cells = effects.cells(model, judge, QUICK, counted=counted)
    off = cells[~cells["on_target"].astype(bool)]
    assert off["leak"].to_numpy() == pytest.approx(0.5, abs=0.03)
    assert (off["verdict"] == "needs readers").all()


def test_ungated_effects_stand_beside_the_gated():
    """Half of the pictures show nothing, and neither judge nor head sees anything there."""
    rng = np.random.default_rng(9)
    model, judge = (reader(rng, who, 80, HONEST, noise=0.1) for who in ("model", JUDGE))
    empty = (judge["baseline_id"] % 2 == 0).to_numpy()
    model.loc[empty, "net"] = judge.loc[empty, "net"] = 0.0
    counted, _ = effects.gate(model, QUICK, judge=judge)
    cells = effects.cells(model, judge, QUICK, counted=counted).set_index(["edited", "read"])
    own = cells.loc[("Mass", "Mass")]
    assert (own["n"], own["n_all"]) == (40, 80)
    assert own["effect"] == pytest.approx(4, abs=0.1)
    assert own["effect_all"] == pytest.approx(2, abs=0.1)
    assert own["low_all"] < own["effect_all"] < own["high_all"]


def people(cases, leak):
    """What readers saw: the finding in all but every fifth picture, and much or little besides."""
    rows = [
        {
            "patient_id": patient,
            "edited_finding": edited,
            "seen": float(patient % 5 != 0),
            **{name: leak for name in FINDINGS if name != edited},
        }
        for patient in range(cases)
        for edited in FINDINGS
    ]
    return pd.DataFrame(rows)


def test_people_take_the_place_of_the_judge():
    model = reader(np.random.default_rng(1), "model", 60, HONEST, noise=0.3)
    seen = effects.readings(people(60, 0.24), model)
    counted, gate = effects.gate(model, QUICK, judge=seen)
    assert gate["passed"].tolist() == [48, 48]
    cells = effects.cells(model, seen, QUICK, counted=counted, witness="readers")
    off = cells[~cells["on_target"].astype(bool)]
    np.testing.assert_allclose(off["leak"], 0.24 / 0.8, atol=0.02)
    assert set(off["verdict"]) == {"leakage"}
    # The same by a judge is too much to rest on it.
    judge = effects.cells(model, seen, QUICK, counted=counted, witness="second")
    assert set(judge.loc[off.index, "verdict"]) == {"needs readers"}
    by_edit = people(60, 0.24).rename(columns={"patient_id": "baseline_id"})
    by_edit["pair_id"] = by_edit.pop("edited_finding") + "-0"
    named = effects.readings(by_edit.fillna({"Edema": 0.24, "Mass": 0.24}), model)
    assert len(named) == len(seen)


def beside_normals(cases, normals, base, rng):
    """Half of `people`'s readers see a finding in normals, too, as often as `base`."""
    table = people(cases, 0.24 + base)
    table["seen"] = np.where(table["seen"] > 0, 0.8, 0.2)
    rows = {name: rng.random(normals) < base for name in FINDINGS}
    controls = pd.DataFrame(rows, dtype=float).assign(edited_finding="", seen=np.nan)
    controls["patient_id"] = 1000 + np.arange(normals)
    return pd.concat([table, controls], ignore_index=True)


def test_what_readers_see_in_normals_is_taken_off_with_its_error():
    """The gate is of the share who see the edit; few normals leave leakage uncertain."""
    model = reader(np.random.default_rng(1), "model", 60, HONEST, noise=0.3)
    widths = []
    for normals in (10, 1000):
        table = beside_normals(60, normals, 0.2, np.random.default_rng(0))
        seen = effects.readings(table, model)
        counted, gate = effects.gate(model, QUICK, judge=seen)
        assert gate["passed"].tolist() == [48, 48]
        cells = effects.cells(model, seen, QUICK, counted=counted, witness="readers")
        off = cells[~cells["on_target"].astype(bool)]
        widths.append((off["leak_high"] - off["leak_low"]).to_numpy())
        itself = cells[cells["on_target"].astype(bool)]
        assert (itself[["leak", "leak_low", "leak_high"]] == 0).all(axis=None)
        assert set(cells["n_all"]) == {60}
    # Of the last, whose rate of 0.2 is known.
    np.testing.assert_allclose(off["leak"], 0.24 / (0.68 - 0.2), atol=0.04)
    assert (widths[0] > 3 * widths[1]).all()


def test_few_normals_clear_no_shortcut_at_the_margin():
    """What a dozen normals happen to show is common to all cells of a head, and decides none."""
    wrong, beyond, n, normals, cells = 0, 0, 80, 12, 4
    for seed in range(80):
        rng = np.random.default_rng(seed)
        off, yard, leak, seen, base = (np.full((n + normals, cells), np.nan) for _ in range(5))
        # Of the share, which is at the margin, 0.15 is what the pictures show of the finding.
        off[:n] = 4 * (0.2 + 0.15) + 0.8 * rng.normal(size=(n, cells))
        yard[:n] = 4 + 0.8 * rng.normal(size=(n, cells))
        leak[:n] = 0.3 + 0.65 * 0.15 + 0.2 * rng.normal(size=(n, cells))
        seen[:n] = 0.95 + 0.1 * rng.normal(size=(n, cells))
        base[n:] = 0.3 + 0.2 * rng.normal(size=(normals, 1))
        rules = QUICK.but(margin=0.2, resamples=200, seed=seed, exact=False)
        terms = margins.Terms(off, yard, leak, yard, seen, base=base)
        found = margins.shares(terms, rules)
        wrong += (found.within_p <= 0.025).any()
        beyond += (found.beyond_p <= 0.025).any()
    assert wrong <= 6
    assert beyond <= 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seen": 1.5}, "shares"),
        ({"Mass": -2.0}, "shares"),
        ({"patient_id": -1}, "No reading is of an edit"),
        ({"drop": "seen"}, "need seen"),
    ],
)
def test_readings_that_cannot_be_meant_are_refused(change, message):
    model = reader(np.random.default_rng(1), "model", 5, HONEST)
    table = people(5, 0.1)
    table = table.drop(columns=change["drop"]) if "drop" in change else table.assign(**change)
    with pytest.raises(AuditError, match=message):
        effects.readings(table, model)
