"""Seeds that always draw the same are found out, and so are shams that change the picture."""

import numpy as np
import pytest

from roentmod.datasets.phantom import phantom
from roentmod.interfaces import Counterfactual
from roentmod.radiograph import Radiograph
from tests.training.test_evaluate import Bright, lifted
from training import shams, variety
from training.benchmark import Bench


class Dotting:
    """An editor that draws a disc into a lung: at the seed's place, or always at the same."""

    name = "dotting"

    def __init__(self, anatomy, varied):
        self.anatomy, self.varied = anatomy, varied

    def edit(self, radiographs, edits):
        return [self._one(radiographs[0], edit) for edit in edits]

    def _one(self, radiograph, edit):
        rng = np.random.default_rng(edit.seed if self.varied else 0)
        at = rng.choice(len(variety.CELLS), p=variety.shares(edit.findings[0]))
        side, third = variety.CELLS[at].split()
        rows, columns = np.nonzero(self.anatomy.zone(side, third))
        k = rng.integers(len(rows))
        y, x = np.ogrid[: radiograph.pixels.shape[0], : radiograph.pixels.shape[1]]
        disc = np.hypot(y - rows[k], x - columns[k]) < rng.uniform(5, 12)
        image = radiograph.with_pixels(np.clip(radiograph.pixels + 0.2 * disc, 0, 1))
        return Counterfactual(radiograph, edit, "ok", image, radiograph, support=disc)


class Wide(Bright):
    findings, size = ("Nodule", "Mass"), 224


@pytest.mark.parametrize("varied", [True, False])
def test_places_and_likeness_of_seeds(varied):
    made = phantom(3, size=224)
    bench = Bench(Dotting(made.anatomy, varied), Wide(), None, [])
    bench.radiographs, bench.rows = [made.radiograph], [{"path": "phantom"}]
    bench.findings = ("Mass",)
    figures = variety.variety(bench, seeds=20)["Mass"]
    assert figures["edits"] == sum(figures["places"].values()) == 20
    assert figures["pairs"] == 190
    if varied:
        assert figures["p"] > 0.05
        assert figures["alike"] < 0.05
        assert figures["ssim_mean"] < 0.4
    else:
        assert figures["p"] < 0.01
        assert figures["alike"] == 1


def test_the_p_of_places_is_right_where_they_are_drawn_as_expected(monkeypatch):
    monkeypatch.setattr(variety, "ROUNDS", 999)
    expected = variety.shares("Nodule")
    rng = np.random.default_rng(4)
    values = [variety.fit(rng.multinomial(60, expected), expected)[1] for _ in range(200)]
    assert 0.02 <= np.mean(np.array(values) < 0.1) <= 0.2


def test_no_change_has_no_place():
    made = phantom(3, size=224)
    assert variety.cell(np.zeros((224, 224), np.float32), made.anatomy) is None


def test_shams_are_moved_by_their_distance_from_the_radiograph(monkeypatch):
    """Shams of this editor lift the picture by 0.07; the judge's logit is ten times the mean."""
    monkeypatch.setattr(shams, "STEPS", 2)
    bench = lifted(count=6)
    bench.editor._one = lambda radiograph, edit: Counterfactual(
        radiograph, edit, "ok", *_shams(radiograph), support=np.ones((64, 64), bool)
    )
    figures = shams.shams(bench)
    assert figures["logit"] == pytest.approx(0.7, abs=0.01)
    assert figures["logit_by_finding"] == pytest.approx({"Edema": 0.7, "Mass": 0.7}, abs=0.01)
    assert figures["n"] == 6


def _shams(radiograph: Radiograph):
    sham = radiograph.with_pixels(radiograph.pixels + 0.07)
    return sham, sham


@pytest.mark.parametrize(("trace", "low", "high"), [(0.0, 0.4, 0.6), (0.1, 0.85, 1.0)])
def test_the_network_finds_traces_where_there_are_some(trace, low, high, monkeypatch):
    monkeypatch.setattr(shams, "STEPS", 60)
    monkeypatch.setattr(shams, "PAIRS", 6)
    monkeypatch.setattr(shams, "FOLDS", 2)
    rng = np.random.default_rng(0)
    plain = rng.uniform(0.3, 0.6, (16, 1, 1)) + rng.normal(0, 0.02, (16, 32, 32))
    lifted = plain + trace * (np.arange(32) < 16)
    pictures = np.stack([lifted, lifted], axis=1)
    area = shams.network(pictures.astype(np.float32), plain.astype(np.float32))["auc"]
    assert low <= area <= high
