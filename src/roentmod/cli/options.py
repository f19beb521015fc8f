"""Options that several commands state themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roentmod.errors import EditError

__all__ = ["Data", "Out", "test"]

Data = Annotated[str, typer.Option(help="Folder, KIND:FOLDER (nih, chexpert, ...), or phantoms:N.")]
Out = Annotated[Path, typer.Option(help="Run directory; the same command goes on in it.")]


def test(text: str, where: str) -> tuple[str, tuple[str, str | None, str]]:
    """Return name and test of ``NAME=DATA[@SPLIT]``.

    Raises:
        EditError: another form.
    """
    name, equals, form = text.partition("=")
    form, _, split = form.partition("@")
    if not (name and equals and form):
        raise EditError(f"A test is NAME=DATA or NAME=DATA@SPLIT; got '{text}'.")
    return name, (form, split or None, where)
