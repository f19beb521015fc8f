"""The run directory: what is written, repeated, resumed, refused."""

import json

import numpy as np
import pytest
from PIL import Image

from roentmod import imaging
from roentmod.editors import DiffusionEditor, transplant
from roentmod.edits import Edit
from roentmod.errors import EditError
from roentmod.interfaces import Counterfactual
from roentmod.jobs import edit as editing
from roentmod.store import file_sha256

EDITS = [Edit((name,), num_inference_steps=10, composite="none") for name in ("edema", "mass")]


@pytest.fixture
def editor(generator):
    return DiffusionEditor(transplant(None, generator))


@pytest.fixture
def picture(tmp_path, radiograph):
    imaging.write(radiograph, tmp_path / "chest.png", provenance=None)
    return tmp_path / "chest.png"


def test_every_edit_has_image_sham_difference_and_a_true_record(editor, picture, tmp_path):
    out = tmp_path / "out"
    record = editing.run([picture], EDITS, editor, editing.Output(out, ("png", "dicom")))
    assert json.loads((out / "edits.json").read_text()) == json.loads(json.dumps(record))
    assert record["settings"]["editor"]["weights"] == editor.parts.weights_hash
    kinds = {"counterfactual.png", "counterfactual.dcm", "sham.png", "sham.dcm", "difference"}
    for item, edit in zip(record["items"], EDITS, strict=True):
        assert item["status"] == "ok"
        assert item["edit_id"] == edit.id
        assert item["input_sha256"] == file_sha256(picture)
        assert item["facts"]["effective_steps"] == 4
        assert set(item["files"]) == kinds
        for entry in item["files"].values():
            assert file_sha256(out / entry["path"]) == entry["sha256"]
    assert Image.open(out / "chest" / "edits.png").text


def test_the_same_run_elsewhere_gives_the_same_bytes(editor, picture, tmp_path):
    hashes = [
        {
            (item["label"], kind): entry["sha256"]
            for item in editing.run([picture], EDITS, editor, editing.Output(tmp_path / name))[
                "items"
            ]
            for kind, entry in item["files"].items()
        }
        for name in ("one", "two")
    ]
    assert hashes[0] == hashes[1]


def test_a_finished_run_is_kept_and_a_damaged_file_made_again(editor, picture, tmp_path):
    output = editing.Output(tmp_path / "out")
    first = editing.run([picture], EDITS, editor, output)
    file = tmp_path / "out" / first["items"][0]["files"]["difference"]["path"]
    before = {p: p.stat().st_mtime_ns for p in file.parent.iterdir()}
    editing.run([picture], EDITS, editor, output)
    assert {p: p.stat().st_mtime_ns for p in file.parent.iterdir()} == before
    file.write_bytes(b"damaged")
    again = editing.run([picture], EDITS, editor, output)
    assert file_sha256(file) == again["items"][0]["files"]["difference"]["sha256"]


def test_an_unreadable_file_spares_the_others(editor, picture, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    record = editing.run([bad, picture], EDITS[:1], editor, editing.Output(tmp_path / "out"))
    assert [item["status"] for item in record["items"]] == ["unreadable", "ok"]
    assert "\n" not in record["items"][0]["message"]


def test_nothing_is_written_when_nothing_can_be_read(editor, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"text")
    editing.run([bad], EDITS, editor, editing.Output(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_interruption_leaves_finished_results_whole(editor, picture, tmp_path, radiograph):
    second = tmp_path / "second.png"
    imaging.write(radiograph, second, provenance=None)
    calls = []

    class Interrupted:
        name = editor.name
        describe = editor.describe

        def edit(self, *args, **kwargs):
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return editor.edit(*args, **kwargs)

    output = editing.Output(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        editing.run([picture, second], EDITS, Interrupted(), output)
    record = json.loads((output.folder / "edits.json").read_text())
    assert [item["status"] for item in record["items"]] == ["ok", "ok"]
    assert not [p for p in output.folder.rglob("*") if p.name.startswith(".")]
    done = editing.run([picture, second], EDITS, editor, output)
    assert len(done["items"]) == 4
    assert done["items"][:2] == record["items"]


def test_a_mask_keeps_the_outside_bit_for_bit(editor, picture, tmp_path):
    source = imaging.read(picture)
    mask = np.zeros(source.stored.shape, np.uint8)
    mask[20:70, 10:60] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    output = editing.Output(tmp_path / "out")
    record = editing.run([picture], EDITS[:1], editor, output, mask=tmp_path / "mask.png")
    written = imaging.read(
        output.folder / record["items"][0]["files"]["counterfactual.png"]["path"]
    )
    assert np.array_equal(written.stored[mask == 0], source.stored[mask == 0])
    assert (written.stored[mask > 0] != source.stored[mask > 0]).any()


def test_an_edit_without_a_picture_cannot_be_written(radiograph, tmp_path):
    nothing = Counterfactual(radiograph, EDITS[0], "black_image")
    with pytest.raises(EditError, match="got 'black_image'"):
        imaging.write_edit(nothing, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_wrong_requests_are_refused(editor, picture, tmp_path):
    output = editing.Output(tmp_path / "out")
    with pytest.raises(EditError, match="got none"):
        editing.run([picture], [], editor, output)
    with pytest.raises(EditError, match="one radiograph; got 2"):
        editing.run([picture] * 2, EDITS, editor, output, mask=picture)
    with pytest.raises(EditError, match="is a file"):
        editing.Output(picture)
    with pytest.raises(EditError, match="got 'gif'"):
        editing.Output(tmp_path, ("gif",))
    assert not output.folder.exists()
