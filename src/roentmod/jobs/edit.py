"""Editing files: radiographs in, a run directory out.

The directory holds one folder per radiograph (``i-0c1d.../add-edema.png``, ``.sham.png``,
``.difference.png``, and the sheet ``edits.png``), ``edits.json`` with every parameter, hash, status
and timing, written at the end, and the engine's ``run.json`` and ``parts/``. An interrupted run
keeps the radiographs it finished; the same command does what is left, and makes again what was
changed since. Folders and items have pseudonyms of the files (`roentmod.store.pseudonym`), unless
names are to be kept: `EditResult.inputs` says which is which, and nothing that is written does. A
folder stays that of one content: another file of that name gets the next number. ``items`` of
``edits.json`` are those of the last call, ``earlier`` what calls before it left besides.

A counterfactual is compared with its ``control``: in composite "sham" (the default), and of a
removal, with the baseline; otherwise with the sham beside it. A judge says whether it sees what was
requested (``judge``), and what it reads in the baseline (``baseline_shows``).
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import pandas as pd

import roentmod
from roentmod import classifiers, imaging
from roentmod.edits import Arm, Edit
from roentmod.errors import EditError, InputError, RunError, printable
from roentmod.imaging import marks, provenance
from roentmod.interfaces import (
    Classifier,
    Counterfactual,
    RadiographEditor,
    described,
)
from roentmod.jobs.batches import (
    MARKS,
    EditingJob,
    Wanted,
    check_removals,
    count_burned_in,
    say_time,
)
from roentmod.jobs.witness import Sight, Witness
from roentmod.plans.parts import BurnedIn
from roentmod.radiograph import Radiograph
from roentmod.runs import Done, Made, Part, Stage, Stages, Task, Workers, reading
from roentmod.runs import run as carry_out
from roentmod.store import (
    as_name,
    canonical_hash,
    file_sha256,
    file_size,
    pseudonym,
    read_bytes,
    write_json,
)

__all__ = ["EditJob", "EditResult", "Format", "Input", "Output", "load", "named", "run"]

log = logging.getLogger(__name__)
Format = Literal["png", "dicom", "same"]
RECORD = "edits.json"
NO_CHANGE = "no_visible_change"
_ENCODERS = 2
_Contents = dict[str, tuple[str, bytes]]
_ITEMS = "items"
_KEEP = BurnedIn()
# What else lies in a run's folder.
_TAKEN = (RECORD, "run.json", "parts")


class Input(NamedTuple):
    """A file, its folder in the run's, and its name in items and messages."""

    path: Path
    folder: str
    name: str


@dataclass(frozen=True)
class Output:
    """Where results go and what they look like.

    Attributes:
        folder: the run directory; made where missing.
        formats: image formats; "same" is DICOM for DICOM and PNG for the rest.
        keep_ids: write names of files as they are, not as pseudonyms.
        keep_identity: carry patient and study over into DICOM; by default nothing names the
            patient.
        secondary_capture: write DICOM as secondary capture even where the source's class would do.
        burn_in: write the word SYNTHETIC into the pixels of counterfactuals and shams.
        signer: signs PNG files.
    """

    folder: Path
    formats: tuple[Format, ...] = ("same",)
    keep_ids: bool = False
    keep_identity: bool = False
    secondary_capture: bool = False
    burn_in: bool = False
    signer: imaging.Signer | None = None

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
        inputs: the file that each folder is of; empty where a result is opened again.
    """

    folder: Path
    record: dict[str, Any]
    inputs: Mapping[str, Path] = field(default_factory=dict)

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
    editor: RadiographEditor | Callable[[], RadiographEditor],
    output: Output,
    *,
    mask: Path | None = None,
    burned_in: BurnedIn = _KEEP,
    judge: Classifier | str | None = None,
    workers: str | Workers = "serial",
    stages: Stages | None = None,
) -> EditResult:
    """Edit every file; a folder may be used again, with other edits and settings too.

    A file that cannot be read becomes an item of status "unreadable" and spares the others; if none
    can be read, nothing is written.

    Args:
        paths: the files.
        edits: what is done to each.
        editor: does it; or what loads it, which is called once all else has been checked.
        output: where to, and in which formats.
        mask: where the one radiograph may change; None: everywhere.
        burned_in: what is done about text that is burned into radiographs.
        judge: reads every picture; a form of `roentmod.classifiers.load` is loaded when it is
            needed. None: nobody does.
        workers: who makes the parts, a form of `roentmod.runs.workers`.
        stages: called with "editing", returns what is called with radiographs done and in all.

    Raises:
        EditError: no edit, edits that the editor cannot make, removals that are measured not to
            work, a mask for several files, or one that does not fit or is empty.
        RunError: the folder belongs to something else.
    """
    if not edits or not paths:
        raise EditError("An edit run needs a radiograph and an edit; got none. Give --add.")
    if mask is not None and len(paths) != 1:
        raise EditError(f"A mask belongs to one radiograph; got {len(paths)}. Edit them singly.")
    _read(output.folder)
    inputs = named(paths, kept=output.keep_ids, folder=output.folder)
    files = {one.folder: one.path for one in inputs}
    unreadable = _unreadable(inputs, mask, burned_in)
    if len(unreadable) == len(paths):
        return EditResult(output.folder, _content(unreadable, {}, edits), files)
    missing = [one.name for one in inputs if not _there(one.path)]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        log.warning("%d of %d inputs are missing: %s", len(missing), len(paths), shown)
    loaded = editor() if callable(editor) else editor
    loaded.edit([], edits)
    check_removals(loaded, edits)
    say_time(loaded, [edits] * (len(paths) - len(missing)))
    job = EditJob(inputs, edits, loaded, output, mask, judge, burned_in)
    result = carry_out(job, output.folder, workers=workers, stages=stages)
    return replace(result, inputs=files)


def named(paths: Sequence[Path], *, kept: bool, folder: Path) -> list[Input]:
    """Return files with what stands for them; a number is added where names of folders repeat.

    A file whose edits are in the run directory already keeps the folder that they are in, and no
    other file gets that one.

    Args:
        paths: of the files.
        kept: names stay; else they are pseudonyms.
        folder: the run directory.
    """
    owners = _owners(folder)
    by_digest: dict[str | None, list[str]] = {}
    for name, digest in owners.items():
        by_digest.setdefault(digest, []).append(name)
    taken = {*_TAKEN, *owners}
    inputs: dict[str, Input] = {}
    for path in paths:
        first = _first(path, kept)
        there = by_digest.get(_sha256(path), ()) if owners else ()
        own = [name for name in there if _of(name, first) and name not in inputs]
        names = chain([first], (f"{first}-{number}" for number in count(2)))
        free = (name for name in names if name not in taken and name not in inputs)
        name = min(own, key=lambda one: (len(one), one)) if own else next(free)
        inputs[name] = Input(path, name, printable(path.name) if kept else name)
    return list(inputs.values())


def _first(path: Path, kept: bool) -> str:
    """Return the name that a file's folder has where no other file's has it."""
    if not kept:
        return pseudonym(path.name, "i")
    stem = path.stem or "radiograph"
    # One that begins with a dot is hidden, or leads out of the run directory.
    return stem if stem.isprintable() and not stem.startswith(".") else as_name(stem)


def _of(name: str, first: str) -> bool:
    """Tell whether a folder's name is a first one, or that with a number."""
    number = name.removeprefix(f"{first}-")
    return name == first or (number != name and number.isdecimal())


def _owners(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the file that each folder of a run directory holds edits of."""
    owners: dict[str, str] = {}
    with reading(folder) as journal:
        for key in journal:
            paths, items = journal.files(key), journal.get(key).rows.get(_ITEMS)
            if not paths or not items:
                continue
            name, digest = paths[0].partition("/")[0], items[0].get("input_sha256", "")
            # Earlier versions gave all files of a name one folder: whose pictures are there?
            if owners.get(name, digest) == digest or journal.settled(key, hashed=True):
                owners[name] = digest
    return owners


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
        # Records of many radiographs are larger than documents may be.
        record: dict[str, Any] = json.loads(read_bytes(folder / RECORD))
        kinds = [type(record.get(name)) for name in ("settings", "edits", "items")]
        if kinds == [dict, list, list] and "RoentMod" in str(record.get("statement")):
            return record
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, RecursionError):
        pass
    raise RunError(
        f"{RECORD} is what roentmod edit writes; that in {folder.name} is something else. Name "
        "another folder."
    )


def _unreadable(
    inputs: Sequence[Input], mask: Path | None, burned_in: BurnedIn
) -> list[dict[str, Any]]:
    """Return items of the files before the first that can be edited, and check the mask with it.

    Raises:
        EditError: the mask does not fit, or marks nothing.
    """
    items = []
    for one in inputs:
        try:
            with _quietly():
                radiograph = _read_screened(one, burned_in)
        except InputError as error:
            items.append(_lost(one, error.status, str(error)))
        else:
            if mask is not None and not imaging.read_mask(mask, radiograph).any():
                raise EditError(
                    f"A mask must mark at least one pixel; {mask.name} has none brighter than half "
                    "of its range. Draw what may change in white."
                )
            break
    return items


def _read_screened(one: Input, burned_in: BurnedIn) -> Radiograph:
    refuse, mask = burned_in.refuse_burned_in, burned_in.mask_burned_in
    radiograph = imaging.read(one.path, name=one.name)
    return marks.screened(radiograph, refuse=refuse, mask=mask)


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out warnings of reading: the same file is read again to be edited."""
    reading = logging.getLogger(imaging.__name__)
    level = reading.level
    reading.setLevel(logging.ERROR)
    try:
        yield
    finally:
        reading.setLevel(level)


def _sha256(path: Path) -> str | None:
    """Return the hash of a file, or of one inside an archive; None where it cannot be read."""
    try:
        return file_sha256(path)
    except OSError:
        return None


def _there(path: Path) -> bool:
    try:
        return file_size(path) >= 0
    except OSError:
        return False


def _lost(one: Input, status: str, message: str) -> dict[str, Any]:
    return {"input": one.name, "status": status, "message": message}


@dataclass(eq=False)
class EditJob(EditingJob[EditResult]):
    """Edits of files, one part per file; other attributes are arguments of `run`."""

    inputs: Sequence[Input]
    edits: Sequence[Edit]
    editor: RadiographEditor
    output: Output
    mask: Path | None
    judge: Classifier | str | None = None
    burned_in: BurnedIn = _KEEP
    kind = "edit"
    article = "a run"
    record = "run.json"
    libraries = ("torch", "diffusers", "transformers", "numpy", "pydicom", "pillow")
    hashed = True

    def identity(self) -> Mapping[str, Any]:
        """Return little: edits and settings are in the keys of parts, and may change."""
        return {"verb": self.kind}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What all results depend on besides file and edit."""
        mask, witness = self.mask, self.witness
        young: dict[str, Any] = {"burn_in": True} if self.output.burn_in else {}
        if self.output.signer is not None:
            young["signer"] = self.output.signer.describe()
        young |= self.burned_in.facts()
        if witness is not None:
            facts = described(witness.judge)
            young["judge"] = {key: facts[key] for key in ("name", "sha256") if key in facts}
        return young | {
            "editor": described(self.editor),
            "formats": list(self.output.formats),
            "keep_identity": self.output.keep_identity,
            "secondary_capture": self.output.secondary_capture,
            "mask_sha256": None if mask is None else _sha256(mask),
            "versions": {
                "roentmod": roentmod.__version__,
                "python": platform.python_version(),
                **{name: version(name) for name in self.libraries},
            },
        }

    @cached_property
    def witness(self) -> Witness | None:
        """The judge, loaded."""
        judge = classifiers.load(self.judge) if isinstance(self.judge, str) else self.judge
        return None if judge is None else Witness(judge)

    def stages(self) -> Iterator[Stage]:
        """Yield the only stage."""
        ids = [edit.id for edit in self.edits]
        parts = []
        for one in self.inputs:
            digest = _sha256(one.path)
            key = canonical_hash([digest, one.folder, ids, self.settings])
            parts.append(Part(key, (one._replace(path=one.path.absolute()), digest)))
        yield Stage.of("editing", parts)

    def wanted(self, task: Task) -> Wanted:
        """Return a file's radiograph, and the edits."""
        one, _ = task.part.inputs
        radiograph = _read_screened(one, self.burned_in)
        mask = None
        if self.mask is not None:
            mask = imaging.read_mask(self.mask, radiograph, name="mask")
        return Wanted(radiograph, self.edits, mask)

    def made(self, task: Task, radiograph: Radiograph, edited: Sequence[Counterfactual]) -> Made:
        """Encode the pictures of a file's edits, and let the judge read them."""
        (_, folder, name), digest = task.part.inputs
        made = Made()
        source = {"input": name, "input_sha256": digest, "baseline_id": radiograph.id}
        source |= marks.facts(radiograph)
        shows = self._shows(radiograph)
        if shows is not None:
            source["baseline_shows"] = shows
        labels, rows = _labels(self.edits), []
        # Compression releases the interpreter: files are encoded while the judge reads.
        with ThreadPoolExecutor(_ENCODERS) as pool:
            stems = [f"{folder}/{label}" for label in labels]
            encoded = [pool.submit(self._encode, *each) for each in zip(edited, stems, strict=True)]
            sights = [self._sight(result) for result in edited]
        for label, result, sight, files in zip(labels, edited, sights, encoded, strict=True):
            edit = result.edit
            item = {"key": f"{digest[:16]}-{edit.id}-{folder}", **source, "label": label}
            item |= {"edit_id": edit.id, "edit": asdict(edit), "control": edit.control}
            item |= {"status": result.status, "facts": result.facts}
            if result.image is not None and result.difference is not None:
                item |= {"judge": sight.facts | {"words": sight.words}} if sight else {}
                if not imaging.visible(result.difference):
                    item["status"] = NO_CHANGE
                rows.append(self._row(result, item["status"], sight))
            made.add(_ITEMS, item | self._added(made, result, *files.result()))
        if rows:
            facts = {"synthetic": "YES", "statement": provenance.STATEMENT}
            picture = imaging.sheet(rows, title=_heading(self.edits, shows))
            path, data = f"{folder}/edits.png", imaging.encode_picture(picture, facts)
            made.files[path] = self._signed(path, data, facts)
        return made

    def _sight(self, result: Counterfactual) -> Sight | None:
        return self.witness.look(result) if self.witness and result.image is not None else None

    def _shows(self, radiograph: Radiograph) -> dict[str, float] | None:
        """Return what the judge reads in a baseline besides what is removed; None without one."""
        if self.witness is None:
            return None
        removed = {name for e in self.edits if e.action == "remove" for name in e.findings}
        present = self.witness.present(radiograph).items()
        return {name: chance for name, chance in present if name not in removed}

    def _row(self, result: Counterfactual, status: str, sight: Sight | None) -> imaging.Row:
        """Return a row of the sheet; the caption says no more than is known."""
        assert result.image is not None
        assert result.difference is not None
        sure = bool(sight and sight.sees) or bool(getattr(self.editor, "exact", False))
        note = f"judge: {sight.words}" if sight else ""
        title = _title(result.edit, done=sure and status == "ok")
        if status == NO_CHANGE:
            title, note = f"{title}: no visible change", ""
        alarm = status == NO_CHANGE or bool(sight and not sight.sees)
        pixels = (result.baseline.pixels, result.image.pixels)
        return imaging.Row(title, *pixels, result.difference, note, alarm)

    def lost(self, part: Part, status: str, message: str) -> Made:
        """Return the item of a file that could not be edited."""
        made = super().lost(part, status, message)
        made.add(_ITEMS, _lost(part.inputs[0], status, message))
        return made

    def _encode(self, result: Counterfactual, stem: str) -> tuple[_Contents, float]:
        """Return path and content of each file of a counterfactual, by kind, and the seconds."""
        if result.image is None or result.difference is None:
            return {}, 0.0
        started = time.perf_counter()
        base, output = result.baseline, self.output
        written = _burned(result) if output.burn_in else result
        options = {"keep_identity": output.keep_identity}
        options["as_original"] = not output.secondary_capture
        files: _Contents = {}
        arms: tuple[tuple[Arm, str], ...] = (("counterfactual", ""), ("sham", ".sham"))
        for arm, mark in arms:
            for suffix in output.suffixes(base):
                path = f"{stem}{mark}{suffix}"
                data = imaging.encode_edit(written, path, arm=arm, **options)
                files[f"{arm}{suffix}"] = path, data
        shown = imaging.difference_picture(result.difference, base.pixels)
        facts = provenance.describe(base, result.edit, result.facts)
        kept = facts if output.keep_identity else provenance.without_source(facts)
        files["difference"] = f"{stem}.difference.png", imaging.encode_picture(shown, kept)
        return files, time.perf_counter() - started

    def _added(
        self, made: Made, result: Counterfactual, files: _Contents, seconds: float
    ) -> dict[str, Any]:
        """Add the files of one counterfactual and return what the record says of them."""
        if not files:
            return {"files": {}}
        facts, said = provenance.describe(result.baseline, result.edit, result.facts), {}
        for kind, (path, data) in files.items():
            made.files[path] = data = self._signed(path, data, facts)
            said[kind] = {"path": path, "sha256": hashlib.sha256(data).hexdigest()}
        support = result.support
        return {
            "files": said,
            "changed_fraction": None if support is None else round(float(support.mean()), 6),
            "seconds_writing": round(seconds, 4),
        }

    def _signed(self, path: str, data: bytes, facts: Mapping[str, Any]) -> bytes:
        """Return a file as it is written: PNG signed, where that is wished."""
        signer = self.output.signer
        return signer.sign(data, facts) if signer and path.endswith(".png") else data

    def finish(self, done: Done) -> EditResult:
        """Write the record."""
        count_burned_in(done.rows(MARKS))
        record = _content(list(done.rows(_ITEMS)), self.settings, self.edits)
        earlier = _earlier(_read(done.folder) or {}, record["items"])
        record |= {"earlier": earlier} if earlier else {}
        write_json(done.folder / RECORD, record)
        return EditResult(done.folder, record)


def _content(
    items: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], edits: Sequence[Edit]
) -> dict[str, Any]:
    """Return what the record holds, and log what people must know of the items."""
    for item in items:
        if "message" in item:
            log.error("%s", item["message"])
    shown = {item["input"]: item["baseline_shows"] for item in items if item.get("baseline_shows")}
    for name, shows in shown.items():
        log.warning("%s: %s; edits disturb what is there", name, _baseline(shows))
    return {
        "synthetic": "YES",
        "statement": provenance.STATEMENT,
        "settings": dict(settings),
        "edits": json.loads(json.dumps(list(map(asdict, edits)))),
        "items": list(items),
    }


def _earlier(record: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what a record, and those before it, say of pictures that `items` did not replace."""
    made = {file["path"] for item in items for file in item.get("files", {}).values()}
    kept: list[dict[str, Any]] = []
    for one in (*record.get("earlier", ()), record):
        facts = {name: one.get(name) for name in ("settings", "edits")}
        left = []
        for item in one.get("items", ()):
            files = {k: f for k, f in item.get("files", {}).items() if f["path"] not in made}
            left += [{**item, "files": files}] if files else []
        if left and kept and all(kept[-1][name] == value for name, value in facts.items()):
            kept[-1]["items"] += left
        elif left:
            kept.append({**facts, "items": left})
    return kept


def _labels(edits: Sequence[Edit]) -> list[str]:
    """Return one label per edit; the edit's id is added where labels repeat."""
    labels = Counter(edit.label for edit in edits)
    return [e.label if labels[e.label] == 1 else f"{e.label}-{e.id}" for e in edits]


def _burned(one: Counterfactual) -> Counterfactual:
    """Return a counterfactual with SYNTHETIC in the pixels of both arms, and in its facts."""
    image, sham = (None if p is None else imaging.burned(p) for p in (one.image, one.sham))
    return replace(one, image=image, sham=sham, facts=one.facts | {"burned_in": "SYNTHETIC"})


def _heading(edits: Sequence[Edit], shows: Mapping[str, float] | None) -> str:
    """Return the sheet's title: what to compare with, and what is no normal baseline."""
    words = {"baseline": "the baseline", "sham": "the sham, in its file"}
    controls = dict.fromkeys(words[edit.control] for edit in edits)
    parts = [f"Control: {' or '.join(controls)}", *([_baseline(shows)] if shows else [])]
    return "; ".join(parts)


def _baseline(shows: Mapping[str, float]) -> str:
    read = ", ".join(f"{name} ({chance:.2f})" for name, chance in shows.items())
    return f"the judge reads {read} in the baseline"


def _title(edit: Edit, *, done: bool) -> str:
    what = " + ".join(edit.findings) or f"'{edit.prompt}'"
    held = f"holding {' and '.join(edit.hold)}" if edit.hold else None
    details = ", ".join(w for w in (edit.side, edit.severity, edit.form, edit.region, held) if w)
    made = "added" if edit.action == "add" else "removed"
    wanted = "requested" if edit.action == "add" else "removal requested"
    return f"{what} {made if done else wanted}" + (f" ({details})" if details else "")
