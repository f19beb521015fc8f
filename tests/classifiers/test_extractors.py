"""Extractors by name: what is there works, what is not says what to do."""

import pickle
import sys

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from roentmod.classifiers import Judge
from roentmod.classifiers.extractors import EXTRACTORS, load_extractor
from roentmod.errors import ClassifierError, MissingDependencyError, WeightsError


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        mlp_ratio=2,
    )
    model = Dinov2Model(config)
    folder = tmp_path_factory.mktemp("dino")
    model.save_pretrained(folder)
    return folder, model.eval()


def test_names():
    assert set(EXTRACTORS) == {"judge", "inception", "xrv", "rad-dino"}
    with pytest.raises(ClassifierError, match="Extractors are judge, inception"):
        load_extractor("resnet")


@pytest.mark.weights
def test_the_judge_is_the_default():
    images = np.random.default_rng(0).random((2, 224, 224), np.float32)
    made = load_extractor()
    np.testing.assert_array_equal(made.grid(images), Judge.load().grid(images))
    assert made.name == "judge"


def test_tokens_lie_where_their_patches_do(dino):
    folder, model = dino
    made = load_extractor(f"rad-dino:{folder}")
    assert (made.name, made.size) == ("rad-dino", 56)
    images = np.random.default_rng(0).random((9, 56, 56), np.float32)
    grid = made.grid(images)
    assert grid.shape == (9, 4, 4, 16)
    shown = (torch.from_numpy(images)[:, None] - 0.5307) / 0.2583
    with torch.inference_mode():
        tokens = model(pixel_values=shown.expand(-1, 3, -1, -1)).last_hidden_state
    # The sixth patch is the second one of the second row; token 0 is the class's.
    np.testing.assert_allclose(grid[:, 1, 1], tokens[:, 6], atol=1e-5)
    with pytest.raises(ClassifierError, match="n x 56 x 56"):
        made.grid(images[:, :14, :14])


def test_absent_weights_are_said(tmp_path):
    with pytest.raises(WeightsError, match=r"rad-dino:FOLDER"):
        load_extractor(f"rad-dino:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "module", "install"),
    [
        ("inception", "torch_fidelity.feature_extractor_inceptionv3", "torch-fidelity"),
        ("xrv", "torchxrayvision", r"roentmod\[xrv\]"),
    ],
)
def test_absent_libraries_are_said(monkeypatch, name, module, install):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=f"pip install '{install}'"):
        load_extractor(name)


def test_an_extractor_pickles_as_its_name(dino):
    made = load_extractor(f"rad-dino:{dino[0]}")
    packed = pickle.dumps(made)
    assert len(packed) < 500
    images = np.random.default_rng(0).random((2, 56, 56), np.float32)
    np.testing.assert_array_equal(pickle.loads(packed).grid(images), made.grid(images))
