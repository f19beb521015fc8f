"""The command line, called here or as a process of its own."""

import io
import logging
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from roentmod.cli import main

ROOT = Path(__file__).parents[2]
SCRIPT = "from roentmod.cli import main; main()"


@dataclass(frozen=True)
class Done:
    """Exit code and output of a command, named as `subprocess` names them."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments, cache):
    """Call `main` as the console script does, in this process: seconds less than a process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(cache), "COLUMNS": "60"}),
        mock.patch.object(sys, "argv", ["roentmod", *map(str, arguments)]),
        # Handlers of pytest would keep the program from setting up its own.
        mock.patch.object(logging.getLogger(), "handlers", []),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = _exit_code()
    return Done(code, out.getvalue(), err.getvalue())


def _exit_code():
    try:
        main()
    except SystemExit as stop:
        # As Python ends a process: None is success, text is printed and is failure.
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0
    return 0


def process(*arguments, cache):
    """Run the command in a process: what a shell gets. Only tests marked slow may."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(cache),
        check=False,
    )


def environment(cache):
    """Return the variables of a process: this checkout's package, and a cache of its own."""
    return {
        "XDG_CACHE_HOME": str(cache),
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "60",
        "ROENTMOD_SALT": os.environ["ROENTMOD_SALT"],
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
