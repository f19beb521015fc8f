"""A manifest that a training must not trust is refused, and the row named."""

import numpy as np
import pandas as pd
import pytest

from roentmod.errors import DatasetError
from roentmod.jobs import augment


def damaged(folder, change):
    """Apply `change` to the manifest of `folder`."""
    path = folder / "manifest.parquet"
    table = pd.read_parquet(path)
    table = change(table)
    table.to_parquet(path, index=False)
    return table


def at(column, row, value):
    def change(table):
        values = table[column].astype(object)
        values.iloc[row] = value
        # Parquet has one kind a column: words beside numbers are words.
        kind = object if isinstance(value, str) else None
        return table.assign(**{column: values.astype(str) if kind else values.infer_objects()})

    return change


def test_a_good_one_is_returned(whole, copy):
    pd.testing.assert_frame_equal(augment.check(copy), whole.manifest)
    pd.testing.assert_frame_equal(augment.check(copy / "manifest.parquet"), whole.manifest)
    assert len(augment.check(copy, hashes=True)) == len(whole.manifest)
    pd.testing.assert_frame_equal(augment.load(copy).manifest, whole.manifest)


def rows_of(table, **wanted):
    """Return the places of rows with these values."""
    return np.flatnonzero((table[list(wanted)] == list(wanted.values())).all(axis=1))


def test_a_missing_picture(whole, copy):
    row = rows_of(whole.manifest, status="ok")[7]
    gone = whole.manifest.iloc[row]
    (copy / gone["path"]).unlink()
    with pytest.raises(DatasetError, match=rf"row {row + 1} \({gone['image_id']}\) has no picture"):
        augment.check(copy)
    damaged(copy, at("path", row, ""))
    with pytest.raises(DatasetError, match=rf"row {row + 1} .*at ''"):
        augment.check(copy)


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "images/../../secret.png"])
def test_a_path_out_of_the_folder(whole, copy, path):
    (copy.parent / "secret.png").write_bytes(b"")
    row = rows_of(whole.manifest, status="ok")[3]
    damaged(copy, at("path", row, path))
    with pytest.raises(DatasetError, match=rf"row {row + 1} .*out of its folder; 1 in all"):
        augment.check(copy)


def test_a_link_out_of_the_folder(whole, copy):
    gone = whole.manifest.iloc[rows_of(whole.manifest, status="ok")[3]]["path"]
    (copy / gone).unlink()
    (copy / gone).symlink_to("/etc/passwd")
    with pytest.raises(DatasetError, match="out of its folder"):
        augment.check(copy)


@pytest.mark.parametrize("name", ["../..", "a/b", "..", "", "a\nb", "x" * 200])
def test_an_image_id_that_is_no_name(copy, name):
    damaged(copy, at("image_id", 2, name))
    with pytest.raises(DatasetError, match=r"row 3 .*names no file") as error:
        augment.check(copy)
    assert str(error.value).isprintable()


def test_a_row_that_failed_needs_no_picture(whole, copy):
    lost = whole.manifest["status"] != "ok"
    assert lost.any()
    damaged(copy, lambda table: table.assign(path=table["path"].where(~lost, "nowhere.png")))
    augment.check(copy)


def test_an_unknown_finding(whole, copy):
    row = rows_of(whole.manifest, edited_finding="Cardiomegaly")[1]
    damaged(copy, at("edited_finding", row, "Dropsy"))
    with pytest.raises(DatasetError, match=rf"row {row + 1} .*unknown finding 'Dropsy'; 1 in all"):
        augment.check(copy)


def test_a_label_of_an_unknown_finding(whole, copy):
    damaged(copy, lambda table: table.assign(Dropsy=[np.nan] * 3 + [1.0] * (len(table) - 3)))
    with pytest.raises(DatasetError, match=r"row 4 .*label of an unknown finding 'Dropsy'"):
        augment.check(copy)


def test_an_alias_is_no_column(whole, copy):
    """Two spellings of one finding would be two heads."""
    damaged(copy, lambda table: table.rename(columns={"Pleural Effusion": "effusion"}))
    with pytest.raises(DatasetError, match="unknown finding 'effusion'"):
        augment.check(copy)


def test_a_patient_in_two_splits(whole, copy):
    row = rows_of(whole.manifest, status="ok")[1]
    damaged(copy, at("split", row, "test"))
    patient = whole.manifest["patient_id"].iloc[row]
    said = rf"row {row + 1} .*patient {patient} into split 'test', and an earlier row into ''"
    with pytest.raises(DatasetError, match=said):
        augment.check(copy)


@pytest.mark.parametrize("value", [1.01, -0.5, np.inf, "yes"])
def test_a_label_outside_the_unit_interval(whole, copy, value):
    row = rows_of(whole.manifest, status="ok")[3]
    damaged(copy, at("Edema", row, value))
    with pytest.raises(DatasetError, match=rf"row {row + 1} .*for Edema: labels are in \[0, 1\]"):
        augment.check(copy)


def test_labels_between_and_missing_are_good(whole, copy):
    good = rows_of(whole.manifest, status="ok")
    damaged(copy, at("Edema", good[0], 0.37))
    damaged(copy, at("Edema", good[1], np.nan))
    assert augment.check(copy)["Edema"].iloc[good[0]] == 0.37


def test_an_image_twice(whole, copy):
    damaged(copy, at("image_id", 6, whole.manifest["image_id"].iloc[2]))
    with pytest.raises(DatasetError, match=r"row 7 .*is in the manifest before"):
        augment.check(copy)


def test_a_changed_picture_is_seen_if_asked(whole, copy):
    row = rows_of(whole.manifest, status="ok")[2]
    file = copy / whole.manifest["path"].iloc[row]
    file.write_bytes(file.read_bytes() + b" ")
    augment.check(copy)
    with pytest.raises(DatasetError, match=rf"row {row + 1} .*other bytes"):
        augment.check(copy, hashes=True)


@pytest.mark.parametrize("name", ["path", "split", "status"])
def test_a_column_that_lacks(whole, copy, name):
    damaged(copy, lambda table: table.drop(columns=name))
    with pytest.raises(DatasetError, match=f"lacks {name}"):
        augment.check(copy)


def test_no_manifest(tmp_path):
    with pytest.raises(DatasetError, match=r"manifest\.parquet gave 'FileNotFoundError'"):
        augment.check(tmp_path)
    (tmp_path / "manifest.parquet").write_text("no")
    with pytest.raises(DatasetError, match="ArrowInvalid"):
        augment.check(tmp_path)
