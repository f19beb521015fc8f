"""Pictures and labels that the trainings of a run share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from roentmod.learning.pictures import Pictures
from roentmod.learning.samples import Floats, Samples

__all__ = ["CONTROL", "Counterfactuals", "Material"]

CONTROL = -2


@dataclass(frozen=True, eq=False)
class Counterfactuals:
    """Labels of the m pictures of a counterfactual set.

    Attributes:
        added: m x k; which heads were added to the picture, none to a control.
        control: m; row of each counterfactual's control, -1 where there is none, `CONTROL` of what
            is itself a control: it comes beside its counterfactual, or not at all.
        targets: labels by arm, m x k.
    """

    added: NDArray[np.bool_]
    control: NDArray[np.int64]
    targets: dict[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Material:
    """What a training learns from; all but `erm` is shared by all trainings of a run.

    Attributes:
        train, val: the splits, with their pictures.
        extra: the counterfactual set, with its pictures; None where there is none.
        erm: logits of the erm of the same seed, for arms that begin after it: of `jtt`, those of
            the early one for the training split, n x k; of `teacher`, those for `extra`, m x k.
    """

    train: tuple[Samples, Pictures]
    val: tuple[Samples, Pictures]
    extra: tuple[Counterfactuals, Pictures] | None = None
    erm: Floats | None = None
