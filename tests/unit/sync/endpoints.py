"""A real HTTP endpoint on this machine that keeps what it takes by key, and misbehaves as a test tells it to."""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Endpoint:
    """Takes each key once. `script` is called before each answer with the number of the request, from 0.

    It returns a status, or one of: `drop` (receive, keep, close without an answer), `half` (keep, then half an answer),
    `lose` (close before anything is kept), `stall` (keep, and never answer).
    """

    def __init__(self, script: Callable[[int], int | str] = lambda _number: 200) -> None:
        self.script = script
        self.kept: dict[str, bytes] = {}
        self.requests: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.answer_headers: dict[str, str] = {}
        self.answer = b'{"ok":true}'
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.url = ""

    def rows(self) -> Counter[tuple[str, str, int]]:
        """Every row that was kept: its schema, its content without the revision, its revision."""
        found: Counter[tuple[str, str, int]] = Counter()
        for body in self.kept.values():
            document = json.loads(body)
            for row in document["rows"]:
                revision = row.pop("revision")
                found[(document["schema"], json.dumps(row, sort_keys=True), revision)] += 1
        return found


def make_handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            key = self.headers["Idempotency-Key"]
            with endpoint.lock:
                number = len(endpoint.requests)
                endpoint.requests.append((key, body))
                endpoint.headers.append(dict(self.headers))
            order = endpoint.script(number)
            if order in {200, "drop", "half", "stall"}:
                endpoint.kept.setdefault(key, body)
            self.close_connection = True
            if order == "stall":
                endpoint.released.wait(20)
            elif order == "half":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
            elif isinstance(order, int):
                self.reply(order)

        def reply(self, status: int) -> None:
            self.send_response(status)
            for name, value in endpoint.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(endpoint.answer)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(endpoint.answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serve(endpoint: Endpoint, context: ssl.SSLContext | None = None) -> Iterator[Endpoint]:
    """Let the endpoint listen on a free port of this machine, encrypted where there is a context."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(endpoint))
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    endpoint.url = f"{'http' if context is None else 'https'}://127.0.0.1:{server.server_address[1]}/in?team=a"
    try:
        yield endpoint
    finally:
        endpoint.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
