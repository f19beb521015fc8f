"""Study files: one YAML mapping, checked as a whole before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roentmod.documents import read_document
from roentmod.errors import InputError, StudyError
from roentmod.plans.study import StudyPlan

__all__ = ["read", "spec_of"]


def read(path: Path) -> StudyPlan:
    """Return the study that a YAML file describes.

    Raises:
        StudyError: no such file, no YAML, an unknown word, or a value that does not fit; the
            message names the first place.
        RoentModError: a plan of a stage that makes no sense.
    """
    try:
        values = read_document(path)
    except FileNotFoundError as error:
        raise StudyError(f"A study is a YAML file; got '{path}'. Check the path.") from error
    except InputError as error:
        raise StudyError(f"A study is a YAML file. {error}") from error
    try:
        return StudyPlan.of(values)
    except StudyError as error:
        raise StudyError(f"{path.name}: {error}") from error


def spec_of(study: str | Path | Mapping[str, Any] | StudyPlan) -> StudyPlan:
    """Return a study: of a file, of what one says, or itself.

    Raises:
        RoentModError: as in `read`.
    """
    return read(Path(study)) if isinstance(study, str | Path) else StudyPlan.of(study)
