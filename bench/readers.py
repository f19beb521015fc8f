"""Does a reader study hold? Load, hostile requests, blinding: ``bench/readers.json``.

``python -m bench.readers`` serves a study of drawn pictures to 50 simulated readers at once; sends
10,000 hostile requests to another; and trains a classifier on all that a reader's browser gets
besides the pictures' own values (addresses, headers, sizes, times, documents), which must not tell
edited from real.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
from litestar import Litestar
from numpy.typing import NDArray

from roentmod.jobs.readers import making
from roentmod.jobs.readers.answers import read_answers, read_truth
from roentmod.jobs.readers.cases import Case, Kind
from roentmod.jobs.readers.design import Design
from roentmod.plans import ReadersPlan
from roentmod.radiograph import Radiograph
from roentmod.store import write_json
from roentmod.web.readers import app as pages

__all__ = ["Browser", "attack", "blinding", "drawn", "load", "main", "picture"]

JSON = Path("bench/readers.json")
URL = "http://testserver.local"
PASSWORD = "a long password"
FINDINGS = ("Edema", "Pleural Effusion")
_FIELD = r'name="{}" value="([^"]*)"'


def picture(seed: int, shape: tuple[int, int] = (96, 80)) -> Radiograph:
    """Return a picture of waves and noise."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]] / 96.0
    waves = 0.5 + 0.3 * np.sin(9 * rows + seed) * np.cos(7 * columns)
    noise = np.random.default_rng(seed).normal(0, 0.02, waves.shape)
    return Radiograph.from_array(np.clip(waves + noise, 0, 1))


def drawn(
    edited: int = 4, normals: int = 2, positives: int = 1, attention: int = 1, practice: int = 1
) -> list[Case]:
    """Return cases as `making.make` chooses them; two edits share a patient."""
    numbers = iter(range(100_000))

    def case(kind: Kind, patient: str, finding: str = "", editor: str = "") -> Case:
        number = next(numbers)
        opener = partial(picture, number, (96, 80 + number % 7))
        present = (finding,) if finding else ()
        facts = {"source": "drawn", "editor": editor}
        return Case(kind, f"patient-{patient}", opener, finding, present, **facts)

    return [
        *(case("edit", f"p{n // 2}", FINDINGS[n % 2], "painter") for n in range(edited)),
        *(case("real_positive", f"q{n}", FINDINGS[n % 2]) for n in range(positives)),
        *(case("real_normal", f"n{n}") for n in range(normals)),
        *(case("attention", f"a{n}", FINDINGS[0], "painter") for n in range(attention)),
        *(case("practice", f"t{n}") for n in range(practice)),
    ]


class Browser:
    """A reader at a browser without scripts, asynchronous."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        """Keep a client, whose cookies are this reader's."""
        self.client, self.page = client, ""

    def field(self, name: str) -> str:
        """Return the value of a hidden field of the page, "" where there is none."""
        found = re.search(_FIELD.format(name), self.page)
        return found[1] if found else ""

    async def get(self, path: str) -> httpx.Response:
        """Open a page."""
        answer = await self.client.get(path, follow_redirects=True)
        self.page = answer.text
        return answer

    async def post(self, path: str, **fields: Any) -> httpx.Response:
        """Send a form of the page."""
        data = {"_csrf_token": self.field("_csrf_token"), **fields}
        answer = await self.client.post(path, data=data, follow_redirects=True)
        self.page = answer.text
        return answer

    async def enter(self, link: str) -> None:
        """Accept an invitation and check the display."""
        token = link.rpartition("/")[2]
        await self.get(f"/invite/{token}")
        await self.post(f"/accept/{token}", password=PASSWORD, again=PASSWORD)
        await self.post("/display", steps="18", room="dark")

    @property
    def asks(self) -> dict[str, str]:
        """Fields that name the question on the page."""
        return {"case": self.field("case"), "question": self.field("question")}

    def pictures(self) -> list[str]:
        """Return addresses of the page's pictures."""
        return re.findall(r'<rm-viewer src="([^"]+)"', self.page)

    async def answer(self) -> httpx.Response:
        """Give the first option."""
        value = 0 if self.field("question") == "pair" else 1
        return await self.post("/answers", value=value, client_ms=900, **self.asks)


def _client(application: Litestar) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=application, client=("10.0.0.1", 1))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url=URL)


# ---- hostile requests


def attack(folder: Path, count: int, seed: int = 0) -> dict[str, Any]:
    """Send hostile requests to a study, and return what came of them.

    Args:
        folder: of a study with two readers or more, which nobody has answered.
        count: how many.
        seed: of all drawing.

    Returns:
        `requests`; `statuses` by number; `crashes` (500 or more, or an exception) and by what
        (`broken`); `leaks` (bodies
        that hold a case's own id, the key or a patient); `wrong` (answers stored that nobody gave,
        or lost).
    """
    desk = pages.desk(folder, URL)
    return asyncio.run(_attack(desk, pages.application(desk), count, random.Random(seed)))


async def _attack(
    desk: pages.Desk, application: Litestar, count: int, draw: random.Random
) -> dict[str, Any]:
    truth = read_truth(desk.design.folder)
    secrets = [*truth["case"], *truth["patient"], desk.design.key().hex()]
    victim, mallory = desk.design.readers[:2]
    statuses: Counter[int] = Counter()
    broken: list[str] = []
    leaks = 0
    async with _client(application) as one, _client(application) as two, _client(application) as no:
        own, other, stranger = Browser(one), Browser(two), Browser(no)
        used = desk.link(victim)
        await own.enter(used)
        await own.answer()
        kept = read_answers(desk.design.folder)
        await other.enter(desk.link(mallory))
        await stranger.get("/")
        tries = _tries(desk, own, other, stranger, used)
        for _ in range(count):
            attempt = draw.choice(tries)
            try:
                answer = await attempt(draw)
            except Exception as error:
                broken.append(f"{_way(attempt)}: {type(error).__name__}")
                continue
            statuses[answer.status_code] += 1
            if answer.status_code >= 500:
                broken.append(f"{_way(attempt)}: {answer.status_code}")
            leaks += any(secret in answer.text for secret in secrets)
    found = read_answers(desk.design.folder)
    wrong = len(kept.merge(found, how="outer", indicator=True).query("_merge != 'both'"))
    return {
        "requests": count,
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "crashes": len(broken),
        "broken": sorted(set(broken)),
        "leaks": leaks,
        "wrong_answers": wrong,
    }


def _way(attempt: Callable[[random.Random], Any]) -> str:
    return attempt.__name__


def _tries(
    desk: pages.Desk, own: Browser, other: Browser, stranger: Browser, used: str
) -> list[Callable[[random.Random], Any]]:
    """Return ways to attack: each sends one request."""
    victim, mallory = desk.design.readers[:2]
    token = own.field("_csrf_token")
    theirs = [desk.sitting.hidden(victim, step.case) for step in desk.design.steps[victim]]
    later = [desk.sitting.hidden(mallory, step.case) for step in desk.design.steps[mallory]][1:]
    asked = {**other.asks, "_csrf_token": other.field("_csrf_token")}
    invitation = used.rpartition("/")[2]

    def mangled(text: str, draw: random.Random) -> str:
        place = draw.randrange(len(text))
        return text[:place] + draw.choice("0aZ.%\u0663-/") + text[place + 1 :]

    def pixels(draw: random.Random) -> Any:
        name = draw.choice([*theirs, *later, mangled(theirs[0], draw), "0" * 24])
        return other.client.get(f"/pixels/{name}")

    def traversal(draw: random.Random) -> Any:
        up = draw.choice(["../", "%2e%2e/", "..%2f", "..\\", "%00/", "./", "....//"]) * 3
        base = draw.choice(["/static/", "/pixels/", "/invite/", "/"])
        file = draw.choice(["key", "plan.json", "study.db", "study-truth/truth.json", "etc/passwd"])
        return other.client.get(f"{base}{up}{file}")

    def forged(draw: random.Random) -> Any:
        return stranger.client.get(f"/invite/{mangled(invitation, draw)}")

    def replayed(draw: random.Random) -> Any:
        data = {"_csrf_token": stranger.field("_csrf_token"), "password": PASSWORD}
        return stranger.client.post(f"/accept/{invitation}", data={**data, "again": PASSWORD})

    def oversized(draw: random.Random) -> Any:
        data = {**asked, "value": "1", "more": "x" * draw.choice([70_000, 300_000])}
        return other.client.post("/answers", data=data)

    def without_token(draw: random.Random) -> Any:
        data = {**asked, "value": "1"}
        data["_csrf_token"] = draw.choice(["", "0" * 128, mangled(token, draw)])
        return other.client.post(draw.choice(["/answers", "/go-on", "/back"]), data=data)

    def cross_site(draw: random.Random) -> Any:
        headers = draw.choice(
            [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
        )
        return other.client.post("/answers", data={**asked, "value": "1"}, headers=headers)

    def wrong_order(draw: random.Random) -> Any:
        question = draw.choice(
            ["realism", "pair", "severity:Edema", "finding:", "\u0000", "x" * 90]
        )
        case = draw.choice([asked["case"], *later, theirs[0]])
        data = {**asked, "case": case, "question": question, "value": "1"}
        return other.client.post("/answers", data=data)

    def no_option(draw: random.Random) -> Any:
        value = draw.choice(
            ["0", "9", "-1", "1.5", "\u0663", "1e3", "9" * 40, "", "1\u0000", "NaN"]
        )
        return other.client.post("/answers", data={**asked, "value": value})

    def doubled(draw: random.Random) -> Any:
        # The victim's last answer, once more: by itself, and by the other reader.
        data = {"case": theirs[0], "question": f"finding:{desk.design.findings[0]}", "value": "1"}
        who = draw.choice([own, other])
        return who.client.post("/answers", data={**data, "_csrf_token": who.field("_csrf_token")})

    def false_cookie(draw: random.Random) -> Any:
        cookie = mangled("a" * 43, draw).encode("ascii", "ignore").decode().replace("/", "")
        return stranger.client.get(
            "/read", headers={"Cookie": f"{desk.site.cookie(pages.COOKIE)}={cookie}"}
        )

    def administrator(draw: random.Random) -> Any:
        page = draw.choice(["/admin", "/admin/answers.csv", "/admin/pause", "/admin/invite"])
        data = {**asked, "paused": "yes", "reader": victim}
        method = "GET" if page in ("/admin", "/admin/answers.csv") else "POST"
        return other.client.request(method, page, data=data if method == "POST" else None)

    def strange(draw: random.Random) -> Any:
        method = draw.choice(["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD"])
        return other.client.request(method, draw.choice(["/answers", "/read", "/pixels/x"]))

    def foreign_host(draw: random.Random) -> Any:
        host = draw.choice(["evil.example", "testserver.local.evil.example", "127.0.0.1"])
        return other.client.get("/read", headers={"Host": host})

    def no_form(draw: random.Random) -> Any:
        kind = draw.choice(["application/json", "multipart/form-data", "text/plain", ""])
        body = draw.choice([b"{", b"[]", b"\xff\xfe", b"a" * 999, b'{"value": 1}'])
        headers = {"Content-Type": kind, "X-CSRFToken": asked["_csrf_token"]}
        return other.client.post("/answers", content=body, headers=headers)

    return [
        pixels, traversal, forged, replayed, oversized, without_token, cross_site, wrong_order,
        no_option, doubled, false_cookie, administrator, strange, foreign_host, no_form,
    ]  # fmt: skip


# ---- blinding


def blinding(folder: Path, leak: Callable[[str], float] | None = None) -> dict[str, Any]:
    """Train a classifier on all but the pictures' values to tell edited from real cases.

    Args:
        folder: of a study, which nobody has answered.
        leak: of a case's id, something that its answers would also tell; to see that a classifier
            that could win does.

    Returns:
        `auc`, its 95 % interval over cases (`low`, `high`), `cases`, `rows`, `features`.
    """
    desk = pages.desk(folder, URL)
    truth = read_truth(folder).set_index("case")
    seen = asyncio.run(_seen(desk, pages.application(desk)))
    rows = [(case, facts) for case, facts in seen if truth.loc[case, "kind"] in _SCORED]
    table = [facts + ([leak(case)] if leak else []) for case, facts in rows]
    width = max(map(len, table))
    x = np.array([facts + [0.0] * (width - len(facts)) for facts in table])
    y = np.array([truth.loc[case, "kind"] == "edit" for case, _ in rows])
    cases = np.array([case for case, _ in rows])
    return _told_apart(x, y, cases) | {"features": width}


_SCORED = ("edit", "real_positive", "real_normal")


async def _seen(desk: pages.Desk, application: Litestar) -> list[tuple[str, list[float]]]:
    """Return what each reader's browser sees of each case besides its values, as numbers."""
    rows = []
    for name in desk.design.readers:
        async with _client(application) as client:
            reader = Browser(client)
            await reader.enter(desk.link(name))
            for step in desk.design.steps[name]:
                if reader.field("question") == "":
                    await reader.post("/go-on")
                if step.other:
                    break
                (address,) = reader.pictures()
                started = time.perf_counter()
                answer = await client.get(address)
                seconds = time.perf_counter() - started
                digits = [int(c, 16) for c in address.rpartition("/")[2]]
                sizes: list[float] = [
                    len(answer.content),
                    len(answer.headers),
                    len(str(answer.headers)),
                ]
                first = reader.page
                while reader.asks["case"] in first and reader.asks["case"]:
                    if reader.asks["case"] != address.rpartition("/")[2]:
                        break
                    turned = await reader.answer()
                    sizes += [turned.elapsed.total_seconds(), len(turned.content)]
                rows.append((step.case, [*digits, seconds, len(first), *map(float, sizes)]))
    return rows


def _told_apart(
    x: NDArray[np.float64], y: NDArray[np.bool_], cases: NDArray[np.str_]
) -> dict[str, Any]:
    """Return the area under the curve of cases left out, and its interval over cases."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    forest = RandomForestClassifier(200, min_samples_leaf=3, random_state=0)
    options: dict[str, Any] = {"groups": cases, "cv": folds, "method": "predict_proba"}
    scores = cross_val_predict(forest, x, y, **options)[:, 1]
    names = np.unique(cases)
    mean = np.array([scores[cases == name].mean() for name in names])
    label = np.array([y[cases == name][0] for name in names])
    rng = np.random.default_rng(0)
    areas: list[float] = []
    while len(areas) < 2000:
        some = rng.integers(len(names), size=len(names))
        if label[some].any() and not label[some].all():
            areas.append(roc_auc_score(label[some], mean[some]))
    low, high = np.quantile(areas, [0.025, 0.975])
    area = float(roc_auc_score(label, mean))
    shown = {"auc": area, "low": float(low), "high": float(high)}
    return {n: round(v, 3) for n, v in shown.items()} | {"cases": len(names), "rows": len(y)}


# ---- load


def load(study: Design, seconds: float, pause: float = 1.0) -> dict[str, Any]:
    """Serve a study to all its readers at once, and return how long a case takes.

    Args:
        study: nobody has answered it.
        seconds: how long.
        pause: mean seconds between two answers of a reader.

    Returns:
        Milliseconds from an answer sent to the next case's page and picture received, and of
        answers within a case: `p50`, `p95`, `n`.
    """
    command = [sys.executable, "-c", "from roentmod.cli import main; main()", "readers", "serve"]
    command += [str(study.folder), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        found = re.search(r"http://[\w.:]+", line)
        assert found is not None, line
        return asyncio.run(_load(study, found[0], seconds, pause))
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


async def _load(study: Design, url: str, seconds: float, pause: float) -> dict[str, Any]:
    desk = pages.desk(study.folder, url)
    cases: list[float] = []
    answers: list[float] = []
    begin = asyncio.Event()
    tasks = []
    for number, name in enumerate(study.readers):
        reader = Browser(httpx.AsyncClient(base_url=url, timeout=60))
        await reader.enter(desk.link(name))
        draw = random.Random(number)
        tasks.append(
            asyncio.create_task(_one(reader, begin, seconds, pause, draw, (cases, answers)))
        )
    begin.set()
    await asyncio.gather(*tasks)
    return {
        "readers": len(study.readers),
        "seconds": seconds,
        "pause_s": pause,
        "side": study.plan.side,
        "case_ms": _spread(cases),
        "answer_ms": _spread(answers),
    }


async def _one(
    reader: Browser,
    begin: asyncio.Event,
    seconds: float,
    pause: float,
    draw: random.Random,
    times: tuple[list[float], list[float]],
) -> None:
    """Answer until time is up, as a person would, who looks before each answer."""
    await begin.wait()
    shown: list[str] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until and (reader.field("question") or "/go-on" in reader.page):
        await asyncio.sleep(draw.uniform(0.5, 1.5) * pause)
        started = time.perf_counter()
        await (reader.answer() if reader.field("question") else reader.post("/go-on"))
        pictures = reader.pictures()
        for address in pictures if pictures != shown else []:
            await reader.client.get(address)
        times[pictures == shown].append(1000 * (time.perf_counter() - started))
        shown = pictures
    await reader.client.aclose()


def _spread(times: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.quantile(times, [0.5, 0.95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "n": len(times)}


def main() -> None:
    """Measure all, and write ``bench/readers.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=JSON)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        root = Path(place)
        plan = ReadersPlan(readers=50, side=1024)
        many = making.freeze(root / "load", drawn(40, 20, 20, 4, 2), plan)
        facts = {"load": load(many, given.seconds)}
        small = ReadersPlan(readers=2, side=128, back=True)
        making.freeze(root / "hostile", drawn(), small)
        facts["hostile"] = attack(root / "hostile", given.requests)
        making.freeze(root / "blind", drawn(60, 30, 30, 0, 0), ReadersPlan(readers=3, side=128))
        facts["blinding"] = blinding(root / "blind")
    average = os.getloadavg()[0]
    write_json(given.out, {"cores": os.cpu_count(), "load_average": round(average, 1), **facts})
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
