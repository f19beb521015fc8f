"""``roentmod studio``: radiographs and finished runs in a browser."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from roentmod import verbs
from roentmod._optional import require
from roentmod.cli.console import app
from roentmod.errors import RunError, printable

_PORT = 8770
_EDITORS = ("mini", "painter")


@app.command()
def studio(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Pictures, folders of pictures, or a finished run.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The run's data, as in audit: its cases can then be shown.")
    ] = None,
    editor: Annotated[
        list[str] | None, typer.Option(help="Editors to choose from, as in edit; repeat.")
    ] = None,
    classifier: Annotated[
        list[str] | None, typer.Option(help="Reads every edit, [NAME=]FORM; repeat.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where edits are saved.")] = Path("studio"),
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = _PORT,
    url: Annotated[
        str | None, typer.Option(help="Public address in the link; default: host and port.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in this machine's browser.")] = True,
) -> None:
    """Edit radiographs and look through finished runs in a browser, until Ctrl-C."""
    require("litestar")
    import webbrowser
    from html import escape

    from roentmod.web import server
    from roentmod.web.studio.app import application

    bound, address = server.listen(host, port, url)
    with bound, tempfile.TemporaryDirectory(prefix="roentmod-studio-") as place:
        made = _made(
            address,
            Path(place),
            _sorted(paths or []),
            data=data,
            out=out,
            editors=editor or _EDITORS,
            readers=classifier or [],
        )
        typer.echo(f"Studio: {made.door}\nEdits are saved in {printable(str(out))}. Ctrl-C ends.")
        if browser:
            # Other users can read the arguments of a process, but not this file.
            page = Path(place) / "open.html"
            page.write_text(f'<meta http-equiv="refresh" content="0; url={escape(made.door)}">')
            webbrowser.open(page.as_uri())
        made.workshop.warm()
        server.serve(application(made), bound)


def _sorted(paths: list[Path]) -> tuple[list[Path], Path | None]:
    """Return pictures and folders of pictures, and the run."""
    runs = [path for path in paths if verbs.is_run(path)]
    if len(runs) > 1:
        raise RunError(f"The studio opens one run; got {len(runs)}. Name one.")
    return [path for path in paths if path not in runs], (runs[0] if runs else None)


def _made(
    url: str,
    place: Path,
    given: tuple[list[Path], Path | None],
    *,
    data: str | None,
    out: Path,
    editors: Any,
    readers: list[str],
) -> Any:
    """Return the studio that options ask for."""
    from roentmod import classifiers, datasets
    from roentmod.editors import Editor
    from roentmod.web.studio.app import Studio
    from roentmod.web.studio.finished import Finished
    from roentmod.web.studio.sources import Sources
    from roentmod.web.studio.workshop import Workshop

    files, folder = given
    source = None if data is None else datasets.pseudonymous(verbs.load(data))
    (place / "dropped").mkdir()
    sources = Sources(files, place / "dropped")
    shop = Workshop(
        place,
        out,
        Editor.load,
        editors=editors,
        judge=classifiers.Judge.load(),
        readers=verbs.load_classifiers(readers),
    )
    run = None if folder is None else Finished(folder, source)
    return Studio(url, sources, shop, run)
