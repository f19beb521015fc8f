"""Does retraining with counterfactuals correct a shortcut? Two experiments, run as studies.

``python -m bench.retrain --data DIR`` writes ``bench/retrain.json`` and ``docs/results.md``.

(a) *Known truth*: findings are painted into NIH PA radiographs without finding, so that labels are
true; in training one finding of a pair comes with the other. Tests are de-confounded: other
patients' PA radiographs (internal), and AP bedside radiographs of other patients, a hospital in
Hannover, and children from Guangzhou (external). Two sets of three pairs; counterfactuals from
`mini`, and, for the first set, from the painter as the upper bound.
(b) *Real labels*: NIH's, in five folds by patient. Of each finding only positives and negatives of
the same source, view, sex and age band are labelled (up to four negatives per positive in
training), as the source alone would tell the finding otherwise; hosts of counterfactuals are some
of these. Each patient is tested once, and Kermany by all folds. What is asked of real labels is
that counterfactuals do no harm, so that the rivals without them are left out, and of those with
them `real_arms` are trained.

Both go on where they stopped, from ``--run``, and studies that `bench.retrain_kept` knows are not
run again; ``--figures`` works figures and page out from what it kept, without any pictures.
Steps and numbers of the arms, in all studies, are those that ``--tune`` chose in a pilot
(`bench.retrain_tune`), where ``bench/retrain_tuned.json`` is there: three other pairs of the same
findings, de-confounded radiographs of other patients of the training split, so that no test is
read. The validation of (a) is confounded as its training is: of a rare group it has one to five.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench import readme, retrain_kept, retrain_page, retrain_tune, weights
from bench.retrain_kept import Kept
from roentmod import datasets
from roentmod.domain import NO_FINDING
from roentmod.errors import DatasetError
from roentmod.jobs import retrain, study
from roentmod.jobs.study import StudyPlan
from roentmod.science import performance as evaluation
from roentmod.store import atomic, write_json

JSON, PAGE = Path("bench/retrain.json"), Path("docs/results.md")
TUNED = Path("bench/retrain_tuned.json")
FINDINGS = (
    "Cardiomegaly",
    "Pleural Effusion",
    "Edema",
    "Consolidation",
    "Mass",
    "Pneumothorax",
)
# (cause, read): the read finding is the one that is harder to see at the network's size.
PAIRS = {
    "first": (
        ("Cardiomegaly", "Pleural Effusion"),
        ("Edema", "Consolidation"),
        ("Pneumothorax", "Mass"),
    ),
    "second": (
        ("Edema", "Pleural Effusion"),
        ("Pneumothorax", "Consolidation"),
        ("Cardiomegaly", "Mass"),
    ),
}
PILOT = (
    ("Pneumothorax", "Pleural Effusion"),
    ("Cardiomegaly", "Consolidation"),
    ("Edema", "Mass"),
)
REAL = (
    "Cardiomegaly",
    "Pleural Effusion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Nodule",
    "Mass",
    "Pneumothorax",
)
# Which findings come together in the real labels of the training split.
REAL_PAIRS = (("Pleural Effusion", "Atelectasis"), ("Pneumonia", "Edema"))
# Severity, place and side vary; hosts may have other findings; controls stand beside.
_SET = {"ratio": 2, "hosts": "any", "shams": True}
_EVERY = ["mild", "moderate", "severe"]
_LINK = {"correlation": 0.9, "prevalence": 0.25, "severities": ["mild", "moderate"]}
# Counterfactuals are as severe as what is planted: severe ones would be another experiment.
_CORRECTING = _SET | {"baselines": 400, "severities": _LINK["severities"]}
# What audits retrained classifiers besides the corrector: no counterfactual of its taught them. The
# painter's findings are in their training pictures, as labelled.
_UNSEEN = {"mini": "painter", "painter": "mini"}
# Neither those of the pilot nor those of earlier tries, whose tests had the same hosts.
SEEDS = (5, 6, 7, 8, 9)
DRAWN = 1  # seed of what is planted; the pilot's is 0, as that of earlier tries
FOLDS = 5
# Pairs and corrector of each study of (a), and the names of all studies.
TRUTHS = (*((pairs, "mini") for pairs in PAIRS), ("first", "painter"))
NAMES = (
    *(f"truth-{pairs}-{corrector}" for pairs, corrector in TRUTHS),
    *(f"real-{number}" for number in range(FOLDS)),
)
# Arms that read real labels: those that were best in the pilot.
BEST = 3
_SALT = "a5a47f4e738e267524d45fb42cac663648b31c09cd24e081d259ccdec4c36002"
# Patients of this set may be patients of the others.
_UNKNOWN = "nih_rxtorax"
_RULES = evaluation.Rules()
log = logging.getLogger(__name__)


def name_alike(run: Path) -> None:
    """Have ids hidden alike on every machine: draws follow them, and studies are joined by them.

    The pictures are public, so that their salt may be.
    """
    run.mkdir(parents=True, exist_ok=True)
    salt = run / "salt"
    with atomic(salt) as part:
        part.write_text(_SALT)
    os.environ["ROENTMOD_SALT"] = str(salt.resolve())


def tables(data: Path, run: Path) -> dict[str, Path]:
    """Write one table an institution, with the pictures where they are, and return the folders.

    Children's pictures are marked as unfit for selections in the table of all; here they are a
    test of their own.
    """
    index = pd.read_csv(data / "index.csv", dtype=str, keep_default_na=False)
    index["path"] = [str((data / path).resolve()) for path in index["path"]]
    own = index["set"].str.startswith("nih_") & (index["set"] != "nih_native_1024")
    # Patients of training and validation alone: of the former every fifth one is tested.
    known = index[own & index["split"].isin(["train", "val"])]
    tested = known["patient_id"].map(_drawn) % 5 == 0
    pilot = known.assign(split=known["split"].mask(tested & (known["split"] == "train"), "test"))
    parts = {
        "nih": index[own],
        "pilot": pilot,
        "hannover": index[index["set"] == "hannover_covid"],
        "kermany": index[index["set"] == "kermany_224"].drop(columns=["tier"]),
    }
    for name, part in parts.items():
        (run / "tables" / name).mkdir(parents=True, exist_ok=True)
        with atomic(run / "tables" / name / "index.csv") as file:
            part.to_csv(file, index=False)
    return {name: run / "tables" / name for name in parts}


def _drawn(patient: str) -> int:
    """Return the number of 32 bits by which a patient is put somewhere."""
    return int(hashlib.sha256(patient.encode()).hexdigest()[-8:], 16)


def fold(nih: Path, run: Path, number: int) -> Path:
    """Write the table of a fold, labelled where positives and negatives match, and return it.

    One fifth of the patients is the test, the next fifth validates.
    """
    index = pd.read_csv(nih / "index.csv", dtype=str, keep_default_na=False)
    index = index[index["set"] != _UNKNOWN]
    place = index["patient_id"].map(_drawn) % FOLDS
    role = {number: "test", (number + 1) % FOLDS: "val"}
    index = index.assign(site=index["set"], split=[role.get(own, "train") for own in place])
    folder = run / "tables" / f"real-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / "all.csv"
    index.to_csv(raw, index=False)
    data = datasets.load(raw, ages="unknown")
    paths = data.table.set_index("image_id")["path"].astype(str)
    told = index.set_index(index["path"].map(lambda path: str(Path(path))))
    # Nobody without a finding is told by labels that were matched: those leave out the others.
    clean = told["labels"] == NO_FINDING.name
    told = told[["path", "patient_id", "site", "split", "view", "age", "sex"]]
    told["No Finding"] = ""
    for name in REAL:
        told[name] = ""
        for split in ("train", "val", "test"):
            try:
                chosen = datasets.match(data, name, split=split, ratio=4 if split == "train" else 1)
            except DatasetError as error:
                log.warning("%s, fold %d, %s: %s", name, number, split, error)
                continue
            rows = paths[chosen.table["baseline_id"]].to_numpy()
            told.loc[rows, name] = ["1" if own else "0" for own in chosen.table["positive"]]
    told.loc[clean, "No Finding"] = "1"
    raw.unlink()
    with atomic(folder / "index.csv") as file:
        told[(told[list(REAL)] != "").any(axis=1)].to_csv(file, index=False)
    return folder


def truth(places: dict[str, Path], pairs: str, corrector: str) -> StudyPlan:
    """Return the study of experiment (a) with one set of pairs and one corrector."""
    nih = str(places["nih"])
    arms = retrain.ARMS if corrector == "mini" else ("erm", *_RULES.corrected)
    far = {"source": nih, "where": "external", "plant": True}
    tests = {
        "NIH-PA": far | {"where": "internal", "split": "test", "view": "PA"},
        "NIH-AP": far | {"view": "AP", "count": 300},
        "Hannover": far | {"source": str(places["hannover"]), "every": True},
        "Kermany": far | {"source": str(places["kermany"]), "every": True, "count": 200},
    }
    return StudyPlan.of(
        {
            "name": f"Known truth, {pairs} pairs, corrected by {corrector}",
            "findings": FINDINGS,
            "pairs": PAIRS[pairs],
            "train": _planted(nih),
            "tests": tests,
            "plant": _LINK | {"seed": DRAWN},
            "editor": {"name": corrector},
            "audit": {
                "baselines": 40,
                "source": {"source": nih, "split": "test"},
                "unseen": _UNSEEN[corrector],
            },
            "augment": _CORRECTING,
            "retrain": _training(arms),
        }
    )


def pilot(places: dict[str, Path]) -> StudyPlan:
    """Return the study in which numbers are chosen."""
    own = str(places["pilot"])
    test = {"source": own, "split": "test", "view": "PA", "plant": True}
    return StudyPlan.of(
        {
            "name": "Pilot, corrected by mini",
            "findings": FINDINGS,
            "pairs": PILOT,
            "train": _planted(own),
            "tests": {"pilot": test | {"where": "internal"}},
            "plant": _LINK,
            "editor": {"name": "mini"},
            "augment": _CORRECTING,
            "retrain": _training(retrain.ARMS),
        }
    )


def _planted(source: str) -> dict[str, Any]:
    return {"source": source, "split": "train", "view": "PA", "count": 1300, "plant": True}


def real(folder: Path, places: dict[str, Path], number: int) -> StudyPlan:
    """Return the study of a fold of experiment (b)."""
    nih, kermany = str(folder), str(places["kermany"])
    return StudyPlan.of(
        {
            "name": f"Real labels, corrected by mini, fold {number + 1} of {FOLDS}",
            "findings": REAL,
            "pairs": REAL_PAIRS,
            "train": {"source": nih, "ages": "unknown"},
            "tests": {
                "NIH": {"source": nih, "split": "test", "where": "internal", "ages": "unknown"},
                "Kermany": {"source": kermany, "where": "external"},
            },
            "editor": {"name": "mini"},
            "augment": _SET | {"baselines": 200, "severities": _EVERY},
            "retrain": _training(real_arms(), size=64, steps=800),
        }
    )


def _training(arms: Sequence[str], **own: int) -> dict[str, Any]:
    """Return the usual, or what the pilot chose, or a study's own."""
    usual = {
        "model": "small",
        "size": 56,
        "batch": 32,
        "steps": 1200,
        "arms": list(arms),
        "seeds": SEEDS,
        "learning_rate": 3e-3,
        "patience": 100,
        "share": 0.5,
    }
    return usual | {key: one["chosen"] for key, one in _tuned("numbers").items()} | own


def real_arms() -> tuple[str, ...]:
    """Return the arms of the real labels: erm, plain counterfactuals, and the best of the pilot.

    Where no pilot was made, all that are taught with counterfactuals.
    """
    ranked = list(_tuned("arms"))
    best = ranked[:BEST] if ranked else _RULES.corrected
    chosen = {_RULES.reference, _RULES.corrected[0], *best}
    return tuple(arm for arm in retrain.ARMS if arm in chosen)


def _tuned(what: str) -> dict[str, Any]:
    """Return what the pilot chose; nothing where none was made."""
    told: dict[str, Any] = json.loads(TUNED.read_text())[what] if TUNED.exists() else {}
    return told


def pooled(result: Kept) -> pd.DataFrame:
    """Return the predictions of a study with all its external tests as one, "external"."""
    table = result.predictions
    outside = table["where"] == "external"
    return table.assign(test=table["test"].where(~outside, "external"))


def figures(results: dict[str, Kept]) -> dict[str, Any]:
    """Return what ``bench/retrain.json`` holds: the keys of the figures, and what they rest on."""
    told: dict[str, Any] = {}
    for name, result in _truth(results).items():
        found = evaluation.evaluate(pooled(result), result.pairs, scores=result.scores)
        every = evaluation.comparisons(evaluation.panels(result.predictions))
        told[name] = _figures(found, found.pair_comparisons, every, [result])
    folds = _folds(results)
    found = evaluation.evaluate(crossed([one.predictions for one in folds]), REAL_PAIRS)
    real = _figures(found, found.comparisons, found.comparisons, folds)
    return told | {"real": real | {"ranked": folds[0].facts["ranked"]}}


def _truth(results: dict[str, Kept]) -> dict[str, Kept]:
    return {name: one for name, one in results.items() if name.startswith("truth")}


def _folds(results: dict[str, Kept]) -> list[Kept]:
    return [one for name, one in results.items() if name.startswith("real")]


def _figures(
    found: evaluation.Evaluation,
    compared: pd.DataFrame,
    every: pd.DataFrame,
    results: Sequence[Kept],
) -> dict[str, Any]:
    """Return what is told of one study, or of all folds."""
    gaps = found.reverse_comparisons
    against = gaps["reference"] == _RULES.reference
    return found.figures() | {
        "comparisons": _rows(compared),
        "comparisons_by_test": _rows(every),
        "reverse": _rows(found.reverse_scores),
        "reverse_comparisons": _rows(gaps[against & (gaps["measure"] == "dependence")]),
        "scores": _rows(found.scores),
        **{name: results[0].facts[name] for name in ("counts", "pictures", "editor")},
        "numbers": [one.facts["numbers"] for one in results],
        "minutes": round(sum(one.facts["minutes"] for one in results), 1),
    }


def crossed(folds: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the predictions of all folds as those of one model per arm and seed.

    What several folds read is the mean of them: an ensemble. As folds' models differ in scale,
    logits are standardised by those of the model's validation pictures, where its threshold is
    chosen. What one fold reads is compared within the fold and source alone (`site`).
    """
    model = ["arm", "seed", "finding"]
    keys = ["test", *model]
    parts = []
    for number, table in enumerate(folds):
        scale = table[table["test"] == "val"].groupby(model)["logit"].agg(["mean", "std"])
        known = table[model].join(scale, on=model)
        shifted = (table["logit"] - known["mean"]) / known["std"].where(known["std"] > 0, 1)
        parts.append(table.assign(logit=shifted, fold=str(number)))
    every = pd.concat(parts, ignore_index=True)
    same = every.groupby([*keys, "image_id"])
    site = every.get("site", pd.Series("", every.index)).fillna("").astype(str)
    own = every["fold"] + " " + site
    alone = same["fold"].transform("size") == 1
    every = every.assign(logit=same["logit"].transform("mean"), site=own.where(alone, site))
    return every.drop_duplicates([*keys, "image_id"], ignore_index=True).drop(columns="fold")


def primary(results: dict[str, Kept]) -> dict[str, Any]:
    """Return the primary outcome: over both sets of pairs, and of the real labels.

    Raises:
        SystemExit: the studies of both sets share no patient.
    """
    tables = [(pooled(results[f"truth-{pairs}-mini"]), PAIRS[pairs]) for pairs in PAIRS]
    shared = set.intersection(*(set(table["patient_id"]) for table, _ in tables))
    if not shared:
        raise SystemExit(
            "Both sets of pairs are tested on the same patients; those of the kept studies have no "
            "id in common. Run python -m bench.retrain --data DIR for both."
        )
    own = [(evaluation.panels(t[t["patient_id"].isin(shared)]), pairs) for t, pairs in tables]
    real = evaluation.panels(crossed([one.predictions for one in _folds(results)]))
    told = evaluation.primary_figures(evaluation.primary(own))
    labels = evaluation.primary_figures(evaluation.primary([(real, ())]))
    names = {str(panel.test): str(panel.where) for panel in own[0][0]}
    return {names[test]: arms for test, arms in told.items()} | {
        f"real-{test}": arms for test, arms in labels.items()
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(table.round(4).to_json(orient="records"))
    return rows


def main() -> None:
    """Run both experiments and write figures and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--run", type=Path, default=Path("runs/retrain"))
    parser.add_argument("--only", nargs="*", help="studies to run now; the page needs all")
    parser.add_argument("--tune", action="store_true", help="choose numbers of arms; test nothing")
    parser.add_argument("--workers", default="serial", help="as roentmod study takes them")
    parser.add_argument("--figures", action="store_true", help="of what is kept; run nothing")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if args.figures:
        write({name: retrain_kept.load(name) for name in NAMES})
        return
    if args.data is None:
        parser.error("--data is needed, but for --figures")
    name_alike(args.run)
    places = tables(args.data, args.run)
    if args.tune:
        # What was chosen before is no part of the plan that chooses.
        TUNED.unlink(missing_ok=True)
        tune(pilot(places), args.run / "studies", args.workers)
        return
    specs = {}
    for pairs, corrector in TRUTHS:
        specs[f"truth-{pairs}-{corrector}"] = truth(places, pairs, corrector)
    for number in range(FOLDS):
        folder = fold(places["nih"], args.run, number)
        specs[f"real-{number}"] = real(folder, places, number)
    origin = retrain_kept.Origin(args.run, args.data / "index.csv")
    results = {}
    for name in args.only or specs:
        found = retrain_kept.kept(name, specs[name], origin)
        if found is None:
            folder = args.run / "studies"
            done = study.run(specs[name], folder, workers=args.workers, stages=_logged)
            found = retrain_kept.keep(name, done, origin, list(_tuned("arms")))
            log.info("%s: %.1f minutes", name, found.facts["minutes"])
        results[name] = found
    if not args.only:
        write(results)


def write(results: dict[str, Kept]) -> None:
    """Write figures and page of all studies.

    Raises:
        SystemExit: if they were made with different weights.
    """
    made = [one.facts["of"]["weights"] for one in results.values()]
    if any(one != made[0] for one in made):
        raise SystemExit("studies are of different weights: run python -m bench.retrain --data DIR")
    found, decided = figures(results), primary(results)
    write_json(JSON, retrain_page.gathered(found, decided))
    with atomic(PAGE) as part:
        part.write_text(retrain_page.page(found, decided), encoding="utf-8")
    weights.measured(JSON, made[0])
    readme.write("bench.retrain")


def tune(spec: StudyPlan, folder: Path, workers: str) -> None:
    """Choose numbers in a pilot, and write them down."""
    chosen = retrain_tune.tuned(spec, folder, workers=workers, stages=_logged)
    write_json(TUNED, {"study": spec.name, "pairs": spec.pairs} | chosen)
    log.info("chosen: %s", chosen)


def _logged(name: str) -> Any:
    log.info("%s", name)
    return lambda *_: None


if __name__ == "__main__":
    main()
