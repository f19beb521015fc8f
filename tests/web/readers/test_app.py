"""The pages of a reader study: what is asked, what is stored, what is refused."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from litestar.testing import TestClient
from sqlalchemy import select

from bench.readers import PASSWORD
from roentmod.errors import ReadersError
from roentmod.jobs.readers.answers import ANSWERS, read_answers, read_truth
from roentmod.web.readers.database import Revision
from roentmod.web.server import Site
from tests.web.readers import studies
from tests.web.readers.studies import Reader, client, opened

pytestmark = pytest.mark.slow


def lowest(question, options):
    return options[0]


def test_a_reader_answers_everything_once(served, study, clock):
    desk, browser = served
    name = study.readers[0]
    reader = Reader(browser).enter(desk.link(name))
    while reader.field("question") or 'action="/go-on"' in reader.page:
        clock.turn(seconds=3)
        reader.read(most=1)
    assert "Thank you" in reader.page
    progress = {one.name: one for one in desk.sitting.progress()}
    assert progress[name].done == progress[name].total == len(study.steps[name])
    assert progress[study.readers[1]].done == 0
    table, truth = read_answers(study.folder), read_truth(study.folder)
    assert tuple(table.columns) == ANSWERS
    assert len(table) == len(reader.answered)
    assert not table.duplicated(["reader", "case", "question"]).any()
    hidden = {desk.sitting.hidden(name, case): case for case in truth["case"]}
    stored = {(one.case, one.question): one.value for one in table.itertuples()}
    assert stored == {(hidden[c], q): value for (c, q), value in reader.answered.items()}
    order = [step.case for step in study.steps[name]]
    assert list(dict.fromkeys(table["case"])) == list(dict.fromkeys(order))
    assert list(dict.fromkeys(table["position"])) == list(range(1, len(order) + 1))
    assert set(table["client_ms"]) == {1200}
    # A question behind a break is shown when the break ends.
    assert set(table["server_ms"]) == {0, 3000}
    assert set(table["block"]) == {"findings", "realism", "pairs"}
    assert (table.loc[table["block"] == "pairs", "other"] != "").all()
    assert (table.loc[table["block"] != "pairs", "other"] == "").all()


def test_questions_come_in_order_and_follow_what_was_answered(served, study):
    desk, browser = served
    reader = Reader(browser).enter(desk.link(study.readers[0]))
    asked = []
    for value in (5, 2, 3, 1, 4):
        asked.append(reader.question[1])
        reader.answer(value)
    effusion = ["finding:Pleural Effusion", "side:Pleural Effusion", "severity:Pleural Effusion"]
    first = ["finding:Edema", "severity:Edema"]
    assert study.findings[0] == "Edema"
    assert asked == [*first, effusion[0], "realism", "finding:Edema"]
    assert reader.question[1] == "severity:Edema"


def test_the_same_answer_twice_is_kept_once_and_another_is_refused(served, study):
    desk, browser = served
    reader = Reader(browser).enter(desk.link(study.readers[0]))
    case, question = reader.question
    assert reader.answer(1).status_code == 200
    again = {"case": case, "question": question, "client_ms": 1}
    assert reader.post("/answers", value=1, **again).status_code == 200
    assert reader.post("/answers", value=2, **again).status_code == 409
    assert "nothing was stored" in reader.page
    table = read_answers(study.folder)
    assert list(table["value"]) == [1]
    later = reader.post("/answers", case=case, question="realism", value=6, client_ms=1)
    assert later.status_code == 409
    assert len(read_answers(study.folder)) == 1


@pytest.mark.parametrize("value", ["0", "6", "-1", "x", "", "1e9", "٣", "9" * 30])
def test_a_value_that_is_no_option_is_refused(served, study, value):
    desk, browser = served
    reader = Reader(browser).enter(desk.link(study.readers[0]))
    case, question = reader.question
    done = reader.post("/answers", case=case, question=question, value=value, client_ms=1)
    assert done.status_code in (400, 409)
    assert len(read_answers(study.folder)) == 0


def test_pictures_are_those_of_the_question_alone(served, study):
    desk, browser = served
    name = study.readers[0]
    reader = Reader(browser).enter(desk.link(name))
    steps = study.steps[name]
    (now,) = reader.pictures()
    answer = browser.get(now)
    assert answer.content == study.picture(steps[0].case).read_bytes()
    assert (answer.headers["x-width"], answer.headers["x-height"]) == ("128", "128")
    for step in steps[1:]:
        hidden = desk.sitting.hidden(name, step.case)
        assert browser.get(f"/pixels/{hidden}").status_code == 404
    other = desk.sitting.hidden(study.readers[1], steps[0].case)
    assert browser.get(f"/pixels/{other}").status_code == 404
    assert browser.get(f"/pixels/{steps[0].case}").status_code == 404


def test_a_break_is_offered_and_the_last_block_shows_pairs(served, study):
    desk, browser = served
    reader = Reader(browser).enter(desk.link(study.readers[0]))
    breaks, pairs = 0, []
    while reader.field("question") or 'action="/go-on"' in reader.page:
        if 'action="/go-on"' in reader.page:
            breaks += 1
            assert not reader.pictures()
            # Still there after a reload.
            assert 'action="/go-on"' in reader.get("/read").text
        pairs.append(len(reader.pictures()))
        reader.read(lowest, most=1)
    assert breaks
    assert pairs[-1] == 2
    assert sorted(set(pairs)) in ([1, 2], [0, 1, 2])
    assert pairs.index(2) > max(n for n, count in enumerate(pairs) if count == 1)


def test_a_reader_comes_back_to_the_same_question(served, study):
    desk, browser = served
    name = study.readers[0]
    reader = Reader(browser).enter(desk.link(name)).read(most=4)
    question = reader.question
    reader.post("/logout")
    assert browser.get("/read").status_code == 401
    reader.get("/")
    reader.post("/login", name=name, password=PASSWORD)
    assert "Check of this display" in reader.page
    reader.post("/display", steps="17", room="bright")
    assert reader.question == question
    assert len(desk.sitting.displays()) == 2


def test_answers_survive_a_new_server(study, clock):
    desk, app = opened(study.folder, clock)
    with client(app) as browser:
        reader = Reader(browser).enter(desk.link(study.readers[0])).read(most=3)
        question, cookies = reader.question, dict(browser.cookies)
    desk, app = opened(study.folder, clock)
    with TestClient(app, base_url=studies.URL, cookies=cookies) as browser:
        reader = Reader(browser)
        reader.get("/read")
        assert reader.question == question


def test_going_back_is_by_design_and_keeps_what_was_taken_back(tmp_path, clock):
    for back in (False, True):
        study = studies.write_study(tmp_path / f"study-{back}", back=back)
        desk, app = opened(study.folder, clock)
        with client(app) as browser:
            reader = Reader(browser).enter(desk.link(study.readers[0]))
            first = reader.question
            assert 'action="/back"' not in reader.page
            reader.answer(1)
            assert ('action="/back"' in reader.page) == back
            reader.post("/back")
            assert (reader.question == first) == back
            if not back:
                continue
            # A complete case stays so.
            reader.post("/back")
            assert reader.question == first
            reader.answer(2)
            assert list(read_answers(study.folder)["value"]) == [2]
            with desk.store.reading() as session:
                assert [one.value for one in session.scalars(select(Revision))] == [1]


def test_sessions_rest(tmp_path, clock):
    study = studies.write_study(tmp_path / "study", rest=12)
    desk, app = opened(study.folder, clock)
    name = study.readers[0]
    with client(app) as browser:
        reader = Reader(browser).enter(desk.link(name)).read(lowest)
        assert "This session is complete" in reader.page
        first = read_answers(study.folder)
        assert set(first["session"]) == {1}
        clock.turn(hours=11.9)
        reader.get("/read")
        reader.get("/")
        assert not reader.field("question")
        clock.turn(hours=0.2)
        reader.post("/login", name=name, password=PASSWORD)
        reader.post("/display", steps="17", room="dark")
        reader.read(lowest, most=1)
        assert set(read_answers(study.folder)["session"]) == {1, 2}


def test_an_invitation_works_once_and_only_as_signed(served, study, clock):
    desk, browser = served
    name, other = study.readers
    link = urlsplit(desk.link(name)).path
    token = link.rpartition("/")[2]
    forged = [
        token.replace(name, other),
        token[:-1] + ("0" if token[-1] != "0" else "1"),
        token.replace(".", "", 1),
        token.upper(),
        f"{name}.{'0' * 32}.9999999999.{'0' * 64}",
    ]
    for one in forged:
        assert browser.get(f"/invite/{one}").status_code == 404
    reader = Reader(browser)
    assert "short" not in reader.get(link).text
    assert "10 to 200 characters" in reader.accept(link, "short").text
    assert reader.accept(link).status_code == 200
    assert browser.get(link).status_code == 404
    fresh = desk.link(other)
    newer = desk.link(other)
    assert browser.get(urlsplit(fresh).path).status_code == 404
    clock.turn(days=15)
    assert browser.get(urlsplit(newer).path).status_code == 404


def test_passwords_are_hashed_and_guessing_is_slow(served, study, clock):
    desk, browser = served
    name = study.readers[0]
    reader = Reader(browser).enter(desk.link(name))
    reader.post("/logout")
    reader.get("/")
    for wrong in ("x" * 10, "y" * 10, "", "z", PASSWORD.upper()):
        assert reader.post("/login", name=name, password=wrong).status_code == 403
    assert reader.post("/login", name=name, password=PASSWORD).status_code == 403
    clock.turn(seconds=61)
    assert reader.post("/login", name=name, password=PASSWORD).status_code == 200
    assert PASSWORD.encode() not in (study.folder / "study.db").read_bytes()
    (login,) = (value for name, value in browser.cookies.items() if name.startswith("login-"))
    assert login.encode() not in (study.folder / "study.db").read_bytes()


def test_logins_are_limited_per_address(served):
    _, browser = served
    reader = Reader(browser)
    reader.get("/")
    token = reader.field("_csrf_token")
    # Without a password there is nothing to hash: quick.
    codes = {
        browser.post("/login", data={"_csrf_token": token, "name": "x" * 500}).status_code
        for _ in range(125)
    }
    assert codes == {400, 429}


def test_changes_need_a_token_of_this_site(served, study):
    desk, browser = served
    reader = Reader(browser).enter(desk.link(study.readers[0]))
    case, question = reader.question
    fields = {"case": case, "question": question, "value": 1, "client_ms": 1}
    token = reader.field("_csrf_token")
    assert browser.post("/answers", data=fields).status_code == 403
    assert browser.post("/answers", data={**fields, "_csrf_token": "0" * 128}).status_code == 403
    right = {**fields, "_csrf_token": token}
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert browser.post("/answers", data=right, headers=headers).status_code == 403
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert len(read_answers(study.folder)) == 0
    big = {**right, "more": "x" * 100_000}
    assert browser.post("/answers", data=big).status_code == 413
    assert browser.post("/answers", data=right).status_code == 200


def test_the_administrator_sees_progress_and_pauses(served, study):
    desk, browser = served
    reader = Reader(browser).enter(desk.link(study.readers[0])).read(most=2)
    for page in ("/admin", "/admin/answers.csv"):
        assert browser.get(page).status_code == 404
    cookies = dict(browser.cookies)
    browser.cookies.clear()
    admin = Reader(browser)
    admin.accept(desk.link("admin"))
    assert admin.get("/").url.path == "/admin"
    assert all(name in admin.page for name in study.readers)
    for word in (*read_truth(study.folder)["case"], "real_normal", "real_positive", "patient"):
        assert word not in admin.page
    assert browser.get("/read").status_code == 404
    admin.post("/admin/invite", reader=study.readers[1])
    assert re.search(r"/invite/r-\w+\.\w+\.\d+\.\w+", admin.page)
    admin.post("/admin/pause", paused="yes", reader="")
    exported = admin.get("/admin/answers.csv")
    assert exported.text.splitlines()[0] == ",".join(ANSWERS)
    assert len(exported.text.splitlines()) == 3
    admin_cookies = dict(browser.cookies)
    for cookie in (cookies, admin_cookies):
        browser.cookies.clear()
        browser.cookies.update(cookie)
        if cookie is cookies:
            reader.get("/read")
            assert "The study is paused" in reader.page
            assert not reader.pictures()
        else:
            admin.get("/admin")
            admin.post("/admin/pause", paused="no", reader="")
    browser.cookies.clear()
    browser.cookies.update(cookies)
    reader.get("/read")
    assert reader.field("question")


def test_every_answer_has_the_same_closed_headers(served, study):
    desk, browser = served
    reader = Reader(browser).enter(desk.link(study.readers[0]))
    for path in ("/", "/read", reader.pictures()[0], "/static/readers.js", "/nowhere", "/admin"):
        headers = browser.get(path, follow_redirects=False).headers
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert not {"etag", "last-modified"} & set(headers)
    page = browser.get("/read").text
    assert "style=" not in page
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=", page)


def test_a_name_that_no_file_can_have_is_not_there(served):
    _, browser = served
    assert browser.get("/static/%00/key").status_code == 404


def test_the_log_has_no_token_and_no_query(served, study, caplog):
    desk, browser = served
    with caplog.at_level("INFO", logger="roentmod"):
        reader = Reader(browser).enter(desk.link(study.readers[0]))
        browser.get(reader.pictures()[0] + "?secret=1")
    lines = [one.message for one in caplog.records if one.name.startswith("roentmod")]
    assert "GET /pixels/{picture} 200" in " ".join(lines).replace(":str", "")
    assert not any(study.readers[0] in line or "secret" in line for line in lines)


def test_a_plan_that_was_changed_is_refused(study, clock):
    from roentmod.jobs.readers import design
    from roentmod.store import canonical_hash, write_json

    desk, app = opened(study.folder, clock)
    with client(app) as browser:
        Reader(browser).enter(desk.link(study.readers[0])).read(most=1)
    content = dict(study.content)
    content["outcomes"] = []
    write_json(study.folder / design.PLAN, content)
    with pytest.raises(ReadersError, match="frozen"):
        opened(study.folder)
    rest = {name: value for name, value in content.items() if name != "hash"}
    write_json(study.folder / design.PLAN, rest | {"hash": canonical_hash(rest)})
    with pytest.raises(ReadersError, match="once there is an answer"):
        opened(study.folder)


def test_servers_of_one_machine_keep_their_cookies_apart():
    """A studio and two studies may be open in one browser, which shares cookies between ports."""
    sites = [Site(f"http://127.0.0.1:{port}", "s", Path()) for port in (8760, 8761, 8770)]
    for kind in ("login", "token"):
        assert len({site.cookie(kind) for site in sites}) == 3
    assert Site("https://reads.example.org", "s", Path()).cookie("login") == "login-web"
