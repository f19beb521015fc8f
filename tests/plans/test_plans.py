"""Plans: refused in one line, the same in records as ever, and options that find their plan."""

import json
from pathlib import Path

import pytest

from roentmod import plans
from roentmod.errors import AuditError, DatasetError, EditError, RetrainError
from roentmod.plans.base import rule
from roentmod.plans.options import check_names, fields_of, part
from roentmod.plans.study import StudyPlan


@pytest.mark.parametrize(
    ("kind", "values", "error", "said"),
    [
        (plans.AuditPlan, {"findings": "edema", "strength": 0}, EditError, r"in \(0, 1\]; got 0"),
        (plans.RetrainPlan, {"findings": "edema", "stepps": 2}, RetrainError, "got 'stepps'"),
        (plans.RetrainPlan, {"findings": "edema", "arms": "erm,magic"}, RetrainError, "'magic'"),
        (plans.AugmentPlan, {}, DatasetError, "findings is needed"),
        (plans.AuditPlan, {"findings": "edema", "seeds": "a"}, AuditError, "got 'a'. Correct"),
        (plans.AugmentPlan, {"findings": "edema", "labelling": {"policy": "x"}}, DatasetError, "x"),
    ],
)
def test_a_plan_is_refused_in_one_line_of_its_own(kind, values, error, said):
    with pytest.raises(error, match=said) as caught:
        kind(**values)
    assert "\n" not in str(caught.value)


def test_texts_become_values():
    plan = plans.RetrainPlan(
        findings="mass, oedema", pairs="mass>edema", seeds=2, arms="erm,isolated"
    )
    assert plan.findings == ("Mass", "Edema")
    assert plan.pairs == (("Mass", "Edema"),)
    assert (plan.seeds, plan.arms) == ((0, 1), ("erm", "isolated"))


def test_records_know_nothing_of_young_parameters_at_their_defaults():
    plan = plans.AugmentPlan(findings=("Edema",), with_shams=True)
    assert plan.facts()["shams"] is True
    assert "composite" not in plan.facts()
    assert plan.but(composite="none").facts()["composite"] == "none"
    with pytest.raises(DatasetError):
        plan.but(ratio=2)


def test_options_find_their_plans():
    plan = part(plans.AugmentPlan, {"policy": "soft", "ratio": 1, "margin": 3}, findings=("Edema",))
    assert plan.labelling.policy == "soft"
    assert {"policy", "ratio"} <= fields_of([plans.AugmentPlan]).keys()
    with pytest.raises(DatasetError, match=r"near it are.*ratio"):
        check_names("augment", (plans.AugmentPlan,), ["ratios"])


def test_bounds_are_words():
    fields = fields_of([plans.AuditPlan, plans.Rules, plans.RetrainPlan])
    assert rule(fields["strength"]) == "in (0, 1]"
    assert rule(fields["size"]) == "16 to 1,024"
    assert rule(fields["stress"]) == "0 or more"
    assert rule(fields["clip"]) == "above 0"
    assert rule(fields["model"]) == ""


def test_the_schema_of_study_files_is_that_of_the_documentation():
    page = Path(__file__).parents[2] / "docs" / "study.schema.json"
    schema = json.loads(page.read_text())
    assert schema == json.loads(json.dumps(StudyPlan.model_json_schema())), "run make docs"
    stages = schema["$defs"]
    assert "findings" not in stages["StudyAudit"]["properties"]
    assert {"margin", "doses", "stress", "removals"} <= stages["StudyAudit"]["properties"].keys()
    assert {"gate", "shams"} <= stages["StudyAugment"]["properties"].keys()


def test_a_study_may_say_all_that_its_stages_take():
    study = StudyPlan.of(
        {
            "name": "x",
            "findings": ["oedema", "Mass"],
            "train": {"source": "phantoms:4"},
            "tests": {"t": {"source": "phantoms:4"}},
            "editor": {"name": "painter", "strength": 0.3},
            "audit": {"doses": "severity", "stress": 3, "seeds": 2, "margin": 0.3, "flips": 300},
            "augment": {"labelling": {"policy": "soft"}, "gate": None},
        }
    )
    assert study.audit.strength == study.augment.strength == 0.3
    assert study.audit.part(plans.Rules).margin == 0.3
    assert study.audit.more() == {
        "seeds": [0, 1],
        "doses": "severity",
        "stress": 3,
        "flips": 300,
    }
    assert study.augmenting.gate_logit is None
    assert study.retrain.findings == ("Edema", "Mass")


def test_a_side_is_that_of_the_findings_that_have_sides():
    plan = plans.EditPlan(add=("edema", "effusion", "mass + cardiomegaly"), side="left")
    assert [edit.side for edit in plan.edits()] == [None, "left", "left"]
    removals = plans.EditPlan(add=("edema",), remove=("mass",), side="right").edits()
    assert [edit.side for edit in removals] == [None, "right"]
    for words in ({"add": ("edema", "cardiomegaly")}, {"prompt": "big heart"}):
        with pytest.raises(EditError, match="side needs a finding that has sides"):
            plans.EditPlan(side="left", **words).edits()
