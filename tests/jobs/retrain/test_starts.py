"""Retraining from a network that its user has: which heads are kept, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification

import roentmod as rm
from roentmod.errors import ClassifierError, RetrainError, RoentModError, WeightsError
from roentmod.jobs import retrain
from roentmod.learning.export import export
from roentmod.learning.networks import build
from roentmod.learning.pictures import levels
from roentmod.learning.starts import begun, check, described, opened
from roentmod.store import file_sha256
from tests.jobs.augment.parts import FINDINGS
from tests.jobs.retrain import parts
from tests.jobs.retrain.parts import tiny

pytestmark = pytest.mark.slow

SIZE = 16
PICTURES = torch.rand(3, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
EDEMA, *OTHERS = FINDINGS
PYTHON = '''
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.grid, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
    def forward(self, x):
        return self.head(self.grid(x).mean((-2, -1)))

def given():
    net = Net()
    net.card = {"labels": ["Lung Lesion", "%s"], "size": 16, "range": [-1, 1], "channels": 3}
    return net
def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
def named():
    net = plain()
    net.pathologies = ["%s", ""]
    return net
def bent():
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 2), nn.Softmax(dim=1))
    net.pathologies = ["%s", "Fracture"]
    return net
def chances():
    net = plain()
    net.card = {"labels": ["%s", "Fracture"], "outputs": "probabilities"}
    return net
def number():
    return 3
def wide(heads):
    return plain()
''' % ((EDEMA,) * 4)  # fmt: skip


def written(folder, plan, arm="erm-0"):
    """Write the files that a retraining leaves of a network, and return it."""
    network = build(plan.model, len(plan.findings), 7, plan.size).eval()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in export(network, arm, plan).items():
        (folder / name).write_bytes(content)
    return network


def answers(network, pictures=PICTURES):
    with torch.no_grad():
        return network.eval()(pictures).numpy()


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The folder of a retraining's models, with one in it, and the network."""
    folder = tmp_path_factory.mktemp("own") / "models"
    return folder, written(folder, tiny())


@pytest.mark.parametrize("form", ["erm-0.pt", "erm-0.onnx", "", ".."])
def test_the_weights_of_a_retraining_are_kept_whichever_way_they_are_named(own, form):
    folder, network = own
    network_begun = begun(tiny(start=str(folder / form)), 5)
    assert network_begun.training
    np.testing.assert_array_equal(answers(network_begun), answers(network))


def test_heads_are_kept_by_what_they_read_and_others_are_new(own):
    folder, network = own
    plan = tiny(findings=("Mass", FINDINGS[2], FINDINGS[0]), pairs=(), start=str(folder))
    first, again, other = (begun(plan, seed) for seed in (1, 1, 2))
    assert np.array_equal(answers(first)[:, 1:], answers(network)[:, [2, 0]])
    assert np.array_equal(answers(first), answers(again))
    assert not np.array_equal(answers(first)[:, 0], answers(other)[:, 0])
    facts = described(plan)
    assert facts["heads"] == {"kept": [FINDINGS[2], FINDINGS[0]], "new": ["Mass"]}
    assert facts["model"] == "erm-0.pt"
    assert facts["sha256"] == {"erm-0.pt": file_sha256(folder / "erm-0.pt")}


def test_the_last_layer_learns_alone(own):
    folder, _ = own
    network = begun(tiny(start=str(folder), layers="last"), 0)
    learning = [name for name, one in network.named_parameters() if one.requires_grad]
    assert learning == ["whole.weight", "whole.bias"]
    with pytest.raises(RetrainError, match=r"no network to start from. Give --from MODEL"):
        tiny(layers="last")


def test_a_retraining_says_what_the_network_said_before_and_leaves_other_layers_alone(
    data, tests, own, tmp_path
):
    folder, network = own
    plan = tiny(start=str(folder), layers="last", steps=2)
    result = retrain.run(data, plan, tmp_path, tests=tests)
    before = result.predictions.query("arm == 'before' and test == 'inside'")
    names = [str(name) for name in data.table["image_id"][data.table["split"] == "test"]]
    shown = np.stack([levels(data.radiograph(name), SIZE, 32) for name in names])
    expected = answers(network, torch.from_numpy(shown)[:, None].float() / 255)
    kept = before.pivot(index="image_id", columns="finding", values="logit")
    np.testing.assert_allclose(kept.loc[names, list(FINDINGS)], expected, atol=1e-5)
    was, became = network.state_dict(), torch.load(tmp_path / "models" / "erm-0.pt")
    changed = {name for name, value in was.items() if not torch.equal(value, became[name])}
    assert changed == {"whole.weight", "whole.bias"}
    assert result.record["network"]["heads"]["kept"] == list(FINDINGS)
    assert str(folder.parent) not in (tmp_path / "plan.json").read_text()
    page = result.report().read_text()
    assert "erm-0.pt, of which the last layer alone learnt" in page
    # The same network elsewhere is the same run.
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert retrain.run(data, plan.but(start=str(copy)), tmp_path, tests=tests).record == (
        result.record
    )


def test_a_large_network_is_trained_and_read_on_pictures_as_sharp_as_those_it_is_used_on(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(parts, "SIDE", 300)
    data = parts.write_data(tmp_path / "data", {"train": 8, "val": 8, "test": 2})
    plan = tiny(size=256, through=256)
    network = written(tmp_path / "own", plan)
    result = rm.retrain(
        tmp_path / "data", findings=FINDINGS, out=tmp_path / "out", start=str(tmp_path / "own"),
        tests={"inside": (tmp_path / "data", "test", "internal")}, keep_ids=True,
        arms="erm", seeds=1, steps=1, batch=2, evaluate_every=1,
    )  # fmt: skip
    assert (result.record["plan"]["size"], result.record["plan"]["through"]) == (256, 256)
    before = result.predictions.query("arm == 'before' and test == 'inside'")
    names = [str(name) for name in data.table["image_id"][data.table["split"] == "test"]]
    shown, dull = (
        torch.from_numpy(np.stack([levels(data.radiograph(n), 256, side) for n in names])) / 255
        for side in (None, 224)
    )
    own = before.pivot(index="image_id", columns="finding", values="logit")
    own = own.loc[names, list(FINDINGS)]
    np.testing.assert_allclose(own, answers(network, shown[:, None].float()), atol=1e-5)
    assert np.abs(own - answers(network, dull[:, None].float())).to_numpy().max() > 1e-4


def test_new_heads_say_nothing_before(data, tests, own, tmp_path):
    written(tmp_path, tiny(findings=FINDINGS[:2]))
    plan = tiny(start=str(tmp_path), steps=1, evaluate_every=1)
    result = retrain.run(data, plan, tmp_path / "out", tests=tests)
    before = result.predictions.query("arm == 'before'").groupby("finding")["logit"]
    assert (before.std() == 0).to_dict() == dict(zip(FINDINGS, (False, False, True), strict=True))


def test_a_hugging_face_network_keeps_heads_and_input(tmp_path):
    torch.manual_seed(0)
    words = {0: "Nodule", 1: EDEMA}
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=2
    )
    config.id2label, config.problem_type = words, "multi_label_classification"
    model = ResNetForImageClassification(config).eval()
    model.save_pretrained(tmp_path / "net")
    says = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    says |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.5], "do_resize": True}
    says |= {"size": {"shortest_edge": SIZE}, "crop_pct": 1}
    says |= {"image_processor_type": "ConvNextImageProcessor"}
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps(says))
    plan = tiny(start=f"hf:{tmp_path / 'net'}")
    mean, std = (torch.tensor(says[n]).view(1, 3, 1, 1) for n in ("image_mean", "image_std"))
    with torch.no_grad():
        expected = model((PICTURES.expand(-1, 3, -1, -1) - mean) / std).logits.numpy()
    np.testing.assert_allclose(answers(begun(plan, 0))[:, 0], expected[:, 1], atol=1e-5)
    assert described(plan)["heads"] == {"kept": [EDEMA], "new": OTHERS}
    assert described(plan)["model"] == "hf:net"
    # What it became is started from again, as the network that it is.
    network = begun(plan, 0)
    for name, content in export(network, "repaired", plan).items():
        (tmp_path / name).write_bytes(content)
    again = plan.but(start=str(tmp_path / "repaired.pt"), model=plan.start)
    np.testing.assert_allclose(answers(begun(again, 1)), answers(network), atol=1e-6)
    with pytest.raises(RetrainError, match=r"repaired.pt do not fit small or densenet121 with 3"):
        begun(again.but(model="small"), 1)
    config.problem_type = "single_label_classification"
    config.save_pretrained(tmp_path / "net")
    with pytest.raises(RetrainError, match="hf:net gives a softmax over its labels"):
        begun(plan, 0)


def test_a_python_network_says_its_heads_and_input_or_none(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(PYTHON)
    plan = tiny(start=f"python:{file}:given")
    with pytest.raises(WeightsError, match=r"python:.* is one"):
        check(plan, trust=False)
    check(plan, trust=True)
    network = opened(plan.start, trust=True).network.model
    expected = answers(network, PICTURES.expand(-1, 3, -1, -1) * 2 - 1)
    np.testing.assert_allclose(answers(begun(plan, 0))[:, 0], expected[:, 1], atol=1e-6)
    assert described(plan) == {
        "model": "python:net.py:given",
        "sha256": {"net.py": file_sha256(file)},
        "heads": {"kept": [EDEMA], "new": OTHERS},
        "layers": "all",
    }
    kept = {"plain": [], "named": [EDEMA]}
    assert {n: described(tiny(start=f"python:{file}:{n}"))["heads"]["kept"] for n in kept} == kept
    for name, said in (
        ("bent", "ends otherwise|its answers changed"),
        ("chances", "gives probabilities"),
        ("number", "gave int"),
        ("wide", "function without arguments; .* raised TypeError"),
    ):
        with pytest.raises(RetrainError, match=said):
            begun(tiny(start=f"python:{file}:{name}"), 0)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("nowhere.pt", "nowhere.pt does not. Correct the path"),
        ("net.h5", "A network to start from is a .pt file"),
        ("demo:shortcut", "ONNX files cannot be trained"),
        ("lonely.onnx", "lonely.onnx has no lonely.pt beside it. Give what it was exported from"),
        ("empty", "empty has none. Name the file"),
        ("two", "two has a.pt, b.pt"),
        ("bare.pt", "bare.onnx.json beside bare.pt"),
        ("text.pt", "text.pt does not .reading it gave"),
        ("list.pt", "it holds list"),
        ("hf:nowhere", "a local folder with config.json"),
    ],
)
def test_what_cannot_be_started_from_is_told_in_a_line(tmp_path, own, form, said):
    (tmp_path / "empty").mkdir()
    for place in ("two/a.pt", "two/b.pt", "lonely.onnx", "bare.pt", "text.pt"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(b"no weights")
    torch.save([1], tmp_path / "list.pt")
    card = (own[0] / "erm-0.onnx.json").read_text()
    for name in ("text", "list"):
        (tmp_path / f"{name}.onnx.json").write_text(card)
    form = form if ":" in form else str(tmp_path / form)
    with pytest.raises(RoentModError, match=said) as caught:
        check(tiny(start=form), trust=False)
    assert "\n" not in str(caught.value)


def test_another_size_or_other_heads_than_the_card_says_are_refused(tmp_path, own):
    with pytest.raises(RetrainError, match=r"erm-0.pt takes 16 px, and size is 32. Give --size 16"):
        begun(tiny(start=str(own[0]), size=32), 0)
    written(tmp_path, tiny())
    card = json.loads((tmp_path / "erm-0.onnx.json").read_text())
    (tmp_path / "erm-0.onnx.json").write_text(json.dumps(card | {"labels": FINDINGS[:2]}))
    with pytest.raises(RetrainError, match="do not fit small or densenet121 with 2 heads"):
        begun(tiny(start=str(tmp_path)), 0)
    (tmp_path / "erm-0.onnx.json").write_text("[]")
    with pytest.raises(ClassifierError):
        begun(tiny(start=str(tmp_path)), 0)
