"""The sync clock of a user (docs/api.md, "The sync clock")."""

from dataclasses import dataclass

from sqlalchemy import bindparam, exists, func, select, text, update

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
#: The clock before comes back in the place of a row's new id, so that one statement locks, reads and writes.
TAKE = text(
    "UPDATE users SET last_modified_at = GREATEST(:now, LAST_INSERT_ID(last_modified_at) + 1)"
    " WHERE id = :user"
)
SET = update(User).where(User.id == bindparam("user")).values(last_modified_at=bindparam("tick"))


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
    """Return the clock, held until the transaction ends. Raises `Unauthorized`."""
    present: int | None = db.session.connection().scalar(LOCK, {"user": user_id})
    if present is None:
        raise Unauthorized
    return present


def take_tick(user_id: str) -> tuple[int, int]:
    """Return the clock and the tick after it, to which it is set; held until the transaction ends.

    The tick is the time, unless the machine's clock is behind the user's. All pushes of a user go one
    after the other. Raises `Unauthorized` for an account that is gone.
    """
    now = now_ms()
    connection = db.session.connection()
    if connection.dialect.name == "sqlite":
        present = lock(user_id)
        tick = max(now, present + 1)
        set_to(user_id, tick)
        return present, tick
    taken = connection.execute(TAKE, {"user": user_id, "now": now})
    if not taken.rowcount:
        raise Unauthorized
    return taken.lastrowid, max(now, taken.lastrowid + 1)


def set_to(user_id: str, tick: int) -> None:
    """Set the locked clock to `tick`."""
    db.session.connection().execute(SET, {"user": user_id, "tick": tick})
