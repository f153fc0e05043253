"""Is a session alive, by the database; and ending sessions."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Select, bindparam, case, exists, func, select, update
from sqlalchemy.orm import InstrumentedAttribute

from shared.auth.revocations import Ended, record
from shared.database.base import db
from shared.database.bulk import chunks
from shared.database.transaction import look_up
from shared.models import ReferenceClock, Restore, Session, User
from shared.models.tables import reference_tables
from shared.now import now_ms
from shared.web.errors import Unauthorized


class Profile(NamedTuple):
    """What an account says of itself. Times in milliseconds."""

    id: str
    email: str
    email_verified: bool
    pending_email: str | None
    #: Whether there is one; None for none.
    password: int | None
    name: str | None
    role: str
    is_active: bool
    created_at: int
    updated_at: int


@dataclass(frozen=True)
class Caller:
    """The holder of the access token of a live session."""

    user_id: str
    session_id: str
    #: The user's sync clock, as it stood when the request began, or that of reference tables if it was
    #: later. None when it is not known, or stands in an interval that a restore lost.
    clock: int | None = None
    #: The account's role.
    role: str | None = None
    #: None where a service does not find it.
    profile: Profile | None = field(default=None, compare=False, repr=False)


def _later(clock: InstrumentedAttribute[int]) -> Any:
    """Return the later one of a user's clock and that of reference tables, where there are any."""
    if not reference_tables():
        return clock
    loaded = select(ReferenceClock.tick).scalar_subquery()
    return case((loaded > clock, loaded), else_=clock)


_CLOCK = case(
    (~exists().where(Restore.has_lost(User.last_modified_at)), _later(User.last_modified_at))
).label("clock")
#: Built once, since it runs with every request that Redis cannot vouch for.
FIND_CALLER = (
    select(_CLOCK, User.role)
    .join(Session, Session.user_id == User.id)
    .where(
        User.id == bindparam("user_id"),
        User.is_active,
        Session.id == bindparam("session_id"),
        Session.revoked_at.is_(None),
        Session.expires_at > bindparam("now"),
    )
)

#: The same with the profile in place of the clock, for a service that needs the account's row anyway. As one
#: text, since PyMySQL takes longer to read of a column what it is called than the row takes in all.
FIND_ACCOUNT = FIND_CALLER.with_only_columns(
    func.json_array(
        User.id,
        User.email,
        User.email_verified,
        User.pending_email,
        case((User.password.is_not(None), 1)),
        User.name,
        User.role,
        User.is_active,
        User.created_at,
        User.updated_at,
    ).label("profile"),
    maintain_column_froms=True,
)


def find_caller(
    user_id: str, session_id: str, query: Select[*tuple[Any, ...]] = FIND_CALLER
) -> Caller | None:
    """Return the caller behind a verified access token, or None when its session has ended."""
    values = {"user_id": user_id, "session_id": session_id, "now": now_ms()}
    # Apart from the request's session: the snapshot of what follows must not begin with this one.
    row = look_up(query, values)
    if row is None:
        return None
    if query is FIND_CALLER:
        return Caller(user_id, session_id, row.clock, row.role)
    profile = read_profile(row.profile)
    return Caller(user_id, session_id, role=profile.role, profile=profile)


def read_profile(text: str) -> Profile:
    """Return what `FIND_ACCOUNT` has found. The servers have 1 and 0 for true and false."""
    found = Profile(*orjson.loads(text))
    return found._replace(
        email_verified=bool(found.email_verified), is_active=bool(found.is_active)
    )


def require_living(caller: Caller) -> None:
    """Raise `Unauthorized` when the caller's session has ended, within the caller's transaction.

    The guard let the caller in before that transaction held anything.
    """
    # A locking read: it sees what is committed now.
    living = select(Session.id).where(
        Session.id == caller.session_id,
        Session.revoked_at.is_(None),
        Session.user_id == caller.user_id,
    )
    if db.session.scalar(living.with_for_update()) is None:
        raise Unauthorized


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
