"""The plan of a study: those of its stages, with what they have in common said once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, ConfigDict, ValidationError, field_validator, model_validator

from roentmod.domain import finding
from roentmod.errors import RoentModError, StudyError
from roentmod.plans.audit import AuditPlan, Rules
from roentmod.plans.augment import AugmentPlan
from roentmod.plans.base import WHOLE, Pairs, Plan, located, parameter
from roentmod.plans.parts import Ages, BurnedIn, EditorChoice, Foreign, Operating
from roentmod.plans.plant import PlantPlan
from roentmod.plans.retrain import RetrainPlan, check_test
from roentmod.plans.validate import ValidatePlan

__all__ = [
    "Source",
    "StudyAudit",
    "StudyAugment",
    "StudyEditor",
    "StudyPlan",
    "StudyPlanting",
    "StudyRetrain",
    "StudyValidation",
]

# Fields of stages that the study says for them.
_COMMON = ("findings", "pairs")
_STAGES = ("plant", "validate", "audit", "augment", "retrain")


def _stage_schema(schema: dict[str, Any], kind: type[Plan]) -> None:
    """Leave out of a stage's schema what the study says for it; add its other spellings."""
    properties = schema["properties"]
    for name in _COMMON:
        properties.pop(name, None)
    for field in kind.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            first, *others = map(str, field.validation_alias.choices)
            properties |= dict.fromkeys(others, properties[first])
    if kind.__name__ == "StudyValidation":
        properties["options"] = {"type": "object", "description": "Other options, said apart."}
    schema["required"] = [name for name in schema.get("required", []) if name not in _COMMON]


_STAGE = ConfigDict(json_schema_extra=_stage_schema)


class Source(BurnedIn):
    """Radiographs of a data set.

    A test's are all tested, and only those of "train" and "val" are trained on. `view`, `count`
    and `every` are for hosts that findings are planted in.
    """

    error: ClassVar[type[RoentModError]] = StudyError
    source: str = parameter(..., "Folder, KIND:FOLDER or phantoms:N.")
    images: Path | None = parameter(None, "Where the pictures are, if not there.")
    split: str | None = parameter(None, "Only this split.")
    ages: Ages = parameter(
        "adults", "Whose radiographs: known adults', also those of unknown age, or all.", young=True
    )
    keep_ids: bool = parameter(
        False,
        "Write ids, sites and file names as they are, not as salted hashes.",
        young=True,
    )
    view: Literal["PA", "AP"] | None = parameter(None, "Only this view.")
    count: int | None = parameter(None, "At most so many radiographs, one per patient.", ge=1)
    every: bool = parameter(
        False,
        "Hosts are all radiographs, not only adults without finding; what they show stays unsaid.",
    )
    plant: bool = parameter(False, "Plant findings in them, all independent of each other.")
    where: Literal["internal", "external"] = parameter(
        "external", "Whether a test is of the same institution as the training."
    )


class StudyEditor(EditorChoice, Operating):
    """The editor, and its operating point."""

    model_config = _STAGE
    error: ClassVar[type[RoentModError]] = StudyError


class StudyPlanting(PlantPlan):
    """Known truth: findings are painted into the training source's radiographs without finding."""

    model_config = _STAGE
    editor: str = parameter("painter", "Puts the findings in; labels are as true as it is exact.")


class StudyValidation(ValidatePlan):
    """The editor's validation."""

    model_config = _STAGE
    baselines: int = parameter(20, "Radiographs to edit.", ge=2)
    extractor: str = parameter(
        "judge", "Features of pFID: judge, inception, xrv or rad-dino[:SOURCE]."
    )


class StudyAudit(AuditPlan, Rules, Foreign):
    """Audits: of `classifiers` as they are (before), and of every retrained one (after)."""

    model_config = _STAGE
    classifiers: dict[str, str] = parameter({}, "Name to form, as roentmod audit takes it.")
    source: Source | None = parameter(
        None, "Radiographs without finding that are edited; default: the first internal test's."
    )
    baselines: int = parameter(40, "Radiographs to edit.", ge=2)
    unseen: str | None = parameter(
        None,
        "Another editor that audits retrained classifiers, too: one whose pictures did not teach "
        "them.",
        young=True,
    )
    paired: bool = parameter(
        False,
        "Before and after of the same pictures: audits after read `classifiers`, too, and the "
        "other editor also audits these before.",
        young=True,
    )

    def more(self) -> dict[str, Any]:
        """Return what differs from the defaults, less what the study's keys hold besides."""
        fields = (AuditPlan.model_fields | Rules.model_fields).items()
        fixed = {*_COMMON, *Operating.model_fields, "margin"}
        plain = self.part(AuditPlan).facts() | self.part(Rules).facts()
        return {n: plain[n] for n, f in fields if n not in fixed and getattr(self, n) != f.default}


class StudyAugment(AugmentPlan):
    """The counterfactual training set."""

    model_config = _STAGE
    editor: str | None = parameter(None, "Another editor than the study's.")
    baselines: int | None = parameter(
        None, "Radiographs without finding of the training split; default: all.", ge=1
    )
    matrix: Path | None = parameter(
        None, "JSON of roentmod cooccurrence for soft labels; default: NIH's, bundled."
    )


class StudyRetrain(RetrainPlan):
    """The retraining."""

    model_config = _STAGE


class StudyPlan(Plan):
    """One study."""

    error: ClassVar[type[RoentModError]] = StudyError
    name: str = parameter(..., "Its title.")
    findings: tuple[str, ...] = parameter(
        ..., "Heads of the classifiers, and findings that are edited.", min_length=1
    )
    pairs: Pairs = parameter(
        (), "Suspected shortcuts, [cause, read]; both directions where both are suspected."
    )
    train: Source = parameter(
        ...,
        'Its splits "train" and "val" train and choose; without "val", a tenth of the training '
        "patients choose.",
    )
    tests: dict[str, Source] = parameter(
        ..., "Where classifiers are tested, by name: letters, digits, - and _."
    )
    device: str = parameter("cpu", "torch device of editors, classifiers and training.")
    plant: StudyPlanting | None = parameter(None, "Findings to plant; default: labels as they are.")
    editor: StudyEditor = parameter(StudyEditor(), "Makes counterfactuals.")
    validation: StudyValidation | None = parameter(None, "Default: left out.", alias="validate")
    audit: StudyAudit | None = parameter(None, "Default: both audits are left out.")
    augment: StudyAugment | None = parameter(None, "The training set.")
    retrain: StudyRetrain = parameter(..., "The retraining.")

    @model_validator(mode="before")
    @classmethod
    def _common(cls, values: Any) -> Any:
        """Give each stage what the study says for all."""
        if not isinstance(values, Mapping) or "findings" not in values:
            return values
        findings, pairs = values["findings"], values.get("pairs") or ()
        editor = _mapping(values.get("editor"))
        point = {n: editor[n] for n in Operating.model_fields if n in editor}
        common = {
            "plant": {"findings": findings, "pairs": _apart(pairs)},
            "validate": point | {"findings": findings},
            "audit": point | {"findings": findings},
            "augment": point | {"findings": findings},
            "retrain": {"findings": findings, "pairs": pairs},
        }
        usual: dict[str, Any] = {"augment": {}, "retrain": {}}
        stages = {n: usual.get(n) if values.get(n) is None else values[n] for n in common}
        merged = {n: _merged(n, v, common[n]) for n, v in stages.items()}
        return {**values, **{n: v for n, v in merged.items() if v is not None}}

    @field_validator("findings", mode="after")
    @classmethod
    def _canonical(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            finding(name)
        return names

    @model_validator(mode="after")
    def _fits(self) -> StudyPlan:
        for name, source in self.tests.items():
            check_test(name, source.where)
        alone = self.audit and self.audit.paired and self.audit.source
        if not self.tests and not alone:
            raise StudyError("A study has one test at least; got none. Name it under tests.")
        same = [one for one in self.tests.values() if one.source == self.train.source]
        if any(one.keep_ids != self.train.keep_ids for one in same):
            raise StudyError(
                "Patients of the training are told apart from those of a test by their ids; got "
                f"keep_ids for {self.train.source} in one place, and not in another. Say the same."
            )
        return self

    @classmethod
    def of(cls, values: Any) -> StudyPlan:
        """Return the study that a file or a script says.

        Raises:
            StudyError: an unknown word, or a value that does not fit; the message names the place.
            RoentModError: a stage's plan that makes no sense.
        """
        if isinstance(values, cls):
            return values
        try:
            return cls.model_validate(values, context=WHOLE)
        except ValidationError as error:
            raise StudyError(located(error.errors()[0], cls)) from error

    def facts(self) -> dict[str, Any]:
        """Return what records hold, which `of` takes again."""
        facts = super().facts()
        stages = {name: value for name, value in facts.items() if name in _STAGES and value}
        own = {s: {n: v for n, v in of.items() if n not in _COMMON} for s, of in stages.items()}
        return facts | own

    @property
    def settings(self) -> dict[str, Any]:
        """The editor's operating point."""
        return self.editor.settings

    @property
    def augmenting(self) -> AugmentPlan | None:
        """The training set's plan; None where no arm needs one."""
        needed = self.augment is not None and self.retrain.needs_training_set
        return self.augment.part(AugmentPlan) if needed and self.augment else None


def _merged(name: str, values: Any, common: Mapping[str, Any]) -> Any:
    """Return a stage with what the study says for all.

    Raises:
        StudyError: the stage says itself what the study says.
    """
    if not isinstance(values, Mapping):
        return values
    # Older files say a validation's options apart.
    values = dict(values)
    if name == "validate" and isinstance(values.get("options"), Mapping):
        values |= values.pop("options")
    for word in _COMMON:
        if word in values:
            raise StudyError(
                f"{name} takes {word} from the study; got '{word}' there. Remove it there."
            )
    return {**common, **values}


def _mapping(values: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, and nothing of what is none: its own field refuses that."""
    return values if isinstance(values, Mapping) else {}


def _apart(pairs: Any) -> Any:
    """Return each pair once, in its first direction, whatever its findings are called."""
    kept: dict[Any, Any] = {}
    try:
        for pair in pairs:
            kept.setdefault(frozenset(finding(name).name for name in pair), pair)
    # The field of pairs says what is wrong with them.
    except (RoentModError, TypeError, AttributeError):
        return pairs
    return list(kept.values())
