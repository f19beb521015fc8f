import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from roentmod.errors import ReadersError
from roentmod.science.readers import simulated
from roentmod.science.readers.analysis import Rules, analyse, sightings
from roentmod.science.readers.pairs import preferences
from roentmod.science.readers.simulated import FINDING, REALISM, Skill
from tests.science.readers.studies import FINDINGS, held, truth

RULES = Rules(FINDINGS, resamples=40)
SKILL = Skill(realism=0.8)


@pytest.fixture(scope="module")
def study():
    table = truth(edits=80, positives=40, normals=40, attention=8)
    answers = held(table, SKILL, readers=6, pairs=40, careless=("r5",),
                   shows={"Edema": ["Cardiomegaly"]}, seed=1)  # fmt: skip
    return table, answers, analyse(table, answers, RULES)


def row(table, **wanted):
    chosen = np.logical_and.reduce([table[name] == value for name, value in wanted.items()])
    (one,) = table[chosen].to_dict("records")
    return one


def covers(one, value):
    return one["low"] <= value <= one["high"]


def test_the_attention_rule_alone_excludes(study):
    readers = study[2].readers.set_index("reader")
    assert readers.index[~readers["included"]].tolist() == ["r5"]
    assert readers.loc["r0", "passed"] > 0.75 > readers.loc["r5", "passed"]
    assert set(study[2].realism["group"]) == {"all", "attentive"}


def test_with_nobody_excluded_the_results_stand_once(study):
    table, answers, _ = study
    kept = analyse(table, answers[answers["reader"] != "r5"], RULES)
    assert set(kept.realism["group"]) == {"all"}
    same = study[2].realism.query("group == 'attentive'").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept.realism.drop(columns="group"), same.drop(columns="group"))


def test_realism_is_recovered(study):
    for against in ("real", "real_positive", "real_normal"):
        one = row(study[2].realism, group="attentive", against=against,
                  samples="readers and cases")  # fmt: skip
        assert covers(one, simulated.area(SKILL))
    assert len(study[2].areas) == 18


def test_shares_are_recovered(study):
    shares = study[2].shares
    real, altered = 1 - simulated.shares(SKILL, "realism", [0, 1], 4, REALISM)
    false, hit = simulated.shares(SKILL, "finding", [0, 1], 4, FINDING)
    common = {"group": "attentive"}
    edited = row(shares, measure="realistic", finding="all", kind="edit", **common)
    assert covers(edited, altered)
    normal = row(shares, measure="realistic", finding="all", kind="real_normal", **common)
    assert covers(normal, real)
    assert covers(row(shares, measure="seen", finding="all", kind="edit", **common), hit)
    assert covers(
        row(shares, measure="seen", finding="Consolidation", kind="real_normal", **common), false
    )
    side = row(shares, measure="side", finding="all", kind="edit", **common)
    assert side["value"] == 1
    assert "one answer per patient" in side["method"]


def test_an_off_target_finding_is_found_and_others_are_not(study):
    table = study[2].contrasts.query("group == 'attentive' and measure == 'off_target'")
    surely = table[table["p_holm"] < 0.05]
    assert list(zip(surely["finding"], surely["read"], strict=True)) == [("Edema", "Cardiomegaly")]
    assert len(table) == 12


def test_requested_findings_are_seen_more_than_in_normals(study):
    seen = study[2].contrasts.query("group == 'attentive' and measure == 'seen'")
    assert (seen["p_holm"] < 0.01).all()
    assert (seen["p_holm"] >= seen["p"]).all()


def test_agreement_is_of_readers_and_of_repeats(study):
    table = study[2].agreement.query("group == 'attentive' and measure == 'AC'")
    assert len(table) == 2 * 2 * 5
    between = row(table, question="finding:Edema", scale="binary", raters="readers")
    within = row(table, question="finding:Edema", scale="binary", raters="repeats")
    assert between["answering"] == 5
    assert between["low"] < between["value"] < between["high"]
    assert within["cases"] == 50


def test_pairs_are_of_the_edited_picture(study):
    one = row(study[2].pairs, group="attentive", finding="all")
    assert one["value"] > 0.6
    strengths = study[2].strengths.query("group == 'attentive'")
    shares = study[2].pairs.query("group == 'attentive' and finding != 'all'")
    # Against real pictures alone, Bradley and Terry's strength is the log odds of the share.
    np.testing.assert_allclose(expit(strengths["strength"]), shares["value"], atol=0.01)


def test_a_finding_whose_pairs_are_all_alike_has_no_interval_of_strength():
    """Its odds are infinite: what keeps the strength finite would decide the ends."""
    table = truth(edits=24, positives=24, normals=0, findings=FINDINGS[:2])
    pairs = held(table, pairs=24).query("question == 'pair'")
    finding = pairs["case"].map(table.set_index("case")["finding"])
    pairs = pairs.assign(value=pairs["value"].where(finding != "Edema", 0))
    strengths = preferences(table, pairs, resamples=40)[1].set_index("item")
    assert strengths.loc["Edema", "losses"] == 0
    assert strengths.loc["Edema", ["low", "high"]].isna().all()
    other = strengths.loc["Pleural Effusion"]
    assert other["low"] < other["strength"] < other["high"]
    one = preferences(table, pairs[pairs["case"].isin(["edit1", "edit2"])], resamples=40)[1]
    assert one[["low", "high"]].isna().all(axis=None)


def test_sightings_serve_an_audit(study):
    """Shares are those in the picture; normals stand beside, to be taken off with their error."""
    table = sightings(study[0], study[1], RULES)
    normal = table["edited_finding"] == ""
    assert ((~normal).sum(), normal.sum()) == (80, (study[0]["kind"] == "real_normal").sum())
    assert table.loc[~normal, "seen"].between(0, 1).all()
    assert table.loc[normal, "seen"].isna().all()
    assert set(table.loc[normal, "patient_id"]) == set(
        study[0].loc[study[0]["kind"] == "real_normal", "patient"]
    )
    means = table.groupby("edited_finding")["Cardiomegaly"].mean()
    assert means["Edema"] - means[""] > 0.4
    assert abs(means["Consolidation"] - means[""]) < 0.2


def test_sightings_need_normals():
    table = truth(edits=8, positives=4, normals=0)
    with pytest.raises(ReadersError, match="has none"):
        sightings(table, held(table), RULES)


def test_incomplete_blocks_are_read_as_they_are():
    table = truth()
    answers = held(table, SKILL, readers=6)
    code = answers["case"].map({case: n for n, case in enumerate(table["case"])})
    part = answers[(code + answers["reader"].str[1:].astype(int)) % 3 > 0]
    realism = analyse(table, part, RULES).realism
    one = row(realism, group="all", against="real", samples="readers and cases")
    assert one["readers"] == 6
    assert one["answers"] < 6 * 84
    assert 0.5 < one["low"] < one["value"] < one["high"] < 1


@pytest.mark.parametrize("questions", [["finding:Edema"], ["realism"], ["pair"]])
def test_a_study_that_has_hardly_begun(questions):
    table = truth(edits=8, positives=4, normals=4, repeats=2, attention=1)
    answers = held(table, readers=2, pairs=3)
    result = analyse(table, answers[answers["question"].isin(questions)], RULES)
    assert result.realism["against"].iloc[0] == "real"
    assert {"measure", "value", "low"} <= set(result.shares.columns)
    assert {"measure", "p_holm"} <= set(result.contrasts.columns)


def test_when_nobody_is_attentive_the_group_is_empty():
    table = truth(edits=8, positives=4, normals=4)
    result = analyse(table, held(table, readers=2, careless=("r0", "r1")), RULES)
    assert not result.readers["included"].any()
    own = result.agreement.query("group == 'attentive'")
    assert own["value"].isna().all()
    assert (own["cases"] == 0).all()


def test_one_reader_is_no_sample():
    table = truth(edits=12, positives=6, normals=6)
    result = analyse(table, held(table, readers=1), RULES)
    assert set(result.realism["samples"]) == {"cases"}
    assert result.agreement.query("raters == 'readers' and measure == 'AC'")["value"].isna().all()


def test_a_study_without_pairs_or_repeats():
    table = truth(edits=12, positives=6, normals=6, repeats=0, attention=0)
    result = analyse(table, held(table), RULES)
    assert len(result.pairs) == len(result.strengths) == 0
    assert result.readers["included"].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.iloc[:0], "there are none"),
        (lambda table: table.assign(case="elsewhere"), "as elsewhere"),
        (lambda table: pd.concat([table, table.head(1)]), "twice"),
    ],
)
def test_answers_that_cannot_be_meant_are_refused(study, change, message):
    with pytest.raises(ReadersError, match=message):
        analyse(study[0], change(study[1]), RULES)
