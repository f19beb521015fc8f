import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from roentmod import classifiers
from roentmod.classifiers.remote import Endpoint
from roentmod.errors import ClassifierError
from tests.classifiers.conftest import SIZE

LABELS = ["Effusion", "Edema"]
FAST = {"timeout": 5.0, "backoff": 0.01}


def decoded(body):
    images = np.frombuffer(base64.b64decode(body["data"]), "<f4").reshape(body["shape"])
    assert body["dtype"] == "float32"
    assert body["range"] == [0, 1]
    assert body["size"] == images.shape[1] == images.shape[2]
    return images


def expected(images):
    return np.stack([10 * images.mean((1, 2)), -3 - images[:, 0, 0]], 1)


class Server:
    """A real endpoint; each test changes how it describes itself and answers."""

    def __init__(self):
        self.described = {"labels": LABELS, "size": SIZE, "outputs": "logits", "name": "far"}
        self.answer = lambda images: {"labels": LABELS, "logits": expected(images).tolist()}
        self.before = lambda call: None
        self.posts, self.auth, self.lock = 0, set(), threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words):
                pass

            def reply(self, status, content):
                text = content if isinstance(content, bytes) else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except ConnectionError:
                    pass  # a client that did not wait

            def do_GET(self):
                outer.auth.add(self.headers.get("Authorization"))
                found = (
                    self.path.partition("?")[0] == "/read/describe" and outer.described is not None
                )
                self.reply(200 if found else 404, outer.described if found else {})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.posts += 1
                    call = outer.posts
                status = outer.before(call)
                if status:
                    return self.reply(status, {"error": "not now"})
                self.reply(200, outer.answer(decoded(body)))

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/read"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    one = Server()
    yield one
    one.close()


def test_it_reads_in_batches_in_order(server, pictures):
    server.before = lambda call: time.sleep(0.05 if call == 1 else 0)
    model = classifiers.load(server.url, batch_size=2, concurrency=3, **FAST)
    assert (model.name, model.size) == ("far", SIZE)
    assert model.findings == ("Pleural Effusion", "Edema")
    np.testing.assert_allclose(model.logits(pictures), expected(pictures), rtol=1e-5)
    assert server.posts == 5
    assert model.logits(pictures[:0]).shape == (0, 2)


def test_batches_are_under_way_at_once(server, pictures):
    together = threading.Barrier(3)
    server.before = lambda call: together.wait(5) and None
    model = classifiers.load(server.url, batch_size=3, concurrency=3, retries=0, **FAST)
    np.testing.assert_allclose(model.logits(pictures), expected(pictures), rtol=1e-5)


def test_secrets_are_sent_and_not_recorded(server):
    url = server.url.replace("http://", "http://me:secret@") + "?key=hidden"
    model = classifiers.load(url, **FAST)
    said = json.dumps(model.describe())
    assert "secret" not in said
    assert "hidden" not in said
    assert said.count(server.url)
    classifiers.load(server.url, headers={"Authorization": "Bearer token"}, **FAST)
    assert "Bearer token" in server.auth


def test_without_a_description_the_first_picture_tells(server, pictures):
    server.described = None
    with pytest.raises(
        ClassifierError, match="size of an endpoint without /describe must be given"
    ):
        classifiers.load(server.url, **FAST)
    model = classifiers.load(server.url, size=SIZE, **FAST)
    assert server.posts == 1
    np.testing.assert_allclose(model.logits(pictures), expected(pictures), rtol=1e-5)


def test_probabilities(server, pictures):
    server.described["outputs"] = "probabilities"
    server.answer = lambda images: {
        "findings": LABELS,
        "probabilities": [[0.25, 0.5]] * len(images),
    }
    logits = classifiers.load(server.url, **FAST).logits(pictures)
    np.testing.assert_allclose(logits, [[-np.log(3), 0]] * 9, atol=1e-6)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_what_may_pass_is_tried_again_after_growing_pauses(server, pictures, status):
    pauses = []
    endpoint = Endpoint(server.url, backoff=0.5, retries=3, batch_size=9, pause=pauses.append)
    server.before = lambda call: status if call < 4 else None
    answer = endpoint.forward(tuple(LABELS), "logits")(pictures[:, None])
    np.testing.assert_allclose(answer, expected(pictures), rtol=1e-5)
    assert pauses == [0.5, 1.0, 2.0]


def test_an_endpoint_that_keeps_failing(server, pictures):
    model = classifiers.load(server.url, retries=2, **FAST)
    server.before = lambda call: 503
    reading = classifiers.read(model, pictures)
    assert reading.status == ["classifier_failed"] * 9
    assert "answers wrongly: status 503" in reading.message
    assert "(3 tries)" in reading.message
    assert server.posts == 3


def test_an_endpoint_that_answers_slowly(server, pictures):
    model = classifiers.load(server.url, timeout=0.15, retries=1, backoff=0.0)
    server.before = lambda call: time.sleep(0.5)
    reading = classifiers.read(model, pictures)
    assert reading.status == ["classifier_failed"] * 9
    assert "answers slowly: not all within 0.15 s (2 tries)" in reading.message


def test_a_slow_answer_is_waited_for_once_more(server, pictures):
    model = classifiers.load(server.url, timeout=0.3, retries=1, backoff=0.0)
    server.before = lambda call: time.sleep(0.6 if call == 1 else 0)
    np.testing.assert_allclose(model.logits(pictures), expected(pictures), rtol=1e-5)


def test_an_endpoint_that_does_not_answer(server, pictures):
    model = classifiers.load(server.url, retries=1, **FAST)
    server.close()
    reading = classifiers.read(model, pictures)
    assert reading.status == ["classifier_failed"] * 9
    assert "does not answer: ConnectError" in reading.message
    with pytest.raises(ClassifierError, match="does not answer"):
        classifiers.load(server.url, retries=0, **FAST)
    server.close = lambda: None


WRONG = {
    "no JSON": (lambda n: b"<html>", "no JSON"),
    "no object": (lambda n: [1], "no object"),
    "no labels": (lambda n: {"logits": [[0, 0]] * n}, "'labels' must be a list"),
    "no logits": (lambda n: {"labels": LABELS}, "one of 'logits' and 'probabilities'"),
    "too few rows": (lambda n: {"labels": LABELS, "logits": [[0, 0]]}, "9 x 2 .* got 1x2"),
    "ragged": (lambda n: {"labels": LABELS, "logits": [[0], [0, 1]]}, "are no table"),
    "words": (lambda n: {"labels": LABELS, "logits": [["a", "b"]] * n}, "are no table"),
    "other labels": (lambda n: {"labels": LABELS[::-1], "logits": [[0, 0]] * n}, "it announced"),
    "other outputs": (
        lambda n: {"labels": LABELS, "probabilities": [[0, 0]] * n},
        "it announced logits",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_endpoint_that_answers_wrongly_is_asked_once(server, pictures, case):
    model = classifiers.load(server.url, **FAST)
    make, said = WRONG[case]
    server.answer = lambda images: make(len(images))
    with pytest.raises(ClassifierError, match=said) as caught:
        model.logits(pictures)
    assert "127.0.0.1" in str(caught.value)
    assert "answers wrongly" in str(caught.value)
    assert server.posts == 1
    assert classifiers.read(model, pictures).status == ["classifier_failed"] * 9


def test_null_is_an_answer_that_is_not_finite(server, pictures):
    def answer(images):
        rows = expected(images).tolist()
        spoilt = [
            [None, row[1]] if image[0, 0] == 1 else row
            for row, image in zip(rows, images, strict=True)
        ]
        return {"labels": LABELS, "logits": spoilt}

    server.answer = answer
    pictures[5, 0, 0] = 1
    reading = classifiers.read(classifiers.load(server.url, **FAST), pictures)
    assert [i for i, s in enumerate(reading.status) if s == "not_finite"] == [5]
    assert "from head Effusion for image 5" in reading.message


@pytest.mark.parametrize(
    ("described", "options", "said"),
    [
        ({"labels": []}, {}, "'labels' must be a list"),
        ({"labels": LABELS, "size": SIZE}, {}, "'outputs' is missing"),
        ({"labels": LABELS, "outputs": "logits"}, {}, "'size' is missing"),
        ({"labels": LABELS, "outputs": "logits", "size": 16}, {"size": 32}, "size 16; got size 32"),
        (
            {"labels": LABELS, "outputs": "logits", "size": 16},
            {"timeout": -1.0},
            "positive timeout",
        ),
    ],
)
def test_descriptions_that_do_not_fit(server, described, options, said):
    server.described = described
    with pytest.raises(ClassifierError, match=said):
        classifiers.load(server.url, **options)


def test_other_statuses_are_not_tried_again(server, pictures):
    model = classifiers.load(server.url, **FAST)
    server.before = lambda call: 403
    with pytest.raises(ClassifierError, match=r"status 403 \(Forbidden\) \(1 try\)"):
        model.logits(pictures)
    server.before = lambda call: 405
    with pytest.raises(ClassifierError, match="takes no POST"):
        model.logits(pictures)
