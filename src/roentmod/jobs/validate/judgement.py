"""From a validation's parts to its result: cheap, and run again at will."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from roentmod.documents import read_document
from roentmod.errors import AuditError, InputError
from roentmod.jobs.validate.artefacts import COLUMNS, arm_of
from roentmod.jobs.validate.result import REAL, SHAM, SHAM_ARM, VISIT_ARM, ValidationResult
from roentmod.jobs.validate.sheets import drawn
from roentmod.plans.validate import COMPOSITES, WAYS, ValidatePlan
from roentmod.runs.record import EARLIER
from roentmod.science import fidelity, stats
from roentmod.science.fidelity import GROUPS, LONG

__all__ = ["RECORD", "TABLES", "Tables", "assess", "judge", "judged"]

RECORD = "validation.json"
TABLES = (
    "vectors",
    "visits",
    "known",
    "pairs",
    "edits",
    "modes",
    "nets",
    "second",
    "shams",
    "fine",
    "sweep",
    "sweep_nets",
    "prompts",
    "reversal",
)

# What folders of earlier versions lack.
_LATER = ("modes", "second", "artefacts", "visits")

Row = dict[str, Any]
# By what a picture is found again among all baselines, and the measure that says whether it is.
_FOUND_BY = {"vector": "own", "patient": "same_patient"}
MEASURES = (
    *_FOUND_BY.values(),
    "ssim",
    "ssim_outside",
    "l1_inside",
    "l1_outside",
    "support",
    "perceptual",
    "displaced",
    "displaced_outside",
    "lungs",
    "heart",
    "ratio",
    "rotation",
)
_FEWEST = 5  # patients of whom a mean has an interval
_SAME = 1e-6  # mean difference of display values of pictures that are the same
# What was not asked for, and so is looked for in edits of other findings.
OBJECTS = ("Support Devices", "Text Marker")
# What a check asks for: name, limit, and whether the value must reach or not exceed it. Success,
# leakage, wording and objects have limits of ours; the others are what the project promises.
LIMITS = (
    ("own_closer", 0.95, "least"),
    ("retrieval", 0.95, "least"),
    ("same_patient", 0.95, "least"),
    ("success", 0.8, "least"),
    ("leakage", 0.25, "most"),
    ("outside", 0.0, "most"),
    ("artefact_auc", 0.6, "most"),
    ("default_is_lowest", 0.0, "most"),
    ("realism", 0.75, "most"),
    ("prompt_icc", 0.5, "most"),
    ("objects", 0.05, "most"),
)


@dataclass(frozen=True)
class Tables:
    """The rows of all parts, by table; a table that no part has is empty."""

    by_name: Mapping[str, pd.DataFrame]

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return one table."""
        return self.by_name.get(name, pd.DataFrame())


def assess(folder: Path) -> ValidationResult:
    """Judge the tables that a validation left in `folder`.

    Raises:
        AuditError: no finished validation is there.
    """
    try:
        record = read_document(folder / RECORD)
        plan = ValidatePlan(**record["plan"])
        return judged(folder, record, plan)
    except (OSError, InputError, KeyError, TypeError, ValueError) as error:
        raise AuditError(
            f"A validation's folder holds {RECORD} and its tables; {folder} gave {error!r}. "
            "Run the validation to its end first."
        ) from error


def judged(folder: Path, record: Mapping[str, Any], plan: ValidatePlan) -> ValidationResult:
    """Judge the tables in `folder` of a validation whose record is given.

    Raises:
        OSError: a table is missing.
    """
    items, baselines = (_read(folder, name) for name in ("items", "baselines"))
    tables = Tables({name: _read(folder, name) for name in (*TABLES, "artefacts")})
    facts = {key: record[key] for key in ("editor", "data", "judge", "extractor")}
    facts |= {key: record[key] for key in ("second", "recogniser") if key in record}
    facts["control"] = record.get("control", EARLIER["control"])
    return ValidationResult(
        plan=record["plan"] | {"n_baselines": len(baselines)},
        provenance=record["provenance"] | facts,
        minutes=record["provenance"]["seconds"] / 60,
        baselines=baselines,
        items=items,
        counts=record["counts"],
        pictures=drawn(folder / "pictures") or {},
        folder=folder,
        **judge(tables, plan, record["absent"]),
    )


def _read(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.parquet"
    if name in _LATER and not path.exists():
        return pd.DataFrame(columns=list(COLUMNS) if name == "artefacts" else [])
    table = pq.read_table(path)
    frame: pd.DataFrame = table.to_pandas()
    frame = frame.rename(columns={EARLIER["control"]: "control"})
    # Lists stay lists: pandas would make nested arrays of them.
    for name in {*_FOUND_BY, "spectrum"} & set(frame):
        frame[name] = table[name].to_pylist()
    return frame


class _Means:
    """Means over patients with intervals, all on the plan's terms."""

    def __init__(self, plan: ValidatePlan) -> None:
        self.plan = plan

    def of(self, frame: pd.DataFrame, column: str) -> tuple[float, float, float, int]:
        """Return mean, low, high and number of patients of a column, NaN left out.

        Shares of what is or is not have Wilson's interval (`stats.share_interval`), other means
        Student's over patients; fewer than five patients have none.
        """
        # A group-by in pandas takes milliseconds, and a validation has thousands of means.
        numbers = frame[column].to_numpy(float)
        known = ~np.isnan(numbers)
        numbers = numbers[known]
        who, _ = pd.factorize(frame["patient_id"].to_numpy()[known], sort=True)
        values = np.bincount(who, numbers) / np.bincount(who)
        if not values.size:
            return math.nan, math.nan, math.nan, 0
        mean, level = float(values.mean()), self.plan.level
        if values.size < _FEWEST:
            return mean, math.nan, math.nan, values.size
        if np.isin(numbers, (0, 1)).all():
            return mean, *stats.share_interval(values, level), values.size
        return mean, *stats.mean_interval(values, level), values.size


def judge(tables: Tables, plan: ValidatePlan, absent: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of `ValidationResult` that follow from the rows of all parts."""
    means = _Means(plan)
    edits, sweep, shams = (_with_own(tables, name) for name in ("edits", "sweep", "shams"))
    others = {name: _with_own(tables, name) for name in ("modes", "visits")}
    sections: dict[str, Any] = {"absent": dict(absent)}
    sections["sweep"] = _sweep(sweep, tables["sweep_nets"], plan)
    sections["recommended"] = (
        fidelity.recommend(sections["sweep"], plan.rule) if len(sections["sweep"]) else None
    )
    sections |= _pairs(tables["pairs"], plan)
    sections["place"] = _place(tables["pairs"], means)
    sections["measures"] = _measures(edits, shams, others, means)
    sections["success"] = _success(edits, tables, means)
    sections["nets"] = _nets(tables["nets"], means)
    sections["leakage"] = _leakage(edits, tables, plan)
    sections["composition"] = _composition(shams, means)
    sections["reversal"] = _reversal(tables["reversal"], means)
    sections["artefacts"] = tables["artefacts"]
    sections["spectra"] = _spectra(tables["fine"], means, plan.findings[: plan.composited])
    sections["memorisation"] = _memorisation(edits, tables, means)
    sections["wording"], sections["wordings"] = _wording(tables["prompts"], plan)
    sections["objects"] = _objects(edits, shams, tables["nets"], means)
    sections["checks"] = _checks(sections, edits)
    return sections


def _frame(rows: Sequence[Sequence[Any]], columns: str) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=columns.split())


def _vectors(frame: pd.DataFrame, column: str = "vector") -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(frame[column].tolist(), np.float64)


def _with_own(tables: Tables, name: str) -> pd.DataFrame:
    """Add `own` and `same_patient`: whether the nearest of all baselines is a picture's own.

    By mean features, and by the recogniser; NaN where there is no vector, and no column where
    earlier versions had none.
    """
    frame, gallery = tables[name], tables["vectors"]
    for column, measure in _FOUND_BY.items():
        if frame.empty or column not in frame or column not in gallery:
            continue
        there = frame[column].notna().to_numpy()
        found = np.full(len(frame), math.nan)
        if there.any():
            at, _ = fidelity.nearest(_vectors(frame[there], column), _vectors(gallery, column))
            nearest = gallery["baseline_id"].to_numpy()[at]
            found[there] = nearest == frame["baseline_id"].to_numpy()[there]
        frame = frame.assign(**{measure: found})
    return frame


def _sweep(sweep: pd.DataFrame, nets: pd.DataFrame, plan: ValidatePlan) -> pd.DataFrame:
    if sweep.empty:
        return _frame(
            [],
            "strength guidance_scale edits success leakage identity ssim perceptual score eligible",
        )
    return fidelity.points(sweep, nets, plan.rule)


def _pairs(pairs: pd.DataFrame, plan: ValidatePlan) -> dict[str, Any]:
    if pairs.empty:
        pairs = _frame([], "group baseline_id patient_id other_id edited pfid")
    options: Row = {"seed": 0}
    return {
        "pairs": pairs,
        "pfid": fidelity.summarise(pairs, resamples=plan.resamples, level=plan.level, **options),
        "pfid_tests": fidelity.compare_groups(pairs, permutations=plan.permutations, **options),
        "own_closer": fidelity.own_closer(pairs, level=plan.level),
    }


def _place(pairs: pd.DataFrame, means: _Means) -> pd.DataFrame:
    """Return how far places moved between the pictures of a pair, by group."""
    pairs = pairs.reindex(columns=["group", "patient_id", "displaced"])
    rows = [[group, *means.of(_where(pairs, "group", group), "displaced")] for group in GROUPS]
    return _frame(rows, "group displaced low high patients")


def _plain_of(edits: pd.DataFrame) -> pd.DataFrame:
    return edits if edits.empty else edits[edits["way"] == "plain"]


def _measures(
    edits: pd.DataFrame, shams: pd.DataFrame, others: Mapping[str, pd.DataFrame], means: _Means
) -> pd.DataFrame:
    """Return likeness by arm: edits and first shams in every mode, and patients' other visits."""
    rows = []
    modes, first = others["modes"], _where(shams, "cycle", 1)
    arms = {"edited": _plain_of(edits)}
    arms |= {f"edited ({m})": _where(modes, "composite", m) for m in COMPOSITES[1:]}
    for arm, table in arms.items():
        parts = [("all", table), *table.groupby("edited", sort=False)] if len(table) else []
        rows += [
            [arm, name, measure, *means.of(part, measure)]
            for name, part in parts
            for measure in MEASURES
            if measure in part
        ]
    whole = {SHAM_ARM: _where(first, "composite", COMPOSITES[0])}
    whole |= {f"{SHAM_ARM} ({m})": _where(first, "composite", m) for m in COMPOSITES[1:]}
    for arm, table in (whole | {VISIT_ARM: others["visits"]}).items():
        measured = [
            [arm, "all", name, *means.of(table, name)] for name in MEASURES if name in table
        ]
        # Outlines are looked for in the default mode alone.
        rows += [row for row in measured if row[-1]]
    return _frame(rows, "arm edited measure value low high patients")


def _success(edits: pd.DataFrame, tables: Tables, means: _Means) -> pd.DataFrame:
    """Return what the judge sees of each finding, and beside it what the second judge does."""
    shown = ("success low high", "net net_low net_high", "auc auc_low auc_high", "first")
    names = " ".join(shown).split(" ")
    columns = ["edited", "way", "asked", *names, *(f"second_{name}" for name in names)]
    rows = []
    for key, part in edits.groupby(["edited", "way"], sort=False) if len(edits) else ():
        seen: list[float] = []
        for name in ("nets", "second"):
            nets = tables[name]
            if len(nets):
                nets = nets[(nets["edited"] == key[0]) & (nets["way"] == key[1])]
            seen += _seen(nets, str(key[0]), means)
        rows.append([*key, len(part), *seen])
    return pd.DataFrame(rows, columns=columns)


def _seen(read: pd.DataFrame, name: str, means: _Means) -> list[float]:
    """Return successes, net effect and AUC of a finding, with intervals, and `_first`."""
    own = _where(read, "read", name)
    if own.empty:
        return [math.nan] * 10
    passed = own.assign(passed=_passed(own, means.plan))
    share, net = means.of(passed, "passed")[:3], means.of(own, "net")[:3]
    return [*share, *net, *_area(own, means.plan), _first(read)]


def _passed(own: pd.DataFrame, plan: ValidatePlan) -> pd.Series[float]:
    """Return 1 where an edit is seen, 0 where not, NaN where nobody knows."""
    net = own["net"]
    return (net >= plan.rule.gate_logit).where(net.notna()).astype(float)


def _area(own: pd.DataFrame, plan: ValidatePlan) -> tuple[float, float, float]:
    """Return the AUC of the judge's logit, edits against their controls, with patients drawn."""
    own = own.dropna(subset=["edit", "control"])
    if own.empty:
        return math.nan, math.nan, math.nan
    scores = np.concatenate([own["edit"].to_numpy(float), own["control"].to_numpy(float)])
    positive = np.repeat([True, False], len(own))
    patients = np.tile(own["patient_id"].to_numpy(str), 2)
    low, high = stats.clustered_auc_interval(
        scores, positive, patients, plan.resamples, 0, plan.level
    )
    return stats.auc(scores[positive], scores[~positive]), low, high


def _first(read: pd.DataFrame) -> float:
    """Return the share of edits of which nothing rises more than what was asked for."""
    if read.empty:
        return math.nan
    top = read.loc[read.groupby("baseline_id", sort=True)["net"].idxmax().dropna()]
    same = [
        e == r or frozenset((e, r)) in fidelity.SAME_THING
        for e, r in zip(top["edited"], top["read"], strict=True)
    ]
    return float(np.mean(same)) if same else math.nan


def _nets(nets: pd.DataFrame, means: _Means) -> pd.DataFrame:
    rows = [
        [*key, *means.of(part, "net")]
        for key, part in (nets.groupby(["edited", "way", "read"], sort=False) if len(nets) else ())
    ]
    return _frame(rows, "edited way read net low high patients")


def _leakage(edits: pd.DataFrame, tables: Tables, plan: ValidatePlan) -> pd.DataFrame:
    """Return leakage and success by way of editing, by the judge and by the second one."""
    rows = []
    for way in WAYS:
        part = _where(edits, "way", way)
        if len(part):
            seen = [_leaking(_where(tables[name], "way", way), plan) for name in ("nets", "second")]
            rows.append([way, *seen[0], *seen[1], len(part)])
    shown = "leakage low high success"
    second = " ".join(f"second_{name}" for name in shown.split())
    return _frame(rows, f"way {shown} {second} edits")


def _leaking(read: pd.DataFrame, plan: ValidatePlan) -> list[float]:
    """Return leakage with its interval, and the mean over findings of the share that is seen."""
    if read.empty:
        return [math.nan] * 4
    ends = fidelity.leakage_interval(read, resamples=plan.resamples, level=plan.level)
    own = read[read["edited"] == read["read"]]
    success = _passed(own, plan).groupby(own["edited"]).mean().mean()
    return [fidelity.leakage(read), *ends, float(success)]


def _composition(shams: pd.DataFrame, means: _Means) -> pd.DataFrame:
    rows = []
    for mode in COMPOSITES:
        own = shams[shams["composite"] == mode] if len(shams) else shams
        for cycle, part in own.groupby("cycle", sort=True) if len(own) else ():
            l1, ssim = means.of(part, "l1"), means.of(part, "ssim")
            rows.append([mode, cycle, *l1[:3], *ssim[:3], l1[3]])
    return _frame(rows, "composite cycle l1 l1_low l1_high ssim ssim_low ssim_high patients")


def _reversal(table: pd.DataFrame, means: _Means) -> pd.DataFrame:
    """Sum up by finding; `recovered` is the share of the change that removal takes back."""
    rows = []
    if len(table):
        ratio = table["l1_back"] / table["l1_added"].where(table["l1_added"] > 0)
        table = table.assign(recovered=1 - ratio)
        for name, part in [("all", table), *table.groupby("edited", sort=False)]:
            numbers = [
                float(part[c].mean()) for c in ("l1_added", "l1_back", "net_added", "net_back")
            ]
            share, low, high, _ = means.of(part, "recovered")
            rows.append([name, len(part), *numbers[:2], share, low, high, *numbers[2:]])
    return _frame(rows, "edited n before after recovered low high net_added net_left")


def _spectra(fine: pd.DataFrame, means: _Means, composited: Sequence[str]) -> pd.DataFrame:
    """Return how log10 power differs from the patient's own untouched picture, by frequency."""
    rows = []
    if len(fine):
        plain = fine[fine["arm"] == "untouched"].set_index("baseline_id")["spectrum"]
        for mode in COMPOSITES:
            for arm in ("sham", "edited"):
                part = arm_of(fine, mode, arm)
                part = part[part["edited"].isin(composited)] if arm == "edited" else part
                if part.empty:
                    continue
                own = np.array([plain[name] for name in part["baseline_id"]], float)
                gap = np.array(part["spectrum"].tolist(), float) - own
                for ring in range(gap.shape[1]):
                    frame = pd.DataFrame({"patient_id": part["patient_id"], "x": gap[:, ring]})
                    frequency = (ring + 0.5) * 0.5 / gap.shape[1]
                    rows.append([mode, arm, frequency, *means.of(frame, "x")[:3]])
    return _frame(rows, "composite arm frequency change low high")


def _memorisation(edits: pd.DataFrame, tables: Tables, means: _Means) -> dict[str, Any]:
    names = ("towards", "towards_low", "towards_high")
    plain, known, gallery = _plain_of(edits), tables["known"], tables["vectors"]
    if plain.empty or known.empty or gallery.empty:
        return {"known": len(known), **dict.fromkeys(names, math.nan)}
    place = {name: number for number, name in enumerate(gallery["baseline_id"])}
    plain = plain[plain["baseline_id"].isin(place.keys())]
    own = [place[name] for name in plain["baseline_id"]]
    moved = fidelity.towards(_vectors(plain), _vectors(gallery), own, _vectors(known))
    values = means.of(plain.assign(towards=moved), "towards")[:3]
    return {"known": len(known), **dict(zip(names, values, strict=True))}


def _wording(prompts: pd.DataFrame, plan: ValidatePlan) -> tuple[pd.DataFrame, pd.DataFrame]:
    columns = (
        "edited icc low high patients variance_wording variance_seed variance_rest same_wordings "
        "same_seeds worst best"
    )
    if prompts.empty:
        return _frame([], columns), _frame([], "edited wording prompt edits success net")
    gate = plan.rule.gate_logit
    prompts = prompts.assign(passed=prompts["net"] >= gate)
    by_wording = [
        [*key, part["prompt"].iloc[0], len(part), part["passed"].mean(), part["net"].mean()]
        for key, part in prompts.groupby(["edited", "wording"], sort=False)
    ]
    answers = _frame(by_wording, "edited wording prompt edits success net")
    rows = []
    every = [_cube(part) for _, part in prompts.groupby("edited", sort=False)]
    names = list(prompts["edited"].drop_duplicates())
    whole = (np.concatenate([c for c, _ in every]), np.concatenate([p for _, p in every]))
    for name, (cube, patients) in zip(["all", *names], [whole, *every], strict=True):
        result = fidelity.intraclass(cube, patients, resamples=plan.resamples, level=plan.level)
        full = cube[np.isfinite(cube).all(axis=(1, 2))]
        same = fidelity.agreement(full >= gate)
        own = answers if name == "all" else answers[answers["edited"] == name]
        numbers = [result[key] for key in columns.split()[1:8]]
        ends = [float(own["success"].min()), float(own["success"].max())]
        rows.append([name, *numbers, same["wordings"], same["seeds"], *ends])
    return _frame(rows, columns), answers


def _cube(part: pd.DataFrame) -> tuple[Any, Any]:
    """Return nets as baselines x wordings x seeds, NaN where missing, and the patients."""
    keys = ["baseline_id", "wording", "seed"]
    levels = [sorted(part[key].unique()) for key in keys]
    index = pd.MultiIndex.from_product(levels, names=keys)
    values = part.set_index(keys)["net"].reindex(index).to_numpy(float)
    owner = part.drop_duplicates("baseline_id").set_index("baseline_id")["patient_id"]
    return values.reshape([len(x) for x in levels]), owner.loc[levels[0]].to_numpy(str)


def _objects(
    edits: pd.DataFrame, shams: pd.DataFrame, nets: pd.DataFrame, means: _Means
) -> pd.DataFrame:
    """Return how often something is seen that was not asked for."""
    rows = []
    plain = _plain_of(edits)
    if len(plain):
        plain = plain[~plain["edited"].isin(OBJECTS)]
        gate = means.plan.rule.gate_logit
        read = nets[~nets["edited"].isin(OBJECTS) & (nets["way"] == "plain")]
        for name in OBJECTS:
            seen = read[read["read"] == name].assign(
                seen=lambda t: (t["net"] >= gate).astype(float)
            )
            rows += _shares(f"judge: {name}", seen, means)
        lines = plain.assign(seen=(plain["line"] >= LONG).astype(float))
        rows += _shares("line in the change", lines, means)
    if len(shams):
        first = shams[(shams["cycle"] == 1) & (shams["composite"] == COMPOSITES[0])]
        lines = first.assign(edited="sham", seen=(first["line"] >= LONG).astype(float))
        rows += _shares("line in the change of the sham", lines, means, split=False)
    return _frame(rows, "what edited share low high edits")


def _shares(
    what: str, frame: pd.DataFrame, means: _Means, *, split: bool = True
) -> list[list[Any]]:
    if frame.empty:
        return []
    parts = [("all", frame)]
    parts += [(str(n), p) for n, p in frame.groupby("edited", sort=False)] if split else []
    return [[what, name, *means.of(part, "seen")[:3], len(part)] for name, part in parts]


def _checks(sections: Mapping[str, Any], edits: pd.DataFrame) -> pd.DataFrame:
    values = _values(sections, edits)
    rows = []
    for name, limit, side in LIMITS:
        value, low, high = values.get(name, (math.nan,) * 3)
        if math.isnan(value):
            state = "not measured"
        else:
            good = value >= limit if side == "least" else value <= limit
            state = "passed" if good else "failed"
        rows.append([name, value, low, high, limit, side, state])
    return _frame(rows, "check value low high limit side state")


def _values(sections: Mapping[str, Any], edits: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    values: dict[str, tuple[float, ...]] = {}
    own = sections["own_closer"]
    values["own_closer"] = (own["fraction"], own["low"], own["high"])
    measures = _where(_where(sections["measures"], "arm", "edited"), "edited", "all")
    ends = ("value", "low", "high")
    for name, table, columns in (
        ("retrieval", _where(measures, "measure", "own"), ends),
        ("same_patient", _where(measures, "measure", "same_patient"), ends),
        ("leakage", _where(sections["leakage"], "way", "plain"), ("leakage", "low", "high")),
        ("prompt_icc", _where(sections["wording"], "edited", "all"), ("icc", "low", "high")),
    ):
        if len(table):
            values[name] = tuple(float(table[c].iloc[0]) for c in columns)
    plain = _where(sections["leakage"], "way", "plain")
    if len(plain):
        values["success"] = (float(plain["success"].iloc[0]), math.nan, math.nan)
    outside = _plain_of(edits)
    if len(outside) and outside["l1_outside"].notna().any():
        values["outside"] = (float(outside["l1_outside"].max()), math.nan, math.nan)
    # Where shams are their baselines, nothing is there that a detector could find.
    if not _same(sections["composition"]):
        values |= _artefact_values(sections["artefacts"])
    values |= _realism(sections["artefacts"])
    objects = _where(sections["objects"], "edited", "all")
    objects = objects[objects["what"] != "line in the change of the sham"]
    if len(objects):
        worst = objects.sort_values("share", ascending=False, kind="stable").iloc[0]
        values["objects"] = tuple(float(worst[c]) for c in ("share", "low", "high"))
    return values


def _realism(artefacts: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    real = _where(artefacts, "contrast", REAL)["auc"].dropna()
    return {"realism": (float(real.mean()), math.nan, math.nan)} if len(real) else {}


def _same(composition: pd.DataFrame) -> bool:
    """Return whether first shams of the default mode are their baselines."""
    first = _where(_where(composition, "composite", COMPOSITES[0]), "cycle", 1)
    return len(first) > 0 and bool(first["l1"].iloc[0] < _SAME)


def _artefact_values(artefacts: pd.DataFrame) -> dict[str, tuple[float, ...]]:
    values: dict[str, tuple[float, ...]] = {}
    shams = _where(artefacts, "contrast", SHAM).dropna(subset=["auc"])
    default = _where(shams, "composite", COMPOSITES[0])
    if default.empty:
        return values
    area = float(default["auc"].iloc[0])
    values["artefact_auc"] = (area, float(default["low"].iloc[0]), float(default["high"].iloc[0]))
    if len(shams) > 1:
        # By how much another mode is below the default; 0 where none is.
        least = float(shams["auc"].min())
        values["default_is_lowest"] = (area - least, math.nan, math.nan)
    return values


def _where(table: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    return table[table[column] == value] if len(table) else table
