"""The command line as a user meets it: exit codes, messages, and what is left behind."""

import json
import runpy
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
import tifffile
import typer
from PIL import Image

import roentmod
from roentmod import imaging
from roentmod.cli import app
from roentmod.datasets.phantom import phantom
from roentmod.errors import EditError
from tests.cli import help_page as cli_help
from tests.cli.running import process, run
from tests.tiny import write_generator

SOURCE = Path(data_store.__file__).parent / "data" / "RG1_UNCI.dcm"


def truncated(path):
    path.write_bytes(SOURCE.read_bytes()[:100_000])


def text(path):
    path.write_text("not an image\n" * 50)


def empty(path):
    path.write_bytes(b"")


def huge(path):
    dataset = pydicom.dcmread(SOURCE)
    dataset.Rows = dataset.Columns = 30_000
    dataset.save_as(path)


def lateral(path):
    dataset = pydicom.dcmread(SOURCE)
    dataset.ViewPosition = "LL"
    dataset.save_as(path)


def tomogram(path):
    dataset = pydicom.dcmread(SOURCE)
    dataset.Modality = "CT"
    dataset.save_as(path)


def colour(path):
    picture = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    tifffile.imwrite(path, picture, photometric="rgb")


def not_a_number(path):
    tifffile.imwrite(path, np.full((96, 96), np.nan, np.float32))


@pytest.mark.parametrize(
    "make", [truncated, text, empty, huge, lateral, tomogram, colour, not_a_number]
)
def test_bad_input_gives_one_line_and_leaves_nothing(make, tmp_path, generator):
    make(tmp_path / "input")
    before = set(tmp_path.iterdir())
    arguments = ("edit", tmp_path / "input", "--add", "edema", "--editor", generator)
    done = run(*arguments, "--engine", "torch", "--out", tmp_path / "out", cache=tmp_path / "c")
    lines = [s for s in done.stderr.splitlines() if s.strip() and not s.startswith("editing")]
    assert done.returncode == 3
    assert len(lines) == 1, done.stderr
    assert "input:" in lines[0]
    assert set(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_bad_arguments_end_a_process_with_2(tmp_path):
    done = process("edit", SOURCE, "--add", "gout", "--out", tmp_path / "out", cache=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("roentmod: ")
    assert done.stderr.count("\n") == 1


def test_missing_weights_and_a_wrong_host_are_named(tmp_path, generator):
    host = write_generator(tmp_path / "host", latents=8)
    arguments = ("edit", SOURCE, "--add", "edema", "--out", tmp_path / "out")
    missing = run(*arguments, "--editor", tmp_path / "absent", cache=tmp_path / "c")
    wrong = run(*arguments, "--editor", generator, "--host", host, cache=tmp_path / "c")
    for done, said in ((missing, "absent"), (wrong, "8 latent channels")):
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_one_bad_file_among_good_ones_gives_three_and_json_alone_on_stdout(
    tmp_path,
    generator,
    radiograph,
):
    imaging.write(radiograph, tmp_path / "good.png", provenance=None)
    empty(tmp_path / "bad.png")
    files = (tmp_path / "good.png", tmp_path / "bad.png")
    done = process(
        *("edit", *files, "--add", "edema + effusion", "--remove", "mass", "--steps", 10),
        *("--editor", generator, "--engine", "torch", "--json", "--out", tmp_path / "out"),
        cache=tmp_path / "c",
    )
    record = json.loads(done.stdout)
    assert done.returncode == 3
    assert [item["status"] for item in record["items"]] == ["ok", "ok", "unreadable"]
    assert record["items"][0]["edit"]["findings"] == ["Edema", "Pleural Effusion"]
    assert record["items"][1]["edit"]["action"] == "remove"


@pytest.mark.weights
@pytest.mark.slow
def test_mini_edits_the_real_radiograph_inside_its_support_alone():
    source = imaging.read(SOURCE)
    editor = roentmod.Editor.load("mini", engine="torch")
    done = editor.edit([source], [roentmod.Edit(("edema",))])[0]
    outside = ~done.support
    assert 0.05 < done.support.mean() < 0.9
    assert np.array_equal(done.image.stored[outside], source.stored[outside])
    assert np.median(np.abs(done.difference[outside])) == 0
    lungs = np.zeros_like(outside)
    lungs[600:1200, 300:700] = True
    assert np.abs(done.difference[lungs]).mean() > 0.02


def test_one_prompt_for_several_edits_is_refused():
    from roentmod.plans import EditPlan

    with pytest.raises(EditError, match="got 2"):
        EditPlan(add=["edema", "mass"], prompt="big heart").edits()


def test_help_in_the_documentation_is_the_programs():
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    assert page.read_text() == cli_help.text(), "run make docs"


def test_what_a_command_always_refuses_is_not_offered():
    commands = typer.main.get_command(app).commands
    options = {
        name: {word: p for p in one.params for word in p.opts} for name, one in commands.items()
    }
    with_shards = {name for name, own in options.items() if "--shard" in own}
    assert with_shards == {"audit", "augment", "edit", "plant", "retrain", "validate"}
    for name in ("study", "repair"):
        assert "shard" not in options[name]["--workers"].help
    # An audit takes the sham off itself.
    assert "--composite <baseline|none> " in cli_help.text()


def test_the_package_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["roentmod", "version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("roentmod", run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out.strip() == roentmod.__version__


def test_public_names_exist():
    assert sorted(roentmod.__all__) == sorted(set(roentmod.__all__))
    for name in roentmod.__all__:
        assert getattr(roentmod, name) is not None
    with pytest.raises(AttributeError):
        _ = roentmod.absent


def test_the_painter_states_what_it_painted(tmp_path):
    body = phantom(5).radiograph
    imaging.write(body, tmp_path / "body.png", provenance=None)
    noise = np.random.default_rng(0).integers(0, 255, (224, 224), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    done = run(
        *("edit", tmp_path / "body.png", tmp_path / "noise.png", "--add", "mass", "--side", "left"),
        *("--editor", "painter", "--severity", "severe", "--json", "--out", tmp_path / "out"),
        cache=tmp_path / "c",
    )
    good, poor = json.loads(done.stdout)["items"]
    assert done.returncode == 3
    assert poor["status"] == "poor_anatomy"
    assert good["facts"]["severity"]["mass_left_mm"] == 73.3
    edited = imaging.read(tmp_path / "out" / good["files"]["counterfactual.png"]["path"])
    changed = np.argwhere(edited.stored != imaging.read(tmp_path / "body.png").stored)
    # The patient's left is the picture's right.
    assert changed[:, 1].min() > 112


def test_success_may_be_required(tmp_path):
    """Exit code 5: unread by the judge, or a mask off the lungs leaves nothing."""
    imaging.write(phantom(5).radiograph, tmp_path / "body.png", provenance=None)
    mask = np.zeros((224, 224), np.uint8)
    mask[:3, :3] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")

    def edit(out, *more):
        arguments = ("edit", tmp_path / "body.png", "--editor", "painter", "--out", tmp_path / out)
        return run(*arguments, *more, cache=tmp_path / "c")

    seen = edit("a", "--add", "mass", "--severity", "severe", "--require-success")
    assert seen.returncode == 0, seen.stderr
    assert "judge: sees it (+" in seen.stdout
    unread = edit("b", "--add", "text marker", "--require-success")
    assert unread.returncode == 5
    assert "cannot say: does not read Text Marker" in unread.stdout
    nothing = ("--add", "mass", "--mask", tmp_path / "mask.png")
    done = edit("c", *nothing)
    assert done.returncode == 3
    assert "no_visible_change" in done.stderr
    assert edit("c", *nothing, "--require-success").returncode == 5
    blind = edit("d", "--add", "mass", "--no-judge")
    assert blind.returncode == 0
    assert "judge" not in blind.stdout
    both = edit("e", "--add", "mass", "--no-judge", "--require-success")
    assert both.returncode == 2
    assert "needs the judge" in both.stderr


@pytest.mark.parametrize("place", ["file", "file/deeper"])
@pytest.mark.parametrize("verb", ["edit", "audit", "augment", "validate", "plant"])
def test_a_folder_that_cannot_be_written_is_found_first(verb, place, tmp_path, monkeypatch):
    from roentmod import verbs

    (tmp_path / "file").write_bytes(b"")
    options = {
        "edit": (SOURCE, "--add", "edema"),
        "audit": ("--classifier", "demo:honest", "--data", "phantoms:2"),
        "augment": ("--data", "phantoms:2", "--findings", "edema"),
        "validate": ("--data", "phantoms:2"),
        "plant": ("--data", "phantoms:2", "--findings", "edema"),
    }

    def load(*_, **__):
        raise AssertionError("loaded")

    for name in ("editor_of", "load", "load_classifiers", "judge_of"):
        monkeypatch.setattr(verbs, name, load)
    done = run(verb, *options[verb], "--out", tmp_path / place, cache=tmp_path / "c")
    assert done.returncode == 2
    assert done.stderr.startswith("roentmod: --out names a folder")
    assert done.stderr.count("\n") == 1
