"""The sync clock of a user (docs/api.md, "The sync clock")."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select, update

from shared.database.base import db
from shared.models import Restore, User
from shared.now import now_ms
from shared.web.errors import Unauthorized

#: Built once, since every pull or push runs them.
LOCK = select(User.last_modified_at).where(User.id == bindparam("user")).with_for_update()
READ = select(
    User.last_modified_at,
    User.purged_until,
    select(func.min(Restore.lost_after))
    .where(Restore.has_lost(bindparam("since")))
    .scalar_subquery(),
).where(User.id == bindparam("user"))
MOVE = update(User).where(User.id == bindparam("user")).values(last_modified_at=bindparam("tick"))


@dataclass(frozen=True)
class Reading:
    """A user's clock, and what is known of the time before it. All of them ticks."""

    present: int
    #: Tombstones were removed up to here; 0: none.
    purged_until: int
    #: The earliest backup whose restore lost the tick that was asked for; None: it was not lost.
    lost_after: int | None


def read(connection: Connection, user_id: str, since: int) -> Reading:
    """Read the clock in the snapshot of `connection`, and whether `since` was lost by a restore.

    Raises `Unauthorized` for an account that is gone.
    """
    row = connection.execute(READ, {"user": user_id, "since": since}).one_or_none()
    if row is None:
        raise Unauthorized
    return Reading(*row)


def lock(user_id: str) -> int:
    """The clock, held until the transaction ends: all pushes of a user go one after the other."""
    present: int | None = db.session.connection().scalar(LOCK, {"user": user_id})
    if present is None:
        raise Unauthorized
    return present


def next_tick(present: int) -> int:
    """The tick after `present`: the time, unless the machine's clock is behind the user's."""
    return max(now_ms(), present + 1)


def move(user_id: str, tick: int) -> None:
    """Set the locked clock to `tick`."""
    db.session.connection().execute(MOVE, {"user": user_id, "tick": tick})
