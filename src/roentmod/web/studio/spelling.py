"""An edit of the studio as a command line and as Python."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from roentmod import verbs
from roentmod.plans.base import marks
from roentmod.plans.options import fields_of

__all__ = ["command", "python"]

_OUT = "edited"
# As Python has them in the name of a file.
_BYTE = re.compile(r"[\udc80-\udcff]")


def command(path: str, options: Mapping[str, Any]) -> str:
    """Return the ``roentmod edit`` that does the same; `options` are those of `verbs.edit`."""
    fields = fields_of(verbs.edit.plans)  # type: ignore[attr-defined]
    words = ["roentmod", "edit", path, "--out", _OUT]
    for name, value in options.items():
        spelled = "--" + marks(fields[name]).get("option", name.replace("_", "-"))
        if value is True:
            words.append(spelled)
        elif value is False:
            words.append("--no-" + spelled.removeprefix("--"))
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [spelled, str(one)]
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    r"""Return a word as a shell takes it: bytes that are no UTF-8 as ``\xf6`` in ``$'...'``."""
    if not _BYTE.search(word):
        return shlex.quote(word)
    word = word.replace("\\", r"\\").replace("'", r"\'")
    return "$'" + _BYTE.sub(lambda one: f"\\x{ord(one[0]) & 0xFF:02x}", word) + "'"


def python(path: str, options: Mapping[str, Any]) -> str:
    """Return the call of `roentmod.edit` that does the same."""
    lines = [f"{name}={value!r}," for name, value in options.items()]
    body = "".join(f"    {line}\n" for line in [f"{path!r},", f"out={_OUT!r},", *lines])
    return f"import roentmod as rm\n\nresult = rm.edit(\n{body})\n"
