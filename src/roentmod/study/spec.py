"""What a study file says: one YAML mapping, checked as a whole before anything is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from roentmod.edits import Severity
from roentmod.errors import StudyError
from roentmod.retrain import Plan

__all__ = ["Auditing", "Augmenting", "Editing", "Planting", "Source", "Spec", "Validating", "read"]


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
    device: str = "cpu"
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    strength: float = 0.4
    guidance_scale: float = 4.0
    num_inference_steps: int | None = None


class Validating(_Part):
    """The editor's validation; `options` are those of `roentmod.validation.Plan`."""

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
        train: whose splits "train" and "val" train and choose.
        tests: where the classifiers are tested, by name.
        plant: findings to plant; None takes the labels as they are.
        editor: makes counterfactuals.
        validate: None leaves it out.
        audit: None leaves both audits out.
        augment: the training set.
        retrain: options of `roentmod.retrain.Plan`, less findings and pairs.
    """

    name: str
    findings: tuple[str, ...] = Field(min_length=1)
    pairs: tuple[tuple[str, str], ...] = ()
    train: Source
    tests: dict[str, Source] = Field(min_length=1)
    plant: Planting | None = None
    editor: Editing = Editing()
    validation: Validating | None = Field(default=None, alias="validate")
    audit: Auditing | None = None
    augment: Augmenting = Augmenting()
    retrain: dict[str, Any] = {}

    @property
    def training(self) -> Plan:
        """What is trained."""
        return Plan(findings=self.findings, pairs=self.pairs, **self.retrain)


def read(path: Path) -> Spec:
    """Return the study that a YAML file describes.

    Raises:
        StudyError: no such file, no YAML, an unknown word, or a value that does not fit; the
            message names the first place.
        RetrainError: training options that do not fit.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise StudyError(f"A study is a YAML file; reading {path.name} gave: {why}") from error
    try:
        spec = Spec.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise StudyError(
            f"{path.name}: {place}: {first['msg'].lower()}; got '{first['input']}'. Correct it."
        ) from error
    unknown = [name for name in spec.retrain if name not in Plan.__dataclass_fields__]
    if unknown or {"findings", "pairs"} & set(spec.retrain):
        known = [n for n in Plan.__dataclass_fields__ if n not in ("findings", "pairs")]
        raise StudyError(
            f"{path.name}: retrain takes {', '.join(known)}; got "
            f"'{(unknown or ['findings or pairs'])[0]}'. Correct it."
        )
    _ = spec.training
    return spec
