"""A student beside its teacher: figures of editors whose doings are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from roentmod.imaging import write
from roentmod.interfaces import Counterfactual
from roentmod.radiograph import Radiograph
from training import compare

STEPS = {None: 2, "mild": 1, "moderate": 2, "severe": 3}


class Lifting:
    """Edits lift the picture by `by` a level of severity; shams by `sham`."""

    findings = ("Edema",)

    def __init__(self, by, sham):
        self.by, self.sham, self.name = by, sham, "lifting"

    def edit(self, radiographs, edits):
        (film,) = radiographs
        lifted = lambda amount: film.with_pixels(film.pixels + np.float32(amount))  # noqa: E731
        whole = np.ones(film.pixels.shape, bool)
        for edit in edits:
            image, sham = lifted(self.by * STEPS[edit.severity]), lifted(self.sham)
            change = image.pixels - film.pixels
            yield Counterfactual(film, edit, "ok", image, sham, change, whole)


class Mean:
    """A judge that reads the mean grey level."""

    findings, sided, size = ("Edema",), (), 16

    def logits(self, pictures):
        return pictures.mean((1, 2))[:, None]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    head = "path,set,tier,split,labels,view,patient_id,age,sex\n"
    for number in range(3):
        film = Radiograph.from_array(rng.uniform(0.2, 0.25, (64, 64)))
        write(film, tmp_path / f"{number}.png", provenance=None)
        head += f"{number}.png,nih,A,val,No Finding,PA,{number},40,F\n"
    (tmp_path / "index.csv").write_text(head)
    return tmp_path


def test_a_student_is_measured_against_its_teacher(data, monkeypatch):
    known = {"teacher": Lifting(0.1, 0.02), "student": Lifting(0.09, -0.3)}
    monkeypatch.setattr(
        compare.Editor, "load", lambda name: SimpleNamespace(**_listed(known[name]))
    )
    rows = compare.choose(compare.rows_of(data), 3, 0, split="val")
    both = [compare.Measured(name, Mean(), data, rows) for name in known]
    figures = compare.compared(*both)
    assert figures["distance"]["Edema"] == pytest.approx(0.1, abs=0.01)
    for name, net, sham in (("teacher", 0.2, 0.02), ("student", 0.18, 0.225)):
        one = figures[name]
        assert one["findings"]["Edema"]["net_logit"] == pytest.approx(net, abs=0.01)
        assert one["findings"]["Edema"]["success_auroc"] == 1
        # Three baselines, each with its three levels in order.
        assert one["findings"]["Edema"]["severity_spearman"] == pytest.approx(1, abs=0.1)
        assert one["sham_logit"] == pytest.approx(sham, abs=0.01)
        assert one["seconds_per_edit"] >= 0


def _listed(editor):
    return {
        "name": editor.name,
        "findings": editor.findings,
        "edit": lambda *films: list(editor.edit(*films)),
    }
