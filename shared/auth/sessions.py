"""Is a session alive, and ending it. The table decides."""

from dataclasses import dataclass

from sqlalchemy import bindparam, exists, func, select, update

from shared.database.bulk import affected
from shared.database.transaction import look_up
from shared.models import Restore, Session, User
from shared.now import now_ms


@dataclass(frozen=True)
class Caller:
    """Whoever holds the access token of a live session."""

    user_id: str
    session_id: str
    role: str
    #: `users.updated_at`, which names the version of the profile.
    profile_version: int
    #: The user's sync clock, as it stood when the request began.
    clock: int
    #: The same when the session began, 0 where that is not known.
    began_at_tick: int = 0
    #: Whether the clock stands in an interval that a restore lost.
    clock_is_lost: bool = False


#: Built once, since every request runs it.
FIND_CALLER = (
    select(
        User.role,
        User.updated_at,
        User.last_modified_at,
        func.coalesce(Session.began_at_tick, 0),
        exists().where(Restore.has_lost(User.last_modified_at)),
    )
    .join(Session, Session.user_id == User.id)
    .where(
        User.id == bindparam("user_id"),
        User.is_active,
        Session.id == bindparam("session_id"),
        Session.revoked_at.is_(None),
        Session.expires_at > bindparam("now"),
    )
)


def find_caller(user_id: str, session_id: str) -> Caller | None:
    """The caller behind a verified access token, or None when its session has ended."""
    values = {"user_id": user_id, "session_id": session_id, "now": now_ms()}
    # Apart from the request's session: the snapshot of what follows must not begin with this one.
    row = look_up(FIND_CALLER, values)
    return Caller(user_id, session_id, *row) if row else None


def end_sessions(user_id: str, *only: str, keep: str | None = None) -> int:
    """Revoke the live sessions of a user, all or `only` those ids, but not `keep`; return how many.

    To be called in a transaction; the access tokens of these sessions are refused once it commits.
    """
    statement = (
        update(Session)
        .where(Session.user_id == user_id, Session.revoked_at.is_(None))
        .values(revoked_at=now_ms())
    )
    if only:
        statement = statement.where(Session.id.in_(only))
    if keep:
        statement = statement.where(Session.id != keep)
    return affected(statement)
