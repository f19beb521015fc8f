"""How soon the studio shows an edit: ``bench/studio.json``.

The bundled editor, loaded, edits a phantom of 1955 x 1841 pixels in the studio's workshop, each
time otherwise: seconds until the pictures can be shown and until files and readings are there, and
the processor's seconds of this process for both, which do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from roentmod.classifiers import Judge
from roentmod.datasets.phantom import phantom
from roentmod.editors import Editor
from roentmod.store import write_json
from roentmod.web.studio.sources import Sources
from roentmod.web.studio.workshop import Piece, Workshop

SHAPE = (1841, 1955)
FINDINGS = ("Cardiomegaly", "Pleural Effusion", "Edema", "Pneumothorax", "Consolidation")


def _edit(shop: Workshop, sources: Sources, finding: str) -> tuple[Piece, list[float]]:
    """Return an edit, and its seconds: wall and processor, shown and done."""
    wall, spent = time.perf_counter(), time.process_time()
    piece = shop.begin(sources.listed()[0], {"add": [finding]})
    seconds: list[float] = []
    for states in (("shown", "done", "failed"), ("done", "failed")):
        while piece.state not in states:
            time.sleep(0.005)
        seconds += [time.perf_counter() - wall, time.process_time() - spent]
    return piece, seconds


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench/studio.json"))
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        levels = np.rint(phantom(0, size=1024).radiograph.pixels * 255).astype(np.uint8)
        Image.fromarray(levels).resize(SHAPE[::-1]).save(place / "picture.png")
        (place / "session").mkdir()
        shop = Workshop(place / "session", place / "out", Editor.load, judge=Judge.load())
        sources = Sources([place / "picture.png"], place / "session")
        edits = [_edit(shop, sources, finding) for finding in FINDINGS]
        shop.close()
    names = ("shown_s", "shown_cpu_s", "done_s", "done_cpu_s")
    table = np.array([seconds for _, seconds in edits[1:]])
    result = {
        "shape": SHAPE,
        "states": [piece.state for piece, _ in edits],
        "first": dict(zip(names, np.round(edits[0][1], 2).tolist(), strict=True)),
        "next_median": dict(zip(names, np.round(np.median(table, 0), 2).tolist(), strict=True)),
        "platform": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": round(os.getloadavg()[0], 1),
    }
    write_json(out, result)
    print(out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
