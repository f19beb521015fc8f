"""The plan of a retraining, fixed before it begins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, model_validator

from roentmod.errors import RetrainError, RoentModError
from roentmod.plans.base import Commas, Findings, Pairs, Plan, Seeds, different, parameter

__all__ = [
    "ABOUT",
    "ARMS",
    "BASE",
    "BEFORE",
    "COUNTERFACTUAL_ARMS",
    "LATER_ARMS",
    "PAIRED_ARMS",
    "Arm",
    "Precision",
    "RetrainPlan",
    "Task",
    "check_test",
    "comparisons",
]

Arm = Literal[
    "erm",
    "oversampling",
    "reweighting",
    "balanced",
    "group_dro",
    "jtt",
    "dfr",
    "synthetic",
    "isolated",
    "soft",
    "pair",
    "pair_hinge",
    "staged",
    "teacher",
]
Precision = Literal["no", "fp16", "bf16"]
ARMS: tuple[Arm, ...] = get_args(Arm)
COUNTERFACTUAL_ARMS: tuple[Arm, ...] = ARMS[ARMS.index("synthetic") :]
# These cannot do without the control of each counterfactual.
PAIRED_ARMS: tuple[Arm, ...] = ("pair", "pair_hinge", "teacher")
# These begin where the erm of the same seed has ended.
LATER_ARMS: tuple[Arm, ...] = ("jtt", "dfr", "teacher")
_USUAL: tuple[Arm, ...] = (
    "erm",
    "oversampling",
    "reweighting",
    "synthetic",
    "isolated",
    "soft",
    "pair",
)
BASE: Arm = "erm"
# The network that is started from, as it was, among the readings of a retraining.
BEFORE = "before"
ABOUT: dict[Arm, str] = {
    "erm": "Empirical risk minimisation: all rows and labels alike.",
    "oversampling": "Rows of rare groups are drawn more often (Idrissi et al., CLeaR 2022).",
    "reweighting": "Labels of rare groups count more: oversampling by the loss instead of draws.",
    "balanced": "As many rows of each group as the smallest has; the others are left out (balanced "
    "subsampling: Idrissi et al., CLeaR 2022).",
    "group_dro": "The greater a group's loss, the more it counts from step to step "
    "(distributionally robust optimisation: Sagawa et al., ICLR 2020).",
    "jtt": "Labels that an early erm gets wrong count more (just train twice: Liu et al., ICML "
    "2021).",
    "dfr": "The network of erm, its last layer fitted again with groups balanced, on validation "
    "rows, or training rows where those are too few (deep feature reweighting: Kirichenko et al., "
    "ICLR 2023).",
    "synthetic": "Counterfactuals in each batch, labelled for what was added only: plain synthetic "
    "positives.",
    "isolated": "Counterfactuals in each batch, all other findings absent.",
    "soft": "Counterfactuals in each batch, other findings at the rates at which they come with "
    "the one added.",
    "pair": "Counterfactual and control are seen in the same place and exposure; where their "
    "logits differ in what was not added, it costs a Huber loss (noisy counterfactual matching: "
    "arXiv 2505.24843; Teney et al., ECCV 2020). They have no labels.",
    "pair_hinge": "pair, and a counterfactual's own logit must rise by a margin above its "
    "control's.",
    "staged": "Counterfactuals alone first, labelled as in isolated, then real pictures alone "
    "(RoentGen-v2: arXiv 2508.16783).",
    "teacher": "Counterfactuals and controls in each batch: what was added is there, or not; of "
    "all else the target is what the erm of the same seed says of the control (distillation: "
    "Hinton et al., 2015).",
}
# The usual side that pictures are brought through.
_THROUGH = 224
# Tests name files; the other sets of a run have names already.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TAKEN = ("train", "val", "counterfactuals")


@dataclass(frozen=True)
class Task:
    """One training: an arm and a seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Its files' name."""
        return f"{self.arm}-{self.seed}"


def _all(value: Any) -> Any:
    """Return every arm for "all", anything else as it is."""
    return ARMS if value in ("all", ("all",), ["all"]) else value


class RetrainPlan(Plan):
    """Everything a retraining depends on besides pictures, labels and the machine.

    Arms differ in what they draw and how they weigh it, as `ABOUT` says; network, first weights,
    steps, schedule and augmentation are the same. Groups are the four of each pair
    (cause there or not, read there or not), or, without pairs, positives and negatives of each
    finding; with several pairs, a row counts by the mean over them. A batch has as many pictures
    of the training split in all arms but `staged`. Class weights even out what an arm's own draws
    and weights leave of the classes' imbalance; they are of the real pictures, and apply to them
    alone.

    Pictures are brought to the side `through` first, so that sharpness does not tell sources apart;
    those of a network that has learned larger ones already to its size: it is used on sharp ones.
    Absent, of what a source does not mention, fits reports, which pass over what is normal;
    uncertain is unknown. The learning rate rises linearly for the warm-up, then falls as half a
    cosine; weights decay as in AdamW (Loshchilov and Hutter, ICLR 2019).
    """

    error: ClassVar[type[RoentModError]] = RetrainError
    findings: Findings = parameter(..., "Heads of the classifiers, by commas.", form="commas")
    pairs: Pairs = parameter(
        (), "Suspected shortcut, 'Edema>Cardiomegaly'; repeat.", option="pair", form="repeat"
    )
    arms: Annotated[tuple[Arm, ...], BeforeValidator(_all), Commas] = parameter(
        _USUAL,
        f"Ways of training, by commas, of {', '.join(ARMS)}; or all.",
        form="commas",
    )
    seeds: Seeds = parameter((0, 1, 2), "Trainings per arm.", form="count")
    model: str = parameter(
        "densenet121", "densenet121, small, hf:FOLDER or python:MODULE:FUNCTION."
    )
    start: str | None = parameter(
        None,
        "Network to start from: .pt of retrain (or the .onnx beside it, or its folder), hf:FOLDER, "
        "xrv:NAME or FILE, python:FILE.py:FUNCTION. Heads that it shares are kept.",
        option="from",
        young=True,
    )
    layers: Literal["all", "last"] = parameter(
        "all",
        "Layers that learn: all (fine-tuning), or the last (the heads) of the network that is "
        "started from.",
        young=True,
    )
    size: int = parameter(
        224,
        "Side of its pictures, px; default: 224, or what the network that is started from takes.",
        optional=True,
        ge=16,
        le=1024,
    )
    through: int | None = parameter(
        _THROUGH,
        "Side, px, that every picture is brought to before its size; default: 224, or the size of "
        "the network that is started from where that is more.",
        optional=True,
        ge=16,
        le=4096,
    )
    unmentioned: Literal["unknown", "absent"] = parameter(
        "unknown", "State of an unmentioned finding."
    )
    steps: int = parameter(2000, "Optimiser steps of every training.", ge=1)
    batch: int = parameter(16, "Pictures per step, over all processes.", ge=2, le=65_536)
    learning_rate: float = parameter(1e-3, "The highest.", gt=0, le=1)
    weight_decay: float = parameter(0.01, "Of AdamW.", ge=0, le=1)
    warmup: float = parameter(0.1, "Share of steps in which the learning rate rises.", ge=0, lt=1)
    ema: float = parameter(0.998, "Decay of the moving average of weights.", ge=0, lt=1)
    clip: float = parameter(1.0, "Largest norm of the gradient.", gt=0)
    evaluate_every: int = parameter(100, "Steps between looks at the validation split.", ge=1)
    patience: int = parameter(10, "Looks without a better mean AUC that end a training.", ge=1)
    keep: Literal["best", "last"] = parameter(
        "best",
        "Weights to keep: of the look at the validation split with the best mean AUC, or the last, "
        "where validation has the same false links as training and would choose by them.",
        young=True,
    )
    share: float = parameter(
        0.25,
        "Counterfactuals among them and the pictures of the training split in a batch, of which "
        "there are as many as without; controls come on top.",
        gt=0,
        le=0.9,
    )
    pair_weight: float = parameter(
        1.0,
        "Lambda of pair and pair_hinge: weight of differences in what was not added.",
        gt=0,
        le=1000,
        young=True,
    )
    pair_margin: float = parameter(
        1.0,
        "Least rise of the added finding's logit over the control's, of pair_hinge.",
        gt=0,
        le=20,
        young=True,
    )
    pretraining: float = parameter(
        0.25, "Share of steps that staged learns from synthetic pictures.", gt=0, lt=1, young=True
    )
    jtt_early: float = parameter(
        0.1, "Share of steps after which erm shows jtt what it gets wrong.", gt=0, le=1, young=True
    )
    jtt_upweight: float = parameter(
        6.0,
        "What a label that the early erm gets wrong counts in jtt, per other label.",
        ge=1,
        le=1000,
        young=True,
    )
    group_step: float = parameter(
        0.01, "Step size of the group weights of group_dro.", gt=0, le=1, young=True
    )
    precision: Precision = parameter("no", "Mixed precision in training.")
    augmentation: bool = parameter(
        True, "Vary place, exposure and grain of training pictures; they are never mirrored."
    )

    @model_validator(mode="before")
    @classmethod
    def _sharp(cls, values: Any) -> Any:
        """Leave pictures as sharp as a network has learned them, unless a side is given."""
        if not isinstance(values, Mapping) or values.get("start") is None or "through" in values:
            return values
        size = values.get("size")
        sharper = isinstance(size, int) and size > _THROUGH
        return {**values, "through": size} if sharper else values

    @model_validator(mode="after")
    def _fits(self) -> RetrainPlan:
        different(self.findings, RetrainError, "Heads are")
        if self.layers == "last" and self.start is None:
            raise RetrainError(
                "Only the last layer learns where the others have learned before; got layers "
                "'last', and no network to start from. Give --from MODEL."
            )
        self._check_pairs()
        if BASE not in self.arms or len(set(self.arms)) < len(self.arms):
            raise RetrainError(
                f"Arms are of {', '.join(ARMS)}, each once, {BASE} among them, as all others are "
                f"compared with it; got '{', '.join(self.arms)}'. Correct them."
            )
        seeds = self.seeds
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise RetrainError(f"seeds must be different whole numbers, not negative; got {seeds}.")
        return self

    def _check_pairs(self) -> None:
        for cause, read in self.pairs:
            if cause == read or not {cause, read} <= set(self.findings):
                raise RetrainError(
                    f"A pair is of two different heads; got {cause} > {read}. Add both to the "
                    "findings, or leave the pair out."
                )
        if len(set(self.pairs)) < len(self.pairs):
            raise RetrainError("A pair is named once; got one twice. Remove one.")

    @property
    def extra(self) -> int:
        """Counterfactuals in a batch of an arm that has them, controls not counted."""
        return max(1, round(self.batch * self.share / (1 - self.share)))

    @property
    def early(self) -> int:
        """Steps after which `erm` shows `jtt` what it gets wrong."""
        return max(1, round(self.jtt_early * self.steps))

    def shows_early(self, task: Task) -> bool:
        """Whether a training must keep what it says after `early` steps."""
        return task.arm == BASE and "jtt" in self.arms

    @property
    def synthetic_steps(self) -> int:
        """Steps that `staged` learns from synthetic pictures, one less than all at most."""
        return min(max(1, round(self.pretraining * self.steps)), self.steps - 1)

    @property
    def tasks(self) -> list[Task]:
        """All trainings, arm by arm."""
        return [Task(arm, seed) for arm in self.arms for seed in self.seeds]

    @property
    def needs_training_set(self) -> bool:
        """Whether any arm draws counterfactuals."""
        return any(arm in COUNTERFACTUAL_ARMS for arm in self.arms)

    @property
    def needs_controls(self) -> bool:
        """Whether any arm cannot do without the controls of counterfactuals."""
        return any(arm in PAIRED_ARMS for arm in self.arms)


def check_test(name: str, where: str) -> None:
    """Refuse a test whose name or place cannot be used.

    Args:
        name: letters, digits, - and _, not - or _ first, and not the name of another set of a run.
        where: "internal" or "external".

    Raises:
        RetrainError: something else.
    """
    if not _NAME.fullmatch(name) or name in _TAKEN or where not in ("internal", "external"):
        raise RetrainError(
            "A test is named by letters, digits, - and _, other than "
            f"{', '.join(_TAKEN)}, and is 'internal' or 'external'; got '{name}', '{where}'. "
            "Correct it."
        )


def comparisons(plan: RetrainPlan, tests: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what will be compared, one entry per arm, test and finding, as JSON has it.

    The `read` of each pair is primary; `pairs` names the causes.

    Args:
        plan: arms, findings and pairs.
        tests: name to "internal" or "external".
    """
    return [
        {
            "arm": arm,
            "against": BASE,
            "test": test,
            "where": where,
            "finding": name,
            "pairs": causes,
            "primary": bool(causes),
            "metric": "AUC",
            "method": "paired DeLong",
        }
        for arm in plan.arms
        if arm != BASE
        for test, where in tests.items()
        for name, causes in _causes(plan.findings, plan.pairs)
    ]


def _causes(
    findings: Iterable[str], pairs: Iterable[tuple[str, str]]
) -> list[tuple[str, list[str]]]:
    every = list(pairs)
    return [(name, [cause for cause, read in every if read == name]) for name in findings]
