"""A trained network as an ONNX graph with its card: what ``onnx:`` loads as a classifier."""

from __future__ import annotations

import json
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from roentmod.plans.retrain import RetrainPlan

__all__ = ["export", "weights_in"]


def weights_in(path: Path) -> dict[str, Any]:
    """Return the weights that `export` wrote as NAME.pt."""
    weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def export(network: nn.Module, name: str, plan: RetrainPlan) -> dict[str, bytes]:
    """Return the files ``NAME.pt`` (weights), ``NAME.onnx`` (graph) and ``NAME.onnx.json`` (card).

    Args:
        network: takes n x 1 x size x size display values, answers n x k logits.
        name: of the classifier.
        plan: findings and size.
    """
    card = {
        "name": name,
        "labels": list(plan.findings),
        "size": plan.size,
        "range": [0, 1],
        "channels": 1,
        "outputs": "logits",
        # They are logits, however near to nothing a short training left them.
        "check_outputs": False,
    }
    still = network.eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    weights, graph = BytesIO(), BytesIO()
    torch.save(still.state_dict(), weights)
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns about shape arithmetic that is constant here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            still,
            (torch.zeros(2, 1, plan.size, plan.size),),
            graph,  # type: ignore[arg-type]
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=18,
            dynamo=False,
        )
    text = json.dumps(card, indent=2) + "\n"
    return {
        f"{name}.pt": weights.getvalue(),
        f"{name}.onnx": graph.getvalue(),
        f"{name}.onnx.json": text.encode(),
    }
