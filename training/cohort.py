"""The training cohort: every usable radiograph at the working size, with its labels.

``python -m training.cohort --data DIR --out DIR`` writes ``images.npy`` (n x 224 x 224, uint8) and
``cohort.csv`` (one row an image, same order). A quarter of the training patients is held out for
the judge, so that no judge of `mini` has seen a picture `mini` learned from.
"""

from __future__ import annotations

import argparse
import csv
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 224
NO_FINDING = "No Finding"


def is_for_judge(patient_id: str) -> bool:
    """Tell whether a training patient is reserved for the judge (a fixed quarter of them)."""
    return zlib.crc32(patient_id.encode()) % 4 == 0


def square(path: Path) -> NDArray[np.uint8]:
    """Read a picture as 224 x 224 grey, padded with black to a square, not stretched."""
    with Image.open(path) as opened:
        grey = opened.convert("L")
    side = max(grey.size)
    canvas = Image.new("L", (side, side))
    canvas.paste(grey, ((side - grey.width) // 2, (side - grey.height) // 2))
    if side == SIZE:
        return np.asarray(canvas)
    # Sharpness must not tell normal from abnormal: all sources pass through the same 224 px grid.
    return np.asarray(canvas.resize((SIZE, SIZE), Image.Resampling.BOX, reducing_gap=None))


def unit(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return grey values in [0, 1]."""
    return pixels.astype(np.float32) / np.float32(255)


def build(data: Path, out: Path) -> None:
    """Write the cohort of `data` (the folder with ``index.csv``) to `out`."""
    with (data / "index.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if keep(r)]
    out.mkdir(parents=True, exist_ok=True)
    images = np.stack([square(data / r["path"]) for r in rows])
    np.save(out / "images.npy", images)
    fields = ["path", "patient_id", "split", "labels", "view", "sex", "age", "trusted"]
    with (out / "cohort.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            conflict = "conflict" in row["tier"]
            writer.writerow(row | {"trusted": int(not conflict)})


def keep(row: dict[str, str]) -> bool:
    """Tell whether a row of the index may teach `mini`: training split, not the judge's patient."""
    return row["split"] == "train" and not is_for_judge(row["patient_id"])


def load(folder: Path) -> tuple[NDArray[np.uint8], list[dict[str, str]]]:
    """Return the images (n x 224 x 224, uint8) and rows that `build` wrote."""
    with (folder / "cohort.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.load(folder / "images.npy"), rows


def main() -> None:
    """Build the cohort from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    build(args.data, args.out)


if __name__ == "__main__":
    main()
