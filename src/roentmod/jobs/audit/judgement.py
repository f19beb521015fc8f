"""From an audit's files to its result: cheap, and run again at will with other rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roentmod.classifiers import checks
from roentmod.errors import AuditError
from roentmod.jobs.audit.plan import AuditResult, ClassifierResult, Example
from roentmod.science import effects
from roentmod.science.effects import JUDGE, Rules

__all__ = ["RECORD", "assess", "with_examples"]

RECORD = "audit.json"
ATTRIBUTES = ("sex", "age_band", "view", "site")
_BANDS = ((0, "under 40"), (40, "40 to 64"), (65, "65 and over"))


def assess(folder: Path, rules: Rules | None = None) -> AuditResult:
    """Judge the predictions that an audit left in `folder`.

    Args:
        folder: the run directory of a finished audit.
        rules: how to judge; None takes the audit's own.

    Raises:
        AuditError: no finished audit is there.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        predictions = pd.read_parquet(folder / "predictions.parquet")
        items = pd.read_parquet(folder / "items.parquet")
        baselines = pd.read_parquet(folder / "baselines.parquet")
        readings = pd.read_parquet(folder / "readings.parquet")
        states = pd.read_parquet(folder / "states.parquet")
    except (OSError, ValueError) as error:
        raise AuditError(
            f"An audit's folder holds {RECORD} and its tables; {folder} gave {error!r}. "
            "Run the audit to its end first."
        ) from error
    rules = rules or Rules(**record["rules"])
    nets = _with_doses(effects.net_effects(predictions), record)
    judge = nets[nets["classifier"] == JUDGE]
    results = []
    for name, described in record["classifiers"].items():
        mine = nets[nets["classifier"] == name]
        constant = _constant(predictions, readings, name)
        mine = mine[~mine["read_finding"].isin(constant)]
        results.append(
            ClassifierResult(
                name=name,
                source=str(described.get("source", "")),
                heads=_heads(described, constant),
                examples=_examples(folder, name),
                **_tables(mine, judge, record, baselines, rules, _read(described, constant)),
                stress=effects.stress(
                    readings[
                        (readings["classifier"] == name) & ~readings["read_finding"].isin(constant)
                    ],
                    states,
                    [f for f in record["stress_findings"] if f not in constant],
                    rules,
                ),
            )
        )
    return AuditResult(
        plan=record["plan"] | asdict(rules) | {"n_baselines": len(baselines)},
        provenance=record["provenance"]
        | {key: record[key] for key in ("editor", "data", "judge", "classifiers")},
        baselines=baselines,
        items=items,
        counts=_counts(predictions, record),
        classifiers=tuple(results),
        folder=folder,
    )


def with_examples(result: AuditResult) -> AuditResult:
    """Return the result with the pictures that have been saved since."""
    told = tuple(
        replace(one, examples=_examples(result.folder, one.name)) for one in result.classifiers
    )
    return replace(result, classifiers=told)


def _with_doses(nets: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """Add the columns `base` (a pair of the matrix) and `dose` (its label)."""
    plan = record["plan"]
    plain = nets["severity"] == ""
    usual = nets["strength"] == plan["strength"]
    first = nets["seed"] == plan["seeds"][0]
    by_strength = plan["doses"] == "strength"
    label = nets["strength"].map("{:g}".format) if by_strength else nets["severity"]
    return nets.assign(base=plain & usual, dose=label.where(first, ""))


def _tables(
    nets: pd.DataFrame,
    judge: pd.DataFrame,
    record: Mapping[str, Any],
    baselines: pd.DataFrame,
    rules: Rules,
    read: list[str],
) -> dict[str, Any]:
    """Return the tables of one classifier, and the verdict and score that follow."""
    added, removed = nets["action"] == "add", nets["action"] == "remove"
    matrix, gate = _gated(nets[added & nets["base"]], judge[judge["base"]], rules)
    own = judge.merge(matrix[["baseline_id", "pair_id"]].drop_duplicates())
    cells = effects.cells(matrix, own, rules, edited=record["plan"]["findings"], read=read)
    undone, _ = _gated(nets[removed], judge[judge["action"] == "remove"], rules)
    # What a removal uncovers is told by the judge's removals, measured by its own.
    undone_own = judge.merge(undone[["baseline_id", "pair_id"]].drop_duplicates())
    levels = [tuple(level) for level in record["levels"]]
    dosed = nets[added & nets["dose"].isin([label for label, _ in levels])]
    return {
        "cells": cells,
        "gate": gate,
        "verdict": effects.verdict(cells) if len(cells) else "undecided",
        "score": effects.score(cells) if len(cells) else float("nan"),
        "reverse": effects.cells(undone, undone_own, replace(rules, exact=False)),
        "doses": effects.doses(dosed, levels, rules),
        "subgroups": effects.subgroups(matrix, _patients(baselines), ATTRIBUTES, rules),
    }


def _gated(
    nets: pd.DataFrame, judge: pd.DataFrame, rules: Rules
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the net effects of pairs that the judge saw, and the table of the gate."""
    # The judge's rows of these very pairs; where it has none of them, nothing is gated.
    pairs = nets[["baseline_id", "pair_id"]].drop_duplicates()
    counted, table = effects.gate(pd.concat([nets, judge.merge(pairs)]), rules)
    return nets.merge(counted), table


def _patients(baselines: pd.DataFrame) -> pd.DataFrame:
    table = baselines.drop_duplicates("patient_id").set_index("patient_id")
    band = pd.Series("", index=table.index)
    for age, label in _BANDS:
        band = band.where(~(table["age"] >= age), label)
    return table.assign(age_band=band)


def _constant(predictions: pd.DataFrame, readings: pd.DataFrame, name: str) -> list[str]:
    """Return the heads that say the same of every picture."""
    own = predictions[predictions["classifier"] == name]
    told = readings[readings["classifier"] == name]
    found = []
    for read in sorted({*own["read_finding"], *told["read_finding"]}):
        values = np.concatenate(
            [
                own.loc[own["read_finding"] == read, ["logit_baseline", "logit_edited"]]
                .to_numpy(np.float32)
                .ravel(),
                told.loc[told["read_finding"] == read, "logit"].to_numpy(np.float32),
            ]
        )
        values = values[np.isfinite(values)][:, None]
        if len(values) >= checks.MIN_IMAGES and checks.constant_heads(values, (read,)):
            found.append(read)
    return found


def _read(described: Mapping[str, Any], constant: list[str]) -> list[str]:
    """Return the findings whose heads are read and say something."""
    names = [head["finding"] for head in described["heads"] if head["state"] == "read"]
    return [name for name in names if name not in constant]


def _heads(described: Mapping[str, Any], constant: list[str]) -> pd.DataFrame:
    """Return every head of a classifier with what became of it."""
    columns = ["head", "finding", "state", "note"]
    rows = []
    for head in described["heads"]:
        row = [head["name"], head["finding"] or "", head["state"], head["note"]]
        if head["state"] == "read" and head["finding"] in constant:
            row[2:] = ["constant", "says the same of every picture, so it is left out"]
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def _examples(folder: Path, name: str) -> tuple[Example, ...]:
    path = folder / "pictures" / "examples.json"
    if not path.exists():
        return ()
    listed = json.loads(path.read_text(encoding="utf-8"))["pairs"].get(name, [])
    files = ("baseline", "counterfactual", "difference")
    return tuple(
        Example(**{key: folder / v if key in files else v for key, v in one.items()})
        for one in listed
    )


def _counts(predictions: pd.DataFrame, record: Mapping[str, Any]) -> dict[str, int]:
    """Return how many pairs of edit and classifier were planned and have both arms."""
    planned = int(record["pairs"]) * len(record["classifiers"])
    own = predictions[predictions["classifier"] != JUDGE]
    both = own.groupby(["classifier", "baseline_id", "pair_id"])["arm"].nunique()
    done = int((both == 2).sum())
    return {"planned": planned, "ok": done, "missing": planned - done}
