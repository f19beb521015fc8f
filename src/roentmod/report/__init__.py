"""Reports: tables and provenance of a run become one HTML page, or one JSON value.

Nothing is computed here: every number stands in a result, or is asked of
`roentmod.science.performance`. The page needs no network, no scripts and
no files beside it, and equal results give equal bytes.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import pandas as pd

from roentmod.report import retrain, study, validation
from roentmod.report.page import content
from roentmod.report.retrain import Retrained
from roentmod.science.performance import Evaluation, Rules, evaluate
from roentmod.store import atomic, write_json

if TYPE_CHECKING:
    from roentmod.jobs.audit import AuditResult
    from roentmod.jobs.study import StudyResult
    from roentmod.jobs.validate import ValidationResult

__all__ = [
    "Retrained",
    "as_json",
    "publish",
    "publish_retrain",
    "publish_stage",
    "publish_study",
    "publish_validation",
    "write",
    "write_retrain",
    "write_validation",
]


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


def publish_retrain(
    result: Retrained, *, scores: pd.DataFrame | None = None, rules: Rules | None = None
) -> Path:
    """Evaluate a retraining, and write ``report.html`` and ``report.json`` into its folder.

    Args:
        result: a finished retraining; its record names the confounded pairs.
        scores: one row an arm and seed, with the shortcut `score` of its audit.
        rules: what is compared, and what counts as reached.

    Returns:
        The path of the page.

    Raises:
        DatasetError: the predictions cannot be evaluated.
        OSError: the folder cannot be written.
    """
    pairs = [(cause, read) for cause, read in result.record.get("plan", {}).get("pairs", ())]
    found = evaluate(result.predictions, pairs, scores=scores, rules=rules)
    page = result.folder / "report.html"
    write_retrain(result, found, page)
    told = {"record": result.record, "figures": found.figures()}
    told |= {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
    write_json(result.folder / "report.json", _plain(told, result.folder))
    return page


def publish_stage(name: str, result: Any) -> None:
    """Publish the result of one stage of a study, where it has a page.

    That of the retraining is not among them: it holds scores of audits that come later, and is made
    once, by `publish_study`.
    """
    pages: dict[str, Callable[[Any], Path]] = {
        "validate": publish_validation,
        "audit before": publish,
        "audit after": publish,
    }
    if name in pages:
        pages[name](result)


def publish_study(result: StudyResult) -> Path:
    """Write a study's page, and the page of its retraining with the scores of the audits after it.

    Returns:
        The path of the page.

    Raises:
        OSError: the folder cannot be written.
    """
    from roentmod.jobs.retrain import load

    trained, scores = result.place("retrain"), result.scores()
    # First, as the study's page links to what is there.
    if trained is not None:
        publish_retrain(load(trained), scores=scores if len(scores) else None)
    page = result.folder / f"{study.file_name(result)}.html"
    _render("study.html.j2", study.content(result), page)
    return page


def write_retrain(result: Retrained, found: Evaluation, path: str | os.PathLike[str]) -> None:
    """Write a retraining as one self-contained HTML page to `path`, atomically.

    Raises:
        OSError: the folder of `path` does not exist or cannot be written.
    """
    _render("retrain.html.j2", retrain.content(result, found), path)


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
