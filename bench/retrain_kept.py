"""What the figures of retraining follow from: each study's predictions, kept beside them.

``bench/retrain/NAME.parquet`` holds what every arm and seed reads in every test picture, and
``NAME.json`` the shortcut scores and counts, with hashes of the study's plan, the list of pictures
and the weights. Where these are today's the study is not run again; and without any pictures
``python -m bench.retrain --figures`` works the figures out from what is kept.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bench import retrain_tune, weights
from roentmod.jobs import retrain
from roentmod.jobs.study import SCORES, StudyPlan, StudyResult
from roentmod.science.performance import PREDICTIONS, STRATUM
from roentmod.store import atomic, canonical_hash, write_json

__all__ = ["FOLDER", "Kept", "Origin", "keep", "kept", "load"]

FOLDER = Path("bench/retrain")
_FIGURES = FOLDER.with_suffix(".json")
_NUMBERS = {"seed": "int64", "label": "float64", "logit": "float64", "age": "float64"}


class Origin(NamedTuple):
    """The run folder of the studies, and the table of the pictures that they are made of."""

    run: Path
    pictures: Path

    def identity(self, spec: StudyPlan) -> dict[str, Any]:
        """Return what must not change: the plan, wherever its tables lie; pictures; weights."""
        plan = json.dumps(spec.model_dump(mode="json"), sort_keys=True)
        for path in (self.run.resolve(), self.run):
            plan = plan.replace(str(path), "RUN")
        pictures = hashlib.sha256(self.pictures.read_bytes()).hexdigest()[:16]
        own = {"plan": canonical_hash({"plan": plan})[:16], "pictures": pictures}
        return own | {"weights": weights.bundled(weights.of(_FIGURES).weights)}


class Kept(NamedTuple):
    """What a study found.

    Attributes:
        predictions: the columns of `performance.PREDICTIONS`, and the site where it is known.
        scores: of every retrained classifier, as `StudyResult.scores` returns them.
        facts: `pairs`; `counts` of edits by finding and status; `pictures` that were planted;
            `editor`; `numbers` of the arms; arms as the pilot `ranked` them; `minutes`.
    """

    predictions: pd.DataFrame
    scores: pd.DataFrame
    facts: dict[str, Any]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Cause and read finding of each pair."""
        return [(cause, read) for cause, read in self.facts["pairs"]]


def keep(name: str, result: StudyResult, origin: Origin, ranked: Sequence[str]) -> Kept:
    """Write down and return what a study found, and how the pilot had ranked the arms."""
    place = _place(result, "augment")
    made: dict[str, Any] = json.loads((place / "augment.json").read_text(encoding="utf-8"))
    plan = result.spec.retrain
    facts = {
        "of": origin.identity(result.spec),
        "pairs": [list(pair) for pair in result.spec.pairs],
        "counts": result.figures("augment"),
        "pictures": result.figures("plant"),
        "editor": made["editor"],
        "numbers": {number: getattr(plan, number) for number in retrain_tune.GRID},
        "ranked": list(ranked),
        "minutes": round(sum(stage.seconds for stage in result.stages) / 60, 1),
        "scores": json.loads(result.scores().to_json(orient="records")),
    }
    table = _narrow(retrain.load(_place(result, "retrain")).predictions)
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    table.to_parquet(written, index=False, compression="zstd")
    with atomic(FOLDER / f"{name}.parquet") as part:
        part.write_bytes(written.getvalue())
    write_json(FOLDER / f"{name}.json", facts)
    return load(name)


def kept(name: str, spec: StudyPlan, origin: Origin) -> Kept | None:
    """Return what a study found; nothing where its plan, pictures or weights have changed since."""
    if not (FOLDER / f"{name}.json").exists():
        return None
    found = load(name)
    return found if found.facts["of"] == origin.identity(spec) else None


def load(name: str) -> Kept:
    """Return what was kept of a study, whatever has changed since."""
    facts = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    table = pd.read_parquet(FOLDER / f"{name}.parquet")
    table = table.astype(dict.fromkeys(_texts(table), "str") | _NUMBERS)
    scores = pd.DataFrame(facts.pop("scores"), columns=list(SCORES))
    ends = dict.fromkeys(("score", "low", "high"), "float64")
    return Kept(table, scores.astype({"seed": "int64"} | ends), facts)


def _narrow(table: pd.DataFrame) -> pd.DataFrame:
    """Return predictions in little room: numbers of seven digits, words as categories."""
    order = ["arm", "seed", "finding", "test", "image_id"]
    table = table[[*_texts(table), *_NUMBERS]].sort_values(order, ignore_index=True)
    words = table[_texts(table)].fillna("").astype("category")
    return words.join(table[list(_NUMBERS)].astype("float32"))


def _texts(table: pd.DataFrame) -> list[str]:
    """Return the columns of predictions that hold words; the site is not always known."""
    return [name for name in (*PREDICTIONS, STRATUM) if name in table and name not in _NUMBERS]


def _place(result: StudyResult, stage: str) -> Path:
    place = result.place(stage)
    assert place is not None
    return place
