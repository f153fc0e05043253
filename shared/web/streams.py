"""Answers that are sent while they are being read."""

import logging
from collections.abc import Iterator

from flask import Response, stream_with_context

from shared.database import errors
from shared.observability import metrics

log = logging.getLogger(__name__)

#: So much of an answer is read before its first byte is sent: what goes wrong until then can be said.
HELD_BYTES = 256 * 1024


def stream(pieces: Iterator[bytes]) -> Response:
    """Return a JSON answer that sends `pieces` as they come; whole when they are few.

    What goes wrong before the first `HELD_BYTES` is raised. Later the connection breaks, so that
    nobody takes the part for the whole, and that is counted.
    """
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= HELD_BYTES:
            rest = stream_with_context(_rest(held, pieces))
            return Response(rest, mimetype="application/json")
    return Response(b"".join(held), mimetype="application/json")


def _rest(held: list[bytes], pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from held
    held.clear()
    try:
        yield from pieces
    except Exception as error:
        metrics.STREAMS_BROKEN.inc()
        cause = errors.why_unavailable(error) or type(error).__name__
        # With its request's id; the server tells of the exception itself without one.
        log.error("stream_broken", extra={"cause": cause, "number": errors.number(error)})
        raise
