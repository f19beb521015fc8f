"""Films of patients, for a network that tells patients apart: batches to learn from, and searches.

Source and view tell patients apart in this collection, and so does exposure, none of which is the
patient: a batch is of one source and view, every film has the grey levels of another one or curves
of its own, and a search is among films of the source and view of the one that is searched for.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from roentmod.editors import compose
from roentmod.science import stats
from training import checkpoints, cohort
from training.judge_network import Draw, Variation
from training.judge_pictures import Row
from training.real_judge_pictures import Greys

SIZE = 128
# Of these the patients are not known, or other hospital's, or pictures that are there already.
LEFT_OUT = ("hannover_covid", "kermany_224", "nih_native_1024", "nih_rxtorax")
# A search among fewer patients of the same source and view says little: it is left out.
FEWEST = 20
# Share of films that are given the grey levels of another one.
_EXCHANGED = 0.75
# Shares of pairs: two visits where there are two, and patients of a batch who have two.
_VISITS, _FOLLOWED = 0.85, 0.75
# Soft fields of light and shade, as an illness or an edit may leave them: cells a side, and reach.
_CELLS, _FIELD = 6, 0.15
Array = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Films:
    """Films of a split.

    Attributes:
        rows: of the index, n.
        pixels: n x 128 x 128 uint8.
        visits: pairs of rows, two visits of one patient each.
    """

    rows: list[Row]
    pixels: Tensor
    visits: list[tuple[int, int]]

    @property
    def patients(self) -> NDArray[np.str_]:
        """Patient of each film, n."""
        return np.array([row["patient_id"] for row in self.rows])

    @property
    def strata(self) -> NDArray[np.str_]:
        """Source and view of each film, n."""
        return np.array([stratum(row) for row in self.rows])


def stratum(row: Row) -> str:
    """Return what may not tell a patient: source and view of a film."""
    return f"{row['set']}|{row['view']}"


def rows_of(data: Path, split: str) -> list[Row]:
    """Return the index rows of a split of the NIH sets, one per film of a known patient."""
    with (data / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if row["split"] == split and row["set"] not in LEFT_OUT]


def visits_of(pairs: Path, rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Return the pairs of `rows` that the table of follow-up pairs has."""
    place = {row["path"]: i for i, row in enumerate(rows)}
    with pairs.open(newline="") as file:
        ends = [(row["path_a"], row["path_b"]) for row in csv.DictReader(file)]
    return [(place[a], place[b]) for a, b in ends if a in place and b in place]


def small(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a film of the 224 px grid, through which all sources pass, at 128 x 128."""
    reduced = compose.resize(cohort.unit(square), SIZE)
    return np.asarray(np.rint(reduced.clip(0, 1) * 255), np.uint8)


def films(data: Path, pairs: Path, split: str, folder: Path) -> Films:
    """Return the films of a split, made once in `folder`."""
    rows, path = rows_of(data, split), folder / f"{split}.pt"
    stored = checkpoints.load(path)
    if stored is None:
        pixels = np.stack([small(cohort.square(data / row["path"])) for row in rows])
        stored = {"pixels": torch.from_numpy(pixels)}
        checkpoints.save(path, stored)
    return Films(rows, stored["pixels"], visits_of(pairs, rows))


class Batches:
    """Draws pairs of films of one patient each, all of one source and view: same step, same batch.

    Where a patient has two visits, mostly these are a pair; otherwise one film, varied twice. The
    second visit may be of another source or view: the patient is the same.
    """

    def __init__(self, films: Films, patients: int, seed: int) -> None:
        """Keep films; `patients` are drawn at a step."""
        self.films, self.count, self.seed = films, patients, seed
        self.others: dict[int, list[int]] = defaultdict(list)
        of_patient: dict[str, set[int]] = defaultdict(set)
        names = films.patients
        for visit in films.visits:
            of_patient[names[visit[0]]].update(visit)
        for own in of_patient.values():
            for one in own:
                self.others[one] = sorted(own - {one})
        strata = films.strata
        members = [np.flatnonzero(strata == name) for name in np.unique(strata)]
        self._strata = [m for m in members if len(np.unique(names[m])) >= patients]
        followed = [sum(int(i) in self.others for i in m) for m in self._strata]
        self._chance = np.array(followed) / sum(followed)
        self._names = names
        self._greys = Greys(films.pixels, seed)
        self._variation = Variation(turn=0.09, zoom=0.10, shift=0.08, noise=0.03)

    def rows(self, step: int) -> Ints:
        """Return the films of a step, 2 x patients: all first ones, then all second ones."""
        rng = np.random.default_rng([self.seed, step])
        members = rng.permutation(self._strata[rng.choice(len(self._chance), p=self._chance)])
        _, at = np.unique(self._names[members], return_index=True)
        firsts = rng.permutation(members[at])
        have = np.array([int(i) in self.others for i in firsts])
        most = round(_FOLLOWED * self.count)
        picked = [*firsts[have][:most], *firsts[~have]][: self.count]
        picked += list(firsts[have][most:][: self.count - len(picked)])
        seconds = [
            rng.choice(self.others[int(i)])
            if int(i) in self.others and rng.random() < _VISITS
            else i
            for i in picked
        ]
        return np.array([*picked, *seconds], np.int64)

    def draw(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return varied films, b x 1 x 128 x 128 in [0, 1]; that they are pairs is known."""
        rng, shown = np.random.default_rng([self.seed, 1, step]), []
        for row in self.rows(step):
            film = self.films.pixels[row]
            if rng.random() < _EXCHANGED:
                other = int(rng.integers(len(self.films.pixels)))
                film = self._greys.levels(int(row), other)[film.long()]
            shown.append(film)
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + step)
        return self._shaded(self._variation(torch.stack(shown), generator), generator), {}

    def _shaded(self, x: Tensor, generator: torch.Generator) -> Tensor:
        draw = Draw(len(x), generator)
        cells = torch.rand((len(x), 1, _CELLS, _CELLS), generator=generator) * 2 - 1
        field = functional.interpolate(cells, x.shape[-2:], mode="bilinear")
        return (x + draw.chance(0.5) * draw.between(0, _FIELD) * field).clamp(0, 1)


@dataclass(frozen=True)
class Search:
    """How well other visits are found.

    Attributes:
        ranks: of the other visit among strangers, 1 is first; one per search.
        above: share of strangers that are less alike than the other visit, one per search.
        queries: film and the other visit, by their rows, searches x 2.
        patients: who is searched for.
        strangers: how many films of other patients the gallery has, one per search.
    """

    ranks: Ints
    above: NDArray[np.float64]
    queries: Ints
    patients: NDArray[np.str_]
    strangers: Ints

    @property
    def first(self) -> float:
        """Share of searches that end with the right film, a mean over patients."""
        return float(self._by_patient(self.ranks == 1).mean())

    @property
    def reciprocal(self) -> float:
        """Mean over searches of 1 / rank."""
        return float((1 / self.ranks).mean())

    def of(self, which: NDArray[np.bool_]) -> Search:
        """Return some of the searches."""
        return Search(
            self.ranks[which],
            self.above[which],
            self.queries[which],
            self.patients[which],
            self.strangers[which],
        )

    def summary(self, *, resamples: int = 2000) -> dict[str, object]:
        """Return rank-1 and AUROC, means over patients with 95 % intervals, and the numbers."""
        result: dict[str, object] = {}
        for name, values in (("rank_1", self.ranks == 1), ("auroc", self.above)):
            each = self._by_patient(values)
            drawn = stats.resampled_means(each[:, None], resamples, 0)[:, 0]
            ends = [round(float(end), 4) for end in stats.percentile_interval(drawn, 0.95)]
            result[name] = {"value": round(float(each.mean()), 4), "ci": ends}
        return result | {
            "chance": round(float((1 / (1 + self.strangers)).mean()), 4),
            "searches": len(self.ranks),
            "patients": len(np.unique(self.patients)),
            "gallery": {
                "median": int(np.median(self.strangers + 1)),
                "least": int(self.strangers.min() + 1),
                "most": int(self.strangers.max() + 1),
            },
        }

    def _by_patient(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        _, owner = np.unique(self.patients, return_inverse=True)
        return np.bincount(owner, values.astype(np.float64)) / np.bincount(owner)


def search(films: Films, vectors: Array) -> Search:
    """Search each visit's other visit among strangers of the other's source and view.

    The gallery is that film and all films of other patients of its source and view; the patient's
    further films are in none. Of equally near films the stranger counts as nearer.

    Args:
        films: n of them, with their pairs of visits.
        vectors: n x d; the less their Euclidean distance the more alike.
    """
    names, strata = films.patients, films.strata
    known = np.asarray(vectors, np.float64)
    found = []
    for pair in films.visits:
        for query, other in (pair, pair[::-1]):
            strangers = (strata == strata[other]) & (names != names[query])
            if len(np.unique(names[strangers])) < FEWEST:
                continue
            far = ((known[strangers] - known[query]) ** 2).sum(1)
            own = ((known[other] - known[query]) ** 2).sum()
            found.append((1 + (far <= own).sum(), (far > own).mean(), (query, other), len(far)))
    ranks, above, ends, sizes = zip(*found, strict=True)
    queries = np.array(ends, np.int64)
    patients = names[queries[:, 0]]
    return Search(np.array(ranks), np.array(above), queries, patients, np.array(sizes))
