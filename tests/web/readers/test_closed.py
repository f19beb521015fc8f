"""The process that serves cannot open the truth."""

import subprocess
import sys

import pytest

TRY = """
import os, shutil, sqlite3, subprocess, sys, threading
sys.path[:0] = ["src"]
from pathlib import Path
from roentmod.web.readers.closed import close
study, truth = Path(sys.argv[1]), Path(sys.argv[2])
os.symlink(truth, study / "link")
held = os.open(truth, os.O_RDONLY)
print(close(truth))
file = truth / "truth.json"
ways = {
    "open": lambda: open(file).read(),
    "os": lambda: os.read(os.open(file, os.O_RDONLY), 9),
    "list": lambda: os.listdir(truth),
    "link": lambda: (study / "link" / "truth.json").read_text(),
    "up": lambda: open(str(study / ".." / truth.name / "truth.json")).read(),
    "copy": lambda: shutil.copyfile(file, study / "copy"),
    "database": lambda: sqlite3.connect(file).execute("select 1 from sqlite_master"),
    "program": lambda: subprocess.run(["cat", file]),
    "shell": lambda: os.system("true"),
    "fork": lambda: os.fork(),
}
def attempt():
    for name, way in ways.items():
        try:
            way()
        except (OSError, sqlite3.Error) as error:
            print("refused", name)
        else:
            print("OPEN", name)
    try:
        # Past Python's own hook: only the kernel can refuse this.
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        print("kernel", libc.open(str(file).encode(), 0))
    except Exception as error:
        print("kernel -1", error)
attempt()
thread = threading.Thread(target=attempt); thread.start(); thread.join()
(study / "answer").write_text("kept"); print((study / "answer").read_text())
"""


@pytest.mark.slow
def test_nothing_opens_the_truth(designed, tmp_path):
    from tests.web.readers.studies import copied

    study = copied(designed, tmp_path / "study")
    truth = tmp_path / "study-truth"
    command = [sys.executable, "-c", TRY, str(study.folder), str(truth)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-1] == "kept"
    assert not [line for line in lines if line.startswith("OPEN")]
    assert sum(line.startswith("refused") for line in lines) == 20
    if "kernel" in lines[0]:
        assert lines.count("kernel -1") == 2
