"""The engine: once each, whoever makes it, however often it is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from roentmod import _optional
from roentmod.errors import RunError, UnfinishedError
from roentmod.runs import read_workers, run
from tests.runs.kill import check_survives_kills, contents
from tests.runs.toy import Packed, Squares

ROOT = Path(__file__).parents[2]


def all_of(folder):
    """Return the bytes of everything but the journal and the record."""
    return contents(folder, ("squares.json",))


def started(folder, *, count=20, pause=0.0, workers="serial", note="-"):
    """Start a run in a process."""
    arguments = [str(folder), str(count), str(pause), workers, str(note)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runs.toy", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Wait for a process, and return its exit code."""
    process.communicate()
    return process.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(Squares(), folder)
    return all_of(folder)


def test_a_run_is_its_tables_files_and_record(tmp_path):
    seen = []
    stages = lambda name: lambda done, total: seen.append((name, done, total))  # noqa: E731
    table = run(Squares(4), tmp_path / "run", stages=stages)
    assert pd.read_parquet(table)["square"].tolist() == [0.1, 1.1, 4.1, 9.1, 0.1, 1.1, 4.1]
    record = json.loads((tmp_path / "run" / "squares.json").read_text())
    assert record["count"] == 4
    assert record["parts"] == 7
    assert record["provenance"]["synthetic"] == "YES"
    assert seen[:4] == [("first", n, 4) for n in (1, 2, 3, 4)]
    assert seen[-1] == ("second", 3, 3)


def test_finished_parts_are_not_made_again(tmp_path):
    note = tmp_path / "note"
    for _ in range(2):
        run(Squares(5, note=note), tmp_path / "run")
    assert len(note.read_text().splitlines()) == 8


@pytest.mark.parametrize("kind", ["unreadable", "bug", "panic"])
def test_what_failed_spares_the_others_and_is_tried_again(tmp_path, kind):
    (tmp_path / "bad2").write_text(kind)
    note = tmp_path / "note"
    run(Squares(4, note=note), tmp_path / "run")
    items = pd.read_csv(tmp_path / "run" / "items.csv")
    assert items["part"].tolist() == ["n2"]
    assert items["status"].item() == ("unreadable" if kind == "unreadable" else "failed")
    assert "\n" not in items["message"].item()
    (tmp_path / "bad2").unlink()
    run(Squares(4, note=note), tmp_path / "run")
    assert Counter(line.split()[0] for line in note.read_text().splitlines())["n2"] == 2
    assert len(note.read_text().splitlines()) == 8
    run(Squares(4), tmp_path / "clean")
    assert all_of(tmp_path / "run") == all_of(tmp_path / "clean")


@pytest.mark.parametrize("kind", ["unreadable", "bug", "panic"])
def test_what_fails_in_a_batch_spares_the_others(tmp_path, kind):
    (tmp_path / "bad2").write_text(kind)
    job = Squares(4, note=tmp_path / "note")
    job.at_once = 4
    run(job, tmp_path / "run")
    assert pd.read_csv(tmp_path / "run" / "items.csv")["part"].tolist() == ["n2"]


def test_a_part_whose_file_is_gone_is_made_again(tmp_path, whole):
    run(Squares(), tmp_path / "run")
    (tmp_path / "run" / "files" / "n3.txt").unlink()
    run(Squares(), tmp_path / "run")
    assert all_of(tmp_path / "run") == whole


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("kind", [Squares, Packed])
def test_a_folder_that_is_removed_meanwhile_is_one_line(tmp_path, kind, replaced, monkeypatch):
    def make(self, task):
        if task.part.inputs == 2:
            shutil.rmtree(tmp_path / "run")
            if replaced:
                shutil.copytree(tmp_path / "other", tmp_path / "run")
        return made(self, task)

    run(kind(4), tmp_path / "other")
    made = kind.make
    monkeypatch.setattr(kind, "make", make)
    with pytest.raises(RunError, match="removed or replaced meanwhile"):
        run(kind(4), tmp_path / "run")


def test_packed_files_are_found_again(tmp_path):
    run(Packed(5), tmp_path / "run")
    assert (tmp_path / "run" / "all.txt").read_text() == "012340-1-2"
    assert not (tmp_path / "run" / "files").exists()


def test_another_run_s_folder_is_refused_and_left_alone(tmp_path):
    run(Squares(3), tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match="holds squares with another count"):
        run(Squares(4), tmp_path / "run")
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        run(Squares(3), tmp_path / "file")


@pytest.mark.parametrize("damage", ["[]", "", "nonsense"])
def test_a_damaged_record_is_one_line(tmp_path, damage):
    run(Squares(3), tmp_path / "run")
    (tmp_path / "run" / "squares.json").write_text(damage)
    with pytest.raises(RunError, match="record is squares"):
        run(Squares(3), tmp_path / "run")


def test_a_damaged_log_costs_the_parts_it_told_of(tmp_path, whole):
    run(Squares(), tmp_path / "run")
    (log,) = (tmp_path / "run" / "parts").glob("*.log")
    data = log.read_bytes()
    lines = data.splitlines(keepends=True)
    lines[4] = lines[4].replace(b"16.1", b"17.1")
    log.write_bytes(b"".join(lines)[:-5])
    run(Squares(), tmp_path / "run")
    assert all_of(tmp_path / "run") == whole


@pytest.mark.parametrize(
    "form",
    [
        "",
        "threads",
        "processes:0",
        "processes:x",
        "processes:" + "9" * 99,
        "shard:1/" + "9" * 9999,
        "shard:3/3",
        "shard:1",
        "ray:",
    ],
)
def test_other_workers_are_refused(form):
    with pytest.raises(RunError, match=r"Workers are|Shards are"):
        read_workers(form)


def test_forms_of_workers():
    assert read_workers("processes:3,shard:2/5").shard == (2, 5)
    assert read_workers("shard:0/4") == replace(read_workers("serial"), shard=(0, 4))
    assert read_workers("ray:auto").address == "auto"


def test_shards_in_any_order_then_the_plain_command(tmp_path, whole):
    note = tmp_path / "note"
    for shard in (2, 0, 1):
        with pytest.raises(UnfinishedError, match=f"Shard {shard} of 0 to 2 is done"):
            run(Squares(note=note), tmp_path / "run", workers=f"shard:{shard}/3")
    assert len(note.read_text().splitlines()) == 23
    run(Squares(note=note), tmp_path / "run")
    assert len(note.read_text().splitlines()) == 23
    assert all_of(tmp_path / "run") == whole


@pytest.mark.slow
def test_processes_give_the_same(tmp_path, whole):
    run(Squares(pause=0.01), tmp_path / "run", workers="processes:2")
    assert all_of(tmp_path / "run") == whole


@pytest.mark.slow
def test_processes_share_the_processors_with_libraries_that_are_loaded_before(tmp_path):
    # The toy's own module, which each process loads first, loads numpy.
    note, cores = tmp_path / "note", len(os.sched_getaffinity(0))
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    arguments = [str(tmp_path / "run"), "4", "0", f"processes:{cores}", str(note)]
    subprocess.run(
        [sys.executable, "-m", "tests.runs.toy", *arguments], cwd=ROOT, env=environment, check=True
    )
    assert {line.split()[2] for line in note.read_text().splitlines()} == {"1"}


@pytest.mark.parametrize(("told", "threads"), [("1", 1), ("", None), ("0", None), ("many", None)])
def test_runtimes_have_the_threads_that_a_process_may_use(monkeypatch, told, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert _optional.threads() == (threads or len(os.sched_getaffinity(0)))


@pytest.mark.slow
def test_what_cannot_be_sent_to_processes_is_said(tmp_path):
    job = Squares(3)
    job.salt = lambda: None
    job.identity = dict
    with pytest.raises(RunError, match="Name it, or use workers='serial'"):
        run(job, tmp_path / "run", workers="processes:2")


@pytest.mark.slow
def test_two_at_once_make_nothing_twice(tmp_path, whole):
    note = tmp_path / "note"
    both = [started(tmp_path / "run", pause=0.05, note=note) for _ in range(2)]
    assert [ended(one) for one in both] == [0, 0]
    made = Counter(line.split()[0] for line in note.read_text().splitlines())
    assert set(made.values()) == {1}
    assert len({line.split()[1] for line in note.read_text().splitlines()}) == 2
    assert all_of(tmp_path / "run") == whole


def slow(folder):
    run(Squares(pause=0.05), folder)


@pytest.mark.slow
def test_killed_at_fifteen_points_it_ends_with_the_same_bytes(tmp_path):
    check_survives_kills(slow, tmp_path)


@pytest.mark.slow
def test_a_killed_worker_process_ends_the_run_in_one_line(tmp_path, whole):
    one = started(tmp_path / "run", pause=0.3, workers="processes:2")
    children = Path(f"/proc/{one.pid}/task/{one.pid}/children")
    while len(found := children.read_text().split()) < 3:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(int(found[-1]), signal.SIGKILL)
    assert "A worker process ended before its time" in one.communicate()[1]
    run(Squares(), tmp_path / "run")
    assert all_of(tmp_path / "run") == whole


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished(tmp_path, whole):
    note = tmp_path / "note"
    one = started(tmp_path / "run", pause=0.1, note=note)
    while not note.exists() or len(note.read_text().splitlines()) < 3:
        time.sleep(0.02)
    one.send_signal(signal.SIGINT)
    ended(one)
    assert not list((tmp_path / "run" / "parts" / "claims").iterdir())
    run(Squares(note=note), tmp_path / "run")
    made = Counter(line.split()[0] for line in note.read_text().splitlines())
    assert sum(made.values()) in (23, 24)
    assert all_of(tmp_path / "run") == whole
