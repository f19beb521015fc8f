"""Small reader studies on phantoms, and readers that act by the pages alone."""

import re
import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from litestar.testing import TestClient

import roentmod as rm
from roentmod.jobs.readers import design, making
from roentmod.plans import ReadersPlan
from roentmod.web.readers import app

PASSWORD = "a long password"
SMALL = {
    "readers": 2,
    "edited": 4,
    "normals": 3,
    "positives": 0,
    "repeats": 1,
    "attention": 1,
    "practice": 1,
    "pairs": 2,
    "side": 128,
}


def write_edits(folder, patients=3):
    rm.augment(
        f"phantoms:{patients}",
        findings=["Edema", "Pleural Effusion"],
        editor="painter",
        gate_logit=None,
        out=folder,
    )
    return folder


def write_study(folder, edits, **options):
    plan = ReadersPlan(**SMALL | options)
    return making.make(folder, edits, rm.load("phantoms:14:100"), plan, nonce=b"n" * 32)


def copied(study, folder):
    """Return a copy of a study and its truth, not served yet."""
    shutil.copytree(study.folder, folder)
    shutil.copytree(f"{study.folder}-truth", f"{folder}-truth")
    return design.load(folder)


@dataclass
class Clock:
    """A clock that a test turns."""

    now: datetime = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def __call__(self):
        return self.now

    def turn(self, **by):
        self.now += timedelta(**by)


@dataclass
class Reader:
    """Someone at a browser without scripts: follows forms, and notes what was answered."""

    client: TestClient
    page: str = ""
    answered: dict = field(default_factory=dict)

    def token(self):
        return re.search(r'name="_csrf_token" value="(\w+)"', self.page)[1]

    def get(self, path):
        answer = self.client.get(path)
        self.page = answer.text
        return answer

    def post(self, path, **fields):
        fields.setdefault("_csrf_token", self.token())
        answer = self.client.post(path, data=fields)
        self.page = answer.text
        return answer

    def enter(self, link):
        self.get(link)
        self.post(link.replace("/invite/", "/accept/"), password=PASSWORD, again=PASSWORD)
        self.post("/display", dark="on", light="on", steps="18", width="1", height="1", room="dark")
        return self

    def field(self, name):
        found = re.search(rf'name="{name}" value="([^"]*)"', self.page)
        return found[1] if found else None

    @property
    def question(self):
        return self.field("case"), self.field("question")

    def options(self):
        return [int(n) for n in re.findall(r'type="radio" name="value" value="(\d)"', self.page)]

    def pictures(self):
        return re.findall(r'<rm-viewer src="([^"]+)"', self.page)

    def answer(self, value):
        case, question = self.question
        done = self.post("/answers", case=case, question=question, value=value, client_ms=1200)
        self.answered[case, question] = value
        return done

    def read(self, choose=lambda question, options: options[-1], most=10_000):
        """Answer until the end; breaks are ended at once."""
        while most:
            if 'action="/go-on"' in self.page:
                self.post("/go-on")
            elif self.field("question"):
                self.answer(choose(self.field("question"), self.options()))
                most -= 1
            else:
                break
        return self


def opened(folder, clock=None, url="http://testserver.local", **options):
    desk = app.desk(folder, url, **({"clock": clock} if clock else {}), **options)
    return desk, app.application(desk)


def client(application):
    return TestClient(application, base_url="http://testserver.local")
