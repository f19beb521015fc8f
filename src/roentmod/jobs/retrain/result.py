"""The result of a retraining."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod.errors import RetrainError

__all__ = ["RECORD", "REGISTERED", "TABLE", "RetrainResult", "load"]

REGISTERED, RECORD, TABLE = "plan.json", "retrain.json", "predictions.parquet"


@dataclass(frozen=True, eq=False)
class RetrainResult:
    """What a retraining left.

    Attributes:
        folder: the run directory.
        record: what ``retrain.json`` holds.
        predictions: one row a reading, the columns of `evaluation.PREDICTIONS`: `test` is "val" or
            a test's name, `where` "val", "internal" or "external", `label` 1, 0, or NaN where
            unknown.
    """

    folder: Path
    record: dict[str, Any]
    predictions: pd.DataFrame

    def model(self, arm: str, seed: int) -> Path:
        """Return the file of a trained classifier, for ``onnx:``."""
        return self.folder / "models" / f"{arm}-{seed}.onnx"


def load(folder: Path) -> RetrainResult:
    """Return a finished retraining.

    Raises:
        RetrainError: none is there, or it is not finished.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        table = pd.read_parquet(folder / TABLE)
    except (OSError, ValueError) as error:
        raise RetrainError(
            f"A finished retraining has {RECORD} and {TABLE}; reading them in {folder.name} gave "
            f"'{type(error).__name__}'. Finish roentmod retrain, or check the path."
        ) from error
    return RetrainResult(folder, record, table)
