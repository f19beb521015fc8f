"""One device for all of a study: it reaches what computes, and is checked before anything is."""

import pytest
import torch

from roentmod.classifiers import loading
from roentmod.editors import Editor
from roentmod.errors import RetrainError
from roentmod.jobs import retrain, study
from roentmod.jobs.study import StudyPlan, timing
from roentmod.jobs.study.bench import Bench
from tests.jobs.study.test_study import TINY

ON = TINY | {"device": "cpu:0", "augment": {"gate": None, "editor": "painter"}}


@pytest.fixture
def devices(monkeypatch):
    """Devices that editors, classifiers and trainings are given, as "what: device"."""
    given = []

    def record(place, name, what):
        real = getattr(place, name)

        def wrapped(*args, **options):
            said = options["device"] if "device" in options else args[-1]
            given.append(f"{what}: {said}")
            return real(*args, **options)

        monkeypatch.setattr(place, name, wrapped)

    record(Editor, "load", "editor")
    record(retrain, "run", "retrain")
    record(retrain, "seconds_per_step", "timing")
    return given


@pytest.mark.slow
def test_the_device_reaches_editors_and_training(devices, tmp_path):
    spec = StudyPlan.of(ON)
    study.run(spec, tmp_path)
    assert devices.count("editor: cpu:0") == 3
    assert "retrain: cpu:0" in devices
    timing.rates(Bench(spec))
    assert "timing: cpu:0" in devices


@pytest.mark.parametrize(
    ("form", "device"),
    [
        ("xrv:densenet121-res224-all", "cuda"),
        ("hf:folder", "cuda"),
        ("some/where.pt2", "cuda"),
        ("torchscript:a:b.bin", "cuda"),
        ("demo:shortcut", None),
        ("judge", None),
        ("onnx:some/where.pt", None),
        ("python:module:function", None),
        ("https://host/read", None),
    ],
)
def test_the_device_reaches_classifiers_that_torch_runs(monkeypatch, caplog, form, device):
    kind, _ = loading._kind(form)
    build = lambda order: order.options  # noqa: E731
    monkeypatch.setitem(loading._BUILD, kind, build)
    spec = StudyPlan.of(TINY | {"device": "cuda", "audit": {"classifiers": {"one": form}}})
    assert Bench(spec).audited["one"].get("device") == device
    assert ("device 'cuda' is ignored" in caplog.text) == (device is None)


@pytest.mark.parametrize(
    ("device", "precision", "said"),
    [
        ("cpu", "fp16", "fp16 needs a GPU; got device cpu"),
        ("gpu", "no", "got 'gpu'"),
        ("cuda", "fp16", "'cuda' was requested"),
    ],
)
def test_a_device_that_cannot_train_is_told_first(tmp_path, device, precision, said):
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    training = TINY["retrain"] | {"precision": precision}
    spec = StudyPlan.of(TINY | {"device": device, "retrain": training})
    for action in (study.plan, study.run):
        with pytest.raises(RetrainError, match=said) as caught:
            action(spec, tmp_path / "out")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
