"""`roentmod plant`, `retrain` and `study` as a user meets them, from planting to page."""

import json
import shutil

import pytest

from roentmod import datasets
from tests.cli.running import process, run
from tests.jobs.study.test_study import TINY, write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A planted data set, made by the command."""
    folder = tmp_path_factory.mktemp("planted")
    done = run(
        "plant", "--data", "phantoms:28:200", "--findings", "Cardiomegaly,Pleural Effusion",
        "--pair", "Cardiomegaly>Pleural Effusion", "--prevalence", "0.4", "--out", folder,
        cache=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Cardiomegaly" in done.stdout
    return folder


def retrain(planted, out, *more, cache, call=run):
    arguments = ["--data", planted, "--findings", "Cardiomegaly,Pleural Effusion"]
    arguments += ["--model", "small", "--size", "32", "--steps", "2", "--batch", "8"]
    return call("retrain", *arguments, "--seeds", "1", "--out", out, *more, cache=cache)


def test_retraining_from_planting_to_page(planted, tmp_path):
    table = datasets.load(planted).table
    assert (table["Cardiomegaly"] == "positive").any()
    done = retrain(
        planted, tmp_path / "out", "--arms", "erm,reweighting", "--internal", f"own={planted}@test",
        "--pair", "Cardiomegaly>Pleural Effusion", cache=tmp_path, call=process,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Cardiomegaly" in page
    assert "not for clinical use" in page
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(told["figures"]["seeds"]) == {"erm", "reweighting"}
    assert {p.name for p in (tmp_path / "out" / "models").glob("*.onnx")} == {
        "erm-0.onnx",
        "reweighting-0.onnx",
    }


def test_a_picture_that_cannot_be_read_is_told_and_exits_3_until_it_can(planted, tmp_path):
    data = shutil.copytree(planted, tmp_path / "data")
    table = datasets.load(data).table
    name = table.loc[table["split"] == "train", "image_id"].iloc[0]
    file = next(path for path in data.rglob("*.png") if path.stem == name)
    whole = file.read_bytes()
    file.write_bytes(whole[:200])
    words = (data, tmp_path / "out", "--arms", "erm")
    done = retrain(*words, cache=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "train: 1 could not be read or made" in done.stderr
    file.write_bytes(whole)
    assert retrain(*words, cache=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--internal", "own"), "A test is NAME=DATA"),
        (("--pair", "Cardiomegaly"), "--pair is"),
        (("--arms", "erm,soft"), "counterfactuals"),
        (("--arms", "magic"), "magic"),
        (("--arms", "erm", "--external", "train=phantoms:3"), "A test is named"),
    ],
)
def test_bad_arguments_give_one_line_and_exit_2(planted, more, said, tmp_path):
    done = retrain(planted, tmp_path / "out", *more, cache=tmp_path)
    assert done.returncode == 2
    # What is strange in the data is said before.
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1
    assert said in lines[0]


def test_a_study_is_planned_then_done(tmp_path):
    changes = {"audit": None, "retrain": TINY["retrain"] | {"arms": ["erm"]}}
    changes["tests"] = {"own": TINY["tests"]["own"]}
    file = write(tmp_path / "small.yaml", **changes)
    planned = run("study", file, "--out", tmp_path / "out", "--dry-run", cache=tmp_path)
    assert planned.returncode == 0, planned.stderr
    lines = planned.stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["plant", "retrain"]
    assert "minutes are left" in lines[-1]
    assert not (tmp_path / "out").exists()
    done = process("study", file, "--out", tmp_path / "out", cache=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "tiny.html").read_text()
    assert "Findings were planted" in page
    assert 'href="retrain-' in page
    assert (
        "done" in run("study", file, "--out", tmp_path / "out", "--dry-run", cache=tmp_path).stdout
    )


def test_a_model_is_trained_further_and_repaired(planted, tmp_path):
    first = retrain(planted, tmp_path / "first", "--arms", "erm", cache=tmp_path)
    assert first.returncode == 0, first.stderr
    model = tmp_path / "first" / "models" / "erm-0.onnx"
    more = ("--arms", "erm", "--from", model, "--layers", "last")
    arguments = ["--data", planted, "--findings", "Cardiomegaly,Pleural Effusion", "--seeds", "1"]
    done = run(
        "retrain", *arguments, "--steps", "2", "--out", tmp_path / "more", *more, cache=tmp_path
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "more" / "plan.json").read_text())
    assert record["plan"]["size"] == 32
    assert record["network"]["model"] == "erm-0.pt"
    done = run(
        "retrain", *arguments, "--size", "64", "--out", tmp_path / "none", *more, cache=tmp_path
    )
    assert done.returncode == 2
    assert "Give --size 32" in done.stderr
    out = tmp_path / "repaired"
    quick = ["--steps", "2", "--batch", "8", "--seeds", "1", "--baselines", "3"]
    done = run("repair", model, "--data", planted, "--out", out, *quick, cache=tmp_path)
    # Three patients are too few to judge, and nothing is trained.
    assert done.returncode == 6, done.stderr
    assert "nothing found" in done.stdout
    assert not list(out.glob("retrain-*"))
    assert "Nothing could be judged" in (out / "report.html").read_text()
    pair = ("--pair", "Cardiomegaly>Pleural Effusion")
    planned = run(
        "repair", model, "--data", planted, "--out", out, *quick, *pair, "--dry-run", cache=tmp_path
    )
    names = ["audit before", "audit before unseen", "augment", "retrain"]
    for name, line in zip(names, planned.stdout.splitlines(), strict=False):
        assert line.startswith(f"{name} ")
    assert planned.stdout.count(" done ") == 2
