"""A study as it lies on the disk: pictures alike, truth apart, plan frozen."""

import json
import stat
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import roentmod as rm
from bench.readers import drawn, picture
from roentmod.errors import ReadersError
from roentmod.jobs.readers import design, making
from roentmod.jobs.readers.answers import read_answers, read_truth, truth_folder
from roentmod.plans import ReadersPlan
from tests.web.readers.studies import write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("study") / "study")


def test_files_of_pictures_are_alike(study):
    files = [study.picture(case) for case in study.content["pictures"]]
    facts = [file.stat() for file in files]
    assert {fact.st_size for fact in facts} == {128 * 128 * 2}
    assert len({fact.st_mtime for fact in facts}) == 1
    shown = np.frombuffer(files[0].read_bytes(), "<u2").reshape(128, 128)
    assert shown.std() > 1000


def test_the_served_folder_says_nothing_of_the_truth(study):
    truth = read_truth(study.folder)
    text = "".join(f.read_text() for f in study.folder.iterdir() if f.is_file())
    kinds = json.loads((study.folder / design.PLAN).read_text())["counts"]
    assert set(truth["kind"]) == {*kinds} - {"pairs"}
    for word in (*truth["patient"], json.loads(truth_text(study))["nonce"], "painter"):
        assert word not in text.replace("painted", "")
    assert stat.S_IMODE(truth_folder(study.folder).stat().st_mode) == 0o700
    assert stat.S_IMODE((study.folder / design.KEY).stat().st_mode) == 0o600


def truth_text(study):
    return (truth_folder(study.folder) / "truth.json").read_text()


def test_the_rule_of_exclusion_says_its_share(study):
    rule = study.content["exclusion"]
    assert rule["least"] == 0.75
    assert "less than 75% of the attention cases" in rule["rule"]


def test_what_counts_is_frozen(study):
    names = study.content["scales"]
    assert names["finding"][study.content["present"] - 1] == "Probably present"
    assert names["realism"][study.content["altered"] - 1] == "Rather altered"


def test_truth_has_a_row_per_case(study):
    truth = read_truth(study.folder).set_index("case")
    assert sorted(truth.index) == sorted(study.content["pictures"])
    (again,) = truth.index[truth["kind"] == "repeat"]
    first = truth.loc[again, "of"]
    assert truth.loc[first, "patient"] == truth.loc[again, "patient"]
    assert study.picture(first).read_bytes() == study.picture(again).read_bytes()
    assert truth.loc[truth["kind"] == "edit", "present"].map(len).eq(1).all()


def test_a_study_is_made_once_and_its_truth_is_its_own(study, tmp_path):
    with pytest.raises(ReadersError, match="designed once"):
        making.freeze(study.folder, drawn(), ReadersPlan())
    other = write_study(tmp_path / "other", seed=1)
    file = truth_folder(other.folder) / "truth.json"
    file.write_text(truth_text(study).replace('"patient-p0"', '"patient-p9"'))
    with pytest.raises(ReadersError, match="is another"):
        read_truth(other.folder)
    file.unlink()
    with pytest.raises(ReadersError, match="not there"):
        read_truth(other.folder)
    with pytest.raises(ReadersError, match="Serve it first"):
        read_answers(other.folder)


def test_ids_follow_from_the_secret_alone(tmp_path):
    one = write_study(tmp_path / "one")
    same = write_study(tmp_path / "same")
    assert one.hash == same.hash
    fresh = making.freeze(tmp_path / "fresh", drawn(), one.plan)
    assert not set(fresh.content["pictures"]) & set(one.content["pictures"])


def test_fewer_cases_than_requested_are_reported(tmp_path):
    study = write_study(tmp_path / "study", edited=100, readings=1)
    (note,) = study.notes
    assert "edited 4 of 100" in note
    with pytest.raises(ReadersError, match="At most all readers"):
        ReadersPlan(readers=2, readings=3)


def test_facts_that_tell_edited_from_real_cases_are_reported(tmp_path):
    """Sizes of the drawn pictures say nothing; views of edits alone, and other sizes, do."""
    many = drawn(edited=40, normals=40)
    assert not any("alone" in note for note in write_study(tmp_path / "alike", many).notes)
    one_view = [replace(case, view="AP" if case.kind == "edit" else "PA") for case in many]
    (note,) = (n for n in write_study(tmp_path / "views", one_view).notes if "alone" in n)
    assert "by their view alone (AUC 1.00)" in note
    small = partial(picture, 0, (64, 64))
    smaller = [replace(case, open=small) if case.kind == "edit" else case for case in many]
    (note,) = (n for n in write_study(tmp_path / "sizes", smaller).notes if "alone" in n)
    assert "by their pixel size alone (AUC 1.00)" in note
    # Of few cases nothing is known.
    few = drawn(edited=10, normals=40)
    few = [replace(case, view="AP" if case.kind == "edit" else "PA") for case in few]
    assert not any("alone" in note for note in write_study(tmp_path / "few", few).notes)


@pytest.mark.slow
def test_a_study_of_a_training_set_and_of_a_run(tmp_path):
    rm.augment(
        "phantoms:3",
        findings=["Edema", "Pleural Effusion"],
        editor="painter",
        gate_logit=None,
        out=tmp_path / "set",
    )
    plan = ReadersPlan(readers=2, edited=3, normals=2, attention=1, practice=1, side=128)
    real = rm.load("phantoms:8:100")
    study = making.make(tmp_path / "study", tmp_path / "set", real, plan)
    truth = read_truth(study.folder)
    assert truth["kind"].value_counts()[["edit", "real_normal", "attention"]].tolist() == [3, 2, 1]
    assert set(truth.loc[truth["kind"] == "edit", "finding"]) == {"Edema", "Pleural Effusion"}
    assert "phantoms" in study.notes[0]
    file = tmp_path / "one.png"
    rm.write(rm.phantom(0, size=192).radiograph, file, provenance=None)
    for burn_in in (False, True):
        rm.edit(
            file, add=["Edema"], editor="painter", judge=None, burn_in=burn_in,
            out=tmp_path / f"run-{burn_in}",
        )  # fmt: skip
    study = making.make(tmp_path / "second", tmp_path / "run-False", real, plan)
    assert read_truth(study.folder)["kind"].tolist().count("edit") == 1
    with pytest.raises(ReadersError, match="burned in"):
        making.make(tmp_path / "third", tmp_path / "run-True", real, plan)
