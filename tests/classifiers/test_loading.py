import json
import warnings

import numpy as np
import pytest
import torch

from roentmod import classifiers
from roentmod.classifiers import loading
from roentmod.classifiers.graphs import in_fixed_batches
from roentmod.errors import ClassifierError, MissingDependencyError, WeightsError
from tests.classifiers.conftest import LABELS, SIZE, net, truth, write_onnx, write_sidecar

DECLARED = {"labels": LABELS, "size": SIZE, "input_range": (0, 1), "outputs": "logits"}


def answer(batch):
    """Named by tests as a Python classifier."""
    return batch.mean((2, 3)) * [1, -2, 3]


answer.card = {"labels": LABELS, "size": SIZE, "range": [0, 2], "outputs": "logits"}


class Local:
    """What an entry point makes."""

    findings = ("Edema", "Mass")
    size = SIZE

    def logits(self, images):
        assert images.ndim == 3
        return np.stack([images.mean((1, 2)), -images.mean((1, 2))], 1)


@pytest.mark.parametrize("spec", ["foo", "judge:", "foo:bar", "onnx:", "model.h5", ""])
def test_an_unknown_form_gives_one_line_with_all_of_them(spec):
    with pytest.raises(ClassifierError) as caught:
        classifiers.load(spec)
    said = str(caught.value)
    assert said.endswith(f"Got '{spec}'.")
    assert "\n" not in said
    assert all(form in said for form in classifiers.FORMS)


def test_options_of_another_form_are_refused(graph):
    with pytest.raises(ClassifierError, match=r"'onnx' are .*batch_size.*; got timeout"):
        classifiers.load(graph, timeout=3.0)
    with pytest.raises(ClassifierError, match="says for itself"):
        classifiers.load("judge", size=224)
    assert classifiers.load(graph, timeout=None).size == SIZE


class TestOnnx:
    def test_it_answers_as_torch_does(self, graph, pictures):
        model = classifiers.load(graph)
        assert model.findings == ("Pleural Effusion", "Edema")
        assert [head.state for head in model.heads] == ["read", "read", "unmapped"]
        np.testing.assert_allclose(model.logits(pictures), truth(net(), pictures), atol=1e-4)
        said = model.describe()
        assert json.loads(json.dumps(said)) == said
        assert said["kind"] == "onnx"
        assert said["source"] == graph.name
        assert len(said["sha256"]) == 64
        assert said["name"] == "net"

    def test_labels_may_be_a_mapping_a_list_or_a_file(self, graph, tmp_path):
        mapped = classifiers.load(f"onnx:{graph}", labels={"Weird": "Hernia"})
        assert mapped.findings == ("Pleural Effusion", "Edema", "Hernia")
        listed = classifiers.load(graph, labels=["Mass", "Nodule", "Edema"])
        assert listed.findings == ("Mass", "Nodule", "Edema")
        (tmp_path / "map.json").write_text('{"Weird": "Hernia", "Edema": null}')
        filed = classifiers.load(graph, labels=tmp_path / "map.json")
        assert filed.findings == ("Pleural Effusion", "Hernia")
        with pytest.raises(ClassifierError, match="labels file is JSON"):
            classifiers.load(graph, labels=tmp_path / "none.json")
        with pytest.raises(ClassifierError, match="has 3 heads and 2 labels"):
            classifiers.load(graph, labels=["Mass", "Edema"])

    def test_spoilt_pictures_are_named_and_the_others_kept(self, graph, pictures):
        pictures[4, 0, 0] = 1
        reading = classifiers.read(classifiers.load(graph), pictures)
        assert [s != "ok" for s in reading.status] == [i == 4 for i in range(9)]
        expected = truth(net(), pictures)
        good = [i for i in range(9) if i != 4]
        np.testing.assert_allclose(reading.logits[good], expected[good], atol=1e-4)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"size": 32}, "agree with the graph, size 16; got size 32"),
            ({"channels": 3}, "agree with the graph, channels 1; got channels 3"),
            ({"labels": None}, "'labels' is missing"),
            ({"range": None}, "'range' is missing.*give input_range="),
            ({"outputs": None}, "'outputs' is missing"),
            ({"outputs": "auto"}, "'logits' or 'probabilities', got 'auto'"),
            ({"range": [1, 0]}, "two rising numbers"),
            ({"range": [0, None]}, "declared wrongly"),
            ({"mean": [0.5]}, "mean and std must both"),
            ({"mean": 0.5, "std": 0}, "std must be positive"),
            ({"labels": "Edema"}, "labels must be a list"),
            ({"colour": True}, "got colour"),
            ({"activation": "tanh"}, "'sigmoid' or 'softmax'"),
        ],
    )
    def test_what_is_declared_wrongly_is_refused(self, graph, tmp_path, changes, said):
        path = tmp_path / "net.onnx"
        path.write_bytes(graph.read_bytes())
        with pytest.raises(ClassifierError, match=said):
            classifiers.load(write_sidecar(path, **changes))

    def test_size_and_channels_come_from_the_graph(self, graph, tmp_path):
        path = tmp_path / "net.onnx"
        path.write_bytes(graph.read_bytes())
        with pytest.raises(ClassifierError, match="'labels' is missing"):
            classifiers.load(path)
        words = {"labels": LABELS, "outputs": "logits", "input_range": (0, 1)}
        assert classifiers.load(path, **words).size == SIZE

    def test_a_static_batch_and_three_channels(self, tmp_path, pictures):
        module = net(3)
        path = write_onnx(tmp_path / "net.onnx", module, batch=4, channels=3)
        normal = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
        model = classifiers.load(write_sidecar(path, channels=3, **normal))
        mean, std = (np.array(v, np.float32)[:, None, None] for v in normal.values())
        quiet = pictures.copy()
        # The net answers NaN above 0.99 there, after the mean is taken off.
        quiet[:, 0, 0] = 0.5
        batch = (np.repeat(quiet[:, None], 3, 1) - mean) / std
        with torch.inference_mode():
            expected = module(torch.from_numpy(batch)).numpy()[:, :2]
        np.testing.assert_allclose(model.logits(quiet), expected, atol=1e-4)

    def test_damaged_and_missing_files(self, tmp_path):
        with pytest.raises(WeightsError, match="must exist"):
            classifiers.load(tmp_path / "none.onnx", **DECLARED)
        (tmp_path / "bad.onnx").write_bytes(b"no graph")
        with pytest.raises(WeightsError, match="cannot be opened"):
            classifiers.load(tmp_path / "bad.onnx", **DECLARED)
        (tmp_path / "bad.onnx.json").write_text("[]")
        with pytest.raises(ClassifierError, match="hold one object"):
            classifiers.load(tmp_path / "bad.onnx", **DECLARED)

    def test_a_graph_of_several_outputs_must_be_told_which(self, tmp_path, pictures):
        class Both(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = net()

            def forward(self, image):
                logits = self.inner(image)
                return logits, logits[:, :2] * 2

        path = write_onnx(tmp_path / "both.onnx", Both().eval(), names=("logits", "half"))
        with pytest.raises(ClassifierError, match="it has logits, half"):
            classifiers.load(write_sidecar(path))
        model = classifiers.load(write_sidecar(path, output="logits"))
        np.testing.assert_allclose(model.logits(pictures), truth(net(), pictures), atol=1e-4)


def test_fixed_batches_are_filled_and_cut():
    seen = []

    def run(batch):
        seen.append(len(batch))
        return batch * 2

    values = np.arange(7.0)[:, None]
    np.testing.assert_array_equal(in_fixed_batches(run, 3)(values), values * 2)
    assert seen == [3, 3, 3]
    assert in_fixed_batches(run, None) is run


def test_torchscript(tmp_path, pictures):
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(net().train(), torch.zeros(2, 1, SIZE, SIZE)).save(str(path))
    model = classifiers.load(write_sidecar(path), trust=True)
    np.testing.assert_allclose(model.logits(pictures), truth(net(), pictures), atol=1e-5)
    assert model.describe()["kind"] == "torchscript"
    assert "/" not in model.describe()["source"]
    torch.save(net().state_dict(), tmp_path / "state.pth")
    with pytest.raises(WeightsError, match="must be a TorchScript program"):
        classifiers.load(tmp_path / "state.pth", **DECLARED)


@pytest.mark.parametrize("batch", [None, 2])
def test_exported_programs(tmp_path, pictures, batch):
    path = tmp_path / "net.pt2"
    shapes = None if batch else ({0: torch.export.Dim("n")},)
    example = (torch.zeros(2, 1, SIZE, SIZE),)
    torch.export.save(torch.export.export(net(), example, dynamic_shapes=shapes), path)
    model = classifiers.load(write_sidecar(path), batch_size=5, trust=True)
    np.testing.assert_allclose(model.logits(pictures), truth(net(), pictures), atol=1e-5)
    assert model.describe()["kind"] == "export"


def test_a_damaged_program(tmp_path):
    (tmp_path / "bad.pt2").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match=r"torch\.export\.save"):
        classifiers.load(tmp_path / "bad.pt2", trust=True, **DECLARED)


class TestPython:
    SPEC = "python:tests.classifiers.test_loading:answer"

    def test_it_gets_what_its_card_declares(self, pictures):
        model = classifiers.load(self.SPEC, trust=True)
        mean = pictures.mean((1, 2))
        np.testing.assert_allclose(model.logits(pictures)[:, 0], 2 * mean, rtol=1e-5)
        louder = classifiers.load(self.SPEC, input_range=(0, 10), trust=True)
        np.testing.assert_allclose(louder.logits(pictures)[:, 1], -20 * mean, rtol=1e-5)

    @pytest.mark.parametrize(
        ("spec", "said"),
        [
            ("python:tests.classifiers.nowhere:f", "must be importable"),
            ("python:tests.classifiers.conftest:nothing", "must be importable"),
            ("python:tests.classifiers.conftest:SIZE", "must be callable"),
            ("python:tests", "Name both"),
        ],
    )
    def test_names_that_lead_nowhere(self, spec, said):
        with pytest.raises(ClassifierError, match=said):
            classifiers.load(spec, trust=True, **DECLARED)

    def test_it_must_be_declared(self):
        with pytest.raises(ClassifierError, match=r"attribute 'card' of .*:write_onnx"):
            classifiers.load("python:tests.classifiers.conftest:write_onnx", trust=True)


def test_entry_points_come_first_and_are_checked(monkeypatch, pictures):
    class Point:
        name, value = "local", "somewhere:Local"

        def load(self):
            return Local

    monkeypatch.setattr(loading, "entry_points", lambda group: [Point()])
    model = classifiers.load("local", labels={"Mass": "Nodule"})
    assert model.findings == ("Edema", "Nodule")
    mean = pictures.mean((1, 2))
    np.testing.assert_allclose(model.logits(pictures), np.stack([mean, -mean], 1), rtol=1e-6)
    assert model.describe()["entry_point"] == "somewhere:Local"
    with pytest.raises(ClassifierError, match="float32"):
        model.logits(pictures.astype(np.float64))


def test_a_missing_library_is_named_with_its_extra():
    pytest.importorskip("torch")
    try:
        import torchxrayvision  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match=r"roentmod\[xrv\]"):
            classifiers.load("xrv:densenet121-res224-all")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000, "labels file is JSON"),
        ('{"Edema": 5}', "or to null; got 5"),
        ('{"Edema": ["Mass"]}', "or to null; got"),
        ("7", "must be a list of heads"),
    ],
)
def test_labels_files_of_other_content(graph, tmp_path, content, said):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(ClassifierError, match=said):
        classifiers.load(graph, labels=tmp_path / "labels.json")


@pytest.mark.parametrize(
    "changes",
    [
        *({"size": value} for value in ("16", True, 16.5, 5000)),
        *({"range": value} for value in ("01", ["0", "1"], [False, True], [0, 1, 2])),
        *({"mean": value, "std": 1} for value in ("1", ["0.5"], True, [None])),
        *({"check_outputs": "yes"}, {"name": 7}, {"labels": [1, 2, 3]}, {"mapping": {"Weird": 5}}),
        *({"labels": ["Edema", "Mass", "a\x1b[2J"]}, {"name": "a\nb"}, {"channels": True}),
    ],
)
def test_types_in_a_card_are_strict(graph, tmp_path, changes):
    path = tmp_path / "net.onnx"
    path.write_bytes(graph.read_bytes())
    with pytest.raises(ClassifierError, match=r"declared wrongly|agree with the graph") as caught:
        classifiers.load(write_sidecar(path, **changes))
    assert str(caught.value).isprintable()
