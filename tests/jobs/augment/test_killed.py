"""A training set that is killed at any point ends with the same bytes, in files and in shards."""

import time
from functools import partial

import pytest

from roentmod import datasets
from roentmod.jobs import augment
from roentmod.jobs.augment import shards
from tests.jobs.augment.conftest import PLAN
from tests.jobs.augment.parts import Dabber, Eye, chosen
from tests.runs.kill import check_survives_kills, contents, leftovers


def work(root, form, folder):
    """Augment, slowly enough to be killed anywhere, shards of some five pictures."""
    shards._MOST = 140_000
    for name in ("add", "finish"):
        kind = shards.Shards if name == "add" else shards.Repacking
        setattr(kind, name, slowed(getattr(kind, name)))
    data = datasets.load(root)
    editor = Dabber(faint=("Edema",), stop=lambda _: time.sleep(0.05))
    augment.run(data, chosen(data), editor, PLAN, folder, judge=Eye(), pictures=form)


def slowed(method):
    def slow(*arguments):
        time.sleep(0.02)
        return method(*arguments)

    return slow


@pytest.mark.slow
@pytest.mark.parametrize("form", ["files", "webdataset", "parquet"])
def test_killed_at_fifteen_points_it_ends_with_the_same_bytes(drawn, tmp_path, form):
    check_survives_kills(partial(work, drawn.root, form), tmp_path)


def mend(root, folder):
    """Make a set of which two baselines fail, and mend it."""
    shards._MOST = 140_000
    data = datasets.load(root)

    def stop(call):
        if call in (2, 5):
            raise RuntimeError("out of memory")

    if not (folder / "broken").exists():
        editor = Dabber(faint=("Edema",), stop=stop)
        augment.run(data, chosen(data), editor, PLAN, folder, judge=Eye(), pictures="webdataset")
        (folder / "broken").touch()
    work(root, "webdataset", folder)


@pytest.mark.slow
def test_shards_that_are_written_again_survive_as_well(drawn, tmp_path):
    check_survives_kills(partial(mend, drawn.root), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["files", "webdataset"])
def test_two_processes_share_a_folder(drawn, tmp_path, form):
    from multiprocessing import get_context

    context = get_context("forkserver")
    processes = [
        context.Process(target=work, args=(drawn.root, form, tmp_path / name))
        for name in ("alone", "shared", "shared")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
    lines = b"".join(path.read_bytes() for path in (tmp_path / "shared/parts").glob("*.log"))
    keys = [line.split(b"\t")[0] for line in lines.splitlines()]
    assert len(keys) == len(set(keys)) == 8
    assert leftovers(tmp_path / "shared") == []


@pytest.mark.slow
def test_the_result_is_the_same_whoever_makes_it(tmp_path):
    """Phantoms and painter go to other processes."""
    from roentmod.editors import Editor

    data = datasets.load("phantoms:6:50")
    names = ("Cardiomegaly", "Pleural Effusion")
    plan = augment.AugmentPlan(findings=names, severities=("severe",), gate_logit=None)
    for workers in ("serial", "processes:2"):
        folder = tmp_path / workers.partition(":")[0]
        painter = Editor.load("painter")
        augment.run(data, chosen(data), painter, plan, folder, workers=workers)
    assert contents(tmp_path / "processes") == contents(tmp_path / "serial")
