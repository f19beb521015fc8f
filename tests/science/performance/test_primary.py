"""The primary outcome, and intervals over patients and seeds."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from roentmod.errors import DatasetError
from roentmod.science import performance as evaluation
from roentmod.science.performance.measures import two_way
from tests.science.performance import fake

RULES = evaluation.Rules(resamples=200)
CAUSE, READ = fake.PAIR


def one(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_intervals_cover_where_patients_and_seeds_are_both_drawn(spread):
    """Of three seeds with effects of their own, and 60 patients, 95 % at least hold the truth."""
    rng, held, alone = np.random.default_rng(0), [], []
    for _ in range(400):
        people, seeds = rng.normal(size=60), spread * rng.normal(size=3)
        table = people + seeds[:, None] + 0.5 * rng.normal(size=(3, 60))
        drawn = rng.multinomial(60, np.full(60, 1 / 60), size=200) / 60
        samples = np.append(table.mean(), (drawn @ table.T).mean(axis=1))
        low, high, p = two_way(samples, table.mean(axis=1), 60, 0.95)
        held.append(low <= 0 <= high)
        assert (p < 0.05) == (not held[-1])
        alone.append(np.diff(np.sign(np.quantile(samples[1:], [0.025, 0.975])))[0] != 0)
    assert 0.94 <= np.mean(held) <= 0.99
    assert spread < 1 or np.mean(alone) < 0.5


def test_one_seed_says_nothing_of_others():
    assert np.isnan(two_way(np.array([0.1, 0.2, 0.0]), np.array([0.1]), 60, 0.95)).all()
    table = fake.confounded(seeds=(0,), arms=("erm", "soft"))
    found = evaluation.evaluate(table, [fake.PAIR], rules=RULES)
    told = found.figures()["primary"]["nih"]["soft"]
    assert told["ci_with_seeds"] == told["against"]["erm"]["ci_with_seeds"] == [None, None]
    assert set(found.checks["state"]) == {"not measured"}


def areas(table, test, finding):
    own = table[(table["test"] == test) & (table["finding"] == finding)]
    return {
        arm: np.mean([roc_auc_score(s["label"], s["logit"]) for _, s in some.groupby("seed")])
        for arm, some in own.groupby("arm")
    }


def test_the_outcome_is_the_mean_over_pairs_or_findings():
    table = fake.confounded(arms=("erm", "soft"))
    panels = evaluation.panels(table, RULES)
    pairs = [fake.PAIR, (CAUSE, "Atelectasis")]
    found = evaluation.primary([(panels, pairs)], RULES)
    each = [areas(table, "nih", name) for name in (READ, "Atelectasis")]
    row = one(found, arm="soft", reference="", test="nih")
    assert (row["outcome"], row["parts"]) == ("mean over pairs", 2)
    assert row["value"] == pytest.approx(np.mean([one["soft"] for one in each]))
    assert row["value_seeds_low"] < row["value_low"] < row["value"] < row["value_high"]
    gain = one(found, arm="soft", reference="erm", test="nih")
    assert gain["difference"] == pytest.approx(np.mean([one["soft"] - one["erm"] for one in each]))
    macro = one(evaluation.primary([(panels, [])], RULES), arm="erm", reference="", test="nih")
    assert (macro["outcome"], macro["parts"]) == ("macro AUC", 3)
    every = [areas(table, "nih", name)["erm"] for name in fake.FINDINGS]
    assert macro["value"] == pytest.approx(np.mean(every))


def within(table, finding, test="nih"):
    """Areas of pairs of one site, by arm, as means over seeds: every pair is counted."""
    own = table[(table["test"] == test) & (table["finding"] == finding)].dropna(subset=["label"])
    found = {}
    for (arm, _), some in own.groupby(["arm", "seed"]):
        high, low = (some[some["label"] == label] for label in (1, 0))
        pairs = high.merge(low, on="site")
        gap = pairs["logit_x"] - pairs["logit_y"]
        found.setdefault(arm, []).append((np.sign(gap) / 2 + 0.5).mean())
    return {arm: np.mean(values) for arm, values in found.items()}


def sited():
    """Predictions of sites that differ in how often a finding is there, which one arm knows."""
    table = fake.confounded(arms=("erm", "soft"), per_patient=2)
    sick = table.groupby(["test", "image_id"])["label"].transform("sum") > 0
    site = sick ^ table["image_id"].str[-1].isin(["1", "2"])
    bright = 3.0 * (site & (table["arm"] == "erm"))
    return table.assign(
        site=site.map({True: "ward", False: "clinic"}), logit=table["logit"] + bright
    )


def test_areas_are_within_sites():
    """A site alone tells a finding from none; it is of no help to the arm that knows it."""
    table = sited()
    panels = evaluation.panels(table, RULES)
    found = evaluation.primary([(panels, [])], RULES)
    every = [within(table, name) for name in fake.FINDINGS]
    for arm in ("erm", "soft"):
        row = one(found, arm=arm, reference="", test="nih")
        assert row["value"] == pytest.approx(np.mean([areas[arm] for areas in every]))
        assert row["value_low"] < row["value"] < row["value_high"]
    gain = one(found, arm="soft", reference="erm", test="nih")
    assert gain["difference"] == pytest.approx(np.mean([x["soft"] - x["erm"] for x in every]))
    compared = evaluation.comparisons(panels, RULES)
    row = one(compared, arm="soft", reference="erm", test="nih", finding=READ)
    own = within(table, READ)
    assert row["difference"] == pytest.approx(own["soft"] - own["erm"])
    reached = evaluation.performance(panels, evaluation.operating_points(panels), RULES).mean
    assert one(reached, arm="erm", test="nih", finding=READ)["auc"] == pytest.approx(own["erm"])
    assert areas(table, "nih", READ)["erm"] > own["erm"] + 0.05


def test_predictions_without_sites_are_one_stratum():
    table = fake.confounded(arms=("erm", "soft"))
    first, *others = (
        evaluation.primary([(evaluation.panels(one, RULES), [])], RULES)
        for one in (table, table.assign(site=None), table.assign(site="a"))
    )
    for other in others:
        pd.testing.assert_frame_equal(first, other)


def test_sites_with_one_class_count_for_nothing():
    """All positives are of one site and nearly all negatives of the other: that is too few."""
    table = fake.confounded(arms=("erm", "soft"))
    own = table["finding"] == READ
    label = table["image_id"].map(
        table[own].drop_duplicates("image_id").set_index("image_id")["label"]
    )
    few = table["image_id"].str[-5:].astype(int) < 5
    table = table.assign(site=np.where((label == 1) | few, "clinic", "screening"))
    panels = evaluation.panels(table, RULES)
    state = one(evaluation.comparisons(panels, RULES), test="nih", finding=READ)["state"]
    assert state == "too few"
    assert (
        one(evaluation.primary([(panels, [])], RULES), arm="erm", test="nih", reference="")["parts"]
        == 2
    )


def test_new_heads_of_the_network_that_was_started_from_are_left_out():
    """A new head answers 0 to all: half of the pairs, which no training has to gain upon."""
    table = fake.confounded(arms=("erm", "soft"))
    start = table[table["arm"] == "erm"].assign(arm="before")
    start.loc[start["finding"] == READ, "logit"] = 0.0
    panels = evaluation.panels(pd.concat([table, start]), RULES)
    kept = [name for name in fake.FINDINGS if name != READ]
    rules = evaluation.Rules(resamples=200, reference="before")
    found = evaluation.primary([(panels, [])], rules)
    values = {arm: np.mean([areas(table, "nih", n)[arm] for n in kept]) for arm in ("erm", "soft")}
    row = one(found, arm="before", reference="", test="nih")
    assert (row["value"], row["parts"]) == (pytest.approx(values["erm"]), 2)
    gain = one(found, arm="soft", reference="before", test="nih")
    assert gain["difference"] == pytest.approx(values["soft"] - values["erm"])
    assert one(found, arm="erm", reference="before", test="nih")["difference"] == pytest.approx(0)
    # Among the arms that were trained, all findings count.
    every = [areas(table, "nih", name)["soft"] for name in fake.FINDINGS]
    row = one(found, arm="soft", reference="", test="nih")
    assert (row["value"], row["parts"]) == (pytest.approx(np.mean(every)), 3)
    only = evaluation.primary([(panels, [fake.PAIR])], rules)
    assert np.isnan(one(only, arm="soft", reference="before", test="nih")["difference"])


def test_findings_of_too_few_positives_are_left_out():
    table = fake.confounded(arms=("erm", "soft"))
    rare = (table["finding"] == READ) & (table["image_id"] > "nih-00010") & (table["test"] == "nih")
    table.loc[rare, "label"] = 0.0
    found = evaluation.primary([(evaluation.panels(table, RULES), [])], RULES)
    assert one(found, arm="erm", reference="", test="nih")["parts"] == 2
    pairs = evaluation.primary([(evaluation.panels(table, RULES), [fake.PAIR])], RULES)
    assert set(pairs["test"]) == {"hannover"}


def test_studies_of_the_same_patients_are_one_outcome():
    first, second = (fake.confounded(arms=("erm", "soft"), seed=seed) for seed in (0, 1))
    other = (CAUSE, "Atelectasis")
    own = [(evaluation.panels(t, RULES), [p]) for t, p in ((first, fake.PAIR), (second, other))]
    found = evaluation.primary(own, RULES)
    row = one(found, arm="soft", reference="", test="nih")
    expected = [areas(first, "nih", READ)["soft"], areas(second, "nih", "Atelectasis")["soft"]]
    assert row["value"] == pytest.approx(np.mean(expected))
    assert row["parts"] == 2
    fewer = second[second["patient_id"] != "nih-p3"]
    own[1] = (evaluation.panels(fewer, RULES), [other])
    with pytest.raises(DatasetError, match="over the same patients; those of 'nih' differ"):
        evaluation.primary(own, RULES)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"q": 0.06}, False),
        ({"state": "too few"}, False),
        ({"seeds_low": -0.01}, False),
        ({"seeds_low": -0.3, "seeds_high": -0.1}, True),
        ({"seeds_low": np.nan, "seeds_high": np.nan}, False),
    ],
)
def test_sure_needs_seeds_q_and_positives(changes, expected):
    row = {"low": 0.02, "high": 0.3, "seeds_low": 0.01, "seeds_high": 0.3, "q": 0.04} | changes
    assert evaluation.sure(pd.Series(row), RULES) is expected


def decided(outcome, *rows):
    """Return a primary table of one test, of (arm, reference, value or difference, low, q)."""
    table = evaluation.primary([])
    for arm, reference, value, low, q in rows:
        own = {"arm": arm, "reference": reference, "test": "t", "where": "internal", "q": q}
        own |= {"outcome": outcome, "value": value, "difference": value, "seeds_low": low}
        table.loc[len(table)] = own | {"seeds_high": 1.0}
    return table


def states(table):
    nothing = pd.DataFrame(columns=["arm", "reference", "test", "where", "slice", "measure"])
    found = evaluation.checks(table, nothing, nothing, nothing)
    return found.set_index(["check", "arm", "subject"])["state"].to_dict()


def test_the_outcome_decides_against_erm_and_the_best_rival():
    values = [("erm", 0.6), ("dfr", 0.68), ("jtt", 0.62), ("pair", 0.7)]
    table = decided(
        "mean over pairs",
        *((arm, "", value, 0.5, np.nan) for arm, value in values),
        ("pair", "erm", 0.1, 0.02, 0.01),
        ("pair", "jtt", 0.08, 0.01, 0.01),
        ("pair", "dfr", 0.02, -0.01, 0.2),
    )
    found = states(table)
    assert found["superior", "pair", "mean over pairs, erm"] == "passed"
    assert found["best rival", "pair", "mean over pairs, dfr"] == "failed"
    assert not any("jtt" in subject for _, _, subject in found)


@pytest.mark.parametrize(("low", "state"), [(-0.009, "passed"), (-0.011, "failed")])
def test_real_labels_may_lose_one_point(low, state):
    rows = [("erm", "", 0.7, 0.5, np.nan), ("pair", "", 0.7, 0.5, np.nan)]
    table = decided("macro AUC", *rows, ("pair", "erm", 0.0, low, 1.0))
    assert states(table)["not inferior", "pair", "macro AUC, erm"] == state
