"""The page of a validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from roentmod.report import figures, standard
from roentmod.report.page import (
    Block,
    Page,
    Panels,
    Photograph,
    Photographs,
    Picture,
    Section,
    verdict,
)
from roentmod.report.tables import Cell, Column, across, pivot, ranged, settings
from roentmod.report.texts import Texts
from roentmod.report.words import (
    NOTHING,
    Row,
    date,
    decimals,
    interval,
    known,
    number,
    percent,
    records,
    signed,
    triple,
    unique,
)

if TYPE_CHECKING:
    from roentmod.jobs.validate.result import ValidationResult

__all__ = ["CHECKS", "shown"]

_say = Texts(Path(__file__).with_name("page.md"))
_SHEET = 1100  # pixels to which a sheet of pictures is reduced
_WAYS = {"plain": "Prompt alone", "hold": "Others held", "region": "In the usual place"}
_CONTROLS = {
    "baseline": ": in composite sham the edit lacks what the sham changed, so that taking the sham "
    "off again would hide what the edit does",
    "sham": ", as earlier versions measured, which hides what the sham does",
}
# Each check in words, and whether its value is a share.
CHECKS: dict[str, tuple[str, bool]] = {
    "own_closer": (
        "Baselines whose mean edit stays nearer than another visit and other patients (pFID)",
        True,
    ),
    "retrieval": ("Edits whose nearest baseline is their own", True),
    "same_patient": ("Edits whose nearest baseline, by the recogniser, is their own", True),
    "success": ("Edits in which the judge sees the finding", True),
    "leakage": ("Change of other findings, as a share of the requested change", True),
    "outside": (
        "Largest mean change outside what was composed (0 in an intact file)",
        False,
    ),
    "artefact_auc": ("AUC of telling shams from untouched pictures, default mode", False),
    "realism": ("AUC of telling edits from real positives of their source, mean", False),
    "default_is_lowest": ("By how much another mode has a lower such AUC", False),
    "prompt_icc": ("Variance within a patient that the wording makes (ICC)", False),
    "objects": ("Edits with a line, tube or text that was not requested, worst kind", True),
}


def _side(moved: Any) -> str:
    """Return a share of the picture's side, in percent with two digits."""
    return f"{decimals(2)(100 * moved)}%" if known(moved) else NOTHING


_MEASURES = {
    "own": ("Nearest to own baseline", percent),
    "same_patient": ("Same patient (recogniser)", percent),
    "ssim": ("SSIM", decimals(3)),
    "ssim_outside": ("SSIM outside", decimals(3)),
    "l1_inside": ("L1 inside", decimals(4)),
    "l1_outside": ("L1 outside", decimals(4)),
    "support": ("Area changed", percent),
    "perceptual": ("Feature distance", decimals(3)),
    "displaced": ("Places moved", _side),
    "displaced_outside": ("Places moved outside", _side),
    "lungs": ("Dice, lungs", decimals(3)),
    "heart": ("Dice, heart", decimals(3)),
    "ratio": ("Cardiothoracic ratio", decimals(3)),
    "rotation": ("Rotation (°)", decimals(2)),
}


def shown(result: ValidationResult) -> Page:
    """Return what is shown of a validation."""
    plan, made, absent = result.plan, result.provenance, result.absent
    level = percent(plan.get("level", 0.95))
    operating = f"strength {plan['strength']:g}, guidance_scale {plan['guidance_scale']:g}"
    missing = standard.Missing(result.counts, "planned edits were made", records(result.items))
    checks, warning = records(result.checks), _warning(result)
    recommended = _recommended(result)
    return Page(
        f"Editor validation: {standard.named(made.get('editor'))}",
        "Is the edited picture still this patient, and is the edit what was requested? RoentMod, "
        f"{date(made)}.",
        (
            *map(_check, checks),
            warning,
            recommended,
            missing.in_short(),
            _say("operating", operating=operating, level=level, minutes=number(result.minutes, 1)),
        ),
        (
            Section("Edits", (_sheet(result, "edits") or _say("nothing"),), id="edits"),
            Section("Operating point", (recommended, *_sweep(result)), id="sweep"),
            _pfid(result),
            Section(
                "Identity",
                (
                    _identity(result),
                    _recogniser(result),
                    Section("Memorised pictures", (_memorisation(result.memorisation),)),
                ),
                id="identity",
            ),
            _effect(result),
            Section(
                "Artefacts",
                (
                    _say("artefacts"),
                    warning,
                    *_detector(result),
                    _spectra(result),
                ),
                id="artefacts",
            ),
            Section(
                "Wording",
                (
                    _say.table("wordings", result.wording, empty=absent.get("wording", "")),
                    _say.table("every", result.wordings),
                ),
                id="wording",
            ),
            Section("Unrequested objects", (_say.table("objects", result.objects),), id="objects"),
            missing.section(*(_say("absent", name=k, reason=v) for k, v in absent.items())),
            _say.section(
                "methods",
                operating=operating,
                findings=", ".join(plan["findings"]),
                first=_first(plan),
                gate=number(plan["rule"]["gate_logit"], 1),
                control=made["control"],
                why=_CONTROLS[made["control"]],
                extractor=standard.named(made.get("extractor")),
            ),
            _say.section("limits"),
            standard.provenance(plan, made),
        ),
        overview=(settings("What was validated", _overview(result, operating)),),
        synthetic="Counterfactual and difference pictures",
        studio=True,
    )


def _overview(result: ValidationResult, operating: str) -> list[tuple[str, str]]:
    made = result.provenance
    return [
        ("Editor", standard.named(made.get("editor"))),
        ("Operating point", operating),
        ("Findings edited", ", ".join(result.plan["findings"])),
        ("Extractor of features", standard.named(made.get("extractor"))),
        ("Data", standard.named(made.get("data"))),
        ("Judge", standard.weights_named(made.get("judge"))),
        *([("Second judge", standard.weights_named(made["second"]))] if made.get("second") else []),
        ("Control of counterfactuals", f"the {made['control']}"),
        ("Baselines", standard.baselines(result.baselines)),
        ("Date", date(made)),
    ]


def _first(plan: dict[str, Any]) -> str:
    return ", ".join(plan["findings"][: plan["few"]])


def _check(row: Row) -> Block:
    title, is_share = CHECKS.get(str(row["check"]), (str(row["check"]), False))
    form = percent if is_share else decimals(3)
    shown = form(row["value"])
    if known(row["value"]) and known(row["low"]):
        shown += f" ({interval(row['low'], row['high'], form)})"
    limit = f"{'at least' if row['side'] == 'least' else 'at most'} {form(row['limit'])}"
    words = {"title": title, "value": shown, "limit": limit}
    state = str(row["state"])
    return verdict(state, state, lambda mark: _say("check", badge=mark, **words))


def _warning(result: ValidationResult) -> Block:
    """Return the warning of artefacts; None where there is nothing to warn of."""
    failed = result.checks[result.checks["state"] == "failed"].set_index("check")["value"]
    return _say("warning", auc=number(failed["artefact_auc"])) if "artefact_auc" in failed else None


def _recommended(result: ValidationResult) -> Block:
    best = result.recommended
    if not len(result.sweep):
        return None
    text = "No point of the grid is recommended: none keeps identity and succeeds."
    if best is not None:
        text = (
            f"Recommended: strength {best['strength']:g}, guidance_scale "
            f"{best['guidance_scale']:g} (success {percent(best['success'])}, leakage "
            f"{percent(best['leakage'])}, nearest to own baseline {percent(best['identity'])})."
        )
    return _say("recommended", text=text)


_SHEETS = {
    "edits": (
        "Synthetic edits of one baseline, one finding per row: baseline, counterfactual, "
        "difference.",
        "One baseline, and every finding added to it at the operating point.",
    ),
    "sweep": (
        "Synthetic edits of one baseline with {finding}: strength rises downwards, guidance to "
        "the right.",
        "The grid at a glance, for one baseline and one finding.",
    ),
}


def _sheet(result: ValidationResult, name: str) -> Block:
    """Return a sheet of pictures; None where there is none that can be read."""
    alt, caption = _SHEETS[name]
    uri = figures.photograph(result.pictures[name], _SHEET) if name in result.pictures else ""
    photo = Photograph(uri, alt.format(finding=result.plan["findings"][0]))
    return Photographs((photo,), caption) if uri else None


def _sweep(result: ValidationResult) -> tuple[Block, ...]:
    rows = sorted(records(result.sweep), key=lambda row: (row["strength"], row["guidance_scale"]))
    rule = result.plan["rule"]
    points = _say.table("sweep", result.sweep, empty=result.absent.get("sweep", ""))
    if not rows:
        return _sheet(result, "sweep"), points
    how = _say(
        "maps",
        first=_first(result.plan),
        identity=percent(rule["identity"]),
        tolerance=percent(rule["tolerance"]),
    )
    titles = ("Success", "Leakage", "Nearest to own baseline")
    maps = Panels(
        tuple(
            _map(rows, key, title, result.recommended)
            for key, title in zip(("success", "leakage", "identity"), titles, strict=True)
        )
    )
    return how, maps, _sheet(result, "sweep"), points


def _map(rows: Sequence[Row], key: str, title: str, best: Row | None) -> Picture:
    """Return one share over strength (down) and guidance (across), the best point framed."""

    def point(row: Row) -> tuple[float, float]:
        return float(row["strength"]), float(row["guidance_scale"])

    squares = []
    for row in rows:
        strength, guidance = point(row)
        frame = figures.ACCENT if best is not None and point(best) == point(row) else ""
        squares.append(
            figures.Square(
                f"{strength:g}", f"{guidance:g}", row[key], percent(row[key]), frame=frame
            )
        )
    scale = figures.Scale("viridis", 0, 1)
    return figures.grid(squares, scale, title, down="strength", across="guidance_scale")


def _pfid(result: ValidationResult) -> Section:
    own = result.own_closer
    closer = _say("alone")
    if own["baselines"]:
        shares = {key: percent(own[key]) for key in ("fraction", "low", "high")}
        closer = _say("closer", **{**own, **shares})
    drawn = _spread(result) if len(result.pairs) else None
    title = "pFID: nearer than another visit, nearer than another patient?"
    tests = _say.table("tests", result.pfid_tests)
    blocks = (closer, drawn, _say.table("pfid", result.pfid), tests)
    place = (_say("heap"), _say.table("place", result.place, moved=_displaced))
    moved = Section("Is everything still where it was?", place)
    return Section(title, (*blocks, moved), id="pfid", label="pFID")


def _displaced(row: Row) -> Cell:
    ends = interval(row["low"], row["high"], _side)
    return Cell(_side(row["displaced"]), "" if ends == NOTHING else ends)


def _spread(result: ValidationResult) -> Picture:
    """Return patients' median distances by group, and each group's median with its interval."""
    medians = result.pairs.groupby(["group", "patient_id"])["pfid"].median()
    points = [
        figures.Point(
            f"{row['group']} ({row['patients']} patients)",
            triple(row, ("median", "low", "high")),
            marker="D",
            cloud=tuple(np.sort(medians.loc[row["group"]]) if row["group"] in medians else ()),
        )
        for row in records(result.pfid)
    ]
    label = "pFID: dots are patients, diamonds the median with its interval"
    return figures.intervals(points, figures.Axis(label, number, least=0), "Median pFID by group")


def _identity(result: ValidationResult) -> Block:
    """Return one row per arm and finding, one column per measure."""
    rows = [{**row, "what": f"{row['arm']}: {row['edited']}"} for row in records(result.measures)]
    lines = pivot(rows, ("what",), "measure")
    present = [name for name in _MEASURES if any(name in line["own"] for line in lines)]
    return _say.table("identity", lines, *map(_measure, present))


def _recogniser(result: ValidationResult) -> Block:
    """Return what *same patient* is, and how well patients are recognised; None without it."""
    facts = result.provenance.get("recogniser")
    if not facts:
        return None
    trained, val = facts.get("trained_on"), facts.get("val")
    text = _say("recogniser", baselines=len(result.baselines))
    if not (trained and val):
        return text
    found = val["rank_1"]
    return text + _say(
        "recognised",
        pairs=trained["pairs"],
        patients=trained["patients_with_pairs"],
        gallery=val["gallery"]["median"],
        found=percent(found["value"]),
        ends=interval(found["ci"][0], found["ci"][1], percent),
        chance=percent(val["chance"]),
        others=val["patients"],
    )


def _measure(name: str) -> Column:
    label, form = _MEASURES[name]
    column = ranged(label, "value", form=form)
    return Column(
        label,
        lambda line: column.cell(line["own"][name]) if name in line["own"] else Cell(NOTHING),
    )


def _way(row: Row) -> Cell:
    return Cell(_WAYS[str(row["way"])])


def _memorisation(figures: dict[str, Any]) -> Markup:
    if not known(figures["towards"]):
        return _say("unknown")
    ends = interval(figures["towards_low"], figures["towards_high"], percent)
    return _say("towards", known=figures["known"], towards=percent(figures["towards"]), moved=ends)


def _effect(result: ValidationResult) -> Section:
    nets = result.nets[result.nets["way"] == "plain"] if len(result.nets) else result.nets
    lines = pivot(records(nets), ("edited",), "read")
    net = across(lines, lambda row: Cell(signed(row["net"], 1)))
    parts = {
        "Composition: the sham leaves the picture as it was": (
            _say.table("composition", result.composition),
        ),
        "Reversal: what is added can be removed": (
            _say.table("reversal", result.reversal, empty=result.absent.get("reversal", "")),
        ),
        "Effect: what is requested is what is seen": (
            _say.table("success", result.success, way=_way),
            _say.table("leakage", result.leakage, way=_way),
            *_second(result),
            _say.table("nets", lines, *net),
        ),
    }
    return Section(
        "Composition, reversal, effect",
        tuple(Section(title, blocks) for title, blocks in parts.items()),
        id="effect",
    )


def _detector(result: ValidationResult) -> tuple[Block, ...]:
    """Return what a network tells apart: arms of the same patients; edits from real findings."""
    rows = records(result.artefacts)
    real = [{**row, "state": _measured(row)} for row in rows if row["edited"] != "all"]
    arms = [row for row in rows if row["edited"] == "all"]
    empty = result.absent.get("detectors", "")
    return _say.table("detector", arms, empty=empty), _say.table("real", real, empty=empty)


def _measured(row: Row) -> str:
    return "measured" if known(row["auc"]) else "not measured: too few match"


def _second(result: ValidationResult) -> tuple[Block, ...]:
    """Return success and leakage as both judges see them, beside each other."""
    if not result.provenance.get("second"):
        return ()
    success = _say.table("both", result.success, way=_way)
    return _say("second"), success, _say.table("both-leakage", result.leakage, way=_way)


def _spectra(result: ValidationResult) -> Block:
    """Return how power differs from the baseline's by frequency: a panel per arm, a line a mode."""
    rows = records(result.spectra)
    if not rows:
        return None
    panels = []
    for arm in unique(rows, "arm"):
        own = [row for row in rows if row["arm"] == arm]
        drawn = [
            figures.Line(
                mode,
                [
                    (row["frequency"], row["change"], row["low"], row["high"])
                    for row in own
                    if row["composite"] == mode
                ],
            )
            for mode in unique(own, "composite")
        ]
        panels.append(
            figures.Panel(f"{arm} against its own baseline", drawn, label="cycles per pixel")
        )
    return figures.lines(panels, "Change of log10 power")
