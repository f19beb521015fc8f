"""Outlines by thresholding, and how the network compares with them.

Thresholding is the simplest method, a teacher of the network, and what it has to beat.
``python -m training.segmentation --measure --data DIR`` writes ``bench/anatomy.json``: how many
held-out radiographs each method accepts, whether it finds the same outlines on a turned and shifted
copy, its overlap with the outlines of unseen phantoms, and whether its cardiothoracic ratio and
hearts agree with NIH's labels and experts' boxes; and its overlap with lungs and hearts that people
drew (``--masks``: that alone), in pictures that evaluate and have trained nothing.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from roentmod.anatomy import Anatomy, Mask, heart_between
from roentmod.datasets.phantom import phantom
from roentmod.editors.compose import resized
from roentmod.imaging.segmentation import QUALITY_NEEDED, SIDE, _averaging, estimate_all
from roentmod.radiograph import Square
from roentmod.science.stats import auc, interval, resampled_means
from roentmod.store import write_json
from training import cohort

# Phantoms from this seed on are for tests and measurements only.
UNSEEN = 1_000_000


def shrink(pictures: NDArray[Any]) -> NDArray[np.float32]:
    """Return square pictures (n x s x s) averaged to n x SIDE x SIDE."""
    weights = _averaging(pictures.shape[1], 0.0, 1.0)
    return np.stack([weights @ p.astype(np.float32) @ weights.T for p in pictures])


def thresholded(picture: NDArray[np.float32]) -> tuple[Mask, Mask] | None:
    """Return lungs of a SIDE x SIDE picture by thresholding, or None where they look wrong."""
    smooth = ndimage.gaussian_filter(picture, 1.2)
    core = smooth[SIDE // 6 : 5 * SIDE // 6, SIDE // 8 : 7 * SIDE // 8]
    best, score = None, 0.0
    for percentile in (54, 48, 42, 36):
        dark = ndimage.binary_opening(smooth < np.percentile(core, percentile), iterations=2)
        labels, _ = ndimage.label(dark)
        at_edge = np.unique(
            np.concatenate([labels[[0, 1, -2, -1]].ravel(), labels[:, [0, -1]].ravel()])
        )
        labels[np.isin(labels, at_edge)] = 0
        pair = [_near(labels, at) for at in (0.3, 0.7)]
        value = min(_lunglike(lung) for lung in pair)
        areas = sorted(lung.sum() for lung in pair)
        if value > score and areas[0] > 0.55 * areas[1] and not (pair[0] & pair[1]).any():
            best, score = (pair[0], pair[1]), value
    return best


def _near(labels: NDArray[np.int32], at: float) -> Mask:
    rows = slice(int(0.3 * SIDE), int(0.65 * SIDE))
    near = labels[rows, int((at - 0.1) * SIDE) : int((at + 0.1) * SIDE)]
    if not near.any():
        return np.zeros(labels.shape, bool)
    lung = labels == np.bincount(near[near > 0]).argmax()
    wide = ndimage.binary_closing(np.pad(lung, 8), iterations=4)[8:-8, 8:-8]
    return np.asarray(ndimage.binary_opening(ndimage.binary_fill_holes(wide), iterations=3))


def _lunglike(lung: Mask) -> float:
    """Return how full rows and columns of a plausible lung are (near 1), 0 for anything else."""
    if not 0.035 < lung.mean() < 0.2:
        return 0.0
    rows, columns = np.nonzero(lung)
    if np.ptp(rows) < 0.36 * SIDE or np.ptp(columns) > 0.42 * SIDE or rows.max() > SIDE - 4:
        return 0.0
    full = []
    for axis in (0, 1):
        some = lung.any(axis)
        first, last = (
            np.argmax(lung, axis),
            lung.shape[axis] - 1 - np.argmax(np.flip(lung, axis), axis),
        )
        full.append(lung.sum() / (last - first + 1)[some].sum())
    return float(min(full)) if min(full) > 0.88 else 0.0


# --- measuring --------------------------------------------------------------------------------

Method = Callable[[list[NDArray[np.float32]]], list[Anatomy | None]]
"""Maps 224 x 224 pictures to outlines, None where it refuses."""


def by_network(pictures: list[NDArray[np.float32]]) -> list[Anatomy | None]:
    """Outline by the bundled network."""
    return [a if a.quality >= QUALITY_NEEDED else None for a in estimate_all(pictures)]


def by_thresholds(pictures: list[NDArray[np.float32]]) -> list[Anatomy | None]:
    """Outline by thresholding; hearts are what the lungs leave free."""
    return [_by_thresholds(picture) for picture in pictures]


def _by_thresholds(picture: NDArray[np.float32]) -> Anatomy | None:
    square = Square(*picture.shape)
    pair = thresholded(shrink(square.pad(picture)[None])[0])
    if pair is None:
        return None
    factor = square.side / SIDE
    lungs = [
        ndimage.zoom(m.astype(np.float32), factor, order=1, grid_mode=True, mode="nearest")
        for m in pair
    ]
    right, left = (square.crop(lung) > 0.5 for lung in lungs)
    return Anatomy(right, left, heart_between(right, left))


METHODS: dict[str, Method] = {"thresholds": by_thresholds, "network": by_network}


def dice(one: Mask, other: Mask) -> float:
    """Return the Dice overlap of two masks."""
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


def _summary(values: list[float]) -> dict[str, float | int]:
    if not values:
        return {"n": 0}
    low, middle, high = (round(float(v), 4) for v in np.percentile(values, [10, 50, 90]))
    return {"n": len(values), "p10": low, "median": middle, "p90": high}


def _read(data: Path, rows: list[dict[str, str]]) -> list[NDArray[np.float32]]:
    return [cohort.unit(cohort.square(data / row["path"])) for row in rows]


def _moved(
    image: NDArray[Any], angle: float, shift: tuple[float, float], order: int
) -> NDArray[Any]:
    turned = ndimage.rotate(image, angle, reshape=False, order=order)
    return np.asarray(ndimage.shift(turned, shift, order=order))


def _moved_back(mask: Mask, angle: float, shift: tuple[float, float]) -> Mask:
    back = ndimage.shift(mask.astype(np.float32), [-s for s in shift], order=1)
    return np.asarray(ndimage.rotate(back, -angle, reshape=False, order=1) > 0.5)


def _consistency(
    method: Method, pictures: list[NDArray[np.float32]], found: list[Anatomy | None]
) -> dict[str, Any]:
    """Compare outlines with those of a turned and shifted copy, brought back."""
    angle, shift = 5.0, (7.0, -6.0)
    copies = [np.clip(_moved(p, angle, shift, 1), 0, 1) for p in pictures]
    pairs = [(a, b) for a, b in zip(found, method(copies), strict=True) if a is not None]
    both = [(a, b) for a, b in pairs if b is not None]
    return {
        "lungs": _summary([dice(a.lungs, _moved_back(b.lungs, angle, shift)) for a, b in both]),
        "heart": _summary([dice(a.heart, _moved_back(b.heart, angle, shift)) for a, b in both]),
        "copy_refused": round(1 - len(both) / max(len(pairs), 1), 4),
    }


def _on_phantoms(method: Method, count: int = 200) -> dict[str, Any]:
    made = [phantom(seed, size=cohort.SIZE) for seed in range(UNSEEN, UNSEEN + count)]
    found = method([np.asarray(m.radiograph.pixels) for m in made])
    pairs = [(m.anatomy, f) for m, f in zip(made, found, strict=True) if f is not None]
    return {
        "accepted": round(len(pairs) / count, 4),
        "lungs": _summary([dice(a.lungs, f.lungs) for a, f in pairs]),
        "heart": _summary([dice(a.heart, f.heart) for a, f in pairs]),
        "ratio_error": _summary(
            [abs(a.cardiothoracic_ratio - f.cardiothoracic_ratio) for a, f in pairs]
        ),
    }


def _on_ratio(
    method: Method, rows: list[dict[str, str]], pictures: list[NDArray[np.float32]]
) -> dict[str, Any]:
    """Judge the estimated cardiothoracic ratio by NIH's label Cardiomegaly against No Finding."""
    values: dict[bool, list[float]] = {True: [], False: []}
    asked = {True: 0, False: 0}
    for row, found in zip(rows, method(pictures), strict=True):
        large = "Cardiomegaly" in row["labels"]
        asked[large] += 1
        if found is not None:
            values[large].append(found.cardiothoracic_ratio)
    medians = {k: round(float(np.median(v)), 3) for k, v in values.items() if v}
    return {
        "auroc": round(auc(values[True], values[False]), 4) if all(values.values()) else None,
        "cardiomegaly": {"n": asked[True], "used": len(values[True]), "median": medians.get(True)},
        "no_finding": {"n": asked[False], "used": len(values[False]), "median": medians.get(False)},
    }


def _boxes(
    data: Path, rows: list[dict[str, str]]
) -> list[tuple[dict[str, str], tuple[float, ...]]]:
    """Return rows with an expert's box of an enlarged heart, x y w h as shares of the picture."""
    by_name = {Path(row["path"]).stem: row for row in rows if row["set"].startswith("nih")}
    with gzip.open(data / "nih" / "BBox_List_2017.csv.gz", "rt") as file:
        lines = list(csv.reader(file))[1:]
    return [
        (by_name[Path(line[0]).stem], tuple(float(v) / 1024 for v in line[2:6]))
        for line in lines
        if line[1] == "Cardiomegaly" and Path(line[0]).stem in by_name
    ]


def _on_boxes(method: Method, data: Path, rows: list[dict[str, str]]) -> dict[str, Any]:
    boxes = _boxes(data, rows)
    found = method(_read(data, [row for row, _ in boxes]))
    widths, overlaps = [], []
    for (_, (x, y, w, h)), anatomy in zip(boxes, found, strict=True):
        if anatomy is None:
            continue
        down, across = np.nonzero(anatomy.heart)
        top, bottom = down.min() / cohort.SIZE, (down.max() + 1) / cohort.SIZE
        left, right = across.min() / cohort.SIZE, (across.max() + 1) / cohort.SIZE
        widths.append((right - left - w) / w)
        both = max(0.0, min(x + w, right) - max(x, left)) * max(
            0.0, min(y + h, bottom) - max(y, top)
        )
        overlaps.append(both / (w * h + (right - left) * (bottom - top) - both))
    return {
        "n": len(boxes),
        "of_training_split": sum(row["split"] == "train" for row, _ in boxes),
        "width_error": _summary(widths),
        "absolute_width_error": _summary([abs(w) for w in widths]),
        "iou": _summary(overlaps),
    }


def measure(data: Path, target: Path) -> None:
    """Write how thresholding and the network compare, on radiographs that trained neither."""
    with (data / "cxr" / "index.csv").open(newline="") as file:
        rows = [r | {"path": f"cxr/{r['path']}"} for r in csv.DictReader(file)]
    held = [r for r in rows if r["split"] in ("val", "test") and r["set"] != "nih_native_1024"]
    asked = [
        r
        for r in rows
        if r["split"] != "train"
        and r["set"] not in ("nih_native_1024", "kermany_224")
        and "conflict" not in r["tier"]
        and ("Cardiomegaly" in r["labels"] or r["labels"] == "No Finding")
    ]
    held_pictures, asked_pictures = _read(data, held), _read(data, asked)
    result: dict[str, Any] = {"held_out": len(held), "working_side": SIDE}
    for name, method in METHODS.items():
        found = method(held_pictures)
        result[name] = {
            "accepted": _shares(held, found),
            "moved_copy": _consistency(method, held_pictures, found),
            "phantoms": _on_phantoms(method),
            "cardiothoracic_ratio": _on_ratio(method, asked, asked_pictures),
            "expert_boxes": _on_boxes(method, data, rows),
        }
    write_json(target, result)
    print(json.dumps(result, indent=1))


# Bits of drawn masks.
DRAWN = {"right_lung": 1, "left_lung": 2, "heart": 4}
RESAMPLES = 2000


def measure_masks(folder: Path, target: Path) -> None:
    """Add to the figures how outlines agree with drawn ones, by set.

    Args:
        folder: pictures, masks and ``masks.csv``.
        target: what `measure` wrote.
    """
    with (folder / "masks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pictures = [cohort.unit(cohort.square(folder / row["path"])) for row in rows]
    drawn = [_drawn(folder / row["mask"]) for row in rows]
    sets = np.array([row["path"].split("/")[0] for row in rows])
    result = json.loads(target.read_text())
    for name, method in METHODS.items():
        found = method(pictures)
        result[name]["drawn_masks"] = {
            each: _agreement(
                [(d, f) for d, f, s in zip(drawn, found, sets, strict=True) if each in (s, "all")]
            )
            for each in ("all", *sorted(set(sets)))
        }
    write_json(target, result)
    print(json.dumps({name: result[name]["drawn_masks"] for name in METHODS}, indent=1))


def _drawn(path: Path) -> Anatomy:
    """Return drawn outlines on the grid of `cohort.square`."""
    with Image.open(path) as opened:
        bits = np.asarray(opened)
    side = Square(*bits.shape)
    shape = (cohort.SIZE, cohort.SIZE)
    masks = {
        name: resized(side.pad(((bits & bit) > 0).astype(np.float32)), shape) > 0.5
        for name, bit in DRAWN.items()
    }
    return Anatomy(masks["right_lung"], masks["left_lung"], masks["heart"])


def _agreement(pairs: list[tuple[Anatomy, Anatomy | None]]) -> dict[str, Any]:
    """Return means with 95 % intervals over patients, who have one picture each.

    `ratio_error` is the estimated cardiothoracic ratio less that of the drawn masks.
    """
    both = [(drawn, found) for drawn, found in pairs if found is not None]
    columns = {
        "right_lung": [dice(d.right_lung, f.right_lung) for d, f in both],
        "left_lung": [dice(d.left_lung, f.left_lung) for d, f in both],
        "lungs": [dice(d.lungs, f.lungs) for d, f in both],
        "heart": [dice(d.heart, f.heart) for d, f in both],
        "ratio_error": [f.cardiothoracic_ratio - d.cardiothoracic_ratio for d, f in both],
    }
    columns["absolute_ratio_error"] = [abs(e) for e in columns["ratio_error"]]
    table = np.array(list(columns.values())).T
    means = resampled_means(table, RESAMPLES, 0)
    figures = {
        name: _summary(values)
        | {
            "mean": round(float(np.mean(values)), 4),
            "ci": [round(x, 4) for x in interval(means[:, column])],
        }
        for column, (name, values) in enumerate(columns.items())
    }
    return {"n": len(pairs), "accepted": round(len(both) / len(pairs), 4), **figures}


def _shares(rows: list[dict[str, str]], found: list[Anatomy | None]) -> dict[str, str]:
    """Return accepted of all, by set of the data and view."""
    counts: dict[str, list[int]] = {}
    for row, anatomy in zip(rows, found, strict=True):
        for key in ("all", row["set"], f"view {row['view'] or 'unknown'}"):
            counts.setdefault(key, [0, 0])[0] += anatomy is not None
            counts[key][1] += 1
    return {k: f"{a}/{n} ({a / n:.1%})" for k, (a, n) in sorted(counts.items())}
