"""Display values are those of dcmtk's dcmj2pnm within one 8-bit level, or the file is refused."""

import itertools
import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.pixels import apply_modality_lut
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from roentmod import imaging
from roentmod.errors import InputError
from tests.imaging.conftest import SAMPLES, dataset, facts_of, levels
from tests.imaging.test_dicom import lut

pytestmark = pytest.mark.slow
if not shutil.which("dcmj2pnm"):
    pytest.skip("dcmj2pnm (Debian: dcmtk) is not installed", allow_module_level=True)

LEVEL = 1 / 255
# dcmtk's own encoders; dcmj2pnm itself decodes neither JPEG-LS nor JPEG 2000.
ENCODERS = {
    "RLE": ["dcmcrle"],
    "JPEG-LS": ["dcmcjpls"],
    "JPEG lossless": ["dcmcjpeg", "+e1"],
    "JPEG lossless, predictor 6": ["dcmcjpeg", "+el", "+sv", "6"],
}
ORIENTATIONS = [*itertools.product("LR", "HF"), *itertools.product("HF", "LR")]


def run(*command):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def shown(path, *window):
    """The file's own rows and columns in [0, 1], as dcmj2pnm shows them; None if it cannot."""
    target = path.with_suffix(".png")
    target.unlink(missing_ok=True)
    result = run("dcmj2pnm", "-q", "-O", "+on2", *window, path, target)
    if result.returncode or not target.exists():
        return None
    with Image.open(target) as image:
        tones = np.asarray(image)
    return tones / np.iinfo(tones.dtype).max


def window_of(file, stored):
    """The options that make dcmj2pnm show what the standard says.

    It knows no Pixel Padding Range Limit, and takes every table's number of bits at its word.
    """
    if file.get("VOILUTSequence"):
        stated, data = file.VOILUTSequence[0].LUTDescriptor[2], file.VOILUTSequence[0].LUTData
        entries = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.array(data)
        needed = int(entries.max()).bit_length()
        lies = needed > stated or (stated == 16 and needed <= 14)
        return ["+Wl", "1", *(["+Mv"] if lies else [])]
    if file.get("WindowWidth") is not None:
        return ["+Wi", "1"]
    ends = [file.get(n) for n in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [end for end in ends if end is not None]
    kept = (stored < min(known)) | (stored > max(known)) if known else np.ones(stored.shape, bool)
    values = apply_modality_lut(stored, file)[kept].astype(float)
    if not known:
        return ["+Wm"]
    return ["+Ww", (values.min() + values.max()) / 2 + 0.5, np.ptp(values) + 1]


@st.composite
def files(draw):
    """A chest radiograph of any kind that the standard allows, and the name of its encoding."""
    bits, signed = draw(st.integers(8, 16)), draw(st.booleans())
    lowest = -(1 << (bits - 1)) if signed else 0
    top = (1 << bits) - 1
    stored = levels(bits, signed=signed, shape=(71, 66), seed=draw(st.integers(0, 5)))
    span = draw(st.sampled_from([1.0, 0.7, 0.2]))
    stored = (lowest + (stored.astype(int) - lowest) * span + (1 - span) * top / 2).astype(
        stored.dtype
    )
    tags = {"PhotometricInterpretation": draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))}
    if shape := draw(st.sampled_from([None, None, "IDENTITY", "INVERSE"])):
        tags["PresentationLUTShape"] = shape
    if letters := draw(st.sampled_from([None, *ORIENTATIONS])):
        tags["PatientOrientation"] = list(letters)
    kinds = ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"]
    if kind := draw(st.sampled_from([None, *kinds])):
        tags[kind] = draw(st.sampled_from([[1, 1], [2, 1], [1, 2], [3, 2], [1, 1.005], [7, 1]]))
        if kind == "PixelAspectRatio":
            tags[kind] = [round(200 * part) for part in tags[kind]]
    padding = draw(st.sampled_from(["none", "value", "range", "range downwards"]))
    if padding != "none":
        low = draw(st.sampled_from([lowest, lowest + 9]))
        high = low + (0 if padding == "value" else 6)
        stored[:5], stored[5:7] = low, high
        ends = (high, low) if padding == "range downwards" else (low, high)
        tags["PixelPaddingValue"] = ends[0]
        if padding != "value":
            tags["PixelPaddingRangeLimit"] = ends[1]
    modality = draw(st.sampled_from(["none", "rescale", "table"]))
    first, last = lowest, lowest + top
    if modality == "rescale":
        # dcmtk rounds to whole values; its table is too short if the lowest is a negative fraction.
        slope = draw(st.sampled_from([1, 2, 0.5] if bits > 10 and not signed else [1, 2, -1]))
        intercept = draw(st.sampled_from([0, 30] if slope == 0.5 else [0, -1024, 30]))
        tags |= {"RescaleSlope": slope, "RescaleIntercept": intercept}
        first, last = sorted((first * slope + intercept, last * slope + intercept))
    elif modality == "table" and not signed:
        entries = np.rint(np.linspace(0, 1, 1 << bits) ** 1.5 * 4000).astype(int)
        tags["ModalityLUTSequence"] = [lut(entries)]
        first, last = 0, 4000
    voi = draw(st.sampled_from(["none", "window", "table"]))
    if voi == "window":
        tags["WindowCenter"] = round(first + (last - first) * draw(st.floats(0.2, 0.8)), 2)
        tags["WindowWidth"] = round(2 + (last - first) * draw(st.floats(0.05, 1.2)), 2)
        tags["VOILUTFunction"] = draw(st.sampled_from(["LINEAR", "SIGMOID"]))
    elif voi == "table" and first >= 0 and last < 65536 and modality != "rescale":
        depth = draw(st.sampled_from([10, 12, 16]))
        ends = draw(st.sampled_from([(0, 1), (0.1, 0.75), (0.9, 0.3), (0, 0.2)]))
        ramp = np.linspace(*ends, int(last - first) + 1) ** 2 * ((1 << depth) - 1)
        tags["VOILUTSequence"] = [lut(np.rint(ramp), int(first), depth)]
    syntax = draw(st.sampled_from(["explicit", "implicit", "big endian", "J2K", *ENCODERS]))
    return dataset(stored, bits=bits, **tags), stored, syntax


def written(ds, stored, syntax, folder):
    """Save a data set in a transfer syntax; return the file to read and the one to show."""
    plain = folder / "plain.dcm"
    ds.save_as(plain, enforce_file_format=True)
    target = folder / "in.dcm"
    if syntax in ENCODERS:
        result = run(*ENCODERS[syntax], plain, target)
        assert result.returncode == 0, result.stderr
        return target, plain if syntax == "JPEG-LS" else target
    if syntax == "big endian" and not any("LUTSequence" in element.keyword for element in ds):
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        if stored.dtype.itemsize == 2:
            ds.PixelData = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    elif syntax == "implicit":
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    elif syntax == "J2K":
        ds.compress(JPEG2000Lossless, generate_instance_uid=False)
        ds.save_as(target, enforce_file_format=True)
        return target, plain
    ds.save_as(target, enforce_file_format=True)
    return target, target


OUTCOMES = {"same": 0, "refused": 0}


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(case=files())
def test_generated_files_look_as_dcmtk_shows_them(case, tmp_path_factory):
    ds, stored, syntax = case
    folder = tmp_path_factory.mktemp("dcmtk")
    path, known = written(ds, stored, syntax, folder)
    try:
        radiograph = imaging.read(path)
    except InputError as error:
        text = str(error)
        assert text.startswith("in.dcm: ")
        assert "\n" not in text
        OUTCOMES["refused"] += 1
        return
    assert np.array_equal(radiograph.native, stored)
    theirs = shown(known, *window_of(pydicom.dcmread(folder / "plain.dcm"), stored))
    ours = radiograph.grey.display(radiograph.native)
    assert np.abs(ours - theirs).max() <= LEVEL
    OUTCOMES["same"] += 1
    # And so does the file that is written of it.
    target = folder / "out.dcm"
    imaging.write(radiograph, target, provenance=facts_of(radiograph))
    file = pydicom.dcmread(target)
    assert np.abs(shown(target, *window_of(file, file.pixel_array)) - theirs).max() <= LEVEL
    assert (file.PatientOrientation or None) == ds.get("PatientOrientation")


def test_most_generated_files_are_taken():
    assert OUTCOMES["same"] >= 4 * OUTCOMES["refused"]


@pytest.mark.parametrize("name", SAMPLES)
def test_files_of_pydicom_look_as_dcmtk_shows_them(name, tmp_path):
    try:
        radiograph = imaging.read(SAMPLES[name])
    except InputError as error:
        text = str(error)
        assert text.startswith(f"{name}: ")
        return
    file = pydicom.dcmread(SAMPLES[name])
    stored = file.pixel_array
    if file.file_meta.TransferSyntaxUID.is_compressed:
        file.decompress(generate_instance_uid=False)
    file.save_as(tmp_path / "plain.dcm")
    theirs = shown(tmp_path / "plain.dcm", *window_of(file, stored))
    assert theirs is not None
    assert np.abs(radiograph.grey.display(radiograph.native) - theirs).max() <= LEVEL
