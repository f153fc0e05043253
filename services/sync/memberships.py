"""The shared spaces that a user is in, or was (docs/design.md, "Spaces")."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from shared.models import Member, Resend, Space

#: Built once, since every pull and push of whoever shares rows runs them.
FIND = (
    select(
        Space.id,
        Space.created_at,
        Member.role,
        Member.joined_tick,
        Member.left_tick,
        Member.has_left,
        Space.last_tick,
        Space.purged_until,
    )
    .join(Space, Space.id == Member.space_id)
    .where(Member.user_id == bindparam("user"))
    .order_by(Space.created_at, Space.id)
)
FIND_RESENDS = (
    select(Resend.table_name)
    .where(Resend.user_id == bindparam("user"), Resend.tick > bindparam("since"))
    .distinct()
)


@dataclass(frozen=True)
class Membership:
    """A user's part in a space. All times but one are ticks."""

    space_id: str
    #: When the space was made, in milliseconds.
    made_at: int
    role: str
    joined: int
    #: Of leaving, the last time; None: never. Whoever is back has both.
    left: int | None
    has_left: bool
    last_tick: int
    purged_until: int

    @property
    def may_write(self) -> bool:
        """Return whether the member may change rows of the space."""
        return self.role in ("owner", "writer")


def read_memberships(connection: Connection, user_id: str) -> Sequence[Membership]:
    """Return all memberships of a user, former ones too, in the order in which the spaces were made."""
    return [Membership(*row) for row in connection.execute(FIND, {"user": user_id})]


def read_resends(connection: Connection, user_id: str, since: int) -> frozenset[str]:
    """Return the tables, by their names in SQL, of which rows count as changed for a user since a tick."""
    return frozenset(connection.scalars(FIND_RESENDS, {"user": user_id, "since": since}))
