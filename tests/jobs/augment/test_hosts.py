"""Hosts that have findings: they get others, and keep the labels that are known of them."""

from dataclasses import replace

import numpy as np
import pytest

from roentmod import datasets
from roentmod.errors import DatasetError
from roentmod.jobs import augment
from roentmod.jobs.retrain.counterfactuals import counterfactuals as counterfactual_samples
from roentmod.plans import AugmentPlan, Labelling
from tests.jobs.augment.parts import FINDINGS, Dabber
from tests.jobs.retrain.parts import shown_in, tiny, write_data

PLAN = {"findings": FINDINGS, "ratio": 2, "gate_logit": None, "with_shams": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twenty-four films of all combinations; of the last one only one label is known."""
    data = write_data(tmp_path_factory.mktemp("hosts"), {"train": 24})
    table = data.table.copy()
    last = table.index[-1]
    table.loc[last, [*FINDINGS, "No Finding"]] = "unmentioned"
    table.loc[last, "Edema"] = "negative"
    table.loc[table.index[0], "Mass"] = "negative"
    return replace(data, table=table)


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    plan = AugmentPlan(hosts="any", **PLAN)
    folder = tmp_path_factory.mktemp("set")
    return augment.run(data, datasets.hosts(data).table, Dabber(), plan, folder)


def number_of(row):
    return int(row["baseline_id"].removesuffix(".png"))


def counterfactuals(table):
    return table[table["arm"] == "counterfactual"].to_dict("records")


def edited(made):
    return counterfactuals(made.training)


def test_any_film_with_a_known_label_is_a_host(data):
    chosen = set(datasets.hosts(data).table["baseline_id"])
    assert chosen == set(data.table["image_id"].astype(str))
    clean = set(datasets.baselines(data).table["baseline_id"])
    assert clean < chosen
    unknown = data.table.copy()
    unknown.loc[unknown.index[5], [*FINDINGS, "No Finding"]] = "unmentioned"
    fewer = datasets.hosts(replace(data, table=unknown))
    assert set(unknown["image_id"]) - set(fewer.table["baseline_id"]) == {"5.png"}


def test_a_host_gets_no_finding_that_it_has(made):
    rows = edited(made)
    assert rows
    for row in rows:
        if number_of(row) < 23:
            assert row["edited_finding"] not in shown_in(number_of(row))
    per_host = {n: sum(number_of(row) == n for row in rows) for n in range(23)}
    assert all(per_host[n] == min(2, 3 - len(shown_in(n))) for n in range(23))


def test_known_labels_of_a_host_are_those_of_its_counterfactuals(made):
    for row in edited(made):
        shown = shown_in(number_of(row))
        for head in FINDINGS:
            expected = float(head == row["edited_finding"] or head in shown)
            if number_of(row) < 23:
                assert row[head] == expected
        if number_of(row) == 23:
            added = row["edited_finding"]
            expected = {name: 1.0 if name == added else np.nan for name in FINDINGS}
            expected["Edema"] = float(added == "Edema")
            assert [row[name] for name in FINDINGS] == pytest.approx(
                [expected[name] for name in FINDINGS], nan_ok=True
            )


def test_controls_have_the_labels_of_their_hosts(made):
    table = made.training
    controls = table[table["arm"] == "baseline"].to_dict("records")
    for row in controls:
        if number_of(row) < 23:
            shown = shown_in(number_of(row))
            assert [row[name] for name in FINDINGS] == [float(n in shown) for n in FINDINGS]
    csv = datasets.load(made.folder / "manifest.csv").table.set_index("image_id")
    for row in controls:
        state = csv.loc[row["image_id"], "No Finding"]
        clean = number_of(row) < 23 and not shown_in(number_of(row))
        assert (state == "positive") == clean


def test_policies_are_of_what_is_not_known(made):
    soft = augment.relabel(made, Labelling(policy="soft", heads=FINDINGS)).training
    masked = augment.relabel(made, Labelling(policy="masked", heads=FINDINGS)).training
    rates = augment.load_cooccurrence()
    for row, other in zip(counterfactuals(soft), counterfactuals(masked), strict=True):
        added, shown = row["edited_finding"], shown_in(number_of(row))
        assert np.isnan([other[name] for name in FINDINGS if name != added]).all()
        for name in FINDINGS:
            if name == added:
                assert row[name] == other[name] == 1
            elif not row["host_labels"]:
                assert row[name] == pytest.approx(rates.rate(added, name))
            elif number_of(row) < 23:
                assert row[name] == float(name in shown)
    assert any(not row["host_labels"] for row in edited(made))


def test_a_teacher_takes_as_absent_only_what_a_host_is_known_to_be_without(made, data):
    _, facts = counterfactual_samples(made, tiny(arms=("erm", "teacher")), None, data)
    rows, labels = made.training.to_dict("records"), facts.targets["teacher"]
    for at in np.flatnonzero(facts.control >= 0):
        # Of the last host one label alone is known.
        known = number_of(rows[at]) < 23 or rows[at]["edited_finding"] == "Edema"
        own = labels[facts.control[at]][facts.added[at]]
        assert own == pytest.approx([0.0 if known else np.nan], nan_ok=True)
        assert labels[at][facts.added[at]] == 1
    last = [facts.control[at] for at, row in enumerate(rows) if number_of(row) == 23]
    assert np.isnan(labels[last]).any()


def test_without_the_option_films_with_findings_are_refused(data, tmp_path):
    with pytest.raises(DatasetError, match="A baseline shows no finding"):
        augment.run(
            data, datasets.hosts(data).table, Dabber(), AugmentPlan(**PLAN), tmp_path / "no"
        )
    assert "hosts" not in AugmentPlan(**PLAN).facts()


def test_barred_findings_are_passed_over_for_the_next():
    plan = AugmentPlan(**PLAN)
    names = [f"p{n}" for n in range(30)]
    free = plan.assign(names)
    barred = {"p3": {"Edema"}, "p4": set(FINDINGS), "p5": {"Edema", "Cardiomegaly"}}
    some = plan.assign(names, barred)
    assert {name: edits for name, edits in free.items() if name not in barred} == {
        name: edits for name, edits in some.items() if name not in barred
    }
    added = {name: [edit.findings[0] for edit in some[name]] for name in barred}
    assert added["p3"] == ["Cardiomegaly", "Pleural Effusion"]
    assert added["p4"] == []
    assert added["p5"] == ["Pleural Effusion"]


def test_matched_hosts_get_what_their_matches_have(data, tmp_path):
    table = data.table.copy()
    # Cardiomegaly is of one hospital, edema of the other; nothing else differs.
    here = np.arange(len(table)) % 2 == 0
    table["site"] = np.where(here, "a", "b")
    table["age"] = 50.0
    for name, own in (("Cardiomegaly", ~here), ("Edema", here)):
        table.loc[own & (table[name] == "positive").to_numpy(), name] = "negative"
    sorted_data = replace(data, table=table)
    plan = AugmentPlan(hosts="matched", **PLAN | {"findings": ("Cardiomegaly", "Edema")})
    chosen = augment.hosts(sorted_data, plan)
    made = augment.run(sorted_data, chosen, Dabber(), plan, tmp_path / "set")
    sites = {(row["edited_finding"], row["site"]) for row in edited(made)}
    assert sites == {("Cardiomegaly", "a"), ("Edema", "b")}
    some = augment.hosts(sorted_data, plan, count=4)
    assert len(some) == 4
    assert sorted(some["site"]) == ["a", "a", "b", "b"]
    none = plan.but(findings=("Hernia",), ratio=1)
    with pytest.raises(DatasetError, match="Matched hosts need positives"):
        augment.hosts(sorted_data, none)
