"""What a study file says: one YAML mapping, checked as a whole before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from roentmod.edits import Severity
from roentmod.errors import StudyError
from roentmod.plans import AuditPlan, AugmentPlan, Rules
from roentmod.plans import PlantPlan as PlantingPlan
from roentmod.plans import RetrainPlan as TrainingPlan
from roentmod.plans import ValidatePlan as ValidationPlan
from roentmod.plans.base import WHOLE, Plan, line
from roentmod.plans.retrain import check_test

__all__ = [
    "Auditing",
    "Augmenting",
    "Editing",
    "Planting",
    "Source",
    "Spec",
    "Validating",
    "read",
    "spec_of",
]

T = TypeVar("T", bound=Plan)


class _Part(BaseModel):
    """A part of the file: unknown words are errors, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Part):
    """Radiographs: `source` and `images` as `roentmod.datasets.load` takes them.

    Attributes:
        source: folder, KIND:FOLDER or phantoms:N.
        images: where pictures are, if not there.
        split: only this split.
        view: "PA" or "AP" only; for hosts that findings are planted in.
        count: at most so many radiographs, one a patient; for hosts, as `view` and `every`.
        every: hosts are all radiographs, whatever is known of them, not only adults without
            finding; what they show themselves stays unsaid.
        plant: plant findings in them, all independent of each other.
        where: whether a test set is of the same institution as the training.
    """

    source: str
    images: Path | None = None
    split: str | None = None
    view: Literal["PA", "AP"] | None = None
    count: int | None = Field(default=None, ge=1)
    every: bool = False
    plant: bool = False
    where: Literal["internal", "external"] = "external"


class Planting(_Part):
    """Known truth: findings are painted into the training source's radiographs without finding."""

    correlation: float = 0.9
    prevalence: float = 0.25
    severities: tuple[Severity, ...] = ("mild", "moderate", "severe")
    seed: int = 0


class Editing(_Part):
    """The editor, and how it is asked; as the options of ``roentmod edit``."""

    name: str = "mini"
    host: str | None = None
    profile: str | None = None
    engine: Literal["auto", "torch", "compile", "onnxruntime", "openvino"] = "auto"
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    strength: float = 0.4
    guidance_scale: float = 4.0
    num_inference_steps: int | None = None


class Validating(_Part):
    """The editor's validation.

    Attributes:
        baselines: how many.
        extractor: whose features are compared, as ``roentmod validate --extractor`` takes it.
        options: of `roentmod.jobs.validate.Plan`, less findings.
    """

    baselines: int = Field(default=20, ge=2)
    extractor: str = "judge"
    options: dict[str, Any] = {}


class Auditing(_Part):
    """Audits: of `classifiers` as they are (before), and of every retrained one (after).

    Attributes:
        classifiers: name to form, as ``roentmod audit --classifier`` takes it.
        source: whose radiographs without finding are edited; default: the first internal test.
        baselines: how many.
        margin: as ``--margin``.
    """

    classifiers: dict[str, str] = {}
    source: Source | None = None
    baselines: int = Field(default=40, ge=2)
    margin: float = 0.2


class Augmenting(_Part):
    """The counterfactual training set.

    Attributes:
        editor: another editor than the study's.
        baselines: how many radiographs without finding of the training split; default: all.
        ratio: counterfactuals a baseline.
        gate: net rise of the judge's logit from which an edit counts; None lets all pass.
        shams: write shams, too, as pictures without finding.
        severities: asked for in turn.
        matrix: JSON of ``roentmod cooccurrence`` for soft labels; default: the bundled one.
    """

    editor: str | None = None
    baselines: int | None = Field(default=None, ge=1)
    ratio: float = 1.0
    gate: float | None = 1.0
    shams: bool = False
    severities: tuple[Severity, ...] = ()
    matrix: Path | None = None


class Spec(_Part):
    """One study.

    Attributes:
        name: its title.
        findings: heads of the classifiers, and what is edited.
        pairs: suspected shortcuts, [cause, read] each; both directions where both are suspected.
        train: whose splits "train" and "val" train and choose; without "val", a tenth of the
            training patients choose (`roentmod.datasets.with_validation`).
        tests: where the classifiers are tested, by name: letters, digits, - and _, and not train,
            val or counterfactuals.
        device: torch device of editors, classifiers and training, such as cuda. What ONNX Runtime,
            a server or a Python function runs chooses its own.
        plant: findings to plant; None takes the labels as they are.
        editor: makes counterfactuals.
        validate: None leaves it out.
        audit: None leaves both audits out.
        augment: the training set.
        retrain: options of `roentmod.jobs.retrain.Plan`, less findings and pairs.
    """

    name: str
    findings: tuple[str, ...] = Field(min_length=1)
    pairs: tuple[tuple[str, str], ...] = ()
    train: Source
    tests: dict[str, Source] = Field(min_length=1)
    device: str = "cpu"
    plant: Planting | None = None
    editor: Editing = Editing()
    validation: Validating | None = Field(default=None, alias="validate")
    audit: Auditing | None = None
    augment: Augmenting = Augmenting()
    retrain: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> Spec:
        """Make every plan once: what does not fit is said before anything is done.

        Raises:
            RoentModError: by a plan, or a test with a name that cannot be used.
        """
        for name, source in self.tests.items():
            check_test(name, source.where)
        _ = self.training, self.planting, self.validating, self.auditing, self.augmenting
        if self.audit:
            Rules(margin=self.audit.margin)
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """How editors are asked."""
        asked = self.editor
        return {
            "strength": asked.strength,
            "guidance_scale": asked.guidance_scale,
            "num_inference_steps": asked.num_inference_steps,
        }

    @property
    def training(self) -> TrainingPlan:
        """What is trained."""
        fixed = {"findings": self.findings, "pairs": self.pairs}
        return _plan(TrainingPlan, "retrain", self.retrain, fixed)

    @property
    def planting(self) -> PlantingPlan | None:
        """What is planted for the training; the findings of tests are independent of each other."""
        if self.plant is None:
            return None
        return PlantingPlan(
            findings=self.findings, pairs=_apart(self.training.pairs), **self.plant.model_dump()
        )

    @property
    def validating(self) -> ValidationPlan | None:
        """What the validation edits and measures."""
        if self.validation is None:
            return None
        said, fixed = self.settings | self.validation.options, {"findings": self.findings}
        return _plan(ValidationPlan, "validate.options", said, fixed)

    @property
    def auditing(self) -> AuditPlan | None:
        """What the audits edit."""
        return AuditPlan(findings=self.findings, **self.settings) if self.audit else None

    @property
    def augmenting(self) -> AugmentPlan | None:
        """What the training set holds; None where no arm needs one."""
        if not self.training.needs_training_set:
            return None
        asked = self.augment
        return AugmentPlan(
            findings=self.findings,
            ratio=asked.ratio,
            gate_logit=asked.gate,
            with_shams=asked.shams,
            severities=asked.severities,
            **self.settings,
        )


def read(path: Path) -> Spec:
    """Return the study that a YAML file describes.

    Raises:
        StudyError: no such file, no YAML, an unknown word, or a value that does not fit; the
            message names the first place.
        RoentModError: a plan of a stage that makes no sense.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise StudyError(f"A study is a YAML file; reading {path.name} gave: {why}") from error
    try:
        return Spec.model_validate(said)
    except ValidationError as error:
        raise StudyError(f"{path.name}: {_first(error, 'the file')}") from error
    except StudyError as error:
        raise StudyError(f"{path.name}: {error}") from error


def spec_of(study: str | Path | Mapping[str, Any] | Spec) -> Spec:
    """Return a study: of a file, of what one says, or itself.

    Raises:
        RoentModError: as in `read`.
    """
    if isinstance(study, Spec):
        return study
    return read(Path(study)) if isinstance(study, str | Path) else Spec.model_validate(study)


def _plan(kind: type[T], place: str, said: Mapping[str, Any], fixed: Mapping[str, Any]) -> T:
    """Return a stage's plan from what a file says in one place.

    Args:
        kind: the plan, a dataclass.
        place: where the file says it.
        said: fields and values.
        fixed: fields that are said elsewhere.

    Raises:
        StudyError: a field that the plan has not or that is fixed, or a value of a wrong kind.
        RoentModError: what the plan itself refuses.
    """
    known = [name for name in kind.model_fields if name not in fixed]
    strange = [str(name) for name in said if name not in known]
    if strange:
        raise StudyError(f"{place} takes {', '.join(known)}; got '{strange[0]}'. Correct it.")
    try:
        return kind.model_validate({**fixed, **said}, context=WHOLE)
    except ValidationError as error:
        raise StudyError(line(error.errors()[0], kind, place)) from error


def _first(error: ValidationError, whole: str) -> str:
    """Return the first thing that does not fit, in a line; `whole` names what has no name."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or whole
    got = " ".join(str(first["input"]).split())
    return f"{place}: {first['msg'].lower()}; got '{got}'. Correct it."


def _apart(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return each pair once, in its first direction."""
    kept: dict[frozenset[str], tuple[str, str]] = {}
    for pair in pairs:
        kept.setdefault(frozenset(pair), pair)
    return tuple(kept.values())
