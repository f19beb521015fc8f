"""The plan of a counterfactual training set: what is made of which baseline, how it is labelled."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from math import gcd
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import AliasChoices, BeforeValidator, model_validator

from roentmod.domain import finding
from roentmod.edits import Edit, Severity
from roentmod.errors import DatasetError, EditError, RoentModError
from roentmod.plans.base import Commas, Findings, Plan, different, parameter
from roentmod.plans.parts import Composed

__all__ = ["AugmentPlan", "Labelling", "Policy", "Rates"]

Policy = Literal["isolated", "soft", "masked"]


class Rates(Protocol):
    """How often findings come together: a co-occurrence matrix."""

    @property
    def findings(self) -> Sequence[str]:
        """Names."""
        ...

    def rate(self, given: str, other: str) -> float:
        """Return P(other | given)."""
        ...


def _exceptions(value: Any) -> Any:
    """Return exceptions, each written "Added>Other=policy" or as three words."""
    parts = [value] if isinstance(value, str) else value or ()
    return tuple(_exception(part) if isinstance(part, str) else part for part in parts)


def _exception(text: str) -> tuple[str, ...]:
    both, equals, policy = text.partition("=")
    added, arrow, other = both.partition(">")
    if not (equals and arrow):
        raise EditError(
            f"--pair is 'Added>Other=policy', as 'Edema>Cardiomegaly=soft'; got '{text}'."
        )
    return added.strip(), other.strip(), policy.strip()


class Labelling(Plan):
    """Labels of the findings that were not added to a counterfactual."""

    error: ClassVar[type[RoentModError]] = DatasetError
    policy: Policy = parameter(
        "isolated",
        "Other findings are 0, at co-occurrence rates, or unknown.",
        option="labels",
    )
    pairs: Annotated[tuple[tuple[str, str, Policy], ...], BeforeValidator(_exceptions)] = parameter(
        (), "'Edema>Cardiomegaly=soft': its own labels; repeat.", option="pair", form="repeat"
    )
    heads: Findings = parameter(
        (), "Findings that get a label, by commas; default: those that are added.", form="commas"
    )

    @model_validator(mode="after")
    def _fits(self) -> Labelling:
        pairs = tuple((finding(a).name, finding(b).name, policy) for a, b, policy in self.pairs)
        object.__setattr__(self, "pairs", pairs)
        if self.heads:
            different(self.heads, DatasetError, "Labels are of")
        named = [pair[:2] for pair in pairs]
        if len(set(named)) < len(named) or any(a == b for a, b in named):
            raise DatasetError(
                "An exception is of two different findings, once; got "
                f"{', '.join(f'{a} and {b}' for a, b in named)}. Remove what is too much."
            )
        return self

    def targets(self, findings: Sequence[str], rates: Rates | None) -> dict[str, dict[str, float]]:
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


class AugmentPlan(Composed):
    """Everything a counterfactual training set depends on besides radiographs, editor and judge.

    A baseline gets a finding once at most, so that `ratio` is at most the number of findings.
    Pictures do not depend on the labelling. Controls, with all labels 0, let traces of the editor
    go with both labels: shams, or, in composite "sham", whose pictures lack them, baselines.
    """

    error: ClassVar[type[RoentModError]] = DatasetError
    findings: Findings = parameter(..., "Findings to add, by commas.", form="commas")
    ratio: float = parameter(1.0, "Counterfactuals per baseline.")
    hosts: Literal["no finding", "any", "matched"] = parameter(
        "no finding",
        "Radiographs that are edited: read as no finding; any; or those without the finding that "
        "match its positives in source, view, sex and age. They keep their known labels.",
        young=True,
    )
    labelling: Labelling = parameter(Labelling(), "Labels of findings that were not added.")
    gate_logit: float | None = parameter(
        1.0,
        "Net rise of the judge's logit from which an edit counts.",
        option="gate",
        validation_alias=AliasChoices("gate_logit", "gate"),
    )
    with_baselines: bool = parameter(
        False, "Write the baselines, too.", serialization_alias="baselines"
    )
    with_shams: bool = parameter(
        False,
        "Write a control per baseline, too: a sham, or, in composite sham, the baseline.",
        validation_alias=AliasChoices("with_shams", "shams"),
        serialization_alias="shams",
    )
    severities: Annotated[tuple[Severity, ...], Commas] = parameter(
        (), "One is drawn per edit, by commas; default: the editor's.", form="commas"
    )
    seed: int = parameter(0, "Of the assignment, and of the noise.", ge=0, lt=2**63)
    shard: int = parameter(
        1000, "Pictures planned per folder, at most.", option="folder-size", ge=1, le=100_000
    )

    @model_validator(mode="after")
    def _fits(self) -> AugmentPlan:
        different(self.findings, DatasetError, "A training set adds")
        if not 0 < self.ratio <= len(self.findings):
            raise DatasetError(
                f"Counterfactuals per baseline must be in (0, {len(self.findings)}], as many as "
                f"findings; got {self.ratio:g}."
            )
        return self

    @property
    def beside(self) -> tuple[str, ...]:
        """Arms written once per baseline, beside its counterfactuals."""
        control = self.control if self.with_shams else ""
        baseline = self.with_baselines or control == "baseline"
        return ("baseline",) * baseline + ("sham",) * (control == "sham")

    def assign(
        self, baselines: Iterable[str], barred: Mapping[str, Collection[str]] | None = None
    ) -> dict[str, tuple[Edit, ...]]:
        """Return the edits of each baseline, baselines in the order of their hash.

        Findings are handed out like cards over that order: their numbers differ by one at most, and
        the order in which baselines are given changes nothing. What is barred is passed over for
        the next finding.

        Args:
            baselines: their ids.
            barred: findings that each cannot get; by default none.

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
        assigned: dict[str, tuple[Edit, ...]] = {}
        # Few edits differ: each is one object, however many baselines get it.
        edit = lru_cache(self._edit)
        for rank, name in enumerate(names):
            passes = range(total // n + (rank < total % n))
            # Within a block all passes fall on other findings; the next block starts one further.
            places = [(rank + number * n + number // block) % k for number in passes]
            added = self._free(places, () if barred is None else barred.get(name, ()))
            assigned[name] = tuple(edit(one, self._severity(name, one)) for one in added)
        return assigned

    def _free(self, places: Sequence[int], barred: Collection[str]) -> list[str]:
        """Return the findings at some places, the next one that is free where one is barred."""
        k = len(self.findings)
        free = [place for place in range(k) if self.findings[place] not in barred]
        chosen = [place for place in places if place in free]
        for place in (one for one in places if one not in free):
            others = [one for one in free if one not in chosen]
            chosen += sorted(others, key=lambda one: (one - place) % k)[:1]
        return [self.findings[place] for place in sorted(chosen)]

    def _severity(self, baseline: str, added: str) -> Severity | None:
        if not self.severities:
            return None
        number = int(_digest(self.seed, baseline, added)[:12], 16)
        return self.severities[number % len(self.severities)]

    def _edit(self, added: str, severity: Severity | None) -> Edit:
        return self.edit(added, severity=severity, seed=self.seed)


def _target(added: str, head: str, policy: Policy, rates: Rates | None) -> float:
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
