"""What is wrong with a data set is found and named; what would make results wrong is refused."""

import shutil
import tarfile

import pytest

from roentmod import datasets
from roentmod.errors import DatasetError
from tests.datasets.test_sets import kinds

CLEAN = {"labels": "No Finding", "view": "PA", "age": 40}


def test_missing_files_are_counted_named_and_left_out(plain):
    rows = [{**CLEAN, "path": f"{i}.png", "patient_id": i} for i in range(8)]
    folder = plain(*rows)
    for i in range(5):
        (folder / f"{i}.png").unlink()
    loaded = datasets.load(folder)
    problem = kinds(loaded)["missing files"]
    assert problem.count == 5
    assert problem.examples == tuple(str(folder / f"{i}.png") for i in range(3))
    assert "missing files: 5" in str(problem)
    chosen = datasets.baselines(loaded)
    assert sorted(chosen.table["baseline_id"]) == ["5.png", "6.png", "7.png"]
    assert chosen.report["unfit: missing file"] == 5


def test_the_same_bytes_under_two_names(plain):
    folder = plain(*({**CLEAN, "path": f"{i}.png"} for i in range(4)))
    shutil.copy(folder / "1.png", folder / "3.png")
    problem = kinds(datasets.load(folder))["duplicated files"]
    assert (problem.count, problem.examples) == (1, ("1.png = 3.png",))


def test_files_of_one_size_and_tail_are_not_the_same(plain):
    folder = plain(*({**CLEAN, "path": f"{i}.png"} for i in range(2)))
    for i in range(2):
        (folder / f"{i}.png").write_bytes(bytes([i]) + bytes(10_000))
    assert "duplicated files" not in kinds(datasets.load(folder))
    (folder / "1.png").write_bytes(bytes(10_001))
    assert "duplicated files" in kinds(datasets.load(folder))


def test_one_path_twice_is_seen_without_looking_at_files(plain):
    rows = [{**CLEAN, "path": "x.png", "image_id": name} for name in "ab"]
    loaded = datasets.load(plain(*rows, pictures=False), check_files=False)
    assert kinds(loaded)["duplicated files"].examples == ("a = b",)


def test_an_id_twice_with_other_labels_is_refused(plain):
    rows = [
        {**CLEAN, "path": "0.png"},
        {**CLEAN, "path": "1.png"},
        {**CLEAN, "path": "0.png", "labels": "Mass"},
    ]
    with pytest.raises(DatasetError, match=r"'0.png' in index.csv row 2 and index.csv row 4"):
        datasets.load(plain(*rows))


def test_an_id_twice_with_the_same_facts_is_listed(plain):
    loaded = datasets.load(plain(*({**CLEAN, "path": f"{i % 2}.png"} for i in range(3))))
    assert loaded.table["image_id"].tolist() == ["0.png", "1.png"]
    problem = kinds(loaded)["duplicated ids"]
    assert (problem.count, problem.examples) == (1, ("0.png",))


def test_a_patient_in_two_splits(plain):
    rows = [
        {**CLEAN, "path": f"{i}.png", "patient_id": patient, "split": split}
        for i, (patient, split) in enumerate(
            [("p", "train"), ("p", "test"), ("q", "train"), ("r", "val"), ("s", "")]
        )
    ]
    loaded = datasets.load(plain(*rows))
    assert kinds(loaded)["leaking splits"].examples == ("p in train and test",)
    for split in ("train", "test"):
        with pytest.raises(DatasetError, match=r"patient p \(0\.png in train, 1\.png in test\)"):
            datasets.baselines(loaded, split=split)
    assert datasets.baselines(loaded, split="validation").table["patient_id"].tolist() == ["r"]
    assert len(datasets.baselines(loaded)) == 4


def test_ages_and_views(plain):
    rows = [
        {**CLEAN, "path": "0.png", "age": -3, "view": "PA"},
        {**CLEAN, "path": "1.png", "age": "old", "view": "sideways"},
        {**CLEAN, "path": "2.png", "age": "", "view": ""},
        {**CLEAN, "path": "3.png", "age": "006M", "view": "postero-anterior"},
    ]
    loaded = datasets.load(plain(*rows))
    assert loaded.table["age"].isna().tolist() == [True, True, True, False]
    assert loaded.table["age"].iloc[3] == 0.5
    assert kinds(loaded)["impossible ages"].count == 2
    assert kinds(loaded)["unknown views"].count == 2
    assert kinds(loaded)["unknown views"].examples == ("'sideways' 1", "'' 1")


def test_a_finding_and_none_contradict(plain):
    loaded = datasets.load(plain({**CLEAN, "path": "0.png", "labels": "No Finding|Mass"}))
    assert kinds(loaded)["contradicting labels"].examples == ("0.png",)
    with pytest.raises(DatasetError, match="yet another label"):
        datasets.baselines(loaded)


def test_an_unknown_picture_is_refused(plain):
    loaded = datasets.load(plain({**CLEAN, "path": "0.png"}))
    for read in (loaded.radiograph, loaded.anatomy):
        with pytest.raises(DatasetError, match=r"got '7\.png'"):
            read("7.png")


def test_pictures_inside_a_tar(plain):
    """Paths into archives, relative or absolute, are looked for and compared as files are."""
    rows = [{**CLEAN, "path": f"{i}.png", "patient_id": i} for i in range(4)]
    folder = plain(*rows)
    (folder / "shards").mkdir()
    shard = folder / "shards" / "train-00000.tar"
    with tarfile.open(shard, "w") as tar:
        for i in range(4):
            tar.add(folder / f"{i % 3}.png", f"{i}.png")
    ids = {i: datasets.load(folder).radiograph(f"{i}.png").id for i in range(3)}
    packed = [
        {**row, "path": f"{shard if i == 2 else 'shards/train-00000.tar'}/{i}.png", "image_id": i}
        for i, row in enumerate(rows)
    ]
    packed.append({**CLEAN, "path": "shards/train-00000.tar/9.png", "image_id": 9})
    packed.append({**CLEAN, "path": "1.png", "image_id": 10})
    loaded = datasets.load(plain(*packed, pictures=False))
    assert loaded.table["path"].iloc[0] == str(shard / "0.png")
    assert [loaded.radiograph(str(i)).id for i in range(4)] == [ids[0], ids[1], ids[2], ids[0]]
    assert loaded.radiograph("1").source == "1.png"
    assert kinds(loaded)["missing files"].examples == (str(shard / "9.png"),)
    # The third copies the first inside the tar; the last is a file with the bytes of a member.
    assert kinds(loaded)["duplicated files"].examples == ("0 = 3", "1 = 10")
    assert len(datasets.baselines(loaded)) == 5


@pytest.mark.parametrize("check_files", [True, False])
def test_one_id_of_two_files_is_refused(plain, check_files):
    rows = [{**CLEAN, "path": f"{i}.png", "id": "p1"} for i in range(2)]
    with pytest.raises(DatasetError, match=r"'p1' in .* row 2 and .* row 3.*patient_id where it"):
        datasets.load(plain(*rows), check_files=check_files)
    loaded = datasets.load(
        plain(*({**row, "path": f"./{'./' * i}0.png"} for i, row in enumerate(rows)))
    )
    assert kinds(loaded)["duplicated ids"].count == 1


def test_a_picture_without_an_id_is_named_by_its_path(plain):
    rows = [{**CLEAN, "path": f"{i}.png", "image_id": name} for i, name in enumerate(["", "", "c"])]
    loaded = datasets.load(plain(*rows))
    assert loaded.table["image_id"].tolist() == ["0.png", "1.png", "c"]
    assert len(datasets.baselines(loaded)) == 3
    assert "duplicated ids" not in kinds(loaded)
