"""docs/results.md says what bench/retrain.json holds, which holds no more than is asked of it."""

import json
from pathlib import Path

import pytest

from bench import retrain_page, weights

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def told():
    return json.loads((ROOT / "bench/retrain.json").read_text(encoding="utf-8"))


def test_the_page_follows_from_the_figures(told):
    page = retrain_page.page(told["studies"], told["primary"])
    page = weights.headed(page, told, weights.of(Path("bench/retrain.json")).weights)
    assert page == (ROOT / "docs/results.md").read_text(encoding="utf-8")
    own = retrain_page.gathered(told["studies"], told["primary"])
    assert own == {name: value for name, value in told.items() if name != "weights"}


def test_scores_fall_against_erm_of_the_same_study(told):
    """The painter's arms are not divided by what another study's erm scored."""
    page = retrain_page.page(told["studies"], told["primary"])
    for name, one in told["studies"].items():
        falls = {row["arm"]: row["fall"] for row in one["scores"]}
        for arm, score in one["shortcut_score"].items():
            fall = "" if arm == "erm" else f" ({falls[arm]:.1%})"
            own = f"| {name.removeprefix('truth-')} | {arm} | {score:.2f}{fall} |"
            assert own in page


def test_no_fall_is_told_of_what_was_not_measured(told):
    rows = [
        {"arm": "erm", "editor": "", "score": 0.5, "fall": 0.0, "fall_low": 0.0},
        {"arm": "soft", "editor": "", "score": 0.1, "fall": 0.8, "fall_low": -0.1},
        {"arm": "pair", "editor": "", "score": 0.1, "fall": None, "fall_low": None},
        {"arm": "soft", "editor": "painter", "score": 0.2, "fall": 0.6, "fall_low": 0.4},
    ]
    scores = {"erm": 0.5, "soft": 0.1, "pair": 0.1}
    one = {"scores": rows, "shortcut_score": scores, "residual_dependence": {}}
    one |= {"comparisons": [], "comparisons_by_test": []}
    assert retrain_page._fallen(one, "shortcut_score", "pair") == "0.10"
    assert retrain_page._falls(one, "shortcut_score") == {"erm": (0.0, 0.0), "soft": (0.8, -0.1)}
    assert retrain_page._falls(one, "shortcut_score_unseen") == {"soft": (0.6, 0.4)}
    real = told["studies"]["real"]
    lines = list(retrain_page._short({"truth-first-mini": one, "real": real}, {"primary": {}}))
    (seen, unseen) = (line for line in lines if line.startswith("- soft: the audit's score"))
    assert "by 80.0%, at least -10.0% (first-mini) (target: 50%; missed)" in seen
    assert "by 60.0%, at least 40.0% (first-mini) (target: 50%)" in unseen


def test_what_is_sure_counts_seeds_q_and_positives(told):
    real = {"arm": "soft", "reference": "erm", "finding": "Mass", "test": "NIH", "positives": 30}
    real |= {"difference": -0.2, "low": -0.3, "high": -0.1, "state": "ok", "q": 0.01}
    rows = [
        real | {"seeds_low": -0.3, "seeds_high": -0.05},
        real | {"finding": "Edema", "seeds_low": -0.5, "seeds_high": 0.1},
        real | {"finding": "Nodule", "seeds_low": -0.3, "seeds_high": -0.05, "q": 0.2},
        real | {"finding": "Hernia", "seeds_low": -0.3, "seeds_high": -0.05, "state": "too few"},
    ]
    lines = list(retrain_page._real_short({"comparisons_by_test": rows}))
    assert len(lines) == 1
    assert lines[0].endswith("surely worse: Mass in NIH (-20.0).")


def test_the_primary_outcome_is_of_all_tests(told):
    assert {"internal", "external"} <= set(told["primary"])
    assert any(name.startswith("real") for name in told["primary"])
    for arms in told["primary"].values():
        for own in arms.values():
            assert {"mean", "ci", "ci_with_seeds"} <= set(own)
    assert all(value >= 0 for value in told["reverse_shortcut"].values())


def test_comparisons_that_nobody_asks_for_are_left_out():
    def pair(**changes):
        return {"arm": "soft", "reference": "synthetic", "slice": "all"} | changes

    def one(reference):
        return {"arm": "soft", "reference": reference, "finding": "Edema"}

    study = {
        "comparisons": [pair(), pair(slice="cause absent"), pair(reference="erm")],
        "comparisons_by_test": [one("erm"), one("synthetic")],
        "reverse": [one("synthetic")],
        "minutes": 3.0,
    }
    assert retrain_page.trimmed(study) == study | {
        "comparisons": [pair(reference="erm")],
        "comparisons_by_test": [one("erm")],
    }


def test_rows_of_tables_have_as_many_cells_as_their_heads():
    rows = list(retrain_page._table(("", "erm"), [("Edema", "0.9"), ("Mass", "-")]))
    assert rows == ["| | erm |", "|---|---|", "| Edema | 0.9 |", "| Mass | - |"]


@pytest.mark.parametrize(
    ("test", "low", "rival", "words"),
    [
        ("internal", 0.01, 0.005, "surely; met); against dfr, the best rival: +1.0 (+0.5 to"),
        ("internal", -0.01, -0.005, "surely; missed); against dfr, the best rival: +1.0 (-0.5 to"),
        ("real-NIH", -0.009, 0.0, "a lower limit above -1; met)"),
        ("real-NIH", -0.011, 0.0, "a lower limit above -1; missed)"),
    ],
)
def test_the_page_says_what_the_outcome_decides(test, low, rival, words):
    against = {
        "erm": {"mean": 0.05, "ci_with_seeds": [low, 0.09], "q": 0.01},
        "dfr": {"mean": 0.01, "ci_with_seeds": [rival, 0.02], "q": 0.01},
    }
    assert words in retrain_page._required(test, "pair", against, "dfr")
