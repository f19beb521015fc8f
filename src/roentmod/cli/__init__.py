"""The command line: arguments in, the public functions below, exit codes out.

Exit codes: 0 done; 1 ``doctor`` misses something; 2 bad arguments, weights or mask; 3 some
radiographs could not be edited or some classifier did not answer; 4 an audit's gate failed; 5 the
judge does not see what an edit requested (--require-success); 6 a gate or a repair could judge
nothing; 130 interrupted (what was finished stays).
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

import roentmod
from roentmod.cli import auditing, data, editing, installation, readers, studio, training
from roentmod.cli.console import INTERRUPTED, USAGE, app, log_lines
from roentmod.cli.derived import command
from roentmod.errors import RoentModError, UnfinishedError, printable

__all__ = ["app", "auditing", "data", "editing", "main", "readers", "studio", "training"]


@app.callback()
def _root() -> None:
    """Edit findings in chest radiographs. Research software; not for clinical use."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(roentmod.__version__)


@command(installation.try_editor)
def doctor(
    editor: Annotated[
        str | None, typer.Option(help="Try this editor on a phantom instead, as --editor of edit.")
    ] = None,
    **options: Any,
) -> None:
    """Say what is installed, what is missing, and how to get it; or try an editor in a minute."""
    found = installation.try_editor(editor, **options) if editor else installation.examine()
    table = Table("part", "state", "found", "remedy", box=None)
    states = set()
    # A row is shown when it is known: a trial may take minutes.
    with Live(table, console=Console(), auto_refresh=False) as shown:
        for check in found:
            # A table takes [xrv] for a style.
            table.add_row(*map(Text, check))
            states.add(check.state)
            shown.refresh()
    raise typer.Exit(1 if states & {"missing", "failed"} else 0)


def main() -> None:
    """Run the command line; one line and a non-zero exit code for anything that goes wrong."""
    log_lines()
    try:
        app()
    except UnfinishedError as message:
        typer.echo(str(message))
    except RoentModError as error:
        typer.echo(f"roentmod: {error}", err=True)
        sys.exit(USAGE)
    except OSError as error:
        typer.echo(f"roentmod: cannot write or read: {printable(str(error))}", err=True)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        typer.echo(
            "roentmod: interrupted; finished results are whole. Run again to go on.", err=True
        )
        sys.exit(INTERRUPTED)
