"""Negatives matched to positives, and how far facts beside the picture predict a label.

Positives and negatives of one finding often come from other sources, views or sizes; what tells
those apart then tells the label. A matched set has equally many of both in every stratum.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.datasets.fields import split_name
from roentmod.datasets.files import shape
from roentmod.datasets.labels import NAMES, Texts
from roentmod.datasets.select import Mask, Selection, choose, positives, shares
from roentmod.datasets.table import PHANTOMS, Dataset, Problem
from roentmod.domain import NO_FINDING, finding
from roentmod.errors import DatasetError, InputError
from roentmod.imaging.marks import find

__all__ = ["PREDICTS", "burned_in", "fact_auc", "match", "predictors", "sizes", "telling"]

_FACTS = ("site", "view", "sex", "age")
_SIZE = "size"
# What tells pictures or patients apart, or is a label.
_NEVER = {*NAMES, "image_id", "path", "patient_id", "unfit", "other_labels"}

# From this AUC on, a fact alone predicts a label.
PREDICTS = 0.65
_FEWEST, _FOLDS = 20, 5


def match(
    dataset: Dataset,
    name: str,
    *,
    on: Sequence[str] = _FACTS,
    band: float = 10,
    ratio: int = 1,
    split: str | None = None,
    seed: int = 0,
) -> Selection:
    """Choose positives of a finding, and negatives that match them.

    In each stratum (the same site, view, sex and age band, say) there are `ratio` negatives per
    positive or fewer, and no positive without a negative: of more positives than negatives some
    fall, in random order. A negative is read as not showing the finding, or as "no finding";
    patients with a positive picture give none. Otherwise as `positives`: adults, frontal, one per
    patient.

    Args:
        dataset: where from.
        name: the finding or an alias.
        on: what must agree: "site", "view", "sex", "age", "size" (of the picture in pixels, from
            the files' headers), or any other column of the data set's table, such as one of
            detectors; unknown agrees with unknown.
        band: width of an age band in years, above 0.
        ratio: most negatives per positive.
        split: only of this split.
        seed: which random order.

    Returns:
        The pictures; the table's further columns are `positive` and `stratum` (a text).

    Raises:
        UnknownFindingError: the catalogue lacks the finding.
        DatasetError: no positive has a match, or an argument is wrong.
    """
    wanted = finding(name).name
    _check(dataset, on, band, ratio)
    there = positives(dataset, wanted, split=split, seed=seed)
    barred = dataset.table.loc[dataset.table[wanted].isin(["positive", "uncertain"]), "patient_id"]
    criteria = {
        f"{wanted} not known to be absent": _absent(dataset.table, wanted),
        f"patient has {wanted}": ~dataset.table["patient_id"].isin(barred).to_numpy(),
    }
    absent = choose(dataset, criteria, split=split, seed=seed)
    both = pd.concat(
        [there.table.assign(positive=True), absent.table.assign(positive=False)], ignore_index=True
    )
    both["stratum"] = _strata(_facts(dataset, both, on), on, band)
    place = both.groupby(["stratum", "positive"]).cumcount()
    counts = both.groupby(["stratum", "positive"]).size().unstack(fill_value=0)
    number = {side: both["stratum"].map(counts[side]).to_numpy() for side in (True, False)}
    kept = place < np.where(both["positive"], number[False], number[True] * ratio)
    if not kept.any():
        raise DatasetError(
            f"Matching needs positives and negatives of one stratum; of {len(there):,} positives "
            f"and {len(absent):,} negatives of {wanted} none agree on {', '.join(on)}. Match on "
            "less, or widen the band."
        )
    chosen = both[kept].reset_index(drop=True)
    report = {
        "pictures": len(dataset),
        "positives": len(there),
        "negatives": len(absent),
        "positives without match": len(there) - int(chosen["positive"].sum()),
        "chosen": len(chosen),
    }
    return Selection(chosen, report)


def predictors(
    dataset: Dataset,
    names: Sequence[str] | None = None,
    *,
    split: str | None = None,
    most: int = 2000,
    unmentioned: Literal["unknown", "absent"] = "unknown",
) -> pd.DataFrame:
    """Return how well site, view or picture size alone predict each label.

    A fact's value predicts by the share of positives that it has among other patients (five folds
    by patient), so that rare values do not seem to know; pictures of unknown label are left out.

    Args:
        dataset: any.
        names: findings; None for all.
        split: only of this split.
        most: pictures whose size is looked up, drawn by a hash; 0 leaves size out.
        unmentioned: state of an unmentioned finding, as of a retraining.

    Returns:
        One row per finding (with 20 or more positives and negatives) and fact that varies:
        `finding`, `fact` ("site", "view", "size"), `auc` in [0, 1], `positives`, `negatives`; the
        best predictor first.
    """
    table = dataset.table
    table = table if split is None else table[table["split"] == split_name(split)]
    table = table[table["unfit"] == ""]
    patients = table["patient_id"].to_numpy(dtype=object)
    facts = {name: table[name].to_numpy(dtype=object) for name in ("site", "view")}
    facts["size"] = sizes(replace(dataset, table=table), most)
    rows = []
    for name in names or [name for name in NAMES if name != NO_FINDING.name]:
        wanted = finding(name).name
        there = (table[wanted] == "positive").to_numpy()
        known = there | _absent(table, wanted)
        known |= (table[wanted] == "unmentioned").to_numpy() & (unmentioned == "absent")
        for fact, values in facts.items():
            some = known & (values != "")
            value = fact_auc(values[some], there[some], patients[some])
            if value is not None:
                rows.append(
                    (wanted, fact, value, int(there[some].sum()), int((~there)[some].sum()))
                )
    frame = pd.DataFrame(rows, columns=["finding", "fact", "auc", "positives", "negatives"])
    return frame.sort_values("auc", ascending=False, kind="stable", ignore_index=True)


def fact_auc(values: Texts, there: Mask, patients: Texts) -> float | None:
    """Return how well a fact alone tells two kinds of pictures apart.

    As in `predictors`, a value counts by its share of the one kind among other patients.

    Args:
        values: of each picture, n texts.
        there: which are of the one kind, n.
        patients: n texts.

    Returns:
        The AUC in [0, 1]; None of fewer than 20 of either kind, and where all values are alike.
    """
    if min(there.sum(), (~there).sum()) < _FEWEST or len(set(values)) < 2:
        return None
    return _auc(values, there, (shares(patients) * _FOLDS).astype(int))


def sizes(dataset: Dataset, most: int) -> Texts:
    """Return pixel sizes, n texts such as "512 x 512", of `most` pictures drawn by a hash.

    It is "" of the others, of phantoms, and where a header cannot be read.
    """
    table = dataset.table
    if dataset.name == PHANTOMS or not most or table.empty:
        return np.full(len(table), "", dtype=object)
    chances = shares(table["image_id"].to_numpy(dtype=object))
    looked = chances <= np.sort(chances)[:most][-1]
    pairs = zip(table["path"], looked, strict=True)
    return np.array([shape(path) if look else "" for path, look in pairs], dtype=object)


def burned_in(dataset: Dataset, most: int) -> dict[str, int]:
    """Return how many of `most` pictures, drawn by a hash, have text burned into them.

    Keys: `looked` at, whose `header` says so, and in which letters were `found`.
    """
    names = dataset.table["image_id"].to_numpy(dtype=object)
    drawn = names[np.argsort(shares(names), kind="stable")[:most]]
    counts = dict.fromkeys(("looked", "header", "found"), 0)
    for name in drawn if dataset.name != PHANTOMS else ():
        with suppress(InputError):
            radiograph = dataset.radiograph(name)
            counts["looked"] += 1
            counts["header"] += radiograph.burned_in == "yes"
            counts["found"] += bool(find(radiograph))
    return counts


def telling(found: pd.DataFrame) -> tuple[Problem, ...]:
    """Return the predictors that predict by themselves as one problem; none where none does."""
    sure = found[found["auc"] > PREDICTS]
    rows = zip(sure["fact"], sure["finding"], sure["auc"], strict=True)
    examples = [f"{fact} -> {name} AUC {value:.2f}" for fact, name, value in rows]
    return Problem.of("facts that predict labels", examples)


def _absent(table: pd.DataFrame, name: str) -> Mask:
    """Return where a finding is read as not there, or nothing else is said than "no finding"."""
    clean = (table[NO_FINDING.name] == "positive") & (table[name] == "unmentioned")
    return np.asarray((table[name] == "negative") | clean, dtype=np.bool_)


def _check(dataset: Dataset, on: Sequence[str], band: float, ratio: int) -> None:
    others = [name for name in dataset.table if name not in {*_NEVER, *_FACTS}]
    known = (*_FACTS, _SIZE, *others)
    if not on or ratio < 1 or not band > 0 or isinstance(on, str) or set(on) - {*known}:
        raise DatasetError(
            f"Matching is on one or more of {', '.join(map(str, known))}, with a band above 0 and "
            f"a ratio of 1 or more; got {', '.join(on) or 'none'}, {band:g} and {ratio}."
        )


def _facts(dataset: Dataset, chosen: pd.DataFrame, on: Sequence[str]) -> pd.DataFrame:
    """Return chosen pictures with all that they must agree on."""
    rows = dataset.table.set_index("image_id").loc[chosen["baseline_id"]].reset_index()
    more = {name: rows[name].to_numpy() for name in on if name not in (*_FACTS, _SIZE)}
    if _SIZE in on:
        more[_SIZE] = sizes(replace(dataset, table=rows), len(rows))
    return chosen.assign(**more)


def _strata(table: pd.DataFrame, on: Sequence[str], band: float) -> list[str]:
    bands = [f"{np.floor(age / band) * band:g}" if age == age else "" for age in table["age"]]
    columns = [bands if fact == "age" else table[fact] for fact in on]
    rows = zip(*columns, strict=True)
    return [" / ".join(str(value) or "unknown" for value in row) for row in rows]


def _auc(values: NDArray[np.object_], there: Mask, folds: NDArray[np.integer]) -> float:
    """Return the mean over folds of the AUC of each value's share of positives elsewhere."""
    aucs, weights = [0.5], [0]
    for fold in range(_FOLDS):
        own = folds == fold
        here, rest = there[own], pd.Series(there[~own]).groupby(values[~own])
        pairs = int(here.sum() * (~here).sum())
        if pairs:
            usual = there[~own].mean()
            share = (rest.sum() + usual) / (rest.size() + 1)
            ranks = pd.Series(values[own]).map(share).fillna(usual).rank().to_numpy()
            n = here.sum()
            aucs.append(float((ranks[here].sum() - n * (n + 1) / 2) / pairs))
            weights.append(pairs)
    return float(np.average(aucs, weights=weights)) if any(weights) else 0.5
