import pytest

from bench.audit_arms import ARMS, DEEP, LEAKING, USUAL
from bench.audit_truth import joined

WEIGHTS = {"weights": {"mini": "a"}, "real_judge": "r"}


def names(panel):
    return [arm.name for arm in ARMS if arm.panel == panel]


def report(told, **panels):
    """Return what a run says: of each panel its arms, and a figure that tells runs apart."""
    found = {
        name: {"name": name, "arms": {arm: {"seconds": told} for arm in arms}}
        for name, arms in panels.items()
    }
    return WEIGHTS | {"panels": found, "n_honest": told}


def test_a_run_of_one_panel_leaves_the_others_as_they_were():
    kept = report(1, usual=names(USUAL), leaking=names(LEAKING)[:2])
    found = WEIGHTS | {"panels": report(2, leaking=names(LEAKING))["panels"]}
    whole = joined(found, kept)
    assert whole["panels"]["usual"] == kept["panels"]["usual"]
    assert whole["panels"]["leaking"] == found["panels"]["leaking"]
    assert whole["n_honest"] == 1
    assert set(whole["left_out"]) == {arm.name for arm in ARMS} - {*names(USUAL), *names(LEAKING)}


def test_panels_keep_their_order_whichever_run_made_them():
    whole = joined(report(2, usual=names(USUAL)), report(1, deep=names(DEEP)))
    assert list(whole["panels"]) == ["usual", "deep"]


def test_a_panel_is_never_of_two_runs(caplog):
    kept = report(1, leaking=names(LEAKING))
    whole = joined(report(2, leaking=names(LEAKING)[1:]), kept)
    assert whole["panels"] == kept["panels"]
    assert names(LEAKING)[0] in caplog.text


def test_what_is_told_of_all_panels_is_of_the_run_that_made_the_first():
    kept = report(1, usual=names(USUAL))
    assert joined(report(2, usual=names(USUAL)[:1]), kept)["n_honest"] == 1
    assert joined(report(2, usual=names(USUAL)), kept)["n_honest"] == 2


@pytest.mark.parametrize("key", ["weights", "real_judge"])
def test_runs_of_other_weights_are_not_joined(key):
    found = report(2, usual=names(USUAL)) | {key: "other"}
    with pytest.raises(SystemExit, match=f"same {key}"):
        joined(found, report(1, deep=names(DEEP)))


def test_what_is_not_kept_is_left_out():
    whole = joined(report(1, usual=names(USUAL)), {})
    assert whole["left_out"] == [arm.name for arm in ARMS if arm.panel != USUAL]
