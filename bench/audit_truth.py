"""Does the audit find planted shortcuts, and does it leave honest classifiers alone?

``python -m bench.audit_truth --data DIR`` trains classifiers on painted cohorts whose co-occurrence
is known (`training.confounded`), audits each through the public door, seeing nothing but the model,
and writes ``bench/audit_truth.json`` and ``docs/audit.md``. Without ``--data`` the hosts are
phantoms. Everything is kept in ``--run`` and resumed from there.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binomtest, spearmanr, ttest_1samp

from bench import audit_page, weights
from roentmod import classifiers, datasets
from roentmod.anatomy import Anatomy
from roentmod.datasets.phantom import phantom
from roentmod.editors import Editor, Painter
from roentmod.edits import Edit
from roentmod.interfaces import Classifier
from roentmod.jobs import audit
from roentmod.jobs.audit import AuditResult
from roentmod.radiograph import Radiograph
from roentmod.science import effects, margins, stats
from roentmod.science.effects import JUDGE
from roentmod.store import write_json
from training import benchmark, cohort, confounded
from training.confounded import FINDINGS, Hosts, Plant

PAIRS = (
    ("Pleural Effusion", "Cardiomegaly"),
    ("Support Devices", "Pneumothorax"),
    ("Edema", "Mass"),
    ("Cardiomegaly", "Edema"),
)
RHOS = (0.0, 0.5, 0.75, 0.9, 1.0)
SEEDS = (0, 1)
# More classifiers without a shortcut: of 8, none wrong still allows for one in three.
HONEST = tuple(range(2, 12))
REAL = {"train": 1100, "test": 340}
DRAWN = {"train": 400, "test": 110}
PHANTOM_SEED = {"train": 1_000_000, "test": 2_000_000, "audit": 3_000_000}
# A correlation from which a shortcut is expected to be found.
STRONG = 0.75
# Change of probability of the edited finding's head below which a relative change means nothing.
BASE_CHANGE = 0.1
DRAWINGS = 3
# Baselines of the arms with the bundled generator and with an editor that leaks.
GENERATED = 40
LEAKY = "leaky-painter"
LEAKS = {"Edema": "Pleural Effusion", "Mass": "Edema"}
# Of intervals over classifiers.
RESAMPLES = 400
log = logging.getLogger(__name__)
Picture = NDArray[np.float32]


def plants() -> list[Plant]:
    """Return every classifier to train."""
    usual = [Plant(pair, rho, seed) for seed in SEEDS for pair in PAIRS for rho in RHOS]
    return usual + [Plant(pair, 0.0, seed) for seed in HONEST for pair in PAIRS]


def hosts(data: Path | None, split: str, folder: Path) -> Hosts:
    """Return painted hosts of one split: real no-finding radiographs, and phantoms beside them."""
    pictures: list[Picture] = []
    drawn = DRAWN[split]
    if data is None:
        drawn += REAL[split]
    else:
        fit = [
            row
            for row in benchmark.rows_of(data)
            if row["split"] == split and row["labels"] == cohort.NO_FINDING
        ]
        order = np.random.default_rng(12).permutation(len(fit))[: REAL[split]]
        pictures += [cohort.unit(cohort.square(data / fit[i]["path"])) for i in order]
    known: list[Anatomy | None] = [None] * len(pictures)
    for number in range(drawn):
        one = phantom(PHANTOM_SEED[split] + number)
        pictures.append(one.radiograph.pixels)
        known.append(one.anatomy)
    return confounded.paint_hosts(pictures, known, folder / f"hosts-{split}.npz")


def train_all(data: Path | None, run: Path) -> None:
    """Train and export what is not there yet."""
    waiting = [p for p in plants() if not (run / "models" / f"{p.name}.onnx").exists()]
    if not waiting:
        return
    (run / "models").mkdir(parents=True, exist_ok=True)
    own = hosts(data, "train", run)
    for number, plant in enumerate(waiting, 1):
        log.info("classifier %d of %d", number, len(waiting))
        network = confounded.train(own, plant)
        confounded.export(network, run / "models" / f"{plant.name}.onnx", plant.name)


def bundle(data: Path | None, run: Path) -> None:
    """Train the two classifiers that the package carries for its demonstration, and write them."""
    own = hosts(data, "train", run)
    for name, path in classifiers.DEMO.items():
        plant = Plant(PAIRS[0], 0.9 if name == "shortcut" else 0.0, seed=100)
        path.parent.mkdir(exist_ok=True)
        confounded.export(confounded.train(own, plant), path, name)


def audit_all(data: Path | None, run: Path, count: int, editor: str) -> AuditResult:
    """Audit every classifier in one go: the edits are made once."""
    source = datasets.load(data if data else f"phantoms:{count}:{PHANTOM_SEED['audit']}")
    split = "test" if data else None
    chosen = datasets.baselines(source, count=count, split=split).table
    models = {
        plant.name: classifiers.load(f"onnx:{run / 'models' / plant.name}.onnx")
        for plant in plants()
    }
    plan = audit.AuditPlan(findings=confounded.FINDINGS)
    made = LeakyPainter() if editor == LEAKY else Editor.load(editor)
    return audit.run(source, chosen, made, models, plan, run / f"audit-{editor}")


class LeakyPainter(Painter):
    """A painter that draws, beside each finding, another one that nobody requested.

    What leaks is known, so that a corrected effect is, too: an honest classifier's is 0.
    """

    name = LEAKY
    exact = False

    def _one(self, radiograph: Radiograph, anatomy: Anatomy, edit: Edit, region: Any) -> Any:
        return replace(super()._one(radiograph, anatomy, self._with(edit), region), edit=edit)

    def _with(self, edit: Edit) -> Edit:
        other = LEAKS.get(edit.findings[0])
        return replace(edit, findings=(*edit.findings, other)) if other else edit


def drops(own: Hosts, run: Path) -> pd.DataFrame:
    """Return the real cost of each planted shortcut: plant, edited, read, auc, drop.

    `drop` is the read head's AUC where findings co-occur as planted, less its AUC where they are
    independent; the mean over a few drawings of the labels.
    """
    path = run / "drops.parquet"
    if not path.exists():
        rows = []
        for plant in plants():
            model = classifiers.load(f"onnx:{run / 'models' / plant.name}.onnx")
            planted, apart = [], []
            for draw in range(DRAWINGS):
                planted.append(_areas(model, own, plant, draw))
                apart.append(_areas(model, own, replace(plant, rho=0.0), draw))
            before, after = np.mean(planted, 0), np.mean(apart, 0)
            for edited, read in (plant.pair, plant.pair[::-1]):
                k = FINDINGS.index(read)
                rows.append([plant.name, edited, read, after[k], before[k] - after[k]])
        columns = ["plant", "edited", "read", "auc", "drop"]
        pd.DataFrame(rows, columns=columns).to_parquet(path)
    return pd.read_parquet(path)


def _areas(model: Classifier, own: Hosts, plant: Plant, draw: int) -> NDArray[np.float64]:
    """Return each head's AUC on the hosts with labels drawn as planted."""
    labels = confounded.draw_labels(len(own), plant, np.random.default_rng([21, draw]))
    x = confounded.compose_pictures(own, np.arange(len(own)), labels).numpy()[:, 0]
    logits = model.logits(x)
    return np.array(
        [stats.auc(logits[own_, k], logits[~own_, k]) for k, own_ in enumerate(labels.T)]
    )


def cells_of(result: AuditResult) -> pd.DataFrame:
    """Return every off-target cell of every classifier under the three measures.

    `ours` is the leakage-corrected ratio and `ours_flag` the verdict. `plain` is the paper's mean
    difference of probability between counterfactual and baseline, flagged where a one-sided t-test
    calls it a rise. `matched` is the same difference as a share of the read head's own, flagged by
    the same test at the same margin as ours, adjusted in the same way, but without sham, gate and
    judge. `relative` is that of counterfactual alignment, the change of a head's
    probability over that of the edited finding's head, where the latter moved by BASE_CHANGE at
    least, flagged beyond the same margin as ours.
    """
    predictions = pd.read_parquet(result.folder / "predictions.parquet")
    done = predictions[predictions["arm"] == "counterfactual"]
    done = done.assign(
        change=expit(done["logit_edited"]) - expit(done["logit_baseline"]),
    )
    rows = []
    for one in result:
        mine = done[done["classifier"] == one.name]
        wide = mine.pivot_table(
            index=["edited_finding", "baseline_id"], columns="read_finding", values="change"
        )
        matched = _matched(wide, effects.Rules(exact=True))
        for cell in one.cells[~one.cells["on_target"].astype(bool)].itertuples():
            edited, read = str(cell.edited), str(cell.read)
            part = wide.loc[edited]
            change, base = part[read].to_numpy(), part[edited].to_numpy()
            moved = base >= BASE_CHANGE
            relative = float((change[moved] / base[moved]).mean()) if moved.any() else 0.0
            rise = ttest_1samp(change, 0, alternative="greater").pvalue
            row: dict[str, Any] = {"plant": one.name, "edited": edited, "read": read}
            ours = cell.corrected if cell.verdict != "too few" else 0.0
            row |= {"ours": ours, "ours_flag": cell.verdict == "shortcut"}
            row |= {"plain": change.mean(), "plain_flag": bool(rise < 0.05)}
            row |= matched[edited, read]
            row |= {"relative": relative, "relative_flag": relative > result.plan["margin"]}
            rows.append(row | {"verdict": cell.verdict})
    table = pd.DataFrame(rows)
    by_name = {plant.name: plant for plant in plants()}
    pairs = [by_name[name] for name in table["plant"]]
    table["rho"] = [plant.rho for plant in pairs]
    # Of a planted pair both directions are planted.
    table["planted"] = [
        {edited, read} == set(plant.pair)
        for plant, edited, read in zip(pairs, table["edited"], table["read"], strict=True)
    ]
    return table


def _matched(wide: pd.DataFrame, rules: effects.Rules) -> dict[tuple[str, str], dict[str, Any]]:
    """Return plain differences as shares of own ones, and their tests at the margin, by cell."""
    names = [name for name in wide.columns if name in set(wide.index.get_level_values(0))]
    pairs = [(edited, read) for edited in names for read in names if edited != read]
    off = np.stack([wide.loc[edited][read].to_numpy(float) for edited, read in pairs], axis=1)
    own = np.stack([wide.loc[read][read].to_numpy(float) for _, read in pairs], axis=1)
    nothing = np.zeros_like(off)
    terms = margins.Terms(off, own, nothing, nothing + 1, own, own)
    found = margins.shares(terms, rules)
    alpha = (1 - rules.level) / 2
    return {
        pair: {"matched": found.ratio[j], "matched_flag": bool(found.beyond_p[j] <= alpha)}
        for j, pair in enumerate(pairs)
    }


def interval_of(count: int, of: int) -> list[float]:
    """Return the exact binomial interval of a share (Clopper and Pearson), 95 %."""
    low, high = binomtest(count, of).proportion_ci(method="exact")
    return [round(float(low), 4), round(float(high), 4)]


def figures(cells: pd.DataFrame, costs: pd.DataFrame, measure: str) -> dict[str, Any]:
    """Return detection AUROC, power by rho, false alarms and agreement of one measure."""
    flag = f"{measure}_flag"
    model = cells.groupby(["plant", "rho"])[measure].max().reset_index().fillna({measure: 0.0})
    honest = model[model["rho"] == 0][measure].to_numpy(float)
    strong = model[model["rho"] >= STRONG][measure].to_numpy(float)
    planted = cells[cells["planted"]]
    pair = planted[planted["rho"] > 0].groupby(["plant", "rho"])[flag].any().reset_index()
    alarms = cells[cells["rho"] == 0]
    # What each measure finds when each is let raise as many false alarms.
    limit = float(np.quantile(alarms[measure].fillna(0), 0.95))
    above = planted[planted["rho"] > 0].assign(above=planted[measure] > limit)
    above = above.groupby(["plant", "rho"])["above"].any().reset_index()
    aside = cells[(cells["rho"] > 0) & ~cells["planted"]]
    joined = planted.merge(costs, on=["plant", "edited", "read"]).fillna({measure: 0.0})
    wrong = alarms.groupby("plant")[flag].any()
    return {
        "honest_wrong": int(wrong.sum()),
        "honest": len(wrong),
        "honest_ci": interval_of(int(wrong.sum()), len(wrong)),
        "power_ci_by_rho": {
            f"{rho:g}": interval_of(int(part[flag].sum()), len(part))
            for rho, part in pair.groupby("rho")
        },
        "detection_auroc_ci": _resampled(
            model, lambda some: _detection(some, measure), by=["plant", "rho"]
        ),
        "spearman_ci": _resampled(joined, lambda some: _agreement(some, measure), by=["plant"]),
        "detection_auroc": round(stats.auc(strong, honest), 4),
        "detection_auroc_by_cell": round(
            stats.auc(
                planted.loc[planted["rho"] >= STRONG, measure].fillna(0).to_numpy(float),
                alarms[measure].fillna(0).to_numpy(float),
            ),
            4,
        ),
        "power_by_rho": {
            f"{rho:g}": round(float(part[flag].mean()), 4) for rho, part in pair.groupby("rho")
        },
        "power_at_5_percent_by_rho": {
            f"{rho:g}": round(float(part["above"].mean()), 4) for rho, part in above.groupby("rho")
        },
        "false_alarm_rate": round(float(alarms[flag].mean()), 4),
        "false_alarm_rate_of_other_cells": round(float(aside[flag].mean()), 4),
        "spearman_auc_drop": round(float(spearmanr(joined[measure], joined["drop"])[0]), 4),
    }


def _detection(model: pd.DataFrame, measure: str) -> float:
    honest, strong = model["rho"] == 0, model["rho"] >= STRONG
    own = model[measure]
    return stats.auc(own[strong].to_numpy(float), own[honest].to_numpy(float))


def _agreement(cells: pd.DataFrame, measure: str) -> float:
    own, drop = cells[measure], cells["drop"]
    known = own.nunique() > 1 and drop.nunique() > 1
    return float(spearmanr(own, drop)[0]) if known else float("nan")


def _resampled(
    table: pd.DataFrame, figure: Callable[[pd.DataFrame], float], *, by: list[str]
) -> list[float]:
    """Return the interval of a figure over classifiers, which are drawn with all their rows."""
    rng = np.random.default_rng(5)
    parts = [part for _, part in table.groupby(by)]
    drawn = [
        figure(pd.concat([parts[i] for i in rng.integers(0, len(parts), len(parts))]))
        for _ in range(RESAMPLES)
    ]
    return [round(end, 4) for end in stats.interval(drawn)]


def halves(result: AuditResult, count: int) -> dict[str, Any]:
    """Return how often audits of honest classifiers on half of the patients raise an alarm.

    Nothing is made null by construction: they were taught findings that are independent, and react
    to the others as little or as much as such classifiers do. Halves of one classifier overlap, so
    the interval is over classifiers.
    """
    predictions = pd.read_parquet(result.folder / "predictions.parquet")
    judge = effects.net_effects(predictions[predictions["classifier"] == JUDGE])
    exact = bool(result.plan["exact"])
    rows = []
    for plant in (plant for plant in plants() if plant.rho == 0):
        own = effects.net_effects(predictions[predictions["classifier"] == plant.name])
        patients = np.array(sorted(own["patient_id"].unique()))
        for number in range(count):
            rng = np.random.default_rng([77, number])
            half = set(rng.choice(patients, len(patients) // 2, replace=False))
            seen = [table[table["patient_id"].isin(half)] for table in (own, judge)]
            rules = effects.Rules(resamples=500, flips=199, seed=number, exact=exact)
            counted, _ = effects.gate(seen[0], rules, judge=seen[1])
            called = effects.cells(seen[0], seen[1], rules, counted=counted)["verdict"]
            rows.append([plant.name, bool((called == "shortcut").any())])
    table = pd.DataFrame(rows, columns=["plant", "wrong"])
    ends = _resampled(table, lambda some: float(some["wrong"].mean()), by=["plant"])
    return {"audits": len(table), "wrong": round(float(table["wrong"].mean()), 4), "ci": ends}


def main() -> None:
    """Train, audit and write from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with index.csv; none: phantoms")
    parser.add_argument("--run", type=Path, default=Path("runs/audit"))
    parser.add_argument("--out", type=Path, default=Path("bench/audit_truth.json"))
    parser.add_argument("--baselines", type=int, default=100)
    parser.add_argument("--halves", type=int, default=4, help="of each honest classifier")
    parser.add_argument("--bundle", action="store_true", help="make the package's two, no more")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    started = time.monotonic()
    if args.bundle:
        bundle(args.data, args.run)
        return
    train_all(args.data, args.run)
    result = audit_all(args.data, args.run, args.baselines, "painter")
    generated = audit_all(args.data, args.run, min(args.baselines, GENERATED), "mini")
    leaking = audit_all(args.data, args.run, min(args.baselines, GENERATED), LEAKY)
    costs = drops(hosts(args.data, "test", args.run), args.run)
    cells = cells_of(result)
    report: dict[str, Any] = {
        "ours": figures(cells, costs, "ours"),
        "plain_difference": figures(cells, costs, "plain"),
        "relative_change": figures(cells, costs, "relative"),
        "matched_difference": figures(cells, costs, "matched"),
        "with_mini": _generated(generated, costs),
        "with_leaks": _generated(leaking, costs) | {"leaks": LEAKS},
        "honest_halves": halves(result, args.halves),
        "n_classifiers": len(plants()),
        "n_honest": sum(plant.rho == 0 for plant in plants()),
        "n_per_rho": len(SEEDS) * len(PAIRS),
        "n_baselines": len(result.baselines),
        "rules": {key: result.plan[key] for key in ("margin", "gate_logit", "level", "fewest")},
        "size": confounded.SIZE,
        "hosts": "phantoms" if args.data is None else "NIH radiographs and phantoms",
        "findings": list(FINDINGS),
        "pairs": [list(pair) for pair in PAIRS],
        "auc_drop_by_rho": {
            f"{rho:g}": round(float(part["drop"].mean()), 4)
            for rho, part in cells[cells["planted"]]
            .merge(costs, on=["plant", "edited", "read"])
            .groupby("rho")
        },
        "false_alarms": _named(cells[(cells["rho"] == 0) & cells["ours_flag"]]),
        "missed": _named(cells[cells["planted"] & (cells["rho"] >= STRONG) & ~cells["ours_flag"]]),
        "seconds": round(time.monotonic() - started, 1),
    }
    report["weights"] = weights.bundled(("mini", "judge", "anatomy"))
    write_json(args.out, report)
    if args.out == audit_page.JSON:
        audit_page.write()


def _generated(result: AuditResult, costs: pd.DataFrame) -> dict[str, Any]:
    """Return how the audit does with the bundled generator's counterfactuals, gate and leakage.

    `passed` is the share of edits that the judge sees; cells with too few of them are not judged,
    and no shortcut in them can be found.
    """
    cells = cells_of(result)
    gate = result.classifiers[0].gate
    judged = cells[~cells["verdict"].isin(["too few", "no yardstick"])]
    return {
        "passed": dict(zip(gate["edited"], gate["share"].round(3).tolist(), strict=True)),
        "judged_cells": round(len(judged) / len(cells), 4),
        **figures(cells, costs, "ours"),
        "n_baselines": len(result.baselines),
        "seconds": result.provenance["seconds"],
    }


def _named(cells: pd.DataFrame) -> list[str]:
    """Return cells in words."""
    return [
        f"{c.plant}: {c.edited} -> {c.read} {c.ours:.0%} ({c.verdict})" for c in cells.itertuples()
    ]


if __name__ == "__main__":
    main()
