"""Signed PNG, verified by the reference library."""

import io
import json
import stat

import numpy as np
import pytest
from PIL import Image

import roentmod as rm
from roentmod import imaging
from roentmod.errors import EditError

c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed (extra c2pa)")
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "roentmod" / "c2pa.pem"


def verified(data):
    """Return state and manifest of a file, as the reference library reads them."""
    reader = c2pa.Reader("image/png", io.BytesIO(data))
    said = json.loads(reader.json())
    return reader.get_validation_state(), said["manifests"][said["active_manifest"]]


def test_edits_are_signed_and_verified(tmp_path, config):
    rm.write(rm.phantom(3).radiograph, tmp_path / "Zebulon.png", provenance=None)
    options = {"add": "mass", "editor": "painter", "format": ("png", "dicom")}
    plain = rm.edit(tmp_path / "Zebulon.png", out=tmp_path / "plain", **options)
    signed = rm.edit(tmp_path / "Zebulon.png", out=tmp_path / "out", sign="local", **options)
    files = sorted((tmp_path / "out").rglob("*.png"))
    assert len(files) == 4
    for file in files:
        state, manifest = verified(file.read_bytes())
        assert state == "Valid"
        assert manifest["title"].startswith("SYNTHETIC")
        assert manifest["claim_generator_info"][0]["name"] == "RoentMod"
        (action,) = manifest["assertions"][0]["data"]["actions"]
        assert action["digitalSourceType"].startswith(TRAINED)
        assert "thumbnail" not in manifest
        assert b"Zebulon" not in file.read_bytes()
        same = tmp_path / "plain" / file.relative_to(tmp_path / "out")
        np.testing.assert_array_equal(Image.open(file), Image.open(same))
        assert Image.open(file).text == Image.open(same).text
    assert action["digitalSourceType"].endswith("compositeWithTrainedAlgorithmicMedia")
    assert "signer" in signed.record["settings"]
    assert "signer" not in plain.record["settings"]
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    times = {file: file.stat().st_mtime_ns for file in files}
    again = rm.edit(tmp_path / "Zebulon.png", out=tmp_path / "out", sign="local", **options)
    assert again.record == signed.record
    assert {file: file.stat().st_mtime_ns for file in files} == times


def test_a_changed_pixel_breaks_the_signature():
    signer = imaging.load_signer("local")
    pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    data = bytearray(signer.sign(imaging.encode_picture(Image.fromarray(pixels), {}), {}))
    assert verified(bytes(data))[0] == "Valid"
    data[-20] ^= 1
    assert verified(bytes(data))[0] == "Invalid"


def test_a_users_own_certificate_signs_and_what_is_none_is_one_line(tmp_path, config):
    imaging.load_signer("local")
    own = tmp_path / "own.pem"
    own.write_bytes(config.read_bytes())
    assert imaging.load_signer(str(own)).file == own
    text = config.read_text()
    key = text[text.index("-----BEGIN PRIVATE") :]
    bad = {"empty": "", "text": "certificate", "key": key, "chain": text.replace(key, "")}
    for name, content in bad.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(EditError, match="PEM file of a certificate's chain") as caught:
            imaging.load_signer(str(tmp_path / name))
        assert str(caught.value).isprintable()
    with pytest.raises(EditError, match="absent"):
        imaging.load_signer(str(tmp_path / "absent"))
