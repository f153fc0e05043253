"""A receiver of webhooks of the tests' own, which verifies what it is sent as the specification says."""

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

from tests.servers.serving import Serving

Answer = Callable[[BaseHTTPRequestHandler], None]


def new_secret() -> str:
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


@dataclass(frozen=True)
class Told:
    """One request."""

    id: str
    timestamp: int
    body: bytes
    at: float

    @property
    def changes(self) -> list[dict[str, Any]]:
        body = json.loads(self.body)
        assert body.keys() == {"type", "timestamp", "data"} and body["type"] == "changes"
        assert body["data"].keys() == {"changes"}
        changes: list[dict[str, Any]] = body["data"]["changes"]
        return changes


class Receiver(Serving):
    """Takes what comes, and answers as a test wants."""

    def __init__(self, port: int = 0, secret: str | None = None, path: str = "/hook?a=b") -> None:
        self.secret = secret or new_secret()
        self.path = path
        #: What was asked, whatever the answer was.
        self.told: list[Told] = []
        #: What was answered 2xx.
        self.taken: list[Told] = []
        #: What the next requests are answered instead of 204.
        self.answers: list[Answer] = []
        self.always: Answer | None = None
        self.was_asked = threading.Event()
        self.faults: list[str] = []
        #: Whether what it is sent has to be recent, which it is not for a test that moves the clock.
        self.has_same_clock = True
        #: How many are being told at a time, at most.
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", port), self.handler())
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}{path}"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with receiver.lock:
                    receiver.at_once += 1
                    receiver.most_at_once = max(receiver.most_at_once, receiver.at_once)
                try:
                    receiver.take(self)
                finally:
                    with receiver.lock:
                        receiver.at_once -= 1

            def do_GET(self) -> None:
                receiver.faults.append(f"GET {self.path}")

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if request.path != self.path:
            self.faults.append(f"asked for {request.path}")
        if request.headers["Content-Type"] != "application/json":
            self.faults.append("no JSON")
        told = Told(
            request.headers["webhook-id"],
            int(request.headers["webhook-timestamp"]),
            body,
            time.monotonic(),
        )
        self.told.append(told)
        self.verify(request, told)
        self.was_asked.set()
        answer = self.answers.pop(0) if self.answers else self.always
        if answer is None:
            self.taken.append(told)
            respond(204)(request)
        else:
            answer(request)

    def verify(self, request: BaseHTTPRequestHandler, told: Told) -> None:
        try:
            if self.has_same_clock:
                Webhook(self.secret).verify(told.body, dict(request.headers))
            else:
                at = datetime.fromtimestamp(told.timestamp, UTC)
                expected = Webhook(self.secret).sign(told.id, at, told.body.decode())
                assert expected == request.headers["webhook-signature"]
        except Exception as error:
            self.faults.append(repr(error))

    @property
    def changes(self) -> list[dict[str, Any]]:
        """All changes that were taken, in the order in which they came."""
        return [change for told in self.taken for change in told.changes]


class Server(ThreadingHTTPServer):
    """Lets a request hang that nobody waits for."""

    daemon_threads, block_on_close = True, False

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that has gone away."""


def respond(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if status != 204:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def webhooks_file(**receivers: Receiver) -> str:
    """The settings that tell these."""
    return configuration((name, [one.secret], one.url) for name, one in receivers.items())


def configuration(receivers: Iterable[tuple[str, list[str], str]]) -> str:
    return "\n".join(
        f'[webhooks.{name}]\nurl = "{url}"\nsecrets = {json.dumps(secrets)}\n'
        for name, secrets, url in receivers
    )
