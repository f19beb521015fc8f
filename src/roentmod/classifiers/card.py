"""Labels, input and outputs of a model, as its card declares them (``docs/classifiers.md``).

Nothing of this is guessed from the numbers a model answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from roentmod.classifiers.heads import Labels
from roentmod.documents import read_document
from roentmod.errors import ClassifierError, InputError

__all__ = ["Card", "json_object", "make_card", "sidecar"]

Array = NDArray[np.float32]
# No text and no yes or no stands for a number.
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# What must be declared, as an example.
_EXAMPLE: dict[str, Any] = {
    "labels": ["Edema", "..."],
    "size": 224,
    "range": [0, 1],
    "outputs": "probabilities",
}
_SHOWN = 20
# Probabilities are kept this far from 0 and 1 before they become logits (at most 13.8).
CLIP = 1e-6
# Name of the card in a folder of Hugging Face's.
FOLDER_CARD = "roentmod.json"


class Card(BaseModel):
    """Declaration of a model.

    Attributes:
        labels: names of its heads in the order of its outputs, k of them.
        size: side in pixels of the square pictures it takes.
        range: what display values 0 and 1 become on the way in.
        channels: 1, or 3 equal ones.
        mean, std: one per channel, or one for all, taken off after `range`; empty where there is no
            such step.
        outputs: kind of its answers. Probabilities become logits, clipped to 1e-6 from 0 and 1.
        activation: how its logits become probabilities: each by itself, or all together. A softmax
            logit becomes one against the rest, which for two classes is their difference.
        check_outputs: refuse "logits" that all stay in [0, 1], as probabilities do.
        name: in tables.
        mapping: head -> finding, over and above the aliases.
        output: which output is meant where a model has several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[str, ...]
    size: StrictInt = Field(ge=8, le=4096)
    range: tuple[_Number, _Number]
    channels: Literal[1, 3] = 1
    mean: tuple[_Number, ...] = ()
    std: tuple[_Number, ...] = ()
    outputs: Literal["logits", "probabilities"] = "logits"
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    check_outputs: StrictBool = False
    name: str = ""
    mapping: Labels = {}
    output: str | None = None

    @pydantic.field_validator("labels", mode="before")
    @classmethod
    def _names(cls, value: Any) -> tuple[str, ...]:
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        if not listed or not value or not all(isinstance(name, str) for name in value):
            raise ValueError(f"labels must be a list of names, got {value!r}")
        if not all(map(str.isprintable, value)):
            raise ValueError(f"labels must be printable, got {value!r}")
        return tuple(value)

    @pydantic.field_validator("channels", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"channels is 1 or 3, got {value!r}")
        return value

    @pydantic.field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError(f"name must be printable, got {value!r}")
        return value

    @pydantic.field_validator("mean", "std", mode="before")
    @classmethod
    def _per_channel(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        values = [value] if isinstance(value, int | float) else value
        alike = isinstance(values, list | tuple) and len(values) == 1
        return list(values) * info.data.get("channels", 1) if alike else values

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Card:
        wrong = None
        if not self.range[0] < self.range[1]:
            wrong = f"range must be two rising numbers, got {self.range}"
        elif {len(self.mean), len(self.std)} not in ({0}, {self.channels}):
            wrong = f"mean and std must both be given, one per channel, got {self.mean}, {self.std}"
        elif self.std and min(self.std) <= 0:
            wrong = f"std must be positive, got {self.std}"
        elif self.activation == "softmax" and len(self.labels) < 2:
            wrong = f"a softmax needs at least two labels, got {len(self.labels)}"
        if wrong:
            raise ValueError(wrong)
        return self

    def prepare(self, images: Array) -> Array:
        """Return n x size x size display values as the model wants them, n x channels x h x w."""
        low, high = self.range
        batch = images[:, None] if (low, high) == (0, 1) else images[:, None] * (high - low) + low
        if self.channels > 1:
            batch = np.repeat(batch, self.channels, axis=1)
        if self.mean:
            mean, std = (np.array(v, np.float32)[:, None, None] for v in (self.mean, self.std))
            batch = (batch - mean) / std
        return np.ascontiguousarray(batch, np.float32)

    def to_logits(self, values: NDArray[np.float64]) -> Array:
        """Return what the model answered (n x k, finite) as logits of each head by itself.

        Raises:
            ClassifierError: "probabilities" outside [0, 1].
        """
        if self.outputs == "probabilities":
            if values.size and (values.min() < 0 or values.max() > 1):
                raise ClassifierError(
                    "Probabilities must be in [0, 1]; got "
                    f"{values.min():g} to {values.max():g}. Declare outputs='logits'."
                )
            chance = np.clip(values, CLIP, 1 - CLIP)
            return np.asarray(np.log(chance) - np.log1p(-chance), np.float32)
        if self.activation == "softmax":
            values = _one_against_rest(values)
        return values.astype(np.float32)


def _one_against_rest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return z_i - log sum_{j != i} exp z_j: the log odds of class i under a softmax."""
    result = np.empty_like(values)
    for i in range(values.shape[1]):
        rest = np.delete(values, i, axis=1)
        result[:, i] = values[:, i] - np.logaddexp.reduce(rest, axis=1)
    return result


def sidecar(path: Path) -> dict[str, Any]:
    """Return the card beside the weights `path`, or in a model's folder; {} where there is none.

    Raises:
        ClassifierError: it is no JSON object.
    """
    inside = path.is_dir()
    names = (FOLDER_CARD,) if inside else (f"{path.name}.json", f"{path.stem}.json")
    for file in ((path if inside else path.parent) / name for name in names):
        if file.is_file():
            return json_object(file)
    return {}


def json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that the file `path` holds.

    Raises:
        ClassifierError: it cannot be read, or holds something else.
    """
    try:
        return read_document(path)
    except (OSError, InputError) as error:
        raise ClassifierError(str(error)) from error


def make_card(declared: Mapping[str, Any], *, where: str) -> Card:
    """Check a declaration; `where` names in messages the place where it should stand.

    Raises:
        ClassifierError: a word is missing, unknown or wrong.
    """
    strange = sorted(set(declared) - set(Card.model_fields))
    if strange:
        raise ClassifierError(
            f"A classifier is declared by {', '.join(sorted(Card.model_fields))}; got "
            f"{', '.join(strange)} ({where}). Take it out, or correct its spelling."
        )
    missing = [word for word in _EXAMPLE if declared.get(word) is None]
    if missing:
        raise ClassifierError(_incomplete(declared, missing, where))
    try:
        return Card(**{key: value for key, value in declared.items() if value is not None})
    except ValidationError as error:
        raise ClassifierError(
            f"The classifier is declared wrongly ({where}): {_first(error)}."
        ) from error


def _incomplete(declared: Mapping[str, Any], missing: Sequence[str], where: str) -> str:
    """Return what is missing, and a whole card to be corrected and kept."""
    first, *others = missing
    also = f", as {'are' if len(others) > 1 else 'is'} {' and '.join(others)}" if others else ""
    example = {k: declared.get(k) or value for k, value in _EXAMPLE.items()}
    if len(example["labels"]) > _SHOWN:
        example["labels"] = [*example["labels"][:2], "..."]
    shown = json.dumps(example, default=str)
    options = ", ".join("input_range=" if word == "range" else f"{word}=" for word in missing)
    return (
        f"A classifier must declare labels, size, range and outputs; '{first}' is missing{also}. "
        f"Write {where}, such as {shown}: labels in the order of the outputs, range what black and "
        "white become, outputs logits or probabilities (docs/classifiers.md). Or, in Python, give "
        f"{options}."
    )


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    word, *_ = problem["loc"]
    return f"{word}: {problem['msg']}, got {problem['input']!r}"
