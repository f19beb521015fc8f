"""Editing files: radiographs in, a run directory out.

The directory holds one folder per radiograph (``NAME/add-edema.png``, ``.sham.png``,
``.difference.png``, and the sheet ``edits.png``), ``edits.json`` with every parameter, hash, status
and timing, written at the end, and the engine's ``run.json`` and ``parts/``. An interrupted run
keeps the radiographs it finished; the same command does what is left, and makes again what was
changed since.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

import roentmod
from roentmod import imaging
from roentmod.edits import Arm, Edit
from roentmod.errors import EditError, InputError, RunError
from roentmod.imaging import provenance
from roentmod.interfaces import Counterfactual, Progress, RadiographEditor
from roentmod.radiograph import Radiograph
from roentmod.runs import Done, Job, Made, Part, Stage, Task, Workers
from roentmod.runs import run as carry_out
from roentmod.store import canonical_hash, file_sha256, write_json

__all__ = ["EditResult", "Format", "Output", "load", "run"]

log = logging.getLogger(__name__)
Format = Literal["png", "dicom", "same"]
RECORD = "edits.json"
_ITEMS = "items"


@dataclass(frozen=True)
class Output:
    """Where results go and what they look like.

    Attributes:
        folder: the run directory; made where missing.
        formats: image formats; "same" is DICOM for DICOM and PNG for the rest.
        keep_identity: carry patient and study over into DICOM; by default nothing names the
            patient.
        secondary_capture: write DICOM as secondary capture even where the source's class would do.
    """

    folder: Path
    formats: tuple[Format, ...] = ("same",)
    keep_identity: bool = False
    secondary_capture: bool = False

    def __post_init__(self) -> None:
        """Check the choices.

        Raises:
            EditError: an unknown format, or a folder that is a file.
        """
        unknown = [f for f in self.formats if f not in get_args(Format)]
        if unknown or not self.formats:
            raise EditError(f"Formats are png, dicom, same; got '{', '.join(unknown)}'.")
        if self.folder.exists() and not self.folder.is_dir():
            raise EditError(f"--out names a folder; '{self.folder.name}' is a file. Name another.")

    def suffixes(self, radiograph: Radiograph) -> list[str]:
        """Return the file suffixes to write for `radiograph`."""
        known = {"png": ".png", "dicom": ".dcm", "same": imaging.native_suffix(radiograph)}
        return sorted({known[name] for name in self.formats})


@dataclass(frozen=True, eq=False, repr=False)
class EditResult:
    """What editing left.

    Attributes:
        folder: the run directory.
        record: what ``edits.json`` holds.
    """

    folder: Path
    record: dict[str, Any]

    def __repr__(self) -> str:
        """Return numbers and folder."""
        made = [item["status"] for item in self.record["items"]].count("ok")
        return f"<EditResult: {made} of {len(self.record['items'])} edits, in '{self.folder}'>"

    @property
    def items(self) -> pd.DataFrame:
        """One row per edit of each radiograph, and one per radiograph that could not be read."""
        return pd.DataFrame(self.record["items"])


def run(
    paths: Sequence[Path],
    edits: Sequence[Edit],
    editor: RadiographEditor,
    output: Output,
    *,
    mask: Path | None = None,
    workers: str | Workers = "serial",
    progress: Progress | None = None,
) -> EditResult:
    """Edit every file; a folder may be used again, with other edits and settings too.

    A file that cannot be read becomes an item of status "unreadable" and spares the others; if none
    can be read, nothing is written.

    Args:
        paths: the files.
        edits: what is done to each.
        editor: does it.
        output: where to, and in which formats.
        mask: where the one radiograph may change; None: everywhere.
        workers: who makes the parts, a form of `roentmod.runs.workers`.
        progress: called with edits done and in all.

    Raises:
        EditError: no edit, edits that the editor cannot make, a mask for several files, or one that
            does not fit.
        RunError: the folder belongs to something else.
    """
    if not edits or not paths:
        raise EditError("An edit run needs a radiograph and an edit; got none. Give --add.")
    if mask is not None and len(paths) != 1:
        raise EditError(f"A mask belongs to one radiograph; got {len(paths)}. Edit them singly.")
    editor.edit([], list(edits))
    _read(output.folder)
    job = EditJob(paths, edits, editor, output, mask)
    unreadable = _unreadable(paths, mask)
    if len(unreadable) == len(paths):
        return EditResult(output.folder, job.content(unreadable))
    stages = None if progress is None else lambda _: partial(_in_edits, progress, len(edits))
    return carry_out(job, output.folder, workers=workers, stages=stages)


def _in_edits(progress: Progress, edits: int, done: int, total: int) -> None:
    progress(done * edits, total * edits)


def load(folder: Path) -> EditResult:
    """Return what editing left in a folder.

    Raises:
        EditError: nothing.
        RunError: its ``edits.json`` is something else.
    """
    record = _read(folder)
    if record is None:
        raise EditError(f"{folder.name} has no {RECORD}. Finish roentmod edit, or check the path.")
    return EditResult(folder, record)


def _read(folder: Path) -> dict[str, Any] | None:
    """Return a folder's record, None where there is none.

    Raises:
        RunError: the file is something else.
    """
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if {"settings", "edits", "items"} <= record.keys():
            return record
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError):
        pass
    raise RunError(
        f"{RECORD} is what roentmod edit writes; that in {folder.name} is something else. Name "
        "another folder."
    )


def _unreadable(paths: Sequence[Path], mask: Path | None) -> list[dict[str, Any]]:
    """Return items of the files before the first that can be read, and check the mask with it."""
    items = []
    for path in paths:
        try:
            radiograph = imaging.read(path)
        except InputError as error:
            items.append(_lost(path, "unreadable", str(error)))
        else:
            if mask is not None:
                imaging.read_mask(mask, radiograph)
            break
    return items


def _lost(path: Path, status: str, message: str) -> dict[str, Any]:
    return {"input": path.name, "status": status, "message": message}


class EditJob(Job[EditResult]):
    """Edits of files, one part per file.

    Args:
        paths: the files.
        edits: what is done to each.
        editor: does it.
        output: where to, and in which formats.
        mask: where the one radiograph may change; None: everywhere.
    """

    kind = "edit"
    article = "a run"
    record = "run.json"
    libraries = ("torch", "diffusers", "transformers", "numpy", "pydicom", "pillow")
    hashed = True

    def __init__(
        self,
        paths: Sequence[Path],
        edits: Sequence[Edit],
        editor: RadiographEditor,
        output: Output,
        mask: Path | None,
    ) -> None:
        """Take the parts; files are only hashed."""
        self._edits, self._labels, self._editor = list(edits), _labels(edits), editor
        self._output, self._mask = output, mask
        self._settings = self._set()
        named = zip(paths, _names(paths), strict=True)
        self._parts = [self._part(path.absolute(), name) for path, name in named]

    def identity(self) -> Mapping[str, Any]:
        """Return little: edits and settings are in the keys of parts, and may change."""
        return {"verb": self.kind}

    def stages(self) -> Iterator[Stage]:
        """Yield the only stage."""
        yield Stage.of("editing", self._parts)

    def _part(self, path: Path, name: str) -> Part:
        digest = file_sha256(path) if path.is_file() else None
        edits = [edit.id for edit in self._edits]
        return Part(canonical_hash([digest, name, edits, self._settings]), (path, name, digest))

    def _set(self) -> dict[str, Any]:
        """Return what all results depend on besides file and edit."""
        describe = getattr(self._editor, "describe", None)
        mask = self._mask
        settings = {
            "editor": describe() if callable(describe) else {"name": self._editor.name},
            "formats": list(self._output.formats),
            "keep_identity": self._output.keep_identity,
            "secondary_capture": self._output.secondary_capture,
            "mask_sha256": file_sha256(mask) if mask is not None and mask.is_file() else None,
            "versions": {
                "roentmod": roentmod.__version__,
                "python": platform.python_version(),
                **{name: version(name) for name in self.libraries},
            },
        }
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain

    def make(self, task: Task) -> Made:
        """Edit a file."""
        path, name, digest = task.part.inputs
        radiograph = imaging.read(path)
        region = imaging.read_mask(self._mask, radiograph) if self._mask is not None else None
        results = self._editor.edit([radiograph], self._edits, masks=[region])
        made = Made()
        source = {"input": path.name, "input_sha256": digest, "baseline_id": radiograph.id}
        for label, result in zip(self._labels, results, strict=True):
            edit = result.edit
            item = {"key": f"{digest[:16]}-{edit.id}-{name}", **source, "label": label}
            item |= {"edit_id": edit.id, "edit": asdict(edit)}
            item |= {"status": result.status, "facts": result.facts}
            made.add(_ITEMS, item | self._encode(made, result, f"{name}/{label}"))
        _add_sheet(made, radiograph, results, f"{name}/edits.png")
        return made

    def lost(self, part: Part, status: str, message: str) -> Made:
        """Return the item of a file that could not be edited."""
        made = super().lost(part, status, message)
        made.add(_ITEMS, _lost(part.inputs[0], status, message))
        return made

    def _encode(self, made: Made, result: Counterfactual, stem: str) -> dict[str, Any]:
        """Add the files of one counterfactual and return what the record says of them."""
        if result.image is None or result.difference is None:
            return {"files": {}}
        started = time.perf_counter()
        base, output = result.baseline, self._output
        files: dict[str, str] = {}
        arms: tuple[tuple[Arm, str], ...] = (("counterfactual", ""), ("sham", ".sham"))
        for arm, mark in arms:
            for suffix in output.suffixes(base):
                path = files[f"{arm}{suffix}"] = f"{stem}{mark}{suffix}"
                made.files[path] = imaging.encode_edit(
                    result,
                    path,
                    arm=arm,
                    keep_identity=output.keep_identity,
                    as_original=not output.secondary_capture,
                )
        path = files["difference"] = f"{stem}.difference.png"
        shown = imaging.difference_picture(result.difference, base.pixels)
        facts = provenance.describe(base, result.edit, result.facts)
        kept = facts if output.keep_identity else provenance.without_source(facts)
        made.files[path] = imaging.encode_picture(shown, kept)
        support = result.support
        return {
            "files": {
                kind: {"path": file, "sha256": hashlib.sha256(made.files[file]).hexdigest()}
                for kind, file in files.items()
            },
            "changed_fraction": None if support is None else round(float(support.mean()), 6),
            "seconds_writing": round(time.perf_counter() - started, 4),
        }

    def finish(self, done: Done) -> EditResult:
        """Write the record."""
        record = self.content(list(done.rows(_ITEMS)))
        write_json(done.folder / RECORD, record)
        return EditResult(done.folder, record)

    def content(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what the record holds, with these items."""
        for item in items:
            if "message" in item:
                log.error("%s", item["message"])
        return {
            "synthetic": "YES",
            "statement": provenance.STATEMENT,
            "settings": self._settings,
            "edits": json.loads(json.dumps(list(map(asdict, self._edits)))),
            "items": list(items),
        }


def _names(paths: Sequence[Path]) -> list[str]:
    """Return one folder name per path; a number is added where stems repeat."""
    used: set[str] = set()
    names = []
    for path in paths:
        name, number = path.stem or "radiograph", 2
        while name in used:
            name, number = f"{path.stem}-{number}", number + 1
        used.add(name)
        names.append(name)
    return names


def _labels(edits: Sequence[Edit]) -> list[str]:
    """Return one label per edit; the edit's id is added where labels repeat."""
    labels = [edit.label for edit in edits]
    return [
        f"{label}-{edit.id}" if labels.count(label) > 1 else label
        for label, edit in zip(labels, edits, strict=True)
    ]


def _add_sheet(
    made: Made, radiograph: Radiograph, results: Sequence[Counterfactual], path: str
) -> None:
    rows = [
        imaging.Row(_title(r.edit), radiograph.pixels, r.image.pixels, r.difference)
        for r in results
        if r.image is not None and r.difference is not None
    ]
    if rows:
        facts = {"synthetic": "YES", "statement": provenance.STATEMENT}
        made.files[path] = imaging.encode_picture(imaging.sheet(rows), facts)


def _title(edit: Edit) -> str:
    what = " + ".join(edit.findings) or f"'{edit.prompt}'"
    held = f"holding {' and '.join(edit.hold)}" if edit.hold else None
    details = ", ".join(w for w in (edit.side, edit.severity, edit.region, held) if w)
    done = "added" if edit.action == "add" else "removed"
    return f"{what} {done}" + (f" ({details})" if details else "")
