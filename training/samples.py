"""A fixed sheet of samples, so that one can see what a training does: ``samples/step-*.png``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from roentmod.domain import finding
from roentmod.editors import Editor
from roentmod.edits import Edit
from roentmod.imaging import save_picture
from roentmod.imaging.pictures import Cell, grid
from roentmod.imaging.provenance import STATEMENT
from roentmod.radiograph import Radiograph
from training import cohort, painted
from training.export import export

HOSTS = 5


def save(run: Path, cohort_folder: Path, step: int) -> None:
    """Edit fixed radiographs of the cohort with the run's averaged weights, at default settings."""
    images, rows = cohort.load(cohort_folder)
    normal = [i for i, row in enumerate(rows) if painted.is_normal(row)]
    chosen = normal[:: len(normal) // HOSTS][:HOSTS]
    hosts = [Radiograph.from_array(cohort.unit(images[i])) for i in chosen]
    edits = [Edit((n,), side="left" if finding(n).sided else None) for n in painted.NAMES]
    with tempfile.TemporaryDirectory() as folder:
        export(run, Path(folder))
        results = Editor.load(folder, profile="mini", engine="torch").edit(hosts, edits)
    lines = [("Baseline", [Cell(host.pixels, synthetic=False) for host in hosts])]
    for number, name in enumerate(painted.NAMES):
        made = [r.image for r in results[number :: len(edits)]]
        lines.append((name, [Cell(image.pixels) for image in made if image is not None]))
    (run / "samples").mkdir(exist_ok=True)
    facts = {"synthetic": "YES", "statement": STATEMENT}
    save_picture(grid(lines, title=f"Step {step}"), run / "samples" / f"step-{step:06d}.png", facts)
