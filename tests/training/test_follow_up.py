"""Pairs of visits in which a finding went: which, turned which way, and how judges read them."""

import csv

import numpy as np
import pytest
from PIL import Image

from bench import follow_up, removal
from training import cohort

# A mass is bright: the judge reads brightness.
MASS, CLEAR = 200, 100
SHOWN = {
    "p0a": ("Mass", "A", "PA"),
    "p0b": ("No Finding", "A", "PA"),
    # The other way round, and healthy by a later reading.
    "p1a": ("Effusion", "B_labels_conflict", "PA"),
    "p1b": ("Mass|Hernia", "A", "PA"),
    # Another finding instead.
    "p2a": ("Mass", "A", "PA"),
    "p2b": ("Edema", "A", "PA"),
    # Another view.
    "p3a": ("Mass", "A", "PA"),
    "p3b": ("No Finding", "A", "AP"),
    # Two pairs of one patient.
    "p4a": ("Mass", "A", "PA"),
    "p4b": ("No Finding", "A", "PA"),
    "p4c": ("Mass", "A", "PA"),
    # Nothing went.
    "p5a": ("Mass", "A", "PA"),
    "p5b": ("Mass", "A", "PA"),
}
PAIRS = ("p0a p0b", "p1a p1b", "p2a p2b", "p3a p3b", "p4a p4b", "p4b p4c", "p5a p5b", "p0a lost")


class Bright:
    """Reads masses by brightness, and effusions nowhere."""

    findings = ("Mass", "Pleural Effusion")

    def logits(self, images):
        return np.stack([images.mean((1, 2)), np.zeros(len(images))], axis=1)


@pytest.fixture
def places(tmp_path):
    with (tmp_path / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "patient_id", "split", "labels", "tier", "view"])
        for name, (labels, tier, view) in SHOWN.items():
            grey = MASS if "Mass" in labels else CLEAR
            Image.new("L", (224, 224), grey).save(tmp_path / f"{name}.png")
            writer.writerow([f"{name}.png", name[:2], "train", labels, tier, view])
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path_a", "path_b", "view_a", "view_b"])
        for a, b in map(str.split, PAIRS):
            views = [SHOWN.get(name, ("", "", "PA"))[2] for name in (a, b)]
            writer.writerow([f"{a}.png", f"{b}.png", *views])
    return tmp_path, tmp_path / "pairs.csv"


def test_pairs_are_those_in_which_findings_went_and_nothing_came(places):
    found = follow_up.changes(*places)
    ends = [(one.shown, one.cleared, set(one.gone)) for one in found]
    assert ends == [
        ("p0a.png", "p0b.png", {"Mass"}),
        ("p1b.png", "p1a.png", {"Mass", "Hernia"}),
        ("p4a.png", "p4b.png", {"Mass"}),
        ("p4c.png", "p4b.png", {"Mass"}),
    ]


def test_a_patient_counts_once_and_those_of_the_judge_may_be_left_out(places, monkeypatch):
    monkeypatch.setattr(follow_up, "FEWEST", 3)
    table = follow_up.measure(*places, Bright(), unseen=False)
    assert table == {
        "Mass": {
            "patients": 3,
            "logit_before": pytest.approx(MASS / 255, abs=1e-3),
            "logit_after": pytest.approx(CLEAR / 255, abs=1e-3),
            "auroc_fall": 1,
            "auroc_fall_ci": [1, 1],
        }
    }
    monkeypatch.setattr(cohort, "is_for_judge", lambda patient: patient == "p4")
    assert follow_up.measure(*places, Bright(), unseen=True) == {}


def test_the_page_counts_findings_that_every_judge_sees_go():
    row = {"patients": 9, "logit_before": 1, "logit_after": 0, "auroc_fall_ci": [0.5, 1]}
    falls = {
        "judge": {"Mass": row | {"auroc_fall": 0.9}, "Edema": row | {"auroc_fall": 0.9}},
        "real_judge": {"Mass": row | {"auroc_fall": 0.86}, "Edema": row | {"auroc_fall": 0.6}},
    }
    page = removal.page({}, falls)
    assert "for 1 of 2 findings (Mass)" in page
    assert "| Edema | real labels | 9 | 1 | 0 | 0.6 (0.50 to 1.00) |" in page
