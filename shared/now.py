"""The only reader of the wall clock, so that tests can set it."""

from datetime import UTC, datetime
from time import time_ns

DAY_MS = 24 * 60 * 60 * 1000


def now_ms() -> int:
    """Return milliseconds since the Unix epoch."""
    return time_ns() // 1_000_000


def rfc3339(ms: int) -> str:
    """Return `ms` as RFC 3339 in UTC with milliseconds, as docs/api.md writes every time outside sync."""
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
