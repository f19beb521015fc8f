import io
import json
import logging
import threading
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from roentmod import imaging
from roentmod.errors import EditError, InputError, UnreadableError, UnsuitableError
from roentmod.imaging.checks import unheard
from roentmod.radiograph import Radiograph

from .conftest import EDIT, dataset, facts_of, levels

RGB8 = np.repeat(levels(8)[..., None], 3, axis=2)


def saved(folder, image, name="a.png", **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        folder / name, **options
    )
    return folder / name


def test_remarks_of_libraries_are_unheard_while_a_file_is_read_and_in_no_other_thread(caplog):
    library = logging.getLogger("tifffile")
    # Whatever level a command, run before, has set.
    caplog.set_level(logging.WARNING, library.name)
    with unheard():
        library.warning("Zebulon")
        warnings.warn("Zebulon", UserWarning, stacklevel=1)
        other = threading.Thread(target=library.warning, args=("elsewhere",))
        other.start()
        other.join()
    library.warning("afterwards")
    assert [record.message for record in caplog.records] == ["elsewhere", "afterwards"]


def tiff(folder, data, **options):
    tifffile.imwrite(folder / "a.tif", data, **options)
    return folder / "a.tif"


def refused(path, kind, words):
    with pytest.raises(kind, match=words) as error:
        imaging.read(path)
    text = str(error.value)
    assert text.startswith(f"{path.name}: ")
    assert "\n" not in text
    assert len(text) < 400


# Reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("form", ["png", "tif"])
def test_grey_levels_are_kept(tmp_path, bits, form):
    stored = levels(bits)
    path = saved(tmp_path, stored) if form == "png" else tiff(tmp_path, stored)
    radiograph = imaging.read(path)
    assert np.array_equal(radiograph.stored, stored)
    assert radiograph.bits == bits
    assert radiograph.spacing_mm is None
    assert np.allclose(radiograph.pixels, stored / (2.0**bits - 1), atol=1e-6)
    assert radiograph.source == path.name


def test_content_counts_not_the_suffix(tmp_path):
    saved(tmp_path, levels(8)).rename(tmp_path / "x.dcm")
    assert imaging.read(tmp_path / "x.dcm").bits == 8
    dataset().save_as(tmp_path / "y.png", enforce_file_format=True)
    assert imaging.read(tmp_path / "y.png").bits == 12
    assert imaging.native_suffix(imaging.read(tmp_path / "x.dcm")) == ".png"
    assert imaging.native_suffix(imaging.read(tmp_path / "y.png")) == ".dcm"


@pytest.mark.parametrize("colour", [False, True])
def test_grey_jpeg(tmp_path, colour):
    path = saved(tmp_path, RGB8 if colour else levels(8), "a.jpg", quality=95)
    assert np.abs(imaging.read(path).stored.astype(int) - levels(8)).mean() < 2


def test_colour_files_of_grey_pictures(tmp_path):
    opaque = np.dstack([RGB8, np.full(RGB8.shape[:2], 255, np.uint8)])
    palette = Image.fromarray(levels(8)).convert("P")
    for image in (RGB8, opaque, Image.fromarray(opaque[..., ::3], "LA"), palette):
        assert np.array_equal(imaging.read(saved(tmp_path, image)).stored, levels(8))
    path = tiff(tmp_path, RGB8, photometric="rgb")
    assert np.array_equal(imaging.read(path).stored, levels(8))
    planes = np.moveaxis(RGB8, -1, 0)
    path = tiff(tmp_path, planes, photometric="rgb", planarconfig="separate")
    assert np.array_equal(imaging.read(path).stored, levels(8))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_float_tiff(tmp_path, kind):
    shown = (levels(16) / 65535).astype(kind)
    radiograph = imaging.read(tiff(tmp_path, shown))
    assert radiograph.bits == 16
    assert np.abs(radiograph.pixels - shown).max() <= 0.51 / 65535


@pytest.mark.parametrize("dark", [np.uint8, np.uint16, np.float32])
def test_min_is_white_is_turned_over(tmp_path, dark):
    data = levels(8) if dark == np.uint8 else levels(16)
    top = 255 if dark == np.uint8 else 65535
    data = (data / 65535).astype(dark) if dark == np.float32 else data
    radiograph = imaging.read(tiff(tmp_path, data, photometric="miniswhite"))
    expected = 1 - data.astype(float) / (1 if dark == np.float32 else top)
    assert np.abs(radiograph.pixels - expected).max() < 1e-5


def test_compressed_and_big_endian_tiffs(tmp_path):
    path = tiff(tmp_path, levels(16), compression="zlib", byteorder=">")
    assert np.array_equal(imaging.read(path).stored, levels(16))


# Refusals ----------------------------------------------------------------------------------------


def test_colour_and_transparency_are_refused(tmp_path):
    colour = RGB8.copy()
    colour[5, 5, 0] ^= 1
    refused(saved(tmp_path, colour), UnsuitableError, "colour")
    refused(tiff(tmp_path, colour, photometric="rgb"), UnsuitableError, "colour")
    glass = np.dstack([RGB8, np.full(RGB8.shape[:2], 254, np.uint8)])
    refused(saved(tmp_path, glass), UnsuitableError, "opaque")
    refused(
        saved(tmp_path, Image.fromarray(RGB8).convert("CMYK"), "a.jpg"), UnsuitableError, "CMYK"
    )
    refused(
        saved(tmp_path, levels(8), transparency=levels(8)[9, 9].item()), UnsuitableError, "opaq"
    )


def test_one_bit_is_refused(tmp_path):
    refused(saved(tmp_path, levels(8) > 128), UnsuitableError, "1 bit")


def test_blank_pictures_are_refused(tmp_path):
    refused(saved(tmp_path, np.full((80, 80), 9, np.uint8)), UnsuitableError, "every pixel is 9")


def test_small_pictures_are_refused(tmp_path):
    refused(saved(tmp_path, levels(8, shape=(40, 90))), UnsuitableError, "64 to 16384")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.full((80, 80), np.nan, np.float32), "NaN"),
        (np.where(np.eye(80), np.inf, 0.5).astype(np.float32), "finite"),
        (levels(8).astype(np.float32), "got 0 to 255"),
        (levels(8) / np.float32(-255), "got -1"),
        (levels(12, signed=True), "got int16"),
        (levels(8).astype(np.uint32), "got uint32"),
        (levels(8).astype(np.complex64), "got complex64"),
    ],
)
def test_tiffs_of_other_numbers_are_refused(tmp_path, data, words):
    refused(tiff(tmp_path, data), UnsuitableError, words)


def test_tiffs_of_several_pages_are_refused(tmp_path):
    path = tiff(tmp_path, np.stack([levels(8)] * 2), photometric="minisblack")
    refused(path, UnsuitableError, "got 2")


def test_animations_are_refused(tmp_path):
    frames = [Image.fromarray(levels(8, seed=seed)) for seed in range(2)]
    path = saved(tmp_path, frames[0], save_all=True, append_images=frames[1:])
    refused(path, UnsuitableError, "got 2")


def png_header(width, height, depth=8, colour=0):
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big")
    body += bytes([depth, colour, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + body + zlib.crc32(body).to_bytes(4, "big")


@pytest.mark.parametrize(("width", "height"), [(16385, 90), (30000, 30000), (2**31 - 1, 5)])
def test_huge_headers_are_refused_before_anything_is_allocated(tmp_path, width, height):
    path = tmp_path / "a.png"
    path.write_bytes(png_header(width, height) + b"\0\0\0\x20IDAT" + bytes(50))
    refused(path, UnsuitableError, "16384|at most")


def test_huge_tiff_headers_are_refused(tmp_path):
    path = tiff(tmp_path, levels(8))
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["ImageLength"].overwrite(30000)
        file.pages[0].tags["ImageWidth"].overwrite(30000)
    refused(path, UnsuitableError, "30000 x 30000")


def test_sixteen_bit_colour_is_not_silently_reduced(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_header(80, 80, depth=16, colour=2) + bytes(50))
    refused(path, UnsuitableError, "16-bit PNG")


@pytest.mark.parametrize("form", ["png", "jpg", "tif"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9])
def test_truncated_files_are_refused(tmp_path, form, part):
    path = tiff(tmp_path, levels(16)) if form == "tif" else saved(tmp_path, levels(8), f"a.{form}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refused(path, UnreadableError, "whole|none of them")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"not an image at all\n" * 40, "none of them"), (b"\0" * 500, "none of")],
)
def test_other_files_are_refused(tmp_path, content, words):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    refused(path, UnreadableError, words)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "none.png", UnreadableError, "no such file")
    refused(tmp_path, UnreadableError, "directory|permission")


@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_never_anything_else(tmp_path_factory, data):
    """Bytes changed anywhere: a radiograph, or one of our errors."""
    form = data.draw(st.sampled_from(["png", "jpeg", "tiff", "dcm"]))
    buffer = io.BytesIO()
    if form == "dcm":
        dataset().save_as(buffer, enforce_file_format=True)
    else:
        Image.fromarray(levels(8)).save(buffer, format=form)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(content) - 1, 1200)))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    try:
        radiograph = imaging.read(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(radiograph, Radiograph)


# Masks -------------------------------------------------------------------------------------------


@pytest.fixture
def radiograph(tmp_path):
    return imaging.read(saved(tmp_path, levels(8), "r.png"))


@pytest.mark.parametrize("kind", ["1", "L", "I;16", "RGB", "float", "tif"])
def test_masks(tmp_path, radiograph, kind):
    inside = np.zeros(radiograph.stored.shape, bool)
    inside[10:30, 20:40] = True
    grey = np.where(inside, 128, 127).astype(np.uint8)
    images = {
        "1": lambda: saved(tmp_path, inside),
        "L": lambda: saved(tmp_path, grey),
        "I;16": lambda: saved(tmp_path, np.where(inside, 32768, 32767).astype(np.uint16)),
        "RGB": lambda: saved(tmp_path, np.repeat(grey[..., None], 3, axis=2)),
        "float": lambda: tiff(tmp_path, np.where(inside, 0.51, 0.5).astype(np.float32)),
        "tif": lambda: tiff(tmp_path, grey),
    }
    mask = imaging.read_mask(images[kind](), radiograph)
    assert mask.dtype == bool
    assert np.array_equal(mask, inside)


def test_a_mask_of_another_shape_is_refused(tmp_path, radiograph):
    path = saved(tmp_path, levels(8, shape=(80, 96)))
    with pytest.raises(EditError, match="96x80; got 80x96"):
        imaging.read_mask(path, radiograph)


def test_a_damaged_mask_is_refused(tmp_path, radiograph):
    (tmp_path / "m.png").write_bytes(b"text")
    with pytest.raises(UnreadableError, match=r"m\.png"):
        imaging.read_mask(tmp_path / "m.png", radiograph)
    dataset().save_as(tmp_path / "m.dcm", enforce_file_format=True)
    with pytest.raises(UnsuitableError, match="DICOM"):
        imaging.read_mask(tmp_path / "m.dcm", radiograph)


# Writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_round_trip_keeps_levels(tmp_path, bits):
    baseline = imaging.read(saved(tmp_path, levels(bits)))
    imaging.write(baseline, tmp_path / "o.png", provenance=facts_of(baseline))
    again = imaging.read(tmp_path / "o.png")
    assert np.array_equal(again.stored, baseline.stored)
    assert again.id == baseline.id


@pytest.mark.parametrize(
    "tags",
    [
        {"bits": 12},
        {"bits": 12, "PhotometricInterpretation": "MONOCHROME1"},
        {"stored": levels(16), "bits": 16, "WindowCenter": 30000, "WindowWidth": 20000},
        {"stored": levels(8), "bits": 8, "PhotometricInterpretation": "MONOCHROME1"},
    ],
)
def test_dicom_becomes_png_as_displayed(save, tmp_path, tags):
    baseline = imaging.read(save(dataset(**tags)))
    imaging.write(baseline, tmp_path / "o.png", provenance=facts_of(baseline))
    with Image.open(tmp_path / "o.png") as image:
        assert image.mode == ("L" if tags["bits"] == 8 else "I;16")
    step = 255 if tags["bits"] == 8 else 65535
    difference = imaging.read(tmp_path / "o.png").pixels - baseline.pixels
    assert np.abs(difference).max() <= 0.51 / step


def test_png_text_says_what_it_is(tmp_path, radiograph):
    imaging.write(radiograph, tmp_path / "o.png", provenance=facts_of(radiograph))
    with Image.open(tmp_path / "o.png") as image:
        text = image.text
    assert text["SyntheticData"] == "YES"
    assert text["Software"].startswith("RoentMod ")
    assert "Not for clinical use" in text["Comment"]
    assert text["Title"] == "SYNTHETIC with Pleural Effusion"
    assert radiograph.id in text["Source"]
    facts = json.loads(text["roentmod"])
    assert facts["edit_id"] == EDIT.id
    assert facts["arm"] == "counterfactual"
    assert facts["model"]["editor"] == "mini"
    assert "source" not in facts
    assert "seconds" not in facts["model"]


def test_an_unedited_copy_is_not_called_synthetic(tmp_path, radiograph):
    imaging.write(radiograph, tmp_path / "o.png", provenance=None)
    with Image.open(tmp_path / "o.png") as image:
        assert set(image.text) == {"Software"}


def test_the_same_command_gives_the_same_bytes(tmp_path, radiograph):
    for name in ("1.png", "2.png"):
        imaging.write(radiograph, tmp_path / name, provenance=facts_of(radiograph))
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_other_suffixes_are_refused_and_leave_nothing(tmp_path, radiograph):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UnsuitableError, match=r"\.png or \.dcm"):
        imaging.write(radiograph, tmp_path / "o.jpg", provenance=None)
    assert sorted(tmp_path.iterdir()) == before


def test_a_failing_writer_leaves_nothing(tmp_path, radiograph):
    before = sorted(tmp_path.iterdir())
    for name in ("o.png", "o.dcm"):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            imaging.write(radiograph, tmp_path / name, provenance={"edit": 5})
    assert sorted(tmp_path.iterdir()) == before
