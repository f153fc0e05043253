"""The sessions of an account: opening, listing and ending them (docs/api.md, "Sessions")."""

import hashlib
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Insert, String, bindparam, exists, insert, select

from shared.auth.revocations import announce
from shared.auth.sessions import Caller, end_sessions
from shared.database.base import db
from shared.database.transaction import transaction
from shared.models import Identity, Session, User
from shared.now import now_ms
from shared.web.errors import NotFound, Unauthorized

log = logging.getLogger("audit")


class InvalidCredentials(Unauthorized):
    """Unknown e-mail or wrong password: which of them is not said."""

    code = "invalid_credentials"
    detail = "E-mail or password is wrong."


@dataclass(frozen=True)
class Lifetimes:
    """Lifetimes of an access token, of an unused refresh token, the answer to its predecessor,
    and a session at most."""

    access_ms: int
    refresh_ms: int
    repeat_ms: int
    session_ms: int

    def expiry(self, now: int, began: int) -> int:
        """Return when a refresh token made `now` expires, in a session that `began` some time ago."""
        return min(now + self.refresh_ms, began + self.session_ms)


@dataclass(frozen=True)
class Grant:
    """All that the text of a refresh token depends on, and the end of the access token beside it.

    Times in milliseconds.
    """

    user_id: str
    session_id: str
    refresh_jti: str
    issued_at: int
    expires_at: int
    #: As the session's row has noted it, since a revocation must outlive it.
    access_until: int
    #: Whether the token was given out before.
    is_repeat: bool = False


def opening(proof: ColumnElement[bool]) -> Insert:
    """Return the statement that opens a session of an active account, if the `proof` still holds."""
    return insert(Session).from_select(
        (
            "id",
            "user_id",
            "device_name",
            "refresh_hash",
            "created_at",
            "last_used_at",
            "expires_at",
            "access_until",
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
            bindparam("access_until", type_=BigInteger),
            # An INSERT reads what is committed now, and waits for a push that is under way.
            User.last_modified_at,
        ).where(User.id == bindparam("user"), proof, User.is_active),
    )


#: Built once, since every login runs one of them.
OPEN_BY_PASSWORD = opening(User.password == bindparam("proof"))
OPEN_BY_IDENTITY = opening(
    exists().where(Identity.id == bindparam("proof"), Identity.user_id == User.id)
)


def open_session(
    user_id: str,
    proof: str,
    device_name: str | None,
    lifetimes: Lifetimes,
    statement: Insert = OPEN_BY_PASSWORD,
) -> Grant:
    """Begin a session of an active account whose hash is still `proof`, or which is still that identity's.

    Within the caller's transaction. Raises `InvalidCredentials` when that is no longer so.
    """
    now = now_ms()
    expires_at = lifetimes.expiry(now, began=now)
    access_until = now + lifetimes.access_ms
    grant = Grant(user_id, str(uuid.uuid4()), uuid.uuid4().hex, now, expires_at, access_until)
    values = {
        "session_id": grant.session_id,
        "device_name": device_name,
        "refresh_hash": fingerprint(grant.refresh_jti),
        "now": now,
        "expires_at": expires_at,
        "access_until": access_until,
        "user": user_id,
        "proof": proof,
    }
    if not db.session.connection().execute(statement, values).rowcount:
        raise InvalidCredentials
    return grant


def fingerprint(jti: str) -> str:
    """Return what the table holds of a refresh token."""
    return hashlib.sha256(jti.encode()).hexdigest()


def list_sessions(caller: Caller) -> Sequence[Any]:
    """Return the live sessions of the caller's account, the last used first.

    `current` of each says whether it is the caller's own.
    """
    query = (
        select(
            Session.id,
            Session.device_name,
            Session.created_at,
            Session.last_used_at,
            Session.expires_at,
            (Session.id == caller.session_id).label("current"),
        )
        .where(
            Session.user_id == caller.user_id,
            Session.revoked_at.is_(None),
            Session.expires_at > now_ms(),
        )
        .order_by(Session.last_used_at.desc(), Session.id)
    )
    with db.session.begin():
        return db.session.execute(query).all()


def log_out(user_id: str, session_id: str) -> None:
    """End a session; no matter if it has ended already."""
    if _end(user_id, session_id):
        log.info("logged_out", extra={"user_id": user_id, "session_id": session_id})


def end_session(caller: Caller, session_id: str) -> None:
    """End one of the caller's sessions. Raises `NotFound` when there is no such live one."""
    if not _end(caller.user_id, session_id):
        raise NotFound
    log.info("session_ended", extra={"session_id": session_id})


def log_out_everywhere(caller: Caller) -> None:
    """End all of the caller's sessions."""
    ended = _end(caller.user_id)
    log.info("logged_out_everywhere", extra={"sessions": ended})


def _end(user_id: str, *only: str) -> int:
    ended = transaction(end_sessions)(user_id, *only)
    announce(user_id, ended)
    return len(ended)
