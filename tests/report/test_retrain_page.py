"""The page of a retraining: whole, safe, repeatable, and saying what fell short."""

import dataclasses
import json

import pandas as pd
import pytest

from roentmod.jobs.retrain import RetrainResult
from roentmod.science import performance as evaluation
from tests.report.pages import EVIL, Page, check_alone
from tests.science.performance import fake

pytestmark = pytest.mark.slow

RULES = evaluation.Rules(resamples=200)
SEEDS = (0, 1, 2, 3)


def result(folder, *, pairs=(fake.PAIR,), n=200, **changes):
    predictions = fake.confounded(n=n, **changes)
    plan = {
        "findings": list(fake.FINDINGS),
        "pairs": [list(pair) for pair in pairs],
        "arms": list(fake.ARMS),
        "seeds": list(changes.get("seeds", (0, 1))),
        "model": "densenet121",
    }
    provenance = {"finished": "2026-02-03T04:05:06+00:00", "synthetic": "YES", "roentmod": "0.1"}
    record = {"plan": plan, "tests": {"nih": {"where": "internal"}}, "provenance": provenance}
    return RetrainResult(folder, record, predictions)


def scores():
    rows = [(arm, s, max(0.0, fake.SHORTCUT[arm]) / 4) for arm in fake.ARMS for s in SEEDS]
    return pd.DataFrame(rows, columns=["arm", "seed", "score"])


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return result(tmp_path_factory.mktemp("retrain"), n=300, seeds=SEEDS)


@pytest.fixture(scope="module")
def page(good):
    path = good.report(scores=scores(), rules=RULES)
    return path.read_text(encoding="utf-8")


def test_the_page_is_one_file_that_loads_nothing(page):
    check_alone(page)
    assert page.count("not for clinical use") >= 3


def test_the_headline_says_what_each_corrected_arm_gained(page, good):
    told = json.loads((good.folder / "report.json").read_text(encoding="utf-8"))
    row = next(
        row
        for row in told["pair_comparisons"]
        if (row["arm"], row["reference"], row["test"], row["slice"])
        == ("soft", "erm", "nih", "all")
    )
    summary = page.partition('id="summary"')[2].partition("<nav")[0]
    assert "Pleural Effusion → Cardiomegaly" in summary
    assert "✓ gained everywhere" in summary
    assert f"soft +{100 * row['difference']:.1f} (+{100 * row['seeds_low']:.1f} to" in summary
    assert "internal (nih): isolated" in summary
    assert "external (hannover): isolated" in summary
    assert "soft 95\u00a0%" in summary


def test_every_section_has_its_numbers(page):
    for caption in (
        "AUC of the read finding, by arm",
        "AUC of the read finding, by slice",
        "AUC by arm and finding",
        "Points of AUC by which arms differ from erm",
        "Points of AUC by which arms differ from each other",
        "Average precision",
        "Specificity where nothing",
        "Calibration",
        "Shortcut score of the audit",
        "Primary outcome by arm",
        "Primary outcome: points of AUC",
        "Reverse shortcut and residual dependence",
        "Sensitivity where the finding comes alone",
        "Largest gap",
        "Deviation of AUC between seeds",
        "Parameters",
        "Versions",
    ):
        assert f"<caption>{caption}" in page
    assert "densenet121" in page
    assert "2026-02-03 04:05" in page


def test_what_fell_short_is_listed(good, tmp_path):
    lost = good.predictions[(good.predictions["arm"] != "soft") | (good.predictions["seed"] == 0)]
    strict = dataclasses.replace(RULES, gain=0.5)
    dataclasses.replace(good, folder=tmp_path, predictions=lost).report(rules=strict)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    short = text.partition('<section id="short">')[2].partition("</section>")[0]
    assert "required: at least 50.0" in short
    assert "soft: no predictions of seed 1, 2, 3" in short
    assert "the shortcut score fell by –; required: 50" in short
    assert "▲ not everywhere" in text


def test_without_pairs_the_findings_are_compared(tmp_path):
    bare = result(tmp_path, pairs=(), n=40, seeds=(0,), arms=("erm", "soft"))
    bare.report(rules=RULES)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    Page(text)
    for words in ("No audit of the trained models", "Atelectasis</strong>", "In no test does"):
        assert words in text


def test_one_arm_is_a_page_too(tmp_path):
    result(tmp_path, n=30, seeds=(0,), arms=("erm",)).report(rules=RULES)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    Page(text)
    assert "No arm taught with counterfactuals" in text
    assert "There is no gain to draw" in text


def test_what_comes_from_outside_cannot_write_the_page(tmp_path):
    evil = result(tmp_path, pairs=((fake.PAIR[0], EVIL),), n=60, seeds=(0,), arms=("erm", "soft"))
    swap = {"Cardiomegaly": EVIL, "nih": EVIL}
    table = evil.predictions.replace({"finding": swap, "test": swap})
    evil.record["plan"]["model"] = EVIL
    dataclasses.replace(evil, predictions=table).report(rules=RULES)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    Page(text)


def test_equal_results_give_equal_bytes_and_json(good, page, tmp_path):
    other = dataclasses.replace(good, folder=tmp_path)
    other.report(scores=scores(), rules=RULES)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert told["rules"]["resamples"] == 200
    assert told["record"] == good.record
    assert told["figures"]["seeds"] == dict.fromkeys(fake.ARMS, 4)
    assert len(told["gaps"]) > 0
