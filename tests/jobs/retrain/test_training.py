"""One training: what it minimises, averages and keeps, and that killing it changes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from roentmod.errors import MissingDependencyError, RetrainError
from roentmod.jobs import retrain
from roentmod.jobs.retrain.counterfactuals import counterfactuals
from roentmod.learning import trainer as course
from roentmod.learning import training
from roentmod.learning.batches import cell_weights
from roentmod.learning.devices import accelerator_of
from roentmod.learning.material import Material
from roentmod.learning.samples import labelled
from roentmod.learning.trainer import Course, answer, area, learning_rate
from roentmod.learning.training import train
from roentmod.plans.retrain import COUNTERFACTUAL_ARMS, Task
from tests.jobs.augment.parts import FINDINGS
from tests.jobs.retrain.parts import gathered, tiny

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def material(data, made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    plan = tiny(arms=("erm", *COUNTERFACTUAL_ARMS))
    sets = [labelled(data, split, plan, split) for split in ("train", "val")]
    extra, facts = counterfactuals(made, plan, None, data)
    shown = [gathered(one, folder, plan.size, plan.through) for one in (*sets, extra)]
    said = np.random.default_rng(0).normal(size=facts.added.shape).astype(np.float32)
    return Material((sets[0], shown[0]), (sets[1], shown[1]), (facts, shown[2]), said)


def begun(material, arm="erm", **changes):
    plan = tiny(**changes)
    return Course(Task(arm, 0), material, plan, accelerator_of("cpu", plan.precision))


def changed(material, targets):
    samples, pictures = material.train
    return replace(material, train=(replace(samples, targets=targets), pictures))


def test_the_loss_is_cross_entropy_over_what_is_labelled(material):
    targets = material.train[0].targets.copy()
    targets[::3, 1], targets[::5, 0] = np.nan, np.nan
    one = begun(changed(material, targets), augmentation=False)
    one.balance.fill_(1)
    loss = one._loss().item()
    rows = one.objective.draw(0).real
    shown = torch.from_numpy(material.train[1][rows])[:, None].float() / 255
    with torch.no_grad():
        chance = one.plain.train()(shown).sigmoid().numpy()
    known = np.isfinite(targets[rows])
    expected = log_loss(targets[rows][known], chance[known].astype(float))
    assert 0 < (~known).sum() < known.size
    assert loss == pytest.approx(expected, abs=1e-4)


def test_reweighting_and_balance_weigh_the_loss(material):
    one = begun(material, "reweighting", augmentation=False)
    one.balance.copy_(torch.tensor([1.0, 3.0, 1.0]))
    loss = one._loss().item()
    rows = one.objective.draw(0).real
    truth = material.train[0].targets[rows]
    shown = torch.from_numpy(material.train[1][rows])[:, None].float() / 255
    with torch.no_grad():
        chance = one.plain.train()(shown).sigmoid().numpy().astype(float)
    weights = cell_weights(material.train[0].targets, one.plan)[rows]
    each = -np.where(truth == 1, np.log(chance) * [1, 3, 1], np.log(1 - chance))
    assert loss == pytest.approx((each * weights).sum() / weights.sum(), abs=1e-4)
    assert len(np.unique(weights.round(6))) > 2


def test_masked_labels_teach_nothing(material):
    targets = material.train[0].targets.copy()
    targets[:, 2] = np.nan
    one = begun(changed(material, targets))
    before = one.plain.whole.weight[2].clone()
    one._loss().backward()
    gradient = one.plain.whole.weight.grad
    assert (gradient[2] == 0).all()
    assert (gradient[:2] != 0).any()
    assert torch.equal(one.plain.whole.weight[2], before)


def test_counterfactuals_are_in_the_batch_with_their_labels(material):
    one = begun(material, "isolated", share=0.5)
    drawn = one.objective.draw(0)
    shown, targets = one._shown(drawn), one.objective.labels(drawn)
    assert len(shown) == 24
    made, pictures = material.extra
    assert np.array_equal(shown[8:], pictures[drawn.extra])
    assert np.array_equal(targets[8:], made.targets["isolated"][drawn.extra])
    assert (made.control[drawn.extra[::2]] == drawn.extra[1::2]).all()


def test_class_weights_of_real_pictures_are_not_those_of_counterfactuals(material):
    one = begun(material, "isolated", share=0.5, augmentation=False)
    one.balance.copy_(torch.tensor([1.0, 3.0, 1.0]))
    loss = one._loss().item()
    drawn = one.objective.draw(0)
    shown, truth = one._shown(drawn), one.objective.labels(drawn)
    with torch.no_grad():
        chance = one.plain.train()(torch.from_numpy(shown)[:, None].float() / 255).sigmoid()
    chance = chance.numpy().astype(float)
    positive = np.where(np.arange(24)[:, None] < 8, [[1, 3, 1]], 1)
    each = -np.where(truth == 1, np.log(chance) * positive, np.log(1 - chance))
    assert (truth[8:, 1] == 1).any()
    assert loss == pytest.approx(each[np.isfinite(truth)].mean(), abs=1e-4)


def test_weights_are_averaged_as_the_formula_says(material):
    one = begun(material, ema=0.3)
    decays = [0, 2 / 11, 3 / 12, 0.3, 0.3]
    average = None
    for number in range(5):
        one.advance()
        own = one.plain.whole.weight.detach().clone()
        average = own if average is None else torch.lerp(own, average, decays[number])
    assert torch.allclose(one.average.module.whole.weight, average, atol=1e-6)
    assert not torch.allclose(own, average, atol=1e-5)


def test_learning_rate_rises_then_falls_as_a_cosine():
    plan = tiny(steps=100, warmup=0.1, learning_rate=0.5)
    rates = [learning_rate(step, plan) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == rates[10] == 0.5
    assert rates[55] == pytest.approx(0.25)
    assert rates[99] < 0.001
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)


def test_area_is_another_librarys():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(50, 2)).round(1).astype(np.float32)
    targets = rng.integers(2, size=(50, 2)).astype(np.float32)
    targets[:10, 1] = np.nan
    expected = [
        roc_auc_score(targets[:, 0], logits[:, 0]),
        roc_auc_score(targets[10:, 1], logits[10:, 1]),
    ]
    assert area(logits, targets) == pytest.approx(expected)


def test_answers_do_not_depend_on_how_many_are_asked(material):
    one = begun(material)
    pictures = material.train[1]
    device = torch.device("cpu")
    whole = answer(one.plain, pictures, 48, device)
    assert np.array_equal(answer(one.plain, pictures, 5, device), whole[:5])
    with torch.no_grad():
        shown = torch.from_numpy(pictures[np.array([40])])[:, None].float() / 255
        assert np.allclose(one.plain.eval()(shown).numpy(), whole[40:41], atol=1e-4)


def test_a_network_learns_what_is_in_the_pictures(material, tmp_path):
    plan = tiny(steps=60, evaluate_every=20, ema=0.9)
    accelerator = accelerator_of("cpu", "no")
    seen = []
    done = train(
        Task("erm", 0),
        material,
        plan,
        tmp_path,
        accelerator,
        progress=lambda *numbers: seen.append(numbers),
    )
    assert done.facts["val_auc"] > 0.95
    assert done.facts["steps"] == 60
    assert seen[-1] == (60, 60)
    text = (tmp_path / "metrics" / "erm-0.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert set(rows[0]["auc"]) == set(FINDINGS)


def test_a_training_ends_when_val_no_longer_improves(material, tmp_path, monkeypatch):
    areas = iter([0.6, 0.8, 0.7, 0.7, 0.9])
    monkeypatch.setattr(course, "area", lambda *_: [next(areas)] * 3)
    one = begun(material, steps=100, patience=2)
    kept = []
    while not one.ended:
        one.advance()
        if one.step % 2 == 0:
            one.look()
            kept.append(one.average.module.whole.weight.clone())
    assert one.step == 8
    result = one.result()
    assert result.facts["best_step"] == 4
    assert result.facts["val_auc"] == pytest.approx(0.8)
    assert torch.equal(result.weights["whole.weight"], kept[1])


def test_a_network_that_diverges_is_refused(material):
    one = begun(material)
    one.advance()
    with torch.no_grad():
        one.average.module.whole.weight.fill_(torch.nan)
    with pytest.raises(RetrainError, match="erm-0 gives others after 1 steps"):
        one.look()


def test_the_callers_random_numbers_stay(material, tmp_path):
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    train(Task("erm", 0), material, tiny(steps=2), tmp_path, accelerator_of("cpu", "no"))
    assert torch.equal(torch.rand(1), expected)


def test_tensorboard_is_named_when_it_is_missing(material, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'roentmod\[tensorboard\]'"):
        train(
            Task("erm", 0),
            material,
            tiny(steps=2),
            tmp_path,
            accelerator_of("cpu", "no"),
            tensorboard=True,
        )


@pytest.mark.usefixtures("fresh_precision")
def test_mixed_precision_computes_in_bfloat16(material):
    one = begun(material, precision="bf16", augmentation=False)
    plain = begun(material, augmentation=False, precision="bf16")
    mixed = one._loss().item()
    with torch.autocast("cpu", enabled=False):
        plain.network = plain.plain
        plain.plain.forward = type(plain.plain).forward.__get__(plain.plain)
        full = plain._loss().item()
    assert mixed != full
    assert mixed == pytest.approx(full, rel=0.05)
    one.advance()
    assert one.plain.whole.weight.dtype == torch.float32
    assert one.plain is not one.average.module
    one.look()


def test_wrong_devices_are_refused():
    with pytest.raises(RetrainError, match="fp16 needs a GPU"):
        accelerator_of("cpu", "fp16")
    with pytest.raises(RetrainError, match="one of torch's"):
        accelerator_of("graphics", "no")
    if not torch.cuda.is_available():
        with pytest.raises(RetrainError, match="'cuda' was requested"):
            accelerator_of("cuda", "no")


RUN = """
import sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from roentmod.jobs import augment, retrain
from roentmod import datasets
from roentmod.learning import training
from tests.jobs.retrain.parts import gathered, tiny
training.SAVE_SECONDS = 0.0
data, folder, made, pause = sys.argv[1:]
advance = training.Course.advance
def slow(course):
    advance(course)
    time.sleep(float(pause))
training.Course.advance = slow
plan = tiny(arms=("erm", "isolated"), steps=30, evaluate_every=5, patience=30)
made = augment.load(Path(made))
data = datasets.load(data)
retrain.run(data, plan, Path(folder), training_set=made, tests={}, arms=("isolated",))
"""


def started(data, folder, made, pause):
    command = [sys.executable, "-c", RUN, str(data.root), str(folder), str(made.folder), pause]
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "OMP_NUM_THREADS": "1",
    }
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(data, made, tmp_path):
    killed = started(data, tmp_path / "killed", made, "0.1")
    plan = tiny(arms=("erm", "isolated"), steps=30, evaluate_every=5, patience=30)
    whole = tmp_path / "whole"
    retrain.run(data, plan, whole, training_set=made, tests={}, arms=("isolated",))
    checkpoint = training.checkpoint(tmp_path / "killed", Task("isolated", 0))
    deadline = time.monotonic() + 600
    while not (checkpoint.exists() and torch.load(checkpoint)["step"] >= 7):
        assert killed.poll() is None, (tmp_path / "killed.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert torch.load(checkpoint)["step"] < 30
    again = started(data, tmp_path / "killed", made, "0")
    assert again.wait(600) == 0, (tmp_path / "killed.log").read_text()
    folders = (whole, tmp_path / "killed")
    one, other = (torch.load(folder / "models" / "isolated-0.pt") for folder in folders)
    assert list(one) == list(other)
    assert all(torch.equal(one[key], other[key]) for key in one)
    texts = [(folder / "metrics" / "isolated-0.jsonl").read_text() for folder in folders]
    rows = [[json.loads(line) | {"seconds": 0} for line in text.splitlines()] for text in texts]
    assert rows[0] == rows[1]
