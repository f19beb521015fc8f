"""Does the audit find planted shortcuts, and does it leave honest classifiers alone?

``python -m bench.audit_truth --data DIR`` trains classifiers on painted cohorts whose co-occurrence
is known (`training.confounded`), audits each through the public door, seeing nothing but the model,
and writes ``bench/audit_truth.json`` and ``docs/audit.md``. Without ``--data`` the hosts are
phantoms; ``--nih`` and ``--more`` add grafts of real findings, ``--real-judge`` a judge that never
saw a painted picture. Everything is kept in ``--run`` and resumed from there; ``--only ARM`` makes
single arms (`bench.audit_arms`) and writes no figures.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binomtest, spearmanr, ttest_1samp

from bench import audit_page, graft, weights
from bench.audit_arms import (
    ARMS,
    GRAFTED,
    LEAKS,
    LEAKY,
    PAIRS,
    PANELS,
    SEEDS,
    STRONG,
    Arm,
    Proof,
    plants,
)
from roentmod import classifiers
from roentmod.interfaces import Classifier
from roentmod.jobs.audit import AuditResult
from roentmod.science import effects, margins, stats
from roentmod.science.effects import JUDGE
from roentmod.store import write_json
from training import confounded
from training.confounded import FINDINGS, USUAL, Hosts, Panel, Plant

# Change of probability of the edited finding's head below which a relative change means nothing.
BASE_CHANGE = 0.1
DRAWINGS = 3
# Of intervals over classifiers.
RESAMPLES = 400
# The demonstration's classifiers. Trained as briefly as those of the proof, and on pictures of two
# findings each, heads for a pneumothorax or a mass stay near their prior, so that any haze is much
# beside what their own finding does to them.
DEMO = Panel("demo", epochs=120, prevalence=0.2)
log = logging.getLogger(__name__)


def bundle(proof: Proof) -> None:
    """Train the two classifiers that the package carries for its demonstration, and write them."""
    own = proof.hosts("train", DEMO)
    for name, path in classifiers.DEMO.items():
        plant = Plant(PAIRS[0], 0.9 if name == "shortcut" else 0.0, seed=100)
        path.parent.mkdir(exist_ok=True)
        confounded.export(confounded.train(own, plant, DEMO), path, name, DEMO)


def drops(proof: Proof, panel: Panel) -> pd.DataFrame:
    """Return each head's AUC, and the real cost of each planted shortcut.

    Columns: plant, edited, read, auc, drop. `auc` is where findings are independent. `drop` is the
    read head's AUC where they co-occur as planted less this one; NaN, and `edited` "", of heads
    that are not of the plant's pair. Means over a few drawings of the labels.
    """
    path = proof.run / f"drops-{panel.name}.parquet"
    if not path.exists():
        rows, own = [], proof.hosts("test", panel)
        for plant in plants(panel):
            model = classifiers.load(f"onnx:{proof.model(panel, plant)}")
            planted, apart = [], []
            for draw in range(DRAWINGS):
                planted.append(_areas(model, own, panel, plant, draw))
                apart.append(_areas(model, own, panel, replace(plant, rho=0.0), draw))
            before, after = np.mean(planted, 0), np.mean(apart, 0)
            for k, read in enumerate(panel.findings):
                other = [name for name in plant.pair if name != read and read in plant.pair]
                fall = before[k] - after[k] if other else np.nan
                rows.append([plant.name, other[0] if other else "", read, after[k], fall])
        columns = ["plant", "edited", "read", "auc", "drop"]
        pd.DataFrame(rows, columns=columns).to_parquet(path)
    return pd.read_parquet(path)


def _areas(
    model: Classifier, own: Hosts, panel: Panel, plant: Plant, draw: int
) -> NDArray[np.float64]:
    """Return each head's AUC on the hosts with labels drawn as planted."""
    rng = np.random.default_rng([21, draw])
    labels = confounded.draw_labels(len(own), plant, rng, panel)
    x = confounded.compose_pictures(own, np.arange(len(own)), labels).numpy()[:, 0]
    logits = model.logits(np.ascontiguousarray(x))
    return np.array(
        [stats.auc(logits[own_, k], logits[~own_, k]) for k, own_ in enumerate(labels.T)]
    )


def cells_of(result: AuditResult, panel: Panel = USUAL) -> pd.DataFrame:
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
    edited = list(result.plan["findings"])
    by_name = {plant.name: plant for plant in plants(panel)}
    # A pair of which one finding was not edited cannot be found.
    kept = {n for n, plant in by_name.items() if plant.rho == 0 or {*plant.pair} <= {*edited}}
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
        off = one.cells[~one.cells["on_target"].astype(bool) & one.cells["read"].isin(edited)]
        for cell in off.itertuples() if one.name in kept else ():
            added, read = str(cell.edited), str(cell.read)
            part = wide.loc[added]
            change, base = part[read].to_numpy(), part[added].to_numpy()
            moved = base >= BASE_CHANGE
            relative = float((change[moved] / base[moved]).mean()) if moved.any() else 0.0
            rise = ttest_1samp(change, 0, alternative="greater").pvalue
            row: dict[str, Any] = {"plant": one.name, "edited": added, "read": read}
            ours = cell.corrected if cell.verdict != "too few" else 0.0
            row |= {"ours": ours, "ours_flag": cell.verdict == "shortcut"}
            row |= {"plain": change.mean(), "plain_flag": bool(rise < 0.05)}
            row |= matched[added, read]
            row |= {"relative": relative, "relative_flag": relative > result.plan["margin"]}
            rows.append(row | {"verdict": cell.verdict, "leak": cell.leak})
    table = pd.DataFrame(rows)
    pairs = [by_name[name] for name in table["plant"]]
    table["rho"] = [plant.rho for plant in pairs]
    # Of a planted pair both directions are planted.
    table["planted"] = [
        {edited, read} == set(plant.pair)
        for plant, edited, read in zip(pairs, table["edited"], table["read"], strict=True)
    ]
    return table


def _matched(wide: pd.DataFrame, rules: effects.Rules) -> dict[tuple[str, str], dict[str, Any]]:
    """Return plain differences as shares of own ones, and their tests at the margin, by cell.

    As in an audit, a head that is not sure to react to its own finding has no yardstick: its share
    is NaN, and no flag. Rows are baselines, the same in all columns.
    """
    names = [name for name in wide.columns if name in set(wide.index.get_level_values(0))]
    own = pd.concat([wide.loc[name][name] for name in names], axis=1, keys=names)
    drawn = stats.resampled_means(own.to_numpy(float), rules.resamples, rules.seed)
    sure = dict(zip(names, stats.percentile_interval(drawn, rules.level)[0] > 0, strict=True))
    found: dict[tuple[str, str], dict[str, Any]] = {
        (edited, read): {"matched": math.nan, "matched_flag": False}
        for edited in names
        for read in names
        if edited != read
    }
    pairs = [pair for pair in found if sure[pair[1]]]
    if pairs:
        off = pd.concat([wide.loc[edited][read] for edited, read in pairs], axis=1)
        off = off.reindex(own.index).to_numpy(float)
        scale, nothing = own[[read for _, read in pairs]].to_numpy(float), np.zeros_like(off)
        shares = margins.shares(
            margins.Terms(off, scale, nothing, nothing + 1, scale, scale), rules
        )
        flags = shares.beyond_p <= (1 - rules.level) / 2
        for pair, value, flag in zip(pairs, shares.ratio, flags, strict=True):
            found[pair] = {"matched": float(value), "matched_flag": bool(flag)}
    return found


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
        "detection_auroc": _rounded(_area(strong, honest)),
        "detection_auroc_by_cell": _rounded(
            _area(
                planted.loc[planted["rho"] >= STRONG, measure].fillna(0).to_numpy(float),
                alarms[measure].fillna(0).to_numpy(float),
            )
        ),
        "power_by_rho": {
            f"{rho:g}": round(float(part[flag].mean()), 4) for rho, part in pair.groupby("rho")
        },
        "power_at_5_percent_by_rho": {
            f"{rho:g}": round(float(part["above"].mean()), 4) for rho, part in above.groupby("rho")
        },
        "false_alarm_rate": round(float(alarms[flag].mean()), 4),
        "false_alarm_rate_of_other_cells": round(float(aside[flag].mean()), 4),
        "spearman_auc_drop": _rounded(_agreement(joined, measure)),
    }


def _detection(model: pd.DataFrame, measure: str) -> float:
    honest, strong = model["rho"] == 0, model["rho"] >= STRONG
    own = model[measure]
    return _area(own[strong].to_numpy(float), own[honest].to_numpy(float))


def _area(high: NDArray[np.float64], low: NDArray[np.float64]) -> float:
    return stats.auc(high, low) if len(high) and len(low) else float("nan")


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _agreement(cells: pd.DataFrame, measure: str) -> float:
    own, drop = cells[measure], cells["drop"]
    known = own.nunique() > 1 and drop.nunique() > 1
    return float(spearmanr(own, drop)[0]) if known else float("nan")


def _resampled(
    table: pd.DataFrame, figure: Callable[[pd.DataFrame], float], *, by: list[str]
) -> list[float | None]:
    """Return the interval of a figure over classifiers, which are drawn with all their rows.

    Of few classifiers some drawings have no figure; an interval is of nine in ten at least.
    """
    rng = np.random.default_rng(5)
    parts = [part for _, part in table.groupby(by)]
    if not parts:
        return [None, None]
    drawn = [
        figure(pd.concat([parts[i] for i in rng.integers(0, len(parts), len(parts))]))
        for _ in range(RESAMPLES)
    ]
    finite = [one for one in drawn if np.isfinite(one)]
    enough = len(finite) >= 0.9 * RESAMPLES
    return [_rounded(end) for end in stats.interval(finite)] if enough else [None, None]


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


def measured(proof: Proof, count: int) -> dict[str, Any]:
    """Return all figures of the arms that can be made; the others are named. `count`: of halves."""
    able = [arm for arm in ARMS if proof.able(arm)]
    results = {arm: made(proof, arm) for arm in able}
    usual = results[ARMS[0]]
    costs, cells = drops(proof, USUAL), cells_of(usual)
    report: dict[str, Any] = {
        "ours": figures(cells, costs, "ours"),
        "plain_difference": figures(cells, costs, "plain"),
        "relative_change": figures(cells, costs, "relative"),
        "matched_difference": figures(cells, costs, "matched"),
        "with_mini": {},
        "panels": {
            panel.name: _panel(proof, panel, {a: r for a, r in results.items() if a.panel == panel})
            for panel in PANELS
            if any(arm.panel == panel for arm in able)
        },
        "left_out": [arm.name for arm in ARMS if arm not in able],
        "honest_halves": halves(usual, count),
        "n_classifiers": len(plants()),
        "n_honest": sum(plant.rho == 0 for plant in plants()),
        "n_per_rho": len(SEEDS) * len(PAIRS),
        "n_baselines": len(usual.baselines),
        "rules": {key: usual.plan[key] for key in ("margin", "gate_logit", "level", "fewest")},
        "size": confounded.SIZE,
        "hosts": "phantoms" if proof.data is None else "NIH radiographs and phantoms",
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
    }
    arms = report["panels"]["usual"]["arms"]
    report["with_mini"] = arms["usual-mini"]
    report["with_leaks"] = arms[f"usual-{LEAKY}"] | {"leaks": LEAKS["usual"]}
    return report


def made(proof: Proof, arm: Arm) -> AuditResult:
    """Train what an arm audits, and audit it, or read what an earlier run left."""
    proof.train(arm.panel)
    log.info("arm %s", arm.name)
    return proof.audited(arm)


def _panel(proof: Proof, panel: Panel, results: Mapping[Arm, AuditResult]) -> dict[str, Any]:
    """Return what a panel's classifiers are, how well they read, and the figures of its arms."""
    costs, every = drops(proof, panel), plants(panel)
    honest = {plant.name for plant in every if plant.rho == 0}
    heads = costs[costs["plant"].isin(honest)].groupby("read")["auc"].mean()
    facts = asdict(panel) | {
        "classifiers": len(every),
        "honest": len(honest),
        "pairs": sorted({plant.pair for plant in every}),
        "auc": {name: round(float(heads[name]), 4) for name in panel.findings},
    }
    if panel == GRAFTED:
        names = ("teaching", "editor")
        facts["donors"] = {
            name: {f: sum(d.name == f for d in half) for f in graft.FINDINGS}
            for name, half in zip(names, proof.donors, strict=True)
        }
    facts["arms"] = {arm.name: _arm(arm, result, costs) for arm, result in results.items()}
    return facts


def _arm(arm: Arm, result: AuditResult, costs: pd.DataFrame) -> dict[str, Any]:
    """Return how an audit of a panel does with an editor.

    `passed` is the share of edits that the judge sees; cells with too few of them are not judged,
    and no shortcut in them can be found. `leaks` are the pairs in which the most leaks, as shares
    of the own effect of honest classifiers; `verdicts` those of their cells.
    """
    cells, gate = cells_of(result, arm.panel), result.classifiers[0].gate
    judged = cells[~cells["verdict"].isin(["too few", "no yardstick"])]
    honest = cells[cells["rho"] == 0]
    pair = honest["edited"] + " -> " + honest["read"]
    leaks = honest.groupby(pair)["leak"].median().dropna().sort_values()[::-1]
    shown = {str(name): round(float(value), 3) for name, value in leaks.head(4).items()}
    return {
        "editor": arm.editor,
        "second": arm.second,
        "passed": dict(zip(gate["edited"], gate["share"].round(3).tolist(), strict=True)),
        "judged_cells": round(len(judged) / len(cells), 4),
        "leaks_most": shown,
        "verdicts_honest": honest["verdict"].value_counts().to_dict(),
        "verdicts_planted": cells[cells["planted"] & (cells["rho"] >= STRONG)]["verdict"]
        .value_counts()
        .to_dict(),
        **figures(cells, costs, "ours"),
        "n_baselines": len(result.baselines),
        "seconds": result.provenance["seconds"],
    }


def main() -> None:
    """Train, audit and write from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with index.csv; none: phantoms")
    parser.add_argument("--more", type=Path, help="folder of JSRT and of RSNA's boxes")
    parser.add_argument("--nih", type=Path, help="folder of NIH's own tables")
    parser.add_argument("--real-judge", type=Path, help="exported by training.real_judge")
    parser.add_argument("--run", type=Path, default=Path("runs/audit"))
    parser.add_argument("--out", type=Path, default=Path("bench/audit_truth.json"))
    parser.add_argument("--baselines", type=int, default=1000, help="at most, of each arm")
    parser.add_argument("--halves", type=int, default=4, help="of each honest classifier")
    parser.add_argument(
        "--only", action="append", choices=[arm.name for arm in ARMS], help="make these arms alone"
    )
    parser.add_argument("--bundle", action="store_true", help="make the package's two, no more")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    proof = Proof(args.run, args.data, args.more, args.nih, args.real_judge, args.baselines)
    if args.bundle:
        bundle(proof)
        return
    if args.only:
        for arm in (arm for arm in ARMS if arm.name in args.only):
            made(proof, arm)
        return
    started = time.monotonic()
    report = measured(proof, args.halves)
    report["seconds"] = round(time.monotonic() - started, 1)
    report["weights"] = weights.bundled(weights.of(audit_page.JSON).weights)
    write_json(args.out, report)
    if args.out == audit_page.JSON:
        audit_page.write()


def _named(cells: pd.DataFrame) -> list[str]:
    """Return cells in words."""
    return [
        f"{c.plant}: {c.edited} -> {c.read} {c.ours:.0%} ({c.verdict})" for c in cells.itertuples()
    ]


if __name__ == "__main__":
    main()
