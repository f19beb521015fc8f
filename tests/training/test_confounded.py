"""Cohorts with planted co-occurrence, and the figures that are drawn from them."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bench import audit_arms, audit_page, audit_truth
from roentmod import classifiers
from roentmod.datasets.phantom import phantom
from roentmod.editors import Painter
from roentmod.edits import Edit
from roentmod.science.effects import Rules
from training import confounded
from training.confounded import FINDINGS, SIZE, Hosts, Plant

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
    assert len(honest) >= 48


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
    assert not np.array_equal(own.image.pixels, alone.image.pixels)
    assert other.status == "ok"


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
    return pd.DataFrame(rows, columns=columns)


COSTS = pd.DataFrame(
    [
        [name, *pair, drop]
        for name, drop in (("honest", 0.0), ("planted", 0.2))
        for pair in (PAIR, PAIR[::-1])
    ],
    columns=["plant", "edited", "read", "drop"],
)


def test_figures_of_a_perfect_and_of_a_blind_measure():
    perfect = audit_truth.figures(table(lambda rho, inside: rho * inside), COSTS, "ours")
    assert perfect["detection_auroc"] == 1
    assert perfect["power_by_rho"] == {"0.9": 1.0}
    assert perfect["false_alarm_rate"] == 0
    # Two drops of each size: the ranks agree as far as ties let them.
    assert perfect["spearman_auc_drop"] == pytest.approx(0.8944, abs=1e-4)
    blind = audit_truth.figures(table(lambda rho, inside: 0.5), COSTS, "ours")
    assert blind["detection_auroc"] == 0.5
    assert blind["false_alarm_rate"] == 1
    assert blind["false_alarm_rate_of_other_cells"] == 1


def test_page_says_what_is_at_the_ceiling():
    ours = {"detection_auroc": 1.0, "detection_auroc_by_cell": 0.999, "false_alarm_rate": 0.0}
    ours |= {"power_by_rho": {"0.9": 1.0}, "power_at_5_percent_by_rho": {"0.9": 0.8}}
    other = ours | {"false_alarm_rate": 0.3, "power_by_rho": {"0.9": 0.5}}
    said = audit_page._at_ceiling({"ours": ours, "plain_difference": other})
    lines = said.splitlines()
    assert "- detection AUROC by classifier: every measure" in lines
    assert "- power at rho 0.9: RoentMod" in lines
    assert "- false alarms: RoentMod" in lines
    # The same by both and not the best: it neither is at the ceiling nor tells them apart.
    assert "by cell" not in said
    assert lines[-1] == "Measures differ in: power at rho 0.9; false alarms."


def test_page_says_where_another_measure_is_better():
    ours = {"detection_auroc": 0.9, "false_alarm_rate": 0.01, "spearman_auc_drop": 0.9}
    other = {"detection_auroc": 0.95, "false_alarm_rate": 0.2, "spearman_auc_drop": 0.5}
    said = audit_page._compared(
        {"ours": ours, "plain_difference": other, "relative_change": other | ours}
    )
    assert "plain probability difference is better by detection AUROC" in said
    assert "relative change is as good by false alarms" in said
    assert "plain probability difference is better by false alarms" not in said


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
    found = audit_truth._matched(wide, Rules(exact=True))
    assert found["Mass", "Edema"]["matched"] == pytest.approx(0.5, abs=0.1)
    assert found["Mass", "Edema"]["matched_flag"]
    assert np.isnan(found["Edema", "Mass"]["matched"])
    assert not found["Edema", "Mass"]["matched_flag"]
