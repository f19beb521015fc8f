"""The notebook runs from top to bottom, in a kernel, as a reader's does."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "audit.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_kept_without_outputs(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 4
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
def test_it_runs_and_finds_the_planted_shortcut(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}{os.pathsep}{ROOT}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder).execute()
    shown = [
        output["data"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    text = "\n".join(str(data.get("text/plain")) for data in shown)
    assert "{'honest': 'undecided', 'shortcut': 'shortcuts found'}" in text
    called = json.loads(shown[-1]["text/plain"].replace("'", '"'))
    assert ["Cardiomegaly", "Pleural Effusion"] in called
    # They came together in training, so that each may have come to mean the other.
    assert {frozenset(pair) for pair in called} == {frozenset(called[0])}
    assert any("image/png" in data for data in shown)
    assert any("text/html" in data for data in shown)
