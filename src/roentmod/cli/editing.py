"""``roentmod edit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from roentmod import verbs
from roentmod.cli.console import FAILED_ITEMS, UNSEEN, progress
from roentmod.cli.derived import command
from roentmod.errors import EditError


@command(verbs.edit)
def edit(
    images: Annotated[list[Path], typer.Argument(help="DICOM, PNG, JPEG or TIFF files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print edits.json.")] = False,
    require_success: Annotated[
        bool,
        typer.Option(
            "--require-success",
            help="Exit with 5 unless the judge sees in every picture what was requested.",
        ),
    ] = False,
    **options: Any,
) -> None:
    """Add or remove findings in chest radiographs."""
    if require_success and options["no_judge"]:
        raise EditError("--require-success needs the judge; got --no-judge. Leave one out.")
    with progress() as stages:
        result = verbs.edit(images, out=out, progress=stages, **options)
    items = result.record["items"]
    if as_json:
        typer.echo(json.dumps(result.record, indent=2))
    else:
        _report(items, out)
    raise typer.Exit(_code(items, require_success))


def _code(items: list[dict[str, Any]], require_success: bool) -> int:
    """Return the exit code: what the judge does not see first, then what has no picture."""
    if require_success and any(_unseen(item) for item in items if "label" in item):
        return UNSEEN
    return FAILED_ITEMS if any(item["status"] != "ok" for item in items) else 0


def _unseen(item: dict[str, Any]) -> bool:
    return item["status"] != "ok" or not item.get("judge", {}).get("sees")


def _report(items: list[dict[str, Any]], out: Path) -> None:
    for item in items:
        if item["status"] == "ok":
            spent = item["facts"].get("seconds", 0) + item["seconds_writing"]
            words = f"  judge: {item['judge']['words']}" if "judge" in item else ""
            changed = f"{item['changed_fraction']:.1%} changed  {spent:.2f} s"
            typer.echo(f"{item['input']}  {item['label']}  {changed}{words}")
        elif "label" in item:
            typer.echo(f"{item['input']}  {item['label']}  {item['status']}", err=True)
    if any(item["status"] == "ok" for item in items):
        typer.echo(f"Synthetic pictures and edits.json are in {out}")
