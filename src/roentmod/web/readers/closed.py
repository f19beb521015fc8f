"""The truth stays closed to the process that serves: by the kernel where it can, by Python always.

On Linux with Landlock (5.13 on), the process gives up, for good and for all its threads and
children, the right to open anything in the truth's folder. Besides, an audit hook refuses it by
name, starts no other program, and cannot be taken away.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from roentmod.errors import ReadersError

__all__ = ["close"]

_RULESET, _ADD, _RESTRICT = 444, 445, 446
_NO_NEW_PRIVILEGES = 38
# Of Landlock's rights: write a file, read a file, read a folder.
_RIGHTS = 1 << 1 | 1 << 2 | 1 << 3
_FILE_RIGHTS = 1 << 1 | 1 << 2
_BENEATH = 1
_STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork")
_NAMES = (
    "open", "os.listdir", "os.scandir", "os.rename", "os.link", "os.symlink", "os.chdir",
    "shutil.copyfile", "shutil.move", "sqlite3.connect",
)  # fmt: skip


def close(truth: Path) -> str:
    """Close a folder to this process, for good; return by whom, in words.

    Raises:
        ReadersError: the folder can still be opened.
    """
    place = os.path.realpath(truth)
    kernel = sys.platform == "linux" and _by_kernel(place)
    sys.addaudithook(_hook(place))
    if _opens(place):
        raise ReadersError("The truth must be closed to the server, and can be opened. Move it.")
    return "the kernel (Landlock) and Python" if kernel else "Python"


def _opens(place: str) -> bool:
    if not os.path.isdir(place):
        return False
    try:
        os.listdir(place)
    except OSError:
        return False
    return True


def _hook(place: str) -> Any:
    """Return a hook that refuses whatever leads into a folder."""
    inside = place + os.sep
    busy = False

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        if event in _STARTS:
            raise PermissionError("The server of a reader study starts no other program.")
        if event not in _NAMES or busy:
            return
        for one in arguments[:2]:
            if isinstance(one, str | bytes | os.PathLike):
                name = os.fsdecode(one).removeprefix("file:")
                busy = True
                try:
                    real = os.path.realpath(name.partition("?")[0])
                finally:
                    busy = False
                if real == place or real.startswith(inside):
                    raise PermissionError("The truth of a reader study is closed to its server.")

    return refuse


def _by_kernel(place: str) -> bool:
    """Give up the right to open a folder; tell whether the kernel can do so.

    Landlock knows what is allowed alone: everything beside the way to the folder is.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)) < 1:
        return False
    handled = struct.pack("Q", _RIGHTS)
    ruleset = libc.syscall(_RULESET, handled, ctypes.c_size_t(len(handled)), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        for beside in _beside(place):
            _allow(libc, ruleset, beside)
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
            return False
        return bool(libc.syscall(_RESTRICT, ruleset, ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


def _beside(place: str) -> list[str]:
    """Return all that lies beside the way from the root to a folder.

    Links are left out: one may lead to the folder, and where others lead is allowed by itself.
    """
    way = [Path(place), *Path(place).parents]
    found = []
    for folder, upper in pairwise(way):
        try:
            entries = [e for e in os.scandir(upper) if not e.is_symlink()]
        except OSError:
            continue
        found += [entry.path for entry in entries if entry.name != folder.name]
    return found


def _allow(libc: Any, ruleset: int, path: str) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _RIGHTS if os.path.isdir(path) else _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, handle)
        libc.syscall(_ADD, ruleset, _BENEATH, rule, ctypes.c_uint32(0))
    finally:
        os.close(handle)
