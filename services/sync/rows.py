"""The rows that a push reads and writes, some thousand at a time. The held clock keeps them still."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, select, update

from shared.database.base import db
from shared.database.bulk import CHUNK, chunks
from shared.database.json_rows import read_rows, write_rows
from shared.models.tables import SyncedTable

Row = dict[str, Any]


def load(user_id: str, table: SyncedTable, ids: Sequence[str]) -> dict[str, Row]:
    """Return the rows of these ids, tombstones included."""
    return {str(row["id"]): row for row in _read(user_id, _find_rows(table), ids)}


def find_lives(user_id: str, table: SyncedTable, ids: Sequence[str]) -> dict[str, bool]:
    """Return, of those of these ids that there are, whether the row lives."""
    found = _read(user_id, _find_state(table), ids)
    return {str(row["id"]): not row["is_deleted"] for row in found}


def insert(table: SyncedTable, rows: Sequence[Row], stamp: Row) -> None:
    """Bring rows into being, over their tombstones too, with the server's columns of `stamp`."""
    _write(table, rows, stamp, kept=())


def overwrite(table: SyncedTable, rows: Sequence[Row], stamp: Row) -> None:
    """Write rows that are there; they keep what says how they came into being."""
    _write(table, rows, stamp, kept=("created_at_ms", "created_by"))


def _write(table: SyncedTable, rows: Sequence[Row], stamp: Row, kept: Sequence[str]) -> None:
    if rows:
        columns = ("id", *table.names, "is_deleted")
        write_rows(db.session.connection(), table.sql, columns, rows, stamp, kept)


def bury(user_id: str, table: SyncedTable, ids: Sequence[str], tick: int) -> None:
    """Make the rows of these ids tombstones."""
    for some in chunks(ids):
        db.session.connection().execute(
            update(table.sql)
            .where(table.of(user_id), table.sql.c.id.in_(some))
            .values(is_deleted=True, updated_at_ms=tick)
        )


def find_orphans(
    user_id: str, table: SyncedTable, owners: SyncedTable, tick: int
) -> Iterator[list[str]]:
    """Yield the ids of live rows whose owner died at `tick`, to be buried before the next are asked for."""
    query = _find_orphans(table, owners)
    found = [""] * CHUNK
    while len(found) == CHUNK:
        values = {"user_id": user_id, "tick": tick}
        found = list(db.session.connection().scalars(query, values))
        if found:
            yield found


def _read(user_id: str, query: Select[Any], ids: Sequence[str]) -> Iterable[Row]:
    for some in chunks(ids):
        values = {"user_id": user_id, "ids": some}
        yield from read_rows(db.session.connection(), query, values)


# Built once, since every push runs them.
@cache
def _find_rows(table: SyncedTable) -> Select[Any]:
    c = table.sql.c
    server = (c.created_at_ms, c.updated_at_ms, c.is_deleted, c.created_by, c.repeated_at_ms)
    return _by_ids(table, *table.record, *server)


@cache
def _find_state(table: SyncedTable) -> Select[Any]:
    return _by_ids(table, table.sql.c.id, table.sql.c.is_deleted)


def _by_ids(table: SyncedTable, *columns: ColumnElement[Any]) -> Select[Any]:
    wanted = table.sql.c.id.in_(bindparam("ids", expanding=True))
    return select(*columns).where(table.of(bindparam("user_id")), wanted)


@cache
def _find_orphans(table: SyncedTable, owners: SyncedTable) -> Select[Any]:
    child, owner, column = table.sql.c, owners.sql.c, table.parent_column
    assert column is not None  # noqa: S101
    died = and_(
        owners.of(bindparam("user_id")), owner.updated_at_ms == bindparam("tick"), owner.is_deleted
    )
    return (
        select(child.id)
        .join(owners.sql, owner.id == child[column])
        .where(table.of(bindparam("user_id")), died, ~child.is_deleted)
        .limit(CHUNK)
    )
