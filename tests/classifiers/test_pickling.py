"""Classifiers, judge and extractors go to other processes as the words they were loaded by."""

import json
import pickle

import numpy as np
import pytest

from roentmod import classifiers
from roentmod.classifiers import Judge, fit_probe, load_embedder
from roentmod.classifiers.adapter import Adapter, Origin
from roentmod.classifiers.card import Card
from roentmod.classifiers.extractors import load_extractor
from roentmod.classifiers.judge import WEIGHTS
from roentmod.classifiers.probe import Embedder
from roentmod.errors import RunError
from tests.classifiers.conftest import SIZE

EMBEDDER = "python:tests.classifiers.test_probe:vectors"


def sent(loaded):
    packed = pickle.dumps(loaded)
    assert len(packed) < 1000
    return pickle.loads(packed)


@pytest.mark.parametrize("words", [{}, {"labels": {"Weird": "Hernia"}, "name": "ours"}])
def test_a_file_is_opened_again_wherever_the_process_stands(
    graph, pictures, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(graph.parent)
    model = classifiers.load(graph.name, **words)
    packed = pickle.dumps(model)
    assert len(packed) < 1000
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(packed)
    assert again.describe() == model.describe()
    np.testing.assert_array_equal(again.logits(pictures), model.logits(pictures))


def test_labels_of_a_file_travel_as_their_content(graph, tmp_path):
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(["Mass", "Nodule", "Edema"]))
    model = classifiers.load(graph, labels=labels)
    labels.unlink()
    assert sent(model).findings == ("Mass", "Nodule", "Edema")


@pytest.mark.weights
@pytest.mark.parametrize("spec", ["judge", "demo:honest"])
def test_bundled_ones_travel_by_name(spec):
    model = classifiers.load(spec)
    assert str(WEIGHTS.parent).encode() not in pickle.dumps(model)
    assert sent(model).describe() == model.describe()


def test_a_judge_of_a_folder(tmp_path):
    for name in ("judge.onnx", "judge.json"):
        (tmp_path / name).symlink_to(WEIGHTS.with_name(name))
    assert sent(Judge.load(tmp_path))._weights == tmp_path / "judge.onnx"


def test_a_probe_and_its_embedder(pictures, tmp_path):
    embedder = load_embedder(EMBEDDER, size=SIZE, input_range=(0, 1), batch_size=3)
    again = sent(embedder)
    assert again._batch == 3
    np.testing.assert_array_equal(again.embed(pictures), embedder.embed(pictures))
    probe = fit_probe(embedder, pictures, {"Edema": [0, 1, 0, 1, 1, 0, 0, 1, 1]}, tmp_path)
    np.testing.assert_array_equal(sent(probe).logits(pictures), probe.logits(pictures))


def test_the_default_extractor():
    assert isinstance(sent(load_extractor()), Judge)


@pytest.mark.parametrize("kind", [Adapter, Embedder])
def test_what_was_made_in_memory_is_not_sent(kind):
    card = Card(labels=("Edema",), size=SIZE, range=(0, 1))
    with pytest.raises(RunError, match=r"was made from parts in memory\. Load it by name or path"):
        pickle.dumps(kind(card, np.mean, Origin("test", "here")))
