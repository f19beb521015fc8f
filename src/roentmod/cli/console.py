"""What a command is said on: the application, messages, progress bars, exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from roentmod.errors import printable

ERRORS = Console(stderr=True)
app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
log = logging.getLogger("roentmod")
_PIPED = 160
FAILED_ITEMS, USAGE, GATE, UNSEEN, UNJUDGED, INTERRUPTED = 3, 2, 4, 5, 6, 130


@contextmanager
def progress() -> Iterator[Any]:
    """Give a function that opens a progress bar for a stage of a long run."""
    title = TextColumn("{task.description}", markup=False)
    columns = (title, BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), console=ERRORS)

    def stages(name: str) -> Any:
        # An empty bar would leave a line before an error.
        bar.start()
        task = bar.add_task(name, total=None)
        return lambda done, total: bar.update(task, completed=done, total=total)

    try:
        yield stages
    finally:
        if bar.tasks:
            bar.stop()


def show(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout, columns of numbers to the right; nothing without rows."""
    listed = list(rows)
    if not listed:
        return
    table = Table(box=None, pad_edge=False, header_style="")
    for place, name in enumerate(header):
        numbers = all(row[place][:1].isdigit() and " " not in row[place] for row in listed)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in listed:
        table.add_row(*map(escape, row))
    # Piped, a row is a line.
    width = None if sys.stdout.isatty() else _PIPED
    Console(highlight=False, width=width).print(table)


@contextmanager
def naming(names: Mapping[str, str]) -> Iterator[None]:
    """Let lines on the screen have names for pseudonyms; nothing that is written has them."""
    _Lines.names = names
    try:
        yield
    finally:
        _Lines.names = {}


def log_lines() -> None:
    """Let warnings of the package appear on the console, each as one line."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines()])
    # They quote what headers hold; what matters of it is reported by the package.
    for library in ("pydicom", "tifffile", "PIL"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    for speaking in ("roentmod.verbs", "roentmod.jobs.batches"):
        logging.getLogger(speaking).setLevel(logging.INFO)


class _Lines(logging.Handler):
    """Prints each message as one line above the progress bar, however narrow the window."""

    names: ClassVar[Mapping[str, str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        level = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        text = f"{level}{record.getMessage()}"
        # The longer first: "i-5e...-2" is not "i-5e...".
        for pseudonym in sorted(self.names, key=len, reverse=True):
            text = text.replace(pseudonym, self.names[pseudonym])
        ERRORS.print(printable(text), soft_wrap=True, markup=False, highlight=False)
