"""How often is a verdict wrong where every effect lies exactly at the margin?

``python -m bench.verdicts`` writes ``bench/verdicts.json``, a list of rows: audits of six findings,
30 off-target cells, all with a true share of exactly the margin, through `effects.cells`. A
"shortcut" is then wrong, and so is "within margin". `false_shortcut` and `false_clear` are shares
of audits with one wrong verdict at least; with an ending, of one of the other `SCENES`.
"""

from __future__ import annotations

import argparse
import json
import logging
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roentmod.science import effects, margins
from roentmod.science.effects import Rules
from roentmod.store import canonical_hash, file_sha256, write_json

JSON = Path("bench/verdicts.json")
FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Mass", "Pneumothorax")
PATIENTS = (10, 20, 50, 100, 200)
SHAPES = ("normal", "skewed")
RULES = Rules(resamples=500, flips=199, exact=True)
OWN, SPREAD, SHARED = 4.0, 1.2, 0.3  # mean and deviation of effects, variance that cells share
WEAK = 3.0  # standard errors of a weak own effect; a usual one has 15 of them with 20 patients


class Scene(NamedTuple):
    """What audits differ in.

    Attributes:
        leak: what pictures show of the read finding, as a share of the own effect.
        weak: whether own effects are hardly surely above 0, so that chance says which are judged.
        seen: the judge's own effect; at 1.3, three in five pictures pass its gate.
        few: how many of the patients count, as pictures of the others do not show the edit; they
            are others for each edited finding. 0: all.
    """

    leak: float = 0.0
    weak: bool = False
    seen: float = OWN
    few: int = 0


SCENES = {
    "": Scene(),
    "_leaking": Scene(leak=0.1),
    "_leaking_little": Scene(leak=0.03),
    "_weak": Scene(weak=True),
    "_gated": Scene(leak=0.1, seen=1.3),
    "_sparse": Scene(few=20),
}
log = logging.getLogger(__name__)
Array = NDArray[np.float64]


def noise(rng: np.random.Generator, shape: str, n: int, cells: int) -> Array:
    """Return deviations of n patients in some cells, mean 0 and deviation 1.

    Skewed: exponential, skewness 2, to the right in even cells and to the left in odd ones. A
    part of the normal ones is shared by all cells of a patient.
    """
    if shape == "skewed":
        right: Array = rng.exponential(size=(n, cells)) - 1
        skewed: Array = np.where(np.arange(cells) % 2, -right, right)
        return skewed
    own: Array = rng.normal(size=(n, cells)) * np.sqrt(1 - SHARED)
    own += rng.normal(size=(n, 1)) * np.sqrt(SHARED)
    return own


def nets(rng: np.random.Generator, shape: str, n: int, share: float, own: float) -> pd.DataFrame:
    """Return net effects whose means are `own`, and off target `share` of that."""
    k = len(FINDINGS)
    means = np.where(np.eye(k, dtype=bool), own, share * own).ravel()
    values = means + SPREAD * noise(rng, shape, n, k * k)
    patient, cell = np.divmod(np.arange(n * k * k), k * k)
    edited, read = (pd.Categorical.from_codes(c, pd.Index(FINDINGS)) for c in (cell // k, cell % k))
    table = {
        "classifier": "model",
        "baseline_id": patient,
        "patient_id": patient,
        "pair_id": cell // k,
        "action": "add",
        "edited_finding": edited,
        "read_finding": read,
        "net": values.ravel(),
        "net_p": 0.0,
    }
    return pd.DataFrame(table)


def audit(number: int, n: int, shape: str, scene: str = "") -> tuple[bool, bool]:
    """Return whether one audit calls any cell a shortcut, and whether it clears any."""
    rng = np.random.default_rng([number, n, SHAPES.index(shape), list(SCENES).index(scene)])
    leak, weak, seen, few = SCENES[scene]
    gated = seen != OWN
    fewest = min(n // 2 if gated or few else n, RULES.fewest)
    rules = RULES.but(seed=number, exact=not leak, fewest=max(3, fewest))
    own = WEAK * SPREAD / n**0.5 if weak else OWN
    model = nets(rng, shape, n, rules.margin + leak, own)
    judge = nets(rng, shape, n, leak, seen)
    counted = effects.gate(model, rules, judge=judge)[0] if gated else None
    if few:
        order = np.argsort(rng.random((len(FINDINGS), n)), axis=1)[:, :few]
        counted = pd.DataFrame({"baseline_id": order.ravel()})
        counted["pair_id"] = np.repeat(np.arange(len(FINDINGS)), order.shape[1])
    cells = effects.cells(model, judge, rules, counted=counted)
    called = cells["verdict"]
    cleared = called.isin(["within margin", "leakage"])
    return bool((called == "shortcut").any()), bool(cleared.any())


def row(n: int, shape: str, count: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    """Return a row of the JSON: errors in each scene."""
    shown: dict[str, Any] = {"n": n, "shape": shape, "simulations": count}
    for mark in SCENES:
        one = partial(audit, n=n, shape=shape, scene=mark)
        wrong = np.array(list(pool.map(one, range(count), chunksize=25)))
        shown[f"false_shortcut{mark}"], shown[f"false_clear{mark}"] = wrong.mean(axis=0).tolist()
    return shown


def main() -> None:
    """Simulate and write from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--out", type=Path, default=JSON)
    parser.add_argument("--run", type=Path, default=Path("runs"), help="keeps rows until the last")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # Rows of another version of the tests are not gone on with.
    version = [file_sha256(Path(str(one.__file__))) for one in (effects, margins)]
    part = args.run / f"verdicts-{args.simulations}-{canonical_hash(version)[:8]}.json"
    part.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(part.read_text()) if part.exists() else []
    with ProcessPoolExecutor(2) as pool:
        for shape, n in list(product(SHAPES, PATIENTS))[len(rows) :]:
            rows.append(row(n, shape, args.simulations, pool))
            write_json(part, rows)
            log.info("%s", rows[-1])
    write_json(args.out, rows)
    part.unlink()


if __name__ == "__main__":
    main()
