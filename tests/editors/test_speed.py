"""How long edits will take is said before they are made, from parts timed on small pictures."""

import logging
from types import SimpleNamespace

import pytest
import torch

from roentmod.editors import DiffusionEditor, engines, speed, transplant
from roentmod.edits import Edit
from roentmod.jobs import batches
from roentmod.jobs.study import timing

pytestmark = pytest.mark.slow

EDIT = Edit(("effusion",), num_inference_steps=10)


@pytest.fixture
def parts(generator):
    return transplant(None, generator)


def test_time_follows_operations_where_the_whole_would_take_long(parts, monkeypatch):
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(speed, "time", clock)
    sides = []

    def call(own, engine, side):
        sides.append(side)
        # Two seconds to read the weights, and 10^-8 per operation.
        clock.now += 2 + 1e-8 * speed._operations(decode, parts, [side])[side]
        return torch.zeros(1)

    def decode(own, engine, side):
        return engine.decode(torch.zeros(1, 4, side, side, device=own.vae.device))

    monkeypatch.setattr(
        speed, "_operations", lambda _, own, sides, real=speed._operations: real(decode, own, sides)
    )
    whole = 2 + 1e-8 * speed._operations(decode, parts, [64])[64]
    for patience, called in ((1.0, [16, 16, 32]), (1e9, [16, 16, 32, 64])):
        sides.clear()
        monkeypatch.setattr(speed, "_PATIENCE", patience)
        assert speed._seconds(call, parts, None, [16, 32, 64]) == pytest.approx(whole)
        assert sides == called


def test_operations_are_counted_and_not_done(parts):
    def predict(own, engine, side):
        latents = torch.zeros(2, 4, side, side, device=own.unet.device)
        return engine.unet(latents, torch.tensor(1), torch.zeros(2, 40, 16, device=latents.device))

    counted = speed._operations(predict, parts, [8, 16])
    assert 3.9 < counted[16] / counted[8] < 8
    assert parts.unet.device.type == "cpu"


def test_a_forecast_counts_rows_steps_and_pictures(parts, monkeypatch):
    editor = DiffusionEditor(parts)
    monkeypatch.setitem(vars(editor), "_speeds", {1: speed.Speed(1.0, 100.0, 1000.0)})
    other = Edit(("edema",), num_inference_steps=10)
    # Four steps of a guided edit, of its sham, and of the baseline's path: the first step has one
    # prediction away from the finding, the others three. All three are decoded.
    assert editor.forecast([EDIT]) == 3 + 3 * 5 + 100 + 3000
    assert editor.forecast([EDIT, other]) == 4 + 3 * 7 + 100 + 4000
    assert editor.forecast([Edit(("effusion",), num_inference_steps=1)]) == 0


def test_a_measured_forecast_has_the_size_of_what_follows(parts, monkeypatch):
    monkeypatch.setattr(engines, "_LARGE", 0)
    editor = DiffusionEditor(parts)
    assert editor.slow
    assert 0 < editor.forecast([EDIT]) < 20
    assert set(editor._speeds) == {1}
    assert all(seconds > 0 for seconds in editor._speeds[1])
    tiled = DiffusionEditor(transplant(None, parts.files[0].parents[1], tiled=True))
    assert tiled.forecast([EDIT]) > 0


def test_the_time_is_said_before_the_first_edit(caplog):
    editor = SimpleNamespace(slow=True, forecast=lambda edits: 150.0 * len(edits))
    with caplog.at_level(logging.INFO):
        batches.say_time(editor, [[EDIT]])
        batches.say_time(editor, [[EDIT] * 2] * 40)
        batches.say_time(SimpleNamespace(slow=False), [[EDIT]])
        batches.say_time(SimpleNamespace(), [[EDIT]])
        batches.say_time(editor, [])
    assert [record.getMessage() for record in caplog.records] == [
        "editing will take about 2.5 min (radiographs: 1, edits: 1)",
        "editing will take about 3.3 h (radiographs: 40, edits: 80, 5.0 min per radiograph by one "
        "worker)",
    ]


def test_a_study_forecasts_what_takes_long():
    editor = SimpleNamespace(slow=True, forecast=lambda edits: 60.0 * len(edits))
    assert timing._an_edit(editor, ("Edema", "Mass")) == 60
