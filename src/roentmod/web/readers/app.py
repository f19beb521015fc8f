"""The pages of a reader study."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.exceptions import (
    ClientException,
    NotAuthorizedException,
    NotFoundException,
)
from litestar.params import Body, FromPath
from litestar.response import Redirect, Template

from roentmod.errors import ReadersError
from roentmod.jobs.readers import design as designing
from roentmod.jobs.readers.answers import read_answers
from roentmod.jobs.readers.design import Design
from roentmod.web.readers.accounts import SHORTEST, Accounts, Visitor
from roentmod.web.readers.database import Store
from roentmod.web.readers.sitting import Given, Sitting, State
from roentmod.web.server import Site, build, limited

__all__ = ["COOKIE", "Desk", "application", "desk"]

# Of a reader who is logged in.
COOKIE = "login"
# Per minute and address; readers of one hospital may share an address.
_LOGINS = 120
_HERE = Path(__file__).parent
_ROOM = ("dark", "dimmed", "bright")
Form = Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]
AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True)
class Desk:
    """What the pages work with.

    Attributes:
        design: of the study.
        store: its database.
        accounts: who may come in.
        sitting: what is asked and stored.
        site: where it is served.
        database: where answers are read from to be exported.
    """

    design: Design
    store: Store
    accounts: Accounts
    sitting: Sitting
    site: Site
    database: str

    def link(self, name: str) -> str:
        """Return a new invitation's link."""
        return f"{self.site.url}/invite/{self.accounts.invite(name)}"


def _now() -> datetime:
    return datetime.now(timezone.utc)


def desk(
    folder: Path, url: str, *, database: str | None = None, clock: Callable[[], datetime] = _now
) -> Desk:
    """Open a study: check its plan, bring its database up to date, make missing accounts.

    Args:
        folder: the study's.
        url: its public address.
        database: URL of another database than SQLite in the folder.
        clock: gives UTC.

    Raises:
        ReadersError: the plan was changed, or the database belongs to another or cannot be used.
    """
    design = designing.load(folder)
    key = design.key()
    store = Store.open(folder, database)
    accounts = Accounts(store, key, clock)
    sitting = Sitting(design, store, key, clock)
    sitting.claim()
    accounts.ensure(design.readers)
    site = Site(url, key.hex(), _HERE / "templates")
    return Desk(design, store, accounts, sitting, site, database or str(folder))


def application(one: Desk) -> Litestar:
    """Return the application of a study."""
    return build(
        [*_entrance(one), *_reading(one), *_administration(one)],
        one.site,
        on_shutdown=[one.store.close],
    )


def _visitor(one: Desk, request: AnyRequest) -> Visitor:
    """Return who sent a request.

    Raises:
        NotAuthorizedException: nobody who is logged in.
    """
    visitor = one.accounts.visitor(request.cookies.get(one.site.cookie(COOKIE)))
    if visitor is None:
        raise NotAuthorizedException("Please log in.")
    return visitor


def _reader(one: Desk, request: AnyRequest) -> Visitor:
    visitor = _visitor(one, request)
    if visitor.admin or visitor.name not in one.design.readers:
        raise NotFoundException("There is no such page.")
    return visitor


def _admin(one: Desk, request: AnyRequest) -> Visitor:
    visitor = _visitor(one, request)
    if not visitor.admin:
        raise NotFoundException("There is no such page.")
    return visitor


def _field(form: dict[str, str], name: str, longest: int = 400) -> str:
    """Return a field of a form, "" where there is none.

    Raises:
        ClientException: it is too long.
    """
    value = form.get(name, "")
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise ClientException("This request is not understood.")
    return value


def _whole(text: str) -> int:
    """Return a whole number.

    Raises:
        ClientException: it is none, or too large.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise ClientException("This request is not understood.")
    return int(text)


def _entrance(one: Desk) -> list[Any]:
    """Return the pages of invitations and logins."""
    limit = [limited(_LOGINS)]

    def _entered(cookie: str) -> Redirect:
        kept = Cookie(
            one.site.cookie(COOKIE),
            value=cookie,
            httponly=True,
            samesite="strict",
            secure=one.site.secure,
        )
        return Redirect("/", cookies=[kept])

    @get("/", sync_to_thread=True)
    def home(request: AnyRequest) -> Response[Any]:
        visitor = one.accounts.visitor(request.cookies.get(one.site.cookie(COOKIE)))
        if visitor is None:
            return Template("login.html", context={"wrong": False})
        if visitor.admin:
            return Redirect("/admin")
        return Redirect("/read" if visitor.checked else "/start")

    @post("/login", sync_to_thread=True, middleware=limit, status_code=200)
    def log_in(data: Form) -> Response[Any]:
        cookie = one.accounts.log_in(_field(data, "name").strip(), _field(data, "password"))
        if cookie is None:
            return Template("login.html", context={"wrong": True}, status_code=403)
        return _entered(cookie)

    @post("/logout", sync_to_thread=True)
    def log_out(request: AnyRequest, data: Form) -> Redirect:
        one.accounts.log_out(_visitor(one, request))
        return Redirect("/", cookies=[Cookie(one.site.cookie(COOKIE), value="", max_age=0)])

    def _invitation(token: str, message: str = "", status: int = 200) -> Response[Any]:
        name = one.accounts.invited(token[:400])
        if name is None:
            raise NotFoundException(
                "This invitation is not valid any more. Ask for another, or log in."
            )
        context = {"name": name, "token": token, "message": message, "shortest": SHORTEST}
        return Template("invite.html", context=context, status_code=status)

    @get("/invite/{token:str}", sync_to_thread=True)
    def invitation(token: FromPath[str]) -> Response[Any]:
        return _invitation(token)

    @post("/accept/{token:str}", sync_to_thread=True, middleware=limit, status_code=200)
    def accept(token: FromPath[str], data: Form) -> Response[Any]:
        password = _field(data, "password")
        if password != _field(data, "again"):
            return _invitation(token, "The two passwords differ.", 400)
        try:
            cookie = one.accounts.accept(token[:400], password)
        except ReadersError as error:
            return _invitation(token, str(error), 400)
        return _entered(cookie) if cookie else _invitation(token)

    return [home, log_in, log_out, invitation, accept]


def _reading(one: Desk) -> list[Any]:
    """Return the pages of a reader."""

    def _page(template: str, visitor: Visitor, state: State, **more: Any) -> Template:
        step = state.asked.step if state.asked else None
        pictures = [
            one.sitting.hidden(visitor.name, case)
            for case in ((step.case, step.other) if step and state.kind == "question" else ())
            if case
        ]
        context = {"state": state, "pictures": pictures, "name": visitor.name, "design": one.design}
        return Template(template, context=context | {"notice": ""} | more)

    @get("/start", sync_to_thread=True)
    def start(request: AnyRequest) -> Response[Any]:
        return _page("start.html", *_with_state(request), rooms=_ROOM)

    def _with_state(request: AnyRequest) -> tuple[Visitor, State]:
        visitor = _reader(one, request)
        return visitor, one.sitting.state(visitor.name)

    @post("/display", sync_to_thread=True)
    def checked(request: AnyRequest, data: Form) -> Redirect:
        visitor = _reader(one, request)
        facts: dict[str, Any] = {n: _field(data, n) == "on" for n in ("dark", "light")}
        facts |= {n: _whole(_field(data, n) or "0") for n in ("steps", "width", "height")}
        facts |= {"ratio": _field(data, "ratio", 8), "room": _field(data, "room", 8)}
        if facts["room"] not in _ROOM or not facts["ratio"].replace(".", "", 1).isdigit():
            facts |= {"room": "", "ratio": ""}
        one.accounts.check_display(visitor, json.dumps(facts))
        return Redirect("/read")

    @get("/read", sync_to_thread=True)
    def read(request: AnyRequest) -> Response[Any]:
        visitor = _reader(one, request)
        if not visitor.checked:
            return Redirect("/start")
        return _page("read.html", visitor, one.sitting.state(visitor.name))

    @post("/answers", sync_to_thread=True, status_code=200)
    def answer(request: AnyRequest, data: Form) -> Response[Any]:
        visitor = _reader(one, request)
        given = Given(
            _field(data, "case"),
            _field(data, "question"),
            _whole(_field(data, "value")),
            _whole(_field(data, "client_ms") or "0"),
        )
        stored, state = one.sitting.answer(visitor, given)
        notice = "" if stored else "This was not the question asked now; nothing was stored."
        page = _page("step.html", visitor, state, notice=notice)
        page.status_code = 200 if stored else 409
        return page

    @post("/go-on", sync_to_thread=True, status_code=200)
    def go_on(request: AnyRequest, data: Form) -> Response[Any]:
        visitor = _reader(one, request)
        return _page("step.html", visitor, one.sitting.go_on(visitor.name))

    @post("/back", sync_to_thread=True, status_code=200)
    def back(request: AnyRequest, data: Form) -> Response[Any]:
        visitor = _reader(one, request)
        return _page("step.html", visitor, one.sitting.back(visitor.name))

    @get("/pixels/{picture:str}", sync_to_thread=True)
    def pixels(request: AnyRequest, picture: FromPath[str]) -> Response[bytes]:
        visitor = _reader(one, request)
        for case in one.sitting.cases(visitor.name):
            if one.sitting.hidden(visitor.name, case) == picture:
                side = str(one.design.plan.side)
                headers = {"X-Width": side, "X-Height": side, "X-Spacing-Mm": ""}
                data = one.design.picture(case).read_bytes()
                return Response(data, media_type="application/octet-stream", headers=headers)
        raise NotFoundException("There is no such picture now.")

    return [start, checked, read, answer, go_on, back, pixels]


def _administration(one: Desk) -> list[Any]:
    """Return the administrator's pages: how far readers are, and nothing that is true."""

    def _overview(**more: Any) -> Template:
        context = {"rows": one.sitting.progress(), "paused": one.sitting.paused}
        displays = [
            (name, since, json.loads(facts)) for name, since, facts in one.sitting.displays()
        ]
        context |= {"displays": displays, "design": one.design, "link": "", "invited": ""}
        return Template("admin.html", context=context | more)

    @get("/admin", sync_to_thread=True)
    def overview(request: AnyRequest) -> Template:
        _admin(one, request)
        return _overview()

    @post("/admin/pause", sync_to_thread=True)
    def pause(request: AnyRequest, data: Form) -> Redirect:
        _admin(one, request)
        try:
            one.sitting.pause(_field(data, "paused") == "yes", _field(data, "reader") or None)
        except ReadersError as error:
            raise NotFoundException(str(error)) from error
        return Redirect("/admin")

    @post("/admin/invite", sync_to_thread=True, status_code=200)
    def invite(request: AnyRequest, data: Form) -> Template:
        _admin(one, request)
        name = _field(data, "reader")
        if name not in one.design.readers:
            raise NotFoundException("There is no such reader.")
        return _overview(link=one.link(name), invited=name)

    @get("/admin/answers.csv", sync_to_thread=True)
    def answers(request: AnyRequest) -> Response[bytes]:
        _admin(one, request)
        text = io.StringIO()
        read_answers(one.database).to_csv(text, index=False)
        headers = {"Content-Disposition": 'attachment; filename="answers.csv"'}
        return Response(text.getvalue().encode(), media_type="text/csv", headers=headers)

    return [overview, pause, invite, answers]
