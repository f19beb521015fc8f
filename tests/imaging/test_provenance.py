"""What is synthetic says so, however often it is written and read again."""

import json
from xml.etree import ElementTree

import numpy as np
import pydicom
import pytest
from PIL import Image

from roentmod import imaging
from roentmod.datasets.phantom import phantom
from roentmod.edits import Edit
from roentmod.radiograph import Radiograph


@pytest.mark.parametrize("suffix", [".png", ".dcm"])
def test_an_unedited_phantom_says_that_it_is_synthetic(suffix, tmp_path):
    drawn = phantom(3).radiograph
    assert drawn.synthetic
    path = tmp_path / f"picture{suffix}"
    imaging.write(drawn, path, provenance=None)
    if suffix == ".png":
        told = Image.open(path).text
        assert told["SyntheticData"] == "YES"
        assert told["Title"].startswith("SYNTHETIC")
        assert "None" not in told["Description"]
    else:
        assert pydicom.dcmread(path).SyntheticData == "YES"
    again = imaging.read(path)
    assert again.synthetic
    imaging.write(again, tmp_path / "copy.png", provenance=None)
    assert Image.open(tmp_path / "copy.png").text["SyntheticData"] == "YES"


def test_a_patients_radiograph_is_not_called_synthetic(tmp_path):
    taken = Radiograph.from_array(np.random.default_rng(0).random((64, 64)))
    imaging.write(taken, tmp_path / "copy.png", provenance=None)
    assert "SyntheticData" not in Image.open(tmp_path / "copy.png").text
    assert not imaging.read(tmp_path / "copy.png").synthetic


SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def source_type(path):
    """Return IPTC's word for a PNG, read from its XMP by another library."""
    with Image.open(path) as picture:
        text = picture.info["XML:com.adobe.xmp"]
    found = [one.get(SOURCE_TYPE) for one in ElementTree.fromstring(text.encode()).iter()]
    (kind,) = filter(None, found)
    return kind.removeprefix("http://cv.iptc.org/newscodes/digitalsourcetype/")


@pytest.mark.parametrize(
    ("real", "editor", "kind"),
    [
        (True, "mini", "compositeWithTrainedAlgorithmicMedia"),
        (False, "mini", "trainedAlgorithmicMedia"),
        (True, "painter", "compositeSynthetic"),
        (False, "painter", "algorithmicMedia"),
    ],
)
def test_edits_say_so_in_iptcs_words(real, editor, kind, tmp_path):
    taken = Radiograph.from_array(np.random.default_rng(0).random((64, 64)))
    baseline = taken if real else phantom(3).radiograph
    facts = imaging.describe(baseline, Edit(("Mass",), prompt="<a & b>"), {"editor": editor})
    imaging.write(baseline, tmp_path / "a.png", provenance=facts)
    imaging.write(baseline, tmp_path / "a.dcm", provenance=facts)
    assert source_type(tmp_path / "a.png") == kind
    said = json.loads(pydicom.dcmread(tmp_path / "a.dcm").ImageComments)
    assert said["digital_source_type"] == kind


def test_a_phantom_says_so_in_iptcs_words(tmp_path):
    imaging.write(phantom(3).radiograph, tmp_path / "a.png", provenance=None)
    assert source_type(tmp_path / "a.png") == "algorithmicMedia"
    imaging.write(imaging.read(tmp_path / "a.png"), tmp_path / "b.png", provenance=None)
    assert source_type(tmp_path / "b.png") == "compositeSynthetic"


def test_a_change_of_pixels_keeps_what_a_radiograph_is():
    drawn = phantom(3).radiograph
    changed = drawn.with_pixels(drawn.pixels * 0.5)
    assert changed.synthetic
    assert changed.spacing_mm == drawn.spacing_mm
    assert changed.id != drawn.id


def test_an_edited_radiograph_is_marked_even_where_nobody_says_what_was_edited(tmp_path):
    taken = Radiograph.from_array(np.random.default_rng(0).random((64, 64)))
    changed = taken.with_pixels(taken.pixels * np.float32(0.5))
    imaging.write(changed, tmp_path / "copy.png", provenance=None)
    assert Image.open(tmp_path / "copy.png").text["SyntheticData"] == "YES"
