"""What is installed, what is missing, and how to get it."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from roentmod._optional import OPTIONAL
from roentmod.plans import EditorChoice
from roentmod.plans.parts import OnDevice

__all__ = ["Check", "examine", "try_editor"]

_CORE = ("torch", "diffusers", "transformers", "numpy", "pydicom", "pillow", "tifffile")


class Check(NamedTuple):
    """One thing looked at.

    Attributes:
        name: what.
        state: "ok", "optional" (missing, but only some commands need it), "missing" or "failed".
        found: version or place.
        remedy: how to get it; empty where it is there.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """Return every check, the machine first; nothing is downloaded or changed."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    checks = [Check("Python", "ok", platform.python_version()), Check("machine", "ok", system)]
    checks += [_distribution(name, "missing", name) for name in _CORE]
    checks += [_distribution(n, "optional", pip) for n, (pip, _) in OPTIONAL.items()]
    checks += [_decoders(), *_bundled()]
    tool = shutil.which("dciodvfy")
    remedy = "" if tool else "Debian and Ubuntu: apt install dicom3tools (validates DICOM output)"
    checks.append(Check("dciodvfy", "ok" if tool else "optional", tool or "not found", remedy))
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    remedy = "" if compiler else "Install g++ for --engine compile"
    found = compiler or "not found"
    return [*checks, Check("C++ compiler", "ok" if compiler else "optional", found, remedy)]


def try_editor(editor: str, *, device: str = "cpu", **options: Any) -> Iterator[Check]:
    """Yield what a self-test of an editor shows; `options` are those of loading it.

    Raises:
        WeightsError: it cannot be loaded.
    """
    from roentmod.editors import Editor
    from roentmod.editors.trial import trial

    choice = EditorChoice(editor=editor, **options)
    started = time.perf_counter()
    loaded = Editor.load(editor, device=device, **choice.loading())
    yield Check("loads", "ok", f"{loaded.name}, {time.perf_counter() - started:.1f} s")
    for one in trial(loaded):
        yield Check(one.name, "ok" if one.passed else "failed", one.text, one.remedy)


try_editor.plans = (EditorChoice, OnDevice)  # type: ignore[attr-defined]


def _distribution(name: str, otherwise: str, pip: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, otherwise, "not installed", f"pip install '{pip}'")


def _decoders() -> Check:
    from roentmod.imaging.dicom import missing_decoders

    missing = missing_decoders()
    if not missing:
        return Check("DICOM decoders", "ok", "JPEG, JPEG-LS, JPEG 2000, RLE")
    return Check("DICOM decoders", "missing", f"no {', '.join(missing)}", "pip install roentmod")


def _bundled() -> list[Check]:
    from roentmod import classifiers, editors
    from roentmod.imaging import segmentation

    files = {
        "generator 'mini'": editors.BUNDLED["mini"]
        / "unet"
        / "diffusion_pytorch_model.safetensors",
        "outlines": segmentation.WEIGHTS,
        "judge": classifiers.judge.WEIGHTS,
    }
    return [
        Check(name, "ok", f"{file.stat().st_size / 1e6:.0f} MB, bundled")
        if file.is_file()
        else Check(name, "missing", "not in this installation", "Install it again")
        for name, file in files.items()
    ]
