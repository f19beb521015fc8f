import errno
import hashlib
import hmac
import io
import os
import secrets
import stat
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roentmod import store
from roentmod.errors import RunError
from roentmod.store import (
    atomic,
    canonical_hash,
    check_writable,
    file_sha256,
    file_size,
    open_bytes,
    pseudonym,
    read_bytes,
    remove_unfinished,
    write_bytes,
    write_json,
)


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "a.png"
    with atomic(target) as part:
        assert part.parent == tmp_path
        assert part.suffix == ".png"
        part.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.png"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, fault):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with atomic(target) as part:
            part.write_text("half")
            raise fault

    with pytest.raises(fault):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_others_may_read_the_file(tmp_path):
    plain, target = tmp_path / "plain", tmp_path / "a"
    plain.touch()
    with atomic(target):
        pass
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_bytes_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a", b"old")
    assert (tmp_path / "a").read_bytes() == b"old"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_json_is_utf8_in_the_order_given(tmp_path):
    write_json(tmp_path / "a.json", {"b": "ä", "a": 1.5})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "b": "ä",\n  "a": 1.5\n}\n'.encode()


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", [float("nan")])
    assert (tmp_path / "a.json").read_text() == "[\n  1\n]\n"


def test_sha256(tmp_path):
    data = b"x" * (3 << 20) + b"y"
    (tmp_path / "a").write_bytes(data)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_the_canonical_hash_is_that_of_the_text():
    text = '{"a":[1,2.5,null,true],"b":"\\u00e4"}'
    data = {"b": "ä", "a": [1, 2.5, None, True]}
    assert canonical_hash(data) == hashlib.sha256(text.encode()).hexdigest()


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
finite = leaves.filter(lambda one: one not in (float("inf"), float("-inf")))
trees = st.recursive(finite, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8)


@given(trees)
def test_equal_data_have_one_hash(data):
    def turned(one):
        if isinstance(one, dict):
            return {key: turned(one[key]) for key in reversed(one)}
        return tuple(map(turned, one)) if isinstance(one, list) else one

    assert canonical_hash(data) == canonical_hash(turned(data))


@given(trees)
def test_wrapped_data_have_another_hash(data):
    variants = [data, [data], {"a": data}, {"b": data}, [data, data]]
    assert len({canonical_hash(one) for one in variants}) == len(variants)


def test_the_canonical_hash_refuses_what_json_cannot_say():
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            canonical_hash({"a": [number]})
    for thing in ({1, 2}, b"x", np.float32(1), object()):
        with pytest.raises(TypeError):
            canonical_hash([thing])
    # JSON would make 1 and "1" one key.
    with pytest.raises(TypeError, match="Keys of hashed data are texts; got 1"):
        canonical_hash([{"a": {1: "x"}}])


@pytest.fixture
def archive(tmp_path):
    """A tar with members a/1.bin, 2.bin (./2.bin), an empty one, a folder and a link."""
    path = tmp_path / "train-0.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in (("a/1.bin", b"one"), ("./2.bin", b"x" * 5000), ("none", b"")):
            add(tar, name, data)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "2.bin"
        tar.addfile(link)
    return path


def add(tar, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def test_files_inside_a_tar_are_files(archive):
    for name, data in (("a/1.bin", b"one"), ("2.bin", b"x" * 5000), ("none", b"")):
        for path in (archive / name, str(archive / name)):
            assert read_bytes(path) == data
            assert file_size(path) == len(data)
            assert file_sha256(path) == hashlib.sha256(data).hexdigest()
    with open_bytes(archive / "2.bin") as file:
        file.seek(-2, os.SEEK_END)
        assert file.read() == b"xx"


def test_plain_files_are_read_as_ever(tmp_path):
    (tmp_path / "folder.tar").mkdir()
    for path in (tmp_path / "a.bin", tmp_path / "folder.tar" / "b.bin", tmp_path / "c.tar"):
        path.write_bytes(b"plain")
        assert read_bytes(path) == b"plain"
        assert file_size(path) == 5
        assert file_sha256(path) == hashlib.sha256(b"plain").hexdigest()


def test_an_archive_in_a_folder_that_is_named_like_one(tmp_path):
    (tmp_path / "all.tar").mkdir()
    with tarfile.open(tmp_path / "all.tar" / "0.tar", "w") as tar:
        add(tar, "a", b"deep")
    assert read_bytes(tmp_path / "all.tar" / "0.tar" / "a") == b"deep"


@pytest.mark.parametrize("name", ["3.bin", "folder", "link", "a", "a/1.bin/more", "../a/1.bin"])
def test_what_is_not_in_the_tar_is_not_found(archive, name):
    for function in (read_bytes, file_size, file_sha256):
        with pytest.raises(FileNotFoundError, match="No such file") as caught:
            function(archive / name)
        assert caught.value.strerror == "No such file or directory"
        assert caught.value.filename == str(archive / name)


def test_missing_files_and_folders_have_no_size(tmp_path):
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "no.tar" / "a"):
        with pytest.raises(FileNotFoundError):
            file_size(path)


def test_the_index_of_a_tar_is_read_once(archive, monkeypatch):
    opened = []
    real = tarfile.open
    monkeypatch.setattr(store.tarfile, "open", lambda *a, **k: (opened.append(a), real(*a, **k))[1])
    for _ in range(3):
        read_bytes(archive / "a/1.bin")
        file_size(archive / "2.bin")
    assert len(opened) == 1


def test_a_changed_tar_is_read_again(archive):
    assert read_bytes(archive / "2.bin") == b"x" * 5000
    with tarfile.open(archive, "a") as tar:
        add(tar, "new.bin", b"new")
        add(tar, "2.bin", b"later")
    assert read_bytes(archive / "new.bin") == b"new"
    assert read_bytes(archive / "2.bin") == b"later"


def test_a_damaged_tar_is_said_to_be(archive, tmp_path):
    whole = archive.read_bytes()
    for name, data in (("noise.tar", b"noise" * 200), ("cut.tar", whole[:3000]), ("no.tar", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(OSError, match=r"The archive is (damaged|cut short)"):
            read_bytes(tmp_path / name / "2.bin")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    kept = [tmp_path / name for name in ("a.json", ".hidden", "sub/.b.png", ".c.0123.json")]
    gone = [tmp_path / name for name in (".a.0123456789ab.json", "sub/.b.0123456789ab")]
    (tmp_path / "sub").mkdir()
    for path in kept + gone:
        path.touch()
    remove_unfinished(tmp_path)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)


@given(st.text())
def test_any_text_becomes_a_name_of_one_file(value):
    assert store.is_name(store.as_name(value))
    assert (store.as_name(value) == value) == store.is_name(value)


def test_names_of_files():
    for good in ("train", "a.b", "_x", "00000-1"):
        assert store.is_name(good)
    for bad in ("", ".", "..", ".hidden", "a/b", "a\\b", "a b", "a\n", "x" * 129, "nul\0"):
        assert not store.is_name(bad)
    assert store.as_name("a/b") != store.as_name("a_b")


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.png'") as caught:
        write_bytes(tmp_path / "a.png", b"new")
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_whether_a_folder_can_be_written_is_found_without_a_trace(tmp_path, monkeypatch):
    check_writable(tmp_path / "a" / "b")
    (tmp_path / "file").write_bytes(b"")
    for place in ("file", "file/b"):
        with pytest.raises(NotADirectoryError, match="file"):
            check_writable(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="denied"):
        check_writable(tmp_path / "a")


def no_links(*_):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture(params=["links", "no links"])
def salt(request, tmp_path, monkeypatch):
    """Where there is no salt yet, on a disk with hard links or without."""
    if request.param == "no links":
        monkeypatch.setattr(store.os, "link", no_links)
    monkeypatch.setenv("ROENTMOD_SALT", str(tmp_path / "new" / "salt"))
    return tmp_path / "new" / "salt"


def test_of_two_who_make_a_salt_at_once_both_take_the_first(salt, monkeypatch):
    """The second begins and ends between the first one's look and its writing."""
    draw, others = secrets.token_hex, []

    def drawn(size):
        if not others:
            others.append("")
            others[:] = [pseudonym("x", "i")]
        return draw(size)

    monkeypatch.setattr(store.secrets, "token_hex", drawn)
    own = pseudonym("x", "i")
    assert [own] == others
    store._salt.cache_clear()
    assert pseudonym("x", "i") == own
    key = bytes.fromhex(salt.read_text())
    assert own == "i-" + hmac.new(key, b"i/x", "sha256").hexdigest()[:12]
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    assert os.listdir(salt.parent) == ["salt"]


def test_threads_that_make_a_salt_at_once_take_one(salt, monkeypatch):
    count, exists = 6, Path.exists
    together = threading.Barrier(count, timeout=20)

    def seen(path):
        found = exists(path)
        if path == salt:
            together.wait()
        return found

    monkeypatch.setattr(Path, "exists", seen)
    with ThreadPoolExecutor(count) as threads:
        names = list(threads.map(lambda _: pseudonym("x", "i"), range(count)))
    assert len(set(names)) == 1
    assert os.listdir(salt.parent) == ["salt"]


def test_a_salt_that_cannot_be_written_leaves_nothing(salt, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        pseudonym("x", "i")
    assert os.listdir(salt.parent) == []


def test_a_salt_that_is_being_written_is_waited_for(salt):
    salt.parent.mkdir()
    salt.touch()
    writer = threading.Timer(0.2, salt.write_text, ["7" * 64])
    writer.start()
    expected = hmac.new(b"\x77" * 32, b"i/x", "sha256").hexdigest()[:12]
    assert pseudonym("x", "i") == f"i-{expected}"
    writer.join()


def test_a_salt_that_is_no_text_is_one_line(salt):
    salt.parent.mkdir()
    salt.write_bytes(b"\xff" * 64)
    with pytest.raises(RunError, match="64 hexadecimal digits"):
        pseudonym("x", "i")
