"""The sync clock of a user (API.md, "The sync clock"), and its copy in Redis."""

from sqlalchemy import Connection, bindparam, select, update

from shared import cache
from shared.db import db
from shared.models import User
from shared.now import now_ms
from shared.problems import Unauthorized

#: How long the copy may live. A copy that missed a push delays the change by no more than this.
COPY_SECONDS = 60

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


def is_at(user_id: str, last_pulled_at: int) -> bool:
    """Whether Redis knows the clock to stand at `last_pulled_at`, so that there is nothing new."""
    return cache.get(cache.clock_key(user_id)) == str(last_pulled_at).encode()


def remember(user_id: str, tick: int) -> None:
    """Copy a committed clock to Redis; an older one never replaces a newer one."""
    cache.raise_to(cache.clock_key(user_id), tick, COPY_SECONDS)
