"""A picture inside a tar is read as the same picture in a folder is."""

import copy
import pickle
import tarfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from roentmod import imaging
from roentmod.errors import EditError, UnreadableError, UnsuitableError

from .conftest import dataset, levels


@pytest.fixture
def shard(tmp_path):
    """The pictures of a folder, and the same ones in a tar."""
    folder = tmp_path / "plain"
    folder.mkdir()
    Image.fromarray(levels(16)).save(folder / "a.png")
    Image.fromarray(levels(8)).save(folder / "b.jpg")
    tifffile.imwrite(folder / "c.tif", levels(16), compression="zlib")
    dataset().save_as(folder / "d.dcm", enforce_file_format=True)
    (folder / "noise.png").write_bytes((folder / "a.png").read_bytes()[:400])
    (folder / "empty.png").write_bytes(b"")
    Image.fromarray(np.zeros((80, 80), np.uint8)).save(folder / "black.png")
    with tarfile.open(tmp_path / "train-00000.tar", "w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return folder, tmp_path / "train-00000.tar"


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.tif", "d.dcm"])
def test_pictures_inside_a_tar(shard, name):
    plain, packed = (imaging.read(place / name) for place in shard)
    assert np.array_equal(packed.stored, plain.stored)
    assert packed.id == plain.id
    assert packed.source == plain.source == name
    assert packed.bits == plain.bits
    assert packed.spacing_mm == plain.spacing_mm
    assert imaging.native_suffix(packed) == imaging.native_suffix(plain)


def test_dicom_from_a_tar_is_written_and_copied_as_any_other(shard, tmp_path):
    plain, packed = (imaging.read(place / "d.dcm") for place in shard)
    for name, radiograph in (("1.dcm", plain), ("2.dcm", copy.deepcopy(packed))):
        imaging.write(radiograph, tmp_path / name, provenance=None)
    assert (tmp_path / "1.dcm").read_bytes() == (tmp_path / "2.dcm").read_bytes()
    assert pickle.loads(pickle.dumps(packed)).id == plain.id
    assert packed.origin.buffer is None


@pytest.mark.parametrize("name", ["noise.png", "empty.png", "black.png", "missing.png"])
def test_messages_are_those_of_files(shard, name):
    texts = []
    for place in shard:
        with pytest.raises((UnreadableError, UnsuitableError)) as caught:
            imaging.read(place / name)
        texts.append((caught.type, str(caught.value)))
    assert texts[0] == texts[1]
    assert texts[0][1].startswith(f"{name}: ")


def test_a_damaged_archive_is_named(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"noise" * 300)
    with pytest.raises(UnreadableError, match=r"x\.png: .*the archive is damaged"):
        imaging.read(tmp_path / "a.tar" / "x.png")


def test_a_mask_inside_a_tar(shard):
    folder, packed = shard
    radiograph = imaging.read(folder / "a.png")
    mask = imaging.read_mask(packed / "a.png", radiograph)
    assert np.array_equal(mask, imaging.read_mask(folder / "a.png", radiograph))
    with pytest.raises(EditError, match="80x80"):
        imaging.read_mask(packed / "black.png", radiograph)
