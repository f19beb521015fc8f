import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from roentmod.errors import DatasetError
from roentmod.science import performance as evaluation
from tests.science.performance import fake

pytestmark = pytest.mark.slow

CAUSE, READ = fake.PAIR
RULES = evaluation.Rules(resamples=200)


def one(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def planted(heads, n=200, findings=(CAUSE, READ), seeds=(0,)):
    """Return predictions of arms whose head of `READ` is a function of both labels."""
    rng = np.random.default_rng(0)
    parts = []
    for test, where in {"val": "val", "nih": "internal"}.items():
        table, labels = fake.cases(test, where, n, rng, findings=findings, rate=0.5)
        for arm, head in heads.items():
            logits = labels * 2 - 1 + 0.0
            logits[:, 1] = head(labels[:, 0], labels[:, 1])
            parts += [fake.read(table, labels, logits, arm, seed, findings) for seed in seeds]
    return pd.concat(parts)


def test_a_head_that_answers_to_the_cause_alone_is_wrong_across_and_blind_within():
    table = planted({"erm": lambda cause, read: cause, "soft": lambda cause, read: read})
    found = evaluation.pair_performance(evaluation.panels(table, RULES), [fake.PAIR], RULES)
    for name, area in {"cross": 0.0, "cause present": 0.5, "cause absent": 0.5}.items():
        assert one(found, arm="erm", slice=name)["auc"] == area
    assert (found[found["arm"] == "soft"]["auc"] == 1).all()
    compared = evaluation.pair_comparisons(evaluation.panels(table, RULES), [fake.PAIR], RULES)
    assert one(compared, arm="soft", slice="cross")["difference"] == 1
    assert one(compared, arm="soft", slice="cause present")["difference"] == 0.5


def test_slices_are_those_of_their_labels():
    table = fake.confounded(seeds=(0,), arms=("erm", "soft"))
    table.loc[(table["finding"] == CAUSE) & (table["image_id"] < "nih-00050"), "label"] = np.nan
    table.loc[table["where"] != "internal", "label"] = table["label"].fillna(0.0)
    own = table[(table["arm"] == "erm") & (table["test"] == "nih")]
    wide = own.pivot_table(index="image_id", columns="finding", values="label", dropna=False)
    logit = own[own["finding"] == READ].set_index("image_id")["logit"]
    found = evaluation.pair_performance(evaluation.panels(table, RULES), [fake.PAIR], RULES)
    for name, rows in {
        "all": wide[CAUSE].notna(),
        "cause present": wide[CAUSE] == 1,
        "cause absent": wide[CAUSE] == 0,
        "cross": wide[CAUSE] + wide[READ] == 1,
    }.items():
        row = one(found, arm="erm", test="nih", slice=name)
        chosen = wide.index[rows]
        truth = roc_auc_score(wide.loc[chosen, READ], logit[chosen])
        assert (row["n"], row["auc"]) == (len(chosen), pytest.approx(truth))
        assert row["low"] <= row["auc"] <= row["high"]


def test_an_unknown_finding_is_refused():
    own = evaluation.panels(planted({"erm": lambda cause, read: read}), RULES)
    with pytest.raises(DatasetError, match="got 'Mass' of"):
        evaluation.pair_performance(own, [("Mass", READ)], RULES)


def test_a_model_that_subtracts_the_cause_undercalls_what_comes_together():
    heads = {
        "erm": lambda cause, read: read + 2 * cause - 1.0,
        "isolated": lambda cause, read: read - 2 * cause + 0.0,
        "soft": lambda cause, read: read + 0.0,
    }
    own = evaluation.panels(planted(heads), RULES)
    points = evaluation.operating_points(own).assign(threshold=0.5)
    found = evaluation.reverse_shortcut(own, [fake.PAIR], points, RULES)
    told = {arm: one(found, arm=arm) for arm in heads}
    for arm, single, both in (("erm", 0, 1), ("isolated", 1, 0), ("soft", 1, 1)):
        assert (told[arm]["single"], told[arm]["both"]) == (single, both)
        assert told[arm]["loss"] == single - both
        assert told[arm]["change"] == single - both + 1
        assert told[arm]["auc"] == 1
        assert told[arm]["reverse"] == max(0, single - both)
        assert told[arm]["dependence"] == abs(single - both)
    scores = evaluation.reverse_scores(own, [fake.PAIR, fake.PAIR], points)
    assert one(scores, arm="isolated")["loss"] == 1
    assert set(scores["pairs"]) == {2}
    compared = evaluation.reverse_comparisons(own, [fake.PAIR], points, RULES)
    for measure in ("reverse", "dependence"):
        row = one(compared, arm="soft", reference="isolated", measure=measure)
        assert row["difference"] == -1


def test_leaning_on_the_cause_passes_no_check():
    """A loss below 0 is no reverse shortcut overcome, but a shortcut left."""
    heads = {
        "erm": lambda cause, read: read + 2 * cause - 1.0,
        "isolated": lambda cause, read: read + 0.0,
        "soft": lambda cause, read: read + 2 * cause - 1.0,
    }
    own = evaluation.panels(planted(heads, seeds=(0, 1)), RULES)
    points = evaluation.operating_points(own).assign(threshold=0.5)
    compared = evaluation.reverse_comparisons(own, [fake.PAIR], points, RULES)
    scores = evaluation.reverse_scores(own, [fake.PAIR], points)
    row = one(scores, arm="soft")
    assert (row["loss"], row["reverse"], row["dependence"]) == (-1, 0, 1)
    nothing = compared.head(0).assign(slice="")
    found = evaluation.checks(
        evaluation.primary([]), nothing, compared, pd.DataFrame(columns=["arm", "fall"]), RULES
    )
    assert one(found, check="reverse")["value"] == 1
    assert one(found, check="reverse")["state"] == "failed"


def test_losses_of_opposite_sign_do_not_make_up_for_each_other():
    findings = ("A", "B", "C")
    rng = np.random.default_rng(0)
    parts = []
    for test, where in {"val": "val", "nih": "internal"}.items():
        table, labels = fake.cases(test, where, 200, rng, findings=findings, rate=0.5)
        logits = labels + 0.0
        logits[:, 1] += 2 * labels[:, 0] - 1  # helped by A
        logits[:, 2] -= 2 * labels[:, 0]  # called less with A
        parts.append(fake.read(table, labels, logits, "erm", 0, findings))
    own = evaluation.panels(pd.concat(parts), RULES)
    points = evaluation.operating_points(own).assign(threshold=0.5)
    row = one(evaluation.reverse_scores(own, [("A", "B"), ("A", "C")], points), arm="erm")
    assert (row["loss"], row["reverse"], row["dependence"]) == (0, 0.5, 1)


def test_a_pair_that_never_comes_together_has_no_loss():
    table = planted({"erm": lambda cause, read: read + 0.0})
    together = table.pivot_table(index="image_id", columns="finding", values="label").sum(axis=1)
    alone = table[table["image_id"].map(together) < 2]
    own = evaluation.panels(alone, RULES)
    points = evaluation.operating_points(own)
    row = one(evaluation.reverse_shortcut(own, [fake.PAIR], points, RULES), arm="erm")
    assert (row["n_both"], row["state"]) == (0, "too few")
    assert math.isnan(row["loss"])
    assert evaluation.reverse_scores(own, [fake.PAIR], points).empty


def test_a_pair_with_few_together_is_in_no_mean():
    """The size of a gap of few is large by chance alone."""
    table = planted(dict.fromkeys(("erm", "soft"), lambda cause, read: read + 0.0))
    together = table.pivot_table(index="image_id", columns="finding", values="label").sum(axis=1)
    both = together.index[together == 2]
    own = evaluation.panels(table[~table["image_id"].isin(both[9:])], RULES)
    points = evaluation.operating_points(own)
    pairs = [fake.PAIR]
    for few, known in ((5, True), (RULES.fewest, False)):
        rules = replace(RULES, fewest=few)
        assert evaluation.reverse_scores(own, pairs, points, rules).empty != known
        assert evaluation.reverse_comparisons(own, pairs, points, rules).empty != known
    row = one(evaluation.reverse_shortcut(own, pairs, points, RULES), arm="erm")
    assert row["state"] == "too few"


def test_specificity_falls_by_what_the_other_finding_adds():
    heads = {"erm": lambda cause, read: read + cause, "soft": lambda cause, read: read + 0.0}
    own = evaluation.panels(planted(heads), RULES)
    points = evaluation.operating_points(own).assign(threshold=0.5)
    found = evaluation.stress_specificity(own, points, RULES)
    assert one(found, arm="erm", finding=READ)["drop"] == 1
    row = one(found, arm="soft", finding=READ)
    assert (row["clean"], row["stress"], row["drop"]) == (1, 1, 0)
    labels = own[1].labels
    assert row["n_clean"] == (labels.sum(axis=1) == 0).sum()
    assert (
        row["n_stress"]
        == ((labels[:, 0] == 1) != (labels[:, 1] == 1))[labels[:, own[1].column(READ)] == 0].sum()
    )


def test_one_other_finding_is_stress_and_an_unlabelled_one_is_not_clean():
    table = fake.confounded(n=100, seeds=(0,), arms=("erm",))
    first = (table["finding"] == "Atelectasis") & (table["image_id"] < "nih-00040")
    table.loc[first & (table["test"] == "nih"), "label"] = np.nan
    own = evaluation.panels(table, RULES)
    points = evaluation.operating_points(own)
    row = one(evaluation.stress_specificity(own, points, RULES), test="nih", finding=READ)
    wide = table[table["test"] == "nih"].pivot_table(
        index="image_id", columns="finding", values="label", dropna=False
    )
    others = wide.loc[wide[READ] == 0, ["Atelectasis", CAUSE]]
    assert row["n_clean"] == (others == 0).all(axis=1).sum()
    assert row["n_stress"] == (others == 1).any(axis=1).sum()


# Groups


def test_a_group_that_is_read_by_chance_makes_the_largest_gap():
    rng = np.random.default_rng(0)
    parts = []
    for test, where in {"val": "val", "nih": "internal"}.items():
        table, labels = fake.cases(test, where, 400, rng, findings=("A",), rate=0.5)
        noise = rng.normal(size=labels.shape)
        blind = np.where((table["sex"] == "F").to_numpy()[:, None], 0.0, 4.0)
        for arm, weight in {"erm": blind, "soft": 4.0}.items():
            parts.append(fake.read(table, labels, weight * labels + noise, arm, 0, ("A",)))
    found = evaluation.subgroups(evaluation.panels(pd.concat(parts), RULES), RULES)
    row = one(found.gaps, arm="erm", attribute="sex")
    assert (row["best"], row["worst"], row["largest"]) == ("M", "F", True)
    assert row["low"] > 0.3
    assert found.gaps[found.gaps["arm"] == "soft"]["gap"].max() < 0.1
    assert found.gaps.groupby("arm")["largest"].sum().eq(1).all()
    areas = found.groups.set_index(["arm", "attribute", "group"])["auc"].sort_index()
    assert row["gap"] == areas["erm", "sex", "M"] - areas["erm", "sex", "F"]
    assert set(areas["erm", "age_band"].index) == {"under 40", "40 to 64", "65 and over"}


def test_small_and_unknown_groups_are_left_out():
    table = fake.confounded(n=80, seeds=(0,), arms=("erm",))
    table["sex"], table["age"] = "", np.nan
    own = evaluation.panels(table, RULES)
    assert set(evaluation.subgroups(own, RULES).groups["attribute"]) == {"view"}
    strict = evaluation.Rules(resamples=200, fewest=60)
    found = evaluation.subgroups(own, strict)
    assert found.groups.empty
    assert found.gaps.empty


# What was reached


def scored(low=math.nan, high=math.nan, **arms):
    rows = [(arm, seed, x) for arm, own in arms.items() for seed, x in enumerate(own)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "score"]).astype({"score": float})
    return table.assign(low=table["score"] - low, high=table["score"] + high)


def fell(scores):
    """The row of soft, and what the check of its fall says."""
    table = evaluation.score_falls(scores)
    reverse = pd.DataFrame(columns=["arm", "reference", "measure"])
    pairs = compared([(0.05, 0.01, "ok")])
    found = evaluation.checks(evaluation.primary([]), pairs, reverse, table)
    return one(table, arm="soft"), one(found, check="fall", arm="soft")


def test_scores_fall_against_the_reference():
    scores = scored(erm=[0.8, 0.7, 0.75], soft=[0.1, 0.2, 0.15])
    row, check = fell(scores)
    assert (row["score"], row["lowest"], row["highest"]) == pytest.approx((0.15, 0.1, 0.2))
    assert (row["seeds"], row["unscored"]) == (3, 0)
    assert row["fall"] == check["value"] == pytest.approx(0.8)
    # Fieller: the ratios at which a t test of soft - r x erm over seeds does not reject.
    grid = np.linspace(0, 1, 20_001)
    pairs = np.array([[0.1, 0.2, 0.15], [0.8, 0.7, 0.75]])
    kept = grid[stats.ttest_1samp(pairs[0] - grid[:, None] * pairs[1], 0, axis=1).pvalue >= 0.05]
    ends = (1 - kept[-1], 1 - kept[0])
    assert (row["fall_low"], row["fall_high"]) == pytest.approx(ends, abs=1e-3)
    assert (check["low"], check["state"]) == (row["fall_low"], "passed")
    assert one(evaluation.score_falls(scores), arm="erm")["fall"] == 0
    assert math.isnan(evaluation.score_falls(scores[scores["arm"] == "soft"])["fall"].iloc[0])
    with pytest.raises(DatasetError, match="columns score"):
        evaluation.score_falls(scores.drop(columns="score"))


@pytest.mark.parametrize("arm", ["erm", "soft"])
def test_a_fall_is_of_all_audited_seeds(arm):
    """Seeds whose audits give no score may be the worst: one seed that has one passes nothing."""
    scores = {"erm": [0.5, 0.5, 0.5], "soft": [0.1, 0.1, 0.1]}
    scores[arm] = [None, None, scores[arm][0]]
    table = evaluation.score_falls(scored(**scores))
    assert one(table, arm=arm)["unscored"] == 2
    row, check = fell(scored(**scores))
    assert math.isnan(row["fall"])
    assert check["state"] == "not measured"
    # An arm without any score is no row, and no fall.
    scores[arm] = [None] * 3
    assert arm not in set(evaluation.score_falls(scored(**scores))["arm"])


def test_a_seed_that_is_scored_without_a_head_which_counted_before_falls_by_nothing():
    """What a head that went blind does is left out of the score, which is no fall of it."""
    scores = scored(0.05, 0.05, erm=[0.6, 0.6, 0.6], soft=[0.1, 0.1, 0.1])
    fewer = scores["blind"] = ["A", "", "", "A", "B; A", ""]
    row, _ = fell(scores)
    assert row["blinded"] == 1
    assert row["score"] == pytest.approx(0.1)
    assert row["fall"] == pytest.approx(1 - (0.1 + 0.6 + 0.1) / 1.8)
    assert row["fall"] < fell(scores.assign(blind=""))[0]["fall"]
    # Fewer blind ones than before hide nothing, and a score that rises is what it is.
    assert fell(scores.assign(blind=fewer[::-1]))[0]["blinded"] == 0
    higher = scored(erm=[0.2] * 3, soft=[0.9] * 3).assign(blind=fewer)
    assert fell(higher)[0]["fall"] == pytest.approx(-3.5)


@pytest.mark.parametrize(
    ("scores", "state", "low"),
    [
        (scored(erm=[0.5], soft=[0.1]), "not measured", math.nan),
        # The upper end of soft: (0.1 - r x 0.5)^2 = 0.1^2 + r^2 x 0.05^2; 0.4^2 in the next.
        (scored(0.05, 0.1, erm=[0.5], soft=[0.1]), "passed", 1 - 0.1 / (0.5**2 - 0.05**2)),
        (scored(0.05, 0.4, erm=[0.5], soft=[0.1]), "failed", -0.0063),
        (scored(0.05, 0.1, erm=[0.04], soft=[0.01]), "not measured", math.nan),
        (scored(erm=[0.02, 0.0, 0.0], soft=[0.0, 0.0, 0.0]), "not measured", math.nan),
        (scored(0.05, 0.1, erm=[0.9, 0.1], soft=[0.1, 0.1]), "not measured", math.nan),
    ],
)
def test_falls_from_what_may_be_nothing_are_not_measured(scores, state, low):
    """One seed has the ends that patients leave, where those are known; seeds far apart none."""
    row, check = fell(scores)
    assert check["state"] == state
    assert row["fall_low"] == pytest.approx(low, nan_ok=True, abs=1e-3)


@pytest.mark.parametrize("between", [0.03, 0.1])
def test_the_interval_of_a_fall_is_over_patients_whom_seeds_share(between):
    """Of r 0.8 falling to 0.3 in 40 patients, seeds alone held 59 and 87 % of truths."""
    rng, truth, error = np.random.default_rng(1), 1 - (0.3 / 1.3) / (0.8 / 1.8), 0.3 / 40**0.5
    held = []
    for _ in range(150):
        rows = []
        for arm, r in (("erm", 0.8), ("soft", 0.3)):
            patients = rng.normal(0, error)
            for seed in range(5):
                own = max(r + patients + rng.normal(0, between), 0)
                ends = [max(own + sign * 1.96 * error, 0) for sign in (0, -1, 1)]
                rows.append([arm, seed, *(one / (1 + one) for one in ends)])
        scores = pd.DataFrame(rows, columns=["arm", "seed", "score", "low", "high"])
        row = one(evaluation.score_falls(scores), arm="soft")
        held.append(row["fall_low"] <= truth <= row["fall_high"])
    assert 0.92 <= np.mean(held) <= 0.995


def compared(values, where="external"):
    """Return rows of `pair_comparisons` of soft against erm: difference and low, a pair each."""
    rows = [
        {
            "arm": "soft",
            "reference": "erm",
            "test": "t",
            "where": where,
            "cause": f"C{i}",
            "read": "R",
            "slice": "all",
            "state": state,
            "difference": d,
            "seeds_low": low,
            "seeds_high": 1.0,
            "q": 0.01,
        }
        for i, (d, low, state) in enumerate(values)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("bad", "where", "state"),
    [
        ([], "external", "passed"),
        ([(0.02, 0.01, "ok")], "external", "passed"),
        ([(0.02, 0.01, "ok")], "internal", "failed"),
        ([(0.05, -0.01, "ok")] * 2, "external", "failed"),
        ([(0.05, 0.01, "too few")] * 2, "external", "not measured"),
    ],
)
def test_checks_count_the_pairs_that_gain(bad, where, state):
    table = compared([(0.05, 0.01, "ok")] * (6 - len(bad)) + bad, where)
    reverse = pd.DataFrame(columns=["arm", "reference", "measure"])
    found = evaluation.checks(
        evaluation.primary([]), table, reverse, pd.DataFrame(columns=["arm", "fall"])
    )
    assert one(found, check="shares", arm="soft")["state"] == state
    passed = (found[found["check"] == "gain"]["state"] == "passed").sum()
    assert passed == 6 - len(bad)
    assert one(found, check="fall", arm="soft")["state"] == "not measured"


def test_a_planted_shortcut_is_judged_from_end_to_end():
    arms, seeds = ("erm", "oversampling", "isolated", "soft"), range(5)
    table = fake.confounded(n=300, arms=arms, seeds=seeds)
    scores = pd.DataFrame(
        [(arm, s, max(0.0, fake.SHORTCUT[arm]) / 2) for arm in arms for s in seeds],
        columns=["arm", "seed", "score"],
    )
    found = evaluation.evaluate(table, [fake.PAIR], scores=scores, rules=RULES)
    states = found.checks.set_index(["check", "arm", "test", "subject"])["state"]
    name = f"{CAUSE} → {READ}"
    assert states["gain", "soft", "nih", name] == "passed"
    assert states["superior", "soft", "nih", "mean over pairs, erm"] == "passed"
    assert states["best rival", "soft", "nih", "mean over pairs, oversampling"] == "passed"
    assert states["fall", "soft", "", "audit"] == "passed"
    assert states["reverse", "soft", "nih", "isolated"] == "failed"
    told = found.figures()
    assert set(told["internal"]) == set(told["external"]) == {name}
    assert told["internal"][name]["soft"]["auc"] > told["internal"][name]["erm"]["auc"] + 0.03
    assert told["reverse_shortcut"]["isolated"] > told["reverse_shortcut"]["soft"]
    assert told["reverse_shortcut"]["erm"] == 0 < told["residual_dependence"]["erm"]
    best = told["primary"]["nih"]["soft"]
    assert best["mean"] == told["internal"][name]["soft"]["auc"]
    assert best["against"]["erm"]["ci_with_seeds"][0] > 0
    assert best["against"]["erm"]["q"] < 0.01
    assert told["shortcut_score"]["soft"] == 0.05
    assert told["seeds"] == dict.fromkeys(arms, 5)


def test_what_another_editor_scored_is_not_told_as_the_own():
    """Also where the own editor gave no score at all."""
    table = planted({"erm": lambda cause, read: read, "soft": lambda cause, read: read})
    scores = pd.DataFrame(
        [
            {"arm": arm, "seed": 0, "score": score, "editor": editor}
            for arm in ("erm", "soft")
            for editor, score in (("", math.nan), ("painter", 0.5))
        ]
    )
    told = evaluation.evaluate(table, [fake.PAIR], scores=scores, rules=RULES).figures()
    assert told["shortcut_score"] == {}
    assert told["shortcut_score_unseen"] == {"erm": 0.5, "soft": 0.5}
