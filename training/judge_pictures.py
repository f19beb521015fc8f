"""The judge's pictures: hosts, painted hosts, real positives, all partly through an autoencoder.

``build`` writes one bank of pictures a split. Painted pictures differ from their hosts in nothing
but the finding. A quarter of the pictures goes through the autoencoder of `mini`, as an editor's
output does: with it the judge learns that blur, lost texture and smooth jitter are no findings.
"""

from __future__ import annotations

import csv
import logging
import multiprocessing
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from roentmod.anatomy import Anatomy
from roentmod.domain import finding
from roentmod.editors import BUNDLED, compose
from roentmod.editors.painter import PAINTABLE, paint
from roentmod.editors.painter import SIDED as PAINTED_AT_SIDES
from roentmod.edits import Side
from roentmod.errors import RoentModError, UnknownFindingError
from roentmod.imaging.segmentation import QUALITY_NEEDED, estimate_all
from training import checkpoints, cohort

FINDINGS = (
    "Cardiomegaly",
    "Pleural Effusion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Nodule",
    "Mass",
    "Pneumothorax",
    "Hernia",
    "Support Devices",
    "Emphysema",
    "Fibrosis",
    "Pleural Thickening",
)
SIDED = tuple(name for name in PAINTED_AT_SIDES if name in FINDINGS)
# Shares of one finding and of several; the rest of the hosts stays untouched.
ONE, SEVERAL = 0.45, 0.25
TRIPS = 0.25
# Letters are no finding, whatever else a picture shows.
MARKER, MARKED = "Text Marker", 0.15
LEAST_DOSE = 0.15
# How far an absent label is believed: of normals that a later reading confirmed, of pictures whose
# text-mined labels it contradicts, of real positives (text-mined, rarely complete).
CONFIRMED, CONTRADICTED, UNNAMED = 1.0, 0.3, 0.5
Array = NDArray[np.float32]
Row = dict[str, str]
Kind = Literal["host", "painted", "real"]
_SIDES = ("left", "right", "both")
KINDS: tuple[Kind, ...] = ("host", "painted", "real")
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and what it teaches.

    Attributes:
        pixels: 224 x 224 uint8.
        kind: untouched host, painted host, or real positive.
        findings: those present, with the weight of each.
        sides: sides ("left", "right", "both") of the painted findings that have one.
        absent: how far the absence of the other findings is believed.
        unknown: findings that are neither present nor absent.
        doses: dose of each painted finding, in the order of `findings`; none for real ones.
        patient: hash of the patient, for splitting by patient.
    """

    pixels: NDArray[np.uint8]
    kind: Kind
    patient: int
    findings: tuple[str, ...] = ()
    sides: tuple[tuple[str, str], ...] = ()
    absent: float = CONFIRMED
    unknown: tuple[str, ...] = ()
    doses: tuple[float, ...] = ()


def rows_of(data: Path, split: str) -> list[Row]:
    """Return the index rows the judge may see: its own training patients, or all of `val`.

    Pictures of COVID-19 are left out: they come from one hospital's bedside, and would teach it.
    """
    with (data / "index.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    rows = [row for row in rows if row["labels"] != "COVID-19"]
    return [r for r in rows if split != "train" or cohort.is_for_judge(r["patient_id"])]


def is_host(row: Row) -> bool:
    """Tell whether a picture may be painted: read as normal, or with labels found wrong."""
    return row["labels"] == cohort.NO_FINDING or "conflict" in row["tier"]


def canonical(row: Row) -> tuple[str, ...]:
    """Return the canonical names among the labels of a row."""
    names = []
    for label in row["labels"].split("|"):
        try:
            names.append(finding(label).name)
        except UnknownFindingError:
            continue
    return tuple(names)


def real_positive(row: Row, pixels: NDArray[np.uint8]) -> Sample:
    """Return a real picture with its labels; what they leave open is unknown.

    NIH does not label devices. An infiltration may be called consolidation, pneumonia or edema, and
    a pneumonia is a consolidation that somebody named.
    """
    names = canonical(row)
    unknown = {"Support Devices"}
    if {"Infiltration", "Pneumonia", "Consolidation"} & set(names):
        unknown |= {"Consolidation", "Pneumonia"} - set(names)
    if "Infiltration" in names:
        unknown |= {"Edema"} - set(names)
    present = tuple(name for name in names if name in FINDINGS)
    return Sample(pixels, "real", _patient(row), present, (), UNNAMED, tuple(unknown))


def _patient(row: Row) -> int:
    return zlib.crc32(row["patient_id"].encode()) & 0x7FFFFFFF


def _names(rng: np.random.Generator) -> list[str]:
    """Draw the findings to paint: none, one, or two or three."""
    share = rng.random()
    count = 1 if share < ONE else int(rng.integers(2, 4)) if share < ONE + SEVERAL else 0
    names = [name for name in FINDINGS if name in PAINTABLE]
    chosen = [str(name) for name in rng.choice(names, count, replace=False)]
    return chosen + [MARKER] * (rng.random() < MARKED)


@dataclass(frozen=True, eq=False)
class Job:
    """A host to paint, what is painted on it being drawn from `seed` and `index`."""

    index: int
    host: NDArray[np.uint8]
    anatomy: Anatomy
    row: Row
    seed: int


def painted(job: Job, *, rounds: int) -> list[Sample]:
    """Return `rounds` pictures of one host, each with its own draw of findings, sides and doses."""
    return [_round(job, np.random.default_rng([job.seed, job.index, i])) for i in range(rounds)]


def _round(job: Job, rng: np.random.Generator) -> Sample:
    picture = cohort.unit(job.host)
    done: list[str] = []
    doses: list[float] = []
    sides: list[tuple[str, str]] = []
    for name in _names(rng):
        side: Side = rng.choice(_SIDES, p=(0.4, 0.4, 0.2))
        wanted = side if name in PAINTED_AT_SIDES else None
        amount, seed = float(rng.uniform(LEAST_DOSE, 1)), int(rng.integers(2**31))
        try:
            result = paint(picture, job.anatomy, name, side=wanted, dose=amount, seed=seed)
        except RoentModError as error:
            log.info("%s was not painted: %s", name, error)
            continue
        picture = result.image
        if name == MARKER:
            continue
        done.append(name)
        doses.append(amount)
        if wanted and name in SIDED:
            sides.append((name, str(side)))
    believed = CONTRADICTED if "conflict" in job.row["tier"] else CONFIRMED
    # Data sets without labels of devices show some; a confirmed normal hardly ever does.
    unsure = ("Support Devices",) if believed < 1 and "Support Devices" not in done else ()
    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return Sample(
        pixels,
        "painted" if done else "host",
        _patient(job.row),
        tuple(done),
        tuple(sides),
        believed,
        unsure,
        tuple(doses),
    )


class Autoencoder:
    """The autoencoder of `mini`, and what its round trips do to pictures."""

    def __init__(self, folder: Path) -> None:
        """Load it from a diffusers folder."""
        loaded = AutoencoderKL.from_pretrained(folder, subfolder="vae", low_cpu_mem_usage=False)
        self.vae = loaded.eval()

    @torch.no_grad()
    def encode(self, picture: Array) -> torch.Tensor:
        """Return the posterior mean of a picture in [0, 1]."""
        x = torch.from_numpy(picture * 2 - 1)[None, None]
        mean: torch.Tensor = self.vae.encode(x).latent_dist.mean
        return mean

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> Array:
        """Return the picture of latents, in [0, 1]."""
        return np.asarray((self.vae.decode(latents).sample[0, 0] / 2 + 0.5).clamp(0, 1))

    def trip(
        self, pixels: NDArray[np.uint8], host: NDArray[np.uint8], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Return `pixels` as an editor would give them back, one of three ways.

        Wholly decoded; the host plus the decoded change, as the default composite makes it; or,
        where there is no change, the host plus the change that noise in the latents makes.
        """
        picture, base = (cohort.unit(p) for p in (pixels, host))
        latents = self.encode(picture)
        if rng.random() < 0.4:
            result = self.decode(latents)
        else:
            before = self.encode(base)
            if np.array_equal(pixels, host):
                noise = torch.from_numpy(rng.standard_normal(tuple(latents.shape), np.float32))
                latents = latents + float(rng.uniform(0.1, 0.4)) * latents.std() * noise
            change = self.decode(latents) - self.decode(before)
            result = np.clip(base + compose.significance(change) * change, 0, 1)
        return np.rint(result * 255).astype(np.uint8)


def build(data: Path, rows: list[Row], target: Path, *, rounds: int, workers: int) -> None:
    """Write the bank of `rows` to `target`, unless it is there; every row `rounds` times."""
    if target.exists():
        return
    pictures = [cohort.square(data / row["path"]) for row in rows]
    seed = zlib.crc32(target.stem.encode())
    jobs = _jobs(rows, pictures, seed)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        made = list(pool.map(partial(painted, rounds=rounds), jobs, chunksize=16))
    samples = [sample for several in made for sample in several]
    hosts = [job.host for job in jobs for _ in range(rounds)]
    for row, picture in zip(rows, pictures, strict=True):
        if not is_host(row):
            samples += [real_positive(row, picture)] * 2
            hosts += [picture] * 2
    log.info("%d pictures; now a quarter of them through the autoencoder", len(samples))
    vae = Autoencoder(BUNDLED["mini"])
    for index, host in enumerate(hosts):
        rng = np.random.default_rng([seed, 1, index])
        if rng.random() < TRIPS:
            trip = vae.trip(samples[index].pixels, host, rng)
            samples[index] = replace(samples[index], pixels=trip)
    checkpoints.save(target, tensors(samples))


def _jobs(rows: list[Row], pictures: list[NDArray[np.uint8]], seed: int) -> list[Job]:
    """Return the hosts whose anatomy is known well enough to paint."""
    at = [i for i, row in enumerate(rows) if is_host(row)]
    anatomies = estimate_all(cohort.unit(np.stack([pictures[i] for i in at])))
    jobs = [
        Job(i, pictures[i], anatomy, rows[i], seed)
        for i, anatomy in zip(at, anatomies, strict=True)
        if anatomy.quality >= QUALITY_NEEDED
    ]
    log.info("%d of %d hosts have a good outline", len(jobs), len(at))
    return jobs


def tensors(samples: list[Sample]) -> dict[str, torch.Tensor]:
    """Return pictures (n x 224 x 224 uint8), targets and weights of all samples.

    ``target``, ``weight`` and ``dose`` are n x k, ``side_target`` and ``side_weight`` n x k_sided
    x 2 with right before left; a weight of 0 means unknown, a dose of 0 that nothing was painted.
    """
    n, k, sided = len(samples), len(FINDINGS), len(SIDED)
    target, weight, dose = np.zeros((3, n, k), np.float32)
    side_target, side_weight = np.zeros((2, n, sided, 2), np.float32)
    for i, sample in enumerate(samples):
        present = [FINDINGS.index(name) for name in sample.findings]
        weight[i] = sample.absent
        weight[i, [FINDINGS.index(name) for name in sample.unknown]] = 0
        target[i, present] = weight[i, present] = 1
        if sample.doses:
            dose[i, present] = sample.doses
        # Labels of real pictures name no side; an absent finding is absent on both.
        side_weight[i] = weight[i, [FINDINGS.index(name) for name in SIDED], None]
        known = dict(sample.sides)
        for name in set(sample.findings) & set(SIDED):
            j = SIDED.index(name)
            side = known.get(name)
            side_weight[i, j] = float(side is not None)
            side_target[i, j] = [side in ("right", "both"), side in ("left", "both")]
    return {
        "pixels": torch.from_numpy(np.stack([s.pixels for s in samples])),
        "target": torch.from_numpy(target),
        "weight": torch.from_numpy(weight),
        "side_target": torch.from_numpy(side_target),
        "side_weight": torch.from_numpy(side_weight),
        "kind": torch.tensor([KINDS.index(s.kind) for s in samples]),
        "dose": torch.from_numpy(dose),
        "patient": torch.tensor([s.patient for s in samples]),
    }
