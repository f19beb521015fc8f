"""`roentmod data` and `roentmod cooccurrence` as a user meets them."""

import json
from pathlib import Path

import data_store
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.cli.running import run

DICOM = Path(data_store.__file__).parent / "data" / "RG1_J2KI.dcm"


@pytest.fixture
def films(tmp_path):
    """A CSV of Excel's in German without ages, and its pictures."""
    folder = tmp_path / "films"
    folder.mkdir()
    lines = ["Datei;Image File;Diagnosis;View Position;Klinik"]
    for n in range(60):
        labels = "Edema, Effusion" if n % 3 == 0 else "No Finding"
        lines.append(f"x;{n}.png;{labels};PA;{'a' if n % 3 == 0 else 'b'}")
        pixels = np.random.default_rng(n).integers(0, 255, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    (folder / "Röntgen.csv").write_text("\n".join(lines), encoding="cp1252")
    return folder


def test_what_was_understood_is_shown(films, tmp_path):
    shown = run("data", films, cache=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "60 rows, utf-8, delimiter ';'; path = 'Image File'" in shown.stdout
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["Edema", "20", "40", "0", "0"] in rows
    assert "0 adults: too few" in shown.stdout
    assert "With --ages unknown there are 40." in shown.stdout
    assert "nan" not in shown.stdout.lower()


def test_all_of_it_is_json(films, tmp_path):
    facts = json.loads(run("data", films, "--json", cache=tmp_path).stdout)
    assert facts["findings"]["Pleural Effusion"]["positive"] == 20
    assert facts["baselines"]["usable"] == {"adults": 0, "unknown": 40, "all": 40}
    assert facts["baselines"]["enough"] is False
    assert facts["sizes"] == {"32 x 32": 60}
    assert facts["tables"][0]["columns"]["labels"] == "Diagnosis"
    assert facts["ages"] == {"known": 0, "unknown": 60}


def test_a_source_that_predicts_is_said(films, tmp_path):
    table = films / "Röntgen.csv"
    table.write_text(table.read_text("cp1252").replace("Klinik", "Source"), encoding="cp1252")
    shown = run("data", films, cache=tmp_path)
    assert "facts that predict labels: 2 (site -> Pleural Effusion AUC 1.00," in shown.stdout


def test_a_corrected_index_is_written_once(films, tmp_path):
    out = tmp_path / "fixed.csv"
    assert run("data", films, "--fix", out, cache=tmp_path).returncode == 0
    facts = json.loads(run("data", out, "--json", cache=tmp_path).stdout)
    assert facts["findings"]["Edema"]["positive"] == 20
    assert facts["tables"][0]["delimiter"] == ","
    again = run("data", films, "--fix", out, cache=tmp_path)
    assert again.returncode == 2
    assert "not written over" in again.stderr


def test_a_folder_of_dicom_gets_an_index_and_is_audited(tmp_path):
    folder = tmp_path / "pacs"
    folder.mkdir()
    (folder / "film").write_bytes(DICOM.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    (folder / "._film.png").write_bytes(bytes(200))
    nothing = run("data", folder, cache=tmp_path)
    assert nothing.returncode == 2
    assert "--init" in nothing.stderr
    made = run("data", folder, "--init", "--labels", "No Finding", cache=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "1 adults: too few" in made.stdout
    assert f"{folder / 'index.csv'}: pictures 1\n" in made.stderr
    assert (folder / "index.csv").is_file()
    assert run("data", folder, "--init", cache=tmp_path).returncode == 2
    assert "--init" in run("data", folder, "--labels", "Mass", cache=tmp_path).stderr


def test_cooccurrence_prints_a_readable_table(films, tmp_path):
    answers = [("Edema", "a", 1), ("Edema", "b", 1), ("Mass", "a", 1), ("Mass", "b", 0)]
    rows = [{"reader": "r", "case": c, "finding": f, "answer": a} for f, c, a in answers]
    pd.DataFrame([*rows, {**rows[0], "finding": "Hernia", "case": "c", "answer": 1}]).to_csv(
        tmp_path / "answers.csv", index=False, sep=";"
    )
    out = tmp_path / "rates.json"
    done = run("cooccurrence", "--readers", tmp_path / "answers.csv", "--out", out, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["Edema", "Mass", "50.0%", "9%", "to", "91%", "1", "of", "2"] in lines
    assert "nan" not in done.stdout.lower()
    assert len(json.loads(out.read_text())["findings"]) == 3
    counted = run("cooccurrence", "--data", films, "--out", out, cache=tmp_path)
    assert "100.0%" in counted.stdout
