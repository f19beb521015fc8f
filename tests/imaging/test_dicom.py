import contextlib
import io
import logging
import os
import struct
import time
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from roentmod import imaging
from roentmod.errors import InputError, UnreadableError, UnsuitableError
from roentmod.imaging.grey_scale import grey_scale

from .conftest import DX, SAMPLES, dataset, levels


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


# What pydicom-data holds -------------------------------------------------------------------------

CHESTS = [f"RG1_{kind}.dcm" for kind in ("UNCI", "UNCR", "J2KI", "J2KR")]


def test_exactly_the_chest_radiographs_of_pydicom_are_accepted():
    accepted = []
    for name, path in SAMPLES.items():
        # Secondary captures that say nothing about their content cannot be told from radiographs.
        if name in (*CHESTS, "mlut_18.dcm", "vlut_04.dcm", "image_dfl.dcm"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with contextlib.suppress(InputError):
                imaging.read(path)
                accepted.append(name)
    assert accepted == []


@pytest.mark.parametrize("name", CHESTS)
def test_a_real_radiograph_is_what_pydicom_decodes(name, caplog):
    path = SAMPLES[name]
    radiograph = imaging.read(path)
    ds = pydicom.dcmread(path)
    assert np.array_equal(radiograph.stored, ds.pixel_array)
    assert radiograph.bits == 15
    assert radiograph.spacing_mm is None
    assert "not positive" in caplog.text
    assert radiograph.source == name
    # Windowed by pydicom, with the output range it documents, and inverted as MONOCHROME1.
    shown = 1 - apply_voi_lut(ds.pixel_array, ds) / (2**15 - 1)
    assert np.abs(radiograph.pixels - shown).max() < 1e-6


@pytest.mark.parametrize("name", ["mlut_18.dcm", "vlut_04.dcm"])
def test_real_look_up_tables_are_pydicoms(name):
    ds = pydicom.dcmread(SAMPLES[name])
    assert ds.get("ModalityLUTSequence") or ds.get("VOILUTSequence")
    stored = ds.pixel_array
    expected = apply_voi_lut(np.rint(apply_modality_lut(stored, ds)).astype(int), ds)
    grey = grey_scale(ds, stored)
    ours = grey.display(stored)
    # A straight line between the two: the same up to range, direction included.
    slope, offset = np.polyfit(expected.ravel().astype(float), ours.ravel(), 1)
    assert slope > 0
    assert np.abs(ours - (slope * expected + offset)).max() < 1e-5


# The grey scale ----------------------------------------------------------------------------------


@given(
    bits=st.integers(8, 16),
    signed=st.booleans(),
    centre=st.floats(-5000, 70000),
    width=st.floats(1, 70000),
    slope=st.sampled_from([1.0, 0.5, 2.0]),
    intercept=st.sampled_from([0.0, -1024.0]),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_windows_are_pydicoms(bits, signed, centre, width, slope, intercept, function):
    centre, width = round(centre, 2), round(width, 2)
    stored = levels(bits, signed=signed)
    ds = dataset(
        stored,
        bits=bits,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        WindowCenter=centre,
        WindowWidth=width,
        VOILUTFunction=function,
    )
    lowest = -(1 << bits - 1) if signed else 0
    low, high = (np.array([lowest, lowest + (1 << bits) - 1])) * slope + intercept
    if width == 1 and function == "LINEAR":
        expected = (stored * slope + intercept > centre - 0.5).astype(float)
    else:
        with np.errstate(over="ignore"):  # pydicom's sigmoid overflows to the right limit
            shown = apply_voi_lut(apply_modality_lut(stored, ds), ds)
        expected = (shown - low) / (high - low)
    assert np.abs(grey_scale(ds, stored).display(stored) - expected).max() < 1e-5


def test_the_first_of_several_windows_counts():
    stored = levels()
    one = dataset(stored, WindowCenter=1000, WindowWidth=500)
    two = dataset(stored, WindowCenter=[1000, 2000], WindowWidth=[500, 100])
    assert np.array_equal(grey_scale(one, stored).table, grey_scale(two, stored).table)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_without_a_window_the_picture_uses_the_whole_range(save, bits, signed):
    stored = levels(bits, signed=signed)
    radiograph = imaging.read(save(dataset(stored, bits=bits)))
    assert np.array_equal(radiograph.stored, stored)
    exact = (stored.astype(float) - stored.min()) / (float(stored.max()) - stored.min())
    assert np.abs(radiograph.pixels - exact).max() < 1e-6
    assert radiograph.pixels.min() == 0
    assert radiograph.pixels.max() == 1


def test_padding_does_not_set_the_range(save):
    stored = levels(12).clip(1000, 3000)
    stored[:10] = 0
    radiograph = imaging.read(save(dataset(stored, PixelPaddingValue=0)))
    assert radiograph.pixels[10:].min() == 0
    assert radiograph.pixels[10:].max() == 1


@pytest.mark.parametrize("tags", [{"WindowCenter": 100, "WindowWidth": 0}, {"WindowWidth": 5}])
def test_an_impossible_window_counts_as_none(tags):
    stored = levels()
    expected = grey_scale(dataset(stored), stored)
    assert np.array_equal(grey_scale(dataset(stored, **tags), stored).table, expected.table)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),  # digital X-ray says the same thing twice
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),  # as dcmtk and dcm4che show it
    ],
)
def test_polarity(save, photometric, shape, inverted):
    tags = {"PresentationLUTShape": shape} if shape else {}
    plain = imaging.read(save(dataset()))
    other = imaging.read(save(dataset(PhotometricInterpretation=photometric, **tags), "b.dcm"))
    expected = 1 - plain.pixels if inverted else plain.pixels
    assert np.abs(other.pixels - expected).max() < 1e-6


def lut(entries, first=0, depth=16, *, raw=None):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) & 0xFFFF, first, depth])
    data = np.asarray(entries, dtype="<u2").tobytes() if raw is None else raw
    item.add_new("LUTData", "OW", data)
    return item


@pytest.mark.parametrize("keyword", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("first", [0, 700])
def test_a_lut_is_pydicoms(keyword, first):
    stored = levels()
    entries = np.rint(np.linspace(0, 1, 3000) ** 2 * 65535)
    ds = dataset(stored, **{keyword: [lut(entries, first)]})
    apply = apply_voi_lut if keyword == "VOILUTSequence" else apply_modality_lut
    expected = apply(stored.astype(int), ds).astype(float)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    assert np.abs(grey_scale(ds, stored).display(stored) - expected).max() < 1e-6


def test_a_lut_of_bytes_and_one_of_65536_entries():
    stored = levels(16)
    full = dataset(stored, bits=16, VOILUTSequence=[lut(np.arange(65536))])
    assert np.allclose(grey_scale(full, stored).display(stored), stored / 65535, atol=1e-6)
    small = levels(8)
    packed = bytes(range(256))
    tiny = dataset(small, bits=8, VOILUTSequence=[lut(range(256), depth=8, raw=packed)])
    assert np.allclose(grey_scale(tiny, small).display(small), small / 255, atol=1e-6)


def test_a_lut_that_rises_and_falls_is_refused(save):
    hill = np.abs(np.arange(4096) - 2048)
    with pytest.raises(UnsuitableError, match="rise or fall") as error:
        imaging.read(save(dataset(VOILUTSequence=[lut(hill)])))
    one_line(error)


def test_a_short_lut_is_unreadable(save):
    item = lut(range(4096))
    item.LUTData = item.LUTData[:6000]
    with pytest.raises(UnreadableError, match="3000 of 4096"):
        imaging.read(save(dataset(VOILUTSequence=[item])))


def test_a_flat_rescale_is_refused(save):
    with pytest.raises(UnsuitableError, match="slope not 0"):
        imaging.read(save(dataset(RescaleSlope=0, RescaleIntercept=5)))


# Pixels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_beyond_bits_stored_are_cut_off(save, signed, compressed):
    stored = levels(12, signed=signed)
    dirty = (stored.view(np.uint16) & 0x0FFF) | np.uint16(0x6000)
    ds = dataset(dirty.view(stored.dtype), bits=12)
    if compressed:
        ds.BitsStored = 16
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.BitsStored = 12
    assert np.array_equal(imaging.read(save(ds)).stored, stored)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_compressed_levels_come_back(save, syntax, bits):
    stored = levels(bits)
    ds = dataset(stored, bits=bits)
    ds.compress(syntax, generate_instance_uid=False)
    assert np.array_equal(imaging.read(save(ds)).stored, stored)


def test_grey_rgb_becomes_grey(save):
    stored = levels(8)
    rgb = np.repeat(stored[..., None], 3, axis=2)
    ds = dataset(rgb, bits=8, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    ds.PlanarConfiguration = 0
    assert np.array_equal(imaging.read(save(ds)).stored, stored)


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({}, None),
        ({"PixelSpacing": [0.15, 0.2]}, (0.15, 0.15)),
        ({"ImagerPixelSpacing": [0.14, 0.14]}, (0.14, 0.14)),
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.2, 0.2]}, (0.1, 0.1)),
        ({"NominalScannedPixelSpacing": [0.3, 0.3], "ImagerPixelSpacing": [0, 0]}, (0.3, 0.3)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2)),
        ({"PixelSpacing": [-1, 1]}, None),
    ],
)
def test_spacing(save, tags, spacing):
    assert imaging.read(save(dataset(**tags))).spacing_mm == spacing


# Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Modality": "CT"}, "got CT"),
        ({"Modality": "MG"}, "got MG"),
        ({"ViewPosition": "LL"}, "got 'LL'"),
        ({"ViewPosition": "LATERAL"}, "frontal"),
        ({"ViewPosition": "RLO"}, "frontal"),
        ({"BodyPartExamined": "HAND"}, "got 'HAND'"),
        ({"NumberOfFrames": 2}, "One frame is needed; got 2"),
        ({"Rows": 30000, "Columns": 30000}, "30000 x 30000"),
        ({"Rows": 0}, "0 x 80"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "grey"),
        ({"BitsStored": 4, "HighBit": 3}, "8 to 16 bits"),
        ({"HighBit": 15}, "High Bit"),
    ],
)
def test_the_wrong_kind_is_refused_in_one_line(save, tags, words):
    path = save(dataset(**tags))
    with pytest.raises(UnsuitableError, match=words) as error:
        imaging.read(path)
    assert one_line(error).startswith("in.dcm: ")


def test_a_lateral_view_code_is_refused(save):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "399348003", "SCT"
    code.CodeMeaning = "left lateral"
    with pytest.raises(UnsuitableError, match="LEFT LATERAL"):
        imaging.read(save(dataset(ViewPosition=None, ViewCodeSequence=[code])))


@pytest.mark.parametrize(
    "tags",
    [
        {"ViewPosition": "LLD"},
        {"ViewPosition": "AP"},
        {"BodyPartExamined": "PORT CHEST"},
        {"BodyPartExamined": None, "ViewPosition": None},
        {"Modality": "OT"},
        {"Modality": "DX"},
    ],
)
def test_frontal_chests_are_accepted(save, tags):
    assert imaging.read(save(dataset(**tags))).stored.shape == (96, 80)


def test_the_header_says_the_view(save):
    views = {"AP": "AP", "PA": "PA", "LLD": "", None: ""}
    read = [imaging.read(save(dataset(ViewPosition=view))).view for view in views]
    assert read == list(views.values())


def test_real_unsuitable_files():
    for name, words in (
        ("CT_small.dcm", "got CT"),
        ("RG3_UNCI.dcm", "EXTREMITY"),
        ("rtdose_1frame.dcm", "RTDOSE"),
        ("SC_rgb.dcm", "colour"),
    ):
        with pytest.raises(UnsuitableError, match=words) as error:
            imaging.read(SAMPLES[name])
        one_line(error)
    with pytest.raises(UnreadableError, match="preamble"):
        imaging.read(SAMPLES["OT-PAL-8-face.dcm"])


def test_no_pixel_data_is_refused(save):
    ds = dataset(Rows=None, Columns=None)
    del ds.PixelData
    with pytest.raises(UnsuitableError, match="pixel data"):
        imaging.read(save(ds))


@pytest.mark.parametrize("keep", [140, 400, 900, 6000])
def test_a_truncated_file_is_refused(save, keep):
    path = save(dataset())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError) as error:
        imaging.read(path)
    one_line(error)


def test_truncated_pixels_name_the_transfer_syntax(save):
    path = save(dataset())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UnreadableError, match="Explicit VR Little Endian"):
        imaging.read(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_truncated_compressed_pixels_are_unreadable(save, syntax):
    ds = dataset()
    ds.compress(syntax, generate_instance_uid=False)
    path = save(ds)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableError) as error:
        imaging.read(path)
    one_line(error)


def test_an_undecodable_syntax_is_named(save):
    ds = dataset(levels(8), bits=8)
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    with pytest.raises(UnreadableError, match="JPEG Baseline") as error:
        imaging.read(save(ds))
    one_line(error)


def test_a_damaged_value_is_one_line(save):
    path = save(dataset(RescaleSlope="1.5", RescaleIntercept="0"))
    data = path.read_bytes()
    assert data.count(b"1.5 ") == 1
    path.write_bytes(data.replace(b"1.5 ", b"?.? "))
    with pytest.raises(UnreadableError) as error:
        imaging.read(path)
    one_line(error)


def test_raw_detector_data_is_said(save, caplog):
    caplog.set_level(logging.WARNING)
    imaging.read(save(dataset(PresentationIntentType="FOR PROCESSING")))
    assert "FOR PROCESSING" in caplog.text


def test_a_lossy_transfer_syntax_is_recorded(save):
    stored = levels(8)
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, format="JPEG", quality=90)
    ds = dataset(stored, bits=8)
    ds.PixelData = pydicom.encaps.encapsulate([buffer.getvalue()])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    radiograph = imaging.read(save(ds))
    assert radiograph.origin.LossyImageCompression == "01"
    assert np.abs(radiograph.stored.astype(int) - stored).mean() < 3


def test_dx_reads(save):
    radiograph = imaging.read(save(dataset(**DX)))
    assert radiograph.spacing_mm == (0.14, 0.14)


# Headers without end -----------------------------------------------------------------------------

ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
ENDLESS = {
    "zeros": bytes(4 << 20),
    "empty elements": struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 0) * 400_000,
    "items": struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 2**32 - 1) + ITEM * 400_000,
}


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("name", ENDLESS)
def test_a_header_without_end_is_refused_early(tmp_path, name, deflated):
    meta = FileMetaDataset()
    syntax = DeflatedExplicitVRLittleEndian if deflated else ExplicitVRLittleEndian
    meta.TransferSyntaxUID = syntax
    file, content = io.BytesIO(), ENDLESS[name]
    write_file_meta_info(file, meta, enforce_standard=False)
    if deflated:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = packer.compress(content) + packer.flush()
    (tmp_path / "x.dcm").write_bytes(bytes(128) + b"DICM" + file.getvalue() + content)
    started = time.process_time()
    with pytest.raises(UnreadableError):
        imaging.read(tmp_path / "x.dcm")
    # All of it would take some ten seconds.
    assert time.process_time() - started < 4


def test_a_file_that_is_heavier_than_any_picture_is_not_read(tmp_path):
    for head in (bytes(128) + b"DICM", b"\x89PNG\r\n\x1a\n", b"II*\0"):
        (tmp_path / "x").write_bytes(head)
        os.truncate(tmp_path / "x", 2**31)
        with pytest.raises(UnsuitableError, match="at most"):
            imaging.read(tmp_path / "x")
