import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported(path, folder):
    """Modules of `folder` that a module imports, for types alone included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == folder:
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{folder}."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith(f"{folder}.")}
    return names


@pytest.mark.parametrize("folder", ["training", "bench", "examples"])
def test_no_module_imports_itself_in_a_circle(folder):
    graph = {path.stem: imported(path, folder) for path in (ROOT / folder).glob("*.py")}
    assert graph
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle of imports in {folder}: {' -> '.join(error.args[1])}")
