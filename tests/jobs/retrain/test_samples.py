from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from roentmod import datasets
from roentmod.errors import DatasetError, RetrainError
from roentmod.jobs import retrain
from roentmod.jobs.augment import load_cooccurrence
from roentmod.jobs.retrain import ARMS
from roentmod.jobs.retrain.counterfactuals import (
    check_counterfactuals,
    check_hosts,
    counterfactuals,
)
from roentmod.learning.material import CONTROL
from roentmod.learning.samples import check_labels, check_patients, labelled
from roentmod.plans.retrain import COUNTERFACTUAL_ARMS
from roentmod.store import pseudonym
from tests.jobs.augment.parts import FINDINGS
from tests.jobs.retrain.parts import shown_in, tiny


def renamed(data, **columns):
    return replace(data, table=data.table.assign(**columns))


def test_labels_are_those_of_the_table(data):
    samples = labelled(data, "training", tiny(), "train")
    assert samples.table["image_id"].tolist() == data.table["image_id"].head(48).tolist()
    wanted = [[name in shown_in(number) for name in FINDINGS] for number in range(48)]
    assert np.array_equal(samples.targets, np.array(wanted, dtype=np.float32))
    assert samples.counts()["positive"] == dict(zip(FINDINGS, (28, 28, 20), strict=True))
    # Records of versions that named no site stay those of the same samples.
    earlier = replace(samples, table=samples.table.drop(columns="site"))
    assert earlier.counts() == samples.counts()


@pytest.mark.parametrize(("unmentioned", "expected"), [("unknown", np.nan), ("absent", 0.0)])
def test_uncertain_is_unknown_and_unmentioned_what_the_plan_says(data, unmentioned, expected):
    table = data.table.copy()
    words = ["positive", "negative", "uncertain", "unmentioned"]
    table.loc[table.index[:4], "Edema"] = words
    samples = labelled(replace(data, table=table), "train", tiny(unmentioned=unmentioned), "train")
    assert np.array_equal(samples.targets[:4, 2], [1, 0, np.nan, expected], equal_nan=True)


def test_only_frontal_fit_and_labelled_pictures_are_taken(data):
    table = data.table.copy()
    table.loc[table.index[0], "view"] = "lateral"
    table.loc[table.index[1], "unfit"] = "missing file"
    table.loc[table.index[2], list(FINDINGS)] = "uncertain"
    samples = labelled(replace(data, table=table), "train", tiny(), "train")
    assert samples.table["image_id"].tolist() == data.table["image_id"].iloc[3:48].tolist()
    with pytest.raises(RetrainError, match=r"test, train, val\) there are 0 of split 'extra'"):
        labelled(data, "extra", tiny(), "extra")


def test_a_head_without_positives_or_negatives_is_refused(data):
    for word, missing in (("negative", "positive"), ("positive", "negative")):
        one = labelled(renamed(data, Edema=word), "val", tiny(), "val")
        with pytest.raises(RetrainError, match=rf"'val' \(24 pictures\) has no {missing} Edema"):
            check_labels(one)
    check_labels(labelled(data, "val", tiny(), "val"))


def test_nobody_is_in_two_splits(data):
    table = data.table.copy()
    table.loc[table.index[50], "patient_id"] = "p3"
    both = replace(data, table=table)
    train, val = (labelled(both, split, tiny(), split) for split in ("train", "val"))
    with pytest.raises(RetrainError, match=r"patient p3 is in 'train' \(3.*'val' \(50"):
        check_patients(train, [val])
    check_patients(train, [labelled(both, "test", tiny(), "test")])


def test_counterfactuals_of_a_tested_patient_are_refused(data, made):
    val = labelled(data, "val", tiny(), "val")
    check_counterfactuals(made, [val])
    table = made.manifest.copy()
    table.loc[table.index[4], "patient_id"] = "p50"
    said = r"Manifest row 5 .* of patient p50, who is in 'val' \(50.png\); 1 in all"
    with pytest.raises(RetrainError, match=said):
        check_counterfactuals(replace(made, table=table), [val])
    table.loc[table.index[4], "status"] = "not_seen"
    check_counterfactuals(replace(made, table=table), [val])


def test_counterfactuals_whose_ids_are_of_another_kind_are_refused(data, made, tmp_path):
    plan, hidden = tiny(arms=("erm", "isolated")), datasets.pseudonymous(data)
    said = "patients of the set .* knows none.* --keep-ids to both commands or to neither"
    with pytest.raises(RetrainError, match=said) as caught:
        retrain.run(hidden, plan, tmp_path, training_set=made, tests={})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
    table = made.manifest.assign(
        patient_id=[pseudonym(n, "p") for n in made.manifest["patient_id"]]
    )
    with pytest.raises(RetrainError, match="knows none"):
        check_hosts(replace(made, table=table), data)
    # One known patient is enough: the others may lack labels.
    table.loc[0, "patient_id"] = made.manifest["patient_id"].iloc[0]
    check_hosts(replace(made, table=table), data)


def test_labels_by_arm(data, made):
    samples, facts = counterfactuals(made, tiny(arms=ARMS), None, data)
    rows, targets = made.training, facts.targets
    assert tuple(targets) == COUNTERFACTUAL_ARMS
    assert samples.table["image_id"].tolist() == rows["image_id"].tolist()
    added = np.array([[name == own for name in FINDINGS] for own in rows["edited_finding"]])
    edited = (rows["arm"] == "counterfactual").to_numpy()
    assert np.array_equal(targets["isolated"], added.astype(np.float32))
    alone = np.where(added, 1.0, np.nan)
    assert np.array_equal(targets["synthetic"], alone, equal_nan=True)
    assert np.isnan(targets["synthetic"][~edited]).all()
    assert (targets["soft"][~edited] == 0).all()
    assert np.array_equal(targets["staged"], targets["isolated"])
    assert np.array_equal(facts.added, added)
    # In composite "baseline" the control of each is the sham of its baseline.
    own = rows.iloc[facts.control[edited]]
    assert set(own["arm"]) == {"sham"}
    assert own["baseline_id"].tolist() == rows.loc[edited, "baseline_id"].tolist()
    assert (facts.control[~edited] == CONTROL).all()
    rates = load_cooccurrence()
    at = int(np.argmax(rows["edited_finding"] == "Cardiomegaly"))
    expected = [
        1,
        rates.rate("Cardiomegaly", "Pleural Effusion"),
        rates.rate("Cardiomegaly", "Edema"),
    ]
    assert targets["soft"][at] == pytest.approx(expected)
    assert samples.read(rows["image_id"].iloc[0]).pixels.shape == (64, 64)


def without(made, arm, control):
    """The set without the pictures of an arm, counterfactuals compared with `control`."""
    table = made.manifest[made.manifest["arm"] != arm].reset_index(drop=True)
    return replace(made, table=table, record=made.record | {"control": control})


def test_controls_that_are_baselines_are_taken_from_the_data(data, made):
    plan = tiny(arms=("erm", "isolated", "pair"))
    bare = without(made, "sham", "baseline")
    samples, facts = counterfactuals(bare, plan, None, data)
    rows = bare.training
    own = samples.table["image_id"].iloc[facts.control[: len(rows)]]
    assert own.tolist() == rows["baseline_id"].tolist()
    assert np.isnan(facts.targets["isolated"][len(rows) :]).all()
    name = own.iloc[0]
    assert np.array_equal(samples.read(name).pixels, data.radiograph(name).pixels)
    # Nobody else is made to read them.
    alone, other = counterfactuals(bare, plan.but(arms=("erm", "isolated")), None, data)
    assert len(alone) == len(rows)
    assert np.array_equal(other.targets["isolated"], facts.targets["isolated"][: len(rows)])


def test_pairs_need_controls(data, made):
    plan = tiny(arms=("erm", "isolated", "pair", "teacher"))
    with pytest.raises(RetrainError, match=r"pair, teacher compare .* the training set has none"):
        counterfactuals(without(made, "sham", "sham"), plan, None, data)


def test_heads_that_were_not_added_are_labelled_too(data, made):
    plan = tiny(findings=("Cardiomegaly", "Mass"), pairs=(), arms=("erm", "isolated"))
    targets = counterfactuals(made, plan, None, data)[1].targets
    heart = (made.training["edited_finding"] == "Cardiomegaly").to_numpy()
    assert np.array_equal(targets["isolated"][:, 0], heart)
    assert (targets["isolated"][:, 1] == 0).all()
    other = tiny(findings=("Mass",), pairs=(), arms=("erm", "isolated"))
    with pytest.raises(RetrainError, match=r"adds heads \(Mass\)"):
        counterfactuals(made, other, None, data)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("path", "images/none.png", "Manifest row 3 .* has no picture"),
        ("edited_finding", "Blob", "Manifest row 3 .* unknown finding 'Blob'"),
        ("Edema", 1.5, r"Manifest row 3 .* has .*1\.5.* for Edema"),
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(data, made, column, value, said):
    table = made.manifest.copy()
    table.loc[table.index[2], column] = value
    with pytest.raises(DatasetError, match=said):
        counterfactuals(replace(made, table=table), tiny(arms=("erm", "isolated")), None, data)


def test_phantoms_have_labels():
    data = datasets.load("phantoms:2")
    samples = labelled(data, None, tiny(), "phantoms")
    assert (samples.targets == 0).all()
    assert pd.unique(samples.table["patient_id"]).size == 2
