"""Imports point down only, and heavy libraries stay in their layer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import roentmod

ROOT = Path(roentmod.__file__).parent
LANGUAGE = (
    "errors",
    "documents",
    "radiograph",
    "anatomy",
    "domain",
    "edits",
    "interfaces",
    "prompts",
    "regions",
    "plans",
)
ENGINES = ("editors", "classifiers", "datasets", "imaging", "learning", "detector", "store")
ENGINES += ("_optional",)
LAYERS = (
    LANGUAGE,
    ENGINES,
    ("science",),
    ("report",),
    ("runs",),
    ("jobs",),
    ("verbs",),
    ("web",),
    ("cli", "__main__"),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# Heavy everywhere but in engines; and what the language layer does without, besides.
HEAVY = {"torch", "diffusers", "transformers", "pydicom", "onnxruntime", "PIL", "tifffile"}
HEAVY_FOR_LANGUAGE = {"scipy", "pandas", "sklearn", "matplotlib"}
LANGUAGE_LEVEL, ENGINE, SCIENCE = 0, 1, 2


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "roentmod":
                yield from (f"roentmod.{alias.name}" for alias in node.names)
            else:
                yield node.module


def violations(root):
    for path in sorted(root.rglob("*.py")):
        own = path.relative_to(root).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        level = LEVEL.get(own)
        if level is None:
            yield f"{own} stands in no layer"
            continue
        for name in imports(path):
            first, *rest = name.split(".")
            if first == "roentmod" and rest:
                other = LEVEL.get(rest[0], -1)
                science_meets_engine = {level, other} == {ENGINE, SCIENCE}
                if other > level or science_meets_engine:
                    yield f"{own} imports {name}"
            elif first in heavy_for(own, level):
                yield f"{own} imports {name}"


def heavy_for(own, level):
    allowed = level == ENGINE or own == "cli"
    return (set() if allowed else HEAVY) | (
        HEAVY_FOR_LANGUAGE if level == LANGUAGE_LEVEL else set()
    )


def missing(root):
    return [
        name for name in LEVEL if not (root / name).is_dir() and not (root / f"{name}.py").is_file()
    ]


def test_imports_point_down_only():
    assert list(violations(ROOT)) == []


def test_a_violation_is_seen(tmp_path):
    (tmp_path / "errors.py").write_text("import torch\nfrom roentmod import cli\n")
    assert list(violations(tmp_path)) == ["errors imports torch", "errors imports roentmod.cli"]


def test_the_language_layer_needs_no_science(tmp_path):
    (tmp_path / "regions.py").write_text("from scipy import ndimage\nimport pandas as pd\n")
    (tmp_path / "science").mkdir()
    (tmp_path / "science" / "stats.py").write_text("from scipy import stats\n")
    assert list(violations(tmp_path)) == ["regions imports scipy", "regions imports pandas"]


def test_every_room_of_the_table_exists(tmp_path):
    assert missing(ROOT) == []
    (tmp_path / "edits.py").touch()
    (tmp_path / "science").mkdir()
    assert set(LEVEL) - set(missing(tmp_path)) == {"edits", "science"}


@pytest.mark.slow
def test_what_needs_no_generator_does_not_wait_for_one():
    """The painter, and every job but those that train, do without torch: it takes seconds."""
    jobs = "audit, augment, edit, plant, preflight, readers, validate"
    script = (
        f"import sys; from roentmod.jobs import {jobs}; from roentmod.editors import Editor\n"
        "Editor.load('painter'); print({'torch', 'diffusers', 'transformers'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
