"""Who works on a run's folder: each process with a heartbeat, and what it has claimed.

Several processes, also of several machines that share no more than a disk, may work on one folder.
A process announces itself by a file that it keeps locked and touches; a claim is a file that only
one can create. What a dead process had claimed is free: on the same machine the lock tells at once,
elsewhere, and where the disk has no locks, a heartbeat that has stopped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from roentmod.store import naming

try:
    import fcntl
except ImportError:  # Windows has no such locks: the heartbeat alone decides there.
    fcntl = None  # type: ignore[assignment]

from roentmod.errors import RunError

__all__ = ["Crew"]

_BEAT = 10.0
# A process that was silent for so long, and of which no lock can tell, is dead.
_SILENT = 120.0
_POLL = 0.2


class Crew:
    """This process among those that work on a folder; a context manager.

    Args:
        folder: where heartbeats, claims and unfinished files lie; made where missing.
    """

    def __init__(self, folder: Path) -> None:
        """Announce this process, and clear away what dead ones left."""
        self._members, self._claims = folder / "members", folder / "claims"
        for place in (self._members, self._claims):
            place.mkdir(parents=True, exist_ok=True)
        # The names of logs stay, and machines are often called like people or places.
        self.host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]
        self.name = f"{self.host}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        self._file = self._announce()
        self._began = self._place()
        self._held: dict[str, list[Path]] = {}
        self._stop = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()
        self.scratch = folder / "unfinished" / self.name
        self._clear(folder / "unfinished")

    def __enter__(self) -> Crew:
        """Return itself."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Leave: claims, heartbeat and unfinished files go.

        Raises:
            RunError: the folder is not the one in which the work began.
        """
        lost = self._place() != self._began and (error is None or isinstance(error, OSError))
        self._leave()
        if lost:
            folder = self._members.parent.parent
            raise RunError(
                f"A run's folder stays where it is until the run ends; '{folder}' was removed or "
                "replaced meanwhile. Run again."
            ) from error

    def _place(self) -> int | None:
        """Return what tells the folder from another one that takes its name."""
        with suppress(OSError):
            return self._members.stat().st_ino
        return None

    def _leave(self) -> None:
        for name in list(self._held):
            self.release(name)
        self._stop.set()
        shutil.rmtree(self.scratch, ignore_errors=True)
        with suppress(OSError):
            self.scratch.parent.rmdir()
        with suppress(OSError):
            self._path(self.name).unlink()
        self._file.close()

    def claim(self, name: str) -> bool:
        """Claim something, and tell whether it is now this process's.

        What a dead process D holds as NAME is taken over as NAME~D, which again only one can
        create; taking D's file away instead could hit that of a quicker successor.
        """
        while True:
            chain: list[tuple[Path, str]] = []
            path = self._claims / name
            while not self._create(path):
                owner = _read(path)
                if owner is None:
                    break
                if not self._dead(owner, path):
                    return False
                chain.append((path, owner))
                path = self._claims / f"{name}~{owner}"
            else:
                # Whoever releases a chain begins at its start: if that still stands, nobody has.
                if all(_read(link) == owner for link, owner in chain):
                    self._held[name] = [link for link, _ in chain] + [path]
                    return True
                path.unlink()

    def release(self, name: str) -> None:
        """Give a claim back."""
        for path in self._held.pop(name, []):
            with suppress(OSError):
                path.unlink()

    def tidy(self, *, packs: bool = False) -> bool:
        """Remove claims of dead processes, and `packs`, unless somebody else works here now.

        Returns:
            Whether nobody does.
        """
        # Whoever died while this process was at work has left its files, too.
        self._clear(self.scratch.parent)
        if any(path.name != self.name for path in self._members.glob("[!.]*")):
            return False
        held = {path for paths in self._held.values() for path in paths}
        left = set(self._claims.glob("*")) - held
        for path in left | set(self._claims.parent.glob("*.pack") if packs else ()):
            with suppress(OSError):
                path.unlink()
        return True

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Wait until something can be claimed, and hold it for the block."""
        while not self.claim(name):
            time.sleep(_POLL)
        try:
            yield
        finally:
            self.release(name)

    def _path(self, name: str) -> Path:
        return self._members / name

    def _create(self, path: Path) -> bool:
        try:
            with naming(path), path.open("x") as file:
                file.write(self.name)
        except FileExistsError:
            return False
        except OSError:
            # A full disk may leave an empty claim, on which others would wait.
            with suppress(OSError):
                path.unlink()
            raise
        return True

    def _announce(self) -> IO[str]:
        # Locked before it has its name: nobody can take it for a dead process's.
        unnamed = self._members / f".{self.name}"
        file = unnamed.open("x")
        if fcntl is not None:
            # Some network file systems have no locks: the heartbeat then decides.
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(self._path(self.name))
        return file

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT):
            with suppress(OSError):
                os.utime(self._path(self.name))

    def _dead(self, owner: str, path: Path) -> bool:
        # An empty claim is being written just now, or its process was killed.
        return not self._alive(owner) if owner else self._age(path) > _SILENT

    def _alive(self, name: str) -> bool:
        path = self._path(name)
        if fcntl is not None and name.partition(".")[0] == self.host:
            # Any other error tells nothing of the process: the disk has no locks, or the file is
            # another user's.
            with suppress(OSError), path.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    return True
                return False
        return path.exists() and self._age(path) < _SILENT

    def _age(self, path: Path) -> float:
        """Return seconds since a file was touched, by the clock of the disk."""
        own = self._path(self.name)
        try:
            os.utime(own)
            return own.stat().st_mtime - path.stat().st_mtime
        except OSError:
            return 0.0

    def _clear(self, unfinished: Path) -> None:
        names = {path.name for place in (self._members, unfinished) for path in place.glob("[!.]*")}
        for name in names - {self.name}:
            if not self._alive(name):
                shutil.rmtree(unfinished / name, ignore_errors=True)
                with suppress(OSError):
                    self._path(name).unlink()


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
