"""A plain folder of pictures with one table: ``index.csv``, or the only one with a path column.

Columns, by any of their usual names: path (needed; it may lead into an archive, as in
``shards/train-00000.tar/NAME.png``), image_id, patient_id, view, age, sex, split, site. Labels come
as one column ``labels``, joined as people join them ("Edema|Mass", "Edema, Mass",
"['Edema', 'Mass']"; a "?" ends an uncertain one), or as one column per finding with 1, 0, -1 and
empty (or yes, no, true, false, positive, ...), or as both, where the columns count and must not
contradict.

With one column, a finding that is not named is "negative" where its site names it in any picture,
and "unmentioned" otherwise: what nobody looked for is not absent. A picture without any label says
nothing, nor does "nan". A finding that a label resembles ("no effusion", "Efusion") is uncertain.

A column ``tier`` marks pictures that need care: anything but "A" makes a picture unfit for
selections, and where the word contains "label" or "conflict" its labels are not trusted either:
what they name is uncertain. A column ``conflict`` (1 or 0) does the same.

A picture without an image_id is named by its path. One that does not lie where its path says is
looked for by its name, if no other picture has it, and taken where one file alone has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.datasets.fields import WORDS, answer, coded, gather, texts_of, translate
from roentmod.datasets.labels import (
    NEGATIVE,
    NOTHING,
    POSITIVE,
    UNMENTIONED,
    Codes,
    Labels,
    Texts,
    Vocabulary,
    answered,
    doubted,
    named,
    parted,
    wary,
)
from roentmod.datasets.sheets import Reading, header, read_table
from roentmod.datasets.table import Draft, Part, Problem, near_findings
from roentmod.errors import DatasetError

__all__ = ["draft", "known_columns", "table_of"]

_COLUMNS = {
    "path": ("path", "image_path", "file_path", "image", "file", "filename", "image_index",
             "image_file", "dicom_path", "dicom"),
    "image_id": ("image_id", "id"),
    "patient_id": ("patient_id", "patient", "subject_id", "subject"),
    "view": ("view", "view_position", "projection"),
    "age": ("age", "patient_age", "age_years"),
    "sex": ("sex", "gender", "patient_sex", "patient_gender"),
    "split": ("split", "subset", "fold"),
    "site": ("site", "set", "institution", "hospital", "source", "dataset"),
    "labels": ("labels", "label", "findings", "finding_labels", "finding", "diagnosis",
               "diagnoses", "pathology", "pathologies"),
    "tier": ("tier",),
    "conflict": ("conflict",),
    "burned_in": ("burned_in",),
    "marks": ("marks",),
}  # fmt: skip
_TABLES = ("*.csv", "*.csv.gz", "*.tsv", "*.xlsx")
# A label of more words is a sentence of a report.
_LONGEST = 8
# What a spreadsheet leaves of a long number.
_ROUNDED = re.compile(r"\d([.,]\d+)?E\+\d+", re.I)


def table_of(folder: Path) -> Path | None:
    """Return the table of a plain folder, None where there is none.

    Raises:
        DatasetError: several could be it.
    """
    tables = [path for pattern in _TABLES for path in sorted(folder.glob(pattern))]
    index = [path for path in tables if path.name.lower().startswith("index.")]
    fitting = index or [path for path in tables if "path" in known_columns(header(path))]
    # Where none fits, reading the one that is there says what it lacks.
    fitting = fitting or tables
    if len(fitting) > 1:
        raise DatasetError(
            f"A plain folder has one table; {folder} has "
            f"{', '.join(path.name for path in fitting[:4])}. Name the right one index.csv, or "
            "give the table itself."
        )
    return fitting[0] if fitting else None


def draft(folder: Path, table: Path) -> Draft:
    """Read `table`; paths in it start at `folder`, or are absolute.

    Raises:
        DatasetError: no column of paths, an empty path, or an answer that is no label.
    """
    frame = read_table(table)
    known = known_columns(frame.columns)
    if "path" not in known:
        raise DatasetError(
            f"{table.name} must have a column of picture files ({', '.join(_COLUMNS['path'])}); "
            f"it has {', '.join(frame.columns)}. Rename one to 'path'."
        )
    read = frame[list(known.values())].set_axis(list(known), axis="columns")
    # Windows' paths, which no other system's name would hold.
    read = read.assign(path=read["path"].str.replace("\\", "/"))
    _check_ids(read, table)
    places = texts_of(read, "path")
    findings = [name for name in frame.columns if name not in known.values() and _means(name)]
    labels, problems = _labels(frame, read, findings, table)
    unfit, mistrusted = _care(read)
    facts = gather(
        read,
        table,
        {name: name for name in ("patient_id", "age", "sex", "split")},
        image_id=texts_of(read, "image_id"),
        path=places,
        view=texts_of(read, "view", "frontal"),
        site=texts_of(read, "site", folder.name),
        unfit=unfit,
    )
    part = Part(
        facts,
        doubted(labels, mistrusted),
        (*problems, *_problems(read, labels, mistrusted)),
        Reading.of(frame, table, known | {_means(name)[0]: name for name in findings}),
    )
    names = {PurePosixPath(place).name for place in places}
    return Draft("folder", folder, [part], tail=1 if len(names) == len({*places}) else 0)


def known_columns(names: Iterable[str]) -> dict[str, str]:
    """Return which column holds each field; of several the first name listed."""
    columns: dict[str, str] = {}
    for name in names:
        columns.setdefault(re.sub(r"[^a-z0-9]", "", name.lower()), name)
    present = {
        field: [plain for name in usual if (plain := name.replace("_", "")) in columns]
        for field, usual in _COLUMNS.items()
    }
    return {field: columns[found[0]] for field, found in present.items() if found}


def _check_ids(read: pd.DataFrame, table: Path) -> None:
    """Refuse rows without a path, and ids that a spreadsheet rounded."""
    for name in ("path", "image_id", "patient_id"):
        texts = texts_of(read, name, "-")
        wrong = [(not text and name == "path") or bool(_ROUNDED.fullmatch(text)) for text in texts]
        if any(wrong):
            row, text = read.index[wrong.index(True)] + 2, texts[wrong.index(True)]
            raise DatasetError(
                f"An id has all its digits; {name} of {table.name} row {row} is '{text}', as "
                "spreadsheets round long numbers. Export that column as text."
                if text
                else f"Every row names a picture; {table.name} row {row} has no path."
            )


def _means(name: str) -> list[str]:
    return Vocabulary().findings(name)


def _labels(
    frame: pd.DataFrame, read: pd.DataFrame, findings: list[str], table: Path
) -> tuple[Labels, tuple[Problem, ...]]:
    """Return the labels, and what is wrong with them or said in no known column."""
    rest = [name for name in frame.columns if name not in known_columns(frame.columns).values()]
    if not findings and "labels" not in read:
        raise DatasetError(
            f"{table.name} must have a column 'labels', or one column per finding; it has "
            f"{', '.join(frame.columns)}. Rename them."
        )
    columns = {name: coded(frame, name, WORDS, table=table.name) for name in findings}
    if "labels" in read:
        unread = [name for name in rest if name not in findings]
        labels, near = _by_site(read, table)
        problems = (*Problem.of("unread columns", unread), *near)
        return _agreeing(labels, columns, frame, table), problems
    more = {name: coded(frame, name, WORDS, table=None) for name in rest if name not in findings}
    unread = [name for name, codes in more.items() if (codes < 0).any()]
    order = {name: (columns | more)[name] for name in rest if name not in unread}
    return answered(order, Vocabulary()), Problem.of("unread columns", unread)


def _agreeing(
    labels: Labels, columns: dict[str, Codes], frame: pd.DataFrame, table: Path
) -> Labels:
    """Return labels with the answers of columns of findings, which must not contradict them."""
    if not columns:
        return labels
    codes = answered(columns, Vocabulary()).codes
    wrong = ((labels.codes == POSITIVE) & (codes == NEGATIVE)).any(axis=1)
    if wrong.any():
        row = frame.index[int(np.argmax(wrong))] + 2
        raise DatasetError(
            f"Labels and the columns of findings must agree; in {table.name} row {row} a finding "
            "is named whose column says 0. Correct it, or remove one of them."
        )
    return Labels(np.where(codes == UNMENTIONED, labels.codes, codes), labels.others)


def _by_site(read: pd.DataFrame, table: Path) -> tuple[Labels, tuple[Problem, ...]]:
    """Read joined labels; a site has looked for what it names in any picture."""
    texts, sites = texts_of(read, "labels"), texts_of(read, "site")
    split = {text: _parts(text, read, table) for text in dict.fromkeys(texts)}
    vocabulary = wary(label for parts in split.values() for label in parts)
    parts = {site: np.flatnonzero(sites == site) for site in dict.fromkeys(sites)}
    back = np.argsort(np.concatenate(list(parts.values())))
    some = [named(texts[rows], vocabulary, split=split.__getitem__) for rows in parts.values()]
    labels = Labels(
        np.vstack([one.codes for one in some])[back],
        np.concatenate([one.others for one in some])[back],
    )
    return labels, near_findings(labels, vocabulary)


def _parts(text: str, read: pd.DataFrame, table: Path) -> tuple[str, ...]:
    """Split a cell of labels.

    Raises:
        DatasetError: it holds an answer or a sentence, which are no names of findings.
    """
    parts = (text,) if _means(text) else parted(text)
    for label in parts:
        said = label.lower() in (*WORDS, *NOTHING) or ":" in text
        if said or len(label.split()) > _LONGEST:
            row = read.index[int(np.argmax(texts_of(read, "labels") == text))] + 2
            raise DatasetError(
                f"Labels are names of findings, such as 'Edema|Mass' or 'No Finding'; {table.name} "
                f"row {row} has '{text[:80]}'. Correct it, or use one column per finding with 1 "
                "and 0."
            )
    return parts


def _care(read: pd.DataFrame) -> tuple[Texts, NDArray[np.bool_]]:
    """Return why pictures are unfit, n texts, and whose labels are not trusted, n."""
    tier = translate(texts_of(read, "tier"), lambda word: "" if word in ("A", "a") else word)
    conflict = translate(texts_of(read, "conflict"), lambda word: answer(word) == POSITIVE)
    unfit = np.where(conflict.astype(np.bool_) & (tier == ""), "labels in conflict", tier).astype(
        object
    )
    words = translate(tier, lambda word: "label" in word.lower() or "conflict" in word.lower())
    return unfit, (conflict | words).astype(np.bool_)


def _problems(
    read: pd.DataFrame, labels: Labels, mistrusted: NDArray[np.bool_]
) -> tuple[Problem, ...]:
    places = texts_of(read, "path")
    silent = places[(labels.codes == UNMENTIONED).all(axis=1) & (labels.others == "")]
    advice = "; write 'No Finding' where a reader found nothing"
    return (
        *Problem.of("labels in conflict", places[mistrusted]),
        *Problem.of("no column of views", (), 0 if "view" in read else len(places)),
        *Problem.of("pictures without labels", silent, advice=advice),
    )
