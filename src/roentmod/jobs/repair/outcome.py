"""What a repair found, and what it reached: tables, and a verdict by rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod import runs
from roentmod.jobs import audit, retrain
from roentmod.jobs.audit import AuditResult
from roentmod.jobs.audit.judgement import RECORD
from roentmod.jobs.audit.predictions import Numbers, nets_of
from roentmod.jobs.audit.result import ClassifierResult
from roentmod.jobs.repair.given import GIVEN, Given
from roentmod.jobs.study import StudyResult
from roentmod.jobs.study.stages import BEFORE_UNSEEN, UNSEEN
from roentmod.plans import Rules
from roentmod.plans.repair import RepairPlan
from roentmod.plans.retrain import BASE, BEFORE
from roentmod.plans.study import StudyPlan
from roentmod.report import as_json
from roentmod.report.words import records
from roentmod.science import effects, performance
from roentmod.science.effects import JUDGE, among
from roentmod.science.falls import falls
from roentmod.science.performance import sure

__all__ = ["FALL", "HELD_OUT", "LOSS", "Found", "editors_of", "found_in", "outcome"]

Pairs = tuple[tuple[str, str], ...]
# Least fall of the mean share, as a part of what it was.
FALL = 0.5
# A fall of the mean area by so much is a cost, sure or not.
LOSS = 0.01
# What stands for a test where the data have none.
HELD_OUT = "validation"
_AFTER = ("audit after", UNSEEN)


@dataclass(frozen=True)
class Found:
    """What the audits before found.

    Attributes:
        pairs: (edited, read) that either audit calls a shortcut, the most surely found first.
        cells: what each audit says of each off-target pair, a row each, with `stage`.
        judged: whether either could judge any pair.
        obstacle: what they lacked, if not.
    """

    pairs: Pairs
    cells: list[dict[str, Any]]
    judged: bool
    obstacle: str


_CELL = ["edited", "read", "n", "corrected", "corrected_low", "corrected_high", "verdict", "reason"]


def found_in(audits: Mapping[str, AuditResult], name: str) -> Found:
    """Return what audits, by stage, found of the classifier `name`."""
    of = {
        stage: next(one for one in result if one.name == name) for stage, result in audits.items()
    }
    calls = Counter(pair for one in of.values() for pair in one.shortcuts())
    cells = [
        {"stage": stage, **row}
        for stage, one in of.items()
        for row in records(one.cells.loc[~one.cells["on_target"].astype(bool), _CELL])
    ]
    obstacles = [one.obstacle for one in of.values() if not one.judged]
    return Found(
        tuple(pair for pair, _ in calls.most_common()),
        cells,
        any(one.judged for one in of.values()),
        obstacles[0] if obstacles else "",
    )


def outcome(
    whole: StudyResult, spec: StudyPlan, found: Found, given: Given, pairs: Pairs
) -> dict[str, Any]:
    """Return what ``repair.json`` holds of a repair, as JSON has it.

    Args:
        whole: its stages.
        spec: its study; the record's says less.
        found: what the audits before found.
        given: what was given.
        pairs: what was repaired.
    """
    plan, (made, unseen) = given.plan, editors_of(given.plan)
    facts: dict[str, Any] = {
        "arm": plan.arm,
        "editors": {"made": made, "unseen": unseen},
        "requested": bool(plan.pairs),
        "judged": found.judged,
        "obstacle": found.obstacle,
        "pairs": pairs,
        "found": [
            row | {"editor": unseen if row["stage"] == BEFORE_UNSEEN else made}
            for row in found.cells
        ],
        "edited": spec.audit.findings if spec.audit else (),
        "margin": given.rules.margin,
        "hosts": plan.hosts,
        "verdict": "nothing found",
        "reasons": [],
    }
    if pairs:
        facts |= _reached(whole, given, pairs)
    # Of the model its name: it may lie anywhere.
    facts["model"] = whole.spec.retrain.start
    result: dict[str, Any] = as_json(facts, whole.folder)
    return result


def editors_of(plan: RepairPlan) -> tuple[str, str]:
    """Return what pages call the editor that made counterfactuals, and the other: no folders."""
    names = [
        Path(name).name if Path(name).is_absolute() else name for name in (plan.editor, plan.unseen)
    ]
    return (names[0], names[1]) if names[0] != names[1] else ("the first editor", "the other one")


def _reached(whole: StudyResult, given: Given, pairs: Pairs) -> dict[str, Any]:
    plan, spec = given.plan, whole.spec
    places = {one.name: one.folder for one in whole.stages}
    trained = retrain.load(places["retrain"])
    editors = dict(zip(_AFTER, editors_of(plan), strict=True))
    shares = pd.concat(
        [_shares(places[stage], pairs).assign(editor=name) for stage, name in editors.items()],
        ignore_index=True,
    )
    called = {editors[stage]: _called(places[stage]) for stage in _AFTER}
    keys = zip(shares["editor"], shares["cause"], shares["read"], shares["arm"], strict=True)
    shares["called"] = [called[e].get((c, r), Counter())[arm] for e, c, r, arm in keys]
    tested = _tested(trained.predictions)
    tables = _read(tested, pairs, plan.arm, given.rules.level)
    new = _new(called, pairs, plan.arm, len(plan.seeds))
    verdict, reasons = _verdict(shares, tables, new, given)
    audits = [one for stage in _AFTER for one in audit.load(places[stage])]
    best = _best(audits, trained.record, plan, shares)
    model = trained.model(plan.arm, best)
    good = verdict != "not repaired"
    return tables | {
        "verdict": verdict,
        "reasons": reasons,
        "shares": shares,
        "new": [{"editor": e, "edited": c, "read": r} for e, c, r in new],
        "network": trained.record["network"],
        "heads": {"repaired": spec.findings, "lost": _lost(places["audit before"], spec.findings)},
        "trainings": trained.record["trainings"],
        "set": whole.figures("augment").get("pictures", 0),
        "use": model if good else None,
        "candidate": model,
        "held_out": bool((tested["test"] == HELD_OUT).any()),
    }


def _lost(folder: Path, kept: Iterable[str]) -> list[str]:
    """Return the heads of the given model that the repaired one has not."""
    one = next(iter(audit.load(folder)))
    return [str(name) for name in one.heads["finding"] if name and name not in set(kept)]


def _best(
    audits: Iterable[ClassifierResult],
    record: Mapping[str, Any],
    plan: RepairPlan,
    shares: pd.DataFrame,
) -> int:
    """Return the seed with the fewest shortcuts left, of several the one that reads val best.

    A head that reacts to nothing has no shortcut, so that only seeds are asked whose read heads
    react to their own finding by both editors; all of them where there is none.
    """
    alive = set(plan.seeds).intersection(*shares.loc[shares["arm"] == plan.arm, "alive"])
    left = Counter(one.name for one in audits for _ in one.shortcuts())
    areas = {
        seed: float(record["trainings"][f"{plan.arm}-{seed}"]["val_auc"]) for seed in plan.seeds
    }
    return min(alive or plan.seeds, key=lambda seed: (left[f"{plan.arm}-{seed}"], -areas[seed]))


def _model(name: str) -> tuple[str, int]:
    """Return arm and seed of an audited classifier."""
    arm, _, seed = name.rpartition("-")
    return (BEFORE, 0) if name == GIVEN else (arm, int(seed))


def _shares(folder: Path, pairs: Pairs) -> pd.DataFrame:
    """Return `falls` of an audit of the given model and the retrained ones."""
    record = runs.read_record(folder / RECORD)
    numbers = Numbers.of(pd.read_parquet(folder / "baselines.parquet"))
    rules = Rules(**record["rules"])

    def usual(name: str) -> pd.DataFrame:
        table = nets_of(folder, name, record, numbers).table
        return table[(table["action"] == "add") & table["base"]]

    nets = {_model(name): usual(name) for name in record["classifiers"]}
    first = nets[(BEFORE, 0)]
    judge = among(usual(JUDGE), first)
    counted, _ = effects.gate(first, rules, judge=judge)
    return falls(nets, judge, counted, pairs, rules, BEFORE)


def _called(folder: Path) -> dict[tuple[str, str], Counter[str]]:
    """Return by pair how many networks of each arm an audit calls a shortcut."""
    called: dict[tuple[str, str], Counter[str]] = {}
    for one in audit.load(folder):
        for pair in one.shortcuts():
            called.setdefault(pair, Counter())[_model(one.name)[0]] += 1
    return called


def _new(
    called: Mapping[str, Mapping[tuple[str, str], Counter[str]]], pairs: Pairs, arm: str, seeds: int
) -> list[tuple[str, str, str]]:
    """Return (editor, edited, read) of shortcuts that most repaired networks have newly."""
    return [
        (editor, *pair)
        for editor, by_pair in called.items()
        for pair, counts in by_pair.items()
        if pair not in pairs and not counts[BEFORE] and counts[arm] > seeds / 2
    ]


def _tested(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with a test; where the data have none, validation stands for it."""
    if (predictions["where"] != "val").any():
        return predictions
    return pd.concat([predictions, predictions.assign(test=HELD_OUT, where="internal")])


def _read(predictions: pd.DataFrame, pairs: Pairs, arm: str, level: float) -> dict[str, Any]:
    """Return how well networks read, before and after, and how far they depend on causes."""
    rules = performance.Rules(level=level, reference=BEFORE, corrected=(arm,), rivals=(BASE,))
    # The given model has no seeds: it is the same beside each.
    own = performance.panels(predictions, rules)
    points = performance.operating_points(own)
    return {
        "areas": performance.primary([(own, ())], rules),
        "comparisons": performance.comparisons(own, rules),
        "reached": performance.performance(own, points, rules).mean,
        "reverse": performance.reverse_scores(own, pairs, points, rules),
        "reversals": performance.reverse_comparisons(own, pairs, points, rules),
    }


def _verdict(
    shares: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    new: list[tuple[str, str, str]],
    given: Given,
) -> tuple[str, list[str]]:
    """Return the verdict, and why; the page states the rules."""
    arm = given.plan.arm
    failed = [
        reason
        for editor in editors_of(given.plan)
        for reason in _left(shares[shares["editor"] == editor], editor, given)
    ]
    if failed:
        return "not repaired", failed
    costs = [f"{e} finds a new shortcut: {edited} → {read}" for e, edited, read in new]
    costs += _unread(tables, arm, shares) + _unseen(tables, arm)
    costs += _costs(tables, arm, given.rules.level)
    return ("repaired at a cost", costs) if costs else ("repaired", [])


def _left(shares: pd.DataFrame, editor: str, given: Given) -> list[str]:
    """Return what one editor says against a repair."""
    plan, fewest = given.plan, given.rules.fewest
    own, before = (shares[shares["arm"] == arm] for arm in (plan.arm, BEFORE))
    parts = own[own["cause"] != ""]
    few = parts[(parts["n"] < fewest) | parts["share"].isna()]
    if len(few):
        names = ", ".join(f"{row.cause} → {row.read}" for row in few.itertuples())
        return [f"{editor} cannot judge {names}: too few patients whose edits are seen"]
    seeds = len(plan.seeds)
    reasons = [
        f"by {editor} the head for {row.read} surely reacts to {row.read} itself in {row.reacts} "
        f"of {seeds} only"
        for row in parts[parts["reacts"] <= seeds / 2].drop_duplicates("read").itertuples()
    ]
    reasons += [
        f"{editor} still finds {row.cause} → {row.read} in {row.called} of {seeds}"
        for row in parts[parts["called"] > seeds / 2].itertuples()
    ]
    # Of several pairs the row of means comes last.
    mean, was = own.iloc[-1], before.iloc[-1]
    if not (mean["fall_low"] > 0 and mean["part"] >= FALL):
        reasons.append(
            f"by {editor} the share falls from {was['share']:.2f} to {mean['share']:.2f}, not "
            f"surely and by {FALL:.0%} at least"
        )
    return reasons


def _unread(tables: Mapping[str, pd.DataFrame], arm: str, shares: pd.DataFrame) -> list[str]:
    """Return of which repaired heads no test could show a loss."""
    areas = _against_before(tables["comparisons"], arm)
    seen = set(areas.loc[areas["state"] == "ok", "finding"])
    lacking = [name for name in dict.fromkeys(shares["read"]) if name and name not in seen]
    few = "no test has enough positives and negatives to see a loss"
    return [f"{few} of {', '.join(lacking)}"] if lacking else []


def _unseen(tables: Mapping[str, pd.DataFrame], arm: str) -> list[str]:
    """Return which losses no test could show, whichever heads were repaired."""
    back, hidden = _reversals(tables, arm), []
    if back[["low", "seeds_low"]].isna().all(axis=None):
        hidden.append("no test has enough pictures of both findings to see a reverse shortcut")
    if (tables["areas"]["test"] == HELD_OUT).any():
        hidden.append(f"{HELD_OUT}, which chose each training's step, may hide a loss of AUC")
    return hidden


def _reversals(tables: Mapping[str, pd.DataFrame], arm: str) -> pd.DataFrame:
    """Return the contrasts of reverse shortcuts of an arm with the given model."""
    back = _against_before(tables["reversals"], arm)
    return back[back["measure"] == "reverse"]


def _against_before(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    """Return the contrasts of an arm with the given model."""
    return table[(table["arm"] == arm) & (table["reference"] == BEFORE)]


def _costs(tables: Mapping[str, pd.DataFrame], arm: str, level: float) -> list[str]:
    """Return what was lost: areas, or sensitivity where findings truly come together."""
    costs, rules = [], performance.Rules(level=level)
    for row in _against_before(tables["areas"], arm).to_dict("records"):
        falls_surely = sure(row, rules) and row["difference"] < 0
        if falls_surely or row["difference"] <= -LOSS:
            word = "surely falls" if falls_surely else "falls"
            costs.append(
                f"the mean AUC in {row['test']} {word}, by {-100 * row['difference']:.1f} points"
            )
    for row in _reversals(tables, arm).to_dict("records"):
        low = row["seeds_low"] if pd.notna(row["seeds_low"]) else row["low"]
        if low > 0:
            costs.append(f"a reverse shortcut appears in {row['test']}")
    return costs
