"""The stages of a study: what each depends on, what it costs, and how it is run."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

import roentmod
from roentmod import audit, augment, classifiers, datasets, evaluation, planting, retrain
from roentmod import validation as validating
from roentmod.augment import AugmentResult
from roentmod.classifiers.extractors import load_extractor
from roentmod.datasets import Dataset
from roentmod.editors import Editor
from roentmod.interfaces import Classifier, Progress, RadiographEditor
from roentmod.study.spec import Source, Spec

__all__ = ["Bench", "Done", "Stage", "stages_of"]

Told = Callable[[str], Progress]
Outcome = tuple[Any, dict[str, Any]]


@dataclass(frozen=True)
class Done:
    """A stage that is done: its name, folder, seconds it took, and figures."""

    name: str
    folder: Path
    seconds: float
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: what it is called.
        key: hash of all that its result depends on.
        what: what is computed, a sentence.
        work: how much of each kind: "edits", "painted", "steps".
        run: does it, in its folder; returns the result and the figures that are kept.
    """

    name: str
    key: str
    what: str
    work: Mapping[str, float]
    run: Callable[[Bench, Path, Told], Outcome]


@dataclass
class Bench:
    """What stages have in common: the study, its parts once loaded, and finished folders."""

    spec: Spec
    folders: dict[str, Path] = field(default_factory=dict)
    _loaded: dict[str, Dataset] = field(default_factory=dict)

    def data(self, source: Source) -> Dataset:
        """Return a data set as it is, before anything is planted."""
        key = f"{source.source} {source.images}"
        if key not in self._loaded:
            self._loaded[key] = datasets.load(source.source, images=source.images)
        return self._loaded[key]

    def planted(self, name: str) -> Dataset:
        """Return the planted data set of the training ("train") or of a test."""
        return datasets.load(self.folders["plant"] / name)

    @property
    def trained_on(self) -> Dataset:
        """What the retraining learns from."""
        return self.planted("train") if self.spec.plant else self.data(self.spec.train)

    def tested_on(self) -> dict[str, tuple[Dataset, str | None, str]]:
        """Return the test sets: data, split, where."""
        found: dict[str, tuple[Dataset, str | None, str]] = {}
        for name, source in self.spec.tests.items():
            own = self._planted_name(name, source)
            data = self.planted(own) if own else self.data(source)
            found[name] = (data, source.split, source.where)
        return found

    def _planted_name(self, name: str, source: Source) -> str | None:
        """Return which planted set a test is of: the training's own splits where it shares them."""
        if not (self.spec.plant and source.plant):
            return None
        return "train" if _same(source, self.spec.train) else name

    @property
    def audited_on(self) -> Source:
        """Whose radiographs without finding are edited in audits and in the validation."""
        asked = self.spec.audit.source if self.spec.audit else None
        inside = [s for s in self.spec.tests.values() if s.where == "internal"]
        return asked or (inside or list(self.spec.tests.values()))[0]

    def baselines(self, count: int) -> tuple[Dataset, pd.DataFrame]:
        """Return radiographs without finding to audit with; nothing was ever planted in them."""
        source = self.audited_on
        data = self.data(source)
        split = source.split if source.split in set(data.table["split"]) else None
        return data, datasets.baselines(data, count=count, split=split, view=source.view).table

    @cached_property
    def editor(self) -> RadiographEditor:
        """The study's editor."""
        asked = self.spec.editor
        return Editor.load(
            asked.name,
            host=asked.host,
            engine=asked.engine,
            profile=asked.profile,
            device=asked.device,
            precision=asked.precision,
        )

    @cached_property
    def corrector(self) -> RadiographEditor:
        """The editor that makes the training set."""
        other = self.spec.augment.editor
        return Editor.load(other) if other else self.editor

    @property
    def settings(self) -> dict[str, Any]:
        """How editors are asked."""
        asked = self.spec.editor
        return {
            "strength": asked.strength,
            "guidance_scale": asked.guidance_scale,
            "num_inference_steps": asked.num_inference_steps,
        }

    @cached_property
    def audited(self) -> dict[str, Classifier]:
        """The classifiers that are audited as they are."""
        asked = self.spec.audit.classifiers if self.spec.audit else {}
        return {name: classifiers.load(form) for name, form in asked.items()}


def stages_of(bench: Bench) -> list[Stage]:
    """Return the stages of a study, in order."""
    spec = bench.spec
    data = _data_key(bench)
    editor = _key(_described(bench.editor), bench.settings, spec.findings)
    edited = _key(spec.audit.model_dump() if spec.audit else None, _table(bench, bench.audited_on))
    k = len(spec.findings)
    stages = []
    if spec.plant:
        stages.append(_planting(bench, data))
    if spec.validation:
        key = _key("validate", editor, edited, spec.validation.model_dump())
        asked = _validation_plan(bench)
        edits = spec.validation.baselines * (2 * len(asked.edits())) + asked.swept * len(
            asked.sweep()
        )
        edits += asked.worded * asked.few * 8 * asked.seeds + asked.undone * len(asked.findings)
        what = f"{spec.validation.baselines} radiographs, about {edits} edits"
        stages.append(Stage("validate", key, what, {"edits": edits}, _validate))
    if spec.audit and spec.audit.classifiers:
        read = {name: _described(one) for name, one in bench.audited.items()}
        key = _key("audit", editor, edited, read)
        count = spec.audit.baselines * k
        what = f"{len(read)} classifiers, {count} edits"
        stages.append(Stage("audit before", key, what, {"edits": count}, _audit_before))
    made = _key("augment", data, _described(bench.corrector), editor, spec.augment.model_dump())
    if _needs_training_set(spec):
        count = round((spec.augment.baselines or _clean(bench)) * spec.augment.ratio)
        what = f"about {count} counterfactuals"
        stages.append(Stage("augment", made, what, {"made": count}, _augment))
    plan = spec.training
    trained = _key("retrain", data, made, asdict(plan), spec.augment.model_dump())
    models = len(plan.arms) * len(plan.seeds)
    what = f"{models} classifiers ({', '.join(plan.arms)}; {len(plan.seeds)} seeds)"
    stages.append(
        Stage("retrain", trained, what, {"steps": models * plan.steps, "models": models}, _retrain)
    )
    if spec.audit:
        key = _key("audit", editor, edited, trained)
        count = spec.audit.baselines * k
        what = f"{models} classifiers, {count} edits"
        stages.append(Stage("audit after", key, what, {"edits": count}, _audit_after))
    return stages


def _planting(bench: Bench, data: str) -> Stage:
    hosts = len(_hosts(bench, bench.spec.train))
    others = [s for n, s in bench.spec.tests.items() if bench._planted_name(n, s) == n]
    hosts += sum(len(_hosts(bench, source)) for source in others)
    what = f"findings painted into {hosts} radiographs"
    return Stage("plant", data, what, {"painted": hosts}, _plant)


def _key(*parts: Any) -> str:
    text = json.dumps([roentmod.__version__, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _described(part: Any) -> Any:
    told = getattr(part, "describe", None)
    return told() if callable(told) else {"name": getattr(part, "name", type(part).__name__)}


def _table(bench: Bench, source: Source) -> str:
    """Return a hash of what is known of a source's pictures, and of how they are chosen."""
    table = bench.data(source).table.drop(columns=["path"])
    return _key(source.model_dump(), table.to_csv(index=False))


def _data_key(bench: Bench) -> str:
    spec = bench.spec
    own = [_table(bench, source) for source in (spec.train, *spec.tests.values())]
    planted = spec.plant.model_dump() if spec.plant else None
    return _key("data", own, list(spec.tests), planted, spec.findings, spec.pairs)


def _same(one: Source, other: Source) -> bool:
    return (one.source, one.images, one.view) == (other.source, other.images, other.view)


def _hosts(bench: Bench, source: Source) -> list[str]:
    """Return the radiographs of a source that findings are planted in, one a patient.

    A test's patients are none of the training's.
    """
    data, own = bench.data(source), source is bench.spec.train
    splits = [s for s in sorted(set(data.table["split"])) if s] or [None]
    if not own:
        splits = [source.split]
    chosen: list[str] = []
    for split in splits:
        limit = source.count if split in (source.split, "train", None) else None
        chosen += _choice(data, source, split, limit, () if own else _patients(bench))
    return chosen


def _patients(bench: Bench) -> set[str]:
    """Return the patients that the training set is planted in."""
    train = bench.spec.train
    table = bench.data(train).table.set_index("image_id")
    return set(table.loc[_hosts(bench, train), "patient_id"])


def _choice(
    data: Dataset, source: Source, split: str | None, limit: int | None, barred: Collection[str]
) -> list[str]:
    if source.every:
        table = data.table if split is None else data.table[data.table["split"] == split]
        table = table[table["view"] != "lateral"].rename(columns={"image_id": "baseline_id"})
        if source.view:
            table = table[table["view"] == source.view]
        ranked = table.assign(rank=[_key(name) for name in table["baseline_id"]])
        table = ranked.sort_values("rank").drop_duplicates("patient_id")
    else:
        table = datasets.baselines(data, split=split, view=source.view).table
    return list(table.loc[~table["patient_id"].isin(list(barred)), "baseline_id"])[:limit]


def _plant(bench: Bench, folder: Path, told: Told) -> Outcome:
    spec = bench.spec
    assert spec.plant is not None
    plan = planting.Plan(
        spec.findings,
        _apart(spec.pairs),
        correlation=spec.plant.correlation,
        prevalence=spec.plant.prevalence,
        severities=spec.plant.severities,
        seed=spec.plant.seed,
    )
    sources = {"train": spec.train}
    sources |= {n: s for n, s in spec.tests.items() if bench._planted_name(n, s) == n}
    painter = Editor.load("painter")
    counts = {}
    for name, source in sources.items():
        own = plan if name == "train" else replace(plan, planted=())
        hosts = _hosts(bench, source)
        planting.run(
            bench.data(source),
            hosts,
            painter,
            own,
            folder / name,
            progress=told(f"planting {name}"),
        )
        counts[name] = len(datasets.load(folder / name))
    return folder, {"pictures": counts}


def _apart(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return each pair once, in its first direction."""
    kept: dict[frozenset[str], tuple[str, str]] = {}
    for pair in pairs:
        kept.setdefault(frozenset(pair), pair)
    return tuple(kept.values())


def _validation_plan(bench: Bench) -> validating.Plan:
    asked = bench.spec.validation
    options = asked.options if asked else {}
    return validating.Plan(bench.spec.findings, **(bench.settings | options))


def _validate(bench: Bench, folder: Path, told: Told) -> Outcome:
    asked = bench.spec.validation
    assert asked is not None
    data, _ = bench.baselines(asked.baselines)
    source = bench.audited_on
    split = source.split if source.split in set(data.table["split"]) else None
    result = validating.run(
        data,
        validating.choose(data, count=asked.baselines, split=split),
        bench.editor,
        _validation_plan(bench),
        folder,
        split=split,
        extractor=load_extractor(asked.extractor),
        stages=told,
    )
    return result, result.figures()


def _audit_before(bench: Bench, folder: Path, told: Told) -> Outcome:
    return _audit(bench, bench.audited, folder, told)


def _audit_after(bench: Bench, folder: Path, told: Told) -> Outcome:
    models = {
        path.stem: classifiers.load(f"onnx:{path}")
        for path in sorted((bench.folders["retrain"] / "models").glob("*.onnx"))
    }
    return _audit(bench, models, folder, told)


def _audit(bench: Bench, models: Mapping[str, Classifier], folder: Path, told: Told) -> Outcome:
    asked = bench.spec.audit
    assert asked is not None
    data, chosen = bench.baselines(asked.baselines)
    exact = bool(getattr(bench.editor, "exact", False))
    result = audit.run(
        data,
        chosen,
        bench.editor,
        models,
        audit.Plan(bench.spec.findings, **bench.settings),
        folder,
        rules=audit.Rules(margin=asked.margin, exact=exact),
        stages=told,
    )
    found = {
        one.name: {
            "verdict": one.verdict,
            "score": one.score if math.isfinite(one.score) else None,
            "shortcuts": one.shortcuts(),
        }
        for one in result
    }
    return result, {"classifiers": found}


def _needs_training_set(spec: Spec) -> bool:
    return bool({"synthetic", "isolated", "soft"} & set(spec.training.arms))


def _clean(bench: Bench) -> int:
    """Return about how many radiographs without finding the training split will have."""
    spec = bench.spec
    if spec.plant is None:
        return len(datasets.baselines(bench.trained_on, split="train"))
    hosts = len(_hosts(bench, spec.train)) * (1 if spec.train.split else 0.6)
    pairs = len(_apart(spec.pairs))
    free = len(spec.findings) - 2 * pairs
    absent, rho = 1 - spec.plant.prevalence, spec.plant.correlation
    return round(hosts * (absent * (rho + (1 - rho) * absent)) ** pairs * absent**free)


def _augment(bench: Bench, folder: Path, told: Told) -> Outcome:
    asked, data = bench.spec.augment, bench.trained_on
    plan = augment.Plan(
        bench.spec.findings,
        ratio=asked.ratio,
        gate_logit=asked.gate,
        shams=asked.shams,
        severities=asked.severities,
        **bench.settings,
    )
    chosen = datasets.baselines(data, split="train", count=asked.baselines).table
    result = augment.run(data, chosen, bench.corrector, plan, folder, progress=told("editing"))
    return result, {"counts": result.record["counts"], "pictures": len(result.training)}


def _training_set(bench: Bench) -> AugmentResult | None:
    if not _needs_training_set(bench.spec):
        return None
    return augment.load(bench.folders["augment"])


def _retrain(bench: Bench, folder: Path, told: Told) -> Outcome:
    spec = bench.spec
    rates = augment.load_cooccurrence(spec.augment.matrix) if spec.augment.matrix else None
    result = retrain.run(
        bench.trained_on,
        spec.training,
        folder,
        training_set=_training_set(bench),
        tests=bench.tested_on(),
        rates=rates,
        stages=told,
    )
    compared = evaluation.comparisons(evaluation.panels(result.predictions))
    return result, {"comparisons": json.loads(compared.to_json(orient="records"))}
