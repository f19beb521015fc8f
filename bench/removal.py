"""Does removal work on real findings? ``bench/removal.json``, ``docs/removal.md``, and profiles.

``python -m bench.removal --data DIR`` removes each finding from radiographs whose labels have it,
and from "No Finding" ones of the same sets, at default settings, and lets the judge read before and
after. Validation decides what works; the test split must confirm it, and gives the figures that are
shown. ``--real-judge`` names a judge of real labels alone, which must agree where it reads the
finding. The table goes into the profile of a bundled editor, by which removals are refused. Edited
pictures are kept in ``--run``, so that it goes on where it stopped. ``--pairs`` names a table of
visits of one patient (`bench.follow_up`): how far the judges' readings fall where a finding really
went.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bench import follow_up, weights
from roentmod import imaging
from roentmod.classifiers import Judge
from roentmod.domain import NO_FINDING, finding
from roentmod.editors import BUNDLED, Editor, compose
from roentmod.edits import Edit
from roentmod.errors import EditError
from roentmod.interfaces import described
from roentmod.science.stats import auc
from roentmod.store import atomic, canonical_hash, write_json
from training import measures

EDITORS = ("mini", "painter")
SPLITS = ("val", "test")
JSON, PAGE = Path("bench/removal.json"), Path("docs/removal.md")
ADULT = 18
SIZE = 224
# Radiographs without a finding, per split: each has every finding removed.
HEALTHY = 30
# A removal works where each holds, on both splits.
RULES: dict[str, tuple[str, float]] = {
    "positives": ("at least", 5),
    # Otherwise the judge cannot tell whether the finding is there.
    "auroc_before": ("at least", 0.7),
    # Share of the way from the positives' mean logit to that of radiographs without a finding.
    "removed": ("at least", 0.5),
    # AUROC of the logit of radiographs with the finding, before against after.
    "auroc_fall": ("at least", 0.85),
    # Largest mean rise of another finding's logit, as a share of the fall.
    "off_target": ("at most", 0.25),
    # Change of radiographs that have nothing to remove, as a share of the positives'.
    "healthy_change": ("at most", 0.5),
}
Array = NDArray[np.float32]
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Removal:
    """The removal of one finding from one radiograph, as the judge reads it.

    Attributes:
        finding: what was removed.
        carried: whether the radiograph's labels have it.
        before: logits of the radiograph, k.
        after: logits of the edited picture, k.
        change: mean size of the difference in pixels, of the display range.
    """

    finding: str
    carried: bool
    before: Array
    after: Array
    change: float


def chosen(data: Path, split: str, findings: Sequence[str]) -> list[tuple[Path, tuple[str, ...]]]:
    """Return radiographs and the findings that each carries; none: labelled "No Finding".

    Adults with trusted labels, one picture per patient and set of findings, only of sets that have
    both, as sets differ in sharpness.
    """
    with (data / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    # The native set repeats radiographs of another.
    rows = [r for r in rows if "conflict" not in r["tier"] and r["set"] != "nih_native_1024"]
    rows = [row for row in rows if row["age"] and float(row["age"]) >= ADULT]
    known = {name.name: name.name for name in map(finding, findings)}
    found: dict[tuple[str, tuple[str, ...]], tuple[str, str]] = {}
    for row in sorted(rows, key=lambda row: row["path"]):
        labels = row["labels"].replace("_", " ").split("|")
        own = tuple(sorted({finding(n).name for n in labels if _known(n)} & known.keys()))
        if own or row["labels"] == NO_FINDING.name:
            found.setdefault((row["patient_id"], own), (row["set"], row["path"]))
    positive = {place for (_, own), (place, _) in found.items() if own}
    healthy = {place for (_, own), (place, _) in found.items() if not own}
    both = positive & healthy
    kept = [(own, path) for (_, own), (place, path) in found.items() if place in both]
    some = sorted((path for own, path in kept if not own), key=lambda path: crc32(path.encode()))
    drawn = {*some[:HEALTHY]}
    return [(data / path, own) for own, path in kept if own or path in drawn]


def _known(name: str) -> bool:
    try:
        return bool(finding(name))
    except EditError:
        return False


def remove(editor: Any, path: Path, names: Sequence[str], keep: Path) -> dict[str, NDArray[Any]]:
    """Return the removals of findings from one radiograph, made once for a folder.

    Returns:
        ``names`` of those that have a picture, m; ``shown`` pictures, 1 + m x 224 x 224 uint16,
        the radiograph first; ``change``, the mean size of each difference, m.
    """
    key = canonical_hash([described(editor), path.name, list(names)])[:24]
    place = keep / f"{key}.npz"
    if not place.exists():
        radiograph = imaging.read(path)
        edits = [Edit((name,), action="remove") for name in names]
        done = [one for one in editor.edit([radiograph], edits) if one.image is not None]
        shown = [compose.shrink(one, SIZE) for one in (radiograph, *(d.image for d in done))]
        keep.mkdir(parents=True, exist_ok=True)
        with atomic(place) as part:
            np.savez(
                part,
                names=np.array([one.edit.findings[0] for one in done]),
                shown=np.rint(np.stack(shown) * 65535).astype(np.uint16),
                change=np.array([np.abs(one.difference).mean() for one in done]),
            )
    with np.load(place) as stored:
        return dict(stored)


def readings(made: dict[str, NDArray[Any]], judge: Judge, *, carried: bool) -> list[Removal]:
    """Return the removals of one radiograph as a judge reads them."""
    shown: Array = made["shown"].astype(np.float32) / np.float32(65535)
    before, *after = judge.logits(shown)
    rows = zip(made["names"], after, made["change"], strict=True)
    return [
        Removal(str(name), carried, before, logits, float(change)) for name, logits, change in rows
    ]


def figures(removals: Sequence[Removal], name: str, findings: Sequence[str]) -> dict[str, Any]:
    """Return the figures of one finding (the keys of `RULES` and more), None where unknown."""
    k = list(findings).index(name)
    own = [one for one in removals if one.finding == name]
    carried, healthy = ([one for one in own if one.carried is kind] for kind in (True, False))
    if not carried or not healthy:
        return {"positives": len(carried), "healthy": len(healthy)}
    before, after = (np.stack([getattr(one, w) for one in carried]) for w in ("before", "after"))
    normal = np.stack([one.before for one in healthy])[:, k]
    fall = float((before[:, k] - after[:, k]).mean())
    rises = (after - before).mean(0)
    rises[k] = -np.inf
    worst = int(rises.argmax())
    gap = float(before[:, k].mean() - normal.mean())
    changes = [float(np.mean([one.change for one in kind])) for kind in (healthy, carried)]
    return {
        "positives": len(carried),
        "healthy": len(healthy),
        "auroc_before": _round(auc(before[:, k], normal)),
        "auroc_after": _round(auc(after[:, k], normal)),
        "logit_before": _round(before[:, k].mean()),
        "logit_after": _round(after[:, k].mean()),
        "logit_healthy": _round(normal.mean()),
        "removed": _round(fall / gap) if gap > 0 else None,
        "auroc_fall": _round(auc(before[:, k], after[:, k])),
        "auroc_fall_ci": [_round(v) for v in measures.auroc_interval(before[:, k], after[:, k])],
        "off_target": _round(max(0.0, float(rises[worst])) / fall) if fall > 0 else None,
        "off_target_finding": findings[worst],
        "healthy_change": _round(changes[0] / changes[1]) if changes[1] else None,
    }


def _round(value: Any) -> float:
    return round(float(value), 3)


def failing(one: dict[str, Any]) -> list[str]:
    """Return the rules that figures of one split do not meet, by either judge.

    The judge of real labels has a say where it reads the finding.
    """
    failed = [
        name
        for name, (side, limit) in RULES.items()
        if (value := one.get(name)) is None
        or (value < limit if side == "at least" else value > limit)
    ]
    other = failing(one["real_judge"]) if one.get("real_judge") else []
    reads = not {"positives", "auroc_before"} & set(other)
    return failed + [f"{name} (real labels)" for name in other if reads]


def measure(name: str, data: Path, real: Judge | None, keep: Path) -> dict[str, Any]:
    """Return figures, failed rules and the verdict of each finding, for one editor."""
    editor, judge = Editor.load(name), Judge.load()
    try:
        editor.edit([], [Edit((judge.findings[0],), action="remove")])
    except EditError as error:
        return {"reason": str(error), "findings": {}}
    table: dict[str, dict[str, Any]] = {one: {} for one in judge.findings}
    for split in SPLITS:
        pictures = chosen(data, split, judge.findings)
        done: list[Removal] = []
        others: list[Removal] = []
        for number, (path, own) in enumerate(pictures):
            made = remove(editor, path, own or judge.findings, keep)
            done += readings(made, judge, carried=bool(own))
            others += readings(made, real, carried=bool(own)) if real else []
            if number % 20 == 0:
                log.info("%s: %s: %d of %d", name, split, number + 1, len(pictures))
        for one in judge.findings:
            table[one][split] = figures(done, one, judge.findings)
            if real and one in real.findings:
                table[one][split]["real_judge"] = figures(others, one, real.findings)
    for row in table.values():
        row["failed"] = {split: failing(row[split]) for split in SPLITS}
        row["works"] = not any(row["failed"].values())
    judges = {"judge": judge.describe()["sha256"]}
    judges |= {"real_judge": real.describe()["sha256"]} if real else {}
    return {"editor": described(editor), **judges, "findings": table}


def profile_table(figures: dict[str, Any]) -> dict[str, Any]:
    """Return what an editor's profile holds: whether each removal works, with its test figures."""
    shown = ("positives", "removed", "off_target", "healthy_change")
    rows = {
        name: {"works": row["works"], **{key: row["test"].get(key) for key in shown}}
        for name, row in figures["findings"].items()
    }
    return {"weights": figures["editor"]["weights"], "findings": rows}


def reference(data: Path, pairs: Path, real: Judge | None) -> dict[str, Any]:
    """Return how far each judge's reading falls where a finding really went."""
    falls = {"judge": follow_up.measure(data, pairs, Judge.load(), unseen=True)}
    if real:
        falls["real_judge"] = follow_up.measure(data, pairs, real, unseen=False)
    return falls


def page(result: dict[str, Any], real_falls: dict[str, Any]) -> str:
    """Return the page of all figures: of editors, and of follow-up pairs."""
    rules = "; ".join(f"`{name}` {side} {limit:g}" for name, (side, limit) in RULES.items())
    lines = [
        "# Does removal work on real findings?",
        "",
        "Made by `python -m bench.removal --data DIR` (`bench/removal.json`): each finding is "
        "removed from radiographs whose labels have it, and from normal ones of the same sets, at "
        "default settings, and the bundled judge reads before and after. `removed` is the share of "
        "the way from the mean logit of radiographs with the finding to that of normal ones; "
        "`healthy_change` the change of normal ones as a share of that of the others; `off_target` "
        "the largest rise of another finding as a share of the fall; `auroc_fall` the AUROC of "
        "the logit before against after, with its 95 % interval over pictures. Lines *real labels* "
        "are by the judge that was taught by real labels alone; it has a say where it reads the "
        "finding.",
        "",
        f"A removal works where, on validation and on the test split: {rules}. Otherwise `roentmod "
        "edit --remove` and `roentmod audit --removals` refuse it; of another generator, which "
        "nobody has measured, they warn. As the test split has a say, its figures of removals that "
        "work are a little too good; those of all that validation chose are not.",
    ]
    for name, one in result.items():
        lines += ["", f"## {name}", ""]
        lines += (
            [_selected(one["findings"]), "", *_table(one["findings"])]
            if one["findings"]
            else [f"It removes nothing: {one['reason']}"]
        )
    return "\n".join([*lines, *(_falls(real_falls) if real_falls else []), ""])


def _falls(falls: dict[str, Any]) -> list[str]:
    """Return the section about findings that really went."""
    limit = RULES["auroc_fall"][1]
    names = list(dict.fromkeys(name for table in falls.values() for name in table))
    reached = [
        name
        for name in names
        if all(name in table and table[name]["auroc_fall"] >= limit for table in falls.values())
    ]
    lines = [
        "",
        "## Where a finding really went",
        "",
        "What a perfect removal could be asked for: two visits of one patient in one view, of "
        "which one radiograph lacks a finding of the other and has none instead (NIH's text-mined "
        "labels; one pair a patient, findings with at least "
        f"{follow_up.FEWEST} patients). The bundled judge learned from none of these patients; "
        "the judge of real labels learned from most of them, which flatters it. With the real "
        f"other visit in place of an edit, `auroc_fall` is at least {limit:g} by every judge for "
        f"{len(reached)} of {len(names)} findings ({', '.join(reached) or 'none'}): labels err, "
        "findings shrink more often than they vanish, and readings of one finding spread widely "
        "between patients. A generator that learned from such pairs could not pass the rule "
        "without taking away more than really went.",
        "",
        "| finding | judge | patients | logit with | logit without | auroc_fall |",
        "|---|---|---|---|---|---|",
    ]
    judges = {"judge": "bundled", "real_judge": "real labels"}
    for name in names:
        for key, table in falls.items():
            if row := table.get(name):
                low, high = row["auroc_fall_ci"]
                lines.append(
                    f"| {name} | {judges[key]} | {row['patients']} | {row['logit_before']:g} | "
                    f"{row['logit_after']:g} | {row['auroc_fall']:g} ({low:.2f} to {high:.2f}) |"
                )
    return lines


def _selected(findings: dict[str, Any]) -> str:
    """Return which removals validation chooses, and which of them the test split confirms."""
    first, last = SPLITS
    chosen = [name for name, row in findings.items() if not row["failed"][first]]
    rest = [name for name in chosen if findings[name]["failed"][last]]
    if not chosen:
        return "Validation chooses no removal."
    return (
        f"Validation chooses {len(chosen)} removals ({', '.join(chosen)}); the test split "
        f"does not confirm {len(rest)} of them ({', '.join(rest) or 'none'})."
    )


def _table(findings: dict[str, Any]) -> list[str]:
    logits = ("auroc_before", "auroc_after", "removed", "auroc_fall")
    keys = ("positives", *logits, "off_target", "healthy_change")
    lines = [f"| finding | split | {' | '.join(keys)} | works |", "|---" * (len(keys) + 3) + "|"]
    for name, row in findings.items():
        for split in SPLITS:
            verdict = "yes" if row["works"] else "no"
            lines.append(
                f"| {name} | {split} | {' | '.join(_cells(row[split], keys))} | {verdict} |"
            )
            if other := row[split].get("real_judge"):
                cells = " | ".join(_cells(other, keys))
                lines.append(f"| {name} | {split}, real labels | {cells} | |")
    return lines


def _cells(one: dict[str, Any], keys: Sequence[str]) -> list[str]:
    cells = ["-" if one.get(key) is None else f"{one[key]:g}" for key in keys]
    if bounds := one.get("auroc_fall_ci"):
        cells[keys.index("auroc_fall")] += f" ({bounds[0]:.2f} to {bounds[1]:.2f})"
    return cells


def main() -> None:
    """Measure the editors; write figures, and the profiles of those that lie in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--real-judge", type=Path, help="folder of a judge of real labels alone")
    parser.add_argument("--pairs", type=Path, help="table of follow-up pairs")
    parser.add_argument("--run", type=Path, default=Path("runs/removal"), help="keeps edits")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    real = Judge.load(args.real_judge) if args.real_judge else None
    result = {name: measure(name, args.data, real, args.run) for name in EDITORS}
    falls = reference(args.data, args.pairs, real) if args.pairs else {}
    write_json(JSON, {"rules": RULES, "editors": result, "follow_up": falls})
    PAGE.write_text(page(result, falls), encoding="utf-8")
    weights.measured(JSON)
    for name in set(BUNDLED) & set(result):
        path = BUNDLED[name] / "profile.json"
        profile = json.loads(path.read_text(encoding="utf-8"))
        write_json(path, profile | {"removal": profile_table(result[name])})


if __name__ == "__main__":
    main()
