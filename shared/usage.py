"""How command lines answer a wrong call: in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def in_one_line() -> Iterator[None]:
    """Let a `UsageError` leave without its context, by which click adds how to call the command."""
    try:
        yield
    except click.UsageError as error:
        error.ctx = None
        raise
