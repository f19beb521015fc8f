"""``roentmod edit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from roentmod import verbs
from roentmod.cli.console import FAILED_ITEMS, progress
from roentmod.cli.derived import command


@command(verbs.edit)
def edit(
    images: Annotated[list[Path], typer.Argument(help="DICOM, PNG, JPEG or TIFF files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print edits.json.")] = False,
    **options: Any,
) -> None:
    """Add or remove findings in chest radiographs."""
    with progress() as stages:
        result = verbs.edit(images, out=out, progress=stages, **options)
    items = result.record["items"]
    if as_json:
        typer.echo(json.dumps(result.record, indent=2))
    else:
        _report(items, out)
    raise typer.Exit(FAILED_ITEMS if any(item["status"] != "ok" for item in items) else 0)


def _report(items: list[dict[str, Any]], out: Path) -> None:
    for item in items:
        if item["status"] == "ok":
            seconds = item["facts"].get("seconds")
            changed = item["changed_fraction"]
            typer.echo(f"{item['input']}  {item['label']}  {changed:.1%} changed  {seconds} s")
        elif "label" in item:
            typer.echo(f"{item['input']}  {item['label']}  {item['status']}", err=True)
    if any(item["status"] == "ok" for item in items):
        typer.echo(f"Synthetic pictures and edits.json are in {out}")
