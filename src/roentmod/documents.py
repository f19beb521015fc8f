"""JSON, TOML and YAML files from anywhere, read within limits of size, depth and number.

What people write or receive as such a file passes here: packs, studies, cards, configurations of
models, matrices, records. Which values are right is the caller's matter.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roentmod.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["LARGEST", "read_document"]

LARGEST = 64 * 2**20
# Lines of YAML are dear to read, and nobody writes so many.
_LARGEST_YAML = 2**20
_DEEPEST = 64
# A YAML file of a few lines may hold a list of names of lists: what it means is counted.
_MOST = 5_000_000
_MOST_KEYS = 10_000


def read_document(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the one object that a file holds: TOML or YAML by its suffix, JSON otherwise.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be read, is larger or deeper than an honest one, says one key twice,
            holds a number that is not finite, or no object.
    """
    file = Path(path)
    kind = {".toml": "TOML", ".yaml": "YAML", ".yml": "YAML"}.get(file.suffix.lower(), "JSON")
    try:
        content = _parse(kind, _text(file, _LARGEST_YAML if kind == "YAML" else LARGEST))
        _check_extent(content)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        why = f"nested deeper than {_DEEPEST}" if isinstance(error, RecursionError) else error
        raise InputError(
            f"A {kind} file in UTF-8 is needed; reading {file.name} gave: {why}. Correct it."
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"A {kind} file must hold one object; {file.name} holds a {type(content).__name__}. "
            "Write it with its keys."
        )
    return content


def _text(file: Path, largest: int) -> str:
    if file.exists() and not file.is_file():
        raise ValueError("it is no regular file")
    size = file.stat().st_size
    if size > largest:
        raise ValueError(f"it has {size:,} bytes, and at most {largest:,} are read")
    return file.read_bytes().decode("utf-8-sig")


def _parse(kind: str, text: str) -> Any:
    if kind == "TOML":
        return tomllib.loads(text)
    if kind == "YAML":
        return _yaml(text)
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)


def _yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            _once((key.value, None) for key, _ in node.value if isinstance(key.value, str))
            return node

        def flatten_mapping(self, node: Any) -> None:
            super().flatten_mapping(node)
            if len(node.value) > _MOST_KEYS:
                raise ValueError(f"a mapping of more than {_MOST_KEYS:,} keys")

    try:
        return yaml.load(text, Loader)  # nosec B506 # a safe loader with limits
    except (yaml.YAMLError, TypeError) as error:
        raise ValueError(error) from error


def _once(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"the key '{key}' stands there twice")
        made[key] = value
    return made


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number in JSON")


def _check_extent(content: Any) -> None:
    """Refuse what is nested too deep, or means more values than any file needs."""
    count, level = 0, [content]
    for _ in range(_DEEPEST):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{value} is no number to work with")
            count += 1
            if count + len(inner) > _MOST:
                raise ValueError(f"it means more than {_MOST:,} values")
        level = inner
        if not level:
            return
    raise RecursionError
