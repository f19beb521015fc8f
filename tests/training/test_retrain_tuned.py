"""Numbers of the arms are chosen in a pilot with groups weighing alike; no test is read."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bench import retrain, retrain_page, retrain_tune
from roentmod.errors import StudyError
from roentmod.jobs import study
from roentmod.science.performance import Rules
from tests.jobs.study.test_study import TINY


def readings(labels, logits):
    rows = [
        {"test": test, "image_id": f"{test}{n}", "finding": name, "label": own[n], "logit": said[n]}
        for test in ("val", "nih")
        for name, own, said in zip(("Mass", "Edema"), labels.T, logits.T, strict=True)
        for n in range(len(labels))
    ]
    return pd.DataFrame(rows)


def test_groups_of_a_pair_weigh_alike():
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 2)) < 0.5).astype(float)
    labels[:200, 1] = labels[:200, 0]
    logits = labels + rng.normal(size=(300, 2))
    # A model that answers to the cause: good as labels come, worthless where groups are even.
    logits[:, 1] = labels[:, 0] + 0.01 * rng.normal(size=300)
    table = readings(labels, logits)
    table.loc[table["test"] == "val", "logit"] = 0
    even = retrain_tune.judged(table, [("Mass", "Edema")])
    each = [roc_auc_score(labels[:, n], logits[:, n]) for n in range(2)]
    assert even == pytest.approx(0.5, abs=0.02)
    assert each[1] > 0.75
    back = retrain_tune.judged(table, [("Mass", "Edema"), ("Edema", "Mass")])
    assert back == pytest.approx((even + each[0]) / 2, abs=0.02)


def test_a_study_takes_what_the_pilot_chose(tmp_path, monkeypatch):
    monkeypatch.setattr(retrain, "TUNED", tmp_path / "tuned.json")
    places = {"nih": tmp_path, "hannover": tmp_path, "kermany": tmp_path}

    def plans():
        planted = [retrain.truth(places, pairs, "mini").retrain for pairs in retrain.PAIRS]
        return *planted, retrain.real(tmp_path, places, 0).retrain

    whole = retrain.truth(places, "first", "mini")
    assert (whole.editor.editor, whole.audit.unseen) == ("mini", "painter")
    assert whole.augment.with_shams
    assert retrain.truth(places, "first", "painter").audit.unseen == "mini"
    usual = plans()
    assert {plan.pair_weight for plan in usual} == {1.0}
    assert usual[2].arms == ("erm", *Rules().corrected)
    numbers = {"pair_weight": {"chosen": 3.0, "tried": {"3.0": 0.8}}}
    numbers["steps"] = {"chosen": 3000, "tried": {"3000": 0.8}}
    arms = {"teacher": 0.9, "pair": 0.8, "soft": 0.7, "isolated": 0.6, "staged": 0.5}
    told = {"study": "Pilot", "numbers": numbers, "arms": arms}
    (tmp_path / "tuned.json").write_text(json.dumps(told))
    first, second, real = plans()
    assert {plan.pair_weight for plan in (first, second, real)} == {3.0}
    assert set(first.arms) == set(second.arms) == set(retrain.retrain.ARMS)
    assert (first.steps, real.steps) == (3000, 800)
    # Plain counterfactuals are there for comparison, whatever the pilot says of them.
    assert real.arms == ("erm", "isolated", "soft", "pair", "teacher")


def test_the_page_says_with_which_numbers_arms_were_trained():
    told = json.loads(retrain.JSON.read_text())
    numbers = {"share": 0.5, "pair_weight": 3.0}
    studies = {name: one | {"numbers": [numbers]} for name, one in told["studies"].items()}
    studies["real"]["numbers"] = [numbers, {"share": 0.25, "pair_weight": 10.0}]
    page = retrain_page.page(studies, told["primary"])
    assert "| truth-first-mini | 0.5 | 3 |" in page
    assert "| real 2 | 0.25 | 10 |" in page
    assert "raised after its tests" not in page


@pytest.mark.slow
def test_tuning_reads_the_test_of_the_pilot_alone(tmp_path, monkeypatch):
    grid = {"share": ("isolated", (0.25, 0.5)), "pair_weight": ("pair", (1.0, 3.0))}
    monkeypatch.setattr(retrain_tune, "GRID", grid | {"group_step": ("group_dro", (0.1,))})
    training = TINY["retrain"] | {"arms": ["erm", "isolated", "pair"]}
    own = {"own": TINY["tests"]["own"]}
    spec = study.StudyPlan.of(TINY | {"retrain": training, "tests": own})
    chosen = retrain_tune.tuned(spec, tmp_path)
    assert list(chosen["numbers"]) == ["share", "pair_weight"]
    assert set(chosen["arms"]) == {"isolated", "pair"}
    areas = list(chosen["arms"].values())
    assert areas == sorted(areas, reverse=True)
    for name, one in chosen["numbers"].items():
        assert list(one["tried"]) == [str(value) for value in grid[name][1]]
        best = max(one["tried"].values())
        assert one["tried"][str(one["chosen"])] == best
    begun = {path.name.rsplit("-", 1)[0] for path in tmp_path.iterdir() if path.is_dir()}
    assert begun == {"plant", "augment", "tuning", "parts"} | {"audit-before"} & begun
    sets = {path.name.rsplit("-", 1)[0] for path in tmp_path.glob("tuning-*/pictures/*")}
    assert sets == {"train", "val", "counterfactuals", "own"}
    # The study itself goes on from there.
    with pytest.raises(StudyError, match="until one of its stages"):
        study.run(spec, tmp_path, until="tea")


def test_the_pilot_has_no_patient_of_a_test(tmp_path):
    rows = [
        {"path": f"{n}.png", "patient_id": f"p{n // 2}", "set": "nih_starter", "tier": ""}
        | {"split": ("train", "train", "train", "val", "test")[n // 2 % 5]}
        for n in range(400)
    ]
    rows.append(rows[0] | {"set": "kermany_224", "patient_id": "child"})
    pd.DataFrame(rows).to_csv(tmp_path / "index.csv", index=False)
    places = retrain.tables(tmp_path, tmp_path / "run")
    whole, pilot = (pd.read_csv(places[name] / "index.csv", dtype=str) for name in ("nih", "pilot"))
    before, after = (table.groupby("patient_id")["split"].first() for table in (whole, pilot))
    assert set(after.index) == set(before.index[before != "test"])
    assert set(before[after.index[after == "test"]]) == {"train"}
    assert set(before[after.index[after == "val"]]) == {"val"}
    assert 0.1 < (after[before[after.index] == "train"] == "test").mean() < 0.3
    assert retrain.pilot(places).pairs == retrain.PILOT
    # What the studies train and test has other findings, and networks have other seeds.
    whole = places | {"hannover": tmp_path}
    for study_of in (retrain.truth(whole, pairs, name) for pairs, name in retrain.TRUTHS):
        assert study_of.plant.seed != retrain.pilot(places).plant.seed
        assert not set(study_of.retrain.seeds) & set(retrain_tune.SEEDS)
    others = {pair for pairs in retrain.PAIRS.values() for pair in pairs}
    assert not others & set(retrain.PILOT)
