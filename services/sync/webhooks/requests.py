"""One request to a receiver, signed as the Standard Webhooks specification has it, within a bounded time."""

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from shared import __version__
from shared.mail_url import is_loopback
from shared.now import now_ms
from shared.receivers import Receiver

#: For the whole head of the answer, the connection included.
ANSWER_S = 15


def headers_of(receiver: Receiver, id_: str, body: bytes) -> dict[str, str]:
    """Return the headers of a request, with a signature by each of the receiver's keys."""
    timestamp = str(now_ms() // 1000)
    signed = f"{id_}.{timestamp}.".encode() + body
    signatures = (hmac.digest(key, signed, hashlib.sha256) for key in receiver.keys)
    return {
        "Content-Type": "application/json",
        "User-Agent": f"watermelondb-backend/{__version__}",
        "Webhook-Id": id_,
        "Webhook-Timestamp": timestamp,
        "Webhook-Signature": " ".join(f"v1,{base64.b64encode(s).decode()}" for s in signatures),
    }


def post(receiver: Receiver, id_: str, body: bytes) -> int:
    """Send a body to a receiver; return the status of its answer, of which nothing else is read.

    Raises whatever keeps it from coming; `TimeoutError` when it takes too long.
    """
    call = Call(receiver.url, headers_of(receiver, id_, body), body)
    Thread(target=call.run, name="webhook", daemon=True).start()
    try:
        return call.status.result(ANSWER_S)
    finally:
        call.cut()


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an answer: nothing is sent anywhere but to the configured URL."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse."""


class Call:
    """A request in a thread of its own, which can be cut off wherever it is."""

    def __init__(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self.request = urllib.request.Request(url, body, dict(headers), method="POST")  # noqa: S310
        self.status: Future[int] = Future()
        self.connection: http.client.HTTPConnection | None = None
        self.is_cut = Event()

    def run(self) -> None:
        """Send the request, and set `status` to that of the answer or to why there is none."""
        try:
            with self.opener().open(self.request, timeout=ANSWER_S) as answer:
                self.status.set_result(answer.status)
        except HTTPError as error:
            with error:
                self.status.set_result(error.code)
        except Exception as error:
            self.status.set_exception(error)

    def cut(self) -> None:
        """Send and receive nothing more."""
        self.is_cut.set()
        connection = self.connection
        if connection is not None and (sock := connection.sock) is not None:
            with suppress(OSError):
                # By the socket below TLS, which has no farewell to wait for.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def opener(self) -> urllib.request.OpenerDirector:
        """Return what sends the request: by way of the environment's proxy, but not to this machine."""
        is_here = is_loopback(urlsplit(self.request.full_url).hostname or "")
        direct = [urllib.request.ProxyHandler({})] if is_here else []
        return urllib.request.build_opener(NoRedirects(), Plain(self), Secure(self), *direct)

    def open(self, connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
        """Let a connection end with this call."""
        self.connection = connection
        connect = connection.connect

        def connect_in_time() -> None:
            connect()
            if self.is_cut.is_set():
                raise TimeoutError

        connection.connect = connect_in_time  # type: ignore[method-assign]
        return connection


class Plain(urllib.request.HTTPHandler):
    """Opens the connection of a call without TLS."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Send the request."""
        return self.do_open(self.connect, req)

    def connect(self, host: str, **options: Any) -> http.client.HTTPConnection:
        """Return a connection that is to be opened."""
        return self.call.open(http.client.HTTPConnection(host, **options))


class Secure(urllib.request.HTTPSHandler):
    """Opens the connection of a call with TLS."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Send the request."""
        context = ssl.create_default_context()
        return self.do_open(self.connect, req, context=context)

    def connect(self, host: str, **options: Any) -> http.client.HTTPConnection:
        """Return a connection that is to be opened."""
        return self.call.open(http.client.HTTPSConnection(host, **options))
