"""Parts that verbs share: radiographs, the editor, its operating point, workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices

from roentmod.edits import GUIDANCE_SCALE, STRENGTH, Composite, Control, Edit, control_of
from roentmod.errors import (
    ClassifierError,
    DatasetError,
    EditError,
    RoentModError,
    RunError,
    WeightsError,
)
from roentmod.plans.base import Listed, Plan, parameter

__all__ = [
    "Aged",
    "Ages",
    "Arithmetic",
    "Audited",
    "BurnedIn",
    "Composed",
    "EditorChoice",
    "Engine",
    "Foreign",
    "Hosts",
    "InDomain",
    "Located",
    "Matrix",
    "OnDevice",
    "Operating",
    "Pictures",
    "PlanterChoice",
    "Running",
    "RunningStages",
    "Selection",
    "Storage",
    "Trusting",
    "Validated",
]

Engine = Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
Arithmetic = Literal["float32", "float16", "bfloat16"]
# Of the radiographs that are edited: known adults, those of unknown age too, or everyone.
Ages = Literal["adults", "unknown", "all"]


class Operating(Plan):
    """The editor's operating point; each word has diffusers' meaning."""

    error: ClassVar[type[RoentModError]] = EditError
    strength: float = parameter(STRENGTH, "Fraction of the noise schedule.", gt=0, le=1)
    guidance_scale: float = parameter(
        GUIDANCE_SCALE, "Classifier-free guidance; 1 or less is none.", ge=0, le=100
    )
    num_inference_steps: int | None = parameter(
        None, "num_inference_steps; default: the generator's.", option="steps", ge=1, le=1000
    )

    def edit(self, *findings: str, **changes: Any) -> Edit:
        """Return the edit of `findings` at this operating point, with `changes`."""
        return Edit(findings, **(self.settings | changes))

    @property
    def control(self) -> Control:
        """What findings added at this operating point are compared with."""
        return control_of(getattr(self, "composite", Edit.composite))

    @property
    def settings(self) -> dict[str, Any]:
        """The operating point, as an `Edit` takes it."""
        names = [*Operating.model_fields, "composite"]
        return {name: getattr(self, name) for name in names if name in type(self).model_fields}


class Composed(Operating):
    """An operating point, and how pictures return to native resolution."""

    composite: Composite = parameter(
        "sham", "How the change returns to native resolution.", young=True
    )


class OnDevice(Plan):
    """Where torch runs."""

    device: str = parameter("cpu", "torch device, such as cuda; others ignore it.")


class Trusting(Plan):
    """Whether programs may be loaded; files that name models cannot say so."""

    error: ClassVar[type[RoentModError]] = WeightsError
    trust: bool = parameter(
        False,
        "Load programs, which can run any code: TorchScript, .pt2, pickles, python:.",
        validation_alias=AliasChoices("trust", "allow_pickle"),
    )


class EditorChoice(Trusting):
    """An editor by name, and how it runs."""

    error: ClassVar[type[RoentModError]] = WeightsError
    editor: str = parameter(
        "mini",
        "mini, painter, a diffusers folder, a hub id, or a .safetensors checkpoint (needs a host).",
        validation_alias=AliasChoices("editor", "name"),
    )
    host: str | None = parameter(None, "Folder or hub id that gives autoencoder and scheduler.")
    lora: Listed = parameter(
        (), "LoRA on top: PATH[:scale]; repeat for more.", form="repeat", young=True
    )
    profile: str | None = parameter(None, "Prompt profile; default: the folder's own.")
    engine: Engine = parameter("auto", "Runs the model.")
    precision: Arithmetic = parameter("float32", "Arithmetic of the model.")
    vae_tiling: bool = parameter(
        False, "Autoencoder in tiles: little memory, seams may show.", young=True
    )
    deterministic: bool = parameter(False, "Same bits in any company; slower.")
    batch_size: int = parameter(8, "Most rows in a batch of the model.", ge=1)

    def loading(self) -> dict[str, Any]:
        """Return the options of `roentmod.editors.Editor.load`."""
        return self.model_dump(exclude={"editor", "trust"}) | {"allow_pickle": self.trust}


class Foreign(Plan):
    """How classifiers of others are read."""

    error: ClassVar[type[RoentModError]] = ClassifierError
    activation: Literal["sigmoid", "softmax"] | None = parameter(
        None, "Labels of a model that does not say: several at once (sigmoid) or one (softmax)."
    )


class PlanterChoice(EditorChoice):
    """An editor that puts true findings in, by name, and how it runs."""

    editor: str = parameter("painter", "painter, mini, a diffusers folder, or a hub id.")


class BurnedIn(Plan):
    """What is done about text that is burned into radiographs."""

    error: ClassVar[type[RoentModError]] = DatasetError
    refuse_burned_in: bool = parameter(
        False,
        "Leave out radiographs with burned-in text: their header says so, or letters are found.",
        young=True,
    )
    mask_burned_in: bool = parameter(
        False, "Cover burned-in text beside the body; over it none is covered.", young=True
    )


class Located(Plan):
    """Where the pictures of a data set are."""

    error: ClassVar[type[RoentModError]] = DatasetError
    images: Path | None = parameter(None, "Where the pictures are, if not in the data folder.")


class Aged(Plan):
    """Whose radiographs count."""

    error: ClassVar[type[RoentModError]] = DatasetError
    ages: Ages = parameter(
        "adults", "Whose radiographs: known adults', also those of unknown age, or all."
    )


class Pictures(BurnedIn, Located):
    """The pictures of a data set, and what of them may be written."""

    keep_ids: bool = parameter(
        False, "Write ids, sites and file names as they are, not as salted hashes."
    )


class Hosts(Pictures, Aged):
    """Radiographs that findings are put in."""

    baselines: int | None = parameter(None, "Patients; default: all.", ge=1)


class Selection(Hosts):
    """Radiographs that a verb edits, one per patient."""

    baselines: int | None = parameter(None, "Patients to edit; default: all.", ge=1)
    split: str | None = parameter(None, "Only this split; default: train, where there is one.")


class Audited(Selection):
    """Radiographs that an audit edits."""

    baselines: int | None = parameter(100, "Patients to edit.", ge=1)
    split: str | None = parameter(None, "Only this split of the data.")


class Validated(Audited):
    """Radiographs that a validation edits."""

    baselines: int | None = parameter(40, "Patients to edit.", ge=1)


class Matrix(Plan):
    """Where soft labels come from."""

    error: ClassVar[type[RoentModError]] = DatasetError
    matrix: Path | None = parameter(None, "Of roentmod cooccurrence; default: NIH's, bundled.")


class Storage(Plan):
    """How a training set is kept."""

    error: ClassVar[type[RoentModError]] = DatasetError
    pictures: Literal["auto", "files", "webdataset", "parquet"] = parameter(
        "auto", "Files, or shards; auto: files up to 10,000, and shards for a store."
    )
    store: str | None = parameter(None, "Also put the set there: s3://bucket/set, gs://, ...")


class InDomain(Plan):
    """Which findings and pictures there are."""

    domain: str = parameter(
        "cxr", "Kind of picture: cxr, ct-slice, or the TOML file of a domain pack."
    )


class Running(Plan):
    """Who makes the parts of a run."""

    error: ClassVar[type[RoentModError]] = RunError
    workers: str = parameter(
        "serial", "Who works: serial, processes:N, shard:I/N, or ray[:ADDRESS]."
    )


class RunningStages(Running):
    """Who makes the parts of a run whose stages follow each other, which has no shards."""

    workers: str = parameter(
        "serial",
        "Who works: serial, processes:N, or ray[:ADDRESS]; the command may be started several "
        "times in one folder.",
    )
