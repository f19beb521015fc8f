"""A whole study at a tiny size: every stage once, what depends on a change anew, nothing else."""

import json

import numpy as np
import pytest
import yaml

from roentmod import datasets, imaging
from roentmod.errors import DatasetError, RoentModError, StudyError
from roentmod.jobs import retrain, study
from roentmod.jobs.augment import load_cooccurrence, save_cooccurrence
from roentmod.jobs.study import StudyPlan
from roentmod.jobs.study.bench import Bench
from roentmod.jobs.study.stages import _hosts, _predicted, stages_of
from roentmod.radiograph import Radiograph
from roentmod.store import write_json
from tests.jobs.augment.parts import FINDINGS
from tests.jobs.retrain.parts import write_data

pytestmark = pytest.mark.slow

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
        "resamples": 200,
        "flips": 199,
    },
    "augment": {"gate": None},
    "retrain": {"model": "small", "size": 32, "steps": 3, "batch": 8, "seeds": [0],
                "arms": ["erm", "isolated"]},
}  # fmt: skip
ORDER = ["plant", "audit before", "augment", "retrain", "audit after"]


def write(path, **changes):
    path.write_text(yaml.safe_dump(TINY | changes))
    return path


def silent(*_):
    """Show no progress."""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The study, run once, and the stages that showed their progress."""
    folder = tmp_path_factory.mktemp("study")
    spec = study.read(write(folder / "tiny.yaml"))
    shown = []

    def stages(title):
        shown.append(title.partition(":")[0])
        return lambda *_: None

    result = study.run(spec, folder / "out", stages=stages)
    return spec, folder / "out", result, list(dict.fromkeys(shown))


def test_a_record_has_no_places_and_no_secrets():
    place = "/data/Zebulon/films"
    forms = {
        "a": "https://Zebulon:pw@host:8000/read?key=Zebulon#Zebulon",
        "b": f"{place}/model.onnx",
        "c": f"probe:{place}/probe",
    }
    tests = {"own": {"source": f"nih:{place}"}, "kept": {"source": "/data/set", "keep_ids": True}}
    changes = {"train": {"source": place, "images": place}, "tests": tests, "plant": None}
    audited = TINY["audit"] | {"classifiers": forms, "source": {"source": f"folder:{place}"}}
    spec = StudyPlan.of(TINY | changes | {"audit": audited, "augment": {"matrix": f"{place}/m"}})
    facts = study._facts(spec)
    assert "Zebulon" not in json.dumps(facts)
    assert facts["audit"]["classifiers"] == {
        "a": "https://host:8000/read",
        "b": "model.onnx",
        "c": "probe:probe",
    }
    assert facts["tests"]["own"]["source"].startswith("nih:s-")
    assert facts["tests"]["kept"]["source"] == "/data/set"
    assert facts["train"]["source"] == facts["train"]["images"]
    assert StudyPlan.of(facts).findings == spec.findings
    assert study._facts(StudyPlan.of(TINY))["train"]["source"] == "phantoms:28:200"


def test_every_stage_is_done_in_order(done):
    _, _, result, shown = done
    assert [one.name for one in result.stages] == ORDER
    assert shown == ORDER
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
    again = study.run(
        spec, folder, stages=lambda title: pytest.fail(title) if ":" in title else silent
    )
    assert again.stages == result.stages
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()} == before
    assert [one.state for one in study.plan(spec, folder)] == ["done"] * len(ORDER)


def test_a_finished_study_opens_again(done, tmp_path):
    spec, folder, result, _ = done
    again = study.load(folder)
    assert again == result
    assert StudyPlan.of(spec.facts()) == spec
    assert again.report().is_file()
    with pytest.raises(StudyError, match="no study was finished there"):
        study.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({"retrain": TINY["retrain"] | {"steps": 4}}, ["retrain", "audit after"]),
        ({"augment": {"gate": None, "ratio": 2}}, ["augment", "retrain", "audit after"]),
        ({"audit": TINY["audit"] | {"baselines": 2}}, ["audit before", "audit after"]),
        ({"audit": TINY["audit"] | {"classifiers": {"x": "demo:honest"}}}, ["audit before"]),
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

    def stages(title):
        def stop(done, _):
            if title == "augment: editing" and done == 3:
                raise KeyboardInterrupt

        return stop

    with pytest.raises(KeyboardInterrupt):
        study.run(spec, tmp_path, stages=stages)
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
        ({"train": {"source": "phantoms:4", "shard": 2}}, "train takes .* got 'shard'"),
        ({"retrain": {"stepps": 2}}, "stepps"),
        ({"retrain": {"pairs": []}}, "bad.yaml: retrain takes .* got 'pairs'"),
        ({"retrain": {"steps": 0}}, "steps"),
        ({"retrain": {"steps": "many\nmore"}}, "retrain: steps: .* got 'many more'"),
        ({"pairs": [["Edema", "Mass"]]}, "Edema > Mass"),
        ({"tests": {"in/side": {"source": "phantoms:4"}}}, "letters, digits.* got 'in/side'"),
        ({"tests": {"train": {"source": "phantoms:4"}}}, "other than train, val.* got 'train'"),
        ({"validate": {"options": {"sweeped": 1}}}, "validate takes .* got 'sweeped'"),
        ({"validate": {"options": {"findings": ["Mass"]}}}, "got 'findings'"),
        ({"validate": {"options": {"swept": "a few"}}}, "validate: swept: .* got 'a few'"),
        ({"validate": {"options": {"swept": -1}}}, "swept must be 0 or more; got -1"),
        ({"plant": {"prevalence": 0}}, "prevalence must be .*; got 0"),
        ({"augment": {"ratio": 3}}, r"must be in \(0, 2\].* got 3"),
        (
            {"tests": {"own": {"source": "phantoms:28:200", "keep_ids": True}}},
            "got keep_ids for phantoms:28:200 in one place",
        ),
        ({"audit": {"margin": -1}}, "margin must be .*; got -1"),
        ({"editor": {"name": "mini", "device": "cuda"}}, "editor takes .* got 'device'"),
    ],
)
def test_a_file_that_does_not_fit_is_one_clear_line(tmp_path, change, said):
    with pytest.raises(RoentModError, match=said) as caught:
        study.read(write(tmp_path / "bad.yaml", **change))
    assert "\n" not in str(caught.value)


def test_findings_are_planted_in_one_pair_each(tmp_path):
    findings = ["Cardiomegaly", "Pleural Effusion", "Edema"]
    pairs = [["Cardiomegaly", "Edema"], ["Pleural Effusion", "Edema"]]
    with pytest.raises(RoentModError, match="each in one pair"):
        study.read(write(tmp_path / "bad.yaml", findings=findings, pairs=pairs))
    # Both directions, under any name, are one pair.
    both = [["Cardiomegaly", "Effusion"], ["Pleural Effusion", "Cardiomegaly"]]
    spec = study.read(write(tmp_path / "good.yaml", pairs=both))
    assert spec.plant.pairs == (("Cardiomegaly", "Pleural Effusion"),)


def test_a_study_that_was_not_read_from_a_file_is_checked_too():
    with pytest.raises(StudyError, match="got 'sweeped'"):
        StudyPlan.of(TINY | {"validate": {"options": {"sweeped": 1}}})


def test_options_may_be_any_that_a_validation_has():
    options = {"hold": ["Edema"], "rule": {"identity": 0.5}, "strengths": [0.3], "strength": 0.6}
    spec = StudyPlan.of(TINY | {"validate": {"options": options}})
    assert spec.validation.hold == ("Edema",)
    assert spec.validation.rule.identity == 0.5
    assert spec.validation.strengths == (0.3,)
    assert (spec.validation.strength, spec.validation.guidance_scale) == (0.6, 4.0)


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


def anew(before, after):
    """Return the stages of `after` whose results those of `before` are not."""
    keys = {one.name: one.key for one in stages_of(Bench(StudyPlan.of(before)))}
    stages = stages_of(Bench(StudyPlan.of(after)))
    return [one.name for one in stages if one.key != keys.get(one.name)]


VALIDATED = TINY | {"validate": {"baselines": 2}}
AUDITS = ["audit before", "audit after"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"classifiers": {"other": "demo:honest"}}, ["audit before"]),
        ({"classifiers": {"one": "demo:honest", "demo": "demo:shortcut"}}, ["audit before"]),
        ({"baselines": 2}, AUDITS),
        ({"margin": 0.3}, AUDITS),
        ({"source": {"source": "phantoms:3:5000", "where": "internal", "count": 2}}, []),
        ({"source": {"source": "phantoms:4:5000"}}, ["validate", *AUDITS]),
        ({"source": {"source": "phantoms:3:5000", "view": "PA"}}, ["validate", *AUDITS]),
    ],
)
def test_audit_settings_do_anew_only_what_they_concern(change, expected):
    assert anew(VALIDATED, VALIDATED | {"audit": TINY["audit"] | change}) == expected


def test_a_matrix_counts_by_its_content(tmp_path):
    rates = load_cooccurrence()
    for name in ("one", "other"):
        save_cooccurrence(rates, tmp_path / name)
    told = rates.to_json()
    write_json(tmp_path / "changed", told | {"source": "elsewhere"})
    arms = {"retrain": TINY["retrain"] | {"arms": ["erm", "soft"]}}

    def using(name, **changes):
        return TINY | arms | {"augment": {"gate": None, "matrix": tmp_path / name}} | changes

    assert anew(using("one"), using("other")) == []
    assert anew(using("one"), using("changed")) == ["retrain", "audit after"]
    # The file may have changed, and its name not.
    before = using("one")
    keys = [one.key for one in stages_of(Bench(StudyPlan.of(before)))]
    (tmp_path / "changed").replace(tmp_path / "one")
    assert [one.key for one in stages_of(Bench(StudyPlan.of(before)))] != keys
    # Where nothing is soft, it does not count.
    assert anew(using("one", **HARD), using("other", **HARD)) == []
    with pytest.raises(DatasetError, match="none"):
        stages_of(Bench(StudyPlan.of(using("none"))))


HARD = {"retrain": TINY["retrain"]}


def test_a_training_set_depends_on_what_is_learned_from(tmp_path):
    data = write_data(tmp_path / "data", {"train": 24, "val": 12, "test": 8})
    plain = TINY | {"plant": None, "train": {"source": str(data.root)}}
    more = TINY["tests"] | {"third": {"source": "phantoms:4:70"}}
    assert anew(plain, plain | {"tests": more}) == ["retrain", "audit after"]
    editor = {"augment": {"gate": None, "editor": "painter"}}
    assert anew(plain | editor, plain | editor | {"editor": {"name": "mini"}}) == AUDITS


def test_a_source_without_hosts_is_told_before_anything_is_planted():
    tests = {"same": TINY["train"] | {"view": "PA"}}
    with pytest.raises(StudyError, match="'same' has none"):
        stages_of(Bench(StudyPlan.of(TINY | {"tests": tests})))


def test_audits_edit_a_split_that_is_there_and_not_trained_on(tmp_path):
    data = write_data(tmp_path / "data", {"train": 24, "val": 12, "test": 16})
    source = {"source": str(data.root), "keep_ids": True}
    known = data.table.set_index("image_id")["split"]

    def bench(split, audit=None):
        audited = TINY["audit"] | {"source": source | {"split": split}, "split": audit}
        changes = {"train": source, "plant": None, "audit": audited}
        return Bench(StudyPlan.of(TINY | changes | {"tests": {"far": {"source": "phantoms:4"}}}))

    for split, table in (("Testing", "test"), ("validation", "val")):
        assert set(known[bench(split).baselines(20)[1]["baseline_id"]]) == {table}
    assert bench(None, "testing").audited_split == "test"
    for split in ("training", "tset", None):
        with pytest.raises(
            StudyError, match=r"not trained on; the splits of .* are test, train, v"
        ):
            stages_of(bench(split))
    # Before findings are planted nothing may be split yet.
    unsplit = Bench(StudyPlan.of(TINY | {"audit": TINY["audit"] | {"source": None}}))
    assert unsplit.audited_on.split == "test"
    assert unsplit.audited_split is None


def test_a_retraining_keeps_what_predicts_labels_of_tests_that_are_not_planted(tmp_path):
    rows = [f"{n}.png,{'Cardiomegaly,a' if n % 2 else 'No Finding,b'},p{n}" for n in range(60)]
    (tmp_path / "index.csv").write_text("\n".join(["path,labels,site,patient_id", *rows]))
    for n in range(60):
        (tmp_path / f"{n}.png").write_text(str(n))
    far = {"source": str(tmp_path)}
    tests = TINY["tests"] | {"far": far, "planted": far | {"plant": True}}
    (text,) = _predicted(Bench(StudyPlan.of(TINY | {"tests": tests})))
    assert text.startswith("far: facts that predict labels: 1 (site -> Cardiomegaly AUC 1.00)")


def test_a_study_says_in_which_stages_something_could_not_be_read(tmp_path):
    figures = ({"pictures": 2}, {"failed": 3}, {})
    stages = [
        study.Finished(name, tmp_path, 1.0, own) for name, own in zip(ORDER, figures, strict=False)
    ]
    result = study.StudyResult(StudyPlan.of(TINY), tmp_path, tuple(stages))
    assert result.failed == {"audit before": 3}


def test_every_host_is_of_a_view_that_the_package_takes(tmp_path):
    views = ("PA", "AP", "frontal", "L", "oblique", "?", "PA")
    lines = ["path,labels,view,patient_id,unfit"]
    lines += [f"{n}.png,Edema,{view},p{n}," for n, view in enumerate(views)]
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    for n in range(6):
        imaging.write(Radiograph.from_array(np.full((64, 64), n / 9)), tmp_path / f"{n}.png",
                      provenance=None)  # fmt: skip
    train = {"source": str(tmp_path), "every": True, "plant": True, "keep_ids": True}
    bench = Bench(StudyPlan.of(TINY | {"train": train}))
    table = bench.data(bench.spec.train).table.set_index("image_id")
    # The last file is missing.
    chosen = table.loc[_hosts(bench, bench.spec.train), "patient_id"]
    assert sorted(chosen) == ["p0", "p1", "p2"]


def test_a_training_without_validation_split_gets_one(tmp_path):
    data = write_data(tmp_path / "data", {"train": 150, "test": 12})
    source = {"source": str(data.root), "keep_ids": True}
    arms = TINY["retrain"] | {"arms": ["erm"]}
    tests = {"own": source | {"split": "test"}}
    asked = {"findings": FINDINGS, "pairs": [], "plant": None, "train": source, "tests": tests}
    spec = StudyPlan.of(TINY | asked | {"audit": None, "retrain": arms})
    result = study.run(spec, tmp_path / "out")
    readings = retrain.load(result.place("retrain")).predictions
    known = data.table.set_index("image_id")["split"]
    assert set(readings["test"]) == {"val", "own"}
    assert set(known[readings["image_id"][readings["test"] == "val"]]) == {"train"}
    # Only the training's: a test is taken as it is.
    other = StudyPlan.of(TINY | {"tests": {"far": source | {"split": "train"}}})
    assert set(Bench(other).data(other.tests["far"]).table["split"]) == {"train", "test"}


def test_hosts_of_tests_are_not_the_trainings(tmp_path):
    both = {"source": "phantoms:20:0", "plant": True}
    tests = {"again": both | {"view": "AP", "where": "external"}}
    spec = study.read(write(tmp_path / "a.yaml", train=both | {"view": "PA"}, tests=tests))
    bench = Bench(spec)
    own, other = _hosts(bench, spec.train), _hosts(bench, spec.tests["again"])
    assert own
    assert other
    assert not set(own) & set(other)
