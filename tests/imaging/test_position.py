"""Orientation and pixel shape: upright and square inside, the file's own outside."""

import itertools

import numpy as np
import pydicom
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset

from roentmod import imaging
from roentmod.datasets.phantom import phantom
from roentmod.editors.painter import Painter
from roentmod.edits import Edit
from roentmod.errors import UnsuitableError
from roentmod.radiograph import Frame, GreyScale, Radiograph

from .conftest import dataset, facts_of, levels, validate

LETTERS = [*itertools.product("LR", "HF"), *itertools.product("HF", "LR")]
COSINES = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1)}
COSINES["F"] = (0, 0, -1)
UPRIGHT = levels(12)


def laid(upright, row, column):
    """An upright picture as a file holds it whose rows run to `row` and columns to `column`."""
    picture = upright if row in "LR" else upright.T
    picture = picture[:, ::-1] if row in "RH" else picture
    return np.ascontiguousarray(picture[::-1] if column in "RH" else picture)


# Which way up ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", ["letters", "cosines", "both", "long letters"])
@pytest.mark.parametrize("letters", LETTERS)
def test_pictures_are_turned_upright_and_back(save, tmp_path, letters, stated):
    own = laid(UPRIGHT, *letters)
    tags = {"PatientOrientation": list(letters)}
    if stated == "long letters":
        tags = {"PatientOrientation": [letter + "A" for letter in letters]}
    cosines = [*COSINES[letters[0]], *COSINES[letters[1]]]
    if stated in ("cosines", "both"):
        tags = {"ImageOrientationPatient": cosines} | (tags if stated == "both" else {})
    baseline = imaging.read(save(dataset(own, **tags)))
    assert np.array_equal(baseline.stored, UPRIGHT)
    assert np.array_equal(baseline.native, own)
    imaging.write(baseline, tmp_path / "o.dcm", provenance=facts_of(baseline))
    file = pydicom.dcmread(tmp_path / "o.dcm")
    assert np.array_equal(file.pixel_array, own)
    assert [str(part)[0] for part in file.PatientOrientation] == list(letters)
    assert imaging.read(tmp_path / "o.dcm").id == baseline.id
    imaging.write(baseline, tmp_path / "o.png", provenance=None)
    shown = np.asarray(Image.open(tmp_path / "o.png")) / 65535
    assert np.abs(shown - baseline.pixels).max() < 1e-4


PHANTOM = phantom(3, size=128)


@pytest.mark.parametrize("high", [1, 2])
@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_edit_lands_on_the_patients_side_in_the_files_own_pixels(
    save, tmp_path, letters, side, high
):
    drawn = (PHANTOM.radiograph.stored >> 4).reshape(128 // high, high, 128).mean(1)
    own = laid(drawn.astype(np.uint16), *letters)
    tags = {"WindowCenter": 2048, "WindowWidth": 4096, "PatientOrientation": list(letters)}
    tags["PixelAspectRatio"] = [high, 1] if letters[0] in "LR" else [1, high]
    baseline = imaging.read(save(dataset(own, **tags)))
    painter = Painter(anatomies={baseline.id: PHANTOM.anatomy})
    edit = Edit(("Pleural Effusion",), side=side, severity="severe")
    (result,) = painter.edit([baseline], [edit])
    assert result.status == "ok"
    imaging.write(result.image, tmp_path / "o.dcm", provenance=facts_of(baseline))
    after = pydicom.dcmread(tmp_path / "o.dcm").pixel_array
    change = np.abs(after.astype(int) - own)
    rows, columns = (
        np.average((np.arange(size) + 0.5) / size, weights=change.sum(1 - axis))
        for axis, size in enumerate(own.shape)
    )
    # How far to the patient's left, and to the feet, by the header's letters alone.
    place = {letters[0]: columns, letters[1]: rows}
    leftwards = place["L"] if "L" in place else 1 - place["R"]
    footwards = place["F"] if "F" in place else 1 - place["H"]
    assert (leftwards > 0.55) if side == "left" else (leftwards < 0.45)
    assert footwards > 0.5


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PatientOrientation": ["A", "F"]}, "sagittal"),
        ({"PatientOrientation": ["P", "F"], "ViewPosition": None}, "sagittal"),
        ({"PatientOrientation": ["L", "P"]}, "axial"),
        ({"ImageOrientationPatient": [0, -1, 0, 0, 0, -1]}, "sagittal"),
        ({"ViewPosition": None, "SeriesDescription": "CHEST LATERAL"}, "CHEST LATERAL"),
        ({"ViewPosition": None, "StudyDescription": "Thorax lat."}, "THORAX LAT"),
        ({"ViewPosition": "", "ProtocolName": "W_Chest_Lat"}, "W CHEST LAT"),
        (
            {"ViewPosition": None, "AcquisitionDeviceProcessingDescription": "Thorax, seitlich"},
            "SEI",
        ),
        (
            {"PatientOrientation": ["R", "F"], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
            r"L\\F, Patient Orientation R\\F",
        ),
    ],
)
def test_what_cannot_be_frontal_is_refused(save, tags, words):
    with pytest.raises(UnsuitableError, match=words) as error:
        imaging.read(save(dataset(**tags)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "tags",
    [
        {"ViewPosition": None, "StudyDescription": "CHEST PA AND LATERAL"},
        {"ViewPosition": None, "StudyDescription": "XR Chest 2 views lat"},
        {"ViewPosition": None, "SeriesDescription": "BILATERAL RIBS"},
        {"ViewPosition": None, "SeriesDescription": "LEFT LATERAL DECUBITUS"},
        {"ViewPosition": "PA", "StudyDescription": "CHEST LATERAL"},
        {"PatientOrientation": ["L", ""]},
        {"PatientOrientation": "PA"},
        {"PatientOrientation": ["L", "R"]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
    ],
)
def test_what_may_be_frontal_is_taken_as_it_lies(save, tags):
    assert np.array_equal(imaging.read(save(dataset(UPRIGHT, **tags))).stored, UPRIGHT)


def test_slices_are_turned_to_their_own_way_up():
    """By hand: an axial slice of a prone patient is turned half round."""
    from roentmod.imaging.position import dicom_frame, directions, plane

    file = Dataset()
    file.ImageOrientationPatient = [-0.99, 0.1, 0, -0.1, -0.99, 0]
    stated = directions(file)
    assert stated == ("R", "A")
    assert plane(stated) == "axial"
    assert dicom_frame(stated, 1) == Frame(False, True, True)


# Rasters -----------------------------------------------------------------------------------------

# EXIF: where the file's first row and first column lie in the picture as it is to be seen.
EXIF = {
    1: lambda own: own,
    2: lambda own: own[:, ::-1],
    3: lambda own: own[::-1, ::-1],
    4: lambda own: own[::-1],
    5: lambda own: own.T,
    6: lambda own: np.rot90(own, -1),
    7: lambda own: np.rot90(own, 2).T,
    8: lambda own: np.rot90(own),
}


def with_orientation(form, own, value, path):
    exif = Image.Exif()
    exif[274] = value
    xmp = f'<x:xmpmeta xmlns:tiff="t"><a tiff:Orientation="{value}"/></x:xmpmeta>'.encode()
    image = Image.fromarray(own)
    if form == "jpeg":
        image.save(path, "JPEG", exif=exif, quality=100)
    elif form == "jpeg xmp":
        image.save(path, "JPEG", xmp=xmp, quality=100)
    elif form == "png":
        image.save(path, "PNG", exif=exif)
    elif form == "png xmp":
        from PIL import PngImagePlugin

        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(path, "PNG", pnginfo=chunks)
    else:
        tags = [(274, 3, 1, value, True)] if form == "tiff" else [(700, 1, len(xmp), xmp, True)]
        tifffile.imwrite(path, own, extratags=tags)


@pytest.mark.parametrize("form", ["jpeg", "jpeg xmp", "png", "png xmp", "tiff", "tiff xmp"])
@pytest.mark.parametrize("value", EXIF)
def test_rasters_are_turned_upright_for_good(tmp_path, form, value):
    own = levels(8)
    with_orientation(form, own, value, tmp_path / "in")
    baseline = imaging.read(tmp_path / "in")
    wanted = EXIF[value](own).astype(int)
    assert baseline.stored.shape == wanted.shape
    assert np.abs(baseline.stored - wanted).max() <= (3 if "jpeg" in form else 0)
    imaging.write(baseline, tmp_path / "o.png", provenance=None)
    with Image.open(tmp_path / "o.png") as image:
        assert 274 not in image.getexif()
        assert np.array_equal(np.asarray(image), baseline.stored)
    imaging.write(baseline, tmp_path / "o.dcm", provenance=None)
    assert np.array_equal(imaging.read(tmp_path / "o.dcm").stored, baseline.stored)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_cannot_be_is_left_out(tmp_path, value, caplog):
    with_orientation("png", levels(8), value, tmp_path / "in")
    assert np.array_equal(imaging.read(tmp_path / "in").stored, levels(8))
    assert f"orientation {value}" in caplog.text


def test_damaged_exif_does_not_lose_the_picture(tmp_path):
    Image.fromarray(levels(8)).save(tmp_path / "in", "PNG", exif=b"Exif\0\0nothing at all")
    assert np.array_equal(imaging.read(tmp_path / "in").stored, levels(8))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("form", ["jpeg", "png", "tiff"])
def test_resolutions_of_rasters_are_pixel_shapes(tmp_path, form, orientation, caplog):
    own, path = levels(8), tmp_path / "in"
    exif = Image.Exif()
    exif[274] = orientation
    if form == "tiff":
        tags = [(274, 3, 1, orientation, True)]
        tifffile.imwrite(path, own, resolution=(200, 100), extratags=tags)
    else:
        Image.fromarray(own).save(path, form.upper(), dpi=(200, 100), exif=exif)
    baseline = imaging.read(path)
    upright = (2 * 96, 80) if orientation == 1 else (80, 2 * 96)
    assert baseline.stored.shape == upright
    assert "high for 1 wide" in caplog.text
    imaging.write(baseline, tmp_path / "o.png", provenance=None)
    with Image.open(tmp_path / "o.png") as image:
        stored = np.asarray(Image.open(path)) if form == "jpeg" else own
        assert np.array_equal(np.asarray(image), EXIF[orientation](stored))
    assert imaging.read(tmp_path / "o.png").id == baseline.id
    imaging.write(baseline, tmp_path / "o.dcm", provenance=facts_of(baseline))
    again = imaging.read(tmp_path / "o.dcm")
    assert again.id == baseline.id
    assert list(again.origin.PixelAspectRatio) == ([2, 1] if orientation == 1 else [1, 2])
    assert validate(tmp_path / "o.dcm") == []


# Pixel shape -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "shape", "spacing"),
    [
        ({"PixelSpacing": [0.4, 0.2]}, (192, 80), (0.2, 0.2)),
        ({"PixelSpacing": [0.2, 0.3]}, (96, 120), (0.2, 0.2)),
        ({"ImagerPixelSpacing": [0.4, 0.2]}, (192, 80), (0.2, 0.2)),
        ({"NominalScannedPixelSpacing": [0.4, 0.2]}, (192, 80), (0.2, 0.2)),
        ({"PixelAspectRatio": [2, 1]}, (192, 80), None),
        ({"PixelAspectRatio": [1, 2]}, (96, 160), None),
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.4, 0.2]}, (96, 80), (0.2, 0.2)),
        ({"ImagerPixelSpacing": [0.2, 0.2], "PixelAspectRatio": [2, 1]}, (96, 80), (0.2, 0.2)),
        ({"PixelSpacing": [0, 0], "PixelAspectRatio": [2, 1]}, (192, 80), None),
        ({"PixelAspectRatio": [0, 1]}, (96, 80), None),
        ({"PixelSpacing": [0.2, 0.2001]}, (96, 80), (0.2, 0.2001)),
        ({"PixelSpacing": [0.4, 0.2], "PatientOrientation": ["F", "L"]}, (80, 192), (0.2, 0.2)),
    ],
)
def test_pixels_are_square_inside_and_the_files_own_outside(save, tmp_path, tags, shape, spacing):
    source = dataset(UPRIGHT, **tags)
    baseline = imaging.read(save(source))
    assert baseline.stored.shape == shape
    assert baseline.spacing_mm == spacing
    assert np.array_equal(baseline.native, UPRIGHT)
    imaging.write(baseline, tmp_path / "o.dcm", provenance=facts_of(baseline))
    file = pydicom.dcmread(tmp_path / "o.dcm")
    assert np.array_equal(file.pixel_array, UPRIGHT)
    for name, value in tags.items():
        if min(value) == 0:
            assert name not in file
        elif name != "PixelAspectRatio" or spacing is None:
            assert list(file[name].value) == value
        else:
            assert name not in file
    assert imaging.read(tmp_path / "o.dcm").id == baseline.id
    assert validate(tmp_path / "o.dcm") == []


def test_a_picture_is_stretched_by_what_its_spacing_says(save):
    round_one = np.hypot(*np.mgrid[-47.5:48, -47.5:48]) < 30
    flat = round_one.reshape(48, 2, 96).mean(1)
    stored = np.rint(1000 + 2000 * flat).astype(np.uint16)
    tags = {"PixelSpacing": [0.4, 0.2], "WindowCenter": 2000, "WindowWidth": 2000}
    shown = imaging.read(save(dataset(np.pad(stored, ((16, 16), (0, 0)))), **{})).stored
    assert shown.shape == (80, 96)
    shown = imaging.read(save(dataset(np.pad(stored, ((16, 16), (0, 0))), **tags))).pixels
    assert shown.shape == (160, 96)
    assert np.abs((shown > 0.5)[32:128] != round_one).mean() < 0.01


@pytest.mark.parametrize("tags", [{"PixelAspectRatio": [40, 1]}, {"PixelSpacing": [0.1, 10]}])
def test_a_shape_that_no_pixel_has_is_refused(save, tags):
    with pytest.raises(UnsuitableError, match=r"height is 0\.2 to 5 of its width"):
        imaging.read(save(dataset(**tags)))


def test_calibration_is_kept(save, tmp_path):
    tags = {"PixelSpacing": [0.12, 0.12], "ImagerPixelSpacing": [0.14, 0.14]}
    source = dataset(**tags, PixelSpacingCalibrationType="GEOMETRY")
    source.PixelSpacingCalibrationDescription = "by Jane"
    baseline = imaging.read(save(source))
    assert baseline.spacing_mm == (0.12, 0.12)
    imaging.write(baseline, tmp_path / "o.dcm", provenance=facts_of(baseline))
    file = pydicom.dcmread(tmp_path / "o.dcm")
    assert file.PixelSpacingCalibrationType == "GEOMETRY"
    assert "Jane" not in file.PixelSpacingCalibrationDescription
    assert validate(tmp_path / "o.dcm") == []


@given(
    height=st.integers(64, 90),
    width=st.integers(64, 90),
    aspect=st.sampled_from([1.0, 2.0, 0.5, 1.37, 0.71, 5.0, 0.2]),
    turn=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    seed=st.integers(0, 9),
)
def test_only_what_was_changed_changes(height, width, aspect, turn, seed):
    own = levels(12, shape=(height, width), seed=seed)
    frame = Frame(*turn, aspect)
    file = Radiograph.on_file(own, GreyScale.linear(4096), None, frame=frame, bits=12)
    assert np.array_equal(file.native, own)
    pixels = file.pixels.copy()
    top, left = (size // 3 for size in pixels.shape)
    pixels[top : 2 * top, left : 2 * left] = 0.5
    after = file.with_pixels(pixels)
    inside = np.zeros(pixels.shape, np.float32)
    inside[top : 2 * top, left : 2 * left] = 1
    small = frame.turned_back(frame.averaged(inside, frame.upright(own).shape))
    assert np.array_equal(after.native[small == 0], own[small == 0])
    # Halfway between, a pixel's own detail beyond its neighbours' line stays.
    wholly = after.native[small > 1 - 1e-4].astype(int)
    assert np.abs(wholly - 2048).max() <= (1 if aspect == 1 else 400)
    assert np.abs(wholly.mean() - 2048) <= 30


def test_masks_lie_on_the_files_own_rows_and_columns(save, tmp_path):
    inside = np.zeros((96, 80), bool)
    inside[5:35, 10:50] = True
    Image.fromarray(inside).save(tmp_path / "m.png")
    tags = {"PatientOrientation": ["R", "F"], "PixelSpacing": [0.4, 0.2]}
    radiograph = imaging.read(save(dataset(UPRIGHT, **tags)))
    mask = imaging.read_mask(tmp_path / "m.png", radiograph)
    assert np.array_equal(mask, np.repeat(inside[:, ::-1], 2, axis=0))


def test_labels_of_0_and_1_are_masks(tmp_path):
    Image.fromarray(levels(8)).save(tmp_path / "r.png")
    radiograph = imaging.read(tmp_path / "r.png")
    inside = np.zeros((96, 80), np.uint8)
    inside[5:35, 10:50] = 1
    for dtype in (np.uint8, np.uint16):
        Image.fromarray(inside.astype(dtype)).save(tmp_path / "m.png")
        assert np.array_equal(imaging.read_mask(tmp_path / "m.png", radiograph), inside == 1)
