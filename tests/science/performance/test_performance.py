import math
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats as truth
from scipy.special import expit
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from statsmodels.stats.multitest import multipletests

from roentmod.errors import DatasetError, RetrainError
from roentmod.science import performance as evaluation
from roentmod.science import stats
from tests.science.performance import fake


@pytest.fixture(scope="module")
def predictions():
    return fake.confounded(per_patient=2)


@pytest.fixture(scope="module")
def panels(predictions):
    return evaluation.panels(predictions)


@pytest.fixture(scope="module")
def points(panels):
    return evaluation.operating_points(panels)


@pytest.fixture(scope="module")
def reached(panels, points):
    return evaluation.performance(panels, points)


def model(predictions, arm="erm", seed=0, test="nih", finding="Cardiomegaly"):
    chosen = predictions[
        (predictions["arm"] == arm)
        & (predictions["seed"] == seed)
        & (predictions["test"] == test)
        & (predictions["finding"] == finding)
    ]
    return chosen["label"].to_numpy(), chosen["logit"].to_numpy()


def one(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


# The table of predictions


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("logit", np.nan, "a finite logit"),
        ("label", 0.5, "a label of 0, 1 or NaN"),
        ("where", "outside", "a place of val, internal, external"),
        ("where", "external", "one place per test"),
        ("image_id", "val-00001", "each model, picture and finding once"),
        ("patient_id", "another", "has several"),
        ("label", np.nan, "the same for all models"),
    ],
)
def test_a_wrong_row_is_refused_and_named(predictions, column, value, message):
    bad = predictions.copy()
    bad.loc[0, column] = value
    with pytest.raises(DatasetError, match=message):
        evaluation.panels(bad)


def test_a_missing_row_or_column_is_refused(predictions):
    with pytest.raises(DatasetError, match="Run the missing predictions"):
        evaluation.panels(predictions.drop(index=3))
    with pytest.raises(DatasetError, match="columns view"):
        evaluation.panels(predictions.drop(columns="view"))
    with pytest.raises(DatasetError, match="one validation split; got 0"):
        evaluation.evaluate(predictions[predictions["test"] != "val"])


def test_rules_have_ranges():
    with pytest.raises(RetrainError, match="resamples"):
        evaluation.Rules(resamples=10)


def test_the_order_of_rows_changes_nothing(predictions):
    few = predictions[predictions["arm"].isin(["erm", "soft"])]
    rules = evaluation.Rules(resamples=200)
    both = [
        evaluation.evaluate(table, [fake.PAIR], rules=rules)
        for table in (few, few.sample(frac=1, random_state=0))
    ]
    for name in ("points", "each", "mean", "comparisons", "pairs", "reverse", "gaps", "checks"):
        pd.testing.assert_frame_equal(*(getattr(found, name) for found in both))


# Points and performance


def test_values_are_those_of_scikit_learn(predictions, reached, points):
    for seed in (0, 1):
        labels, logits = model(predictions, seed=seed)
        row = one(reached.each, arm="erm", seed=seed, test="nih", finding="Cardiomegaly")
        assert row["auc"] == pytest.approx(roc_auc_score(labels, logits))
        assert row["ap"] == pytest.approx(average_precision_score(labels, logits))
        assert row["brier"] == pytest.approx(brier_score_loss(labels, expit(logits)))
        point = one(points, arm="erm", seed=seed, finding="Cardiomegaly")
        called = logits >= point["threshold"]
        assert row["sensitivity"] == pytest.approx(called[labels == 1].mean())
        assert row["specificity"] == pytest.approx(1 - called[labels == 0].mean())
        right = expit(point["slope"] * logits + point["intercept"])
        assert row["brier_platt"] == pytest.approx(brier_score_loss(labels, right))
        assert (row["n"], row["patients"], row["positives"]) == (200, 100, labels.sum())


def test_means_are_of_seeds_and_intervals_of_patients(predictions, reached):
    areas = [roc_auc_score(*model(predictions, seed=seed)) for seed in (0, 1)]
    row = one(reached.mean, arm="erm", test="nih", finding="Cardiomegaly")
    assert row["auc"] == pytest.approx(np.mean(areas))
    assert row["auc_sd"] == pytest.approx(np.std(areas, ddof=1))
    assert row["auc_low"] < row["auc"] < row["auc_high"]
    assert row["ece_low"] <= row["ece"] <= row["ece_high"]


def test_one_models_interval_is_that_of_clustered_resampling(panels, reached, predictions):
    panel = panels[1]
    assert panel.where == "internal"
    labels, logits = model(predictions)
    low, high = stats.clustered_auc_interval(
        logits, labels == 1, panel.cases["patient_id"], 1000, 0
    )
    row = one(reached.each, arm="erm", seed=0, test="nih", finding="Cardiomegaly")
    assert (row["auc_low"], row["auc_high"]) == pytest.approx((low, high))


def test_validation_is_no_test_and_calibration_helps(reached):
    assert set(reached.each["where"]) == {"internal", "external"}
    own = reached.mean[reached.mean["finding"] == "Cardiomegaly"]
    assert (own["brier_platt"] <= own["brier"] + 0.005).all()


def test_unlabelled_pictures_and_findings_are_left_out():
    table = fake.confounded(n=60, seeds=(0,), arms=("erm", "soft"))
    gone = (table["finding"] == "Atelectasis") & (table["test"] == "nih")
    half = (table["finding"] == "Cardiomegaly") & (table["image_id"] > "nih-00029")
    table.loc[gone | (half & (table["test"] == "nih")), "label"] = np.nan
    rules = evaluation.Rules(resamples=200)
    found = evaluation.evaluate(table, rules=rules)
    inside = found.mean[found.mean["test"] == "nih"]
    assert dict(zip(inside["finding"], inside["n"], strict=True)) == {
        "Cardiomegaly": 30,
        "Pleural Effusion": 60,
    }
    table.loc[(table["finding"] == "Atelectasis") & (table["where"] == "val"), "label"] = 0.0
    outside = evaluation.evaluate(table, rules=rules).mean
    row = one(outside, arm="erm", test="hannover", finding="Atelectasis")
    assert math.isnan(row["sensitivity"])
    assert row["auc"] > 0.5


def test_few_and_one_class_are_flagged():
    table = fake.confounded(n=60, seeds=(0,), arms=("erm", "soft"))
    inside = (table["test"] == "nih") & (table["label"] == 1)
    table.loc[inside & (table["finding"] == "Atelectasis"), "label"] = 0.0
    rules = evaluation.Rules(resamples=200, fewest=50)
    found = evaluation.evaluate(table, rules=rules)
    row = one(found.mean, arm="erm", test="nih", finding="Atelectasis")
    assert row["state"] == "one class"
    assert math.isnan(row["auc"])
    own = found.comparisons[found.comparisons["test"] == "nih"]
    assert set(own["finding"]) == {"Cardiomegaly", "Pleural Effusion"}
    assert set(own["state"]) == {"too few"}


# Comparisons


def test_comparisons_are_paired_and_adjusted(panels, predictions):
    table = evaluation.comparisons(panels)
    row = one(table, arm="soft", reference="erm", test="nih", finding="Cardiomegaly")
    mean = {}
    for arm in ("soft", "erm"):
        labels, first = model(predictions, arm=arm)
        second = model(predictions, arm=arm, seed=1)[1]
        mean[arm] = (first + second) / 2
        mean[arm, "auc"] = np.mean([roc_auc_score(labels, s) for s in (first, second)])
    assert row["difference"] == pytest.approx(mean["soft", "auc"] - mean["erm", "auc"])
    difference, *_, p = stats.delong_paired(mean["soft"], mean["erm"], labels == 1)
    assert (row["delong_difference"], row["p"]) == pytest.approx((difference, p))
    assert row["low"] < row["difference"] < row["high"]
    assert row["seeds_above"] == row["seeds"] == 2
    for _, family in table.groupby(table["reference"] == "erm"):
        adjusted = multipletests(family["seeds_p"], method="fdr_bh")[1]
        assert family["q"].to_numpy() == pytest.approx(adjusted)
    pairs = set(zip(table["arm"], table["reference"], strict=True))
    assert {("soft", "oversampling"), ("soft", "isolated")} <= pairs
    assert ("oversampling", "soft") not in pairs


@pytest.mark.slow
def test_what_only_seeds_make_different_is_not_sure():
    """Two ways of training that differ in nothing, and whose seeds differ in each finding."""
    findings, rules = tuple("ABCDEFGHIJKL"), evaluation.Rules(resamples=200)
    alarms = delong = 0
    for number in range(12):
        rng = np.random.default_rng(number)
        table, labels = fake.cases("t", "internal", 500, rng, findings=findings, rate=0.5)
        shared = rng.normal(size=labels.shape)
        models = []
        for arm in ("erm", "soft"):
            for seed in range(5):
                skill = 1 + rng.normal(0, 0.2, len(findings))
                logits = skill * labels + shared + 0.6 * rng.normal(size=labels.shape)
                models.append(fake.read(table, labels, logits, arm, seed, findings))
        found = evaluation.comparisons(evaluation.panels(pd.concat(models), rules), rules)
        alarms += any(evaluation.sure(row, rules) for row in found.to_dict("records"))
        delong += bool((multipletests(found["p"], method="fdr_bh")[1] < 0.05).any())
    assert alarms <= 1
    # The test that takes seeds as they are would call most of these.
    assert delong >= 9


def test_of_one_seed_the_test_of_its_pictures_is_adjusted():
    table = evaluation.comparisons(
        evaluation.panels(fake.confounded(n=60, seeds=(0,), arms=("erm", "soft")))
    )
    assert table["seeds_p"].isna().all()
    expected = multipletests(table["p"], method="fdr_bh")[1]
    assert table["q"].to_numpy() == pytest.approx(expected)


@pytest.mark.slow
def test_intervals_cover_and_equal_arms_differ_by_chance():
    rules = evaluation.Rules(resamples=200, level=0.9)
    area = truth.norm.cdf(1.5 / math.sqrt(2 * 1.25))
    covered, p_values, zero = 0, [], 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        table, labels = fake.cases("nih", "internal", 160, rng, per_patient=2, findings=("A",))
        # Pictures of a patient share what makes their score: that is why patients are resampled.
        shared = np.repeat(rng.normal(size=(80, 1)), 2, axis=0)
        labels = np.repeat(labels[::2], 2, axis=0)
        models = [
            fake.read(
                table,
                labels,
                1.5 * labels + shared + 0.5 * rng.normal(size=labels.shape),
                arm,
                0,
                ("A",),
            )
            for arm in ("erm", "soft")
        ]
        own = evaluation.panels(pd.concat(models), rules)
        samples = own[0].areas("A", labels[:, 0] == 1, np.ones(160, bool))
        _, low, high = own[0].interval(samples[0])
        covered += low <= area <= high
        row = evaluation.comparisons(own, rules).iloc[0]
        p_values.append(row["p"])
        zero += row["low"] <= 0 <= row["high"]
    assert 0.82 <= covered / 150 <= 0.96
    assert 0.82 <= zero / 150 <= 0.96
    assert truth.kstest(p_values, "uniform").pvalue > 0.001


@pytest.mark.slow
def test_many_models_take_seconds():
    predictions = fake.confounded(n=300, seeds=(0, 1, 2))
    began = time.process_time()
    evaluation.evaluate(predictions, [fake.PAIR], rules=evaluation.Rules(resamples=1000))
    assert time.process_time() - began < 30
