"""Pages of the API reference, one per room of the package, made while the site is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).parents[1] / "src" / "roentmod"


def rooms() -> list[str]:
    """Return the names of the package's public modules and folders, the package first."""
    modules = [path.stem for path in PACKAGE.glob("*.py") if not path.name.startswith("_")]
    folders = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    return ["roentmod", *(f"roentmod.{name}" for name in sorted(modules + folders))]


def on_config(config: Any) -> Any:
    """Add the pages to the navigation."""
    config.nav.append({"API": [{room: f"api/{room}.md"} for room in rooms()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages to the files."""
    for room in rooms():
        # The package's page shows its own names; the rooms have pages of their own.
        alone = "\n    options:\n      show_submodules: false\n" if room == "roentmod" else ""
        page = f"::: {room}{alone}\n"
        files.append(File.generated(config, f"api/{room}.md", content=page))
    return files
