"""The bundled recogniser: what it returns, and whether patients are found again."""

import json
import pickle
import shutil

import numpy as np
import pytest
from scipy import ndimage

from roentmod.classifiers import Recogniser
from roentmod.classifiers.bundled import recogniser as module
from roentmod.datasets.phantom import phantom
from roentmod.editors import compose
from roentmod.errors import ClassifierError, WeightsError
from roentmod.science.fidelity import nearest

PATIENTS = 12


@pytest.fixture(scope="module")
def recogniser():
    return Recogniser.load()


@pytest.fixture(scope="module")
def films(recogniser):
    return np.stack(
        [compose.shrink(phantom(900 + n).radiograph, recogniser.size) for n in range(PATIENTS)]
    )


def again(film, number):
    """The same patient on another day: moved by up to 4 pixels, otherwise exposed, with noise."""
    rng = np.random.default_rng(number)
    moved = ndimage.shift(film, rng.uniform(-4, 4, 2), order=1, mode="nearest")
    noisy = moved.clip(0, 1) ** rng.uniform(0.75, 1.3) + rng.normal(0, 0.01, film.shape)
    return noisy.clip(0, 1).astype(np.float32)


def test_vectors_have_length_1_and_depend_on_their_own_picture_alone(recogniser, films):
    vectors = recogniser.embed(films)
    assert vectors.shape == (PATIENTS, recogniser.numbers)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (recogniser.embed(films) == vectors).all()
    singles = np.concatenate([recogniser.embed(one[None]) for one in films])
    assert (singles == vectors).all()
    assert recogniser.embed(films[:0]).shape == (0, recogniser.numbers)


def test_patients_are_found_again_and_not_in_an_exchanged_gallery(recogniser, films):
    gallery = recogniser.embed(films)
    later = recogniser.embed(np.stack([again(one, n) for n, one in enumerate(films)]))
    at, _ = nearest(later, gallery)
    assert (at == np.arange(PATIENTS)).sum() >= 10
    exchanged, _ = nearest(later, np.roll(gallery, 1, axis=0))
    assert (exchanged == np.arange(PATIENTS)).sum() <= 2


def test_pictures_of_another_size_or_range_are_refused(recogniser, films):
    with pytest.raises(ClassifierError, match="128 x 128"):
        recogniser.embed(films[:, ::2, ::2])
    with pytest.raises(ClassifierError, match="display values"):
        recogniser.embed(films * 255)


def test_it_says_what_it_was_trained_on_and_is_small(recogniser):
    card = recogniser.card
    assert card["licence"] == "Apache-2.0; trained on NIH ChestX-ray14"
    assert card["trained_on"]["pairs"] > 2000
    # As `bench.reidentify` says below it: most searches fail.
    assert card["val"]["rank_1"]["value"] > 0.5 > 20 * card["val"]["chance"]
    assert card["val"]["patients"] > 50
    facts = recogniser.describe()
    assert json.loads(json.dumps(facts)) == facts
    assert (module._FOLDER / "recogniser.onnx").stat().st_size < 5_000_000


def test_another_process_loads_it_again(recogniser, films):
    other = pickle.loads(pickle.dumps(recogniser))
    assert (other.embed(films[:1]) == recogniser.embed(films[:1])).all()


def test_a_folder_that_holds_none_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"recogniser\.json"):
        Recogniser.load(tmp_path)
    shutil.copy(module._FOLDER / "recogniser.onnx", tmp_path)
    card = {"size": 128, "numbers": 7}
    (tmp_path / "recogniser.json").write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="one vector of 7"):
        Recogniser.load(tmp_path)
