"""Is a session alive, and ending it. The table decides."""

from dataclasses import dataclass

from sqlalchemy import CursorResult, select, update

from shared.db import db
from shared.models import Session, User
from shared.now import now_ms


@dataclass(frozen=True)
class Caller:
    """Whoever holds the access token of a live session."""

    user_id: str
    session_id: str
    role: str


def find_caller(user_id: str, session_id: str) -> Caller | None:
    """The caller behind a verified access token, or None when its session has ended."""
    query = (
        select(User.role)
        .join(Session, Session.user_id == User.id)
        .where(
            User.id == user_id,
            User.is_active,
            Session.id == session_id,
            Session.revoked_at.is_(None),
            Session.expires_at > now_ms(),
        )
    )
    # A transaction of its own: the snapshot of what follows must not begin before it.
    with db.session.begin():
        role = db.session.scalar(query)
    return Caller(user_id, session_id, role) if role else None


def end_sessions(user_id: str, *only: str) -> int:
    """Revoke the live sessions of a user, all or `only` those ids; return how many there were.

    To be called in a transaction; the access tokens of these sessions are refused once it commits.
    """
    statement = (
        update(Session)
        .where(Session.user_id == user_id, Session.revoked_at.is_(None))
        .values(revoked_at=now_ms())
    )
    if only:
        statement = statement.where(Session.id.in_(only))
    result = db.session.execute(statement)
    assert isinstance(result, CursorResult)  # noqa: S101
    return result.rowcount
