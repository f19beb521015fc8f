"""A trained network as an ONNX graph with its card: what ``onnx:`` loads as a classifier."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from roentmod.plans.retrain import Plan
from roentmod.store import atomic, write_json

__all__ = ["export"]


def export(network: nn.Module, path: Path, plan: Plan) -> None:
    """Write ``NAME.onnx`` and ``NAME.onnx.json``, the card first, each whole or not at all.

    Args:
        network: takes n x 1 x size x size display values, answers n x k logits.
        path: of the graph; its stem is the classifier's name.
        plan: findings and size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    card = {
        "name": path.stem,
        "labels": list(plan.findings),
        "size": plan.size,
        "range": [0, 1],
        "channels": 1,
        "outputs": "logits",
        # They are logits, however near to nothing a short training left them.
        "check_outputs": False,
    }
    write_json(path.with_suffix(".onnx.json"), card)
    still = network.eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with atomic(path) as part, warnings.catch_warnings(), torch.no_grad():
        # The tracer warns about shape arithmetic that is constant here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            still,
            (torch.zeros(2, 1, plan.size, plan.size),),
            str(part),
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=18,
            dynamo=False,
        )
