import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from roentmod import classifiers
from roentmod.classifiers import Judge
from roentmod.domain import FINDINGS
from roentmod.errors import ClassifierError, WeightsError

SIZE = 32
NAMES, SIDED = ["Edema", "Nodule", "Mass"], ["Nodule", "Mass"]
BUNDLED = classifiers.judge.WEIGHTS.parent


class Tiny(nn.Module):
    """As many outputs as the judge's, from random weights."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 8, 3, 2))
        self.head = nn.Linear(8, 7)

    def forward(self, image):
        features = self.body(image).mean((2, 3))
        out = self.head(features)
        return out[:, :3], out[:, 3:].view(-1, 2, 2), features


def write_judge(folder, **changes):
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    names = ["logits", "sides", "features"]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Tiny().eval(),
            (torch.zeros(1, 1, SIZE, SIZE),),
            str(folder / "judge.onnx"),
            input_names=["image"],
            output_names=names,
            opset_version=18,
            dynamo=False,
        )
    plain = {
        "logits": {"slope": [1.0] * 3, "offset": [0.0] * 3},
        "sides": {"slope": [[1.0, 1.0]] * 2, "offset": [[0.0, 0.0]] * 2},
    }
    card = {"findings": NAMES, "sided": SIDED, "size": SIZE, "calibration": plain} | changes
    (folder / "judge.json").write_text(json.dumps(card))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_judge(tmp_path_factory.mktemp("judges") / "tiny")


@pytest.fixture(scope="module")
def judge(folder):
    return Judge.load(folder)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((7, SIZE, SIZE), np.float32)


def test_shapes(judge, images):
    assert judge.findings == tuple(NAMES)
    assert judge.size == SIZE
    for answer, shape in (
        (judge.logits(images), (7, 3)),
        (judge.probabilities(images), (7, 3)),
        (judge.sides(images), (7, 2, 2)),
        (judge.features(images), (7, 8)),
    ):
        assert answer.shape == shape
        assert answer.dtype == np.float32


def test_no_images_give_no_rows(judge):
    none = np.zeros((0, SIZE, SIZE), np.float32)
    assert judge.logits(none).shape == (0, 3)
    assert judge.sides(none).shape == (0, 2, 2)


@pytest.mark.parametrize("method", ["logits", "probabilities", "sides", "features"])
def test_a_result_does_not_depend_on_what_is_read_beside_it(judge, images, method):
    read = getattr(judge, method)
    singles = np.concatenate([read(images[i : i + 1]) for i in range(len(images))])
    np.testing.assert_array_equal(read(images), singles)
    np.testing.assert_array_equal(read(images[::-1])[::-1], singles)


def test_calibration_is_a_line(tmp_path, judge, images):
    lines = {
        "logits": {"slope": [2.0, 1.0, 0.5], "offset": [0.0, 1.0, -1.0]},
        "sides": {"slope": [[1.0, 3.0]] * 2, "offset": [[0.5, 0.0]] * 2},
    }
    other = Judge(write_judge(tmp_path / "other", calibration=lines))
    expected = judge.logits(images) * [2, 1, 0.5] + [0, 1, -1]
    np.testing.assert_allclose(other.logits(images), expected, rtol=1e-6)
    expected = judge.sides(images) * [1, 3] + [0.5, 0]
    np.testing.assert_allclose(other.sides(images), expected, rtol=1e-6)
    np.testing.assert_array_equal(other.features(images), judge.features(images))


def test_the_grid_pools_to_the_features(judge, images):
    """The tiny judge's features are the mean over its places, so its grid is known."""
    grid = judge.grid(images)
    assert grid.shape == (7, 7, 7, 8)
    assert grid.dtype == np.float32
    np.testing.assert_allclose(grid.mean((1, 2)), judge.features(images), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(grid[2:3], judge.grid(images[2:3]))
    assert judge.grid(images[:0]).shape == (0, 7, 7, 8)
    with pytest.raises(ClassifierError, match="n x 32 x 32"):
        judge.grid(images.astype(np.float64))


def test_a_graph_without_places_has_no_grid(tmp_path, monkeypatch, images):
    class Flat(Tiny):
        def forward(self, image):
            pooled = nn.functional.avg_pool2d(image, SIZE)
            features = pooled.flatten(1) * torch.ones(1, 8)
            out = self.head(features)
            return out[:, :3], out[:, 3:].view(-1, 2, 2), features

    monkeypatch.setitem(globals(), "Tiny", Flat)
    other = Judge(write_judge(tmp_path / "flat"))
    with pytest.raises(WeightsError, match="several places"):
        other.grid(images)


def test_probabilities_are_those_of_the_logits(judge, images):
    odds = np.exp(judge.logits(images).astype(np.float64))
    np.testing.assert_allclose(judge.probabilities(images), odds / (1 + odds), rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((2, 16, 16), np.float32), "2x16x16"),
        (np.zeros((SIZE, SIZE), np.float32), "32x32 float32"),
        (np.zeros((2, 1, SIZE, SIZE), np.float32), "2x1x32x32"),
        (np.zeros((2, SIZE, SIZE), np.float64), "float64"),
        (np.zeros((2, SIZE, SIZE), np.uint8), "uint8"),
        (np.full((2, SIZE, SIZE), 255, np.float32), "from 255 to 255"),
        (np.full((2, SIZE, SIZE), -0.01, np.float32), "from -0.01 to -0.01"),
        (np.full((2, SIZE, SIZE), np.nan, np.float32), "nan"),
        ([[0.0]], "list"),
    ],
)
def test_other_images_are_refused_in_one_message(judge, wrong, said):
    with pytest.raises(ClassifierError, match=r"must be n x 32 x 32 float32") as caught:
        judge.logits(wrong)
    assert said in str(caught.value)


def test_damaged_folders_are_refused(tmp_path, folder):
    with pytest.raises(WeightsError, match=r"judge\.json"):
        Judge.load(tmp_path)
    for name, content in (("none", None), ("bad", b"no graph")):
        copy = tmp_path / name
        copy.mkdir()
        (copy / "judge.json").write_bytes((folder / "judge.json").read_bytes())
        if content is not None:
            (copy / "judge.onnx").write_bytes(content)
        with pytest.raises(WeightsError, match=r"judge\.onnx"):
            Judge.load(copy)
    (tmp_path / "bad" / "judge.json").write_text('{"findings": []}')
    with pytest.raises(WeightsError, match="must name"):
        Judge.load(tmp_path / "bad")


@pytest.fixture(scope="module")
def bundled():
    return Judge.load()


@pytest.mark.weights
class TestBundled:
    def test_it_is_small_and_speaks_the_catalogue(self, bundled):
        assert sum((BUNDLED / f"judge.{kind}").stat().st_size for kind in ("onnx", "json")) < 10e6
        known = {item.name: item for item in FINDINGS}
        assert set(bundled.findings) <= set(known)
        assert all(known[name].sided for name in bundled.sided)
        assert set(bundled.sided) <= set(bundled.findings)
        assert bundled.size == 224

    def test_batches(self, bundled):
        images = np.random.default_rng(1).random((3, 224, 224), np.float32)
        whole = bundled.logits(images)
        np.testing.assert_array_equal(whole[1:2], bundled.logits(images[1:2]))
        assert np.isfinite(whole).all()

    def test_its_grid_pools_to_its_features(self, bundled):
        images = np.random.default_rng(2).random((2, 224, 224), np.float32)
        grid, features = bundled.grid(images), bundled.features(images)
        pooled = np.concatenate([grid.mean((1, 2)), grid.max((1, 2))], axis=1)
        np.testing.assert_allclose(pooled, features, rtol=1e-4, atol=1e-5)

    def test_its_card_holds_figures(self, bundled):
        figures = bundled.card["figures"]
        assert set(figures["auroc_painted"]) == set(bundled.findings)
        # Small nodules and thin pleura are nearly invisible; what is read worse is left out.
        assert min(figures["auroc_painted"].values()) >= 0.7
        assert np.median(list(figures["auroc_painted"].values())) > 0.9
