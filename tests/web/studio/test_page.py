"""A studio session in a browser: open a DICOM file, edit by brush, save, as the command does."""

import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from roentmod import verbs
from roentmod.store import file_sha256
from roentmod.web import server
from roentmod.web.studio.app import application

pytestmark = pytest.mark.slow


@contextmanager
def served(studio, bound):
    """Serve a studio in a thread."""
    running = uvicorn.Server(uvicorn.Config(application(studio), log_level="warning"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield
    running.should_exit = True
    thread.join(10)


@pytest.fixture
def studio(make):
    bound, url = server.listen("127.0.0.1", 0)
    made = make(url=url)
    with served(made, bound):
        yield made


def test_a_session_by_mouse_and_keyboard(page, studio, phantoms, tmp_path):
    page.goto(studio.door)
    assert studio.token not in page.url
    page.get_by_role("button", name="doe_jane.dcm").click()
    page.wait_for_function("() => document.querySelector('rm-viewer')?.ready")
    page.get_by_role("button", name="Brush").click()
    box = page.locator("rm-viewer .stage").bounding_box()
    x, y = box["x"] + 0.65 * box["width"], box["y"] + 0.6 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 40, steps=4)
    page.mouse.up()
    page.get_by_text("Painted with 1 stroke").wait_for()
    page.get_by_label("Findings (several are one edit)").select_option(["Consolidation"])
    page.get_by_text("Hold, one way, prompt, files").click()
    page.get_by_label("One way").check()
    page.get_by_label("Seed").fill("5")
    page.get_by_label("Seed").press("Control+Enter")
    page.locator("rm-viewer[label=Counterfactual]").wait_for(timeout=120_000)
    ready = "() => [...document.querySelectorAll('rm-viewer')].filter(v => v.ready).length === 4"
    page.wait_for_function(ready, timeout=60_000)
    assert page.locator("rm-viewer[synthetic]").count() == 3
    assert page.get_by_text("SYNTHETIC", exact=True).count() >= 3
    page.get_by_role("rowheader", name="Consolidation").first.wait_for(timeout=60_000)
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved in").wait_for()
    (saved,) = (tmp_path / "saved").iterdir()
    made = verbs.edit(
        phantoms / "doe_jane.dcm",
        out=tmp_path / "own",
        editor="painter",
        add="Consolidation",
        seed=5,
        composite="one-way",
        mask=saved / "0001.mask.png",
    )
    (item,) = made.record["items"]
    for file in item["files"].values():
        assert file_sha256(saved / file["path"]) == file["sha256"]
    page.set_input_files("input[type=file]", phantoms / "two.png")
    page.wait_for_function("() => document.querySelectorAll('rm-viewer').length === 1")
    assert page.evaluate("() => scrollX + scrollY") == 0
