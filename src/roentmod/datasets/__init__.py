"""Data sets of chest radiographs, each brought to one table.

`load` reads NIH ChestX-ray14, CheXpert, MIMIC-CXR-JPG, PadChest, VinDr-CXR, a plain folder with a
CSV, or draws phantoms; `baselines` and `positives` choose from it, `match` gives positives
their negatives; `predictors` says which facts beside the picture tell a label; `with_validation`
assigns training patients to a validation split where a set has none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from roentmod.datasets import folder, phantoms
from roentmod.datasets.files import PICTURES, check_text
from roentmod.datasets.index import begin_index, write_index
from roentmod.datasets.matching import (
    PREDICTS,
    burned_in,
    fact_auc,
    match,
    predictors,
    sizes,
    telling,
)
from roentmod.datasets.published import SOURCES
from roentmod.datasets.select import Selection, baselines, hosts, positives, with_validation
from roentmod.datasets.table import (
    PHANTOMS,
    Dataset,
    Draft,
    Problem,
    build,
    pseudonymous,
    screening,
)
from roentmod.errors import DatasetError
from roentmod.plans.parts import Ages

__all__ = [
    "NAMES",
    "PREDICTS",
    "Dataset",
    "Problem",
    "Selection",
    "baselines",
    "begin_index",
    "burned_in",
    "fact_auc",
    "hosts",
    "load",
    "match",
    "positives",
    "predictors",
    "pseudonymous",
    "screening",
    "sizes",
    "telling",
    "with_validation",
    "write_index",
]

NAMES = (*SOURCES, "folder", PHANTOMS)


def load(
    spec: str | Path,
    *,
    images: Path | None = None,
    check_files: bool = True,
    ages: Ages = "adults",
) -> Dataset:
    """Load a data set.

    Args:
        spec: a folder, whose kind its files tell, or a CSV of the plain kind; or "name:folder" with
            a name of `NAMES`; or "phantoms:N" or "phantoms:N:seed".
        images: where the pictures are, if not in the folder; it stands for ``images/`` of NIH and
            ``files/`` of MIMIC-CXR-JPG.
        check_files: look for every file, and for files with the same bytes. Without it, pictures
            are taken to be where the published set has them.
        ages: whom selections take that ask for adults, see `Dataset`.

    Raises:
        DatasetError: no such folder or kind, a malformed table, an id given twice with different
            files or labels, or none of the pictures is there.
    """
    name, rest = _parts(spec)
    if name == PHANTOMS:
        return build(phantoms.draft(rest), check_files=False)
    place = Path(rest).expanduser().absolute()
    pictures = None if images is None else Path(images).expanduser().absolute()
    check_text(place)
    check_text(pictures or place)
    if not place.exists():
        raise DatasetError(f"A data set is a folder; {place} does not exist. Check the path.")
    return replace(build(_read(place, name), pictures, check_files=check_files), ages=ages)


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


def _read(place: Path, name: str) -> Draft:
    """Read a table, or a folder of the kind `name`; its files tell which where that is "".

    Raises:
        DatasetError: it is of no kind.
    """
    if place.suffix.lower() in PICTURES and place.is_file():
        raise DatasetError(
            f"A data set is a folder or a table; {place.name} is a picture. Name its folder."
        )
    if place.is_file():
        return folder.draft(place.parent, place)
    name = name or next((one for one, source in SOURCES.items() if source.lies_in(place)), "")
    if name in SOURCES:
        return SOURCES[name].read(place)
    table = folder.table_of(place)
    if table is not None:
        return folder.draft(place, table)
    if name:
        raise DatasetError(
            f"A plain folder has an index.csv with a column 'path'; {place} has none. Write one, "
            f"or begin it: roentmod data {place} --init"
        )
    raise DatasetError(
        f"A data set's folder holds the published table of {', '.join(SOURCES)}, or an "
        f"index.csv with a column 'path'; {place} has none. Name the folder with the table, or "
        f"begin one from the pictures' headers: roentmod data {place} --init"
    )
