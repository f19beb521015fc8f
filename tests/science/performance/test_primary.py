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
