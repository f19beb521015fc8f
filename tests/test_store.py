import hashlib
import os
import stat

import pytest

from roentmod.store import atomic, file_sha256, write_json


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
