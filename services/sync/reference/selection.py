"""Which rows of reference tables a device is sent, and as what: as others, by loads in the place of ticks.

A row has the number of the load that changed it; a load's tick says which were before a device's last pull.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    and_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    or_,
    select,
)

from services.sync.selection import (
    ALL,
    BEGAN,
    DELETED,
    NONE,
    SINCE,
    UPDATED,
    How,
    Kind,
    Mode,
    as_asked,
    brought,
    bucket,
    wanted,
)
from services.sync.unchanged import resent
from shared.database.union import Part
from shared.models import ReferenceLoad
from shared.models.tables import ReferenceTable

_DEAD_AFTER: Any = bindparam("dead_after")


def loads_until(tick: Any) -> ColumnElement[int]:
    """Return the number of the last load up to a tick, in SQL; 0 for none."""
    number = (
        select(ReferenceLoad.number)
        .where(ReferenceLoad.tick <= tick)
        .order_by(ReferenceLoad.tick.desc())
        .limit(literal_column("1"))
    )
    return func.coalesce(number.scalar_subquery(), literal_column("0", BigInteger))


def newest_load(table: ReferenceTable) -> ColumnElement[int]:
    """Return in SQL a tick after `since` when a table has changed since, else 0; NULL when it has no row."""
    last = select(func.max(table.sql.c.changed_load)).scalar_subquery()
    return case((last > loads_until(SINCE), SINCE + 1), (last.is_not(None), literal_column("0")))


def select_reference(table: ReferenceTable, kind: Kind, *, by_pages: bool = False) -> Part:
    """Return the rows of `table` that a device is sent, each with its bucket.

    Parameters: `session`, `since`, `dead_after`; of pages also `timestamp`; of refused rows `me`.
    """
    c: Any = table.sql.c
    if kind.how is How.AGAIN:
        return _select_again(table, kind)
    if kind.how is How.RESENT:
        return _select_unknown(table)
    changed = c.changed_load > loads_until(SINCE)
    fresh: ColumnElement[bool] = and_(
        c.created_load > loads_until(SINCE), c.created_load > loads_until(BEGAN)
    )
    live = changed if kind.mode is Mode.CHANGES else ALL
    dead = changed if kind.mode is Mode.CHANGES else c.changed_load > loads_until(_DEAD_AFTER)
    dead = dead if kind.has_tombstones else NONE
    live, fresh, dead = as_asked(table, kind, live, fresh, dead)
    if by_pages:
        # What is loaded after the first page is left to the next pull, as in other tables.
        live = and_(live, c.created_load <= loads_until(bindparam("timestamp")))
    query = select(*table.record).where(wanted(c, live, dead))
    return Part(query, bucket(c, fresh, dead), None if dead is NONE else (DELETED, c.is_deleted))


def _select_again(table: ReferenceTable, kind: Kind) -> Part:
    """Return the rows of which the caller's push was refused, but for those that come anyway."""
    c: Any = table.sql.c
    query = select(*table.record).where(
        ~c.is_deleted, c.changed_load <= loads_until(SINCE), c.id.in_(resent(table))
    )
    if kind.migration:
        query = query.where(~func.coalesce(brought(table, kind.migration), false()))
    return Part(query, UPDATED)


def _select_unknown(table: ReferenceTable) -> Part:
    """Return the ids of which the caller's push was refused, and there is no row."""
    ids = resent(table).subquery()
    c: Any = table.sql.c
    # A tombstone that is news comes anyway.
    there = select(c.id).where(
        c.id == ids.c.id, or_(~c.is_deleted, c.changed_load > loads_until(SINCE))
    )
    return Part(select(ids.c.id).where(~there.exists()), DELETED, (DELETED, ALL))
