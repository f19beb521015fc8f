"""Edits and planted data sets that are killed at any point end as ones that are not."""

import errno
import json
import time
from functools import partial
from pathlib import Path

import pytest

from roentmod import datasets
from roentmod.edits import Edit
from roentmod.jobs import edit as editing
from roentmod.jobs import plant as planting
from roentmod.runs import journal
from tests.jobs.augment.parts import FINDINGS, Dabber, write_source
from tests.runs.kill import check_survives_kills, contents


def slow():
    return Dabber(stop=lambda _: time.sleep(0.05))


def edit(root, folder, editor=None, workers="serial"):
    """Edit eight pictures."""
    paths = sorted(Path(root).glob("*.png"))
    edits = [Edit((name,)) for name in FINDINGS[:2]]
    output = editing.Output(folder, ("png", "dicom"))
    editing.run(paths, edits, editor or slow(), output, workers=workers)


def plant(root, folder, editor=None, workers="serial"):
    """Plant in eight pictures."""
    data = datasets.load(root)
    plan = planting.PlantPlan(
        findings=FINDINGS, pairs=((FINDINGS[0], FINDINGS[1]),), severities=("severe",)
    )
    hosts = list(data.table["image_id"])
    planting.run(data, hosts, editor or slow(), plan, folder, workers=workers)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("drawn")).root


@pytest.mark.slow
@pytest.mark.parametrize("job", [edit, plant])
def test_killed_at_fifteen_points_it_ends_with_the_same_bytes(root, tmp_path, job):
    # The record of edits says how long each took.
    check_survives_kills(partial(job, root), tmp_path, timed=("edits.json",))
    for folder in tmp_path.iterdir() if job is edit else ():
        items = json.loads((folder / "edits.json").read_text())["items"]
        assert [item["status"] for item in items] == ["ok"] * 16


@pytest.mark.slow
@pytest.mark.parametrize("job", [edit, plant])
def test_the_result_is_the_same_whoever_makes_it(root, tmp_path, job):
    for workers in ("serial", "processes:2"):
        job(root, tmp_path / workers.partition(":")[0], Dabber(), workers)
    one, other = (contents(tmp_path / name, ("edits.json",)) for name in ("serial", "processes"))
    assert one == other


@pytest.mark.parametrize("job", [edit, plant])
@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_goes_on(root, tmp_path, monkeypatch, job):
    editor = Dabber()
    left = [3]

    def put(self, path, data, *, packed, real=journal.Journal._put):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return real(self, path, data, packed=packed)

    with monkeypatch.context() as full:
        full.setattr(journal.Journal, "_put", put)
        with pytest.raises(OSError, match="No space left") as caught:
            job(root, tmp_path / "run", editor)
    assert "\n" not in str(caught.value)
    before = editor.calls
    assert before < 8
    job(root, tmp_path / "run", editor)
    job(root, tmp_path / "whole", Dabber())
    timed = ("edits.json",)
    assert contents(tmp_path / "run", timed) == contents(tmp_path / "whole", timed)
