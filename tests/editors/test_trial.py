"""The self-test: what works passes, what is broken fails with a remedy."""

from dataclasses import replace

import numpy as np
import pytest

from roentmod.editors import DiffusionEditor, Editor, Painter, transplant, trial
from roentmod.editors.trial import trial as run

pytestmark = pytest.mark.slow


def by_name(findings):
    return {one.name: one for one in findings}


def test_the_bundled_generator_passes_and_says_time_and_memory():
    found = by_name(run(Editor.load("mini", engine="torch")))
    assert all(one.passed for one in found.values()), found
    assert "drifts by" in found["the film is still itself"].text
    assert found["speed"].text.endswith("effective steps, with its sham, cpu")
    assert "GB" in found["memory"].text


def test_an_editor_that_draws_nothing_from_noise_is_tried_too():
    found = by_name(run(Editor.load("painter")))
    assert "draws a normal film" not in found
    assert all(one.passed for one in found.values()), found


def test_random_weights_fail_with_a_remedy(generator):
    found = by_name(run(DiffusionEditor(transplant(None, generator))))
    film = found["draws a normal film"]
    assert not film.passed
    assert "--profile" in film.remedy


def test_prompts_that_change_nothing_fail(generator, monkeypatch):
    editor = DiffusionEditor(transplant(None, generator))
    states = editor.parts.text_states("")
    monkeypatch.setattr(editor, "_text", lambda prompt: states)
    found = by_name(run(editor))
    assert not found["the edit does something"].passed


def test_a_slow_generator_is_tried_with_fewer_steps(generator, monkeypatch):
    monkeypatch.setattr(trial, "_PATIENCE", 1e-6)
    found = by_name(run(DiffusionEditor(transplant(None, generator))))
    assert found["speed"].text.startswith("about ")
    assert "30 effective steps (estimated from 2)" in found["speed"].text


def test_pictures_that_are_none_fail_by_their_status(generator, monkeypatch):
    editor = DiffusionEditor(transplant(None, generator))
    decode = editor.engine.decode
    monkeypatch.setattr(editor.engine, "decode", lambda latents: decode(latents) * np.nan)
    found = by_name(run(editor))
    for name in ("the edit does something", "the sham keeps the film", "the film is still itself"):
        assert found[name].text == "not_finite"
        assert not found[name].passed


class Faulty:
    """The painter, with `fault` added to pictures of one composite that request nothing."""

    name = "faulty"

    def __init__(self, fault, composite):
        self.painter, self.fault, self.composite = Painter(), fault, composite

    def edit(self, radiographs, edits, **options):
        return [self.spoilt(one) for one in self.painter.edit(radiographs, edits, **options)]

    def spoilt(self, one):
        if one.edit.composite != self.composite or one.edit.findings != ("No Finding",):
            return one
        film = one.baseline.pixels
        return replace(one, image=one.baseline.with_pixels(np.clip(film + self.fault, 0, 1)))


@pytest.mark.parametrize(
    ("composite", "check"),
    [("sham", "the sham keeps the film"), ("none", "the film is still itself")],
)
def test_a_finite_sham_that_moves_its_film_fails_with_a_remedy(composite, check):
    patch = np.zeros((512, 512), dtype=np.float32)
    patch[250:270, 250:270] = 0.02
    for fault in (patch, np.full_like(patch, 0.1)) if composite == "sham" else [patch + 0.1]:
        found = by_name(run(Faulty(fault, composite)))
        assert [name for name, one in found.items() if not one.passed] == [check]
        assert found[check].remedy
    # Rounding, and a drift that is stated, are none.
    passed = by_name(run(Faulty(patch / 10 if composite == "sham" else patch, composite)))
    assert passed[check].passed
