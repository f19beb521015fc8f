"""An evaluation refuses what it lacks at its start, and keeps the figures that it has."""

import json
import sys

import pytest

from training import evaluate

HEAD = "path,set,tier,split,labels,view,patient_id,age,sex\n"


def row(path, split, labels="No Finding", patient="3"):
    return f"{path},nih,A,{split},{labels},PA,{patient},40,F\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (row("a.png", "test"), "no rows of the split 'train'"),
        (row("a.png", "train"), "adults of the split 'test'"),
        (row("a.png", "test") + row("b.png", "train"), r"2 of 2 are not, such as b\.png"),
        (None, r"has none"),
    ],
)
def test_what_is_missing_is_found_first(rows, message, tmp_path, monkeypatch):
    if rows is not None:
        (tmp_path / "index.csv").write_text(HEAD + rows)

    def load(*_):
        raise AssertionError("loaded")

    monkeypatch.setattr(evaluate.Editor, "load", load)
    places = {name: str(tmp_path / name) for name in ("out", "pictures")}
    arguments = [part for name, place in places.items() for part in (f"--{name}", place)]
    monkeypatch.setattr(sys, "argv", ["evaluate", "--data", str(tmp_path), *arguments])
    with pytest.raises(SystemExit, match=message) as caught:
        evaluate.main()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pictures").exists()


def test_figures_are_written_as_they_come(tmp_path, monkeypatch):
    def measure(*_):
        yield {"success": 1}
        yield {"leakage": 2}
        raise RuntimeError("half an hour later")

    monkeypatch.setattr(evaluate, "measure", measure)
    for name in ("check", "rows_of", "choose", "Bench"):
        monkeypatch.setattr(evaluate, name, lambda *_, **__: None)
    for kind in (evaluate.Editor, evaluate.Judge):
        monkeypatch.setattr(kind, "load", lambda *_: None)
    out = tmp_path / "out.json"
    arguments = ["--data", str(tmp_path), "--out", str(out), "--pictures", str(tmp_path / "p")]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    with pytest.raises(RuntimeError, match="half an hour"):
        evaluate.main()
    assert json.loads(out.read_text()) == {"success": 1, "leakage": 2, "unfinished": True}
