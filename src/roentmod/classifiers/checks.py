"""Checks of every batch, going in and coming out, and reading that survives bad answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roentmod.errors import ClassifierError
from roentmod.interfaces import Classifier

__all__ = [
    "NotFiniteError",
    "Reading",
    "as_array",
    "check_finite",
    "check_images",
    "check_shape",
    "constant_heads",
    "read",
]

Array = NDArray[np.float32]
# Fewer images say nothing about a head that does not move.
MIN_IMAGES = 8
# Range of a head's logits, relative to their size, that is rounding and no answer.
_STILL = 1e-5


class NotFiniteError(ClassifierError):
    """Some images got NaN or infinity; reading them one by one may save the others."""


class Reading(NamedTuple):
    """Answers for a batch.

    Attributes:
        logits: n x k float32, NaN in the rows that failed.
        status: "ok", "not_finite" or "classifier_failed", one per image.
        message: why, in one line; empty where all is well.
    """

    logits: Array
    status: list[str]
    message: str


def check_images(images: Any, size: int) -> None:
    """Refuse anything but n x size x size float32 in [0, 1].

    Raises:
        ClassifierError: in one message, whatever is wrong.
    """
    shape = "x".join(map(str, np.shape(images)))
    kind = getattr(images, "dtype", type(images).__name__)
    got = f"{shape} {kind}"
    good = kind == np.float32 and np.ndim(images) == 3 and np.shape(images)[1:] == (size, size)
    if good and images.size:
        low, high = float(images.min()), float(images.max())
        good = low >= 0 and high <= 1
        got += f" from {low:g} to {high:g}"
    if not good:
        raise ClassifierError(
            f"Images must be n x {size} x {size} float32 display values in [0, 1]; got {got}. "
            f"Pad to a square, resize to {size} and scale to [0, 1]."
        )


def check_shape(answer: Any, images: int, heads: Sequence[str]) -> NDArray[np.float64]:
    """Return what a model answered as images x heads float64.

    Raises:
        ClassifierError: no numbers, or another shape.
    """
    values = as_array(answer)
    rule = f"A classifier must answer {images} x {len(heads)} numbers (images x heads)"
    if values.dtype.kind not in "fiu":
        raise ClassifierError(f"{rule}; got {values.dtype}. Return an array of floats.")
    if values.shape != (images, len(heads)):
        shape = "x".join(map(str, values.shape)) or "one number"
        raise ClassifierError(f"{rule}; got {shape}. Check its labels, and which output is meant.")
    return values.astype(np.float64)


def check_finite(values: NDArray[np.floating], heads: Sequence[str]) -> None:
    """Refuse NaN and infinity in `values`, images x heads.

    Raises:
        NotFiniteError: with the heads and the numbers of the images.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        columns = ", ".join(name for name, is_bad in zip(heads, bad.any(0), strict=True) if is_bad)
        rows = [str(i) for i in np.flatnonzero(bad.any(1))]
        shown = ", ".join(rows[:12]) + (f" and {len(rows) - 12} more" if len(rows) > 12 else "")
        raise NotFiniteError(
            f"Answers must be finite; got NaN or infinity from head {columns} for image {shown} "
            "of the batch (counted from 0). Run the model in float32, and look at these images."
        )


def as_array(answer: Any) -> NDArray[Any]:
    """Return an array or tensor (of any device) as a numpy array; lists must be rectangular.

    Raises:
        ClassifierError: it is neither.
    """
    if hasattr(answer, "detach"):
        # bfloat16 has no form in numpy.
        answer = answer.detach().float().cpu()
    try:
        return np.asarray(answer)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ClassifierError(
            f"A classifier must answer an array; got {type(answer).__name__} ({error}). "
            "Return images x heads numbers."
        ) from error


def constant_heads(logits: NDArray[np.floating], findings: Sequence[str]) -> tuple[str, ...]:
    """Return the `findings` whose column of `logits` (n x k) is the same for every image.

    Rows with NaN (images that failed) are passed over.

    Raises:
        ClassifierError: fewer than eight images are left, or k is not the number of findings.
    """
    if logits.ndim != 2 or logits.shape[1] != len(findings):
        raise ClassifierError(
            f"Logits must be n x {len(findings)}, one column per finding; got "
            f"{'x'.join(map(str, logits.shape))}. Give those of one classifier."
        )
    values = logits[np.isfinite(logits).all(1)].astype(np.float64)
    if len(values) < MIN_IMAGES:
        raise ClassifierError(
            f"Constant heads are found by at least {MIN_IMAGES} images; got {len(values)} with "
            "finite logits. Give more."
        )
    moved = np.ptp(values, axis=0) > _STILL * np.maximum(1, np.abs(values).max(0))
    return tuple(name for name, moves in zip(findings, moved, strict=True) if not moves)


def read(classifier: Classifier, images: Array) -> Reading:
    """Read images (n x size x size) as far as they can be read; raise only for wrong images.

    A batch with answers that are not finite is read again image by image, so that one bad image
    does not cost the others. Anything else (an endpoint that is down, a wrong number of heads, an
    exception of the model) concerns the whole batch and is not tried again.

    Raises:
        ClassifierError: the images have another size, range or type than the classifier takes.
    """
    check_images(images, classifier.size)
    try:
        return Reading(_answer(classifier, images), ["ok"] * len(images), "")
    except NotFiniteError as error:
        message = str(error)
    # The model is foreign code: whatever it raises must not end the run.
    except Exception as error:
        return _failed(classifier, len(images), error)
    if len(images) == 1:
        return Reading(_nothing(classifier, 1), ["not_finite"], message)
    singles = [read(classifier, images[i : i + 1]) for i in range(len(images))]
    status = [one.status[0] for one in singles]
    other = [one.message for one in singles if one.status[0] == "classifier_failed"]
    return Reading(np.concatenate([one.logits for one in singles]), status, (other or [message])[0])


def _answer(classifier: Classifier, images: Array) -> Array:
    answer = check_shape(classifier.logits(images), len(images), classifier.findings)
    check_finite(answer, classifier.findings)
    return answer.astype(np.float32)


def _failed(classifier: Classifier, images: int, error: Exception) -> Reading:
    text = " ".join(str(error).split())
    known = isinstance(error, ClassifierError)
    message = text if known else f"The classifier raised {type(error).__name__}: {text}"
    return Reading(_nothing(classifier, images), ["classifier_failed"] * images, message)


def _nothing(classifier: Classifier, images: int) -> Array:
    return np.full((images, len(classifier.findings)), np.nan, np.float32)
