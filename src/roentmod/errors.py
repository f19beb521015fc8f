"""Every error the package raises on purpose.

::

    RoentModError
    |-- InputError            a file or picture that cannot be used
    |   |-- UnreadableError       not an image, truncated, unsupported encoding
    |   `-- UnsuitableError       readable, but not one frontal grey-scale radiograph
    |       |-- AnatomyError          its lungs and heart are not found reliably
    |       `-- BurnedInError         text is burned into it, and such are refused
    |-- EditError             an edit that cannot be carried out as requested
    |   |-- UnknownFindingError   the finding is not in the catalogue
    |   `-- NoEffectiveStepsError strength x steps leaves nothing to do
    |-- ClassifierError       images a classifier cannot take, or answers that cannot be used
    |-- DatasetError          a table of radiographs that cannot be used as requested
    |-- AuditError            an audit that cannot be run or continued as requested
    |-- RetrainError          a training that cannot be run or continued as requested
    |-- StudyError            a study file that cannot be read or run as requested
    |-- ReadersError          a reader study that cannot be made, held or analysed as requested
    |-- RunError              a run that cannot be carried out in its folder or by its workers
    |   `-- UnfinishedError       a shard is done, the run is not
    |-- WeightsError          a model folder that is missing, incomplete or unsafe
    |   `-- MismatchError         host and generator do not fit together
    `-- MissingDependencyError an optional library is not installed

A message states the rule, what was got, and what to do.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AnatomyError",
    "AuditError",
    "BurnedInError",
    "ClassifierError",
    "DatasetError",
    "EditError",
    "InputError",
    "MismatchError",
    "MissingDependencyError",
    "NoEffectiveStepsError",
    "ReadersError",
    "RetrainError",
    "RoentModError",
    "RunError",
    "StudyError",
    "UnfinishedError",
    "UnknownFindingError",
    "UnreadableError",
    "UnsuitableError",
    "WeightsError",
    "printable",
]

# Longer ones quote a file at length.
_LONGEST = 2000


def printable(text: str) -> str:
    """Return a text as one line that is safe on a terminal and in a log.

    Line ends become spaces; control characters, escape sequences included, and what the text's
    encoding could not say become "?"; what is too long is cut in its middle.
    """
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]} ... {line[-half:]}"


class RoentModError(Exception):
    """Root of all errors of this package; its message is one printable line."""

    def __init__(self, message: str = "", *details: Any) -> None:
        """Keep `message` as `printable` makes it, and what a kind of error adds to it."""
        super().__init__(printable(str(message)), *details)


class InputError(RoentModError):
    """A file or picture cannot be used.

    Attributes:
        status: of its item in a run.
    """

    status: ClassVar[str] = "unreadable"


class UnreadableError(InputError):
    """The file is no image, is truncated, or is encoded in an unsupported way."""


class UnsuitableError(InputError):
    """The file is readable but is not one frontal grey-scale radiograph."""


class AnatomyError(UnsuitableError):
    """Lungs and heart are not found well enough to be used."""


class BurnedInError(UnsuitableError):
    """Text is burned into the picture, and such pictures are refused."""

    status = "burned_in"


class EditError(RoentModError):
    """An edit cannot be carried out as requested."""


class UnknownFindingError(EditError):
    """The finding is not in the catalogue."""


class NoEffectiveStepsError(EditError):
    """Strength times steps leaves no denoising step."""


class ClassifierError(RoentModError):
    """Images have a size, range or type that a classifier does not take, or its answer is wrong."""


class DatasetError(RoentModError):
    """A table of radiographs is malformed, or cannot be used as requested."""


class AuditError(RoentModError):
    """An audit cannot be run or continued as requested."""


class RetrainError(RoentModError):
    """A training cannot be run or continued as requested."""


class StudyError(RoentModError):
    """A study file cannot be read, or a study cannot be run as requested."""


class ReadersError(RoentModError):
    """A reader study cannot be made, held or analysed as requested."""


class RunError(RoentModError):
    """A run cannot be carried out in its folder or by its workers."""


class UnfinishedError(RunError):
    """A shard of a run is done; the run itself is not."""


class WeightsError(RoentModError):
    """A model folder is missing, incomplete or unsafe to load."""


class MismatchError(WeightsError):
    """Host and generator do not fit together."""


class MissingDependencyError(RoentModError):
    """An optional library is not installed."""
