"""Rows of several radiographs in one batch; editors that other processes load again."""

import pickle

import numpy as np
import pytest

from roentmod.datasets.phantom import phantom
from roentmod.editors import DiffusionEditor, Editor, transplant
from roentmod.edits import Edit
from roentmod.errors import RunError

EDITS = [Edit(("Edema",)), Edit(("Pleural Effusion",), side="left"), Edit(("Mass",), seed=3)]


@pytest.fixture(scope="module")
def radiographs():
    return [phantom(seed, size=128).radiograph for seed in (1, 2, 3)]


def pictures(results):
    return [one.image.pixels for each in results for one in each]


@pytest.mark.parametrize(("deterministic", "tolerance"), [(True, 0), (False, 1e-4)])
def test_radiographs_together_are_radiographs_one_by_one(
    generator, radiographs, deterministic, tolerance
):
    parts = transplant(None, generator)
    editor = DiffusionEditor(parts, batch_size=5, deterministic=deterministic)
    # Each with other edits: a batch holds rows of several radiographs.
    own = [EDITS, EDITS[:1], EDITS[1:]]
    together = editor.edit_each(radiographs, own)
    singly = [editor.edit([r], e) for r, e in zip(radiographs, own, strict=True)]
    assert [[one.edit for one in each] for each in together] == own
    for one, other in zip(pictures(together), pictures(singly), strict=True):
        assert np.abs(one - other).max() <= tolerance


def test_a_call_of_the_network_has_rows_of_several_radiographs(generator, radiographs):
    editor = DiffusionEditor(transplant(None, generator), batch_size=6)
    sizes, unet = [], editor.engine.unet

    def counted(latents, *rest):
        sizes.append(len(latents))
        return unet(latents, *rest)

    editor.engine.unet = counted
    editor.edit_each(radiographs, [EDITS[:1]] * 3)
    # Three edits and three shams, each guided: twelve rows.
    assert set(sizes) == {12}


def test_a_loaded_editor_is_sent_by_name(generator, radiographs):
    for name in (str(generator), "painter"):
        editor = Editor.load(name, engine="torch") if name != "painter" else Editor.load(name)
        sent = pickle.dumps(editor)
        assert len(sent) < 2000
        here, there = (one.edit(radiographs[:1], EDITS[:1]) for one in (editor, pickle.loads(sent)))
        assert np.array_equal(here[0].image.pixels, there[0].image.pixels)


def test_an_editor_of_parts_in_memory_cannot_be_sent(generator):
    with pytest.raises(RunError, match="Load it by name or path"):
        pickle.dumps(DiffusionEditor(transplant(None, generator)))
