"""The plain folder: its columns, what it does not say, what it says not to trust."""

import pytest

from roentmod import datasets
from roentmod.errors import DatasetError
from tests.datasets.conftest import picture, table
from tests.datasets.test_sets import kinds, states


def test_joined_labels(plain):
    loaded = datasets.load(
        plain(
            {"path": "a/1.png", "labels": "No Finding", "view": "PA", "patient_id": "p", "age": 30},
            {"path": "a/2.png", "labels": "Effusion|Mass?", "view": "AP", "sex": "m"},
            {"path": "b/3.png", "labels": "COVID-19", "view": "L"},
        )
    )
    assert loaded.name == "folder"
    assert loaded.table["image_id"].tolist() == ["a/1.png", "a/2.png", "b/3.png"]
    assert states(loaded, 1) == {"Pleural Effusion": "positive", "Mass": "uncertain"}
    assert loaded.table["Mass"].iloc[0] == "negative"
    assert loaded.table["other_labels"].iloc[2] == "COVID-19"
    assert loaded.table["sex"].tolist() == ["", "M", ""]
    # Nobody looked for it anywhere in this table.
    assert set(loaded.table["Edema"]) == {"unmentioned"}
    assert kinds(loaded)["unknown labels"].examples == ("COVID-19 1",)


def test_a_radiograph_knows_the_view_of_its_row(plain):
    rows = [{"path": f"a{view}.png", "labels": "Mass", "view": view} for view in ("PA", "AP", "")]
    loaded = datasets.load(plain(*rows))
    assert [loaded.radiograph(name).view for name in loaded.table["image_id"]] == ["PA", "AP", ""]


def test_what_one_site_looks_for_says_nothing_of_another(plain):
    loaded = datasets.load(
        plain(
            {"path": "1.png", "set": "a", "labels": "Mass"},
            {"path": "2.png", "set": "b", "labels": "Edema"},
            {"path": "3.png", "set": "a", "labels": "No Finding"},
            {"path": "4.png", "set": "b", "labels": "No Finding"},
        )
    )
    assert loaded.table["Mass"].tolist() == ["positive", "unmentioned", "negative", "unmentioned"]
    assert loaded.table["Edema"].tolist() == ["unmentioned", "positive", "unmentioned", "negative"]
    assert loaded.table["site"].tolist() == ["a", "b", "a", "b"]


def test_one_column_a_finding(plain):
    loaded = datasets.load(
        plain(
            {"Image": "1.png", "path": "1.png", "effusion": 1, "No Finding": 0, "note": "free"},
            {"Image": "2.png", "path": "2.png", "effusion": -1, "No Finding": "", "note": "text"},
            {"Image": "3.png", "path": "3.png", "effusion": "negative", "No Finding": "yes"},
        )
    )
    assert loaded.table["Pleural Effusion"].tolist() == ["positive", "uncertain", "negative"]
    assert loaded.table["No Finding"].tolist() == ["negative", "unmentioned", "positive"]
    assert kinds(loaded)["unread columns"].examples == ("Image", "note")


def test_a_column_of_answers_outside_the_catalogue_is_kept(plain):
    loaded = datasets.load(plain({"path": "1.png", "No Finding": 1, "Fracture": 1}))
    assert loaded.table["other_labels"].tolist() == ["Fracture"]
    with pytest.raises(DatasetError, match="yet another label 1"):
        datasets.baselines(loaded, adult_age=None)


def test_labels_in_conflict_are_not_trusted(plain):
    rows = [
        {"path": "1.png", "tier": "A", "labels": "No Finding", "age": 50},
        {"path": "2.png", "tier": "B_labels_conflict", "labels": "Mass|Stent", "age": 50},
        {"path": "3.png", "tier": "B_labels_conflict", "labels": "No Finding", "age": 50},
        {"path": "4.png", "tier": "B_squashed", "labels": "Mass", "age": 50},
    ]
    loaded = datasets.load(plain(*rows))
    assert loaded.table["No Finding"].tolist() == [
        "positive", "unmentioned", "uncertain", "negative",
    ]  # fmt: skip
    assert loaded.table["Mass"].tolist() == ["negative", "uncertain", "unmentioned", "positive"]
    assert loaded.table["other_labels"].iloc[1] == "Stent?"
    chosen = datasets.baselines(loaded)
    assert chosen.table["baseline_id"].tolist() == ["1.png"]
    assert chosen.report["unfit: B_labels_conflict"] == 2
    assert chosen.report["unfit: B_squashed"] == 1
    with pytest.raises(DatasetError, match="none is left"):
        datasets.positives(loaded, "mass")


def test_a_conflict_column_does_the_same(plain):
    loaded = datasets.load(plain({"path": "1.png", "conflict": 1, "labels": "Mass"}))
    assert loaded.table["Mass"].tolist() == ["uncertain"]
    assert loaded.table["unfit"].tolist() == ["labels in conflict"]


def test_any_single_csv_and_a_csv_itself(tmp_path):
    table(tmp_path / "films.csv", "file_name,Label", [["x.png", "Edema"]])
    table(tmp_path / "notes.csv", "who,what", [["a", "b"]])
    picture(tmp_path / "x.png")
    assert states(datasets.load(tmp_path), 0) == {"Edema": "positive"}
    table(tmp_path / "more.csv", "path,labels", [["x.png", "Mass"]])
    with pytest.raises(DatasetError, match=r"films\.csv, more\.csv"):
        datasets.load(tmp_path)
    assert states(datasets.load(str(tmp_path / "more.csv")), 0) == {"Mass": "positive"}


def test_what_is_missing_is_named(tmp_path):
    table(tmp_path / "index.csv", "path,labels", [["x.png", "Mass"], ["", "Edema"]])
    with pytest.raises(DatasetError, match="row 3 has no path"):
        datasets.load(tmp_path)
    table(tmp_path / "index.csv", "path,age", [["x.png", "3"]])
    with pytest.raises(DatasetError, match="'labels'"):
        datasets.load(tmp_path)
    table(tmp_path / "index.csv", "path,Mass", [["x.png", "maybe"]])
    with pytest.raises(DatasetError, match="'Mass' has 'maybe' in row 2"):
        datasets.load(tmp_path)
    (tmp_path / "index.csv").write_text("")
    with pytest.raises(DatasetError, match=r"index\.csv"):
        datasets.load(tmp_path)


def test_without_views_all_are_frontal_and_it_is_said(plain):
    loaded = datasets.load(plain({"path": "1.png", "labels": "No Finding"}))
    assert loaded.table["view"].tolist() == ["frontal"]
    assert kinds(loaded)["no column of views"].count == 1
    assert datasets.baselines(loaded, adult_age=None).table["view"].tolist() == [""]


def test_a_picture_without_labels_says_nothing(plain):
    loaded = datasets.load(plain({"path": "1.png", "labels": ""}, {"path": "2.png", "labels": "x"}))
    assert loaded.table["No Finding"].tolist() == ["unmentioned", "negative"]
    assert kinds(loaded)["pictures without labels"].examples == ("1.png",)
