import json

import pytest

from roentmod.errors import RetrainError, UnknownFindingError
from roentmod.jobs.retrain import ARMS, RetrainPlan
from roentmod.plans.retrain import comparisons

PAIR = ("Mass", "Edema")


def test_names_become_canonical_and_lists_tuples():
    plan = RetrainPlan(
        findings=["mass", "oedema"], pairs=[["mass", "edema"]], arms=["erm", "soft"], seeds=[0, 4]
    )
    assert plan.findings == ("Mass", "Edema")
    assert plan.pairs == (PAIR,)
    assert plan == RetrainPlan(
        findings=plan.findings, pairs=plan.pairs, arms=("erm", "soft"), seeds=(0, 4)
    )
    assert [task.name for task in plan.tasks] == ["erm-0", "erm-4", "soft-0", "soft-4"]
    assert RetrainPlan(**json.loads(json.dumps(plan.facts()))) == plan


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"findings": ()}, "one or more different findings"),
        ({"findings": ("Mass", "mass")}, "got 'Mass, Mass'"),
        ({"findings": ("Mass", "No Finding")}, "not No Finding"),
        ({"pairs": (("Mass", "Nodule"),)}, "got Mass > Nodule"),
        ({"pairs": (("Mass", "Mass"),)}, "two different heads"),
        ({"pairs": (PAIR, PAIR)}, "named once"),
        ({"arms": ("soft",)}, "erm among them"),
        ({"arms": ("erm", "dro")}, "got 'dro'"),
        ({"pair_weight": 0}, "pair_weight must be"),
        ({"pretraining": 1}, "pretraining must be"),
        ({"jtt_upweight": 0.5}, "jtt_upweight must be"),
        ({"arms": ("erm", "erm")}, "each once"),
        ({"seeds": ()}, "seeds must be"),
        ({"seeds": (1, 1)}, "seeds must be"),
        ({"size": 8}, "size must be 16"),
        ({"through": 4}, "through must be"),
        ({"steps": 0}, "steps must be"),
        ({"learning_rate": 0}, "learning_rate must be"),
        ({"warmup": 1}, r"warmup must be in \[0, 1\)"),
        ({"ema": 1.0}, "ema must be"),
        ({"share": 0.91}, "share must be"),
        ({"patience": 0}, "patience must be"),
        ({"precision": "float16"}, "precision is one of no, fp16, bf16"),
        ({"unmentioned": "negative"}, "unmentioned is one of"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said):
    with pytest.raises(RetrainError, match=said):
        RetrainPlan(**({"findings": PAIR} | changes))


def test_the_usual_arms_are_few_and_all_of_them_a_word():
    usual = RetrainPlan(findings=PAIR).arms
    assert set(usual) < set(ARMS)
    assert "pair" in usual
    for every in ("all", ["all"]):
        assert RetrainPlan(findings=PAIR, arms=every).arms == ARMS
    assert RetrainPlan(findings=PAIR, arms="erm, jtt").arms == ("erm", "jtt")
    facts = RetrainPlan(findings=PAIR).facts()
    assert not {"pair_weight", "pretraining", "jtt_upweight", "group_step"} & set(facts)


def test_shares_of_steps_are_steps():
    plan = RetrainPlan(findings=PAIR, steps=10, pretraining=0.99, jtt_early=0.01)
    assert (plan.synthetic_steps, plan.early) == (9, 1)
    assert RetrainPlan(findings=PAIR, steps=1).synthetic_steps == 0


@pytest.mark.parametrize(
    ("given", "through"),
    [
        ({}, 224),
        ({"size": 512}, 224),
        ({"size": 64, "start": "net.pt"}, 224),
        ({"size": 512, "start": "net.pt"}, 512),
        ({"size": 512, "start": "net.pt", "through": 300}, 300),
        ({"size": 512, "start": "net.pt", "through": None}, None),
    ],
)
def test_a_network_that_has_learned_takes_pictures_as_sharp_as_its_size(given, through):
    assert RetrainPlan(findings=PAIR, **given).through == through


def test_an_unknown_finding_is_refused():
    with pytest.raises(UnknownFindingError):
        RetrainPlan(findings=("Blob",))


def test_every_arm_is_compared_with_erm_on_every_test():
    plan = RetrainPlan(findings=("Mass", "Edema", "Nodule"), pairs=(PAIR,))
    rows = comparisons(plan, {"inside": "internal", "outside": "external"})
    assert len(rows) == 6 * 2 * 3
    assert {row["arm"] for row in rows} == set(plan.arms) - {"erm"}
    assert {row["against"] for row in rows} == {"erm"}
    primary = [row for row in rows if row["primary"]]
    assert len(primary) == 6 * 2
    assert {(row["finding"], *row["pairs"]) for row in primary} == {("Edema", "Mass")}
    assert {(row["test"], row["where"]) for row in rows} == {
        ("inside", "internal"),
        ("outside", "external"),
    }
