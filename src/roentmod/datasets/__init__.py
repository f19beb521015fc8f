"""Data sets of chest radiographs, each brought to one table.

`load` reads NIH ChestX-ray14, CheXpert, MIMIC-CXR-JPG, PadChest, VinDr-CXR, a plain folder with a
CSV, or draws phantoms; `baselines` and `positives` choose from it; `with_validation` deals training
patients to a validation split where a set has none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from roentmod.datasets import chexpert, folder, mimic, nih, padchest, phantoms, vindr
from roentmod.datasets.select import Selection, baselines, positives, with_validation
from roentmod.datasets.table import PHANTOMS, Dataset, Draft, Problem, build
from roentmod.errors import DatasetError

__all__ = [
    "NAMES",
    "Dataset",
    "Problem",
    "Selection",
    "baselines",
    "load",
    "positives",
    "with_validation",
]

_PUBLISHED = {
    "nih": nih,
    "chexpert": chexpert,
    "mimic-cxr-jpg": mimic,
    "padchest": padchest,
    "vindr-cxr": vindr,
}
NAMES = (*_PUBLISHED, "folder", PHANTOMS)


def load(spec: str | Path, *, images: Path | None = None, check_files: bool = True) -> Dataset:
    """Load a data set.

    Args:
        spec: a folder, whose kind its files tell, or a CSV of the plain kind; or "name:folder" with
            a name of `NAMES`; or "phantoms:N" or "phantoms:N:seed".
        images: where the pictures are, if not in the folder.
        check_files: look for every file, and for files with the same bytes. Without it, pictures
            are taken to be where the published set has them.

    Raises:
        DatasetError: no such folder or kind, a malformed table, an id given twice with different
            labels, or none of the pictures is there.
    """
    name, rest = _parts(spec)
    if name == PHANTOMS:
        return build(phantoms.draft(rest), check_files=False)
    place = Path(rest).expanduser().absolute()
    pictures = None if images is None else Path(images).expanduser().absolute()
    if not place.exists():
        raise DatasetError(f"A data set is a folder; {place} does not exist. Check the path.")
    if place.is_file():
        draft = folder.draft(place.parent, pictures, table=place)
    else:
        draft = _reader(name or _kind(place))(place, pictures, check_files)
    return build(draft, check_files=check_files)


def _parts(spec: str | Path) -> tuple[str, str]:
    """Split "name:rest"; the name is "" for a path, which may hold a colon itself."""
    if isinstance(spec, Path) or ":" not in spec:
        return "", str(spec)
    name, _, rest = spec.partition(":")
    if name.lower() in NAMES:
        return name.lower(), rest
    if Path(spec).exists():
        return "", spec
    raise DatasetError(
        f"Data sets are given as a folder or name:folder, with a name of {', '.join(NAMES)}; got "
        f"'{spec}'. Check the name or the path."
    )


def _reader(kind: str) -> Callable[[Path, Path | None, bool], Draft]:
    if kind == "folder":
        return _plain
    module = _PUBLISHED[kind]
    return lambda place, images, search: module.draft(place, images, search=search)


def _plain(place: Path, images: Path | None, search: bool) -> Draft:
    table = folder.table_of(place)
    if table is None:
        raise DatasetError(
            f"A plain folder has an index.csv with a column 'path'; {place} has none. Write one."
        )
    return folder.draft(place, images, table=table)


def _kind(place: Path) -> str:
    """Return the kind of a folder, by its files.

    Raises:
        DatasetError: it is of none.
    """
    for name, module in _PUBLISHED.items():
        if module.recognises(place):
            return name
    if folder.table_of(place) is not None:
        return "folder"
    raise DatasetError(
        f"A data set's folder holds the published table of {', '.join(_PUBLISHED)}, or an "
        f"index.csv with a column 'path'; {place} has none. Name the folder with the table."
    )
