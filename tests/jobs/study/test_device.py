"""One device for all of a study: it reaches what computes, and is checked before anything is."""

import pytest
import torch

from roentmod import classifiers
from roentmod.classifiers import loading
from roentmod.editors import Editor
from roentmod.errors import RetrainError
from roentmod.jobs import retrain, study
from roentmod.jobs.study import Spec, bench, timing
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
    spec = Spec.model_validate(ON)
    study.run(spec, tmp_path)
    assert devices.count("editor: cpu:0") == 2
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
def test_the_device_reaches_classifiers_that_torch_runs(monkeypatch, form, device):
    monkeypatch.setattr(classifiers, "load", lambda form, device: (form, device))
    audit = {"classifiers": {"one": form}}
    spec = Spec.model_validate(TINY | {"device": "cuda", "audit": audit})
    assert Bench(spec).audited == {"one": (form, device)}


def test_forms_that_torch_runs_are_those_that_take_a_device():
    taking = {form for form, options in loading._ALLOWED.items() if "device" in options}
    assert set(bench._TORCH_FORMS) == taking
    named = {suffix for suffix, form in loading._SUFFIX.items() if form in taking}
    assert set(bench._TORCH_FILES) == named


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
    spec = Spec.model_validate(TINY | {"device": device, "retrain": training})
    for action in (study.plan, study.run):
        with pytest.raises(RetrainError, match=said) as caught:
            action(spec, tmp_path / "out")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
