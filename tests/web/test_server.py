"""Addresses: what is listened at, what links have, and which hosts are answered."""

import socket

import pytest
from litestar import get, post
from litestar.testing import TestClient
from typer.testing import CliRunner

from roentmod.cli import app
from roentmod.errors import RunError
from roentmod.web import server
from roentmod.web.server import Site

TEMPLATES = server._HERE / "studio" / "templates"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


def client(url):
    """Return a client of a face with one page and one change."""

    @get("/", sync_to_thread=False)
    def page() -> str:
        return "page"

    @post("/change", sync_to_thread=False)
    def change() -> str:
        return "changed"

    face = server.build([page, change], Site(url, "s" * 32, TEMPLATES))
    # The client takes no IPv6 for an address of its own.
    client = TestClient(face)
    client.headers["host"] = url.partition("://")[2]
    return client


def test_links_have_the_host_and_the_port_that_is_bound():
    bound, address = server.listen("127.0.0.1", 0)
    with bound:
        bound.listen()
        port = bound.getsockname()[1]
        assert address == f"http://127.0.0.1:{port}"
        with pytest.raises(RunError, match=f"127.0.0.1:{port} gave 'Address already in use'"):
            server.listen("127.0.0.1", port)
    bound, address = server.listen("127.0.0.1", 0, "HTTPS://Reads.example.org/")
    with bound:
        assert address == "https://Reads.example.org"


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_address_of_ipv6_stands_in_brackets():
    bound, address = server.listen("::1", 0)
    with bound:
        assert address == f"http://[::1]:{bound.getsockname()[1]}"
        with client(address) as browser:
            assert browser.get("/").status_code == 200


@pytest.mark.parametrize("host", ["..", "a" * 64, "no-such-host.invalid", "192.0.2.1", ""])
def test_a_host_that_is_none_of_this_machine_is_one_line(host, monkeypatch):
    # Nobody is asked for a name.
    real = socket.getaddrinfo

    def known(name, *rest, **options):
        if name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(name, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    with pytest.raises(RunError, match=r"A server needs a free address .* gave '\w.*Choose"):
        server.listen(host, 0)


@pytest.mark.parametrize("port", [65536, 99999, -1])
def test_a_port_that_is_none_binds_no_other(port):
    with pytest.raises(RunError, match=f"127.0.0.1:{port} gave '"):
        server.listen("127.0.0.1", port)


@pytest.mark.parametrize(
    "url",
    [
        "studio.example.org", "studio.example.org:8770", "localhost:8770", "//studio.example.org",
        "ftp://studio.example.org", "http://", "http:///x", "http://:8770", "http://host:abc",
        "http://host:99999", "http://host:0", "http://[::1", "http://a b", "http://..",
        "http://röntgen.example", "http://*",
    ],
)  # fmt: skip
def test_a_public_address_that_is_none_is_one_line(url):
    for refuse in (lambda: server.public(url), lambda: server.listen("127.0.0.1", 0, url)):
        with pytest.raises(RunError, match="A public address is http://HOST:PORT") as caught:
            refuse()
        assert url in str(caught.value)


@pytest.mark.parametrize("command", ["serve", "invite"])
def test_a_study_of_readers_is_not_opened_for_an_address_that_is_none(command, tmp_path):
    words = ["readers", command, str(tmp_path / "study"), "--url", "reads.example.org"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, RunError)
    assert "got 'reads.example.org'" in str(result.exception)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://127.0.0.1:8760", "http://127.0.0.1:8760"),
        ("https://reads.example.org/", "https://reads.example.org"),
        ("HTTPS://reads.example.org", "https://reads.example.org"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]:80"),
        ("http://xn--rntgen-wxa.example", "http://xn--rntgen-wxa.example"),
        ("http://my_machine", "http://my_machine"),
    ],
)
def test_public_addresses_are_kept(url, kept):
    assert server.public(url) == kept


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("http://127.0.0.1:8770", ("127.0.0.1:8770", "localhost:8770", "[::1]:8770")),
        ("http://[::1]:8770", ("[::1]:8770", "localhost:8770")),
        ("http://[2001:db8::1]:8770", ("[2001:db8::1]:8770", "[2001:db8::1]")),
        ("https://reads.example.org", ("reads.example.org",)),
    ],
)
def test_hosts_of_the_address_are_answered_and_no_others(url, right):
    with client(url) as browser:
        for host in right:
            assert browser.get("/", headers={"host": host}).status_code == 200, host
        for host in ("evil.example", "[2001:db8::2]:8770", "2001:db8::1", "127.0.0.2"):
            assert browser.get("/", headers={"host": host}).status_code == 400, host


@pytest.mark.parametrize("origin", ["http://[", "http://evil.example", "http://[::2]", "x"])
def test_changes_from_elsewhere_are_refused_however_the_origin_is_spelled(origin):
    with client("http://[::1]:8770") as browser:
        browser.get("/")
        token = next(iter(browser.cookies.values()))
        headers = {"x-csrftoken": token, "origin": "http://[::1]:8770"}
        assert browser.post("/change", headers=headers).status_code == 201
        assert browser.post("/change", headers=headers | {"origin": origin}).status_code == 403
