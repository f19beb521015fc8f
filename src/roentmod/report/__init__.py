"""Reports: sections of text, tables and pictures become one HTML page, and results become JSON.

Nothing is computed here, and nothing is known of audits or trainings: each job says in its
``sections`` what its page shows. The page needs no network, no scripts and no files beside it, and
equal results give equal bytes.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from roentmod.report.page import Page
from roentmod.report.words import readable
from roentmod.store import atomic, write_json

__all__ = ["Page", "as_json", "publish", "write"]


def publish(page: Page, folder: Path, data: object) -> Path:
    """Write `page` as ``report.html`` and `data` as ``report.json`` into `folder`.

    Returns:
        The path of the page.

    Raises:
        OSError: the folder cannot be written.
    """
    path = folder / "report.html"
    write(page, path)
    write_json(folder / "report.json", as_json(data, folder))
    return path


def write(page: Page, path: str | os.PathLike[str]) -> None:
    """Write `page` as one self-contained HTML file to `path`, atomically.

    Raises:
        OSError: the folder of `path` does not exist or cannot be written.
    """
    # Escaping is always on: names of findings, files and endpoints come from outside.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    html = environment.get_template("page.html.j2").render(page=page)
    with atomic(path) as part:
        part.write_bytes(html.encode("utf-8", "backslashreplace"))


def _finalize(value: Any) -> Any:
    """Return what is written for a value: text without control characters."""
    return readable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def as_json(value: Any, folder: Path | None = None) -> Any:
    """Return a result as plain JSON: a table is a list of rows, NaN and infinities are null.

    Paths are text, relative to `folder` if they lie in it; that of a result is left out, as it says
    where the run lies and not what it found.
    """
    if isinstance(value, pd.DataFrame):
        return [as_json(row, folder) for row in value.to_dict("records")]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        folder = getattr(value, "folder", folder)
        names = [field.name for field in dataclasses.fields(value) if field.name != "folder"]
        return {name: as_json(getattr(value, name), folder) for name in names}
    if isinstance(value, Mapping):
        return {str(key): as_json(item, folder) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple | np.ndarray):
        return [as_json(item, folder) for item in value]
    return _scalar(value, folder)


def _scalar(value: Any, folder: Path | None) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, PurePath):
        if folder is not None and value.is_relative_to(folder):
            value = value.relative_to(folder)
        return value.as_posix()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) else str(value)
