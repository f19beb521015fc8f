"""A repair at a tiny size: a planted shortcut is found, repaired and judged; or nothing is."""

from functools import partial

import pytest
import torch

import roentmod as rm
from roentmod.editors import Editor, Painter
from roentmod.errors import RetrainError, RoentModError, StudyError
from roentmod.jobs.repair import Given, RepairPlan
from roentmod.jobs.repair.given import bench_of
from roentmod.plans.parts import Audited
from roentmod.runs import Workers
from tests.runs.kill import check_survives_kills
from tests.small import write_phantoms

HEART, FLUID = "Cardiomegaly", "Pleural Effusion"
LABELS = ("No Finding", HEART, "No Finding", FLUID, "No Finding", f"{HEART}|{FLUID}")
SPLITS = ("train",) * 12 + ("val",) * 12 + ("test",) * 12
# Heads that see light in cells of a 4 x 4 grid: both the lower half, or each where its own is.
MODEL = """
import torch
from torch import nn

def made(heart, fluid):
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 2))
    net.pathologies = ["Cardiomegaly", "Pleural Effusion"]
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.fill_(-1)
        net[2].weight[0, list(heart)] = 40
        net[2].weight[1, list(fluid)] = 40
    return net

def shortcut():
    return made(range(8, 16), range(8, 16))

def blind():
    return made((), ())

def large():
    net = shortcut()
    net.card = {"labels": net.pathologies, "size": 256}
    return net
"""
SMALL = {"findings": "Cardiomegaly,Pleural Effusion", "size": 32, "through": 64, "steps": 2}
SMALL |= {"batch": 8, "seeds": 1, "evaluate_every": 1, "trust": True}
SMALL |= {"fewest": 3, "resamples": 200, "flips": 199, "gate_logit": -99.0}


class Other(Painter):
    """A second editor that is as quick."""

    name = "other"


@pytest.fixture(autouse=True)
def editors(monkeypatch):
    load = lambda name, **_: {"painter": Painter, "other": Other}[name]()  # noqa: E731
    monkeypatch.setattr(Editor, "load", staticmethod(load))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with data and the file of models."""
    folder = tmp_path_factory.mktemp("Zebulon")
    write_phantoms(folder / "data", SPLITS, labels=LABELS)
    (folder / "net.py").write_text(MODEL)
    return folder


def repaired(given, out, name="shortcut", **changes):
    options = SMALL | {"unseen": "other"} | changes
    return rm.repair(f"python:{given / 'net.py'}:{name}", given / "data", out=out, **options)


@pytest.fixture(scope="module")
def done(given, tmp_path_factory):
    """The repair of a shortcut, run once."""
    load = lambda name, **_: {"painter": Painter, "other": Other}[name]()  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Editor, "load", staticmethod(load))
        return repaired(given, tmp_path_factory.mktemp("repair") / "out")


@pytest.mark.slow
def test_a_shortcut_is_found_and_what_was_done_is_said(done):
    assert (FLUID, HEART) in done.pairs
    assert [one.name for one in done.study.stages] == [
        "audit before",
        "audit before unseen",
        "augment",
        "retrain",
        "audit after",
        "audit unseen",
    ]
    assert done.verdict in ("repaired", "repaired at a cost", "not repaired")
    shares = done.shares
    assert set(shares["editor"]) == {"painter", "other"}
    assert set(shares["arm"]) == {"before", "erm", "pair"}
    before = shares[(shares["arm"] == "before") & (shares["read"] == HEART)]
    assert (before["share"] > 0.2).all()
    assert before["called"].eq(1).all()
    # Two painters alike: the same pictures, and the same shares.
    assert before["share"].nunique() == 1
    page = done.report().read_text()
    for text in ("never seen", "before", "Reverse shortcut", "pair-0.onnx", "Rules"):
        assert text in page
    model = done.folder / done.facts["candidate"]
    assert rm.verbs.load_classifiers(str(model))["pair-0"].findings == (HEART, FLUID)


@pytest.mark.slow
def test_a_finished_repair_does_nothing_again_opens_and_hides_names(done, given):
    before = {p: p.stat().st_mtime_ns for p in done.folder.rglob("*") if p.is_file()}
    again = repaired(given, done.folder)
    assert again.facts == done.facts
    assert {p: p.stat().st_mtime_ns for p in done.folder.rglob("*") if p.is_file()} == before
    opened = rm.open(done.folder)
    assert opened.facts == done.facts
    assert opened.stages == done.stages
    done.report()
    texts = [p for p in done.folder.rglob("*") if p.suffix in (".json", ".html", ".yaml")]
    assert texts
    assert [p for p in texts if "Zebulon" in p.read_text()] == []
    plan = rm.verbs.plan_repair(
        f"python:{given / 'net.py'}:shortcut", given / "data", out=done.folder,
        **SMALL | {"unseen": "other"},
    )  # fmt: skip
    assert [one.state for one in plan] == ["done"] * 6


@pytest.mark.slow
def test_where_nothing_is_found_nothing_is_trained(given, tmp_path):
    result = repaired(given, tmp_path, "blind")
    assert (result.verdict, result.pairs, result.model) == ("nothing found", [], None)
    assert not result.judged
    assert sorted(one.name for one in result.study.stages) == [
        "audit before",
        "audit before unseen",
    ]
    assert not list(tmp_path.glob("retrain-*"))
    page = result.report().read_text()
    assert "Nothing could be judged, so nothing was trained" in page


def work(given, folder):
    torch.set_num_threads(1)
    load = lambda name, **_: {"painter": Painter, "other": Other}[name]()  # noqa: E731
    Editor.load = staticmethod(load)
    repaired(given, folder, pairs=(f"{FLUID}>{HEART}",), baselines=3)


@pytest.mark.slow
def test_killed_at_three_points_it_ends_with_the_same_bytes(given, tmp_path):
    timed = ("report.html", "report.json", "retrain.json", "erm-0.jsonl", "pair-0.jsonl")
    check_survives_kills(partial(work, given), tmp_path, kills=3, timed=(*timed, "repair.json"))


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        ("demo:shortcut", {}, "ONNX files cannot be trained"),
        ("python:{}:shortcut", {"trust": False}, "--trust"),
        ("python:{}:shortcut", {"unseen": "painter"}, "got 'painter' twice"),
        ("python:{}:shortcut", {"arms": "erm"}, "a way of repairing at least"),
        ("python:{}:shortcut", {"findings": "Mass,Edema"}, "keeps heads of its model"),
        ("python:{}:shortcut", {"pairs": ("Mass>Edema",)}, "got Mass, Edema in --pair"),
        ("python:{}:none", {}, "no attribute 'none'"),
        ("nowhere.pt", {}, "Correct the path"),
    ],
)
def test_what_cannot_be_repaired_is_told_in_a_line(given, tmp_path, model, changes, said):
    options = SMALL | {"unseen": "other"} | changes
    with pytest.raises(RoentModError, match=said) as caught:
        rm.repair(model.format(given / "net.py"), given / "data", out=tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*audit*"))


def bench(given, name="shortcut", plan=None, **changes):
    """A repair's study, the model's file never looked at."""
    spec, plan = f"python:{given / 'net.py'}:{name}", plan or RepairPlan(unseen="other")
    whole = Given(spec, str(given / "data"), plan, trust=True, **changes)
    return bench_of(whole, given / "given.onnx", Workers())


@pytest.mark.parametrize(
    ("split", "table"),
    [(None, "test"), ("testing", "test"), (" Test", "test"), ("validation", "val")],
)
def test_audits_edit_the_split_that_is_named_however_it_is_spelled(given, split, table):
    made = bench(given, chosen=Audited(split=split))
    data, chosen = made.baselines(100)
    known = data.table.set_index("image_id")["split"]
    assert set(known[chosen["baseline_id"]]) == {table}
    assert made.spec.audit.source.split == table


@pytest.mark.parametrize("split", ["train", "Training", "tset"])
def test_audits_edit_no_split_that_is_trained_on_or_not_there(given, tmp_path, split):
    name = "train" if split == "Training" else split
    with pytest.raises(StudyError, match=f"are test, train, val, got '{name}'"):
        repaired(given, tmp_path / "out", split=split)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "words", "sides"),
    [
        ("shortcut", {}, (224, 224)),
        ("shortcut", {"size": 300}, (300, 300)),
        ("large", {}, (256, 256)),
        ("large", {"size": 256, "through": 224}, (256, 224)),
    ],
)
def test_pictures_have_the_models_size_and_are_as_sharp_as_audits(given, name, words, sides):
    made = bench(given, name, RepairPlan(unseen="other", **words))
    assert (made.spec.retrain.size, made.spec.retrain.through) == sides


def test_another_size_than_the_models_is_refused_before_anything_is_written(given, tmp_path):
    with pytest.raises(RetrainError, match=r"takes 256 px, and size is 32\. Give --size 256"):
        repaired(given, tmp_path / "out", "large")
    assert not (tmp_path / "out").exists()
    # So is a folder that holds something else.
    (tmp_path / "repair.json").write_text('{"kind": "study"}')
    with pytest.raises(RoentModError, match="holds repairs with another kind"):
        repaired(given, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["repair.json"]


def test_a_plan_says_what_it_repairs_with():
    plan = RepairPlan()
    assert plan.arms[0] == "erm"
    assert plan.arm == plan.arms[1]
    assert RepairPlan(arms="erm,soft,isolated").arm == "soft"
    assert "findings" not in plan.training()
    with pytest.raises(RetrainError, match="erm, its control"):
        RepairPlan(arms=("isolated", "soft"))
