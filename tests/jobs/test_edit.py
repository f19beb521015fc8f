"""The run directory: what is written, repeated, resumed, refused."""

import json

import numpy as np
import pytest
from PIL import Image

from roentmod import imaging
from roentmod.editors import DiffusionEditor, transplant
from roentmod.edits import Edit
from roentmod.errors import EditError, RunError
from roentmod.interfaces import Counterfactual
from roentmod.jobs import edit as editing
from roentmod.store import file_sha256

EDITS = [Edit((name,), num_inference_steps=10, composite="none") for name in ("edema", "mass")]


@pytest.fixture
def editor(generator):
    return DiffusionEditor(transplant(None, generator))


class Watched:
    """An editor that counts radiographs and raises `error` at the `at`-th."""

    def __init__(self, editor, at=0, error=None):
        self.name, self.describe = editor.name, editor.describe
        self.editor, self.at, self.error, self.calls = editor, at, error, 0

    def edit(self, radiographs, *args, **kwargs):
        self.calls += len(radiographs)
        if radiographs and self.calls == self.at:
            raise self.error
        return self.editor.edit(radiographs, *args, **kwargs)


@pytest.fixture
def picture(tmp_path, radiograph):
    imaging.write(radiograph, tmp_path / "chest.png", provenance=None)
    return tmp_path / "chest.png"


def test_every_edit_has_image_sham_difference_and_a_true_record(editor, picture, tmp_path):
    out = tmp_path / "out"
    result = editing.run([picture], EDITS, editor, editing.Output(out, ("png", "dicom")))
    record = result.record
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
    assert editing.load(out).record == record
    assert list(result.items["edit_id"]) == [edit.id for edit in EDITS]
    assert repr(result) == f"<EditResult: 2 of 2 edits, in '{out}'>"


def test_the_same_run_elsewhere_gives_the_same_bytes(editor, picture, tmp_path):
    hashes = [
        {
            (item["label"], kind): entry["sha256"]
            for item in editing.run(
                [picture], EDITS, editor, editing.Output(tmp_path / name)
            ).record["items"]
            for kind, entry in item["files"].items()
        }
        for name in ("one", "two")
    ]
    assert hashes[0] == hashes[1]


def test_a_finished_run_is_kept_and_a_damaged_file_made_again(editor, picture, tmp_path):
    output = editing.Output(tmp_path / "out")
    first = editing.run([picture], EDITS, editor, output).record
    file = tmp_path / "out" / first["items"][0]["files"]["difference"]["path"]
    before = {p: p.stat().st_mtime_ns for p in file.parent.iterdir()}
    editing.run([picture], EDITS, editor, output)
    assert {p: p.stat().st_mtime_ns for p in file.parent.iterdir()} == before
    file.write_bytes(b"damaged")
    again = editing.run([picture], EDITS, editor, output).record
    assert file_sha256(file) == again["items"][0]["files"]["difference"]["sha256"]


def test_an_unreadable_file_spares_the_others(editor, picture, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    output = editing.Output(tmp_path / "out")
    record = editing.run([bad, picture], EDITS[:1], editor, output).record
    assert [item["status"] for item in record["items"]] == ["unreadable", "ok"]
    assert "\n" not in record["items"][0]["message"]
    # What can be read now is edited now.
    bad.write_bytes(picture.read_bytes())
    record = editing.run([bad, picture], EDITS[:1], editor, output).record
    assert [item["status"] for item in record["items"]] == ["ok", "ok"]


def test_an_editor_that_breaks_spares_the_others(editor, picture, tmp_path, radiograph):
    second = tmp_path / "second.png"
    imaging.write(radiograph, second, provenance=None)
    broken = Watched(editor, 1, RuntimeError("out of\nmemory"))
    output = editing.Output(tmp_path / "out")
    items = editing.run([picture, second], EDITS[:1], broken, output).record["items"]
    assert [item["status"] for item in items] == ["failed", "ok"]
    assert items[0]["message"] == "RuntimeError: out of memory"
    items = editing.run([picture, second], EDITS[:1], editor, output).record["items"]
    assert [item["status"] for item in items] == ["ok", "ok"]


def test_other_edits_and_settings_may_use_the_folder(editor, picture, tmp_path):
    out = tmp_path / "out"
    for edits, formats in ((EDITS[:1], ("png",)), (EDITS[1:], ("png",)), (EDITS[1:], ("dicom",))):
        record = editing.run([picture], edits, editor, editing.Output(out, formats)).record
        assert [item["edit_id"] for item in record["items"]] == [edits[0].id]
        assert editing.load(out).record == record
    assert len(list((out / "chest").glob("*.png"))) == 7


def test_a_record_of_something_else_is_not_overwritten(editor, picture, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(EditError, match=r"has no edits\.json"):
        editing.load(out)
    for text in ('{"mine": 1}', "[]", "notes"):
        (out / "edits.json").write_text(text)
        with pytest.raises(RunError, match="something else"):
            editing.run([picture], EDITS, editor, editing.Output(out))
        assert (out / "edits.json").read_text() == text
    assert [path.name for path in out.iterdir()] == ["edits.json"]


def test_nothing_is_written_when_nothing_can_be_read(editor, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"text")
    editing.run([bad], EDITS, editor, editing.Output(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_interruption_leaves_finished_results_whole(editor, picture, tmp_path, radiograph):
    second = tmp_path / "second.png"
    imaging.write(radiograph, second, provenance=None)
    output = editing.Output(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        editing.run([picture, second], EDITS, Watched(editor, 2, KeyboardInterrupt()), output)
    assert not (output.folder / "edits.json").exists()
    before = {p: p.read_bytes() for p in (output.folder / "chest").iterdir()}
    assert len(before) == 7
    watched = Watched(editor)
    done = editing.run([picture, second], EDITS, watched, output).record
    assert watched.calls == 1
    assert [item["status"] for item in done["items"]] == ["ok"] * 4
    assert {p: p.read_bytes() for p in before} == before
    assert not [p for p in output.folder.rglob("*") if p.name.startswith(".")]


def test_a_mask_keeps_the_outside_bit_for_bit(editor, picture, tmp_path):
    source = imaging.read(picture)
    mask = np.zeros(source.stored.shape, np.uint8)
    mask[20:70, 10:60] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    output = editing.Output(tmp_path / "out")
    record = editing.run([picture], EDITS[:1], editor, output, mask=tmp_path / "mask.png").record
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
