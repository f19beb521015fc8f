"""Small reader studies of drawn pictures, and readers that act by the pages alone."""

import re
import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from litestar.testing import TestClient

from bench.readers import PASSWORD, URL, drawn
from roentmod.jobs.readers import design, making
from roentmod.plans import ReadersPlan
from roentmod.web.readers import app

SMALL = {"readers": 2, "repeats": 1, "pairs": 2, "side": 128, "breaks": 5}


def write_study(folder, some=None, **options):
    plan = ReadersPlan(**SMALL | options)
    return making.freeze(folder, drawn() if some is None else some, plan, nonce=b"n" * 32)


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

    def field(self, name):
        found = re.search(rf'name="{name}" value="([^"]*)"', self.page)
        return found[1] if found else None

    def get(self, path):
        answer = self.client.get(path)
        self.page = answer.text
        return answer

    def post(self, path, **fields):
        fields.setdefault("_csrf_token", self.field("_csrf_token"))
        answer = self.client.post(path, data=fields)
        self.page = answer.text
        return answer

    def accept(self, link, password=PASSWORD):
        self.get(link)
        return self.post(link.replace("/invite/", "/accept/"), password=password, again=password)

    def enter(self, link):
        self.accept(link)
        self.post("/display", dark="on", light="on", steps="18", width="1", height="1", room="dark")
        return self

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


def opened(folder, clock=None, url=URL, **options):
    desk = app.desk(folder, url, **({"clock": clock} if clock else {}), **options)
    return desk, app.application(desk)


def client(application):
    return TestClient(application, base_url=URL)
