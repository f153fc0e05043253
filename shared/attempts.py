"""Ten wrong passwords for one e-mail in fifteen minutes, and the rest of them it is locked.

Counted in the database, so that it holds without Redis and for all instances together; and for
unknown e-mails too, so that nothing tells them apart.
"""

import hashlib

from sqlalchemy import bindparam, delete, select

from shared.db import Base, db, look_up, transaction, upsert
from shared.models import LoginFailures
from shared.now import now_ms
from shared.problems import Problem

MOST = 10
WINDOW_MS = 15 * 60 * 1000


#: Built once, since every login runs it twice.
FIND_FAILURES = select(LoginFailures.failures, LoginFailures.first_failed_at).where(
    LoginFailures.email_hash == bindparam("key")
)


class TooManyAttempts(Problem):
    """The right password is refused too, or else guessing would go on."""

    status, code = 429, "too_many_attempts"
    detail = "Too many wrong passwords. Try again later."

    def __init__(self, wait_ms: int) -> None:
        super().__init__()
        self.headers["Retry-After"] = str(-(-wait_ms // 1000))


def refuse_when_locked(email: str) -> int:
    """Return the failures counted so far, or raise `TooManyAttempts`."""
    row = look_up(FIND_FAILURES, {"key": key(email)})
    if row is None:
        return 0
    wait = row.first_failed_at + WINDOW_MS - now_ms()
    if row.failures >= MOST and wait > 0:
        raise TooManyAttempts(wait)
    return int(row.failures)


@transaction
def count_failure(email: str) -> bool:
    """Count a wrong password; return whether it was the one that begins a lockout."""
    now = now_ms()
    # First of all there is a row, and it is locked: two that both found none would clash.
    db.session.execute(
        upsert(Base.metadata.tables["login_failures"], ["email_hash"]),
        {"email_hash": key(email), "failures": 0, "first_failed_at": now},
    )
    row = db.session.get_one(
        LoginFailures, key(email), with_for_update=True, populate_existing=True
    )
    if row.first_failed_at + WINDOW_MS <= now:
        row.failures, row.first_failed_at = 0, now
    row.failures += 1
    return row.failures == MOST


def forget_failures(email: str) -> None:
    """Begin at zero again after a right password, within the caller's transaction."""
    db.session.execute(delete(LoginFailures).where(LoginFailures.email_hash == key(email)))


def key(email: str) -> str:
    """What stands for an e-mail in the table and in logs."""
    return hashlib.sha256(email.encode()).hexdigest()
