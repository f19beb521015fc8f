"""The plan of a repair: a retraining of a given model, with the audits around it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import model_validator

from roentmod.errors import RetrainError, RoentModError
from roentmod.plans.base import Commas, Findings, parameter
from roentmod.plans.retrain import BASE, Arm, RetrainPlan

__all__ = ["RepairPlan"]


class RepairPlan(RetrainPlan):
    """Everything a repair does besides what it is given: the model, and the data.

    Both editors audit the model. What either calls a shortcut, or the pairs that are given, is
    what counterfactuals of `editor` are made for; `unseen` made none. Training starts from the
    model, once as `erm`, the control, which sees no counterfactual, and once per other arm, of
    which the first is the repair.
    """

    error: ClassVar[type[RoentModError]] = RetrainError
    findings: Findings = parameter(
        (), "Heads to keep, by commas; default: all that the data label.", form="commas"
    )
    arms: Annotated[tuple[Arm, ...], Commas] = parameter(
        (BASE, "pair"),
        "The control, erm, and the way of repairing, as of retrain; others may follow it.",
        form="commas",
    )
    start: str | None = parameter(None, "The model.", hidden=True)
    steps: int = parameter(600, "Optimiser steps of every training.", ge=1)
    learning_rate: float = parameter(3e-4, "The highest.", gt=0, le=1)
    evaluate_every: int = parameter(50, "Steps between looks at the validation split.", ge=1)
    editor: str = parameter("painter", "Makes the counterfactuals; audits before and after.")
    unseen: str = parameter(
        "mini", "Also audits before and after; the repaired model never saw its pictures."
    )
    hosts: Literal["no finding", "any"] = parameter(
        "no finding", "Training radiographs that counterfactuals are made of, as of augment."
    )
    set_baselines: int | None = parameter(None, "At most so many of them; default: all.", ge=1)

    @model_validator(mode="after")
    def _fits(self) -> RepairPlan:
        if self.editor == self.unseen:
            raise RetrainError(
                "A repair is audited by two editors, one of which made no counterfactual; got "
                f"'{self.editor}' twice. Give another --editor or --unseen."
            )
        if len(self.arms) < 2 or BASE not in self.arms or len(set(self.arms)) < len(self.arms):
            raise RetrainError(
                f"The arms of a repair are {BASE}, its control, and a way of repairing at least, "
                f"each once; got '{', '.join(self.arms)}'. Correct them."
            )
        return self

    @property
    def arm(self) -> Arm:
        """The arm that repairs."""
        return next(arm for arm in self.arms if arm != BASE)

    def training(self) -> dict[str, Any]:
        """Return what a retraining takes of it, but findings and pairs, and sides that follow."""
        follows = {"size", "through"} - self.model_fields_set
        names = RetrainPlan.model_fields.keys() - {"findings", "pairs"} - follows
        return {name: getattr(self, name) for name in names}
