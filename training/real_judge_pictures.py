"""Real radiographs for a judge that no painted picture taught, negatives matched to positives.

Source alone tells positives from negatives in this collection: positives come from other sets, at
other sizes, than most normals; and within a set the sick were often taken with other detectors. So
a stratum is all that may not tell a finding (source, view, sex, detector): each positive is drawn
with a negative of its own stratum, and in each stratum negatives weigh as much as positives. A
stratum without either teaches nothing about a finding. The sick are also exposed otherwise: most
pictures are given the grey levels of another one.
"""

from __future__ import annotations

import csv
import logging
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from training import checkpoints, cohort, judge_pictures
from training.judge_network import Variation
from training.judge_pictures import Row, canonical

# All of NIH's labels; a few are read too poorly to be used, and a card says which.
FINDINGS = (
    *(name for name in judge_pictures.FINDINGS if name != "Support Devices"),
    "Infiltration",
)
SIDED = tuple(name for name in FINDINGS if name in judge_pictures.SIDED)
# One hospital's bedside, children, and repeats of other pictures.
LEFT_OUT = ("hannover_covid", "kermany_224", "nih_native_1024")
# Most that one negative may count for: a stratum of ten positives and one negative says little.
_MOST = 4.0
# Share of pictures that are given the grey levels of another one.
_EXCHANGED = 0.75
_SMALL = 28  # side at which a view is guessed: 8 x 8 blocks of 224
Bank = dict[str, Tensor]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
log = logging.getLogger(__name__)


def rows_of(data: Path, nih: Path, split: str) -> list[Row]:
    """Return the index rows of a split of the NIH sets, one per radiograph, with its detector.

    The detector is known by its pixels' spacing, which NIH's own table of all pictures, in the
    folder `nih`, still has.
    """
    with (data / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = pd.read_csv(nih / "Data_Entry_2017_v2020.csv.gz")
    names = table["Image Index"].str.removesuffix(".png")
    spacing = table["OriginalImagePixelSpacing[x"].map("{:.3f}".format)
    detector = dict(zip(names, spacing, strict=True))
    return [
        row | {"detector": detector.get(Path(row["path"]).stem, "")}
        for row in rows
        if row["split"] == split and row["set"] not in LEFT_OUT
    ]


def targets_of(rows: list[Row]) -> Floats:
    """Return labels, n x k: 1, 0, or NaN where other labels leave a finding open.

    An infiltration may be called consolidation, pneumonia or edema, and a pneumonia is a
    consolidation that somebody named. Labels that a later reading contradicts are all open.
    """
    targets = np.zeros((len(rows), len(FINDINGS)), np.float32)
    kin = {"Infiltration", "Pneumonia", "Consolidation"}
    for row, line in zip(rows, targets, strict=True):
        names = set(canonical(row))
        unknown = kin - names if kin & names else set()
        unknown |= {"Edema"} - names if "Infiltration" in names else set()
        for k, name in enumerate(FINDINGS):
            line[k] = np.nan if name in unknown else float(name in names)
        if "conflict" in row["tier"]:
            line[:] = np.nan
    return targets


def bank(data: Path, nih: Path, split: str, folder: Path) -> tuple[Bank, list[Row]]:
    """Return pictures (n x 224 x 224 uint8) and rows of a split, made once in `folder`."""
    rows, path = rows_of(data, nih, split), folder / f"{split}.pt"
    stored = checkpoints.load(path)
    if stored is None:
        pixels = np.stack([cohort.square(data / row["path"]) for row in rows])
        stored = {"pixels": torch.from_numpy(pixels)}
        checkpoints.save(path, stored)
    return stored, rows


class View:
    """Guesses PA or AP where a source does not say, from pictures of those that do."""

    def __init__(self, pixels: Tensor, rows: list[Row]) -> None:
        """Fit a logistic regression of small pictures."""
        known = np.array([row["view"] in ("PA", "AP") for row in rows])
        frontal = np.array([row["view"] == "AP" for row in rows])
        self._line = LogisticRegression(C=0.01, max_iter=300)
        self._line.fit(_small(pixels[torch.from_numpy(known)]), frontal[known])

    def fill(self, pixels: Tensor, rows: list[Row]) -> list[Row]:
        """Return the rows with a view in each."""
        missing = [i for i, row in enumerate(rows) if row["view"] not in ("PA", "AP")]
        filled = [dict(row) for row in rows]
        if missing:
            guess = self._line.predict(_small(pixels[missing]))
            for i, frontal in zip(missing, guess, strict=True):
                filled[i]["view"] = "AP" if frontal else "PA"
        return filled


def _small(pixels: Tensor) -> Floats:
    side = pixels.shape[-1] // _SMALL
    blocks = pixels.view(len(pixels), _SMALL, side, _SMALL, side).float().mean((2, 4))
    flat = blocks.flatten(1).numpy()
    spread = flat.std(1, keepdims=True) + 1
    return np.asarray((flat - flat.mean(1, keepdims=True)) / spread)


def stratum(row: Row) -> str:
    """Return what may not tell a finding: source, view, sex and detector of a row."""
    return "|".join(row[key] for key in ("set", "view", "sex", "detector"))


@dataclass(frozen=True, eq=False)
class Strata:
    """Pictures by stratum.

    Attributes:
        names: stratum of each picture, n.
        targets: n x k, NaN where open.
    """

    names: list[str]
    targets: Floats

    @cached_property
    def members(self) -> dict[str, NDArray[np.int64]]:
        """Pictures of each stratum."""
        found = defaultdict(list)
        for i, name in enumerate(self.names):
            found[name].append(i)
        return {name: np.array(own) for name, own in found.items()}

    @cached_property
    def pairs(self) -> list[list[tuple[int, NDArray[np.int64]]]]:
        """Each finding's positives, and the negatives of their strata; k lists."""
        result = []
        for k in range(self.targets.shape[1]):
            own = []
            for members in self.members.values():
                absent = members[self.targets[members, k] == 0]
                there = members[self.targets[members, k] == 1]
                own += [(int(i), absent) for i in there if len(absent)]
            result.append(own)
        return result

    def weights(self, often: NDArray[np.float64]) -> Floats:
        """Return what each label counts for, n x k, where picture i is drawn `often[i]` times.

        In each stratum, negatives together count for as much as positives; 0 where labels are open
        or a stratum has but one of the two.
        """
        result = np.zeros(self.targets.shape, np.float32)
        for members in self.members.values():
            for k in range(self.targets.shape[1]):
                own = self.targets[members, k]
                there, absent = members[own == 1], members[own == 0]
                high, low = often[there].sum(), often[absent].sum()
                if high > 0 and low > 0:
                    result[there, k] = min(1.0, _MOST * low / high)
                    result[absent, k] = min(high / low, _MOST)
        return result


class Batches:
    """Draws pairs of a positive and a negative of its stratum: same step, same batch.

    Findings are drawn by the root of their number, so that rare ones are seen and not learned by
    heart; half of the negatives show no finding at all, the others some other one.
    """

    def __init__(self, pixels: Tensor, strata: Strata, pairs: int, seed: int) -> None:
        """Keep pictures (n x 224 x 224 uint8) and what is known of them."""
        self.pixels, self.strata, self.count, self.seed = pixels, strata, pairs, seed
        able = [k for k, own in enumerate(strata.pairs) if own]
        chance = np.sqrt([len(strata.pairs[k]) for k in able])
        self._able, self._chance = able, chance / chance.sum()
        self._clean = (strata.targets == 0).all(axis=1)
        often = np.bincount(
            np.concatenate([self.rows(step) for step in range(2000)]), minlength=len(pixels)
        )
        self.weights = torch.from_numpy(strata.weights(often.astype(np.float64)))
        self.targets = torch.from_numpy(np.nan_to_num(strata.targets))
        self.variation = Greys(pixels, seed)

    def rows(self, step: int) -> NDArray[np.int64]:
        """Return the pictures of a step: positive, its negative, positive, its negative, ..."""
        rng, rows = np.random.default_rng([self.seed, step]), []
        for k in rng.choice(self._able, self.count, p=self._chance):
            own = self.strata.pairs[k]
            there, absent = own[rng.integers(len(own))]
            clean = absent[self._clean[absent]]
            pool = clean if len(clean) and rng.random() < 0.5 else absent
            rows += [there, int(rng.choice(pool))]
        return np.array(rows)

    def draw(self, step: int) -> tuple[Tensor, Bank]:
        """Return varied pictures, some of them mirrored, b x 1 x 224 x 224, and their labels."""
        rows = self.rows(step)
        known = {"target": self.targets[rows], "weight": self.weights[rows]}
        return self.variation(rows, step), known


class Greys:
    """Varies pictures: other place and exposure, mirrored, with the grey levels of another one.

    What is bright in a picture stays its brightest part; how bright all is, and how much of it is
    black, tells nothing any more.
    """

    def __init__(self, pixels: Tensor, seed: int) -> None:
        """Keep the pictures, n x 224 x 224 uint8."""
        self.pixels, self.seed = pixels, seed

    def below(self, row: int) -> NDArray[np.float64]:
        """Return the share of a picture's pixels below each of 256 levels, half of its own too."""
        counts = np.bincount(self.pixels[row, ::2, ::2].numpy().ravel(), minlength=256)
        share = counts / counts.sum()
        return np.asarray(np.cumsum(share) - share / 2)

    def __call__(self, rows: NDArray[np.int64], step: int) -> Tensor:
        """Return pictures of some rows, b x 1 x 224 x 224 in [0, 1]: same step, same variation."""
        rng, generator = np.random.default_rng([self.seed, 2, step]), torch.Generator()
        shown = []
        for row, mirrored in zip(rows, rng.random(len(rows)) < 0.5, strict=True):
            picture = self.pixels[row].flip(-1) if mirrored else self.pixels[row]
            if rng.random() < _EXCHANGED:
                other = int(rng.integers(len(self.pixels)))
                picture = self.levels(int(row), other)[picture.long()]
            shown.append(picture)
        return Variation()(torch.stack(shown), generator.manual_seed(1_000_003 * self.seed + step))

    def levels(self, row: int, other: int) -> Tensor:
        """Return what each of the 256 levels of a picture becomes with those of another one."""
        levels = np.interp(self.below(row), self.below(other), np.arange(256))
        return torch.from_numpy(np.rint(levels).astype(np.uint8))
