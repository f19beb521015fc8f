"""A plain folder of pictures with one CSV: ``index.csv``, or the only one with a path column.

Columns, by any of their usual names: path (needed; it may lead into an archive, as in
``shards/train-00000.tar/NAME.png``), image_id, patient_id, view, age, sex, split, site. Labels come
as one column ``labels``, joined by "|" (a "?" ends an uncertain one), or as one column per finding
with 1, 0, -1 and empty (or positive, negative, uncertain, unmentioned).

With one column, a finding that is not named is "negative" where its site names it in any picture,
and "unmentioned" otherwise: what nobody looked for is not absent. A picture without any label says
nothing.

A column ``tier`` marks pictures that need care: anything but "A" makes a picture unfit for
selections, and where the word contains "label" or "conflict" its labels are not trusted either:
what they name is uncertain. A column ``conflict`` (1 or 0) does the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.datasets.fields import WORDS, coded, gather, read_table, texts_of, translate
from roentmod.datasets.labels import Labels, Texts, Vocabulary, answered, doubted, named
from roentmod.datasets.table import Draft, Part, Problem
from roentmod.errors import DatasetError

__all__ = ["draft", "table_of"]

_COLUMNS = {
    "path": ("path", "image_path", "file_path", "filepath", "image", "file", "filename",
             "file_name", "image_index"),
    "image_id": ("image_id", "id"),
    "patient_id": ("patient_id", "patient", "patientid", "subject_id", "subject"),
    "view": ("view", "view_position", "viewposition", "projection"),
    "age": ("age", "patient_age", "age_years"),
    "sex": ("sex", "gender", "patient_sex", "patient_gender"),
    "split": ("split", "subset", "fold"),
    "site": ("site", "set", "institution", "hospital", "source", "dataset"),
    "labels": ("labels", "label", "findings", "finding_labels"),
    "tier": ("tier",),
    "conflict": ("conflict",),
}  # fmt: skip
_YES = {"1", "1.0", "yes", "true"}


def table_of(folder: Path) -> Path | None:
    """Return the table of a plain folder, None where there is none.

    Raises:
        DatasetError: several could be it.
    """
    if (folder / "index.csv").is_file():
        return folder / "index.csv"
    tables = [p for p in sorted((*folder.glob("*.csv"), *folder.glob("*.csv.gz"))) if _fits(p)]
    if len(tables) > 1:
        raise DatasetError(
            f"A plain folder has one table; {folder} has {', '.join(p.name for p in tables[:4])}. "
            "Name the right one index.csv."
        )
    return tables[0] if tables else None


def draft(folder: Path, table: Path) -> Draft:
    """Read `table`; paths in it start at `folder`, or are absolute.

    Raises:
        DatasetError: no column of paths, an empty path, or an answer that is no label.
    """
    frame = read_table(table)
    known = _known(frame)
    if "path" not in known:
        raise DatasetError(
            f"{table.name} must have a column of picture files ({', '.join(_COLUMNS['path'])}); "
            f"it has {', '.join(frame.columns)}. Rename one to 'path'."
        )
    read = frame[list(known.values())].set_axis(list(known), axis="columns")
    places = texts_of(read, "path")
    if (places == "").any():
        row = int(np.argmax(places == "")) + 2
        raise DatasetError(f"Every row names a picture; {table.name} row {row} has no path.")
    labels, unread = _labels(frame, read, table)
    unfit, mistrusted = _care(read)
    facts = gather(
        read,
        table,
        {name: name for name in ("patient_id", "age", "sex", "split")},
        image_id=texts_of(read, "image_id") if "image_id" in read else places,
        path=places,
        view=texts_of(read, "view", "frontal"),
        site=texts_of(read, "site", folder.name),
        unfit=unfit,
    )
    part = Part(facts, doubted(labels, mistrusted), _problems(read, unread, mistrusted))
    return Draft("folder", folder, [part])


def _known(frame: pd.DataFrame) -> dict[str, str]:
    """Return which column holds each field; of several the first name listed."""
    columns: dict[str, str] = {}
    for name in map(str, frame.columns):
        columns.setdefault(name.strip().lower().replace(" ", "_").replace("-", "_"), name)
    present = {field: [n for n in names if n in columns] for field, names in _COLUMNS.items()}
    return {field: columns[names[0]] for field, names in present.items() if names}


def _fits(path: Path) -> bool:
    try:
        return "path" in _known(pd.read_csv(path, nrows=0))
    except (OSError, ValueError):
        return False


def _labels(frame: pd.DataFrame, read: pd.DataFrame, table: Path) -> tuple[Labels, list[str]]:
    """Return the labels, and the columns that say nothing known."""
    rest = [name for name in frame.columns if name not in _known(frame).values()]
    if "labels" in read:
        return _by_site(texts_of(read, "labels"), texts_of(read, "site")), rest
    findings = [name for name in rest if Vocabulary().findings(name)]
    columns = {
        name: coded(frame, name, WORDS, table=table.name if name in findings else None)
        for name in rest
    }
    if not findings:
        raise DatasetError(
            f"{table.name} must have a column 'labels', or one column per finding; it has "
            f"{', '.join(frame.columns)}. Rename them."
        )
    unread = [name for name, codes in columns.items() if (codes < 0).any()]
    answers = {name: codes for name, codes in columns.items() if name not in unread}
    return answered(answers, Vocabulary()), unread


def _by_site(texts: Texts, sites: Texts) -> Labels:
    """Read joined labels; a site has looked for what it names in any picture."""
    parts = {site: np.flatnonzero(sites == site) for site in dict.fromkeys(sites)}
    back = np.argsort(np.concatenate(list(parts.values())))
    some = [named(texts[rows], Vocabulary()) for rows in parts.values()]
    return Labels(
        np.vstack([one.codes for one in some])[back],
        np.concatenate([one.others for one in some])[back],
    )


def _care(read: pd.DataFrame) -> tuple[Texts, NDArray[np.bool_]]:
    """Return why pictures are unfit, n texts, and whose labels are not trusted, n."""
    tier = translate(texts_of(read, "tier"), lambda word: "" if word in ("A", "a") else word)
    conflict = translate(texts_of(read, "conflict"), lambda word: word.lower() in _YES)
    unfit = np.where(conflict & (tier == ""), "labels in conflict", tier).astype(object)
    words = translate(tier, lambda word: "label" in word.lower() or "conflict" in word.lower())
    return unfit, (conflict | words).astype(np.bool_)


def _problems(
    read: pd.DataFrame, unread: list[str], mistrusted: NDArray[np.bool_]
) -> tuple[Problem, ...]:
    places = texts_of(read, "path")
    silent = places[texts_of(read, "labels", "-") == ""]
    advice = "; write 'No Finding' where a reader found nothing"
    return (
        *Problem.of("unread columns", unread),
        *Problem.of("labels in conflict", places[mistrusted]),
        *Problem.of("no column of views", (), 0 if "view" in read else len(places)),
        *Problem.of("pictures without labels", silent, advice=advice),
    )
