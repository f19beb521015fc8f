"""Classifiers and extractors travel to other processes as what they were loaded by."""

import pickle

import numpy as np
import pytest

from roentmod import classifiers
from roentmod.classifiers.extractors import load_extractor
from roentmod.classifiers.judge import Judge
from roentmod.errors import RunError

IMAGES = np.random.default_rng(0).uniform(size=(2, 224, 224)).astype(np.float32)


@pytest.mark.parametrize("form", ["judge", "demo:honest"])
def test_a_classifier_is_loaded_again(form):
    one = classifiers.load(form)
    sent = pickle.dumps(one)
    assert len(sent) < 1000
    other = pickle.loads(sent)
    images = IMAGES[:, : one.size, : one.size]
    assert np.array_equal(one.logits(images), other.logits(images))
    assert one.describe() == other.describe()


def test_options_travel_too():
    one = classifiers.load("demo:shortcut", name="other", labels={"Edema": None})
    other = pickle.loads(pickle.dumps(one))
    assert (other.name, other.findings) == ("other", one.findings)
    assert "Edema" not in other.findings


def test_an_extractor_is_loaded_again():
    one = load_extractor("judge")
    other = pickle.loads(pickle.dumps(one))
    assert np.array_equal(one.grid(IMAGES), other.grid(IMAGES))


def test_a_judge_s_folder_may_be_relative(monkeypatch, tmp_path):
    monkeypatch.chdir(classifiers.judge.WEIGHTS.parent.parent)
    sent = pickle.dumps(Judge.load(classifiers.judge.WEIGHTS.parent))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(sent).findings


def test_what_was_made_in_memory_cannot_be_sent():
    one = classifiers.load("demo:honest")
    one._door = None
    with pytest.raises(RunError, match="made from parts in memory"):
        pickle.dumps(one)
