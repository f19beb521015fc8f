"""What a validation does, and what it found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod.edits import USUAL, Edit
from roentmod.errors import AuditError
from roentmod.findings import NO_FINDING, finding
from roentmod.science.fidelity import Rule

__all__ = ["COMPOSITES", "WAYS", "Plan", "ValidationResult"]

COMPOSITES = ("sham", "baseline", "none")
# How an edit is kept from leaking: not at all, with other findings held, within its usual place.
WAYS = ("plain", "hold", "region")


@dataclass(frozen=True)
class Plan:
    """Everything a validation's pictures and numbers depend on besides data, editor and readers.

    Attributes:
        findings: findings that are added, canonical names after construction.
        strength: diffusers' meaning; the operating point that is validated.
        guidance_scale: diffusers' meaning.
        num_inference_steps: diffusers' meaning; None takes the editor's default.
        strengths: of the sweep.
        guidances: of the sweep.
        few: how many findings, the first ones, sweep, wordings and reversal are tried on.
        swept: baselines of the sweep; 0 leaves it out.
        worded: baselines of the wordings; 0 leaves them out.
        seeds: noises a wording.
        undone: baselines of which edits are removed again; 0 leaves that out.
        cycles: how often a sham is edited into a sham again, in these baselines.
        composited: findings whose edits are composed in every mode, for the artefacts.
        strangers: matched other patients a baseline.
        known: pictures of other patients that edits are compared with, for memorisation.
        hold: findings that further edits must not bring along; the leakage with and without is
            compared. Empty leaves that out.
        regional: make further edits within each finding's usual place, where one is known, and
            compare leakage with and without too.
        rule: what is a success, and how an operating point is chosen.
        level: of all intervals.
        resamples: bootstrap resamples of patients.
        permutations: of the tests between groups.
    """

    findings: tuple[str, ...]
    strength: float = 0.4
    guidance_scale: float = 4.0
    num_inference_steps: int | None = None
    strengths: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    guidances: tuple[float, ...] = (1.5, 2.5, 4.0, 7.0, 10.0)
    few: int = 4
    swept: int = 5
    worded: int = 6
    seeds: int = 2
    undone: int = 10
    cycles: int = 3
    composited: int = 2
    strangers: int = 4
    known: int = 200
    hold: tuple[str, ...] = ()
    regional: bool = False
    rule: Rule = field(default_factory=Rule)
    level: float = 0.95
    resamples: int = 2000
    permutations: int = 9999

    def __post_init__(self) -> None:
        """Make names canonical and check the numbers.

        Raises:
            AuditError: no finding, one twice, "No Finding", or a number out of range.
            UnknownFindingError: a finding that is not in the catalogue.
        """
        names = tuple(finding(name).name for name in self.findings)
        object.__setattr__(self, "findings", names)
        object.__setattr__(self, "hold", tuple(finding(name).name for name in self.hold))
        if not names or len(set(names)) < len(names) or NO_FINDING.name in names:
            raise AuditError(
                "A validation adds one or more different findings; got "
                f"'{', '.join(self.findings)}'. Name each once, and not No Finding."
            )
        for name, least in (
            ("few", 1),
            ("swept", 0),
            ("worded", 0),
            ("seeds", 2),
            ("undone", 0),
            ("cycles", 1),
            ("composited", 1),
            ("strangers", 1),
            ("known", 0),
            ("resamples", 200),
            ("permutations", 99),
        ):
            if getattr(self, name) < least:
                raise AuditError(f"{name} must be {least} or more; got {getattr(self, name)}.")

    @property
    def first(self) -> tuple[str, ...]:
        """The findings that the costlier sections are tried on."""
        return self.findings[: self.few]

    def edit(self, name: str, **changes: Any) -> Edit:
        """Return the edit that adds `name` at the operating point, with `changes`."""
        common: dict[str, Any] = {
            "strength": self.strength,
            "guidance_scale": self.guidance_scale,
            "num_inference_steps": self.num_inference_steps,
        }
        return Edit((name,), **(common | changes))

    def edits(self) -> list[Edit]:
        """Return the edits of every baseline: plain, in other modes, with others held, in place."""
        plain = [self.edit(name) for name in self.findings]
        other = [
            self.edit(name, composite=mode)
            for mode in COMPOSITES[1:]
            for name in self.findings[: self.composited]
        ]
        kept = [(n, tuple(h for h in self.hold if h != n)) for n in self.findings]
        held = [self.edit(name, hold=others) for name, others in kept if others]
        known = [name for name in self.findings if self.regional and finding(name).place]
        return plain + other + held + [self.edit(name, region=USUAL) for name in known]

    def sweep(self) -> list[Edit]:
        """Return the edits of the sweep, point by point."""
        return [
            self.edit(name, strength=strength, guidance_scale=guidance)
            for strength in self.strengths
            for guidance in self.guidances
            for name in self.first
        ]


@dataclass(frozen=True)
class ValidationResult:
    """What a validation found. A section that is absent has its reason in `absent`.

    Attributes:
        plan: what was asked.
        provenance: versions, platform, editor, extractor, judge, data.
        minutes: how long editing and measuring took, over all runs of the folder.
        baselines: baseline_id, path, patient_id, sex, age, view, site.
        items: what has no result: stage, baseline_id, edit, status, message.
        counts: edits "planned", "ok" and "missing".
        absent: section and why it has no numbers.
        checks: check, value, low, high, limit, state ("passed", "failed", "not measured").
        sweep: `fidelity.points`.
        recommended: the operating point the rule chooses, or None.
        pairs: group, baseline_id, patient_id, other_id, edited, pfid.
        pfid: `fidelity.summarise` of the pairs.
        pfid_tests: `fidelity.compare_groups` of the pairs.
        own_closer: `fidelity.own_closer` of the pairs.
        measures: arm, edited ("all" or a finding), measure, value, low, high, patients.
        success: edited, way (of `WAYS`), asked, success, low, high, net, net_low, net_high, auc,
            auc_low, auc_high, first.
        leakage: way, leakage, low, high, success, edits.
        nets: edited, way, read, net, low, high, patients.
        composition: composite, cycle, l1, l1_low, l1_high, ssim, ssim_low, ssim_high, patients.
        reversal: edited, n, before, after, recovered, low, high, net_added, net_left.
        artefacts: composite, contrast, auc, low, high, patients.
        spectra: composite, arm, frequency, change, low, high: of log10 power against the baseline.
        memorisation: known, copies, copies_low, copies_high, towards, towards_low, towards_high.
        wording: edited, icc, low, high, patients, variance_wording, variance_seed, variance_rest,
            same_wordings, same_seeds, worst, best.
        wordings: edited, wording, prompt, edits, success, net.
        objects: what, edited, share, low, high, edits.
        pictures: name of each sheet and its file.
        folder: the run directory.
    """

    plan: dict[str, Any]
    provenance: dict[str, Any]
    minutes: float
    baselines: pd.DataFrame
    items: pd.DataFrame
    counts: dict[str, int]
    absent: dict[str, str]
    checks: pd.DataFrame
    sweep: pd.DataFrame
    recommended: dict[str, float] | None
    pairs: pd.DataFrame
    pfid: pd.DataFrame
    pfid_tests: pd.DataFrame
    own_closer: dict[str, Any]
    measures: pd.DataFrame
    success: pd.DataFrame
    leakage: pd.DataFrame
    nets: pd.DataFrame
    composition: pd.DataFrame
    reversal: pd.DataFrame
    artefacts: pd.DataFrame
    spectra: pd.DataFrame
    memorisation: dict[str, Any]
    wording: pd.DataFrame
    wordings: pd.DataFrame
    objects: pd.DataFrame
    pictures: dict[str, Path]
    folder: Path = field(compare=False)

    def figures(self) -> dict[str, Any]:
        """Return the figures that ``bench/fidelity.json`` holds of an editor; None where unknown.

        ``pfid`` {group: {median, ci}}, ``own_closer_fraction``, ``leakage_plain``, ``_hold`` and
        ``_region``, ``success_`` of the same, ``artefact_auc`` {composite: of sham against
        untouched}, ``prompt_icc`` over all findings, ``minutes``.
        """
        by_way = {str(row["way"]): row for row in self.leakage.to_dict("records")}
        found: dict[str, Any] = {
            "pfid": {
                str(row["group"]): {
                    "median": _number(row["median"]),
                    "ci": [_number(row["low"]), _number(row["high"])],
                }
                for row in self.pfid.to_dict("records")
            },
            "own_closer_fraction": _number(self.own_closer["fraction"]),
        }
        for name in ("leakage", "success"):
            for way in WAYS:
                found[f"{name}_{way}"] = _number(by_way.get(way, {}).get(name))
        shams = self.artefacts[self.artefacts["contrast"] == "sham against untouched"]
        areas = zip(shams["composite"], shams["auc"], strict=True)
        found["artefact_auc"] = {str(mode): _number(area) for mode, area in areas}
        overall = self.wording[self.wording["edited"] == "all"]
        found["prompt_icc"] = _number(overall["icc"].iloc[0]) if len(overall) else None
        return found | {"minutes": round(self.minutes, 2)}


def _number(value: Any) -> float | None:
    if value is None or not math.isfinite(float(value)):
        return None
    return round(float(value), 4)
