"""How well edits pass for real findings: ``bench/realism.json``, ``docs/realism.md``.

``python -m bench.realism --data DIR`` lets each bundled editor add each finding to normal
radiographs and teaches a logistic regression, on the bundled judge's embedding and on texture of
several scales, to tell them from real positives of the same finding. Each edit has a real partner
of the same source and view, all pass through one 224 px grid, and cross-validation splits by pair.
All are of patients that nobody trained on: neither `mini` nor the judge. AUC 0.5 is what cannot be
told apart. ``hosts`` is the same for the unedited hosts: what
separates them from real positives before anything is drawn. ``texture`` is the AUC without the
embedding, which knows painted pictures where the judge was taught by them (``--judge`` names
another one). It goes on where it stopped.

With ``--real-judge`` and ``--nih`` it adds ``real_judge``: how far default edits of test baselines
by each bundled editor move a judge of real labels alone (`bench.real_judge`), beside how far real
positives are from No Finding of their source and view, and how well it reads those.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench import judges_page, weights
from bench import real_judge as trusted
from roentmod.anatomy import Anatomy
from roentmod.classifiers import Judge
from roentmod.domain import finding
from roentmod.editors import Editor, Painter
from roentmod.editors.painter import DOSE, PAINTABLE, paint
from roentmod.edits import Edit
from roentmod.imaging.segmentation import QUALITY_NEEDED, estimate_all
from roentmod.radiograph import Radiograph
from roentmod.science import stats
from roentmod.store import write_json
from training import cohort, real_judge_pictures
from training.judge_pictures import canonical

JSON, PAGE = Path("bench/realism.json"), Path("docs/realism.md")
# Text markers are no finding.
FINDINGS = tuple(name for name in PAINTABLE if name != "Text Marker")
# AUC up to which edits pass; fewer pairs are too few to say so.
PASSES, ENOUGH, WANTED = 0.75, 20, 5
# Where the judge of real labels reads a finding this well, edits must reach this share of the real
# shift, and this AUROC against their baselines.
READ, SHARE, AUROC = 0.8, 0.5, 0.8
# Patients of any other split taught something.
SPLITS = ("val", "test")
# Sources of 512 px, whose positives and normals come from one process.
SETS = ("nih_starter", "nih_extra", "nih_talo")
SHARES = {"mild": 0.4, "moderate": 0.4, "severe": 0.2}
FOLDS, LEAST = 5, 12
Row = dict[str, str]
Array = NDArray[np.float32]
log = logging.getLogger(__name__)


def texture(pictures: Array) -> Array:
    """Return statistics of four band-passed scales: spread, tails and gradients, n x 24."""
    columns = []
    for scale in (0.7, 1.4, 2.8, 5.6):
        for one in pictures:
            band = ndimage.gaussian_filter(one, scale) - ndimage.gaussian_filter(one, 2 * scale)
            middle = band[56:-28, 28:-28]
            spread = float(middle.std()) + 1e-6
            steps = np.abs(np.diff(middle, axis=0)).mean(), np.abs(np.diff(middle, axis=1)).mean()
            tails = np.quantile(middle / spread, [0.01, 0.99])
            columns.append(
                [np.log(spread), *(np.log(s + 1e-6) for s in steps), *tails, middle.mean()]
            )
    each = np.asarray(columns, dtype=np.float32).reshape(4, len(pictures), 6)
    return np.concatenate(list(each), axis=1)


def partners(positives: list[Row], hosts: list[Row], seed: int, most: int) -> list[tuple[Row, Row]]:
    """Return pairs of a positive and a host of its source and view, no host or patient twice."""
    rng = np.random.default_rng(seed)
    free = [hosts[i] for i in rng.permutation(len(hosts))]
    pairs: list[tuple[Row, Row]] = []
    seen: set[str] = set()
    for row in (positives[i] for i in rng.permutation(len(positives))):
        if len(pairs) == most:
            break
        if row["patient_id"] in seen:
            continue
        fits = [
            host
            for host in free
            if (host["set"], host["view"]) == (row["set"], row["view"])
            and host["patient_id"] not in seen
        ]
        if fits:
            free.remove(fits[0])
            seen |= {row["patient_id"], fits[0]["patient_id"]}
            pairs.append((row, fits[0]))
    return pairs


def separation(
    features: Array, real: NDArray[np.bool_], groups: NDArray[np.int64]
) -> dict[str, Any]:
    """Return AUC within folds, its 95 % interval over groups, and the number of pairs.

    Groups must hold as many real pictures as others. Where a fold holds more of one kind than of
    the other, its model expects what it lacks: what cannot be told apart would be below 0.5. So
    it would be if scores of different folds' models were compared.
    """
    scores, folds = np.zeros(len(real)), np.zeros(len(real), int)
    for number, (train, test) in enumerate(GroupKFold(FOLDS).split(features, real, groups)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=500))
        model.fit(features[train], real[train])
        scores[test], folds[test] = model.decision_function(features[test]), number
    area = stats.weighted_auc(scores, real, np.ones((real.size, 1)), folds)[0]
    ends = stats.clustered_auc_interval(scores, real, groups.astype(str), 2000, 0, strata=folds)
    return {
        "auc": round(float(area), 4),
        "ci": [round(float(x), 4) for x in ends],
        "n": int(real.sum()),
    }


class Pictures:
    """Radiographs on the 224 px grid, and the outlines of those that may be painted."""

    def __init__(self, data: Path) -> None:
        """Keep the folder."""
        self.data = data
        self._outlines: dict[str, Anatomy] = {}

    def pixels(self, row: Row) -> Array:
        """Return display values in [0, 1], 224 x 224."""
        return cohort.unit(cohort.square(self.data / row["path"]))

    def outline(self, row: Row) -> Anatomy:
        """Return the outlines of a radiograph."""
        if row["path"] not in self._outlines:
            self._outlines[row["path"]] = estimate_all(self.pixels(row)[None])[0]
        return self._outlines[row["path"]]


class Editors:
    """The bundled editors, as each draws a finding into a host on the 224 px grid."""

    def __init__(self, loaded: Mapping[str, Any]) -> None:
        """Keep them, by name."""
        self.loaded = dict(loaded)

    def made(self, editor: str, pictures: Pictures, row: Row, name: str) -> Array | None:
        """Return a host with a finding, its severity and seed drawn; None where it has none."""
        if pictures.outline(row).quality < QUALITY_NEEDED:
            return None
        seed = zlib.crc32(f"{name}/{row['path']}".encode())
        level: Any = np.random.default_rng(seed).choice(list(SHARES), p=list(SHARES.values()))
        if editor == Painter.name:
            own: Any = {"dose": DOSE[str(level)], "seed": seed, "view": row["view"]}
            drawn = paint(pictures.pixels(row), pictures.outline(row), name, **own).image
        else:
            host = Radiograph.from_array(pictures.pixels(row))
            edit = Edit((name,), severity=str(level), seed=seed)  # type: ignore[arg-type]
            (one,) = self.loaded[editor].edit([host], [edit])
            if one.image is None:
                return None
            drawn = one.image.pixels
        stored: Array = np.rint(drawn * 255).astype(np.float32) / np.float32(255)
        return stored


def measure(
    name: str, rows: list[Row], pictures: Pictures, editors: Editors, judge: Judge, most: int
) -> dict[str, dict[str, Any]]:
    """Return the figures of one finding by editor; none where there are too few pairs."""
    positives = [row for row in rows if name in canonical(row)]
    hosts = [row for row in rows if row["labels"] == cohort.NO_FINDING]
    pairs = partners(positives, hosts, zlib.crc32(name.encode()), most)
    pairs = [pair for pair in pairs if pictures.outline(pair[1]).quality >= QUALITY_NEEDED]
    if len(pairs) < LEAST:
        return {}
    real, plain = (
        features_of(np.stack([pictures.pixels(pair[place]) for pair in pairs]), judge)
        for place in (0, 1)
    )
    unedited = apart(real, plain)["auc"]
    figures = {}
    for editor in editors.loaded:
        made = [editors.made(editor, pictures, host, name) for _, host in pairs]
        use = np.array([one is not None for one in made])
        if use.sum() < LEAST:
            continue
        drawn = features_of(np.stack([one for one in made if one is not None]), judge)
        same = tuple(part[use] for part in real)
        figures[editor] = apart(same, drawn) | {
            "texture": apart(same[1:], drawn[1:])["auc"],
            "hosts": unedited,
        }
    return figures


def features_of(pictures: Array, judge: Judge) -> tuple[Array, ...]:
    """Return embedding and texture of n pictures."""
    return judge.features(pictures), texture(pictures)


def apart(real: tuple[Array, ...], others: tuple[Array, ...]) -> dict[str, Any]:
    """Return how well features tell n real positives from the pictures of their n hosts, in order.

    No patient is in two pairs, so that folds of pairs are folds of patients.
    """
    both = [np.concatenate(parts, axis=1) for parts in (real, others)]
    count = len(both[0])
    pairs = np.tile(np.arange(count), 2)
    return separation(np.concatenate(both), np.arange(2 * count) < count, pairs)


def real_judge(args: argparse.Namespace) -> dict[str, Any]:
    """Return `edited_shift`, `real_shift`, `auc` and what they are held against.

    By editor and finding; `reads` is the judge's AUROC of real positives within source and view, of
    so many `patients`.
    """
    judge = Judge.load(args.real_judge)
    rows = real_judge_pictures.rows_of(args.data, args.nih, "test")
    test = trusted.Pictures.read(args.data, [r for r in rows if "conflict" not in r["tier"]])
    logits = trusted.logits_of(judge, test.pixels, real_judge_pictures.FINDINGS)
    shifts, reads = trusted.real_shift(test, logits), trusted.discrimination(test, logits)
    moved = {
        editor: trusted.Edits.made(editor, args.data, args.run).figures(judge, shifts)
        for editor in args.editors
    }
    for table in moved.values():
        for name, one in table.items():
            known = reads.get(name, {})
            one |= {"reads": known.get("auc"), "patients": known.get("patients", 0)}
    return moved


def page(figures: dict[str, Any]) -> str:
    """Return the page of all figures."""
    editors = [name for name in trusted.EDITORS if figures.get(name)]
    lines = [
        "# Do edits pass for real findings?",
        "",
        "Made by `make realism DATA=DIR NIH=DIR` (`bench/realism.json`): a classifier is taught, "
        "on a judge's embedding (the bundled one's, unless `--judge` names another) and on "
        "texture, to tell edits (severity and seed drawn) "
        "from real positives of the same finding, source and view, at 224 px. Positives and hosts "
        f"are of the splits {' and '.join(SPLITS)}, patients that neither `mini` nor a judge was "
        "trained on; folds are of whole pairs. 0.5 is what cannot be told apart. *Hosts*: the same "
        "for the hosts before the edit, who lack the finding and differ from real patients in more "
        "than that: an edit that is further away than its host is known by what was drawn; hosts "
        "are all, edits those that an editor could make. So few pairs teach little: an AUC is also "
        "low where they are few.",
        "",
    ]
    lines += _table(figures, editors) if editors else ["No editor was measured so yet."]
    if figures.get("real_judge"):
        lines += ["", *_moved(figures["real_judge"])]
    return "\n".join([*lines, ""])


def _table(figures: dict[str, Any], editors: Sequence[str]) -> list[str]:
    lines = [
        "| finding | "
        + " | ".join(f"`{e}`: AUC | n | texture alone" for e in editors)
        + " | hosts |",
        "|---" * (3 * len(editors) + 2) + "|",
    ]
    for name in dict.fromkeys(n for e in editors for n in figures[e]):
        own = [figures[e].get(name) for e in editors]
        cells = [c for one in own for c in (_cells(one) if one else ["-"] * 3)]
        hosts = next(f"{one['hosts']:.2f}" for one in own if one)
        lines.append(f"| {name} | {' | '.join(cells)} | {hosts} |")
    return [*lines, "", *(_passing(figures[e], e) for e in editors)]


def _cells(one: dict[str, Any]) -> list[str]:
    return [_around(one["auc"], one["ci"]), str(one["n"]), f"{one['texture']:.2f}"]


def _passing(table: dict[str, Any], editor: str) -> str:
    known = {name: one["auc"] for name, one in table.items() if one["n"] >= ENOUGH}
    low = [name for name, area in known.items() if area <= PASSES]
    sure = [name for name in low if table[name]["ci"][1] <= PASSES]
    state = "reached" if len(low) >= WANTED else "missed"
    return (
        f"- `{editor}`: at most {PASSES} for {len(low)} of the {len(known)} findings with {ENOUGH} "
        f"pairs or more ({WANTED} are the target: {state}): {', '.join(low) or 'none'}. The whole "
        f"interval is so low for: {', '.join(sure) or 'none'}."
    )


_MOVES = ("edited", "real")


def _moved(editors: dict[str, Any]) -> list[str]:
    lines = [
        "## By the judge of real labels alone",
        "",
        "Mean change of its logit by default edits of test baselines; how far real positives of "
        "the test split are above No Finding of their source and view; the ratio of the two, where "
        "the real shift is surely above 0; AUROC of edits against their own baselines; how well "
        "the judge reads real positives (AUROC within source and view). In brackets are 95 % "
        "intervals over patients; - is not known. The target, for findings that it reads with "
        f"{READ:.2f} or more in {judges_page.FEWEST} patients at least: a ratio of {SHARE} and an "
        f"AUROC of {AUROC:.2f} at least.",
        "",
        "| editor | finding | edits | real | ratio | AUROC | n | read | target |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for editor, table in editors.items():
        for name, one in table.items():
            cells = [
                *(_around(one[f"{k}_shift"], one.get(f"{k}_ci", ()), "+.2f") for k in _MOVES),
                _around(one.get("ratio"), one.get("ratio_ci", ())),
                _around(one["auc"], one["ci"]),
                str(one["n"]),
                _around(one.get("reads")),
                target(one),
            ]
            lines.append(f"| `{editor}` | {name} | {' | '.join(cells)} |")
    return [*lines, "", *(_reached(table, editor) for editor, table in editors.items())]


def _around(value: float | None, ends: Sequence[float | None] = (), form: str = ".2f") -> str:
    """Return a figure with its interval; an end of None is open, as JSON has no infinity."""
    if value is None:
        return "-"
    if not ends:
        return f"{value:{form}}"
    low, high = ("open" if end is None else f"{end:{form}}" for end in ends)
    return f"{value:{form}} ({low} to {high})"


def target(one: dict[str, Any]) -> str:
    """Return "reached" or "missed"; "-" where the judge does not read the finding well.

    It is decided by the estimates, and "not surely" where an interval holds the other answer.
    """
    if (one.get("reads") or 0) < READ or one["patients"] < judges_page.FEWEST:
        return "-"
    low, high = one.get("ratio_ci") or (None, None)
    worst = _meets(-math.inf if low is None else low, one["ci"][0])
    best = _meets(math.inf if high is None else high, one["ci"][1])
    state = "reached" if _meets(one["ratio"] or 0, one["auc"]) else "missed"
    return state if worst == best else f"{state}, not surely"


def _meets(ratio: float, area: float) -> bool:
    return ratio >= SHARE and area >= AUROC


def _reached(table: dict[str, Any], editor: str) -> str:
    states = {name: target(one) for name, one in table.items()}
    missed = [name for name, state in states.items() if state.startswith("missed")]
    due = sum(state != "-" for state in states.values())
    return (
        f"- `{editor}`: {due - len(missed)} of the {due} findings that the judge reads with "
        f"{READ:.2f} or more reach the target; missed: {', '.join(missed) or 'none'}."
    )


def main() -> None:
    """Measure all findings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--findings", nargs="*", default=[])
    parser.add_argument("--editors", nargs="*", default=trusted.EDITORS)
    parser.add_argument("--pairs", type=int, default=60, help="at most, per finding")
    parser.add_argument("--judge", type=Path, help="folder of a judge; the bundled one by default")
    parser.add_argument("--real-judge", type=Path, help="folder of the judge of real labels alone")
    parser.add_argument("--nih", type=Path, help="folder of NIH's own tables")
    parser.add_argument("--run", type=Path, default=Path("runs/judges"), help="keeps edits")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with (args.data / "index.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["set"] in SETS and r["split"] in SPLITS]
    pictures, judge = Pictures(args.data), Judge.load(args.judge)
    of = {
        "weights": weights.bundled(weights.of(JSON).weights),
        "judge": judge.describe()["sha256"],
        "pairs": args.pairs,
        "splits": list(SPLITS),
    }
    kept = json.loads(JSON.read_text(encoding="utf-8")) if JSON.exists() else {}
    # Figures of other weights are not gone on with.
    kept = kept if {key: kept.get(key) for key in of} == of else of
    if args.real_judge:
        digest = Judge.load(args.real_judge).describe()["sha256"]
        same = kept.get("real_judge_sha256") == digest
        kept["real_judge"] = (kept.get("real_judge", {}) if same else {}) | real_judge(args)
        kept["real_judge_sha256"] = digest
        write_json(JSON, kept)
    loaded = {name: Editor.load(name) for name in args.editors}
    for name in [finding(word).name for word in args.findings] or FINDINGS:
        missing = {e: one for e, one in loaded.items() if name not in kept.get(e, {})}
        if not missing:
            continue
        editors = Editors(missing)
        for editor, figures in measure(name, rows, pictures, editors, judge, args.pairs).items():
            kept.setdefault(editor, {})[name] = figures
            log.info("%s: %s: %s", editor, name, figures)
        write_json(JSON, kept)
    PAGE.write_text(page(kept), encoding="utf-8")
    weights.measured(JSON)


if __name__ == "__main__":
    main()
