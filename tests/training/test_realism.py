"""Edits beside real positives: the page follows from the figures, edits are of their weights."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench import real_judge, realism, weights
from training import cohort

ROOT = Path(__file__).parents[2]


def test_the_page_follows_from_the_figures():
    figures = json.loads((ROOT / realism.JSON).read_text(encoding="utf-8"))
    page = (ROOT / realism.PAGE).read_text(encoding="utf-8")
    assert weights.headed(realism.page(figures), figures, weights.of(realism.JSON).weights) == page
    for editor in figures["real_judge"]:
        assert f"| `{editor}` | Edema |" in page


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.3, 0.7), (3.0, 0.95, 1.0)])
def test_what_differs_is_told_apart(shift, low, high):
    real, drawn = np.random.default_rng(0).normal(size=(2, 40, 4)).astype(np.float32)
    found = realism.apart((real, real), (drawn + shift, drawn))
    assert low <= found["auc"] <= high
    assert found["n"] == 40


def test_what_cannot_be_told_apart_is_one_half_on_average():
    noise = np.random.default_rng(0).normal(size=(60, 2, 40, 40)).astype(np.float32)
    areas = [realism.apart((one,), (other,))["auc"] for one, other in noise]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.03)


def test_no_patient_is_in_two_pairs():
    rows = [{"patient_id": str(i % 9), "set": "a", "view": "PA", "path": str(i)} for i in range(60)]
    pairs = realism.partners(rows[:30], rows[30:], 0, 20)
    people = [{row["patient_id"] for row in pair} for pair in pairs]
    assert sum(map(len, people)) == len(set.union(*people)) > 6


def test_shifts_have_intervals_and_no_ratio_to_what_may_be_nothing(monkeypatch):
    """Patients of both are resampled; a real shift near 0 is no divisor."""
    rng, n = np.random.default_rng(0), 60
    rows = [
        {"set": "a", "view": "PA", "patient_id": str(i // 2), "labels": label}
        for label in (cohort.NO_FINDING, "Edema")
        for i in range(n)
    ]
    targets = np.zeros((2 * n, len(real_judge.FINDINGS)))
    logits = rng.normal(size=targets.shape)
    edema, fibrosis = (real_judge.FINDINGS.index(name) for name in ("Edema", "Fibrosis"))
    targets[n:, [edema, fibrosis]] = 1
    logits[n:, edema] += 2
    shifts = real_judge.real_shift(real_judge.Pictures(rows, np.zeros(0), targets), logits)
    low, high = np.quantile(shifts["Edema"][1:], [0.025, 0.975])
    assert low < shifts["Edema"][0] < high
    assert shifts["Edema"][0] == pytest.approx(2, abs=0.5)
    assert 0.2 < high - low < 1.5
    assert shifts["Hernia"].size == 0
    moved = np.tile([1.0, 1.2, 0.8], 8)
    before = np.zeros((24, 1, 1))
    edits = real_judge.Edits(
        before, np.tile(moved[:, None, None], (2, 1, 1)), np.tile(np.arange(24), 2),
        np.repeat(["Edema", "Fibrosis"], 24),
    )  # fmt: skip
    monkeypatch.setattr(
        real_judge, "logits_of", lambda _, pixels, names: pixels.reshape(len(pixels), -1)[:, :1]
    )
    found = edits.figures(SimpleNamespace(findings=("Edema", "Fibrosis")), shifts)
    assert found["Edema"]["ratio"] == pytest.approx(1 / shifts["Edema"][0], abs=1e-3)
    assert 1 / high - 0.05 < found["Edema"]["ratio_ci"][0] < found["Edema"]["ratio"]
    assert found["Fibrosis"]["ratio"] is None
    assert found["Fibrosis"]["real_ci"][0] < 0 < found["Fibrosis"]["real_ci"][1]


@pytest.mark.parametrize(
    ("reads", "patients", "ratio", "area", "state"),
    [(0.79, 9, 0.9, 0.9, "-"), (0.8, 5, 0.5, 0.8, "reached"), (0.9, 9, 0.49, 0.9, "missed"),
     (0.9, 9, 0.9, 0.79, "missed"), (0.9, 9, None, 0.7, "missed"), (None, 9, 0.9, 0.9, "-"),
     (0.9, 4, 0.9, 0.9, "-")],
)  # fmt: skip
def test_the_target_is_of_findings_that_the_judge_reads(reads, patients, ratio, area, state):
    ends = {"ci": [area, area], "ratio_ci": [ratio, ratio] if ratio else []}
    one = {"reads": reads, "patients": patients, "ratio": ratio, "auc": area} | ends
    assert realism.target(one) == state


@pytest.mark.parametrize(
    ("ratio", "ratio_ci", "ci", "state"),
    [(0.6, [0.4, 0.9], [0.85, 0.95], "reached, not surely"),
     (0.6, [0.55, None], [0.7, 0.95], "reached, not surely"),
     (0.6, [0.55, None], [0.85, 0.95], "reached"),
     (0.3, [0.1, 0.6], [0.85, 0.95], "missed, not surely"),
     (0.3, [0.1, 0.4], [0.85, 0.95], "missed"),
     # A shift that may be none has no ratio: it may be any.
     (None, [], [0.85, 0.95], "missed, not surely")],
)  # fmt: skip
def test_an_interval_that_holds_the_other_answer_is_told(ratio, ratio_ci, ci, state):
    one = {"reads": 0.9, "patients": 9, "ratio": ratio, "ratio_ci": ratio_ci, "auc": 0.9}
    assert realism.target(one | {"ci": ci}) == state
    told = realism._reached({"Mass": one | {"ci": ci}}, "mini")
    assert ("missed: Mass" in told) == state.startswith("missed")


def test_an_interval_without_an_end_is_shown_as_open():
    one = {"edited_shift": 0.2, "edited_ci": [0.1, 0.3], "real_shift": 0.8, "real_ci": [0.1, 1.3]}
    one |= {"ratio": 0.25, "ratio_ci": [0.11, None], "auc": 0.6, "ci": [0.5, 0.7], "n": 24}
    one |= {"reads": 0.9, "patients": 9}
    page = realism.page({"real_judge": {"painter": {"Hernia": one}}})
    assert "0.25 (0.11 to open)" in page


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
