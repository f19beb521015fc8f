"""`roentmod augment` and `roentmod cooccurrence` as a user meets them."""

import json

import pandas as pd
import pytest

from roentmod import datasets, imaging
from roentmod.datasets.phantom import phantom
from tests.cli.running import process, run
from tests.small import write_phantoms


def augment(out, *more, cache, call=run):
    arguments = ["--data", "phantoms:5", "--editor", "painter", "--findings", "Edema,Mass"]
    return call("augment", *arguments, "--out", out, *more, cache=cache)


@pytest.mark.slow
def test_a_training_set_is_made_and_found_complete_the_next_time(tmp_path):
    options = ["--labels", "soft", "--ratio", "2", "--with-baselines", "--form", "webdataset"]
    first = augment(tmp_path / "set", *options, cache=tmp_path, call=process)
    assert first.returncode == 0, first.stderr
    made = pd.read_parquet(tmp_path / "set" / "manifest.parquet")
    done = made[(made["status"] == "ok") & (made["arm"] == "counterfactual")]
    assert len(done) >= 8
    # Of 2,303 NIH radiographs with edema, 129 have a mass as well.
    edema = done[done["edited_finding"] == "Edema"]
    assert (edema["Edema"] == 1).all()
    assert edema["Mass"].iloc[0] == pytest.approx(129 / 2303, abs=1e-6)
    assert "NIH" in json.dumps(json.loads((tmp_path / "set" / "augment.json").read_text()))
    assert list((tmp_path / "set").rglob("*.tar"))
    when = {p: p.stat().st_mtime_ns for p in (tmp_path / "set" / "images").rglob("*.png")}
    assert augment(tmp_path / "set", *options, cache=tmp_path).returncode == 0
    assert {p: p.stat().st_mtime_ns for p in when} == when


def test_no_counterfactual_is_made_of_patients_dealt_to_validation(tmp_path):
    """NIH's lists have no validation split: a later retraining deals one, by the same rule."""
    names = [f"p{i}" for i in range(60, 72)]
    rows = [{"path": f"{n}.png", "patient_id": n, "labels": "No Finding"} for n in names]
    for seed, row in enumerate(rows):
        imaging.write(phantom(seed, size=160).radiograph, tmp_path / row["path"], provenance=None)
    pd.DataFrame(rows).assign(split="train", age=50).to_csv(tmp_path / "index.csv", index=False)
    result = augment(tmp_path / "set", "--data", tmp_path, "--keep-ids", cache=tmp_path)
    assert result.returncode == 0, result.stderr
    made = set(pd.read_parquet(tmp_path / "set" / "manifest.parquet")["patient_id"])
    whole = datasets.with_validation(datasets.load(str(tmp_path))).table
    dealt = set(whole.loc[whole["split"] == "val", "patient_id"])
    assert dealt
    assert made == set(names) - dealt


@pytest.mark.parametrize("verb", ["augment", "plant"])
def test_what_cannot_be_read_is_told_and_exits_3_until_it_can(verb, tmp_path):
    write_phantoms(tmp_path / "data", [""] * 4)
    file = tmp_path / "data" / "2.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:200])
    words = (verb, "--data", tmp_path / "data", "--findings", "Edema", "--out", tmp_path / "set")
    words += ("--editor", "painter")
    done = run(*words, cache=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "1 could not be read or made" in done.stderr
    assert run(*words, cache=tmp_path).returncode == 3
    file.write_bytes(whole)
    done = run(*words, cache=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--pair", "Edema-Mass"), "--pair is"),
        (("--ratio", "9"), "Counterfactuals per baseline"),
        (("--split", "train"), "splits of phantoms"),
        (("--form", "webdataset", "--form", "zip"), "got 'zip'"),
        (("--store", "bogus://x/y"), "bogus"),
    ],
)
def test_bad_arguments_give_one_line_and_exit_2(more, said, tmp_path):
    result = augment(tmp_path / "set", *more, cache=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr
    assert not (tmp_path / "set" / "manifest.parquet").exists()


@pytest.mark.slow
def test_cooccurrence_of_readings_is_counted(tmp_path):
    answers = [("Edema", "a", 1), ("Edema", "b", 1), ("Mass", "a", 1), ("Mass", "b", 0)]
    table = pd.DataFrame(
        [{"reader": "r", "case": c, "finding": f, "answer": a} for f, c, a in answers]
    )
    table.to_csv(tmp_path / "answers.csv", index=False)
    out = tmp_path / "rates.json"
    result = process(
        "cooccurrence", "--readers", tmp_path / "answers.csv", "--out", out, cache=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "Mass" in result.stdout
    both = run("cooccurrence", "--out", out, cache=tmp_path)
    assert both.returncode == 2
    assert "Give one" in both.stderr
