"""docs/results.md says what bench/retrain.json holds, which holds no more than is asked of it."""

import json
from pathlib import Path

import pytest

from bench import retrain_page

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told():
    return json.loads((ROOT / "bench/retrain.json").read_text(encoding="utf-8"))


def test_the_page_follows_from_the_figures(told):
    assert retrain_page.page(told["studies"]) == (ROOT / "docs/results.md").read_text(
        encoding="utf-8"
    )
    assert retrain_page.gathered(told["studies"]) == told


def test_comparisons_that_nobody_asks_for_are_left_out():
    def pair(**changes):
        return {"arm": "soft", "reference": "synthetic", "slice": "all"} | changes

    def one(reference):
        return {"arm": "soft", "reference": reference, "finding": "Edema"}

    study = {
        "comparisons": [pair(), pair(slice="cause absent")],
        "comparisons_by_test": [one("erm"), one("synthetic")],
        "reverse": [one("synthetic")],
        "minutes": 3.0,
    }
    assert retrain_page.trimmed(study) == study | {
        "comparisons": [pair()],
        "comparisons_by_test": [one("erm")],
    }


def test_rows_of_tables_have_as_many_cells_as_their_heads():
    rows = list(retrain_page._table(("", "erm"), [("Edema", "0.9"), ("Mass", "-")]))
    assert rows == ["| | erm |", "|---|---|", "| Edema | 0.9 |", "| Mass | - |"]
