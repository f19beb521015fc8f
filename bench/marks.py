"""How well text burned into radiographs is found, and how often something else is taken for it.

``python -m bench.marks --data DIR`` writes ``bench/marks.json``. Thresholds were chosen on "train"
pictures of NIH and Hannover; figures are of others: of "test" and "val" and of JSRT, whose text
``bench/marks_readings.csv`` says as read by eye ("words", a technologist's lead "initials" beside
the letter of a side, or "none", single letters included).
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from roentmod import Edit, imaging, phantom
from roentmod.editors import Editor
from roentmod.imaging import marks
from roentmod.radiograph import GreyScale, Mark, Radiograph
from roentmod.store import write_json

JSON = Path(__file__).with_suffix(".json")
READINGS = Path(__file__).with_name("marks_readings.csv")
SIZES = (8, 10, 12, 16, 20, 28, 40, 60)
WORDS = ("DOE, JANE", "12.03.1954", "ID 4711-083", "St. Mary Hospital", "J SMITH 64Y", "1987-11-02")
TTF = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FONTS = ("", "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf",
         "STIXGeneral.ttf")  # fmt: skip
ROUNDS = 3


class Written(NamedTuple):
    """A radiograph with a text, where that is, and how it was written."""

    radiograph: Radiograph
    box: tuple[int, int, int, int]
    facts: dict[str, Any]


def _plate(word: str, size: int, name: str, turns: int) -> Any:
    font = ImageFont.truetype(TTF / name, size) if name else ImageFont.load_default(size)
    left, top, right, bottom = map(int, font.getbbox(word))
    image = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), word, 255, font)
    return np.rot90(np.asarray(image, np.float32) / 255, turns)


def write(rng: np.random.Generator, pixels: Any, size: int) -> Written:
    """Return a picture (h x w in [0, 1]) with a text of `size` px at one of its borders, as JPEG.

    Where the tone there is near the ink's, a plate of another tone lies beneath.
    """
    turns, dark, name = int(rng.integers(4)), bool(rng.integers(2)), str(rng.choice(FONTS))
    word = str(rng.choice(WORDS))
    shape = _plate(word, size, name, turns)
    while max(np.subtract(shape.shape, pixels.shape)) > -8:
        word = word[:-1]
        shape = _plate(word, size, name, turns)
    (tall, wide), room = shape.shape, np.subtract(pixels.shape, shape.shape)
    side, away = int(rng.integers(4)), 2 + int(rng.integers(max(2, min(pixels.shape) // 40)))
    row, column = int(rng.integers(2, room[0] - 1)), int(rng.integers(2, room[1] - 1))
    row = (away, room[0] - away, row, row)[side]
    column = (column, column, away, room[1] - away)[side]
    row, column = (int(np.clip(v, 0, most)) for v, most in zip((row, column), room, strict=True))
    shown, ink, by = pixels.copy(), 0.0 if dark else 1.0, max(2, size // 4)
    part = np.s_[row : row + tall, column : column + wide]
    if abs(float(np.median(shown[part])) - ink) < 0.3:
        around = np.s_[max(0, row - by) : row + tall + by, max(0, column - by) : column + wide + by]
        shown[around] = 0.95 if dark else 0.1
    shown[part] = shown[part] * (1 - shape) + ink * shape
    packed = io.BytesIO()
    Image.fromarray(np.rint(shown * 255).astype(np.uint8)).save(packed, "JPEG", quality=90)
    stored = np.asarray(Image.open(packed)).copy()
    facts = {"size": size, "dark": dark, "turns": turns, "font": name or "Aileron", "word": word}
    return Written(
        Radiograph(stored, GreyScale.linear(256)), (row, column, row + tall, column + wide), facts
    )


def covers(found: list[Mark], box: tuple[int, int, int, int]) -> bool:
    """Tell whether marks that are not much larger hold most of a box."""
    held, size = 0, (box[2] - box[0]) * (box[3] - box[1])
    for mark in found:
        top, left, bottom, right = mark.box
        if (bottom - top) * (right - left) > 2 * size:
            continue
        tall = min(mark.box[2], box[2]) - max(mark.box[0], box[0])
        wide = min(mark.box[3], box[3]) - max(mark.box[1], box[1])
        held += max(0, tall) * max(0, wide)
    return held >= 0.5 * size


def written(pictures: list[Any], seed: int) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return a row per text that was written and whether it was found; what became of covered."""
    rows, after = [], {"beside_the_body": 0, "covered": 0, "found_again": 0}
    for size in SIZES:
        for number, pixels in enumerate(pictures):
            one = write(np.random.default_rng([seed, size, number]), pixels, size)
            found = marks.find(one.radiograph)
            rows.append(one.facts | {"found": covers(found, one.box)})
            free = [mark for mark in found if not mark.over_anatomy]
            if free and covers(free, one.box):
                after["beside_the_body"] += 1
                left = marks.find(marks.cover(one.radiograph, found))
                again = covers([mark for mark in left if not mark.over_anatomy], one.box)
                after["found_again"] += again
                after["covered"] += not again
    return pd.DataFrame(rows), after


def shares(table: pd.DataFrame) -> dict[str, Any]:
    """Return how many of the texts were found, by size and by other facts."""
    figures: dict[str, Any] = {"texts": len(table), "found": round(table["found"].mean(), 4)}
    for fact in ("size", "dark", "turns", "font"):
        by = table.groupby(fact)["found"].agg(["size", "mean"])
        figures[fact] = {str(k): [int(n), round(m, 3)] for k, n, m in by.itertuples()}
    return figures


def real(data: Path) -> dict[str, Any]:
    """Return what is found in real radiographs, by what was read in them by eye."""
    figures: dict[str, Any] = {}
    for kind, rows in pd.read_csv(READINGS).groupby("text"):
        counts = [len(marks.find(imaging.read(data / path))) for path in rows["path"]]
        hit = [path for path, count in zip(rows["path"], counts, strict=True) if count]
        figures[str(kind)] = {
            "radiographs": len(rows),
            "with_marks": len(hit),
            "marks": sum(counts),
        }
        if kind == "none":
            figures[str(kind)]["false"] = hit
    return figures


def painted(count: int) -> dict[str, Any]:
    """Return what is found of the painter's markers: words of three letters or more, and others."""
    editor, figures = Editor.load("painter"), {"words": [0, 0], "letters": [0, 0]}
    for seed in range(count):
        chest = phantom(seed)
        edit = Edit(("Text Marker",), seed=seed)
        result = editor.edit([chest.radiograph], [edit])[0]
        text = next(str(v) for v in _values(result.facts) if v in PAINTED)
        kind = "words" if len(text) > 2 else "letters"
        figures[kind][0] += 1
        figures[kind][1] += bool(marks.find(result.image)) if result.image else 0
    return {kind: {"markers": n, "found": k} for kind, (n, k) in figures.items()}


PAINTED = ("L", "R", "PORTABLE", "AP", "ERECT")


def _values(facts: Any) -> Any:
    """Yield all values inside facts."""
    if isinstance(facts, dict):
        for value in facts.values():
            yield from _values(value)
    elif isinstance(facts, str | int | float):
        yield facts


def milliseconds(data: Path) -> dict[str, float]:
    """Return processor time per radiograph of 1024 px, median and longest of several."""
    spent = []
    for path in sorted((data / "cxr" / "nih_native_1024").glob("*.png")):
        radiograph = imaging.read(path)
        _ = radiograph.pixels
        times = []
        for _ in range(ROUNDS):
            started = time.process_time()
            marks.find(radiograph)
            times.append(time.process_time() - started)
        spent.append(1000 * min(times))
    return {"median": round(float(np.median(spent)), 1), "most": round(max(spent), 1)}


def measure(data: Path, phantoms: int) -> dict[str, Any]:
    """Return all figures."""
    table = pd.read_csv(READINGS)
    plain = [imaging.read(data / path).pixels for path in table["path"][table["text"] == "none"]]
    drawn = [phantom(seed, size=512).radiograph for seed in range(phantoms)]
    on_real, covered = written(plain, seed=1)
    on_phantoms, _ = written([one.pixels for one in drawn], seed=2)
    return {
        "real": real(data),
        "written_on_real": shares(on_real),
        "written_on_phantoms": shares(on_phantoms),
        "covered": covered,
        "phantoms": {"drawn": phantoms, "with_marks": sum(bool(marks.find(d)) for d in drawn)},
        "painted": painted(phantoms),
        "ms_at_1024": milliseconds(data),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of cxr/ and more/")
    parser.add_argument("--phantoms", type=int, default=24)
    parser.add_argument("--out", type=Path, default=JSON)
    args = parser.parse_args()
    write_json(args.out, measure(args.data, args.phantoms))


if __name__ == "__main__":
    main()
