"""The studio through its requests: who may, what is shown, made, saved and refused."""

import gzip
import json
import logging
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
from litestar.testing import TestClient

from roentmod import imaging, verbs
from roentmod.web.studio import sources as opening
from roentmod.web.studio.app import application
from roentmod.web.studio.workshop import Piece
from tests.web.studio.conftest import URL

STROKE = {"radius": 40, "erase": False, "points": [{"x": 180, "y": 150}, {"x": 185, "y": 190}]}


class Browser:
    """A client that went through the door."""

    def __init__(self, studio):
        self.studio = studio
        self.client = TestClient(application(studio), base_url=URL)
        page = self.client.get("/", params={"token": studio.token})
        self.token = page.text.partition('name="token" content="')[2].partition('"')[0]

    def get(self, path, **options):
        return self.client.get(path, **options)

    def post(self, path, body=None, **options):
        headers = {"x-csrftoken": self.token} | options.pop("headers", {})
        return self.client.post(path, json=body, headers=headers, **options)

    def done(self, number=1, seconds=120):
        """Wait for an edit."""
        for _ in range(seconds * 20):
            edit = self.get("/edits").json()[number - 1]
            if edit["state"] in ("done", "failed"):
                return edit
            time.sleep(0.05)
        raise AssertionError(edit)


@pytest.fixture
def browser(make):
    with_door = Browser(make())
    with with_door.client:
        yield with_door


def source(browser, name):
    listed = browser.get("/state").json()["sources"]
    return next(one["id"] for one in listed if one["name"] == name)


def message(answer):
    return answer.text.partition('id="message">')[2].partition("<")[0]


def test_only_the_token_opens(make):
    studio = make()
    with TestClient(application(studio), base_url=URL) as client:
        for path in ("/", "/?token=x", "/state", "/edits", "/pixels/source/a/baseline", "/run/0"):
            assert client.get(path).status_code == 403, path
        assert client.post("/edit", json={}).status_code == 403
        page = client.get(studio.door.removeprefix(URL))
        assert page.status_code == 200
        assert studio.token not in str(page.url)
        assert client.get("/state").status_code == 200
        # Its cookie alone changes nothing: a form of another site would bring it, too.
        assert client.post("/edit", json={}).status_code == 403
        assert client.get("/state", headers={"host": "evil.example"}).status_code == 400


def test_an_edit_by_brush_is_what_the_command_writes(browser, phantoms, tmp_path):
    wanted = {"add": ["Consolidation"], "side": "left", "seed": 3}
    body = {"source": source(browser, "doe_jane.dcm"), "options": wanted, "strokes": [STROKE]}
    begun = browser.post("/edit", body)
    assert begun.status_code == 201, message(begun)
    edit = browser.done()
    assert (edit["state"], edit["status"]) == ("done", "ok"), edit
    assert edit["arms"] == ["baseline", "counterfactual", "sham"]
    assert {one["reader"] for one in edit["readings"]} == {"judge"}
    saved = Path(browser.post("/edits/1/save").json()["folder"])
    mask = saved / "0001.mask.png"
    made = verbs.edit(
        phantoms / "doe_jane.dcm", out=tmp_path / "own", editor="painter", mask=mask, **wanted
    )
    record = json.loads((saved / "edits.json").read_text())
    (own,), (item,) = made.record["items"], record["items"]
    assert {k: v["sha256"] for k, v in item["files"].items()} == {
        k: v["sha256"] for k, v in own["files"].items()
    }
    for file in own["files"].values():
        assert (saved / file["path"]).read_bytes() == (made.folder / file["path"]).read_bytes()
    sheets = [next(folder.glob("*/edits.png")).read_bytes() for folder in (saved, made.folder)]
    assert sheets[0] == sheets[1]
    shown = browser.get("/pixels/edit/1/counterfactual")
    values = np.frombuffer(shown.content, "<u2").reshape(
        int(shown.headers["X-Height"]), int(shown.headers["X-Width"])
    )
    written = imaging.read(saved / item["files"]["counterfactual.dcm"]["path"])
    assert np.abs(values / 65535 - written.pixels).max() < 1e-4
    changed = written.pixels != imaging.read(phantoms / "doe_jane.dcm").pixels
    inside = imaging.read_mask(mask, written)
    assert changed.any()
    assert not (changed & ~inside).any()
    words = browser.get("/edits/1/spelling").json()
    assert "--add Consolidation --side left --seed 3" in words["command"]
    assert "--mask" in words["command"]
    compile(words["python"], "edit.py", "exec")
    again = browser.post("/edits/1/save").json()["folder"]
    assert again != str(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"options": {"add": ["Edema"], "mask": "/etc/passwd"}}, "A page sets"),
        ({"options": {"add": ["Edema"], "host": "/etc"}}, "A page sets"),
        ({"options": {"add": ["Edema"], "editor": "/tmp/x"}}, "was started with"),
        ({"options": {"add": ["Edema", "Mass"]}}, "one edit after the other"),
        ({"options": {"add": ["Nonsense"]}}, "Nonsense"),
        ({"options": {"add": ["Edema"], "strength": 9}}, "strength"),
        ({"options": []}, "options and strokes"),
        ({"source": "../../etc/passwd"}, "not, or no longer"),
        ({"strokes": [{"radius": -1, "points": [{"x": 1, "y": 1}]}]}, "radius"),
        ({"strokes": [{"radius": 5, "points": []}]}, "points"),
        ({"strokes": [7]}, "options and strokes"),
    ],
)
def test_hostile_edits_are_refused_in_one_line(browser, change, words):
    body = {"source": source(browser, "two.png"), "options": {"add": ["Edema"]}} | change
    answer = browser.post("/edit", body)
    assert answer.status_code == 400
    assert words in message(answer)
    assert browser.get("/edits").json() == []


@pytest.mark.parametrize(
    "path",
    [
        "/pixels/source/0000000000000000/baseline",
        "/pixels/edit/1/baseline",
        "/pixels/edit/x/baseline",
        "/pixels/other/1/baseline",
        "/pixels/source/..%2f..%2fetc%2fpasswd/baseline",
        "/edits/7/spelling",
        "/run/0",
        "/run/0/report",
        "/static/../server.py",
        "/static/%2e%2e/server.py",
    ],
)
def test_what_was_not_given_is_not_shown(browser, path):
    assert browser.get(path).status_code in (400, 404)


def test_a_folder_opens_its_own_pictures_only(make, phantoms, tmp_path):
    folder = tmp_path / "given"
    (folder / "deep").mkdir(parents=True)
    picture = (phantoms / "two.png").read_bytes()
    for name in ("one.png", "deep/two.PNG", ".hidden.png", "notes.txt"):
        (folder / name).write_bytes(picture)
    (folder / "outside.png").symlink_to(phantoms / "two.png")
    (folder / "inside.png").symlink_to(folder / "one.png")
    listed = make([folder]).sources.listed()
    assert [one.name for one in listed] == ["deep/two.PNG", "inside.png", "one.png"]
    assert not any(one.name.partition(".")[0] in one.id for one in listed)


def test_dropped_files_are_kept_by_plain_names_within_bounds(browser, phantoms, monkeypatch):
    picture = (phantoms / "two.png").read_bytes()
    headers = {"x-csrftoken": browser.token, "x-name": "..%2F..%2Fa%00b%0D.png"}

    def drop(content):
        return browser.client.post("/drop", content=content, headers=headers)

    one = drop(picture).json()
    assert one["name"] == "a_b_.png"
    assert browser.get(f"/pixels/source/{one['id']}/baseline").status_code == 200
    dropped = browser.studio.sources.find(one["id"]).path
    assert dropped.parent.parent == browser.studio.workshop.place / "dropped"
    assert "empty" in message(drop(b""))
    monkeypatch.setattr(opening, "LARGEST", 1000)
    assert "at most" in message(drop(picture))
    text = drop(b"no picture at all")
    assert text.status_code == 201
    shown = browser.get(f"/pixels/source/{text.json()['id']}/baseline")
    assert shown.status_code == 400
    assert "must be DICOM" in message(shown)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("患者" * 50 + ".png", "患" + "者患" * 32 + ".png"),
        ("x" * 300 + ".dcm", "x" * 196 + ".dcm"),
        ("𐐀" * 80, "𐐀" * 50),
        ("a." + "b" * 300, "a." + "b" * 19),
        (".png", "png"),
        ("..", "picture"),
    ],
)
def test_a_long_name_is_cut_at_a_character_before_its_suffix(browser, phantoms, given, kept):
    headers = {"x-csrftoken": browser.token, "x-name": quote(given)}
    picture = (phantoms / "two.png").read_bytes()
    answer = browser.client.post("/drop", content=picture, headers=headers)
    assert answer.status_code == 201, message(answer)
    assert answer.json()["name"] == kept
    assert len(kept.encode()) <= 200
    assert browser.studio.sources.find(answer.json()["id"]).path.read_bytes() == picture


def test_a_full_disk_is_one_line_and_leaves_no_half_file(browser, phantoms, monkeypatch):
    real = Path.open

    def opened(path, *mode, **options):
        file = real(path, *mode, **options)
        if path.name == "full.png":
            file.close()
            file = real(Path("/dev/full"), "wb", buffering=0)
        return file

    monkeypatch.setattr(Path, "open", opened)
    headers = {"x-csrftoken": browser.token, "x-name": "full.png"}
    answer = browser.client.post("/drop", content=b"x" * 1000, headers=headers)
    assert answer.status_code == 400
    assert message(answer) == "Cannot write or read: No space left on device."
    assert not list((browser.studio.workshop.place / "dropped").glob("*/*"))
    assert all(one["name"] != "full.png" for one in browser.get("/state").json()["sources"])


def test_names_that_are_no_utf8_are_shown_and_opened(make, phantoms, tmp_path):
    folder = os.fsencode(tmp_path / "given")
    os.mkdir(folder)
    path = os.path.join(folder, b"r\xf6ntgen's.png")
    try:
        with open(path, "wb") as file:
            file.write((phantoms / "two.png").read_bytes())
    except OSError:
        pytest.skip("names of files are UTF-8 here")
    browser = Browser(make([Path(os.fsdecode(folder))]))
    with browser.client:
        (one,) = browser.get("/state").json()["sources"]
        assert one["name"] == "r?ntgen's.png"
        assert browser.get(f"/pixels/source/{one['id']}/baseline").status_code == 200
        # The path of its spelling is the same file's.
        shop = browser.studio.workshop
        shop.pieces[1] = Piece(1, browser.studio.sources.find(one["id"]), {}, shop.place)
        words = browser.get("/edits/1/spelling").json()
    shown = ["bash", "-c", words["command"].replace("roentmod edit", "printf '%s\n'")]
    assert subprocess.run(shown, capture_output=True, check=True).stdout.startswith(path + b"\n")
    calls = []
    own = words["python"].replace("import roentmod as rm", "")
    exec(own, {"rm": SimpleNamespace(edit=lambda *given, **_: calls.extend(given))})
    assert [os.fsencode(one) for one in calls] == [path]


def test_logs_hold_no_names_and_no_token(browser, caplog):
    with caplog.at_level(logging.INFO):
        name = source(browser, "doe_jane.dcm")
        browser.get(f"/pixels/source/{name}/baseline")
        browser.get("/", params={"token": browser.studio.token})
        browser.post("/edit", {"source": name, "options": {"add": ["Nonsense"]}})
    # The client of the tests writes whole addresses itself.
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("roentmod")]
    assert lines
    assert not any("doe" in line or browser.studio.token in line or name in line for line in lines)


def test_pictures_travel_as_display_values(browser, phantoms):
    answer = browser.get(f"/pixels/source/{source(browser, 'two.png')}/baseline")
    own = imaging.read(phantoms / "two.png").pixels
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-synthetic"] == "YES"
    content = answer.content
    values = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    shown = np.frombuffer(values, "<u2").reshape(own.shape) / 65535
    assert np.abs(shown - own).max() < 1e-4


def test_a_finished_edit_run_opens(make, phantoms, tmp_path):
    verbs.edit(
        phantoms / "two.png", out=tmp_path / "run", editor="painter", add="Mass", no_judge=True
    )
    browser = Browser(make([], run=tmp_path / "run"))
    with browser.client:
        facts = browser.get("/run/0").json()
        assert facts["kind"] == "edit"
        (title,) = facts["pictures"]
        assert title.endswith(": add-mass")
        assert browser.get("/run/0/pixels/0/counterfactual").status_code == 200
        assert browser.get("/run/0/pixels/1/counterfactual").status_code == 400
        assert browser.get("/run/0/report").status_code == 400
