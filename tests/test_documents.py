"""What the documents show works: command lines are options of today, Python is run."""

import ast
import os
import re
import shlex
import shutil
from pathlib import Path

import data_store
import pytest
import typer
import yaml

import roentmod
from roentmod.cli import app
from roentmod.plans import RetrainPlan
from tests.small import write_phantoms

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "cli.md"),
    *sorted((ROOT / "examples").glob("*.yaml")),
]
DOCS = sorted((ROOT / "docs").glob("*.md"))
SOURCE = Path(data_store.__file__).parent / "data" / "RG1_UNCI.dcm"
DEMO = Path(roentmod.__file__).parent / "classifiers" / "demo" / "honest.onnx"
STUDY = {
    "name": "tiny",
    "findings": ["Edema", "Cardiomegaly"],
    "train": {"source": "nih"},
    "tests": {"outside": {"source": "chexpert"}},
    "editor": {"name": "painter"},
    "retrain": {
        "model": "small",
        "size": 32,
        "steps": 2,
        "batch": 8,
        "seeds": [0],
        "arms": ["erm"],
    },
}
# What a reader has and a test has not: data sets from elsewhere, and patience.
STAND_INS = {
    "path/to/": "",
    "examples/": "",
    ', out="new"': ', out="new", model="small", size=32, steps=2, batch=8, seeds=1',
    ', out="validation"': ', out="validation", worded=0, undone=0, known=0, resamples=200',
}


def code(page):
    """The lines of indented and fenced blocks, with broken lines joined."""
    fenced, lines = False, []
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith(("    ", "#   ")):
            lines.append(line.removeprefix("#").strip())
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def shown(start):
    """Every line of code that starts so, with its page."""
    return [
        pytest.param(shlex.split(line, comments=True)[1:], id=f"{page.name}-{line[:60]}")
        for page in PAGES
        for line in code(page)
        if line.startswith(start)
    ]


@pytest.mark.parametrize("arguments", shown("roentmod "))
def test_command_lines_are_options_of_today(arguments):
    name, *rest = arguments
    commands = typer.main.get_command(app).commands
    assert name in commands
    if "--help" in rest or "..." in rest:
        known = {
            "--help",
            *(o for p in commands[name].params for o in (*p.opts, *p.secondary_opts)),
        }
        assert {word for word in rest if word.startswith("--")} <= known
        return
    try:
        commands[name].make_context(name, rest)
    except Exception as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("arguments", shown("make "))
def test_make_knows_its_targets(arguments):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(arguments) <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_named_in_passing_run_as_printed(page):
    """``make TARGET`` is one of today; ``python -m MODULE`` names all options that are required."""
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets)
    for module, rest in re.findall(r"`python -m\s+((?:bench|training)\.\w+)([^`]*)`", text):
        source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        needed = re.findall(r'add_argument\("(--[a-z-]+)"[^)]*required=True', source)
        assert set(needed) <= set(rest.split()), module


def test_arms_named_in_passing_can_be_trained():
    named = [
        arms for page in PAGES for arms in re.findall(r"`--arms ([a-z_,]+)`", page.read_text())
    ]
    assert "erm,jtt" in named
    for arms in named:
        assert RetrainPlan(findings=("Edema", "Mass"), arms=arms).arms


def test_the_search_finds_what_is_shown():
    """A document in another style would leave the tests above without work."""
    assert len(shown("roentmod ")) > 10
    assert len(shown("make ")) > 4
    assert SNIPPETS


def snippets():
    """The Python of the README, in order."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return [pytest.param(block, id=f"{number}") for number, block in enumerate(blocks)]


SNIPPETS = snippets()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reader's folder, which later snippets find as earlier ones left it."""
    place = tmp_path_factory.mktemp("reader")
    shutil.copy(SOURCE, place / "chest.dcm")
    shutil.copy(DEMO, place / "model.onnx")
    shutil.copy(DEMO.with_name(f"{DEMO.name}.json"), place / "model.onnx.json")
    labels = ("No Finding", "Edema", "Cardiomegaly", "No Finding")
    write_phantoms(place / "nih", ("train",) * 8 + ("val",) * 4, labels=labels)
    write_phantoms(place / "chexpert", ("",) * 4, first=900, labels=labels)
    (place / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return place


@pytest.mark.slow
@pytest.mark.parametrize("text", SNIPPETS)
def test_python_is_run(text, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for outside, here in STAND_INS.items():
        text = text.replace(outside, here)
    names = {"__name__": "snippet"}
    exec(compile(text, "README.md", "exec"), names)
    if "out=" in text:
        shown = repr(names["result"])
        assert shown == repr(roentmod.open(names["result"].folder))
        assert len(shown) < 150


def test_every_verb_has_six_lines_of_python():
    shown = [param.values[0].splitlines() for param in SNIPPETS]
    for verb in ("audit", "augment", "edit", "plant", "retrain", "study", "validate"):
        own = [lines for lines in shown if any(f"rm.{verb}(" in line for line in lines)]
        assert len(own) == 1, verb
        assert len(own[0]) <= 6, verb


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_names_what_exists(page):
    """Also where it cannot be run: names imported from the package are there."""
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("roentmod"):
                module = __import__(node.module, fromlist=["_"])
                for alias in node.names:
                    assert hasattr(module, alias.name), alias.name


def links(page):
    return re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))


def test_links_lead_somewhere():
    for page in PAGES:
        for link in links(page):
            # Pages of the reference are made with the site.
            if not link.startswith("api/"):
                assert os.path.exists(page.parent / link), f"{page.name}: {link}"


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_of_the_site_stay_on_it(page):
    """The site holds docs/ alone, and a link out of it ends its making."""
    assert not [link for link in links(page) if ".." in Path(link).parts]


def test_every_page_is_reached():
    """The navigation of the site has all pages, and its start leads to each."""
    own = {page.name for page in DOCS}
    nav = re.findall(r": (\w+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(nav) == sorted(own)
    assert own - {"index.md"} <= set(links(ROOT / "docs" / "index.md"))
