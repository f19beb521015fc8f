"""A server of the built viewer and of some pictures, under the policy of the real pages."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import roentmod
from roentmod.radiograph import Radiograph
from roentmod.web.pixels import encode

STATIC = Path(roentmod.__file__).parent / "web" / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'"
)
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Viewer</title>
<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/base.css">
<script type="module" src="/static/viewer.js"></script></head>
<body><main class="page"><div class="pictures">{viewers}</div></main></body></html>"""
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@contextmanager
def serving(radiographs: Mapping[str, Radiograph], viewers: str) -> Iterator[str]:
    """Give the address of a page with `viewers` (HTML) of the radiographs /pixels/NAME."""
    answers = {"/": ({"Content-Type": "text/html"}, PAGE.format(viewers=viewers).encode())}
    for file in STATIC.iterdir():
        answers[f"/static/{file.name}"] = (
            {"Content-Type": KINDS[file.suffix]},
            file.read_bytes(),
        )
    for name, radiograph in radiographs.items():
        pixels = encode(radiograph)
        answers[f"/pixels/{name}"] = (pixels.headers, pixels.body)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers, body = answers.get(self.path, ({}, None))
            self.send_response(404 if body is None else 200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Security-Policy", POLICY)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
