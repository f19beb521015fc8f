"""Matched negatives, and facts that predict labels by themselves."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from roentmod import datasets
from roentmod.errors import DatasetError
from tests.datasets.conftest import table

FACTS = "path,patient_id,site,view,sex,age,labels"


def folder(tmp_path, rows):
    table(tmp_path / "index.csv", FACTS, rows)
    return datasets.load(tmp_path, check_files=False)


def mixed(tmp_path, seed=0, count=400, informative=True):
    """Edema comes mostly from ward a, AP and older people; nothing of that with not informative."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        ill = rng.uniform() < 0.3
        high = ill if informative else rng.uniform() < 0.3
        site, view = (rng.choice(pair, p=[0.85, 0.15] if high else [0.1, 0.9]) for pair in PAIRS)
        age = rng.integers(50, 90) if high else rng.integers(20, 75)
        labels = "Edema" if ill else "No Finding"
        rows.append([f"{i}.png", f"p{i // 2}", site, view, rng.choice(["F", "M"]), age, labels])
    return folder(tmp_path, rows)


PAIRS = (["a", "b"], ["AP", "PA"])


def test_each_stratum_has_as_many_of_both(tmp_path):
    loaded = mixed(tmp_path)
    chosen = datasets.match(loaded, "oedema").table
    counts = chosen.groupby(["stratum", "positive"]).size().unstack()
    assert len(counts) > 4
    assert (counts[True] == counts[False]).all()
    facts = loaded.table.set_index("image_id").loc[chosen["baseline_id"]]
    assert (facts["Edema"] == "positive").tolist() == chosen["positive"].tolist()
    assert chosen["patient_id"].is_unique
    bands = (facts["age"] // 10 * 10).astype(int).astype(str).to_numpy()
    own = facts["site"].to_numpy() + " / " + facts["view"].to_numpy() + " / "
    assert (own + facts["sex"].to_numpy() + " / " + bands == chosen["stratum"]).all()


def test_matching_is_as_large_as_it_can_be(tmp_path):
    report = datasets.match(mixed(tmp_path), "Edema").report
    loaded = mixed(tmp_path)
    there = datasets.positives(loaded, "Edema").table
    absent = datasets.baselines(loaded).table
    absent = absent[
        ~absent["patient_id"].isin(loaded.table.query("Edema == 'positive'").patient_id)
    ]
    keys = [
        part["site"] + part["view"] + part["sex"] + (part["age"] // 10).astype(str)
        for part in (there, absent)
    ]
    most = pd.concat([key.value_counts() for key in keys], axis=1).min(axis=1, skipna=False).sum()
    assert report["chosen"] == 2 * most
    assert report["positives without match"] == len(there) - most


def test_what_matching_is_on_and_how_many(tmp_path):
    loaded = mixed(tmp_path)
    three = datasets.match(loaded, "Edema", on=["sex"], ratio=3).table
    sides = three["positive"].value_counts()
    assert sides[True] < sides[False] <= 3 * sides[True]
    assert set(three["stratum"]) == {"F", "M"}
    assert datasets.match(loaded, "Edema").table.equals(datasets.match(loaded, "Edema").table)
    for wrong in ({"on": ["hair"]}, {"on": ["patient_id"]}, {"on": []}, {"ratio": 0}, {"band": 0}):
        with pytest.raises(DatasetError, match="Matching is on"):
            datasets.match(loaded, "Edema", **wrong)


def test_any_column_can_be_matched_on(tmp_path):
    loaded = mixed(tmp_path)
    maker = np.where(loaded.table["Edema"] == "positive", "x", "y").astype(object)
    maker[::4] = "z"
    more = dataclasses.replace(loaded, table=loaded.table.assign(detector=maker))
    chosen = datasets.match(more, "Edema", on=["detector", "sex"]).table
    assert set(chosen["stratum"]) == {"z / F", "z / M"}
    assert "detector" not in datasets.match(more, "Edema").table
    with pytest.raises(DatasetError, match=r"view, sex, age, size, .*got detector"):
        datasets.match(loaded, "Edema", on=["detector"])


def test_the_size_of_pictures_can_be_matched_on(tmp_path):
    from PIL import Image

    rows = []
    for i in range(40):
        labels = "Edema" if i % 2 else "No Finding"
        rows.append([f"{i}.png", f"p{i}", "a", "PA", "F", 50, labels])
        wide = 48 if i % 2 or i < 10 else 32
        noise = np.random.default_rng(i).integers(0, 255, (32, wide), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    chosen = datasets.match(folder(tmp_path, rows), "Edema", on=["size"]).table
    assert set(chosen["stratum"]) == {"32 x 48"} or set(chosen["stratum"]) == {"48 x 32"}
    assert chosen["positive"].tolist().count(True) == 5


def test_unmentioned_is_no_negative_and_nothing_in_common_is_said(tmp_path):
    rows = [
        ["1.png", "1", "a", "PA", "F", 50, "Edema"],
        ["2.png", "2", "b", "PA", "F", 50, "No Finding"],
        ["3.png", "3", "c", "PA", "F", 50, "Mass"],
    ]
    with pytest.raises(DatasetError, match="1 positives and 1 negatives"):
        datasets.match(folder(tmp_path, rows), "Edema")


def test_facts_that_predict_are_found_and_matching_takes_that_away(tmp_path):
    loaded = mixed(tmp_path, count=1200)
    found = datasets.predictors(loaded)
    assert set(zip(found["finding"], found["fact"], strict=True)) == {
        ("Edema", "site"), ("Edema", "view"),
    }  # fmt: skip
    ill = (loaded.table["Edema"] == "positive").to_numpy()
    auc = stats.mannwhitneyu(
        *((loaded.table["site"] == "a")[side].astype(int) for side in (ill, ~ill))
    ).statistic / (ill.sum() * (~ill).sum())
    own = found.set_index("fact")["auc"]
    assert own["site"] == pytest.approx(auc, abs=0.03)
    (problem,) = datasets.telling(found)
    assert "site -> Edema AUC 0.8" in str(problem)
    chosen = datasets.match(loaded, "Edema").table
    matched = loaded.table[loaded.table["image_id"].isin(chosen["baseline_id"])]
    assert (datasets.predictors(dataclasses.replace(loaded, table=matched))["auc"] < 0.6).all()


def test_what_is_not_mentioned_is_a_negative_where_it_counts_as_absent(tmp_path):
    wards = [("a", "Edema"), ("b", "Mass")]
    rows = [[f"{i}.png", f"p{i}", *wards[i % 2][:1], "PA", "F", 50, wards[i % 2][1]]
            for i in range(60)]  # fmt: skip
    loaded = folder(tmp_path, rows)
    assert datasets.predictors(loaded, ["Edema"]).empty
    found = datasets.predictors(loaded, ["Edema"], unmentioned="absent")
    assert found[["fact", "auc", "positives", "negatives"]].to_numpy().tolist() == [
        ["site", 1.0, 30, 30]
    ]
    # Spelled in any way, as everywhere.
    split = dataclasses.replace(loaded, table=loaded.table.assign(split="test"))
    assert len(datasets.predictors(split, ["Edema"], split="Testing", unmentioned="absent")) == 1


def test_facts_that_say_nothing_are_seldom_reported(tmp_path):
    found = [
        datasets.predictors(mixed(tmp_path, seed, 200, informative=False)) for seed in range(8)
    ]
    assert sum(len(datasets.telling(one)) for one in found) == 0
    assert abs(pd.concat(found)["auc"].mean() - 0.5) < 0.03


def test_the_size_of_pictures_is_a_fact(tmp_path):
    from PIL import Image

    rows = []
    for i in range(60):
        labels = "Edema" if i % 2 else "No Finding"
        rows.append([f"{i}.png", f"p{i}", "a", "PA", "F", 50, labels])
        noise = np.random.default_rng(i).integers(0, 255, (32, 48 - 16 * (i % 2)), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    found = datasets.predictors(folder(tmp_path, rows))
    assert found["fact"].tolist() == ["size"]
    assert found["auc"].iloc[0] == 1
    assert datasets.predictors(folder(tmp_path, rows), most=0).empty
