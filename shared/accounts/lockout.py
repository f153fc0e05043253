"""Limits on guessing passwords (docs/api.md, "Auth service", login).

An attempt is counted before its password is hashed, so that guesses sent in parallel are no way
round, and taken back when the password was right. Counted in the database, so that it holds without
Redis and for all instances together; and for unknown e-mails too, so that nothing tells them apart.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Dialect,
    Row,
    Select,
    bindparam,
    case,
    delete,
    literal_column,
    or_,
    select,
    update,
)

from shared.accounts.digests import digest
from shared.accounts.passwords import verify_password
from shared.database.base import db
from shared.database.bulk import compiled, insert_or_update
from shared.database.transaction import transaction
from shared.models import LoginFailures
from shared.now import now_ms
from shared.web.errors import Problem, Unavailable

WINDOW_MS = 15 * 60 * 1000
#: Machines' clocks differ a little. What is further in the future was written by a wrong clock, and
#: must not lock for as long as that one was ahead.
MAX_SKEW_MS = 5 * 1000
MAX_FROM_ANYWHERE = 100
MAX_FROM_ONE_NETWORK = 10
MAX_OF_ONE_SESSION = 10

_NOW = bindparam("now", type_=BigInteger)
_COLUMNS = LoginFailures.__table__.c
_FIRST = _COLUMNS.first_failed_at
_IS_OVER = or_(_FIRST <= _NOW - WINDOW_MS, _FIRST > _NOW + MAX_SKEW_MS)
#: In this order: MySQL reads in the second what the first has set.
_UPDATES = [
    ("failures", case((_IS_OVER, 1), else_=_COLUMNS.failures + 1)),
    ("first_failed_at", case((_IS_OVER, _NOW), else_=_FIRST)),
]

#: The counts of `keys`. A query that asks for more in the same statement extends this one.
FIND_COUNTS = select(
    LoginFailures.email_hash, LoginFailures.failures, LoginFailures.first_failed_at
).where(LoginFailures.email_hash.in_(bindparam("keys", expanding=True)))

#: A count that sinks to nothing has no beginning either: the next failure begins its window.
_TAKE_BACK = (
    update(LoginFailures)
    .where(LoginFailures.email_hash.in_(bindparam("keys", expanding=True)))
    .ordered_values(
        (
            LoginFailures.first_failed_at,
            case(
                (LoginFailures.failures <= bindparam("taken"), 0),
                else_=LoginFailures.first_failed_at,
            ),
        ),
        (LoginFailures.failures, LoginFailures.failures - bindparam("taken")),
    )
)


class TooManyAttempts(Problem):
    """The right password is refused too, or else guessing would go on."""

    status, code = 429, "too_many_attempts"
    detail = "Too many wrong passwords. Try again later."

    def __init__(self, wait_ms: int) -> None:
        super().__init__()
        self.headers["Retry-After"] = str(-(-wait_ms // 1000))


@dataclass(frozen=True)
class Limit:
    """The number of wrong passwords allowed under one key in a time window."""

    key: str
    most: int
    #: What stands for the e-mail whose logins it limits.
    account: str | None = None


@dataclass(frozen=True)
class Attempt:
    """A password that was let through to be verified, and is counted as wrong until it was right."""

    keys: list[str]
    #: Failures from the same network or session in this window, with this one.
    failures: int
    #: Whether it is the last one that is let through.
    exhausts: bool


def login_limits(email: str, client: str | None) -> list[Limit]:
    """Return the limits of a login from an address, the narrowest last."""
    account, here = key(email), digest("login", email, network(client or ""))
    anywhere = Limit(account, MAX_FROM_ANYWHERE, account)
    return [anywhere, Limit(here, MAX_FROM_ONE_NETWORK, account)]


def confirmation_limits(session_id: str) -> list[Limit]:
    """Return the limit of passwords that confirm a change.

    Apart from logins: a stranger's guesses do not lock out who is signed in.
    """
    return [Limit(digest("session", session_id), MAX_OF_ONE_SESSION)]


@cache
def _counting(dialect: Dialect, number: int) -> tuple[str, dict[str, Any]]:
    """Return the statement that counts an attempt under each of some keys, and its own values."""
    row = {"failures": literal_column("1"), "first_failed_at": _NOW}
    rows = [
        row | {name: bindparam(f"{name}_{n}") for name in ("email_hash", "account_hash")}
        for n in range(number)
    ]
    return compiled(dialect, insert_or_update(LoginFailures.__table__, rows, _UPDATES))


@transaction
def begin(
    limits: Sequence[Limit], query: Select[*tuple[Any, ...]] = FIND_COUNTS, **values: Any
) -> tuple[Attempt, Row[*tuple[Any, ...]]]:
    """Count an attempt under each of `limits`; return it with a row of `query`.

    Raises `TooManyAttempts` when one is used up; such an attempt is not counted.
    """
    now = now_ms()
    # All lock the rows in one order. Each holds them until it has read them, and so reads the number
    # of its own attempt.
    ordered = sorted(limits, key=lambda limit: limit.key)
    keys = [limit.key for limit in ordered]
    connection = db.session.connection()
    text, constants = _counting(connection.dialect, len(ordered))
    rows: dict[str, str | None] = {}
    for n, limit in enumerate(ordered):
        rows |= {f"email_hash_{n}": limit.key, f"account_hash_{n}": limit.account}
    connection.exec_driver_sql(text, {**constants, **rows, "now": now})
    found = connection.execute(query, {"keys": keys, **values}).all()
    counts = {row.email_hash: row for row in found}
    waits = [
        min(counts[limit.key].first_failed_at, now) + WINDOW_MS - now
        for limit in limits
        if counts[limit.key].failures > limit.most
    ]
    if waits:
        # Rolls back what was counted: to be refused is no failure.
        raise TooManyAttempts(max(waits))
    exhausts = any(counts[limit.key].failures == limit.most for limit in limits)
    return Attempt(keys, counts[limits[-1].key].failures, exhausts), found[0]


def verify(attempt: Attempt, stored: str | None, password: str) -> bool:
    """Verify the password of an attempt; one that cannot be verified now is taken back."""
    try:
        return verify_password(stored, password)
    except Unavailable:
        transaction(_take_back)(attempt, 1)
        raise


def forget(attempt: Attempt) -> None:
    """Begin at zero after a right password, within the caller's transaction.

    Failures from elsewhere stay counted.
    """
    _take_back(attempt, attempt.failures)


def lift(email: str) -> None:
    """Forget all failures of an e-mail's logins, from wherever, within the caller's transaction."""
    db.session.execute(delete(LoginFailures).where(LoginFailures.account_hash == key(email)))


def _take_back(attempt: Attempt, taken: int) -> None:
    db.session.connection().execute(_TAKE_BACK, {"keys": attempt.keys, "taken": taken})


def network(address: str) -> str:
    """Return what stands for one client: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((int(ip), 64), strict=False))


def key(email: str) -> str:
    """Return what stands for an e-mail in the table and in logs."""
    return digest(email)
