"""One table for all data sets, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.anatomy import Anatomy
from roentmod.datasets import fields, files
from roentmod.datasets.labels import NAMES, STATES, Labels, Texts, Vocabulary, joined, others_of
from roentmod.datasets.phantom import Phantom, phantom
from roentmod.datasets.sheets import Reading
from roentmod.domain import NO_FINDING
from roentmod.errors import DatasetError
from roentmod.imaging import read
from roentmod.imaging.marks import screened
from roentmod.plans.parts import Ages, BurnedIn
from roentmod.radiograph import Radiograph, View
from roentmod.store import canonical_hash, pseudonym

__all__ = [
    "PHANTOMS",
    "Dataset",
    "Draft",
    "Part",
    "Problem",
    "build",
    "leaking",
    "near_findings",
    "pseudonymous",
    "screening",
]

PHANTOMS = "phantoms"
_SHOWN = 3
_SCREENS = tuple(BurnedIn.model_fields)
_VIEWS: dict[str, View] = {"PA": "PA", "AP": "AP"}
_FACTS = (
    "image_id", "path", "patient_id", "view", "age", "sex", "split", "site", "unfit", "origin",
)  # fmt: skip

# What each kind of problem means, and what to do.
_REMEDIES = {
    "files in several places": "Not where the table says, and several elsewhere have the name: left"
    " out of selections. Correct the paths, or remove the wrong files.",
    "impossible ages": f"Ages lie between 0 and {fields.OLDEST}: these count as unknown.",
    "unknown views": "Whether they are frontal is not known: they are left out of selections.",
    "no column of views": "All pictures are taken to be frontal.",
    "unread columns": "Columns that are no known field and hold no labels: not used.",
    "labels near a finding": "They hold a finding's name or nearly spell it, and do not say plainly"
    " that it is there: it counts as uncertain. Correct them.",
    "unknown labels": "The catalogue lacks {lacking} labels of this set: kept in other_labels, and "
    "such pictures are not 'no finding'.",
    "contradicting labels": "They are said to show a finding and none: never chosen as baselines.",
    "labels in conflict": "The table says so: what their labels name is uncertain, the rest "
    "unmentioned.",
    "pictures without labels": "Nothing is known of them{advice}.",
    "nothing said of 'No Finding'": "No picture can be a baseline: say 'No Finding' where a reader "
    "found nothing.",
    "readers missing": "Fewer than three readers: two of two make a positive, one of two is "
    "uncertain.",
    "duplicated ids": "Their rows agree; the first is kept.",
    "unknown patients": "The table does not name their patients: each counts as another patient.",
    "leaking splits": "A patient belongs to one split: selections by these splits are refused.",
    "no validation split": 'A hash chose {share:.0%} of the training patients for "val".',
    "missing files": "Not found under {root}: left out of selections.",
    "facts that predict labels": "A model can learn them in place of the picture: compare within "
    "source and view, or match (roentmod.datasets.match).",
    "duplicated files": "The same picture under several ids: count it once, and see that labels "
    "agree.",
}


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

    @classmethod
    def of(
        cls, kind: str, examples: Sequence[Any] | Texts, count: int | None = None, **facts: object
    ) -> tuple[Problem, ...]:
        """Return a problem of a known kind; none where nothing is concerned.

        Args:
            kind: which.
            examples: all of them; the first are shown.
            count: how many pictures, where each example is not one.
            facts: for the text of the remedy.
        """
        count = len(examples) if count is None else count
        shown = tuple(str(one) for one in examples[:_SHOWN])
        return (cls(kind, count, shown, _REMEDIES[kind].format(**facts)),) if count else ()

    def __str__(self) -> str:
        examples = f" ({', '.join(self.examples)})" if self.examples else ""
        return f"{self.kind}: {self.count:,}{examples}. {self.remedy}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Radiographs with what is known of them; it pickles without its files.

    Attributes:
        name: which set ("nih", "chexpert", ..., "folder", "phantoms").
        root: the folder it was loaded from; empty for phantoms.
        table: one row per picture: `image_id`, `path` (absolute, "" for phantoms), `patient_id`,
            `view` ("PA", "AP", "frontal" where it is one of these, "lateral", "other", "unknown"),
            `age` (years, NaN unknown), `sex` ("F", "M", ""), `split` ("" where there is none),
            `site`; one column per finding (canonical names, "No Finding" among them), categorical
            "positive", "negative", "uncertain" or "unmentioned"; `other_labels` (what the
            catalogue lacks, joined by "|", a "?" ends an uncertain one); `unfit` (why the picture
            must not be used, "" where it may).
        problems: what was found wrong.
        readings: how its tables were understood.
        ages: whom selections take that ask for adults: "adults", those of "unknown" age too, or
            "all".
        hidden: ids and sites are pseudonyms (`roentmod.datasets.pseudonymous`), and what is written
            of the set names neither folders nor files.
        refuse_burned_in: radiographs with burned-in text are not read (`imaging.marks.screened`).
        mask_burned_in: such text is covered beside the body.
    """

    name: str
    root: Path
    table: pd.DataFrame
    problems: tuple[Problem, ...] = ()
    readings: tuple[Reading, ...] = ()
    ages: Ages = "adults"
    hidden: bool = False
    refuse_burned_in: bool = False
    mask_burned_in: bool = False

    def __len__(self) -> int:
        return len(self.table)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_rows", "_ids")}

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.table["image_id"])}

    def describe(self) -> dict[str, str]:
        """Return name and root as records state them, and ages where not adults.

        Where names are hidden, a hash of all ids stands for the root.
        """
        words: dict[str, Any] = {} if self.ages == "adults" else {"ages": self.ages}
        words |= {name: True for name in _SCREENS if getattr(self, name)}
        if not self.hidden:
            return {"name": self.name, "root": str(self.root), **words}
        return {"name": self.name, "ids_sha256": self._ids, **words}

    @cached_property
    def _ids(self) -> str:
        return canonical_hash(sorted(self.table["image_id"]))

    def radiograph(self, image_id: str) -> Radiograph:
        """Read one picture; a phantom is drawn.

        Raises:
            DatasetError: no picture has that id.
            InputError: its file is missing, unreadable or unsuitable, or text is burned into it and
                such are refused.
        """
        row = self._row(image_id)
        if self.name == PHANTOMS:
            return _drawn(image_id).radiograph
        path = str(self.table["path"].iloc[row])
        shown = image_id if self.hidden else None
        found = self._screened(read(path, name=shown, quiet=True))
        view = _VIEWS.get(str(self.table["view"].iloc[row]), "")
        return replace(found, view=view) if view and not found.view else found

    def _screened(self, radiograph: Radiograph) -> Radiograph:
        refuse, mask = self.refuse_burned_in, self.mask_burned_in
        return screened(radiograph, refuse=refuse, mask=mask) if refuse or mask else radiograph

    def anatomy(self, image_id: str) -> Anatomy | None:
        """Return the known outlines of a phantom, None for any other picture.

        Raises:
            DatasetError: no picture has that id.
        """
        self._row(image_id)
        return _drawn(image_id).anatomy if self.name == PHANTOMS else None

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


def screening(data: Dataset, chosen: BurnedIn) -> Dataset:
    """Return a data set whose radiographs are refused or masked as chosen, or as before."""
    return replace(data, **{n: getattr(data, n) or getattr(chosen, n) for n in _SCREENS})


def pseudonymous(data: Dataset) -> Dataset:
    """Return a data set whose ids and sites are salted hashes (`roentmod.store.pseudonym`).

    What is none of a patient stays: phantoms, pseudonyms, the name of a published set as the site.
    With one salt a patient has one pseudonym everywhere. `table["path"]` still leads to the files.

    Raises:
        RunError: the salt cannot be read or made.
    """
    if data.name == PHANTOMS:
        return data
    columns = {}
    for column, kind in {"image_id": "i", "patient_id": "p", "site": "s"}.items():
        values = data.table[column].astype(str)
        columns[column] = values.map(
            {v: v if v in ("", data.name) else pseudonym(v, kind) for v in set(values)}
        )
    return replace(data, table=data.table.assign(**columns), hidden=True)


@lru_cache(maxsize=4)
def _drawn(image_id: str) -> Phantom:
    return phantom(int(image_id.rpartition("-")[2]))


@dataclass(frozen=True, eq=False)
class Part:
    """The n pictures of one table, as the source has them.

    Attributes:
        facts: texts in the source's words, n rows: `image_id` ("" where the path is the id),
            `path`, `origin` (table and row, for messages), and those of `patient_id`, `view`,
            `age`, `sex`, `split`, `site` and `unfit` (why a picture must not be used) that the
            source knows.
        labels: what the source says of them.
        problems: what the loader found wrong.
        reading: how its table was understood.
    """

    facts: pd.DataFrame
    labels: Labels
    problems: tuple[Problem, ...] = ()
    reading: Reading | None = None


@dataclass(frozen=True, eq=False)
class Draft:
    """The reading of a set by its loader.

    Attributes:
        name: which set.
        root: the folder it came from.
        parts: its tables, in order.
        below: the folder under `root` where relative paths start, if pictures are not elsewhere.
        tail: how many last parts of a path name its picture, which may lie in any folder; 0: each
            lies where its path says.
    """

    name: str
    root: Path
    parts: Sequence[Part]
    below: str = ""
    tail: int = 0


def build(draft: Draft, images: Path | None = None, *, check_files: bool) -> Dataset:
    """Bring a draft to the one form, and look for what is wrong with it.

    Args:
        draft: what a loader read.
        images: where the pictures are, if not where the draft says.
        check_files: look for every file, and for files with the same bytes.

    Raises:
        DatasetError: ids that are given twice with different facts, or no file at all is there.
    """
    drawn = draft.name == PHANTOMS
    parts = [part.facts.reindex(columns=pd.Index(_FACTS), fill_value="") for part in draft.parts]
    facts = pd.concat(parts, ignore_index=True)
    labels = Labels(
        np.vstack([part.labels.codes for part in draft.parts]),
        np.concatenate([part.labels.others for part in draft.parts]),
    )
    problems = [problem for part in draft.parts for problem in part.problems]
    facts["image_id"] = facts["image_id"].where(facts["image_id"] != "", facts["path"])
    unclear = () if drawn else _find_files(facts, draft, images, check_files)
    ages, impossible = fields.years(facts["age"].to_numpy(dtype=object))
    table = _table(facts, labels, ages)
    problems += [*unclear, *_odd_facts(table, facts, labels, impossible)]
    table, doubles = _without_doubles(table, facts)
    unknown = table["patient_id"] == ""
    table.loc[unknown, "patient_id"] = table.loc[unknown, "image_id"]
    problems += [*doubles, *Problem.of("unknown patients", _ids(table, unknown)), *_leaks(table)]
    problems += () if drawn else _file_problems(table, draft.root, check_files, unclear)
    readings = tuple(part.reading for part in draft.parts if part.reading)
    return Dataset(draft.name, draft.root, table, tuple(problems), readings)


def near_findings(labels: Labels, vocabulary: Vocabulary) -> tuple[Problem, ...]:
    """Return as a problem the labels that a `labels.wary` vocabulary found to resemble findings."""
    rows = [
        {label.rstrip("?").lower() for label in joined(text)} & vocabulary.either.keys()
        for text in labels.others
    ]
    shown = [f"'{label}' ({' or '.join(names)})" for label, names in vocabulary.either.items()]
    return Problem.of("labels near a finding", shown, sum(map(bool, rows)))


def leaking(table: pd.DataFrame, split: str | None = None) -> pd.DataFrame:
    """Return the rows of patients who are in several splits (one of them `split`, if given)."""
    inside = table[table["split"] != ""]
    splits = inside.groupby("patient_id")["split"].nunique()
    rows = inside[inside["patient_id"].isin(splits.index[splits > 1])]
    if split is not None:
        touched = rows.loc[rows["split"] == split, "patient_id"]
        rows = rows[rows["patient_id"].isin(touched)]
    return rows


def _find_files(
    facts: pd.DataFrame, draft: Draft, images: Path | None, search: bool
) -> tuple[Problem, ...]:
    """Make the paths of `facts` absolute; report names that lie in several places."""
    paths = files.join(images or draft.root / draft.below, facts["path"].to_numpy(dtype=object))
    several: list[str] = []
    if draft.tail and search:
        paths, several = files.locate(images or draft.root, paths, draft.tail)
    facts["path"] = paths
    return Problem.of("files in several places", several)


def _table(facts: pd.DataFrame, labels: Labels, ages: NDArray[np.float64]) -> pd.DataFrame:
    readings = {"view": fields.view, "sex": fields.sex, "split": fields.split_name}
    known = {name: fields.translate(facts[name], reading) for name, reading in readings.items()}
    states = pd.CategoricalDtype(list(STATES))
    findings = {n: pd.Categorical.from_codes(labels.of(n), dtype=states) for n in NAMES}
    table = facts.assign(**known, age=ages, **findings, other_labels=labels.others)
    return table.drop(columns=["unfit", "origin"]).assign(unfit=facts["unfit"])


def _ids(table: pd.DataFrame, rows: Any) -> Texts:
    return np.asarray(table.loc[rows, "image_id"], dtype=object)


def _odd_facts(
    table: pd.DataFrame, facts: pd.DataFrame, labels: Labels, impossible: NDArray[np.bool_]
) -> tuple[Problem, ...]:
    """Report what no reader could have meant, or the catalogue lacks."""
    ages = facts.loc[impossible, ["image_id", "age"]].to_numpy()
    views = facts.loc[table["view"] == "unknown", "view"].value_counts()
    others = others_of(labels.others).most_common()
    silent = (table[NO_FINDING.name] == "unmentioned").all()
    return (
        *Problem.of("impossible ages", [f"{name}: '{age}'" for name, age in ages]),
        *Problem.of("unknown views", [f"'{v}' {n:,}" for v, n in views.items()], int(views.sum())),
        *Problem.of(
            "unknown labels",
            [f"{label} {number:,}" for label, number in others],
            int((labels.others != "").sum()),
            lacking=len(others),
        ),
        *Problem.of("contradicting labels", _ids(table, labels.contradicting)),
        *Problem.of("nothing said of 'No Finding'", _ids(table, slice(None) if silent else [])),
    )


def _without_doubles(
    table: pd.DataFrame, facts: pd.DataFrame
) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """Keep the first row of each id.

    Raises:
        DatasetError: rows of one id differ in anything.
    """
    double = table["image_id"].duplicated(keep=False)
    if not double.any():
        return table, ()
    some = table.loc[double]
    some = some.assign(path=some["path"].map(os.path.normpath))
    variants = some.drop_duplicates().groupby("image_id").size()
    differing = variants.index[variants > 1]
    if len(differing):
        origins = facts.groupby("image_id")["origin"]
        rows = [
            f"'{name}' in {' and '.join(origins.get_group(name)[:_SHOWN])}"
            for name in differing[:_SHOWN]
        ]
        raise DatasetError(
            f"An image_id stands for one picture; {len(differing)} are given again with another "
            f"file, other labels or facts: {'; '.join(rows)}. Remove the wrong rows, or call the "
            "column patient_id where it names patients."
        )
    kept = table.drop_duplicates("image_id").reset_index(drop=True)
    names = some["image_id"].drop_duplicates().to_numpy(dtype=object)
    return kept, Problem.of("duplicated ids", names, len(table) - len(kept))


def _leaks(table: pd.DataFrame) -> tuple[Problem, ...]:
    splits = leaking(table).groupby("patient_id", sort=False)["split"].unique()
    examples = [f"{patient} in {' and '.join(names)}" for patient, names in splits.items()]
    return Problem.of("leaking splits", examples)


def _file_problems(
    table: pd.DataFrame, root: Path, check_files: bool, unclear: tuple[Problem, ...]
) -> tuple[Problem, ...]:
    names, paths = (table[column].to_numpy(dtype=object) for column in ("image_id", "path"))
    sizes = files.sizes(paths) if check_files else np.zeros(len(paths), np.int64)
    gone = sizes < 0
    if gone.all():
        why = "".join(f" ({one.kind}: {one.count:,})" for one in unclear)
        raise DatasetError(
            f"Pictures lie where the table says; none of {len(table):,} was found, the first "
            f"being {paths[0]}{why}. Name the pictures' folder: --images, or images=... in Python."
        )
    table.loc[gone, "unfit"] = "missing file"
    copies = files.copies(paths, sizes) if check_files else files.named_twice(paths)
    alike = [" = ".join(str(names[i]) for i in group) for group in copies]
    return (
        *Problem.of("missing files", paths[gone], root=root),
        *Problem.of("duplicated files", alike, sum(len(group) - 1 for group in copies)),
    )
