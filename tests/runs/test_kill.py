"""The engine's toy survives kills; a job that keeps an unfinished run's leftovers does not."""

from pathlib import Path

import pytest

from roentmod.runs import run
from tests.runs.kill import check_survives_kills
from tests.runs.toy import Squares


def squares(folder: Path) -> None:
    """Carry out the toy."""
    run(Squares(pause=0.01), folder)


def leaky(folder: Path) -> None:
    """Write down who was at work, which a killed run leaves behind."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "who.txt").open("a") as file:
        file.write("one\n")
    squares(folder)


@pytest.mark.slow
def test_what_survives_is_told_from_what_does_not(tmp_path):
    check_survives_kills(squares, tmp_path / "good", kills=5)
    with pytest.raises(AssertionError):
        check_survives_kills(leaky, tmp_path / "bad", kills=5)
