"""`roentmod audit` as a user meets it, with the two bundled classifiers on phantoms."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import roentmod
from tests.cli.running import SCRIPT, environment, process, run

PAIR = "Pleural Effusion,Cardiomegaly"
# The gate leaves enough of them.
COUNT = 40


def audit(out, *more, cache, classifiers=("demo:honest", "demo:shortcut"), count=COUNT, call=run):
    arguments = [part for spec in classifiers for part in ("--classifier", spec)]
    arguments += ["--data", f"phantoms:{count}", "--editor", "painter", "--findings", PAIR]
    return call("audit", *arguments, "--out", out, *more, cache=cache)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One audit of both, and the folder it left."""
    folder = tmp_path_factory.mktemp("audit")
    return audit(folder / "run", "--fail-on", "shortcut", cache=folder), folder


@pytest.mark.slow
def test_the_gate_fails_on_the_shortcut_and_names_it(done):
    result, folder = done
    assert result.returncode == 4, result.stderr
    assert "shortcut: shortcuts found" in result.stdout
    assert "honest: shortcuts found" not in result.stdout
    assert "Cardiomegaly" in result.stdout
    report = json.loads((folder / "run" / "report.json").read_text())
    verdicts = {one["name"]: one["verdict"] for one in report["classifiers"]}
    assert verdicts["shortcut"] == "shortcuts found"
    assert "<html" in (folder / "run" / "report.html").read_text()
    cells = pd.read_parquet(folder / "run" / "effects.parquet")
    assert set(cells["classifier"]) == {"honest", "shortcut"}


@pytest.mark.slow
def test_files_are_named_by_their_hash_and_not_by_where_they_lie(done):
    folder = done[1] / "run"
    said = json.loads((folder / "audit.json").read_text())["classifiers"]
    assert {one["source"] for one in said.values()} == {"honest.onnx", "shortcut.onnx"}
    page = (folder / "report.html").read_text()
    assert all(one["source"] in page and one["sha256"] in page for one in said.values())
    for name in ("audit.json", "report.json", "report.html"):
        assert str(Path(roentmod.__file__).parent) not in (folder / name).read_text()


@pytest.mark.slow
def test_heads_are_printed_and_unread_ones_too(done):
    result, _ = done
    for name in ("Cardiomegaly", "Support Devices", "Mass"):
        assert name in result.stderr


@pytest.mark.slow
def test_it_does_not_fail_where_no_gate_is_asked_for(done):
    """The same folder again: nothing is computed, and no gate is set."""
    _, folder = done
    assert audit(folder / "run", cache=folder).returncode == 0


@pytest.mark.slow
def test_a_process_ends_with_the_gate_s_code(done):
    _, folder = done
    assert (
        audit(folder / "run", "--fail-on", "shortcut", cache=folder, call=process).returncode == 4
    )


def made(parts):
    """The parts in the logs of a run, once per line."""
    lines = [line for log in parts.glob("*.log") for line in log.read_bytes().splitlines(True)]
    return [line.split(b"\t")[0] for line in lines if line.endswith(b"\n")]


@pytest.mark.slow
def test_a_killed_audit_goes_on(done, tmp_path):
    """SIGKILL half-way: the second run ends with the same table."""
    _, folder = done
    arguments = ["audit", "--classifier", "demo:honest", "--classifier", "demo:shortcut"]
    arguments += ["--data", f"phantoms:{COUNT}", "--editor", "painter", "--findings", PAIR]
    command = [sys.executable, "-c", SCRIPT, *arguments, "--out", str(tmp_path / "run")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment(tmp_path), **quiet) as killed:
        parts, deadline = tmp_path / "run" / "parts", time.monotonic() + 120
        while time.monotonic() < deadline and len(made(parts)) < 5:
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
    saved = made(parts)
    assert 5 <= len(saved) < COUNT
    assert not (tmp_path / "run" / "report.html").exists()
    assert audit(tmp_path / "run", cache=tmp_path).returncode == 0
    assert set(saved) < set(made(parts))
    assert len(made(parts)) == len(set(made(parts))) == COUNT
    one, other = (
        pd.read_parquet(place / "run" / "predictions.parquet") for place in (folder, tmp_path)
    )
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize(
    ("classifiers", "more", "said"),
    [
        (("nothing",), (), "A classifier is one of"),
        (("demo:honest", "demo:honest"), (), "different names"),
        (("demo:honest",), ("--findings", "gout"), "Findings are"),
        (("demo:honest",), ("--margin", "0"), "margin must be"),
        (("demo:honest",), ("--data", "nowhere"), "does not exist"),
        (("demo:honest",), ("--editor", "painter", "--removals", "2", "--data", "x"), "exist"),
    ],
)
def test_bad_arguments_give_one_line_and_exit_2(classifiers, more, said, tmp_path):
    result = audit(tmp_path / "run", *more, cache=tmp_path, classifiers=classifiers, count=3)
    assert result.returncode == 2
    assert said in result.stderr
    last = [line for line in result.stderr.splitlines() if line.startswith("roentmod:")]
    assert len(last) == 1
    assert not (tmp_path / "run" / "predictions.parquet").exists()
