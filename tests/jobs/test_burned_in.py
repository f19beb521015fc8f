"""Text burned into radiographs: recorded, refused, covered, by whichever verb reads them."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont

from roentmod import datasets, imaging
from roentmod.cli.console import FAILED_ITEMS
from roentmod.edits import Edit
from roentmod.errors import BurnedInError
from roentmod.imaging import marks
from roentmod.interfaces import Counterfactual
from roentmod.jobs import edit as editing
from roentmod.jobs import plant as planting
from roentmod.plans import PlantPlan
from roentmod.plans.parts import BurnedIn
from roentmod.radiograph import Radiograph

from ..cli.running import run
from ..imaging.conftest import dataset

EDITS = [Edit(("Edema",)), Edit(("Mass",))]
REFUSE, MASK = BurnedIn(refuse_burned_in=True), BurnedIn(mask_burned_in=True)


class Brightening:
    """An editor that brightens the middle."""

    name, findings, exact = "brightening", None, True
    removals = None

    def describe(self):
        return {"name": self.name}

    def edit(self, radiographs, edits, *, masks=None):
        return [self._one(one, edit) for one in radiographs for edit in edits]

    def edit_each(self, radiographs, edits, *, masks=None):
        return [self.edit([one], own) for one, own in zip(radiographs, edits, strict=True)]

    def _one(self, one, edit):
        pixels = one.pixels.copy()
        pixels[100:140, 80:120] = np.clip(pixels[100:140, 80:120] + 0.2, 0, 1)
        image = one.with_pixels(pixels)
        sham = one.with_pixels(one.pixels)
        difference = image.pixels - one.pixels
        return Counterfactual(one, edit, "ok", image, sham, difference, difference != 0, {})


def body(text=""):
    """A bright trunk in dark air, with a text in the air above it."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(0.04, 0.004, (240, 200))
    pixels[70:, 30:170] += 0.5
    picture = Image.fromarray(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    ImageDraw.Draw(picture).text((40, 8), text, 250, ImageFont.load_default(18))
    return Radiograph.from_array(np.asarray(picture, np.float32) / 255, source="chest.png")


@pytest.fixture
def folder(tmp_path):
    """Two plain radiographs and one with a name, as a data set."""
    place = tmp_path / "data"
    place.mkdir()
    lines = ["path,labels,view,patient_id,age,sex"]
    for number, text in enumerate(("", "DOE, JANE", "L")):
        imaging.write(body(text), place / f"{number}.png", provenance=None)
        lines.append(f"{number}.png,No Finding,PA,p{number},50,F")
    (place / "index.csv").write_text("\n".join(lines) + "\n")
    return place


def edited(paths, out, burned_in, editor=None):
    output = editing.Output(out)
    editor = editor or Brightening()
    return editing.run(paths, EDITS, editor, output, burned_in=burned_in).record["items"]


def test_what_is_found_is_recorded_and_by_default_stays(folder, tmp_path, caplog):
    paths = sorted(folder.glob("*.png"))
    items = edited(paths, tmp_path / "out", BurnedIn())
    assert [item["burned_in"] for item in items] == ["unknown"] * 6
    assert [len(item["marks"]) for item in items] == [0, 0, 1, 1, 0, 0]
    (mark,) = items[2]["marks"]
    assert not mark["over_anatomy"]
    assert not mark["covered"]
    assert mark["box"][2] < 30
    (line,) = [r.getMessage() for r in caplog.records if "burned-in" in r.getMessage()]
    assert "0 of 3 radiographs say so" in line
    assert "found in 1 and covered in 0" in line


def test_refused_files_have_a_status_of_their_own_and_spare_the_others(folder, tmp_path):
    paths = sorted(folder.glob("*.png"))
    items = edited(paths, tmp_path / "out", REFUSE)
    assert [item["status"] for item in items] == ["ok", "ok", "burned_in", "ok", "ok"]
    assert "refused" in items[2]["message"]
    assert "\n" not in items[2]["message"]
    assert not (tmp_path / "out" / "1").exists()
    # A file that comes first, or alone, is refused before the editor is loaded.
    alone = edited([paths[1]], tmp_path / "alone", REFUSE)
    assert [item["status"] for item in alone] == ["burned_in"]


def test_a_refused_file_is_one_line_and_the_exit_code_of_what_was_not_edited(folder, tmp_path):
    command = ("edit", folder / "1.png", "--add", "edema", "--out", tmp_path / "out")
    done = run(*command, "--refuse-burned-in", cache=tmp_path)
    assert (done.returncode, done.stdout) == (FAILED_ITEMS, "")
    assert done.stderr.count("refused") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_covered_text_is_in_no_picture_that_is_written(folder, tmp_path):
    items = edited([folder / "1.png"], tmp_path / "out", MASK)
    assert [mark["covered"] for item in items for mark in item["marks"]] == [True, True]
    plain = imaging.read(folder / "1.png")
    for item in items:
        for kind in ("counterfactual.png", "sham.png"):
            written = imaging.read(tmp_path / "out" / item["files"][kind]["path"])
            assert marks.find(written) == []
            # Below the text nothing but the edit differs.
            same = written.pixels[60:] == plain.pixels[60:]
            assert same.mean() > 0.95


def test_a_company_of_several_changes_nothing(folder, tmp_path):
    class Several(Brightening):
        at_once = 3

    paths = sorted(folder.glob("*.png"))
    one, many = (
        edited(paths, tmp_path / name, MASK, editor)
        for name, editor in (("one", Brightening()), ("many", Several()))
    )
    hashes = [
        [item["files"]["counterfactual.png"]["sha256"] for item in some] for some in (one, many)
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("stated", ["YES", "NO", None])
def test_a_header_is_believed_and_warned_of_once(stated, tmp_path, caplog):
    path = tmp_path / "in.dcm"
    dataset(BurnedInAnnotation=stated).save_as(path, enforce_file_format=True)
    radiograph = imaging.read(path)
    assert radiograph.burned_in == {"YES": "yes", "NO": "no", None: "unknown"}[stated]
    assert len(caplog.records) == (stated == "YES")
    imaging.read(path, quiet=True)
    imaging.encode(radiograph, "out.dcm", provenance=None)
    assert len(caplog.records) == (stated == "YES")
    if stated == "YES":
        with pytest.raises(BurnedInError, match="YES"):
            marks.screened(radiograph, refuse=True)
        # Nothing that was covered tells that all was.
        with pytest.raises(BurnedInError):
            marks.screened(radiograph, refuse=True, mask=True)
    else:
        assert marks.screened(radiograph, refuse=True).marks == ()


def test_a_data_set_screens_what_it_reads_and_names_nobody(folder):
    data = datasets.pseudonymous(datasets.load(folder))
    named = data.table["image_id"].iloc[1]
    assert data.radiograph(named).marks is None
    masking = datasets.screening(data, MASK)
    assert [mark.covered for mark in masking.radiograph(named).marks] == [True]
    refusing = datasets.screening(data, REFUSE)
    with pytest.raises(BurnedInError) as caught:
        refusing.radiograph(named)
    assert "1.png" not in str(caught.value)
    assert str(caught.value).startswith(named)
    # Covered first, there is nothing to refuse.
    assert datasets.screening(masking, REFUSE).radiograph(named).marks
    assert data.describe() == datasets.screening(data, BurnedIn()).describe()
    assert masking.describe() == data.describe() | {"mask_burned_in": True}


def test_a_planted_set_says_it_of_every_picture_and_counts(folder, tmp_path):
    data = datasets.load(folder)
    plan = PlantPlan(findings=("Edema", "Mass"))
    hosts = list(data.table["image_id"])
    result = planting.run(data, hosts, Brightening(), plan, tmp_path / "kept")
    found = [len(json.loads(text)) for text in result.table["marks"]]
    assert (list(result.table["burned_in"]), found) == (["unknown"] * 3, [0, 1, 0])
    assert result.record["burned_in"] | {"unknown": 3, "found": 1} == result.record["burned_in"]
    # Its own columns are no labels.
    again = datasets.load(tmp_path / "kept")
    assert not again.table["other_labels"].str.contains("burned_in|marks").any()
    refusing = replace(data, refuse_burned_in=True)
    result = planting.run(refusing, hosts, Brightening(), plan, tmp_path / "refused")
    assert result.record["left_out"] == {"burned_in": 1}
    assert len(pd.read_csv(result.index)) == 2


def test_a_look_at_a_data_set_counts_them(folder):
    counts = datasets.burned_in(datasets.load(folder), 10)
    assert counts == {"looked": 3, "header": 0, "found": 1}
    assert datasets.burned_in(datasets.load(folder), 0)["looked"] == 0
