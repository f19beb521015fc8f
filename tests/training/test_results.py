"""docs/results.md says what bench/retrain.json holds, which holds no more than is asked of it."""

import json
from pathlib import Path

import pytest

from bench import retrain_page, retrain_targets, weights

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
        falls = retrain_targets.falls(one, unseen=False)
        for arm, score in one["shortcut_score"].items():
            fewer = retrain_targets.blinded(one, arm, unseen=False)
            fall = f" ({falls[arm][0]:.1%}{fewer})" if arm != "erm" and arm in falls else ""
            own = f"| {name.removeprefix('truth-')} | {arm} | {score:.2f}{fall} |"
            assert own in page


SCORES = [
    {"arm": "erm", "editor": "", "score": 0.5, "fall": 0.0, "fall_low": 0.0},
    {"arm": "soft", "editor": "", "score": 0.1, "fall": 0.8, "fall_low": -0.1},
    {"arm": "pair", "editor": "", "score": 0.1, "fall": None, "fall_low": None},
    {"arm": "soft", "editor": "painter", "score": 0.2, "fall": 0.6, "fall_low": 0.4},
    {"arm": "pair", "editor": "painter", "score": 0.2, "fall": 0.6, "fall_low": None},
    {"arm": "teacher", "editor": "painter", "score": 0.2, "fall": 0.6, "fall_low": -0.1},
]
GAPS = {"where": "internal", "test": "NIH-PA", "pairs": 2}
STUDY = {
    "scores": SCORES,
    "shortcut_score": {"erm": 0.5, "soft": 0.1, "pair": 0.1},
    "reverse": [
        GAPS | {"arm": "erm", "dependence": 0.4, "low": -0.5, "high": -0.3},
        GAPS | {"arm": "soft", "dependence": 0.1, "low": -0.2, "high": 0.1},
    ],
    "reverse_comparisons": [
        GAPS | {"arm": "soft", "reference": "erm", "seeds_low": -0.5, "seeds_high": -0.1}
    ],
}


def gained(mean, low, high, **others):
    erm = {"mean": mean, "ci_with_seeds": [low, high], "q": 0.2}
    return {"against": {"erm": erm, **others}}


STUDY["primary"] = {"NIH-PA": {"soft": gained(0.02, -0.005, 0.045)}}


def states(found, primary, arm):
    rows = retrain_targets.rows(found | {"real": {}}, primary, arm)
    return {target: (shown, state) for target, shown, state in rows}


NOTHING = {"internal": {}, "external": {}}


def test_no_fall_is_told_of_what_has_no_interval():
    assert retrain_page._fallen(STUDY, False, "pair") == "0.10"
    assert retrain_page._fallen(STUDY, False, "soft") == "0.10 (80.0%)"
    assert retrain_targets.falls(STUDY, False) == {"erm": (0.0, 0.0), "soft": (0.8, -0.1)}
    found = {"truth-first-mini": STUDY}
    score = "{}-mini: score by the editor that made no counterfactual falls by 50%"
    gap = "{}-mini, internal: sensitivity gap falls by 50%"
    soft = states(found, NOTHING, "soft")
    assert soft[score.format("first")] == ("60%, at least 40%", "met")
    # A set that lacks it is not met by the other one.
    assert soft[score.format("second")] == ("-", "not known")
    assert soft[gap.format("first")] == ("75%: 0.40 to 0.10 (-0.50 to -0.10; 2 pairs)", "met")
    assert states(found, NOTHING, "pair")[score.format("first")] == ("-", "not known")
    # What may not have fallen at all is not told apart, however large the fall seems.
    other = states(found, NOTHING, "teacher")[score.format("first")]
    assert other == ("60%, at least -10%", "missed: not told apart from erm")


def test_seeds_that_are_scored_without_a_head_are_told_beside_the_fall():
    rows = [row | {"seeds": 5, "blinded": 2 * (row["arm"] == "soft")} for row in SCORES]
    told = {"truth-first-mini": STUDY | {"scores": rows}}
    assert retrain_page._fallen(told["truth-first-mini"], False, "soft").endswith(
        "(80.0%; 2 of 5 seeds blinded)"
    )
    score = "first-mini: score by the editor that made no counterfactual falls by 50%"
    assert states(told, NOTHING, "soft")[score][0] == "60%, at least 40%; 2 of 5 seeds blinded"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "met"),
        # Of random answers there is no gap.
        ({"over": (-0.08, -0.11, -0.05)}, "missed: the area may have fallen, too"),
        ({"over": (0.02, -0.02, 0.06)}, "missed: the area may have fallen, too"),
        ({"over": (0.02, None, 0.06)}, "missed: the area may have fallen, too"),
        ({"erm": (-0.3, 0.1)}, "not known: erm has no gap for sure"),
        ({"change": (-0.2, 0.02)}, "missed: not told apart from erm"),
        ({"change": (0.01, 0.2)}, "missed: it rises"),
        ({"left": 0.3}, "missed: it falls by less"),
    ],
)
def test_a_gap_falls_only_where_there_is_one_and_the_area_has_not_fallen(changes, state):
    (low, high), (first, last) = (
        changes.get("erm", (-0.5, -0.3)),
        changes.get("change", (-0.5, -0.1)),
    )
    erm, soft = STUDY["reverse"]
    change = STUDY["reverse_comparisons"][0] | {"seeds_low": first, "seeds_high": last}
    one = STUDY | {
        "reverse": [
            erm | {"low": low, "high": high},
            soft | {"dependence": changes.get("left", 0.1)},
        ],
        "reverse_comparisons": [change],
        "primary": {"NIH-PA": {"soft": gained(*changes.get("over", (0.02, -0.005, 0.045)))}},
    }
    gap = "first-mini, internal: sensitivity gap falls by 50%"
    assert states({"truth-first-mini": one}, NOTHING, "soft")[gap][1] == state


def test_an_arm_that_one_set_did_not_score_has_no_mean(told):
    studies = {name: dict(one) for name, one in told["studies"].items()}
    first, second = studies["truth-first-mini"], studies["truth-second-mini"]
    first["shortcut_score"] = {"erm": 0.6, "soft": 0.2, "isolated": 0.4}
    second["shortcut_score"] = {"erm": 0.4, "soft": 0.4, "isolated": None}
    found = retrain_page.gathered(studies, told["primary"])["shortcut_score"]
    assert {arm: found.get(arm) for arm in ("erm", "soft")} == {"erm": 0.5, "soft": 0.3}
    assert "isolated" not in found


@pytest.mark.parametrize(
    ("own", "state"),
    [
        ((0.05, 0.01, 0.09), "met"),
        ((0.02, 0.01, 0.03), "missed: better, by less"),
        ((0.05, -0.01, 0.11), "missed: not told apart from erm"),
        ((-0.05, -0.09, -0.01), "missed: it is worse"),
        ((0.05, None, 0.11), "not known"),
    ],
)
def test_a_gain_is_met_missed_or_not_known(own, state):
    primary = NOTHING | {"internal": {"pair": gained(*own)}}
    rows = states({}, primary, "pair")
    assert rows["internal: gain over erm of +3, low end above 0"][1] == state
    assert rows["external: gain over erm of +3, low end above 0"] == ("-", "not known")


@pytest.mark.parametrize(
    ("low", "high", "state"),
    [
        (-0.009, 0.05, "met"),
        (-0.02, 0.04, "missed: no harm shown, the interval is too wide"),
        (-0.05, -0.01, "missed: it is worse"),
    ],
)
def test_harm_and_want_of_power_are_told_apart(low, high, state):
    primary = NOTHING | {"real-NIH": {"pair": gained((low + high) / 2, low, high)}}
    found = states({}, primary, "pair")
    assert found["real-NIH: not inferior to erm, low end above -1"][1] == state


def test_an_arm_must_be_above_every_rival():
    """Not only above that with the greatest mean, which may be told apart more easily."""
    best = {"mean": 0.02, "ci_with_seeds": [0.01, 0.03]}
    other = {"mean": 0.03, "ci_with_seeds": [-0.01, 0.07]}
    arms = {"dfr": {"mean": 0.7}, "jtt": {"mean": 0.69}}
    target = "internal: above every rival, low ends above 0"

    def told(**rivals):
        primary = NOTHING | {"internal": arms | {"pair": gained(0.1, 0.05, 0.15, **rivals)}}
        return states({}, primary, "pair")[target]

    assert told(dfr=best, jtt=best) == ("jtt +2.0 (+1.0 to +3.0)", "met")
    shown = ("jtt +3.0 (-1.0 to +7.0)", "missed: not told apart from jtt")
    assert told(dfr=best, jtt=other) == shown
    assert told(dfr=best)[1] == "not known"


def test_the_share_of_the_painter_s_gain_needs_a_painter_that_gains():
    def told(ours, painter):
        found = {
            f"truth-first-{name}": {"primary": {"NIH-PA": {"pair": gained(*own)}}}
            for name, own in (("mini", ours), ("painter", painter))
        }
        name = "first set, internal: `mini` gains 80% of what the painter gains"
        return states(found, NOTHING, "pair")[name], list(retrain_targets.painted(found, "pair"))

    (shown, state), lines = told((0.02, 0.01, 0.03), (0.018, -0.001, 0.037))
    assert (shown, state) == ("+2.0 of +1.8", "not known: the painter gains nothing for sure")
    assert lines[0].endswith("which is not told apart from what `mini`'s gain.")
    (shown, state), lines = told((0.016, 0.010, 0.022), (0.073, 0.068, 0.078))
    assert shown.startswith("22% (14% to 30%): +1.6 of +7.3")
    assert state == "missed: surely less"
    assert lines[0].endswith("what is missed there is the editor's part.")
    assert told((0.07, 0.06, 0.08), (0.073, 0.068, 0.078))[0][1] == "met"
    assert (
        told((0.05, 0.02, 0.08), (0.073, 0.068, 0.078))[0][1] == "missed: not told apart from 80%"
    )
    assert told((0.07, -0.02, 0.16), (0.073, 0.068, 0.078))[0][1] == "missed: not surely anything"
    _, lines = told((0.2, 0.17, 0.23), (0.05, 0.02, 0.08))
    assert lines[0].endswith("surely less than with `mini`'s.")


def test_the_page_says_why_targets_are_missed():
    wide = {"real-NIH": {"soft": gained(0.0, -0.03, 0.03)}, "internal": {}}
    lines = list(retrain_targets.why({"truth-first-mini": STUDY}, wide, "soft"))
    assert "real-NIH: " in lines[0]
    assert "3.0 times narrower, for which some 9 times as many patients and seeds" in lines[0]
    assert "first-mini: the score falls by 80% by the editor that made" in lines[1]
    assert "by 60% by the other one" in lines[1]
    assert len(lines) == 2
    for mean, low, high in ((-0.05, -0.08, -0.02), (-0.006, -0.012, 0.0)):
        worse = {"real-NIH": {"pair": gained(mean, low, high)}}
        assert list(retrain_targets.why({}, worse, "pair")) == []
    # Nothing of a target that is met, and of a fall without an interval.
    narrow = {"real-NIH": {"pair": gained(0.0, -0.009, 0.03)}}
    assert list(retrain_targets.why({"truth-first-mini": STUDY}, narrow, "pair")) == []


def test_one_arm_decides_and_the_page_says_which(told):
    """It is the pilot's; the others are shown below it, and what limits all of them."""
    studies = {name: dict(one) for name, one in told["studies"].items()}
    studies["real"]["ranked"] = ["soft", "isolated"]
    page = retrain_page.page(studies, told["primary"])
    _, _, rest = page.partition("One arm decides, `soft`, which the pilot ranked first.")
    assert rest
    assert rest.index("The other arms, for comparison") < rest.index("| isolated | real-NIH")
    assert "| soft | real-NIH" not in rest
    assert "What the intervals take no account of" in rest
    studies["real"]["ranked"] = []
    assert "nothing is decided" in retrain_page.page(studies, told["primary"])


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
