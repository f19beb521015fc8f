"""Every file that a model consists of is in what it says of itself, and lies in its folder."""

import json
import shutil
import sys

import numpy as np
import onnx
import pytest
from transformers import ViTForImageClassification

from roentmod import classifiers, runs
from roentmod.classifiers import Judge, fit_probe, load_embedder
from roentmod.classifiers.judge import WEIGHTS
from roentmod.errors import RunError, WeightsError
from tests.classifiers.conftest import SIZE, net, truth, write_onnx, write_sidecar
from tests.classifiers.test_huggingface import MANY, vit, write


def apart(folder, location="weights/data.bin"):
    """A graph whose tensors lie in another file, and that file."""
    folder.mkdir(exist_ok=True)
    path = write_onnx(folder / "net.onnx", net())
    graph = onnx.load(path)
    (folder / location).parent.mkdir(exist_ok=True)
    # Constants stay in the graph: shape inference reads them.
    onnx.save_model(graph, path, save_as_external_data=True, location=location, size_threshold=64)
    return write_sidecar(path), folder / location


def relocated(path, location):
    graph = onnx.load(path, load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(graph.SerializeToString())
    return path


def exchanged(file):
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)


def test_tensors_apart_are_read_and_named(tmp_path, pictures):
    path, data = apart(tmp_path / "net")
    model = classifiers.load(path)
    np.testing.assert_allclose(model.logits(pictures), truth(net(), pictures), atol=1e-4)
    before = model.describe()
    assert set(before["weights"]) == {"net.onnx", "weights/data.bin"}
    exchanged(data)
    after = classifiers.load(path).describe()
    assert after["sha256"] == before["sha256"]
    assert {k for k in after if after[k] != before[k]} == {"weights"}
    assert "weights" not in classifiers.load(write_sidecar(write_onnx(path, net()))).describe()


@pytest.mark.parametrize("location", ["../data.bin", "{up}/data.bin", "in/../../data.bin", "", "."])
def test_tensors_outside_the_folder_are_refused(tmp_path, location):
    path, data = apart(tmp_path / "net")
    shutil.copy(data, tmp_path / "data.bin")
    (tmp_path / "net" / "in").mkdir()
    relocated(path, location.format(up=tmp_path))
    with pytest.raises(WeightsError, match="must be a file in its folder"):
        classifiers.load(path)


def test_tensors_that_are_missing_or_a_link_to_elsewhere(tmp_path):
    path, data = apart(tmp_path / "net")
    data.rename(tmp_path / "data.bin")
    with pytest.raises(WeightsError, match=r"'weights/data\.bin', which must be a file"):
        classifiers.load(path)
    data.symlink_to(tmp_path / "data.bin")
    with pytest.raises(WeightsError, match="must be a file in its folder"):
        classifiers.load(path)
    with pytest.raises(WeightsError, match="must be a file in its folder"):
        load_embedder(f"onnx:{path}", size=SIZE, input_range=(0, 1))


def test_a_hubs_cache_is_a_folder_of_links(tmp_path, pictures):
    kept = tmp_path / "models--us--net"
    (kept / "snapshots").mkdir(parents=True)
    path, data = apart(kept / "snapshots" / "0a1b", "data.bin")
    (kept / "blobs").mkdir()
    for file in (path, data):
        file.rename(kept / "blobs" / file.suffix)
        file.symlink_to(kept / "blobs" / file.suffix)
    assert np.isfinite(classifiers.load(path).logits(pictures)).all()


def test_a_judges_calibration_and_tensors(tmp_path):
    shutil.copy(WEIGHTS, tmp_path / "judge.onnx")
    words = json.loads(WEIGHTS.with_name("judge.json").read_text())
    (tmp_path / "judge.json").write_text(json.dumps(words))
    before = Judge.load(tmp_path).describe()
    words["calibration"]["logits"]["offset"][0] += 1
    (tmp_path / "judge.json").write_text(json.dumps(words))
    after = Judge.load(tmp_path).describe()
    assert {k for k in after if after[k] != before[k]} == {"files"}


def test_the_configuration_of_a_hugging_face_folder(tmp_path):
    spec = write(tmp_path, ViTForImageClassification(vit(["Edema", "Mass"], MANY)))
    before = classifiers.load(spec).describe()
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    after = classifiers.load(spec).describe()
    assert {k for k in after if after[k] != before[k]} == {"files"}
    assert set(after["files"]) == {"config.json", "preprocessor_config.json"}


@pytest.fixture
def module(tmp_path, monkeypatch):
    def made(text):
        sys.modules.pop("some_reader", None)
        (tmp_path / "some_reader.py").write_text(text)
        return "python:some_reader:read"

    monkeypatch.syspath_prepend(tmp_path)
    yield made
    sys.modules.pop("some_reader", None)


CODE = """
def read(batch): return batch.mean((2, 3)) * {}
read.card = {{"labels": ["Edema"], "size": 16, "range": [0, 1], "outputs": "logits"}}
"""


def test_the_file_of_a_function(module):
    before = classifiers.load(module(CODE.format(1)), trust=True).describe()
    after = classifiers.load(module(CODE.format(22)), trust=True).describe()
    assert set(after["files"]) == {"some_reader.py"}
    assert after["files"] != before["files"]


def test_a_probes_embedder(tmp_path, pictures):
    path, data = apart(tmp_path / "net")
    embedder = load_embedder(f"onnx:{path}", size=SIZE, input_range=(0, 1))
    fit_probe(embedder, pictures, {"Edema": [0, 1, 0, 1, 1, 0, 0, 1, 1]}, tmp_path / "probe")
    said = classifiers.load(f"probe:{tmp_path}/probe").describe()
    assert set(said["embedder"]["files"]) == {"net.onnx", "weights/data.bin"}
    exchanged(data)
    with pytest.raises(WeightsError, match="must run on the embedder it was fitted on"):
        classifiers.load(f"probe:{tmp_path}/probe")


def test_the_output_that_is_read(tmp_path):
    path = write_sidecar(write_onnx(tmp_path / "net.onnx", net()), output="logits")
    assert classifiers.load(path).describe()["output"] == "logits"


def test_older_records_without_hashes_of_files_go_on(tmp_path):
    old = {"classifiers": {"a": {"sha256": "1"}}}
    (tmp_path / "audit.json").write_text(json.dumps(old))

    def check(**more):
        runs.check_folder(
            tmp_path / "audit.json", {"classifiers": {"a": {"sha256": "1", **more}}}, "an audit", ()
        )

    check(files={"config.json": "2"})
    with pytest.raises(RunError, match="with other classifiers"):
        check(weights={"net.onnx": "1", "data.bin": "2"})
