"""The validation as a whole: an editor with planted faults, each found where it was planted."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest

from roentmod import datasets
from roentmod.errors import AuditError, RunError, UnreadableError
from roentmod.jobs import validate
from roentmod.jobs.validate import Rule, ValidatePlan, choose
from tests.jobs.validate.fake import (
    FINDINGS,
    Blind,
    Corners,
    Exchanged,
    Meter,
    Stamp,
    run,
    write_folder,
)
from tests.runs.kill import check_survives_kills, contents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bad(data, tmp_path_factory):
    few = choose(data, split="test").head(3)
    faulty = Stamp(leak=0.9, deaf=True, spill=0.03)
    return run(data, tmp_path_factory.mktemp("bad") / "run", faulty, chosen=few, swept=0, known=0)


def states(result):
    return result.checks.set_index("check")["state"]


def test_a_good_editor_keeps_its_patients(good):
    assert good.own_closer == pytest.approx(
        {"baselines": 10, "closer": 10, "fraction": 1.0, "low": 0.722, "high": 1.0}, abs=1e-2
    )
    groups = good.pfid.set_index("group")
    assert groups.loc["baseline-sham", "median"] == pytest.approx(0, abs=1e-9)
    assert groups.loc["same patient", "patients"] == 5
    median = groups["median"]
    assert median["baseline-edit"] < median["same patient"] < median["different patient"]
    assert (good.pfid_tests["p"] < 0.05).all()
    assert not (states(good) == "failed").any()
    # What an exact editor fails is no check.
    assert "copies" not in set(good.checks["check"])


def test_success_and_leakage_are_the_planted_ones(good, bad):
    assert good.leakage["success"].iloc[0] == 1
    assert good.leakage["leakage"].iloc[0] == pytest.approx(0.2, abs=0.03)
    assert bad.leakage["leakage"].iloc[0] > 0.6
    assert (good.success["success"] == 1).all()
    assert (good.success["first"] == 1).all()
    assert (good.success["auc"] > 0.8).all()
    assert states(bad)["leakage"] == "failed"
    own = good.nets[good.nets["edited"] == good.nets["read"]]
    np.testing.assert_allclose(own["net"], 4, atol=0.4)


def test_the_sweep_avoids_the_other_patient(good):
    table = good.sweep.set_index(["strength", "guidance_scale"])
    assert len(table) == 6
    assert (table["identity"].drop(0.8, level=0) == 1).all()
    assert (table.loc[0.8, "identity"] < 0.95).all()
    assert not table.loc[0.8, "eligible"].any()
    # 0.2 x 1.5 is too faint to be seen, 0.2 x 4 already is.
    assert table.loc[(0.2, 1.5), "success"] == 0
    assert (good.recommended["strength"], good.recommended["guidance_scale"]) == (0.2, 4.0)


def test_artefacts_are_found_in_the_mode_that_has_them(good):
    shams = good.artefacts[good.artefacts["contrast"] == "sham against untouched"]
    areas = shams.set_index("composite")["auc"]
    assert areas["sham"] == areas["baseline"] == 0.5
    assert areas["none"] > 0.9
    assert (shams["patients"] == 10).all()
    last = good.spectra.groupby(["composite", "arm"])["change"].last()
    assert last["none", "sham"] < -0.5
    assert last["sham", "sham"] == 0
    composed = good.composition.set_index(["composite", "cycle"])
    assert composed.loc[("sham", 2), "l1"] == 0
    assert composed.loc[("none", 1), "ssim"] < 1


def test_removal_takes_back(good):
    overall = good.reversal.iloc[0]
    assert overall["edited"] == "all"
    assert overall["recovered"] > 0.9
    assert abs(overall["net_left"]) < 0.3 < overall["net_added"]


def test_a_wording_that_is_not_heard_is_told(good, bad):
    calm, deaf = (r.wording.set_index("edited") for r in (good, bad))
    assert calm.loc["all", "icc"] < 0.1
    assert deaf.loc["all", "icc"] > 0.9
    assert deaf.loc["Nodule", "same_seeds"] == 1
    assert deaf.loc["Nodule", "same_wordings"] < 0.9
    assert (deaf["worst"] == 0).all()
    lost = bad.wordings[bad.wordings["wording"] == 7]
    assert lost["prompt"].str.startswith("IMPRESSION").all()


def test_changes_outside_the_support_are_told(good, bad):
    assert states(good)["outside"] == "passed"
    assert states(bad)["outside"] == "failed"
    row = bad.measures.set_index(["arm", "edited", "measure"]).loc[("edited", "all", "l1_outside")]
    assert row["value"] == pytest.approx(0.03, abs=0.005)


def test_figures_have_the_keys_of_the_benchmark(good):
    figures = good.figures()
    assert set(figures) == {
        "pfid",
        "displaced",
        "own",
        "same_patient",
        "own_closer_fraction",
        "leakage_plain",
        "leakage_hold",
        "leakage_region",
        "success_plain",
        "success_hold",
        "success_region",
        "artefact_auc",
        "artefact_ci",
        "before_auc",
        "leakage_ci",
        "real_auc",
        "prompt_icc",
        "control",
        "minutes",
    }
    assert set(figures["artefact_auc"]) == {"sham", "baseline", "none"}
    assert set(figures["artefact_ci"]) == {"sham", "baseline", "none"}
    assert set(figures["pfid"]["baseline-edit"]) == {"median", "ci"}
    assert figures["leakage_hold"] is None
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_identity_and_place_are_measured_in_every_mode_and_against_other_pictures(data, tmp_path):
    quiet = {"swept": 0, "worded": 0, "undone": 0, "known": 0}
    result = run(data, tmp_path / "run", Stamp(), chosen=choose(data, split="test")[:3], **quiet)
    rows = result.measures.set_index(["arm", "edited", "measure"])["value"]
    for arm in ("edited", "edited (baseline)", "edited (none)"):
        assert rows[arm, "all", "own"] == 1
        assert rows[arm, "Nodule", "displaced"] < 0.01
    # In mode "none" everything is changed: nothing is outside.
    assert np.isnan(rows["edited (none)", "Nodule", "displaced_outside"])
    assert rows["edited", "Nodule", "displaced_outside"] == 0
    moved = result.place.set_index("group")["displaced"]
    assert moved["baseline-sham"] == 0
    assert moved["baseline-edit"] < moved["same patient"] < moved["different patient"]
    assert result.figures()["own"] == {"sham": 1.0, "baseline": 1.0, "none": 1.0}
    page = result.report().read_text()
    assert "How far places moved" in page
    assert "nearer by it than another patient" in page
    assert "edited (none): all" in page


def test_edits_that_were_exchanged_between_patients_are_not_the_same_patient(data, tmp_path):
    """The recogniser's share falls from all to none, in every mode; its control stays."""
    quiet = {"swept": 0, "worded": 0, "undone": 0, "known": 0}
    few = choose(data, split="test")[:4]
    pictures = [data.radiograph(name) for name in few["baseline_id"]]
    others = {one.id: pictures[n - 1] for n, one in enumerate(pictures)}
    honest = run(data, tmp_path / "own", Stamp(), chosen=few, **quiet)
    exchanged = run(data, tmp_path / "exchanged", Exchanged(others), chosen=few, **quiet)
    own, other = (result.figures()["same_patient"] for result in (honest, exchanged))
    for arm in ("edited", "edited (baseline)", "edited (none)"):
        assert own[arm] == {"share": 1.0, "ci": [None, None], "patients": 4}
        assert other[arm]["share"] == 0
    for arm in ("sham", "sham (none)"):
        assert own[arm]["share"] == 1
    assert own["other visit"]["patients"] == other["other visit"]["patients"] > 0
    assert own["other visit"] == other["other visit"]
    assert states(honest)["same_patient"] == "passed"
    assert states(exchanged)["same_patient"] == "failed"
    page = exchanged.report().read_text()
    for words in (
        "Same patient (recogniser)",
        "far easier task",
        "other visit",
        "sham (none): all",
    ):
        assert words in page
    # What it was trained on, and how well it finds real visits, stand in its card.
    assert "pairs of visits of" in page
    assert "chance is" in page


def test_another_recogniser_is_named_and_is_another_validation(data, tmp_path):
    quiet = {"swept": 0, "worded": 0, "undone": 0, "known": 0}
    few = choose(data, split="test")[:2]
    result = run(data, tmp_path / "run", Stamp(), chosen=few, recogniser=Corners(), **quiet)
    assert result.figures()["same_patient"]["edited"]["share"] == 1
    assert result.provenance["recogniser"] == {"name": "corners", "size": 128}
    page = result.report().read_text()
    assert "far easier task" in page
    assert "pairs of visits of" not in page
    with pytest.raises(RunError, match="another recogniser"):
        run(data, tmp_path / "run", Stamp(), chosen=few, **quiet)


def test_success_and_leakage_are_shown_by_both_judges(data, tmp_path):
    quiet = {"swept": 0, "worded": 0, "undone": 0, "known": 0}
    few = choose(data, split="test")[:2]
    result = run(data, tmp_path / "run", Stamp(), chosen=few, second=Blind(), **quiet)
    plain = result.success[result.success["way"] == "plain"]
    assert (plain["success"] == 1).all()
    np.testing.assert_allclose(plain["net"], 4, atol=0.4)
    np.testing.assert_allclose(plain["second_net"], 1, atol=0.1)
    assert (plain["second_first"] == 0).all()
    (row,) = result.leakage.to_dict("records")
    assert row["leakage"] == pytest.approx(0, abs=0.05)
    assert row["second_leakage"] == pytest.approx(4, abs=0.2)
    figures = result.figures()
    assert figures["second_leakage_plain"] == pytest.approx(row["second_leakage"], abs=1e-4)
    page = result.report().read_text()
    assert "Success by both judges" in page
    assert "Leakage by both judges" in page
    assert validate.load(tmp_path / "run").provenance["second"]["name"] == "Blind"
    with pytest.raises(RunError, match="another second"):
        run(data, tmp_path / "run", Stamp(), chosen=few, second=Meter(), **quiet)
    other = Meter()
    other.findings = ("Hernia", "Mass")
    with pytest.raises(AuditError, match="second judge reads findings that are edited"):
        run(data, tmp_path / "other", Stamp(), chosen=few, second=other, **quiet)


def test_edits_are_compared_with_real_positives_of_their_source(tmp_path):
    """Edits of twelve patients against twelve real nodules of others."""
    (tmp_path / "data").mkdir()
    source = datasets.load(write_folder(tmp_path / "data", patients=12, real=12))
    quiet = {"swept": 0, "worded": 0, "undone": 0, "known": 0, "real": 20}
    result = run(source, tmp_path / "run", Stamp(), chosen=choose(source, split="test"), **quiet)
    rows = result.artefacts.set_index(["contrast", "edited"])
    nodule = rows.loc[("edited against real", "Nodule")]
    assert (nodule["real"], nodule["pictures"], nodule["patients"]) == (12, 24, 24)
    assert nodule["low"] <= nodule["auc"] <= nodule["high"]
    before = rows.loc[("untouched against real", "Nodule"), "auc"]
    assert np.isfinite(before)
    assert result.figures()["before_auc"]["Nodule"]["auc"] == round(before, 4)
    assert np.isnan(rows.loc[("edited against real", "Edema"), "auc"])
    realism = result.checks.set_index("check").loc["realism"]
    assert realism["value"] == pytest.approx(nodule["auc"])
    assert result.figures()["real_auc"]["Edema"] == {"auc": None, "ci": [None, None], "real": 0}
    page = result.report().read_text()
    assert "Edits against real findings" in page
    assert "not measured" in page
    again = validate.load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.artefacts, result.artefacts)


def test_held_and_regional_edits_are_reported_beside_the_plain_ones(data, tmp_path):
    few = choose(data, split="test").head(1)
    quiet = {"swept": 0, "worded": 0, "undone": 0, "known": 0}
    result = run(
        data, tmp_path / "run", Stamp(), chosen=few, hold=("Edema",), regional=True, **quiet
    )
    assert list(result.leakage["way"]) == ["plain", "hold", "region"]
    assert result.figures()["success_hold"] == result.figures()["success_region"] == 1
    assert {"sweep", "wording", "reversal"} <= set(result.absent)
    assert np.isnan(result.memorisation["towards"])


def test_an_interrupted_run_goes_on_to_the_same_result(data, good, editor, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "run", Stamp(leak=0.2, stop=8))
    # The first call asks only whether the edits can be done.
    done = 6
    again = Stamp(leak=0.2)
    # Another order of the same baselines is the same validation.
    result = run(data, tmp_path / "run", again, chosen=choose(data, split="test")[::-1])
    assert again.calls == editor.calls - done
    for name in ("pfid", "measures", "success", "artefacts", "wording", "sweep", "checks"):
        pd.testing.assert_frame_equal(getattr(result, name), getattr(good, name))
    for name in ("edits", "nets", "pairs", "prompts"):
        one, other = (
            pd.read_parquet(folder / f"{name}.parquet")
            for folder in (good.folder, tmp_path / "run")
        )
        pd.testing.assert_frame_equal(one, other)


def test_another_plan_does_not_take_the_folder(data, good):
    before = (good.folder / "edits.parquet").read_bytes()
    with pytest.raises(RunError, match="another plan"):
        run(data, good.folder, Stamp(leak=0.2), seeds=3)
    assert (good.folder / "edits.parquet").read_bytes() == before


def test_what_an_editor_cannot_do_is_absent_and_said(data, tmp_path):
    few = choose(data, split="test").head(2)
    result = run(data, tmp_path / "run", Stamp(words=False), chosen=few)
    assert "takes no prompts" in result.absent["wording"]
    assert "takes no prompts" in result.absent["reversal"]
    assert result.wording.empty
    assert result.reversal.empty
    assert states(result)["prompt_icc"] == "not measured"
    assert states(result)["artefact_auc"] == "not measured"


def test_a_missing_edit_is_an_item(data, tmp_path):
    few = choose(data, split="test").head(2)
    odd = data.radiograph(few["baseline_id"].iloc[0])

    class Odd:
        """The data set, one of whose radiographs cannot be edited, and one not be read."""

        def __getattr__(self, name):
            return getattr(data, name)

        def radiograph(self, image_id):
            found = data.radiograph(image_id)
            if found.id == odd.id:
                object.__setattr__(found, "source", "odd")
            return found

    quiet = {"swept": 0, "worded": 0, "undone": 0, "known": 0}
    result = run(Odd(), tmp_path / "run", Stamp(), chosen=few, **quiet)
    assert list(result.items["status"]) == ["poor_anatomy"]
    assert result.counts["missing"] == 1
    assert result.success.set_index("edited")["asked"].to_dict() == {"Nodule": 2, "Edema": 1}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"findings": ()}, "one or more"),
        ({"findings": ("Edema", "oedema")}, "once"),
        ({"findings": FINDINGS, "seeds": 1}, "seeds must be 2"),
        ({"findings": FINDINGS, "swept": -1}, "swept must be 0"),
    ],
)
def test_a_wrong_plan_is_refused(wrong, said):
    with pytest.raises(AuditError, match=said):
        ValidatePlan(**wrong)


def test_no_baseline_is_refused(data, tmp_path):
    with pytest.raises(AuditError, match="needs baselines"):
        run(data, tmp_path, Stamp(), chosen=choose(data).head(0))


def test_the_rule_is_part_of_the_plan():
    assert ValidatePlan(findings=FINDINGS, rule=Rule(identity=0.5)).rule.identity == 0.5


QUIET = {"swept": 0, "worded": 0, "undone": 1, "known": 0}


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


class Broken(Stamp):
    """The stamp, which raises at the calls of its first pictures."""

    def edit(self, radiographs, edits, **options):
        if radiographs and self.calls == 1:
            self.calls += 1
            raise ValueError("a bug")
        return super().edit(radiographs, edits, **options)


def test_a_radiograph_that_is_unreadable_once_is_mended(data, tmp_path):
    few = choose(data, split="test").head(2)
    bad = Once(data, few["baseline_id"].iloc[1])
    result = run(bad, tmp_path / "run", Stamp(), chosen=few, **QUIET)
    assert list(result.items["status"]) == ["unreadable"]
    mended = run(data, tmp_path / "run", Stamp(), chosen=few, **QUIET)
    assert mended.items.empty
    run(data, tmp_path / "whole", Stamp(), chosen=few, **QUIET)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_an_editor_that_raises_on_one_baseline_ends_nothing(data, tmp_path):
    few = choose(data, split="test").head(2)
    result = run(data, tmp_path / "run", Broken(), chosen=few, **QUIET)
    assert list(result.items["status"]) == ["failed"]
    assert list(result.items["stage"]) == ["edits"]
    assert result.items["message"].item() == "ValueError: a bug"
    assert result.success["asked"].tolist() == [1, 1]
    run(data, tmp_path / "run", Stamp(), chosen=few, **QUIET)
    run(data, tmp_path / "whole", Stamp(), chosen=few, **QUIET)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_finished_validation_opens_again(data, tmp_path):
    few = choose(data, split="test").head(2)
    result = run(data, tmp_path / "run", Stamp(), chosen=few, **QUIET)
    again = validate.load(tmp_path / "run")
    assert again.figures() == result.figures()
    assert again.pictures == result.pictures
    assert again.counts == result.counts
    pd.testing.assert_frame_equal(again.checks, result.checks)
    with pytest.raises(AuditError, match=r"holds validation\.json"):
        validate.load(tmp_path)


def work(root, folder):
    """Validate the stamp on a few baselines."""
    data = datasets.load(root)
    run(data, folder, Stamp(), chosen=choose(data, split="test").head(3), **QUIET)


def test_killed_at_fifteen_points_it_ends_with_the_same_bytes(data, tmp_path):
    check_survives_kills(partial(work, data.root), tmp_path)


def test_processes_give_the_same(data, tmp_path):
    few = choose(data, split="test").head(3)
    run(data, tmp_path / "serial", Stamp(), chosen=few, **QUIET)
    run(data, tmp_path / "two", Stamp(), chosen=few, workers="processes:2", **QUIET)
    assert contents(tmp_path / "serial") == contents(tmp_path / "two")


def test_what_shams_change_is_not_taken_off_pictures_that_lack_it(data, tmp_path):
    """Edits in composite "sham" are compared with the baseline; shams moved all logits by 3.6."""
    few = choose(data, split="test").head(2)
    quiet = {"swept": 1, "worded": 2, "undone": 0, "known": 0}
    result = run(data, tmp_path / "run", Stamp(leak=0.1, drift=0.9), chosen=few, **quiet)
    nets = result.nets.set_index(["edited", "read"])["net"]
    assert nets["Edema", "Edema"] == pytest.approx(4, abs=0.3)
    assert nets["Edema", "Nodule"] == pytest.approx(0.4, abs=0.1)
    assert result.leakage["leakage"].item() == pytest.approx(0.1, abs=0.02)
    assert (result.success["success"] == 1).all()
    assert (result.sweep.set_index(["strength", "guidance_scale"]).loc[(0.4, 4.0), "success"]) == 1
    assert (result.wordings["net"] > 3).all()
    assert result.provenance["control"] == "baseline"
    page = result.report().read_text()
    assert "than in its baseline" in page
    record = json.loads((tmp_path / "run" / "report.json").read_text())
    assert record["provenance"]["control"] == "baseline"


def test_a_validation_against_shams_opens_and_does_not_go_on(data, tmp_path):
    """Earlier versions took the sham off pictures that lacked it, and noted no control."""
    quiet = {"swept": 0, "worded": 0, "undone": 0, "known": 0}
    few = choose(data, split="test").head(1)
    run(data, tmp_path / "run", Stamp(), chosen=few, **quiet)
    record = json.loads((tmp_path / "run" / "validation.json").read_text())
    del record["control"], record["recogniser"]
    (tmp_path / "run" / "validation.json").write_text(json.dumps(record))
    nets = tmp_path / "run" / "nets.parquet"
    pd.read_parquet(nets).rename(columns={"control": "sham"}).to_parquet(nets)
    # Nor did they look at places, at other modes, for patients, or with two judges.
    for name in ("modes", "second", "visits"):
        (tmp_path / "run" / f"{name}.parquet").unlink()
    for name in ("pairs", "edits", "vectors"):
        path = tmp_path / "run" / f"{name}.parquet"
        later = ["displaced", "patient"]
        pd.read_parquet(path).drop(columns=later, errors="ignore").to_parquet(path)
    old = validate.load(tmp_path / "run")
    assert old.provenance["control"] == "sham"
    assert old.figures()["same_patient"] == {}
    assert states(old)["same_patient"] == "not measured"
    assert old.success["auc"].notna().all()
    assert "than in its sham" in old.report().read_text()
    with pytest.raises(RunError, match=r"another control \(sham, not baseline\)"):
        run(data, tmp_path / "run", Stamp(), chosen=few, **quiet)


def test_a_slow_editor_says_beforehand_how_long_a_validation_takes(data, tmp_path, caplog):
    editor = Stamp(stop=2)
    editor.slow, editor.forecast = True, lambda edits: 60.0 * len(edits)
    few = choose(data, split="test").head(3)
    with caplog.at_level("INFO"), pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "run", editor, chosen=few, worded=0, undone=1)
    # Two findings and two other ways for each; six points of both for two; both undone for one.
    edits = 3 * 4 + 2 * 12 + 2
    said = [line for line in caplog.messages if line.startswith("editing will take about")]
    assert len(said) == 1
    assert f"(radiographs: 6, edits: {edits}," in said[0]
