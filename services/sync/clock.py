"""The sync clock of a user (docs/api.md, "The sync clock")."""

from sqlalchemy import Connection, bindparam, select, update

from shared.db import db
from shared.models import User
from shared.now import now_ms
from shared.problems import Unauthorized

#: Built once, since every pull or push runs them.
READ = select(User.last_modified_at).where(User.id == bindparam("user"))
LOCK = READ.with_for_update()
MOVE = update(User).where(User.id == bindparam("user")).values(last_modified_at=bindparam("tick"))


def read(connection: Connection, user_id: str) -> int:
    """The clock, in the snapshot of `connection`. Raises `Unauthorized` for an account that is gone."""
    present: int | None = connection.scalar(READ, {"user": user_id})
    if present is None:
        raise Unauthorized
    return present


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
