"""Pictures of the studio's pages for the documentation: python -m tests.web.studio.pictures."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

import roentmod as rm
from roentmod import classifiers, datasets, imaging
from roentmod.classifiers import Judge
from roentmod.editors import Painter
from roentmod.jobs import audit
from roentmod.plans import AuditPlan
from roentmod.web import server
from roentmod.web.studio.app import Studio
from roentmod.web.studio.finished import Finished
from roentmod.web.studio.sources import Sources
from roentmod.web.studio.workshop import Workshop
from tests.imaging.conftest import dataset
from tests.web.studio.test_page import served

OUT = Path(__file__).parents[3] / "docs" / "studio"
SIZES = {"1280": (1280, 800), "768": (768, 1024)}
FINDINGS = ("Pleural Effusion", "Cardiomegaly", "Consolidation")
READY = """() => { const all = [...document.querySelectorAll('rm-viewer')];
  return all.length > 0 && all.every((v) => v.ready && (!v.baseline || v.prior)); }"""


def made(place):
    """A studio of three phantoms and an audit of the demo classifiers."""
    pictures = place / "pictures"
    for folder in (pictures, place / "session" / "dropped"):
        folder.mkdir(parents=True)
    levels = np.rint(rm.phantom(1, size=768).radiograph.pixels * 4095).astype(np.uint16)
    dicom = dataset(levels, WindowCenter=2048, WindowWidth=4096, PixelSpacing=[0.46, 0.46])
    dicom.save_as(pictures / "phantom_1.dcm", enforce_file_format=True)
    for number in (2, 3):
        drawn = rm.phantom(number, size=768).radiograph
        imaging.write(drawn, pictures / f"phantom_{number}.png", provenance=None)
    data = datasets.load("phantoms:4")
    models = {name: classifiers.load(f"demo:{name}") for name in ("honest", "shortcut")}
    table, plan = datasets.baselines(data).table, AuditPlan(findings=FINDINGS)
    audit.run(data, table, Painter(), models, plan, place / "audit").report()
    shop = Workshop(
        place / "session",
        place / "saved",
        lambda _: Painter(),
        editors=("painter",),
        judge=Judge.load(),
    )
    bound, url = server.listen("127.0.0.1", 0)
    sources = Sources([pictures], place / "session" / "dropped")
    return Studio(url, sources, shop, Finished(place / "audit", data)), bound


def shot(page, name):
    page.wait_for_function(READY, timeout=120_000)
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(500)
        page.screenshot(path=OUT / "shot.png")
        Image.open(OUT / "shot.png").convert("RGB").save(OUT / f"{name}-{size}.jpg", quality=72)
    (OUT / "shot.png").unlink()


def edit(page, finding, side):
    page.get_by_label("Findings (several are one edit)").select_option([finding])
    page.get_by_label("Side, the patient's").select_option(side)
    page.get_by_role("button", name="Edit Ctrl Enter").click()


def main():
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        studio, bound = made(Path(folder))
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        with served(studio, bound):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(studio.door)
            page.get_by_role(
                "button", name="Pleural Effusion edited, Cardiomegaly read"
            ).last.click()
            page.get_by_role("button", name="Next").click()
            page.locator("rm-viewer[label=Difference]").wait_for(timeout=120_000)
            page.locator(".readings").wait_for(timeout=120_000)
            shot(page, "run")
            page.set_viewport_size({"width": 1280, "height": 800})
            page.get_by_role("button", name="Edit", exact=True).click()
            page.get_by_role("button", name="phantom_1.dcm").click()
            edit(page, "Consolidation", "right")
            page.locator("rm-viewer[label=Counterfactual]").wait_for(timeout=120_000)
            edit(page, "Pleural Effusion", "left")
            page.get_by_role("heading", name="add-left-pleural-effusion").wait_for(timeout=120_000)
            page.locator(".readings").wait_for(timeout=120_000)
            shot(page, "edit")
            page.set_viewport_size({"width": 1280, "height": 800})
            page.get_by_role("button", name="Baseline", exact=True).click()
            page.get_by_role("button", name="Sham", exact=True).click()
            page.get_by_role("button", name="Brush").click()
            box = page.locator("rm-viewer .stage").first.bounding_box()
            x, y = box["x"] + 0.68 * box["width"], box["y"] + 0.5 * box["height"]
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 10, y + 90, steps=6)
            page.mouse.up()
            shot(page, "brush")
        browser.close()


if __name__ == "__main__":
    main()
