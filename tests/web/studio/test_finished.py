"""A finished audit in the studio: matrix, cells, cases, pictures; names of any run."""

import json
import os

import pytest

from roentmod import classifiers, datasets
from roentmod.editors import Painter
from roentmod.jobs import audit
from roentmod.plans import AuditPlan
from roentmod.web.studio.finished import Finished
from tests.web.studio.test_studio import Browser


@pytest.fixture(scope="module")
def data():
    return datasets.load("phantoms:3")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """An audit of the bundled demo classifier on three phantoms."""
    folder = tmp_path_factory.mktemp("audit") / "run"
    baselines = datasets.baselines(data).table
    plan = AuditPlan(findings=("Pleural Effusion", "Cardiomegaly"))
    models = {"demo": classifiers.load("demo:shortcut")}
    audit.run(data, baselines, Painter(), models, plan, folder).report()
    return folder


@pytest.mark.slow
def test_a_cell_leads_to_its_cases_and_their_pictures(make, run, data):
    browser = Browser(make([], run=run, data=data))
    with browser.client:
        facts = browser.get("/run/0").json()
        assert (facts["kind"], facts["report"], facts["shows"]) == ("audit", True, True)
        (matrix,) = facts["matrices"]
        cell = next(one for one in matrix["cells"] if not one["on_target"] and one["n"])
        wanted = {"classifier": 0, "edited": cell["edited"], "read": cell["read"]}
        cases = browser.post("/run/0/cases", wanted).json()
        assert len(cases) == 3
        nets = [one["net"] for one in cases]
        assert nets == sorted(nets, reverse=True)
        assert sum(nets) / 3 == pytest.approx(cell["effect_all"], abs=1e-6)
        case = {"baseline": cases[0]["baseline_id"], "pair": cases[0]["pair_id"]}
        assert browser.post("/run/0/case", case).status_code == 201
        edit = browser.done()
        assert edit["arms"] == ["baseline", "counterfactual", "sham"]
        assert browser.get("/pixels/edit/1/counterfactual").status_code == 200
        # Nothing was written that could be saved.
        assert browser.post("/edits/1/save").status_code == 400
        assert browser.post("/run/0/case", case | {"pair": "x"}).status_code == 400
        assert browser.post("/run/0/cases", wanted | {"classifier": 9}).status_code == 400
        report = browser.get("/run/0/report")
        assert report.headers["content-security-policy"].startswith("sandbox")


def test_names_that_are_no_utf8_are_shown_as_text(tmp_path):
    run = tmp_path / os.fsdecode(b"l\xf6")
    run.mkdir()
    item = {"input": "r\udcf6.png", "label": "add-mass", "status": "ok"}
    item["files"] = {"counterfactual.png": {"path": "a.png"}}
    record = {"statement": "RoentMod", "settings": {}, "edits": [], "items": [item]}
    (run / "edits.json").write_text(json.dumps(record))
    facts = Finished(run).facts()
    assert facts["name"] == "l?"
    assert facts["pictures"] == ["r?.png: add-mass"]
