"""How far the two judges read real findings, and what painted ones are to them.

``python -m bench.real_judge --data DIR --more DIR --nih DIR --judge DIR`` writes
``bench/real_judge.json`` and ``docs/judges.md``: AUROC on real test pictures, within source, view
and detector; what covering a finding does, by real boxes, against covering its mirror image; sides,
of pictures and of mirrored ones; and how far the bundled editors' findings move each judge, against
real positives.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from bench import judges_page, weights
from roentmod.classifiers import Judge
from roentmod.classifiers.judge import SIDES
from roentmod.domain import finding
from roentmod.editors import Editor
from roentmod.interfaces import described
from roentmod.science.stats import (
    auc,
    clustered_auc_interval,
    draws,
    interval,
    ratio,
    resampled_means,
)
from roentmod.store import atomic, canonical_hash, write_json
from training import cohort, measures
from training.benchmark import Bench, choose
from training.benchmark import rows_of as trusted_rows
from training.judge_pictures import Row, canonical
from training.real_judge_pictures import FINDINGS, rows_of, targets_of

ROUNDS = 2000
BASELINES = 24
EDITORS = ("painter", "mini")
JSON, PAGE = Path("bench/real_judge.json"), Path("docs/judges.md")
# Side of the square that covers a nodule of JSRT (at most 3 cm of a film of 36 cm).
NODULE = 24 / cohort.SIZE
# Boxes that meet their own mirror image have no other side to cover.
LEAST_APART = 0.1
# What a radiologist's box of a lung opacity may be labelled as.
OPACITIES = ("Pneumonia", "Infiltration", "Consolidation", "Atelectasis")
NIH_NAMES = {"Infiltrate": "Infiltration"}
Array = NDArray[np.float32]
Floats = NDArray[np.float64]
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pictures:
    """n real pictures and their facts.

    Attributes:
        rows: of the index.
        pixels: n x 224 x 224 in [0, 1].
        targets: n x k of `FINDINGS`, NaN where open.
    """

    rows: list[Row]
    pixels: Array
    targets: Array

    @classmethod
    def read(cls, data: Path, rows: list[Row]) -> Pictures:
        """Read the pictures of some rows of the index in `data`."""
        pixels = np.stack([cohort.unit(cohort.square(data / row["path"])) for row in rows])
        return cls(rows, pixels, targets_of(rows))

    def column(self, key: str) -> NDArray[np.str_]:
        """Return one fact of every row."""
        return np.array([row[key] for row in self.rows])


def logits_of(judge: Judge, pixels: Array, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the judge's logits of named findings, NaN where it does not read one."""
    found = np.full((len(pixels), len(names)), np.nan)
    read = judge.logits(np.ascontiguousarray(pixels, np.float32))
    for column, name in enumerate(names):
        if name in judge.findings:
            found[:, column] = read[:, judge.findings.index(name)]
    return found


def discrimination(pictures: Pictures, logits: NDArray[np.float64]) -> dict[str, Any]:
    """Return each finding's AUROC within source and view, with its interval over patients.

    ``auc`` is against No Finding; ``auc_detector`` too, within one detector also; ``auc_other``
    against all pictures without the finding, most of which show others, within source, view and
    detector; ``views`` and ``sources`` are parts of ``auc``.
    """
    labels, view, source = (pictures.column(key) for key in ("labels", "view", "set"))
    patients, strata = pictures.column("patient_id"), np.char.add(np.char.add(source, "|"), view)
    detectors = np.char.add(strata, pictures.column("detector"))
    clean, figures = labels == cohort.NO_FINDING, {}
    for k, name in enumerate(FINDINGS):
        there, read = pictures.targets[:, k] == 1, np.isfinite(logits[:, k])

        def area(use: NDArray[np.bool_], within: NDArray[np.str_]) -> list[float | None]:
            use = use & read  # noqa: B023  # used within this turn of the loop
            given = (logits[use, k], there[use], within[use], patients[use])  # noqa: B023
            return [_rounded(v) for v in measures.matched_auc(*given, rounds=ROUNDS)]

        if not read.any():
            continue
        use = there | clean
        found, same = area(use, strata), area(use, detectors)
        other = area(there | (pictures.targets[:, k] == 0), detectors)
        figures[name] = {
            "auc": found[0],
            "ci": found[1:],
            "auc_detector": same[0],
            "ci_detector": same[1:],
            "auc_other": other[0],
            "ci_other": other[1:],
            "positives": int((there & read).sum()),
            "patients": len({*patients[there & read]}),
            "views": {v: area(use & (view == v), strata)[0] for v in ("PA", "AP")},
            "sources": {s: area(use & (source == s), strata)[0] for s in sorted({*source[there]})},
        }
    return figures


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def external(more: Path, children: Pictures, judge: Judge) -> dict[str, Any]:
    """Return AUROC on pictures of other hospitals, which nobody trained on.

    Nodules of JSRT against its films without; measured cardiothoracic ratios of 0.55 and more
    against those below 0.5; children with pneumonia against others.
    """
    rows = _table(more / "index.csv")
    ratios = {r["path"]: r["ctr_ground_truth"] for r in _table(more / "masks.csv")}
    films = Pictures.read(more, [r for r in rows if r["set"] == "jsrt"])
    hearts = [r for r in rows if r["set"] == "wingspan" and ratios.get(r["path"])]
    known = [r for r in hearts if not 0.5 <= float(ratios[r["path"]]) < 0.55]
    figures = {}
    for name, place, pictures in (
        ("Nodule", "jsrt", films),
        ("Cardiomegaly", "wingspan", Pictures.read(more, known)),
        ("Pneumonia", "kermany", children),
    ):
        there = np.array([name in canonical(row) for row in pictures.rows])
        values = logits_of(judge, pictures.pixels, [name])[:, 0]
        if np.isfinite(values).all():
            patients = pictures.column("patient_id")
            bounds = clustered_auc_interval(values, there, patients, ROUNDS, 0)
            figures[f"{name} ({place})"] = {
                "auc": _rounded(auc(values[there], values[~there])),
                "ci": [_rounded(v) for v in bounds],
                "positives": int(there.sum()),
                "negatives": int((~there).sum()),
            }
    return figures


def _table(path: Path) -> list[Row]:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return [
        {str(key): str(value) for key, value in row.items()} for row in table.to_dict("records")
    ]


@dataclass(frozen=True)
class Box:
    """A rectangle in fractions of a square picture: left, top, width, height."""

    x: float
    y: float
    w: float
    h: float

    @property
    def mirrored(self) -> Box:
        """The same place of the other half."""
        return Box(1 - self.x - self.w, self.y, self.w, self.h)

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of a picture of 224 px, its border left out."""
        last = cohort.SIZE - 1
        top, left = (max(1, round(v * cohort.SIZE)) for v in (self.y, self.x))
        bottom, right = (round(v * cohort.SIZE) for v in (self.y + self.h, self.x + self.w))
        return slice(top, min(last, bottom)), slice(left, min(last, right))


@dataclass(frozen=True, eq=False)
class Marked:
    """A picture with boxes of one finding.

    Attributes:
        source: of the boxes.
        name: of the finding.
        row: of the index.
        pixels: 224 x 224 in [0, 1].
        boxes: all of them.
    """

    source: str
    name: str
    row: Row
    pixels: Array
    boxes: tuple[Box, ...]

    @property
    def side(self) -> str | None:
        """Side of the patient that all boxes are on; None where they are on both."""
        left = {box.x + box.w / 2 > 0.5 for box in self.boxes}
        return SIDES[left.pop()] if len(left) == 1 else None

    @property
    def apart(self) -> bool:
        """Whether the boxes hardly meet their mirror images."""
        here, there = np.zeros((2, cohort.SIZE, cohort.SIZE), bool)
        for box in self.boxes:
            here[box.place] = there[box.mirrored.place] = True
        return bool((here & there).sum() < LEAST_APART * here.sum())

    @property
    def learned(self) -> bool:
        """Whether the real-label judge was trained on the picture and its labels."""
        return self.row["split"] == "train" and "conflict" not in self.row["tier"]

    def covered(self, *, mirrored: bool) -> Array:
        """Return the picture with its boxes, or their mirror images, filled in."""
        boxes = [box.mirrored if mirrored else box for box in self.boxes]
        return filled(self.pixels, [box.place for box in boxes])


def filled(picture: Array, places: Sequence[tuple[slice, slice]]) -> Array:
    """Return the picture with rectangles replaced by the smoothest surface through their rims.

    It solves Laplace's equation in each, so that nothing but the rim tells what was there.
    """
    result = picture.astype(np.float64)
    for rows, columns in places:
        h, w = rows.stop - rows.start, columns.stop - columns.start
        if h < 1 or w < 1:
            continue
        rim = np.zeros((h, w))
        rim[0] += result[rows.start - 1, columns]
        rim[-1] += result[rows.stop, columns]
        rim[:, 0] += result[rows, columns.start - 1]
        rim[:, -1] += result[rows, columns.stop]
        second = [sparse.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(n, n)) for n in (h, w)]
        system = sparse.kronsum(second[1], second[0], format="csc")
        result[rows, columns] = spsolve(system, rim.ravel()).reshape(h, w)
    return result.astype(np.float32)


def marked_pictures(data: Path, more: Path, nih: Path) -> list[Marked]:
    """Return all pictures with boxes of radiologists, one entry per finding."""
    index = {row["path"]: row for row in trusted_rows(data, conflicts=True)}
    by_name = {Path(path).stem: row for path, row in index.items()}
    wanted: dict[tuple[str, str, str], list[Box]] = {}
    for line in _table(more / "boxes_rsna.csv"):
        box = Box(*(float(line[key]) for key in "xywh"))
        for name in OPACITIES:
            if name in canonical(index[line["path"]]):
                wanted.setdefault(("RSNA", name, line["path"]), []).append(box)
    for line in _table(nih / "BBox_List_2017.csv.gz"):
        row = by_name.get(line["Image Index"].removesuffix(".png"))
        name = finding(NIH_NAMES.get(line["Finding Label"], line["Finding Label"])).name
        if row is not None:
            corners = [float(v) / 1024 for v in [line["Bbox [x"], line["y"], line["w"], line["h]"]]]
            wanted.setdefault(("NIH", name, row["path"]), []).append(Box(*corners))
    found = [_marked(data, index[path], s, name, own) for (s, name, path), own in wanted.items()]
    rows = {row["path"]: row for row in _table(more / "index.csv")}
    for line in _table(more / "masks.csv"):
        if line["nodule_x"]:
            left, top = (float(line[key]) - NODULE / 2 for key in ("nodule_x", "nodule_y"))
            own = [Box(left, top, NODULE, NODULE)]
            row = rows[line["path"]] | {"split": "test"}
            found.append(_marked(more, row, "JSRT", "Nodule", own))
    return found


def _marked(data: Path, row: Row, source: str, name: str, boxes: list[Box]) -> Marked:
    pixels = cohort.unit(cohort.square(data / row["path"]))
    return Marked(source, name, row, pixels, tuple(boxes))


def covering(marked: Sequence[Marked], judge: Judge) -> dict[str, Any]:
    """Return how a finding's logit moves when it is covered, and when its mirror image is.

    By finding and source of boxes, ``learned`` pictures apart from others. ``apart`` is covered
    minus mirrored, with its interval over patients; it is negative where the judge looks at it.
    """
    groups: dict[str, list[Marked]] = {}
    for one in marked:
        if one.name in judge.findings and one.apart:
            key = f"{one.name} ({one.source}{', learned' if one.learned else ''})"
            groups.setdefault(key, []).append(one)
    figures = {}
    for key, own in sorted(groups.items()):
        three = np.stack(
            [[m.pixels, m.covered(mirrored=False), m.covered(mirrored=True)] for m in own]
        )
        flat = three.reshape(-1, *three.shape[2:])
        values = logits_of(judge, flat, [own[0].name]).reshape(-1, 3)
        moved = values[:, 1:] - values[:, :1]
        apart = _by_patient(own, moved[:, 0] - moved[:, 1])
        figures[key] = {
            "pictures": len(own),
            "patients": len(apart),
            "covered": _rounded(moved[:, 0].mean()),
            "mirrored": _rounded(moved[:, 1].mean()),
            "apart": _rounded(apart.mean()),
            "ci": [_rounded(v) for v in interval(resampled_means(apart[:, None], ROUNDS, 0)[:, 0])],
            "falls_more": _rounded((moved[:, 0] < moved[:, 1]).mean()),
        }
    return figures


def _by_patient(marked: Sequence[Marked], values: NDArray[np.float64]) -> NDArray[np.float64]:
    patients = np.array([one.row["patient_id"] for one in marked])
    return np.array([values[patients == name].mean() for name in sorted({*patients})])


def sides(marked: Sequence[Marked], judge: Judge) -> dict[str, Any]:
    """Return how often the judge names the side of the boxes, of pictures and mirrored ones."""
    figures = {}
    for name in judge.sided:
        own = [m for m in marked if m.name == name and m.side and not m.learned]
        if not own:
            continue
        column = judge.sided.index(name)
        right = {}
        for key, step in (("pictures", 1), ("mirrored", -1)):
            shown = np.ascontiguousarray(np.stack([m.pixels for m in own])[..., ::step])
            named = judge.sides(shown)[:, column].argmax(1)
            truth = np.array([SIDES.index(str(m.side)) for m in own])
            right[key] = _rounded((named == (truth if step == 1 else 1 - truth)).mean())
        figures[name] = {"n": len(own)} | right
    return figures


@dataclass(frozen=True, eq=False)
class Edits:
    """Default edits of test baselines, all at 224 x 224 in [0, 1].

    Attributes:
        before: the baselines.
        after: the edited pictures, m.
        baseline: which baseline each is of, m.
        name: the finding that each adds, m.
    """

    before: Array
    after: Array
    baseline: NDArray[np.int64]
    name: NDArray[np.str_]

    @classmethod
    def made(cls, editor: str, data: Path, run: Path) -> Edits:
        """Return an editor's edits, which are made once for a `run` folder and its weights."""
        loaded = Editor.load(editor)
        path = run / f"{editor}-{canonical_hash(described(loaded))[:16]}.npz"
        if not path.exists():
            chosen = choose(trusted_rows(data), BASELINES, 0)
            bench = Bench(loaded, Judge.load(), data, chosen)
            results = [r for i in range(len(chosen)) for r in bench.run(i, bench.asked(i))]
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic(path) as part:
                np.savez(
                    part,
                    before=np.stack([picture.pixels for picture in bench.baselines]),
                    after=np.stack([r.pixels for r in results]),
                    baseline=np.array([r.baseline for r in results]),
                    name=np.array([r.edit.findings[0] for r in results]),
                )
        stored = np.load(path)
        return cls(*(stored[key] for key in ("before", "after", "baseline", "name")))

    def figures(self, judge: Judge, shifts: dict[str, Floats]) -> dict[str, Any]:
        """Return, by finding, how far edits move a judge from their baselines, and real ones.

        ``ratio`` is of the two shifts, None where the real one is not surely above 0.

        Args:
            judge: who reads them.
            shifts: real ones (`real_shift`).
        """
        found = {}
        for name in dict.fromkeys(self.name.tolist()):
            own = self.name == name
            if name not in judge.findings:
                continue
            edited = logits_of(judge, self.after[own], [name])[:, 0]
            control = logits_of(judge, self.before, [name])[self.baseline[own], 0]
            moved = (edited - control)[:, None]
            drawn = np.append(moved.mean(), resampled_means(moved, ROUNDS, 0))
            found[name] = {
                **_shown("edited_shift", "edited_ci", drawn),
                **_shown("real_shift", "real_ci", real := shifts.get(name, np.zeros(0))),
                **_shown("ratio", "ratio_ci", _ratio(drawn, real)),
                "auc": _rounded(auc(edited, control)),
                "ci": [_rounded(v) for v in measures.auroc_interval(edited, control)],
                "n": int(own.sum()),
            }
        return found


def _ratio(edited: Floats, real: Floats) -> Floats:
    """Return the ratio of two shifts and its resamples; empty where the second may be 0."""
    if not real.size or not interval(real[1:])[0] > 0:
        return np.zeros(0)
    # A resample that falls to 0 has no bound.
    return np.where(real > 0, ratio(edited, real), np.copysign(np.inf, edited))


def _shown(name: str, ends: str, samples: Floats) -> dict[str, Any]:
    """Return a value and its interval of 1 + resamples; None of nothing."""
    if not samples.size:
        return {name: None, ends: []}
    return {name: _rounded(samples[0]), ends: [_rounded(v) for v in interval(samples[1:])]}


def real_shift(pictures: Pictures, logits: NDArray[np.float64]) -> dict[str, Floats]:
    """Return how far real positives' logits are above No Finding of their source and view.

    Returns:
        by finding the shift and its resamples of patients, 1 + `ROUNDS`; empty where there is none.
    """
    strata = np.char.add(pictures.column("set"), pictures.column("view"))
    clean, shifts = pictures.column("labels") == cohort.NO_FINDING, {}
    names, member = np.unique(pictures.column("patient_id"), return_inverse=True)
    often = np.ones((1 + ROUNDS, len(names)))
    often[1:] = draws(ROUNDS, len(names), 0)
    for k, name in enumerate(FINDINGS):
        there, total, mass = pictures.targets[:, k] == 1, np.zeros(1 + ROUNDS), np.zeros(1 + ROUNDS)
        for stratum in {*strata[there]}:
            own = strata == stratum
            high, low = (np.flatnonzero(own & one) for one in (there, clean))
            times, against = often[:, member[high]], often[:, member[low]]
            normal = ratio(against @ logits[low, k], against.sum(axis=1))
            known = np.isfinite(normal)
            total += np.where(known, times @ logits[high, k] - times.sum(axis=1) * normal, 0)
            mass += times.sum(axis=1) * known
        shifts[name] = ratio(total, mass) if mass[0] else np.zeros(0)
    return shifts


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    judges = {"real_judge": Judge.load(args.judge), "bundled_judge": Judge.load()}
    test = [r for r in rows_of(args.data, args.nih, args.split) if "conflict" not in r["tier"]]
    pictures = Pictures.read(args.data, test)
    kermany = [r for r in _table(args.data / "index.csv") if r["set"] == "kermany_224"]
    children = Pictures.read(args.data, kermany)
    marked = marked_pictures(args.data, args.more, args.nih)
    figures: dict[str, Any] = {"split": args.split, "baselines": BASELINES}
    shifts = {}
    for label, judge in judges.items():
        logits = logits_of(judge, pictures.pixels, FINDINGS)
        shifts[label] = real_shift(pictures, logits)
        figures[f"{label}_reads"] = {
            "sha256": judge.describe()["sha256"],
            "real": discrimination(pictures, logits),
            "external": external(args.more, children, judge),
            "covering": covering(marked, judge),
            "sides": sides(marked, judge),
        }
        log.info("%s has read", label)
    for editor in () if args.no_edits else EDITORS:
        made = Edits.made(editor, args.data, args.run)
        for label, judge in judges.items():
            figures.setdefault(label, {})[editor] = made.figures(judge, shifts[label])
    return figures


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--more", type=Path, required=True, help="folder of jsrt and wingspan")
    parser.add_argument("--nih", type=Path, required=True, help="folder of NIH's own tables")
    parser.add_argument("--judge", type=Path, required=True, help="folder of the real-label judge")
    parser.add_argument("--split", default="test")
    parser.add_argument("--run", type=Path, default=Path("runs/judges"), help="keeps edits")
    parser.add_argument("--no-edits", action="store_true", help="leave the editors out")
    parser.add_argument("--out", type=Path, default=JSON)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    figures = measure(args)
    write_json(args.out, figures)
    if args.out == JSON:
        PAGE.write_text(judges_page.page(figures), encoding="utf-8")
        weights.measured(JSON)


if __name__ == "__main__":
    main()
