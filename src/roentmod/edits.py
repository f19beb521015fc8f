"""The edit: everything an edited image depends on besides the baseline and the weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from roentmod.domain import (
    NO_FINDING,
    SCHEDULERS,
    SEVERITIES,
    Finding,
    Scheduler,
    Severity,
    finding,
)
from roentmod.errors import EditError
from roentmod.regions import canonical, on_side, sides

__all__ = [
    "GUIDANCE_SCALE",
    "STRENGTH",
    "USUAL",
    "WITHOUT_SHAM",
    "Action",
    "Arm",
    "Composite",
    "Control",
    "Edit",
    "Scheduler",
    "Severity",
    "Side",
    "control_of",
]

Action = Literal["add", "remove"]
Arm = Literal["counterfactual", "sham"]
Side = Literal["left", "right", "both"]
Composite = Literal["sham", "one-way", "baseline", "none"]
Control = Literal["baseline", "sham"]
# Defaults of every verb, in diffusers' meanings (the paper's).
STRENGTH = 0.4
GUIDANCE_SCALE = 4.0
# Composites whose pictures already lack what the sham changed.
WITHOUT_SHAM: tuple[Composite, ...] = ("sham", "one-way")
# The region that stands for the findings' usual places.
USUAL = "usual"
# Fields younger than the first ids: while they are empty they are left out of the hash.
_YOUNGER: dict[str, object] = {"region": None, "hold": (), "form": None}


def control_of(composite: Composite, action: Action = "add") -> Control:
    """Return what counterfactuals of a composite are compared with, wherever an effect is measured.

    In the composites `WITHOUT_SHAM` the counterfactual already lacks what the sham changed: its
    control is the baseline, and the sham beside it shows what was left out. So is a removal's, as a
    sham goes towards the normal prompt, too.
    """
    return "baseline" if composite in WITHOUT_SHAM or action == "remove" else "sham"


@dataclass(frozen=True)
class Edit:
    """One edit, complete and hashable.

    Attributes:
        findings: what to add or remove, canonical names.
        action: "add" or "remove"; removal swaps the roles of prompt and normal prompt.
        prompt: free text used instead of the generator's own wording, or None.
        side: laterality as the patient's, for findings that have one; where none is given and the
            region lies on one side, that side.
        severity: how much of it.
        strength: diffusers' meaning, in (0, 1]: the fraction of the noise schedule run through.
        guidance_scale: diffusers' meaning; 1 or less is no guidance.
        num_inference_steps: diffusers' meaning; None takes the generator's default.
        scheduler: the sampler; None takes the generator's default.
        seed: the noise, together with the baseline.
        arm: "counterfactual", or "sham" (same noise, normal prompt).
        composite: how the result returns to native resolution; see `editors.compose.compose`.
        region: where the picture may change, in the words of `roentmod.regions`, or "usual": where
            the findings usually lie, at the edit's side; None: everywhere.
        hold: findings that the edit must not bring along or take along, canonical names; means
            nothing to the sham arm.
        form: form of the findings that have it, in the editor's own words ("spiculated",
            "pacemaker"); None leaves it to the seed.
    """

    findings: tuple[str, ...] = ()
    action: Action = "add"
    prompt: str | None = None
    side: Side | None = None
    severity: Severity | None = None
    strength: float = STRENGTH
    guidance_scale: float = GUIDANCE_SCALE
    num_inference_steps: int | None = None
    scheduler: Scheduler | None = None
    seed: int = 0
    arm: Arm = "counterfactual"
    composite: Composite = "sham"
    region: str | None = None
    hold: tuple[str, ...] = ()
    form: str | None = None

    def __post_init__(self) -> None:
        """Check every field; make names of findings and region canonical.

        Raises:
            EditError: a value outside its range or choices.
            UnknownFindingError: a finding that is not in the catalogue.
        """
        object.__setattr__(self, "findings", tuple(finding(n).name for n in self.findings))
        if not self.findings and not self.prompt:
            raise EditError("An edit needs a finding or a prompt; got neither. Give one.")
        if NO_FINDING.name in self.findings and self.action == "remove":
            raise EditError("'No Finding' cannot be removed. Add a finding instead.")
        if not 0 < self.strength <= 1:
            raise EditError(
                f"strength must be in (0, 1]; got {self.strength}. The default is {STRENGTH}."
            )
        if not 0 <= self.guidance_scale <= 100:
            raise EditError(f"guidance_scale must be in [0, 100]; got {self.guidance_scale}.")
        steps = self.num_inference_steps
        if steps is not None and not 1 <= steps <= 1000:
            raise EditError(f"num_inference_steps must be in 1 to 1000; got {steps}.")
        if not 0 <= self.seed < 2**63:
            raise EditError(f"seed must be in [0, 2^63); got {self.seed}.")
        if self.form is not None and not (self.findings and self.form.strip()):
            raise EditError(
                f"A form is a word about a finding; got '{self.form}' for "
                f"{', '.join(self.findings) or 'a free prompt'}. Name a finding and its form."
            )
        self._check_choices()
        self._settle_region()
        self._settle_hold()

    def _settle_region(self) -> None:
        if self.region is None:
            return
        words = self._usual() if self.region == USUAL else self.region
        object.__setattr__(self, "region", canonical(words))
        touched = sides(words)
        if self.side is None and len(touched) == 1 and self.sided:
            object.__setattr__(self, "side", touched[0])
        if self.side is not None and len(touched) == 1 and self.side != touched[0]:
            raise EditError(
                f"side and region must agree; got side {self.side} and region '{self.region}'. "
                "Leave side out: the region gives it."
            )

    def _usual(self) -> str:
        unknown = [item.name for item in self.as_findings() if not item.place]
        if unknown or not self.findings:
            raise EditError(
                f"The region '{USUAL}' needs findings with a usual place; got "
                f"{', '.join(unknown) or 'a free prompt'}. Name a region."
            )
        words = " + ".join(item.place for item in self.as_findings())
        return on_side(words, self.side) if self.side else words

    def _settle_hold(self) -> None:
        held = tuple(sorted({finding(name).name for name in self.hold}))
        object.__setattr__(self, "hold", held)
        both = sorted(set(held) & {*self.findings, NO_FINDING.name})
        if both:
            raise EditError(
                f"hold names other findings than those edited, and no '{NO_FINDING.name}'; got "
                f"{', '.join(both)}. Leave it out."
            )

    def _check_choices(self) -> None:
        for name, choices in (
            ("action", get_args(Action)),
            ("arm", get_args(Arm)),
            ("composite", get_args(Composite)),
            ("side", (None, *get_args(Side))),
            ("severity", (None, *SEVERITIES)),
            ("scheduler", (None, *SCHEDULERS)),
        ):
            value = getattr(self, name)
            if value not in choices:
                known = ", ".join(str(c) for c in choices if c is not None)
                raise EditError(f"{name} must be one of {known}; got '{value}'.")
        if self.side and not self.sided:
            named = ", ".join(self.findings) or "a free prompt"
            raise EditError(f"side needs a finding that has sides; got {named}. Leave side out.")

    @property
    def id(self) -> str:
        """Hash (12 hex digits) of every field: same edit, same id."""
        fields = asdict(self)
        kept = {k: v for k, v in fields.items() if k not in _YOUNGER or v != _YOUNGER[k]}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Short file-name-safe name, such as ``add-pleural-effusion``."""
        words = "+".join(self.findings) if self.findings else "prompt"
        parts = [self.action, self.side, self.severity, self.form, words]
        where = self.region or ""
        parts += [where if where.startswith("around") else f"in {where}"] if where else []
        parts += [f"holding {'+'.join(self.hold)}"] if self.hold else []
        return "-".join(p.lower().replace(" + ", "+").replace(" ", "-") for p in parts if p)

    @property
    def control(self) -> Control:
        """The picture that the counterfactual is compared with, see `control_of`."""
        return control_of(self.composite, self.action)

    @property
    def sided(self) -> bool:
        """Whether one of the findings has sides."""
        return any(item.sided for item in self.as_findings())

    @property
    def direction(self) -> int:
        """In composite "one-way", 1 where pixels may only get brighter, -1 darker; else 0.

        Adding a finding of more density brightens, removing it darkens; findings that do both, or
        of which the pack says nothing, and free prompts may do either.
        """
        densities = {item.density for item in self.as_findings()}
        if self.composite != "one-way" or len(densities) != 1:
            return 0
        sign = {"more": 1, "less": -1}.get(densities.pop(), 0)
        return sign if self.action == "add" else -sign

    def sham(self) -> Edit:
        """Return the control arm of this edit: same noise, strength and steps, normal prompt."""
        return replace(self, arm="sham")

    def as_findings(self) -> tuple[Finding, ...]:
        """Return the findings as catalogue entries."""
        return tuple(finding(name) for name in self.findings)
