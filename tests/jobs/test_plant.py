"""The planted data set: labels as drawn, pictures as labelled, links only where planted."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import roentmod
from roentmod import datasets
from roentmod.editors import Editor
from roentmod.errors import DatasetError, InputError, RunError
from roentmod.interfaces import Counterfactual
from roentmod.jobs import plant as planting

pytestmark = pytest.mark.slow

FINDINGS = ("Pleural Effusion", "Mass", "Edema")
PLAN = planting.PlantPlan(
    findings=FINDINGS,
    pairs=(("Pleural Effusion", "Mass"),),
    prevalence=0.35,
    severities=("moderate",),
)


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


def test_a_slow_editor_says_beforehand_how_long_planting_takes(source, tmp_path, caplog):
    def edit(radiographs, edits, **_):
        if radiographs:
            raise KeyboardInterrupt
        return []

    editor = SimpleNamespace(
        edit=edit, slow=True, forecast=lambda edits: 60.0 * len(edits), describe=dict
    )
    hosts = list(source.table["image_id"])
    with caplog.at_level("INFO"), pytest.raises(KeyboardInterrupt):
        planting.run(source, hosts, editor, PLAN, tmp_path)
    assert f"about 16 min (radiographs: {len(hosts)}, edits: {len(hosts)}" in caplog.text


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
    other = planting.PlantPlan(findings=FINDINGS, correlation=0.5)
    with pytest.raises(RunError, match="another plan"):
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

    hosts = list(source.table["image_id"])[:6]
    result = planting.run(source, hosts, Shy(), PLAN, tmp_path)
    assert len(result.table) == result.record["pictures"] == 3
    assert result.record["left_out"] == {"poor_anatomy": 3}
    assert repr(result) == f"<PlantResult: 3 pictures in '{tmp_path}'>"
    pd.testing.assert_frame_equal(planting.load(tmp_path).table, result.table)


def test_what_failed_once_is_mended_by_the_next_run(source, made, tmp_path):
    hosts = list(source.table["image_id"])

    class Torn:
        """Pictures of which one cannot be read."""

        name, table = source.name, source.table

        def radiograph(self, image_id):
            if image_id == hosts[1]:
                raise InputError("gone.png: it is no picture")
            return source.radiograph(image_id)

    class Broken:
        """The painter, which breaks once."""

        name = "painter"
        describe = Editor.load("painter").describe
        calls = 0

        def edit(self, radiographs, edits, **_):
            self.calls += len(radiographs)
            if self.calls == 3:
                raise ValueError("no space")
            return Editor.load("painter").edit(radiographs, edits)

    first = planting.run(Torn(), hosts, Broken(), PLAN, tmp_path)
    assert first.record["left_out"] == {"failed": 1, "unreadable": 1}
    assert hosts[1] not in set(first.table["host"])
    planting.run(source, hosts, Editor.load("painter"), PLAN, tmp_path)
    assert (tmp_path / planting.INDEX).read_bytes() == (made / planting.INDEX).read_bytes()


def test_where_nothing_comes_about_there_is_no_data_set(source, tmp_path):
    class Shy:
        name = "shy"

        def edit(self, radiographs, edits, **_):
            return [Counterfactual(one, edits[0], "poor_anatomy") for one in radiographs]

    with pytest.raises(DatasetError, match="in none of 2"):
        planting.run(source, list(source.table["image_id"])[:2], Shy(), PLAN, tmp_path)
    assert not (tmp_path / planting.INDEX).exists()
    with pytest.raises(RunError, match="no planted data set"):
        planting.load(tmp_path)


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
        planting.PlantPlan(**({"findings": FINDINGS} | wrong))


def test_unknown_hosts_are_refused(source, tmp_path):
    with pytest.raises(DatasetError, match="nobody"):
        planting.run(source, ["nobody"], Editor.load("painter"), PLAN, tmp_path)


@pytest.mark.parametrize("count", [None, 2])
def test_each_host_is_taken_once_where_some_have_no_split(source, count):
    splits = ["train"] * 5 + [""] * 6 + ["test"] * 5
    data = replace(source, table=source.table.assign(split=splits))
    chosen = planting.hosts(data, count=count)
    by = data.table.set_index("image_id")["split"]
    assert len(chosen) == len(set(chosen))
    assert by[chosen].value_counts().to_dict() == (
        {"train": 5, "": 6, "test": 5} if count is None else {"train": 2, "": 2, "test": 2}
    )
    # Which are taken of one split does not depend on the others.
    for split in ("train", "test"):
        alone = datasets.baselines(data, split=split, count=count).table["baseline_id"]
        assert [name for name in chosen if by[name] == split] == list(alone)
    bare = replace(source, table=source.table.assign(split=""))
    assert planting.hosts(bare, count=count) == list(
        datasets.baselines(bare, count=count).table["baseline_id"]
    )


def test_a_patient_with_a_split_is_no_host_without_one(source):
    """The plan would assign the second picture to a split of its own."""
    table = source.table.iloc[:4].assign(
        patient_id=["p", "p", "q", "q"], split=["train", "", "", ""]
    )
    chosen = planting.hosts(replace(source, table=table))
    assert table["image_id"].iloc[0] in chosen
    assert len(chosen) == 2
    assert table["image_id"].iloc[1] not in chosen
    # Where all without a split are such, those with one are enough.
    few = replace(source, table=table.iloc[:2])
    assert planting.hosts(few) == [table["image_id"].iloc[0]]


def test_hosts_of_a_patient_in_two_splits_are_refused(source):
    table = source.table.iloc[:2].assign(patient_id="p", split=["train", "test"])
    with pytest.raises(DatasetError, match="belongs to one split"):
        planting.hosts(replace(source, table=table))


def test_the_verb_plants_in_each_host_once(source, tmp_path):
    data = replace(source, table=source.table.iloc[:2].assign(split=["train", ""]))
    planted = roentmod.plant(data, findings=["Edema"], out=tmp_path, prevalence=0.9)
    assert sorted(planted.table["host"]) == sorted(data.table["image_id"])
