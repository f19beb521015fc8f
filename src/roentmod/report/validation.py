"""What the page shows of a validation, section by section, ready for the template."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from roentmod.report import charts, figures, words
from roentmod.report.page import _baselines, _date, _records
from roentmod.report.tables import (
    Cell,
    Column,
    Table,
    _count,
    _text,
    _with_interval,
    settings,
    table,
)
from roentmod.report.words import NOTHING, interval, number, p_value, percent, readable, signed

if TYPE_CHECKING:
    from roentmod.jobs.validate import ValidationResult

__all__ = ["CHECKS", "content"]

Row = Mapping[str, Any]
_SHEET = 1100  # pixels to which a sheet of pictures is reduced
_BADGES = {"passed": ("✓", "good"), "failed": ("▲", "bad"), "not measured": ("?", "open")}
_WAYS = {"plain": "Prompt alone", "hold": "Others held", "region": "In the usual place"}
# Each check: what is said, and whether its value is a share.
CHECKS: dict[str, tuple[str, bool]] = {
    "own_closer": (
        "Baselines whose edits stay nearer than another visit and than other patients (pFID)",
        True,
    ),
    "retrieval": ("Edits whose nearest baseline is their own", True),
    "success": ("Edits in which the judge sees the finding", True),
    "leakage": ("Change of other findings, as a share of the change asked for", True),
    "outside": ("Largest mean change outside an edit's own support", False),
    "artefact_auc": ("AUC of telling shams from untouched pictures, default mode", False),
    "default_is_lowest": ("By how much another mode has a lower such AUC", False),
    "copies": ("Edits nearer to another patient's picture than to their baseline", True),
    "prompt_icc": ("Variance within a patient that the wording makes (ICC)", False),
    "objects": ("Edits with a line, tube or text that was not asked for, worst kind", True),
}
_MEASURES = {
    "own": ("Nearest to own baseline", True, 0),
    "ssim": ("SSIM", False, 3),
    "ssim_outside": ("SSIM outside", False, 3),
    "l1_inside": ("L1 inside", False, 4),
    "l1_outside": ("L1 outside", False, 4),
    "support": ("Area changed", True, 0),
    "perceptual": ("Feature distance", False, 3),
    "lungs": ("Dice, lungs", False, 3),
    "heart": ("Dice, heart", False, 3),
    "ratio": ("Cardiothoracic ratio", False, 3),
    "rotation": ("Rotation (°)", False, 2),
}


def content(result: ValidationResult) -> dict[str, Any]:
    """Return everything the template needs, as text, `Table` and `Picture`."""
    plan = result.plan
    level = percent(plan.get("level", 0.95))
    pairs = _records(result.pairs)
    groups = _records(result.pfid)
    return {
        "title": "Editor validation",
        "editor": readable(_name(result.provenance.get("editor"))),
        "extractor": readable(_name(result.provenance.get("extractor"))),
        "date": _date(result.provenance),
        "level": level,
        "minutes": number(result.minutes, 1),
        "overview": settings("What was validated", _overview(result)),
        "checks": [_check(row) for row in _records(result.checks)],
        "warning": _warning(result),
        "operating": f"strength {plan['strength']:g}, guidance_scale {plan['guidance_scale']:g}",
        "absent": {key: readable(text) for key, text in result.absent.items()},
        "missing": _missing(result),
        "sheets": _sheets(result),
        **_sweep(result),
        "spread": charts.spread(groups, pairs) if pairs else None,
        "pfid": table("pFID by group", _PFID, groups, empty="No pairs were compared."),
        "pfid_tests": table(
            "Is one group nearer than the other, within baselines?",
            _TESTS,
            _records(result.pfid_tests),
            empty="No groups were compared.",
        ),
        "own_closer": _own_closer(result.own_closer),
        "identity": _identity(result.measures),
        "composition": table(
            "The sham against its baseline, by mode",
            _COMPOSITION,
            _records(result.composition),
            empty="The editor made no shams.",
        ),
        "reversal": table(
            "Added, then removed",
            _REVERSAL,
            _records(result.reversal),
            empty=result.absent.get("reversal", "No edit was removed again."),
        ),
        "success": table(
            "Is the effect asked for the effect seen?",
            _SUCCESS,
            _records(result.success),
            empty="No edit could be judged.",
        ),
        "leakage": table(
            "Leakage, without and with other findings held",
            _LEAKAGE,
            _records(result.leakage),
            empty="No edit could be judged.",
        ),
        "nets": _nets(result.nets),
        "artefacts": table(
            "A detector's AUC on patients it has not seen",
            _ARTEFACTS,
            _records(result.artefacts),
            empty="No pictures were compared.",
        ),
        "spectra": charts.spectra(_records(result.spectra)) if len(result.spectra) else None,
        "memorisation": _memorisation(result.memorisation),
        "wording": table(
            "Variance between wordings against variance between seeds",
            _WORDING,
            _records(result.wording),
            empty=result.absent.get("wording", "No wordings were tried."),
        ),
        "wordings": table(
            "Every wording",
            _WORDINGS,
            _records(result.wordings),
            empty="",
        ),
        "objects": table(
            "What was not asked for",
            _OBJECTS,
            _records(result.objects),
            empty="No edit was looked at.",
        ),
        "plan": settings("Parameters", words.flat(plan)),
        "provenance": settings("Versions, hashes and machine", words.flat(result.provenance)),
        "findings": ", ".join(map(readable, plan["findings"])),
        "first": ", ".join(map(readable, plan["findings"][: plan["few"]])),
        "gate": number(plan["rule"]["gate_logit"], 1),
        "rule_identity": percent(plan["rule"]["identity"]),
        "tolerance": percent(plan["rule"]["tolerance"]),
    }


def _name(told: Any) -> str:
    return str(told.get("name", "")) if isinstance(told, Mapping) else str(told or "")


def _overview(result: ValidationResult) -> list[tuple[str, str]]:
    plan = result.plan
    told = result.provenance
    return [
        ("Editor", _name(told.get("editor"))),
        ("Operating point", f"strength {plan['strength']:g}, guidance {plan['guidance_scale']:g}"),
        ("Findings edited", ", ".join(plan["findings"])),
        ("Extractor of features", _name(told.get("extractor"))),
        ("Data", _name(told.get("data"))),
        ("Baselines", _baselines(result.baselines)),
        ("Date", _date(told)),
    ]


def _check(row: Row) -> dict[str, str]:
    title, share = CHECKS.get(str(row["check"]), (str(row["check"]), False))
    badge, style = _BADGES.get(str(row["state"]), ("•", "open"))
    show = percent if share else (lambda value: number(value, 3))
    value = show(row["value"])
    if value != NOTHING and math.isfinite(float(row["low"])):
        value += f" ({show(row['low'])} to {show(row['high'])})"
    least = row["side"] == "least"
    limit = f"{'at least' if least else 'at most'} {show(row['limit'])}"
    return {
        "title": title,
        "badge": badge,
        "style": style,
        "state": readable(row["state"]),
        "value": value,
        "limit": limit,
    }


def _warning(result: ValidationResult) -> str:
    """Return what must be said of artefacts in the summary, or nothing."""
    checks = {str(row["check"]): row for row in _records(result.checks)}
    row = checks.get("artefact_auc")
    if row is None or row["state"] != "failed":
        return ""
    return (
        f"Shams are told from untouched pictures with an AUC of {number(row['value'])}: a "
        "classifier could read the editor instead of the finding. Compare counterfactuals with "
        "their shams, not with untouched pictures."
    )


def _missing(result: ValidationResult) -> dict[str, Any]:
    counts = result.counts
    text = f"{counts['ok']} of {counts['planned']} planned edits were made"
    text += f"; {counts['missing']} are missing." if counts["missing"] else ". None is missing."
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in _records(result.items):
        groups.setdefault((str(row["stage"]), str(row["status"])), []).append(row)
    rows = [
        {"stage": stage, "status": status, "count": len(some), "message": some[0]["message"]}
        for (stage, status), some in sorted(groups.items())
    ]
    columns = (
        _text("Stage", "stage"),
        _text("Status", "status"),
        _count("Items", "count"),
        _text("First message", "message", "long"),
    )
    return {
        "complete": not rows,
        "text": text,
        "table": table("Missing items by stage and status", columns, rows, empty=""),
    }


def _sheets(result: ValidationResult) -> dict[str, tuple[str, str] | None]:
    """Return each sheet as data and words, None where there is none that can be read."""
    alts = {
        "edits": "Synthetic edits of one baseline, one finding a row: baseline, counterfactual, "
        "difference.",
        "sweep": f"Synthetic edits of one baseline with {result.plan['findings'][0]}: strength "
        "rises downwards, guidance to the right.",
    }
    data = {name: figures.photograph(path, _SHEET) for name, path in result.pictures.items()}
    return {
        name: (data[name], readable(alt)) if data.get(name) else None for name, alt in alts.items()
    }


def _sweep(result: ValidationResult) -> dict[str, Any]:
    rows = _records(result.sweep)
    best = result.recommended
    maps = [
        charts.heat_map(rows, key, title, best)
        for key, title in (
            ("success", "Success"),
            ("leakage", "Leakage"),
            ("identity", "Nearest to own baseline"),
        )
        if rows
    ]
    said = ""
    if rows:
        said = "No point of the grid is recommended: none keeps identity and succeeds."
    if best is not None:
        said = (
            f"Recommended: strength {best['strength']:g}, guidance_scale "
            f"{best['guidance_scale']:g} (success {percent(best['success'])}, leakage "
            f"{percent(best['leakage'])}, nearest to own baseline {percent(best['identity'])})."
        )
    columns = (
        _text("Strength", "strength", "number"),
        _text("Guidance", "guidance_scale", "number"),
        _count("Edits", "edits"),
        _share("Success", "success"),
        _share("Leakage", "leakage"),
        _share("Own", "identity"),
        _plain("SSIM", "ssim", 3),
        _plain("Feature distance", "perceptual", 3),
        _plain("Score", "score", 2),
    )
    empty = result.absent.get("sweep", "No sweep was made.")
    return {
        "maps": maps,
        "recommended": said,
        "sweep": table("Every point of the grid", columns, rows, empty=empty),
    }


def _share(label: str, key: str) -> Column:
    return Column(label, lambda row: Cell(percent(row[key])))


def _plain(label: str, key: str, digits: int = 2) -> Column:
    return Column(label, lambda row: Cell(number(row[key], digits)))


def _ranged(label: str, keys: tuple[str, str, str], digits: int = 3) -> Column:
    """Return a column of a value with its interval, neither with a plus."""

    def cell(row: Row) -> Cell:
        value, low, high = (row[key] for key in keys)
        text = f"{number(low, digits)} to {number(high, digits)}"
        return Cell(number(value, digits), text if math.isfinite(float(low)) else "")

    return Column(label, cell)


def _way(row: Row) -> Cell:
    return Cell(_WAYS[str(row["way"])])


def _own_closer(found: Mapping[str, Any]) -> str:
    if not found["baselines"]:
        return "No baseline has another picture to be compared with."
    return (
        f"In {found['closer']} of {found['baselines']} baselines ({percent(found['fraction'])}; "
        f"{percent(found['low'])} to {percent(found['high'])}) the edits stay nearer than the same "
        "patient's other visit, where there is one, and than every matched other patient."
    )


def _memorisation(found: Mapping[str, Any]) -> str:
    if not math.isfinite(float(found["copies"])):
        return "No pictures of other patients were at hand to compare with."
    return (
        f"{percent(found['copies'])} of the edits are nearer to one of {found['known']} pictures "
        "of other patients than to their own baseline "
        f"({interval(found['copies_low'], found['copies_high'], share=True)}). On the way to the "
        f"one that was nearest before, edits cover {percent(found['towards'])} "
        f"({interval(found['towards_low'], found['towards_high'], share=True)}); below 0 is away "
        "from it."
    )


def _identity(measures: pd.DataFrame) -> Table:
    """Return one row an arm and finding, one column a measure."""
    kept: dict[tuple[str, str], dict[str, Row]] = {}
    for row in _records(measures):
        kept.setdefault((str(row["arm"]), str(row["edited"])), {})[str(row["measure"])] = row
    present = [name for name in _MEASURES if any(name in own for own in kept.values())]
    rows = [{"what": f"{arm}: {edited}", "own": own} for (arm, edited), own in kept.items()]
    columns = [_text("Edits", "what")] + [_measure(name) for name in present]
    return table(
        "Likeness of edits and baselines, and drift of outlines",
        tuple(columns),
        rows,
        empty="No edit could be measured.",
        note="Means over patients. SSIM, feature distance and outlines at 224 pixels; L1 of "
        "display values at the picture's own resolution. Ratio and rotation are changes.",
    )


def _measure(name: str) -> Column:
    label, share, digits = _MEASURES[name]

    def cell(row: Row) -> Cell:
        found = row["own"].get(name)
        if found is None:
            return Cell(NOTHING)
        show = percent if share else (lambda value: number(value, digits))
        low, high = show(found["low"]), show(found["high"])
        return Cell(show(found["value"]), "" if low == NOTHING else f"{low} to {high}")

    return Column(label, cell)


def _nets(nets: pd.DataFrame) -> Table:
    """Return mean net changes, edited findings down, read ones across."""
    plain = nets[nets["way"] == "plain"] if len(nets) else nets
    read = list(dict.fromkeys(map(str, plain["read"])))
    lines: dict[str, dict[str, Any]] = {}
    for row in _records(plain):
        lines.setdefault(str(row["edited"]), {"edited": row["edited"]})[str(row["read"])] = row
    columns: list[Column] = [_text("Edited", "edited")]
    columns += [_read(name) for name in read]
    return table(
        "Net change of the judge's logit, edited findings down, read ones across",
        tuple(columns),
        lines.values(),
        empty="No edit could be judged.",
    )


def _read(name: str) -> Column:
    def cell(row: Row) -> Cell:
        found = row.get(name)
        return Cell(signed(found["net"], 1) if found is not None else NOTHING)

    return Column(readable(name), cell)


_PFID = (
    _text("Group", "group"),
    _count("Pairs", "pairs"),
    _count("Patients", "patients"),
    _ranged("Median pFID", ("median", "low", "high"), 2),
)
_TESTS = (
    _text("Nearer", "nearer"),
    _text("Farther", "farther"),
    _count("Baselines", "baselines"),
    _plain("Mean difference", "difference"),
    _share("Holds in", "share"),
    Column("p, one-sided", lambda row: Cell(p_value(row["p"]))),
)
_COMPOSITION = (
    _text("Mode", "composite"),
    _count("Cycle", "cycle"),
    _count("Patients", "patients"),
    _ranged("L1", ("l1", "l1_low", "l1_high"), 4),
    _ranged("SSIM", ("ssim", "ssim_low", "ssim_high"), 3),
)
_REVERSAL = (
    _text("Finding", "edited"),
    _count("Edits", "n"),
    _plain("L1 after adding", "before", 4),
    _plain("L1 after removing", "after", 4),
    _with_interval("Taken back", "recovered", "low", "high", share=True),
    Column("Judge, added", lambda row: Cell(signed(row["net_added"]))),
    Column("Judge, left", lambda row: Cell(signed(row["net_left"]))),
)
_SUCCESS = (
    _text("Finding", "edited"),
    Column("Way", _way, "text"),
    _count("Edits", "asked"),
    _with_interval("Success", "success", "low", "high", share=True),
    _with_interval("Judge, net (logits)", "net", "net_low", "net_high"),
    _ranged("AUC against shams", ("auc", "auc_low", "auc_high"), 3),
    _share("Rises most", "first"),
)
_LEAKAGE = (
    Column("Way", _way, "text"),
    _count("Edits", "edits"),
    _with_interval("Leakage", "leakage", "low", "high", share=True),
    _share("Success", "success"),
)
_ARTEFACTS = (
    _text("Mode", "composite"),
    _text("Told apart", "contrast"),
    _count("Patients", "patients"),
    _ranged("AUC", ("auc", "low", "high"), 3),
)
_WORDING = (
    _text("Finding", "edited"),
    _count("Patients", "patients"),
    _ranged("ICC of wording", ("icc", "low", "high"), 2),
    _plain("Variance: wording", "variance_wording"),
    _plain("seed", "variance_seed"),
    _plain("rest", "variance_rest"),
    _share("Same verdict: wordings", "same_wordings"),
    _share("seeds", "same_seeds"),
    _share("Success: worst wording", "worst"),
    _share("best", "best"),
)
_WORDINGS = (
    _text("Finding", "edited"),
    _text("Prompt", "prompt", "long"),
    _count("Edits", "edits"),
    _share("Success", "success"),
    _plain("Judge, net (logits)", "net"),
)
_OBJECTS = (
    _text("What", "what"),
    _text("In edits of", "edited"),
    _count("Edits", "edits"),
    _with_interval("Share", "share", "low", "high", share=True),
)
