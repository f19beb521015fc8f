"""How well painted findings pass for real ones: ``bench/realism.json``.

``python -m bench.realism --data DIR`` paints each finding into normal radiographs and teaches a
logistic regression, on the bundled judge's embedding and on texture of several scales, to tell them
from real positives of the same finding. Each painted picture has a real partner of the same source
and view, both pass through one 224 px grid, and cross-validation splits by patient. AUC 0.5 is
what cannot be told apart. ``hosts`` is the same for the unpainted hosts: what separates them from
real positives before anything is painted. ``texture`` is the AUC without the embedding, which
knows painted pictures where the judge was taught by them (``--judge`` names another one).

With ``--real-judge`` and ``--nih`` it writes ``real_judge`` instead: how far default edits of test
baselines by each bundled editor move a judge of real labels alone (`bench.real_judge`), beside how
far real positives are from No Finding of their source and view.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench import real_judge as trusted
from roentmod.anatomy import Anatomy
from roentmod.classifiers import Judge
from roentmod.domain import finding
from roentmod.editors.painter import DOSE, PAINTABLE, paint
from roentmod.imaging.segmentation import QUALITY_NEEDED, estimate_all
from roentmod.science import stats
from roentmod.store import write_json
from training import cohort, real_judge_pictures
from training.judge_pictures import canonical

JSON = Path("bench/realism.json")
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


def separation(features: Array, real: NDArray[np.bool_], patients: list[str]) -> dict[str, Any]:
    """Return AUC, its 95 % interval by DeLong, and the number of pairs."""
    scores = np.zeros(len(real))
    for train, test in GroupKFold(FOLDS).split(features, real, patients):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=500))
        model.fit(features[train], real[train])
        scores[test] = model.decision_function(features[test])
    found = stats.delong_interval(scores, real)
    return {
        "auc": round(found[0], 4),
        "ci": [round(x, 4) for x in found[1:3]],
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


def painted(pictures: Pictures, row: Row, name: str) -> Array | None:
    """Return a host with a finding, its severity drawn; None where the outline is doubtful."""
    anatomy = pictures.outline(row)
    if anatomy.quality < QUALITY_NEEDED:
        return None
    seed = zlib.crc32(f"{name}/{row['path']}".encode())
    level = np.random.default_rng(seed).choice(list(SHARES), p=list(SHARES.values()))
    made = paint(pictures.pixels(row), anatomy, name, dose=DOSE[str(level)], seed=seed)
    stored: Array = np.rint(made.image * 255).astype(np.float32) / np.float32(255)
    return stored


def measure(
    name: str, rows: list[Row], pictures: Pictures, judge: Judge, most: int
) -> dict[str, Any] | None:
    """Return the figures of one finding; None where there are too few pairs."""
    positives = [row for row in rows if name in canonical(row)]
    hosts = [row for row in rows if row["labels"] == cohort.NO_FINDING]
    real, false, plain, people = [], [], [], []
    for row, host in partners(positives, hosts, zlib.crc32(name.encode()), most):
        made = painted(pictures, host, name)
        if made is not None:
            real.append(pictures.pixels(row))
            false.append(made)
            plain.append(pictures.pixels(host))
            people.append((row["patient_id"], host["patient_id"]))
    if len(real) < LEAST:
        return None
    truth = np.arange(2 * len(real)) < len(real)
    patients = [p[0] for p in people] + [p[1] for p in people]
    figures = []
    for others in (false, plain):
        both = np.stack([*real, *others])
        grain = texture(both)
        features = np.concatenate([judge.features(both), grain], axis=1)
        figures += [separation(one, truth, patients) for one in (features, grain)]
    return figures[0] | {"texture": figures[1]["auc"], "hosts": figures[2]["auc"]}


def real_judge(args: argparse.Namespace) -> dict[str, Any]:
    """Return `edited_shift`, `real_shift` and `auc` by editor and finding."""
    judge = Judge.load(args.real_judge)
    rows = real_judge_pictures.rows_of(args.data, args.nih, "test")
    test = trusted.Pictures.read(args.data, [r for r in rows if "conflict" not in r["tier"]])
    shifts = trusted.real_shift(
        test, trusted.logits_of(judge, test.pixels, real_judge_pictures.FINDINGS)
    )
    return {
        editor: trusted.Edits.made(editor, args.data, args.run).figures(judge, shifts)
        for editor in trusted.EDITORS
    }


def main() -> None:
    """Measure all findings from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--findings", nargs="*", default=[])
    parser.add_argument("--pairs", type=int, default=80, help="at most, per finding")
    parser.add_argument("--judge", type=Path, help="folder of a judge; the bundled one by default")
    parser.add_argument("--real-judge", type=Path, help="folder of the judge of real labels alone")
    parser.add_argument("--nih", type=Path, help="folder of NIH's own tables")
    parser.add_argument("--run", type=Path, default=Path("runs/judges"), help="keeps edits")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with (args.data / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] in SETS]
    pictures, judge = Pictures(args.data), Judge.load(args.judge)
    kept = json.loads(JSON.read_text(encoding="utf-8")) if JSON.exists() else {}
    if args.real_judge:
        write_json(JSON, kept | {"real_judge": real_judge(args)})
        return
    for name in [finding(word).name for word in args.findings] or PAINTABLE:
        if (figures := measure(name, rows, pictures, judge, args.pairs)) is not None:
            kept.setdefault("painter", {})[name] = figures
            log.info("%s: %s", name, figures)
    write_json(JSON, kept)


if __name__ == "__main__":
    main()
