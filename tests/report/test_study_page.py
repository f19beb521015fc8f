"""The page of a study: its links lead to pages, and each page is made once."""

import json

import pytest

from roentmod.jobs.retrain import RetrainResult
from roentmod.jobs.retrain.result import RECORD, TABLE
from roentmod.jobs.study import Finished, StudyPlan, StudyResult
from tests.report.fake import audit
from tests.report.pages import Page
from tests.science.performance import fake

pytestmark = pytest.mark.slow

ARMS = ("erm", "soft")
SAID = "facts that predict labels: 1 (site -> Edema AUC 0.90)"
PAGES = ["audit-before", "retrain", "audit-after"]


def verdicts(*names):
    return {n: {"verdict": "undecided", "score": 0.25, "shortcuts": []} for n in names}


@pytest.fixture
def study(tmp_path):
    """A study whose stages are done: two audits, and a retraining as it lies on the disk."""
    places = {name.replace("-", " "): tmp_path / f"{name}-0" for name in (*PAGES, "augment")}
    for place in places.values():
        place.mkdir()
    plan = {"findings": fake.FINDINGS, "pairs": [fake.PAIR], "arms": ARMS, "seeds": [0]}
    record = {"plan": plan, "tests": {"nih": {"where": "internal"}}, "provenance": {}}
    (places["retrain"] / RECORD).write_text(json.dumps(record))
    predictions = fake.confounded(n=40, seeds=(0,), arms=ARMS)
    predictions.to_parquet(places["retrain"] / TABLE)
    figures = {
        "audit before": {"classifiers": verdicts("demo"), "warnings": [SAID]},
        "retrain": {"comparisons": [], "warnings": [SAID]},
        "audit after": {"classifiers": verdicts("erm-0", "soft-0")},
    }
    spec = StudyPlan.of(
        {"name": "A Study", "findings": fake.FINDINGS, "train": {"source": "phantoms:4"}}
        | {"pairs": [fake.PAIR], "tests": {"nih": {"source": "phantoms:4"}}}
    )
    stages = [Finished(name, place, 1.0, figures.get(name, {})) for name, place in places.items()]
    return StudyResult(spec, tmp_path, tuple(stages))


def publish(study):
    """Write the pages of a study as a run does, stage by stage and then as a whole."""
    for one in study.stages:
        if one.name.startswith("audit"):
            audit(one.folder, bare=True).report()
    return study.report().read_text(encoding="utf-8")


def test_the_page_of_the_retraining_is_made_once_and_has_the_scores(study, monkeypatch):
    write, made = RetrainResult.report, []
    monkeypatch.setattr(
        RetrainResult, "report", lambda one, **given: (made.append(one.folder), write(one, **given))
    )
    publish(study)
    assert made == [study.place("retrain")]
    told = json.loads((study.place("retrain") / "report.json").read_text(encoding="utf-8"))
    assert told["figures"]["shortcut_score"] == dict.fromkeys(ARMS, 0.25)


def test_scores_say_which_heads_they_leave_out(study):
    (after,) = (one for one in study.stages if one.name == "audit after")
    after.figures["classifiers"]["soft-0"] |= {"blind": ["Edema", "Mass"], "score_ends": [0.1, 0.5]}
    erm, soft = study.scores().to_dict("records")
    assert (erm["arm"], erm["seed"], erm["blind"]) == ("erm", 0, "")
    assert (soft["blind"], soft["low"], soft["high"]) == ("Edema; Mass", 0.1, 0.5)


def test_links_lead_to_the_pages_of_the_stages(study):
    links = [attrs["href"] for attrs in Page(publish(study)).all("a")]
    assert links == [f"{name}-0/report.html" for name in PAGES]
    assert all((study.folder / link).is_file() for link in links)


def test_facts_that_predict_labels_are_on_the_page_once(study):
    assert publish(study).count("site -&gt; Edema AUC 0.90") == 1


def test_a_retraining_that_was_not_audited_has_its_page_too(study):
    stages = tuple(one for one in study.stages if one.name == "retrain")
    page = publish(StudyResult(study.spec, study.folder, stages))
    assert 'href="retrain-0/report.html"' in page
    assert "No audit of the trained models" in (study.place("retrain") / "report.html").read_text(
        encoding="utf-8"
    )
