"""Holding spaces with the clocks of their members (docs/design.md, "Spaces").

Whoever changes a space's rows or members holds its row first, then those of all users that the change
concerns, each in the order of ids. So two such transactions wait for each other, and never in a circle.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, select, update

from shared.database.base import db
from shared.database.bulk import chunks
from shared.models import Member, Space, User
from shared.now import now_ms
from shared.reference_clock import cover
from shared.web.errors import Unauthorized

#: Built once, since pushes run them. Locking reads all: a snapshot would be from before the locks.
SPACES = (
    select(*Space.__table__.c)
    .where(Space.id.in_(bindparam("ids", expanding=True)))
    .order_by(Space.id)
    .with_for_update()
)
MEMBERS = (
    select(Member.space_id, Member.user_id, Member.role)
    .where(Member.space_id.in_(bindparam("ids", expanding=True)), ~Member.has_left)
    .with_for_update()
)
CLOCKS = (
    select(User.id, User.last_modified_at)
    .where(User.id.in_(bindparam("ids", expanding=True)))
    .order_by(User.id)
    .with_for_update()
)
GIVE_USERS = (
    update(User)
    .where(User.id.in_(bindparam("ids", expanding=True)))
    .values(last_modified_at=bindparam("tick"))
)
GIVE_SPACES = (
    update(Space)
    .where(Space.id.in_(bindparam("ids", expanding=True)))
    .values(last_tick=bindparam("tick"))
)


FIND_SPACES = select(Space.id).where(Space.id.in_(bindparam("ids", expanding=True)))
FIND_USERS = select(User.id).where(User.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True)
class Held:
    """What a transaction holds until it ends, and a tick above all of it."""

    #: The columns of `spaces` by id, those of a deleted space too; of an unknown id there is none.
    spaces: Mapping[str, Row[Any]]
    #: By space the role of each member, of a deleted space too; nobody who has left.
    members: Mapping[str, Mapping[str, str]]
    #: The clocks of all these members and of whoever else was asked for, as they were.
    clocks: Mapping[str, int]
    #: Later than all these clocks and than the last tick of each space. Not yet given to anybody.
    tick: int

    def give(self, user_ids: Collection[str], space_ids: Collection[str]) -> None:
        """Set the clocks of some users and the last tick of some spaces, all of them held, to the tick."""
        connection = db.session.connection()
        for statement, ids in ((GIVE_USERS, user_ids), (GIVE_SPACES, space_ids)):
            if ids:
                connection.execute(statement, {"ids": sorted(ids), "tick": self.tick})


def hold(space_ids: Collection[str], *user_ids: str) -> Held:
    """Hold spaces, all their members, and users besides, until the caller's transaction ends.

    To be called before anything else is read in it. Raises `Unauthorized` when one of `user_ids` is gone.
    """
    held = hold_those_there(space_ids, user_ids)
    if not held.clocks.keys() >= set(user_ids):
        raise Unauthorized
    return held


def hold_those_there(space_ids: Collection[str], user_ids: Collection[str]) -> Held:
    """Do as `hold`, leaving out users who are gone."""
    connection = db.session.connection()
    spaces: dict[str, Row[Any]] = {}
    members: dict[str, dict[str, str]] = {}
    if space_ids:
        ids = {"ids": sorted(space_ids)}
        spaces = {row.id: row for row in connection.execute(SPACES, ids)}
        members = {id_: {} for id_ in spaces}
    if spaces:
        for space_id, user_id, role in connection.execute(MEMBERS, {"ids": sorted(spaces)}):
            members[space_id][user_id] = role
    users = sorted({*user_ids, *(user_id for those in members.values() for user_id in those)})
    clocks: dict[str, int] = {}
    if users:
        clocks = {
            row.id: row.last_modified_at for row in connection.execute(CLOCKS, {"ids": users})
        }
    after = [*clocks.values(), *(space.last_tick for space in spaces.values())]
    tick = max([now_ms(), *(tick + 1 for tick in after)])
    cover(tick)
    return Held(spaces, members, clocks, tick)


def look_up_kinds(ids: Collection[str]) -> tuple[set[str], set[str]]:
    """Return which of the ids are of shared spaces, and which of users, in no transaction.

    To be asked before they are held: a lock on what is not there would hold up whoever makes it.
    """
    spaces: set[str] = set()
    users: set[str] = set()
    with db.engines["look_ups"].connect() as connection:
        for some in chunks(sorted(ids)):
            spaces.update(connection.scalars(FIND_SPACES, {"ids": some}))
            users.update(connection.scalars(FIND_USERS, {"ids": some}))
    return spaces, users
