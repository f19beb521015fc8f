"""Debian's Chromium, driven by Playwright; tests that ask for it are skipped without either."""

import shutil

import pytest


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A browser that asks nobody but the servers of the tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium: apt-get install chromium")
    options = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(options))
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page of 1280 x 800; a test fails where its scripts or its policy complain."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: line.type == "error" and complaints.append(line.text))
    page.complaints = complaints
    yield page
    context.close()
    assert complaints == []
