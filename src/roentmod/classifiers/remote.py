"""Classifiers behind an HTTP endpoint.

The protocol, version 1. ``GET URL/describe`` answers JSON::

    {"labels": ["Effusion", "Edema"], "size": 224, "outputs": "logits", "name": "our model"}

`outputs` is "logits" or "probabilities"; `activation` ("sigmoid", "softmax") may be added. An
endpoint without it (404, 405, 501) gets one grey picture, and then `size` must be given.

``POST URL`` carries one batch as JSON::

    {"size": 224, "shape": [n, 224, 224], "dtype": "float32", "range": [0, 1], "data": "..."}

`data` is base64 of the display values, little-endian, row by row. The answer is JSON with as many
rows as pictures, and the labels again, so that a model that is exchanged meanwhile is noticed::

    {"labels": ["Effusion", "Edema"], "logits": [[-2.1, 0.3], ...]}

`findings` may stand for `labels`, and "probabilities" for "logits"; null is an answer that is not
finite. Time-outs, lost connections and statuses 429 and 5xx are tried again, each time after twice
the pause; other statuses and malformed answers are not.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from roentmod._optional import require
from roentmod.errors import ClassifierError

__all__ = ["Endpoint"]

Array = NDArray[np.float32]
# A time-out, a connection that fails, and these statuses may pass.
_PASSING = {429, 500, 502, 503, 504}
_NO_DESCRIPTION = {404, 405, 501}


@dataclass(frozen=True)
class Endpoint:
    """An address that reads pictures.

    Attributes:
        url: where batches are posted.
        timeout: seconds an answer may take.
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
        """Check the numbers.

        Raises:
            ClassifierError: one is out of range.
        """
        good = self.timeout > 0 and self.retries >= 0 and self.backoff >= 0
        if not good or min(self.concurrency, self.batch_size) < 1:
            raise ClassifierError(
                "An endpoint needs a positive timeout, concurrency and batch_size, and retries "
                f"and backoff of 0 or more; got {self!r}."
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
        with self._client() as client:
            parts = urlsplit(self.url)
            path = parts.path.rstrip("/") + "/describe"
            answer = self._ask(client, "GET", urlunsplit(parts._replace(path=path)), None)
            if answer is not None:
                return {"size": size, **_described(answer, self.address)}
            if size is None:
                raise ClassifierError(
                    f"The size of an endpoint without /describe must be given; {self.address} has "
                    "none. Give size=."
                )
            grey = np.full((1, size, size), 0.5, np.float32)
            names, kind, _ = _rows(self._post(client, grey), 1, self.address)
        return {"labels": names, "outputs": kind, "size": size}

    def forward(self, labels: tuple[str, ...], outputs: str) -> Callable[[Array], Any]:
        """Return the endpoint as a function of n x 1 x size x size pictures, n x k answers."""

        def ask(client: Any, batch: Array) -> NDArray[np.float64]:
            names, kind, values = _rows(self._post(client, batch), len(batch), self.address)
            if (tuple(names), kind) != (labels, outputs):
                raise ClassifierError(
                    f"{self.address} answers wrongly: it announced {outputs} of {list(labels)} and "
                    f"now gives {kind} of {names}. Audit one model at a time."
                )
            return values

        def forward(images: Array) -> NDArray[np.float64]:
            plain, step = images[:, 0], self.batch_size
            batches = [plain[i : i + step] for i in range(0, len(plain), step)]
            with self._client() as client, ThreadPoolExecutor(self.concurrency) as pool:
                return np.concatenate(list(pool.map(lambda batch: ask(client, batch), batches)))

        return forward

    def _client(self) -> Any:
        httpx = require("httpx")
        return httpx.Client(timeout=self.timeout, headers=dict(self.headers))

    def _post(self, client: Any, images: Array) -> dict[str, Any]:
        side = images.shape[-1]
        content = np.ascontiguousarray(images, "<f4").tobytes()
        body = {"size": side, "shape": list(images.shape), "dtype": "float32", "range": [0, 1]}
        body["data"] = base64.b64encode(content).decode("ascii")
        answer = self._ask(client, "POST", self.url, body)
        if answer is None:
            raise ClassifierError(
                f"{self.address} answers wrongly: it takes no POST there. Correct the address."
            )
        return answer

    def _ask(self, client: Any, method: str, url: str, body: Any) -> dict[str, Any] | None:
        """Return the JSON object answered, None where there is nothing at `url`."""
        trouble = ""
        for attempt in range(self.retries + 1):
            if attempt:
                self.pause(self.backoff * 2 ** (attempt - 1))
            status, answer, trouble = self._once(client, method, url, body)
            if status in _NO_DESCRIPTION:
                return None
            if not trouble:
                return answer
            if status is not None and status not in _PASSING:
                break
        tries = attempt + 1
        raise ClassifierError(
            f"{self.address} {trouble} ({tries} {'try' if tries == 1 else 'tries'})."
        )

    def _once(
        self, client: Any, method: str, url: str, body: Any
    ) -> tuple[int | None, dict[str, Any], str]:
        """Return status (None: none came), answer, and what is wrong with it ("": nothing)."""
        httpx = require("httpx")
        try:
            response = client.request(method, url, json=body)
        except httpx.TimeoutException:
            return None, {}, f"answers slowly: nothing within {self.timeout:g} s"
        except httpx.HTTPError as error:
            return None, {}, f"does not answer: {type(error).__name__}, {error}"
        except httpx.InvalidURL as error:
            return 0, {}, f"is no address: {error}"
        if not response.is_success:
            text = " ".join(response.text.split())[:120]
            return (
                response.status_code,
                {},
                f"answers wrongly: status {response.status_code} {text}",
            )
        try:
            answer = json.loads(response.content)
        except ValueError:
            return 0, {}, "answers wrongly: no JSON"
        if not isinstance(answer, dict):
            return 0, {}, "answers wrongly: JSON, but no object"
        return response.status_code, answer, ""


def _names(answer: Mapping[str, Any], address: str) -> list[str]:
    names = answer.get("labels", answer.get("findings"))
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ClassifierError(
            f"{address} answers wrongly: 'labels' must be a list of names; got {names!r}."
        )
    return names


def _described(answer: Mapping[str, Any], address: str) -> dict[str, Any]:
    words = ("size", "outputs", "activation", "name")
    return {"labels": _names(answer, address)} | {w: answer[w] for w in words if w in answer}


def _rows(
    answer: Mapping[str, Any], images: int, address: str
) -> tuple[list[str], str, NDArray[np.float64]]:
    """Return labels, "logits" or "probabilities", and the values, images x labels."""
    names = _names(answer, address)
    kinds = [kind for kind in ("logits", "probabilities") if kind in answer]
    if len(kinds) != 1:
        raise ClassifierError(
            f"{address} answers wrongly: one of 'logits' and 'probabilities' must be there; got "
            f"{', '.join(answer)}."
        )
    rows = answer[kinds[0]]
    try:
        values = np.array([[math.nan if v is None else float(v) for v in row] for row in rows])
    except (TypeError, ValueError) as error:
        raise ClassifierError(
            f"{address} answers wrongly: {kinds[0]} are no table: {error}."
        ) from error
    if values.shape != (images, len(names)):
        shape = "x".join(map(str, values.shape))
        raise ClassifierError(
            f"{address} answers wrongly: {kinds[0]} must be {images} x {len(names)} (pictures x "
            f"labels); got {shape}."
        )
    return names, kinds[0], values
