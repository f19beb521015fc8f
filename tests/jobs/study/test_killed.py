"""A study that is killed at any point ends with the same models and tables."""

from functools import partial

import pytest
import torch

from roentmod.jobs import study
from tests.jobs.study.test_study import TINY, write
from tests.runs.kill import check_survives_kills


def work(spec, folder):
    torch.set_num_threads(1)
    study.run(study.read(spec), folder)


@pytest.mark.slow
def test_killed_at_fifteen_points_it_ends_with_the_same_bytes(tmp_path):
    spec = write(tmp_path / "tiny.yaml", retrain=TINY["retrain"] | {"arms": ["erm"]})
    timed = ("report.html", "report.json", "retrain.json", "erm-0.jsonl")
    check_survives_kills(partial(work, spec), tmp_path, timed=timed)
