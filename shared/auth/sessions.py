"""Is a session alive, by the database; and ending sessions."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, bindparam, case, exists, select, update

from shared.auth.revocations import Ended, record
from shared.database.base import db
from shared.database.bulk import chunks
from shared.database.transaction import look_up
from shared.models import Restore, Session, User
from shared.now import now_ms
from shared.web.errors import Unauthorized


@dataclass(frozen=True)
class Caller:
    """The holder of the access token of a live session."""

    user_id: str
    session_id: str
    #: The user's sync clock, as it stood when the request began. None when it is not known, or stands
    #: in an interval that a restore lost.
    clock: int | None = None
    #: The account's role, and the version of its profile (`users.updated_at`). None where Redis has
    #: vouched for the session: see `completed`.
    role: str | None = None
    profile_version: int | None = None
    #: The account, found by the same statement where that was `FIND_ACCOUNT`.
    account: Any = field(default=None, compare=False, repr=False)


_CLOCK = case(
    (~exists().where(Restore.has_lost(User.last_modified_at)), User.last_modified_at)
).label("clock")
#: Built once, since it runs with every request that Redis cannot vouch for.
FIND_CALLER = (
    select(_CLOCK, User.role, User.updated_at)
    .join(Session, Session.user_id == User.id)
    .where(
        User.id == bindparam("user_id"),
        User.is_active,
        Session.id == bindparam("session_id"),
        Session.revoked_at.is_(None),
        Session.expires_at > bindparam("now"),
    )
)

#: The same with all of the account, for a service whose answers need it.
FIND_ACCOUNT = FIND_CALLER.with_only_columns(_CLOCK, *User.__table__.c, maintain_column_froms=True)


def find_caller(
    user_id: str, session_id: str, query: Select[*tuple[Any, ...]] = FIND_CALLER
) -> Caller | None:
    """Return the caller behind a verified access token, or None when its session has ended."""
    values = {"user_id": user_id, "session_id": session_id, "now": now_ms()}
    # Apart from the request's session: the snapshot of what follows must not begin with this one.
    row = look_up(query, values)
    if row is None:
        return None
    return Caller(user_id, session_id, row.clock, row.role, row.updated_at, row)


def completed(caller: Caller, query: Select[*tuple[Any, ...]] = FIND_CALLER) -> Caller:
    """Return `caller` with role and version of the profile. Raises `Unauthorized` when it has ended."""
    if caller.role is not None:
        return caller
    found = find_caller(caller.user_id, caller.session_id, query)
    if found is None:
        raise Unauthorized
    return found


def end_sessions(user_id: str, *only: str, keep: str | None = None) -> list[Ended]:
    """Revoke the live sessions of a user, all or `only` those ids, but not `keep`; return which.

    To be called in a transaction, and followed by `revocations.announce` once that has committed: only
    then are the access tokens of these sessions refused everywhere.
    """
    # Those that were opened meanwhile too: a locking read sees what is committed now.
    living = (
        select(Session.id, Session.access_until)
        .where(Session.user_id == user_id, Session.revoked_at.is_(None))
        .with_for_update()
    )
    if only:
        living = living.where(Session.id.in_(only))
    if keep:
        living = living.where(Session.id != keep)
    ended = record(user_id, [(id_, until) for id_, until in db.session.execute(living)])
    if ended:
        for ids in chunks([one.session_id for one in ended]):
            db.session.execute(
                update(Session).where(Session.id.in_(ids)).values(revoked_at=now_ms())
            )
    return ended
