"""A retraining that is killed at any point ends with the same models and readings."""

import time
from functools import partial

import pytest
import torch

from roentmod import datasets
from roentmod.jobs import augment, retrain
from roentmod.learning import training
from tests.jobs.retrain.parts import tiny
from tests.runs.kill import check_survives_kills

# Those that hold more than a network between two steps, or that wait for another training.
ARMS = ("erm", "group_dro", "jtt", "dfr", "pair_hinge", "staged", "teacher")


def slow(course, advance=training.Course.advance):
    advance(course)
    time.sleep(0.03)


def work(data, made, folder):
    """Retrain with checkpoints after each step, slowly enough to be killed between two."""
    torch.set_num_threads(1)
    training.SAVE_SECONDS = 0.0
    training.Course.advance = slow
    data = datasets.load(data)
    plan = tiny(arms=ARMS, steps=4, evaluate_every=2, patience=12)
    tests = {"inside": (data, "test", "internal")}
    retrain.run(data, plan, folder, training_set=augment.load(made), tests=tests)


@pytest.mark.slow
def test_killed_at_fifteen_points_it_ends_with_the_same_bytes(data, made, tmp_path):
    # What a training logs, and its record, say how long it took.
    timed = ("retrain.json", *(f"{arm}-0.jsonl" for arm in ARMS))
    check_survives_kills(partial(work, data.root, made.folder), tmp_path, timed=timed)
