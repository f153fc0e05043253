"""Answers that are sent while they are being read."""

from collections.abc import Iterator
from itertools import chain

from flask import stream_with_context


def stream(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Send `pieces` as they come; what goes wrong before the first one can still be said."""
    first = next(pieces)
    return stream_with_context(chain([first], pieces))
