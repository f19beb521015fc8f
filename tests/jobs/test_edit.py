"""The run directory: what is written, repeated, resumed, refused."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roentmod import imaging
from roentmod.editors import DiffusionEditor, transplant
from roentmod.edits import Edit
from roentmod.errors import EditError, RunError
from roentmod.interfaces import Counterfactual
from roentmod.jobs import edit as editing
from roentmod.radiograph import Radiograph
from roentmod.store import file_sha256, is_name

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
    ((folder, path),) = result.inputs.items()
    assert path == picture
    assert Image.open(out / folder / "edits.png").text
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
    assert len(list((out / record["items"][0]["input"]).glob("*.png"))) == 7


def test_a_record_of_something_else_is_not_overwritten(editor, picture, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(EditError, match=r"has no edits\.json"):
        editing.load(out)
    theirs = '{"settings": {}, "edits": [], "items": []}'
    deep = "[" * 100_000
    for text in (
        deep,
        '{"mine": 1}',
        "[]",
        "notes",
        theirs,
        '{"settings": 1, "edits": 2, "items": 3}',
    ):
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
    before = {p: p.read_bytes() for p in output.folder.glob("i-*/*")}
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
    Image.fromarray(np.zeros((96, 80), np.uint8)).save(tmp_path / "dark.png")
    with pytest.raises(EditError, match=r"at least one pixel; dark\.png has none"):
        editing.run([picture], EDITS, editor, output, mask=tmp_path / "dark.png")
    with pytest.raises(EditError, match="is a file"):
        editing.Output(picture)
    with pytest.raises(EditError, match="got 'gif'"):
        editing.Output(tmp_path, ("gif",))
    assert not output.folder.exists()


class Seeing:
    """A judge by rule: a finding's logit is a fixed one, and more by the brightness added."""

    name, size = "rule", 64
    findings = ("Mass", "Edema", "Pleural Effusion")
    sided = ("Mass", "Pleural Effusion")

    def __init__(self, base=(-4, -4, -4), gain=(0, 0, 0)):
        self.base, self.gain = np.float32(base), np.float32(gain)

    def logits(self, images):
        return self.base + images.mean((1, 2))[:, None] * self.gain

    def sides(self, images):
        half = self.size // 2
        # The patient's right is the picture's left.
        parts = np.stack([images[:, :, :half].mean((1, 2)), images[:, :, half:].mean((1, 2))], 1)
        return np.repeat(parts[:, None], len(self.sided), 1)


class Brush:
    """An editor that changes one half of the picture by `amount`."""

    name = "brush"
    removals = None

    def __init__(self, amount=0.3, left=True, sham=0.0):
        self.amount, self.left, self.sham = amount, left, sham

    def edit(self, radiographs, edits, *, masks=None, progress=None):
        return [self._one(r, e) for r in radiographs for e in edits]

    def _one(self, radiograph, edit):
        half = radiograph.pixels.shape[1] // 2
        where = np.s_[:, half:] if self.left else np.s_[:, :half]
        pixels, sham = radiograph.pixels.copy(), np.clip(radiograph.pixels + self.sham, 0, 1)
        pixels[where] = np.clip(pixels[where] + self.amount, 0, 1)
        image, control = radiograph.with_pixels(pixels), radiograph.with_pixels(sham)
        difference = image.pixels - radiograph.pixels
        facts = {"seconds": 0.01}
        return Counterfactual(
            radiograph, edit, "ok", image, control, difference, difference != 0, facts
        )


def judged(picture, out, edit, judge, **brush):
    output = editing.Output(out)
    return editing.run([picture], [edit], Brush(**brush), output, judge=judge).record["items"][0]


def test_the_judge_says_whether_it_sees_the_edit_and_what_else_rose(picture, tmp_path):
    mass = Edit(("mass",))
    item = judged(picture, tmp_path / "a", mass, Seeing(gain=(30, 20, 0)))
    assert item["judge"]["sees"] is True
    assert item["judge"]["control"] == item["control"] == "baseline"
    assert item["judge"]["requested"]["Mass"]["net"] > 1
    assert list(item["judge"]["rose"]) == ["Edema"]
    assert "also rose: Edema +" in item["judge"]["words"]
    assert "Pleural" not in item["judge"]["words"]
    item = judged(picture, tmp_path / "b", mass, Seeing(gain=(1, 0, 0)))
    assert item["judge"]["sees"] is False
    assert item["status"] == "ok"
    # What the judge does not read it cannot deny.
    item = judged(picture, tmp_path / "c", Edit(("hernia",)), Seeing())
    assert item["judge"]["sees"] is None
    assert "does not read Hernia" in item["judge"]["words"]
    item = judged(picture, tmp_path / "d", Edit(prompt="big heart"), Seeing())
    assert item["judge"]["sees"] is None
    item = judged(picture, tmp_path / "e", mass, None)
    assert "judge" not in item
    assert "baseline_shows" not in item


def test_a_removal_is_seen_where_the_logit_falls(picture, tmp_path):
    mass = Edit(("mass",), action="remove")
    for gain, sees in ((-30, True), (30, False)):
        item = judged(picture, tmp_path / str(gain), mass, Seeing(gain=(gain, 0, 0)))
        assert item["judge"]["sees"] is sees


def test_the_side_is_part_of_what_was_requested(picture, tmp_path):
    for left in (True, False):
        item = judged(
            picture,
            tmp_path / str(left),
            Edit(("mass",), side="left"),
            Seeing(gain=(30, 0, 0)),
            left=left,
        )
        assert item["judge"]["sees"] is left
        assert item["judge"]["requested"]["Mass"]["side"] == ("left" if left else "right")
    assert "on the right" in item["judge"]["words"]


def test_the_control_of_other_composites_is_the_sham(picture, tmp_path):
    """The sham brings what the edit brings: nothing is left of it."""
    judge, brush = Seeing(gain=(30, 0, 0)), {"amount": 0.2, "sham": 0.2}
    item = judged(picture, tmp_path / "a", Edit(("mass",), composite="none"), judge, **brush)
    assert item["control"] == "sham"
    assert item["judge"]["sees"] is False
    item = judged(picture, tmp_path / "b", Edit(("mass",)), judge, **brush)
    assert item["judge"]["sees"] is True


def test_a_baseline_that_is_not_normal_is_named_once(picture, tmp_path, caplog):
    edits = [Edit(("mass",)), Edit(("edema",))]
    judge = Seeing(base=(-4, 3, -4))
    output = editing.Output(tmp_path / "a", keep_ids=True)
    items = editing.run([picture], edits, Brush(), output, judge=judge).record["items"]
    assert [item["baseline_shows"] for item in items] == [{"Edema": 0.953}] * 2
    lines = [r.message for r in caplog.records if "disturb" in r.message]
    assert lines == [
        "chest.png: the judge reads Edema (0.95) in the baseline; edits disturb what is there"
    ]
    # What is there is to be removed: nothing to warn of.
    item = judged(picture, tmp_path / "b", Edit(("edema",), action="remove"), judge)
    assert item["baseline_shows"] == {}


def test_an_edit_that_leaves_nothing_says_so(picture, tmp_path, monkeypatch):
    captions = []
    drawn = imaging.sheet

    def sheet(rows, title=""):
        captions.extend(row.label for row in rows)
        return drawn(rows, title=title)

    monkeypatch.setattr(imaging, "sheet", sheet)
    item = judged(picture, tmp_path / "a", Edit(("mass",)), None, amount=0.004)
    assert item["status"] == "no_visible_change"
    assert item["files"]
    judged(picture, tmp_path / "b", Edit(("mass",)), Seeing(gain=(30, 0, 0)))
    judged(picture, tmp_path / "c", Edit(("mass",)), Seeing())
    judged(picture, tmp_path / "d", Edit(("mass",), action="remove"), None)
    assert captions == [
        "Mass requested: no visible change",
        "Mass added",
        "Mass requested",
        "Mass removal requested",
    ]


def test_removals_that_are_measured_not_to_work_are_refused(picture, tmp_path, caplog):
    output, brush = editing.Output(tmp_path / "out"), Brush()
    figures = {"positives": 9, "removed": 0.12, "off_target": None, "healthy_change": 0.97}
    brush.removals = {"Mass": {"works": False, **figures}, "Edema": {"works": True, **figures}}
    for name, figure in (
        ("mass", "on 9 real radiographs.* 12% of the way to normal, it did not fall"),
        ("hernia", "nobody"),
    ):
        with pytest.raises(EditError, match=f"brush does not remove .*{figure}"):
            editing.run([picture], [Edit((name,), action="remove")], brush, output)
    assert not output.folder.exists()
    for edit in (Edit(("edema",), action="remove"), Edit(("mass",))):
        assert editing.run([picture], [edit], brush, output).record["items"][0]["status"] == "ok"
    assert not caplog.records
    brush.removals = None
    editing.run([picture], [Edit(("mass",), action="remove")], brush, output)
    assert [r.message for r in caplog.records] == ["nobody has measured whether brush removes Mass"]


def test_nothing_is_loaded_before_files_and_folder_are_checked(picture, tmp_path, caplog):
    def load():
        raise AssertionError("loaded")

    out = tmp_path / "out"
    record = editing.run([tmp_path / "absent.png"], EDITS, load, editing.Output(out)).record
    assert [item["status"] for item in record["items"]] == ["unreadable"]
    out.mkdir()
    (out / "edits.json").write_text("notes")
    with pytest.raises(RunError):
        editing.run([picture], EDITS, load, editing.Output(out))
    with pytest.raises(AssertionError):
        editing.run([picture, tmp_path / "b"], EDITS, load, editing.Output(tmp_path / "other"))
    missing = editing.named([tmp_path / "b"], kept=False, folder=out)[0].name
    assert caplog.messages[-1] == f"1 of 2 inputs are missing: {missing}"


def test_files_of_one_name_have_folders_of_their_own(tmp_path):
    paths = [Path("a/chest.png"), Path("b/chest.png"), Path("chest.dcm"), Path("chest-2.png")]
    kept = editing.named(paths, kept=True, folder=tmp_path)
    assert [one.folder for one in kept] == ["chest", "chest-2", "chest-3", "chest-2-2"]
    assert [one.name for one in kept] == ["chest.png", "chest.png", "chest.dcm", "chest-2.png"]
    taken = [Path("edits.json.png"), Path("parts.png"), Path("run.json.png"), Path(".")]
    folders = [one.folder for one in editing.named(taken, kept=True, folder=tmp_path)]
    assert folders == ["edits.json-2", "parts-2", "run.json-2", "radiograph"]
    first, second, other, _ = (o.folder for o in editing.named(paths, kept=False, folder=tmp_path))
    assert second == f"{first}-2"
    assert not other.startswith(first)


@pytest.mark.parametrize("name", ["...png", "....png", ".png", ".hidden.png"])
def test_no_folder_is_hidden_or_leads_out_of_the_run(tmp_path, name):
    ((_, folder, shown),) = editing.named([tmp_path / name], kept=True, folder=tmp_path)
    assert is_name(folder)
    assert shown == name


def patients(folder, count=2):
    """Write pictures of one name, each of another patient."""
    for n in range(count):
        place = folder / f"patient{n}" / "view1_frontal.png"
        place.parent.mkdir()
        pixels = np.random.default_rng(n).uniform(0.2, 0.6, (96, 80))
        imaging.write(Radiograph.from_array(pixels), place, provenance=None)
        yield place


@pytest.mark.parametrize("kept", [False, True])
def test_a_folder_stays_that_of_its_file(tmp_path, kept):
    files = list(patients(tmp_path, 3))
    output, edits = editing.Output(tmp_path / "out", ("png",), kept), [Edit(("mass",))]
    sums = {}

    def edit(*paths, edits=edits):
        done = editing.run(paths, edits, Brush(), output)
        for item in done.record["items"]:
            path = done.inputs[item["files"]["difference"]["path"].partition("/")[0]]
            assert item["input_sha256"] == file_sha256(path)
            assert item["status"] == "ok"
        now = {p: file_sha256(p) for p in output.folder.rglob("add-*.png")}
        # What an earlier call left is as it was.
        assert now == now | sums
        sums.update(now)
        return {path: folder for folder, path in done.inputs.items()}, done.record

    first, record = edit(files[0])
    assert "earlier" not in record
    second, record = edit(files[1])
    assert second[files[1]] == f"{first[files[0]]}-2"
    ((old,),) = ([item["input_sha256"] for item in one["items"]] for one in record["earlier"])
    assert old == file_sha256(files[0])
    assert editing.load(output.folder).record == record
    count = len(sums)
    for file, known in ((files[0], first), (files[1], second)):
        assert edit(file)[0] == known
    assert edit(*reversed(files[:2]))[0] == first | second
    assert len(sums) == count
    both, record = edit(*files)
    assert both == first | second | {files[2]: f"{first[files[0]]}-3"}
    assert "earlier" not in record
    # Other edits of a file are in its folder, and both are on record.
    again, record = edit(files[1], edits=[Edit(("edema",))])
    assert again == second
    assert len(record["earlier"][0]["items"]) == 3


def test_a_folder_that_an_earlier_version_overwrote_is_that_of_the_pictures_in_it(tmp_path):
    one, other = patients(tmp_path)
    output = editing.Output(tmp_path / "out", ("png",))
    folder = editing.run([one], [Edit(("mass",))], Brush(), output).record["items"][0]["input"]
    shutil.copytree(output.folder, tmp_path / "first")
    shutil.rmtree(output.folder)
    editing.run([other], [Edit(("mass",))], Brush(), output)
    for log in (tmp_path / "first" / "parts").glob("*.log"):
        shutil.copy(log, output.folder / "parts" / f"0{log.name}")
        shutil.copy(log, output.folder / "parts" / f"z{log.name}")
    found = editing.named([one, other], kept=False, folder=output.folder)
    assert [x.folder for x in found] == [f"{folder}-2", folder]


@pytest.mark.parametrize("kept", [False, True])
def test_a_picture_inside_a_tar(picture, tmp_path, kept):
    (other,) = patients(tmp_path, 1)
    mask = np.zeros((96, 80), np.uint8)
    mask[:, 40:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    output, edits = editing.Output(tmp_path / "out", keep_ids=kept), [Edit(("mass",))]
    hashes = []
    for source in (picture, other):
        with tarfile.open(tmp_path / "some.tar", "w") as tar:
            tar.add(source, "p0.png")
            tar.add(tmp_path / "mask.png", "mask.png")
        inside, region = tmp_path / "some.tar" / "p0.png", tmp_path / "some.tar" / "mask.png"
        done = editing.run([inside], edits, Brush(), output, mask=region)
        (item,) = done.record["items"]
        assert item["status"] == "ok", item
        assert item["input_sha256"] == file_sha256(source)
        assert done.record["settings"]["mask_sha256"] == file_sha256(tmp_path / "mask.png")
        hashes.append(item["files"]["counterfactual.png"]["sha256"])
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize("kept", [False, True])
def test_names_of_files_that_are_no_text(picture, tmp_path, kept):
    odd = tmp_path / os.fsdecode(b"\x1b[31m\xff\n.png")
    odd.write_bytes(picture.read_bytes())
    output = editing.Output(tmp_path / "out", keep_ids=kept)
    edit = Edit(prompt="big \udcff heart")
    editing.run([odd], [edit], Brush(), output)
    (item,) = editing.load(tmp_path / "out").record["items"]
    assert item["status"] == "ok"
    assert item["input"].isprintable()
    assert all((tmp_path / "out" / file["path"]).is_file() for file in item["files"].values())


def test_what_is_no_file_does_not_hold_the_run(picture, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    output = editing.Output(tmp_path / "out")
    done = editing.run(
        [tmp_path / "pipe.png", tmp_path, picture], [Edit(("mass",))], Brush(), output
    )
    assert [item["status"] for item in done.record["items"]] == ["unreadable", "unreadable", "ok"]
    (tmp_path / "other").mkdir()
    os.mkfifo(tmp_path / "other" / "edits.json")
    with pytest.raises(RunError, match="something else"):
        editing.load(tmp_path / "other")


def test_the_word_is_burned_into_files_alone(picture, tmp_path):
    def run(name, **options):
        output = editing.Output(tmp_path / name, ("png", "dicom"), **options)
        return editing.run([picture], [Edit(("mass",))], Brush(0.1), output).record["items"][0]

    plain, marked = run("plain"), run("marked", burn_in=True)
    assert plain["changed_fraction"] == marked["changed_fraction"]
    for kind in ("counterfactual.png", "sham.png", "counterfactual.dcm"):
        one, other = (
            imaging.read(tmp_path / name / item["files"][kind]["path"]).stored
            for name, item in (("plain", plain), ("marked", marked))
        )
        rows = np.argwhere(one != other)[:, 0]
        assert rows.size
        assert rows.min() > 60
    text = Image.open(tmp_path / "marked" / marked["files"]["sham.png"]["path"]).text["roentmod"]
    assert json.loads(text)["model"]["burned_in"] == "SYNTHETIC"
