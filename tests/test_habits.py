"""Files that must agree with each other, and the names that modules call public."""

import ast
import re
from pathlib import Path

import pytest
import yaml

import roentmod

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "roentmod"


def lines_of(target):
    """The commands of a target of the Makefile."""
    text = (ROOT / "Makefile").read_text()
    body = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.M)[1]
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in body.splitlines()]


def test_a_commit_is_checked_by_what_make_lint_runs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == lines_of("lint")
    assert not any(hook["pass_filenames"] for hook in repository["hooks"])


def test_continuous_integration_runs_what_people_run():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = workflow["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"


def test_the_citation_has_the_version_and_the_method():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == roentmod.__version__
    assert "2509.08640" in citation["references"][0]["doi"]


def test_versions_agree():
    project = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.*)"', project, re.M)[1] == roentmod.__version__


def public_modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        # The commands of the command line are its own; what imports it wants `main` and `app`.
        if parts[0] != "cli" and not any(p.startswith("_") and p != "__init__" for p in parts):
            yield pytest.param(path, id="/".join(parts))


def names(tree):
    """Return `__all__` of a module (None where it has none), and the names that it binds."""
    listed, defined, bound = None, set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for name in ast.walk(target) if target is not None else ():
                if isinstance(name, ast.Name):
                    bound.add(name.id)
                    if name.id == "__all__":
                        listed = ast.literal_eval(node.value)
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            defined.add(node.name)
    return listed, defined, bound | defined


@pytest.mark.parametrize("path", list(public_modules()))
def test_all_is_the_public_names(path):
    """Functions and classes without underscore are in `__all__`; what is there exists."""
    listed, defined, bound = names(ast.parse(path.read_text(encoding="utf-8")))
    if listed is None:
        assert not defined, "no __all__"
        return
    assert len(listed) == len(set(listed))
    assert defined - set(listed) == set()
    if path != PACKAGE / "__init__.py":
        assert set(listed) - bound == set()


def test_the_door_opens():
    """The package's own names come when they are asked for."""
    for name in roentmod.__all__:
        assert getattr(roentmod, name) is not None
    assert set(roentmod.__all__) <= set(dir(roentmod)) | set(roentmod._LATE)
