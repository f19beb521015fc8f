"""Who is at work and who is dead, by locks and, where a disk has none, by heartbeats."""

import errno
import os
import time

import pytest

from roentmod.runs import crew, run
from roentmod.runs.crew import Crew
from tests.runs.toy import Squares

fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks")


@pytest.fixture(params=[errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def no_locks(request, monkeypatch):
    """A disk without locks, such as Lustre without -o flock."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(crew.fcntl, "flock", refuse)


def killed(folder, seconds, *claims):
    """Leave what a process of this machine leaves that was killed so many seconds ago."""
    one = Crew(folder)
    assert all(one.claim(name) for name in claims)
    one._stop.set()
    one._file.close()
    one.scratch.mkdir(parents=True)
    for path in (*folder.glob("members/*"), *folder.glob("claims/*")):
        os.utime(path, (time.time() - seconds,) * 2)
    return one


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_heartbeat_that_stopped_frees_claims(tmp_path):
    dead = killed(tmp_path, 3600, "1-0")
    with Crew(tmp_path) as one:
        assert not dead.scratch.exists()
        assert one.claim("1-0")
        assert one.tidy()
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_heartbeat_keeps_claims(tmp_path):
    with Crew(tmp_path) as first, Crew(tmp_path) as second:
        assert first.claim("1-0")
        assert not second.claim("1-0")
        assert not second.tidy()
        assert second._path(first.name).exists()
        first.release("1-0")
        assert second.claim("1-0")


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_run_that_was_killed_goes_on(tmp_path):
    killed(tmp_path / "run" / "parts", 3600, "folder", "1-0")
    run(Squares(4), tmp_path / "run")
    assert not list((tmp_path / "run" / "parts").glob("claims/*"))


def test_with_locks_a_killed_process_is_dead_at_once(tmp_path):
    dead = killed(tmp_path, 0, "1-0")
    with Crew(tmp_path) as one:
        assert not one._path(dead.name).exists()
        assert one.claim("1-0")


@pytest.mark.parametrize("error", [BlockingIOError(errno.EWOULDBLOCK, ""), PermissionError()])
def test_a_lock_that_somebody_holds_counts_for_more_than_a_heartbeat(tmp_path, monkeypatch, error):
    killed(tmp_path, 3600, "1-0")

    def held(*_):
        raise error

    monkeypatch.setattr(crew.fcntl, "flock", held)
    with Crew(tmp_path) as one:
        assert not one.claim("1-0")
        assert not one.tidy()


def test_a_file_that_is_another_user_s_lives_by_its_heartbeat(tmp_path, monkeypatch):
    with Crew(tmp_path) as other, Crew(tmp_path) as one:
        assert other.claim("1-0")
        real = crew.Path.open

        def opened(path, *mode, **options):
            if path.name == other.name:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return real(path, *mode, **options)

        monkeypatch.setattr(crew.Path, "open", opened)
        assert not one.claim("1-0")
        os.utime(other._path(other.name), (time.time() - 3600,) * 2)
        assert one.claim("1-0")


def test_who_died_meanwhile_does_not_keep_leftovers(tmp_path):
    with Crew(tmp_path) as one:
        dead = killed(tmp_path, 3600, "1-0")
        # As of another machine, of which no lock can tell.
        os.rename(one._path(dead.name), one._path(f"elsewhere{dead.name}"))
        assert one.tidy()
        assert not list(tmp_path.glob("claims/*"))
        assert not dead.scratch.exists()
