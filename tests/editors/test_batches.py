"""Radiographs that are edited together come out as each by itself."""

import pickle
from itertools import chain

import numpy as np
import pytest

from roentmod.datasets.phantom import phantom
from roentmod.editors import DiffusionEditor, Editor, Painter, transplant
from roentmod.edits import Edit
from roentmod.errors import EditError, RunError
from roentmod.radiograph import Radiograph
from tests.editors.counting import Counter

WORDS = {"num_inference_steps": 10, "composite": "none"}
EDITS = [
    [Edit(("effusion",), **WORDS), Edit(("edema",), hold=("Mass",), **WORDS)],
    [],
    [Edit(("nodule",), strength=0.6, **WORDS), Edit(("effusion",), strength=0.01, **WORDS)],
    [Edit(("mass",), action="remove", **WORDS), Edit(("edema",), seed=4, **WORDS)],
    [Edit((name,), **WORDS) for name in ("effusion", "edema", "mass")],
]


@pytest.fixture(scope="module")
def parts(generator):
    return transplant(None, generator)


@pytest.fixture(scope="module")
def radiographs(radiograph):
    pixels = radiograph.pixels
    views = (pixels, pixels[::-1], pixels[:, ::-1], pixels[:80], pixels[:, 10:])
    return [Radiograph.from_array(view) for view in views]


@pytest.fixture(scope="module")
def masks(radiographs):
    marked = np.zeros(radiographs[0].stored.shape, bool)
    marked[20:70, 10:60] = True
    return [marked, None, None, None, None]


def singly(editor, radiographs, masks):
    rows = zip(radiographs, EDITS, masks, strict=True)
    return [editor.edit([one], edits, masks=[mask]) for one, edits, mask in rows]


def pairs(together, alone):
    assert [len(own) for own in together] == [len(own) for own in alone] == [2, 0, 2, 2, 3]
    for own, other in zip(chain(*together), chain(*alone), strict=True):
        assert own.status == other.status
        assert own.edit == other.edit
        if own.status == "ok":
            yield own, other


def test_in_common_batches_pictures_stay_within_rounding(parts, radiographs, masks):
    editor = DiffusionEditor(parts, batch_size=5)
    together = editor.edit_each(radiographs, EDITS, masks=masks)
    found = list(pairs(together, singly(editor, radiographs, masks)))
    assert len(found) == 8
    for own, other in found:
        for picture, wanted in ((own.image, other.image), (own.sham, other.sham)):
            assert np.abs(picture.pixels - wanted.pixels).max() <= 1e-4
        assert np.array_equal(own.support, other.support)
        times = ({**done.facts, "seconds": 0} for done in (own, other))
        assert next(times) == next(times)


def test_deterministic_is_bit_for_bit_among_other_radiographs(parts, radiographs, masks):
    editor = DiffusionEditor(parts, deterministic=True)
    together = editor.edit_each(radiographs, EDITS, masks=masks)
    for own, other in pairs(together, singly(editor, radiographs, masks)):
        assert np.array_equal(own.image.stored, other.image.stored)
        assert np.array_equal(own.sham.stored, other.sham.stored)


def test_rows_of_several_radiographs_fill_a_batch(parts, radiographs):
    engine = Counter(parts)
    editor = DiffusionEditor(parts, engine=engine, batch_size=4)
    edits = [[Edit(("effusion",), **WORDS)]] * 4
    editor.edit_each(radiographs[:4], edits)
    # Eight rows, an edit and a sham each; guided rows are two predictions, of which the first step
    # has one in common.
    assert engine.rows == [6, 8, 8, 8] * 2
    assert engine.decoded == [4, 4]


def test_pictures_of_a_few_batches_are_decoded_at_once(parts, radiographs):
    engine = Counter(parts)
    editor = DiffusionEditor(parts, engine=engine, batch_size=1)
    done = editor._edited(radiographs[:3], [EDITS[4]] * 3, None)
    next(done)
    # Of the first radiograph alone: three edits and their sham.
    assert sum(engine.decoded) == 4


def test_a_radiograph_twice_with_two_masks_is_two_results(parts, radiograph, masks):
    editor = DiffusionEditor(parts, deterministic=True)
    inside, whole = editor.edit_each([radiograph] * 2, [EDITS[0][:1]] * 2, masks=[masks[0], None])
    assert not inside[0].support[~masks[0]].any()
    alone = editor.edit([radiograph], EDITS[0][:1])[0]
    assert np.array_equal(whole[0].image.stored, alone.image.stored)


def test_each_radiograph_has_its_edits(parts, radiographs):
    with pytest.raises(EditError, match="one list of edits per radiograph; got 1 for 2"):
        DiffusionEditor(parts).edit_each(radiographs[:2], EDITS[:1])


def test_on_a_processor_radiographs_are_not_batched(parts):
    assert DiffusionEditor(parts).at_once == 1


def test_the_painter_takes_edits_of_each():
    bodies = [phantom(seed, size=224) for seed in range(2)]
    pictures = [body.radiograph for body in bodies]
    edits = [[Edit(("effusion",))], [Edit(("nodule",)), Edit(("edema",))]]
    painter = Painter({body.radiograph.id: body.anatomy for body in bodies})
    each = painter.edit_each(pictures, edits)
    assert [len(own) for own in each] == [1, 2]
    alone = painter.edit(pictures[1:], edits[1])[1]
    assert np.array_equal(each[1][1].image.stored, alone.image.stored)


def test_an_editor_pickles_as_its_name_and_options(generator, radiograph, tmp_path, monkeypatch):
    monkeypatch.chdir(generator.parent)
    editor = Editor.load(generator.name, engine="torch", deterministic=True)
    described, packed = editor.describe(), pickle.dumps(editor)
    assert len(packed) < 1000
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(packed)
    assert again.describe() == described
    one, other = (e.edit([radiograph], EDITS[0][:1])[0] for e in (editor, again))
    assert np.array_equal(one.image.stored, other.image.stored)
    assert len(pickle.dumps(again)) == len(packed)


def test_an_editor_of_parts_in_memory_is_not_sent(parts):
    with pytest.raises(RunError, match=r"DiffusionEditor was made from parts in memory\. Load it"):
        pickle.dumps(DiffusionEditor(parts))


def test_the_painter_pickles_with_what_it_knows():
    body = phantom(1, size=224)
    assert len(pickle.dumps(Editor.load("painter"))) < 200
    painter = Painter({body.radiograph.id: body.anatomy})
    again = pickle.loads(pickle.dumps(painter))
    one, other = (p.edit([body.radiograph], [Edit(("nodule",))])[0] for p in (painter, again))
    assert np.array_equal(one.image.stored, other.image.stored)
