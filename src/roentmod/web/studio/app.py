"""The pages of the studio: who has the token may see and edit what the studio was started with."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from litestar import Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.exceptions import ClientException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.response import Redirect, Template

from roentmod import domain, imaging, regions
from roentmod.errors import RoentModError, RunError, printable
from roentmod.radiograph import Radiograph
from roentmod.web import server
from roentmod.web.pixels import Pixels, encode
from roentmod.web.studio import spelling
from roentmod.web.studio.finished import Finished
from roentmod.web.studio.sources import LARGEST, Sources
from roentmod.web.studio.workshop import Piece, Workshop

__all__ = ["Studio", "application"]

Json = dict[str, Any]
T = TypeVar("T")
# Stands for the token of the address.
_COOKIE = "studio"
# Bytes of an edit's description: strokes of a hand.
_SMALL = 4 * 2**20
# Pictures kept as a viewer takes them.
_KEPT = 24
_SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, eq=False)
class Studio:
    """What the pages stand on.

    Attributes:
        url: the address that people open.
        sources: what may be opened.
        workshop: makes edits.
        run: a finished run to show, or None.
        token: opens the studio.
    """

    url: str
    sources: Sources
    workshop: Workshop
    run: Finished | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def door(self) -> str:
        """The address with the token."""
        return f"{self.url}/?token={self.token}"

    def runs(self, number: int) -> Finished:
        """Return the run (0) or one of a study's (1, ...).

        Raises:
            RunError: there is none.
        """
        known = [self.run, *self.run.stages] if self.run else []
        run = known[number] if 0 <= number < len(known) else None
        if run is None:
            raise RunError("The studio was started without that run. Load the page again.")
        return run

    def piece(self, number: int) -> Piece:
        """Return an edit of the history.

        Raises:
            RunError: there is none.
        """
        if number not in self.workshop.pieces:
            raise RunError("The history has no such edit. Load the page again.")
        return self.workshop.pieces[number]

    def allows(self, given: str | None) -> bool:
        """Tell whether a text is the token, in constant time."""
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())


def application(studio: Studio) -> Litestar:
    """Return the application of a studio."""
    site = server.Site(
        url=studio.url,
        secret=secrets.token_urlsafe(32),
        templates=Path(__file__).parent / "templates",
        largest=_SMALL,
    )

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if not studio.allows(connection.cookies.get(site.cookie(_COOKIE))):
            raise PermissionDeniedException("Open the address that roentmod studio printed.")

    handlers = [_door(studio, site), *_edits(studio, guard), *_runs(studio, guard)]
    return server.build(handlers, site, on_shutdown=[studio.workshop.close])


def _door(studio: Studio, site: server.Site) -> Any:
    @get("/", sync_to_thread=False)
    def page(request: Request[Any, Any, Any]) -> Response[Any]:
        """Take the token out of the address, or show the page to who has it."""
        if studio.allows(request.query_params.get("token")):
            kept = Cookie(
                site.cookie(_COOKIE),
                value=studio.token,
                httponly=True,
                # A link here works from any page; changes need the token of the forms, too.
                samesite="lax",
                secure=site.secure,
            )
            # The forms' token of an earlier studio would be refused.
            return Redirect("/", cookies=[kept, Cookie(site.cookie("token"), value="", max_age=0)])
        if not studio.allows(request.cookies.get(site.cookie(_COOKIE))):
            raise PermissionDeniedException("Open the address that roentmod studio printed.")
        return Template("index.html")

    return page


def _edits(studio: Studio, guard: Any) -> list[Any]:
    """Return the routes of files and edits."""
    shop, sources = studio.workshop, studio.sources
    options: Json = {"guards": [guard], "sync_to_thread": True}

    @lru_cache(_KEPT)
    def encoded(kind: str, name: str, arm: str) -> Pixels:
        if kind == "source":
            return _marked(imaging.read(sources.find(name).path))
        return _marked(shop.picture(int(name), arm))

    @get("/state", **options)
    def state() -> Json:
        """What can be opened and chosen, and the history."""
        return _said(
            lambda: {
                "sources": [{"id": one.id, "name": one.name} for one in sources.listed()],
                "editors": shop.editors,
                "findings": [
                    {"name": f.name, "sided": f.sided, "place": bool(f.place)}
                    for f in domain.catalogue()
                    if f.name != domain.NO_FINDING.name
                ],
                "severities": domain.SEVERITIES,
                "regions": regions.PLACES,
                "run": studio.run is not None,
                "edits": [piece.facts() for piece in shop.pieces.values()],
            }
        )

    @get("/edits", **options)
    def history() -> list[Json]:
        """The history alone."""
        return [piece.facts() for piece in shop.pieces.values()]

    @post("/drop", guards=[guard], request_max_body_size=LARGEST + 1)
    async def drop(request: Request[Any, Any, Any]) -> Json:
        """Keep a dropped file, whose name stands in a header."""
        from urllib.parse import unquote

        with _saying():
            one = await sources.drop(unquote(request.headers.get("x-name", "")), request.stream())
        return {"id": one.id, "name": one.name}

    @post("/edit", **options)
    def begin(data: JSONBody[Json]) -> Json:
        """Begin an edit: `source`, `options`, `strokes`."""

        def work() -> Json:
            source = sources.find(str(data.get("source")))
            wanted = data.get("options")
            strokes = data.get("strokes", [])
            drawn = isinstance(strokes, list) and all(isinstance(one, dict) for one in strokes)
            if not isinstance(wanted, dict) or not drawn:
                raise RunError("An edit has options and strokes. Load the page again.")
            return shop.begin(source, wanted, strokes).facts()

        return _said(work)

    @post("/edits/{number:int}/save", **options)
    def save(number: FromPath[int]) -> Json:
        """Save an edit's files."""
        return _said(lambda: {"folder": printable(str(shop.save(studio.piece(number))))})

    @get("/edits/{number:int}/spelling", **options)
    def spell(number: FromPath[int]) -> Json:
        """The command line and the Python of an edit."""

        def work() -> Json:
            piece = studio.piece(number)
            if piece.source is None:
                raise RunError("A case of a run is made by the run's own command.")
            words = piece.options | ({"mask": str(piece.mask)} if piece.mask else {})
            path = str(piece.source.path)
            return {
                "command": spelling.command(path, words),
                "python": spelling.python(path, words),
            }

        return _said(work)

    @get("/pixels/{kind:str}/{name:str}/{arm:str}", **options)
    def pixels(kind: FromPath[str], name: FromPath[str], arm: FromPath[str]) -> Response[bytes]:
        """The display values of a picture."""
        known = {"source": name.isalnum(), "edit": name.isdecimal() and len(name) < 9}
        if not known.get(kind):
            raise ClientException("There is no such picture.")
        return _pixels(_said(lambda: encoded(kind, name, arm)))

    return [state, history, drop, begin, save, spell, pixels]


def _runs(studio: Studio, guard: Any) -> list[Any]:
    """Return the routes of a finished run."""
    options: Json = {"guards": [guard], "sync_to_thread": True}

    @get("/run/{number:int}", **options)
    def overview(number: FromPath[int]) -> Json:
        """What a run found."""
        return _said(lambda: studio.runs(number).facts())

    @post("/run/{number:int}/cases", **options)
    def cases(number: FromPath[int], data: JSONBody[Json]) -> list[Json]:
        """The cases behind a cell: `classifier` (its number), `edited`, `read`."""

        def work() -> list[Json]:
            classifier = data.get("classifier")
            place = classifier if isinstance(classifier, int) else -1
            run = studio.runs(number)
            return run.cases(place, str(data.get("edited")), str(data.get("read")))

        return _said(work)

    @post("/run/{number:int}/case", **options)
    def case(number: FromPath[int], data: JSONBody[Json]) -> Json:
        """Show a case of an audit: `baseline`, `pair`."""

        def work() -> Json:
            run, shop = studio.runs(number), studio.workshop
            title, make = run.case(str(data.get("baseline")), str(data.get("pair")))
            return shop.show(title, make, run.fitting(shop.editors)).facts()

        return _said(work)

    @get("/run/{number:int}/report", **options)
    def report(number: FromPath[int]) -> Response[bytes]:
        """The report as it lies in the folder, shut off from the studio."""
        page = _said(lambda: studio.runs(number)).folder / "report.html"
        if not page.is_file():
            raise ClientException("The run has no report.html.")
        headers = {"Content-Security-Policy": _SANDBOX}
        return Response(page.read_bytes(), media_type="text/html; charset=utf-8", headers=headers)

    @get("/run/{number:int}/pixels/{place:int}/{arm:str}", **options)
    def pixels(number: FromPath[int], place: FromPath[int], arm: FromPath[str]) -> Response[bytes]:
        """The display values of a picture that a run wrote."""
        return _pixels(_said(lambda: _marked(studio.runs(number).picture(place, arm))))

    return [overview, cases, case, report, pixels]


def _marked(radiograph: Radiograph) -> Pixels:
    """Return the display values of a radiograph, and whether it is synthetic: phantoms are."""
    pixels = encode(radiograph)
    mark = {"X-Synthetic": "YES"} if radiograph.synthetic else {}
    return Pixels(pixels.body, pixels.headers | mark)


def _pixels(pixels: Pixels) -> Response[bytes]:
    headers = {k: v for k, v in pixels.headers.items() if k != "Content-Type"}
    return Response(pixels.body, media_type=pixels.headers["Content-Type"], headers=headers)


def _said(work: Callable[[], T]) -> T:
    """Return what work returns; what it refuses becomes one line for the page."""
    with _saying():
        return work()


@contextmanager
def _saying() -> Iterator[None]:
    """Let what the block refuses become one line for the page."""
    try:
        yield
    except RoentModError as error:
        raise ClientException(str(error)) from error
    except OSError as error:
        raise ClientException(f"Cannot write or read: {error.strerror}.") from error
