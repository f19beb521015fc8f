"""What a GPU is to measure is gone through on a processor, with a tiny generator."""

import json
import sys

import pytest
import torch

from bench import gpu

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return gpu.build("tiny", tmp_path_factory.mktemp("generators") / "tiny")


def test_all_that_a_gpu_is_to_measure_runs_on_a_processor(folder):
    found = gpu.measure(
        "tiny", folder, "cpu", engines=("torch",), batches=(1, 4), steps=5, rounds=1
    )
    assert found["effective_steps"] == 2
    rows = [
        tuple(run[w] for w in ("by", "precision", "batch", "composite")) for run in found["runs"]
    ]
    assert len(set(rows)) == len(rows) == 3 * 3 * 2
    assert sum("from_stock" in run for run in found["runs"]) == 3 * 2
    for run in found["runs"]:
        assert run["seconds_per_picture"] > 0
        near = 1e-4 if run["precision"] == "float32" else 0.05
        assert run.get("from_stock", {"largest": 0})["largest"] <= near, run
    assert 0 < found["from_float32"]["float16"]["mean"] < found["from_float32"]["bfloat16"]["mean"]
    assert found["from_float32"]["float16"]["largest"] < 0.05
    overflow = found["overflow"]
    assert overflow["edits"] == overflow["ok"] == overflow["redone_in_float32"] == 2
    assert overflow["from_float32"]["largest"] < 0.05
    assert found["tiles"]["from_whole"]["mean"] < 0.2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_in_a_line_what_can_be_done(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "gpu.json")])
    with pytest.raises(SystemExit, match=r"needs a CUDA GPU.*--proof.*--tiny --device cpu") as end:
        gpu.main()
    assert "\n" not in str(end.value)
    assert not (tmp_path / "gpu.json").exists()


def test_an_edit_is_watched_in_a_process_of_its_own(folder, monkeypatch, tmp_path):
    out = tmp_path / "gpu.json"
    arguments = ["--tiny", "--proof", "--folder", str(folder.parent), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
    gpu.main()
    found = json.loads(out.read_text())
    assert found["gpu"] is None
    assert found["cpu"]["effective_steps"] == 2
    assert 0.1 < found["cpu"]["peak_gb"] < 3
    assert 0 < found["cpu"]["edit_seconds"] < found["cpu"]["seconds"]
    # Small generators need no forecast.
    assert found["cpu"]["said_seconds"] is None


@pytest.mark.parametrize("kind", ["sd15", "sd21"])
def test_the_sizes_are_those_of_stable_diffusion(kind):
    own = gpu.KINDS[kind]
    with torch.device("meta"):
        unet = gpu.UNet2DConditionModel(**gpu._UNET | own.unet)
        text = gpu.CLIPTextModel(gpu.CLIPTextConfig(**gpu._TEXT | own.text))
    counts = [round(sum(p.numel() for p in one.parameters()) / 1e6) for one in (unet, text)]
    assert counts == {"sd15": [860, 123], "sd21": [866, 340]}[kind]


def test_the_page_says_what_was_measured(tmp_path):
    figures = json.loads(gpu.OUT.read_text())
    assert gpu.lines(figures) in gpu.PAGE.read_text(encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bench.gpu -->\nold\n<!-- end -->\nb\n")
    gpu.write_page(figures, page)
    assert page.read_text() == f"a\n<!-- bench.gpu -->\n{gpu.lines(figures)}\n<!-- end -->\nb\n"
    run = {"by": "torch", "precision": "float16", "batch": 16, "seconds_per_picture": 0.5}
    run |= {"composite": "sham", "peak_gb": 7.1}
    told = gpu.lines({"gpu": {"sd15": {"runs": [run]}, "machine": {}}})
    assert told == "- sd15, torch, float16, batch 16, composite sham: 0.50 s per picture, 7.1 GB."
