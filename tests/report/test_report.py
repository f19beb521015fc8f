"""The page and the JSON of an audit: whole, safe, repeatable, and saying what is not there."""

import base64
import dataclasses
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest

from roentmod import report
from roentmod.jobs.audit.sections import shown
from roentmod.report import standard
from tests.report.fake import FINDINGS, audit
from tests.report.pages import EVIL, Page, check_alone

pytestmark = pytest.mark.slow


def render(result, path):
    report.write(shown(result), path)
    return path.read_text(encoding="utf-8")


def only(result, **changes):
    """Return `result` with its first classifier alone, changed."""
    first = dataclasses.replace(result.classifiers[0], **changes)
    return dataclasses.replace(result, classifiers=(first,))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    result = audit(folder, side=320)
    return result, render(result, folder / "report.html")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    return render(audit(folder, bare=True), folder / "report.html")


def test_the_page_is_one_file_that_loads_nothing(full):
    check_alone(full[1])
    assert "http" not in "".join(Page(full[1]).text)
    assert len(full[1].encode()) < 3_000_000


def test_the_page_can_be_heard(full):
    page = Page(full[1])
    assert page.all("html") == [{"lang": "en"}]
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    alts = [attrs["alt"] for attrs in page.all("img")]
    matrix = next(alt for alt in alts if alt.startswith("Matrix"))
    assert "Pleural Effusion → Cardiomegaly 47\u00a0% (+1.9 logits), shortcut" in matrix
    assert any("Cardiomegaly +0.5 at mild, +1.1 at moderate, +1.9 at severe" in a for a in alts)


def test_sections_stand_in_order(full):
    titles = ["What was audited", "In short", "What is missing, and why", "each reading"]
    titles += ["Ranked shortcuts", "All pairs", "(gate)", ">Leakage<", "Dose curves", "Subgroups<"]
    titles += ["Reverse check", "Specificity under stress", ">Heads<", ">honest</h2>", ">Methods<"]
    titles += [">References<", ">Limits<", ">Provenance<", ">How to reproduce<"]
    at = 0
    for title in titles:
        at = full[1].find(title, at)
        assert at >= 0, title


def test_the_summary_says_the_worst_shortcut_in_words(full):
    _, _, after = full[1].partition('id="summary"')
    summary = after.partition("</section>")[0].replace("\u00a0", " ")
    assert "shortcuts found" in summary
    assert (
        "Adding Pleural Effusion raises Cardiomegaly by +1.9 logits (95 % CI 1.6 to 2.2): "
        "47 % of what adding Cardiomegaly itself does (48 % before leakage is taken off); "
        "margin 20 %."
    ) in summary
    assert "20 off-target pairs: 2 shortcuts, 1 suppression, 1 leakage, 1 undecided" in summary
    assert "473 of 480 planned pairs of edit and classifier were read; 7 are missing." in summary


def test_what_is_missing_is_counted_by_stage_and_status(full):
    text = " ".join(" ".join(Page(full[1]).text).split())
    assert "editing poor_anatomy 3 Edema Lungs not found." in text
    assert "honest time_out 4 Pneumothorax The endpoint must answer in 30 s" in text


def test_synthetic_pictures_say_so_and_large_ones_are_reduced(full):
    page = Page(full[1])
    kinds = [attrs["src"].partition(";")[0] for attrs in page.all("img")]
    assert kinds.count("data:image/jpeg") + kinds.count("data:image/png") == 12
    text = "".join(page.text)
    assert text.count("SYNTHETIC: counterfactual") == text.count("SYNTHETIC: difference") == 4
    assert text.count("REAL: baseline") == 4


def test_every_figure_is_well_formed_svg_without_links(full):
    svgs = [a["src"] for a in Page(full[1]).all("img") if "svg+xml" in a["src"]]
    assert len(svgs) == 2 * (1 + 1 + len(FINDINGS))
    for uri in svgs:
        root = ElementTree.fromstring(base64.b64decode(uri.partition(",")[2]))
        links = [v for node in root.iter() for k, v in node.attrib.items() if k.endswith("href")]
        assert all(link.startswith(("#", "data:image/png;")) for link in links)


def test_equal_results_give_equal_bytes_whatever_matplotlib_is_set_to(full, tmp_path):
    doses = full[0].classifiers[0].doses
    result = only(full[0], doses=doses[doses["edited"] == "Edema"])
    first = render(result, tmp_path / "a.html")
    with matplotlib.rc_context({"font.size": 21, "svg.fonttype": "none", "svg.hashsalt": "x"}):
        before = dict(matplotlib.rcParams)
        assert render(result, tmp_path / "b.html") == first
        assert dict(matplotlib.rcParams) == before


def test_another_number_gives_another_page(full, tmp_path):
    cells = full[0].classifiers[0].cells.head(4)
    result = only(full[0], cells=cells, doses=EMPTY, examples=())
    first = render(result, tmp_path / "a.html")
    cells = cells.copy()
    cells.loc[0, "effect"] += 1
    assert render(only(result, cells=cells), tmp_path / "b.html") != first


def test_sections_without_rows_say_so(bare):
    for sentence in (
        "480 of 480 planned pairs of edit and classifier were read. Nothing is missing.",
        "The gate was not used",
        "Only one dose was requested",
        "No subgroups were compared",
        "No removal edits were requested.",
        "specificity under stress was not measured",
        "No picture of this pair is shown.",
    ):
        assert sentence in bare


def test_a_classifier_without_pairs_is_still_reported(tmp_path):
    result = audit(tmp_path, bare=True)
    empty = result.classifiers[0].cells.iloc[:0]
    text = render(only(result, cells=empty, score=float("nan")), tmp_path / "r.html")
    assert "so there is no matrix" in text
    assert "No off-target pair was tested." in text
    assert not re.search(r"\bnan\b", "".join(Page(text).text), re.IGNORECASE)


def test_what_comes_from_outside_is_escaped(tmp_path):
    result = audit(tmp_path)
    first = result.classifiers[0]
    tables = {
        name: getattr(first, name).replace("Edema", EVIL)
        for name in ("cells", "gate", "doses", "subgroups", "stress", "heads", "reverse")
    }
    evil = dataclasses.replace(
        only(result, name=EVIL, source=EVIL, verdict=EVIL, **tables),
        plan=result.plan | {EVIL: EVIL, "findings": [EVIL], "data": EVIL, "editor": {"name": EVIL}},
        provenance={"started": EVIL, EVIL: {EVIL: [EVIL]}},
        items=result.items.assign(message=EVIL, status=EVIL, classifier=EVIL, edited_finding=EVIL),
    )
    text = render(evil, tmp_path / "r.html")
    page = Page(text)
    assert page.all("script") == []
    assert "\x00" not in text
    assert "alert(1)" in "".join(page.text)
    json.dumps(report.as_json(evil), allow_nan=False)


def test_a_name_that_is_not_unicode_does_not_stop_the_report(tmp_path):
    result = audit(tmp_path, bare=True)
    text = render(only(result, source="models/\udcff.onnx", cells=EMPTY), tmp_path / "r.html")
    assert "models/" in text


@pytest.mark.parametrize("damage", ["gone", "other", "cut"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, damage):
    result = audit(tmp_path, side=200)
    example = result.classifiers[0].examples[0]
    if damage == "gone":
        example.difference.unlink()
    else:
        data = example.difference.read_bytes()
        example.difference.write_bytes(b"GIF89a" if damage == "other" else data[:30_000])
    changes = {"cells": EMPTY, "doses": EMPTY, "examples": (example,)}
    text = render(only(result, **changes), tmp_path / "r.html")
    assert "000-difference.png cannot be read" in text
    assert len(Page(text).all("img")) == 2


def test_examples_beyond_the_room_are_said(tmp_path):
    result = audit(tmp_path)
    many = result.classifiers[0].examples * 10
    text = render(only(result, examples=many, cells=EMPTY, doses=EMPTY), tmp_path / "r.html")
    assert len(Page(text).all("img")) == 30
    assert "30 more examples are in the folder of the audit" in text


def test_an_exact_editor_has_no_leakage_taken_off(tmp_path):
    result = audit(tmp_path, bare=True)
    exact = dataclasses.replace(only(result, cells=EMPTY), plan=result.plan | {"exact": True})
    text = render(exact, tmp_path / "r.html")
    assert "shown, but not taken off" in text
    assert "and is taken off" not in text


def test_a_failed_write_leaves_the_old_page(tmp_path):
    (tmp_path / "r.html").write_text("old")
    result = audit(tmp_path, bare=True)
    broken = only(result, cells=pd.DataFrame({"edited": ["Edema"], "on_target": [False]}))
    with pytest.raises(KeyError):
        report.write(shown(broken), tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == "old"


def test_json_holds_every_table(full):
    result = full[0]
    told = json.loads(json.dumps(report.as_json(result), allow_nan=False))
    assert told["plan"] == result.plan
    assert told["provenance"] == result.provenance
    assert told["counts"] == result.counts
    same(told["baselines"], result.baselines)
    same(told["items"], result.items)
    for said, one in zip(told["classifiers"], result.classifiers, strict=True):
        assert (said["name"], said["verdict"], said["score"]) == (one.name, one.verdict, one.score)
        for name in ("heads", "cells", "gate", "doses", "subgroups", "reverse", "stress"):
            same(said[name], getattr(one, name))
        assert len(said["examples"]) == len(one.examples)
    assert told["classifiers"][0]["examples"][0]["baseline"] == "pictures/000-baseline.png"
    assert "folder" not in told


def same(rows, frame):
    assert len(rows) == len(frame)
    if len(frame):
        table = pd.DataFrame(rows)[list(frame.columns)].astype(frame.dtypes.to_dict())
        pd.testing.assert_frame_equal(table, frame.reset_index(drop=True), check_exact=True)


def test_json_knows_numpy_and_pandas_values(tmp_path):
    result = dataclasses.replace(
        audit(tmp_path, bare=True),
        plan={"a": np.float32(0.5), "b": np.int64(3), "c": np.array([1.0, np.nan]), "d": pd.NA},
        provenance={"e": float("inf"), "f": {2, 1}, "g": pd.NaT, "h": np.bool_(True)},
    )
    told = report.as_json(result)
    assert told["plan"] == {"a": 0.5, "b": 3, "c": [1.0, None], "d": None}
    assert told["provenance"] == {"e": None, "f": [1, 2], "g": None, "h": True}
    assert type(told["plan"]["b"]) is int


EMPTY = pd.DataFrame()


def test_pictures_are_found_from_a_folder_named_relatively(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = audit(Path("here/audit")).report().read_text(encoding="utf-8")
    assert "cannot be read" not in text
    assert text.count("data:image/png") + text.count("data:image/jpeg") >= 12


def test_a_baseline_that_was_drawn_is_not_called_real(tmp_path):
    result = audit(tmp_path)
    first = result.classifiers[0]
    drawn = tuple(dataclasses.replace(one, real=False) for one in first.examples)
    others = (dataclasses.replace(first, examples=drawn), *result.classifiers[1:])
    path = dataclasses.replace(result, classifiers=others).report()
    text = path.read_text(encoding="utf-8")
    assert "SYNTHETIC: baseline" in text
    assert text.count("REAL: baseline") < 4


def test_networks_of_one_name_are_told_apart_by_their_hash():
    one, other = ({"name": "judge", "sha256": letter * 64} for letter in "ab")
    assert standard.weights_named(one) == "judge aaaaaaaa"
    assert standard.weights_named(one) != standard.weights_named(other)
    assert standard.weights_named("Blind") == standard.weights_named({"name": "Blind"}) == "Blind"
    assert standard.weights_named(None) == ""
