"""The result of a retraining."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod.documents import read_document
from roentmod.errors import InputError, RetrainError
from roentmod.science.performance import Evaluation, Rules, evaluate

__all__ = ["RECORD", "REGISTERED", "TABLE", "RetrainResult", "load"]

REGISTERED, RECORD, TABLE = "plan.json", "retrain.json", "predictions.parquet"


@dataclass(frozen=True, eq=False, repr=False)
class RetrainResult:
    """What a retraining left.

    Attributes:
        folder: the run directory.
        record: what ``retrain.json`` holds.
        predictions: one row per reading, the columns of `performance.PREDICTIONS` and, but for
            those of earlier versions, `site`: `test` is "val" or a test's name, `where` "val",
            "internal" or "external", `label` 1, 0, or NaN where unknown.
    """

    folder: Path
    record: dict[str, Any]
    predictions: pd.DataFrame

    def __repr__(self) -> str:
        """Return trainings and folder."""
        names = ", ".join(self.record.get("trainings", ()))
        return f"<RetrainResult: {names}, in '{self.folder}'>"

    @property
    def failed(self) -> dict[str, int]:
        """How many pictures of each set could not be read; only of sets with any."""
        return {name: len(some) for name, some in self.record.get("unread", {}).items()}

    def model(self, arm: str, seed: int) -> Path:
        """Return the file of a trained classifier, for ``onnx:``."""
        return self.folder / "models" / f"{arm}-{seed}.onnx"

    def evaluate(
        self, *, scores: pd.DataFrame | None = None, rules: Rules | None = None
    ) -> Evaluation:
        """Compare the arms; the record names the confounded pairs.

        Args:
            scores: one row per arm and seed, with the shortcut `score` of its audit.
            rules: what is compared, and what counts as reached.

        Raises:
            DatasetError: the predictions cannot be evaluated.
        """
        pairs = [(cause, read) for cause, read in self.record.get("plan", {}).get("pairs", ())]
        return evaluate(self.predictions, pairs, scores=scores, rules=rules)

    def report(self, *, scores: pd.DataFrame | None = None, rules: Rules | None = None) -> Path:
        """Evaluate, and write ``report.html`` and ``report.json`` into the folder.

        Args:
            scores: as `evaluate` takes them.
            rules: as `evaluate` takes them.

        Returns:
            The path of the page.

        Raises:
            DatasetError: the predictions cannot be evaluated.
            OSError: the folder cannot be written.
        """
        from roentmod.jobs.retrain.sections import shown
        from roentmod.report import as_json, publish

        result = self.evaluate(scores=scores, rules=rules)
        data = {"record": self.record, "figures": result.figures()} | as_json(result)
        return publish(shown(self, result), self.folder, data)


def load(folder: Path) -> RetrainResult:
    """Return a finished retraining.

    Raises:
        RetrainError: none is there, or it is not finished.
    """
    try:
        record = read_document(folder / RECORD)
        table = pd.read_parquet(folder / TABLE)
    except (OSError, InputError, ValueError) as error:
        raise RetrainError(
            f"A finished retraining has {RECORD} and {TABLE}; reading them in {folder.name} gave "
            f"'{type(error).__name__}'. Finish roentmod retrain, or check the path."
        ) from error
    return RetrainResult(folder, record, table)
