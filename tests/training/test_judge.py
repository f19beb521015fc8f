"""Which findings the judge keeps, and that its graph shows those alone."""

import numpy as np
import onnxruntime
import torch

from training import judge


class Fixed(torch.nn.Module):
    """Answers with fixed numbers."""

    def forward(self, image):
        base = image.mean((1, 2, 3))[:, None]
        logits = base * 0 + torch.tensor([[1.0, 2.0, 3.0]])
        sides = (base * 0 + torch.tensor([[4.0, 5.0]]))[..., None].expand(-1, -1, 2)
        return logits, sides, base


def test_findings_that_are_read_badly_are_left_out(tmp_path):
    card = {
        "findings": ["Edema", "Nodule", "Mass"],
        "sided": ["Nodule", "Mass"],
        "calibration": {
            "logits": {"slope": [1, 2, 3], "offset": [4, 5, 6]},
            "sides": {"slope": [[1, 1], [2, 2]], "offset": [[3, 3], [4, 4]]},
        },
        "figures": {
            "auroc_painted": {"Edema": 0.9, "Nodule": 0.55, "Mass": 0.8},
            "side_right": {"Nodule": 0.5, "Mass": 0.9},
            "steps": 7,
        },
    }
    places = judge.narrow(card)
    assert places == ([0, 2], [1])
    assert (card["findings"], card["sided"]) == (["Edema", "Mass"], ["Mass"])
    assert card["calibration"]["logits"] == {"slope": [1, 3], "offset": [4, 6]}
    assert card["calibration"]["sides"]["slope"] == [[2, 2]]
    assert card["figures"] == {
        "auroc_painted": {"Edema": 0.9, "Mass": 0.8},
        "side_right": {"Mass": 0.9},
        "steps": 7,
        "left_out": {"Nodule": 0.55},
    }
    judge.export(judge._Kept(Fixed(), places), tmp_path / "judge.onnx")
    graph = onnxruntime.InferenceSession(str(tmp_path / "judge.onnx"))
    logits, sides, _ = graph.run(None, {"image": np.zeros((1, 1, 224, 224), np.float32)})
    assert logits.tolist() == [[1, 3]]
    assert sides.tolist() == [[[5, 5]]]
