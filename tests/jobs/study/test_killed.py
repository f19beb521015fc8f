"""A study that is killed at any point ends with the same models and tables."""

from functools import partial

import pytest
import torch

from roentmod.jobs import study
from tests.jobs.study.test_study import TINY, write
from tests.runs.kill import check_survives_kills
from tests.small import write_phantoms

SPLITS = ("train",) * 10 + ("val",) * 6 + ("test",) * 4


def work(spec, folder):
    torch.set_num_threads(1)
    study.run(study.read(spec), folder)


@pytest.mark.slow
def test_killed_at_fifteen_points_it_ends_with_the_same_bytes(tmp_path):
    source = {"source": str(write_phantoms(tmp_path / "data", SPLITS).root), "plant": True}
    tests = {"own": source | {"split": "test", "where": "internal"}}
    audited = {"baselines": 2, "source": {"source": source["source"], "split": "test"}}
    arms = TINY["retrain"] | {"arms": ["erm"], "steps": 2}
    changes = {"train": source, "tests": tests, "audit": TINY["audit"] | audited, "retrain": arms}
    spec = write(tmp_path / "tiny.yaml", **changes)
    timed = ("report.html", "report.json", "retrain.json", "erm-0.jsonl", "study.json")
    check_survives_kills(partial(work, spec), tmp_path, timed=timed)
