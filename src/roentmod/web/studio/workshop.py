"""The workshop: editors that stay loaded, one edit after another, and the history of edits.

An edit is a run of `roentmod.edit` in a folder of the session: what is saved is what the command
writes. Its pictures are shown as soon as the editor has made them, before the files are written.
"""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from roentmod import imaging, verbs
from roentmod.editors import compose
from roentmod.errors import EditError, RoentModError
from roentmod.interfaces import Classifier, Counterfactual
from roentmod.plans import EditPlan
from roentmod.plans.options import fields_of, part
from roentmod.radiograph import Radiograph
from roentmod.web.studio.brush import Stroke, painted
from roentmod.web.studio.sources import Source

__all__ = ["ARMS", "OPTIONS", "Piece", "Workshop"]

log = logging.getLogger(__name__)
ARMS = ("baseline", "counterfactual", "sham")
# What a page may set of an edit: nothing that names a file or a program.
OPTIONS = frozenset({*fields_of([EditPlan]), "format", "burn_in", "secondary_capture"})
_SHOWN = ("number", "title", "state", "message", "status", "readings", "words", "arms", "options")
# Edits whose pictures stay in memory.
_HELD = 8


@dataclass(eq=False)
class Piece:
    """One edit of the history.

    Attributes:
        number: of the edit, from 1.
        source: what was edited; None for a case of a run, which has no file.
        options: of `verbs.edit`, with "editor".
        folder: what the run wrote.
        mask: the painted region's file, or None.
        title: what was requested.
        state: "waiting", "editing", "shown" (pictures are there), "done" or "failed".
        message: why it failed, or what is to know.
        seconds: from the start until the pictures were there.
        status: of the edit, as in ``edits.json``.
        arms: of what is shown.
        pictures: the same, while it is held.
        files: what the run wrote, by arm, relative to the folder.
        readings: one row per finding and reader: reader, finding, and probability per arm.
        words: what the judge says of the edit.
    """

    number: int
    source: Source | None
    options: dict[str, Any]
    folder: Path
    mask: Path | None = None
    title: str = ""
    state: str = "waiting"
    message: str = ""
    seconds: float = 0.0
    status: str = ""
    arms: tuple[str, ...] = ()
    pictures: dict[str, Radiograph] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    readings: list[dict[str, Any]] = field(default_factory=list)
    words: str = ""

    def facts(self) -> dict[str, Any]:
        """Return what a page shows of it."""
        return {name: getattr(self, name) for name in _SHOWN} | {
            "source": self.source.id if self.source else "",
            "seconds": round(self.seconds, 2),
            "painted": self.mask is not None,
        }


class _Watched:
    """An editor that passes on what it made before the files are written."""

    # One radiograph at a time, by `edit`.
    at_once = 1
    edit_each = None

    def __init__(self, editor: Any, see: Callable[[Counterfactual], None]) -> None:
        self._editor = editor
        self._see = see

    def __getattr__(self, name: str) -> Any:
        return getattr(self._editor, name)

    def edit(self, *args: Any, **options: Any) -> list[Counterfactual]:
        made: list[Counterfactual] = self._editor.edit(*args, **options)
        for one in made:
            self._see(one)
        return made


class Workshop:
    """Editors, readers and the history; edits are made one by one in a thread."""

    def __init__(
        self,
        place: Path,
        out: Path,
        load: Callable[[str], Any],
        *,
        editors: Sequence[str] = ("mini",),
        judge: Classifier | None = None,
        readers: Mapping[str, Classifier] | None = None,
    ) -> None:
        """Begin with an empty history.

        Args:
            place: folder of the session.
            out: where edits are saved; made when the first is.
            load: returns an editor by name.
            editors: names that may be chosen, the first by default.
            judge: reads every edit.
            readers: classifiers by name, which read them too.
        """
        self.place, self.out = place, out
        self.editors = tuple(editors)
        self._load, self._judge = load, judge
        self._readers = ({"judge": judge} if judge else {}) | dict(readers or {})
        self._loaded: dict[str, Any] = {}
        self.pieces: dict[int, Piece] = {}
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the edit that is being made."""
        self._waiting.put(None)

    def warm(self) -> None:
        """Load the first editor, so that the first edit need not wait."""
        self._waiting.put(lambda: self._ready(self.editors[0]) and None)

    def begin(
        self, source: Source, options: Mapping[str, Any], strokes: Sequence[Mapping[str, Any]] = ()
    ) -> Piece:
        """Put an edit of a file into the history, to be made next.

        Raises:
            EditError: options that a page may not set, or that make no sense.
        """
        given = dict(options)
        editor = given.pop("editor", self.editors[0])
        if editor not in self.editors:
            raise EditError(f"The studio was started with {', '.join(self.editors)}; got another.")
        odd = sorted(set(given) - OPTIONS)
        if odd:
            raise EditError(f"A page sets {', '.join(sorted(OPTIONS))}; got '{odd[0][:40]}'.")
        title = _title(given)
        drawn = [Stroke(**stroke) for stroke in strokes]
        piece = self._piece(source, given | {"editor": editor}, title)
        self._waiting.put(lambda: self._attempt(piece, lambda: self._make(piece, source, drawn)))
        return piece

    def show(self, title: str, make: Callable[[Any], Counterfactual], editor: str) -> Piece:
        """Put a case of a run into the history: pictures alone, no files.

        Args:
            title: what it is.
            make: called with the editor, returns the pictures.
            editor: its name.
        """
        piece = self._piece(None, {"editor": editor}, title)

        def work() -> None:
            self._see(piece, time.perf_counter(), make(self._ready(editor)))
            self._read(piece)

        self._waiting.put(lambda: self._attempt(piece, work))
        return piece

    def save(self, piece: Piece) -> Path:
        """Copy what an edit wrote into the folder for results, beside a painted region.

        Raises:
            EditError: it is not finished.
        """
        if piece.state != "done" or piece.source is None:
            raise EditError("Only a finished edit of a file can be saved. Wait for it.")
        name = f"{piece.number:03d}-{piece.title}"[:80].replace(" | ", "-")
        wanted = [self.out / name, *(self.out / f"{name}-{again}" for again in range(2, 1000))]
        place = next(path for path in wanted if not path.exists())
        self.out.mkdir(parents=True, exist_ok=True)
        shutil.copytree(piece.folder, place)
        if piece.mask:
            shutil.copyfile(piece.mask, place / piece.mask.name)
        return place

    def _piece(self, source: Source | None, options: dict[str, Any], title: str) -> Piece:
        number = len(self.pieces) + 1
        folder = self.place / f"{number:04d}"
        piece = Piece(number, source, options, folder, title=title)
        self.pieces[number] = piece
        return piece

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            try:
                task()
            # The thread lives on, whatever an editor raises; `_attempt` says it to the page.
            except Exception as error:
                log.error("studio: %s", type(error).__name__)

    def _attempt(self, piece: Piece, work: Callable[[], None]) -> None:
        piece.state = "editing"
        try:
            work()
        except (RoentModError, OSError) as error:
            piece.state, piece.message = "failed", str(error)
        except Exception as error:
            piece.state, piece.message = "failed", f"The editor failed: {type(error).__name__}."
            raise
        else:
            piece.state = "done" if piece.arms else "failed"

    def _ready(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _make(self, piece: Piece, source: Source, strokes: Sequence[Stroke]) -> None:
        started = time.perf_counter()
        options = dict(piece.options)
        editor = self._ready(options.pop("editor"))
        if strokes:
            radiograph = imaging.read(source.path)
            height, width = radiograph.stored.shape
            piece.mask = piece.folder.with_suffix(".mask.png")
            imaging.write_mask(painted(strokes, (height, width)), radiograph, piece.mask)
            options["mask"] = piece.mask
        watched = _Watched(editor, lambda one: self._see(piece, started, one))
        result = verbs.edit(
            [source.path],
            out=piece.folder,
            editor=watched,
            judge=self._judge,
            **options,
        )
        (item, *_) = result.record["items"]
        piece.status, piece.message = item["status"], item.get("message", "")
        piece.words = item.get("judge", {}).get("words", "")
        for kind, file in item.get("files", {}).items():
            piece.files.setdefault(kind.partition(".")[0], file["path"])
        self._read(piece)

    def picture(self, number: int, arm: str) -> Radiograph:
        """Return a picture of the history; those of older edits are read from their files.

        Raises:
            EditError: there is none.
        """
        piece = self.pieces.get(number)
        if piece is None or arm not in ARMS:
            raise EditError("The history has no such picture. Load the page again.")
        if arm in piece.pictures:
            return piece.pictures[arm]
        if arm == "baseline" and piece.source:
            return imaging.read(piece.source.path)
        if arm not in piece.files:
            raise EditError("This picture is no longer held. Show the case again.")
        return imaging.read(piece.folder / piece.files[arm])

    def _forget(self) -> None:
        """Let go of the pictures of older edits."""
        held = [piece for piece in self.pieces.values() if piece.pictures]
        for piece in held[:-_HELD]:
            piece.pictures = {}

    def _see(self, piece: Piece, started: float, one: Counterfactual) -> None:
        """Show the pictures of an edit."""
        arms = {"baseline": one.baseline, "counterfactual": one.image, "sham": one.sham}
        piece.pictures = {arm: picture for arm, picture in arms.items() if picture is not None}
        piece.seconds, piece.state = time.perf_counter() - started, "shown"
        piece.status = one.status
        piece.arms = tuple(piece.pictures)
        self._forget()

    def _read(self, piece: Piece) -> None:
        """Let every reader read the pictures of an edit."""
        if "counterfactual" not in piece.pictures:
            return
        for name, reader in self._readers.items():
            images = [compose.shrink(one, reader.size) for one in piece.pictures.values()]
            logits = np.asarray(reader.logits(np.stack(images)), dtype=np.float64)
            chances = np.round(expit(logits), 3)
            piece.readings += [
                {"reader": name, "finding": finding, **dict(zip(piece.pictures, row, strict=True))}
                for finding, row in zip(reader.findings, chances.T.tolist(), strict=True)
            ]


def _title(options: Mapping[str, Any]) -> str:
    """Return the labels of the edits that options make; "linked" findings are named later.

    Raises:
        EditError: they make none.
    """
    edits = part(EditPlan, options).edits(lambda hold, _: tuple(h for h in hold if h != "linked"))
    if len(edits) != 1:
        raise EditError(f"The studio makes one edit after the other; got {len(edits)} at once.")
    return edits[0].label
