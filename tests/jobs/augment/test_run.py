"""The training set as a whole: an arithmetic editor and judge, whose truth is known."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from roentmod import datasets, imaging
from roentmod.edits import Edit
from roentmod.errors import DatasetError, EditError, InputError, RunError
from roentmod.interfaces import Counterfactual
from roentmod.jobs import augment
from roentmod.jobs.augment import AugmentPlan, Labelling
from roentmod.science.cooccurrence import from_labels
from roentmod.store import file_sha256
from tests.jobs.augment.conftest import PLAN
from tests.jobs.augment.parts import FINDINGS, Dabber, Eye, chosen

ROOT = Path(__file__).parents[3]


def again(drawn, some, folder, **changes):
    options = {"editor": Dabber(faint=("Edema",)), "plan": PLAN, "judge": Eye()} | changes
    return augment.run(
        drawn, some, options["editor"], options["plan"], folder, judge=options["judge"]
    )


def test_every_picture_is_there_and_says_what_it_is(whole, drawn):
    table = whole.training
    assert len(table) > 0
    for row in table.to_dict("records"):
        file = whole.folder / row["path"]
        assert file_sha256(file) == row["sha256"]
        said = b"SYNTHETIC" in file.read_bytes()
        assert said == (row["arm"] != "baseline")
        picture = imaging.read(file)
        baseline = drawn.radiograph(row["baseline_id"])
        # The source has 16 bits, and the files keep them.
        assert picture.bits == baseline.bits == 16
        assert (picture.id == baseline.id) == (row["arm"] == "baseline")


def test_counterfactuals_and_shams_are_what_the_editor_made(whole, drawn):
    for row in whole.training.head(12).to_dict("records"):
        if row["arm"] == "baseline":
            continue
        said = json.loads(row["edit"])
        edit = Edit(**(said | {"findings": tuple(said["findings"])}))
        assert edit.id == row["edit_id"]
        assert edit.arm == row["arm"]
        (made,) = Dabber().edit([drawn.radiograph(row["baseline_id"])], [edit])
        expected = made.sham if row["arm"] == "sham" else made.image
        assert imaging.read(whole.folder / row["path"]).id == expected.id


def test_the_gate_is_the_judges_net_logit(whole, drawn):
    table = whole.manifest
    counterfactuals = table[table["arm"] == "counterfactual"]
    assert set(counterfactuals.loc[counterfactuals["edited_finding"] == "Edema", "status"]) == {
        "not_seen"
    }
    rest = counterfactuals[counterfactuals["edited_finding"] != "Edema"]
    assert set(rest["status"]) == {"ok"}
    # A lift of 0.2 or 0.3 in the band, times 20; clipped at white.
    assert rest["net_logit"].between(2, 6.01).all()
    assert table.loc[table["arm"] != "counterfactual", "net_logit"].isna().all()
    lost = table[table["status"] != "ok"]
    assert (lost["path"] == "").all()
    assert lost[list(FINDINGS)].isna().all(axis=None)
    assert lost["message"].str.contains("less than 1").all()


def test_every_baseline_gets_what_was_asked(whole, some):
    table = whole.manifest
    per = table.groupby(["baseline_id", "arm"]).size().unstack()
    assert set(per.index) == set(some["baseline_id"])
    assert (per["baseline"] == 1).all()
    assert (per["counterfactual"] == 2).all()
    assert (per["sham"] == 1).all()
    numbers = whole.counts().sum(axis=1)
    assert numbers.max() - numbers.min() <= 1
    assert whole.record["counts"]["Edema"] == {"not_seen": int(numbers["Edema"]), "ok": 0}


def test_isolated_labels(whole):
    table = whole.training
    heart = table[table["edited_finding"] == "Cardiomegaly"]
    assert (heart["Cardiomegaly"] == 1).all()
    assert (heart[["Pleural Effusion", "Edema"]] == 0).all(axis=None)
    rest = table[table["arm"] != "counterfactual"]
    assert (rest[list(FINDINGS)] == 0).all(axis=None)


def test_shards_hold_no_more_than_asked(whole):
    names = whole.training["path"].str.split("/").str[1]
    # Four pictures a baseline, twelve a shard.
    assert names.value_counts().max() <= 12
    assert set(names) == {"00000", "00001", "00002"}


def test_two_runs_give_the_same_bytes_whatever_the_order(whole, drawn, some, tmp_path, files):
    again(drawn, some.iloc[::-1], tmp_path / "run")
    one, other = files(whole.folder), files(tmp_path / "run")
    assert list(one) == list(other)
    assert [name for name in one if one[name] != other[name]] == []


def test_a_finished_run_edits_nothing(whole, drawn, some, copy, files):
    editor = Dabber(faint=("Edema",))
    again(drawn, some, copy, editor=editor)
    assert editor.calls == 0
    assert files(copy) == files(whole.folder)


@pytest.mark.parametrize("name", ["augment.json", "manifest.parquet"])
def test_a_table_that_was_lost_is_written_again(whole, drawn, some, copy, files, name):
    (copy / name).unlink()
    editor = Dabber(faint=("Edema",))
    again(drawn, some, copy, editor=editor)
    assert editor.calls == 0
    assert files(copy) == files(whole.folder)


def test_what_was_deleted_is_made_again(whole, drawn, some, copy, files):
    (copy / whole.training["path"].iloc[5]).unlink()
    editor = Dabber(faint=("Edema",))
    again(drawn, some, copy, editor=editor)
    assert editor.calls == 1
    assert files(copy) == files(whole.folder)


KILLED = """
import os, signal, sys
from pathlib import Path
from roentmod.interfaces import Counterfactual
from roentmod.jobs import augment
from roentmod import datasets
from tests.jobs.augment.conftest import PLAN
from tests.jobs.augment.parts import Dabber, Eye, chosen

def stop(call):
    if call == 4:
        os.kill(os.getpid(), signal.SIGKILL)

drawn = datasets.load(sys.argv[2])
editor = Dabber(faint=("Edema",), stop=stop)
augment.run(drawn, chosen(drawn), editor, PLAN, Path(sys.argv[1]), judge=Eye())
"""


def test_a_picture_that_was_exchanged_is_made_again(whole, drawn, some, copy, files):
    """Other bytes of the same size are another picture with this one's labels."""
    path = copy / whole.training["path"].iloc[5]
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DatasetError, match="other bytes"):
        augment.export(copy, "webdataset")
    augment.run(drawn, some, Dabber(faint=("Edema",)), PLAN, copy, judge=Eye())
    assert files(copy) == files(whole.folder)


@pytest.mark.slow
def test_a_killed_run_loses_one_baseline(whole, drawn, some, tmp_path, files):
    folder = tmp_path / "run"
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, folder, drawn.root], cwd=ROOT, env=one_thread, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert not (folder / "manifest.parquet").exists()
    with pytest.raises(DatasetError, match="Finish roentmod augment"):
        augment.load(folder)
    # What a kill within the fourth baseline leaves behind.
    left = next(name for name in whole.manifest["image_id"][12:16] if name.endswith("baseline"))
    place = folder / "images" / "00001"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{left}.png").write_bytes(b"whole, yet not noted")
    editor = Dabber(faint=("Edema",))
    again(drawn, some, folder, editor=editor)
    assert editor.calls == len(some) - 3
    assert files(folder) == files(whole.folder)


def test_a_silent_judge_is_asked_again(drawn, some, tmp_path):
    few = some.head(3)
    plan = AugmentPlan(findings=FINDINGS, ratio=1)
    lost = again(drawn, few, tmp_path, plan=plan, judge=Eye(silent=True)).manifest
    assert set(lost["status"]) == {"classifier_failed"}
    assert lost["message"].str.contains("nobody there").all()
    found = again(drawn, few, tmp_path, plan=plan, editor=Dabber()).manifest
    assert set(found["status"]) == {"ok"}


def test_an_editor_that_breaks_is_asked_again(drawn, some, tmp_path):
    def stop(call):
        if call == 2:
            raise RuntimeError("out of\nmemory")

    plan = AugmentPlan(findings=FINDINGS, with_baselines=True)
    result = again(drawn, some.head(4), tmp_path, plan=plan, editor=Dabber(stop=stop))
    lost = result.manifest[result.manifest["status"] == "editor_failed"]
    assert lost["arm"].tolist() == ["baseline", "counterfactual"]
    assert set(lost["message"]) == {"RuntimeError: out of memory"}
    editor = Dabber()
    assert len(again(drawn, some.head(4), tmp_path, plan=plan, editor=editor).training) == 8
    assert editor.calls == 1


def test_what_an_editor_cannot_do_is_said_first(drawn, some, tmp_path):
    class Limited(Dabber):
        def edit(self, radiographs, edits, **options):
            if any(edit.findings == ("Edema",) for edit in edits):
                raise EditError("Edema cannot be painted. Choose another.")
            return super().edit(radiographs, edits, **options)

    with pytest.raises(EditError, match="cannot be painted"):
        again(drawn, some, tmp_path / "run", editor=Limited())
    assert not (tmp_path / "run").exists()


def test_what_the_judge_cannot_read_is_not_gated_and_said(drawn, some, tmp_path):
    result = again(drawn, some.head(4), tmp_path, judge=Eye(("Cardiomegaly", "Pleural Effusion")))
    faint = result.manifest[result.manifest["edited_finding"] == "Edema"]
    assert set(faint["status"]) == {"ok"}
    assert faint["net_logit"].isna().all()
    assert result.record["not_gated"] == ["Edema"]


def test_without_a_gate_all_is_taken(drawn, some, tmp_path):
    plan = AugmentPlan(findings=("Edema",), gate_logit=None)
    result = again(drawn, some.head(2), tmp_path, plan=plan, judge=Eye(silent=True))
    assert set(result.manifest["status"]) == {"ok"}
    assert result.record["judge"] is None
    assert result.record["not_gated"] == ["Edema"]


def test_what_fails_is_listed_and_spares_the_rest(drawn, some, tmp_path):
    class Source:
        name, table, describe = drawn.name, drawn.table, staticmethod(drawn.describe)

        def radiograph(self, image_id):
            if image_id == some["baseline_id"].iloc[0]:
                raise InputError("gone.png: it is no picture")
            return drawn.radiograph(image_id)

    plan = AugmentPlan(
        findings=FINDINGS, ratio=3, with_baselines=True, with_shams=True, composite="baseline"
    )
    editor = Dabber(broken=("Edema",))
    result = again(Source(), some.head(3), tmp_path, plan=plan, editor=editor)
    bad = result.manifest[result.manifest["baseline_id"] == some["baseline_id"].iloc[0]]
    assert set(bad["status"]) == {"unreadable"}
    assert set(bad["arm"]) == {"baseline", "counterfactual"}
    counts = result.counts()
    assert counts.loc["Edema"].to_dict() == {"ok": 0, "poor_anatomy": 2, "unreadable": 1}
    assert counts.loc["Cardiomegaly", "ok"] == 2
    assert len(result.training) == 2 * (1 + 1 + 2)


def test_soft_and_masked_labels_are_written_with_their_source(drawn, some, tmp_path, files):
    table = pd.DataFrame(
        {
            "patient_id": list("abcde"),
            "Cardiomegaly": ["positive"] * 5,
            "Pleural Effusion": ["positive"] * 2 + ["negative"] * 3,
            "Edema": ["positive"] + ["negative"] * 4,
        }
    )
    rates = from_labels(table, source="five patients of this test")
    labelling = Labelling(policy="soft", pairs=(("Cardiomegaly", "Edema", "masked"),))
    plan = AugmentPlan(findings=FINDINGS, labelling=labelling)
    result = augment.run(drawn, some, Dabber(), plan, tmp_path, judge=Eye(), rates=rates)
    kinds = result.training.groupby("edited_finding")[list(FINDINGS)].first()
    heart = result.training[result.training["edited_finding"] == "Cardiomegaly"]
    assert (heart["Pleural Effusion"] == 0.4).all()
    assert heart["Edema"].isna().all()
    assert kinds.loc["Pleural Effusion"].to_dict() == {
        "Cardiomegaly": 1,
        "Pleural Effusion": 1,
        "Edema": 0.5,
    }
    record = json.loads((tmp_path / "augment.json").read_text())
    assert record["cooccurrence"] == {"source": "five patients of this test", "unit": "image"}
    assert record["labels"]["targets"]["Cardiomegaly"]["Pleural Effusion"] == 0.4
    assert record["labels"]["targets"]["Cardiomegaly"]["Edema"] is None
    # Other labels on the same pictures: in memory, and in the folder.
    other = augment.relabel(result, Labelling())
    assert (other.training[list(FINDINGS)].sum(axis=1) == 1).all()
    assert other.record["cooccurrence"] is None
    pictures = {k: v for k, v in files(tmp_path).items() if k.startswith(("images", "parts"))}
    editor = Dabber()
    rerun = augment.run(drawn, some, editor, AugmentPlan(findings=FINDINGS), tmp_path, judge=Eye())
    assert editor.calls == 0
    pd.testing.assert_frame_equal(rerun.manifest, other.manifest)
    pd.testing.assert_frame_equal(augment.load(tmp_path).manifest, other.manifest)
    after = {k: v for k, v in files(tmp_path).items() if k.startswith(("images", "parts"))}
    assert after == pictures


def test_soft_labels_come_from_the_shipped_matrix_by_default(drawn, some, tmp_path):
    plan = AugmentPlan(findings=("Cardiomegaly", "Edema"), labelling=Labelling(policy="soft"))
    result = augment.run(drawn, some.head(2), Dabber(), plan, tmp_path, judge=Eye())
    matrix = augment.load_cooccurrence()
    heart = result.training[result.training["edited_finding"] == "Cardiomegaly"]
    assert heart["Edema"].iloc[0] == matrix.rate("Cardiomegaly", "Edema")
    assert "112,120 images" in result.record["cooccurrence"]["source"]


def test_another_set_does_not_take_the_folder(whole, drawn, some, copy, files):
    before = files(copy)
    other = AugmentPlan(
        findings=FINDINGS,
        ratio=2,
        with_baselines=True,
        with_shams=True,
        composite="baseline",
        gate_logit=2.0,
    )
    for changes, said in (
        ({"plan": other}, "another plan"),
        ({"judge": Eye(FINDINGS[:2])}, "another not_gated"),
    ):
        with pytest.raises(RunError, match=said):
            again(drawn, some, copy, **changes)
    with pytest.raises(RunError, match="another cases"):
        again(drawn, some.head(5), copy)
    assert files(copy) == before
    (copy / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        again(drawn, some, copy / "file")


def test_wrong_baselines_are_refused(split_source, some, drawn, tmp_path):
    table = split_source.table.rename(columns={"image_id": "baseline_id"})
    with pytest.raises(DatasetError, match=r"'7\.png' is positive for Edema"):
        again(split_source, table, tmp_path / "run")
    with pytest.raises(DatasetError, match=r"it has no 'phantom-0'"):
        again(drawn, some.assign(baseline_id="phantom-0"), tmp_path / "run")
    with pytest.raises(DatasetError, match="got none"):
        again(drawn, some.head(0), tmp_path / "run")
    with pytest.raises(DatasetError, match="given once"):
        again(drawn, pd.concat([some, some]), tmp_path / "run")
    torn = table.iloc[:5].assign(patient_id="p")
    with pytest.raises(DatasetError, match="patient belongs to one split; p is in 2"):
        again(split_source, torn, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_plain_folder_reads_it_back(split_source, tmp_path):
    clean = datasets.baselines(split_source).table
    plan = AugmentPlan(
        findings=FINDINGS,
        with_baselines=True,
        with_shams=True,
        composite="baseline",
        labelling=Labelling(policy="soft"),
    )
    result = again(split_source, clean, tmp_path / "run", plan=plan, editor=Dabber())
    loaded = datasets.load(tmp_path / "run")
    assert [str(one) for one in loaded.problems] == []
    back = loaded.table.set_index("image_id").loc[result.training["image_id"]]
    mine = result.training.set_index("image_id")
    for name in ("patient_id", "split", "sex", "view", "age"):
        assert back[name].tolist() == mine[name].tolist()
    assert set(mine["split"]) == {"train", "val"}
    edited = back[mine["edited_finding"] == "Edema"]
    assert set(edited["Edema"]) == {"positive"}
    # A rate is neither present nor absent.
    assert set(edited["Cardiomegaly"]) == {"uncertain"}
    # Only real pictures may be chosen as real ones.
    real = datasets.baselines(loaded, adult_age=None).table
    assert set(real["baseline_id"]) == set(mine.index[mine["arm"] == "baseline"])
    with pytest.raises(DatasetError, match="unfit: synthetic"):
        datasets.positives(loaded, "Edema")


def test_sources_of_eight_bits_stay_at_eight(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 200, (96, 80), dtype=np.uint8)
    (tmp_path / "data").mkdir()
    Image.fromarray(pixels).save(tmp_path / "data" / "a.png")
    text = "path,labels,patient_id,age\na.png,No Finding,p,40\n"
    (tmp_path / "data" / "index.csv").write_text(text)
    data = datasets.load(tmp_path / "data")
    plan = AugmentPlan(findings=("Cardiomegaly",), with_baselines=True)
    result = again(data, chosen(data), tmp_path / "run", plan=plan)
    bits = [imaging.read(result.folder / path).bits for path in result.training["path"]]
    assert bits == [8, 8]
    # Neither the file's name nor its place goes into a picture.
    content = (result.folder / result.training["path"].iloc[1]).read_bytes()
    assert b"a.png" not in content


def test_progress_counts_baselines(drawn, some, tmp_path):
    seen = []
    plan = AugmentPlan(findings=("Edema",), ratio=0.5, gate_logit=None)
    augment.run(
        drawn, some, Dabber(), plan, tmp_path, progress=lambda *numbers: seen.append(numbers)
    )
    # Half of eight baselines get an edit, and the others have nothing to be done.
    assert list(dict.fromkeys(seen)) == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_painter_on_phantoms_passes_the_bundled_judge(tmp_path):
    from roentmod.editors import Editor

    data = datasets.load("phantoms:4:50")
    plan = AugmentPlan(
        findings=("Cardiomegaly", "Pleural Effusion"), ratio=1, severities=("severe",)
    )
    result = augment.run(data, chosen(data), Editor.load("painter"), plan, tmp_path)
    counts = result.counts()
    assert counts.to_numpy().sum() == 4
    assert counts["ok"].sum() >= 2
    made = result.training
    assert (made["net_logit"] >= 1).all()
    for row in made.to_dict("records"):
        painted = imaging.read(tmp_path / row["path"]).pixels
        changed = np.abs(painted - data.radiograph(row["baseline_id"]).pixels) > 0
        assert 0.002 < changed.mean() < 0.6
    assert result.record["judge"]["name"] == "judge"
    assert result.record["editor"]["name"] == "painter"


class Drifting:
    """An editor whose shams lift every band by 0.06, which edits in composite "sham" lack."""

    name, drift = "drifting", 0.06

    def describe(self):
        return {"name": self.name}

    def edit(self, radiographs, edits, *, masks=None, progress=None):
        return [self._one(radiograph, edit) for radiograph in radiographs for edit in edits]

    def _one(self, radiograph, edit):
        sham = radiograph.pixels + np.float32(self.drift)
        pixels = (radiograph.pixels if edit.composite == "sham" else sham).copy()
        height = pixels.shape[0] // 4
        top = height * FINDINGS.index(edit.findings[0])
        pixels[top : top + height] += 0.072
        image, control = radiograph.with_pixels(pixels), radiograph.with_pixels(sham)
        return Counterfactual(radiograph, edit, "ok", image, control)


@pytest.mark.parametrize(
    ("composite", "control"), [("sham", "baseline"), ("baseline", "sham"), ("none", "sham")]
)
def test_the_gate_and_the_controls_follow_the_composite(drawn, some, tmp_path, composite, control):
    """Edits raise the judge by 1.2 against their control; shams raised it by 1."""
    plan = AugmentPlan(findings=("Edema",), composite=composite, with_shams=True)
    result = again(drawn, some.head(3), tmp_path, plan=plan, editor=Drifting())
    made = result.manifest[result.manifest["arm"] == "counterfactual"]
    assert set(made["status"]) == {"ok"}
    np.testing.assert_allclose(made["net_logit"], 1.2, atol=0.01)
    assert result.record["control"] == control
    beside = result.manifest[result.manifest["arm"] != "counterfactual"]
    assert beside["arm"].tolist() == [control] * 3
    hidden = AugmentPlan(findings=("Edema",), composite=composite, gate_logit=1.3)
    lost = again(drawn, some.head(1), tmp_path / "lost", plan=hidden, editor=Drifting()).manifest
    assert f"rises by 1.20 against the {control}," in lost["message"].item()


def test_a_set_gated_against_shams_opens_and_does_not_go_on(drawn, some, tmp_path):
    plan = AugmentPlan(findings=("Edema",))
    again(drawn, some.head(2), tmp_path, plan=plan)
    for name in ("run.json", "augment.json"):
        record = json.loads((tmp_path / name).read_text())
        del record["control"]
        (tmp_path / name).write_text(json.dumps(record))
    assert len(augment.load(tmp_path)) == 0
    with pytest.raises(RunError, match=r"another control \(sham, not baseline\)"):
        again(drawn, some.head(2), tmp_path, plan=plan)
