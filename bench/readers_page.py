"""Every page of a reader study, as it looks: ``docs/readers/*.png``, on phantoms.

``python -m bench.readers_page`` makes a study of painted phantoms, serves it, and takes a picture
of each page at 1280 x 800 and 768 x 1024 with Debian's Chromium.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

import roentmod as rm
from bench.readers import PASSWORD
from roentmod.jobs.readers import making
from roentmod.jobs.readers.design import Design
from roentmod.plans import ReadersPlan
from roentmod.store import write_bytes
from roentmod.web.readers import app as pages

__all__ = ["main", "study", "until"]

OUT = Path("docs/readers")
SIZES = ((1280, 800), (768, 1024))
_SHADES = 96
_SHOWN = (
    "['#pictures', '#panel'].map(id => document.querySelector(id)?.textContent + "
    "document.querySelector(id)?.dataset.shown)"
)
_READY = "[...document.querySelectorAll('rm-viewer')].every(one => one.ready)"


def study(root: Path) -> Design:
    """Return a small study of painted phantoms."""
    made = rm.augment(
        "phantoms:4",
        findings=["Pleural Effusion", "Edema"],
        editor="painter",
        gate_logit=None,
        out=root / "set",
    )
    plan = ReadersPlan(
        readers=3, edited=4, normals=3, repeats=0, attention=0, practice=1, pairs=2, side=768,
        breaks=4,
    )  # fmt: skip
    return making.make(root / "study", made.folder, rm.load("phantoms:8:100"), plan)


def until(happened: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until something is so; a page's policy lets no other program wait in it."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError("The page does not go on. Look at it.")
        time.sleep(0.02)


class _Camera:
    """Goes through the pages and takes their pictures."""

    def __init__(self, page: Any, out: Path) -> None:
        self.page, self.out = page, out

    def take(self, name: str) -> None:
        """Save the page at both sizes, in few shades."""
        for width, height in SIZES:
            self.page.set_viewport_size({"width": width, "height": height})
            until(lambda: self.page.evaluate(_READY))
            self.page.wait_for_timeout(300)
            image = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
            small = io.BytesIO()
            image.quantize(_SHADES, Image.Quantize.MEDIANCUT).save(small, "PNG", optimize=True)
            suffix = "" if width == SIZES[0][0] else "-tablet"
            write_bytes(self.out / f"{name}{suffix}.png", small.getvalue())

    def answer(self, digit: str) -> None:
        """Give an answer, or end a break, and wait for what follows."""
        before = self._shown()
        self.page.keyboard.press(digit)
        self.page.keyboard.press("Enter")
        until(lambda: self._shown() != before)

    def _shown(self) -> Any:
        """Return what tells one question from the next."""
        return self.page.evaluate(_SHOWN)

    def until(self, selector: str) -> None:
        """Answer until something is on the page."""
        while not self.page.locator(selector).count():
            if self.page.locator("form[action='/go-on']").count():
                self.page.click("form[action='/go-on'] button")
                self.page.wait_for_selector("#question")
            else:
                self.answer("1")


def _tour(camera: _Camera, desk: pages.Desk, url: str) -> None:
    """Show every page once."""
    page, name = camera.page, desk.design.readers[0]
    page.goto(f"{url}/invite/none")
    camera.take("error")
    page.goto(url)
    camera.take("login")
    page.goto(desk.link(name))
    camera.take("invitation")
    page.fill("#password", PASSWORD)
    page.fill("#again", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("#display")
    camera.take("start")
    page.check("[name=dark]")
    page.check("[name=light]")
    page.fill("#steps", "17")
    page.click("#display button")
    page.wait_for_selector("#question")
    page.keyboard.press("2")
    camera.take("case")
    effusion = "[name=question][value='side:Pleural Effusion']"
    while not page.locator(effusion).count():
        camera.answer("5" if page.locator("[value='finding:Pleural Effusion']").count() else "1")
    camera.take("side")
    camera.until("[name=question][value=realism]")
    camera.take("realism")
    camera.until("form[action='/go-on']")
    camera.take("break")
    desk.sitting.pause(True)
    page.reload()
    camera.take("paused")
    desk.sitting.pause(False)
    page.reload()
    camera.until("[name=question][value=pair]")
    camera.take("pair")
    camera.until("text=all answers are kept")
    camera.take("end")


def _admin(camera: _Camera, desk: pages.Desk) -> None:
    camera.page.goto(desk.link("admin"))
    camera.page.fill("#password", PASSWORD)
    camera.page.fill("#again", PASSWORD)
    camera.page.keyboard.press("Enter")
    camera.page.wait_for_selector("text=Display checks")
    camera.page.click(f"[aria-label='Invite {desk.design.readers[1]}']")
    camera.page.wait_for_selector("text=for one use")
    camera.take("admin")


def main() -> None:
    """Write the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Pictures of every page of a reader study.")
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium")
    with TemporaryDirectory() as place, sync_playwright() as driver:
        made = study(Path(place))
        command = [sys.executable, "-c", "from roentmod.cli import main; main()", "readers"]
        command += ["serve", str(made.folder), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        found = re.search(r"http://[\w.:]+", server.stdout.readline())
        assert found is not None
        try:
            desk = pages.desk(made.folder, found[0])
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
            _tour(_Camera(browser.new_context().new_page(), out), desk, found[0])
            _admin(_Camera(browser.new_context().new_page(), out), desk)
            browser.close()
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


if __name__ == "__main__":
    main()
