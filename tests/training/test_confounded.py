"""Cohorts with planted co-occurrence, and the figures that are drawn from them."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bench import audit_arms, audit_measures, audit_page
from roentmod import classifiers
from roentmod.datasets.phantom import phantom
from roentmod.editors import Painter
from roentmod.edits import Edit
from roentmod.science.effects import Rules
from training import confounded
from training.confounded import FINDINGS, SIZE, Hosts, Plant

pytestmark = pytest.mark.slow

PAIR = ("Edema", "Mass")
FIRST, SECOND = (FINDINGS.index(name) for name in PAIR)


@pytest.fixture
def hosts():
    """Four grey hosts; finding k raises the logit of row k by 1, in rows of their own."""
    plain = np.full((4, SIZE, SIZE), 128, dtype=np.uint8)
    painted = np.repeat(plain[:, None], len(FINDINGS), axis=1)
    for k in range(len(FINDINGS)):
        painted[:, k, k] = 187  # logit 1.01
    return Hosts(plain, painted)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 1.0])
def test_labels_have_the_planted_correlation_and_no_other(rho):
    labels = confounded.draw_labels(40_000, Plant(PAIR, rho, 0), np.random.default_rng(0))
    assert np.allclose(labels.mean(0), confounded.PREVALENCE, atol=0.01)
    found = np.corrcoef(labels.T)
    assert found[FIRST, SECOND] == pytest.approx(rho, abs=0.02)
    found[FIRST, SECOND] = found[SECOND, FIRST] = 0
    assert np.abs(found - np.eye(len(FINDINGS))).max() < 0.03


def test_one_label_gives_the_painted_picture_and_none_the_host(hosts):
    rows = np.arange(4)
    none = confounded.compose_pictures(hosts, rows, np.zeros((4, len(FINDINGS)), bool)).numpy()
    assert np.allclose(none[:, 0], hosts.plain / 255, atol=1e-5)
    one = np.zeros((4, len(FINDINGS)), bool)
    one[:, 2] = True
    made = confounded.compose_pictures(hosts, rows, one).numpy()
    assert np.allclose(made[:, 0], hosts.painted[:, 2] / 255, atol=1e-5)


def test_changes_add_up_in_logits(hosts):
    hosts.painted[:, 1, 0] = 187
    both = np.zeros((4, len(FINDINGS)), bool)
    both[:, :2] = True
    made = confounded.compose_pictures(hosts, np.arange(4), both).numpy()
    logit = np.log(made / (1 - made))
    step = np.log(187 / 68) - np.log(128 / 127)
    assert np.allclose(logit[:, 0, 0], np.log(128 / 127) + 2 * step, atol=1e-4)


def test_every_classifier_has_a_name_and_a_seed_of_its_own():
    for panel in audit_arms.PANELS:
        every = audit_arms.plants(panel)
        assert len({plant.name for plant in every}) == len(every) >= 4
        assert all({*plant.pair} <= {*panel.findings} for plant in every)
    honest = [plant for plant in audit_arms.plants() if plant.rho == 0]
    assert len(honest) >= 32


def test_a_panel_takes_its_findings_at_its_size(hosts):
    panel = confounded.Panel("half", FINDINGS[2:0:-1], size=SIZE // 2, hosts=3)
    own = hosts.of(panel)
    assert own.plain.shape == (3, SIZE // 2, SIZE // 2)
    assert own.painted.shape == (3, 2, SIZE // 2, SIZE // 2)
    # Row k of finding k, area-averaged with its neighbour.
    assert own.painted[0, :, 1, 0].tolist() == [158, 128]
    assert own.painted[0, :, 0, 0].tolist() == [128, 158]
    labels = confounded.draw_labels(
        5000, Plant(panel.findings, 1.0, 0), np.random.default_rng(0), panel
    )
    assert labels.shape == (5000, 2)
    assert (labels[:, 0] == labels[:, 1]).all()
    few = confounded.draw_labels(
        5000,
        Plant(panel.findings, 0.0, 0),
        np.random.default_rng(0),
        replace(panel, prevalence=0.2),
    )
    assert few.mean() == pytest.approx(0.2, abs=0.02)


def test_a_leaking_painter_is_named_by_its_leaks_and_survives_pickling():
    one = audit_arms.LeakyPainter({"Edema": "Mass"})
    again = pickle.loads(pickle.dumps(one))
    assert type(again) is audit_arms.LeakyPainter
    assert again.describe() == one.describe() != audit_arms.LeakyPainter({}).describe()
    source = phantom(5)
    painter = audit_arms.LeakyPainter({"Edema": "Mass"})
    painter._anatomies[source.radiograph.id] = source.anatomy
    own, other = painter.edit([source.radiograph], [Edit(("Edema",)), Edit(("Mass",))])
    plain = Painter({source.radiograph.id: source.anatomy})
    (alone,) = plain.edit([source.radiograph], [Edit(("Edema",))])
    assert own.edit == alone.edit
    assert other.status == "ok"
    half = audit_arms.LeakyPainter({"Edema": "Mass"}, 0.5)
    half._anatomies[source.radiograph.id] = source.anatomy
    (less,) = half.edit([source.radiograph], [Edit(("Edema",))])
    beside, little = (np.abs(one.image.pixels - alone.image.pixels).sum() for one in (own, less))
    assert beside > little > 0
    assert np.array_equal(own.support, own.image.pixels != source.radiograph.pixels)
    sham = replace(own.edit, arm="sham")
    (plain,) = painter.edit([source.radiograph], [sham])
    assert np.array_equal(plain.image.pixels, source.radiograph.pixels)


def test_classifiers_go_on_from_networks_that_know_their_findings(tmp_path, monkeypatch):
    begun, seen = [], []
    monkeypatch.setattr(audit_arms, "_hosts", lambda proof, panel: panel)
    monkeypatch.setattr(confounded, "export", lambda *rest: None)

    def train(hosts, plant, panel, *, start=None):
        begun.append(hosts)
        seen.append(start)
        torch.manual_seed(plant.seed)
        return confounded.untrained(panel)

    monkeypatch.setattr(confounded, "train", train)
    proof = audit_arms.Proof(tmp_path)
    for number in range(audit_arms.STARTS):
        proof.learn(audit_arms.LEAKING, number)
    assert begun[0].epochs > audit_arms.LEAKING.epochs
    pair = audit_arms.PANEL_PAIRS["leaking"][0]
    for seed in range(3):
        proof.make(audit_arms.LEAKING, Plant(pair, 0.0, seed))
    first, second, third = (next(one.parameters()) for one in seen[2:])
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_what_was_made_otherwise_is_not_gone_on_with(tmp_path, monkeypatch):
    def home():
        return audit_arms.Proof(tmp_path, tmp_path).home

    (tmp_path / "index.csv").write_text("path\n")
    one = home()
    assert home() == one
    (tmp_path / "index.csv").write_text("path\na.png\n")
    other = home()
    monkeypatch.setattr(audit_arms.weights, "bundled", lambda names: {"painter": "new"})
    assert len({one, other, home()}) == 3


def test_an_exported_classifier_is_the_trained_one(tmp_path):
    torch.manual_seed(0)
    network = confounded.Network().eval()
    confounded.export(network, tmp_path / "one.onnx", "one")
    loaded = classifiers.load(f"onnx:{tmp_path / 'one.onnx'}")
    x = np.random.default_rng(0).random((3, SIZE, SIZE), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)[:, None]).numpy()
    assert loaded.findings == FINDINGS
    assert np.allclose(loaded.logits(x), expected, atol=1e-4)


def table(score):
    """One honest and one planted classifier; `score` gives each cell's value."""
    rows = []
    for name, rho in (("honest", 0.0), ("planted", 0.9)):
        for edited in FINDINGS:
            for read in FINDINGS:
                if edited != read:
                    inside = {edited, read} == set(PAIR)
                    value = score(rho, inside) + 1e-3 * FINDINGS.index(read)
                    rows.append([name, rho, edited, read, inside, value, value > 0.2])
    columns = ["plant", "rho", "edited", "read", "planted", "ours", "ours_flag"]
    return pd.DataFrame(rows, columns=columns).assign(leaking=False)


COSTS = pd.DataFrame(
    [
        [name, *pair, drop]
        for name, drop in (("honest", 0.0), ("planted", 0.2))
        for pair in (PAIR, PAIR[::-1])
    ],
    columns=["plant", "edited", "read", "drop"],
)


def test_figures_of_a_perfect_and_of_a_blind_measure():
    perfect = audit_measures.figures(table(lambda rho, inside: rho * inside), COSTS, "ours")
    assert perfect["detection_auroc"] == 1
    assert perfect["found_by_rho"] == {"0.9": [1, 1]}
    assert perfect["false_alarm_rate"] == 0
    blind = audit_measures.figures(table(lambda rho, inside: 0.5), COSTS, "ours")
    assert blind["detection_auroc"] == 0.5
    assert blind["false_alarm_rate"] == 1
    assert blind["false_alarm_rate_of_other_cells"] == 1


def panel(scores):
    """A classifier per (rho, score of a cell of the pair, score of another cell)."""
    rows = []
    for number, (rho, planted, other) in enumerate(scores):
        for read, value in ((PAIR[1], planted), ("Cardiomegaly", other)):
            inside = read == PAIR[1]
            flag = bool(value > 0.2)
            rows.append([f"c{number}", rho, PAIR[0], read, inside, value, flag])
    columns = ["plant", "rho", "edited", "read", "planted", "ours", "ours_flag"]
    return pd.DataFrame(rows, columns=columns).assign(leaking=False)


def costs(drops):
    return pd.DataFrame(
        [[f"c{number}", *PAIR, drop] for number, drop in enumerate(drops)],
        columns=["plant", "edited", "read", "drop"],
    )


def test_a_bootstrap_without_events_is_replaced_by_what_chance_allows_for():
    some = panel([(0.0, 0.01 * k, 0.0) for k in range(10)] + [(0.9, 0.5 + k, 0) for k in range(6)])
    found = audit_measures.figures(some, costs([0.0] * 16), "ours")
    # None of ten, and all of six pairs: Clopper and Pearson's ends.
    assert found["ci"]["false_alarm_rate"] == [0, pytest.approx(1 - 0.025**0.1, abs=1e-4)]
    assert found["ci"]["detection_auroc"] == [pytest.approx(0.025 ** (1 / 6), abs=1e-4), 1]
    assert found["ci"]["power"] == [pytest.approx(0.025 ** (1 / 6), abs=1e-4), 1]
    assert found["power_ci_by_rho"]["0.9"] == found["ci"]["power"]
    # An area that is not quite 1 is not surer than one that is.
    nearly = audit_measures.figures(
        panel([(0.0, 0.01 * k, 0.0) for k in range(10)] + [(0.9, 0.0895 + k, 0) for k in range(6)]),
        costs([0.0] * 16),
        "ours",
    )
    assert 0.9 < nearly["detection_auroc"] < 1
    assert nearly["ci"]["detection_auroc"][0] <= found["ci"]["detection_auroc"][0]
    few = audit_measures.figures(some[some["rho"] > 0], costs([0.0] * 16), "ours")
    assert few["honest_ci"] == [None, None]
    assert few["detection_auroc"] is None


def test_honest_classifiers_have_no_part_in_the_agreement_with_costs():
    """Their cost is 0 by the same drawing of labels, and so agrees with any small score."""
    scores = [(0.0, 0.0, 0.0)] * 30 + [(0.9, 1.0 - 0.1 * k, 0.0) for k in range(5)]
    drops = [0.0] * 30 + [0.1 * (k + 1) for k in range(5)]
    found = audit_measures.figures(panel(scores), costs(drops), "ours")
    assert found["spearman_auc_drop"] == -1


def test_what_is_not_measured_is_neither_found_nor_ranked():
    # Nor is it above honest cells that are below 0.
    scores = [(0.0, -0.1, -0.2)] * 4 + [(0.9, value, value) for value in (np.nan, 0.5, 0.6, 0.7)]
    found = audit_measures.figures(panel(scores), costs([0] * 4 + [9, 0.1, 0.2, 0.3]), "ours")
    assert found["spearman_auc_drop"] == 1
    assert found["found_by_rho"] == {"0.9": [3, 4]}
    assert found["detection_auroc"] == 0.75
    assert found["power_at_5_percent_by_rho"] == {"0.9": 0.75}
    assert found["not_measured"] == pytest.approx(2 / 16, abs=1e-4)


def test_thresholds_are_of_other_honest_classifiers_than_their_alarms():
    # One half of the honest is at 0.1, the other at 0.4: a threshold of either is wrong for one.
    scores = [(0.0, 0.4 if k % 2 else 0.1, 0.0) for k in range(20)]
    scores += [(0.9, 0.3, 0.0), (0.9, 0.5, 0.0)]
    found = audit_measures.figures(panel(scores), costs([0] * 22), "ours")
    assert found["alarms_at_5_percent"] == 0.5
    # Beyond 0.1 are both, beyond 0.4 one.
    assert found["power_at_5_percent_by_rho"] == {"0.9": 0.75}


def test_measures_are_compared_over_the_same_classifiers():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 40)
    scores = [(0.9 * (k % 2), 1.5 * (k % 2) + noise[k], -9.0) for k in range(40)]
    cells = panel(scores)
    for name in ("plain", "matched", "relative"):
        # A little less than ours in all that is planted: paired, this is sure.
        lower = cells["ours"] - 0.9 * cells["planted"] * (cells["rho"] > 0)
        cells = cells.assign(**{name: lower, f"{name}_flag": cells["ours_flag"]})
    found = audit_measures.compared(cells, costs(list(rng.random(40))))
    assert [*found] == ["plain_difference", "matched_difference", "relative_change"]
    one = found["matched_difference"]["detection_auroc"]
    assert one["ci"][0] > 0
    assert one["difference"] > 0
    # The flags are the same.
    assert found["matched_difference"]["power"] == {"difference": 0, "p": 1}


@pytest.mark.parametrize(("apart", "p"), [(4, 0.125), (6, 0.0312)])
def test_few_classifiers_do_not_tell_measures_apart(apart, p):
    """A bootstrap of 4 alarms in 32 against none is surely above 0; the exact test is not."""
    cells = panel([(0.0, 0.1, 0.1)] * 32 + [(0.9, 1.0, 0.1)] * 6)
    for name in ("plain", "matched", "relative"):
        wrong = cells["plant"].isin([f"c{k}" for k in range(apart)])
        cells = cells.assign(**{name: cells["ours"], f"{name}_flag": cells["ours_flag"] | wrong})
    found = audit_measures.compared(cells, costs([0.1] * 38))["plain_difference"]
    assert found["honest_alarms"] == {"difference": round(-apart / 32, 4), "p": p}
    said = audit_page._compared({"plain_difference": found})
    assert ("better: honest classifiers" in said) == (p < 0.05)


def test_what_an_editor_draws_besides_is_not_counted_among_other_cells():
    cells = panel([(0.0, 0.1, 0.1)] * 3 + [(0.9, 1.0, 1.0)] * 3)
    leaky = cells.assign(leaking=cells["read"] == "Cardiomegaly")
    both = [
        audit_measures.figures(one, costs([0.1] * 6), "ours")["false_alarm_rate_of_other_cells"]
        for one in (cells, leaky)
    ]
    assert both == [1, None]


def test_power_in_the_direction_that_leaks_is_counted_by_itself():
    rows = [
        ("honest", 0.0, *PAIR, False, True, False),
        ("honest", 0.0, *PAIR[::-1], False, False, False),
        ("planted", 0.9, *PAIR, True, True, False),
        ("planted", 0.9, *PAIR[::-1], True, False, True),
        ("elsewhere", 0.9, "Edema", "Cardiomegaly", True, False, True),
        # Two cells of a classifier are one.
        ("elsewhere", 0.9, *PAIR, False, True, True),
        ("elsewhere", 0.9, "Mass", "Cardiomegaly", False, True, False),
    ]
    columns = ["plant", "rho", "edited", "read", "planted", "leaking", "ours_flag"]
    found = audit_measures.leaking(pd.DataFrame(rows, columns=columns))
    assert found == {"null": [1, 2], "planted": [0, 1], "reverse": [1, 1]}


def told(ours, other):
    """Return measures of the table, alike but for these."""
    base = {
        "detection_auroc": 1.0,
        "detection_auroc_by_cell": 0.999,
        "power": 1.0,
        "false_alarm_rate": 0.0,
        "false_alarm_rate_of_other_cells": 0.01,
        "spearman_auc_drop": 0.9,
    }
    return {"ours": base | ours, "plain_difference": base | other}


def test_page_says_what_is_at_the_ceiling():
    said = audit_page._at_ceiling(told({}, {"power": 0.5, "spearman_auc_drop": None}))
    lines = said.splitlines()
    assert "- detection AUROC, rho >= 0.75 against rho 0, by classifier: every measure" in lines
    assert "- power, rho >= 0.75: RoentMod" in lines
    # The same by both and not the best: it neither is at the ceiling nor tells them apart.
    assert "by cell" not in said
    assert lines[-1] == "Measures differ in: power, rho >= 0.75."


def test_page_says_where_another_measure_is_better():
    figures = {
        "detection_auroc": {"difference": -0.05, "ci": [-0.09, -0.01]},
        "power": {"difference": 0.2, "p": 0.03},
        # Fewer alarms are better.
        "honest_alarms": {"difference": -0.2, "p": 0.001},
        "other_alarms": {"difference": 0.1, "p": 0.04},
        "detection_auroc_by_cell": {"difference": 0.0, "ci": [None, None]},
        "spearman_auc_drop": {"difference": None, "ci": [None, None]},
    }
    said = audit_page._compared({"matched_difference": figures})
    (line,) = (line for line in said.splitlines() if line.startswith("- matched difference: "))
    better, worse, apart = line.removeprefix("- matched difference: ").split(". ")
    words = "better: power +0.200 (p 0.03); honest classifiers with an alarm -0.200 (p 0.001)"
    assert better == words
    assert worse.startswith(
        "worse: AUROC by classifier -0.050 (-0.090 to -0.010); classifiers with"
    )
    assert apart == "not told apart: AUROC by cell +0.000 (without an interval)."


def test_a_head_that_does_not_know_its_finding_has_no_matched_share():
    """Its own effect is near 0: a share of it is huge, and by chance of either sign."""
    rng = np.random.default_rng(0)
    means = {("Edema", "Edema"): 0.4, ("Mass", "Edema"): 0.2, ("Edema", "Mass"): 0.3}
    rows = [
        (edited, f"b{i}", read, means.get((edited, read), 0.001) + 0.05 * rng.normal())
        for edited in ("Edema", "Mass")
        for i in range(30)
        # Of one radiograph one finding could not be painted.
        if (edited, i) != ("Mass", 3)
        for read in ("Edema", "Mass")
    ]
    table = pd.DataFrame(rows, columns=["edited_finding", "baseline_id", "read_finding", "change"])
    wide = table.pivot_table(
        index=["edited_finding", "baseline_id"], columns="read_finding", values="change"
    )
    found = audit_measures._matched(wide, Rules(exact=True))
    assert found["Mass", "Edema"]["matched"] == pytest.approx(0.5, abs=0.1)
    assert found["Mass", "Edema"]["matched_flag"]
    # Measured by the edited finding's head, as in an audit: by 0.4, and not by what is near 0.
    assert found["Edema", "Mass"]["matched"] == pytest.approx(0.75, abs=0.1)
    assert found["Edema", "Mass"]["matched_flag"]
    blind = audit_measures._matched(wide.assign(Edema=0.0), Rules(exact=True))
    assert np.isnan(blind["Edema", "Mass"]["matched"])
    assert not blind["Edema", "Mass"]["matched_flag"]
    few = audit_measures._matched(wide, Rules(exact=True, fewest=31))
    assert np.isnan(few["Mass", "Edema"]["matched"])
