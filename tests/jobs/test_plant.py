"""The planted data set: labels as drawn, pictures as labelled, links only where planted."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from roentmod import datasets
from roentmod.editors import Editor
from roentmod.errors import AuditError, DatasetError
from roentmod.jobs import plant as planting

FINDINGS = ("Pleural Effusion", "Mass", "Edema")
PLAN = planting.Plan(FINDINGS, (("Pleural Effusion", "Mass"),), severities=("moderate",))


@pytest.fixture(scope="module")
def source():
    return datasets.load("phantoms:16:500")


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    planting.run(source, list(source.table["image_id"]), Editor.load("painter"), PLAN, folder)
    return folder


def test_planted_pairs_have_the_correlation_and_others_none():
    drawn = {
        split: pd.DataFrame([planting.draw(f"p{i}", split, PLAN)[0] for i in range(4000)])
        for split in ("train", "test")
    }
    link = {split: table.corr().to_numpy() for split, table in drawn.items()}
    assert link["train"][0, 1] == pytest.approx(0.9, abs=0.02)
    assert link["test"][0, 1] == pytest.approx(0, abs=0.05)
    assert link["train"][:2, 2] == pytest.approx([0, 0], abs=0.05)
    assert drawn["train"].mean().to_numpy() == pytest.approx([0.35] * 3, abs=0.03)


def test_pictures_show_what_the_table_says(source, made):
    planted = datasets.load(made)
    assert not [p for p in planted.problems if "path" in p.kind]
    table = planted.table
    hosts = pd.read_csv(made / planting.INDEX)["host"]
    assert set(table["split"]) <= {"train", "val", "test"}
    for row, host in zip(table.to_dict("records"), hosts, strict=True):
        before = source.radiograph(host).pixels
        after = planted.radiograph(row["image_id"]).pixels
        changed = np.abs(before - after) > 2 / 255
        clean = row["No Finding"] == "positive"
        assert clean == all(row[name] == "negative" for name in FINDINGS)
        assert changed.any() != clean
        assert row["Nodule"] == "unmentioned"
    assert (table["No Finding"] == "positive").any()
    assert len(datasets.baselines(planted)) == (table["No Finding"] == "positive").sum()


def test_a_stopped_run_goes_on_and_gives_the_same(source, made, tmp_path):
    hosts = list(source.table["image_id"])
    said = []

    def stop(done, _):
        said.append(done)
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        planting.run(source, hosts, Editor.load("painter"), PLAN, tmp_path, progress=stop)
    assert not (tmp_path / planting.INDEX).exists()
    planting.run(source, hosts, Editor.load("painter"), PLAN, tmp_path)
    digests = [
        {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (f / "images").iterdir()}
        for f in (made, tmp_path)
    ]
    assert digests[0] == digests[1]
    assert (made / planting.INDEX).read_bytes() == (tmp_path / planting.INDEX).read_bytes()


def test_a_folder_holds_one_data_set(source, made):
    other = planting.Plan(FINDINGS, correlation=0.5)
    with pytest.raises(AuditError, match="another plan"):
        planting.run(source, ["phantom-500"], Editor.load("painter"), other, made)


def test_what_cannot_be_edited_is_left_out(source, tmp_path):
    class Shy:
        """The painter, which leaves out every second radiograph."""

        name = "shy"

        def __init__(self):
            self.seen = 0

        def edit(self, radiographs, edits, **_):
            self.seen += len(radiographs)
            done = Editor.load("painter").edit(radiographs, edits)
            if self.seen % 2:
                return done
            return [type(one)(one.baseline, one.edit, "poor_anatomy") for one in done]

    index = planting.run(source, list(source.table["image_id"])[:6], Shy(), PLAN, tmp_path)
    notes = [json.loads(p.read_text())["made"] for p in (tmp_path / "parts").iterdir()]
    assert len(pd.read_csv(index)) == sum(notes) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"pairs": (("Edema", "Mass"), ("Mass", "Edema"))},
        {"pairs": (("Edema", "Nodule"),)},
        {"correlation": 1.2},
        {"prevalence": 0.0},
        {"severities": ("huge",)},
        {"findings": ()},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(DatasetError):
        planting.Plan(**({"findings": FINDINGS} | wrong))


def test_unknown_hosts_are_refused(source, tmp_path):
    with pytest.raises(DatasetError, match="nobody"):
        planting.run(source, ["nobody"], Editor.load("painter"), PLAN, tmp_path)
