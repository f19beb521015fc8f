"""One table for all data sets, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.anatomy import Anatomy
from roentmod.datasets import fields, files
from roentmod.datasets.labels import NAMES, STATES, Labels, Texts, others_of
from roentmod.datasets.phantom import Phantom, phantom
from roentmod.errors import DatasetError
from roentmod.imaging import read
from roentmod.radiograph import Radiograph

__all__ = [
    "PHANTOMS",
    "Dataset",
    "Draft",
    "Problem",
    "build",
    "leaking",
    "origins",
    "several_places",
]

PHANTOMS = "phantoms"
_SHOWN = 3


@dataclass(frozen=True)
class Problem:
    """Something in a data set that a person should know of.

    Attributes:
        kind: which problem ("missing files", "unknown labels", ...).
        count: how many pictures (or patients, where the examples are patients) it concerns.
        examples: the first of them.
        remedy: what it means and what to do, in a sentence.
    """

    kind: str
    count: int
    examples: tuple[str, ...]
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.count:,} ({', '.join(self.examples)}). {self.remedy}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Radiographs with what is known of them.

    Attributes:
        name: which set ("nih", "chexpert", ..., "folder", "phantoms").
        root: the folder it was loaded from; empty for phantoms.
        table: one row a picture: `image_id`, `path` (absolute, "" for phantoms), `patient_id`,
            `view` ("PA", "AP", "frontal" where it is one of these, "lateral", "other", "unknown"),
            `age` (years, NaN unknown), `sex` ("F", "M", ""), `split` ("" where there is none),
            `site`; one column a finding (canonical names, "No Finding" among them), categorical
            "positive", "negative", "uncertain" or "unmentioned"; `other_labels` (what the
            catalogue lacks, joined by "|", a "?" ends an uncertain one); `unfit` (why the picture
            must not be used, "" where it may).
        problems: what was found wrong.
    """

    name: str
    root: Path
    table: pd.DataFrame
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.table["image_id"])}

    def radiograph(self, image_id: str) -> Radiograph:
        """Read one picture; a phantom is drawn.

        Raises:
            DatasetError: no picture has that id.
            InputError: its file is missing, unreadable or unsuitable.
        """
        row = self._row(image_id)
        if self.name == PHANTOMS:
            return _drawn(_seed(image_id)).radiograph
        return read(str(self.table["path"].iloc[row]))

    def anatomy(self, image_id: str) -> Anatomy | None:
        """Return the known outlines of a phantom, None for any other picture.

        Raises:
            DatasetError: no picture has that id.
        """
        self._row(image_id)
        return _drawn(_seed(image_id)).anatomy if self.name == PHANTOMS else None

    def counts(self) -> pd.DataFrame:
        """Return how many pictures are in each state: findings down, `STATES` across."""
        columns = {name: self.table[name].value_counts() for name in NAMES}
        frame = pd.DataFrame(columns).T.reindex(columns=list(STATES)).fillna(0).astype(int)
        frame.columns = pd.Index(list(STATES))
        return frame

    def _row(self, image_id: str) -> int:
        if image_id not in self._rows:
            raise DatasetError(
                f"A picture is named by its image_id in the table of {self.name}, such as "
                f"'{self.table['image_id'].iloc[0]}'; got '{image_id}'. Look it up there."
            )
        return self._rows[image_id]


@lru_cache(maxsize=4)
def _drawn(seed: int) -> Phantom:
    return phantom(seed)


def _seed(image_id: str) -> int:
    return int(image_id.rpartition("-")[2])


@dataclass(frozen=True, eq=False)
class Draft:
    """What a loader read, as the source has it; every array has n texts.

    Attributes:
        name: which set.
        root: the folder it came from.
        image_id: names of the pictures.
        path: absolute paths.
        labels: what the source says of them.
        patient_id: "" where unknown.
        view: in the source's words.
        age: in the source's form.
        sex: in the source's form.
        split: in the source's words.
        site: where the pictures come from.
        unfit: why a picture must not be used, "" where it may.
        origin: table and row of each picture, for messages.
        problems: what the loader itself found.
    """

    name: str
    root: Path
    image_id: Texts
    path: Texts
    labels: Labels
    patient_id: Texts
    view: Texts
    age: Texts
    sex: Texts
    split: Texts
    site: Texts
    unfit: Texts
    origin: Texts
    problems: tuple[Problem, ...] = ()


def origins(table: Path, count: int) -> Texts:
    """Return the table and row of each picture, n texts; the header is row 1."""
    return np.array([f"{table.name} row {row + 2}" for row in range(count)], dtype=object)


def several_places(names: list[str]) -> tuple[Problem, ...]:
    """Return the problem of file names that lie in several places, if there are any."""
    if not names:
        return ()
    remedy = "One name, several files: the first by path is taken. Remove the others."
    return (Problem("files in several places", len(names), tuple(names[:3]), remedy),)


def build(draft: Draft, *, check_files: bool) -> Dataset:
    """Bring a draft to the one form, and look for what is wrong with it.

    Args:
        draft: what a loader read.
        check_files: look for every file, and for files with the same bytes.

    Raises:
        DatasetError: ids that are given twice with different facts, or no file at all is there.
    """
    ages, impossible = fields.years(draft.age)
    problems = [*draft.problems, *_odd_texts(draft, impossible), *_label_problems(draft)]
    table = _table(draft, ages)
    double = table["image_id"].duplicated(keep=False).to_numpy()
    if double.any():
        table, problem = _without_doubles(table, draft, double)
        problems.append(problem)
    unknown = table["patient_id"] == ""
    if unknown.any():
        table.loc[unknown, "patient_id"] = table.loc[unknown, "image_id"]
        remedy = "The table does not name their patients: each counts as a patient of its own."
        problems.append(_problem("unknown patients", _ids(table, unknown.to_numpy()), remedy))
    problems += _leaks(table)
    problems += _file_problems(table, draft.root, check_files) if draft.name != PHANTOMS else []
    return Dataset(draft.name, draft.root, table, tuple(problems))


def leaking(table: pd.DataFrame, split: str | None = None) -> pd.DataFrame:
    """Return the rows of patients who are in several splits (one of them `split`, if given)."""
    inside = table[table["split"] != ""]
    splits = inside.groupby("patient_id")["split"].nunique()
    rows = inside[inside["patient_id"].isin(splits.index[splits > 1])]
    if split is not None:
        touched = rows.loc[rows["split"] == split, "patient_id"]
        rows = rows[rows["patient_id"].isin(touched)]
    return rows


def _table(draft: Draft, ages: NDArray[np.float64]) -> pd.DataFrame:
    states = pd.CategoricalDtype(list(STATES))
    columns: dict[str, object] = {
        "image_id": draft.image_id,
        "path": draft.path,
        "patient_id": draft.patient_id,
        "view": fields.translate(draft.view, fields.view),
        "age": ages,
        "sex": fields.translate(draft.sex, fields.sex),
        "split": fields.translate(draft.split, fields.split_name),
        "site": draft.site,
    }
    for name in NAMES:
        columns[name] = pd.Categorical.from_codes(draft.labels.of(name), dtype=states)
    return pd.DataFrame({**columns, "other_labels": draft.labels.others, "unfit": draft.unfit})


def _problem(kind: str, examples: Sequence[str], remedy: str, count: int | None = None) -> Problem:
    shown = tuple(str(one) for one in examples[:_SHOWN])
    return Problem(kind, len(examples) if count is None else count, shown, remedy)


def _ids(table: pd.DataFrame, rows: NDArray[np.bool_]) -> list[str]:
    return [str(name) for name in table.loc[rows, "image_id"]]


def _odd_texts(draft: Draft, impossible: NDArray[np.bool_]) -> list[Problem]:
    problems = []
    if impossible.any():
        places = np.flatnonzero(impossible)
        said = [f"{draft.image_id[i]}: '{draft.age[i]}'" for i in places]
        remedy = f"Ages lie between 0 and {fields.OLDEST}: these count as unknown."
        problems.append(_problem("impossible ages", said, remedy))
    unknown = fields.translate(draft.view, fields.view) == "unknown"
    if unknown.any():
        words = pd.Series(draft.view[unknown]).value_counts()
        said = [f"'{word}' {number:,}" for word, number in words.items()]
        remedy = "Whether they are frontal is not known: they are left out of selections."
        problems.append(_problem("unknown views", said, remedy, int(unknown.sum())))
    return problems


def _label_problems(draft: Draft) -> list[Problem]:
    problems = []
    others = others_of(draft.labels.others)
    if others:
        said = [f"{label} {number:,}" for label, number in others.most_common()]
        remedy = (
            f"The catalogue lacks {len(others)} labels of this set: kept in other_labels, and such "
            "pictures are not 'no finding'."
        )
        count = int((draft.labels.others != "").sum())
        problems.append(_problem("unknown labels", said, remedy, count))
    both = draft.labels.contradicting
    if both.any():
        remedy = "They are said to show a finding and none: never chosen as baselines."
        problems.append(_problem("contradicting labels", list(draft.image_id[both]), remedy))
    if not (draft.labels.of(NAMES[0]) != STATES.index("unmentioned")).any():
        remedy = "No picture can be a baseline: say 'No Finding' where a reader found nothing."
        problems.append(_problem("nothing said of 'No Finding'", list(draft.image_id), remedy))
    return problems


def _without_doubles(
    table: pd.DataFrame, draft: Draft, double: NDArray[np.bool_]
) -> tuple[pd.DataFrame, Problem]:
    """Keep the first row of each id.

    Raises:
        DatasetError: rows of one id differ in anything but their path.
    """
    facts = [column for column in table.columns if column != "path"]
    some = table.loc[double, facts]
    variants = some.drop_duplicates().groupby("image_id").size()
    differing = [str(name) for name in variants.index[variants > 1]]
    if differing:
        rows = [
            f"'{name}' in {' and '.join(draft.origin[draft.image_id == name][:_SHOWN])}"
            for name in differing[:_SHOWN]
        ]
        raise DatasetError(
            f"An image_id stands for one picture; {len(differing)} are given again with other "
            f"labels or facts: {'; '.join(rows)}. Remove the wrong rows."
        )
    names = [str(name) for name in some["image_id"].unique()]
    remedy = "Their rows agree; the first is kept."
    kept = table.drop_duplicates("image_id").reset_index(drop=True)
    return kept, _problem("duplicated ids", names, remedy, len(table) - len(kept))


def _leaks(table: pd.DataFrame) -> list[Problem]:
    rows = leaking(table)
    if rows.empty:
        return []
    splits = rows.groupby("patient_id", sort=False)["split"].unique()
    said = [f"{patient} in {' and '.join(names)}" for patient, names in splits.items()]
    remedy = "A patient belongs to one split: selections by these splits are refused."
    return [_problem("leaking splits", said, remedy)]


def _file_problems(table: pd.DataFrame, root: Path, check_files: bool) -> list[Problem]:
    paths = table["path"].to_numpy(dtype=object)
    problems = []
    if check_files:
        sizes = files.sizes(paths)
        gone = sizes < 0
        if gone.all():
            raise DatasetError(
                f"Pictures lie where the table says; none of {len(table):,} was found, the first "
                f"being {paths[0]}. Give the pictures' folder as `images`, or check_files=False."
            )
        if gone.any():
            table.loc[gone, "unfit"] = "missing file"
            remedy = f"Not found under {root}: left out of selections."
            problems.append(_problem("missing files", list(paths[gone]), remedy))
        copies = files.copies(paths, sizes)
    else:
        copies = files.named_twice(paths)
    if copies:
        names = table["image_id"].to_numpy(dtype=object)
        said = [" = ".join(str(names[i]) for i in group) for group in copies]
        remedy = "The same picture under several ids: count it once, and see that labels agree."
        number = sum(len(group) - 1 for group in copies)
        problems.append(_problem("duplicated files", said, remedy, number))
    return problems
