"""From an audit's files to its result: cheap, and run again at will with other rules."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roentmod.documents import read_document
from roentmod.errors import AuditError, InputError
from roentmod.jobs.audit.examples import Row, examples_of, typical
from roentmod.jobs.audit.predictions import Numbers, nets_of, read_table
from roentmod.jobs.audit.result import UNKNOWN, AuditResult, ClassifierResult
from roentmod.science import effects
from roentmod.science.effects import JUDGE, SECOND, Rules, Witness, among
from roentmod.science.stress import stress
from roentmod.store import atomic, write_json

__all__ = ["READINGS", "RECORD", "assess", "judged", "keep", "kept"]

RECORD = "audit.json"
# What people saw in the edited pictures of an audit, where they were asked.
READINGS = "people.parquet"
ATTRIBUTES = ("sex", "age_band", "view", "site")
# Tables of a judged classifier, and the folder that keeps them.
_KEPT = ("heads", "cells", "judges", "gate", "doses", "subgroups", "reverse", "stress")
# What both judges say of an off-target pair, beside each other.
_BOTH = ("leak", "leak_low", "leak_high", "corrected", "verdict")
_JUDGED = "judged"
_BANDS = ((0, "under 40"), (40, "40 to 64"), (65, "65 and over"))


def assess(
    folder: Path, rules: Rules | None = None, *, people: pd.DataFrame | None = None
) -> AuditResult:
    """Judge the predictions that an audit left in `folder`.

    Args:
        folder: the run directory of a finished audit.
        rules: how to judge; None takes the audit's own.
        people: what readers saw, a table of `effects.readings`, in place of the judge; it is kept
            in the folder, and None takes the one there.

    Raises:
        AuditError: no finished audit is there.
    """
    try:
        record = read_document(folder / RECORD)
        if people is not None:
            with atomic(folder / READINGS) as part:
                people.to_parquet(part)
        return judged(folder, record, rules)[0]
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
    second = nets_of(folder, SECOND, record, numbers).table if record.get("second") else None
    people = _people(folder, numbers)
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
        seen = _Seen.of(people, judge, second, usual)
        counted, gate = effects.gate(usual, rules, judge=seen.gate)
        matrix = among(usual, counted)
        one = ClassifierResult(
            name=name,
            source=str(described.get("source", "")),
            heads=_heads(described, still),
            gate=_gate_of_both(gate, usual, seen, rules),
            examples=examples_of(folder, name),
            **_tables(table, matrix, seen, record, patients, rules, _read(described, still)),
            stress=stress(
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
    files = {name: place / f"{number}-{name}.parquet" for name in _KEPT}
    # Earlier versions showed one judge alone.
    files = {k: file for k, file in files.items() if k != "judges" or file.exists()}
    tables: dict[str, Any] = {name: pd.read_parquet(file) for name, file in files.items()}
    # Folders of earlier versions lack columns, and have a score without bounds.
    for name in ("cells", "reverse"):
        tables[name] = tables[name].reindex(columns=list(effects.CELLS))
    shown = _scored(tables["cells"])
    examples = examples_of(folder, facts["name"])
    return ClassifierResult(**facts | tables | shown | {"examples": examples})


def _provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: record[key] for key in ("editor", "data", "judge", "classifiers")}
    own |= {key: record[key] for key in ("second", "control", "warnings") if key in record}
    return dict(record["provenance"]) | own


@dataclass(frozen=True, eq=False)
class _Seen:
    """Net effects of whoever says what edited pictures show.

    Attributes:
        gate: chooses the pairs that count.
        leak: measures leakage, and
        witness: who that is.
        judge: the judge's, of all pairs.
    """

    gate: pd.DataFrame
    leak: pd.DataFrame
    witness: Witness
    judge: pd.DataFrame

    @staticmethod
    def of(
        people: pd.DataFrame | None,
        judge: pd.DataFrame,
        second: pd.DataFrame | None,
        usual: pd.DataFrame,
    ) -> _Seen:
        """Return people's readings where there are any, else the judges', of the usual pairs."""
        if people is not None:
            seen = effects.readings(people, usual)
            return _Seen(seen, seen, "readers", judge)
        first = among(_where(judge, judge["base"]), usual)
        if second is not None:
            return _Seen(first, among(_where(second, second["base"]), usual), "second", judge)
        return _Seen(first, first, "gate", judge)


def _gate_of_both(
    gate: pd.DataFrame, usual: pd.DataFrame, seen: _Seen, rules: Rules
) -> pd.DataFrame:
    """Return the gate's table, with what a second judge sees of the same edits."""
    if seen.witness != "second":
        return gate
    _, other = effects.gate(usual, rules, judge=seen.leak)
    columns = {"share": "second_share", "judge_effect": "second_effect"}
    columns |= {"judge_low": "second_low", "judge_high": "second_high"}
    return gate.merge(other.rename(columns=columns)[["edited", *columns.values()]], on="edited")


def _people(folder: Path, numbers: Numbers) -> pd.DataFrame | None:
    """Return the readings that people left, with numbers for ids; None without any."""
    path = folder / READINGS
    if not path.exists():
        return None
    table = pd.read_parquet(path)
    # Readings of radiographs that are none of this audit's are left to other audits.
    if "baseline_id" in table:
        places = pd.Index(numbers.names).get_indexer(pd.Index(table["baseline_id"].astype(str)))
        table = table.assign(baseline_id=places)[places >= 0]
    if "patient_id" in table:
        places = numbers.people.get_indexer(pd.Index(table["patient_id"].astype(str)))
        # Unedited radiographs of a study are of other patients, whom the audit does not number.
        control = table.get("edited_finding", pd.Series("-", table.index)).eq("").to_numpy()
        others = -1 - pd.factorize(table["patient_id"])[0]
        places = np.where(control & (places < 0), others, places)
        table = table.assign(patient_id=places)[control | (places >= 0)]
    return table


def _tables(
    nets: pd.DataFrame,
    matrix: pd.DataFrame,
    seen: _Seen,
    record: Mapping[str, Any],
    patients: pd.DataFrame,
    rules: Rules,
    read: list[str],
) -> dict[str, Any]:
    """Return the tables of one classifier, and the verdict and score that follow.

    Args:
        nets: its net effects, and
        matrix: those of pairs of the matrix that count.
        seen: who says what the pictures show.
        record: of the audit.
        patients: what is known of each.
        rules: how to judge.
        read: findings whose heads are read.
    """
    added, removed = nets["action"] == "add", nets["action"] == "remove"
    names = {"edited": record["plan"]["findings"], "read": read}
    usual = _where(nets, added & nets["base"])
    options = {"counted": matrix, **names}
    cells = effects.cells(usual, seen.leak, rules, witness=seen.witness, **options)
    judges = pd.DataFrame()
    if seen.witness == "second":
        judges = _of_both(cells, effects.cells(usual, seen.gate, rules, **options))
    # The judge's removals say what a removal uncovers, measured by its own.
    undone, judge = nets[removed], seen.judge[seen.judge["action"] == "remove"]
    judge = among(judge, undone)
    counted, _ = effects.gate(undone, rules, judge=judge)
    levels = [tuple(level) for level in record["levels"]]
    dosed = nets[added & nets["dose"].isin([label for label, _ in levels])]
    return {
        "cells": cells,
        "judges": judges,
        "verdict": effects.verdict(cells),
        **_scored(cells),
        "reverse": effects.cells(undone, judge, rules.but(exact=False), counted=counted),
        "doses": effects.doses(dosed, levels, rules),
        "subgroups": effects.subgroups(matrix, patients, ATTRIBUTES, rules),
    }


def _scored(cells: pd.DataFrame) -> dict[str, Any]:
    """Return the score of a classifier's cells, its ends, and the heads that it leaves out."""
    score = effects.score(cells)
    if score is None:
        return {"score": None, "score_ends": UNKNOWN, "blind": ()}
    return {"score": score.value, "score_ends": (score.low, score.high), "blind": score.blind}


def _of_both(second: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
    """Return leakage and verdict of each off-target pair by both judges, of two matrices."""
    keys, off = ["edited", "read"], ~second["on_target"].astype(bool)
    other = first[[*keys, *_BOTH]].rename(columns={name: f"first_{name}" for name in _BOTH})
    own = second.loc[off, [*keys, "ratio", "ratio_low", "ratio_high", *_BOTH]]
    return own.merge(other, how="left", on=keys)


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
