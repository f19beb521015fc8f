"""TorchXRayVision's own DenseNet, with random weights."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from roentmod import classifiers
from roentmod.classifiers import xrv
from roentmod.editors.compose import shrink
from roentmod.errors import ClassifierError, WeightsError
from roentmod.learning import starts
from roentmod.learning.export import export
from roentmod.plans import RetrainPlan
from roentmod.radiograph import Radiograph
from roentmod.store import file_sha256

try:
    with warnings.catch_warnings():  # importing it switches off every warning
        import torchxrayvision
except ImportError:
    pytest.skip("needs the extra 'xrv': make test-extras", allow_module_level=True)

# The heads of densenet121-res224-nih: four of eighteen were never trained.
TARGETS = torchxrayvision.models.model_urls["densenet121-res224-nih"]["labels"]
THRESHOLDS = torchxrayvision.models.model_urls["densenet121-res224-nih"]["op_threshs"]


def densenet():
    torch.manual_seed(0)
    model = torchxrayvision.models.DenseNet(num_classes=len(TARGETS), weights=None)
    # As after loading weights: outputs bent around thresholds, targets with gaps.
    model.op_threshs = torch.tensor(THRESHOLDS)
    model.targets, model.input_resolution = list(TARGETS), 224
    return model.eval()


def before_sigmoid(model, batch):
    with torch.inference_mode():
        return model.classifier(model.features2(batch)).numpy()


def test_the_answer_is_what_stands_before_the_sigmoid(picture):
    reference = densenet()
    batch = torch.from_numpy(picture[:, None] * 2048 - 1024)
    raw = before_sigmoid(reference, batch)
    with torch.inference_mode():
        bent = reference(batch).numpy()
    model = xrv.adapt(densenet(), source="random")
    read = [i for i, name in enumerate(TARGETS) if name]
    assert len(model.findings) == len(read) == 14
    np.testing.assert_allclose(model.logits(picture), raw[:, read], rtol=1e-4, atol=1e-4)
    assert not np.allclose(model.logits(picture), bent[:, read], atol=1e-2)


def test_heads_that_were_never_trained_are_listed_and_left_out():
    model = xrv.adapt(densenet(), source="random")
    assert [head.state for head in model.heads] == ["read"] * 14 + ["untrained"] * 4
    assert "Pleural Thickening" in model.findings
    full = densenet()
    full.targets = [name or f"Lung Lesion {i}" for i, name in enumerate(TARGETS)]
    assert [h.state for h in xrv.adapt(full, source="random").heads][-4:] == ["untrained"] * 4


def test_the_range_is_exactly_1024_and_nothing_is_resized_or_cropped():
    model, seen = densenet(), []
    model.features.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    # Apices and bases of a tall radiograph, the first and last rows, bright on black.
    tall = np.zeros((280, 200), np.float32)
    tall[:10], tall[-10:] = 1, 1
    square = shrink(Radiograph.from_array(tall), 224)[None]
    square[0, 0, 0], square[0, 100, 0] = 1, 0
    adapted = xrv.adapt(model, source="random")
    adapted.logits(square)
    assert seen[0].shape == (1, 1, 224, 224)
    assert (float(seen[0].min()), float(seen[0].max())) == (-1024, 1024)
    assert float(seen[0][0, 0, :6, 60:160].min()) > 1000
    assert float(seen[0][0, 0, -6:, 60:160].min()) > 1000
    assert float(seen[0][0, 0, 100, 100]) == -1024


def test_another_size_range_or_outputs_is_refused():
    for words in ({"size": 512}, {"range": (0, 1)}, {"outputs": "probabilities"}):
        with pytest.raises(ClassifierError, match="Leave it out"):
            xrv.adapt(densenet(), words, source="random")


def test_files(tmp_path, picture):
    reference = densenet()
    raw = before_sigmoid(reference, torch.from_numpy(picture[:, None] * 2048 - 1024))
    torch.save(reference.state_dict(), tmp_path / "net.pt")
    spec = f"xrv:{tmp_path / 'net.pt'}"
    with pytest.raises(ClassifierError, match=r"net\.pt has none"):
        classifiers.load(spec)
    model = classifiers.load(spec, labels=list(TARGETS))
    assert len(model.findings) == 14
    np.testing.assert_allclose(model.logits(picture), raw[:, :14], rtol=1e-4, atol=1e-4)
    assert len(model.describe()["sha256"]) == 64
    assert model.describe()["source"] == "net.pt"
    torch.save(reference, tmp_path / "whole.pt")
    spec = f"xrv:{tmp_path / 'whole.pt'}"
    with pytest.raises(WeightsError, match="can run any code"):
        classifiers.load(spec)
    whole = classifiers.load(spec, trust=True)
    np.testing.assert_array_equal(whole.logits(picture), model.logits(picture))
    with pytest.raises(WeightsError, match="must fit the library's DenseNet"):
        classifiers.load(f"xrv:{tmp_path / 'net.pt'}", labels=["Edema"])


def test_a_name_the_library_does_not_have():
    with pytest.raises(WeightsError, match="densenet121-res224-all"):
        classifiers.load("xrv:densenet121-res999")


def test_published_weights_by_name(tmp_path, monkeypatch, picture):
    # The library's own way of loading, with a random model where the download would lie.
    reference = densenet()
    reference.op_threshs = None
    torch.save(reference, tmp_path / "published.pt")
    monkeypatch.setattr(
        torchxrayvision.models, "get_weights", lambda *words: str(tmp_path / "published.pt")
    )
    model = classifiers.load("xrv:densenet121-res224-nih")
    assert (model.name, model.size) == ("densenet121-res224-nih", 224)
    assert [head.state for head in model.heads] == ["read"] * 14 + ["untrained"] * 4
    raw = before_sigmoid(reference, torch.from_numpy(picture[:, None] * 2048 - 1024))
    np.testing.assert_allclose(model.logits(picture), raw[:, :14], rtol=1e-4, atol=1e-4)
    assert model.describe()["sha256"] == file_sha256(tmp_path / "published.pt")


def test_the_library_does_not_switch_off_warnings():
    code = (
        "import warnings; from roentmod.classifiers import xrv; xrv._library(); "
        "warnings.warn('still heard')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "still heard" in ran.stderr


def test_a_retraining_starts_from_a_model_and_goes_on_from_what_it_became(tmp_path, picture):
    reference = densenet()
    torch.save(reference.state_dict(), tmp_path / "net.pt")
    (tmp_path / "net.pt.json").write_text(json.dumps({"labels": TARGETS}))
    findings = ("Pleural Effusion", "Support Devices", "Edema")
    plan = RetrainPlan(findings=findings, start=f"torchxrayvision:{tmp_path / 'net.pt'}")
    starts.check(plan, trust=False)
    facts = starts.described(plan)
    assert facts["heads"] == {"kept": [findings[0], findings[2]], "new": [findings[1]]}
    assert facts["sha256"] == {"net.pt": file_sha256(tmp_path / "net.pt")}
    shown = torch.from_numpy(picture[:, None])
    raw = before_sigmoid(reference, shown * 2048 - 1024)
    network = starts.begun(plan, 0).eval()
    with torch.no_grad():
        answer = network(shown).numpy()
    rows = [TARGETS.index("Effusion"), TARGETS.index("Edema")]
    np.testing.assert_allclose(answer[:, [0, 2]], raw[:, rows], rtol=1e-4, atol=1e-4)
    for name, content in export(network, "new", plan).items():
        (tmp_path / name).write_bytes(content)
    exported = classifiers.load(tmp_path / "new.onnx").logits(picture)
    np.testing.assert_allclose(exported, answer, rtol=1e-3, atol=1e-3)
    again = plan.but(start=str(tmp_path / "new.pt"), model=plan.start)
    with torch.no_grad():
        np.testing.assert_allclose(starts.begun(again, 1).eval()(shown), answer, atol=1e-5)
    torch.save(reference, tmp_path / "whole.pt")
    with pytest.raises(WeightsError, match="can run any code"):
        starts.check(plan.but(start=f"xrv:{tmp_path / 'whole.pt'}"), trust=False)
