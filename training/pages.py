"""The sheets of an evaluation, and its page in plain words."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from roentmod import imaging
from roentmod.imaging import provenance
from roentmod.imaging.pictures import Cell, grid
from training.benchmark import Bench, Result

SHOWN = (
    "Cardiomegaly",
    "Pleural Effusion",
    "Edema",
    "Consolidation",
    "Atelectasis",
    "Nodule",
    "Pneumothorax",
    "Support Devices",
)
COLUMNS = 6
LARGEST = 1_500_000
Array = NDArray[np.float32]
_DARK, _INK = (16, 17, 20), (236, 238, 242)
_LOW, _HIGH = np.array([22, 32, 60]), np.array([255, 196, 84])


def save(image: Image.Image, path: Path) -> None:
    """Save a sheet with as many grey levels as 1.5 MB allow."""
    facts = {"synthetic": "YES", "statement": provenance.STATEMENT}
    for levels in (160, 112, 88, 72, 60, 50, 42, 36, 30):
        reduced = _reduced(image, levels)
        held = io.BytesIO()
        reduced.save(held, format="PNG", compress_level=1)
        if held.tell() < LARGEST - 20_000:
            break
    imaging.save_picture(reduced, path, facts)


def _reduced(image: Image.Image, levels: int) -> Image.Image:
    """Return `image` in `levels` greys and its own most frequent colours."""
    counted: Any = image.getcolors(1 << 24) or []
    colours = [c for _, c in sorted(counted, reverse=True) if max(c) > min(c)][: 256 - levels]
    greys = np.rint(np.linspace(0, 255, levels)).astype(int)
    palette = [*np.repeat(greys, 3).tolist(), *(part for colour in colours for part in colour)]
    holder = Image.new("P", (1, 1))
    holder.putpalette(palette)
    return image.quantize(palette=holder, dither=Image.Dither.NONE)


def findings_sheet(bench: Bench, results: list[Result], path: Path) -> None:
    """Write baselines in the first row, and below each of them its counterfactuals."""
    columns = range(min(COLUMNS, len(bench.rows)))
    rows = [("Baseline", [Cell(bench.baselines[i].pixels, synthetic=False) for i in columns])]
    empty = np.zeros((8, 8), np.float32)
    for name in (n for n in SHOWN if n in bench.findings):
        found = {r.baseline: r for r in results if r.edit.findings == (name,)}
        cells = [
            Cell(found[i].pixels, note=found[i].edit.side or "")
            if i in found
            else Cell(empty, synthetic=False, note="refused")
            for i in columns
        ]
        rows.append((name, cells))
    title = f"{bench.editor.name}: unseen radiographs, default settings"
    save(grid(rows, title=title, cell=248), path)


def failures_sheet(bench: Bench, results: list[Result], path: Path, worst: int = 12) -> None:
    """Write the edits that the judge's logit followed least, each beside its baseline."""

    def change(result: Result) -> float:
        return float(result.net[bench.column(result.edit.findings[0])])

    low = sorted(results, key=change)[:worst]
    rows = []
    for start in range(0, len(low), 3):
        cells: list[Cell] = []
        for result in low[start : start + 3]:
            said = " ".join(w for w in (result.edit.side, result.edit.findings[0]) if w)
            before = bench.baselines[result.baseline].pixels
            cells.append(Cell(before, synthetic=False, note="baseline"))
            cells.append(Cell(result.pixels, note=f"{said} {change(result):+.1f}"))
        rows.append(("", cells))
    title = (
        f"{bench.editor.name}: the {len(low)} least changes of the judge's logit, of {len(results)}"
    )
    save(grid(rows, title=title, cell=320), path)


def tradeoff_sheet(facts: dict[str, Any], pictures: list[list[Array]], path: Path) -> None:
    """Write one baseline over strength and guidance, and two maps of the mean of all."""
    rows = [
        (f"strength {strength:g}", [Cell(picture) for picture in row])
        for strength, row in zip(facts["strength"], pictures, strict=True)
    ]
    columns = [f"guidance {g:g}" for g in facts["guidance"]]
    left = grid(rows, title=f"{facts['finding']}, left", columns=columns, cell=248)
    maps = [
        _map("success: change of the judge's logit", facts["success"], facts, "{:.1f}"),
        _map("identity: SSIM to the baseline", facts["identity"], facts, "{:.2f}"),
    ]
    canvas = Image.new("RGB", (left.width + maps[0].width + 24, left.height), _DARK)
    canvas.paste(left, (0, 0))
    for index, one in enumerate(maps):
        canvas.paste(one, (left.width + 12, 20 + index * (left.height // 2)))
    draw = ImageDraw.Draw(canvas)
    said = f"means of {facts['baselines']} baselines"
    draw.text((left.width + 46, left.height - 24), said, _INK, _font(15), anchor="lm")
    save(canvas, path)


def _map(title: str, values: list[list[float]], facts: dict[str, Any], form: str) -> Image.Image:
    """Return a small heat map with its numbers: strength down, guidance across."""
    side, left, head = 84, 46, 60
    table = np.array(values)
    part = (table - table.min()) / max(float(np.ptp(table)), 1e-9)
    size = (left + side * table.shape[1], head + side * table.shape[0] + 4)
    canvas = Image.new("RGB", size, _DARK)
    draw = ImageDraw.Draw(canvas)
    draw.text((left, 14), title, _INK, _font(17), anchor="lm")
    for column, value in enumerate(facts["guidance"]):
        draw.text(
            (left + side * column + side // 2, 44), f"{value:g}", _INK, _font(15), anchor="mm"
        )
    for row, value in enumerate(facts["strength"]):
        middle = head + side * row + side // 2
        draw.text((left - 8, middle), f"{value:g}", _INK, _font(15), anchor="rm")
        for column in range(table.shape[1]):
            share = part[row, column]
            colour = tuple(int(c) for c in np.rint(_LOW + share * (_HIGH - _LOW)))
            corner = (left + side * column, head + side * row)
            draw.rectangle((*corner, corner[0] + side - 3, corner[1] + side - 3), fill=colour)
            ink = _DARK if share > 0.5 else _INK
            place = (corner[0] + side // 2 - 1, middle)
            draw.text(place, form.format(table[row, column]), ink, _font(17), anchor="mm")
    return canvas


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def targets(figures: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return what was wanted: what, target, value, whether it is met."""
    auroc, sides = figures["success_auroc"], figures["side_obeyed"]
    spearman, high = figures["severity_spearman"], sum(v >= 0.9 for v in auroc.values())
    least = [min(table, key=table.__getitem__) for table in (auroc, sides, spearman)]
    return [
        (
            "findings with success AUROC of 0.90 or more",
            ">= 8",
            f"{high} of {len(auroc)}",
            high >= 8,
        ),
        _least("lowest success AUROC", auroc, least[0], 0.8),
        _least("side obeyed, lowest", sides, least[1], 0.9),
        _least("severity Spearman, lowest", spearman, least[2], 0.8),
        _most("leakage fraction", figures["leakage_fraction"], 0.25),
        _least("SSIM outside the change", {"": figures["ssim_outside"]}, "", 0.99),
        _least("nearest baseline is its own", {"": figures["nearest_is_own"]}, "", 1.0),
        _most("seconds a counterfactual", figures["seconds_per_counterfactual"], 2.0),
    ]


def _least(
    what: str, table: dict[str, float], name: str, wanted: float
) -> tuple[str, str, str, bool]:
    value = table[name]
    return what, f">= {wanted:g}", f"{value:.3f} {name}".strip(), value >= wanted


def _most(what: str, value: float, wanted: float) -> tuple[str, str, str, bool]:
    return what, f"<= {wanted:g}", f"{value:.3f}", value <= wanted


def page(figures: dict[str, Any], folder: str) -> str:
    """Return the page in Markdown: what was measured, how, and what falls short."""
    name = figures["editor"]["name"]
    parts = [
        f"# How well `{name}` edits",
        _how(figures),
        _table(("what", "target", "value", "met"), _rows_of_targets(figures)),
        "## What falls short",
        _short(figures),
        "## By finding",
        _by_finding(figures),
        _leaks(figures),
        "## Pictures",
        f"![Findings]({folder}/findings.png)\n\nFirst row: radiographs. Below: counterfactuals.",
        f"![Failures]({folder}/failures.png)\n\nThe edits that the judge's logit followed least.",
    ]
    if "tradeoff" in figures:
        parts += ["## Strength and guidance", _tradeoff(figures["tradeoff"], folder)]
    if figures["memorisation"]:
        parts += ["## Memorisation", _memorisation(figures["memorisation"])]
    parts += ["## The judge", _judge(figures)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _how(figures: dict[str, Any]) -> str:
    settings = figures["settings"]
    return (
        f"Written by `python -m training.evaluate`. {figures['n_baselines']} baselines: adult, no "
        "finding, test split, one a patient; none was seen in any training. Settings are the "
        f"defaults: strength {settings['strength']:g}, guidance {settings['guidance_scale']:g}, "
        f"composite `{settings['composite']}`. Success is the area under the ROC curve (AUROC) of "
        f"the judge's logit for the finding, counterfactuals against their {_control(figures)}s, "
        "with a 95 % bootstrap interval over patients. The judge learned from other patients than "
        "the editor."
    )


def _control(figures: dict[str, Any]) -> str:
    """Return what edits are compared with; figures that name nothing compared with shams."""
    return str(figures["settings"].get("control", "sham"))


def _rows_of_targets(figures: dict[str, Any]) -> list[list[str]]:
    return [[*row[:3], "yes" if row[3] else "**no**"] for row in targets(figures)]


def _short(figures: dict[str, Any]) -> str:
    missed = [
        f"- {w}: {value}, wanted {target}." for w, target, value, ok in targets(figures) if not ok
    ]
    below = [f"{n} {v:.2f}" for n, v in figures["success_auroc"].items() if v < 0.9]
    if below:
        missed.append(f"- Success below 0.90: {', '.join(below)}.")
    flat = [f"{n} {v:.2f}" for n, v in figures["severity_spearman"].items() if v < 0.8]
    if flat:
        missed.append(f"- Severity hardly followed (Spearman below 0.80): {', '.join(flat)}.")
    return "\n".join(missed) or "Every target is met."


def _by_finding(figures: dict[str, Any]) -> str:
    rows = []
    for name, value in figures["success_auroc"].items():
        low, high = figures["success_auroc_ci"][name]
        side, level = (figures[k].get(name) for k in ("side_obeyed", "severity_spearman"))
        cells = [name, f"{value:.3f} ({low:.3f} to {high:.3f})"]
        cells.append(f"{figures['net_logit'][name]:+.2f}")
        rows.append([*cells, *("" if v is None else f"{v:.2f}" for v in (side, level))])
    heads = ("finding", "success AUROC", "net logit", "side obeyed", "severity Spearman")
    note = (
        f"\n\nNet logit: mean change of the judge's logit against the {_control(figures)}. "
        "Severity: Spearman's correlation of mild, moderate, severe with the judge's logit over "
        "all baselines, each baseline's mean taken off."
    )
    return _table(heads, rows) + note


def _leaks(figures: dict[str, Any]) -> str:
    idle = ", ".join(figures["without_effect"])
    note = f"\n\nWithout effect (net logit below 0.5), so left out: {idle}." if idle else ""
    above = figures["leakage_pairs_above"]
    if not above:
        return "No finding but the edited one changes by more than a quarter of it." + note
    rows = [
        [fact["edited"], fact["read"], f"{fact['fraction']:.2f}", fact["reason"] or "leakage"]
        for fact in above
    ]
    heads = ("edited", "also changes", "fraction of the wanted change", "why")
    whole = figures["leakage_fraction_with_explained"]
    return _table(heads, rows) + f"\n\nWith the explained pairs the mean is {whole:.3f}." + note


def _tradeoff(facts: dict[str, Any], folder: str) -> str:
    success, identity = np.array(facts["success"]), np.array(facts["identity"])
    return (
        f"![Trade-off]({folder}/tradeoff.png)\n\n"
        f"{facts['finding']} in {facts['baselines']} baselines, whole decoded pictures (composite "
        f"`none`). From least to most strength and guidance the judge's logit changes by "
        f"{success[0, 0]:.1f} to {success[-1, -1]:.1f}, and similarity to the baseline (SSIM) goes "
        f"from {identity[0, 0]:.2f} to {identity[-1, -1]:.2f}."
    )


def _memorisation(figures: dict[str, Any]) -> str:
    names = {
        "held_out_real": "real test radiographs",
        "default": "edits at default settings",
        "strength_1": "edits at strength 1 (nothing of the baseline left)",
    }
    rows = []
    for group, said in names.items():
        cells = [said]
        for space in ("features", "pixels"):
            facts = figures[group][space]
            cells.append(f"{facts['median']:.3f}")
            cells.append(f"{facts['above_threshold']:.1%} ({facts['highest']:.3f})")
        rows.append(cells)
    heads = ("pictures", "features: median", "above (highest)", "pixels: median", "above (highest)")
    pixels = figures["strength_1"]["pixels"]
    nearer = pixels["median"] > figures["held_out_real"]["pixels"]["median"]
    more = "nearer to their nearest training picture than" if nearer else "no nearer than"
    return (
        f"Likeness of each picture to the nearest of {figures['training_images']} training "
        "pictures: cosine in the judge's feature space, and pixel correlation at 64 px. The "
        "threshold is what 1 % of real test radiographs exceed.\n\n"
        + _table(heads, rows)
        + f"\n\nBy the median pixel correlation, samples are {more} unseen real radiographs are."
        + f" The most alike pair correlates to {pixels['highest']:.3f}."
    )


def _judge(figures: dict[str, Any]) -> str:
    own = figures["judge"]["figures"]
    columns = ("auroc_painted", "auroc_real_training_patients_of_mini", "calibration_error")
    if not all(column in own for column in columns):
        return "The judge has no figures of its own."
    rows = [
        [name, *("" if own[c].get(name) is None else f"{own[c][name]:.3f}" for c in columns)]
        for name in own["auroc_painted"]
    ]
    heads = ("finding", "AUROC painted", "AUROC real", "calibration error")
    note = (
        "\n\nPainted findings: patients of the validation split. Real ones: radiographs of other "
        "patients that the judge never saw, against No Finding; NIH mined its labels from reports."
    )
    return _table(heads, rows) + note


def _table(heads: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
