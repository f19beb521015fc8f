"""Editor, audit and report on CT slices: nothing of them knows that these are no radiographs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from roentmod.domain import FINDINGS
from tests.domains import prove

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("ct")


@pytest.fixture(scope="module")
def said(root):
    done = subprocess.run(
        [sys.executable, "-m", "tests.domains.prove", str(root)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(root / "cache"), "COLUMNS": "80"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def headings(page):
    return " ".join(re.findall(r"<h[1-6][^>]*>(.*?)</h", page)).lower()


def test_a_slice_is_edited_by_the_command(said, root):
    edit = said["commands"]["edit"]
    assert edit["code"] == 0, edit["err"]
    record = json.loads((root / "cli" / "edits.json").read_text())
    assert record == json.loads(edit["out"])
    (item,) = record["items"]
    assert (item["status"], item["edit"]["findings"]) == ("ok", ["Liver Lesion"])
    facts = item["facts"]
    assert facts["prompt"] == "axial CT slice of the abdomen with hypodense liver lesion"
    assert facts["held_prompts"] == ["axial CT slice of the abdomen with ascites"]
    assert facts["sham_prompt"] == "normal axial CT slice of the abdomen"
    file = root / "cli" / item["files"]["counterfactual.png"]["path"]
    with Image.open(file) as picture:
        assert picture.size == (128, 128)
        assert "Liver Lesion" in str(picture.text)


def test_slices_are_audited_by_the_command(said, root):
    audit = said["commands"]["audit"]
    # A generator that learned nothing shows nothing to the judge: done, and nothing is judged.
    assert audit["code"] == 3, audit["err"]
    assert "undecided" in audit["out"]
    record = json.loads((root / "cli" / "audit.json").read_text())
    assert record["judge"]["source"] == "tests.domains.slices:judge"
    assert record["editor"]["name"] == "ct-slice"
    assert record["plan"]["findings"] == ["Liver Lesion", "Ascites"]
    table = pd.read_parquet(root / "cli" / "predictions.parquet")
    assert set(table["classifier"]) == {"honest", "judge"}
    assert set(table["read_finding"]) == {"Liver Lesion", "Ascites"}
    assert table["baseline_id"].nunique() == 3


def test_the_audit_finds_the_planted_shortcut_and_no_other(said):
    found = said["functions"]
    assert found["verdicts"] == {
        "honest": "no shortcut beyond the margin",
        "shortcut": "shortcuts found",
    }
    assert found["shortcuts"] == {"honest": [], "shortcut": [["Ascites", "Liver Lesion"]]}


def test_the_report_speaks_of_slices(said, root):
    page = (root / "audit" / "report.html").read_text()
    assert "Ascites → Liver Lesion" in page
    assert "Cardiomegaly" not in page
    assert "Does a classifier of CT slices react" in page
    assert f"{prove.PATIENTS} pictures of {prove.PATIENTS} patients; 12 F, 12 M; 24 axial" in page
    assert not re.search("radiograph|chest|x-ray|lung", headings(page))
    report = json.loads((root / "audit" / "report.json").read_text())
    assert {row["edited"] for one in report["classifiers"] for row in one["cells"]} == {
        "Liver Lesion",
        "Ascites",
    }
    assert len(list((root / "audit" / "pictures").glob("*.png"))) > 0


def test_labels_of_the_pack_are_columns_of_the_table(said):
    found = said["functions"]
    assert found["ill"] == ["positive", "positive"]
    assert found["chosen"] == prove.PATIENTS
    usual = [item.name for item in FINDINGS]
    assert found["catalogue"][: len(usual)] == usual
    assert found["catalogue"][len(usual) :][:2] == ["Liver Lesion", "Ascites"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("foreign edit", "Findings of the domain ct-slice are: Liver Lesion.* got Edema of cxr"),
        ("foreign audit", "Findings of the domain ct-slice are: Liver Lesion.* got Edema of cxr"),
        ("foreign hold", "got Mass of cxr"),
        ("linked", "co-occurrence matrix knows .* got 'Liver Lesion'"),
        ("region", "--region is made for chests; got the domain ct-slice"),
        ("painter", "The painter renders .* got 'Liver Lesion'"),
        ("phantoms", "--data phantoms is made for chests"),
        ("validate", "A validation is made for chests"),
    ],
)
def test_what_belongs_to_chests_is_refused_in_one_line(said, command, words):
    done = said["commands"][command]
    assert done["code"] == 2
    lines = [line for line in done["err"].splitlines() if line.startswith("roentmod:")]
    assert len(lines) == 1
    assert re.search(words, lines[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("foreign", "EditError: The profile ct-slice draws findings of ct-slice; got Edema of cxr"),
        ("generic", "EditError: The profile generic draws findings of cxr; got Ascites"),
        ("region", "EditError: Regions in words are places of the chest"),
        ("no judge", "AuditError: The bundled judge reads chest .* got Liver Lesion of ct-slice"),
        ("late", "InputError: .*late came after"),
    ],
)
def test_functions_refuse_it_too(said, name, words):
    assert re.search(words, said["functions"][name])


def test_a_ct_file_is_shown_in_hu_in_the_packs_window(said):
    door = said["door"]
    assert door["error"] < 1e-6
    assert door["spacing"] == [3, 3]


def test_an_edited_ct_file_is_of_the_abdomen_and_in_the_packs_window(said):
    assert said["door"]["written"] == ["CT", "ABDOMEN"]
    # In DICOM's form, whose ramp is one level short of the width (PS3.3 C.11.2.1.2.1).
    assert said["door"]["window"] == [40.5, 401]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plane", "A CT slice is axial; got a coronal one"),
        ("part", "must name ABDOMEN, LIVER; got 'HEAD'"),
        ("rescale", "got no RescaleIntercept"),
        ("unit", "got US"),
        ("modality", r"A chest radiograph has .*; A CT slice has Modality CT; got MR"),
    ],
)
def test_other_files_are_refused(said, name, words):
    assert re.search(f"^UnsuitableError: {name}.dcm: .*{words}", said["door"][name])
