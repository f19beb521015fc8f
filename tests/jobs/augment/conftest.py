"""A finished training set of an arithmetic editor, made once and copied where it is damaged."""

import shutil

import pytest

from roentmod.jobs import augment
from roentmod.jobs.augment import AugmentPlan
from tests.jobs.augment.parts import FINDINGS, Dabber, Eye, chosen, write_source

PLAN = AugmentPlan(
    findings=FINDINGS,
    ratio=2,
    with_baselines=True,
    with_shams=True,
    composite="baseline",
    severities=("mild", "severe"),
    shard=12,
)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    return write_source(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="session")
def some(drawn):
    return chosen(drawn)


@pytest.fixture(scope="session")
def whole(drawn, some, tmp_path_factory):
    folder = tmp_path_factory.mktemp("augment") / "whole"
    return augment.run(drawn, some, Dabber(faint=("Edema",)), PLAN, folder, judge=Eye())


@pytest.fixture
def copy(whole, tmp_path):
    """The finished set in a folder of its own."""
    return shutil.copytree(whole.folder, tmp_path / "set")


@pytest.fixture(scope="session")
def files():
    """Return what a folder holds, as names and bytes; the engine's own files tell times."""
    return lambda folder: {
        name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not (name := path.relative_to(folder).as_posix()).startswith(("parts/", "run.json"))
    }


@pytest.fixture(scope="session")
def split_source(tmp_path_factory):
    """Four patients to train with, four to validate, one of whom has edema."""
    return write_source(tmp_path_factory.mktemp("split"), splits=True)
