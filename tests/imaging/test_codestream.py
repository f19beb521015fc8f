"""Sizes of streams, against those of the standard data set; files that unpack to far more."""

import io
import tracemalloc

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from roentmod import imaging
from roentmod.errors import UnreadableError, UnsuitableError
from roentmod.imaging.codestream import stream_size
from tests.imaging.conftest import SAMPLES, dataset, levels


@pytest.mark.filterwarnings("ignore")
def test_streams_of_the_standard_data_set():
    seen = 0
    for path in SAMPLES.values():
        # Its stream was altered to hold a delimiter, where its size stood.
        if path.name == "JPEG2000-embedded-sequence-delimiter.dcm":
            continue
        file = pydicom.dcmread(path, force=True)
        syntax = file.file_meta.get("TransferSyntaxUID") if hasattr(file, "file_meta") else None
        if syntax and "JPEG" in syntax.name and "PixelData" in file:
            frames = int(file.get("NumberOfFrames") or 1)
            first = get_frame(file.PixelData, 0, number_of_frames=frames)
            assert stream_size(first) == (file.Rows, file.Columns), path
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("size", [(17, 300), (256, 8)])
def test_streams_of_another_library(kind, size):
    file = io.BytesIO()
    Image.fromarray(np.zeros(size, np.uint8)).save(file, kind, exif=b"Exif\0\0" + bytes(3000))
    assert stream_size(file.getvalue()) == size


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8ab", bytes(99)])
def test_what_is_no_stream_states_no_size(data):
    assert stream_size(data) is None
    assert stream_size(b"\xff\xd8" + b"\xff" * 99) is None


def bomb(kind, path):
    """Write a small file that unpacks to 170 MB or more."""
    if kind == "deflated.dcm":
        ds = dataset(levels(12, shape=(64, 64)))
        ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        ds.add_new(0x00091010, "OB", bytes(300_000_000))
        ds.save_as(path, enforce_file_format=True)
    elif kind == "rle.dcm":
        ds = dataset(levels(12, shape=(64, 64)))
        ds.compress(RLELossless)
        ds.Rows = ds.Columns = 13_000
        ds.save_as(path, enforce_file_format=True)
    elif kind == "a.tif":
        tones = np.zeros((13_000, 13_000), np.uint16)
        tifffile.imwrite(path, tones, compression="zlib")
    else:
        Image.fromarray(np.zeros((13_000, 13_000), np.uint8)).save(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["deflated.dcm", "rle.dcm", "a.tif", "a.png"])
def test_a_file_that_unpacks_to_far_more_costs_no_memory(kind, tmp_path):
    bomb(kind, tmp_path / kind)
    assert (tmp_path / kind).stat().st_size < 2_000_000
    tracemalloc.start()
    try:
        with pytest.raises(UnsuitableError, match="weighs 1/200"):
            imaging.read(tmp_path / kind)
        assert tracemalloc.get_traced_memory()[1] < 128e6
    finally:
        tracemalloc.stop()


def test_a_stream_larger_than_the_header_is_not_decoded(tmp_path, monkeypatch):
    ds = dataset(levels(8, shape=(64, 64)), bits=8)
    ds.compress(JPEGLSLossless)
    data = bytearray(ds.PixelData)
    at = data.index(b"\xff\xf7")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    ds.PixelData = bytes(data)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    monkeypatch.setattr("roentmod.imaging.dicom.pixel_array", lambda _: pytest.fail("decoded"))
    with pytest.raises(UnreadableError, match="64 x 64 for 65535 x 65535"):
        imaging.read(tmp_path / "a.dcm")
