import importlib.metadata

import pytest
from typer.testing import CliRunner

import roentmod.cli
from roentmod import _optional
from roentmod.cli import installation as doctor
from roentmod.editors import trial
from roentmod.errors import MissingDependencyError


def test_everything_the_core_needs_is_found_here():
    assert [c for c in doctor.examine() if c.state == "missing"] == []


def test_what_is_missing_comes_with_its_remedy(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name in ("pydicom", "openvino"):
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    found = {check.name: check for check in doctor.examine()}
    assert found["pydicom"].state == "missing"
    assert found["openvino"].state == "optional"
    assert found["openvino"].remedy == "pip install 'roentmod[openvino]'"


def test_requiring_a_missing_library_names_purpose_and_remedy(monkeypatch):
    def blocked(name):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(_optional, "import_module", blocked)
    with pytest.raises(MissingDependencyError, match=r"openvino.*pip install 'roentmod\[openvino"):
        _optional.require("openvino")


def test_an_editor_is_tried_by_name(monkeypatch):
    app, runner = roentmod.cli.app, CliRunner()
    result = runner.invoke(app, ["doctor", "--editor", "painter"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "the sham keeps the film" in result.output
    failing = [trial.Check("the edit does something", False, "no", "Correct it")]
    monkeypatch.setattr(trial, "trial", lambda editor: iter(failing))
    result = runner.invoke(app, ["doctor", "--editor", "painter"], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert "Correct it" in result.output
