"""Classifiers behind an HTTP endpoint: version 1 of the protocol of ``docs/classifiers.md``.

Time-outs, lost connections and statuses 429, 500, 502, 503 and 504 are tried again, each time after
twice the pause, or after as long as the endpoint asks for; other statuses and malformed answers are
not.
Messages hold neither what the server wrote nor what only it is to know: its address alone, without
user, password, query and headers.
"""

from __future__ import annotations

import base64
import math
import queue
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
)

from roentmod._optional import require
from roentmod.errors import ClassifierError

__all__ = ["Answer", "Batch", "Description", "Endpoint"]

Array = NDArray[np.float32]
M = TypeVar("M", bound=BaseModel)
# A time-out, a connection that fails, and these statuses may pass.
_PASSING = {429, 500, 502, 503, 504}
_NO_DESCRIPTION = {404, 405, 501}
# Bytes of an answer: for all but its labels and numbers, per label, and per number.
_SLACK, _PER_LABEL, _PER_NUMBER = 2**16, 2**11, 2**6
_DESCRIPTION = 2**22
# Seconds that ``Retry-After`` may say.
_LONGEST = 1e9
# Shorter texts are in any answer by chance.
_SECRET = 6


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a name of printable characters")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Names = Annotated[list[Name], Field(min_length=1, max_length=10_000)]
Table = list[list[FiniteFloat | None]]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class Description(_Message):
    """Answer of ``GET URL/describe``."""

    labels: Names = Field(
        description="Names of the heads, in the order of the answers.",
        validation_alias=AliasChoices("labels", "findings"),
    )
    size: int | None = Field(None, description="Side of the pictures in pixels.", ge=8, le=4096)
    outputs: Literal["logits", "probabilities"] | None = Field(
        None, description="Kind of the answers."
    )
    activation: Literal["sigmoid", "softmax"] | None = Field(
        None, description="How logits become probabilities; default: sigmoid."
    )
    name: Name | None = Field(None, description="Name in tables; default: the address.")


class Batch(_Message):
    """Content of ``POST URL``."""

    size: int = Field(description="Side of the pictures in pixels.", ge=8, le=4096)
    shape: tuple[int, int, int] = Field(description="Pictures, rows, columns.")
    dtype: Literal["float32"] = "float32"
    range: tuple[Literal[0], Literal[1]] = (0, 1)
    data: str = Field(
        description="Base64 of display values in [0, 1], little-endian, picture by picture and row "
        "by row."
    )


class Answer(_Message):
    """Answer of ``POST URL``: labels, and either logits or probabilities."""

    labels: Names = Field(
        description="As described, so that an exchanged model is noticed.",
        validation_alias=AliasChoices("labels", "findings"),
    )
    logits: Table | None = Field(None, description="A row per picture; null: not finite.")
    probabilities: Table | None = Field(None, description="A row per picture, in [0, 1].")


class _Reply(NamedTuple):
    """Outcome of one try.

    Attributes:
        status: None where none came.
        content: of an answer that is as it should be.
        trouble: what is wrong; empty where nothing is.
        wait: seconds that the endpoint asks to be left alone.
    """

    status: int | None
    content: bytes = b""
    trouble: str = ""
    wait: float = 0.0


@dataclass(frozen=True)
class Endpoint:
    """An address that reads pictures.

    Attributes:
        url: where batches are posted.
        timeout: seconds in which the whole of an answer must have come.
        retries: times a batch is tried again.
        backoff: seconds before the first of these; each further pause is twice as long.
        concurrency: batches under way at once.
        batch_size: the most pictures per batch.
        headers: sent along (a token); never recorded.
        pause: waits, as `time.sleep` does.
    """

    url: str = field(repr=False)
    timeout: float = 30.0
    retries: int = 3
    backoff: float = 0.5
    concurrency: int = 4
    batch_size: int = 16
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    pause: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        """Check address and numbers.

        Raises:
            ClassifierError: one cannot be used.
        """
        good = self.timeout > 0 and self.retries >= 0 and self.backoff >= 0
        if not good or min(self.concurrency, self.batch_size) < 1:
            raise ClassifierError(
                "An endpoint needs a positive timeout, concurrency and batch_size, and retries "
                f"and backoff of 0 or more; got {self!r}."
            )
        try:
            parts = urlsplit(self.url)
            good = bool(parts.hostname) and parts.port != 0 and "@" not in parts.path
        except ValueError:
            good = False
        if not good:
            # A password with / in it would be taken for the path, and shown.
            raise ClassifierError(
                "An endpoint's address is http://HOST:PORT/PATH or http://USER:PASSWORD@HOST/PATH; "
                "the one given cannot be read so. Write '/' in a password as %2F, '@' as %40."
            )

    @property
    def address(self) -> str:
        """The URL without user, password and query, which may be secrets."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def describe(self, size: int | None) -> dict[str, Any]:
        """Return the endpoint's description: labels, outputs, size, maybe name, activation.

        Raises:
            ClassifierError: it answers slowly, wrongly or not at all, or does not say its size.
        """
        parts = urlsplit(self.url)
        url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/describe"))
        content = self._ask("GET", url, None, _DESCRIPTION)
        if content is not None:
            made = self._read(Description, content).model_dump(exclude_none=True)
            return {"size": size, **made}
        if size is None:
            raise ClassifierError(
                f"The size of an endpoint without /describe must be given; {self.address} has "
                "none. Let it describe itself (docs/classifiers.md), or, in Python, give size=."
            )
        grey = np.full((1, size, size), 0.5, np.float32)
        names, kind, _ = self._post(grey, None)
        return {"labels": names, "outputs": kind, "size": size}

    def forward(self, labels: tuple[str, ...], outputs: str) -> Callable[[Array], Any]:
        """Return the endpoint as a function of n x 1 x size x size pictures, n x k answers."""

        def ask(batch: Array) -> NDArray[np.float64]:
            names, kind, values = self._post(batch, len(labels))
            if (tuple(names), kind) != (labels, outputs):
                raise self._wrong(
                    f"it announced {outputs} of {len(labels)} labels and now gives {kind} of other "
                    "ones, or in another order. Audit one model at a time."
                )
            return values

        def forward(images: Array) -> NDArray[np.float64]:
            plain, step = images[:, 0], self.batch_size
            batches = [plain[i : i + step] for i in range(0, len(plain), step)]
            with ThreadPoolExecutor(self.concurrency) as pool:
                return np.concatenate(list(pool.map(ask, batches)))

        return forward

    def _post(
        self, images: Array, labels: int | None
    ) -> tuple[list[str], str, NDArray[np.float64]]:
        """Return labels, "logits" or "probabilities", and the values, images x labels."""
        side = images.shape[-1]
        content = np.ascontiguousarray(images, "<f4").tobytes()
        body = {"size": side, "shape": list(images.shape), "dtype": "float32", "range": [0, 1]}
        body["data"] = base64.b64encode(content).decode("ascii")
        most = labels * (_PER_LABEL + _PER_NUMBER * len(images)) if labels else _DESCRIPTION
        answer = self._ask("POST", self.url, body, _SLACK + most)
        if answer is None:
            raise self._wrong("it takes no POST there. Correct the address.")
        return self._rows(self._read(Answer, answer), len(images))

    def _ask(self, method: str, url: str, body: Any, most: int) -> bytes | None:
        """Return the content of an answer of at most so many bytes, None where nothing is there."""
        for attempt in range(self.retries + 1):
            reply = self._once(method, url, body, most)
            if reply.status in _NO_DESCRIPTION:
                return None
            if not reply.trouble:
                return reply.content
            if reply.status is not None and reply.status not in _PASSING:
                break
            if reply.wait > self.timeout:
                wait = f" and asks to wait {reply.wait:.0f} s, above timeout {self.timeout:g} s"
                reply = reply._replace(trouble=reply.trouble + wait)
                break
            if attempt < self.retries:
                self.pause(max(self.backoff * 2**attempt, reply.wait))
        tries = f"{attempt + 1} {'tries' if attempt else 'try'}"
        raise ClassifierError(f"{self.address} {reply.trouble} ({tries}).")

    def _once(self, method: str, url: str, body: Any, most: int) -> _Reply:
        """Ask once; nothing that the endpoint does makes this longer than `timeout`.

        A byte now and then keeps a connection alive for ever, in its headers too: the request has
        a thread, which is left behind, with its connection closed, when its time is over.
        """
        httpx = require("httpx")
        headers = {"Accept-Encoding": "identity", **self.headers}
        client = httpx.Client(timeout=self.timeout, headers=headers, verify=_context())
        replies: queue.Queue[_Reply] = queue.Queue()

        def ask() -> None:
            replies.put(self._fetched(client, method, url, body, most))

        threading.Thread(target=ask, daemon=True).start()
        try:
            return replies.get(timeout=self.timeout)
        except queue.Empty:
            return self._slow
        finally:
            client.close()

    @property
    def _slow(self) -> _Reply:
        return _Reply(None, trouble=f"answers slowly: not all within {self.timeout:g} s")

    def _fetched(self, client: Any, method: str, url: str, body: Any, most: int) -> _Reply:
        httpx = require("httpx")
        try:
            with client.stream(method, url, json=body) as response:
                status = int(response.status_code)
                if not response.is_success:
                    known = status in HTTPStatus._value2member_map_
                    phrase = f" ({HTTPStatus(status).phrase})" if known else ""
                    wait = _wait(response.headers.get("Retry-After"))
                    return _Reply(status, b"", f"answers wrongly: status {status}{phrase}", wait)
                return _Reply(status, _content(response, most))
        except httpx.TimeoutException:
            return self._slow
        except (ValueError, zlib.error) as error:
            why = error if isinstance(error, ValueError) else "damaged compression"
            return _Reply(0, trouble=f"answers wrongly: {why}")
        except httpx.InvalidURL:
            return _Reply(0, trouble="is no address")
        # Whatever else a hostile answer makes of the client is its end of the connection.
        except Exception as error:
            return _Reply(None, trouble=f"does not answer: {type(error).__name__}")

    def _read(self, kind: type[M], content: bytes) -> M:
        """Return an answer as it should be; a name that repeats what is secret is refused.

        Raises:
            ClassifierError: another form, in words of the protocol alone.
        """
        try:
            answer = kind.model_validate_json(content)
        except ValidationError as error:
            raise self._wrong(_fault(error)) from None
        texts = [*getattr(answer, "labels", ()), getattr(answer, "name", None) or ""]
        if any(secret in text for secret in self._secrets for text in texts):
            raise self._wrong("its names repeat what the request holds. Correct the server.")
        return answer

    @property
    def _secrets(self) -> set[str]:
        """What only the endpoint is to know: user, password, values of the query and headers."""
        parts = urlsplit(self.url)
        words = [parts.username or "", parts.password or "", parts.query]
        words += [value for _, value in parse_qsl(parts.query)]
        words += [part for value in self.headers.values() for part in (value, *value.split())]
        return {form for word in words for form in (word, unquote(word)) if len(form) >= _SECRET}

    def _rows(self, answer: Answer, images: int) -> tuple[list[str], str, NDArray[np.float64]]:
        kinds = [kind for kind in ("logits", "probabilities") if getattr(answer, kind) is not None]
        if len(kinds) != 1:
            raise self._wrong(
                f"one of 'logits' and 'probabilities' must be there; got {' and '.join(kinds)}."
                if kinds
                else "one of 'logits' and 'probabilities' must be there; got neither."
            )
        rows = getattr(answer, kinds[0])
        widths = {len(row) for row in rows}
        if len(widths) > 1:
            raise self._wrong(f"{kinds[0]} are no table: rows of different lengths.")
        if len(rows) != images or widths != {len(answer.labels)}:
            raise self._wrong(
                f"{kinds[0]} must be {images} x {len(answer.labels)} (pictures x labels); got "
                f"{len(rows)}x{max(widths, default=0)}."
            )
        values = np.array([[math.nan if v is None else v for v in row] for row in rows])
        return answer.labels, kinds[0], values

    def _wrong(self, text: str) -> ClassifierError:
        return ClassifierError(f"{self.address} answers wrongly: {text}")


@lru_cache(maxsize=1)
def _context() -> Any:
    """The certificates, read once per process."""
    return require("httpx").create_ssl_context()


def _content(response: Any, most: int) -> bytes:
    """Return the content of a response, unpacked, of at most `most` bytes.

    Raises:
        ValueError: it is longer, or packed in another way than gzip or deflate.
    """
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "deflate"):
        raise ValueError("compressed, but not as gzip")
    inflate = zlib.decompressobj(wbits=47) if coding in ("gzip", "deflate") else None
    parts: list[bytes] = []
    for chunk in response.iter_raw():
        part = inflate.decompress(chunk, most + 1) if inflate else chunk
        most -= len(part)
        if most < 0:
            raise ValueError("more bytes than its labels and pictures need")
        parts.append(part)
    return b"".join(parts)


def _wait(asked: str | None) -> float:
    """Return the seconds that ``Retry-After`` asks for; 0 where it says nothing that counts."""
    try:
        return min(max(0.0, float(asked or 0)), _LONGEST)
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(str(asked))
        return min(max(0.0, (then - datetime.now(timezone.utc)).total_seconds()), _LONGEST)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _fault(error: ValidationError) -> str:
    """Return what is wrong with an answer, without a word of it."""
    problem = error.errors(include_input=False, include_url=False)[0]
    word = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "json_invalid":
        return "no JSON."
    if not word:
        return "JSON, but no object."
    if word in ("labels", "findings"):
        return "'labels' must be a list of names."
    if word in ("logits", "probabilities"):
        return f"{word} are no table of finite numbers and null."
    return f"'{word}' is not as the protocol says: {problem['msg'].lower()}."
