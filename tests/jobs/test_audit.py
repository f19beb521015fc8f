"""The audit as a whole: painted phantoms, and classifiers whose reactions are arithmetic."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from roentmod import classifiers, datasets, verbs
from roentmod.classifiers import Judge
from roentmod.datasets.phantom import phantom
from roentmod.domain import FINDINGS
from roentmod.editors import Editor, compose
from roentmod.errors import AuditError, ClassifierError, EditError, RunError, UnreadableError
from roentmod.jobs import audit
from roentmod.jobs.audit import AuditPlan, Rules, judgement
from roentmod.jobs.audit.job import AuditJob, Case
from roentmod.jobs.audit.predictions import Numbers
from roentmod.jobs.audit.readers import Readers
from tests.runs.kill import check_survives_kills, contents

pytestmark = pytest.mark.slow

# Both are seen in every phantom; of devices, thin lines are not.
PAIR = ("Cardiomegaly", "Pneumothorax")
QUICK = Rules(exact=True, fewest=4, resamples=300, flips=499)
# One for all: it remembers the outlines of what it has seen.
PAINTER = Editor.load("painter")
SIZE = 224


class Ruler:
    """Reads two findings by arithmetic on the judge's logits; `mix` plants the shortcut.

    Each head is the judge's own, plus `mix` times the other one.
    """

    findings = PAIR
    size = SIZE

    def __init__(self, mix=0.0, *, fails=(), spoils=False, constant=False):
        self.judge = Judge.load()
        self.columns = [self.judge.findings.index(name) for name in PAIR]
        self.mix, self.fails, self.spoils, self.constant = mix, fails, spoils, constant
        self.calls, self.spoilt = 0, None

    def logits(self, images):
        self.calls += 1
        if self.calls in self.fails:
            raise ClassifierError("The endpoint must answer; it did not.")
        own = self.judge.logits(images)[:, self.columns]
        answer = own + self.mix * own[:, ::-1]
        if self.constant:
            answer[:, 1] = 0.5
        if self.spoils:
            # The second picture it was ever shown, whatever else is in a batch.
            self.spoilt = self.spoilt or images[1].tobytes()
            answer[[image.tobytes() == self.spoilt for image in images]] = np.nan
        return answer.astype(np.float32)


class Counting:
    """The painter, counting what it is asked for."""

    name, exact = "painter", True

    def __init__(self):
        self.painter, self.calls = PAINTER, 0

    def describe(self):
        return self.painter.describe()

    def edit(self, radiographs, edits, **options):
        self.calls += 1
        return self.painter.edit(radiographs, edits, **options)


@pytest.fixture(scope="module")
def source():
    return datasets.load("phantoms:6:50")


@pytest.fixture(scope="module")
def chosen(source):
    return datasets.baselines(source).table


def run(source, chosen, folder, models, *, plan=None, editor=None, rules=QUICK, warnings=()):
    return audit.run(
        source,
        chosen,
        editor or PAINTER,
        models,
        plan or AuditPlan(findings=PAIR),
        folder,
        rules=rules,
        warnings=warnings,
    )


@pytest.fixture(scope="module")
def whole(source, chosen, tmp_path_factory):
    """An audit of an honest classifier and of one with a planted shortcut, never interrupted."""
    models = {"honest": Ruler(), "cheat": Ruler(0.8)}
    return run(source, chosen, tmp_path_factory.mktemp("audit") / "run", models)


def demo(folder, workers="serial", stages=None):
    """Audit the bundled demo classifiers on phantoms."""
    torch.set_num_threads(1)
    data = datasets.load("phantoms:3")
    models = {name: classifiers.load(f"demo:{name}") for name in ("honest", "shortcut")}
    return audit.run(
        data,
        datasets.baselines(data).table,
        Editor.load("painter"),
        models,
        AuditPlan(findings=PAIR, stress=2),
        folder,
        rules=QUICK,
        workers=workers,
        stages=stages,
    )


def verdicts(one):
    return one.cells.set_index(["edited", "read"])["verdict"]


def test_planted_is_found_and_honest_is_cleared(whole):
    honest, cheat = whole.classifiers
    assert honest.name == "honest"
    assert cheat.verdict == "shortcuts found"
    assert set(cheat.shortcuts()) == {PAIR, PAIR[::-1]}
    assert "shortcut" not in set(verdicts(honest))
    # 80 % of the other head was mixed in; a ratio is of the read head's own effect, r / (1 + r).
    own = honest.cells[honest.cells["on_target"]]["effect"]
    ratio = 0.8 * own.max() / own.min()
    assert cheat.score == pytest.approx(ratio / (1 + ratio), abs=0.1)
    assert honest.score < 0.2


def test_every_pair_has_both_arms_and_counts_add_up(whole):
    table = pd.read_parquet(whole.folder / "predictions.parquet")
    lost = whole.items["status"].eq("poor_anatomy").sum()
    pairs = (6 * len(PAIR) - lost) * 2
    assert whole.counts == {
        "planned": 6 * len(PAIR) * 2,
        "ok": pairs,
        "missing": 6 * len(PAIR) * 2 - pairs,
    }
    arms = table.groupby(["classifier", "baseline_id", "pair_id", "read_finding"])["arm"].nunique()
    assert (arms == 2).all()


def test_a_pair_that_several_classifiers_show_is_made_once(source, chosen, tmp_path):
    models = {"one": Ruler(0.8), "other": Ruler(0.8)}
    result = run(source, chosen, tmp_path / "run", models)
    first, second = ([e.counterfactual for e in one.examples] for one in result)
    assert first == second != []


def test_pictures_of_the_shortcuts_are_there(whole):
    cheat = whole.classifiers[1]
    assert {(e.edited, e.read) for e in cheat.examples} == {PAIR, PAIR[::-1]}
    for example in cheat.examples:
        assert example.baseline.is_file()
        assert example.counterfactual.read_bytes() != example.baseline.read_bytes()
        assert b"SYNTHETIC" in example.counterfactual.read_bytes().upper()
        table = pd.read_parquet(whole.folder / "predictions.parquet")
        rows = table[
            (table["classifier"] == "cheat")
            & (table["baseline_id"] == example.baseline_id)
            & (table["edited_finding"] == example.edited)
            & (table["read_finding"] == example.read)
            & (table["arm"] == "counterfactual")
        ]
        assert rows["logit_edited"].iloc[0] == pytest.approx(example.logit_counterfactual)


def test_other_rules_judge_the_same_predictions(whole):
    lenient = audit.assess(whole.folder, QUICK.but(margin=1.0))
    assert lenient.classifiers[1].verdict != "shortcuts found"
    assert lenient.plan["margin"] == 1.0


def test_an_interrupted_audit_goes_on_and_gives_the_same_table(whole, source, chosen, tmp_path):
    class Stop(KeyboardInterrupt):
        pass

    class Fragile(Ruler):
        def logits(self, images):
            if self.calls == 3:
                raise Stop
            return super().logits(images)

    with pytest.raises(Stop):
        run(source, chosen, tmp_path / "run", {"honest": Fragile(), "cheat": Ruler(0.8)})
    assert not (tmp_path / "run" / "predictions.parquet").exists()
    (log,) = (tmp_path / "run" / "parts").glob("*.log")
    done = len(log.read_bytes().splitlines())
    assert 0 < done < 6
    again = Counting()
    models = {"honest": Ruler(), "cheat": Ruler(0.8)}

    class Named(Ruler):
        """Describes itself as the interrupted one did."""

    # The record names the class of a classifier that does not describe itself.
    Named.__name__ = "Fragile"
    models["honest"] = Named()
    run(source, chosen, tmp_path / "run", models, editor=again)
    # The pictures of one honest cell and two planted ones, two pairs each.
    examples = 2 * 3
    # And one call that asks only whether the edits can be done.
    assert again.calls <= 6 - done + examples + 1
    one = pd.read_parquet(whole.folder / "predictions.parquet")
    other = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    pd.testing.assert_frame_equal(one, other)


def test_a_silent_classifier_is_listed_and_asked_again_alone(source, chosen, tmp_path):
    # Its first call is that of the fingerprint.
    models = {"one": Ruler(fails=(3, 4, 5)), "two": Ruler()}
    result = run(source, chosen, tmp_path / "run", models)
    failed = result.items[result.items["status"] == "classifier_failed"]
    assert len(failed) == 5
    assert set(failed["classifier"]) == {"one"}
    assert "did not" in failed["message"].iloc[0]
    assert failed["message"].str.contains("not asked").sum() == 2
    assert result.counts["missing"] >= 5 * len(PAIR)
    again = {"one": Ruler(), "two": Ruler()}
    mended = run(source, chosen, tmp_path / "run", again)
    assert again["two"].calls == 1
    assert not mended.items["status"].eq("classifier_failed").any()
    assert mended.counts["missing"] == 2 * mended.items["status"].eq("poor_anatomy").sum()
    run(source, chosen, tmp_path / "whole", {"one": Ruler(), "two": Ruler()})
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_classifier_that_stays_silent_costs_no_edits(source, chosen, tmp_path):
    few, silent = chosen.head(4), range(2, 99)
    run(source, few, tmp_path / "run", {"one": Ruler(fails=silent)})
    editor = Counting()
    again = run(source, few, tmp_path / "run", {"one": Ruler(fails=silent)}, editor=editor)
    assert len(again.items) == 4
    # One call asks only whether the edits can be done; after three failures it is given up.
    assert editor.calls == 1 + 3


def test_what_is_not_finite_is_listed_by_picture(source, chosen, tmp_path):
    few = chosen.head(4)
    result = run(source, few, tmp_path / "run", {"one": Ruler(spoils=True)})
    wrong = result.items[result.items["status"] == "not_finite"]
    assert len(wrong) == 1
    assert wrong["message"].str.contains("Cardiomegaly").all()


def test_a_constant_head_is_left_out_and_said(source, chosen, tmp_path):
    result = run(source, chosen.head(4), tmp_path / "run", {"one": Ruler(constant=True)})
    heads = result.classifiers[0].heads.set_index("head")
    assert heads.loc[PAIR[1], "state"] == "constant"
    assert heads.loc["Cardiomegaly", "state"] == "read"
    assert PAIR[1] not in set(result.classifiers[0].cells["read"])


def test_another_audit_does_not_take_the_folder(whole, source, chosen):
    models = {"honest": Ruler(), "cheat": Ruler(0.8)}
    before = (whole.folder / "predictions.parquet").read_bytes()
    with pytest.raises(RunError, match="another plan"):
        run(source, chosen, whole.folder, models, plan=AuditPlan(findings=PAIR, seeds=(0, 1)))
    with pytest.raises(RunError, match="other cases, other pairs"):
        run(source, chosen.head(3), whole.folder, models)
    assert (whole.folder / "predictions.parquet").read_bytes() == before
    record = json.loads((whole.folder / "audit.json").read_text())
    assert record["plan"]["seeds"] == [0]
    assert record["control"] == whole.provenance["control"] == "sham"
    assert "Control of counterfactuals" in whole.report().read_text()


def test_doses_are_tabled(source, chosen, tmp_path):
    plan = AuditPlan(findings=("Cardiomegaly",), doses="severity")
    result = run(source, chosen.head(4), tmp_path / "run", {"one": Ruler()}, plan=plan)
    doses = result.classifiers[0].doses
    own = doses[doses["read"] == "Cardiomegaly"].sort_values("level")
    assert list(own["dose"]) == ["mild", "moderate", "severe"]
    assert own["effect"].is_monotonic_increasing
    # The doses are not part of the matrix.
    assert result.classifiers[0].cells["n"].max() <= 6


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"findings": ()}, "one or more"),
        ({"findings": ("Edema", "oedema")}, "once"),
        ({"findings": ("No Finding",)}, "not No Finding"),
        ({"findings": PAIR, "seeds": (1, 1)}, "Seeds"),
        ({"findings": PAIR, "stress": -1}, "stress must be 0 or more"),
        ({"findings": PAIR, "composite": "sham"}, "takes the sham off itself"),
        ({"findings": PAIR, "composite": "one-way"}, "takes the sham off itself"),
    ],
)
def test_a_wrong_plan_is_refused(wrong, said):
    with pytest.raises(AuditError, match=said):
        AuditPlan(**wrong)


def test_real_positives_are_read_and_removed_where_the_data_has_them(tmp_path):
    """A folder of phantoms half of which are called positive: stress has its tables."""
    from PIL import Image

    drawn = datasets.load("phantoms:18:900")
    lines = ["path,labels,view,patient_id,age,sex,split"]
    for number, name in enumerate(drawn.table["image_id"]):
        pixels = drawn.radiograph(name).pixels
        Image.fromarray((pixels * 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
        label = ("No Finding", "Cardiomegaly", "Edema")[number % 3]
        lines.append(f"{number}.png,{label},PA,p{number},50,F,test")
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    data = datasets.load(tmp_path)
    chosen = datasets.baselines(data, count=2).table
    plan = AuditPlan(findings=("Cardiomegaly", "Edema"), stress=6)
    judge = Judge.load()
    said = ["site -> Edema AUC 0.90"]
    options = {"plan": plan, "warnings": said}
    result = run(data, chosen, tmp_path / "run", {"judged": judge}, **options)
    assert result.provenance["warnings"] == said
    stress = result.classifiers[0].stress
    assert set(zip(stress["read"], stress["against"], strict=True)) == {
        ("Cardiomegaly", "clean"),
        ("Cardiomegaly", "Edema"),
        ("Edema", "clean"),
        ("Edema", "Cardiomegaly"),
    }
    assert (stress["n_positive"] == 6).all()
    bad = pd.read_parquet(tmp_path / "run" / "states.parquet").index[0]
    once = run(Once(data, bad), chosen, tmp_path / "once", {"judged": judge}, **options)
    assert list(once.items["status"]) == ["unreadable"]
    run(data, chosen, tmp_path / "once", {"judged": judge}, **options)
    assert contents(tmp_path / "once") == contents(tmp_path / "run")
    assert "site -&gt; Edema AUC 0.90" in result.report().read_text()


def test_what_the_editor_cannot_do_is_said_before_a_folder_is_taken(source, chosen, tmp_path):
    with pytest.raises(EditError, match="renders"):
        run(
            source,
            chosen,
            tmp_path / "run",
            {"one": Ruler()},
            plan=AuditPlan(findings=("Infiltration",)),
        )
    assert not (tmp_path / "run").exists()


class Broken(Counting):
    """The painter, which raises at its first picture."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def edit(self, radiographs, edits, **options):
        # The first call asks only whether the edits can be done.
        if self.calls == 1:
            self.calls += 1
            raise self.error
        return super().edit(radiographs, edits, **options)


@pytest.mark.parametrize("error", [RuntimeError("no\nmemory"), ValueError("no"), EditError("no")])
def test_an_editor_that_fails_costs_one_case_and_is_tried_again(source, chosen, tmp_path, error):
    few = chosen.head(2)
    result = run(source, few, tmp_path / "run", {"one": Ruler()}, editor=Broken(error))
    failed = result.items[result.items["status"] == "editor_failed"]
    assert list(failed["baseline_id"]) == [few["baseline_id"].iloc[0]]
    assert failed["message"].item() == f"{type(error).__name__}: {' '.join(str(error).split())}"
    run(source, few, tmp_path / "run", {"one": Ruler()}, editor=Counting())
    run(source, few, tmp_path / "whole", {"one": Ruler()})
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


class Once:
    """A data set one of whose radiographs cannot be read at first."""

    def __init__(self, data, bad):
        self.data, self.bad = data, bad

    def __getattr__(self, name):
        return getattr(self.data, name)

    def radiograph(self, image_id):
        if image_id == self.bad:
            self.bad = None
            raise UnreadableError("The disk was away.")
        return self.data.radiograph(image_id)


def test_a_radiograph_that_is_unreadable_once_is_mended(source, chosen, tmp_path):
    few = chosen.head(2)
    bad = few["baseline_id"].iloc[1]
    result = run(Once(source, bad), few, tmp_path / "run", {"one": Ruler()})
    assert list(result.items["status"]) == ["unreadable"]
    assert result.counts["ok"] == len(PAIR)
    mended = run(source, few, tmp_path / "run", {"one": Ruler()})
    assert mended.items.empty
    run(source, few, tmp_path / "whole", {"one": Ruler()})
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_an_exchanged_model_is_noticed(source, chosen, whole):
    models = {"honest": Ruler(0.3), "cheat": Ruler(0.8)}
    with pytest.raises(RunError, match="an audit with other classifiers"):
        run(source, chosen, whole.folder, models)


def test_the_control_is_not_taken_off_twice():
    """What sham and counterfactual share must leave no effect: both arms are the same picture."""
    baseline = phantom(3, size=96).radiograph
    square = compose.shrink(baseline, 96)
    moved = np.clip(square * 0.9 + 0.02, 0, 1).astype(np.float32)
    decoded = compose.Decoded(edit=moved, sham=moved, baseline=square)
    mode = AuditPlan(findings=PAIR).edits()[0].composite
    arms = [compose.compose(baseline, decoded, mode, sham=sham)[0].pixels for sham in (False, True)]
    assert np.array_equal(*arms)
    assert not np.array_equal(arms[0], baseline.pixels)


class Mean:
    """Reads one finding: how bright a picture is, at its size."""

    findings = ("Mass",)

    def __init__(self, size):
        self.size = size

    def logits(self, images):
        assert images.shape[1:] == (self.size, self.size)
        return images.mean((1, 2))[:, None]


def test_pictures_are_made_once_for_all_readers_of_a_size(monkeypatch):
    made = []
    shrink = compose.shrink
    monkeypatch.setattr(compose, "shrink", lambda *given: made.append(given[1]) or shrink(*given))
    readers = Readers({"one": Mean(32), "two": Mean(32), "large": Mean(48)})
    bright, dark = phantom(3, size=96).radiograph, phantom(4, size=96).radiograph
    dark = dark.with_pixels(dark.pixels / 2)
    for pictures in ([bright, dark], [dark, bright]):
        first, second, large = (readers.read(name, pictures).logits for name in readers.by_name)
        assert np.array_equal(first, second)
        np.testing.assert_allclose(first, large, atol=0.01)
        assert (first[0] > first[1]) == (pictures[0] is bright)
    assert made == [32, 32, 48, 48] * 2


def test_catalogue_names_are_what_the_tables_use(whole):
    known = {item.name for item in FINDINGS}
    assert set(whole.classifiers[0].cells["edited"]) <= known


def test_killed_at_fifteen_points_it_ends_with_the_same_bytes(tmp_path):
    check_survives_kills(demo, tmp_path)


def test_a_finished_audit_opens_again(whole):
    again = audit.load(whole.folder)
    assert again.counts == whole.counts
    assert again.provenance == whole.provenance
    assert again.provenance["finished"]
    for one, other in zip(again, whole, strict=True):
        pd.testing.assert_frame_equal(one.cells, other.cells)
        assert one.examples == other.examples


def test_many_cases_are_in_the_record_as_number_and_hash(source, chosen, whole):
    job = AuditJob(
        source, PAINTER, Readers({"judge": Judge.load()}), AuditPlan(findings=PAIR), QUICK
    )
    job.cases = pd.DataFrame([Case(f"b{n}", f"p{n}") for n in range(1001)])
    cases = job.identity()["cases"]
    assert cases["count"] == 1001
    job.cases.loc[3, "patient_id"] = "another"
    assert job.identity()["cases"]["sha256"] != cases["sha256"]
    assert len(json.loads((whole.folder / "audit.json").read_text())["cases"]) == 6


def test_people_judge_in_place_of_the_judge(whole, chosen):
    """Readers who saw nothing in four of six pictures leave too few of them."""
    patients = chosen["patient_id"].astype(str).tolist()
    rows = [
        {"patient_id": patient, "edited_finding": name, "seen": float(patient in patients[:2])}
        for patient in patients
        for name in PAIR
    ]
    result = audit.assess(whole.folder, QUICK.but(exact=False), people=pd.DataFrame(rows))
    try:
        cells = result.classifiers[0].cells
        assert set(cells["verdict"]) == {"too few"}
        assert set(cells["n"]) == {2}
        assert set(cells["n_all"]) == {6}
        assert result.classifiers[0].gate["passed"].tolist() == [2, 2]
        # They stay: a second judging takes them again.
        assert set(audit.assess(whole.folder).classifiers[0].cells["n"]) == {2}
    finally:
        (whole.folder / "people.parquet").unlink()


def test_normals_of_a_study_stay_beside_the_patients_of_an_audit(tmp_path):
    """Edits of other audits are left out; normals are nobody's edits, and stay."""
    baselines = pd.DataFrame({"baseline_id": ["b1", "b2"], "patient_id": ["p1", "p2"]})
    rows = [("p1", "Edema", 1.0), ("else", "Edema", 1.0), ("n1", "", 0.0), ("p2", "", 0.0)]
    table = pd.DataFrame(rows, columns=["patient_id", "edited_finding", "Edema"]).assign(seen=1.0)
    table.to_parquet(tmp_path / judgement.READINGS)
    found = judgement._people(tmp_path, Numbers.of(baselines))
    assert found["edited_finding"].tolist() == ["Edema", "", ""]
    assert found["patient_id"].iloc[[0, 2]].tolist() == [0, 1]
    assert found["patient_id"].iloc[1] < 0


def test_a_second_judge_measures_leakage_and_the_page_names_both(source, tmp_path):
    """It sees in the pictures what the audited classifier reports, so that nothing is left."""
    options = {"editor": PAINTER, "findings": PAIR, "seeds": 1, "exact": False, "fewest": 4}
    options |= {"resamples": 300, "flips": 499, "second_judge": Ruler(0.8)}
    result = verbs.audit("phantoms:6:50", {"cheat": Ruler(0.8)}, out=tmp_path / "run", **options)
    cells = result.classifiers[0].cells
    off = cells[~cells["on_target"].astype(bool)]
    assert "shortcut" not in set(off["verdict"])
    assert np.allclose(off["leak"], off["ratio"], atol=0.05)
    assert result.provenance["second"]["name"] == "Ruler"
    page = result.report().read_text()
    assert "Second judge, whose leakage is taken off" in page
    # Both judges stand beside each other: the painter's own sees nothing else in these pictures.
    both = result.classifiers[0].judges
    assert np.allclose(both["leak"], both["ratio"], atol=0.05)
    assert (both["first_leak"] < 0.3 * both["leak"]).all()
    assert {"verdict", "first_verdict", "corrected", "first_corrected"} <= set(both)
    gate = result.classifiers[0].gate
    assert gate["second_share"].notna().all()
    assert "Leakage, judge" in page
    assert "Share, second judge" in page
    told = json.loads((tmp_path / "run" / "report.json").read_text())
    assert len(told["classifiers"][0]["judges"]) == len(both)
    again = audit.load(tmp_path / "run").classifiers[0]
    pd.testing.assert_frame_equal(again.judges, both)
    assert "The second judge&#39;s share" in page or "The second judge's share" in page
    with pytest.raises(AuditError, match="second judge reads findings that are edited"):
        audit.run(
            *(source, result.baselines, PAINTER, {"cheat": Ruler()}),
            *(AuditPlan(findings=("Edema",)), tmp_path / "other"),
            second=Ruler(),
        )
    with pytest.raises(AuditError, match="a second judge or readers"):
        verbs.audit("phantoms:6", "demo:honest", out=tmp_path / "x", readers=tmp_path, **options)


def test_a_folder_of_an_earlier_version_opens_with_a_bounded_score(whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "old")
    place = tmp_path / "old" / "judged"
    younger = ["n_all", "effect_all", "low_all", "high_all"]
    younger += ["least", "beyond_p", "below_p", "within_p"]
    for path in [*place.glob("*-cells.parquet"), *place.glob("*-reverse.parquet")]:
        pd.read_parquet(path).drop(columns=younger).to_parquet(path)
    facts = json.loads((place / "judged.json").read_text())
    for one in facts["classifiers"]:
        one["score"] = 18.9
    (place / "judged.json").write_text(json.dumps(facts))
    result = audit.load(tmp_path / "old")
    assert [one.score for one in result] == [one.score for one in whole]
    assert all(0 <= one.score <= 1 for one in result)
    assert result.verdicts["score_low"].isna().all()
    assert result.report().is_file()
