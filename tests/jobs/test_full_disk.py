"""A disk that fills up: one line with the path, and the run goes on when there is space again."""

import subprocess

import pytest

from tests.cli.running import run
from tests.runs.kill import contents
from tests.small import write_phantoms

pytestmark = pytest.mark.slow
SIZE = 2 << 20
FINDINGS = ("--findings", "Edema,Cardiomegaly", "--editor", "painter")
FEW = ("--resamples", "200", "--flips", "199", "--fewest", "3")


@pytest.fixture
def disk(tmp_path):
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no 'mount' here")
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of small phantoms."""
    folder = tmp_path_factory.mktemp("data")
    write_phantoms(folder, ("",) * 4)
    return folder


def edit(data):
    files = sorted(data.glob("*.png"))
    return ["edit", *files, "--add", "edema", "--editor", "painter"]


def audit(data):
    return ["audit", "--data", data, "--classifier", "demo:honest", *FINDINGS, *FEW]


def augment(data):
    return ["augment", "--data", data, *FINDINGS, "--gate", "-99", "--pictures", "webdataset"]


# Kilobytes that are free at first: enough to begin, and not to end.
@pytest.mark.parametrize(("command", "free"), [(edit, 160), (audit, 60), (augment, 120)])
def test_a_full_disk_is_one_line_and_the_run_goes_on(disk, data, tmp_path, command, free):
    arguments = command(data)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(SIZE - (free << 10)))
    done = run(*arguments, "--out", disk / "run", cache=tmp_path)
    assert done.returncode not in (0, 3)
    (message,) = (line for line in done.stderr.splitlines() if line.startswith("roentmod: "))
    assert "No space left on device" in message
    assert str(disk / "run") in message
    ballast.unlink()
    again = run(*arguments, "--out", disk / "run", cache=tmp_path)
    assert again.returncode == 0, again.stderr
    whole = run(*arguments, "--out", tmp_path / "whole", cache=tmp_path)
    assert whole.returncode == 0, whole.stderr
    timed = ("edits.json", "report.html", "report.json")
    assert contents(disk / "run", timed) == contents(tmp_path / "whole", timed)
