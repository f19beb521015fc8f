import pytest

from tests.web.readers import studies


@pytest.fixture(scope="session")
def edits(tmp_path_factory):
    return studies.write_edits(tmp_path_factory.mktemp("edits") / "set")


@pytest.fixture(scope="session")
def designed(tmp_path_factory, edits):
    return studies.write_study(tmp_path_factory.mktemp("study") / "study", edits)


@pytest.fixture
def study(designed, tmp_path):
    return studies.copied(designed, tmp_path / "study")
