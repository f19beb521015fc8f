"""A whole study at a tiny size: every stage once, what depends on a change anew, nothing else."""

import pytest
import yaml

from roentmod import datasets, retrain, study
from roentmod.errors import RoentModError, StudyError
from roentmod.study.stages import Bench

TINY = {
    "name": "tiny",
    "findings": ["Cardiomegaly", "Pleural Effusion"],
    "pairs": [["Cardiomegaly", "Pleural Effusion"]],
    "train": {"source": "phantoms:28:200", "plant": True},
    "tests": {
        "own": {"source": "phantoms:28:200", "split": "test", "where": "internal", "plant": True},
        "other": {"source": "phantoms:6:900", "plant": True},
    },
    "plant": {"prevalence": 0.4, "severities": ["severe"]},
    "editor": {"name": "painter"},
    "audit": {
        "classifiers": {"demo": "demo:shortcut"},
        "baselines": 3,
        "source": {"source": "phantoms:3:5000"},
    },
    "augment": {"gate": None},
    "retrain": {"model": "small", "size": 32, "steps": 3, "batch": 8, "seeds": [0],
                "arms": ["erm", "isolated"]},
}  # fmt: skip
ORDER = ["plant", "audit before", "augment", "retrain", "audit after"]


def write(path, **changes):
    path.write_text(yaml.safe_dump(TINY | changes))
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The study, run once, and what was published."""
    folder = tmp_path_factory.mktemp("study")
    spec = study.read(write(folder / "tiny.yaml"))
    published = {}
    result = study.run(spec, folder / "out", publish=published.__setitem__)
    return spec, folder / "out", result, published


def test_every_stage_is_done_in_order(done):
    _, _, result, published = done
    assert [one.name for one in result.stages] == ORDER
    assert list(published) == ORDER
    assert set(result.figures("audit after")["classifiers"]) == {"erm-0", "isolated-0"}
    compared = result.figures("retrain")["comparisons"]
    assert {row["test"] for row in compared} == {"own", "other"}
    assert {(row["arm"], row["reference"]) for row in compared} == {("isolated", "erm")}


def test_tests_are_of_other_patients_and_not_confounded(done):
    _, _, result, _ = done
    place = result.stages[0].folder
    train, other = datasets.load(place / "train"), datasets.load(place / "other")
    parts = {s: set(t["patient_id"]) for s, t in train.table.groupby("split")}
    assert set(parts) == {"train", "val", "test"}
    assert not parts["train"] & (parts["test"] | set(other.table["patient_id"]))
    table = retrain.load(result.stages[3].folder).predictions
    assert set(table.loc[table["test"] == "own", "patient_id"]) == parts["test"]


def test_a_finished_study_does_nothing_again(done):
    spec, folder, result, _ = done
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    again = study.run(spec, folder, publish=lambda *_: pytest.fail("a stage was done again"))
    assert again.stages == result.stages
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == before
    assert [one.state for one in study.plan(spec, folder)] == ["done"] * len(ORDER)


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"retrain": TINY["retrain"] | {"steps": 4}}, ["retrain", "audit after"]),
        ({"augment": {"gate": None, "ratio": 2}}, ["augment", "retrain", "audit after"]),
        ({"audit": TINY["audit"] | {"baselines": 2}}, ["audit before", "audit after"]),
        ({"plant": TINY["plant"] | {"seed": 1}}, ["plant", "augment", "retrain", "audit after"]),
        ({"name": "another title"}, []),
    ],
)
def test_a_change_does_anew_what_depends_on_it(done, tmp_path, change, anew):
    _, folder, _, _ = done
    planned = study.plan(study.read(write(tmp_path / "changed.yaml", **change)), folder)
    assert [one.name for one in planned if one.state != "done"] == anew
    assert all((one.seconds > 0) == (one.name in anew) for one in planned)


def test_a_stopped_study_goes_on(done, tmp_path):
    spec, _, result, _ = done

    def stop(name, _):
        if name == "augment":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(spec, tmp_path, publish=stop)
    states = [one.state for one in study.plan(spec, tmp_path)]
    assert states == ["done", "done", "begun", "to do", "to do"]
    again = study.run(spec, tmp_path)
    tables = [retrain.load(one.stages[3].folder).predictions for one in (result, again)]
    assert tables[0].equals(tables[1])


def test_a_dry_run_writes_nothing(tmp_path):
    spec = study.read(write(tmp_path / "tiny.yaml"))
    planned = study.plan(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [one.name for one in planned] == ORDER
    assert "34 radiographs" in planned[0].what


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "blue"}, "colour"),
        ({"findings": []}, "findings"),
        ({"tests": {}}, "tests"),
        ({"train": {"source": "phantoms:4", "shard": 2}}, "train.shard"),
        ({"retrain": {"stepps": 2}}, "stepps"),
        ({"retrain": {"pairs": []}}, "findings or pairs"),
        ({"retrain": {"steps": 0}}, "steps"),
        ({"pairs": [["Edema", "Mass"]]}, "Edema > Mass"),
    ],
)
def test_a_file_that_does_not_fit_is_one_clear_line(tmp_path, change, said):
    with pytest.raises(RoentModError, match=said) as caught:
        study.read(write(tmp_path / "bad.yaml", **change))
    assert "\n" not in str(caught.value)


def test_no_yaml_is_told(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1, 2")
    with pytest.raises(StudyError, match=r"bad\.yaml"):
        study.read(tmp_path / "bad.yaml")
    with pytest.raises(StudyError, match="none"):
        study.read(tmp_path / "none.yaml")


def test_the_examples_can_be_read():
    from pathlib import Path

    for path in Path("examples").glob("*.yaml"):
        assert study.read(path).tests


def test_hosts_of_tests_are_not_the_trainings(tmp_path):
    both = {"source": "phantoms:20:0", "plant": True}
    tests = {"again": both | {"view": "AP", "where": "external"}}
    spec = study.read(write(tmp_path / "a.yaml", train=both | {"view": "PA"}, tests=tests))
    from roentmod.study.stages import _hosts

    bench = Bench(spec)
    own, other = _hosts(bench, spec.train), _hosts(bench, spec.tests["again"])
    assert own
    assert other
    assert not set(own) & set(other)
