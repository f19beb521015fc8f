"""Reports: tables and provenance of an audit or validation become one HTML page, or one JSON value.

Nothing is computed here: every number stands in the result. The page needs no network, no scripts
and no files beside it, and equal results give equal bytes.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pandas as pd

from roentmod.report import validation
from roentmod.report.page import content
from roentmod.store import atomic, write_json

if TYPE_CHECKING:
    from roentmod.audit import AuditResult
    from roentmod.validation import ValidationResult

__all__ = ["as_json", "publish", "publish_validation", "write", "write_validation"]


def publish(result: AuditResult) -> Path:
    """Write ``report.html``, ``report.json`` and ``effects.parquet`` into the audit's folder.

    The last holds the cells of all classifiers in one table.

    Returns:
        The path of the page.

    Raises:
        OSError: the folder cannot be written.
    """
    page = result.folder / "report.html"
    write(result, page)
    write_json(result.folder / "report.json", as_json(result))
    cells = [one.cells.assign(classifier=one.name) for one in result.classifiers]
    with atomic(result.folder / "effects.parquet") as part:
        pd.concat(cells, ignore_index=True).to_parquet(part, index=False)
    return page


def write(result: AuditResult, path: str | os.PathLike[str]) -> None:
    """Write `result` as one self-contained HTML page to `path`, atomically.

    Pictures that cannot be read are said in the page. Those above 20 kB are reduced, and of more
    than twenty examples the rest are left to their folder, so that the file stays small.

    Raises:
        OSError: the folder of `path` does not exist or cannot be written.
    """
    _render("audit.html.j2", content(result), path)


def publish_validation(result: ValidationResult) -> Path:
    """Write ``report.html`` and ``report.json`` into the validation's folder.

    Returns:
        The path of the page.

    Raises:
        OSError: the folder cannot be written.
    """
    page = result.folder / "report.html"
    write_validation(result, page)
    write_json(result.folder / "report.json", as_json(result) | {"figures": result.figures()})
    return page


def write_validation(result: ValidationResult, path: str | os.PathLike[str]) -> None:
    """Write `result` as one self-contained HTML page to `path`, atomically.

    Raises:
        OSError: the folder of `path` does not exist or cannot be written.
    """
    _render("validation.html.j2", validation.content(result), path)


def _render(template: str, values: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    # Always on: names of findings, files and endpoints come from outside.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    html = environment.get_template(template).render(values)
    with atomic(path) as part:
        part.write_bytes(html.encode("utf-8", "backslashreplace"))


def as_json(result: AuditResult | ValidationResult) -> dict[str, Any]:
    """Return everything in `result` as plain JSON: a table is a list of rows, NaN is null.

    Infinite values are null too, as JSON knows neither. Paths are text; `folder` is left out, as it
    says where the run lies and not what it found.
    """
    fields = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    fields.pop("folder")
    plain = _plain(fields, result.folder)
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any, folder: Path) -> Any:
    """Return `value` in the types of JSON."""
    if isinstance(value, pd.DataFrame):
        return [_plain(row, folder) for row in value.to_dict("records")]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), folder) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item, folder) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [_plain(item, folder) for item in sorted(value)]
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item, folder) for item in value]
    return _scalar(value, folder)


def _scalar(value: Any, folder: Path) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, PurePath):
        inside = value.is_relative_to(folder)
        return (value.relative_to(folder) if inside else value).as_posix()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) else str(value)
