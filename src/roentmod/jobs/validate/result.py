"""The result of a validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from roentmod.plans.validate import COMPOSITES, WAYS

__all__ = ["REAL", "SHAM", "SHAM_ARM", "UNEDITED", "VISIT_ARM", "ValidationResult"]

# Comparisons of the detector that checks are of.
SHAM, REAL = "sham against untouched", "edited against real"
# Before anything is drawn: what the latter has to be compared with.
UNEDITED = "untouched against real"
# Arms of likeness that are no edits.
SHAM_ARM, VISIT_ARM = "sham", "other visit"


@dataclass(frozen=True, repr=False)
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
        place: group, displaced (`fidelity.displaced`, a mean over patients), low, high, patients.
        measures: arm ("edited", "edited (none)", "sham", "other visit", ...), edited ("all" or a
            finding), measure, value, low, high, patients.
        success: edited, way (of `WAYS`), asked, success, low, high, net, net_low, net_high, auc,
            auc_low, auc_high, first; and by the second judge (NaN without one) the same from
            second_success to second_first.
        leakage: way, leakage, low, high, success, the same by the second judge, edits.
        nets: edited, way, read, net, low, high, patients.
        composition: composite, cycle, l1, l1_low, l1_high, ssim, ssim_low, ssim_high, patients.
        reversal: edited, n, before, after, recovered, low, high, net_added, net_left.
        artefacts: composite, contrast, edited ("all" or a finding), auc (NaN: not measured), low,
            high, patients, pictures, real (of these, real positives).
        spectra: composite, arm, frequency, change, low, high: of log10 power against the baseline.
        memorisation: known, towards, towards_low, towards_high.
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
    place: pd.DataFrame
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

    def __repr__(self) -> str:
        """Return how many checks ended how, and folder."""
        states = self.checks["state"].value_counts(sort=False)
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        return f"<ValidationResult: {counts}, in '{self.folder}'>"

    def figures(self) -> dict[str, Any]:
        """Return the figures that ``bench/fidelity.json`` holds of an editor; None where unknown.

        ``pfid`` {group: {median, ci}}, ``displaced`` {group: {mean, ci}}, ``own`` {mode: the share
        of edits whose nearest baseline is their own}, ``same_patient`` {arm: the same by the
        recogniser, of edits, shams and other visits: share, ci, patients}, ``own_closer_fraction``,
        ``leakage_plain``,
        ``_hold`` and ``_region``, ``success_`` of the same, by a second judge ``second_`` of both,
        ``leakage_ci`` {way: ends}, ``control`` of these, ``artefact_auc`` {composite: of sham
        against untouched} and ``artefact_ci`` {composite: ends}, ``real_auc`` {finding: {auc, ci,
        real}: of edits against real positives, None: not measured} and ``before_auc``, the same
        before anything was drawn, ``prompt_icc`` over all findings, ``minutes``.
        """
        by_way = {str(row["way"]): row for row in self.leakage.to_dict("records")}
        result: dict[str, Any] = {
            "pfid": {
                str(row["group"]): {
                    "median": _number(row["median"]),
                    "ci": _ends(row),
                }
                for row in self.pfid.to_dict("records")
            },
            "displaced": {
                str(row["group"]): {
                    "mean": _number(row["displaced"]),
                    "ci": _ends(row),
                }
                for row in self.place.to_dict("records")
            },
            "own": self._own(),
            "same_patient": self._same_patient(),
            "own_closer_fraction": _number(self.own_closer["fraction"]),
        }
        names = ["leakage", "success"]
        if self.provenance.get("second"):
            names += ["second_leakage", "second_success"]
        for name in names:
            for way in WAYS:
                result[f"{name}_{way}"] = _number(by_way.get(way, {}).get(name))
        shams = self.artefacts[self.artefacts["contrast"] == SHAM]
        by_mode = {str(row["composite"]): row for row in shams.to_dict("records")}
        result["artefact_auc"] = {mode: _number(row["auc"]) for mode, row in by_mode.items()}
        result["artefact_ci"] = {mode: _ends(row) for mode, row in by_mode.items()}
        result["leakage_ci"] = {way: _ends(row) for way, row in by_way.items()}
        for key, contrast in (("real_auc", REAL), ("before_auc", UNEDITED)):
            result[key] = {
                str(row["edited"]): {
                    "auc": _number(row["auc"]),
                    "ci": _ends(row),
                    "real": int(row["real"]),
                }
                for row in self.artefacts[self.artefacts["contrast"] == contrast].to_dict("records")
            }
        overall = self.wording[self.wording["edited"] == "all"]
        result["prompt_icc"] = _number(overall["icc"].iloc[0]) if len(overall) else None
        return result | {
            "control": self.provenance["control"],
            "minutes": round(self.minutes, 2),
        }

    def _own(self) -> dict[str, float | None]:
        """Return by composite mode the share of edits whose nearest baseline is their own."""
        rows = self.measures[
            (self.measures["measure"] == "own") & (self.measures["edited"] == "all")
        ]
        values = dict(zip(rows["arm"], rows["value"], strict=True))
        arms = {COMPOSITES[0]: "edited"} | {mode: f"edited ({mode})" for mode in COMPOSITES[1:]}
        return {mode: _number(values.get(arm)) for mode, arm in arms.items()}

    def _same_patient(self) -> dict[str, dict[str, Any]]:
        """Return by arm the share of pictures whose own baseline the recogniser finds nearest."""
        rows = self.measures[
            (self.measures["measure"] == "same_patient") & (self.measures["edited"] == "all")
        ]
        return {
            str(row["arm"]): {
                "share": _number(row["value"]),
                "ci": _ends(row),
                "patients": int(row["patients"]),
            }
            for row in rows.to_dict("records")
        }

    def report(self) -> Path:
        """Write ``report.html`` and ``report.json`` into the folder.

        Returns:
            The path of the page.

        Raises:
            OSError: the folder cannot be written.
        """
        from roentmod.jobs.validate.sections import shown
        from roentmod.report import as_json, publish

        return publish(shown(self), self.folder, as_json(self) | {"figures": self.figures()})


def _number(value: Any) -> float | None:
    if value is None or not math.isfinite(float(value)):
        return None
    return round(float(value), 4)


def _ends(row: Mapping[Any, Any]) -> list[float | None]:
    return [_number(row["low"]), _number(row["high"])]
