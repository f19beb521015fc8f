from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from bench import judges_page
from bench import real_judge as bench
from roentmod.classifiers import Judge
from training import judge, measures, real_judge
from training import real_judge_pictures as pictures
from training.judge_network import Network

EFFUSION = pictures.FINDINGS.index("Pleural Effusion")


def row(labels="No Finding", *, source="a", view="PA", sex="M", patient="p", **more):
    facts = {"set": source, "view": view, "sex": sex, "patient_id": patient, "labels": labels}
    return facts | {"tier": "A", "split": "train", "age": "50", "detector": "0.168"} | more


def test_labels_leave_open_what_another_word_may_mean():
    infiltration, conflict, clean = pictures.targets_of(
        [row("Infiltration|Effusion"), row("Mass", tier="B_labels_conflict"), row()]
    )
    at = pictures.FINDINGS.index
    assert infiltration[at("Pleural Effusion")] == infiltration[at("Infiltration")] == 1
    assert np.isnan(infiltration[[at(n) for n in ("Consolidation", "Pneumonia", "Edema")]]).all()
    assert np.isnan(conflict).all()
    assert (clean == 0).all()


@pytest.fixture
def cohort():
    """Two sources, whose share of effusions differs, and one without negatives."""
    rows = [row("Effusion", source="a")] * 30 + [row(source="a")] * 10
    rows += [row("Effusion", source="b")] * 5 + [row(source="b")] * 95
    rows += [row("Effusion", source="b", sex="F")] * 7
    rows += [row("Effusion", source="b", detector="0.143")] * 3
    return rows, pictures.Strata([pictures.stratum(r) for r in rows], pictures.targets_of(rows))


def test_each_positive_is_drawn_with_a_negative_of_its_source_view_and_sex(cohort):
    rows, strata = cohort
    batches = pictures.Batches(torch.zeros(len(rows), 224, 224, dtype=torch.uint8), strata, 8, 0)
    for step in range(20):
        drawn = batches.rows(step)
        assert (strata.targets[drawn[::2], EFFUSION] == 1).all()
        assert (strata.targets[drawn[1::2], EFFUSION] == 0).all()
        assert [strata.names[i] for i in drawn[::2]] == [strata.names[i] for i in drawn[1::2]]
        # Women of source b have no negative, and neither has its other detector.
        assert not any(rows[i]["sex"] == "F" or rows[i]["detector"] == "0.143" for i in drawn)
    assert (batches.rows(3) == batches.rows(3)).all()


def test_negatives_weigh_as_much_as_positives_in_every_stratum(cohort):
    _, strata = cohort
    weights = strata.weights(np.ones(len(strata.names)))[:, EFFUSION]
    for name, members in strata.members.items():
        there = strata.targets[members, EFFUSION] == 1
        high, low = weights[members[there]].sum(), weights[members[~there]].sum()
        assert high == pytest.approx(low)
        assert (high > 0) == ("F" not in name and "0.143" not in name)


def test_a_picture_takes_the_grey_levels_of_another_and_keeps_their_order():
    rng = np.random.default_rng(0)
    dark, light = rng.integers(0, 80, (224, 224)), rng.integers(120, 256, (224, 224))
    both = torch.from_numpy(np.stack([dark, light]).astype(np.uint8))
    levels = pictures.Greys(both, 0).levels(0, 1)
    changed = levels[both[0].long()].numpy()
    assert (
        np.abs(np.quantile(changed, [0.1, 0.5, 0.9]) - np.quantile(light, [0.1, 0.5, 0.9])).max()
        < 3
    )
    assert (np.diff(levels.int()) >= 0).all()


def test_a_near_network_sees_nothing_far_away():
    torch.manual_seed(0)
    network = real_judge.made(160, near=True).eval()
    assert "whole.weight" not in network.state_dict()
    image = torch.rand((1, 1, 160, 160))
    changed = image.clone()
    changed[..., :60] = 0
    with torch.no_grad():
        (_, before, _), (_, after, _) = network(image), network(changed)
    assert not torch.equal(before[..., 0], after[..., 0])
    # The picture's left half is 80 pixels wide; a place of the right half sees at most 32 beyond.
    changed = image.clone()
    changed[..., :40] = 0
    with torch.no_grad():
        assert torch.equal(network(changed)[1][..., 1], before[..., 1])


def test_a_source_alone_has_a_matched_area_of_one_half():
    rng = np.random.default_rng(0)
    source = np.repeat([0, 1], 200)
    positive = rng.random(400) < np.where(source == 1, 0.8, 0.2)
    patients = [str(i) for i in range(400)]
    area, low, high = measures.matched_auc(
        source.astype(float), positive, source, patients, rounds=50
    )
    assert area == low == high == 0.5
    values = rng.normal(size=400) + positive
    area, low, high = measures.matched_auc(values, positive, ["one"] * 400, patients, rounds=200)
    assert area == pytest.approx(roc_auc_score(positive, values))
    assert low < area < high
    assert high - low < 0.15
    lone = measures.matched_auc(values, positive, source, patients)
    assert 0.5 < lone[0] < 1
    assert np.isnan(lone[1])
    assert np.isnan(measures.matched_auc(values[:3], np.ones(3, bool), ["a"] * 3, patients[:3])[0])


def test_filling_keeps_a_slope_and_takes_a_lump_away():
    slope = np.linspace(0, 1, 224, dtype=np.float32)[None].repeat(224, 0)
    box = bench.Box(0.3, 0.4, 0.2, 0.1)
    assert np.allclose(bench.filled(slope, [box.place]), slope, atol=1e-5)
    lump = slope.copy()
    inside = bench.Box(0.32, 0.42, 0.1, 0.05).place
    lump[inside] += 0.3
    assert np.allclose(bench.filled(lump, [box.place]), slope, atol=1e-5)
    edge = bench.filled(lump, [bench.Box(-0.1, 0.9, 0.4, 0.3).place])
    assert np.isfinite(edge).all()
    assert np.array_equal(edge[:200], lump[:200])


class Brightness:
    """A judge that sees brightness anywhere, and tells the brighter side."""

    findings = sided = ("Pneumonia",)

    def logits(self, images):
        return images.max((1, 2))[:, None]

    def sides(self, images):
        return np.stack([images[..., :112].max((1, 2)), images[..., 112:].max((1, 2))], 1)[:, None]


def marked(x=0.2):
    box = bench.Box(x, 0.3, 0.1, 0.1)
    pixels = np.full((224, 224), 0.2, np.float32)
    pixels[box.place][2:-2, 2:-2] = 0.9
    return bench.Marked("RSNA", "Pneumonia", row(split="test"), pixels, (box,))


def test_covering_tells_a_judge_that_looks_from_one_that_does_not():
    cases = [marked(0.2), marked(0.7), marked(0.45)]
    assert [case.side for case in cases] == ["right", "left", "right"]
    figures = bench.covering(cases, Brightness())["Pneumonia (RSNA)"]
    # A box across the midline has no other side.
    assert figures["pictures"] == 2
    assert figures["covered"] == pytest.approx(-0.7)
    assert figures["mirrored"] == 0
    assert figures["falls_more"] == 1
    learned = replace(cases[0], row=row(split="train"))
    assert list(bench.covering([learned], Brightness())) == ["Pneumonia (RSNA, learned)"]


def test_sides_are_turned_with_the_picture():
    figures = bench.sides([marked(0.2), marked(0.7)], Brightness())
    assert figures == {"Pneumonia": {"n": 2, "pictures": 1.0, "mirrored": 1.0}}


def test_the_mean_of_networks_is_exported_as_a_judge(tmp_path):
    torch.manual_seed(0)
    networks = [
        Network(pictures.FINDINGS, pictures.SIDED, size=32, labelled_sides=False).eval()
        for _ in range(2)
    ]
    names = ["Edema", "Pleural Effusion"]
    mean = real_judge.Mean(networks, names)
    judge.export(mean, tmp_path / "judge.onnx")
    line = {"slope": [2.0, 1.0], "offset": [0.0, 1.0]}
    plain = {"slope": [[1, 1]], "offset": [[0, 0]]}
    card = {"findings": names, "sided": names[1:], "size": 224}
    judge.write_json(
        tmp_path / "judge.json", card | {"calibration": {"logits": line, "sides": plain}}
    )
    images = np.random.default_rng(0).random((2, 224, 224), np.float32)
    with torch.no_grad():
        each = [network(torch.from_numpy(images)[:, None]) for network in networks]
    columns = [pictures.FINDINGS.index(name) for name in names]
    logits = sum(one[0] for one in each)[:, columns].numpy() / 2
    loaded = Judge.load(tmp_path)
    assert np.allclose(loaded.logits(images), logits * [2, 1] + [0, 1], atol=1e-4)
    right = sum(one[1] for one in each)[:, [0]].numpy() / 2
    assert np.allclose(loaded.sides(images), right, atol=1e-4)


def test_the_page_counts_what_enough_patients_show():
    def cell(auc, patients):
        return {"auc": auc, "patients": patients}

    def covered(high, patients=30, low=-2.0):
        return {"ci": [low, high], "patients": patients}

    reads = {
        "real": {"Edema": cell(0.9, 10), "Hernia": cell(0.9, 3), "Mass": cell(0.7, 30)},
        "covering": {
            "Mass (NIH)": covered(-0.1),
            "Mass (RSNA, learned)": covered(-0.1),
            "Edema (NIH)": covered(0.1),
            "Nodule (NIH)": covered(-0.1, patients=9),
            "Infiltration (RSNA)": covered(0.2, low=0.1),
        },
    }
    figures = {"real_judge_reads": reads}
    assert judges_page.good(figures, "real_judge") == ["Edema"]
    assert judges_page.seen(figures, "real_judge") == ["Mass (NIH)"]
    assert judges_page.against(figures, "real_judge") == ["Infiltration (RSNA)"]


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, x):
        return (self.line(x.flatten(1)),)


def test_a_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    def draw(step):
        x = torch.randn((8, 1, 2, 2), generator=torch.Generator().manual_seed(step))
        return x, {"target": x.mean((1, 2, 3))[:, None]}

    def loss(outputs, rows):
        return (outputs[0].float() - rows["target"]).square().mean()

    def weights(name, score):
        torch.manual_seed(0)
        lesson = judge.Lesson(Line(), draw, loss, score)
        return judge.fit(lesson, judge.Course(20, 60, every=5), tmp_path / name)["model"]

    whole = weights("whole.pt", lambda network: 0.0)
    # Killed at its third look, after the checkpoint of the second.
    looks = iter([0.0, 0.0])
    with pytest.raises(StopIteration):
        weights("halved.pt", lambda network: next(looks))
    halved = weights("halved.pt", lambda network: 0.0)
    assert all(torch.equal(whole[key], halved[key]) for key in whole)


def test_no_finding_is_read_twice():
    names = pictures.FINDINGS
    assert len(names) == len({*names})
    assert {"Infiltration", "Emphysema", "Fibrosis", "Pleural Thickening"} < {*names}
