"""Grey levels that files state in ways of their own: padding, tables, bits in use."""

import struct
import zlib

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image, PngImagePlugin
from pydicom.dataelem import DataElement
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGLSLossless

from roentmod import imaging
from roentmod.errors import UnreadableError, UnsuitableError
from roentmod.imaging.grey_scale import grey_scale

from .conftest import dataset, facts_of, levels, validate
from .test_dicom import lut

# Padding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["US", "SS", "OW", "UN"])
@pytest.mark.parametrize(
    ("signed", "ends"),
    [
        *((signed, ends) for signed in (False, True) for ends in ((20, 24), (24, 20), (20, None))),
        (True, (-2040, -2048)),
        (True, (-2048, None)),
    ],
)
def test_the_whole_range_of_padding_is_left_out(kind, signed, ends):
    base = -2000 if signed else 60
    stored = (levels(12).clip(100, 4000).astype(int) + base).astype("i2" if signed else "u2")
    low, high = min(e for e in ends if e is not None), max(e for e in ends if e is not None)
    stored[:5], stored[5:9] = low, high
    ds = dataset(stored)
    for keyword, value in zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), ends, strict=True):
        if value is None:
            continue
        tag = pydicom.datadict.tag_for_keyword(keyword)
        raw = (value & 0xFFFF).to_bytes(2, "little")
        if kind in ("US", "SS"):
            whole = int.from_bytes(raw, "little", signed=kind == "SS")
            ds.add(DataElement(tag, kind, whole))
        else:
            ds.add(DataElement(tag, "OW" if kind == "OW" else "UN", raw))
    shown = grey_scale(ds, stored).display(stored)[9:]
    assert shown.min() == 0
    assert shown.max() == 1


def test_padding_in_big_endian_and_implicit_files(save):
    stored = levels(12, signed=True).clip(-1000, 1000)
    stored[:6], stored[6:9] = -2000, -1990
    for syntax in (pydicom.uid.ImplicitVRLittleEndian, pydicom.uid.ExplicitVRBigEndian):
        ds = dataset(stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == pydicom.uid.ExplicitVRBigEndian:
            ds.PixelData = stored.astype(">i2").tobytes()
        shown = imaging.read(save(ds)).pixels[9:]
        assert (shown.min(), shown.max()) == (0, 1)


def test_a_picture_of_padding_and_one_level_keeps_its_range():
    stored = np.full((96, 80), 0, np.uint16)
    stored[20:] = 700
    shown = grey_scale(dataset(stored, PixelPaddingValue=0), stored).display(stored)
    assert (shown[0, 0], shown[-1, 0]) == (0, 1)


# VOI LUTs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "low", "high", "white"),
    [
        (12, 400, 3000, 4095),
        (16, 400, 3000, 4095),  # says 16, as files must, and means 12
        (16, 0, 65535, 65535),
        (16, 0, 40000, 65535),
        (16, 0, 20000, 65535),
        (16, 100, 16000, 16383),
        (10, 0, 900, 1023),
        (12, 0, 900, 4095),  # a dark table is dark
        (8, 10, 200, 255),
        (8, 0, 60, 255),
        (8, 0, 3000, 4095),  # says fewer than it uses
        (16, 3, 250, 255),
        (0, 0, 3000, 4095),
        (99, 0, 3000, 4095),
    ],
)
def test_a_voi_lut_fills_what_its_bits_can_hold(save, tmp_path, stated, low, high, white):
    stored = levels(12)
    entries = np.rint(np.linspace(low, high, 4096)).astype(int)
    path = save(dataset(stored, VOILUTSequence=[lut(entries, depth=stated)]))
    baseline = imaging.read(path)
    assert np.abs(baseline.pixels - entries[stored] / white).max() < 2e-5
    imaging.write(baseline, tmp_path / "o.dcm", provenance=facts_of(baseline))
    assert np.array_equal(imaging.read(tmp_path / "o.dcm").pixels, baseline.pixels)
    # dciodvfy wants an entry that needs all 8 or 16 bits; a dark table has none.
    if 2 * high >= white:
        assert validate(tmp_path / "o.dcm") == []


# Bits in use -------------------------------------------------------------------------------------


def png(path, stored, bits=None, **options):
    """A 16-bit PNG, with sBIT where `bits` are given."""
    Image.fromarray(stored).save(path, "PNG", **options)
    if bits is not None:
        data = path.read_bytes()
        chunk = b"sBIT" + bytes([bits])
        chunk = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
        path.write_bytes(data[:33] + chunk + data[33:])


@pytest.mark.parametrize(
    ("bits", "top", "stated", "white"),
    [
        (12, 4095, None, 4095),
        (12, 3000, None, 4095),
        (12, 3000, 12, 4095),
        (12, 700, 12, 4095),
        (12, 700, None, 1023),
        (10, 1023, None, 1023),
        (14, 9000, None, 16383),
        (15, 32767, None, 32767),
        (16, 40000, None, 65535),
        (16, 3000, 16, 65535),
        (12, 65520, 12, 65535),  # as the PNG standard wants it: scaled up
        (8, 200, None, 255),
    ],
)
@pytest.mark.parametrize("form", ["png", "tiff"])
def test_fewer_bits_in_16_are_shown_as_what_they_are(
    tmp_path, caplog, form, bits, top, stated, white
):
    stored = np.rint(levels(16) / 65535 * top).astype(np.uint16)
    path = tmp_path / "in"
    if form == "png":
        png(path, stored, stated)
    else:
        highest = [(281, 3, 1, (1 << stated) - 1, True)] if stated else []
        tifffile.imwrite(path, stored, extratags=highest)
    baseline = imaging.read(path)
    assert np.array_equal(baseline.stored, stored)
    assert np.abs(baseline.pixels - stored / white).max() < 1e-6
    assert ("white is taken" in caplog.text) == (stated is None and white < 65535)
    # The output keeps levels, and says how many bits they have.
    imaging.write(baseline, tmp_path / "o.png", provenance=facts_of(baseline))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o.png")), stored)
    caplog.clear()
    again = imaging.read(tmp_path / "o.png")
    assert (again.id, again.bits) == (baseline.id, baseline.bits)
    assert caplog.text == ""
    imaging.write(baseline, tmp_path / "o.dcm", provenance=facts_of(baseline))
    assert np.abs(imaging.read(tmp_path / "o.dcm").pixels - baseline.pixels).max() < 1e-5
    assert validate(tmp_path / "o.dcm") == []


def test_our_own_dark_pictures_stay_dark(save, tmp_path):
    tags = {"WindowCenter": 20000, "WindowWidth": 40000}
    baseline = imaging.read(save(dataset(levels(12), **tags)))
    assert baseline.pixels.max() < 0.11
    imaging.write(baseline, tmp_path / "o.png", provenance=facts_of(baseline))
    again = imaging.read(tmp_path / "o.png")
    assert np.abs(again.pixels - baseline.pixels).max() < 1e-5
    # Those of earlier versions carry the name alone.
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Software", "RoentMod 0.1.0")
    png(tmp_path / "old.png", np.asarray(Image.open(tmp_path / "o.png")), pnginfo=chunks)
    assert imaging.read(tmp_path / "old.png").id == again.id


def test_a_mask_of_12_bits_is_a_mask(tmp_path):
    Image.fromarray(levels(8)).save(tmp_path / "r.png")
    soft = np.linspace(0, 4095, 96)[:, None].repeat(80, 1).astype(np.uint16)
    Image.fromarray(soft).save(tmp_path / "m.png")
    mask = imaging.read_mask(tmp_path / "m.png", imaging.read(tmp_path / "r.png"))
    assert np.array_equal(mask, soft > 2047)


def test_16_bit_grey_with_an_unused_transparent_level_is_taken(tmp_path):
    stored = levels(16)
    stored[stored == 77] = 78
    png(tmp_path / "in", stored, transparency=77)
    assert np.array_equal(imaging.read(tmp_path / "in").stored, stored)
    png(tmp_path / "in", stored, transparency=int(stored[9, 9]))
    with pytest.raises(UnsuitableError, match="opaque"):
        imaging.read(tmp_path / "in")


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [JPEG2000, JPEG2000Lossless, JPEGLSLossless])
def test_codestreams_of_more_bits_than_are_stored(save, syntax, signed):
    stored = levels(12, signed=signed)
    if syntax == JPEG2000:  # as lossy compression leaves them
        stored = stored + np.where(np.abs(stored.astype(int)) > 2000, 18, 0).astype(stored.dtype)
    ds = dataset(stored, bits=16)
    lossless = JPEG2000Lossless if syntax == JPEG2000 else syntax
    ds.compress(lossless, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.BitsStored, ds.HighBit = 12, 11
    baseline = imaging.read(save(ds))
    lowest = -2048 if signed else 0
    assert np.array_equal(baseline.stored, stored.clip(lowest, lowest + 4095))
    assert np.isfinite(baseline.pixels).all()


def test_levels_far_beyond_bits_stored_are_refused(save):
    ds = dataset(levels(16), bits=16)
    ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    ds.BitsStored, ds.HighBit = 12, 11
    with pytest.raises(UnsuitableError, match=r"Bits Stored = 12 \(0 to 4095\); got 0 to 65535"):
        imaging.read(save(ds))


# Headers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keyword",
    [
        "PhotometricInterpretation",
        "BitsStored",
        "BitsAllocated",
        "PixelRepresentation",
        "SamplesPerPixel",
        "Rows",
    ],
)
def test_what_a_header_lacks_is_named(save, keyword):
    with pytest.raises(UnsuitableError, match=f"must hold {keyword}") as error:
        imaging.read(save(dataset(**{keyword: None})))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["MONOCHROME3", "GREY", "RGB", "PALETTE COLOR"])
def test_an_unknown_photometric_interpretation_is_refused(save, value):
    with pytest.raises(UnsuitableError, match=f"must be grey; got {value}"):
        imaging.read(save(dataset(PhotometricInterpretation=value)))


@pytest.mark.parametrize(
    ("keyword", "good"),
    [
        ("WindowCenter", "2048"),
        ("WindowWidth", "4096"),
        ("RescaleIntercept", "10.5"),
        ("PixelSpacing", "0.20\\0.20"),
        ("ImageOrientationPatient", "1\\0\\0\\0\\0\\-1"),
        ("PixelAspectRatio", "2000\\1000"),
    ],
)
def test_a_number_that_is_none_is_named(save, keyword, good):
    path = save(dataset(**{keyword: good.split("\\") if "\\" in good else good}))
    data = path.read_bytes()
    bad = good[:-2] + "," + good[-1]  # a decimal comma
    assert data.count(good.encode()) == 1
    path.write_bytes(data.replace(good.encode(), bad.encode()))
    with pytest.raises(UnreadableError, match=f"{keyword} must hold numbers") as error:
        imaging.read(path)
    assert bad.split("\\")[-1] in str(error.value)
    assert "\n" not in str(error.value)


def test_grey_in_colour_channels_has_no_window(save):
    stored = levels(8).clip(50, 180)
    rgb = np.repeat(stored[..., None], 3, axis=2)
    tags = {"WindowCenter": 100, "WindowWidth": 50, "RescaleSlope": 2, "RescaleIntercept": -9}
    ds = dataset(rgb, bits=8, SamplesPerPixel=3, PhotometricInterpretation="RGB", **tags)
    ds.PlanarConfiguration = 0
    assert np.abs(imaging.read(save(ds)).pixels - stored / 255).max() < 1e-6


FLAT = {
    "window of centre 9000, width 10": {"WindowCenter": 9000, "WindowWidth": 10},
    "window of centre -500, width 1": {"WindowCenter": -500, "WindowWidth": 1},
    "window of centre 90000, width 9": {
        **{"WindowCenter": 90000, "WindowWidth": 9, "VOILUTFunction": "SIGMOID"},
        **{"RescaleSlope": -1, "RescaleIntercept": 0, "PhotometricInterpretation": "MONOCHROME1"},
    },
    r"window of centre 0, width 1e\+09": {
        **{"WindowCenter": 0, "WindowWidth": 1e9, "VOILUTFunction": "LINEAR_EXACT"},
    },
    "VOI LUT": {"VOILUTSequence": [lut([0, 100], first=5000)]},
}


@pytest.mark.parametrize("words", FLAT)
def test_a_scale_that_shows_nothing_of_the_picture_is_refused(save, words):
    stored = np.linspace(0, 3480, 96 * 80).astype("u2").reshape(96, 80)
    file = save(dataset(stored, **FLAT[words]))
    with pytest.raises(UnsuitableError, match=f"show something; by its {words}, .* 0 to 3480") as e:
        imaging.read(file)
    assert "\n" not in str(e.value)


def test_a_window_at_the_edge_of_the_picture_is_taken(save, tmp_path):
    stored = np.linspace(0, 3480, 96 * 80).astype("u2").reshape(96, 80)
    shown = imaging.read(save(dataset(stored, WindowCenter=3480, WindowWidth=1)))
    assert np.array_equal(shown.pixels, stored == 3480)
    imaging.write(shown, tmp_path / "edge.png", provenance=None)
    assert imaging.read(tmp_path / "edge.png").id == shown.id
    # One level throughout is what it is, whatever the window.
    with pytest.raises(UnsuitableError, match="every pixel is 7"):
        imaging.read(save(dataset(np.full((96, 80), 7, "u2"), WindowCenter=9000, WindowWidth=10)))
