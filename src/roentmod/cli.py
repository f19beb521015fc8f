"""The command line: arguments in, the public functions below, exit codes out.

Exit codes: 0 done; 2 bad arguments, weights or mask; 3 some radiographs could not be edited;
130 interrupted (what was finished stays).
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import roentmod
from roentmod import doctor as checks
from roentmod.edits import Action, Composite, Edit, Scheduler, Severity, Side
from roentmod.errors import EditError, RoentModError

__all__ = ["app", "main"]

_ERRORS = Console(stderr=True)
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
log = logging.getLogger("roentmod")
FAILED_ITEMS, USAGE, INTERRUPTED = 3, 2, 130


class _Lines(logging.Handler):
    """Prints each message as one line above the progress bar, however narrow the window."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        text = f"{record.levelname.lower()}: {record.getMessage()}"
        _ERRORS.print(text, soft_wrap=True, markup=False, highlight=False)


@app.callback()
def _root() -> None:
    """Edit findings in chest radiographs. Research software; not for clinical use."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(roentmod.__version__)


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing, and how to get it."""
    table = Table("part", "state", "found", "remedy", box=None)
    found = checks.examine()
    for check in found:
        table.add_row(*check)
    Console().print(table)
    raise typer.Exit(1 if any(check.state == "missing" for check in found) else 0)


@app.command()
def edit(
    images: Annotated[list[Path], typer.Argument(help="DICOM, PNG, JPEG or TIFF files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    add: Annotated[
        list[str] | None,
        typer.Option(help="Finding to add; repeat for more edits; 'A + B' adds both in one edit."),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Finding to remove; as --add.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Free prompt, instead of our wording.")] = None,
    side: Annotated[Side | None, typer.Option(help="The patient's side.")] = None,
    severity: Annotated[Severity | None, typer.Option(help="How much of it.")] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="PNG of the radiograph's shape; only its bright part changes."),
    ] = None,
    strength: Annotated[float, typer.Option(help="Fraction of the noise schedule, (0, 1].")] = 0.4,
    guidance_scale: Annotated[float, typer.Option(help="Classifier-free guidance.")] = 4.0,
    steps: Annotated[
        int | None, typer.Option(help="num_inference_steps; default: the generator's.")
    ] = None,
    scheduler: Annotated[
        Scheduler | None, typer.Option(help="Sampler; default: the generator's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Noise, together with the radiograph.")] = 0,
    editor: Annotated[
        str, typer.Option(help="mini, painter, a diffusers folder, or a hub id.")
    ] = "mini",
    host: Annotated[
        str | None, typer.Option(help="Folder or hub id that gives autoencoder and scheduler.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Prompt profile; default: told by the folder.")
    ] = None,
    composite: Annotated[
        Composite, typer.Option(help="How the change returns to native resolution.")
    ] = "sham",
    format: Annotated[
        list[str] | None,
        typer.Option(help="png, dicom or same (as the input, the default); may be repeated."),
    ] = None,
    secondary_capture: Annotated[
        bool, typer.Option("--secondary-capture", help="Write DICOM as secondary capture.")
    ] = False,
    deidentify: Annotated[bool, typer.Option(help="Keep nothing that names the patient.")] = True,
    engine: Annotated[
        Literal["auto", "torch", "compile", "onnxruntime", "openvino"],
        typer.Option(help="What runs the model."),
    ] = "auto",
    device: Annotated[str, typer.Option(help="torch device, such as cuda.")] = "cpu",
    precision: Annotated[
        Literal["float32", "float16", "bfloat16"], typer.Option(help="Arithmetic of the model.")
    ] = "float32",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same bits in any company; slower.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Load .bin weights, which can run code.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print edits.json.")] = False,
) -> None:
    """Add or remove findings in chest radiographs."""
    common: dict[str, Any] = {
        "prompt": prompt,
        "side": side,
        "severity": severity,
        "strength": strength,
        "guidance_scale": guidance_scale,
        "num_inference_steps": steps,
        "scheduler": scheduler,
        "seed": seed,
        "composite": composite,
    }
    edits = plan(add or [], remove or [], common)
    from roentmod.editing import Format, Output, run
    from roentmod.editors import Editor

    output = Output(
        out,
        cast("tuple[Format, ...]", tuple(format or ["same"])),
        not deidentify,
        secondary_capture,
    )
    loaded = Editor.load(
        editor,
        host=host,
        engine=engine,
        deterministic=deterministic,
        allow_pickle=allow_pickle,
        profile=profile,
        device=device,
        precision=precision,
    )
    columns = (TextColumn("editing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_ERRORS) as bar:
        task = bar.add_task("editing", total=len(images) * len(edits))
        record = run(
            images,
            edits,
            loaded,
            output,
            mask=mask,
            progress=lambda done, _: bar.update(task, completed=done),
        )
    failed = [item for item in record["items"] if item["status"] != "ok"]
    if as_json:
        typer.echo(json.dumps(record, indent=2))
    else:
        _report(record["items"], out)
    raise typer.Exit(FAILED_ITEMS if failed else 0)


def plan(add: list[str], remove: list[str], common: dict[str, Any]) -> list[Edit]:
    """Return one edit for each --add and --remove, or one of the free prompt alone.

    Raises:
        EditError: nothing to do, or one prompt for several edits.
    """
    wanted: list[tuple[Action, str]] = [("add", n) for n in add] + [("remove", n) for n in remove]
    if common["prompt"] and len(wanted) > 1:
        raise EditError(f"--prompt words one edit; got {len(wanted)}. Run them one by one.")
    if not wanted:
        return [Edit(**common)]
    return [
        Edit(findings=tuple(part.strip() for part in name.split("+")), action=action, **common)
        for action, name in wanted
    ]


def _report(items: list[dict[str, Any]], out: Path) -> None:
    for item in items:
        if item["status"] == "ok":
            seconds = item["facts"].get("seconds")
            changed = item["changed_fraction"]
            typer.echo(f"{item['input']}  {item['label']}  {changed:.1%} changed  {seconds} s")
        elif item["status"] != "unreadable":
            typer.echo(f"{item['input']}  {item['label']}  {item['status']}", err=True)
    if any(item["status"] == "ok" for item in items):
        typer.echo(f"Synthetic pictures and edits.json are in {out}")


def main() -> None:
    """Run the command line; one line and a non-zero exit code for anything that goes wrong."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines()])
    try:
        app()
    except RoentModError as error:
        typer.echo(f"roentmod: {error}", err=True)
        sys.exit(USAGE)
    except OSError as error:
        typer.echo(f"roentmod: cannot write or read: {error}", err=True)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        typer.echo(
            "roentmod: interrupted; finished results are whole. Run again to go on.", err=True
        )
        sys.exit(INTERRUPTED)
