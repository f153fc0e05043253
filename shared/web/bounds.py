"""Bounds that hold before any work is done (docs/api.md, "Conventions")."""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from flask import Flask, Response, current_app, request
from gunicorn.http.errors import ParseException

from shared.web.errors import (
    NoHttp,
    NotFound,
    RateLimited,
    TooLarge,
    Unavailable,
    UnsupportedEncoding,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

View = TypeVar("View", bound=Callable[..., object])

#: Bodies from this size on are worked on one at a time, since the objects in one take ten times it.
LARGE_BYTES = 4 * 1024 * 1024
#: How many of them wait for their turn, and for how long: whoever waits holds a thread.
MAX_WAITING, TURN_TIMEOUT_S = 2, 10
#: Half the threads of a process (deploy/gunicorn.conf.py): one user never holds all of them.
REQUESTS_PER_USER = 4

#: Where a request's environment has what is given back.
HELD = "bounds.held"


class Turns:
    """One at a time; a few wait for a bounded while, the others are told to come back."""

    def __init__(self) -> None:
        self.places = threading.BoundedSemaphore(1 + MAX_WAITING)
        self.turn = threading.BoundedSemaphore(1)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn and hold it. Raises `Unavailable`."""
        if not self.places.acquire(blocking=False):
            raise Unavailable(BUSY)
        try:
            if not self.turn.acquire(timeout=TURN_TIMEOUT_S):
                raise Unavailable(BUSY)
            try:
                yield
            finally:
                self.turn.release()
        finally:
            self.places.release()


BUSY = "Too many large requests at a time. Try again shortly."


class Places:
    """A bounded number of requests of each caller at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken = Counter[str]()

    @contextmanager
    def one_of(self, caller: str) -> Iterator[None]:
        """Hold one of the caller's places. Raises `RateLimited` when all are taken."""
        with self.lock:
            if self.taken[caller] >= REQUESTS_PER_USER:
                raise RateLimited("Too many requests of one caller at a time. Try again shortly.")
            self.taken[caller] += 1
        try:
            yield
        finally:
            with self.lock:
                self.taken[caller] -= 1
                if not self.taken[caller]:
                    del self.taken[caller]


large_bodies = Turns()
places = Places()


def takes_large_bodies(view: View) -> View:
    """Let the requests of a route have `MAX_PUSH_BYTES`."""
    view.takes_large_bodies = True  # type: ignore[attr-defined]
    return view


def hold_place_of(caller: str) -> None:
    """Count this request as one of its caller's, until its answer is ready. Raises `RateLimited`."""
    hold().enter_context(places.one_of(caller))


def read_body() -> bytes:
    """Return the request body; a large one has its turn, until its answer is ready.

    Raises `Unavailable`; `TooLarge` and `NoHttp` for a faulty one in chunks.
    """
    length = request.content_length
    if length is None and "Transfer-Encoding" in request.headers:
        # As long as it may become.
        length = request.max_content_length
    if (length or 0) > LARGE_BYTES:
        hold().enter_context(large_bodies.taken())
    try:
        body = request.get_data(cache=False)
        # Flask reads no further than the limit, and does not say whether there is more.
        if len(body) == request.max_content_length and request.environ["wsgi.input"].read(1):
            raise TooLarge
    except ParseException as error:
        raise NoHttp("The chunked request body is malformed.") from error
    return body


def hold() -> ExitStack:
    """Return what the request holds until its answer is ready."""
    held: ExitStack = request.environ[HELD]
    return held


def refuse_other_spellings() -> None:
    """Raise `NotFound` unless the path was sent as it is routed, without an escaped character.

    Limits and logs go by the path; another spelling would be a way round them.
    """
    sent = request.environ.get("RAW_URI", request.path).partition("?")[0]
    # A proxy is sent the whole URL (RFC 9112, 3.2.2), and so may we be.
    if sent != request.path and re.sub(r"^https?://[^/?]*", "", sent) != request.path:
        raise NotFound


def refuse_by_headers() -> None:
    """Refuse a body that is compressed, or whose length is beyond what the call takes."""
    if request.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise UnsupportedEncoding
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "takes_large_bodies", False):
        request.max_content_length = current_app.config["MAX_PUSH_BYTES"]
    most = request.max_content_length
    if view and most is not None and (request.content_length or 0) > most:
        raise TooLarge


class Sending:
    """An answer on its way. What the request held is given back before the client has its end."""

    def __init__(self, answer: Iterable[bytes], held: ExitStack) -> None:
        self.answer, self.pieces, self.held = answer, iter(answer), held

    def __iter__(self) -> "Sending":
        return self

    def __next__(self) -> bytes:
        try:
            return next(self.pieces)
        except BaseException:
            self.held.close()
            raise

    def close(self) -> None:
        """Release what the request held. The server calls this also when the client has gone away."""
        self.held.close()
        if hasattr(self.answer, "close"):
            self.answer.close()


def init_app(app: Flask) -> None:
    """Look at each request before anything else does, and give back what it held."""
    app.before_request(refuse_other_spellings)
    app.before_request(refuse_by_headers)

    @app.after_request
    def release(response: Response) -> Response:
        # The work is done; who has the answer may ask again at once, and must find the place free.
        if not response.is_streamed:
            hold().close()
        return response

    inner = app.wsgi_app

    def holding(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        held = environ[HELD] = ExitStack()
        try:
            return Sending(inner(environ, start_response), held)
        except BaseException:
            held.close()
            raise

    app.wsgi_app = holding  # type: ignore[method-assign]
