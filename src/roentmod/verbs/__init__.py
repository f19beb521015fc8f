"""The verbs: edit, audit, validate, augment, plant, retrain, repair, study; one shape for all.

The first argument is the data (of `repair` the model, of `study` its plan), then come what is read
or trained, and options by keyword. Options are the fields of the verb's plans (`roentmod.plans`);
each verb's signature and help list them. ``out`` is the run's folder, in which the same call goes
on. ``progress`` is called with a stage's title and returns what is called with parts done and in
all. Results have tables as DataFrames.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from roentmod import plans
from roentmod.domain import finding
from roentmod.errors import AuditError, EditError, ReadersError, RetrainError, RunError
from roentmod.plans.base import Plan, rule
from roentmod.plans.editing import Files
from roentmod.plans.options import check_names, fields_of, part
from roentmod.plans.parts import (
    Ages,
    Audited,
    BurnedIn,
    EditorChoice,
    Foreign,
    Hosts,
    InDomain,
    Matrix,
    OnDevice,
    Pictures,
    PlanterChoice,
    Running,
    RunningStages,
    Selection,
    Storage,
    Trusting,
    Validated,
)
from roentmod.store import check_writable
from roentmod.verbs.parts import (
    Names,
    editor_of,
    fitting,
    held_of,
    judge_of,
    lazy_judge,
    names_of,
    pack_of,
    rates_of,
    say_needs,
)

if TYPE_CHECKING:
    from roentmod.datasets import Dataset
    from roentmod.interfaces import Classifier, RadiographEditor
    from roentmod.jobs.audit import AuditResult
    from roentmod.jobs.augment import AugmentResult
    from roentmod.jobs.edit import EditResult, Output
    from roentmod.jobs.plant import PlantResult
    from roentmod.jobs.preflight import Preflight
    from roentmod.jobs.repair import Given, RepairResult
    from roentmod.jobs.retrain import RetrainResult
    from roentmod.jobs.study import Planned, StudyResult
    from roentmod.jobs.validate import ValidationResult
    from roentmod.plans.study import StudyPlan
    from roentmod.runs import Stages

__all__ = [
    "audit",
    "augment",
    "check_out",
    "edit",
    "is_run",
    "load",
    "load_classifiers",
    "open",
    "plan_repair",
    "plant",
    "preflight",
    "repair",
    "retrain",
    "study",
    "validate",
]

log = logging.getLogger(__name__)
R = TypeVar("R")
# Which file of a folder says which job left it.
_RECORDS = {
    "audit.json": "audit",
    "validation.json": "validate",
    "augment.json": "augment",
    "repair.json": "repair",
    "retrain.json": "retrain",
    "planted.json": "plant",
    "edits.json": "edit",
    "study.json": "study",
    "analysis.json": "readers.analyse",
}


def _verb(*kinds: type[Plan]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Return a decorator that gives a verb its plans: options, signature, documentation."""

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = inspect.signature(function, eval_str=False)
        named = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        fields = {n: f for n, f in fields_of(kinds).items() if n not in own.parameters}

        @functools.wraps(function)
        def verb(*arguments: Any, **options: Any) -> R:
            if "allow_pickle" in options and "trust" in fields:
                # Its older name.
                options["trust"] = options.pop("allow_pickle") or options.get("trust", False)
            check_names(function.__name__, kinds, options.keys() - own.parameters)
            if "out" in options:
                check_out(options["out"])
            return function(*arguments, **options)

        more = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.annotation,
            )
            for name, field in fields.items()
        ]
        verb.__signature__ = own.replace(parameters=[*named, *more])  # type: ignore[attr-defined]
        verb.plans = kinds  # type: ignore[attr-defined]
        lines = (f"    {name}: {_help(field)}" for name, field in fields.items())
        verb.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Options:", *lines])
        return verb

    return decorate


def check_out(folder: str | Path) -> None:
    """Refuse a folder for results that cannot be written, before anything is loaded.

    Raises:
        RunError: it is a file, lies in one, or may not be written.
    """
    try:
        check_writable(folder)
    except OSError as error:
        what = f"'{Path(folder).name}' is a file" if Path(folder).is_file() else f"got {error}"
        raise RunError(
            f"--out names a folder that can be written; {what}. Name another."
        ) from error


def _help(field: Any) -> str:
    bounds = rule(field)
    return (field.description or "") + (f" ({bounds})" if bounds else "")


def load(
    spec: str | Path | Dataset, *, images: Path | None = None, ages: Ages = "adults"
) -> Dataset:
    """Return a data set: of a folder, a table, ``KIND:FOLDER`` (nih, ...) or ``phantoms:N``."""
    from roentmod import datasets

    if isinstance(spec, str | Path):
        return datasets.load(spec, images=images, ages=ages)
    return spec if ages == "adults" else replace(spec, ages=ages)


def _source(data: str | Path | Dataset, chosen: Pictures) -> Dataset:
    """Return the data set of a verb, its names hidden unless they are to be kept."""
    from roentmod import datasets

    source = load(data, images=chosen.images, ages=getattr(chosen, "ages", "adults"))
    source = datasets.screening(source, chosen)
    return source if chosen.keep_ids else datasets.pseudonymous(source)


def preflight(
    data: str | Path | Dataset, *, images: Path | None = None, sample: int = 100
) -> Preflight:
    """Return what is understood of a data set, and whether it is enough for an audit.

    In `sample` of its pictures, burned-in text is looked for.
    """
    from roentmod.jobs import preflight as job

    return job.run(load(data, images=images), sample=sample)


def _warned(
    source: Dataset, names: Sequence[str] | None = None, *, test: str = "", **rules: Any
) -> list[str]:
    """Say what is wrong with a data set, and which facts predict its labels, a line each.

    Args:
        source: the data set.
        names: of which findings.
        test: begins each line of a test.
        rules: of `datasets.predictors`.

    Returns:
        The lines of what predicts labels.
    """
    from roentmod import datasets

    telling = datasets.telling(datasets.predictors(source, names, **rules))
    begins = f"{test}: " if test else ""
    for problem in (*source.problems, *telling):
        log.warning("%s%s", begins, problem)
    return [f"{begins}{problem}" for problem in telling]


@_verb(plans.EditPlan, Files, EditorChoice, OnDevice, InDomain, Running)
def edit(
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    editor: str | Path | RadiographEditor = "mini",
    judge: Classifier | None = None,
    progress: Stages | None = None,
    **options: Any,
) -> EditResult:
    """Add or remove findings in the radiographs of files.

    The judge (None: the domain's) reads every picture: does it see what was requested?

    Raises:
        EditError: nothing to do, an edit that cannot be made, or a removal that does not work.
    """
    from roentmod.jobs import edit as job

    pack, plan, files = pack_of(options), part(plans.EditPlan, options), part(Files, options)
    if plan.region:
        pack.need_chest("--region")
    edits = plan.edits(held_of)
    for one in edits:
        pack.own(map(finding, (*one.findings, *one.hold)))
    paths = [images] if isinstance(images, str | Path) else images
    return job.run(
        [Path(path) for path in paths],
        edits,
        # Loaded once files and folder have been checked.
        functools.partial(editor_of, editor, options),
        _output(Path(out), files),
        mask=files.mask,
        burned_in=files.part(BurnedIn),
        judge=None if files.no_judge else judge or lazy_judge(pack, options),
        workers=part(Running, options).workers,
        stages=progress,
    )


def _output(out: Path, files: Files) -> Output:
    from roentmod import imaging
    from roentmod.jobs.edit import Output

    words = files.model_dump(include={"secondary_capture", "burn_in"})
    words["signer"] = imaging.load_signer(files.sign) if files.sign else None
    return Output(out, files.format, files.kept, keep_identity=not files.deidentify, **words)


@_verb(plans.AuditPlan, plans.Rules, Audited, Foreign, EditorChoice, OnDevice, InDomain, Running)
def audit(
    data: str | Path | Dataset,
    classifiers: str | Sequence[str] | Mapping[str, str | Path | Classifier],
    *,
    out: str | Path,
    findings: Names | None = None,
    editor: str | Path | RadiographEditor = "mini",
    judge: Classifier | None = None,
    second_judge: str | Path | Classifier | None = None,
    readers: str | Path | None = None,
    answers: str | Path | None = None,
    progress: Stages | None = None,
    **options: Any,
) -> AuditResult:
    """Audit classifiers: do they react to findings that they should ignore?

    Classifiers are objects or forms of `roentmod.classifiers.load`, by name. Without `findings`,
    all that classifiers and judge read and the editor adds are edited. The leakage that
    `second_judge` measures is taken off in place of the judge's, who chose the pictures that it
    would measure it in; both are shown. `readers` is the folder of a reader study of edits of the
    same data: what its readers saw is the gate, and measures leakage, in place of both; `answers`
    is its database's URL or an export, if not in the folder.

    Raises:
        AuditError: nothing to audit, or readers saw none of these edits.
        ReadersError: the reader study cannot be read, or its readers are simulated.
        RunError: the folder holds another audit.
    """
    from roentmod import datasets
    from roentmod.jobs import audit as job
    from roentmod.jobs.readers.analyse import seen_by

    if answers is not None and readers is None:
        raise ReadersError("Answers are of a reader study; got none. Name it: --readers STUDY.")
    if second_judge is not None and readers is not None:
        raise AuditError("Leakage has one witness: a second judge or readers. Leave one out.")
    people = None if readers is None else seen_by(readers, answers=answers)
    pack = pack_of(options, data)
    chosen = part(Audited, options)
    source = _source(data, chosen)
    judge = judge or judge_of(pack, options)
    loaded = editor_of(editor, options)
    words = [part(kind, options).model_dump() for kind in (Foreign, Trusting, OnDevice)]
    foreign = {k: v for one in words for k, v in one.items()}
    models = load_classifiers(classifiers, **foreign)
    other = {} if second_judge is None else {"second": second_judge}
    names = names_of(findings, pack) or fitting(models, loaded, judge)
    warnings = _warned(source, names)
    selection = datasets.baselines(source, count=chosen.baselines, split=chosen.split)
    exact = bool(getattr(loaded, "exact", False))
    rules = part(plans.Rules, {"exact": exact} | options)
    say_needs(len(selection.table), rules.fewest, names, models)
    return job.run(
        source,
        selection.table,
        loaded,
        models,
        part(plans.AuditPlan, options, findings=names),
        Path(out),
        rules=rules,
        judge=judge,
        **load_classifiers(other, **foreign),
        warnings=warnings,
        people=people,
        workers=part(Running, options).workers,
        stages=progress,
    )


@_verb(plans.ValidatePlan, Validated, EditorChoice, OnDevice, InDomain, Running)
def validate(
    data: str | Path | Dataset,
    *,
    out: str | Path,
    findings: Names | None = None,
    editor: str | Path | RadiographEditor = "mini",
    extractor: str = "judge",
    judge: Classifier | None = None,
    second_judge: str | Path | Classifier | None = None,
    progress: Stages | None = None,
    **options: Any,
) -> ValidationResult:
    """Validate an editor: is it still this patient, and is the edit what was requested?

    `second_judge`, a classifier or a form of `roentmod.classifiers.load`, reads the same pictures
    as the judge: success and leakage are shown by both.

    Raises:
        AuditError: a plan that makes no sense.
        RunError: the folder holds another validation.
    """
    from roentmod.classifiers.extractors import load_extractor
    from roentmod.jobs import validate as job

    pack = pack_of(options, data)
    pack.need_chest("A validation")
    chosen = part(Validated, options)
    source = _source(data, chosen)
    loaded = editor_of(editor, options)
    judge = judge or judge_of(pack, options)
    names = names_of(findings, pack) or fitting({}, loaded, judge)
    device = part(OnDevice, options).model_dump()
    other = {} if second_judge is None else {"second": second_judge}
    hold = options.pop("hold", None) or ()
    hold = (hold,) if isinstance(hold, str) else tuple(hold)
    held = dict.fromkeys(one for name in names for one in held_of(hold, (name,)))
    return job.run(
        source,
        job.choose(source, count=chosen.baselines or len(source), split=chosen.split),
        loaded,
        part(plans.ValidatePlan, options, findings=names, hold=tuple(held)),
        Path(out),
        split=chosen.split,
        extractor=load_extractor(extractor),
        classifier=judge,
        second=load_classifiers(other, **device).get("second"),
        workers=part(Running, options).workers,
        stages=progress,
    )


@_verb(plans.AugmentPlan, Selection, Matrix, Storage, EditorChoice, OnDevice, InDomain, Running)
def augment(
    data: str | Path | Dataset,
    *,
    findings: Names,
    out: str | Path,
    editor: str | Path | RadiographEditor = "mini",
    judge: Classifier | None = None,
    progress: Stages | None = None,
    **options: Any,
) -> AugmentResult:
    """Make a counterfactual training set: pictures, labels, and where each came from.

    Raises:
        DatasetError: baselines or labels that do not fit.
    """
    from roentmod import datasets
    from roentmod.jobs import augment as job

    pack, chosen = pack_of(options, data), part(Selection, options)
    plan = part(plans.AugmentPlan, options, findings=names_of(findings, pack))
    source = datasets.with_validation(_source(data, chosen))
    usual = "train" if "train" in set(source.table["split"]) else None
    split = chosen.split or usual
    storage = part(Storage, options)
    return job.run(
        source,
        job.hosts(source, plan, count=chosen.baselines, split=split),
        editor_of(editor, options),
        plan,
        Path(out),
        judge=judge or judge_of(pack, options),
        rates=rates_of(options),
        pictures=storage.pictures,
        store=storage.store,
        workers=part(Running, options).workers,
        progress=progress and progress("editing"),
    )


@_verb(plans.PlantPlan, Hosts, PlanterChoice, OnDevice, InDomain, Running)
def plant(
    data: str | Path | Dataset,
    *,
    findings: Names,
    out: str | Path,
    editor: str | Path | RadiographEditor = "painter",
    progress: Stages | None = None,
    **options: Any,
) -> PlantResult:
    """Paint findings into no-finding radiographs: true labels, planted co-occurrence.

    Labels are as true as the editor is exact.

    Raises:
        DatasetError: a plan that makes no sense, or no host.
    """
    from roentmod.jobs import plant as job

    pack, chosen = pack_of(options, data), part(Hosts, options)
    plan = part(plans.PlantPlan, options, findings=names_of(findings, pack))
    source = _source(data, chosen)
    return job.run(
        source,
        job.hosts(source, count=chosen.baselines),
        editor_of(editor, options),
        plan,
        Path(out),
        workers=part(Running, options).workers,
        progress=progress and progress("planting"),
    )


@_verb(plans.RetrainPlan, Pictures, Matrix, OnDevice, Trusting, Running)
def retrain(
    data: str | Path | Dataset,
    *,
    findings: Names,
    out: str | Path,
    training_set: str | Path | AugmentResult | None = None,
    tests: Mapping[str, Any] | None = None,
    tensorboard: bool = False,
    progress: Stages | None = None,
    **options: Any,
) -> RetrainResult:
    """Train the same classifier in several ways, test inside and outside, compare.

    `tests` are by name: (data, split or None, "internal" or "external"), or data of elsewhere.

    Raises:
        RetrainError: a plan that makes no sense, or data that do not fit.
    """
    from roentmod.jobs import augment as sets
    from roentmod.jobs import retrain as job
    from roentmod.learning import starts

    trust = part(Trusting, options).trust
    if options.get("start") and options.get("size") is None:
        options.pop("size", None)
        side = starts.size_of(options["start"], options.get("model"), trust=trust)
        options |= {"size": side} if side else {}
    plan = part(plans.RetrainPlan, options, findings=findings)
    starts.check(plan, trust)
    chosen = part(Pictures, options)
    source = _source(data, chosen)
    warnings = _warned(source, plan.findings, unmentioned=plan.unmentioned)
    made = sets.load(Path(training_set)) if isinstance(training_set, str | Path) else training_set

    def test(name: str, value: Any) -> tuple[Dataset, str | None, str]:
        place, split, where = value if isinstance(value, tuple) else (value, None, "external")
        # The training's data are not read twice.
        if place == data:
            return source, split, where
        own, rules = _source(place, chosen.but(images=None)), {"unmentioned": plan.unmentioned}
        warnings.extend(_warned(own, plan.findings, test=name, split=split, **rules))
        return own, split, where

    return job.run(
        source,
        plan,
        Path(out),
        training_set=made,
        tests={name: test(name, value) for name, value in (tests or {}).items()},
        rates=rates_of(options),
        warnings=warnings,
        device=part(OnDevice, options).device,
        tensorboard=tensorboard,
        workers=part(Running, options).workers,
        stages=progress,
    )


@_verb(plans.RepairPlan, plans.Rules, Audited, OnDevice, Trusting, RunningStages)
def repair(
    classifier: str | Path,
    data: str | Path,
    *,
    out: str | Path,
    tests: Mapping[str, Any] | None = None,
    progress: Stages | None = None,
    **options: Any,
) -> RepairResult:
    """Audit a model, retrain it with counterfactuals of what was found, audit it again.

    It is what training starts from, as `start` of `retrain`; the data have a split "train".
    Tests are as those of `retrain`; a split "test" of the data is one. Where the audits before
    find nothing, and no pairs are given, nothing is trained.

    Raises:
        RetrainError: a plan that makes no sense, or a model or data that do not fit.
    """
    from roentmod.jobs import repair as job

    given = _to_repair(classifier, data, tests, options)
    workers = part(Running, options).workers
    return job.run(given, Path(out), workers=workers, stages=progress)


@_verb(plans.RepairPlan, plans.Rules, Audited, OnDevice, Trusting, RunningStages)
def plan_repair(
    classifier: str | Path,
    data: str | Path,
    *,
    out: str | Path,
    tests: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Planned]:
    """Return what `repair` would do, and for how long; nothing is written.

    Raises:
        RetrainError: as `repair`.
    """
    from roentmod.jobs import repair as job

    return job.plan(_to_repair(classifier, data, tests, options), Path(out))


def _to_repair(
    classifier: str | Path,
    data: str | Path,
    tests: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> Given:
    from roentmod.jobs.repair import Given

    if not isinstance(data, str | Path):
        raise RetrainError(
            f"A repair reads its data by name, as its stages do; got {type(data).__name__}. Give "
            "a folder, KIND:FOLDER, or the folder of roentmod plant."
        )
    placed = {
        name: value if isinstance(value, tuple) else (value, None, "external")
        for name, value in (tests or {}).items()
    }
    return Given(
        str(classifier),
        str(data),
        part(plans.RepairPlan, options),
        part(plans.Rules, options),
        part(Audited, options),
        {name: (str(place), split, where) for name, (place, split, where) in placed.items()},
        part(OnDevice, options).device,
        part(Trusting, options).trust,
    )


@_verb(Trusting, RunningStages)
def study(
    plan: str | Path | Mapping[str, Any] | StudyPlan,
    *,
    out: str | Path,
    progress: Stages | None = None,
    **options: Any,
) -> StudyResult:
    """Validate, audit, augment, retrain and audit again, from one file or what it says.

    Raises:
        StudyError: a study that makes no sense.
    """
    from roentmod.jobs import study as job

    workers = part(Running, options).workers
    trust = part(Trusting, options).trust
    return job.run(job.spec_of(plan), Path(out), workers=workers, stages=progress, trust=trust)


def open(folder: str | Path) -> Any:
    """Return the result of a finished run, whichever verb left it.

    Raises:
        RunError: the folder has no record of a run.
        RoentModError: the run is not finished.
    """
    from importlib import import_module

    place = Path(folder)
    verb = _left_by(place)
    if verb is None:
        raise RunError(
            f"The folder of a finished run has one of {', '.join(_RECORDS)}; {place} has none. "
            "Check the path, or finish the run."
        )
    return import_module(f"roentmod.jobs.{verb}").load(place)


def is_run(folder: str | Path) -> bool:
    """Tell whether a verb left a folder."""
    return _left_by(Path(folder)) is not None


def _left_by(folder: Path) -> str | None:
    return next((verb for file, verb in _RECORDS.items() if (folder / file).is_file()), None)


def load_classifiers(
    given: str | Sequence[str] | Mapping[str, Any],
    *,
    labels: Any = None,
    device: str = "cpu",
    **options: Any,
) -> dict[str, Classifier]:
    """Return classifiers by name.

    Args:
        given: name to object or form of `roentmod.classifiers.load`; or forms, ``[NAME=]FORM``.
        labels: head to finding, or a JSON file of that.
        device: of what torch runs.
        options: those of `roentmod.classifiers.load`, for all.

    Raises:
        EditError: two of one name.
    """
    from roentmod import classifiers

    def read(form: Any) -> Classifier:
        if not isinstance(form, str | Path):
            return form  # type: ignore[no-any-return]
        where = None if device == "cpu" else device
        return classifiers.load(form, labels=labels, device=where, **options)

    if isinstance(given, Mapping):
        return {name: read(form) for name, form in given.items()}
    loaded: dict[str, Classifier] = {}
    for text in [given] if isinstance(given, str) else given:
        name, equals, form = text.partition("=")
        named = bool(equals) and ":" not in name and "/" not in name
        model = read(form if named else text)
        key = name if named else str(getattr(model, "name", text))
        if key in loaded:
            raise EditError("Audited classifiers need different names. Write NAME=FORM.")
        loaded[key] = model
    return loaded
