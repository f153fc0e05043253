"""The sync clock of a user (docs/api.md, "The sync clock")."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    select,
    update,
)

from shared.database.base import db
from shared.database.bulk import chunks
from shared.database.transaction import transaction
from shared.models import ReferenceClock, Restore, User
from shared.models.tables import reference_tables
from shared.now import now_ms
from shared.reference_clock import cover
from shared.web.errors import Unauthorized


def _reference_clock() -> tuple[ColumnElement[int], ...]:
    """Return what a pull reads of the clock of reference tables, where there are any."""
    columns = (ReferenceClock.tick, ReferenceClock.purged_until)
    if reference_tables():
        return tuple(select(column).scalar_subquery() for column in columns)
    return tuple(literal_column("0").label(column.key) for column in columns)


#: Built once, since every push or pull runs them. `READ`, of which a `Reading` is made, is part of a pull.
LOCK = select(User.last_modified_at).where(User.id == bindparam("user")).with_for_update()
LOCK_LONE = LOCK.where(~User.has_spaces)
READ = select(
    User.last_modified_at,
    User.purged_until,
    select(func.min(Restore.lost_after))
    .where(Restore.has_lost(bindparam("since")))
    .scalar_subquery(),
    exists().where(Restore.has_lost(User.last_modified_at)),
    User.has_spaces,
    *_reference_clock(),
).where(User.id == bindparam("user"))
#: The clock before comes back in the place of a row's new id, so that one statement locks, reads and writes.
TAKE = (
    "UPDATE users SET pushed_since ="
    " IF(pushed_by = %(session)s AND pushed_at = last_modified_at, pushed_since, last_modified_at),"
    " pushed_by = %(session)s, pushed_at = GREATEST(%(now)s, last_modified_at + 1),"
    # Last: MySQL lets an assignment see those before it.
    " last_modified_at = GREATEST(%(now)s, LAST_INSERT_ID(last_modified_at) + 1)"
    " WHERE id = %(user)s AND NOT has_spaces"
)
#: The same for a clock that is held already. In this order: MySQL lets an assignment see those before it.
SET = (
    update(User)
    .where(User.id == bindparam("user"))
    .ordered_values(
        (
            User.pushed_since,
            case(
                (
                    (User.pushed_by == bindparam("session"))
                    & (User.pushed_at == User.last_modified_at),
                    User.pushed_since,
                ),
                else_=User.last_modified_at,
            ),
        ),
        (User.pushed_by, bindparam("session")),
        (User.pushed_at, bindparam("tick")),
        (User.last_modified_at, bindparam("tick")),
    )
)
#: A clock is only ever raised.
RAISE = (
    update(User)
    .where(User.id == bindparam("user"), User.last_modified_at < bindparam("tick"))
    .values(last_modified_at=bindparam("tick"))
)
GIVE_BACK = (
    update(User)
    .where(User.id == bindparam("user"))
    .values(last_modified_at=bindparam("tick"), pushed_at=bindparam("tick"))
)
MOVES = select(
    User.id,
    User.last_modified_at,
    case((User.pushed_at == User.last_modified_at, User.pushed_by)),
    func.coalesce(User.pushed_since, 0),
).where(User.id.in_(bindparam("users", expanding=True)))


@dataclass(frozen=True)
class Reading:
    """A user's clock, and what is known of the time before it. All of them ticks."""

    present: int
    #: Tombstones were removed up to here; 0: none.
    purged_until: int
    #: The earliest backup whose restore lost the tick that was asked for; None: it was not lost.
    lost_after: int | None
    #: Whether a restore lost the tick at which the clock stands.
    is_lost: bool
    #: Whether the user may have more to read than the rows of the personal space.
    has_spaces: bool
    #: The tick of the last load of a reference table; 0: there was none.
    loaded: int
    #: Tombstones of reference tables were removed up to here; 0: none.
    loads_purged_until: int


def lock(user_id: str) -> int:
    """Return the clock, held until the transaction ends. Raises `Unauthorized`."""
    present: int | None = db.session.connection().scalar(LOCK, {"user": user_id})
    if present is None:
        raise Unauthorized
    return present


def take_tick(user_id: str, session_id: str) -> tuple[int, int] | None:
    """Return the clock and the tick after it, to which a session sets it; held until the transaction ends.

    The tick is the time, unless the machine's clock is behind the user's. All pushes of a user go one
    after the other. None for a user who is in spaces, or whose account is gone: nothing is held then.
    """
    now = now_ms()
    connection = db.session.connection()
    if connection.dialect.name == "sqlite":
        present = connection.scalar(LOCK_LONE, {"user": user_id})
        if present is None:
            return None
        tick = max(now, present + 1)
        connection.execute(SET, {"user": user_id, "session": session_id, "tick": tick})
        cover(tick)
        return present, tick
    values = {"user": user_id, "session": session_id, "now": now}
    taken = connection.exec_driver_sql(TAKE, values)
    if not taken.rowcount:
        return None
    tick = max(now, taken.lastrowid + 1)
    cover(tick)
    return taken.lastrowid, tick


def set_to(user_id: str, session_id: str, tick: int) -> None:
    """Set the locked clock to a tick that a session took."""
    values = {"user": user_id, "session": session_id, "tick": tick}
    db.session.connection().execute(SET, values)


def give_back(user_id: str, present: int) -> None:
    """Set the locked clock to what it was before a tick that nothing needed."""
    db.session.connection().execute(GIVE_BACK, {"user": user_id, "tick": present})


@transaction
def raise_to(user_id: str, tick: int) -> None:
    """Raise a user's clock to the tick of a load, so that whatever is pushed from now on is later."""
    db.session.connection().execute(RAISE, {"user": user_id, "tick": tick})


@dataclass(frozen=True)
class Moved:
    """Where a user's clock stands, and who moved it there. Ticks."""

    user_id: str
    clock: int
    #: The session that took every tick after `since`; None when it is not known.
    session_id: str | None
    since: int


def read_moves(user_ids: Sequence[str]) -> Iterator[Moved]:
    """Yield the committed clocks of users, of so many in one statement as an `IN` list should have."""
    for some in chunks(user_ids):
        with db.engines["look_ups"].connect() as connection:
            rows = connection.execute(MOVES, {"users": some}).all()
        yield from (Moved(*row) for row in rows)


def read_loaded() -> int:
    """Return the committed tick of the last load of a reference table; 0 for none."""
    with db.engines["look_ups"].connect() as connection:
        return connection.scalar(select(ReferenceClock.tick)) or 0
