"""The picture sheets of an evaluation.

Of real radiographs, and so of their edits, none is published: sheets of them go into the run's
folder, and those of the page show `hosts`. ``python -m training.sheets --data DIR --out DIR``
writes edits beside real positives at full size.
"""

from __future__ import annotations

import argparse
import copy
import io
from pathlib import Path
from typing import Any

import data_store
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from roentmod import imaging
from roentmod.datasets.phantom import phantom
from roentmod.editors import Editor
from roentmod.edits import Edit
from roentmod.imaging import provenance
from roentmod.imaging.pictures import Cell, grid
from roentmod.interfaces import RadiographEditor
from roentmod.radiograph import Radiograph
from training.benchmark import FINDINGS, Bench, Result, choose, rows_of
from training.judge_pictures import canonical

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
# Seeds of the phantoms that are shown.
PHANTOMS = (1, 2, 3, 4, 5)
WIDE = 4
# Sets whose normal radiographs and positives come from one process, and how many are shown.
SETS = ("nih_starter", "nih_extra", "nih_talo")
BESIDE = 4
LARGEST = 1_500_000
Array = NDArray[np.float32]
_DARK, _INK = (16, 17, 20), (236, 238, 242)
_REFUSED = Cell(np.zeros((8, 8), np.float32), synthetic=False, note="refused")
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


def hosts() -> list[Radiograph]:
    """Return radiographs that may be shown to anybody: pydicom-data's film (MIT), and phantoms."""
    film = Path(data_store.__file__).parent / "data" / "RG1_UNCI.dcm"
    return [imaging.read(film), *(phantom(seed, size=512).radiograph for seed in PHANTOMS)]


def free(bench: Bench) -> Bench:
    """Return a bench of the same editor and judge whose baselines are `hosts`."""
    other = copy.copy(bench)
    other.radiographs = hosts()
    other.rows = [{"path": f"host {number}"} for number in range(len(other.radiographs))]
    other.__dict__.pop("baselines", None)
    return other


def film_sheet(bench: Bench, path: Path) -> None:
    """Write edits of the film, each at its own resolution, at default settings."""
    film, edits = hosts()[0], [Edit((name,)) for name in bench.findings]
    cells = [Cell(film.pixels, synthetic=False, note="film")]
    for made in bench.editor.edit([film], edits):
        note = made.edit.findings[0].lower()
        cells.append(Cell(made.image.pixels, note=note) if made.image else _REFUSED)
    lines = [("", cells[start : start + WIDE]) for start in range(0, len(cells), WIDE)]
    save(grid(lines, title=f"{bench.editor.name}: one film, default settings", cell=480), path)


def beside_real(editor: RadiographEditor, data: Path, split: str, folder: Path) -> None:
    """Write a sheet per finding at full size: hosts, edits by two seeds, and real positives.

    Real pictures and their edits stay out of what is published. All are of `SETS`.
    """
    rows = [r for r in rows_of(data) if r["split"] == split and r["set"] in SETS]
    normal = choose(rows, BESIDE, 0, split)
    films = [imaging.read(data / row["path"]) for row in normal]
    folder.mkdir(parents=True, exist_ok=True)
    for name in FINDINGS:
        real = {r["patient_id"]: r for r in rows if name in canonical(r)}
        shown = [imaging.read(data / r["path"]) for r in [*real.values()][:BESIDE]]
        lines = [("Host", [Cell(one.pixels, synthetic=False) for one in films])]
        for seed in (0, 1):
            made = editor.edit(films, [Edit((name,), seed=seed)])
            cells = [Cell(one.image.pixels) if one.image else _REFUSED for one in made]
            lines.append((f"{name}, seed {seed}", cells))
        if shown:
            lines.append(("Real", [Cell(one.pixels, synthetic=False) for one in shown]))
        facts = {"synthetic": "YES", "statement": provenance.STATEMENT}
        sheet = grid(lines, title=f"{editor.name}: {name}", cell=512)
        imaging.save_picture(sheet, folder / f"{name.lower().replace(' ', '-')}.png", facts)


def findings_sheet(bench: Bench, results: list[Result], path: Path) -> None:
    """Write baselines in the first row, and below each of them its counterfactuals."""
    columns = range(len(bench.rows))
    rows = [("Baseline", [Cell(bench.baselines[i].pixels, synthetic=False) for i in columns])]
    for name in (n for n in SHOWN if n in bench.findings):
        found = {r.baseline: r for r in results if r.edit.findings == (name,)}
        cells = [
            Cell(found[i].pixels, note=found[i].edit.side or "") if i in found else _REFUSED
            for i in columns
        ]
        rows.append((name, cells))
    title = f"{bench.editor.name}: a film and phantoms, default settings"
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


def main() -> None:
    """Write the sheets beside real positives from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--editor", default="mini")
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, default=Path("runs/sheets"))
    args = parser.parse_args()
    beside_real(Editor.load(args.editor), args.data, args.split, args.out)


if __name__ == "__main__":
    main()
