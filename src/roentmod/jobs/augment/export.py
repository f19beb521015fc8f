"""The training set in the forms that other libraries read: WebDataset shards, Hugging Face folder.

Both are made from the manifest at will, and hold only rows of status "ok".
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from roentmod.errors import DatasetError
from roentmod.imaging.provenance import STATEMENT
from roentmod.jobs.augment.manifest import COLUMNS, check, labels_of
from roentmod.store import atomic

__all__ = ["Form", "export"]

Form = Literal["webdataset", "huggingface"]
_HUB = {"": "train", "val": "validation"}


def export(folder: Path, form: Form, *, shard: int = 1000) -> Path:
    """Write a finished training set in another form, and return the new folder in it.

    ``webdataset/SPLIT-00000.tar`` holds, for each key, a ``.png`` and a ``.json`` with the facts of
    its row, its edit and its labels (null: unlabelled). ``huggingface/`` is what
    ``datasets.load_dataset("imagefolder", data_dir=...)`` reads: a folder a split with
    ``metadata.parquet``; pictures are hard links where the disk has them. The same set gives the
    same bytes.

    Args:
        folder: the run directory of `run`.
        form: which form.
        shard: pictures a shard or folder, at most.

    Raises:
        DatasetError: `check` refuses the manifest, or an unknown form.
    """
    writers: dict[str, Callable[[pd.DataFrame, Path, Path], None]] = {
        "webdataset": _tars,
        "huggingface": _image_folder,
    }
    if form not in writers or shard < 1:
        raise DatasetError(
            f"Forms are {', '.join(writers)}, of shards of 1 or more; got '{form}', {shard}."
        )
    table = check(folder)
    made = table[table["status"] == "ok"]
    number = made.groupby("split", sort=False).cumcount() // shard
    made = made.assign(_shard=number.map("{:05d}".format))
    target, part = folder / form, folder / f".{form}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    writers[form](made, folder, part)
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)
    return target


def _tars(made: pd.DataFrame, folder: Path, target: Path) -> None:
    for (split, number), rows in made.groupby(["split", "_shard"], sort=False):
        name = target / f"{split or 'all'}-{number}.tar"
        with atomic(name) as part, tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row in rows.to_dict("records"):
                _add(tar, f"{row['image_id']}.png", (folder / row["path"]).read_bytes())
                said = json.dumps(_facts(row, labels_of(rows)), sort_keys=True)
                _add(tar, f"{row['image_id']}.json", said.encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # The default entry has no time, owner or machine, so that bytes repeat.
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _facts(row: dict[Any, Any], columns: list[str]) -> dict[str, Any]:
    heads = [name for name in columns if name != "_shard"]
    facts = {name: _plain(row[name]) for name in COLUMNS if name not in ("path", "edit")}
    synthetic = row["arm"] != "baseline"
    return facts | {
        "edit": json.loads(row["edit"]) if row["edit"] else None,
        "labels": {name: _plain(row[name]) for name in heads},
        "synthetic": "YES" if synthetic else "NO",
        "statement": STATEMENT if synthetic else "",
    }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _image_folder(made: pd.DataFrame, folder: Path, target: Path) -> None:
    for split, rows in made.groupby("split", sort=False):
        place = target / _HUB.get(str(split), str(split))
        names = [f"{s}/{i}.png" for s, i in zip(rows["_shard"], rows["image_id"], strict=True)]
        for source, name in zip(rows["path"], names, strict=True):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            _link(folder / source, place / name)
        table = rows.drop(columns=["path", "_shard"])
        table.insert(0, "file_name", names)
        with atomic(place / "metadata.parquet") as part:
            table.to_parquet(part, index=False)
    with atomic(target / "README.md") as part:
        part.write_text("\n".join(_card(made)) + "\n", encoding="utf-8", newline="\n")


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
