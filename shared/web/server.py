"""gunicorn's worker, whose threads stay with their connections, and whose own errors have the form of all
others and are heard by who sent too much.
"""

import select
import signal
import socket
import sys
import time
import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import orjson
from gunicorn.http import errors, message
from gunicorn.workers.gthread import ThreadWorker

from shared.database.engines import AT_ONCE
from shared.web.errors import NoHttp, Problem, body_of

#: A migration sync travels in the URL. gunicorn allows no more than 8,190 bytes, whatever its setting.
MAX_REQUEST_LINE = 32 * 1024
message.MAX_REQUEST_LINE = MAX_REQUEST_LINE

#: Of a body that nobody reads gunicorn throws twice as much away before it gives the connection up.
MAX_UNREAD = 32 * 1024
#: How much of a body that nobody reads is thrown away, and for how long: who is still sending does not
#: hear the answer when the connection is cut. A bit more than the largest push.
DRAIN_BYTES, DRAIN_S = 72 * 2**20, 10
#: How long a client that was answered, and sends nothing more, may take to close its end.
LINGER_S = 1
#: How long a thread waits for the next request of its connection before gunicorn's main thread does.
STAYS_MS = 20
#: How long a worker without a master may take to end once its requests have had their time.
EXIT_S = 5


#: What else gunicorn refuses, by its exceptions.
REFUSALS: dict[type[Exception], tuple[int, str]] = {
    errors.ForbiddenProxyRequest: (403, "The PROXY protocol is not allowed here."),
    errors.LimitRequestLine: (414, "The request URL is too long."),
    errors.ExpectationFailed: (417, "The only supported expectation is 100-continue."),
    errors.LimitRequestHeaders: (431, "The request headers are too large."),
    errors.UnsupportedTransferCoding: (501, "This transfer coding is not supported."),
    errors.InvalidHTTPVersion: (505, "This version of HTTP is not supported."),
}
#: What the application would have sent, and gunicorn's settings.
OURS = (
    errors.InvalidResponseHeader,
    errors.InvalidResponseHeaderName,
    errors.ConfigurationProblem,
)


class Worker(ThreadWorker):
    """gunicorn's threaded worker."""

    def handle_quit(self, _sig: Any, _frame: Any) -> None:
        """End at the next turn of the main loop.

        gunicorn's own ends the pool of threads here. A signal that interrupts the main thread while it hands
        the pool a request then waits for a lock that the same thread holds, until it is killed after 30 s.
        """
        self.alive = False
        self.method_queue.defer(sys.exit)

    def handle(self, conn: Any) -> Any:
        """Serve requests as they come, with no other thread in between: that would cost a quarter more.

        Return false when the connection is to be closed; true when gunicorn's main thread is to wait for
        what comes next.
        """
        while True:
            kept = super().handle(conn)
            if kept is False:
                drain(conn.sock)
            if kept is not True or not self.may_stay() or not next_arrives(conn):
                return kept

    def may_stay(self) -> bool:
        """Return whether threads are left for other connections.

        Of a worker that ends too: a client that was not told of it yet is told by its next answer.
        """
        with_a_thread = self.nr_conns - len(self.keepalived_conns) - len(self.pending_conns)
        return with_a_thread <= AT_ONCE

    def is_parent_alive(self) -> bool:
        """Return whether the master lives. If not, the worker ends as if the master had told it to.

        gunicorn's own would go on to keep connections, and cut them off after 30 s in the middle of their
        requests.
        """
        lives = bool(super().is_parent_alive())
        if self.alive and not lives:
            self.alive = False
            # A thread that waits for the rest of a request may do so forever, and nobody kills it.
            signal.alarm(self.cfg.graceful_timeout + EXIT_S)
        return lives

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request, and say that the connection ends when that is so for an unread body.

        Else a gateway would send the next request by it, of whoever that is, and have to tell of 502.
        """
        is_last = req.should_close
        req.should_close = lambda: is_last() or unread(req) > MAX_UNREAD
        return super().handle_request(req, conn)

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, exc: Exception) -> None:
        """Answer what did not become a request, or a bug of the server itself."""
        request_id = uuid.uuid4().hex
        if isinstance(exc, errors.ParseException) and not isinstance(exc, OURS):
            problem: Problem = NoHttp()
            problem.status, problem.detail = REFUSALS.get(type(exc), (400, NoHttp.detail))
            # Neither what was sent nor by whom.
            said = {"status": problem.status, "cause": type(exc).__name__, "request_id": request_id}
            self.log.warning("no_http", extra=said)
        else:
            problem = Problem()
            self.log.error("bug", exc_info=exc, extra={"request_id": request_id})
        with suppress(OSError):
            client.sendall(answer(problem, request_id))


def next_arrives(conn: Any) -> bool:
    """Wait shortly; return whether there is more to read of a connection, its end included."""
    poll = select.poll()
    poll.register(conn.sock, select.POLLIN)
    # Of one that sends without waiting for answers it may have been read already.
    return bool(conn.parser.unreader.buf.getvalue() or poll.poll(STAYS_MS))


def unread(req: Any) -> int:
    """Return how many bytes of a body are not read yet; 0 for one in chunks, whose length nobody knows."""
    left: int = getattr(req.body.reader, "length", 0)
    return left


def answer(problem: Problem, request_id: str) -> bytes:
    """Return the bytes that say `problem`, and that the connection ends."""
    body = orjson.dumps(body_of(problem, request_id))
    head = (
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"X-Request-ID: {request_id}\r\n"
        "\r\n"
    )
    return head.encode() + body


def drain(connection: socket.socket) -> None:
    """Throw away what still comes in until the client ends, within bounds; then let nothing through."""
    deadline, left = time.monotonic() + DRAIN_S, DRAIN_BYTES
    # The client may have gone away at any point.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(LINGER_S)
        while left > 0 and time.monotonic() < deadline:
            received = len(connection.recv(65536))
            if not received:
                break
            left -= received
        # So that gunicorn's main thread, which closes it, waits for nobody.
        connection.shutdown(socket.SHUT_RDWR)
