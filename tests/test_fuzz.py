"""Every door holds against a few hundred mutated inputs; `make fuzz` tries them by the thousand."""

import pytest

from bench import fuzz

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("door", fuzz.DOORS)
def test_a_door_holds(door, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("RUST_BACKTRACE", "0")
    result = fuzz.tried(door, 300 if door == "pictures" else 30, seed=0)
    assert result["tracebacks"] == result["hangs"] == 0
    assert result["read"] + result["refused"] == result["tried"]
    assert result["peak_mb"] < fuzz.MOST_MB


def test_a_door_that_does_not_hold_is_seen(monkeypatch, capfd):
    def bad(path):
        raise {b"a": ValueError, b"b": KeyboardInterrupt}.get(path.read_bytes()[:1], SystemExit)

    door = fuzz.Door(5, lambda: {"a.bin": b"abc" * 99}, bad)
    monkeypatch.setitem(fuzz.DOORS, "bad", door)
    assert fuzz.tried("bad", 5, seed=0)["tracebacks"] == 5
    assert "ValueError" in capfd.readouterr().err
