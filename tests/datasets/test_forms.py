"""Labels and tables in the forms that people have: read, or refused with the row."""

import bz2
import gzip
import io
import lzma
import os
import sys
import zipfile

import pandas as pd
import pytest

from roentmod import datasets
from roentmod.datasets import sheets
from roentmod.errors import DatasetError, MissingDependencyError
from tests.datasets.conftest import picture
from tests.datasets.test_sets import kinds, states

BOTH = {"Edema": "positive", "Cardiomegaly": "positive"}


def written(folder, text, name="index.csv", encoding="utf-8"):
    """Write a table and a picture for each name in it that ends in .png."""
    (folder / name).write_bytes(text.encode(encoding))
    for seed in range(1, 5):
        if f"{seed}.png" in text:
            picture(folder / f"{seed}.png", seed)
    return folder


@pytest.mark.parametrize(
    "cell",
    [
        "Edema|Cardiomegaly",
        "Edema, Cardiomegaly",
        "Edema;Cardiomegaly",
        "edema + cardiomegaly",
        "Edema\nCardiomegaly",
        "['Edema', 'Cardiomegaly']",
        "['Edema' 'Cardiomegaly']",
        '["Edema", "Cardiomegaly"]',
        "[Edema, Cardiomegaly]",
        "('Edema', 'Cardiomegaly')",
        "{Edema,Cardiomegaly}",
    ],
)
def test_joined_labels_are_split_however_they_are_joined(plain, cell):
    loaded = datasets.load(plain({"path": "1.png", "labels": cell}))
    assert states(loaded, 0) == BOTH
    assert loaded.table["other_labels"].tolist() == [""]


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "None", "null", "N/A", "[]", "unknown", "-"])
def test_a_cell_that_says_nothing_is_no_negative(plain, cell):
    rows = [{"path": "1.png", "labels": cell}, {"path": "2.png", "labels": "Mass"}]
    loaded = datasets.load(plain(*rows))
    assert loaded.table["Mass"].tolist() == ["unmentioned", "positive"]
    assert loaded.table["No Finding"].iloc[0] == "unmentioned"
    assert kinds(loaded)["pictures without labels"].count == 1
    assert "unknown labels" not in kinds(loaded)


@pytest.mark.parametrize(
    "cell",
    [
        "1",
        "0",
        "yes",
        "Effusion, none",
        "Effusion: absent",
        "{'Edema': 0}",
        "The heart is enlarged and the lungs are clear of any focal disease.",
    ],
)
def test_what_names_no_finding_is_refused_with_its_row(plain, cell):
    rows = [{"path": "1.png", "labels": "Mass"}, {"path": "2.png", "labels": cell}]
    with pytest.raises(DatasetError, match="row 3 has"):
        datasets.load(plain(*rows))


@pytest.mark.parametrize("label", ["no effusion", "Efusion", "Effusion (left)", "effusions"])
def test_a_label_near_a_finding_is_no_negative_of_it(plain, label):
    rows = [{"path": "1.png", "labels": "Effusion"}, {"path": "2.png", "labels": label}]
    loaded = datasets.load(plain(*rows))
    assert loaded.table["Pleural Effusion"].tolist() == ["positive", "uncertain"]
    problem = kinds(loaded)["labels near a finding"]
    assert (problem.count, problem.examples) == (1, (f"'{label.lower()}' (Pleural Effusion)",))


def test_a_label_far_from_all_findings_is_kept(plain):
    rows = [{"path": "1.png", "labels": "COVID-19, Fracture"}, {"path": "2.png", "labels": "Mass"}]
    loaded = datasets.load(plain(*rows))
    assert loaded.table["other_labels"].iloc[0] == "COVID-19|Fracture"
    assert "labels near a finding" not in kinds(loaded)


@pytest.mark.parametrize(
    ("cell", "state"),
    [
        *((cell, "positive") for cell in ("1", "1.0", "1,0", "1.00", "True", "TRUE", "yes", "Y")),
        *((cell, "positive") for cell in ("WAHR", "present", "pos")),
        *((cell, "negative") for cell in ("0", "0.0", "0,0", "False", "no", "FALSCH", "absent")),
        *((cell, "uncertain") for cell in ("-1", "-1.0", "-1,0", "uncertain")),
        *((cell, "unmentioned") for cell in ("", "nan", "None", "NA", "n/a", "unknown")),
    ],
)
def test_an_answer_in_its_own_column(plain, cell, state):
    loaded = datasets.load(plain({"path": "1.png", "Effusion": cell, "Mass": 1}))
    assert loaded.table["Pleural Effusion"].tolist() == [state]


@pytest.mark.parametrize("cell", ["0.7", "2", "mild", "?", "1 0"])
def test_an_answer_that_is_none_is_refused_with_its_row(plain, cell):
    rows = [{"path": "1.png", "Mass": 1}, {"path": "2.png", "Mass": cell}]
    with pytest.raises(DatasetError, match=r"'Mass' has .* in row 3"):
        datasets.load(plain(*rows))


def test_columns_of_findings_beside_joined_labels_count(plain):
    rows = [
        {"path": "1.png", "labels": "Mass", "Edema": 1},
        {"path": "2.png", "labels": "", "Edema": 1},
        {"path": "3.png", "labels": "Edema", "Edema": ""},
    ]
    loaded = datasets.load(plain(*rows))
    assert loaded.table["Edema"].tolist() == ["positive"] * 3
    assert loaded.table["Mass"].tolist() == ["positive", "unmentioned", "negative"]
    with pytest.raises(DatasetError, match="row 2 a finding is named whose column says 0"):
        datasets.load(plain({"path": "1.png", "labels": "Edema", "Edema": 0}))


def test_nothing_said_is_no_patient_split_or_tier(plain):
    """Else all patients called "nan" would be one."""
    said = {"labels": "No Finding", "age": "45,5", "view": "PA", "tier": "nan"}
    rows = [{**said, "path": f"{n}.png", "patient_id": "nan", "split": "None"} for n in (1, 2)]
    loaded = datasets.load(plain(*rows))
    assert len(datasets.baselines(loaded)) == 2
    assert set(loaded.table["split"]) == set(loaded.table["unfit"]) == {""}
    assert loaded.table["age"].tolist() == [45.5] * 2


def test_ids_that_a_spreadsheet_rounded_are_refused(plain):
    rows = [{"path": f"{n}.png", "patient_id": "1,23457E+11", "labels": "Mass"} for n in (1, 2)]
    with pytest.raises(DatasetError, match=r"patient_id of index\.csv row 2 is '1,23457E"):
        datasets.load(plain(*rows))


@pytest.mark.parametrize("age", ["58", "58,0", "58.0", "058Y", "58 years", "58y", "58 yo"])
def test_ages(plain, age):
    loaded = datasets.load(plain({"path": "1.png", "labels": "Mass", "age": age}))
    assert loaded.table["age"].tolist() == [58]


ROWS = "Datei;path;labels;age;Größe\nä;1.png;Edema, Cardiomegaly;45,5;3\n;2.png;Mass;50;2\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_delimiters_and_encodings_of_spreadsheets(tmp_path, encoding, delimiter):
    loaded = datasets.load(written(tmp_path, ROWS.replace(";", delimiter), encoding=encoding))
    assert states(loaded, 0) == BOTH
    assert loaded.table["age"].tolist() == [45.5, 50]
    assert kinds(loaded)["unread columns"].examples == ("Datei", "Größe")
    (reading,) = loaded.readings
    assert (reading.delimiter, reading.rows) == (delimiter, 2)
    assert reading.columns == {"path": "path", "labels": "labels", "age": "age"}
    assert encoding.startswith(reading.encoding)


def test_what_excel_leaves_around_a_table(tmp_path):
    text = "sep=;\r\npath;labels;;\r\n1.png;Mass;;\r\n;;;\r\n2.png;Edema;;\r\n;;;\r\n"
    loaded = datasets.load(written(tmp_path, text))
    assert loaded.table["image_id"].tolist() == ["1.png", "2.png"]
    assert "unread columns" not in kinds(loaded)
    with pytest.raises(DatasetError, match="row 5 has '1'"):
        datasets.load(written(tmp_path, text.replace("Edema", "1")))


def test_a_row_with_more_cells_than_columns_is_refused(tmp_path):
    """A cell of labels without quotes would move the others into wrong columns."""
    for rows, row in (("1.png,Edema,Mass\n", 2), ("1.png,Edema\n2.png,Edema,Mass\n", 3)):
        with pytest.raises(DatasetError, match=f"row {row} has 3, and there are 2 columns"):
            datasets.load(written(tmp_path, f"path,labels\n{rows}"))
    loaded = datasets.load(written(tmp_path, 'path, labels\n1.png, "Edema, Cardiomegaly"\n'))
    assert states(loaded, 0) == BOTH
    with pytest.raises(DatasetError, match="'Mass' 2 times"):
        datasets.load(written(tmp_path, "path,Mass,Mass\n1.png,0,1\n"))


def test_compressed_tables_and_other_names(tmp_path):
    (tmp_path / "films.csv.gz").write_bytes(gzip.compress(b"FilePath;Diagnosis\n1.png;Edema\n"))
    picture(tmp_path / "1.png")
    assert states(datasets.load(tmp_path), 0) == {"Edema": "positive"}
    assert sheets.header(tmp_path / "films.csv.gz") == ["FilePath", "Diagnosis"]


def packed(data, kind):
    """Return bytes in a compressed form; of zip the one file of an archive."""
    if kind != "zip":
        return {"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress(data)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("films.csv", data)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zip"])
def test_compressed_tables_that_are_bombs_are_refused(tmp_path, kind, monkeypatch):
    head = b"path,labels\n1.png,Edema\n"
    picture(tmp_path / "1.png")
    (tmp_path / "index.csv").write_bytes(packed(head, kind))
    assert states(datasets.load(tmp_path), 0) == {"Edema": "positive"}
    monkeypatch.setattr(sheets, "_SMALL", 2**16)
    (tmp_path / "index.csv").write_bytes(packed(head + b"\n" * 2**20, kind))
    with pytest.raises(DatasetError, match="unpacks to, more than"):
        datasets.load(tmp_path)


def test_a_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "index.csv")
    with pytest.raises(DatasetError, match=r"index\.csv has none"):
        datasets.load(tmp_path / "index.csv")


def test_a_workbook_is_named_with_what_to_do(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "films.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingDependencyError, match=r"films\.xlsx .*CSV UTF-8.*pip install"):
        datasets.load(tmp_path)
    (tmp_path / "films.xlsx").write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(DatasetError, match="Save it as CSV"):
        datasets.load(tmp_path / "films.xlsx")


def test_a_workbook_is_read(tmp_path):
    pytest.importorskip("openpyxl")
    rows = {"file": ["1.png", "2.png"], "age": [40, 41.5], "Edema": [True, False], "Mass": [0, 1]}
    pd.DataFrame(rows).to_excel(tmp_path / "films.xlsx", index=False)
    for seed in (1, 2):
        picture(tmp_path / f"{seed}.png", seed)
    loaded = datasets.load(tmp_path)
    assert loaded.table["Edema"].tolist() == ["positive", "negative"]
    assert loaded.table["Mass"].tolist() == ["negative", "positive"]
    assert loaded.table["age"].tolist() == [40, 41.5]


def test_a_table_without_pictures_says_what_it_has(tmp_path):
    (tmp_path / "films.csv").write_text("Bild;Befund\n1.png;Edema\n")
    with pytest.raises(DatasetError, match=r"films\.csv .* it has Bild, Befund\. Rename one"):
        datasets.load(tmp_path)


def test_pictures_are_looked_for_by_a_name_that_no_other_has(tmp_path):
    text = "path,labels\n/else/where/1.png,Mass\nC:\\films\\2.png,Edema\n3,Mass\n"
    (tmp_path / "index.csv").write_text(text)
    for seed, place in enumerate(("a/1.png", "b/2.png", "c/3.png")):
        picture(tmp_path / place, seed)
    loaded = datasets.load(tmp_path)
    found = [str(tmp_path / place) for place in ("a/1.png", "b/2.png", "c/3.png")]
    assert loaded.table["path"].tolist() == found
    # Two of one name: which is meant cannot be known.
    (tmp_path / "index.csv").write_text("path,labels\nx/1.png,Mass\ny/1.png,Edema\na/1.png,Mass\n")
    assert kinds(datasets.load(tmp_path))["missing files"].count == 2


def placed(folder, *names):
    """Return a folder with another picture in each place."""
    for seed, name in enumerate(names):
        picture(folder / name, seed)
    return folder


def listed(folder, *names):
    """Return the paths of a data set of pictures of these names, from its folder."""
    (folder / "index.csv").write_text("path,labels\n" + "".join(f"{n},Mass\n" for n in names))
    return [path.removeprefix(f"{folder}/") for path in datasets.load(folder).table["path"]]


def test_a_missing_picture_moves_none_that_is_there(tmp_path):
    xrays = ["xrays/a.png", "xrays/b.png", "xrays/gone.png"]
    placed(tmp_path, *xrays[:2], "masks/a.png", "masks/b.png")
    assert listed(tmp_path, *xrays) == xrays
    placed(tmp_path, "masks/gone.png")
    assert listed(tmp_path, *xrays) == [*xrays[:2], "masks/gone.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_which_of_several_files_a_missing_picture_is_cannot_be_known(tmp_path, suffix):
    placed(tmp_path, "here.png", f"x/gone{suffix}", f"y/gone{suffix}")
    assert listed(tmp_path, "here.png", "gone.png") == ["here.png", "gone.png"]
    loaded = datasets.load(tmp_path)
    assert loaded.table["unfit"].tolist() == ["", "missing file"]
    problem = kinds(loaded)["files in several places"]
    assert (problem.count, problem.examples) == (1, ("gone.png",))
    with pytest.raises(DatasetError, match=r"none of 1 .*\(files in several places: 1\)\. Name"):
        listed(tmp_path, "gone.png")


def test_a_missing_picture_is_none_of_other_rows_hidden_ones_or_longer_names(tmp_path):
    names = ["1.png", "1.jpg", ".2.png", "2.png", "1.2.840.5"]
    placed(tmp_path, names[0], names[2], ".trash/2.png", "1.2.840.png")
    assert listed(tmp_path, *names) == names
    placed(tmp_path, "sub/1.2.840.5.png")
    assert listed(tmp_path, *names) == [*names[:4], "sub/1.2.840.5.png"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ends", [("{0}", "{0}"), ("{0}{0}", "{0}"), ("", "\n{0}{0}{0}")])
def test_empty_cells_after_the_last_column_are_none(tmp_path, delimiter, ends):
    rows = ["path{0} labels{0}note", '1.png{0}Mass{0}" 1{0}\n2"', "2.png{0}Edema{0}{0} "]
    rows = [row + end for row, end in zip(rows, ("", *ends), strict=True)]
    written(tmp_path, "\n".join([*rows, ""]).format(delimiter))
    frame = sheets.read_table(tmp_path / "index.csv")
    assert frame.columns.tolist() == ["path", "labels", "note"]
    assert frame["note"].tolist() == [f" 1{delimiter}\n2", ""]
    loaded = datasets.load(tmp_path)
    assert loaded.table["image_id"].tolist() == ["1.png", "2.png"]
    assert [states(loaded, row) for row in (0, 1)] == [{"Mass": "positive"}, {"Edema": "positive"}]
    assert loaded.readings[0].rows == 2


@pytest.mark.parametrize("cell", ['"Mass\n', f'"{"x" * 140_000}"\n'])
def test_a_cell_that_does_not_end_is_refused_with_its_row(tmp_path, cell):
    with pytest.raises(DatasetError, match=r"row 3 cannot be split into cells .*Close its quotes"):
        datasets.load(written(tmp_path, f"path,labels\n1.png,Edema,\n2.png,{cell}"))


def test_a_table_of_one_endless_line_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"index\.csv gave 'Error: field larger"):
        datasets.load(written(tmp_path, f"path,{'x' * 140_000}\n"))
