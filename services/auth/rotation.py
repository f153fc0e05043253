"""Sessions and their one current refresh token (docs/api.md, "Sessions" and "Rotation")."""

import hashlib
import logging
import uuid
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import BigInteger, String, bindparam, insert, select

from shared.auth.sessions import end_sessions
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import Session, User
from shared.now import now_ms
from shared.observability import metrics
from shared.web.errors import Unauthorized

log = logging.getLogger("audit")

#: Replaced tokens that a session remembers besides the last one. Only apps that refresh without end
#: replace as many while a repeat is answered.
MAX_EARLIER = 32


class InvalidCredentials(Unauthorized):
    """Unknown e-mail or wrong password: which of them is not said."""

    code = "invalid_credentials"
    detail = "E-mail or password is wrong."


class TokenReused(Unauthorized):
    """A replaced token came again: somebody has a copy, so the session has ended."""

    code = "token_reused"
    detail = "This refresh token was already used. The session has ended; log in again."


@dataclass(frozen=True)
class Lifetimes:
    """How long a refresh token lives unused, how long its predecessor is answered, and how long a
    session lives at most."""

    refresh_ms: int
    repeat_ms: int
    session_ms: int

    def expiry(self, now: int, began: int) -> int:
        """When a refresh token made `now` expires, in a session that `began` some time ago."""
        return min(now + self.refresh_ms, began + self.session_ms)


@dataclass(frozen=True)
class Grant:
    """All that the text of a refresh token depends on. Times in milliseconds."""

    user_id: str
    session_id: str
    refresh_jti: str
    issued_at: int
    expires_at: int
    #: Whether the token was given out before.
    is_repeat: bool = False


#: Built once, since every login runs it.
OPEN_SESSION = insert(Session).from_select(
    (
        "id",
        "user_id",
        "device_name",
        "refresh_hash",
        "created_at",
        "last_used_at",
        "expires_at",
        "began_at_tick",
    ),
    select(
        bindparam("session_id", type_=String),
        User.id,
        bindparam("device_name", type_=String),
        bindparam("refresh_hash", type_=String),
        bindparam("now", type_=BigInteger),
        bindparam("now", type_=BigInteger),
        bindparam("expires_at", type_=BigInteger),
        # An INSERT reads what is committed now, and waits for a push that is under way.
        User.last_modified_at,
    ).where(User.id == bindparam("user"), User.password == bindparam("hash"), User.is_active),
)


def open_session(
    user_id: str, password: str, device_name: str | None, lifetimes: Lifetimes
) -> Grant:
    """Begin a session of an active account whose hash is still `password`.

    Within the caller's transaction. Raises `InvalidCredentials` when that is no longer so.
    """
    now = now_ms()
    expires_at = lifetimes.expiry(now, began=now)
    grant = Grant(user_id, str(uuid.uuid4()), uuid.uuid4().hex, now, expires_at)
    values = {
        "session_id": grant.session_id,
        "device_name": device_name,
        "refresh_hash": fingerprint(grant.refresh_jti),
        "now": now,
        "expires_at": expires_at,
        "user": user_id,
        "hash": password,
    }
    if not db.session.connection().execute(OPEN_SESSION, values).rowcount:
        raise InvalidCredentials
    return grant


def rotate(user_id: str, session_id: str, jti: str, lifetimes: Lifetimes) -> Grant:
    """Replace the refresh token `jti` by its successor.

    A replaced token gets the same successor again for `repeat_ms` (its answer was lost, or an app
    refreshed twice at once), and beyond that while the successor was never presented (the app was
    killed before it could save it). Any other use of a replaced token ends the session. Raises
    `TokenReused`, or `Unauthorized` when there is no such session any more.
    """
    grant, reused = _rotate(user_id, session_id, jti, lifetimes)
    if reused:
        metrics.REFRESHES.labels("reused").inc()
        log.warning("refresh_reused", extra={"user_id": user_id, "session_id": session_id})
        # Only now, since the exception would have rolled the end of the session back.
        raise TokenReused
    if grant is None:
        metrics.REFRESHES.labels("refused").inc()
        raise Unauthorized("The session of this token has ended.")
    metrics.REFRESHES.labels("repeated" if grant.is_repeat else "rotated").inc()
    return grant


@transaction
def _rotate(
    user_id: str, session_id: str, jti: str, lifetimes: Lifetimes
) -> tuple[Grant | None, bool]:
    # The row lock makes one of many parallel calls replace the token; the others find it replaced.
    session = db.session.scalar(
        select(Session)
        .where(Session.id == session_id, Session.user_id == user_id)
        .with_for_update()
    )
    now = now_ms()
    if session is None or session.revoked_at is not None or session.expires_at <= now:
        return None, False
    presented = fingerprint(jti)
    is_repeat = presented != session.refresh_hash
    if not is_repeat:
        _replace(session, presented, successor(jti), now, lifetimes)
    given_out = _successor_times(session, presented, now, lifetimes.repeat_ms)
    if given_out is None:
        end_sessions(user_id, session_id)
        return None, True
    return Grant(user_id, session_id, successor(jti), *given_out, is_repeat), False


def _replace(
    session: Session, presented: str, next_jti: str, now: int, lifetimes: Lifetimes
) -> None:
    earlier = _earlier(session, now, lifetimes.repeat_ms)
    if session.previous_hash:
        earlier[session.previous_hash] = [session.replaced_at or 0, session.expires_at]
    kept = dict(list(earlier.items())[-MAX_EARLIER:])
    session.earlier = orjson.dumps(kept).decode() if kept else None
    session.previous_hash = presented
    session.refresh_hash = fingerprint(next_jti)
    session.replaced_at = session.last_used_at = now
    # One that began when the clock was ahead would outlive the others by as much.
    session.created_at = min(session.created_at, now)
    session.expires_at = lifetimes.expiry(now, session.created_at)


def _successor_times(
    session: Session, replaced: str, now: int, repeat_ms: int
) -> tuple[int, int] | None:
    """Return when the successor of a replaced token was made and expires; None when it is reused."""
    if replaced == session.previous_hash:
        # Its successor is the current token, which nobody has presented: or it were replaced too.
        return session.replaced_at or 0, session.expires_at
    made, expires = _earlier(session, now, repeat_ms).get(replaced, (None, None))
    return None if made is None else (made, expires)


def _earlier(session: Session, now: int, repeat_ms: int) -> dict[str, Any]:
    """Return the tokens before the previous one that may still be repeated, the oldest first."""
    earlier = orjson.loads(session.earlier or "{}")
    # Either way: what a clock that was ahead has noted must not be repeatable for as long.
    return {hash_: times for hash_, times in earlier.items() if abs(now - times[0]) <= repeat_ms}


def fingerprint(jti: str) -> str:
    """What the table holds of a refresh token."""
    return hashlib.sha256(jti.encode()).hexdigest()


def successor(jti: str) -> str:
    """The `jti` of the token that replaces `jti`: derived, so that a repeat derives the same.

    It need not be secret, as only a signed token carries it.
    """
    return hashlib.sha256(b"successor of " + jti.encode()).hexdigest()[:32]
