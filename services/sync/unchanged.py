"""Rows that did not change and count as changed to one user: by leaving a space, by another row that goes,
by a push that was refused (docs/design.md, "Spaces").

Parameters are those of `selection`, of several spaces.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, false, func, or_, select, union

from services.sync.selection import (
    ALL,
    DELETED,
    SINCE,
    UPDATED,
    Kind,
    brought,
    has_row,
    is_gone,
)
from shared.database.union import Part
from shared.models import Member, Resend
from shared.models.tables import DeclaredTable, SyncedTable


def _had(kind: Kind) -> Callable[[Any], ColumnElement[bool]]:
    """Return the condition for rows that a device may have from before its user left their space.

    What became of one later is not for who left: it is told the same whether or not it lives.
    """

    def had(row: Any) -> ColumnElement[bool]:
        left = (
            select(Member.left_tick)
            .where(Member.user_id == bindparam("me"), Member.space_id == row.user_id)
            .scalar_subquery()
        )
        may_be_there = or_(~row.is_deleted, row.updated_at_ms > left, is_gone(row, kind))
        return and_(row.created_at_ms <= left, may_be_there)

    return had


def select_left(table: SyncedTable, kind: Kind) -> Part:
    """Return the ids of a space's rows that a device may have from before its user left."""
    c: Any = table.sql.c
    had = _had(kind)
    query = select(c.id).where(
        table.of(bindparam("user")),
        had(c),
        ~has_row(table, "active", c.id, lambda row: ~row.is_deleted),
        ~has_row(table, "telling", c.id, lambda row: is_gone(row, kind)),
        ~has_row(table, "left_above", c.id, had),
    )
    return Part(query, DELETED, (DELETED, ALL))


def select_again(table: SyncedTable, kind: Kind) -> Part:
    """Return the rows that did not change and count as changed: those for which another space's row made
    room, and those of which a push was refused.
    """
    c: Any = table.sql.c
    gone, left = table.sql.alias(), table.sql.alias()
    ids = union(
        select(gone.c.id).where(
            gone.c.user_id.in_(bindparam("above", expanding=True)), is_gone(gone.c, kind)
        ),
        select(left.c.id).where(left.c.user_id.in_(bindparam("left_above", expanding=True))),
        resent(table),
    ).subquery()
    query = (
        select(*table.shared_record)
        .select_from(table.sql.join(ids, ids.c.id == c.id))
        .where(
            table.of(bindparam("user")),
            ~c.is_deleted,
            c.updated_at_ms <= SINCE,
            ~has_row(table, "above", c.id, lambda row: ~row.is_deleted),
        )
    )
    if kind.migration:
        # What the migration brings is not sent again.
        query = query.where(~func.coalesce(brought(table, kind.migration), false()))
    return Part(query, UPDATED)


def select_resent(table: SyncedTable, kind: Kind) -> Part:
    """Return the ids that count as changed, of which the user reads no row."""
    ids = resent(table).subquery()
    query = select(ids.c.id).where(
        ~has_row(table, "active", ids.c.id, lambda row: ~row.is_deleted),
        ~has_row(table, "telling", ids.c.id, lambda row: is_gone(row, kind)),
        ~has_row(table, "left_above", ids.c.id, _had(kind)),
    )
    return Part(query, DELETED, (DELETED, ALL))


def resent(table: DeclaredTable) -> Select[Any]:
    """Return the ids of a table that count as changed for the caller, since a push of them was refused."""
    return select(Resend.row_id.label("id")).where(
        Resend.user_id == bindparam("me"),
        Resend.table_name == table.sql.name,
        Resend.tick > SINCE,
    )
