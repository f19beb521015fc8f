import pytest

from tests.web.readers import studies


@pytest.fixture(scope="session")
def designed(tmp_path_factory):
    return studies.write_study(tmp_path_factory.mktemp("study") / "study")


@pytest.fixture
def study(designed, tmp_path):
    return studies.copied(designed, tmp_path / "study")


@pytest.fixture
def clock():
    return studies.Clock()


@pytest.fixture
def served(study, clock):
    """A desk, and a client of its application."""
    desk, app = studies.opened(study.folder, clock)
    with studies.client(app) as browser:
        yield desk, browser
