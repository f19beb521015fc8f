"""What a retraining does, fixed before it begins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from roentmod.errors import RetrainError
from roentmod.findings import NO_FINDING, finding

__all__ = [
    "ARMS",
    "COUNTERFACTUAL_ARMS",
    "Arm",
    "Plan",
    "Precision",
    "Task",
    "check_test",
    "comparisons",
]

Arm = Literal["erm", "oversampling", "reweighting", "synthetic", "isolated", "soft"]
Precision = Literal["no", "fp16", "bf16"]
ARMS: tuple[Arm, ...] = get_args(Arm)
COUNTERFACTUAL_ARMS: tuple[Arm, ...] = ("synthetic", "isolated", "soft")
_BASE: Arm = "erm"
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


@dataclass(frozen=True)
class Plan:
    """Everything a retraining depends on besides pictures, labels and the machine.

    Arms differ in what they draw and how they weigh it; network, first weights, steps, schedule,
    class balance and augmentation are the same. In order: `erm` draws all rows alike;
    `oversampling` draws rare groups more often, and `reweighting` gives them a greater loss, where
    groups are the four of each pair (cause there or not, read there or not), or, without pairs,
    positives and negatives of each finding; `synthetic`, `isolated` and `soft` are `erm` with a
    share of each batch from the counterfactual training set, whose other findings are unlabelled,
    absent, or there at the rate at which they come with the added one.

    Attributes:
        findings: the heads, k canonical names after construction.
        pairs: (cause, read): training data confound them, and `read` may be read off `cause`.
        arms: which ways of training; `erm`, the one all others are compared with, is among them.
        seeds: of first weights, drawing and augmentation; one training an arm and seed.
        model: see `roentmod.learning.networks.build`.
        size: side in pixels of the pictures that the network takes.
        through: side in pixels that every picture is brought to first, so that sharpness does not
            tell sources apart; None goes to `size` at once.
        unmentioned: whether what a source does not mention is unknown, and teaches nothing, or
            absent. Absent fits reports, which pass over what is normal. Uncertain is unknown.
        steps: optimiser steps of every training.
        batch: pictures a step, over all processes.
        learning_rate: the highest; it rises linearly for the warm-up, then falls as half a cosine.
        weight_decay: of AdamW (Loshchilov and Hutter, ICLR 2019).
        warmup: share of the steps in which the learning rate rises, in [0, 1).
        ema: decay of the moving average of weights, in [0, 1); less in the first steps.
        clip: largest norm of the gradient.
        evaluate_every: steps between looks at the validation split.
        patience: looks without a better mean AUC after which a training ends.
        share: part of a batch that comes from the counterfactual training set, in (0, 1).
        precision: of the arithmetic in training; evaluation is in float32.
        augmentation: vary place, exposure and grain of training pictures; never mirror them.
    """

    findings: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    arms: tuple[Arm, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2)
    model: str = "densenet121"
    size: int = 224
    through: int | None = 224
    unmentioned: Literal["unknown", "absent"] = "unknown"
    steps: int = 2000
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    ema: float = 0.998
    clip: float = 1.0
    evaluate_every: int = 100
    patience: int = 10
    share: float = 0.25
    precision: Precision = "no"
    augmentation: bool = True

    def __post_init__(self) -> None:
        """Make names canonical and check everything.

        Raises:
            RetrainError: a name twice or out of place, an unknown word, or a number out of range.
            UnknownFindingError: a finding that is not in the catalogue.
        """
        object.__setattr__(self, "findings", tuple(finding(n).name for n in self.findings))
        pairs = tuple((finding(a).name, finding(b).name) for a, b in self.pairs)
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "arms", tuple(self.arms))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        self._check_names()
        self._check_words()
        self._check_numbers()

    @property
    def extra(self) -> int:
        """Counterfactuals in a batch of an arm that has them."""
        return max(1, round(self.share * self.batch))

    @property
    def tasks(self) -> list[Task]:
        """All trainings, arm by arm."""
        return [Task(arm, seed) for arm in self.arms for seed in self.seeds]

    @property
    def needs_training_set(self) -> bool:
        """Whether any arm draws counterfactuals."""
        return any(arm in COUNTERFACTUAL_ARMS for arm in self.arms)

    def _check_names(self) -> None:
        names = self.findings
        if not names or len(set(names)) < len(names) or NO_FINDING.name in names:
            raise RetrainError(
                f"Heads are one or more different findings; got '{', '.join(names)}'. Name each "
                f"once, and not {NO_FINDING.name}."
            )
        for cause, read in self.pairs:
            if cause == read or not {cause, read} <= set(names):
                raise RetrainError(
                    f"A pair is of two different heads; got {cause} > {read}. Add both to the "
                    "findings, or leave the pair out."
                )
        if len(set(self.pairs)) < len(self.pairs):
            raise RetrainError("A pair is named once; got one twice. Remove one.")

    def _check_words(self) -> None:
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or _BASE not in self.arms or len(set(self.arms)) < len(self.arms):
            raise RetrainError(
                f"Arms are of {', '.join(ARMS)}, each once, {_BASE} among them, as all others are "
                f"compared with it; got '{', '.join(self.arms)}'. Correct them."
            )
        for name, allowed in (
            ("precision", get_args(Precision)),
            ("unmentioned", ("unknown", "absent")),
        ):
            if getattr(self, name) not in allowed:
                raise RetrainError(
                    f"{name} is one of {', '.join(allowed)}; got '{getattr(self, name)}'."
                )

    def _check_numbers(self) -> None:
        seeds = self.seeds
        different = seeds and len(set(seeds)) == len(seeds)
        needs = self.needs_training_set
        for name, fits, rule in (
            ("seeds", different and min(seeds) >= 0, "different whole numbers, not negative"),
            ("size", 16 <= self.size <= 1024, "16 to 1024"),
            ("through", self.through is None or 16 <= self.through <= 4096, "None or 16 to 4096"),
            ("steps", self.steps >= 1, "1 or more"),
            ("batch", self.batch >= 2, "2 or more"),
            ("learning_rate", 0 < self.learning_rate <= 1, "in (0, 1]"),
            ("weight_decay", 0 <= self.weight_decay <= 1, "in [0, 1]"),
            ("warmup", 0 <= self.warmup < 1, "in [0, 1)"),
            ("ema", 0 <= self.ema < 1, "in [0, 1)"),
            ("clip", self.clip > 0, "above 0"),
            ("evaluate_every", self.evaluate_every >= 1, "1 or more"),
            ("patience", self.patience >= 1, "1 or more"),
            ("share", 0 < self.share < 1, "in (0, 1)"),
            ("share", not needs or self.extra < self.batch, "less than a whole batch"),
        ):
            if not fits:
                raise RetrainError(f"{name} must be {rule}; got {getattr(self, name)}.")


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


def comparisons(plan: Plan, tests: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what will be compared, one a (arm, test, finding), as JSON has it.

    What each pair's `read` does is primary; `pairs` names the causes.

    Args:
        plan: arms, findings and pairs.
        tests: name to "internal" or "external".
    """
    return [
        {
            "arm": arm,
            "against": _BASE,
            "test": test,
            "where": where,
            "finding": name,
            "pairs": causes,
            "primary": bool(causes),
            "metric": "AUC",
            "method": "paired DeLong",
        }
        for arm in plan.arms
        if arm != _BASE
        for test, where in tests.items()
        for name, causes in _causes(plan.findings, plan.pairs)
    ]


def _causes(
    findings: Iterable[str], pairs: Iterable[tuple[str, str]]
) -> list[tuple[str, list[str]]]:
    every = list(pairs)
    return [(name, [cause for cause, read in every if read == name]) for name in findings]
