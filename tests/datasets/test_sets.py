"""Each published set, in its own columns, comes to the one table with its own meaning."""

import numpy as np
import pytest

from roentmod import datasets
from roentmod.datasets.published import NIH_SEARCHED
from roentmod.domain import FINDINGS
from roentmod.errors import DatasetError
from tests.datasets.conftest import NIH, nih_row, picture, table

NAMES = [item.name for item in FINDINGS]
META = ["image_id", "path", "patient_id", "view", "age", "sex", "split", "site"]


def states(dataset, row):
    """Return the findings of one row that are not negative, and their states."""
    one = dataset.table.iloc[row]
    return {name: one[name] for name in NAMES if one[name] not in ("negative", "unmentioned")}


def kinds(dataset):
    return {problem.kind: problem for problem in dataset.problems}


def test_one_table_for_all(nih):
    loaded = datasets.load(nih)
    assert list(loaded.table.columns) == [*META, *NAMES, "other_labels", "unfit"]
    assert set(loaded.table["Edema"].cat.categories) == set(loaded.counts().columns)
    assert len(loaded) == 6


def test_nih(nih):
    loaded = datasets.load(nih)
    assert loaded.name == "nih"
    assert states(loaded, 0) == {"No Finding": "positive"}
    assert states(loaded, 1) == {"Cardiomegaly": "positive", "Pleural Effusion": "positive"}
    row = loaded.table.iloc[1]
    assert {row[name] for name in NIH_SEARCHED} == {"positive", "negative"}
    # Not one of the 14: the reports were not searched for it.
    assert row["Support Devices"] == row["Text Marker"] == "unmentioned"
    assert loaded.table["age"].tolist()[:4] == [50, 50, 17, 50]
    assert np.isnan(loaded.table["age"].iloc[4])
    assert loaded.table["age"].iloc[5] == 58
    assert kinds(loaded)["impossible ages"].examples == ("00000004_000.png: '414'",)
    assert set(kinds(loaded)) == {"impossible ages"}


def test_nih_pictures_are_found_in_their_folders(nih):
    loaded = datasets.load(nih)
    assert loaded.radiograph("00000001_001.png").stored.shape == (64, 64)
    assert loaded.anatomy("00000001_001.png") is None
    assert "images_002" in loaded.table["path"].iloc[1]


def test_nih_without_files(nih):
    for path in nih.rglob("*.png"):
        path.unlink()
    loaded = datasets.load(nih, check_files=False)
    assert loaded.table["path"].iloc[0] == str(nih / "images" / "00000001_000.png")
    with pytest.raises(DatasetError, match="none of 6 was found"):
        datasets.load(nih)


def test_nih_lists_of_patients_give_splits(nih):
    (nih / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png\n")
    (nih / "test_list.txt").write_text("00000002_000.png\n")
    assert datasets.load(nih).table["split"].tolist() == ["train"] * 2 + ["test"] + [""] * 3


def test_nih_counts_are_those_of_the_file(tmp_path):
    rng = np.random.default_rng(0)
    rows, truth = [], dict.fromkeys(("Mass", "Hernia", "No Finding"), 0)
    for number in range(200):
        some = [name for name in ("Mass", "Hernia") if rng.uniform() < 0.3] or ["No Finding"]
        for name in some:
            truth[name] += 1
        rows.append(nih_row(f"{number}.png", "|".join(some), str(number)))
    table(tmp_path / "Data_Entry_2017.csv", NIH, rows)
    counts = datasets.load(tmp_path, check_files=False).counts()
    assert {name: counts.loc[name, "positive"] for name in truth} == truth
    assert (counts.sum(axis=1) == 200).all()


def test_chexpert(chexpert):
    loaded = datasets.load(chexpert)
    assert loaded.name == "chexpert"
    assert states(loaded, 2) == {"Edema": "uncertain", "Pneumonia": "positive"}
    row = loaded.table.iloc[2]
    assert row["Atelectasis"] == "negative"
    assert row["Cardiomegaly"] == "unmentioned"
    assert row["other_labels"] == "Lung Opacity?|Fracture"
    assert row["sex"] == ""
    assert row["patient_id"] == "patient00002"
    assert loaded.table["view"].tolist() == ["AP"] * 3 + ["lateral"] + ["AP"] * 2 + ["PA"]
    assert loaded.table["split"].tolist() == ["train"] * 6 + ["val"]
    assert set(kinds(loaded)) == {"unknown labels"}


def test_a_lung_lesion_is_a_nodule_or_a_mass(chexpert):
    loaded = datasets.load(chexpert)
    assert states(loaded, 4) == {"Nodule": "uncertain", "Mass": "uncertain"}
    assert loaded.table["other_labels"].iloc[4] == "Lung Lesion"
    assert loaded.table["Mass"].iloc[5] == loaded.table["Nodule"].iloc[5] == "negative"


def test_no_finding_with_devices_is_no_baseline(chexpert):
    chosen = datasets.baselines(datasets.load(chexpert), split="train")
    assert chosen.table["patient_id"].tolist() == ["patient00001"]
    assert chosen.report["no finding, yet another label"] == 1


def test_chexpert_refuses_another_label(chexpert):
    path = chexpert / "valid.csv"
    path.write_text(path.read_text().replace("PA,1.0", "PA,2.0"))
    with pytest.raises(DatasetError, match=r"'No Finding' has '2.0' in row 2"):
        datasets.load(chexpert)


def test_mimic(mimic):
    loaded = datasets.load(mimic, check_files=False)
    assert loaded.name == "mimic-cxr-jpg"
    expected = "files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg"
    assert loaded.table["path"].iloc[0] == str(mimic / expected)
    assert states(loaded, 0) == states(loaded, 1) == {"No Finding": "positive"}
    assert states(loaded, 2) == {"Edema": "uncertain", "Pleural Effusion": "positive"}
    assert loaded.table["Atelectasis"].iloc[2] == "negative"
    assert set(loaded.table.iloc[3][NAMES]) == {"unmentioned"}
    assert loaded.table["view"].tolist() == ["PA", "lateral", "AP", "unknown"]
    assert loaded.table["split"].tolist() == ["train", "train", "val", "val"]
    assert loaded.table["age"].iloc[0] == 52
    assert loaded.table["sex"].tolist() == ["F", "F", "", ""]
    assert np.isnan(loaded.table["age"].iloc[2])
    assert kinds(loaded)["pictures without labels"].examples == ("53911762",)


def test_mimic_needs_its_labels(mimic):
    (mimic / "mimic-cxr-2.0.0-chexpert.csv.gz").unlink()
    with pytest.raises(DatasetError, match="chexpert"):
        datasets.load(mimic, check_files=False)


def test_mimic_without_splits_and_patients(mimic):
    (mimic / "mimic-cxr-2.0.0-split.csv.gz").unlink()
    (mimic / "patients.csv.gz").unlink()
    loaded = datasets.load(mimic, check_files=False)
    assert set(loaded.table["split"]) == {""}
    assert loaded.table["age"].isna().all()


def test_padchest(padchest):
    loaded = datasets.load(padchest, check_files=False)
    assert loaded.name == "padchest"
    assert loaded.table["path"].iloc[0] == str(padchest / "7" / "a.png")
    assert states(loaded, 1) == dict.fromkeys(
        ("Pleural Effusion", "Atelectasis", "Pneumothorax"), "positive"
    )
    assert loaded.table["other_labels"].iloc[1] == "costophrenic angle"
    assert loaded.table["Edema"].iloc[1] == "negative"
    assert loaded.table["Text Marker"].iloc[1] == "unmentioned"
    # "unchanged" says nothing, and a row without labels says nothing at all.
    assert states(loaded, 2) == {"No Finding": "positive"}
    assert loaded.table["other_labels"].iloc[2] == ""
    assert set(loaded.table.iloc[5][NAMES]) == {"unmentioned"}
    assert states(loaded, 6) == {"Support Devices": "positive"}
    assert loaded.table["view"].tolist() == ["PA", "PA", "AP", "lateral", "other", "PA", "PA"]
    assert loaded.table["age"].iloc[0] == 65
    assert loaded.table["unfit"].iloc[4] == "excluded by the authors"
    chosen = datasets.baselines(loaded)
    assert sorted(chosen.table["baseline_id"]) == ["a.png", "c.png"]


def test_padchest_pictures_are_found_in_their_folders(padchest):
    for seed, name in enumerate("abcdefg"):
        picture(padchest / str(seed) / f"{name}.png", seed)
    loaded = datasets.load(padchest)
    assert loaded.radiograph("c.png").stored.shape == (64, 64)
    assert "missing files" not in kinds(loaded)


def test_vindr_readers_become_one(vindr):
    loaded = datasets.load(vindr, check_files=False)
    assert loaded.name == "vindr-cxr"
    by = loaded.table.set_index("image_id")
    assert by.loc["clear", "No Finding"] == "positive"
    assert by.loc["clear", "Cardiomegaly"] == "negative"
    assert by.loc["two", "Cardiomegaly"] == "positive"
    assert by.loc["two", "No Finding"] == "uncertain"
    assert by.loc["one", "Fibrosis"] == "uncertain"
    assert by.loc["one", "No Finding"] == "positive"
    assert by.loc["lump", "Nodule"] == by.loc["lump", "Mass"] == "uncertain"
    assert by.loc["lump", "other_labels"] == "Nodule/Mass|Other lesion"
    assert by.loc["unseen", "Cardiomegaly"] == "positive"
    assert by.loc["unseen", "split"] == "test"
    assert set(by["view"]) == {"PA"}
    assert by.loc["clear", "path"] == str(vindr / "train" / "clear.dicom")
    # One reader of three saw fibrosis: that is no clean picture.
    chosen = datasets.baselines(loaded, adult_age=None)
    assert chosen.table["baseline_id"].tolist() == ["clear"]
    assert "unknown patients" in kinds(loaded)


def test_vindr_boxes_alone_are_votes_too(vindr):
    (vindr / "annotations/image_labels_train.csv").unlink()
    (vindr / "annotations/image_labels_test.csv").unlink()
    header = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max"
    box = ["10.5", "20.5", "30.5", "40.5"]
    rows = [
        ["x", "R1", "Cardiomegaly", *box],
        ["x", "R1", "Cardiomegaly", *box],  # two boxes of one reader are one vote
        ["x", "R2", "No finding", "", "", "", ""],
        ["x", "R3", "No finding", "", "", "", ""],
        ["y", "R1", "Cardiomegaly", *box],
        ["y", "R2", "Cardiomegaly", *box],
    ]
    table(vindr / "annotations_train.csv", header, rows)
    loaded = datasets.load(vindr, check_files=False)
    by = loaded.table.set_index("image_id")
    assert by.loc["x", "Cardiomegaly"] == "uncertain"
    assert by.loc["x", "No Finding"] == "positive"
    assert by.loc["y", "Cardiomegaly"] == "positive"
    assert kinds(loaded)["readers missing"].examples == ("y",)


def test_vindr_pictures_of_any_format(vindr):
    for seed, name in enumerate(("clear", "two", "one", "lump", "unseen")):
        picture(vindr / "png" / f"{name}.png", seed)
    assert datasets.load(vindr).radiograph("one").stored.shape == (64, 64)


def test_named_kind_and_wrong_kind(nih, tmp_path):
    assert datasets.load(f"nih:{nih}").name == "nih"
    with pytest.raises(DatasetError, match="VinDr-CXR needs its labels table"):
        datasets.load(f"vindr-cxr:{nih}")
    with pytest.raises(DatasetError, match="name:folder"):
        datasets.load(f"nhi:{nih}")
    with pytest.raises(DatasetError, match="does not exist"):
        datasets.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"index\.csv"):
        datasets.load(tmp_path / "empty")


def test_a_missing_column_is_named(tmp_path):
    table(tmp_path / "Data_Entry_2017.csv", "Image Index,Patient ID", [["a.png", "1"]])
    with pytest.raises(DatasetError, match="lacks Finding Labels"):
        datasets.load(tmp_path)


def test_pictures_elsewhere(nih, tmp_path_factory):
    other = tmp_path_factory.mktemp("pictures")
    for path in list(nih.rglob("*.png")):
        path.rename(other / path.name)
    loaded = datasets.load(nih, images=other)
    assert loaded.table["path"].iloc[0] == str(other / "00000001_000.png")


PATIENT = "patient00001/study1/view1_frontal.jpg"


@pytest.mark.parametrize("place", ["", "CheXpert-v1.0-small/", "CheXpert-v1.0 batch 1 (valid)/"])
def test_chexpert_in_the_folders_of_its_releases(tmp_path, place):
    """The full release lies in four folders, of which the first holds the tables."""
    names = ["train/" + PATIENT, "valid/" + PATIENT.replace("1/s", "2/s")]
    for name in names:
        row = [f"CheXpert-v1.0/{name}", "1.0", ""]
        table(tmp_path / f"{place}{name[:5]}.csv", "Path,Edema,Cardiomegaly", [row])
    train = f"{place}{names[0]}"
    if "batch" in place:
        train = "CheXpert-v1.0 batch 2 (train 1)/" + PATIENT
    picture(tmp_path / train)
    picture(tmp_path / f"{place}{names[1]}", 1)
    for folder in (tmp_path, tmp_path / place):
        loaded = datasets.load(folder)
        assert loaded.name == "chexpert"
        assert loaded.table["image_id"].tolist() == names
        assert set(loaded.table["unfit"]) == {""}
        assert loaded.table["path"].iloc[0] == str(tmp_path / train)


@pytest.mark.parametrize("release", ["", "CheXpert/", "CheXpert-v1.0/"])
def test_chexpert_test_labels_keep_the_first_part_of_their_paths(tmp_path, release):
    rows = [[f"{release}test/{PATIENT}", "1", "0"]]
    table(tmp_path / "test_labels.csv", "Path,Edema,Cardiomegaly", rows)
    picture(tmp_path / "test" / PATIENT)
    loaded = datasets.load(tmp_path)
    assert loaded.table["image_id"].tolist() == ["test/" + PATIENT]
    assert loaded.table["split"].tolist() == ["test"]
    assert loaded.table["unfit"].tolist() == [""]
    assert loaded.table["patient_id"].tolist() == ["patient00001"]


@pytest.mark.parametrize("labels", ["Cardiomegaly, Mass", "Cardiomegaly;Mass", "Efusion|Mass"])
def test_edited_nih_labels_are_no_negatives(tmp_path, labels):
    table(tmp_path / "Data_Entry_2017.csv", NIH, [nih_row("1.png", labels, "1")])
    loaded = datasets.load(tmp_path, check_files=False)
    expected = {"Cardiomegaly": "positive", "Mass": "positive"}
    if "Ef" in labels:
        expected = {"Pleural Effusion": "uncertain", "Mass": "positive"}
        assert kinds(loaded)["labels near a finding"].count == 1
    assert states(loaded, 0) == expected
