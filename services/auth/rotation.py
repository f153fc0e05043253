"""Replacing a refresh token by its successor (docs/api.md, "Rotation")."""

import hashlib
import logging
from typing import Any

import orjson
from sqlalchemy import bindparam, select

from services.auth.sessions import Grant, Lifetimes, fingerprint
from shared.auth.revocations import Ended, announce
from shared.auth.sessions import end_sessions
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import Session
from shared.now import now_ms
from shared.observability import metrics
from shared.web.errors import Unauthorized

log = logging.getLogger("audit")

#: Built once. The row lock makes one of many parallel calls replace the token; the others find it replaced.
LOCK_SESSION = (
    select(Session)
    .where(Session.id == bindparam("session_id"), Session.user_id == bindparam("user_id"))
    .with_for_update()
)
#: Replaced tokens that a session remembers besides the last one. Only apps that refresh without end
#: replace as many while a repeat is answered.
MAX_EARLIER = 32


class TokenReused(Unauthorized):
    """A replaced token came again: somebody has a copy, so the session has ended."""

    code = "token_reused"
    detail = "This refresh token was already used. The session has ended; log in again."


def rotate(user_id: str, session_id: str, jti: str, lifetimes: Lifetimes) -> Grant:
    """Replace the refresh token `jti` by its successor.

    A replaced token gets the same successor again for `repeat_ms` (its answer was lost, or an app
    refreshed twice at once), and beyond that while the successor was never presented (the app was
    killed before it could save it). Any other use of a replaced token ends the session. Raises
    `TokenReused`, or `Unauthorized` when there is no such session any more.
    """
    grant, ended = _rotate(user_id, session_id, jti, lifetimes)
    if ended:
        announce(user_id, ended)
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
) -> tuple[Grant | None, list[Ended]]:
    session = db.session.scalar(LOCK_SESSION, {"session_id": session_id, "user_id": user_id})
    now = now_ms()
    if session is None or session.revoked_at is not None or session.expires_at <= now:
        return None, []
    presented = fingerprint(jti)
    is_repeat = presented != session.refresh_hash
    if not is_repeat:
        _replace(session, presented, successor(jti), now, lifetimes)
    given_out = _successor_times(session, presented, now, lifetimes.repeat_ms)
    if given_out is None:
        return None, end_sessions(user_id, session_id)
    access_until = now + lifetimes.access_ms
    session.access_until = max(session.access_until or 0, access_until)
    return Grant(user_id, session_id, successor(jti), *given_out, access_until, is_repeat), []


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


def successor(jti: str) -> str:
    """Return the `jti` of the token that replaces `jti`: derived, so that a repeat derives the same.

    It need not be secret, as only a signed token carries it.
    """
    return hashlib.sha256(b"successor of " + jti.encode()).hexdigest()[:32]
