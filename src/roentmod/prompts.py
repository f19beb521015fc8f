"""How each family of generators wants to be spoken to: profiles and prompt grammars.

No prompt list of the paper is public; each wording here is ours, documented and configurable.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from roentmod import domain
from roentmod.anatomy import LungSide
from roentmod.domain import NO_FINDING, Finding
from roentmod.edits import GUIDANCE_SCALE, Edit, Scheduler, Side
from roentmod.errors import EditError

__all__ = ["PROFILES", "Profile", "Spots"]

Spots = Set[tuple[LungSide, str]]


@dataclass(frozen=True)
class Profile:
    """What is known of a generator beyond its weights.

    Attributes:
        name: profile name.
        normal: prompt of a normal radiograph (the sham arm); empty where words would treat.
        template: how an impression becomes a prompt; ``{impression}`` is replaced.
        size: working size in pixels, or None to take it from the U-Net and VAE.
        steps: default num_inference_steps.
        guidance_scale: the generator's own default; edits have theirs.
        scheduler: default sampler.
        licence: what the weights may be used for.
        domain: the pack whose pictures it draws; findings of others are refused.
        severity: factors on guidance_scale by the edit's severity ("unsaid" where it has none), as
            words alone do not say enough, for all findings or for those that have a table; what is
            not there has 1.
        unsaid: the severity in the prompt where the edit has none, by finding; others get no word.
        usual: looks that the prompt names, by finding: {form: {place: weight}}, "" where a finding
            has none. What an edit leaves open is drawn by baseline and seed; findings without an
            entry are worded by severity and side alone.
        absent: what a removal says, from ``{finding}``, of a generator that was taught it: removals
            go there from the empty prompt. Empty: they go from the finding to the normal prompt.
        guidance_range: least and greatest scale that a U-Net which takes it was taught; scales
            beyond are brought there. Empty: unknown.
        removal: how well removals work: `weights` (the hash of those measured) and `findings`, a
            row of figures for each (``bench/removal.py``); empty: nobody has measured it.
    """

    name: str
    normal: str
    template: str = "{impression}"
    size: int | None = None
    steps: int = 75
    guidance_scale: float = GUIDANCE_SCALE
    scheduler: Scheduler = "ddim"
    licence: str = "unknown: ask whoever gave you the weights"
    domain: str = "cxr"
    severity: Mapping[str, Any] = field(default_factory=dict)
    unsaid: Mapping[str, str] = field(default_factory=dict)
    usual: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    absent: str = ""
    guidance_range: Sequence[float] = ()
    removal: Mapping[str, Any] = field(default_factory=dict)

    def prompt(self, edit: Edit, baseline: str = "", spots: Spots | None = None) -> str:
        """Return the prompt of the edit's finding (never the normal one).

        Args:
            edit: the edit.
            baseline: id of the radiograph: with the seed, it draws the looks that are open. Without
                one, looks are not said.
            spots: spots (`regions.spots`) of the area that may change; None: everywhere.

        Raises:
            EditError: a finding of another domain, or a region in words outside the chest.
        """
        self._check(edit)
        if edit.prompt:
            return edit.prompt
        if edit.findings == (NO_FINDING.name,):
            return self.normal
        each = (self._phrase(f, edit, baseline, spots) for f in edit.as_findings())
        impression = " and ".join(each)
        return self.template.format(impression=impression)

    def pair(self, edit: Edit, baseline: str = "", spots: Spots | None = None) -> tuple[str, str]:
        """Return the prompts to go towards and away from.

        Adding goes from the empty prompt towards the finding, as in the paper; removing goes from
        the finding towards the normal prompt, or, with `absent`, from the empty prompt towards
        that, unless the edit has a prompt. The sham arm goes towards the normal prompt.

        Raises:
            EditError: as `prompt`.
        """
        self._check(edit)
        if edit.arm == "sham":
            return self.normal, ""
        if edit.action == "remove":
            if self.says_absence(edit):
                return self.template.format(impression=self._absence(edit)), ""
            return self.normal, self.prompt(edit)
        return self.prompt(edit, baseline, spots), ""

    def says_absence(self, edit: Edit) -> bool:
        """Return whether a removal goes towards the words of an absence."""
        return bool(self.absent) and edit.action == "remove" and not edit.prompt

    def _absence(self, edit: Edit) -> str:
        return " and ".join(self.absent.format(finding=f.phrase) for f in edit.as_findings())

    def guidance(self, edit: Edit) -> float:
        """Return the guidance scale to use: the edit's, by the factor of its severity.

        Several findings have the mean of their factors. It stays where there is nothing to guide:
        at 1 or less, or between two equal prompts; and where an absence is said, which has no
        severity.
        """
        scale = edit.guidance_scale
        towards, away = self.pair(edit)
        if towards == away or scale <= 1 or self.says_absence(edit):
            return scale
        tables = [self.severity.get(name, self.severity) for name in edit.findings]
        severity = edit.severity or domain.UNSAID
        factors = [float(table.get(severity, 1.0)) for table in tables or [self.severity]]
        return max(1.0, scale * sum(factors) / len(factors))

    def _phrase(
        self, item: Finding, edit: Edit, baseline: str = "", spots: Spots | None = None
    ) -> str:
        side, depth, level, form = edit.side if item.sided else None, "", "", edit.form or ""
        usual = self.usual.get(item.name)
        if usual is not None and form not in usual:
            form = ""
        if baseline and usual:
            side, place, form = self._look(item, edit, baseline, spots)
            depth, _, level = place.partition(" ")
        worded = {None: "", "both": "bilateral"}.get(side, f"{side}-sided")
        severity = edit.severity or self.unsaid.get(item.name)
        said = " ".join(w for w in (severity, depth, worded, level, item.phrase) if w)
        return f"{said}, {form}" if form else said

    def _look(
        self, item: Finding, edit: Edit, baseline: str, spots: Spots | None
    ) -> tuple[Side | None, str, str]:
        """Return side, place and form of a finding, those left open drawn from the usual ones."""
        own: tuple[LungSide, ...] = ("left", "right")
        sides = (edit.side,) if edit.side else own if item.sided else (None,)
        looks = [
            ((side, "" if side == "both" else place, form), weight)
            for form, places in self.usual[item.name].items()
            if edit.form not in self.usual[item.name] or form == edit.form
            for place, weight in places.items()
            for side in sides
        ]
        if spots is not None:
            touched = {side for side, _ in spots}
            # A place that is nowhere in the area is not said, a side that is not there not drawn.
            kept = [
                ((side, place if (side, place) in spots else "", form), weight)
                for (side, place, form), weight in looks
                if side not in own or side in touched or not touched
            ]
            inside = [one for one in kept if one[0][1]]
            looks = inside or kept or looks
        text = f"{baseline}/{edit.seed}/{item.name}".encode()
        drawn = int.from_bytes(hashlib.sha256(text).digest()[:6], "little") / 2**48
        until = list(accumulate(weight for _, weight in looks))
        return looks[bisect_right(until, drawn * until[-1])][0]

    def _check(self, edit: Edit) -> None:
        known = dict.fromkeys(form for n in edit.findings for form in self.usual.get(n, ()))
        if edit.form and self.usual and edit.form not in known:
            raise EditError(
                f"Forms of {', '.join(edit.findings)} that {self.name} draws are "
                f"{', '.join(known) or 'none'}; got '{edit.form}'. Choose one."
            )
        foreign = [f for f in edit.as_findings() if f.domain not in ("", self.domain)]
        if foreign:
            raise EditError(
                f"The profile {self.name} draws findings of {self.domain}; got {foreign[0].name} "
                f"of {foreign[0].domain}. Choose another finding, or a profile of that domain."
            )
        pack = domain.named(self.domain)
        if edit.region and (pack is None or pack.anatomy != "chest"):
            raise EditError(
                f"Regions in words are places of the chest; the profile {self.name} draws "
                f"{self.domain}. Give a mask."
            )


class _Profiles(Mapping[str, Profile]):
    """The profiles of all registered packs."""

    def __getitem__(self, name: str) -> Profile:
        for pack in domain.registered():
            if name in pack.profiles:
                return Profile(name, domain=pack.name, **pack.profiles[name])
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for pack in domain.registered() for name in pack.profiles)

    def __len__(self) -> int:
        return sum(len(pack.profiles) for pack in domain.registered())


PROFILES: Mapping[str, Profile] = _Profiles()
