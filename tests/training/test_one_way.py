"""Composite one-way beside the default one: the page is of the figures, and what they mean."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import one_way, weights
from roentmod.interfaces import Counterfactual

ROOT = Path(__file__).parents[2]
NAMES = ("Edema", "Emphysema")


def test_the_page_follows_from_the_figures():
    result = json.loads((ROOT / one_way.JSON).read_text(encoding="utf-8"))
    own = weights.of(one_way.JSON).weights
    page = (ROOT / one_way.PAGE).read_text(encoding="utf-8")
    assert weights.headed(one_way.page(result), result, own) == page
    for modes in result["findings"].values():
        assert modes["one-way"]["against_healthy"] == modes["one-way"]["against_carrying"] == 0


class Halves:
    """Brightens the upper half and darkens the lower one; one-way does one of them."""

    def edit(self, radiographs, edits):
        made = []
        for edit in edits:
            change = np.zeros(radiographs[0].pixels.shape, dtype=np.float32)
            change[: len(change) // 2], change[len(change) // 2 :] = 0.3, -0.1
            if edit.direction:
                change = np.maximum(change * edit.direction, 0) * edit.direction
            image = radiographs[0].with_pixels(radiographs[0].pixels + change)
            made.append(Counterfactual(radiographs[0], edit, "ok", image, difference=change))
        return made


class Bright:
    """Reads edema by the upper half, and a mass by the lower one."""

    findings = ("Edema", "Mass")

    def logits(self, images):
        return np.stack([images[:, :112].mean((1, 2)), images[:, 112:].mean((1, 2))], axis=1)


def test_figures_tell_what_goes_with_and_against_a_finding(tmp_path):
    levels = np.random.default_rng(0).integers(110, 130, (224, 224), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    rows = one_way.measured(Halves(), tmp_path / "a.png", NAMES, {"judge": Bright()})
    found = one_way.figures({"healthy": rows, "carrying": rows})
    near = {"abs": 5e-3}
    edema = found["Edema"]
    assert edema["sham"] == {
        "judge.own": pytest.approx(0.3, **near),
        "judge.off_target": pytest.approx(0.1, **near),
        "carried": pytest.approx(-0.1, **near),
        "against_healthy": pytest.approx(0.25, **near),
        "against_carrying": pytest.approx(0.25, **near),
    }
    assert edema["one-way"]["carried"] == edema["one-way"]["judge.off_target"] == 0
    assert edema["one-way"]["judge.own"] == pytest.approx(0.3, **near)
    # Less density: the lower half goes with it, and the judge does not read it.
    assert found["Emphysema"]["sham"]["against_healthy"] == pytest.approx(0.75, **near)
    assert found["Emphysema"]["one-way"]["judge.own"] is None
