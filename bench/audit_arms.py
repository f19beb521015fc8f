"""What the proof of the audit is made of: panels of classifiers, their hosts, and editors.

A panel's classifiers learn from hosts with known findings (`training.confounded`); an arm audits
all of a panel with one editor through the public door, seeing nothing but the models. Everything
is kept in one folder, and made once.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench import graft, weights
from roentmod import classifiers, datasets
from roentmod.anatomy import Anatomy
from roentmod.classifiers import Judge
from roentmod.datasets.phantom import phantom
from roentmod.editors import Editor, Painter
from roentmod.editors.painter import DOSE, paint
from roentmod.edits import Edit
from roentmod.jobs import audit
from roentmod.jobs.audit import AuditResult
from roentmod.learning import networks
from roentmod.radiograph import Radiograph
from roentmod.science import effects, margins
from roentmod.store import atomic, canonical_hash, file_sha256
from training import benchmark, cohort, confounded
from training.confounded import FINDINGS, USUAL, Hosts, Panel, Plant

PAIRS = (
    ("Pleural Effusion", "Cardiomegaly"),
    ("Support Devices", "Pneumothorax"),
    ("Edema", "Mass"),
    ("Cardiomegaly", "Edema"),
)
# A little dependence, as real data have it, is no shortcut beyond the margin.
RHOS = (0.0, 0.2, 0.5, 0.75, 0.9, 1.0)
SEEDS = (0, 1)
# More classifiers without a shortcut: of 8, none wrong still allows for one in three.
HONEST = tuple(range(2, 8))
# A correlation from which a shortcut is expected to be found.
STRONG = 0.75
# Findings whose pictures show much of another one: the judge sees masses in nodules, and oedema
# and effusions in pneumonia.
LEAKING = Panel(
    "leaking",
    ("Nodule", "Mass", "Pneumonia", "Edema", "Pleural Effusion"),
    size=112,
    epochs=15,
    hosts=700,
)
# Real findings: neither a painter nor what it taught.
GRAFTED = Panel("grafted", graft.FINDINGS, size=112, epochs=15, hosts=700)
DEEP = Panel("deep", network="resnet18", size=224, epochs=3, hosts=1100, rate=1e-3)
PANELS = (USUAL, GRAFTED, LEAKING, DEEP)
# Every classifier goes on from a network that has learned its panel's findings, of which none come
# together: a head that hardly knows its own is moved by any other, honest as its labels are.
BASES = {
    "usual": replace(USUAL, epochs=150, prevalence=0.2),
    "grafted": replace(GRAFTED, epochs=250, prevalence=0.2),
    "leaking": replace(LEAKING, epochs=250, prevalence=0.2),
    "deep": replace(DEEP, epochs=10),
}
STARTS = 2  # such networks of a panel, so that not all of it stand on one
PANEL_PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "leaking": (("Nodule", "Mass"), ("Pneumonia", "Edema"), ("Mass", "Pleural Effusion")),
    "grafted": (
        ("Mass", "Pneumonia"),
        ("Pneumonia", "Pleural Effusion"),
        ("Pleural Effusion", "Mass"),
    ),
    "deep": (PAIRS[0], PAIRS[2]),
}
PAINTED = (*FINDINGS, "Nodule", "Pneumonia")
REAL = {"train": 1100, "test": 340}
DRAWN = {"train": 400, "test": 110}
PHANTOM_SEED = {"train": 1_000_000, "test": 2_000_000, "audit": 3_000_000}
# What a leaking painter draws beside what was requested, by panel.
LEAKS = {
    "usual": {"Edema": "Pleural Effusion", "Mass": "Edema"},
    "leaking": {"Nodule": "Mass", "Pneumonia": "Pleural Effusion"},
}
LEAKY, HALF = "leaky-painter", "half-leaky-painter"
# Of the requested finding's dose, by editor.
LEAKING_DOSE = {LEAKY: 1.0, HALF: 0.5}
PROCESSES = 2
log = logging.getLogger(__name__)
Picture = NDArray[np.float32]


@dataclass(frozen=True)
class Arm:
    """An audit of a panel.

    Attributes:
        panel: whose classifiers are audited.
        editor: ``painter``, `LEAKY`, `HALF`, ``grafts`` or ``mini``.
        count: of baselines.
        second: who measures leakage: the ``real`` judge, of real labels alone; "": the gate.
        seeds: edits per baseline and finding; of several, leakage is measured in the others, too.
    """

    panel: Panel
    editor: str
    count: int = 40
    second: str = ""
    seeds: int = 1

    @property
    def name(self) -> str:
        """Name of its folder."""
        several = f"{self.seeds}-seeds" if self.seeds > 1 else ""
        return "-".join(filter(None, [self.panel.name, self.editor, self.second, several]))

    @property
    def leaks(self) -> dict[str, str]:
        """What its editor draws beside what was requested."""
        return LEAKS[self.panel.name] if self.editor in LEAKING_DOSE else {}

    def common(self) -> dict[str, str]:
        """Return where the findings come from that each part of the audit learned or adds."""
        grafts = self.panel == GRAFTED
        edits = {"grafts": "grafts of other patients", "mini": "painter (taught `mini`)"}
        both = "painter and real"
        return {
            "classifiers": "grafts (of real findings)" if grafts else "painter",
            "editor": edits.get(self.editor, "painter"),
            "gate": both,
            "leakage": "real" if self.second else "none" if self.exact else both,
        }

    @property
    def exact(self) -> bool:
        """Whether nothing leaks by construction, so that nothing is taken off."""
        return self.editor == Painter.name


# What matters most comes first; what stands on the generator, last.
ARMS = (
    Arm(USUAL, "painter", 100),
    # The judge sees half of the painted devices.
    Arm(USUAL, LEAKY, 60),
    Arm(USUAL, HALF, 60),
    # The judge sees about two thirds of grafts.
    Arm(GRAFTED, "grafts", 60),
    Arm(GRAFTED, "grafts", 60, second="real"),
    Arm(GRAFTED, "painter"),
    Arm(LEAKING, "painter"),
    Arm(LEAKING, LEAKY),
    Arm(LEAKING, LEAKY, seeds=2),
    Arm(LEAKING, "grafts", 60),
    Arm(DEEP, "painter"),
    Arm(USUAL, "mini", 60),
    # The judge sees few of these edits.
    Arm(LEAKING, "mini", 100),
    Arm(LEAKING, "mini", 60, second="real"),
    Arm(LEAKING, "mini", 50, seeds=2),
)


def plants(panel: Panel = USUAL) -> list[Plant]:
    """Return every classifier of a panel."""
    if panel.name == "usual":
        usual = [Plant(pair, rho, seed) for seed in SEEDS for pair in PAIRS for rho in RHOS]
        return usual + [Plant(pair, 0.0, seed) for seed in HONEST for pair in PAIRS]
    pairs = PANEL_PAIRS[panel.name]
    if panel.name == "deep":
        return [Plant(pair, rho, 0) for pair in pairs for rho in (0.0, 0.9)]
    kinds = [(0.0, seed) for seed in range(3)] + [(0.9, 0), (1.0, 0)]
    return [Plant(pair, rho, seed) for pair in pairs for rho, seed in kinds]


@dataclass(frozen=True)
class Proof:
    """The proof's data and folder.

    Attributes:
        run: where everything is kept, in a folder for what it was made with (`home`).
        data: folder with index.csv; None: phantoms.
        more: folder of JSRT and RSNA's boxes; None: no grafts.
        nih: folder of NIH's own tables; None: no grafts.
        real: folder of the judge of real labels; None: no arm that needs it.
        most: baselines of an arm, at most.
    """

    run: Path
    data: Path | None = None
    more: Path | None = None
    nih: Path | None = None
    real: Path | None = None
    most: int = 1000

    @cached_property
    def home(self) -> Path:
        """Folder of what is made with these data, panels and outlines, and this code."""
        index = "" if self.data is None else file_sha256(self.data / "index.csv")
        code = [confounded, networks, graft, effects, margins]
        made_with = [
            weights.bundled(("painter", "anatomy")),
            [file_sha256(str(module.__file__)) for module in code],
            [_listing(folder) for folder in (self.more, self.nih)],
            index,
            [asdict(panel) for panel in (*PANELS, *BASES.values())],
            [plant.name for panel in PANELS for plant in plants(panel)],
            [REAL, DRAWN, PHANTOM_SEED],
        ]
        return self.run / canonical_hash(made_with)[:10]

    def able(self, arm: Arm) -> bool:
        """Tell whether an arm's data and judges are given."""
        grafts = arm.editor == "grafts" or arm.panel == GRAFTED
        if grafts and not (self.data and self.more and self.nih):
            return False
        return self.real is not None or not arm.second

    def folder(self, arm: Arm) -> Path:
        """Return where an arm's audit is."""
        return self.home / f"audit-{arm.name}"

    def finished(self, arm: Arm) -> bool:
        """Tell whether an arm is made."""
        return self.able(arm) and (self.folder(arm) / "judged" / "judged.json").exists()

    def model(self, panel: Panel, plant: Plant) -> Path:
        """Return where a classifier is."""
        return self.home / "models" / panel.name / f"{plant.name}.onnx"

    @cached_property
    def donors(self) -> tuple[list[graft.Donor], list[graft.Donor]]:
        """Donors that teach, and those of the editor."""
        folders = [folder for folder in (self.data, self.more, self.nih) if folder is not None]
        if len(folders) < 3:
            raise SystemExit("Grafts need --data, --more and --nih; give all three.")
        path = self.home / "donors.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            graft.keep(graft.donors(*folders), path)
        return graft.halves(graft.kept(path))

    def hosts(self, split: str, panel: Panel = USUAL) -> Hosts:
        """Return a split's hosts with a panel's findings, at its size.

        They are real no-finding radiographs, and phantoms; the latter are given no grafts.
        """
        path = self.home / f"hosts-{split}{'-grafted' if panel == GRAFTED else ''}.npz"
        pictures, known = ([], []) if path.exists() else self._pictures(split, panel)
        if panel == GRAFTED:
            draw = partial(graft.graft_all, self.donors[1 if split == "test" else 0])
            made = confounded.make_hosts(pictures, known, path, graft.FINDINGS, draw)
        else:
            made = confounded.make_hosts(pictures, known, path, PAINTED)
        return made.of(panel)

    def _pictures(self, split: str, panel: Panel) -> tuple[list[Picture], list[Anatomy | None]]:
        real: list[Picture] = []
        if self.data is not None:
            fit = [
                row
                for row in benchmark.rows_of(self.data)
                if row["split"] == split
                and row["labels"] == cohort.NO_FINDING
                # The bundled judge learned from these.
                and not (split == "train" and cohort.is_for_judge(row["patient_id"]))
            ]
            order = np.random.default_rng(12).permutation(len(fit))[: REAL[split]]
            real = [cohort.unit(cohort.square(self.data / fit[i]["path"])) for i in order]
        drawn = DRAWN[split] if self.data else DRAWN[split] + REAL[split]
        numbers = range(0 if panel == GRAFTED else drawn)
        phantoms = [phantom(PHANTOM_SEED[split] + number) for number in numbers]
        pictures = [*real, *(one.radiograph.pixels for one in phantoms)]
        return pictures, [*([None] * len(real)), *(one.anatomy for one in phantoms)]

    def train(self, panel: Panel) -> None:
        """Train and export what is not there yet, in two processes of one thread each."""
        waiting = [p for p in plants(panel) if not self.model(panel, p).exists()]
        if not waiting:
            return
        self.hosts("train", panel)
        missing = {plant.seed % STARTS for plant in waiting}
        missing = {number for number in missing if not self.start(panel, number).exists()}
        with ProcessPoolExecutor(PROCESSES, get_context("spawn"), _one_thread) as pool:
            list(pool.map(partial(_learn, self, panel), sorted(missing)))
            for number, name in enumerate(pool.map(partial(_train, self, panel), waiting), 1):
                log.info("%s: classifier %d of %d, %s", panel.name, number, len(waiting), name)

    def start(self, panel: Panel, number: int) -> Path:
        """Return where the weights are that some of a panel's classifiers go on from."""
        return self.home / "models" / f"{panel.name}-{number}.pt"

    def learn(self, panel: Panel, number: int) -> None:
        """Train one of the networks that a panel's classifiers go on from."""
        base, path = BASES[panel.name], self.start(panel, number)
        first, second, *_ = panel.findings
        network = confounded.train(_hosts(self, base), Plant((first, second), 0.0, number), base)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as part:
            torch.save(network.state_dict(), part)

    def make(self, panel: Panel, plant: Plant) -> None:
        """Train and export one classifier."""
        start = confounded.untrained(panel)
        weights_of = self.start(panel, plant.seed % STARTS)
        start.load_state_dict(torch.load(weights_of, weights_only=True))
        network = confounded.train(_hosts(self, panel), plant, panel, start=start)
        path = self.model(panel, plant)
        path.parent.mkdir(parents=True, exist_ok=True)
        confounded.export(network, path, plant.name, panel)

    def audited(self, arm: Arm) -> AuditResult:
        """Audit every classifier of an arm in one go: the edits are made once."""
        count = min(arm.count, self.most)
        source = datasets.load(self.data or f"phantoms:{count}:{PHANTOM_SEED['audit']}")
        split = "test" if self.data else None
        chosen = datasets.baselines(source, count=count, split=split).table
        paths = {plant.name: self.model(arm.panel, plant) for plant in plants(arm.panel)}
        models = {name: classifiers.load(f"onnx:{path}") for name, path in paths.items()}
        able = graft.FINDINGS if arm.editor == "grafts" else arm.panel.findings
        plan = audit.AuditPlan(
            findings=tuple(f for f in able if f in arm.panel.findings),
            seeds=tuple(range(arm.seeds)),
        )
        return audit.run(
            source,
            chosen,
            self._editor(arm),
            models,
            plan,
            self.folder(arm),
            second=Judge.load(self.real) if arm.second else None,
        )

    def _editor(self, arm: Arm) -> Any:
        if arm.leaks:
            return LeakyPainter(arm.leaks, LEAKING_DOSE[arm.editor])
        return graft.Grafter(self.donors[1]) if arm.editor == "grafts" else Editor.load(arm.editor)


def _listing(folder: Path | None) -> list[tuple[str, int]]:
    """Return names and sizes of a folder's files."""
    if folder is None:
        return []
    every = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return [(str(p.relative_to(folder)), p.stat().st_size) for p in every]


def _one_thread() -> None:
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


@lru_cache(maxsize=1)
def _hosts(proof: Proof, panel: Panel) -> Hosts:
    """Return a panel's hosts, which a process reads once."""
    return proof.hosts("train", panel)


def _learn(proof: Proof, panel: Panel, number: int) -> None:
    proof.learn(panel, number)


def _train(proof: Proof, panel: Panel, plant: Plant) -> str:
    proof.make(panel, plant)
    return plant.name


class LeakyPainter(Painter):
    """A painter that draws, beside each finding, another one that nobody requested.

    What leaks is known, so that a corrected effect is, too: an honest classifier's is 0.
    """

    name = LEAKY
    exact = False

    def __init__(self, leaks: Mapping[str, str], dose: float = 1.0) -> None:
        """Keep what is drawn beside what, and at which share of the requested finding's dose."""
        super().__init__()
        self.leaks, self.dose = dict(leaks), dose

    def __reduce__(self) -> tuple[Any, ...]:
        """Remember the leaks."""
        return LeakyPainter, (self.leaks, self.dose)

    def describe(self) -> dict[str, Any]:
        """Return what results depend on besides baseline and edit."""
        return super().describe() | {"leaks": self.leaks, "leaking_dose": self.dose}

    def _one(self, radiograph: Radiograph, anatomy: Anatomy, edit: Edit, region: Any) -> Any:
        made = super()._one(radiograph, anatomy, edit, region)
        other = self.leaks.get(edit.findings[0])
        if other is None or edit.arm != "counterfactual" or made.image is None:
            return made
        dose = self.dose * DOSE[edit.severity or "moderate"]
        seed = zlib.crc32(f"{radiograph.id}/{edit.seed}/{other}".encode())
        own: dict[str, Any] = {
            "side": edit.side,
            "dose": dose,
            "seed": seed,
            "view": radiograph.view,
        }
        both = paint(made.image.pixels, anatomy, other, **own).image
        change = both - radiograph.pixels
        image = radiograph.with_pixels(both)
        return replace(made, image=image, difference=change, support=change != 0)
