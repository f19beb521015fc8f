"""The training set in the forms that other libraries read: WebDataset shards, Hugging Face folder.

Both are made from the manifest at will, and hold only rows of status "ok".
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from roentmod.errors import DatasetError
from roentmod.imaging.provenance import STATEMENT
from roentmod.jobs.augment.manifest import check, labels_of
from roentmod.jobs.augment.shards import SHARDS, Shards
from roentmod.store import as_name, atomic, read_bytes

__all__ = ["Form", "check_form", "export"]

Form = Literal["webdataset", "huggingface"]
_HUB = {"": "train", "val": "validation"}


def check_form(form: str) -> None:
    """Refuse an unknown form.

    Raises:
        DatasetError: with those that there are.
    """
    if form not in get_args(Form):
        raise DatasetError(f"Forms are {', '.join(get_args(Form))}; got '{form}'. Name one.")


def export(folder: Path, form: Form, *, shard: int = 1000) -> Path:
    """Write a finished training set in another form, and return the new folder in it.

    ``webdataset/SPLIT-00000.tar`` holds, for each key, a ``.png`` and a ``.json`` with the facts of
    its row, its edit and its labels (null: unlabelled). ``huggingface/`` is what
    ``datasets.load_dataset("imagefolder", data_dir=...)`` reads: a folder per split with
    ``metadata.parquet``; pictures are hard links where the disk has them. Of a set whose pictures
    are in shards, it is ``SPLIT-00000.parquet`` with the pictures in it, which ``load_dataset``
    reads as well. The same set gives the same bytes.

    Args:
        folder: the run directory of `run`.
        form: the form.
        shard: pictures per shard or folder, at most.

    Raises:
        DatasetError: `check` refuses the manifest, or an unknown form.
    """
    writers: dict[Form, Callable[[pd.DataFrame, Path, Path, int], None]] = {
        "webdataset": _tars,
        "huggingface": _hugging_face,
    }
    check_form(form)
    if shard < 1:
        raise DatasetError(f"A shard has 1 picture or more; got {shard}. Give another number.")
    table = check(folder, hashes=True)
    target, part = folder / form, folder / f".{form}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    writers[form](table[table["status"] == "ok"], folder, part, shard)
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)
    return target


def _tars(made: pd.DataFrame, folder: Path, target: Path, count: int) -> None:
    _pack(made, folder, Shards(target, "webdataset", labels_of(made), count=count))


def _pack(made: pd.DataFrame, folder: Path, shards: Shards) -> None:
    for row in made.to_dict("records"):
        shards.add({str(k): v for k, v in row.items()}, read_bytes(folder / row["path"]))
    shards.close()


def _hugging_face(made: pd.DataFrame, folder: Path, target: Path, count: int) -> None:
    named = made.assign(split=made["split"].map(lambda name: _HUB.get(name, name)))
    if made["path"].str.startswith(f"{SHARDS}/").any():
        _pack(named, folder, Shards(target, "parquet", labels_of(made), count=count))
    else:
        _image_folder(made, folder, target, count)
    with atomic(target / "README.md") as part:
        part.write_text("\n".join(_card(made)) + "\n", encoding="utf-8", newline="\n")


def _image_folder(made: pd.DataFrame, folder: Path, target: Path, count: int) -> None:
    for split, rows in made.groupby("split", sort=False):
        place = target / as_name(_HUB.get(str(split), str(split)))
        names = [f"{n // count:05d}/{name}.png" for n, name in enumerate(rows["image_id"])]
        for source, name in zip(rows["path"], names, strict=True):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            _link(folder / source, place / name)
        table = rows.drop(columns="path")
        table.insert(0, "file_name", names)
        with atomic(place / "metadata.parquet") as part:
            table.to_parquet(part, index=False)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _card(made: pd.DataFrame) -> Iterator[str]:
    yield from ("---", "tags:", "- medical", "- chest-x-ray", "- synthetic", "---", "")
    yield from ("# Chest radiographs with findings added", "")
    yield f"{STATEMENT} Rows of arm `baseline` are the radiographs before editing."
    yield "Labels are in [0, 1]; a missing one is unknown. A patient is in one split."
    yield ""
    yield "| split | arm | pictures | patients |"
    yield "|---|---|---|---|"
    for (split, arm), rows in made.groupby(["split", "arm"], sort=True):
        patients = rows["patient_id"].nunique()
        yield f"| {split or 'none'} | {arm} | {len(rows)} | {patients} |"
