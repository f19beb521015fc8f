import pytest

from roentmod import datasets
from tests.jobs.validate.fake import Stamp, run, write_folder


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return datasets.load(write_folder(tmp_path_factory.mktemp("phantoms")))


@pytest.fixture(scope="session")
def editor():
    return Stamp(leak=0.2)


@pytest.fixture(scope="session")
def good(data, editor, tmp_path_factory):
    """A whole validation of an editor without a fault in its default mode, never interrupted."""
    return run(data, tmp_path_factory.mktemp("good") / "run", editor)
