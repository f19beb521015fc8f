"""Programs are loaded where they are trusted by name, and by no file's word."""

import json
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import ViTForImageClassification

from roentmod import classifiers
from roentmod import domain as domains
from roentmod.classifiers import fit_probe, load_embedder
from roentmod.classifiers.huggingface import _check_folder
from roentmod.errors import RoentModError, StudyError, WeightsError
from roentmod.jobs.study.bench import Bench
from roentmod.jobs.study.stages import stages_of
from roentmod.plans.study import StudyPlan
from roentmod.verbs import parts
from tests.classifiers.conftest import LABELS, SIZE, net, truth, write_onnx, write_sidecar
from tests.classifiers.test_huggingface import MANY, vit, write
from tests.cli.running import run

NEEDED = r"only with --trust \(in Python, trust=True\)"
PYTHON = "python:tests.classifiers.test_loading:answer"


class Touch:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def scripted(path, module=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module or net(), torch.zeros(2, 1, SIZE, SIZE)).save(str(path))
    return write_sidecar(path)


def exported(path, **options):
    example = (torch.zeros(2, 1, SIZE, SIZE),)
    torch.export.save(torch.export.export(net(), example, **options), path)
    return write_sidecar(path)


@pytest.fixture
def untouched(tmp_path):
    """A file that is not there before, and not after."""
    path = tmp_path / "touched"
    yield path
    assert not path.exists()


@pytest.mark.parametrize("make", [scripted, exported])
@pytest.mark.parametrize("name", ["net.pt", "net.pt2"])
def test_programs_are_refused_before_they_are_read(tmp_path, monkeypatch, make, name):
    path = make(tmp_path / name)
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("read"))
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(WeightsError) as caught:
        classifiers.load(path)
    said = str(caught.value)
    if (make is scripted) == (name == "net.pt"):
        assert "only with --trust" in said
        assert f"'roentmod export {name} --trust' makes one" in said
    assert "\n" not in said


def test_a_module_is_not_imported(tmp_path, monkeypatch, untouched):
    (tmp_path / "bad_reader.py").write_text(f"open({str(untouched)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match=NEEDED):
        classifiers.load("python:bad_reader:read")


def test_weights_as_a_pickle(tmp_path, untouched):
    spec = write(tmp_path / "net", ViTForImageClassification(vit(["Edema", "Mass"], MANY)))
    (tmp_path / "net" / "model.safetensors").unlink()
    (tmp_path / "net" / "pytorch_model.bin").write_bytes(pickle.dumps(Touch(untouched)))
    with pytest.raises(WeightsError, match=rf"{NEEDED}.*pytorch_model\.bin is one"):
        classifiers.load(spec)
    with pytest.raises(WeightsError, match=NEEDED):
        classifiers.load(spec.replace("hf:", "clip:"))


def test_shards_lie_in_the_models_folder(tmp_path):
    index = {"weight_map": {"a": "../other.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"names '\.\./other\.safetensors'"):
        _check_folder(tmp_path, False)


def test_code_in_a_model_folder_is_not_run(tmp_path, untouched, monkeypatch):
    spec = write(tmp_path / "net", ViTForImageClassification(vit(["Edema", "Mass"], MANY)))
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}}
    (tmp_path / "net" / "config.json").write_text(json.dumps(config))
    (tmp_path / "net" / "own.py").write_text(f"open({str(untouched)!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(WeightsError, match="A Hugging Face model is"):
        classifiers.load(spec)


@pytest.mark.parametrize("spec", ["python:tests.classifiers.test_probe:vectors", "hf:somewhere"])
def test_a_probe_chooses_onnx_alone(tmp_path, pictures, spec):
    path = write_onnx(tmp_path / "net.onnx", net())
    embedder = load_embedder(f"onnx:{path}", size=SIZE, input_range=(0, 1))
    fit_probe(embedder, pictures, {"Edema": [0, 1, 0, 1, 1, 0, 0, 1, 1]}, tmp_path / "probe")
    assert classifiers.load(f"probe:{tmp_path}/probe").findings == ("Edema",)
    file = tmp_path / "probe" / "probe.json"
    stated = json.loads(file.read_text())
    stated["embedder"]["spec"] = spec
    file.write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match=rf"{NEEDED}.*may choose onnx:FILE alone"):
        classifiers.load(f"probe:{tmp_path}/probe")


@pytest.mark.parametrize(
    "embedder",
    [{"spec": 5}, {"spec": "onnx:x", "size": "16"}, {"spec": "onnx:x", "trust": True}, []],
)
def test_a_probes_embedder_is_of_known_words(tmp_path, pictures, embedder):
    own = load_embedder(
        f"onnx:{write_onnx(tmp_path / 'n.onnx', net())}", size=SIZE, input_range=(0, 1)
    )
    fit_probe(own, pictures, {"Edema": [0, 1, 0, 1, 1, 0, 0, 1, 1]}, tmp_path)
    file = tmp_path / "probe.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"embedder": embedder}))
    with pytest.raises(RoentModError, match=r"must be a whole probe|Give embedder="):
        classifiers.load(f"probe:{tmp_path}")


@pytest.mark.parametrize(
    "form",
    [
        PYTHON,
        "http://127.0.0.1:9/read",
        "export:net.pt2",
        "net.pt",
        "probe:here",
        "hf:us/net",
        "http://h/x.onnx",
    ],
)
def test_a_domain_packs_judge_is_onnx_or_bundled(form):
    pack = domains.BUNDLED["cxr"]
    foreign = replace(domains.load(pack), judge=form)
    with pytest.raises(WeightsError, match=rf"{NEEDED}.*may choose onnx:FILE or a bundled one"):
        parts.judge_of(foreign, {})
    with pytest.raises(WeightsError, match="may choose onnx:FILE"):
        parts.lazy_judge(foreign, {})
    assert parts.judge_of(replace(foreign, judge="judge"), {}).name == "judge"
    assert parts.lazy_judge(replace(foreign, judge="onnx:eye.onnx"), {}) == "onnx:eye.onnx"


STUDY = {
    "name": "x",
    "findings": ["Edema"],
    "train": {"source": "phantoms:4"},
    "tests": {"t": {"source": "phantoms:4"}},
    "retrain": {},
}


@pytest.mark.parametrize(
    "changes",
    [
        {"audit": {"classifiers": {"one": PYTHON}}},
        {"retrain": {"model": "python:tests.nowhere:make"}},
        {"editor": {"trust": True}},
        {"editor": {"allow_pickle": True}},
    ],
)
def test_a_study_grants_itself_nothing(changes):
    spec = StudyPlan.of(STUDY | changes)
    # Stages read the data before they ask for classifiers.
    made = (lambda bench: bench.audited) if "audit" in changes else stages_of
    with pytest.raises((WeightsError, StudyError), match=r"--trust \(in Python, trust=True\)"):
        made(Bench(spec))
    if "audit" in changes:
        assert Bench(spec, trust=True).audited["one"].size == SIZE


def test_trust_travels_to_other_processes(tmp_path, pictures):
    model = classifiers.load(scripted(tmp_path / "net.pt"), trust=True)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.logits(pictures), model.logits(pictures))


def test_one_flag_and_its_older_name(tmp_path):
    command = ("audit", "--classifier", PYTHON, "--data", tmp_path / "none", "--editor", "painter")
    said = [
        run(*command, "--out", tmp_path / "run", *flag, cache=tmp_path).stderr
        for flag in ((), ("--trust",), ("--allow-pickle",))
    ]
    assert ["only with --trust" in text for text in said] == [True, False, False]
    assert all("none" in text for text in said[1:])


@pytest.mark.parametrize("make", [scripted, exported])
def test_a_program_becomes_onnx(tmp_path, pictures, make):
    path = make(tmp_path / ("net.pt" if make is scripted else "net.pt2"))
    assert "only with --trust" in run("export", path, cache=tmp_path).stderr
    done = run("export", path, "--trust", cache=tmp_path)
    assert done.returncode == 0, done.stderr
    model = classifiers.load(tmp_path / "net.onnx")
    assert [head.name for head in model.heads] == LABELS
    np.testing.assert_allclose(model.logits(pictures), truth(net(), pictures), atol=1e-4)


def test_a_program_that_does_not_say_its_size(tmp_path):
    path = scripted(tmp_path / "net.pt")
    path.with_name("net.pt.json").unlink()
    said = run("export", path, "--trust", cache=tmp_path).stderr
    assert 'Write net.pt.json beside it, with "size" and "channels"' in said
