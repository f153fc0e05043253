"""The sync clock of a user (docs/api.md, "The sync clock")."""

from dataclasses import dataclass

from sqlalchemy import bindparam, exists, func, select, update

from shared.database.base import db
from shared.models import Restore, User
from shared.now import now_ms
from shared.web.errors import Unauthorized

#: Built once, since every push or pull runs them. `READ`, of which a `Reading` is made, is part of a pull.
LOCK = select(User.last_modified_at).where(User.id == bindparam("user")).with_for_update()
READ = select(
    User.last_modified_at,
    User.purged_until,
    select(func.min(Restore.lost_after))
    .where(Restore.has_lost(bindparam("since")))
    .scalar_subquery(),
    exists().where(Restore.has_lost(User.last_modified_at)),
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
    #: Whether a restore lost the tick at which the clock stands.
    is_lost: bool


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
