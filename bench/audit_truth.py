"""Does the audit find planted shortcuts, and does it leave honest classifiers alone?

``python -m bench.audit_truth --data DIR`` trains classifiers on painted cohorts whose co-occurrence
is known (`training.confounded`), audits each through the public door, seeing nothing but the model,
and writes ``bench/audit_truth.json`` and ``docs/audit.md``. Without ``--data`` the hosts are
phantoms; ``--nih`` and ``--more`` add grafts of real findings, ``--real-judge`` a judge that never
saw a painted picture. Everything is kept in ``--run`` and resumed from there; ``--only ARM`` makes
single arms (`bench.audit_arms`) and writes no figures, ``--finished`` writes those of the arms that
are made, and makes none: a panel of which fewer are made than ``--out`` has figures of keeps those.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench import audit_page, graft, readme, weights
from bench.audit_arms import (
    ARMS,
    GRAFTED,
    PAIRS,
    PANELS,
    SEEDS,
    STARTS,
    STRONG,
    Arm,
    Proof,
    plants,
)
from bench.audit_measures import (
    MEASURES,
    RESAMPLES,
    cells_of,
    compared,
    figures,
    interval_of,
    leaking,
    near,
    rounded,
)
from roentmod import classifiers
from roentmod.classifiers import Judge
from roentmod.interfaces import Classifier
from roentmod.jobs.audit import AuditResult
from roentmod.science import effects, stats
from roentmod.science.effects import JUDGE
from roentmod.store import canonical_hash, file_sha256, write_json
from training import confounded
from training.confounded import FINDINGS, USUAL, Hosts, Panel, Plant

DRAWINGS = 3
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
    models = canonical_hash([file_sha256(proof.model(panel, plant)) for plant in plants(panel)])
    path = proof.home / f"drops-{panel.name}-{models[:10]}.parquet"
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


def halves(result: AuditResult, count: int) -> dict[str, Any]:
    """Return how often audits of honest classifiers on half of the patients raise an alarm.

    Nothing is made null by construction: they were taught findings that are independent, and react
    to the others as little or as much as such classifiers do. Halves of one classifier overlap, so
    the interval is over classifiers.
    """
    predictions = pd.read_parquet(result.folder / "predictions.parquet")
    judge = effects.net_effects(predictions[predictions["classifier"] == JUDGE])
    exact = bool(result.plan["exact"])
    wrong = []
    honest = [plant for plant in plants() if plant.rho == 0]
    for place, plant in enumerate(honest):
        own = effects.net_effects(predictions[predictions["classifier"] == plant.name])
        patients = np.array(sorted(own["patient_id"].unique()))
        alarms = []
        for number in range(count):
            rng = np.random.default_rng([77, number, place])
            half = set(rng.choice(patients, len(patients) // 2, replace=False))
            seen = [table[table["patient_id"].isin(half)] for table in (own, judge)]
            rules = effects.Rules(resamples=500, flips=199, seed=number, exact=exact)
            counted, _ = effects.gate(seen[0], rules, judge=seen[1])
            called = effects.cells(seen[0], seen[1], rules, counted=counted)["verdict"]
            alarms.append(bool((called == "shortcut").any()))
        wrong.append(np.mean(alarms))
    if any(wrong):
        drawn = stats.resampled_means(np.array(wrong)[:, None], RESAMPLES, 5)[:, 0]
        ends = [rounded(end) for end in stats.interval(drawn)]
    else:
        ends = interval_of(0, len(honest))
    audits = count * len(honest)
    return {"audits": audits, "wrong": round(float(np.mean(wrong)), 4), "ci": ends}


def measured(proof: Proof, able: Sequence[Arm], count: int) -> dict[str, Any]:
    """Return the figures of some arms by panel, and, of the first arm, what the proof says of all.

    `count` is of halves.
    """
    results = {arm: made(proof, arm) for arm in able}
    report: dict[str, Any] = {
        "panels": {
            panel.name: _panel(proof, panel, {a: r for a, r in results.items() if a.panel == panel})
            for panel in PANELS
            if any(arm.panel == panel for arm in able)
        },
    }
    if proof.real is not None:
        report["real_judge"] = Judge.load(proof.real).describe()["sha256"][:16]
    return report | (_whole(proof, results[ARMS[0]], count) if ARMS[0] in results else {})


def _whole(proof: Proof, usual: AuditResult, count: int) -> dict[str, Any]:
    """Return what the proof says of all panels, which the audit of its first arm tells."""
    costs, cells = drops(proof, USUAL), cells_of(usual, ARMS[0])
    by_pair = cells[cells["planted"]].merge(costs, on=["plant", "edited", "read"])
    return {
        "honest_halves": halves(usual, count),
        "n_classifiers": len(plants()),
        "n_honest": sum(plant.rho == 0 for plant in plants()),
        "seeds_per_rho": len(SEEDS),
        "starts": STARTS,
        "rules": {key: usual.plan[key] for key in ("margin", "gate_logit", "level", "fewest")},
        "size": confounded.SIZE,
        "hosts": "phantoms" if proof.data is None else "NIH radiographs and phantoms",
        "findings": list(FINDINGS),
        "pairs": [list(pair) for pair in PAIRS],
        "auc_drop_by_rho": {
            f"{rho:g}": round(float(part["drop"].mean()), 4)
            for rho, part in by_pair[by_pair["rho"] > 0].groupby("rho")
        },
    }


def joined(found: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of a run, with those that were kept of what it has not made.

    A panel's arms audit the same classifiers, so that they come from one run: a panel is the run's
    where it has made all the arms of it that are kept, and else stays as it is. What is told of all
    panels goes with the first.

    Raises:
        SystemExit: what is kept was made with other weights or another judge of real labels.
    """
    for key in ("weights", "real_judge"):
        if kept and kept.get(key) != found.get(key):
            raise SystemExit(
                f"Figures of several runs are of the same {key}; those kept are of "
                f"{kept.get(key)}, these of {found.get(key)}. Make all arms anew, or use --out."
            )
    panels, told = dict(kept.get("panels", {})), dict(found)
    for name, panel in found["panels"].items():
        missing = panels.get(name, {"arms": {}})["arms"].keys() - panel["arms"].keys()
        if missing:
            log.warning("%s stays as it was: not made here: %s", name, ", ".join(sorted(missing)))
            told = {} if name == ARMS[0].panel.name else told
        else:
            panels[name] = panel
    arms = {arm for panel in panels.values() for arm in panel["arms"]}
    return {
        **kept,
        **told,
        "panels": {panel.name: panels[panel.name] for panel in PANELS if panel.name in panels},
        "left_out": [arm.name for arm in ARMS if arm.name not in arms],
    }


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
    """Return how an audit of a panel does with an editor, by each measure.

    `passed` is the share of edits that the judge sees; cells with too few of them are not judged,
    and no shortcut in them can be found. `leaks` are the pairs in which the most leaks, as shares
    of the own effect of honest classifiers; `verdicts` those of their cells; `cleared` how many
    honest classifiers were said to have no shortcut beyond the margin, and of how many.
    """
    cells, gate = cells_of(result, arm), result.classifiers[0].gate
    judged = cells[~cells["verdict"].isin(["too few", "no yardstick"])]
    honest = cells[cells["rho"] == 0]
    pair = honest["edited"] + " -> " + honest["read"]
    leaks = honest.groupby(pair)["leak"].median().dropna().sort_values()[::-1]
    shown = {str(name): round(float(value), 3) for name, value in leaks.head(4).items()}
    names = set(honest["plant"])
    # A finding that is read and not added leaves a classifier undecided.
    able = {*arm.panel.findings} == {*result.plan["findings"]}
    cleared = [
        one.verdict == "no shortcut beyond the margin" for one in result if one.name in names
    ]
    strong = cells[cells["planted"] & (cells["rho"] >= STRONG)]
    return {
        "editor": arm.editor,
        "second": arm.second,
        "seeds": arm.seeds,
        "exact": arm.exact,
        "common": arm.common(),
        "drawn_beside": arm.leaks,
        "passed": dict(zip(gate["edited"], gate["share"].round(3).tolist(), strict=True)),
        "patients": [int(cells["n"].min()), int(cells["n"].max())],
        "judged_cells": round(len(judged) / len(cells), 4),
        "leaks_most": shown,
        "leaking": leaking(cells),
        "near": near(cells),
        "cleared": [sum(cleared), len(cleared)] if able else None,
        "false_alarms": _named(honest[honest["ours_flag"]]),
        "others_called": _named(cells[cells["ours_flag"] & ~cells["planted"] & (cells["rho"] > 0)]),
        "missed": _named(strong[~strong.groupby("plant")["ours_flag"].transform("any")]),
        "verdicts_honest": honest["verdict"].value_counts().to_dict(),
        "verdicts_planted": strong["verdict"].value_counts().to_dict(),
        "measures": {name: figures(cells, costs, name) for name in MEASURES},
        "compared": compared(cells, costs),
        "n_baselines": int(result.baselines["patient_id"].nunique()),
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
    parser.add_argument("--finished", action="store_true", help="figures of what is made already")
    parser.add_argument("--bundle", action="store_true", help="make the package's two, no more")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    proof = Proof(args.run, args.data, args.more, args.nih, args.real_judge, args.baselines)
    if args.bundle:
        bundle(proof)
        return
    if args.only:
        for arm in (arm for arm in ARMS if arm.name in args.only):
            if not proof.able(arm):
                raise SystemExit(f"{arm.name} needs --data, --more, --nih and --real-judge.")
            made(proof, arm)
        return
    started = time.monotonic()
    able = [arm for arm in ARMS if (proof.finished if args.finished else proof.able)(arm)]
    kept = json.loads(args.out.read_text()) if args.finished and args.out.exists() else {}
    if ARMS[0] not in able and not kept:
        raise SystemExit(f"Figures need the arm {ARMS[0].name}; it is not finished.")
    report = measured(proof, able, args.halves)
    report["seconds"] = round(time.monotonic() - started, 1)
    report["weights"] = weights.bundled(weights.of(audit_page.JSON).weights)
    write_json(args.out, joined(report, kept))
    if args.out == audit_page.JSON:
        audit_page.write()
        readme.write("bench.audit_truth")


def _named(cells: pd.DataFrame) -> list[str]:
    """Return cells in words."""
    shares = ("not measured" if np.isnan(one) else f"{one:.0%}" for one in cells["ours"])
    return [
        f"{c.plant}: {c.edited} -> {c.read} {share} ({c.verdict})"
        for c, share in zip(cells.itertuples(), shares, strict=True)
    ]


if __name__ == "__main__":
    main()
