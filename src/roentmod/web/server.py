"""One way to serve: a Litestar application that shows no more than it must, and uvicorn.

Pages load nothing from elsewhere and run no code of their own; nothing is kept by a browser, no
address is passed on, other hosts' names are refused, bodies are bounded, every change needs a token
of this site, and a line of the log has neither a query nor a name in it.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from litestar import Litestar, Request, Response
from litestar.config.allowed_hosts import AllowedHostsConfig
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import MutableScopeHeaders
from litestar.exceptions import HTTPException, NotFoundException, PermissionDeniedException
from litestar.middleware import DefineMiddleware
from litestar.middleware.csrf import CSRFMiddleware
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.static_files import create_static_files_router
from litestar.template.config import TemplateConfig
from litestar.types import Message, Scope

from roentmod.errors import RunError

__all__ = ["LOCAL", "Site", "build", "limited", "listen", "public", "serve"]

log = logging.getLogger(__name__)
LOCAL = "127.0.0.1"
_OWN = (LOCAL, "localhost", "[::1]")
# As a browser names it: other letters than ASCII are encoded (xn--...).
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\]")
_HERE = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Site:
    """What the two faces differ in besides their pages.

    Attributes:
        url: the public address, such as ``http://127.0.0.1:8765``.
        secret: signs the tokens of forms.
        templates: folder of Jinja templates, ``error.html`` (with `message`) among them.
        largest: bytes of a request's body.
    """

    url: str
    secret: str
    templates: Path
    largest: int = 64 * 1024

    @property
    def hosts(self) -> list[str]:
        """Names that a request may address: of the URL, and of this machine where it is that."""
        name = _host(self.url) or LOCAL
        return list(_OWN) if name in _OWN else [name]

    def cookie(self, kind: str) -> str:
        """Return the name of a cookie; ports of one host share cookies, which this keeps apart."""
        return f"{kind}-{urlsplit(self.url).port or 'web'}"

    @property
    def secure(self) -> bool:
        """Whether cookies travel encrypted only."""
        return self.url.startswith("https://")


def build(handlers: Sequence[Any], site: Site, **options: Any) -> Litestar:
    """Return the application of a face.

    Args:
        handlers: its routes, each with its own path, as Litestar lets no two handlers that run in
            threads share one; ``/static`` is here.
        site: what is its own.
        options: others of `Litestar`.
    """
    static = create_static_files_router("/static", [_HERE / "static"], name="static")
    return Litestar(
        [*handlers, static],
        allowed_hosts=AllowedHostsConfig(_with_ports(site), www_redirect=False),
        before_request=_same_origin(site),
        before_send=[_closed],
        middleware=[_tokens(site), *options.pop("middleware", ())],
        exception_handlers={HTTPException: _refused, Exception: _failed},
        logging_config=None,
        openapi_config=None,
        request_max_body_size=site.largest,
        template_config=TemplateConfig(directory=site.templates, engine=JinjaTemplateEngine),
        **options,
    )


class _Tokens(CSRFMiddleware):
    """Litestar's check of forms' tokens, also for what cannot be one."""

    def _decode_csrf_token(self, token: Any) -> str | None:
        # Other letters than ASCII, or a file in its place, would be an exception.
        right = isinstance(token, str) and token.isascii()
        return super()._decode_csrf_token(token) if right else None


def _tokens(site: Site) -> DefineMiddleware:
    cookie: dict[str, Any] = {"cookie_name": site.cookie("token"), "cookie_httponly": True}
    cookie |= {"cookie_secure": site.secure, "cookie_samesite": "strict"}
    return DefineMiddleware(_Tokens, config=CSRFConfig(site.secret, **cookie))


def _with_ports(site: Site) -> list[str]:
    port = urlsplit(site.url).port
    return [name for host in site.hosts for name in (host, f"{host}:{port}")]


def _same_origin(site: Site) -> Callable[[Request[Any, Any, Any]], Awaitable[None]]:
    """Return a check that changes come from pages of this site."""

    async def check(request: Request[Any, Any, Any]) -> None:
        if "\0" in request.scope["path"]:
            # No file's name; the system would raise an exception.
            raise NotFoundException("There is no such page.")
        if request.method in _SAFE:
            return
        origin = request.headers.get("origin", "null")
        # Pages that pass no address on send "null": the token then decides alone.
        foreign = origin != "null" and _host(origin) not in site.hosts
        if foreign or request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise PermissionDeniedException("Changes are made from pages of this site only.")

    return check


def limited(count: int) -> Any:
    """Return middleware that takes so many requests per minute and address for a route."""
    return RateLimitConfig(("minute", count), set_rate_limit_headers=False).middleware


async def _closed(message: Message, scope: Scope) -> None:
    """Add the headers that every answer has, and write its line of the log."""
    if message["type"] != "http.response.start":
        return
    headers = MutableScopeHeaders.from_message(message)
    for name, value in _HEADERS.items():
        # A page that is shut off has a stricter policy.
        if name not in headers or not headers[name].startswith("sandbox"):
            headers[name] = value
    for name in ("etag", "last-modified", "server"):
        if name in headers:
            del headers[name]
    # The template of the path, as the path itself may hold a token.
    template = scope.get("path_template") or "(no page)"
    log.info("%s %s %s", scope.get("method"), template, message["status"])


def _refused(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Return a page of one sentence for a request that is refused."""
    # What a validation says may repeat what was sent.
    words = error.detail if 400 <= error.status_code < 500 and not error.extra else ""
    context = {"message": words or "This request is not understood.", "status": error.status_code}
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "retry-after"}
    return Template("error.html", context=context, status_code=error.status_code, headers=headers)


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Return a page of one sentence for what must not happen, and log its kind."""
    log.error("%s: %s", _route(request), type(error).__name__)
    return _refused(request, HTTPException("", status_code=500))


def _route(request: Request[Any, Any, Any]) -> str:
    """Return a request's method and template of the path."""
    return f"{request.method} {request.scope.get('path_template') or '(no page)'}"


def _host(url: str) -> str:
    """Return the host of a URL as requests name it, IPv6 in brackets; "" where there is none."""
    try:
        name = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return _bracketed(name)


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def public(url: str) -> str:
    """Return a public address with no slash at its end.

    Raises:
        RunError: it has another scheme than http and https, no host, or a port that is none.
    """
    try:
        parts = urlsplit(url)
        # Reading the port checks it.
        right = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        right = False
    if not right or not _HOST.fullmatch(_host(url)):
        raise RunError(
            "A public address is http://HOST:PORT or https://HOST, in letters of ASCII; got "
            f"'{url}'. Correct --url."
        )
    return parts.geturl().rstrip("/")


def listen(host: str, port: int, url: str | None = None) -> tuple[socket.socket, str]:
    """Return a socket that is bound, and the address that links have.

    Args:
        host: name or address of this machine.
        port: 0 to 65535; 0 takes a free one.
        url: the public address; None or "" takes host and port.

    Raises:
        RunError: the address is taken, or is none of this machine; `url` is as `public` refuses.
    """
    address = public(url) if url else ""
    try:
        # Of the port itself, the resolver would keep the lower 16 bits.
        family, *_, place = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((place[0], port, *place[2:]))
        except BaseException:
            bound.close()
            raise
    except (OSError, UnicodeError, OverflowError) as error:
        raise RunError(
            f"A server needs a free address of this machine; {_bracketed(host)}:{port} gave "
            f"'{getattr(error, 'strerror', None) or error}'. Choose another --port or --host."
        ) from error
    return bound, address or f"http://{_bracketed(host)}:{bound.getsockname()[1]}"


def serve(app: Litestar, bound: socket.socket) -> None:
    """Serve until interrupted."""
    import uvicorn

    options: dict[str, Any] = {"access_log": False, "server_header": False, "log_level": "warning"}
    uvicorn.Server(uvicorn.Config(app, **options)).run(sockets=[bound])
