"""The verbs in a script: the same shape for all, and results that open again."""

import inspect
import itertools
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

import roentmod as rm
from roentmod.errors import AuditError, DatasetError, RoentModError, RunError
from roentmod.jobs.study.bench import Bench
from roentmod.plans.study import Source

pytestmark = pytest.mark.slow

VERBS = ("audit", "augment", "edit", "plant", "repair", "retrain", "study", "validate")


def test_the_package_is_quick_to_import():
    heavy = "{'torch', 'scipy', 'pandas', 'matplotlib', 'diffusers', 'pydicom'}"
    for what in ("roentmod", "roentmod.cli", "roentmod.verbs"):
        script = f"import sys, {what}; print(*sorted({heavy} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stdout.strip() == "", what


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_shows_its_options(name):
    verb = getattr(rm, name)
    shown = inspect.signature(verb).parameters
    assert {"out", "workers", "progress"} <= shown.keys()
    assert all(f"\n    {field}: " in verb.__doc__ for field in shown if field == "workers")


def test_an_unknown_option_is_refused_with_what_is_near(tmp_path):
    with pytest.raises(AuditError, match=r"no option 'doeses'.*doses"):
        rm.audit("phantoms:3", "demo:honest", out=tmp_path, doeses="severity")


def test_planting_and_augmenting_open_again(tmp_path):
    planted = rm.plant("phantoms:6:200", findings=["Edema"], out=tmp_path / "p", prevalence=0.9)
    assert repr(rm.open(tmp_path / "p")) == repr(planted)
    made = rm.augment(
        "phantoms:4", findings="Edema", editor="painter", gate_logit=None, out=tmp_path / "a"
    )
    assert len(made) == 4
    assert repr(rm.open(tmp_path / "a")) == repr(made)
    with pytest.raises(RunError, match=r"audit\.json"):
        rm.open(tmp_path)


def test_an_audit_has_tables(tmp_path):
    result = rm.audit(
        rm.load("phantoms:6"),
        {"ours": "demo:honest"},
        editor=rm.Editor.load("painter"),
        findings=["Cardiomegaly", "Pleural Effusion"],
        out=tmp_path,
        resamples=200,
        flips=199,
        fewest=3,
    )
    assert list(result.verdicts["classifier"]) == ["ours"]
    assert set(result.effects["classifier"]) == {"ours"}
    assert "ours" in repr(result)
    assert repr(rm.open(tmp_path)) == repr(result)


def test_an_edit_of_a_file(tmp_path):
    rm.write(rm.phantom(3).radiograph, tmp_path / "one.png", provenance=None)
    result = rm.edit(tmp_path / "one.png", add="mass", editor="painter", out=tmp_path / "out")
    assert list(result.items["status"]) == ["ok"]
    assert len(rm.open(tmp_path / "out").items) == 1


def _edit(folder):
    rm.write(rm.phantom(3).radiograph, folder.parent / "one.png", provenance=None)
    return rm.edit(folder.parent / "one.png", add="mass", editor="painter", out=folder)


def _plant(folder):
    return rm.plant("phantoms:2:200", findings=["Edema"], out=folder, prevalence=0.9)


def _augment(folder):
    return rm.augment(
        "phantoms:1:200", findings="Edema", editor="painter", gate_logit=None, out=folder
    )


@pytest.mark.parametrize("verb", [_edit, _plant, _augment])
def test_a_damaged_folder_is_mended_or_one_line(verb, tmp_path):
    whole, copy = tmp_path / "whole", tmp_path / "copy"
    shown = repr(verb(whole)).replace("whole", "copy")
    files = [p.relative_to(whole) for p in whole.rglob("*") if p.is_file() and p.suffix != ".png"]
    messages = []
    for file, damage in itertools.product(files, (None, b"", b"[]", b"\xff{", 0.5)):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        (copy / file).unlink()
        if isinstance(damage, float):
            damage = (whole / file).read_bytes()[: int(damage * (whole / file).stat().st_size)]
        if damage is not None:
            (copy / file).write_bytes(damage)
        for attempt in (lambda: rm.open(copy), lambda: verb(copy)):
            try:
                assert repr(attempt()) == shown
            except RoentModError as error:
                messages.append(str(error))
    assert messages
    assert all(map(str.isprintable, messages))


@pytest.fixture
def confounded(tmp_path):
    """A table whose positives come from one source, its negatives from another; no ages."""
    rows = [f"{n}.png,{'Edema,a' if n % 2 else 'No Finding,b'},p{n}" for n in range(60)]
    (tmp_path / "index.csv").write_text("\n".join(["path,labels,site,patient_id", *rows]))
    for n in range(60):
        (tmp_path / f"{n}.png").write_text(str(n))
    return tmp_path


def test_an_audit_and_a_study_say_which_facts_predict_labels(confounded, caplog):
    said = "facts that predict labels: 1 (site -> Edema AUC 1.00)"
    options = {"editor": "painter", "findings": ["Edema"], "out": confounded / "out"}
    with pytest.raises(DatasetError, match="--ages unknown"):
        rm.audit(str(confounded), "demo:honest", **options)
    assert caplog.text.count(said) == 1
    caplog.clear()
    source = Source(source=str(confounded))
    rule = SimpleNamespace(unmentioned="unknown")
    bench = Bench(SimpleNamespace(findings=("Edema",), train=source, retrain=rule))
    assert [text.startswith(said) for text in bench.warnings(source)] == [True]
    assert caplog.text.count(said) == 1


def test_audits_and_retrainings_keep_which_facts_predict_labels(confounded, monkeypatch):
    kept = []
    for place in ("audit", "retrain"):
        job = f"roentmod.jobs.{place}.run"
        monkeypatch.setattr(job, lambda *_, warnings, **__: kept.append(warnings))
    options = {"findings": ["Edema"], "out": confounded / "out"}
    rm.audit(str(confounded), "demo:honest", editor="painter", ages="unknown", **options)
    rm.retrain(str(confounded), **options)
    assert len(kept) == 2
    for (text,) in kept:
        assert text.startswith("facts that predict labels: 1 (site -> Edema AUC 1.00)")


def test_a_retraining_says_what_predicts_labels_of_tests_and_by_its_own_rule(
    confounded, tmp_path_factory, monkeypatch, caplog
):
    kept = []
    monkeypatch.setattr(
        "roentmod.jobs.retrain.run", lambda *_, warnings, **__: kept.extend(warnings)
    )
    other = tmp_path_factory.mktemp("other")
    for file in confounded.iterdir():
        text = file.read_text()
        (other / file.name).write_text(text.replace("No Finding", "Mass"))
    options = {"findings": ["Edema"], "out": other / "out"}
    tests = {"far": str(other), "own": (str(confounded), None, "internal")}
    rm.retrain(str(confounded), tests=tests, **options)
    assert len(kept) == 1
    rm.retrain(str(confounded), tests=tests, unmentioned="absent", **options)
    said = "far: facts that predict labels: 1 (site -> Edema AUC 1.00)"
    assert [text.startswith(said) for text in kept] == [False, False, True]
    assert caplog.text.count(said) == 1
