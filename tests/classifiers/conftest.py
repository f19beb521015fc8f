import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn

LABELS = ["Effusion", "Edema", "Weird"]
SIZE = 16


class Net(nn.Module):
    """Three heads of one-channel pictures; NaN for pictures whose first pixel is above 0.99."""

    def __init__(self, channels=1):
        super().__init__()
        self.body = nn.Conv2d(channels, 4, 3, 2)
        self.head = nn.Linear(4, 3)

    def forward(self, image):
        logits = 20 * self.head(torch.relu(self.body(image)).mean((2, 3)))
        spoilt = image[:, :1, 0, 0] > 0.99
        return torch.where(spoilt, torch.full_like(logits, torch.nan), logits)


def net(channels=1):
    torch.manual_seed(0)
    return Net(channels).eval()


def write_onnx(path, module, *, batch=None, size=SIZE, channels=1, names=("logits",)):
    """Write `module` to ONNX: dynamic batch and side, or static ones where they are given."""
    free = {} if batch else {"image": {0: "n"}, names[0]: {0: "n"}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(batch or 2, channels, size, size),),
            str(path),
            input_names=["image"],
            output_names=list(names),
            dynamic_axes=free,
            opset_version=18,
            dynamo=False,
        )
    return path


def write_sidecar(path, **changes):
    words = {"labels": LABELS, "size": SIZE, "range": [0, 1], "channels": 1, "outputs": "logits"}
    words = {k: v for k, v in (words | changes).items() if v is not None}
    path.with_name(path.name + ".json").write_text(json.dumps(words))
    return path


def truth(module, images, columns=(0, 1)):
    with torch.inference_mode():
        return module(torch.from_numpy(images)[:, None]).numpy()[:, list(columns)]


@pytest.fixture(scope="session")
def graph(tmp_path_factory):
    return write_sidecar(write_onnx(tmp_path_factory.mktemp("onnx") / "net.onnx", net()))


@pytest.fixture
def pictures():
    return 0.9 * np.random.default_rng(0).random((9, SIZE, SIZE), np.float32)
