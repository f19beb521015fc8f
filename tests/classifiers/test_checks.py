import numpy as np
import pytest

from roentmod import classifiers
from roentmod.classifiers import NotFiniteError, constant_heads, read
from roentmod.classifiers.adapter import Adapter, Origin
from roentmod.classifiers.card import Card
from roentmod.errors import ClassifierError
from tests.classifiers.conftest import SIZE, net, truth


def adapter(forward, **words):
    card = Card(**{"labels": ("Edema", "Mass"), "size": SIZE, "range": (0, 1), **words})
    return Adapter(card, forward, Origin("test", "here"), batch_size=4)


def two(batch):
    return np.stack([batch.mean((1, 2, 3)), -batch.max((1, 2, 3))], 1)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8), np.float32),
        np.zeros((2, SIZE, SIZE), np.float64),
        np.full((2, SIZE, SIZE), 255, np.float32),
        np.full((2, SIZE, SIZE), np.nan, np.float32),
    ],
)
def test_wrong_images_never_reach_the_model(images):
    called = []
    with pytest.raises(ClassifierError, match="must be n x 16 x 16 float32"):
        adapter(called.append).logits(images)
    with pytest.raises(ClassifierError, match="must be n x 16 x 16 float32"):
        read(adapter(called.append), images)
    assert called == []


def test_batches_are_put_together(pictures):
    whole = adapter(two).logits(pictures)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, two(pictures[:, None]), rtol=1e-6)
    assert adapter(two).logits(pictures[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda b: two(b)[:, :1], "4 x 2 numbers .* got 4x1"),
        (lambda b: two(b)[:1], "got 1x2"),
        (lambda b: two(b)[:, 0], "got 4"),
        (lambda b: "no", "got <U2"),
        (lambda b: [[1], [2, 3]], "array"),
        (lambda b: two(b) > 0, "got bool"),
        (lambda b: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_wrong_answers_are_refused_and_cost_the_whole_batch(pictures, answer, said):
    with pytest.raises(ClassifierError, match=said) as caught:
        adapter(answer).logits(pictures)
    reading = read(adapter(answer), pictures)
    assert reading.status == ["classifier_failed"] * 9
    assert reading.message == str(caught.value)
    assert np.isnan(reading.logits).all()


def test_answers_that_are_not_finite_name_head_and_images(pictures):
    def spoilt(batch):
        answer = two(batch)
        answer[batch[:, 0, 0, 0] == 1, 1] = np.inf
        return answer

    pictures[[2, 7], 0, 0] = 1
    with pytest.raises(NotFiniteError, match=r"from head Mass for image 2, 7 of the batch"):
        adapter(spoilt).logits(pictures)
    reading = read(adapter(spoilt), pictures)
    assert [i for i, status in enumerate(reading.status) if status == "not_finite"] == [2, 7]
    assert "2, 7" in reading.message
    kept = [i for i in range(9) if i not in (2, 7)]
    np.testing.assert_array_equal(reading.logits[kept], two(pictures[:, None])[kept])
    assert np.isnan(reading.logits[[2, 7]]).all()


def test_a_classifier_of_another_house_is_checked_too(pictures):
    class Plain:
        findings = ("Edema",)
        size = SIZE

        def logits(self, images):
            return images[:, 0, :1] / (images[:, 5, :1] != 0.5)

    pictures[3, 5, 0] = 0.5
    with np.errstate(divide="ignore"):
        reading = read(Plain(), pictures)
    assert reading.status.count("not_finite") == 1
    assert reading.status[3] == "not_finite"


def test_an_endpoint_that_dies_among_singles_fails_only_what_it_did_not_read(pictures):
    calls = []

    class Dying:
        findings = ("Edema",)
        size = SIZE

        def logits(self, images):
            calls.append(len(images))
            if len(calls) > 3:
                raise ConnectionError("gone")
            return np.full((len(images), 1), np.nan if len(images) > 1 else 1, np.float32)

    reading = read(Dying(), pictures[:4])
    assert reading.status == ["ok", "ok", "classifier_failed", "classifier_failed"]
    assert reading.message == "The classifier raised ConnectionError: gone"


def test_heads_that_are_not_read_may_answer_anything(pictures):
    def three(batch):
        return np.concatenate([two(batch), np.full((len(batch), 1), np.nan)], 1)

    model = adapter(three, labels=("Edema", "Mass", "Weird"))
    assert np.isfinite(model.logits(pictures)).all()


def test_constant_heads():
    logits = np.random.default_rng(0).normal(size=(8, 3))
    logits[:, 1] = 0.5
    logits[:, 2] = 1e-3 * logits[:, 2] - 4
    assert constant_heads(logits, ("Edema", "Mass", "Nodule")) == ("Mass",)
    logits[0] = np.nan
    with pytest.raises(ClassifierError, match="at least 8 images; got 7"):
        constant_heads(logits, ("Edema", "Mass", "Nodule"))
    with pytest.raises(ClassifierError, match="one column per finding"):
        constant_heads(logits, ("Edema",))


def test_probabilities_become_logits(pictures):
    chance = np.array([[0.0, 0.25], [0.5, 1.0]])
    model = adapter(lambda batch: chance, outputs="probabilities")
    clip = np.log(1e-6 / (1 - 1e-6))
    expected = [[clip, -np.log(3)], [0, -clip]]
    np.testing.assert_allclose(model.logits(pictures[:2]), expected, rtol=1e-6)
    assert model.describe()["outputs"].startswith("probabilities, made logits, clipped to 1e-06")
    with pytest.raises(ClassifierError, match=r"must be in \[0, 1\]; got 2 to 2"):
        adapter(lambda b: two(b) * 0 + 2, outputs="probabilities").logits(pictures)


def test_probabilities_declared_as_logits_are_told(pictures):
    def unit(batch):
        return 1 / (1 + np.exp(-two(batch)))

    images = np.concatenate([pictures, pictures])
    with pytest.raises(ClassifierError, match="Declare outputs='probabilities'"):
        adapter(unit, check_outputs=True).logits(images)
    patient = adapter(unit, check_outputs=True)
    assert patient.logits(images[:7]).shape == (7, 2)
    with pytest.raises(ClassifierError, match="all 36 so far"):
        patient.logits(images[:11])
    assert adapter(two, check_outputs=True).logits(images).shape == (18, 2)
    assert adapter(unit).logits(images).shape == (18, 2)


def test_a_softmax_gives_log_odds_against_the_rest(pictures):
    from scipy.special import logit, softmax

    values = np.random.default_rng(0).normal(size=(9, 3)) * 3
    labels = ("Normal", "Edema", "Mass")
    model = Adapter(
        Card(labels=labels, size=SIZE, range=(0, 1), activation="softmax"),
        lambda batch: values,
        Origin("test", "here"),
    )
    assert model.findings == ("Edema", "Mass")
    expected = logit(softmax(values, axis=1))[:, 1:]
    np.testing.assert_allclose(model.logits(pictures), expected, rtol=1e-5)
    pair = adapter(lambda batch: values[:, :2], labels=("Normal", "Edema"), activation="softmax")
    pair._batch = None
    difference = values[:, 1:2] - values[:, :1]
    np.testing.assert_allclose(pair.logits(pictures), difference, rtol=1e-5)


def test_input_is_prepared_as_declared(pictures):
    card = Card(
        labels=("Edema",),
        size=SIZE,
        range=(-1024, 1024),
        channels=3,
        mean=(1.0, 2.0, 3.0),
        std=(1.0, 2.0, 4.0),
    )
    pictures[0, 0, :3] = [0, 0.5, 1]
    batch = card.prepare(pictures)
    assert batch.shape == (9, 3, SIZE, SIZE)
    assert batch.dtype == np.float32
    assert batch[0, 0, 0, :3].tolist() == [-1025, -1, 1023]
    assert batch[0, 2, 0, :3].tolist() == [-1027 / 4, -3 / 4, 1021 / 4]


@pytest.mark.parametrize("alike", [0.5, [0.5], (0.5, 0.5, 0.5)])
def test_one_number_stands_for_all_channels(alike):
    card = Card(labels=("Edema",), size=SIZE, range=(0, 1), channels=3, mean=alike, std=alike)
    assert card.mean == card.std == (0.5, 0.5, 0.5)


def test_the_judge_is_described_like_any_other(pictures):
    judge = classifiers.load("judge")
    said = judge.describe()
    assert said["findings"] == list(judge.findings) == [head.finding for head in judge.heads]
    assert len(said["sha256"]) == 64


def test_a_torch_model_answers_tensors(pictures):
    import torch

    module = net()

    def forward(batch):
        return module(torch.from_numpy(batch)).to(torch.bfloat16)

    labels = ("Effusion", "Edema", "Weird")
    model = Adapter(Card(labels=labels, size=SIZE, range=(0, 1)), forward, Origin("test", "here"))
    np.testing.assert_allclose(model.logits(pictures), truth(module, pictures), rtol=1e-2)
