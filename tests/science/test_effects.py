"""Effects against known truth: tables are built from effects that are known by construction."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from roentmod.errors import AuditError
from roentmod.science import effects
from roentmod.science.effects import JUDGE, Rules
from roentmod.science.stress import stress

FINDINGS = ("Edema", "Mass", "Nodule")
QUICK = Rules(resamples=400, flips=999)


def table(truth, *, patients=40, noise=0.3, seeds=(0,), classifier="model", drift=0.0, seed=1):
    """Predictions whose net effect on (edited, read) is `truth`, plus noise a patient.

    `drift` moves counterfactual and sham alike: what an editor does besides.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        for edited in FINDINGS:
            for s in seeds:
                for read in FINDINGS:
                    base = rng.normal(-2, 1)
                    net = truth.get((edited, read), 0.0) + rng.normal(0, noise)
                    for arm, moved in (("counterfactual", net), ("sham", 0.0)):
                        rows.append(
                            {
                                "classifier": classifier,
                                "baseline_id": f"b{patient}",
                                "patient_id": f"p{patient}",
                                "pair_id": f"{edited}-{s}",
                                "edit_id": f"{edited}-{s}-{arm}",
                                "action": "add",
                                "arm": arm,
                                "edited_finding": edited,
                                "severity": "",
                                "strength": 0.4,
                                "seed": s,
                                "read_finding": read,
                                "logit_baseline": base,
                                "logit_edited": base + drift + moved,
                            }
                        )
    return pd.DataFrame(rows)


OWN = {(name, name): 4.0 for name in FINDINGS}


def judged(truth, judge=None, rules=QUICK, **options):
    nets = effects.net_effects(table(truth, **options))
    seen = effects.net_effects(table(judge or OWN, classifier=JUDGE, seed=2))
    return effects.cells(nets, seen, rules).set_index(["edited", "read"])


def test_net_effect_takes_the_sham_off():
    """A drift that both arms share is no effect."""
    nets = effects.net_effects(table(OWN, drift=3.0, noise=0))
    off = nets[nets["edited_finding"] != nets["read_finding"]]
    assert np.allclose(off["net"], 0)
    own = nets[nets["edited_finding"] == nets["read_finding"]]
    assert np.allclose(own["net"], 4)


def test_categorical_columns_change_no_number():
    made = pd.concat([table(OWN), table(OWN, classifier=JUDGE, seed=2)], ignore_index=True)
    made.loc[made["baseline_id"].eq(made["baseline_id"].iloc[0]), "action"] = "remove"
    texts = [name for name in made if not pd.api.types.is_numeric_dtype(made[name])]
    tables = []
    for one in (made, made.astype(dict.fromkeys(texts, "category"))):
        nets = effects.net_effects(one)
        counted, gated = effects.gate(nets, QUICK)
        nets = nets.merge(counted, on=["baseline_id", "pair_id"])
        model, judge = (nets[nets["classifier"] == name] for name in ("model", JUDGE))
        tables.append((gated, effects.cells(model, judge, QUICK)))
    for plain, coded in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(plain, coded, check_dtype=False)
        assert len(plain)


def test_probability_is_that_of_the_logit():
    nets = effects.net_effects(table(OWN, noise=0))
    made = table(OWN, noise=0)
    one = made[(made["edited_finding"] == "Mass") & (made["read_finding"] == "Mass")]
    chance = 1 / (1 + np.exp(-one["logit_edited"]))
    wanted = chance[one["arm"] == "counterfactual"].mean() - chance[one["arm"] == "sham"].mean()
    rows = nets[(nets["edited_finding"] == "Mass") & (nets["read_finding"] == "Mass")]
    assert rows["net_p"].mean() == pytest.approx(wanted, abs=1e-12)


def test_a_pair_without_its_sham_is_left_out():
    made = table(OWN)
    lost = (made["arm"] == "sham") & (made["baseline_id"] == "b3")
    nets = effects.net_effects(made[~lost])
    assert "b3" not in set(nets["baseline_id"])
    assert nets["baseline_id"].nunique() == 39


def test_shortcut_suppression_and_honest_cells():
    cells = judged(OWN | {("Edema", "Mass"): 2.0, ("Mass", "Nodule"): -2.0})
    assert cells.loc[("Edema", "Mass"), "verdict"] == "shortcut"
    assert cells.loc[("Edema", "Mass"), "corrected"] == pytest.approx(0.5, abs=0.05)
    assert cells.loc[("Edema", "Mass"), "margin"] == pytest.approx(0.8, abs=0.05)
    assert cells.loc[("Mass", "Nodule"), "verdict"] == "suppression"
    assert cells.loc[("Nodule", "Edema"), "verdict"] == "within margin"
    assert cells.loc[("Mass", "Mass"), "verdict"] == "on target"
    assert np.isnan(cells.loc[("Mass", "Mass"), "q"])


def test_a_small_sure_effect_is_no_shortcut():
    """Significant, but a tenth of the head's own reaction: within the margin of a fifth."""
    cells = judged(OWN | {("Edema", "Mass"): 0.4}, noise=0.2)
    assert cells.loc[("Edema", "Mass"), "q"] < 0.05
    assert cells.loc[("Edema", "Mass"), "verdict"] == "within margin"
    strict = judged(OWN | {("Edema", "Mass"): 0.4}, noise=0.2, rules=Rules(margin=0.05, flips=999))
    assert strict.loc[("Edema", "Mass"), "verdict"] == "shortcut"


def test_what_the_judge_also_sees_is_leakage():
    shown = OWN | {("Edema", "Mass"): 2.0}
    cells = judged(shown, judge=shown)
    # More than half of the effect is too much to rest on a judge.
    assert cells.loc[("Edema", "Mass"), "verdict"] == "needs readers"
    assert "readers" not in effects.verdict(cells.reset_index())
    assert cells.loc[("Edema", "Mass"), "corrected"] == pytest.approx(0, abs=0.05)
    little = judged(OWN | {("Edema", "Mass"): 1.1}, judge=OWN | {("Edema", "Mass"): 0.5}, noise=0.2)
    assert little.loc[("Edema", "Mass"), "verdict"] == "leakage"
    # A painter's picture shows nothing besides, so the judge is wrong and the shortcut stands.
    exact = judged(shown, judge=shown, rules=Rules(exact=True, flips=999))
    assert exact.loc[("Edema", "Mass"), "verdict"] == "shortcut"


def test_a_shortcut_beyond_the_leakage_is_found():
    cells = judged(OWN | {("Edema", "Mass"): 3.2}, judge=OWN | {("Edema", "Mass"): 1.2})
    assert cells.loc[("Edema", "Mass"), "verdict"] == "shortcut"
    assert cells.loc[("Edema", "Mass"), "corrected"] == pytest.approx(0.5, abs=0.05)


def test_a_head_that_knows_nothing_but_the_shortcut_is_found():
    """Blind to its own finding, it is measured by the edited finding's head."""
    truth = {("Edema", "Edema"): 4.0, ("Edema", "Mass"): 2.0, ("Nodule", "Nodule"): 4.0}
    cells = judged(truth)
    assert cells.loc[("Edema", "Mass"), "verdict"] == "shortcut"
    assert "blind" in cells.loc[("Edema", "Mass"), "reason"]
    assert cells.loc[("Edema", "Mass"), "ratio"] == pytest.approx(0.5, abs=0.05)
    # It is never cleared by a yardstick that is not its own.
    assert cells.loc[("Nodule", "Mass"), "verdict"] == "no yardstick"


def test_a_shortcut_of_a_head_that_hardly_knows_its_finding_says_so():
    """A share of so little is much, whatever taught the head so."""
    truth = OWN | {("Mass", "Mass"): 0.3, ("Edema", "Mass"): 0.25, ("Edema", "Nodule"): 3.0}
    cells = judged(truth, noise=0.1)
    weak, strong = (cells.loc[("Edema", read)] for read in ("Mass", "Nodule"))
    assert weak["verdict"] == strong["verdict"] == "shortcut"
    assert "Mass itself moves the head by 0.3" in weak["reason"]
    assert "hardly knows it." in weak["reason"]
    assert "hardly" not in strong["reason"]


def test_a_head_whose_finding_was_not_edited_has_no_yardstick():
    made = table(OWN | {("Edema", "Mass"): 2.0})
    nets = effects.net_effects(made[made["edited_finding"] != "Mass"])
    seen = effects.net_effects(table(OWN, classifier=JUDGE, seed=2))
    cells = effects.cells(nets, seen, QUICK).set_index(["edited", "read"])
    assert cells.loc[("Edema", "Mass"), "verdict"] == "no yardstick"
    assert np.isnan(cells.loc[("Edema", "Mass"), "ratio"])


def test_leakage_must_be_seen_by_the_judge():
    """Few patients cannot make a large effect significant; that is not leakage, but undecided."""
    strict = Rules(level=0.999, flips=999, resamples=400)
    cells = judged(OWN | {("Edema", "Mass"): 3.0}, patients=20, rules=strict)
    assert cells.loc[("Edema", "Mass"), "verdict"] == "undecided"
    half = OWN | {("Edema", "Mass"): 1.1}
    weak = judged(half, judge=OWN | {("Edema", "Mass"): 0.1}, noise=0.5)
    assert weak.loc[("Edema", "Mass"), "verdict"] != "leakage"


def test_a_negative_leak_is_not_taken_off():
    """The judge lowers Mass; that does not make the classifier's own small effect a rise."""
    cells = judged(OWN | {("Edema", "Mass"): -0.2}, judge=OWN | {("Edema", "Mass"): -1.6})
    assert cells.loc[("Edema", "Mass"), "verdict"] == "within margin"
    assert cells.loc[("Edema", "Mass"), "corrected"] == pytest.approx(-0.05, abs=0.03)


def test_leakage_takes_off_no_more_than_there_is():
    """A small rise in pictures that show much of the finding is no suppression."""
    cells = judged(OWN | {("Edema", "Mass"): 0.2}, judge=OWN | {("Edema", "Mass"): 2.0})
    assert cells.loc[("Edema", "Mass"), "verdict"] == "within margin"
    assert cells.loc[("Edema", "Mass"), "corrected"] == 0


def test_without_the_judge_nothing_is_cleared_nor_blamed():
    nets = effects.net_effects(table(OWN | {("Edema", "Mass"): 3.0}))
    cells = effects.cells(nets, pd.DataFrame(), QUICK)
    off = cells[~cells["on_target"].astype(bool)]
    assert set(off["verdict"]) == {"undecided"}
    assert off["reason"].str.contains("judge").all()


def test_what_no_pair_is_left_of_counts_against_a_clean_verdict():
    made = table(OWN)
    nets = effects.net_effects(made[made["edited_finding"] != "Edema"])
    seen = effects.net_effects(table(OWN, classifier=JUDGE, seed=2))
    cells = effects.cells(nets, seen, QUICK, edited=FINDINGS, read=FINDINGS)
    assert len(cells) == 9
    lost = cells[cells["edited"] == "Edema"]
    assert (lost["n"] == 0).all()
    assert set(lost["verdict"]) == {"too few"}
    assert effects.verdict(cells) == "undecided"


def test_few_patients_are_not_judged_and_noise_is_undecided():
    few = judged(OWN, patients=19)
    assert (few["verdict"] == "too few").all()
    assert few["effect"].notna().all()
    cells = judged(OWN | {("Edema", "Mass"): 0.9}, noise=6.0, seed=3)
    off = cells[~cells["on_target"].astype(bool)]
    assert off.loc[("Edema", "Mass"), "verdict"] == "undecided"


def test_seeds_count_within_a_patient():
    """Twenty seeds of six patients are six patients."""
    cells = judged(OWN, patients=12, seeds=(0, 1, 2))
    assert (cells["n"] == 12).all()


@pytest.mark.slow
def test_the_interval_covers_the_effect_as_often_as_its_level_says():
    """All nine cells of many audits, against the effects that were put in."""
    quick, truth, hits, total = QUICK.but(flips=199, resamples=1000), OWN, 0, 0
    for seed in range(60):
        cells = judged(truth, noise=1.0, seed=seed, rules=quick)
        for key, row in cells.iterrows():
            hits += row["low"] <= truth.get(key, 0.0) <= row["high"]
            total += 1
    # The percentile bootstrap of 40 normal values covers as 1.96 of their deviations / sqrt(40),
    # without Bessel's correction.
    share = 1 - 2 * scipy_stats.t.sf(1.96 * np.sqrt(39 / 40), 39)
    low, high = scipy_stats.binom.interval(0.99, total, share)
    assert low <= hits <= high


def test_gate_counts_only_what_the_judge_sees():
    weak = {(name, name): 0.2 for name in FINDINGS} | {("Edema", "Edema"): 4.0}
    nets = effects.net_effects(
        pd.concat([table(OWN), table(weak, classifier=JUDGE, noise=0.01, seed=2)])
    )
    counted, gate = effects.gate(nets, QUICK)
    gate = gate.set_index("edited")
    assert gate.loc["Edema", "share"] == 1
    assert gate.loc["Mass", "passed"] == 0
    assert gate.loc["Edema", "judge_effect"] == pytest.approx(4, abs=0.05)
    assert set(counted["pair_id"]) == {"Edema-0"}


def test_findings_the_judge_does_not_read_pass_ungated():
    other = table(OWN, classifier=JUDGE)
    nets = effects.net_effects(pd.concat([table(OWN), other[other["read_finding"] != "Mass"]]))
    counted, gate = effects.gate(nets, QUICK)
    assert gate.set_index("edited").loc["Mass", "share"] == 1
    assert np.isnan(gate.set_index("edited").loc["Mass", "judge_effect"])
    assert len(counted) == 3 * 40


def test_removals_are_measured_from_the_unedited_radiograph_with_their_sign_turned():
    """A sham that is told "normal" removes as well: here it does so completely."""
    made = table({key: -value for key, value in OWN.items()}).assign(action="remove")
    sham = made["arm"] == "sham"
    made.loc[sham, "logit_edited"] -= 4.0
    cells = effects.cells(effects.net_effects(made), pd.DataFrame(), QUICK)
    own = cells[cells["on_target"].astype(bool)]
    assert (own["effect"] > 3.5).all()


@pytest.mark.parametrize(
    ("verdicts", "all_in_all"),
    [
        (["shortcut", "undecided"], "shortcuts found"),
        (["within margin", "leakage", "suppression"], "no shortcut beyond the margin"),
        (["within margin", "undecided"], "undecided"),
        (["within margin", "too few"], "undecided"),
        (["no yardstick"], "undecided"),
    ],
)
def test_verdict_in_all(verdicts, all_in_all):
    cells = pd.DataFrame({"on_target": False, "verdict": verdicts})
    assert effects.verdict(cells) == all_in_all


def test_score_is_the_largest_share_and_bounded():
    """Half of the own effect is a third of all that moves the head."""
    cells = judged(OWN | {("Edema", "Mass"): 2.0, ("Mass", "Nodule"): -3.0}).reset_index()
    score = effects.score(cells)
    assert score.value == pytest.approx(1 / 3, abs=0.03)
    assert score.low < score.value < score.high
    # The low end holds for all cells at once, so it is below that of the cell alone.
    row = cells.set_index(["edited", "read"]).loc[("Edema", "Mass")]
    assert score.low < row["corrected_low"] / (1 + row["corrected_low"])
    honest = judged({**OWN, ("Mass", "Nodule"): -3.0}, noise=0).reset_index()
    assert effects.score(honest).value == pytest.approx(0, abs=0.03)


def test_score_of_a_head_that_hardly_knows_its_finding_stays_below_one():
    """18.9 was once a score: a mean of ratios with tiny denominators."""
    cells = judged(
        OWN | {("Mass", "Mass"): 0.15, ("Edema", "Mass"): 3.0}, patients=60
    ).reset_index()
    assert cells["corrected"].max() > 5
    score = effects.score(cells)
    assert 0.8 < score.low <= score.value <= score.high <= 1


def test_score_of_a_head_that_another_finding_alone_moves_is_one():
    """Its share is of another head's effect: half of Edema's own is no third of what moves Mass."""
    truth = {("Edema", "Edema"): 4.0, ("Edema", "Mass"): 2.0, ("Nodule", "Nodule"): 4.0}
    cells = judged(truth).reset_index()
    assert effects.score(cells).value == effects.score(cells).high == 1
    # What its own finding may do besides is small beside it.
    assert 0.9 < effects.score(cells).low < 1
    unsure = judged(truth, noise=2.0).reset_index()
    assert 0.5 < effects.score(unsure).low < effects.score(cells).low


def test_cells_of_a_blind_head_that_are_no_shortcut_have_no_part_in_the_score():
    truth = {("Edema", "Edema"): 4.0, ("Edema", "Mass"): 0.5, ("Nodule", "Nodule"): 4.0}
    truth |= {("Nodule", "Edema"): 1.0}
    cells = judged(truth).reset_index()
    assert cells.set_index(["edited", "read"]).loc[("Edema", "Mass"), "corrected"] > 0.1
    assert effects.score(cells).value == pytest.approx(0.2, abs=0.03)
    assert effects.score(cells).blind == ("Mass",)
    blind = cells[cells["read"] == "Mass"]
    assert set(blind["verdict"]) == {"on target", "no yardstick"}
    assert effects.score(blind) is None


def test_score_of_cells_of_earlier_versions_has_no_interval():
    old = pd.DataFrame({"on_target": [False], "verdict": ["shortcut"], "corrected": [3.0]})
    score = effects.score(old)
    assert score.value == pytest.approx(0.75)
    assert np.isnan([score.low, score.high]).all()


def test_order_of_rows_changes_nothing():
    nets = effects.net_effects(table(OWN | {("Edema", "Mass"): 1.0}))
    mixed = nets.sample(frac=1, random_state=3)
    one = effects.cells(nets, pd.DataFrame(), QUICK)
    other = effects.cells(mixed, pd.DataFrame(), QUICK)
    pd.testing.assert_frame_equal(one, other)


def test_doses_rise():
    parts = []
    for level, factor in (("mild", 0.3), ("moderate", 0.6), ("severe", 1.0)):
        part = table({key: factor * value for key, value in OWN.items()}, noise=0.2)
        nets = effects.net_effects(part.assign(severity=level, pair_id=part["pair_id"] + level))
        parts.append(nets.assign(dose=level))
    levels = [("mild", 1.0), ("moderate", 2.0), ("severe", 3.0)]
    found = effects.doses(pd.concat(parts), levels, QUICK)
    own = found[(found["edited"] == "Mass") & (found["read"] == "Mass")]
    assert np.allclose(own["effect"], [1.2, 2.4, 4.0], atol=0.2)
    assert (own["trend_p"] < 0.01).all()
    off = found[(found["edited"] == "Mass") & (found["read"] == "Edema")]
    assert (off["trend_p"] > 0.01).all()


def test_subgroups_differ_where_they_do():
    """Women react twice as much as men."""
    nets = effects.net_effects(table(OWN, noise=0.5))
    patients = pd.DataFrame(
        {"sex": ["F" if i % 2 else "M" for i in range(40)], "site": ""},
        index=[f"p{i}" for i in range(40)],
    )
    women = nets["patient_id"].map(patients["sex"]) == "F"
    mass = nets["read_finding"].eq("Mass") & nets["edited_finding"].eq("Mass")
    nets.loc[women & mass, "net"] += 4.0
    found = effects.subgroups(nets, patients, ("sex", "site"), QUICK)
    assert set(found["attribute"]) == {"sex"}
    own = found[(found["edited"] == "Mass") & (found["read"] == "Mass")].set_index("group")
    assert own.loc["F", "effect"] - own.loc["M", "effect"] == pytest.approx(4, abs=0.6)
    assert (own["interaction_q"] < 0.01).all()
    rest = found[(found["edited"] != "Mass") | (found["read"] != "Mass")]
    assert (rest["interaction_q"] > 0.05).mean() > 0.9


def test_stress_tells_clean_negatives_from_others():
    """A head for Mass that reads Edema: perfect against clean, blind against Edema."""
    rng = np.random.default_rng(0)
    groups = ["Mass"] * 30 + ["Edema"] * 30 + ["clean"] * 30
    states = pd.DataFrame(
        {name: ["positive" if g == name else "unmentioned" for g in groups] for name in FINDINGS},
        index=[f"i{n}" for n in range(90)],
    )
    states["clean"] = [g == "clean" for g in groups]
    states["drawn"] = [g.replace("clean", "") for g in groups]
    # Drawn for Edema, it carries a Mass as well: no positive of Mass, and no negative either.
    states.loc["i30", "Mass"] = "positive"
    logit = np.array([{"Mass": 3.0, "Edema": 3.0, "clean": 0.0}[g] for g in groups])
    readings = pd.DataFrame(
        {
            "image_id": states.index,
            "patient_id": [f"p{n}" for n in range(90)],
            "read_finding": "Mass",
            "logit": logit + rng.normal(0, 0.5, 90),
        }
    )
    found = stress(readings, states, FINDINGS, QUICK).set_index("against")
    assert found.loc["clean", "auc"] > 0.99
    assert found.loc["clean", "n_positive"] == 30
    assert found.loc["Edema", "n_negative"] == 29
    assert found.loc["Edema", "auc"] == pytest.approx(0.5, abs=0.15)
    assert found.loc["Edema", "drop"] == pytest.approx(
        found.loc["clean", "auc"] - found.loc["Edema", "auc"], abs=1e-9
    )
    assert found.loc["Edema", "drop_p"] < 1e-4
    assert "Nodule" not in found.index


@pytest.mark.parametrize("wrong", [{"margin": 0}, {"level": 1}, {"fewest": 2}, {"resamples": 10}])
def test_rules_out_of_range_are_refused(wrong):
    with pytest.raises(AuditError, match="must be"):
        Rules(**wrong)
