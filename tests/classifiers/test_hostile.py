"""Endpoints that answer slowly, at length, in other types, or with what they were sent."""

import gzip
import json
import socket
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import numpy as np
import pytest

from roentmod import classifiers
from roentmod.classifiers.remote import Endpoint
from roentmod.errors import ClassifierError

LABELS = ["Effusion", "Edema"]
DESCRIBED = {"labels": LABELS, "size": 16, "outputs": "logits"}
IMAGES = np.full((2, 1, 16, 16), 0.5, np.float32)
GOOD = {"labels": LABELS, "logits": [[1.5, -2], [0, None]]}
SECRET = "hunter2-token"


class Raw:
    """Sends bytes as they are: `pieces` of an answer, `pause` seconds apart."""

    def __init__(self):
        self.pieces, self.pause, self.requests = [b""], 0.0, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/read"
        self.open = True
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while self.open:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection:
            try:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65536)
                self.requests.append(head)
                for piece in self.pieces:
                    connection.sendall(piece)
                    time.sleep(self.pause)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:
                pass  # a client that did not wait

    def says(self, content, status="200 OK", headers=()):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.pieces = ["\r\n".join(lines).encode() + body]

    def close(self):
        self.open = False
        self.socket.close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    one = Raw()
    yield one
    one.close()


def ask(server, *, retries=0, pauses=None, timeout=5.0, **options):
    pauses = [] if pauses is None else pauses
    endpoint = Endpoint(
        server.url, retries=retries, timeout=timeout, pause=pauses.append, **options
    )
    return endpoint.forward(tuple(LABELS), "logits")(IMAGES)


def refused(server, said, **options):
    with pytest.raises(ClassifierError, match=said) as caught:
        ask(server, **options)
    text = str(caught.value)
    assert text.isprintable()
    assert SECRET not in text
    return text


def test_an_honest_answer(server):
    server.says(GOOD)
    np.testing.assert_array_equal(ask(server), [[1.5, -2], [0, np.nan]])


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *[b" "] * 60],
        [b"HTTP/1.1 200 OK\r\n", *[b"X", b": 1\r\n"] * 30],
        [b"", *[b""] * 60],
    ],
    ids=["content", "headers", "silence"],
)
def test_a_byte_now_and_then_ends_with_the_time(server, pieces):
    server.pieces, server.pause = pieces, 0.05
    start = time.monotonic()
    refused(server, "answers slowly: not all within 0.3 s", timeout=0.3)
    assert time.monotonic() - start < 2


def test_more_than_its_labels_need_is_not_read(server):
    server.pieces = [b"HTTP/1.1 200 OK\r\n\r\n", *[b" " * 2**20] * 50]
    refused(server, "more bytes than its labels and pictures need")


def test_what_is_packed_counts_unpacked(server):
    server.says(gzip.compress(bytes(2**26)), headers=["Content-Encoding: gzip"])
    refused(server, "more bytes than its labels and pictures need")
    server.says(gzip.compress(json.dumps(GOOD).encode()), headers=["Content-Encoding: gzip"])
    assert ask(server).shape == (2, 2)
    server.says(b"no gzip", headers=["Content-Encoding: gzip"])
    refused(server, "damaged compression")
    server.says(GOOD, headers=["Content-Encoding: br"])
    refused(server, "compressed, but not as gzip")
    assert b"accept-encoding: identity" in server.requests[0].lower()


@pytest.mark.parametrize("number", ["true", '"1.5"', "Infinity", "NaN", "1e999", "[1]", "{}"])
def test_a_number_is_a_number(server, number):
    text = json.dumps(GOOD).replace("1.5", number)
    server.says(text.encode())
    refused(server, "logits are no table of finite numbers and null")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 50_000, "no JSON"),
        (b'{"labels": ["Effusion", "Edema"], "logits": 3}', "are no table"),
        (b"\xff\xfe", "no JSON"),
        (json.dumps(GOOD | {"labels": ["Effusion", "E\x1b[2J"]}).encode(), "'labels' must be"),
        (json.dumps(GOOD | {"labels": ["Effusion", 7]}).encode(), "'labels' must be"),
        (json.dumps(GOOD | {"labels": ["x" * 300, "y"]}).encode(), "'labels' must be"),
        (json.dumps(GOOD | {"probabilities": GOOD["logits"]}).encode(), "one of 'logits' and"),
    ],
)
def test_other_content_is_refused_in_the_protocols_words(server, content, said):
    server.says(content)
    refused(server, said)


@pytest.mark.parametrize(
    "changes",
    [
        *({"size": size} for size in (True, "224", 224.5, 1e9, -1)),
        *({"outputs": True}, {"outputs": "Logits"}, {"activation": "tanh"}, {"name": 5}),
        *({"name": "n" * 300}, {"name": "\x1b]0;x"}, {"labels": LABELS * 6000}),
    ],
)
def test_descriptions_are_strict(server, changes):
    server.says(DESCRIBED | changes)
    with pytest.raises(ClassifierError, match="answers wrongly: '"):
        classifiers.load(server.url, retries=0)


def test_the_wait_that_is_asked_for_is_kept_within_the_time(server):
    pauses = []
    later = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=4), usegmt=True)
    for header, wanted in (("2", 2), (later, 3), ("nonsense", 0.5), ("-9", 0.5), ("", 0.5)):
        server.says({}, "429 Too Many Requests", [f"Retry-After: {header}"])
        refused(server, r"status 429 \(Too Many Requests\) \(2 tries\)", retries=1, pauses=pauses)
        assert pauses.pop() == pytest.approx(wanted, abs=1)
    for header in ("3600", "9" * 400, "Wed, 21 Oct 2199 07:28:00 GMT"):
        server.says({}, "503 Service Unavailable", [f"Retry-After: {header}"])
        refused(server, r"asks to wait .* s, above timeout 5 s \(1 try\)", retries=3)
    assert not pauses


@pytest.mark.parametrize(
    "answer",
    [
        (f"403 {SECRET}", {"error": SECRET}, ()),
        ("500 Oops", SECRET.encode(), ()),
        ("302 Found", b"", (f"Location: http://127.0.0.1/{SECRET}",)),
        ("200 OK", {"labels": [SECRET, "Edema"], "logits": [[1, 1]] * 2}, ()),
        ("200 OK", {"labels": LABELS, "logits": SECRET}, ()),
        ("200 OK", SECRET.encode(), ()),
        (f"{SECRET} OK", b"", ()),
    ],
)
def test_what_only_the_server_knows_is_in_no_message(server, answer):
    status, content, headers = answer
    server.says(content, status, headers)
    address = server.url
    server.url = address.replace("//", f"//me:{SECRET}@") + f"?key={SECRET}"
    assert address in refused(server, None, headers={"Authorization": f"Bearer {SECRET}"})
    assert SECRET.encode() in server.requests[0]


@pytest.mark.parametrize("word", ["name", "labels"])
def test_a_description_may_not_repeat_what_was_sent(server, word):
    server.says(DESCRIBED | {word: f"it is {SECRET}" if word == "name" else [SECRET]})
    with pytest.raises(ClassifierError, match="names repeat what the request holds"):
        classifiers.load(server.url, headers={"Authorization": f"Bearer {SECRET}"}, retries=0)


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:a/{SECRET}@host/read",
        f"http://me:12/{SECRET}@host/read",
        f"http://me:{SECRET}@host:port/read",
        f"http://[{SECRET}/read",
        f"http:///{SECRET}",
        f"htps://me:{SECRET}@host/read",
    ],
)
def test_an_address_that_cannot_be_read_is_not_shown(url, caplog):
    with pytest.raises(
        ClassifierError, match=r"An endpoint's address is|classifier is one of"
    ) as caught:
        classifiers.load(url, device="cuda")
    assert SECRET not in str(caught.value) + caplog.text
