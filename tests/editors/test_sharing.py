"""What several predictions have in common is predicted once, and pictures stay as they were."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from roentmod.datasets.phantom import phantom
from roentmod.editors import DiffusionEditor, rows, sampling, speed, transplant
from roentmod.editors.engines import CompiledEngine
from roentmod.edits import Edit
from roentmod.radiograph import Radiograph
from tests.editors.counting import Counter
from tests.tiny import write_unet

pytestmark = pytest.mark.slow

# Four steps.
WORDS = {"num_inference_steps": 10}
FINDINGS = ("effusion", "cardiomegaly", "edema", "nodule", "mass", "pneumonia")
SIX = [Edit((name,), **WORDS) for name in FINDINGS]
KINDS = [
    Edit(("effusion",), **WORDS),
    Edit(("effusion",), composite="baseline", **WORDS),
    Edit(("effusion",), composite="none", seed=3, **WORDS),
    Edit(("edema",), guidance_scale=1, **WORDS),
    Edit(("edema",), hold=("Mass", "Nodule"), seed=3, **WORDS),
    Edit(("mass",), action="remove", strength=0.6, **WORDS),
    Edit(("mass",), action="remove", hold=("Edema",), **WORDS),
    Edit(("mass",), scheduler="pndm", **WORDS),
    Edit(("nodule",), scheduler="dpmsolver++-logsnr", guidance_scale=9, **WORDS),
    Edit(("No Finding",), hold=("Edema",), **WORDS),
]


def worded(parts, normal=""):
    return replace(parts, profile=replace(parts.profile, normal=normal))


@pytest.fixture(scope="module")
def parts(generator):
    """As `mini`: its shams have no words."""
    return worded(transplant(None, generator))


@pytest.fixture(scope="module")
def student(generator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    for one in generator.iterdir():
        if one.name != "unet":
            (folder / one.name).symlink_to(one)
    torch.manual_seed(1)
    write_unet(folder / "unet", time_cond_proj_dim=10)
    return worded(transplant(None, folder))


def counted(parts, radiographs, edits, **options):
    engine = Counter(parts)
    editor = DiffusionEditor(parts, engine=engine, **options)
    done = editor.edit_each(radiographs, [edits] * len(radiographs))
    assert all(one.status == "ok" for own in done for one in own)
    return engine


@pytest.mark.parametrize(
    ("edits", "calls", "decoded"),
    [
        # Edit and path: the first step knows one "", the others the row's and the path's.
        (SIX[:1], [2, 3, 3, 3], 2),
        (SIX, [7, 13, 13, 13], 7),
        # Without an anchor the sham is a row whose two prompts are one.
        ([replace(one, composite="none") for one in SIX], [7, 13, 13, 13], 7),
        ([replace(one, composite="baseline") for one in SIX], [7, 13, 13, 13], 8),
        # Two seeds: two paths.
        ([SIX[0], replace(SIX[0], seed=1)], [4, 6, 6, 6], 4),
        # What differs by its guidance alone has one first step.
        ([SIX[0], replace(SIX[0], guidance_scale=9)], [2, 5, 5, 5], 3),
        ([replace(SIX[0], hold=("Mass",))], [3, 4, 4, 4], 2),
        # The path has the words to go away from; the sham stays.
        ([replace(SIX[0], action="remove")], [2, 3, 3, 3], 2),
        # A sampler that mistimes its start: a row of the sham, and the baseline to compare with.
        ([replace(SIX[0], scheduler="pndm")], [2, 4, 4, 4, 4], 3),
        ([SIX[0].sham()], [], 1),
    ],
)
def test_predictions_are_those_that_differ(parts, radiograph, edits, calls, decoded):
    engine = counted(parts, [radiograph], edits)
    assert engine.rows == calls
    assert sum(engine.decoded) == decoded


def test_regions_have_one_still_sham(parts):
    body = phantom(1, size=160)
    edits = [SIX[0], *(replace(SIX[2], region=f"{side} lung") for side in ("left", "right"))]
    known = {body.radiograph.id: body.anatomy}
    engine = counted(parts, [body.radiograph], edits, anatomies=known)
    # Before the first step, the same words in two regions are one prediction, too.
    assert engine.rows == [3, 7, 7, 7]
    assert sum(engine.decoded) == 4


def test_a_sham_that_has_words_is_a_row(parts, radiograph):
    engine = counted(worded(parts, "normal"), [radiograph], SIX)
    # Seven rows and a path; in the first step "" is one.
    assert engine.rows == [8, 15, 15, 15]
    assert sum(engine.decoded) == 8


def test_one_pass_per_row_and_one_per_path(student, radiograph):
    assert counted(student, [radiograph], SIX).rows == [7] * 4


def test_rows_of_several_radiographs_share_with_their_own(parts, radiograph):
    films = [radiograph, Radiograph.from_array(radiograph.pixels[:, ::-1])]
    assert counted(parts, films, SIX[:2], batch_size=4).rows == [6, 10, 10, 10]
    # One row per batch where not a bit may depend on its company.
    assert counted(parts, films, SIX[:2], deterministic=True).rows == [2, 3, 3, 3] * 4


def test_what_compiles_has_one_shape(parts, radiograph, monkeypatch):
    monkeypatch.setattr(Counter, "name", CompiledEngine.name)
    assert counted(parts, [radiograph], SIX).rows == [13] * 4


@pytest.fixture
def plainly(monkeypatch):
    """Everything is predicted, as often as it is needed."""

    def switch():
        monkeypatch.setattr(rows.Row, "still", property(lambda _: False))
        monkeypatch.setattr(sampling.Guidance, "shared", property(lambda _: None, lambda *_: None))

    return switch


def test_pictures_are_those_of_all_predictions(parts, student, radiograph, plainly, monkeypatch):
    # Nothing is drawn of the posterior, which is wide without training.
    drawn = sampling.draw
    monkeypatch.setattr(sampling, "draw", lambda *key: (torch.zeros(key[2]), drawn(*key)[1]))
    films = [radiograph, Radiograph.from_array(radiograph.pixels[:, ::-1])]
    region = np.zeros(radiograph.stored.shape, bool)
    region[20:70, 10:60] = True
    ends_clean = [replace(one, scheduler="dpmsolver++", guidance_scale=30) for one in SIX[:2]]

    def made():
        return [
            one
            for own, edits in ((parts, KINDS + ends_clean), (student, KINDS))
            for each in DiffusionEditor(own, batch_size=5).edit_each(
                films, [edits, edits], masks=[None, region]
            )
            for one in each
        ]

    shared = made()
    plainly()
    plain = made()
    # What rounding does to batches of other sizes, much guided.
    level = 1e-4
    for one, other in zip(shared, plain, strict=True):
        assert one.status == other.status == "ok"
        assert np.abs(one.image.pixels - other.image.pixels).max() <= level
        # With other samplers the end is not quite clean, which an untrained decoder enlarges.
        if one.edit.composite != "sham" or one.edit.scheduler == "dpmsolver++":
            assert np.abs(one.sham.pixels - other.sham.pixels).max() <= level
    assert any(np.abs(one.difference).max() > 0.01 for one in plain if one.edit in ends_clean)


def test_a_still_sham_is_the_baseline_to_the_last_bit(parts, radiograph):
    (done,) = DiffusionEditor(parts).edit([radiograph], SIX[:1])
    assert np.array_equal(done.sham.stored, radiograph.stored)
    assert done.sham.synthetic
    (asked,) = DiffusionEditor(parts).edit([radiograph], [SIX[0].sham()])
    assert np.array_equal(asked.image.stored, radiograph.stored)
    assert not asked.difference.any()
    assert not asked.support.any()


@pytest.mark.parametrize("normal", ["", "normal"])
@pytest.mark.parametrize("edits", [SIX, SIX[:1], *([one] for one in KINDS), KINDS])
def test_a_forecast_counts_what_is_done(parts, radiograph, edits, normal, monkeypatch):
    own = worded(parts, normal)
    engine = counted(own, [radiograph], edits)
    editor = DiffusionEditor(own)
    monkeypatch.setitem(vars(editor), "_speeds", {1: speed.Speed(1.0, 1e4, 1e6)})
    wanted = sum(engine.rows) + 1e4 + 1e6 * sum(engine.decoded)
    assert editor.forecast(edits) == wanted
