"""Co-occurrence matrices as files; the package brings that of NIH ChestX-ray14."""

from __future__ import annotations

from pathlib import Path

import roentmod
from roentmod.documents import read_document
from roentmod.errors import DatasetError, InputError
from roentmod.science.cooccurrence import CoOccurrence
from roentmod.store import write_json

__all__ = ["DEFAULT", "load_cooccurrence", "save_cooccurrence"]

DEFAULT = Path(roentmod.__file__).parent / "data" / "cooccurrence_nih.json"


def load_cooccurrence(path: Path | None = None) -> CoOccurrence:
    """Return the matrix of a JSON file; None is the one the package brings.

    That one counts the labels of the 112,120 images of NIH ChestX-ray14
    (``training/cooccurrence.py``). They were mined from reports and err, both ways.

    Raises:
        DatasetError: no such file, no JSON, or no matrix.
    """
    place = path or DEFAULT
    try:
        return CoOccurrence.from_json(read_document(place))
    except (FileNotFoundError, InputError) as error:
        raise DatasetError(
            f"A co-occurrence matrix is a JSON file; reading {place.name} gave: {error}. Check the "
            "path, or make it with roentmod cooccurrence."
        ) from error


def save_cooccurrence(matrix: CoOccurrence, path: Path) -> None:
    """Write a matrix as JSON, whole or not at all.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    write_json(path, matrix.to_json())
