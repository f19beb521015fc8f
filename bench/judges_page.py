"""The page of the two judges: ``docs/judges.md``, from what `bench.real_judge` measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Figures = Mapping[str, Any]
JUDGES = {"real_judge": "real labels", "bundled_judge": "bundled"}
GOOD = 0.8


def page(figures: Figures) -> str:
    """Return the page."""
    parts = (_head(figures), _real(figures), _looks(figures), _edits(figures))
    return "\n".join(line for part in parts for line in part) + "\n"


def good(figures: Figures, judge: str) -> list[str]:
    """Return the findings that a judge reads with a matched AUROC of `GOOD` or more.

    Fewer than `FEWEST` patients show nothing.
    """
    found = figures[f"{judge}_reads"]["real"]
    return [
        name
        for name, cell in found.items()
        if (cell["auc"] or 0) >= GOOD and cell["patients"] >= FEWEST
    ]


def seen(figures: Figures, judge: str) -> list[str]:
    """Return the findings that covering shows a judge to look at, on pictures it did not learn.

    Intervals of fewer than `_ENOUGH` patients are too sure.
    """
    found = figures[f"{judge}_reads"]["covering"]
    return [
        name
        for name, cell in found.items()
        if cell["patients"] >= _ENOUGH and cell["ci"][1] < 0 and "learned" not in name
    ]


def against(figures: Figures, judge: str) -> list[str]:
    """Return the findings that covering their mirror image moves surely more."""
    found = figures[f"{judge}_reads"]["covering"]
    return [
        name
        for name, cell in found.items()
        if cell["patients"] >= _ENOUGH and cell["ci"][0] > 0 and "learned" not in name
    ]


def _head(figures: Figures) -> list[str]:
    named = ", ".join(good(figures, "real_judge")) or "none"
    looked = ", ".join(seen(figures, "real_judge")) or "none"
    turned = ", ".join(against(figures, "real_judge")) or "none"
    return [
        "# Two judges",
        "",
        "Made by `make judges DATA=DIR NIH=DIR MORE=DIR` (`bench/real_judge.json`).",
        "",
        "The bundled judge learned painted findings beside real ones, so that it may know what the "
        "painter draws rather than what disease looks like. Another (`training/real_judge.py`) "
        "learned from real labels alone. Positives and normals of this collection come from "
        "different sources, and the source alone tells them apart (AUROC 0.83 to 0.85): each "
        "positive was drawn with a negative of its own source, view, sex and detector (within a "
        "source, too, the sick were taken with other detectors), in each such stratum "
        "negatives weigh as much as positives, all pictures pass through 224 px, and most are "
        "given the grey levels of another one. Before that the network learned view, sex and age "
        "of all training pictures.",
        "",
        "Networks and settings were chosen on the validation split. Detectors and grey levels came "
        "in when a first network, matched on source, view and sex alone, read children's pneumonia "
        "the wrong way round and hardly noticed covered boxes: those figures helped to shape the "
        "method; no reading of the test split did. The network kept was the best at 500 steps; "
        "then it learned its patients by heart. A network of near places alone had learned less in "
        "the time there was.",
        "",
        f"It reads with an AUROC of {GOOD:.2f} or more on the test split: {named}. Tests are "
        "small: read the intervals. Covering a finding moves it surely more than covering the "
        f"mirror image, on pictures of {_ENOUGH} patients or more that it did not learn: {looked}; "
        f"surely less: {turned}. Where it is not surely more, the judge may "
        "read disease by other signs (general sickness, posture, devices), and says little about "
        "an edit. It is not part of the package, and lies in `bench/judges/real`, so that figures "
        "can be repeated. Neither judge is a model for patients.",
        "",
    ]


def _real(figures: Figures) -> list[str]:
    lines = [
        "## Real findings",
        "",
        "AUROC on test patients, pairs within one source and view alone, with 95 % intervals over "
        "patients: against pictures without any finding; against those of the same detector; and "
        "against all of the same detector without this finding, most of which show others.",
        "",
        *_row(["", "positives", *(f"{w}: {a}" for w in JUDGES.values() for a in _AGAINST)]),
        *_row(["---"] * (2 + len(_AGAINST) * len(JUDGES))),
    ]
    reads = {key: figures[f"{key}_reads"] for key in JUDGES}
    for name, cell in reads["real_judge"]["real"].items():
        cells = [reads[key]["real"].get(name, {}) for key in JUDGES]
        shown = [_area(c, f"auc{end}", f"ci{end}") for c in cells for end in _AGAINST.values()]
        lines += _row([name, str(cell["positives"]), *shown])
    lines += [
        "",
        "Other hospitals, which taught neither judge (all pictures of a set against each other):",
        "",
        *_row(["", "positives", *JUDGES.values()]),
        *_row(["---"] * (2 + len(JUDGES))),
    ]
    for name, cell in reads["bundled_judge"]["external"].items():
        cells = [reads[key]["external"].get(name, {}) for key in JUDGES]
        lines += _row([name, str(cell["positives"]), *(_area(c, "auc", "ci") for c in cells)])
    return [*lines, ""]


_AGAINST = {"no finding": "", "same detector": "_detector", "others": "_other"}


def _area(cell: Figures, key: str, bounds: str) -> str:
    if cell.get(key) is None:
        return "-"
    low, high = cell[bounds]
    around = f" ({low:.2f} to {high:.2f})" if low is not None else ""
    return f"{cell[key]:.2f}{around}"


def _looks(figures: Figures) -> list[str]:
    lines = [
        "## Does it look at the finding?",
        "",
        "Radiologists' boxes are filled with the smoothest surface through their rims, or their "
        "mirror images are: the mean change of the finding's logit. Apart: the difference, with "
        "its interval over patients; it is negative where a judge looks at the finding. Boxes that "
        "meet their own mirror image are left out. Learned: pictures that taught the judge of real "
        "labels.",
        "",
        *_row(["", "pictures", *(f"{w}: {a}" for w in JUDGES.values() for a in _MOVED)]),
        *_row(["---"] * (2 + len(_MOVED) * len(JUDGES))),
    ]
    covering = {key: figures[f"{key}_reads"]["covering"] for key in JUDGES}
    for name, cell in covering["real_judge"].items():
        if cell["pictures"] < FEWEST:
            continue
        row = [name, str(cell["pictures"])]
        for key in JUDGES:
            one = covering[key].get(name)
            row += _moved(one) if one else ["-"] * len(_MOVED)
        lines += _row(row)
    lines += [
        "",
        "Sides, by boxes on one side of pictures that taught neither: how often the judge names "
        "it, and the other one in the mirrored picture.",
        "",
        *_row(["", "pictures", *(f"{w}: {a}" for w in JUDGES.values() for a in _SHOWN)]),
        *_row(["---"] * (2 + len(_SHOWN) * len(JUDGES))),
    ]
    sides = {key: figures[f"{key}_reads"]["sides"] for key in JUDGES}
    for name, cell in sides["real_judge"].items():
        if cell["n"] < FEWEST:
            continue
        cells = [sides[key].get(name, {}) for key in JUDGES]
        shown = [_number(c.get(a)) for c in cells for a in ("pictures", "mirrored")]
        lines += _row([name, str(cell["n"]), *shown])
    return [*lines, ""]


_MOVED = ("covered", "mirrored", "apart")
_SHOWN = ("as it is", "mirrored")
FEWEST = 5
_ENOUGH = 20


def _moved(cell: Figures) -> list[str]:
    low, high = cell["ci"]
    apart = f"{cell['apart']:+.2f} ({low:+.2f} to {high:+.2f})"
    return [f"{cell['covered']:+.2f}", f"{cell['mirrored']:+.2f}", apart]


def _edits(figures: Figures) -> list[str]:
    if not all(key in figures for key in JUDGES):
        return []
    lines = [
        "## Edits against real findings",
        "",
        f"Default edits of {figures['baselines']} test baselines: how far they move each judge's "
        "logit from its own baseline, how far real positives are above pictures without a finding "
        "of their source and view, and the AUROC of edits against baselines.",
        "",
    ]
    for editor in figures["real_judge"]:
        lines += [
            f"### {editor}",
            "",
            *_row(["", *(f"{w}: {a}" for w in JUDGES.values() for a in ("edit", "real", "AUROC"))]),
            *_row(["---"] * (1 + 3 * len(JUDGES))),
        ]
        tables = {key: figures[key][editor] for key in JUDGES}
        for name in dict.fromkeys(n for table in tables.values() for n in table):
            cells = [tables[key].get(name, {}) for key in JUDGES]
            keys = ("edited_shift", "real_shift")
            shown = [
                [*(_number(c.get(k), "+.2f") for k in keys), _number(c.get("auc"))] for c in cells
            ]
            lines += _row([name, *(value for one in shown for value in one)])
        lines.append("")
    return lines


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format(value, form)


def _row(cells: Iterable[str]) -> list[str]:
    return ["| " + " | ".join(cells) + " |"]
