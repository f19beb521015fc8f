"""The stages of a study: what each depends on, what it costs, and how it is run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import roentmod
from roentmod import classifiers, datasets
from roentmod.classifiers.extractors import load_extractor
from roentmod.datasets import Dataset
from roentmod.datasets.fields import taken
from roentmod.editors import Painter
from roentmod.errors import StudyError
from roentmod.interfaces import Classifier, RadiographEditor, described
from roentmod.jobs import audit, augment, retrain
from roentmod.jobs import plant as planting
from roentmod.jobs import validate as validation
from roentmod.jobs.augment import AugmentResult
from roentmod.jobs.study.bench import Bench, split_of
from roentmod.learning import starts
from roentmod.plans import AuditPlan, AugmentPlan, PlantPlan, Rules, ValidatePlan
from roentmod.plans.parts import Composed
from roentmod.plans.study import Source, StudyAudit
from roentmod.runs import AGAIN, Stages
from roentmod.science import performance as evaluation
from roentmod.store import canonical_hash

__all__ = ["BEFORE_UNSEEN", "UNSEEN", "Stage", "stages_of"]

# The audits by an editor that did not teach: of retrained classifiers, and of those given.
UNSEEN, BEFORE_UNSEEN = "audit unseen", "audit before unseen"

# What says how findings are planted, besides which; and what older studies did not.
_PLANTED = ("correlation", "prevalence", "severities", "seed", *Composed.model_fields)
Outcome = tuple[Any, dict[str, Any]]
Run = Callable[[Bench, Path, Stages], Outcome]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: what it is called.
        key: hash of all that its result depends on.
        what: what is computed, a sentence.
        work: how much of each kind: "edits", "unseen" (edits by that editor), "painted", "steps".
        run: does it, in its folder; returns the result and the figures that are kept.
    """

    name: str
    key: str
    what: str
    work: Mapping[str, float]
    run: Run


def stages_of(bench: Bench) -> list[Stage]:
    """Return the stages of a study, in order.

    Raises:
        RoentModError: device, data, editor, a classifier or the co-occurrence matrix cannot be
            used, or a source has no radiographs to plant in.
    """
    retrain.check_device(bench.spec.device, bench.spec.retrain.precision)
    starts.check(bench.spec.retrain, bench.trust)
    if bench.spec.editor.trust and not bench.trust:
        raise StudyError(
            "A study cannot trust what it names; got 'trust' in its editor. Take it out, and give "
            "--trust (in Python, trust=True) if you trust its source."
        )
    data = _data_key(bench)
    edited = _edited_key(bench)
    made = _made_key(bench, data)
    trained = _trained_key(bench, data, made)
    stages = (
        _planting(bench, data),
        _validation(bench, edited),
        _audit_of_given(bench, edited),
        _audit_of_given_by_unseen(bench, edited),
        _augmenting(bench, made),
        _retraining(bench, trained),
        _audit_of_trained(bench, edited, trained),
        _audit_by_unseen(bench, edited, trained),
    )
    return [stage for stage in stages if stage is not None]


def _planting(bench: Bench, data: str) -> Stage | None:
    if bench.spec.plant is None:
        return None
    numbers = {name: len(_hosts(bench, source)) for name, source in bench.hosting.items()}
    for name, number in numbers.items():
        if not number:
            raise StudyError(
                "Findings are planted in frontal radiographs that are fit for use, in a test in "
                f"none of the training's patients; '{name}' has none. Name another source."
            )
    hosts = sum(numbers.values())
    what = f"findings painted into {hosts} radiographs"
    return Stage("plant", data, what, {"painted": hosts}, _plant)


def _validation(bench: Bench, edited: str) -> Stage | None:
    options = bench.spec.validation
    if options is None:
        return None
    plan = options.part(ValidatePlan)
    key = _key("validate", edited, options.baselines, options.extractor, plan.facts())
    edits = options.baselines * (2 * len(plan.edits())) + plan.swept * len(plan.sweep())
    edits += plan.worded * plan.few * 8 * plan.seeds + plan.undone * len(plan.findings)
    what = f"{options.baselines} radiographs, about {edits} edits"
    return Stage("validate", key, what, {"edits": edits}, _validate)


def _audit_of_given(bench: Bench, edited: str) -> Stage | None:
    options = bench.spec.audit
    if options is None or not options.classifiers:
        return None
    read = _given(bench)
    return _audit_stage("audit before", options, bench, (edited, read), len(read), _audit_before)


def _audit_of_given_by_unseen(bench: Bench, edited: str) -> Stage | None:
    options, read = bench.spec.audit, _given(bench)
    if options is None or not (options.paired and read and bench.unseen):
        return None
    depends = (edited, read, described(bench.unseen))
    return _audit_stage(BEFORE_UNSEEN, options, bench, depends, len(read), _audit_before_unseen)


def _given(bench: Bench) -> dict[str, Any]:
    """Return what the classifiers that are audited as they are say of themselves."""
    return {name: described(one) for name, one in bench.audited.items()}


def _audit_of_trained(bench: Bench, edited: str, trained: str) -> Stage | None:
    return _audit_after_by("audit after", bench, (edited, trained), _audit_after)


def _audit_by_unseen(bench: Bench, edited: str, trained: str) -> Stage | None:
    if bench.unseen is None:
        return None
    return _audit_after_by(UNSEEN, bench, (edited, trained, described(bench.unseen)), _audit_unseen)


def _audit_after_by(name: str, bench: Bench, depends: tuple[Any, ...], run: Run) -> Stage | None:
    options, models = bench.spec.audit, len(bench.spec.retrain.tasks)
    if options is None:
        return None
    beside = _given(bench) if options.paired else {}
    depends = (*depends, beside) if beside else depends
    return _audit_stage(name, options, bench, depends, models + len(beside), run)


def _audit_stage(
    name: str, options: StudyAudit, bench: Bench, depends: tuple[Any, ...], models: int, run: Run
) -> Stage:
    more: list[Any] = [changes] if (changes := options.more()) else []
    more += [options.findings] if options.findings != bench.spec.findings else []
    key = _key("audit", *depends, options.baselines, options.margin, *more)
    edits = options.baselines * len(options.edits())
    unit = "unseen" if name in (UNSEEN, BEFORE_UNSEEN) else "edits"
    readers = f"{models} classifier{'s' * (models != 1)}"
    return Stage(name, key, f"{readers}, {edits} edits", {unit: edits}, run)


def _augmenting(bench: Bench, made: str | None) -> Stage | None:
    options, plan = bench.spec.augment, bench.spec.augmenting
    if plan is None or options is None or made is None:
        return None
    count = round((options.baselines or _editable(bench, plan)) * plan.ratio)
    return Stage("augment", made, f"about {count} counterfactuals", {"made": count}, _augment)


def _retraining(bench: Bench, trained: str) -> Stage:
    plan = bench.spec.retrain
    models = len(plan.tasks)
    what = f"{models} classifiers ({', '.join(plan.arms)}; {len(plan.seeds)} seeds)"
    work = {"steps": models * plan.steps, "models": models}
    return Stage("retrain", trained, what, work, _retrain)


def _key(*parts: Any) -> str:
    return canonical_hash(json.loads(json.dumps([roentmod.__version__, *parts], default=str)))


def _pictures(bench: Bench, source: Source) -> str:
    """Return a hash of what is known of a source's pictures, wherever they lie."""
    table = bench.data(source).table.drop(columns=["path"])
    return _key(source.source, source.images, table.to_csv(index=False))


def _data_key(bench: Bench) -> str:
    """Return a hash of the training's and tests' pictures, how they are chosen, what is planted."""
    spec = bench.spec
    own = [
        (source.model_dump(), _pictures(bench, source))
        for source in (spec.train, *spec.tests.values())
    ]
    facts = spec.plant.facts() if spec.plant else {}
    planted = {name: facts[name] for name in _PLANTED if name in facts} or None
    other = spec.plant is not None and spec.plant.editor != Painter.name
    more = [described(bench.planter)] if other else []
    return _key("data", own, list(spec.tests), planted, spec.findings, spec.pairs, *more)


def _edited_key(bench: Bench) -> str:
    """Return a hash of what validation and audits edit, and how."""
    spec, source = bench.spec, bench.audited_on
    radiographs = (bench.audited_split, source.view, _pictures(bench, source))
    return _key(described(bench.editor), spec.settings, spec.findings, radiographs)


def _made_key(bench: Bench, data: str) -> str | None:
    """Return a hash of what the training set depends on; None where there is none.

    Without planting, tests are no part of it. Rates label it in the training, not here.
    """
    plan, spec = bench.spec.augmenting, bench.spec
    if plan is None:
        return None
    source = data if spec.plant else _pictures(bench, spec.train)
    editor = described(bench.corrector)
    return _key(
        "augment", source, editor, plan.facts(), spec.augment.baselines if spec.augment else None
    )


def _trained_key(bench: Bench, data: str, made: str | None) -> str:
    """Return a hash of what the training depends on; the matrix by its content, where it counts."""
    plan, rates = bench.spec.retrain, bench.rates
    table = rates.to_json() if rates is not None and "soft" in plan.arms else None
    facts, start = plan.facts(), []
    if plan.start is not None:
        # Wherever it lies.
        start = [starts.described(plan)]
        facts.pop("start")
    return _key("retrain", data, made, facts, table, *start)


def _hosts(bench: Bench, source: Source) -> list[str]:
    """Return the radiographs of a source that findings are planted in, one per patient.

    A test's patients are none of the training's.
    """
    data, own = bench.data(source), source is bench.spec.train
    splits = [s for s in sorted(set(data.table["split"])) if s] or [None]
    if not own:
        splits = [split_of(source)]
    chosen: list[str] = []
    for split in splits:
        limit = source.count if split in (split_of(source), "train", None) else None
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
        table = table[(table["unfit"] == "") & table["view"].isin(taken())]
        table = table.rename(columns={"image_id": "baseline_id"})
        if source.view:
            table = table[table["view"] == source.view]
        ranked = table.assign(rank=[_key(name) for name in table["baseline_id"]])
        table = ranked.sort_values("rank").drop_duplicates("patient_id")
    else:
        table = datasets.baselines(data, split=split, view=source.view).table
    return list(table.loc[~table["patient_id"].isin(list(barred)), "baseline_id"])[:limit]


def _plant(bench: Bench, folder: Path, shown: Stages) -> Outcome:
    assert bench.spec.plant is not None
    plan = bench.spec.plant.part(PlantPlan)
    counts, failed = {}, 0
    for name, source in bench.hosting.items():
        made = planting.run(
            bench.data(source),
            _hosts(bench, source),
            bench.planter,
            plan if name == "train" else plan.but(planted=()),
            folder / name,
            workers=bench.workers,
            progress=shown(f"planting {name}"),
        )
        counts[name], failed = len(datasets.load(folder / name)), failed + made.failed
    return folder, {"pictures": counts} | _failed(failed)


def _failed(number: int) -> dict[str, int]:
    """Return the figure of what could not be read or made; none where there is nothing."""
    return {"failed": number} if number else {}


def _validate(bench: Bench, folder: Path, shown: Stages) -> Outcome:
    options = bench.spec.validation
    assert options is not None
    plan = options.part(ValidatePlan)
    data, split = bench.data(bench.audited_on), bench.audited_split
    result = validation.run(
        data,
        validation.choose(data, count=options.baselines, split=split),
        bench.editor,
        plan,
        folder,
        split=split,
        extractor=load_extractor(options.extractor),
        workers=bench.workers,
        stages=shown,
    )
    return result, result.figures() | _failed(int(result.counts["missing"]))


def _audit_before(bench: Bench, folder: Path, shown: Stages) -> Outcome:
    return _audit(bench, bench.editor, bench.audited, folder, shown)


def _audit_before_unseen(bench: Bench, folder: Path, shown: Stages) -> Outcome:
    assert bench.unseen is not None
    return _audit(bench, bench.unseen, bench.audited, folder, shown)


def _audit_after(bench: Bench, folder: Path, shown: Stages) -> Outcome:
    return _audit(bench, bench.editor, _trained(bench), folder, shown)


def _audit_unseen(bench: Bench, folder: Path, shown: Stages) -> Outcome:
    assert bench.unseen is not None
    return _audit(bench, bench.unseen, _trained(bench), folder, shown)


def _trained(bench: Bench) -> dict[str, Classifier]:
    """Return the retrained classifiers, and before them those that they are compared with."""
    beside = bench.audited if bench.spec.audit and bench.spec.audit.paired else {}
    return beside | {
        path.stem: classifiers.load(f"onnx:{path}")
        for path in sorted((bench.folders["retrain"] / "models").glob("*.onnx"))
    }


def _audit(
    bench: Bench,
    editor: RadiographEditor,
    models: Mapping[str, Classifier],
    folder: Path,
    shown: Stages,
) -> Outcome:
    options = bench.spec.audit
    assert options is not None
    plan, (data, chosen) = options.part(AuditPlan), bench.baselines(options.baselines)
    if plan.split is None and (plan.removals or plan.stress):
        # Radiographs that carry findings are drawn where those without are.
        plan = plan.but(split=bench.audited_split)
    exact = bool(getattr(editor, "exact", False))
    result = audit.run(
        data,
        chosen,
        editor,
        models,
        plan,
        folder,
        rules=options.part(Rules).but(exact=exact),
        warnings=bench.warnings(bench.audited_on),
        workers=bench.workers,
        stages=shown,
    )
    verdicts = {
        one.name: {
            "verdict": one.verdict,
            "score": one.score,
            "score_ends": [end if math.isfinite(end) else None for end in one.score_ends],
            "blind": one.blind,
            "shortcuts": one.shortcuts(),
        }
        for one in result
    }
    return result, {
        "classifiers": verdicts,
        "warnings": result.provenance.get("warnings", []),
    } | _failed(int(result.items["status"].isin(AGAIN).sum()))


def _editable(bench: Bench, making: AugmentPlan) -> int:
    """Return about how many radiographs of the training split can be edited."""
    spec, plan = bench.spec, bench.spec.plant
    if plan is None:
        return len(augment.hosts(bench.trained_on, making, split="train"))
    hosts = len(_hosts(bench, spec.train)) * (1 if spec.train.split else 0.6)
    if making.hosts != "no finding":
        return round(hosts)
    pairs = len(plan.pairs)
    free = len(plan.findings) - 2 * pairs
    absent, rho = 1 - plan.prevalence, plan.correlation
    return round(hosts * (absent * (rho + (1 - rho) * absent)) ** pairs * absent**free)


def _augment(bench: Bench, folder: Path, shown: Stages) -> Outcome:
    plan, data, options = bench.spec.augmenting, bench.trained_on, bench.spec.augment
    assert plan is not None
    assert options is not None
    chosen = augment.hosts(data, plan, split="train", count=options.baselines)
    result = augment.run(
        data,
        chosen,
        bench.corrector,
        plan,
        folder,
        workers=bench.workers,
        progress=shown("editing"),
    )
    figures = {"counts": result.record["counts"], "pictures": len(result.training)}
    return result, figures | _failed(result.failed)


def _training_set(bench: Bench) -> AugmentResult | None:
    needed = bench.spec.retrain.needs_training_set
    return augment.load(bench.folders["augment"]) if needed else None


def _predicted(bench: Bench) -> list[str]:
    """Return which facts predict labels that are not planted, which are drawn at random."""
    spec = bench.spec
    warnings = [] if spec.plant else list(bench.warnings(spec.train))
    for name, source in spec.tests.items():
        own = bench.data(source) is bench.data(spec.train)
        if not own and not bench.planted_name(name, source):
            warnings += [f"{name}: {text}" for text in bench.warnings(source)]
    return warnings


def _retrain(bench: Bench, folder: Path, shown: Stages) -> Outcome:
    spec = bench.spec
    result = retrain.run(
        bench.trained_on,
        spec.retrain,
        folder,
        training_set=_training_set(bench),
        tests=bench.tested_on(),
        rates=bench.rates,
        warnings=_predicted(bench),
        device=spec.device,
        workers=bench.workers,
        stages=shown,
    )
    compared = evaluation.comparisons(evaluation.panels(result.predictions))
    rows = json.loads(compared.to_json(orient="records"))
    figures = {"comparisons": rows, "warnings": result.record.get("warnings", [])}
    return result, figures | _failed(sum(result.failed.values()))
