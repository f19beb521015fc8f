"""Files that are whole or not there, files inside archives, and hashes.

A path may lead into an archive: ``shards/train-00000.tar/NAME.png`` is the member ``NAME.png`` of
an uncompressed tar, and ``shards/train-00000.parquet/NAME.png`` the picture of the row whose
`image_id` is NAME: columns `image` ({bytes, path}) and `size` (of its bytes). Everything here that
reads a path reads such a path too.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import io
import json
import os
import posixpath
import re
import secrets
import stat
import tarfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from roentmod.errors import RunError

__all__ = [
    "as_name",
    "atomic",
    "canonical_hash",
    "check_writable",
    "config_folder",
    "file_sha256",
    "file_size",
    "inside",
    "is_name",
    "members",
    "naming",
    "open_bytes",
    "pseudonym",
    "read_bytes",
    "remove_unfinished",
    "write_bytes",
    "write_json",
]

AnyPath = str | os.PathLike[str]
_TAR, _PARQUET = ".tar", ".parquet"
# Names of files need be no text.
_ANY = "surrogatepass"
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SALT = re.compile(r"[0-9a-f]{64}")
# Looks, and seconds between them, while somebody else may be writing the salt.
_LOOKS, _PAUSE = 40, 0.05
_PSEUDONYM = re.compile(r"[ips]-[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
# The names of `atomic`.
_UNFINISHED = re.compile(r"\..*\.[0-9a-f]{12}(\.[^.]*)?")


def is_name(text: str) -> bool:
    """Tell whether a text from a table may be the name of a file or folder, as it is.

    It has 1 to 128 of A-Z, a-z, 0-9, ".", "_" and "-", and begins with no ".".
    """
    return _NAME.fullmatch(text) is not None


def as_name(text: str) -> str:
    """Return a text as the name of a file or folder: itself where `is_name`, else with a hash.

    Different texts give different names.
    """
    if is_name(text):
        return text
    kept = re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:40]
    return f"{kept}-{hashlib.sha256(text.encode(errors=_ANY)).hexdigest()[:8]}"


def inside(folder: AnyPath, path: str) -> bool:
    """Tell whether a path from a table stays in its folder, links included."""
    root = os.path.realpath(folder)
    return Path(os.path.realpath(os.path.join(root, path))).is_relative_to(root)


def check_writable(folder: AnyPath) -> None:
    """Find out, without a trace, whether files can be written into a folder that may not be there.

    Raises:
        OSError: it is a file or lies in one, or may not be written.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


@contextmanager
def naming(path: AnyPath) -> Iterator[None]:
    """Let errors of the block that name no file, such as that of a full disk, name `path`.

    Raises:
        OSError: the same, with the path.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


@contextmanager
def atomic(path: AnyPath) -> Iterator[Path]:
    """Give a new empty file beside `path` to write to; it becomes `path` when the block ends well.

    On any exception, Ctrl-C included, the new file is removed and `path` stays as it was. The
    temporary name keeps the suffix, as writers choose a format by it.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:12]}{target.suffix}")
    # Not tempfile: its files are readable by their owner only, and would stay so after the rename.
    part.open("xb").close()
    try:
        with naming(target):
            yield part
            # Without this a crash of the machine could leave the new name on an empty file.
            with part.open("r+b") as file:
                os.fsync(file.fileno())
            part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what `atomic` left anywhere below `folder` when its process was killed.

    Nobody may be writing there at the same time.
    """
    for path in folder.rglob(".*"):
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write `data` atomically.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    with atomic(path) as part:
        part.write_bytes(data)


def write_json(path: AnyPath, data: Any) -> None:
    """Write `data` as indented UTF-8 JSON, atomically and with keys in the order given.

    Raises:
        ValueError: a number that is not finite, which JSON cannot say.
        TypeError: something that JSON has no form for.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    if not text.isascii() and _SURROGATE.search(text):
        # Names of files and words of a command line need be no text; JSON has escapes for them.
        text = json.dumps(data, indent=2, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def canonical_hash(data: Any) -> str:
    """Return the SHA-256 of `data` as canonical JSON: ASCII, keys sorted, no spaces; 64 hex digits.

    Equal data give one hash in any process; a tuple counts as a list.

    Raises:
        ValueError: a number that is not finite.
        TypeError: something that JSON has no form for, such as a path or a NumPy number, or a key
            that is no text, which JSON would turn into one.
    """
    _check_keys(data)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def pseudonym(text: str, kind: str) -> str:
    """Return what stands for a name: a kind of one letter, and a hash of 12 hex digits.

    Nobody without this user's salt can check a guess. A pseudonym stays what it is.

    Args:
        text: the name.
        kind: "i" of a picture, "p" of a patient, "s" of a site.

    The salt is a file outside every result: ``ROENTMOD_SALT`` names it, or it is ``roentmod/salt``
    in the configuration folder (``XDG_CONFIG_HOME``, ``~/.config``), and made where there is none:
    of several processes that begin at once, all take that of the first.

    Raises:
        RunError: the file holds something else, or cannot be read or written.
    """
    if _PSEUDONYM.fullmatch(text):
        return text
    data = f"{kind}/{text}".encode(errors=_ANY)
    return f"{kind}-{hmac.new(_salt(_salt_file()), data, hashlib.sha256).hexdigest()[:12]}"


def config_folder() -> Path:
    """Return the folder of what is this user's own and no part of any result."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "roentmod"


def _salt_file() -> Path:
    named = os.environ.get("ROENTMOD_SALT")
    return Path(named).expanduser() if named else config_folder() / "salt"


@lru_cache(maxsize=4)
def _salt(file: Path) -> bytes:
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_first(file, secrets.token_hex(32).encode())
        for _ in range(_LOOKS):
            text = file.read_text(errors="replace").strip()
            if text:
                break
            time.sleep(_PAUSE)
    except OSError as error:
        raise RunError(
            f"Names are hidden with a salt of yours in {file}; it gave '{error.strerror}'. Name "
            "another file by ROENTMOD_SALT, or keep the names with --keep-ids."
        ) from error
    if not _SALT.fullmatch(text):
        raise RunError(
            f"A salt is a file of 64 hexadecimal digits; {file.name} holds something else. Name "
            "another file by ROENTMOD_SALT."
        )
    return bytes.fromhex(text)


def _write_first(file: Path, data: bytes) -> None:
    """Write a file for its owner alone, whole, unless there is one: the first stays."""
    part = file.with_name(f".{file.stem}.{uuid.uuid4().hex[:12]}{file.suffix}")
    _write_new(part, data)
    try:
        os.link(part, file)
    except FileExistsError:
        pass
    except OSError:
        # Some disks have no links: the file is there before its content.
        with suppress(FileExistsError):
            _write_new(file, data)
    finally:
        part.unlink(missing_ok=True)


def _write_new(file: Path, data: bytes) -> None:
    """Write a file for its owner alone.

    Raises:
        FileExistsError: there is one.
        OSError: it cannot be written; nothing is left of it.
    """
    with open(file, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as new:
        try:
            new.write(data)
            new.flush()
            os.fsync(new.fileno())
        except BaseException:
            file.unlink()
            raise


def _check_keys(data: Any) -> None:
    if isinstance(data, dict):
        for key in data:
            if not isinstance(key, str):
                raise TypeError(f"Keys of hashed data are texts; got {key!r}. Convert it.")
        data = list(data.values())
    if isinstance(data, (list, tuple)):
        for item in data:
            _check_keys(item)


def open_bytes(path: AnyPath) -> BinaryIO:
    """Open a file, or a file inside an archive, for reading.

    Raises:
        OSError: it is not there or cannot be read; the archive is damaged.
    """
    member = _member(path)
    if member is None:
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            # A pipe waits for whoever writes to it, and a device may have no end.
            raise OSError(errno.EINVAL, "It is no regular file", os.fspath(path))
        return open(path, "rb")
    archive, place, size = member
    if archive.endswith(_PARQUET):
        data = _picture(archive, os.stat(archive).st_mtime_ns, place)
    else:
        with open(archive, "rb") as file:
            file.seek(place)
            data = file.read(size)
    if len(data) < size:
        raise OSError(errno.EIO, "The archive is cut short", os.fspath(path))
    return io.BytesIO(data)


def read_bytes(path: AnyPath) -> bytes:
    """Return the content of a file, or of a file inside an archive; errors as `open_bytes`."""
    with open_bytes(path) as file:
        return file.read()


def file_size(path: AnyPath) -> int:
    """Return the size in bytes of a regular file, or of one inside an archive.

    Raises:
        OSError: it is not there or no regular file; the archive is damaged.
    """
    member = _member(path)
    if member is not None:
        return member[2]
    if not os.path.isfile(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
    return os.stat(path).st_size


def file_sha256(path: AnyPath) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits; errors as `open_bytes`."""
    digest = hashlib.sha256()
    with open_bytes(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def members(archive: AnyPath) -> list[str]:
    """Return the names of the files inside an archive, in order.

    Raises:
        OSError: it is not there, or damaged.
    """
    facts = os.stat(archive)
    return list(_index(os.fspath(archive), facts.st_mtime_ns, facts.st_size))


def _member(path: AnyPath) -> tuple[str, int, int] | None:
    """Return archive, place in it and size of a file inside an archive; None for any other path."""
    text = os.fspath(path)
    # Most paths lead into no archive and are not to cost more than this.
    if _TAR + os.sep not in text and _PARQUET + os.sep not in text:
        return None
    whole = Path(text)
    archive = next((p for p in whole.parents if p.suffix in (_TAR, _PARQUET) and p.is_file()), None)
    if archive is None:
        return None
    facts = archive.stat()
    files = _index(str(archive), facts.st_mtime_ns, facts.st_size)
    name = whole.relative_to(archive).as_posix()
    if name not in files:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
    return str(archive), *files[name]


@lru_cache(maxsize=4096)
def _index(archive: str, mtime: int, size: int) -> dict[str, tuple[int, int]]:
    """Return place and size of every regular file in an archive; of one name twice, the last.

    The place is the first byte in a tar, the row in Parquet. Time and size make a changed archive
    another one.
    """
    try:
        if archive.endswith(_PARQUET):
            import pyarrow.parquet as pq

            table = pq.read_table(archive, columns=["image_id", "size"])
            rows = zip(*(table[name].to_pylist() for name in ("image_id", "size")), strict=True)
            return {f"{name}.png": (row, size) for row, (name, size) in enumerate(rows)}
        with tarfile.open(archive, "r:") as file:
            return {
                posixpath.normpath(one.name): (one.offset_data, one.size)
                for one in file
                if one.isreg() and not one.issparse()
            }
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise OSError(errno.EIO, f"The archive is damaged ({error})", archive) from error


def _picture(archive: str, mtime: int, row: int) -> bytes:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(archive)
    group = 0
    while row >= metadata.row_group(group).num_rows:
        row -= metadata.row_group(group).num_rows
        group += 1
    data: bytes = _pictures(archive, mtime, group)[row].as_py()
    return data


@lru_cache(maxsize=2)
def _pictures(archive: str, mtime: int, group: int) -> Any:
    """Return the pictures of one row group; neighbours are mostly read one after the other."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(archive) as file:
        column = file.read_row_group(group, columns=["image.bytes"])["image"]
    return column.combine_chunks().field("bytes")
