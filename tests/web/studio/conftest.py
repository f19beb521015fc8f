"""A studio of two phantoms, one of them as DICOM, with the painter."""

import numpy as np
import pytest

import roentmod as rm
from roentmod import imaging
from roentmod.classifiers import Judge
from roentmod.editors import Painter
from roentmod.web.studio.app import Studio
from roentmod.web.studio.finished import Finished
from roentmod.web.studio.sources import Sources
from roentmod.web.studio.workshop import Workshop
from tests.imaging.conftest import dataset

URL = "http://127.0.0.1:8770"


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """A folder of a DICOM file and a PNG."""
    folder = tmp_path_factory.mktemp("pictures")
    levels = np.rint(rm.phantom(1, size=256).radiograph.pixels * 4095).astype(np.uint16)
    dicom = dataset(levels, WindowCenter=2048, WindowWidth=4096, PixelSpacing=[1.4, 1.4])
    dicom.save_as(folder / "doe_jane.dcm", enforce_file_format=True)
    imaging.write(rm.phantom(2, size=256).radiograph, folder / "two.png", provenance=None)
    return folder


@pytest.fixture(scope="session")
def judge():
    return Judge.load()


@pytest.fixture
def make(phantoms, judge, tmp_path):
    """Return what makes a studio."""
    shops = []

    def made(given=None, *, url=URL, run=None, data=None):
        (tmp_path / "session" / "dropped").mkdir(parents=True)
        shop = Workshop(
            tmp_path / "session",
            tmp_path / "saved",
            lambda _: Painter(),
            editors=("painter",),
            judge=judge,
        )
        shops.append(shop)
        sources = Sources([phantoms] if given is None else given, tmp_path / "session" / "dropped")
        return Studio(url, sources, shop, Finished(run, data) if run else None)

    yield made
    for shop in shops:
        shop.close()
