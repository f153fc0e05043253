"""A push of whoever shares rows, to all spaces that they go to.

docs/design.md, "Spaces", says why a push begins again until it holds every
space that it writes to.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import case, select, update

from services.sync import clock, rows
from services.sync.memberships import read_memberships
from services.sync.moving import Again, write
from services.sync.plan import (
    Key,
    Push,
    PushResult,
    SyncConflict,
    conflicts_of,
    entries_of,
    result,
)
from services.sync.relations import settle
from services.sync.schemas import Changes
from services.sync.sorting import Sorting
from shared import outbox
from shared.database.base import db
from shared.database.bulk import chunks, insert_or_update
from shared.database.transaction import transaction
from shared.models import Member, Resend, User
from shared.models.columns import SPACE
from shared.models.tables import (
    DeclaredTable,
    parents_first,
    pulled_tables,
    reference_tables,
    tables_by_name,
)
from shared.spaces.holding import Held, hold


def leaves_own_space(user_id: str, changes: Changes) -> bool:
    """Return whether a record names another space than the user's own, or is of a reference table."""
    if any(any(changes.get(table.name, {}).values()) for table in reference_tables()):
        return True
    return any(named not in ("", user_id) for named in named_spaces(changes))


def named_spaces(changes: Changes) -> Iterator[str]:
    """Yield what records name as their space, which may be none, or no id at all."""
    for name, change in changes.items():
        if name in tables_by_name() and tables_by_name()[name].is_shareable:
            for record in chain(change.get("created", ()), change.get("updated", ())):
                if isinstance(named := record.get(SPACE.name), str):
                    yield named


def push_to_spaces(
    user_id: str, session_id: str, changes: Changes, last_pulled_at: int, reject: bool
) -> PushResult:
    """Apply a push of which rows may be in shared spaces.

    Raises `Unauthorized` for an account that is gone, `SyncConflict` as `push_changes` does.
    """
    spaces: set[str] = set()
    refused: set[Key] = set()
    while True:
        try:
            return _attempt(user_id, session_id, changes, last_pulled_at, reject, spaces, refused)
        except Again as again:
            spaces.update(again.spaces)
            refused.update(again.refused)


@transaction
def _attempt(
    user_id: str,
    session_id: str,
    changes: Changes,
    last_pulled_at: int,
    reject: bool,
    spaces: Collection[str],
    refused: Collection[Key],
) -> PushResult:
    held = hold(spaces, user_id)
    push = Push(user_id, session_id, last_pulled_at, held.tick)
    memberships = read_memberships(db.session.connection(), user_id)
    roles = {m.space_id: m.role for m in memberships if not m.has_left}
    sorting = Sorting(push, roles, refused, held.spaces)
    sort(sorting, changes)
    if not_held := sorting.spaces - held.spaces.keys() - {user_id}:
        raise Again(spaces=not_held)
    if reject and (conflicts := conflicts_of(sorting.made)):
        raise SyncConflict(conflicts=conflicts)
    has_strays = write_sorted(push, sorting)
    _remember(push, sorting)
    return result(
        push,
        held.clocks[user_id],
        sorting.made,
        takes_tick=sorting.takes_tick,
        has_strays=has_strays or sorting.comes_forward or bool(sorting.hidden),
        refused=sorting.refused,
        others=_give(push, held, sorting),
    )


def sort(sorting: Sorting, changes: Changes) -> None:
    """Sort all that a push names."""
    for table in parents_first():
        if table.name in changes:
            sorting.sort(table, list(entries_of(changes[table.name])))
    sorting.finish()
    for reference in reference_tables():
        sorting.refuse_entries(reference, entries_of(changes.get(reference.name, {})))


def write_sorted(push: Push, sorting: Sorting) -> bool:
    """Write what was sorted, and all that follows; return whether rows changed that the push did not name."""
    has_followers = write(push, sorting)
    strays = [
        settle(space_id, push.tick, touched, rows.stamp(push, space_id))
        for space_id, touched in sorting.touched.items()
    ]
    outbox.note_changes(sorting.spaces, push.tick)
    return has_followers or any(strays)


def _remember(push: Push, sorting: Sorting) -> None:
    """Note what counts as changed for single users: what is refused or hidden, and what lives again for
    those who left.

    They know an id by another row, and hear by this what it is to them.
    """
    by_name = {table.name: table for table in pulled_tables()}
    for ids_by_table in (sorting.refused, sorting.hidden):
        for name, ids in ids_by_table.items():
            _resend(push.user_id, by_name[name], list(ids), push.tick)
    if sorting.refused:
        own = update(User).where(User.id == push.user_id, ~User.has_spaces)
        db.session.execute(own.values(has_spaces=True))
    remember_revived(sorting)


def remember_revived(sorting: Sorting) -> None:
    """Note for those who left a space which of the rows that they know live there again."""
    for (table, space_id), ids in sorting.revived.items():
        left = select(Member.user_id, Member.left_tick).where(
            Member.space_id == space_id, Member.has_left
        )
        # A locking read: an account that goes takes its membership along.
        left = left.with_for_update()
        for user_id, tick in db.session.connection().execute(left).all():
            _resend(user_id, table, ids, tick)


def _resend(user_id: str, table: DeclaredTable, ids: Sequence[str], tick: int | None) -> None:
    sent: Any = Resend.__table__
    later = case((sent.c.tick > tick, sent.c.tick), else_=tick)
    for some in chunks(ids):
        keys = {"user_id": user_id, "table_name": table.sql.name, "tick": tick}
        found = [keys | {"row_id": id_} for id_ in some]
        db.session.execute(insert_or_update(sent, found, [("tick", later)]))


def _give(push: Push, held: Held, sorting: Sorting) -> Mapping[str, int]:
    """Give the tick to all whom the push concerns; return the clocks of the others before."""
    if not sorting.takes_tick:
        return {}
    shared = sorting.spaces - {push.user_id}
    others = {user_id for space_id in shared for user_id in held.members[space_id]}
    others.discard(push.user_id)
    held.give(others, shared)
    clock.set_to(push.user_id, push.session_id, push.tick)
    return {user_id: held.clocks[user_id] for user_id in others}
