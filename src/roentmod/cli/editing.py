"""``roentmod edit``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from roentmod import verbs
from roentmod.cli.console import FAILED_ITEMS, UNSEEN, naming, progress
from roentmod.cli.derived import command
from roentmod.errors import EditError, printable
from roentmod.plans.editing import Files
from roentmod.plans.options import part


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
    from roentmod.jobs import edit as job

    if require_success and options["no_judge"]:
        raise EditError("--require-success needs the judge; got --no-judge. Leave one out.")
    inputs = job.named(images, kept=part(Files, options).kept, folder=out)
    names = {one.name: printable(one.path.name) for one in inputs}
    with naming(names), progress() as stages:
        result = verbs.edit(images, out=out, progress=stages, **options)
    items = result.record["items"]
    if as_json:
        typer.echo(json.dumps(result.record, indent=2))
    else:
        _report(items, names, out)
    raise typer.Exit(_code(items, require_success))


def _code(items: list[dict[str, Any]], require_success: bool) -> int:
    """Return the exit code: what the judge does not see first, then what has no picture."""
    if require_success and any(_unseen(item) for item in items if "label" in item):
        return UNSEEN
    return FAILED_ITEMS if any(item["status"] != "ok" for item in items) else 0


def _unseen(item: dict[str, Any]) -> bool:
    return item["status"] != "ok" or not item.get("judge", {}).get("sees")


def _report(items: list[dict[str, Any]], names: Mapping[str, str], out: Path) -> None:
    """Print a line per edit: the file, where its pictures are, what became of it."""
    for item in items:
        name = names.get(item["input"], item["input"])
        if item["status"] == "ok":
            spent = item["facts"].get("seconds", 0) + item["seconds_writing"]
            words = f"  judge: {item['judge']['words']}" if "judge" in item else ""
            changed = f"{item['changed_fraction']:.1%} changed  {spent:.2f} s"
            place = item["files"]["difference"]["path"].removesuffix(".difference.png")
            typer.echo(f"{name}  {place}  {changed}{words}")
        elif "label" in item:
            typer.echo(f"{name}  {item['label']}  {item['status']}", err=True)
    if any(item["status"] == "ok" for item in items):
        typer.echo(f"Synthetic pictures and edits.json are in {printable(str(out))}")
