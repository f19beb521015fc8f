"""A whole study in a browser: by keyboard and mouse, closed, reopened, its server killed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from bench.readers import PASSWORD, drawn
from bench.readers_page import until
from roentmod.jobs.readers.answers import read_answers, read_truth
from roentmod.web.readers import app
from tests.web.readers.studies import write_study

pytestmark = pytest.mark.slow
QUESTION = """(() => { const form = document.querySelector('#question');
  return form && [form.elements.case.value, form.elements.question.value]; })()"""
SERVE = "import sys; from roentmod.cli import main; sys.argv[0] = 'roentmod'; main()"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """``roentmod readers serve`` in a process of its own."""

    def __init__(self, folder, database=None):
        self.port = free_port()
        self.command = [sys.executable, "-c", SERVE, "readers", "serve", str(folder)]
        self.command += ["--port", str(self.port)]
        self.command += ["--database", database] if database else []
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.said = self.process.stdout.readline()
        assert "Reader study" in self.said, self.said + self.process.stdout.read()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(30)
        self.process.stdout.close()


@contextmanager
def postgres():
    """Give the URL of a PostgreSQL server that lives as long as the block."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not programs:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    home = Path(tempfile.mkdtemp(prefix="roentmod-pg-"))
    user = []
    if os.geteuid() == 0:
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL runs as no root, and there is no runuser")
        shutil.chown(home, "postgres", "postgres")
        user = ["runuser", "-u", "postgres", "--"]

    def run(program, *more):
        command = [*user, str(programs[-1].with_name(program)), "-D", str(home / "data"), *more]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)

    run("initdb", "-A", "trust", "-U", "postgres", "--no-sync")
    port = free_port()
    options = f"-c listen_addresses='' -c unix_socket_directories={home} -c fsync=off -p {port}"
    run("pg_ctl", "-w", "-l", str(home / "log"), "-o", options, "start")
    try:
        yield f"postgresql://postgres@/postgres?host={home}&port={port}"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)


class Person:
    """A simulated reader at a real page, who notes every answer."""

    def __init__(self, chromium, server, name, link, by):
        self.chromium, self.server, self.name, self.by = chromium, server, name, by
        self.answers, self.complaints = {}, []
        self.open()
        self.page.goto(link)
        self.page.fill("#password", PASSWORD)
        self.page.fill("#again", PASSWORD)
        self.page.keyboard.press("Enter")
        self.check_display()

    def open(self):
        self.context = self.chromium.new_context(viewport={"width": 1280, "height": 800})
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def check_display(self):
        self.page.check("[name=dark]")
        self.page.fill("#steps", "18")
        self.page.click("#display button")
        self.page.wait_for_selector("#panel")

    def reopen(self):
        self.context.close()
        self.open()
        self.page.goto(self.server.url)
        self.page.fill("#name", self.name)
        self.page.fill("#password", PASSWORD)
        self.page.keyboard.press("Enter")
        self.check_display()

    def close(self):
        self.context.close()
        assert self.complaints == []

    @property
    def question(self):
        """Case and question as the page names them, None where nothing is asked; read at once."""
        found = self.page.evaluate(QUESTION)
        return tuple(found) if found else None

    def answer(self):
        """Answer one question, or end a break; tell whether there is more."""
        page = self.page
        if page.locator("form[action='/go-on']").count():
            page.click("form[action='/go-on'] button")
            page.wait_for_selector("#question")
            return True
        before = self.question
        if before is None:
            return False
        options = page.locator("#question input[type=radio]")
        # As skilled as a hash: each option now and then.
        chosen = sum(map(ord, "".join(before))) % options.count()
        self.answers[before] = int(options.nth(chosen).get_attribute("value"))
        if self.by == "keys":
            # As people do: a page that has no focus yet takes no keys.
            until(lambda: page.evaluate("document.activeElement.type === 'radio'"))
            page.keyboard.press(str(chosen + 1))
            page.keyboard.press("Enter")
        else:
            page.locator("#question label").nth(chosen).click()
            page.click("#question button.primary")
        return True

    def settled(self, before):
        """Wait until another question, or none, is shown."""
        until(lambda: self.question != before)

    def read(self, most=10_000):
        for _ in range(most):
            before = self.question
            if not self.answer():
                break
            self.settled(before)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_answer_is_lost_or_doubled(kind, tmp_path, chromium):
    study = write_study(tmp_path / "study", drawn(edited=3, normals=1, practice=0), readers=3)
    with postgres() if kind == "postgresql" else nullcontext() as url:
        server = Server(study.folder, url)
        try:
            desk = app.desk(study.folder, server.url, database=url)
            people = [
                Person(chromium, server, name, desk.link(name), by)
                for name, by in zip(study.readers, ("keys", "mouse", "keys"), strict=True)
            ]
            first, second, third = people
            second.read()
            third.read(5)
            third.reopen()
            third.read()
            first.read(3)
            before = first.question
            server.kill()
            first.answer()
            first.page.get_by_text("Not kept yet").wait_for()
            assert first.question == before
            server.start()
            first.settled(before)
            first.read()
            for person in people:
                assert person.page.get_by_text("all answers are kept").count()
                person.close()
        finally:
            server.kill()
        table, truth = read_answers(url or study.folder), read_truth(study.folder)
        assert not table.duplicated(["reader", "case", "question"]).any()
        for person in people:
            hidden = {case: desk.sitting.hidden(person.name, case) for case in truth["case"]}
            rows = table[table["reader"] == person.name]
            stored = {(hidden[one.case], one.question): one.value for one in rows.itertuples()}
            assert stored == person.answers
            assert {c for c, _ in stored} == {
                hidden[step.case] for step in study.steps[person.name]
            }
        assert (table["client_ms"] >= 0).all()
        desk.store.close()


def test_pages_fit_their_screens_and_name_what_is_on_them(tmp_path, chromium):
    study = write_study(tmp_path / "study", readers=1)
    server = Server(study.folder)
    try:
        desk = app.desk(study.folder, server.url)
        person = Person(chromium, server, study.readers[0], desk.link(study.readers[0]), "keys")
        page = person.page
        until(lambda: page.evaluate("document.querySelector('rm-viewer')?.ready"))
        for width, height in ((1280, 800), (768, 1024)):
            page.set_viewport_size({"width": width, "height": height})
            size = page.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
            )
            assert size == [width, height]
            assert page.locator("#question button.primary").is_visible()
            box = page.locator("rm-viewer").bounding_box()
            assert min(box["width"], box["height"]) > 0.55 * min(width, height)
        assert page.get_by_role("radio", name=re.compile("Probably present")).count() == 1
        assert page.get_by_role("group", name=re.compile("Edema")).count() == 1
        assert page.get_by_role("progressbar").count() == 1
        person.close()
        desk.store.close()
    finally:
        server.kill()
