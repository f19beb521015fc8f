import json

import numpy as np
import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from roentmod.errors import ClassifierError, RetrainError
from roentmod.learning.networks import build, described
from roentmod.store import file_sha256

SIZE = 32
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.5]
PICTURES = torch.rand(3, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=7
    )
    place = tmp_path_factory.mktemp("hf") / "net"
    ResNetForImageClassification(config).save_pretrained(place)
    says = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    says |= {"image_mean": MEAN, "image_std": STD, "image_processor_type": "ConvNextImageProcessor"}
    (place / "preprocessor_config.json").write_text(json.dumps(says))
    return place


def test_small_is_the_network_of_the_bundled_classifiers():
    network = build("small", 6, 0, 56)
    assert sum(p.numel() for p in network.parameters()) == 163_446
    from training.confounded import Network

    torch.manual_seed(0)
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), Network().parameters(), strict=True)
    )


def test_first_weights_follow_the_seed_and_leave_the_stream_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, other, again = (build("small", 2, seed, SIZE) for seed in (1, 2, 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.whole.weight, again.whole.weight)
    assert not torch.equal(first.whole.weight, other.whole.weight)
    assert first.training


def test_a_hugging_face_network_gets_its_own_input_and_new_heads(folder):
    network = build(f"hf:{folder}", 4, 0, SIZE).eval()
    kept = ResNetForImageClassification.from_pretrained(folder)
    for name, value in kept.resnet.named_parameters():
        assert torch.equal(network.model.resnet.get_parameter(name), value)
    colour = PICTURES.expand(-1, 3, -1, -1).numpy()
    shape = (1, 3, 1, 1)
    inputs = (colour - np.reshape(MEAN, shape)) / np.reshape(STD, shape)
    with torch.no_grad():
        expected = network.model(torch.from_numpy(inputs).float()).logits
        assert torch.allclose(network(PICTURES), expected, atol=1e-5)
    assert expected.shape == (3, 4)
    weights = next(folder.glob("*.safetensors"))
    assert described(f"hf:{folder}")["sha256"] == {weights.name: file_sha256(weights)}


def test_a_python_network_comes_from_a_file_or_a_module(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def make(heads):\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(heads))\n"
        "def wide(heads):\n    return nn.Sequential(nn.Flatten(), nn.LazyLinear(heads + 1))\n"
        "def number(heads):\n    return heads\n"
    )
    assert build(f"python:{file}:make", 3, 0, SIZE)(PICTURES).shape == (3, 3)
    assert build("python:roentmod.learning.networks:Small", 3, 0, SIZE)(PICTURES).shape == (3, 3)
    assert described(f"python:{file}:make")["sha256"] == {"net.py": file_sha256(file)}
    for name, said in (("wide", r"n x 3 logits; .* \(2, 4\)"), ("number", "gave int")):
        with pytest.raises(RetrainError, match=said):
            build(f"python:{file}:{name}", 3, 0, SIZE)
    with pytest.raises(ClassifierError, match="no attribute 'none'"):
        build(f"python:{file}:none", 3, 0, SIZE)
    with pytest.raises(ClassifierError, match="must be importable"):
        build("python:roentmod.nowhere:make", 3, 0, SIZE)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("resnet50", "A network is one of: densenet121; small"),
        ("hf:nowhere", "a local folder with config.json"),
        ("python:nowhere.py:make", "file must exist"),
        ("python:", "A network is one of"),
    ],
)
def test_what_cannot_be_built_is_refused(spec, said):
    with pytest.raises(RetrainError, match=said):
        build(spec, 2, 0, SIZE)


def test_a_size_that_a_network_does_not_take_is_refused(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def make(heads):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, heads))\n"
    )
    with pytest.raises(RetrainError, match=r"takes n x 1 x 32 x 32; .* raised RuntimeError"):
        build(f"python:{file}:make", 2, 0, SIZE)
    assert build(f"python:{file}:make", 2, 0, 8)
