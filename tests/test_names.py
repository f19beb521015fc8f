"""No name of a patient, place or file is in what a verb writes, unless it is to be kept."""

import io
import json
import tarfile

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from pydicom.datadict import DicomDictionary

import roentmod as rm
from roentmod import datasets
from roentmod.datasets import pseudonymous
from roentmod.errors import InputError, RunError
from roentmod.jobs.augment import export

NAME = "Zebulon"
TEXTS = {"LO", "SH", "LT", "ST", "UT", "UC", "PN"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve radiographs with a name in every text element, and in names of files and columns."""
    place = tmp_path_factory.mktemp("names") / f"{NAME} files"
    place.mkdir()
    rows = []
    for n in range(12):
        file = place / f"{NAME}-{n}.dcm"
        rm.write(rm.phantom(n).radiograph, file, provenance=None)
        header = pydicom.dcmread(file)
        for tag, (vr, multiple, _, _, keyword) in DicomDictionary.items():
            if tag >> 16 > 2 and vr in TEXTS and keyword and multiple.startswith("1"):
                setattr(header, keyword, NAME)
        del header.SyntheticData
        header.add_new(0x00091010, "LO", NAME)
        header.save_as(file)
        split = ("train", "train", "val", "test")[n % 4]
        label = "Edema" if n % 3 == 2 else "No Finding"
        rows.append(f"{file.name},{label},PA,{NAME}{n},50,F,{split},{NAME} site,{NAME}")
    head = f"path,labels,view,patient_id,age,sex,split,site,{NAME} notes"
    (place / "index.csv").write_text("\n".join([head, *rows]) + "\n")
    return place


def contents(path):
    """Yield what a file holds as bytes, unpacked."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        yield table.drop(columns="image", errors="ignore").to_csv().encode()
    if path.suffix == ".png":
        with Image.open(io.BytesIO(data)) as image:
            yield json.dumps({k: str(v) for k, v in image.info.items()}).encode()
    if path.suffix == ".tar":
        with tarfile.open(path) as file:
            for one in file.getmembers():
                yield one.name.encode() + file.extractfile(one).read()


def named(root):
    """Return the files below a folder that hold the name, or have it."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return sorted(
        path.relative_to(root).as_posix()
        for path in files
        if NAME in path.relative_to(root).as_posix()
        or any(NAME.encode() in data for data in contents(path))
    )


SMALL = {"resamples": 200, "flips": 199, "fewest": 3}


def audit(data, out, **options):
    return rm.audit(
        data, "demo:honest", editor="painter", findings=["Mass"], out=out, **SMALL, **options
    )


def augment(data, out, finding="Mass", **options):
    return rm.augment(
        data, findings=[finding], editor="painter", gate_logit=None, out=out, **options
    )


def tars(data, out):
    made = augment(data, out, pictures="webdataset", with_baselines=True)
    export(made.folder, "huggingface")
    return made


def retrain(data, out):
    made = augment(data, out / "set", "Edema", split="train")
    return rm.retrain(
        data,
        findings=["Edema"],
        arms=["erm", "isolated"],
        training_set=made,
        tests={"inside": (data, "test", "internal")},
        steps=2,
        evaluate_every=1,
        size=64,
        seeds=1,
        out=out / "run",
    )


def validate(data, out):
    return rm.validate(
        data, editor="painter", findings=["Mass"], baselines=3, swept=1, worded=1, undone=1, out=out
    )


def plant(data, out, **options):
    return rm.plant(data, findings=["Edema"], prevalence=0.9, out=out, **options)


@pytest.mark.slow
@pytest.mark.parametrize("verb", [audit, augment, tars, plant, retrain, validate])
def test_no_name_is_written(verb, folder, tmp_path):
    result = verb(folder, tmp_path / "out")
    if hasattr(result, "report"):
        result.report()
    assert named(tmp_path / "out") == []
    assert any((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_names_are_kept_where_wished(folder, tmp_path):
    augment(folder, tmp_path / "out", keep_ids=True)
    assert "manifest.csv" in named(tmp_path / "out")


def test_pseudonyms_depend_on_the_salt_and_stay(folder, tmp_path, monkeypatch):
    data = datasets.load(folder)
    once = pseudonymous(data)
    assert once.table["image_id"].str.fullmatch("i-[0-9a-f]{12}").all()
    assert once.table["patient_id"].nunique() == data.table["patient_id"].nunique()
    assert (
        not once.table[["image_id", "patient_id", "site"]]
        .isin(data.table.stack().tolist())
        .any(axis=None)
    )
    pd.testing.assert_frame_equal(pseudonymous(once).table, once.table)
    pd.testing.assert_frame_equal(pseudonymous(data).table, once.table)
    picture = once.radiograph(once.table["image_id"][3])
    np.testing.assert_array_equal(picture.pixels, data.radiograph(data.table["image_id"][3]).pixels)
    assert NAME not in picture.source
    assert NAME not in json.dumps(once.describe())
    monkeypatch.setenv("ROENTMOD_SALT", str(tmp_path / "salt"))
    other = pseudonymous(data)
    assert not set(other.table["patient_id"]) & set(once.table["patient_id"])
    assert (tmp_path / "salt").stat().st_mode & 0o077 == 0
    (tmp_path / "b").write_text("pepper")
    monkeypatch.setenv("ROENTMOD_SALT", str(tmp_path / "b"))
    with pytest.raises(RunError, match="64 hexadecimal digits"):
        pseudonymous(data)


def test_a_message_about_a_file_does_not_name_it(folder, tmp_path):
    place = tmp_path / "set"
    place.mkdir()
    (place / f"{NAME}.png").write_bytes(b"nothing")
    (place / "index.csv").write_text(f"path,labels\n{NAME}.png,No Finding\n")
    data = pseudonymous(datasets.load(place))
    with pytest.raises(InputError) as error:
        data.radiograph(data.table["image_id"][0])
    assert NAME not in str(error.value)
    assert error.value.__cause__ is None
