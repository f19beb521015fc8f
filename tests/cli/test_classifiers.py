"""A user's own model on the command line: a result, or one line that says what to write."""

import json
import os
import re
import sys

import numpy as np
import pytest
import torch
from transformers import ViTForImageClassification

from roentmod import classifiers
from tests.classifiers.conftest import write_onnx
from tests.classifiers.test_huggingface import vit, write
from tests.cli.running import run

NIH = [
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia"),
    *("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening"),
    "Hernia",
]


class Sigmoid(torch.nn.Module):
    """Fourteen heads that answer probabilities."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Conv2d(3, 14, 3, 2)

    def forward(self, image):
        return torch.sigmoid(10 * self.body(image).mean((2, 3)))


@pytest.fixture
def model(tmp_path):
    return write_onnx(tmp_path / "net.onnx", Sigmoid().eval(), size=64, channels=3)


def audit(classifier, *more, cache, data="phantoms:2"):
    arguments = ("--data", data, "--editor", "painter", "--findings", "Pleural Effusion,Edema")
    return run("audit", "--classifier", classifier, *arguments, *more, cache=cache)


def line(done):
    """The one line that a command ended with."""
    assert done.returncode == 2, done.stderr
    (text,) = [one for one in done.stderr.splitlines() if one.startswith("roentmod: ")]
    assert "Traceback" not in done.stderr
    return text


def test_a_model_without_a_card_gets_one_to_correct(model, tmp_path):
    said = line(audit(model, "--out", tmp_path / "run", cache=tmp_path))
    assert "'labels' is missing, as are range and outputs" in said
    assert "Write net.onnx.json beside the file, such as" in said
    card = json.loads(re.search(r"\{.*?\}", said)[0])
    assert card["size"] == 64
    path = model.with_name("net.onnx.json")
    path.write_text(json.dumps(card))
    said = line(audit(model, "--out", tmp_path / "run", cache=tmp_path))
    assert "net.onnx has 14 heads and 2 labels" in said
    path.write_text(json.dumps(card | {"labels": NIH}))
    loaded = classifiers.load(model)
    assert len(loaded.findings) == 14
    assert np.ptp(loaded.logits(np.random.default_rng(0).random((2, 64, 64), np.float32))) > 0.1


@pytest.mark.slow
def test_fourteen_probabilities_reach_a_result(model, tmp_path):
    words = {"labels": NIH, "size": 64, "range": [0, 1], "outputs": "probabilities"}
    model.with_name("net.onnx.json").write_text(json.dumps(words))
    done = audit(model, "--out", tmp_path / "run", cache=tmp_path)
    assert done.returncode in (0, 3), done.stderr
    assert (tmp_path / "run" / "report.html").is_file()


def test_probabilities_declared_as_logits_are_corrected_in_the_card(model, tmp_path):
    words = {"labels": NIH, "size": 64, "range": [0, 1], "outputs": "logits"}
    model.with_name("net.onnx.json").write_text(json.dumps(words))
    reading = classifiers.read(classifiers.load(model), np.zeros((8, 64, 64), np.float32))
    assert 'in a card, "outputs": "probabilities"' in reading.message


def test_activation_is_given_where_the_model_does_not_say(tmp_path):
    spec = write(tmp_path / "net", ViTForImageClassification(vit(NIH[:3], None)))
    said = line(audit(spec, "--out", tmp_path / "run", cache=tmp_path))
    assert "Give --activation sigmoid (several) or softmax (one)" in said
    given = ("--activation", "sigmoid", "--out", tmp_path / "run")
    assert "nowhere" in line(audit(spec, *given, cache=tmp_path, data=tmp_path / "nowhere"))
    # A card in the folder says it as well.
    (tmp_path / "net" / "roentmod.json").write_text('{"activation": "softmax"}')
    assert classifiers.load(spec).describe()["outputs"].startswith("softmax")


def test_a_module_of_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", os.getcwd())])
    (tmp_path / "mine_alone.py").write_text(
        "def read(batch): return batch.mean((2, 3))\n"
        "read.card = {'labels': ['Edema'], 'size': 16, 'range': [0, 1], 'outputs': 'logits'}\n"
    )
    model = classifiers.load("python:mine_alone:read", trust=True)
    assert model.findings == ("Edema",)
    del sys.modules["mine_alone"]


def test_the_doctors_remedies_keep_their_brackets(tmp_path):
    done = run("doctor", cache=tmp_path)
    shown = "".join(done.stdout.split())
    assert "pipinstall'roentmod[" in shown
