"""docs/fidelity.md is what bench/fidelity.json says."""

import json

from bench import weights
from bench.fidelity import JSON, PAGE, failed, page


def test_the_page_follows_from_the_figures():
    figures = json.loads(JSON.read_text(encoding="utf-8"))
    own = weights.headed(page(figures), figures, weights.of(JSON).weights)
    assert own == PAGE.read_text(encoding="utf-8")


LATER = ("own", "same_patient", "displaced", "real_auc", "before_auc", "second_leakage_plain")


def test_what_not_every_editor_has_is_left_open_and_weights_are_no_editor():
    figures = json.loads(JSON.read_text(encoding="utf-8"))
    mini = figures["mini"] | {
        "own": {"sham": 1.0, "baseline": 0.9, "none": 0.8},
        "same_patient": {"edited (none)": {"share": 0.7, "ci": [0.6, 0.8], "patients": 40}},
        "displaced": {"baseline-edit": {"mean": 0.002, "ci": [0.001, 0.003]}},
        "real_auc": {"Mass": {"auc": 0.7, "ci": [0.6, 0.8], "real": 21}},
        "second_leakage_plain": 0.2,
    }
    painter = {key: value for key, value in figures["painter"].items() if key not in LATER}
    shown = page({"mini": mini, "painter": painter, "weights": {"mini": "0"}})
    for row in (
        "| leakage, by the second judge | 0.2 | - |",
        "| edits whose nearest baseline is their own, composite `none` | 0.8 | - |",
        "| nearest baseline by the recogniser is the patient's own, edited (none) | "
        "0.7 (0.6 to 0.8) | - |",
        "| places moved, share of the side, baseline-edit | 0.002 | - |",
        "| detector of edits among real positives, AUC, Mass | 0.7 (0.6 to 0.8; 21 real) | - |",
    ):
        assert row in shown.splitlines()


def test_every_failed_check_is_told():
    checks = [
        {"check": "retrieval", "value": 0.35, "state": "failed"},
        {"check": "success", "value": 0.9, "state": "passed"},
        {"check": "prompt_icc", "value": None, "state": "not measured"},
    ]
    figures = json.loads(JSON.read_text(encoding="utf-8"))["painter"]
    assert failed(checks) == {"retrieval": 0.35}
    told = page({"painter": figures | {"failed": failed(checks), "not_measured": []}})
    (line,) = [line for line in told.splitlines() if line.startswith("- `painter`")]
    assert line.endswith("nearest baseline is their own: 35%.")
