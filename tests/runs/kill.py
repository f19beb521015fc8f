"""A job is killed at random times, goes on each time, and leaves what an untouched run leaves.

A server process imports what jobs need once; each attempt is a process forked from it.
"""

import json
import random
import time
from collections.abc import Callable, Collection
from multiprocessing import get_context
from pathlib import Path

PRELOADED = [
    "onnxruntime",
    "roentmod.classifiers",
    "roentmod.jobs.study",
    # What those import when they need it, in every attempt again.
    "kornia.augmentation",
    "roentmod.report.figures",
    "onnx",
    "pyarrow.dataset",
]
# Attempts that may end before they are killed, per kill.
_PATIENCE = 5
_TIMES = ("started", "finished", "seconds")


def check_survives_kills(
    run: Callable[[Path], object],
    folder: Path,
    *,
    kills: int = 15,
    seed: int = 0,
    timed: Collection[str] = (),
) -> None:
    """Assert that a run which is killed `kills` times ends with the bytes of one which is not.

    A run that ends before it is killed is compared, and another one is begun.

    Args:
        run: carries out a job in a folder; a function of a module, as it runs in processes.
        folder: where runs' folders are made.
        kills: how many.
        seed: of the times of the kills.
        timed: names of files that hold times, and so are not compared.
    """
    context, chance = get_context("forkserver"), random.Random(seed)
    context.set_forkserver_preload(PRELOADED)
    # The first process waits for the server's imports, which are no part of the run.
    _ended(context.Process(target=_nothing))
    lasted = _ended(context.Process(target=run, args=(folder / "whole",)))
    whole = contents(folder / "whole", timed)
    assert whole
    # What each attempt begins with, however much is done already.
    beginning = _ended(context.Process(target=run, args=(folder / "whole",)))
    number = killed = 0
    left = lasted
    for _ in range(_PATIENCE * kills):
        process = context.Process(target=run, args=(folder / f"killed-{number}",))
        process.start()
        waited = chance.uniform(0, left)
        process.join(waited)
        if process.is_alive():
            process.kill()
        process.join()
        if process.exitcode == 0:
            assert contents(folder / f"killed-{number}", timed) == whole
            number, left = number + 1, lasted
        elif process.exitcode == -9:
            killed += 1
            left = max(left - max(waited - beginning, 0), 2 * beginning)
        else:
            raise AssertionError(f"The run ended with exit code {process.exitcode}.")
        if killed == kills:
            break
    assert killed == kills
    _ended(context.Process(target=run, args=(folder / f"killed-{number}",)))
    assert contents(folder / f"killed-{number}", timed) == whole
    assert leftovers(folder / f"killed-{number}") == []


def contents(folder: Path, timed: Collection[str] = ()) -> dict[str, object]:
    """Return all files of a run but its journal, by path; JSON without times of provenance."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and "parts" not in name.parts and path.name not in timed:
            data = path.read_bytes()
            found[name.as_posix()] = _timeless(data) if path.suffix == ".json" else data
    return found


def leftovers(folder: Path) -> list[str]:
    """Return what a finished run should not leave: unfinished files, claims, heartbeats."""
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        if path.name.startswith(".")
        or ("parts" in path.relative_to(folder).parts and path.suffix not in (".log", ".pack"))
    ]


def _timeless(data: bytes) -> object:
    record = json.loads(data)
    if isinstance(record, dict) and isinstance(record.get("provenance"), dict):
        for name in _TIMES:
            record["provenance"].pop(name, None)
    return record


def _ended(process) -> float:
    """Run a process to its end, and return how many seconds it took."""
    started = time.monotonic()
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - started


def _nothing() -> None:
    pass
