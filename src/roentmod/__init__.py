"""Edit findings in chest radiographs, and audit and retrain the classifiers that read them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from roentmod.domain import FINDINGS, Finding, finding
from roentmod.edits import Edit
from roentmod.errors import RoentModError
from roentmod.radiograph import Radiograph

if TYPE_CHECKING:
    from roentmod.datasets.phantom import phantom
    from roentmod.editors import Editor
    from roentmod.editors.components import transplant
    from roentmod.imaging import read, write, write_edit
    from roentmod.verbs import (
        audit,
        augment,
        edit,
        load,
        open,
        plant,
        preflight,
        repair,
        retrain,
        study,
        validate,
    )

__all__ = [
    "FINDINGS",
    "Edit",
    "Editor",
    "Finding",
    "Radiograph",
    "RoentModError",
    "audit",
    "augment",
    "edit",
    "finding",
    "load",
    "open",
    "phantom",
    "plant",
    "preflight",
    "read",
    "repair",
    "retrain",
    "study",
    "transplant",
    "validate",
    "write",
    "write_edit",
]
__version__ = "0.1.0"

_VERBS = (
    "audit",
    "augment",
    "edit",
    "load",
    "open",
    "plant",
    "preflight",
    "repair",
    "retrain",
    "study",
    "validate",
)
# Engines bring heavy libraries; those who only need the words should not wait for them.
_LATE = {
    "Editor": "roentmod.editors",
    "transplant": "roentmod.editors",
    "phantom": "roentmod.datasets.phantom",
    "read": "roentmod.imaging",
    "write": "roentmod.imaging",
    "write_edit": "roentmod.imaging",
    **dict.fromkeys(_VERBS, "roentmod.verbs"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'roentmod' has no attribute '{name}'")
    return getattr(import_module(_LATE[name]), name)
