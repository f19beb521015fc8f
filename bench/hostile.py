"""A server that answers classifiers' questions as a document tells it to, however wrongly."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["DESCRIPTION", "SEEDS", "Server"]

DESCRIPTION = {"labels": ["Effusion", "Edema"], "size": 64, "outputs": "logits"}
_GOOD: dict[str, Any] = {"status": 200, "headers": {"Content-Type": "application/json"},
         "body": {"labels": ["Effusion", "Edema"], "logits": [[0.5, -0.25]]}}  # fmt: skip
# A megabyte of blanks, which is JSON in front of anything.
_BLANKS = 2**20
# By name what is wrong; each value may be exchanged for another.
SEEDS: dict[str, dict[str, Any]] = {
    "good": _GOOD,
    "described": _GOOD | {"describe": DESCRIPTION | {"activation": "sigmoid", "name": "one"}},
    "drips": _GOOD | {"piece": 1, "pause": 0.3},
    "drips its head": _GOOD | {"piece": 1, "pause": 0.2, "at": "head"},
    "floods": _GOOD | {"blanks": 300},
    "floods packed": _GOOD | {"blanks": 2000, "packed": True},
    "floods its head": _GOOD | {"head": 10**7},
    "says too much": _GOOD | {"length": 10**9},
    "says too little": _GOOD | {"length": 5},
    "is no HTTP": {"raw": "SSH-2.0-OpenSSH_9.7\r\n"},
    "says nothing": {"raw": ""},
    "is away": _GOOD | {"status": 503, "headers": {"Retry-After": "1e300"}},
    "is away until": _GOOD
    | {"status": 429, "headers": {"Retry-After": "Wed, 21 Oct 2915 07:28:00 GMT"}},
    "leads elsewhere": _GOOD | {"status": 302, "headers": {"Location": "file:///etc/passwd"}},
    "packs badly": _GOOD | {"headers": {"Content-Encoding": "gzip"}},
    "is deep": _GOOD | {"text": "[" * 100_000},
    "counts far": _GOOD | {"text": '{"labels": ["a"], "logits": [[' + "9" * 5000 + "]]}"},
    "is not finite": _GOOD | {"text": '{"labels": ["a", "b"], "logits": [[NaN, 1e999]]}'},
    "repeats secrets": _GOOD | {"body": {"labels": ["sesame-token", "b"], "logits": [[0, 1]]}},
    "colours": _GOOD | {"body": {"labels": ["\x1b[31m\n", "b"], "logits": [[0, 1]]}},
}


class Server:
    """Answers on a port of this machine; `answer` is set from outside, and read per question."""

    def __init__(self) -> None:
        """Listen, in a thread that ends with the process."""
        self.answer: Any = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/read"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._reply, args=(connection,), daemon=True).start()

    def _reply(self, connection: socket.socket) -> None:
        # An answer may be nonsense, and the other end hangs up on it.
        with connection, contextlib.suppress(Exception):
            connection.settimeout(20)
            path = _question(connection)
            answer = self.answer if isinstance(self.answer, Mapping) else {}
            if path.endswith("/describe"):
                answer = _GOOD | {"body": answer.get("describe", DESCRIPTION)}
            for piece in _pieces(answer):
                connection.sendall(piece)


def _question(connection: socket.socket) -> str:
    """Read a question to its end and return its path."""
    with connection.makefile("rb") as file:
        path = file.readline().split()[1].decode()
        length = 0
        while line := file.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        file.read(length)
    return path


def _pieces(answer: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield an answer as it is sent, with its pauses."""
    if "raw" in answer:
        yield str(answer["raw"]).encode()
        return
    content = answer["text"] if "text" in answer else json.dumps(answer.get("body"))
    blanks = int(answer.get("blanks", 0))
    sent = itertools.repeat(b" " * _BLANKS, blanks)
    parts: Iterator[bytes] = itertools.chain(sent, [str(content).encode()])
    head = _head(answer, blanks * _BLANKS + len(content))
    if answer.get("packed"):
        parts = _packed(parts)
    size, pause = int(answer.get("piece", 0)), float(answer.get("pause", 0))
    for part in itertools.chain([head], parts):
        slow = size and (part is head) == (answer.get("at") == "head")
        for at in range(0, len(part), size if slow else max(1, len(part))):
            yield part[at : at + size] if slow else part
            time.sleep(pause if slow else 0)


def _head(answer: Mapping[str, Any], length: int) -> bytes:
    headers = dict(answer.get("headers") or {})
    if answer.get("packed"):
        headers["Content-Encoding"] = "gzip"
    else:
        headers["Content-Length"] = answer.get("length", length)
    headers["X-Filled"] = "x" * int(answer.get("head", 1))
    lines = [f"HTTP/1.1 {answer.get('status', 200)} x"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8", "replace")


def _packed(parts: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()
