"""No name of a patient, place or file is in what a verb writes, unless it is to be kept."""

import io
import json
import os
import tarfile
import warnings
from unittest import mock

import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image, PngImagePlugin
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement

import roentmod as rm
from roentmod import datasets
from roentmod.datasets import pseudonymous
from roentmod.errors import InputError, RunError
from roentmod.jobs.augment import export
from tests.cli.running import run
from tests.jobs.study.test_study import TINY

NAME = "Zebulon"
TEXTS = {"LO", "SH", "LT", "ST", "UT", "UC", "UR", "PN", "AE", "CS", "DA", "TM", "DT", "AS", "UI"}
# What says that it is a chest radiograph; another text there is refused.
SAID = {"Modality", "BodyPartExamined", "ViewPosition", "PhotometricInterpretation",
        "PatientOrientation", "SpecificCharacterSet", "VOILUTFunction"}  # fmt: skip


def named_element(tag, vr):
    return DataElement(tag, vr, NAME, validation_mode=pydicom.config.IGNORE)


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
        for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
            if 2 < tag >> 16 < 0xFFFE and vr in TEXTS and keyword and keyword not in SAID:
                header[tag] = named_element(tag, vr)
        del header.SyntheticData
        header[0x00091010] = named_element(0x00091010, "LO")
        item = pydicom.Dataset()
        item[0x00080050] = named_element(0x00080050, "SH")
        header.RequestAttributesSequence = header.ReferencedImageSequence = [item]
        for tag, vr in ((0x00020016, "AE"), (0x00020102, "UI")):
            header.file_meta[tag] = named_element(tag, vr)
        with warnings.catch_warnings():
            # It says that a name is no identifier.
            warnings.simplefilter("ignore")
            header.save_as(file)
        split = ("train", "val", "test")[n // 4]
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


def edit(data, out, **options):
    """Edit DICOM and a PNG with texts, one that cannot be read, and one that is not there."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Comment", NAME)
    pixels = (rm.phantom(3, size=192).radiograph.pixels * 255).astype(np.uint8)
    Image.fromarray(pixels).save(data / f"{NAME}.png", pnginfo=chunks)
    (data / f"{NAME} bad.dcm").write_bytes(b"")
    files = [data / f"{NAME}{end}" for end in ("-0.dcm", ".png", " bad.dcm", " gone.dcm")]
    formats = ("png", "dicom")
    return rm.edit(files, add="mass", editor="painter", format=formats, out=out, **options)


def study(data, out):
    source = {"source": str(data), "plant": True, "every": True}
    tests = {"own": source | {"split": "test", "where": "internal"}}
    audited = {"baselines": 2, "source": {"source": str(data), "split": "test"}}
    retrained = TINY["retrain"] | {"arms": ["erm"], "steps": 2}
    plan = TINY | {"train": source, "tests": tests, "retrain": retrained}
    plan |= {"audit": TINY["audit"] | audited, "plant": {"prevalence": 0.5}}
    # Draws follow the pseudonyms: with this salt each split has both of each finding.
    (out.parent / "salt").write_text("3" * 64)
    with mock.patch.dict(os.environ, ROENTMOD_SALT=str(out.parent / "salt")):
        return rm.study(plan, out=out)


def cooccurrence(data, out):
    out.mkdir()
    run("cooccurrence", "--data", data, "--out", out / "matrix.json", cache=out)
    return None


VERBS = [audit, augment, tars, plant, retrain, validate, edit, study, cooccurrence]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*VR (UI|DA|TM|DT|AS)")
@pytest.mark.parametrize("verb", VERBS)
def test_no_name_is_written(verb, folder, tmp_path):
    out = tmp_path / f"{NAME} results" / "out"
    out.parent.mkdir()
    result = verb(folder, out)
    if hasattr(result, "report"):
        result.report()
    assert named(out) == []
    assert any(out.iterdir())


@pytest.mark.slow
def test_names_are_kept_where_wished(folder, tmp_path):
    augment(folder, tmp_path / "out", keep_ids=True)
    assert "manifest.csv" in named(tmp_path / "out")
    edit(folder, tmp_path / "edits", keep_ids=True)
    kept = named(tmp_path / "edits")
    assert {"edits.json", f"{NAME}-0/add-mass.dcm"} <= set(kept)
    files = [tmp_path / "edits" / f"{NAME}-0" / f"add-mass.{kind}" for kind in ("dcm", "png")]
    assert not any(NAME.encode() in file.read_bytes() for file in files)
    edit(folder, tmp_path / "open", deidentify=False)
    assert NAME.encode() in (tmp_path / "open" / f"{NAME}-0" / "add-mass.dcm").read_bytes()


def test_the_screen_says_whose_a_folder_is_and_logs_do_not(folder, tmp_path, caplog):
    result = edit(folder, tmp_path / "out")
    assert NAME not in caplog.text
    assert "The file is empty" in caplog.text
    assert len({path.name for path in result.inputs.values() if NAME in path.name}) == 4
    files = [path for path in result.inputs.values() if path.suffix == ".png" or "bad" in path.name]
    options = ("--add", "mass", "--editor", "painter", "--no-judge")
    done = run("edit", *files, *options, "--out", tmp_path / "cli", cache=tmp_path)
    assert f"error: {NAME} bad.dcm: The file is empty" in done.stderr
    assert f"{NAME}.png  i-" in done.stdout


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
