"""The weights and painter that figures were measured with: in each JSON, stated by each page.

A bench ends with `measured`, which adds ``weights`` to its JSON and the head of its page. Where
they have been exchanged since, the page says so itself. ``python -m bench.weights`` writes the
heads of all pages again: to be run after new weights were bundled. `tests/test_figures.py` refuses
a page that is silent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import roentmod
from roentmod.editors import Painter
from roentmod.store import atomic, write_json

__all__ = ["MEASURED", "Measured", "bundled", "head", "headed", "measured", "of"]

_PACKAGE = Path(roentmod.__file__).parent
_FILES = {
    "mini": "editors/mini/*/*.safetensors",
    "judge": "classifiers/bundled/judge.onnx",
    "recogniser": "classifiers/bundled/recogniser.onnx",
    "anatomy": "imaging/anatomy.onnx",
}
# Where a JSON says in its own words which ones made it.
_ELSEWHERE = {
    "mini": ("weights", "editor.weights", "editors.mini.editor.weights"),
    "judge": ("editors.mini.judge", "bundled_judge_reads.sha256"),
    "painter": (
        "studies.truth-first-painter.editor.looks",
        "studies.truth-first-painter.editor.version",
    ),
}
_MARK = "> Measured with "
_HEAD = re.compile(rf"^{re.escape(_MARK)}.*\n\n", re.MULTILINE)


class Measured(NamedTuple):
    """A bench: its JSON, the page of it, and the weights (or painter) that its figures are of."""

    figures: Path
    page: Path
    weights: tuple[str, ...]


MEASURED = tuple(
    Measured(Path(f"bench/{figures}.json"), Path(f"docs/{page}.md"), weights)
    for figures, page, weights in (
        ("audit_truth", "audit", ("mini", "judge", "anatomy", "painter")),
        ("fidelity", "fidelity", ("mini", "judge", "recogniser", "anatomy", "painter")),
        ("mini", "mini", ("mini", "judge", "anatomy")),
        ("one_way", "composite", ("mini", "judge")),
        ("real_judge", "judges", ("mini", "judge", "anatomy", "painter")),
        ("realism", "realism", ("mini", "judge", "anatomy", "painter")),
        ("reidentify", "recogniser", ("recogniser", "judge")),
        ("removal", "removal", ("mini", "judge")),
        ("retrain", "results", ("mini", "judge", "anatomy", "painter")),
    )
)


def bundled(names: Iterable[str]) -> dict[str, str]:
    """Return the hashes of the package's weights by name, 16 hex digits; the painter's looks."""
    hashes = {}
    for name in names:
        if name == "painter":
            hashes[name] = str(Painter().describe()["looks"])
            continue
        digest = hashlib.sha256()
        for path in sorted(_PACKAGE.glob(_FILES[name])):
            digest.update(path.read_bytes())
        hashes[name] = digest.hexdigest()[:16]
    return hashes


def head(figures: dict[str, Any], weights: Iterable[str]) -> str:
    """Return what a page must say at its head; "" where its figures are of the bundled weights."""
    now = bundled(weights)
    known = {name: _recorded(figures, name) for name in now}
    other = {name: known[name] or "not recorded" for name in now if known[name] != now[name]}
    if not other:
        return ""
    then = ", ".join(f"{name} {value}" for name, value in other.items())
    return f"{_MARK}earlier weights ({then}) than the bundled ones, whose figures may differ.\n\n"


def _recorded(figures: dict[str, Any], name: str) -> str:
    """Return what a JSON holds of one of the weights; "" where it holds nothing."""
    for place in (f"weights.{name}", *_ELSEWHERE.get(name, ())):
        found: Any = figures
        for key in place.split("."):
            found = found.get(key, {}) if isinstance(found, dict) else {}
        # A hash alone is that of the generator; others are shortened as ours are.
        if isinstance(found, str | int):
            return str(found)[:16]
    return ""


def headed(text: str, figures: dict[str, Any], weights: Iterable[str]) -> str:
    """Return a page with the head that its figures need, below its title."""
    title, rest = _HEAD.sub("", text, count=1).split("\n\n", 1)
    return f"{title}\n\n{head(figures, weights)}{rest}"


def of(figures: Path) -> Measured:
    """Return the bench of a JSON."""
    return next(one for one in MEASURED if one.figures == figures)


def measured(figures: Path, made_with: dict[str, str] | None = None) -> None:
    """Record in the JSON of a bench what it was made with, and head its page.

    `made_with` is as `bundled` returns it; None: the bench has just run, with the bundled weights.
    """
    one = of(figures)
    found = json.loads(one.figures.read_text(encoding="utf-8"))
    write_json(one.figures, found | {"weights": made_with or bundled(one.weights)})
    _write(one)


def _write(one: Measured) -> None:
    text = one.page.read_text(encoding="utf-8")
    figures = json.loads(one.figures.read_text(encoding="utf-8"))
    with atomic(one.page) as part:
        part.write_text(headed(text, figures, one.weights), encoding="utf-8")


if __name__ == "__main__":
    for each in MEASURED:
        _write(each)
