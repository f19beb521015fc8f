"""``roentmod studio``: what it is started with."""

import builtins

import pytest
from typer.testing import CliRunner

from roentmod.cli import app
from roentmod.errors import InputError, MissingDependencyError, RunError
from roentmod.web import server


@pytest.fixture
def started(monkeypatch):
    """Run the command, whose server ends at once."""
    served = []

    def serve(application, bound):
        served.append(application)
        bound.close()

    def run(*words):
        options = ["studio", "--port", "0", "--no-browser", "--editor", "painter", *map(str, words)]
        return CliRunner().invoke(app, options), served

    monkeypatch.setattr(server, "serve", serve)
    return run


def test_it_prints_an_address_with_a_token(started, phantoms, tmp_path):
    result, served = started(phantoms, "--out", tmp_path / "saved")
    assert result.exit_code == 0, result.output
    assert "http://127.0.0.1:" in result.output
    assert "?token=" in result.output
    assert len(served) == 1
    assert not (tmp_path / "saved").exists()


def test_a_public_address_stands_in_the_link(started, phantoms):
    result, _ = started(phantoms, "--url", "https://studio.example/")
    assert "Studio: https://studio.example/?token=" in result.output


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (["--url", "studio.example.org"], "A public address is"),
        (["--url", "http://host:abc"], "A public address is"),
        (["--host", ".."], "A server needs a free address"),
    ],
)
def test_an_address_that_is_none_ends_in_one_line_before_anything_starts(
    started, phantoms, words, refusal
):
    result, served = started(phantoms, *words)
    assert isinstance(result.exception, RunError)
    assert refusal in str(result.exception)
    assert result.output == ""
    assert served == []


@pytest.mark.parametrize("command", [["studio", "--no-browser"], ["readers", "serve", "x"]])
def test_a_port_that_is_none_is_refused(command):
    result = CliRunner().invoke(app, [*command, "--port", "99999"])
    assert result.exit_code == 2
    assert "'--port': Input should be less than or equal to 65535" in result.output


def test_what_is_missing_ends_in_one_line(started, tmp_path, monkeypatch):
    result, _ = started(tmp_path / "none.png")
    assert isinstance(result.exception, InputError)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "edits.json").write_text("{}")
    result, _ = started(tmp_path / "a", tmp_path / "b")
    assert isinstance(result.exception, RunError)
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "litestar":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr("roentmod._optional.import_module", without)
    result, _ = started()
    assert isinstance(result.exception, MissingDependencyError)
    assert "pip install 'roentmod[web]'" in str(result.exception)
