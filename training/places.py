"""Places and sizes of real findings: the table from which the painter's seeds draw.

``python -m training.places --data DIR --nih DIR`` reads the lesion boxes of NIH ChestX-ray14 and
writes ``places.json`` into the painter's package. A box is placed in a lung by the average outline
of the data set's own radiographs; ratios of enlarged hearts are measured on its radiographs that
are labelled so and may train. Nothing of any one picture is kept.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roentmod.anatomy import Anatomy
from roentmod.editors.painter.canvas import ASSUMED_WIDTH_MM
from roentmod.editors.painter.places import TABLE
from roentmod.imaging.segmentation import QUALITY_NEEDED, estimate_all
from training import cohort

# The painter's findings and the names of the boxes they are drawn from; airspace disease is named
# in three ways, and boxes of consolidation alone there are none.
BOXES = {
    "Atelectasis": ("Atelectasis",),
    "Consolidation": ("Infiltrate", "Pneumonia"),
    "Pneumonia": ("Infiltrate", "Pneumonia"),
    "Nodule": ("Nodule",),
    "Mass": ("Mass",),
    "Pleural Effusion": ("Effusion",),
    "Pneumothorax": ("Pneumothorax",),
}
# Lesions of these have diameters, in mm: by the glossary's limit, and up to what is one lesion. A
# box is drawn around the lesion, some millimetres wider; how many is a choice of ours.
DIAMETERS = {"Nodule": (0.0, 30.0), "Mass": (30.0, 100.0)}
AROUND_MM = 5.0
SIDE = 1024
LEVELS = np.linspace(0, 1, 41)
Lungs = dict[str, NDArray[np.float64]]


def outline(anatomies: list[Anatomy]) -> dict[str, Any]:
    """Return the average lungs: by row of a lung's height, its inner and outer columns (of 1)."""
    result: dict[str, Any] = {}
    for side in ("right", "left"):
        spans, borders = [], []
        for anatomy in anatomies:
            height, width = anatomy.shape
            first, last = anatomy.span(side)
            lung = anatomy.lung(side)
            rows = np.rint(np.linspace(first, last, 21)).astype(int)
            ends = [np.flatnonzero(lung[row])[[0, -1]] / width for row in rows]
            spans.append((first / height, last / height))
            borders.append(ends if side == "left" else [end[::-1] for end in ends])
        result[side] = (np.mean(spans, axis=0), np.mean(borders, axis=0))
    result["width"] = float(np.mean([a.thoracic_width / a.shape[1] for a in anatomies]))
    return result


def placed(box: dict[str, str], lungs: dict[str, Any]) -> tuple[str, float, float, float]:
    """Return side, descent (0 apex, 1 base), way across (0 inner, 1 outer) and size in mm."""
    x, y, w, h = (float(box[key]) / SIDE for key in ("Bbox [x", "y", "w", "h]"))
    column, row = x + w / 2, y + h / 2
    middle = (lungs["right"][1][:, 0].mean() + lungs["left"][1][:, 0].mean()) / 2
    side = "right" if column < middle else "left"
    (first, last), borders = lungs[side]
    down = float(np.clip((row - first) / (last - first), 0, 1))
    inner, outer = borders[round(20 * down)]
    across = float(np.clip((column - inner) / (outer - inner), 0, 1))
    return side, down, across, float(np.sqrt(w * h) / lungs["width"] * ASSUMED_WIDTH_MM)


def table(boxes: list[dict[str, str]], lungs: dict[str, Any]) -> dict[str, Any]:
    """Return counts, sides, and quantiles of place and size per finding."""
    result: dict[str, Any] = {}
    for name, labels in BOXES.items():
        own = [placed(box, lungs) for box in boxes if box["Finding Label"] in labels]
        down, across, size = (np.array([p[i] for p in own]) for i in (1, 2, 3))
        thirds = np.bincount(np.minimum((3 * down).astype(int), 2), minlength=3) / len(own)
        result[name] = {
            "n": len(own),
            "right": round(float(np.mean([p[0] == "right" for p in own])), 3),
            "thirds": np.round(thirds, 3).tolist(),
            "down": np.round(np.quantile(down, LEVELS), 3).tolist(),
            "across": np.round(np.quantile(across, LEVELS), 3).tolist(),
            "size_mm": np.round(np.quantile(size, LEVELS), 1).tolist(),
        }
        if name in DIAMETERS:
            low, high = DIAMETERS[name]
            wide = size - AROUND_MM
            wide = wide[(wide > low) & (wide <= high)]
            result[name]["diameter_mm"] = np.round(np.quantile(wide, LEVELS), 1).tolist()
    return result


def hearts(anatomies: list[Anatomy]) -> dict[str, Any]:
    """Return number and quantiles of the cardiothoracic ratios of enlarged hearts.

    Without the largest tenth: those reach the chest wall, which a heart that is stretched cannot.
    """
    ratios = [anatomy.cardiothoracic_ratio for anatomy in anatomies]
    return {"n": len(ratios), "ratio": np.round(np.quantile(ratios, 0.9 * LEVELS), 3).tolist()}


def _outlined(data: Path, rows: list[dict[str, str]]) -> list[Anatomy]:
    """Return the outlines of radiographs, without doubtful ones."""
    pictures = np.stack([cohort.square(data / row["path"]) for row in rows])
    return [a for a in estimate_all(cohort.unit(pictures)) if a.quality >= QUALITY_NEEDED]


def main() -> None:
    """Write the table from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="radiographs with index.csv")
    parser.add_argument("--nih", type=Path, required=True, help="has BBox_List_2017.csv.gz")
    parser.add_argument("--limit", type=int, default=300)
    args = parser.parse_args()
    with (args.data / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    usual = [r for r in rows if r["set"] in ("nih_starter", "nih_extra")]
    # Labels that a later reading contradicts say nothing.
    sure = (r for r in rows if r["split"] == "train" and "conflict" not in r["tier"])
    large = [r for r in sure if "Cardiomegaly" in r["labels"].split("|")]
    anatomies, enlarged = (_outlined(args.data, some) for some in (usual[: args.limit], large))
    with gzip.open(args.nih / "BBox_List_2017.csv.gz", "rt", newline="") as file:
        boxes = list(csv.DictReader(file))
    made = table(boxes, outline(anatomies)) | {"Cardiomegaly": hearts(enlarged)}
    lines = [f'  "{name}": {json.dumps(row)}' for name, row in made.items()]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
