"""What holds for every test: tiny real models, one radiograph, one thread."""

import multiprocessing.process
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from roentmod.radiograph import Radiograph
from tests.tiny import write_generator

# Tiny models gain nothing from a second thread, and lose much when others use the cores.
torch.set_num_threads(1)
# The salt of names is not the user's own, and processes that tests start have the same. Draws
# follow pseudonyms: with this one small studies have both of each finding in each split.
os.environ["ROENTMOD_SALT"] = os.path.join(tempfile.mkdtemp(), "salt")
Path(os.environ["ROENTMOD_SALT"]).write_text("a" * 64)


def pytest_collection_modifyitems(items):
    """Begin with the files that take long: a worker that gets one last would end alone."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Only slow tests start Python: the fast tier stays fast (`make check`)."""
    if item.get_closest_marker("slow"):
        return (yield)
    popen = subprocess.Popen.__init__

    def opened(self, args, *more, **options):
        command = args if isinstance(args, str) else str(args[0])
        assert sys.executable not in command, "a test that starts Python is marked slow"
        popen(self, args, *more, **options)

    def started(self):
        pytest.fail("a test that starts a process is marked slow")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", opened)
        patch.setattr(multiprocessing.process.BaseProcess, "start", started)
        return (yield)


@pytest.fixture(scope="session")
def generator(tmp_path_factory):
    return write_generator(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def radiograph():
    rows, columns = np.mgrid[0:96, 0:80] / 96.0
    waves = 0.5 + 0.3 * np.sin(9 * rows) * np.cos(7 * columns)
    noise = np.random.default_rng(0).normal(0, 0.02, waves.shape)
    return Radiograph.from_array(np.clip(waves + noise, 0, 1))
