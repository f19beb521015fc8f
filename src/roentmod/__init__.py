"""Edit findings in chest radiographs, and audit and retrain the classifiers that read them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from roentmod.edits import Edit
from roentmod.errors import RoentModError
from roentmod.findings import FINDINGS, Finding, finding
from roentmod.radiograph import Radiograph

if TYPE_CHECKING:
    from roentmod.editors import Editor
    from roentmod.editors.transplant import transplant
    from roentmod.imaging import read, write, write_edit

__all__ = [
    "FINDINGS",
    "Edit",
    "Editor",
    "Finding",
    "Radiograph",
    "RoentModError",
    "finding",
    "read",
    "transplant",
    "write",
    "write_edit",
]
__version__ = "0.1.0"

# Engines bring heavy libraries; those who only need the words should not wait for them.
_LATE = {
    "Editor": "roentmod.editors",
    "transplant": "roentmod.editors",
    "read": "roentmod.imaging",
    "write": "roentmod.imaging",
    "write_edit": "roentmod.imaging",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'roentmod' has no attribute '{name}'")
    return getattr(import_module(_LATE[name]), name)
