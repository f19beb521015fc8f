"""The page of a validation: whole, safe, repeatable, and saying what is not there."""

import dataclasses
import json

import pytest

from roentmod import report
from roentmod.jobs.validate import choose
from roentmod.jobs.validate.sections import shown
from tests.jobs.validate.fake import Stamp, run
from tests.report.pages import EVIL, Page, check_alone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(good):
    return good.report().read_text(encoding="utf-8")


def test_the_page_is_one_file_that_loads_nothing(page):
    check_alone(page)


def test_every_section_has_its_numbers(page, good):
    for text in ("Recommended: strength 0.2", "baseline-edit", "same patient", "SYNTHETIC"):
        assert text in page
    assert page.count('class="badge"') == len(good.checks)
    for caption in (
        "pFID by group",
        "Likeness of edits",
        "The sham against its baseline",
        "Added, then removed",
        "Leakage, without",
        "A detector",
        "Variance between wordings",
        "What was not requested",
    ):
        assert f"<caption>{caption}" in page


def test_what_is_absent_is_said(data, tmp_path):
    nothing = {"swept": 0, "worded": 0, "undone": 0, "known": 0, "detector_steps": 0}
    few = choose(data, split="test").head(1)
    bare = run(data, tmp_path / "run", Stamp(words=False), chosen=few, **nothing)
    bare = dataclasses.replace(bare, pictures={}, pairs=bare.pairs[:0], pfid=bare.pfid[:0])
    report.write(shown(bare), tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert bare.artefacts.empty
    assert "No real positives were at hand" not in text
    asked = ("no sweep", "no wordings", "no detectors")
    for words in (*asked, "No pairs were compared", "not measured"):
        assert words in text
    Page(text)


def test_an_artefact_is_in_the_summary(good, tmp_path):
    checks = good.checks.copy()
    checks.loc[checks["check"] == "artefact_auc", ["value", "state"]] = [0.83, "failed"]
    report.write(shown(dataclasses.replace(good, checks=checks)), tmp_path / "x.html")
    summary = (tmp_path / "x.html").read_text().partition('id="summary"')[2].partition("<nav")[0]
    assert "AUC of 0.83" in summary


def test_what_comes_from_outside_cannot_write_the_page(good, tmp_path):
    evil = dataclasses.replace(
        good,
        provenance=good.provenance | {"editor": {"name": EVIL}},
        wordings=good.wordings.assign(prompt=EVIL),
        absent={"sweep": EVIL},
    )
    report.write(shown(evil), tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "<script" not in text
    Page(text)


def test_equal_results_give_equal_bytes_and_json(good, page, tmp_path):
    report.write(shown(good), tmp_path / "x.html")
    assert (tmp_path / "x.html").read_text(encoding="utf-8") == page
    told = json.loads((good.folder / "report.json").read_text(encoding="utf-8"))
    assert told["figures"] == good.figures()
    assert told["pictures"]["sweep"] == "pictures/sweep.png"
    assert len(told["sweep"]) == len(good.sweep)
