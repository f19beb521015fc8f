"""The workflow of `roentmod edit`: files in, a run directory out.

The directory holds one folder a radiograph (``NAME/add-edema.png``, ``.sham.png``,
``.difference.png``, and the sheet ``edits.png``) and one ``edits.json`` with every parameter, hash,
status and timing. It is brought up to date after each radiograph, so that an interrupted run keeps
what it finished, and the same command does only what is left.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import roentmod
from roentmod import imaging
from roentmod.edits import Arm, Edit
from roentmod.errors import EditError, InputError
from roentmod.imaging import provenance
from roentmod.interfaces import Counterfactual, Progress, RadiographEditor
from roentmod.radiograph import Radiograph
from roentmod.store import file_sha256, write_json

__all__ = ["Format", "Output", "run"]

log = logging.getLogger(__name__)
Format = Literal["png", "dicom", "same"]
RECORD = "edits.json"
_LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pydicom", "pillow")


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


def run(
    paths: Sequence[Path],
    edits: Sequence[Edit],
    editor: RadiographEditor,
    output: Output,
    *,
    mask: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Edit every file and return what ``edits.json`` holds.

    A file that cannot be read becomes an item of status "unreadable" and spares the others; if none
    can be read, nothing is written.

    Raises:
        EditError: no edit, a mask for several files, or a mask that does not fit.
    """
    if not edits or not paths:
        raise EditError("An edit run needs a radiograph and an edit; got none. Give --add.")
    if mask is not None and len(paths) != 1:
        raise EditError(f"A mask belongs to one radiograph; got {len(paths)}. Edit them singly.")
    record = _Record(output, editor, _settings(editor, output, mask), list(map(asdict, edits)))
    for number, (path, name) in enumerate(zip(paths, _names(paths), strict=True), 1):
        _one(path, name, edits, editor, record, mask)
        if progress:
            progress(number * len(edits), len(paths) * len(edits))
    record.close()
    return record.content()


class _Record:
    """What ``edits.json`` holds, kept true after each radiograph."""

    def __init__(
        self,
        output: Output,
        editor: RadiographEditor,
        settings: dict[str, Any],
        edits: list[dict[str, Any]],
    ) -> None:
        self.output = output
        self.settings = settings
        self.edits = edits
        self.items: list[dict[str, Any]] = []
        self.earlier = self._load()

    @property
    def path(self) -> Path:
        return self.output.folder / RECORD

    def _load(self) -> dict[str, dict[str, Any]]:
        """Return finished items of an earlier run with the same settings, by key."""
        try:
            old = json.loads(self.path.read_text(encoding="utf-8"))
            same = old["settings"] == self.settings
            return {item["key"]: item for item in old["items"] if same and item.get("key")}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def kept(self, key: str) -> dict[str, Any] | None:
        """Return the earlier item of `key` if its files are still what they were."""
        item = self.earlier.get(key)
        if item is None or item["status"] != "ok":
            return None
        for entry in item["files"].values():
            file = self.output.folder / entry["path"]
            if not file.is_file() or file_sha256(file) != entry["sha256"]:
                return None
        return item

    def add(self, items: list[dict[str, Any]]) -> None:
        self.items += items
        if self.output.folder.is_dir():
            write_json(self.path, self.content())

    def close(self) -> None:
        if self.output.folder.is_dir():
            write_json(self.path, self.content())

    def content(self) -> dict[str, Any]:
        return {
            "synthetic": "YES",
            "statement": provenance.STATEMENT,
            "settings": self.settings,
            "edits": self.edits,
            "items": self.items,
        }


def _settings(editor: RadiographEditor, output: Output, mask: Path | None) -> dict[str, Any]:
    described = getattr(editor, "describe", None)
    return {
        "editor": described() if callable(described) else {"name": editor.name},
        "formats": list(output.formats),
        "keep_identity": output.keep_identity,
        "secondary_capture": output.secondary_capture,
        "mask_sha256": file_sha256(mask) if mask is not None and mask.is_file() else None,
        "versions": {
            "roentmod": roentmod.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
    }


def _names(paths: Sequence[Path]) -> list[str]:
    """Return one folder name a path; a number is added where stems repeat."""
    used: set[str] = set()
    names = []
    for path in paths:
        name, number = path.stem or "radiograph", 2
        while name in used:
            name, number = f"{path.stem}-{number}", number + 1
        used.add(name)
        names.append(name)
    return names


def _one(
    path: Path,
    name: str,
    edits: Sequence[Edit],
    editor: RadiographEditor,
    record: _Record,
    mask: Path | None,
) -> None:
    try:
        radiograph = imaging.read(path)
    except InputError as error:
        log.error("%s", error)
        record.add([{"input": path.name, "status": "unreadable", "message": str(error)}])
        return
    region = imaging.read_mask(mask, radiograph) if mask is not None else None
    source = {"input": path.name, "input_sha256": file_sha256(path), "baseline_id": radiograph.id}
    keys = [f"{source['input_sha256'][:16]}-{edit.id}-{name}" for edit in edits]
    kept = {key: item for key in keys if (item := record.kept(key))}
    if len(kept) == len(edits):
        record.add([kept[key] for key in keys])
        return
    results = editor.edit([radiograph], edits, masks=[region])
    items = []
    for key, label, result in zip(keys, _labels(edits), results, strict=True):
        item = {"key": key, **source, "label": label, "edit_id": result.edit.id}
        item |= {"edit": asdict(result.edit), "status": result.status, "facts": result.facts}
        items.append(item | _write(result, f"{name}/{label}", record.output))
    _write_sheet(radiograph, results, record.output.folder / name / "edits.png")
    record.add(items)


def _labels(edits: Sequence[Edit]) -> list[str]:
    """Return one label an edit; the edit's id is added where labels repeat."""
    labels = [edit.label for edit in edits]
    return [
        f"{label}-{edit.id}" if labels.count(label) > 1 else label
        for label, edit in zip(labels, edits, strict=True)
    ]


def _write(result: Counterfactual, stem: str, output: Output) -> dict[str, Any]:
    """Write the files of one counterfactual and return what the record says of them."""
    if result.image is None or result.difference is None:
        return {"files": {}}
    started = time.perf_counter()
    base = result.baseline
    files: dict[str, str] = {}
    (output.folder / stem).parent.mkdir(parents=True, exist_ok=True)
    arms: tuple[tuple[Arm, str], ...] = (("counterfactual", ""), ("sham", ".sham"))
    for arm, mark in arms:
        for suffix in output.suffixes(base):
            files[f"{arm}{suffix}"] = f"{stem}{mark}{suffix}"
            imaging.write_edit(
                result,
                output.folder / f"{stem}{mark}{suffix}",
                arm=arm,
                keep_identity=output.keep_identity,
                as_original=not output.secondary_capture,
            )
    files["difference"] = f"{stem}.difference.png"
    shown = imaging.difference_picture(result.difference, base.pixels)
    facts = provenance.describe(base, result.edit, result.facts)
    said = facts if output.keep_identity else provenance.without_source(facts)
    imaging.save_picture(shown, output.folder / files["difference"], said)
    support = result.support
    return {
        "files": {
            kind: {"path": file, "sha256": file_sha256(output.folder / file)}
            for kind, file in files.items()
        },
        "changed_fraction": None if support is None else round(float(support.mean()), 6),
        "seconds_writing": round(time.perf_counter() - started, 4),
    }


def _write_sheet(radiograph: Radiograph, results: Sequence[Counterfactual], path: Path) -> None:
    rows = [
        imaging.Row(_title(r.edit), radiograph.pixels, r.image.pixels, r.difference)
        for r in results
        if r.image is not None and r.difference is not None
    ]
    if rows:
        facts = {"synthetic": "YES", "statement": provenance.STATEMENT}
        imaging.save_picture(imaging.sheet(rows), path, facts)


def _title(edit: Edit) -> str:
    what = " + ".join(edit.findings) or f"'{edit.prompt}'"
    held = f"holding {' and '.join(edit.hold)}" if edit.hold else None
    details = ", ".join(w for w in (edit.side, edit.severity, edit.region, held) if w)
    done = "added" if edit.action == "add" else "removed"
    return f"{what} {done}" + (f" ({details})" if details else "")
