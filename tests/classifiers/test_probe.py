import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from roentmod import classifiers
from roentmod.classifiers import fit_probe, load_embedder, probe
from roentmod.classifiers.adapter import Origin
from roentmod.classifiers.card import Card
from roentmod.classifiers.probe import Embedder
from roentmod.errors import ClassifierError, WeightsError
from tests.classifiers.conftest import SIZE, net, write_onnx

SPEC = "python:tests.classifiers.test_probe:vectors"


def vectors(batch):
    """Named by tests as an embedder: eight bands, one of them always the same."""
    rows = batch.mean(1).reshape(len(batch), 8, -1).mean(2)
    return np.concatenate([rows[:, :7], np.ones((len(batch), 1), np.float32)], 1)


@pytest.fixture(scope="module")
def cohort():
    random = np.random.default_rng(0)
    images = 0.5 * random.random((60, SIZE, SIZE), np.float32)
    effusion, edema = random.random((2, 60)) > 0.5
    images[effusion, :4] += 0.1
    images[edema, 8:] += 0.1
    known = edema.astype(float)
    known[::7] = np.nan
    return images, {"Effusion": effusion, "Edema": known, "Weird": effusion}


@pytest.fixture(scope="module")
def embedder():
    return load_embedder(SPEC, size=SIZE, input_range=(0, 1))


def test_it_is_scikit_learns_regression_and_comes_back(cohort, embedder, tmp_path):
    images, labels = cohort
    fitted = fit_probe(embedder, images, labels, tmp_path / "probe", c=0.5)
    assert fitted.findings == ("Pleural Effusion", "Edema")
    embedded = embedder.embed(images).astype(np.float64)
    for column, name in enumerate(("Effusion", "Edema")):
        known = ~np.isnan(np.asarray(labels[name], float))
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=5000))
        pipeline.fit(embedded[known], np.asarray(labels[name], float)[known])
        expected = pipeline.decision_function(embedded)
        np.testing.assert_allclose(fitted.logits(images)[:, column], expected, atol=1e-4)
    again = classifiers.load(f"probe:{tmp_path / 'probe'}", labels={"Weird": "Mass"}, trust=True)
    assert again.findings == ("Pleural Effusion", "Edema", "Mass")
    np.testing.assert_array_equal(again.logits(images)[:, :2], fitted.logits(images))
    said = again.describe()
    assert said["embedder"]["source"] == SPEC.removeprefix("python:")
    assert said["source"] == "probe"
    assert said["fit"]["n"] == 60
    assert {p.name for p in (tmp_path / "probe").iterdir()} == {"probe.json", "probe.npz"}


def test_it_is_not_fooled_by_another_embedder(cohort, tmp_path):
    images, labels = cohort
    path = write_onnx(tmp_path / "net.onnx", net())
    options = {"size": SIZE, "input_range": (0, 1)}
    fit_probe(load_embedder(f"onnx:{path}", **options), images, labels, tmp_path / "probe")
    assert classifiers.load(f"probe:{tmp_path / 'probe'}").size == SIZE
    short = load_embedder(SPEC, **options)
    with pytest.raises(WeightsError, match="must run on the embedder"):
        classifiers.load(f"probe:{tmp_path / 'probe'}", embedder=short)
    other = net()
    other.head.weight.data += 1
    write_onnx(path, other)
    with pytest.raises(WeightsError, match="Fit it again"):
        classifiers.load(f"probe:{tmp_path / 'probe'}")


def test_an_embedder_made_in_python_is_given_again(cohort, tmp_path):
    images, labels = cohort
    card = Card(labels=("embedding",), size=SIZE, range=(0, 1))
    own = Embedder(card, vectors, Origin("own", "notebook"))
    fitted = fit_probe(own, images, labels, tmp_path)
    with pytest.raises(ClassifierError, match="Give embedder="):
        classifiers.load(f"probe:{tmp_path}")
    again = classifiers.load(f"probe:{tmp_path}", embedder=own)
    np.testing.assert_array_equal(again.logits(images), fitted.logits(images))
    wide = Embedder(card, lambda b: vectors(b)[:, :5], Origin("own", "notebook"))
    with pytest.raises(ClassifierError, match="takes 8 dimensions; the embedder gives 5"):
        classifiers.load(f"probe:{tmp_path}", embedder=wide).logits(images)


@pytest.mark.parametrize(
    "truth", [np.ones(60), np.full(60, np.nan), np.arange(60), np.array([0, 1]), np.ones((60, 2))]
)
def test_labels_that_teach_nothing_are_refused(cohort, embedder, tmp_path, truth):
    with pytest.raises(ClassifierError, match=r"for 'Edema'\. Leave it out"):
        fit_probe(embedder, cohort[0], {"Edema": truth}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda b: b, "x d floats; got 16x1x16x16"),
        (lambda b: vectors(b)[:2], "got 2x8"),
        (lambda b: vectors(b) * np.nan, "must be finite"),
    ],
)
def test_embedders_that_answer_wrongly(cohort, answer, said):
    card = Card(labels=("embedding",), size=SIZE, range=(0, 1))
    with pytest.raises(ClassifierError, match=said):
        Embedder(card, answer, Origin("own", "notebook")).embed(cohort[0])


def test_damaged_folders(cohort, embedder, tmp_path):
    with pytest.raises(WeightsError, match=r"probe\.json and probe\.npz"):
        classifiers.load(f"probe:{tmp_path}")
    fit_probe(embedder, *cohort, tmp_path)
    whole = (tmp_path / "probe.npz").read_bytes()
    for content in (b"no archive", whole[:100]):
        (tmp_path / "probe.npz").write_bytes(content)
        with pytest.raises(WeightsError, match="must be a whole probe"):
            classifiers.load(f"probe:{tmp_path}")
    np.savez(tmp_path / "probe.npz", weight=np.array([object()]), bias=np.zeros(3))
    with pytest.raises(WeightsError, match="must be a whole probe"):
        classifiers.load(f"probe:{tmp_path}")


def test_unknown_embedders():
    with pytest.raises(ClassifierError, match="An embedder is python:"):
        load_embedder("tensorflow:model")
    with pytest.raises(ClassifierError, match="'size' is missing"):
        load_embedder(SPEC, input_range=(0, 1))


def test_coefficients_larger_than_any(cohort, embedder, tmp_path, monkeypatch):
    fit_probe(embedder, *cohort, tmp_path)
    monkeypatch.setattr(probe, "_LARGEST", 10_000)
    np.savez_compressed(tmp_path / "probe.npz", weight=np.zeros((3, 8000)), bias=np.zeros(3))
    with pytest.raises(WeightsError, match="more than 10,000 bytes"):
        classifiers.load(f"probe:{tmp_path}", embedder=embedder)
