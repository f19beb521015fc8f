"""From an audit's files to its result: cheap, and run again at will with other rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from roentmod.classifiers import checks
from roentmod.documents import read_document
from roentmod.errors import AuditError, InputError
from roentmod.jobs.audit.result import AuditResult, ClassifierResult, Example
from roentmod.science import effects
from roentmod.science.effects import JUDGE, Rules
from roentmod.store import atomic, write_json

__all__ = [
    "EXAMPLES",
    "RECORD",
    "TABLES",
    "assess",
    "judged",
    "keep",
    "kept",
    "listed",
    "read_table",
]

RECORD, EXAMPLES = "audit.json", "pictures/examples.json"
_NUMBERS = {"strength": "float64", "seed": "int64"}
# The tables that grow, with the types of their columns.
TABLES = {
    "predictions": {
        name: "float64" if name.startswith("logit") else _NUMBERS.get(name, "string")
        for name in effects.PREDICTIONS
    },
    "readings": {
        **dict.fromkeys(("classifier", "image_id", "patient_id", "read_finding"), "string"),
        "logit": "float64",
    },
}
ATTRIBUTES = ("sex", "age_band", "view", "site")
# Tables of a judged classifier, and the folder that keeps them.
_KEPT = ("heads", "cells", "gate", "doses", "subgroups", "reverse", "stress")
_JUDGED = "judged"
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
        return judged(folder, read_document(folder / RECORD), rules)
    except (OSError, InputError, KeyError, TypeError, ValueError) as error:
        raise AuditError(
            f"An audit's folder holds {RECORD} and its tables; {folder} gave {error!r}. "
            "Run the audit to its end first."
        ) from error


def judged(folder: Path, record: Mapping[str, Any], rules: Rules | None = None) -> AuditResult:
    """Judge the tables in `folder` of an audit whose record is given; rules as in `assess`.

    Raises:
        OSError: a table is missing.
    """
    items, baselines, states = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("items", "baselines", "states")
    )
    rules = rules or Rules(**record["rules"])
    judge = _with_doses(effects.net_effects(read_table(folder, "predictions", JUDGE)), record)
    results, pairs = [], 0
    # One classifier at a time, so that memory does not grow with their number.
    for name, described in record["classifiers"].items():
        predictions, readings = (read_table(folder, table, name) for table in TABLES)
        pairs += _pairs(predictions)
        constant = _constant(predictions, readings)
        nets = _with_doses(effects.net_effects(predictions), record)
        nets = nets[~nets["read_finding"].isin(constant)]
        results.append(
            ClassifierResult(
                name=name,
                source=str(described.get("source", "")),
                heads=_heads(described, constant),
                examples=_examples(folder, name),
                **_tables(nets, judge, record, baselines, rules, _read(described, constant)),
                stress=effects.stress(
                    readings[~readings["read_finding"].isin(constant)],
                    states,
                    [f for f in record["stress_findings"] if f not in constant],
                    rules,
                ),
            )
        )
    planned = int(record["pairs"]) * len(record["classifiers"])
    return AuditResult(
        plan=record["plan"] | rules.facts() | {"n_baselines": len(baselines)},
        provenance=_provenance(record),
        baselines=baselines,
        items=items,
        counts={"planned": planned, "ok": pairs, "missing": planned - pairs},
        classifiers=tuple(results),
        folder=folder,
    )


def keep(result: AuditResult, record: Mapping[str, Any]) -> AuditResult:
    """Write the judged tables beside the others, and return the result as `kept` reads it.

    Args:
        result: judged; pictures may have been saved since.
        record: of the audit.

    Raises:
        OSError: the folder cannot be written.
    """
    place = result.folder / _JUDGED
    place.mkdir(exist_ok=True)
    for number, one in enumerate(result):
        for name in _KEPT:
            with atomic(place / f"{number}-{name}.parquet") as part:
                getattr(one, name).to_parquet(part)
    facts = [
        {"name": one.name, "source": one.source, "verdict": one.verdict, "score": repr(one.score)}
        for one in result
    ]
    write_json(
        place / f"{_JUDGED}.json",
        {"plan": result.plan, "counts": result.counts, "classifiers": facts},
    )
    return kept(result.folder, record)


def kept(folder: Path, record: Mapping[str, Any]) -> AuditResult:
    """Return the result that `keep` wrote, without judging again.

    Raises:
        AuditError: it is not there, or damaged.
    """
    place = folder / _JUDGED
    try:
        facts: dict[str, Any] = json.loads((place / f"{_JUDGED}.json").read_text("utf-8"))
        classifiers = [
            _kept(place, number, one, folder) for number, one in enumerate(facts["classifiers"])
        ]
        tables = {n: pd.read_parquet(folder / f"{n}.parquet") for n in ("baselines", "items")}
        return AuditResult(
            plan=facts["plan"],
            provenance=_provenance(record),
            counts=facts["counts"],
            classifiers=tuple(classifiers),
            folder=folder,
            **tables,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AuditError(
            f"A judged audit has a folder '{_JUDGED}' with its tables; reading it in {folder} gave "
            f"{error!r}. Run the audit to its end first."
        ) from error


def _kept(place: Path, number: int, facts: dict[str, Any], folder: Path) -> ClassifierResult:
    tables: dict[str, Any] = {
        name: pd.read_parquet(place / f"{number}-{name}.parquet") for name in _KEPT
    }
    score, examples = float(facts["score"]), _examples(folder, facts["name"])
    return ClassifierResult(**facts | tables | {"score": score, "examples": examples})


def _provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: record[key] for key in ("editor", "data", "judge", "classifiers")}
    return dict(record["provenance"]) | own


def read_table(folder: Path, name: str, classifier: str) -> pd.DataFrame:
    """Return the rows of one classifier in a table of `TABLES`; texts become categories.

    Raises:
        OSError: the table is missing.
    """
    texts = [column for column, kind in TABLES[name].items() if kind == "string"]
    table: pd.DataFrame = pq.read_table(
        folder / f"{name}.parquet",
        filters=[("classifier", "==", classifier)],
        read_dictionary=texts,
    ).to_pandas()
    findings = {"edited_finding", "read_finding"} & set(texts)
    names = sorted({one for column in findings for one in table[column].cat.categories})
    # In order of the alphabet, and comparable.
    for column in texts:
        categories = names if column in findings else sorted(table[column].cat.categories)
        table[column] = table[column].cat.set_categories(categories)
    return table


def _pairs(predictions: pd.DataFrame) -> int:
    """Return how many pairs have both arms."""
    arms = predictions.groupby(["baseline_id", "pair_id"], observed=True)["arm"].nunique()
    return int((arms == 2).sum())


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
        "reverse": effects.cells(undone, undone_own, rules.but(exact=False)),
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


def _constant(predictions: pd.DataFrame, readings: pd.DataFrame) -> list[str]:
    """Return the heads of a classifier that say the same of every picture."""
    said = pd.concat(
        [
            predictions.set_index("read_finding")["logit_baseline"],
            predictions.set_index("read_finding")["logit_edited"],
            readings.set_index("read_finding")["logit"],
        ]
    )
    found = []
    for read, values in said[np.isfinite(said)].groupby(level=0, sort=True):
        logits = values.to_numpy(np.float32)[:, None]
        if len(logits) >= checks.MIN_IMAGES and checks.constant_heads(logits, (str(read),)):
            found.append(str(read))
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
    files = ("baseline", "counterfactual", "difference")
    try:
        return tuple(
            Example(**{key: folder / v if key in files else v for key, v in one.items()})
            for one in listed(folder)["pairs"].get(name, ())
        )
    # A damaged list is made again by the next call of the audit.
    except (KeyError, TypeError, AttributeError):
        return ()


def listed(folder: Path) -> dict[str, Any]:
    """Return the list of an audit's example pictures; nothing where it is missing or damaged."""
    try:
        return read_document(folder / EXAMPLES)
    except (OSError, InputError):
        return {}
