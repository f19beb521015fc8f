"""Edits beside real positives: the page follows from the figures, edits are of their weights."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import real_judge, realism, weights

ROOT = Path(__file__).parents[2]


def test_the_page_follows_from_the_figures():
    figures = json.loads((ROOT / realism.JSON).read_text(encoding="utf-8"))
    page = (ROOT / realism.PAGE).read_text(encoding="utf-8")
    assert weights.headed(realism.page(figures), figures, weights.of(realism.JSON).weights) == page
    for editor in figures["real_judge"]:
        assert f"| `{editor}` | Edema |" in page


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.3, 0.7), (3.0, 0.95, 1.0)])
def test_what_differs_is_told_apart(shift, low, high):
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(size=(2, 40, 4)).astype(np.float32)
    pairs = [({"patient_id": f"r{i}"}, {"patient_id": f"h{i}"}) for i in range(40)]
    found = realism.apart((real, real), (drawn + shift, drawn), pairs)
    assert low <= found["auc"] <= high
    assert found["n"] == 40


def test_edits_of_other_weights_are_made_again(tmp_path, monkeypatch):
    class Weighed:
        findings = ()

        def __init__(self, name):
            self.name = name

        def describe(self):
            return {"name": self.name, "weights": current[0]}

    current = ["old"]
    made = []

    class Benched:
        baselines = ()

        def __init__(self, *_):
            made.append(current[0])

    monkeypatch.setattr(real_judge.Editor, "load", Weighed)
    monkeypatch.setattr(real_judge.Judge, "load", lambda: None)
    monkeypatch.setattr(real_judge, "trusted_rows", lambda _: [])
    monkeypatch.setattr(real_judge, "choose", lambda *_: [])
    monkeypatch.setattr(real_judge, "Bench", Benched)
    monkeypatch.setattr(real_judge.np, "stack", lambda _: np.zeros(0))
    for weights_now in ("old", "old", "new"):
        current[0] = weights_now
        real_judge.Edits.made("mini", tmp_path, tmp_path)
    assert made == ["old", "new"]
