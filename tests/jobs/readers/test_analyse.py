import json
import re

import pandas as pd
import pytest
from typer.testing import CliRunner

import roentmod
from roentmod.cli import app
from roentmod.errors import ReadersError
from roentmod.jobs.readers import analyse, simulate
from roentmod.jobs.readers.answers import ANSWERS, read_answers, read_truth
from roentmod.plans.readings import AnalysisPlan, PowerPlan, SkillPlan
from tests.jobs.readers import rehearsed

pytestmark = pytest.mark.slow

SIZES = {"edits": 24, "positives": 12, "normals": 12, "repeats": 6, "attention": 4}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = rehearsed.make(tmp_path_factory.mktemp("readers") / "study", **SIZES)
    simulate.run(folder, folder.parent / "answers.parquet", SkillPlan(realism=0.8))
    return folder


@pytest.fixture(scope="module")
def result(study):
    plan = AnalysisPlan(resamples=200)
    return analyse.run(study, plan=plan, answers=study.parent / "answers.parquet")


def test_simulated_answers_are_read_as_a_studys_and_say_what_they_are(study):
    table = read_answers(study.parent / "answers.parquet")
    assert tuple(table.columns) == ANSWERS
    assert table.attrs["simulated"]["realism"] == 0.8
    pages = table.groupby("reader")["position"].nunique()
    assert (pages == 24 + 12 + 12 + 6 + 4 + 10).all()


def test_a_finished_analysis_is_opened_again(result, study):
    again = roentmod.open(result.folder)
    assert result.folder == study.with_name("study-analysis")
    pd.testing.assert_frame_equal(again.analysis.shares, result.analysis.shares)
    assert again.realism() == result.realism()
    assert again.counts == {"planned": 272, "ok": 272, "missing": 0}


def test_the_page_says_that_readers_are_simulated(result):
    page = result.report().read_text()
    assert "These readers are simulated" in page
    for title in ("Realism", "Findings", "Off-target findings", "Agreement", "Readers", "Methods"):
        assert f">{title}<" in page
    assert not re.search(r"\bnan\b", page, re.I)
    # Words, not what tables hold.
    assert ">finding:" not in page
    assert ">True<" not in page
    report = json.loads((result.folder / "report.json").read_text())
    areas = [row for row in report["analysis"]["realism"] if row["against"] == "real"]
    assert {row["samples"] for row in areas} == {"readers and cases", "readers", "cases"}
    assert (result.folder / "tables" / "contrasts.parquet").is_file()


def test_a_look_before_the_end_is_reported(study, tmp_path):
    table = read_answers(study.parent / "answers.parquet")
    table[table["position"] < 40].to_csv(tmp_path / "some.csv", index=False)
    early = analyse.run(
        study, tmp_path / "out", AnalysisPlan(resamples=200), answers=tmp_path / "some.csv"
    )
    assert early.simulated is None
    assert early.counts["missing"] > 100
    assert "a look before the end" in early.report().read_text()


def test_answers_of_strangers_are_refused(study, tmp_path):
    table = read_answers(study.parent / "answers.parquet").assign(reader="r-9")
    table.to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ReadersError, match="r-9"):
        analyse.run(study, tmp_path / "out", answers=tmp_path / "other.parquet")


def test_what_counts_as_altered_is_of_the_plan(result, study, tmp_path):
    plan, answers = AnalysisPlan(resamples=200), study.parent / "answers.parquet"

    def realistic(**options):
        place = rehearsed.make(tmp_path / str(options), **SIZES, **options)
        shares = analyse.run(place, plan=plan, answers=answers).analysis.shares
        return shares.loc[shares["measure"] == "realistic", "value"].tolist()

    usual, strict = realistic(), realistic(altered=6)
    assert all(one <= other for one, other in zip(usual, strict, strict=True))
    assert sum(strict) > sum(usual)
    assert realistic(altered=None) == usual


def test_readers_whom_no_attention_case_checked_do_not_pass(tmp_path):
    place = rehearsed.make(tmp_path / "study", **SIZES | {"attention": 0})
    simulate.run(place, tmp_path / "answers.parquet")
    done = analyse.run(
        place, plan=AnalysisPlan(resamples=200), answers=tmp_path / "answers.parquet"
    )
    page = done.report().read_text()
    assert "4 of 4 readers answered no attention case" in page
    assert "pass the attention rule" not in page


def test_an_audit_is_not_judged_by_simulated_readers(study, tmp_path):
    with pytest.raises(ReadersError, match="judged by people"):
        analyse.seen_by(study, answers=study.parent / "answers.parquet")
    table = read_answers(study.parent / "answers.parquet")
    table.to_csv(tmp_path / "people.csv", index=False)
    seen = analyse.seen_by(study, answers=tmp_path / "people.csv")
    truth = read_truth(study)
    for kind, own in (("edit", seen["edited_finding"] != ""), ("real_normal", ~seen["seen"].ge(0))):
        cases = truth[truth["kind"] == kind]
        assert sorted(seen.loc[own, "patient_id"]) == sorted(cases["patient"])


def test_a_damaged_analysis_is_refused_in_one_line(tmp_path):
    (tmp_path / "analysis.json").write_text("{}")
    with pytest.raises(ReadersError, match="Analyse the study again"):
        roentmod.open(tmp_path)


def test_simulated_answers_are_parquet(study, tmp_path):
    with pytest.raises(ReadersError, match="Parquet"):
        simulate.run(study, tmp_path / "answers.csv")


def test_the_commands(study, tmp_path):
    run = CliRunner().invoke
    file, out = str(tmp_path / "a.parquet"), str(tmp_path / "out")
    made = run(app, ["readers", "simulate", str(study), "--out", file, "--seed", "3"])
    assert made.exit_code == 0, made.output
    words = ["readers", "analyse", str(study), "--answers", file, "--out", out]
    done = run(app, [*words, "--resamples", "200"])
    assert done.exit_code == 0, done.output
    assert "nothing follows from their answers" in done.output
    assert "AUC" in done.output


def test_the_command_power_prints_a_line_per_number_of_readers():
    run = CliRunner().invoke
    done = run(app, ["readers", "power", "--half-width", "0.08", "--readers", "2,6"])
    assert done.exit_code == 0, done.output
    assert done.output.split()[:5] == ["readers", "edited", "real", "half_width", "chance"]
    assert "5,000" in done.output
    bad = run(app, ["readers", "power"])
    assert isinstance(bad.exception, ReadersError)


def test_plans_are_refused_in_one_line():
    with pytest.raises(ReadersError, match="2 or more"):
        PowerPlan(readers=(1, 5))
    assert PowerPlan(readers="3,4").readers == (3, 4)
