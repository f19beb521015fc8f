"""What is made of which baseline, and how it is labelled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import gcd
from typing import Literal, get_args

from roentmod.edits import Edit, Severity
from roentmod.errors import DatasetError
from roentmod.findings import NO_FINDING, finding
from roentmod.science.cooccurrence import CoOccurrence

__all__ = ["Labelling", "Plan", "Policy"]

Policy = Literal["isolated", "soft", "masked"]
_MOST = 100_000


@dataclass(frozen=True)
class Labelling:
    """What a counterfactual says of the findings that were not added to it.

    Attributes:
        policy: "isolated": they are absent, 0; "soft": they are there at the rate at which they
            come with the added one; "masked": unlabelled, NaN.
        pairs: exceptions, (added, other, policy) each.
        heads: findings that get a label; empty takes those that are added.
    """

    policy: Policy = "isolated"
    pairs: tuple[tuple[str, str, Policy], ...] = ()
    heads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make names canonical and check the policies.

        Raises:
            DatasetError: an unknown policy, a pair twice or of one finding, or a head twice.
            UnknownFindingError: a finding that is not in the catalogue.
        """
        pairs = tuple((finding(a).name, finding(b).name, policy) for a, b, policy in self.pairs)
        object.__setattr__(self, "pairs", pairs)
        object.__setattr__(self, "heads", _different(self.heads, "Labels are of"))
        unknown = [p for p in (self.policy, *(p for *_, p in pairs)) if p not in get_args(Policy)]
        if unknown:
            known = ", ".join(get_args(Policy))
            raise DatasetError(f"A labelling policy is one of {known}; got '{unknown[0]}'.")
        named = [pair[:2] for pair in pairs]
        if len(set(named)) < len(named) or any(a == b for a, b in named):
            raise DatasetError(
                "An exception is of two different findings, once; got "
                f"{', '.join(f'{a} and {b}' for a, b in named)}. Remove what is too much."
            )

    def targets(
        self, findings: Sequence[str], rates: CoOccurrence | None
    ) -> dict[str, dict[str, float]]:
        """Return the labels of every counterfactual: added finding to head to [0, 1] or NaN.

        Args:
            findings: what is added, canonical names.
            rates: the matrix that "soft" takes its labels from.

        Raises:
            DatasetError: an added finding or an exception is no head, or the matrix has no rate.
        """
        heads = self.heads or tuple(findings)
        wanted = [*findings, *(name for a, b, _ in self.pairs for name in (a, b))]
        absent = [name for name in wanted if name not in heads]
        if absent:
            raise DatasetError(
                f"Labels are written of {', '.join(heads)}; got '{absent[0]}' besides. Add it to "
                "the heads."
            )
        exceptions = {(a, b): policy for a, b, policy in self.pairs}
        return {
            added: {
                head: 1.0
                if head == added
                else _target(added, head, exceptions.get((added, head), self.policy), rates)
                for head in heads
            }
            for added in findings
        }

    @property
    def needs_rates(self) -> bool:
        """Whether any label is a rate."""
        return "soft" in (self.policy, *(policy for *_, policy in self.pairs))


@dataclass(frozen=True)
class Plan:
    """Everything a counterfactual training set depends on besides radiographs, editor and judge.

    Attributes:
        findings: what is added, canonical names after construction.
        ratio: counterfactuals a baseline, in (0, number of findings]; a baseline gets a finding
            once at most.
        labelling: labels of findings that were not added. Pictures do not depend on it.
        gate_logit: least rise of the judge's logit for the added finding, against the sham; None
            takes every edit.
        baselines: also write the baselines, all labels 0.
        shams: also write one sham a baseline, all labels 0, so that traces of the editor go with
            both labels.
        severities: one of these an edit, drawn; empty leaves it to the editor.
        strength: diffusers' meaning.
        guidance_scale: diffusers' meaning.
        num_inference_steps: diffusers' meaning; None takes the editor's default.
        seed: of the assignment, and of the noise.
        shard: pictures planned for one folder, at most (a baseline is not divided).
    """

    findings: tuple[str, ...]
    ratio: float = 1.0
    labelling: Labelling = field(default_factory=Labelling)
    gate_logit: float | None = 1.0
    baselines: bool = False
    shams: bool = False
    severities: tuple[Severity, ...] = ()
    strength: float = 0.4
    guidance_scale: float = 4.0
    num_inference_steps: int | None = None
    seed: int = 0
    shard: int = 1000

    def __post_init__(self) -> None:
        """Make names canonical and check the numbers.

        Raises:
            DatasetError: no finding, one twice, "No Finding", or a number out of its range.
            UnknownFindingError: a finding that is not in the catalogue.
            EditError: edits cannot be made like this.
        """
        object.__setattr__(self, "findings", _different(self.findings, "A training set adds"))
        if not self.findings:
            raise DatasetError("A training set adds one or more findings; got none. Name them.")
        if not 0 < self.ratio <= len(self.findings):
            raise DatasetError(
                f"Counterfactuals a baseline must be in (0, {len(self.findings)}], as many as "
                f"findings; got {self.ratio:g}."
            )
        if not 1 <= self.shard <= _MOST:
            raise DatasetError(f"A shard has 1 to {_MOST:,} pictures; got {self.shard}.")
        for severity in self.severities or (None,):
            self._edit(self.findings[0], severity)

    def assign(self, baselines: Iterable[str]) -> dict[str, tuple[Edit, ...]]:
        """Return the edits of each baseline, baselines in the order of their hash.

        Findings are dealt like cards over that order: their numbers differ by one at most, and the
        order in which baselines are given changes nothing.

        Raises:
            DatasetError: a baseline is given twice.
        """
        names = [str(name) for name in baselines]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DatasetError(f"A baseline is given once; got '{twice}' again. Remove one.")
        names.sort(key=lambda name: _digest(self.seed, name))
        n, k = len(names), len(self.findings)
        total = round(self.ratio * n)
        block = k // gcd(n, k)
        dealt: dict[str, tuple[Edit, ...]] = {}
        # Few edits differ: each is one object, however many baselines get it.
        edit = lru_cache(self._edit)
        for rank, name in enumerate(names):
            passes = range(total // n + (rank < total % n))
            # Within a block all passes fall on other findings; the next block starts one further.
            places = [(rank + number * n + number // block) % k for number in passes]
            added = [self.findings[place] for place in sorted(places)]
            dealt[name] = tuple(edit(one, self._severity(name, one)) for one in added)
        return dealt

    def _severity(self, baseline: str, added: str) -> Severity | None:
        if not self.severities:
            return None
        number = int(_digest(self.seed, baseline, added)[:12], 16)
        return self.severities[number % len(self.severities)]

    def _edit(self, added: str, severity: Severity | None) -> Edit:
        return Edit(
            (added,),
            severity=severity,
            strength=self.strength,
            guidance_scale=self.guidance_scale,
            num_inference_steps=self.num_inference_steps,
            seed=self.seed,
        )


def _different(names: Iterable[str], rule: str) -> tuple[str, ...]:
    """Return canonical names.

    Raises:
        DatasetError: one is given twice, or is "No Finding".
    """
    found = tuple(finding(name).name for name in names)
    if len(set(found)) < len(found) or NO_FINDING.name in found:
        raise DatasetError(
            f"{rule} different findings; got '{', '.join(found)}'. Name each once, and not "
            f"{NO_FINDING.name}."
        )
    return found


def _target(added: str, head: str, policy: Policy, rates: CoOccurrence | None) -> float:
    if policy == "isolated":
        return 0.0
    if policy == "masked":
        return float("nan")
    rate = float("nan")
    if rates is not None and {added, head} <= set(rates.findings):
        rate = rates.rate(added, head)
    if not 0 <= rate <= 1:
        raise DatasetError(
            f"A soft label is a rate of the co-occurrence matrix; it has none of {head} where "
            f"{added} is. Mask that pair, or give a matrix that has it."
        )
    return rate


def _digest(*parts: object) -> str:
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()
