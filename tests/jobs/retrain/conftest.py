"""Data, counterfactuals and one finished run of every arm, made once."""

import pytest
from accelerate.state import AcceleratorState

from roentmod.jobs import retrain
from roentmod.jobs.retrain import ARMS
from tests.jobs.retrain.parts import tiny, write_data, write_training_set


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), {"train": 48, "val": 24, "test": 16})


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    return write_data(folder, {"": 16}, first=200, prefix="other-")


@pytest.fixture(scope="session")
def made(data, tmp_path_factory):
    return write_training_set(data, tmp_path_factory.mktemp("augment") / "set")


@pytest.fixture(scope="session")
def tests(data, elsewhere):
    return {"inside": (data, "test", "internal"), "outside": (elsewhere, None, "external")}


@pytest.fixture(scope="session")
def whole(data, made, tests, tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrain") / "run"
    plan = tiny(arms=ARMS, seeds=(3,))
    return retrain.run(data, plan, folder, training_set=made, tests=tests, tensorboard=True)


@pytest.fixture
def fresh_precision():
    """Accelerate keeps the first precision of a process; these tests use another one."""
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)
