"""A timm model in its three ways: transformers' wrapper, a Python function, an ONNX file."""

import json
import warnings

import numpy as np
import pytest
import torch

from roentmod import classifiers

try:
    import timm
except ImportError:
    pytest.skip("needs the extra 'xrv': make test-extras", allow_module_level=True)

LABELS = ["Effusion", "Cardiomegaly", "Lung Lesion"]
MEAN, STD = np.array([0.5, 0.4, 0.3], np.float32), np.array([0.2, 0.25, 0.5], np.float32)
NAME, SIZE = "test_efficientnet", 160


def network():
    torch.manual_seed(0)
    return timm.create_model(NAME, pretrained=False, num_classes=3).eval()


def truth(images):
    batch = (np.repeat(images[:, None], 3, 1) - MEAN[:, None, None]) / STD[:, None, None]
    with torch.inference_mode():
        return network()(torch.from_numpy(batch)).numpy()[:, :2]


def function(batch):
    """Named by a test as a Python classifier."""
    with torch.inference_mode():
        return network()(torch.from_numpy(batch))


function.card = {
    "labels": LABELS,
    "size": SIZE,
    "range": [0, 1],
    "channels": 3,
    "mean": MEAN.tolist(),
    "std": STD.tolist(),
    "outputs": "logits",
    "check_outputs": False,
}


@pytest.fixture
def images():
    return np.random.default_rng(0).random((3, SIZE, SIZE), np.float32)


def test_wrapped_by_transformers(tmp_path, images):
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    cfg = {"input_size": [3, SIZE, SIZE], "mean": MEAN.tolist(), "std": STD.tolist()}
    config = TimmWrapperConfig(
        architecture=NAME,
        num_labels=3,
        id2label=dict(enumerate(LABELS)),
        pretrained_cfg={**cfg, "crop_pct": 0.875, "interpolation": "bicubic"},
    )
    wrapped = TimmWrapperForImageClassification(config)
    wrapped.timm_model.load_state_dict(network().state_dict())
    wrapped.save_pretrained(tmp_path)
    model = classifiers.load(f"hf:{tmp_path}", activation="sigmoid")
    assert (model.size, model.findings) == (SIZE, ("Pleural Effusion", "Cardiomegaly"))
    expected = truth(images)
    assert np.ptp(expected, axis=0).max() > 0
    np.testing.assert_allclose(model.logits(images), expected, atol=1e-4)


def test_as_a_python_function(images):
    model = classifiers.load("python:tests.extras.test_timm:function", trust=True)
    np.testing.assert_allclose(model.logits(images), truth(images), atol=1e-4)


def test_as_an_onnx_file(tmp_path, images):
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network(),
            (torch.zeros(2, 3, SIZE, SIZE),),
            str(path),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
            opset_version=18,
            dynamo=False,
        )
    (tmp_path / "net.onnx.json").write_text(json.dumps(function.card))
    model = classifiers.load(path)
    np.testing.assert_allclose(model.logits(images), truth(images), atol=1e-4)
