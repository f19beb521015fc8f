"""The self-test: what works passes, what is broken fails with a remedy."""

import numpy as np

from roentmod.editors import DiffusionEditor, Editor, transplant, trial
from roentmod.editors.trial import trial as run


def by_name(findings):
    return {one.name: one for one in findings}


def test_the_bundled_generator_passes_and_says_time_and_memory():
    found = by_name(run(Editor.load("mini", engine="torch")))
    assert all(one.passed for one in found.values()), found
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
    assert found["the edit does something"].text == "not_finite"
    assert not found["the sham keeps the film"].passed
