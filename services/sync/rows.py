"""The rows that a push reads and writes, some thousand at a time. The held clock keeps them still."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, select, update

from services.sync.merge import Row
from shared.database.base import db
from shared.database.bulk import chunks
from shared.database.json_rows import read_rows, write_rows
from shared.models.columns import Column
from shared.models.tables import SyncedTable

#: The server's columns of rows that are written, by name.
Stamp = dict[str, Any]


def load(user_id: str, table: SyncedTable, ids: Sequence[str]) -> dict[str, Row]:
    """Return the rows of these ids, tombstones included."""
    return {row.id: row for row in _load(user_id, table, ids)}


def _load(user_id: str, table: SyncedTable, ids: Sequence[str]) -> Iterator[Row]:
    query = _find_rows(table)
    for some in chunks(ids):
        values = {"user_id": user_id, "ids": some}
        for id_, *read in read_rows(db.session.connection(), query, values):
            *own, is_deleted, born, tick, repeated, created_by = read
            row = dict(zip(table.names, own, strict=True))
            yield Row(str(id_), row, is_deleted, born, tick, repeated, created_by)


# Built once, since every push runs it.
@cache
def _find_rows(table: SyncedTable) -> Select[Any]:
    c = table.sql.c
    server = (c.is_deleted, c.created_at_ms, c.updated_at_ms, c.repeated_at_ms, c.created_by)
    wanted = c.id.in_(bindparam("ids", expanding=True))
    columns: list[Any] = [*table.record, *server]
    return select(*columns).where(table.of(bindparam("user_id")), wanted)


def insert(table: SyncedTable, rows: Sequence[Row], stamp: Stamp) -> None:
    """Bring rows into being, over their tombstones too."""
    _write(table, rows, stamp, kept=())


def insert_tombstones(table: SyncedTable, ids: Sequence[str], stamp: Stamp) -> None:
    """Bring rows into being that never lived: all that is known of them is that they do not."""
    insert(table, [Row(id_, table.empty_values, is_deleted=True) for id_ in ids], stamp)


def overwrite(table: SyncedTable, rows: Sequence[Row], stamp: Stamp) -> None:
    """Write rows that are there; they keep what says how they came into being."""
    _write(table, rows, stamp, kept=("created_at_ms", "created_by"))


def _write(table: SyncedTable, rows: Sequence[Row], stamp: Stamp, kept: Sequence[str]) -> None:
    if rows:
        columns = ("id", *(column.attribute for column in table.columns), "is_deleted")
        sent = [
            (row.id, *(row.values[name] for name in table.names), row.is_deleted) for row in rows
        ]
        write_rows(db.session.connection(), table.sql, columns, sent, stamp, kept)


def bury(user_id: str, table: SyncedTable, ids: Sequence[str], tick: int) -> None:
    """Make the rows of these ids tombstones."""
    _update(user_id, table, ids, {"is_deleted": True, "updated_at_ms": tick})


def clear(user_id: str, table: SyncedTable, column: Column, ids: Sequence[str], tick: int) -> None:
    """Let the rows of these ids name no parent in `column`."""
    _update(user_id, table, ids, {column.attribute: None, "updated_at_ms": tick})


def _update(user_id: str, table: SyncedTable, ids: Sequence[str], values: dict[str, Any]) -> None:
    for some in chunks(ids):
        db.session.connection().execute(
            update(table.sql).where(table.of(user_id), table.sql.c.id.in_(some)).values(values)
        )
