"""From an audit's files to its result: cheap, and run again at will with other rules."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roentmod.documents import read_document
from roentmod.errors import AuditError, InputError
from roentmod.jobs.audit.examples import Row, examples_of, typical
from roentmod.jobs.audit.predictions import Numbers, nets_of, read_table
from roentmod.jobs.audit.result import AuditResult, ClassifierResult
from roentmod.science import effects
from roentmod.science.effects import JUDGE, Rules
from roentmod.store import atomic, write_json

__all__ = ["RECORD", "assess", "judged", "keep", "kept"]

RECORD = "audit.json"
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
        return judged(folder, read_document(folder / RECORD), rules)[0]
    except (OSError, InputError, KeyError, TypeError, ValueError) as error:
        raise AuditError(
            f"An audit's folder holds {RECORD} and its tables; {folder} gave {error!r}. "
            "Run the audit to its end first."
        ) from error


def judged(
    folder: Path, record: Mapping[str, Any], rules: Rules | None = None
) -> tuple[AuditResult, dict[str, list[Row]]]:
    """Judge the tables in `folder` of an audit whose record is given; rules as in `assess`.

    Returns:
        The result, and by classifier what `typical` chooses of its pairs.

    Raises:
        OSError: a table is missing.
    """
    items, baselines, states = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("items", "baselines", "states")
    )
    rules = rules or Rules(**record["rules"])
    numbers = Numbers.of(baselines)
    patients = _patients(baselines, numbers)
    judge = nets_of(folder, JUDGE, record, numbers).table
    results, shown, pairs = [], dict[str, list[Row]](), 0
    # One classifier at a time, so that memory does not grow with their number.
    for name, described in record["classifiers"].items():
        nets, readings = (
            nets_of(folder, name, record, numbers),
            read_table(folder, "readings", name),
        )
        pairs, still = pairs + nets.pairs, nets.still
        table = _where(nets.table, ~nets.table["read_finding"].isin(still))
        usual = _where(table, (table["action"] == "add") & table["base"])
        matrix, gate = _gated(usual, _where(judge, judge["base"]), rules)
        one = ClassifierResult(
            name=name,
            source=str(described.get("source", "")),
            heads=_heads(described, still),
            gate=gate,
            examples=examples_of(folder, name),
            **_tables(table, matrix, judge, record, patients, rules, _read(described, still)),
            stress=effects.stress(
                readings[~readings["read_finding"].isin(still)],
                states,
                [f for f in record["stress_findings"] if f not in still],
                rules,
            ),
        )
        shown[name] = typical(one, matrix if len(matrix) else usual, numbers)
        results.append(one)
    planned = int(record["pairs"]) * len(record["classifiers"])
    result = AuditResult(
        plan=record["plan"] | rules.facts() | {"n_baselines": len(baselines)},
        provenance=_provenance(record),
        baselines=baselines,
        items=items,
        counts={"planned": planned, "ok": pairs, "missing": planned - pairs},
        classifiers=tuple(results),
        folder=folder,
    )
    return result, shown


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
        {"name": one.name, "source": one.source, "verdict": one.verdict, "score": one.score}
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
    # Folders of earlier versions have it as text.
    score = None if facts["score"] in (None, "nan") else float(facts["score"])
    examples = examples_of(folder, facts["name"])
    return ClassifierResult(**facts | tables | {"score": score, "examples": examples})


def _provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: record[key] for key in ("editor", "data", "judge", "classifiers")}
    own |= {key: record[key] for key in ("control", "warnings") if key in record}
    return dict(record["provenance"]) | own


def _tables(
    nets: pd.DataFrame,
    matrix: pd.DataFrame,
    judge: pd.DataFrame,
    record: Mapping[str, Any],
    patients: pd.DataFrame,
    rules: Rules,
    read: list[str],
) -> dict[str, Any]:
    """Return the tables of one classifier, and the verdict and score that follow.

    Args:
        nets: its net effects, and
        matrix: those of pairs of the matrix that the judge saw.
        judge: the judge's.
        record: of the audit.
        patients: what is known of each.
        rules: how to judge.
        read: findings whose heads are read.
    """
    added, removed = nets["action"] == "add", nets["action"] == "remove"
    own = _among(judge, matrix)
    cells = effects.cells(matrix, own, rules, edited=record["plan"]["findings"], read=read)
    removals, _ = _gated(nets[removed], judge[judge["action"] == "remove"], rules)
    # What a removal uncovers is told by the judge's removals, measured by its own.
    undone_own = _among(judge, removals)
    levels = [tuple(level) for level in record["levels"]]
    dosed = nets[added & nets["dose"].isin([label for label, _ in levels])]
    return {
        "cells": cells,
        "verdict": effects.verdict(cells) if len(cells) else "undecided",
        "score": effects.score(cells) if len(cells) else None,
        "reverse": effects.cells(removals, undone_own, rules.but(exact=False)),
        "doses": effects.doses(dosed, levels, rules),
        "subgroups": effects.subgroups(matrix, patients, ATTRIBUTES, rules),
    }


def _gated(
    nets: pd.DataFrame, judge: pd.DataFrame, rules: Rules
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the net effects of pairs that the judge saw, and the table of the gate."""
    counted, table = effects.gate(nets, rules, judge=_among(judge, nets))
    return _among(nets, counted), table


def _among(nets: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `nets` whose pair is one of `pairs`, tables of `Nets`."""
    known = nets["pair_id"].cat.categories

    def keys(table: pd.DataFrame) -> Any:
        codes = pd.Categorical(table["pair_id"], categories=known).codes.astype(np.int64)
        return table["baseline_id"].to_numpy(np.int64) * (len(known) + 1) + codes + 1

    return _where(nets, np.isin(keys(nets), keys(pairs)))


def _where(table: pd.DataFrame, chosen: Any) -> pd.DataFrame:
    """Return the chosen rows; where all are, the table itself and no copy."""
    return table if chosen.all() else table[chosen]


def _patients(baselines: pd.DataFrame, numbers: Numbers) -> pd.DataFrame:
    """Return what is known of each patient, by number."""
    places = numbers.baselines(baselines["baseline_id"].astype(str))
    table = baselines[["age", "sex", "view", "site"]]
    table = table.assign(patient_id=numbers.patients[places])
    table = table.drop_duplicates("patient_id").set_index("patient_id")
    band = pd.Series("", index=table.index)
    for age, label in _BANDS:
        band = band.where(~(table["age"] >= age), label)
    return table.assign(age_band=band)


def _read(described: Mapping[str, Any], still: Collection[str]) -> list[str]:
    """Return the findings whose heads are read and say something."""
    names = [head["finding"] for head in described["heads"] if head["state"] == "read"]
    return [name for name in names if name not in still]


def _heads(described: Mapping[str, Any], still: Collection[str]) -> pd.DataFrame:
    """Return every head of a classifier with what became of it."""
    columns = ["head", "finding", "state", "note"]
    rows = []
    for head in described["heads"]:
        row = [head["name"], head["finding"] or "", head["state"], head["note"]]
        if head["state"] == "read" and head["finding"] in still:
            row[2:] = ["constant", "says the same of every picture, so it is left out"]
        rows.append(row)
    return pd.DataFrame(rows, columns=columns)
