"""Pictures in shards and stores: the same set as of loose files, whatever was cut off."""

import errno
import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from roentmod import datasets, imaging, store
from roentmod.errors import DatasetError, RunError
from roentmod.jobs import augment
from roentmod.jobs.augment import AugmentPlan, Labelling, shards, stores
from roentmod.runs import journal
from tests.jobs.augment.parts import FINDINGS, Dabber, Eye
from tests.runs import kill

pytestmark = pytest.mark.slow

PLAN = AugmentPlan(
    findings=FINDINGS, ratio=2, with_baselines=True, with_shams=True, composite="baseline"
)
FORMS = ("webdataset", "parquet")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A shard holds some five pictures."""
    monkeypatch.setattr(shards, "_MOST", 140_000)


@pytest.fixture(scope="module")
def clean(split_source):
    return datasets.baselines(split_source).table


def make(source, table, folder, form, **changes):
    options = {"editor": Dabber(), "plan": PLAN, "judge": Eye(), "pictures": form} | changes
    editor, plan = options.pop("editor"), options.pop("plan")
    return augment.run(source, table, editor, plan, folder, **options)


@pytest.mark.parametrize("form", FORMS)
def test_shards_hold_what_files_hold(split_source, clean, tmp_path, form):
    loose = make(split_source, clean, tmp_path / "files", "files")
    packed = make(split_source, clean, tmp_path / form, form)
    one, other = loose.training, packed.training
    pd.testing.assert_frame_equal(one.drop(columns="path"), other.drop(columns="path"))
    for a, b in zip(one["path"], other["path"], strict=True):
        assert store.read_bytes(packed.folder / b) == (loose.folder / a).read_bytes()
        assert imaging.read(packed.folder / b).id == imaging.read(loose.folder / a).id
    files = sorted((packed.folder / "shards").iterdir())
    assert len(files) > 4
    assert {file.name.split("-")[0] for file in files} == {"train", "val"}
    assert max(file.stat().st_size for file in files) <= 140_000
    assert [str(one["path"]) for one in packed.record["shards"]] == [
        f"shards/{f.name}" for f in files
    ]
    assert not (packed.folder / "images").exists()
    # The engine keeps a handful of files, and no picture twice.
    kept = [path for path in (packed.folder / "parts").rglob("*") if path.is_file()]
    assert {path.suffix for path in kept} == {".log"}
    augment.check(packed.folder, hashes=True)
    loaded = datasets.load(packed.folder)
    assert [str(problem) for problem in loaded.problems] == []
    row = other.iloc[0]
    assert loaded.radiograph(row["image_id"]).id == imaging.read(packed.folder / row["path"]).id


def test_a_tar_is_a_webdataset(split_source, clean, tmp_path):
    made = make(split_source, clean, tmp_path, "webdataset")
    table = made.training.set_index("image_id")
    seen = set()
    for file in (tmp_path / "shards").iterdir():
        with tarfile.open(file) as tar:
            entries = tar.getmembers()
            assert {(entry.mtime, entry.uid, entry.uname) for entry in entries} == {(0, 0, "")}
            for picture, text in zip(entries[::2], entries[1::2], strict=True):
                key = picture.name.removesuffix(".png")
                assert text.name == f"{key}.json"
                facts = json.loads(tar.extractfile(text).read())
                assert facts["labels"] == table.loc[key, list(FINDINGS)].to_dict()
                seen.add(key)
    assert seen == set(table.index)


def test_a_parquet_shard_holds_pictures_and_rows(split_source, clean, tmp_path):
    made = make(split_source, clean, tmp_path, "parquet").training.set_index("image_id")
    files = sorted((tmp_path / "shards").iterdir())
    assert b"Image" in pq.read_schema(files[0]).metadata[b"huggingface"]
    table = pd.concat([pd.read_parquet(file) for file in files]).set_index("image_id")
    assert set(table.index) == set(made.index)
    for name, row in table.iterrows():
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == made.loc[name, "sha256"]
        Image.open(io.BytesIO(row["image"]["bytes"])).verify()
    labels = table.loc[made.index, list(FINDINGS)]
    pd.testing.assert_frame_equal(labels, made[list(FINDINGS)])


@pytest.mark.parametrize("form", FORMS)
def test_what_is_mended_later_gives_the_same_shards(split_source, clean, tmp_path, files, form):
    def stop(call):
        if call in (2, 5):
            raise RuntimeError("out of memory")

    whole = make(split_source, clean, tmp_path / "whole", form)
    first = make(split_source, clean, tmp_path / "run", form, editor=Dabber(stop=stop))
    assert len(first) == len(whole) - 8
    editor = Dabber()
    make(split_source, clean, tmp_path / "run", form, editor=editor)
    assert editor.calls == 2
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert not list((tmp_path / "run" / "parts").glob("*.pack"))


@pytest.mark.parametrize("form", FORMS)
def test_other_labels_write_the_shards_again(split_source, clean, tmp_path, files, form):
    soft = AugmentPlan(
        findings=FINDINGS,
        ratio=2,
        with_baselines=True,
        with_shams=True,
        composite="baseline",
        labelling=Labelling(policy="soft"),
    )
    fresh = make(split_source, clean, tmp_path / "fresh", form, plan=soft)
    make(split_source, clean, tmp_path / "run", form)
    editor = Dabber()
    make(split_source, clean, tmp_path / "run", form, plan=soft, editor=editor)
    assert editor.calls == 0
    assert files(tmp_path / "run") == files(fresh.folder)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content", [None, b"cut off", "exchanged"])
def test_a_shard_that_was_lost_is_made_again(split_source, clean, tmp_path, files, form, content):
    make(split_source, clean, tmp_path, form)
    before = files(tmp_path)
    lost = sorted((tmp_path / "shards").glob("train-*"))[1]
    if content == "exchanged":
        content = bytes(lost.stat().st_size)
    lost.unlink()
    if content:
        lost.write_bytes(content)
    editor = Dabber()
    make(split_source, clean, tmp_path, form, editor=editor)
    assert 0 < editor.calls < len(clean) * 4
    assert files(tmp_path) == before


@pytest.mark.parametrize("at", range(5))
def test_shards_that_were_cut_off_while_they_took_their_place(
    split_source, clean, tmp_path, files, monkeypatch, at
):
    """The old shards and the new ones exchange places: every moment of it can be the last."""
    make(split_source, clean, tmp_path / "run", "webdataset")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    steps = iter(range(10))

    def cut(real):
        def step(*arguments, **options):
            if "shards." in str(arguments) and next(steps) == at:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        return step

    soft = AugmentPlan(
        findings=FINDINGS,
        ratio=2,
        with_baselines=True,
        with_shams=True,
        composite="baseline",
        labelling=Labelling(policy="soft"),
    )
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut(Path.rename))
        patched.setattr(shards.shutil, "rmtree", cut(shutil.rmtree))
        with pytest.raises(KeyboardInterrupt):
            make(split_source, clean, tmp_path / "run", "webdataset", plan=soft)
    editor = Dabber()
    for name in ("run", "copy"):
        make(split_source, clean, tmp_path / name, "webdataset", plan=soft, editor=editor)
    assert editor.calls == 0
    assert files(tmp_path / "run") == files(tmp_path / "copy")
    assert not list((tmp_path / "run" / "parts").glob("shards*"))


def test_many_pictures_go_into_shards(split_source, clean, tmp_path, monkeypatch):
    planned = 4 * len(clean)
    monkeypatch.setattr(augment, "_FILES", planned - 1)
    assert make(split_source, clean, tmp_path / "a", "auto").record["form"] == "webdataset"
    monkeypatch.setattr(augment, "_FILES", planned)
    assert make(split_source, clean, tmp_path / "b", "auto").record["form"] == "files"
    with pytest.raises(RunError, match="another form"):
        make(split_source, clean, tmp_path / "b", "parquet")
    with pytest.raises(DatasetError, match="got 'zip'"):
        make(split_source, clean, tmp_path / "c", "zip")


def test_exports_of_a_packed_set(split_source, clean, tmp_path):
    made = make(split_source, clean, tmp_path, "webdataset")
    for form, pattern in (("webdataset", "*.tar"), ("huggingface", "*.parquet")):
        folder = augment.export(tmp_path, form, shard=7)
        names = [name for file in folder.glob(pattern) for name in store.members(file)]
        pictures = {name.removesuffix(".png") for name in names if name.endswith(".png")}
        assert pictures == set(made.training["image_id"])
    assert (folder / "validation-00000.parquet").is_file()
    assert "Synthetic image" in (folder / "README.md").read_text()


def there(url):
    system, root = fsspec.core.url_to_fs(url)
    return {name.removeprefix(f"{root}/"): system.cat_file(name) for name in system.find(root)}


def test_a_set_is_put_into_a_store_and_an_interrupted_call_goes_on(
    split_source, clean, tmp_path, files, monkeypatch
):
    url = f"memory://{tmp_path.name}/set"
    monkeypatch.setattr(stores, "_OFTEN", 1)
    sent = []
    real = stores._send

    def send(system, path, target):
        sent.append(path.name)
        if len(sent) == 4:
            raise ConnectionError("the net\nis down")
        real(system, path, target)

    monkeypatch.setattr(stores, "_send", send)
    with pytest.raises(RunError, match=r"ConnectionError: the net is down.*run again") as caught:
        make(split_source, clean, tmp_path, "auto", store=url)
    assert "\n" not in str(caught.value)
    assert "manifest.parquet" not in there(url)
    make(split_source, clean, tmp_path, "auto", store=url)
    copy, local = there(url), files(tmp_path)
    sums = copy.pop(stores.SUMS).decode().splitlines()
    assert copy == local
    assert {line.split("  ")[1]: line.split("  ")[0] for line in sums} == {
        name: hashlib.sha256(content).hexdigest() for name, content in local.items()
    }
    # What was there before the interruption is not sent again, and what is whole never.
    assert len(sent) == len(local) + 1
    make(split_source, clean, tmp_path, "auto", store=url)
    assert len(sent) == len(local) + 1


def test_a_store_follows_the_set(split_source, clean, tmp_path, files):
    url = f"memory://{tmp_path.name}/set"
    broken = make(split_source, clean, tmp_path, "files", editor=Dabber(stop=_fail), store=url)
    assert len(broken) == 0
    make(split_source, clean, tmp_path, "files", store=url)
    copy = there(url)
    copy.pop(stores.SUMS)
    assert copy == files(tmp_path)


def _fail(call):
    raise RuntimeError("nothing today")


@pytest.mark.parametrize(("url", "made"), [("nowhere://x/y", 0), ("file:///proc/nothing/set", 1)])
def test_a_store_that_cannot_be_used_is_one_line(split_source, clean, tmp_path, url, made):
    """An unknown kind of URL is refused before any picture is made."""
    with pytest.raises(RunError, match="put into a store") as caught:
        make(split_source, clean, tmp_path, "auto", store=url)
    assert "\n" not in str(caught.value)
    assert len(list(tmp_path.glob("manifest.parquet"))) == made


@pytest.mark.parametrize("name", ["SHA256SUMS", "augment.json", "scan.tar"])
def test_a_place_of_something_else_is_refused_and_stays(split_source, clean, tmp_path, name):
    place = tmp_path / "place"
    (place / "raw").mkdir(parents=True)
    listed = [place / "raw" / "patients.csv", place / "scan.tar", tmp_path / "victim.txt"]
    for path in listed:
        path.write_text(path.name)
    sums = "".join(
        f"{store.file_sha256(path)}  {os.path.relpath(path, place)}\n" for path in listed
    )
    (place / name).write_text(sums)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match=r"where nothing else is.*empty that one"):
        make(split_source, clean, tmp_path / "set", "parquet", store=place.as_uri())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_set_keeps_its_place(split_source, clean, tmp_path):
    url = f"memory://{tmp_path.name}/set"
    first = make(split_source, clean, tmp_path / "one", "files", store=url)
    before = there(url)
    other = PLAN.model_copy(update={"seed": 5})
    with pytest.raises(RunError, match="holds a training set with another plan"):
        make(split_source, clean, tmp_path / "two", "files", plan=other, store=url)
    assert not (tmp_path / "two").exists()
    two = make(split_source, clean, tmp_path / "two", "files", plan=other)
    with pytest.raises(RunError, match="holds a training set with another plan"):
        augment.put(two, url)
    assert there(url) == before
    # Other labels are another state of the same set.
    masked = PLAN.model_copy(update={"labelling": Labelling(policy="masked")})
    second = make(split_source, clean, tmp_path / "one", "files", plan=masked, store=url)
    assert second.record["labels"] != first.record["labels"]
    assert there(url)["augment.json"] == (tmp_path / "one" / "augment.json").read_bytes()


def test_only_pictures_of_the_set_are_removed_from_its_place(split_source, clean, tmp_path):
    place = tmp_path / "place"
    made = make(split_source, clean, tmp_path / "set", "files", store=place.as_uri())
    kept = ["../victim.txt", str(tmp_path / "away.png"), "notes.csv", "images/../../victim.txt"]
    kept += ["images/00000/*.png", "shards/x", "images/new/a.png"]
    gone = ["images/00000/0123456789abcdef-sham.png", "shards/train-00000.tar"]
    with (place / stores.SUMS).open("a") as sums:
        sums.write("".join(f"{'0' * 64}  {name}\n" for name in (*kept, *gone)) + "no list\n")
    for name in (*kept, *gone):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("theirs")
    augment.put(made, place.as_uri())
    assert all((place / name).read_text() == "theirs" for name in kept)
    assert not any((place / name).exists() for name in gone)
    for path in made.training["path"]:
        assert (place / path).read_bytes() == (made.folder / path).read_bytes()
    assert (place / stores.SUMS).read_text().count("\n") == len(made.training) + 3


def test_a_place_that_does_not_answer_is_not_taken_for_an_empty_one(
    split_source, clean, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise PermissionError("no key")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", refuse)
    with pytest.raises(RunError, match=r"PermissionError: no key.*Name another"):
        make(split_source, clean, tmp_path / "set", "files", store=f"memory://{tmp_path.name}/x")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("kind", "method", "calls"),
    [(journal.Journal, "_append", 5), (shards.Shards, "add", 9), (shards.Shards, "_close", 1)],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_is_one_line_and_the_run_goes_on(
    split_source, clean, tmp_path, files, monkeypatch, form, kind, method, calls
):
    """Packs, or the shards made of them, meet the end of the disk."""
    real, left = getattr(kind, method), iter(range(calls))

    def full(*arguments):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(kind, method, full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            make(split_source, clean, tmp_path / "run", form)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "manifest.parquet").exists()
    editor = Dabber()
    make(split_source, clean, tmp_path / "run", form, editor=editor)
    assert editor.calls == (0 if kind is shards.Shards else len(clean) - 1)
    make(split_source, clean, tmp_path / "whole", form)
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert kill.leftovers(tmp_path / "run") == []
