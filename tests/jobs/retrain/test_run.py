"""The run directory: what is registered, trained, read, exported, refused and resumed."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from roentmod import classifiers, datasets
from roentmod.errors import RetrainError, RunError
from roentmod.jobs import retrain
from roentmod.jobs.retrain import ARMS
from roentmod.learning.networks import build
from roentmod.learning.pictures import levels
from roentmod.science.performance import PREDICTIONS, STRATUM
from tests.jobs.augment.parts import FINDINGS
from tests.jobs.retrain.parts import shown_in, tiny

ROOT = Path(__file__).parents[3]


def stat(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.suffix in KEPT}


KEPT = (".onnx", ".pt", ".npy", ".jsonl")


@pytest.mark.slow
def test_every_training_reads_every_picture_once(whole, data, elsewhere):
    table = whole.predictions
    assert tuple(table.columns) == (*PREDICTIONS, STRATUM)
    assert len(table) == 14 * (24 + 16 + 16) * 3
    assert not table.duplicated(["arm", "seed", "test", "image_id", "finding"]).any()
    assert list(dict.fromkeys(table["arm"])) == list(ARMS)
    kinds = dict(zip(table["test"], table["where"], strict=True))
    assert kinds == {"val": "val", "inside": "internal", "outside": "external"}
    known = {str(row["image_id"]): row for d in (data, elsewhere) for row in
             d.table.to_dict("records")}  # fmt: skip
    for row in table.sample(40, random_state=0).to_dict("records"):
        own = known[row["image_id"]]
        assert row["label"] == (own[row["finding"]] == "positive")
        facts = ("patient_id", "age", "sex", "view", STRATUM)
        assert [row[name] for name in facts] == [own[name] for name in facts]
    assert np.isfinite(table["logit"]).all()


@pytest.mark.slow
def test_the_exported_classifier_is_the_trained_network(whole, data):
    arm, seed = "isolated", 3
    loaded = classifiers.load(f"onnx:{whole.model(arm, seed)}")
    assert loaded.findings == FINDINGS
    assert loaded.name == "isolated-3"
    names = [str(name) for name in data.table["image_id"][data.table["split"] == "test"]]
    shown = np.stack([levels(data.radiograph(name), 16, 32) for name in names])
    said = loaded.logits((shown / 255).astype(np.float32))
    table = whole.predictions.query("arm == @arm and seed == @seed and test == 'inside'")
    kept = table.pivot(index="image_id", columns="finding", values="logit")
    assert np.allclose(kept.loc[names, list(FINDINGS)], said, atol=1e-4)
    network = build("small", 3, 0, 16).eval()
    network.load_state_dict(torch.load(whole.model(arm, seed).with_suffix(".pt")))
    with torch.no_grad():
        expected = network(torch.from_numpy(shown)[:, None].float() / 255).numpy()
    assert np.allclose(said, expected, atol=1e-4)


@pytest.mark.slow
def test_every_arm_and_seed_ends_elsewhere(whole):
    weights = {
        path.stem: torch.load(path)["whole.weight"]
        for path in sorted((whole.folder / "models").glob("*.pt"))
    }
    assert len(weights) == 14
    different = {tuple(value.ravel().tolist()) for value in weights.values()}
    assert len(different) == 14


def test_the_plan_is_registered_before_anything_is_trained(data, made, tests, tmp_path):
    seen = []

    def stages(name):
        if name.startswith("training"):
            seen.append((name, (tmp_path / "plan.json").exists(), (tmp_path / "models").exists()))
        return lambda *_: None

    plan = tiny(steps=1, evaluate_every=1)
    said = ["facts that predict labels: 1 (site -> Edema AUC 0.90)"]
    result = retrain.run(data, plan, tmp_path, tests=tests, stages=stages, warnings=said)
    assert result.record["warnings"] == said
    assert "site -&gt; Edema AUC 0.90" in result.report().read_text()
    assert seen == [("training", True, False), ("training erm, seed 0", True, False)]


@pytest.mark.slow
def test_the_registered_plan_says_what_will_be_compared(whole, made):
    record = json.loads((whole.folder / "plan.json").read_text())
    assert record["plan"]["arms"] == list(ARMS)
    assert len(record["comparisons"]) == 13 * 2 * 3
    assert record["tests"]["outside"]["where"] == "external"
    positive = {n: sum(n in shown_in(i) for i in range(200, 216)) for n in FINDINGS}
    assert record["tests"]["outside"]["positive"] == positive
    assert record["groups"] == {"Cardiomegaly > Pleural Effusion": [12, 8, 8, 20]}
    assert record["counterfactuals"]["arms"]["isolated"]["pictures"] == len(made.training)
    assert record["counterfactuals"]["control"] == made.record["control"] == "sham"
    assert "Control of counterfactuals" in whole.report().read_text()
    assert "Youden" in record["operating_point"]
    assert record["rates"]["unit"] == "image"
    assert len(record["train"]["sha256"]) == 64


@pytest.mark.slow
def test_a_finished_run_does_nothing_again_and_can_be_loaded(whole, data, made, tests):
    before = stat(whole.folder)
    plan = retrain.RetrainPlan(**json.loads((whole.folder / "plan.json").read_text())["plan"])
    again = retrain.run(data, plan, whole.folder, training_set=made, tests=tests)
    assert stat(whole.folder) == before
    for other in (again, retrain.load(whole.folder)):
        assert other.predictions.equals(whole.predictions)
        assert other.record["trainings"] == whole.record["trainings"]
    assert len(whole.record["trainings"]) == 14
    assert not list((whole.folder / "checkpoints").glob("*"))


@pytest.mark.slow
def test_what_is_missing_is_made_again(whole, data, made, tests, tmp_path):
    copy = Path(shutil.copytree(whole.folder, tmp_path / "copy"))
    for name in ("models/soft-3.pt", "retrain.json", "predictions.parquet"):
        (copy / name).unlink()
    before = {name: stamp for name, stamp in stat(copy).items() if "soft-3" not in name.name}
    plan = tiny(arms=ARMS, seeds=(3,))
    again = retrain.run(data, plan, copy, training_set=made, tests=tests)
    assert again.predictions.equals(whole.predictions)
    assert {name: stat(copy)[name] for name in before} == before


@pytest.mark.slow
def test_another_retraining_does_not_take_the_folder(whole, data, made, tests):
    plan = tiny(arms=ARMS, seeds=(3,))
    before = stat(whole.folder)
    for changes, said in (
        ({"plan": plan.but(steps=7)}, "another plan"),
        ({"tests": {"inside": tests["inside"]}}, "other tests, other comparisons"),
        ({"data": replace(data, table=data.table.assign(age=30.0))}, "another train, another val"),
    ):
        words = {"data": data, "plan": plan, "tests": tests} | changes
        if "data" in changes:
            words["tests"] = {"inside": (words["data"], "test", "internal"), **{
                "outside": tests["outside"]}}  # fmt: skip
        with pytest.raises(RunError, match=said):
            retrain.run(
                words["data"],
                words["plan"],
                whole.folder,
                training_set=made,
                tests=words["tests"],
            )
    assert stat(whole.folder) == before


@pytest.mark.slow
def test_arms_can_be_trained_by_several_calls(data, tests, tmp_path):
    plan = tiny(arms=("erm", "oversampling", "reweighting"), steps=2)
    first = retrain.run(data, plan, tmp_path, tests=tests, arms=("erm", "reweighting"))
    assert list(first.record["trainings"]) == ["erm-0", "reweighting-0"]
    assert set(first.predictions["arm"]) == {"erm", "reweighting"}
    with pytest.raises(RetrainError, match=r"has retrain.json and predictions.parquet"):
        retrain.load(tmp_path)
    last = retrain.run(data, plan, tmp_path, tests=tests, arms=("oversampling",))
    assert list(last.record["trainings"]) == ["erm-0", "oversampling-0", "reweighting-0"]
    assert retrain.load(tmp_path).predictions.equals(last.predictions)
    with pytest.raises(RetrainError, match="got 'soft'"):
        retrain.run(data, plan, tmp_path, tests=tests, arms=("soft",))


def test_what_cannot_be_trained_is_refused_before_anything_is_written(data, made, tests, tmp_path):
    table = data.table.copy()
    table.loc[table["split"] == "test", "patient_id"] = "p1"
    leaking = {"inside": (replace(data, table=table), "test", "internal")}
    patients = data.table["patient_id"][data.table["split"] == "test"]
    trained = replace(made, table=made.manifest.assign(patient_id=patients.iloc[0]))
    for changes, said in (
        ({"tests": leaking}, "patient p1 is in 'train'"),
        ({"tests": {"val": tests["inside"]}}, "got 'val', 'internal'"),
        ({"tests": {"in/side": tests["inside"]}}, "got 'in/side'"),
        ({"tests": {"inside": (data, "test", "inner")}}, "'inside', 'inner'"),
        ({"training_set": None}, "isolated learn from counterfactuals; got none"),
        ({"training_set": trained}, "Manifest row 1 .* who is in 'inside'"),
        ({"device": "cuda"}, "Accelerate found cpu"),
    ):
        words = {"training_set": made, "tests": tests} | changes
        if "device" in changes and torch.cuda.is_available():
            continue
        with pytest.raises(RetrainError, match=said):
            retrain.run(data, tiny(arms=("erm", "isolated")), tmp_path / "run", **words)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_unreadable_picture_is_left_out_and_named(data, tests, tmp_path):
    broken = Path(shutil.copytree(data.root, tmp_path / "data"))

    (broken / "50.png").write_bytes(b"nothing")
    worse = datasets.load(broken)
    bad = str(worse.table["image_id"].iloc[50])
    result = retrain.run(worse, tiny(steps=2), tmp_path / "run", tests={})
    assert list(result.record["unread"]) == ["val"]
    assert list(result.record["unread"]["val"]) == [bad]
    assert bad not in set(result.predictions["image_id"])
    assert len(result.predictions) == 23 * 3
    # Mended, it is read by the next run, and the trainings, which looked at it, are made again.
    shutil.copyfile(data.root / "50.png", broken / "50.png")
    mended = retrain.run(worse, tiny(steps=2), tmp_path / "run", tests={})
    whole = retrain.run(data, tiny(steps=2), tmp_path / "whole", tests={})
    assert mended.record["unread"] == {}
    # A folder without sites is one site, by its name.
    own, other = (one.predictions.drop(columns="site") for one in (mended, whole))
    assert own.equals(other)


def test_time_a_step_is_measured():
    assert 0 < retrain.seconds_per_step(tiny()) < 5


TWO = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from roentmod.jobs import augment, retrain
from roentmod import datasets
from tests.jobs.retrain.parts import tiny
data, folder, made = sys.argv[1:]
data = datasets.load(data)
arms = ("erm", "isolated", "pair", "group_dro", "jtt", "dfr", "teacher", "staged")
plan = tiny(arms=arms, steps=4, evaluate_every=4, patience=1)
tests = {"inside": (data, "test", "internal")}
made = augment.load(Path(made))
result = retrain.run(data, plan, Path(folder), training_set=made, tests=tests)
assert result.record["machine"]["processes"] == 2
"""


@pytest.mark.slow
def test_two_processes_share_a_batch(data, made, tmp_path):
    (tmp_path / "run.py").write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    command += ["--standalone"]
    command += [str(tmp_path / "run.py"), str(data.root), str(tmp_path / "run"), str(made.folder)]
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    result = retrain.load(tmp_path / "run")
    assert list(result.record["trainings"])[:3] == ["erm-0", "isolated-0", "pair-0"]
    assert len(result.record["trainings"]) == 8
    assert (result.predictions.groupby("arm").size() == (24 + 16) * 3).all()


@pytest.mark.slow
def test_the_default_network_trains_through_the_same_door(data, made, tests, tmp_path):
    plan = tiny(model="densenet121", size=64, through=64, steps=2, arms=("erm", "soft", "dfr"))
    result = retrain.run(data, plan, tmp_path, training_set=made, tests=tests)
    assert np.isfinite(result.predictions["logit"]).all()
    loaded = classifiers.load(f"onnx:{result.model('soft', 0)}")
    shown = levels(data.radiograph(str(data.table["image_id"].iloc[80])), 64, 64)
    table = result.predictions.query("arm == 'soft'").set_index(["image_id", "finding"])["logit"]
    said = loaded.logits((shown[None] / 255).astype(np.float32))[0]
    for name, value in zip(FINDINGS, said, strict=True):
        assert table[data.table["image_id"].iloc[80], name] == pytest.approx(value, abs=1e-4)
