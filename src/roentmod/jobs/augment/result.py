"""The result of a counterfactual training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod.documents import read_document
from roentmod.errors import DatasetError, InputError
from roentmod.jobs.augment.manifest import COLUMNS, MANIFEST, check, labelled, tabled
from roentmod.jobs.augment.matrix import load_cooccurrence
from roentmod.plans import Labelling
from roentmod.runs import AGAIN
from roentmod.science.cooccurrence import CoOccurrence

__all__ = ["RECORD", "AugmentResult", "label_facts", "load", "relabel"]

RECORD = "augment.json"


@dataclass(frozen=True, eq=False, repr=False)
class AugmentResult:
    """A counterfactual training set.

    Attributes:
        folder: the run directory.
        record: what ``augment.json`` holds.
        table: the manifest, where it is known already, or has other labels than the folder's.
    """

    folder: Path
    record: dict[str, Any]
    table: pd.DataFrame | None = None

    def __len__(self) -> int:
        """Return how many pictures with labels there are."""
        return int(self.record["pictures"])

    def __repr__(self) -> str:
        """Return numbers and folder."""
        findings = ", ".join(self.record["plan"]["findings"])
        return f"<AugmentResult: {len(self)} pictures, {findings}, in '{self.folder}'>"

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """One row per picture: `manifest.COLUMNS`, then one column per head."""
        return pd.read_parquet(self.folder / MANIFEST) if self.table is None else self.table

    @property
    def training(self) -> pd.DataFrame:
        """The rows that have a picture and labels."""
        return self.manifest[self.manifest["status"] == "ok"].reset_index(drop=True)

    @property
    def failed(self) -> int:
        """How many edits were not made as something could not be read, or failed."""
        return sum(
            n for row in self.record["counts"].values() for s, n in row.items() if s in AGAIN
        )

    def counts(self) -> pd.DataFrame:
        """Return counterfactuals by added finding (down) and status (across)."""
        table = pd.DataFrame.from_dict(self.record["counts"], orient="index", dtype="int64")
        return table.rename_axis(index="edited_finding", columns="status")


def load(folder: Path) -> AugmentResult:
    """Return a finished training set.

    Raises:
        DatasetError: none is there, or `check` refuses it.
    """
    table = check(folder)
    try:
        record = read_document(folder / RECORD)
        if not {"plan", "counts", "pictures"} <= record.keys():
            raise InputError("It is another file.")
    except (OSError, InputError) as error:
        raise DatasetError(
            f"A training set's folder holds {RECORD}; reading it gave '{error}'. Run roentmod "
            "augment again."
        ) from error
    return AugmentResult(folder, record, table)


def relabel(
    result: AugmentResult, labelling: Labelling, rates: CoOccurrence | None = None
) -> AugmentResult:
    """Return the training set with other labels on the same pictures; no file is touched.

    Args:
        result: the training set.
        labelling: the other labels.
        rates: where soft labels come from; None is the matrix that the package brings.

    Raises:
        DatasetError: labels that the matrix lacks.
    """
    if rates is None and labelling.needs_rates:
        rates = load_cooccurrence()
    targets = labelling.targets(result.record["plan"]["findings"], rates)
    rows = result.manifest.reindex(columns=list(COLUMNS), fill_value="").to_dict("records")
    table = tabled(labelled({str(k): v for k, v in row.items()}, targets) for row in rows)
    record = result.record | label_facts(labelling, targets, rates)
    return replace(result, table=table, record=record)


def label_facts(
    labelling: Labelling, targets: Mapping[str, Mapping[str, float]], rates: CoOccurrence | None
) -> dict[str, Any]:
    """Return what the record says of labels; a soft one without its source would be no fact."""
    source = {"source": rates.source, "unit": rates.unit} if rates is not None else None
    shown = {
        added: {head: None if label != label else label for head, label in labels.items()}
        for added, labels in targets.items()
    }
    policy = labelling.facts()
    used = source if labelling.needs_rates else None
    return {"labels": policy | {"targets": shown}, "cooccurrence": used}
