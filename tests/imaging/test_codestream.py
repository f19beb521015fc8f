"""Sizes of streams, against those that the decoders and the standard data set state."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import get_frame

from roentmod.imaging.codestream import stream_size
from tests.imaging.conftest import SAMPLES


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
