"""The rows that a push reads and writes, some thousand at a time. The held clock keeps them still."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, select, update

from services.sync.merge import Row
from services.sync.plan import Decisions, Push
from shared.database.base import db
from shared.database.bulk import CHUNK, chunks
from shared.database.json_rows import read_rows, write_rows
from shared.models.columns import SPACE, Column
from shared.models.tables import ReferenceTable, SyncedTable, parent_of

#: The server's columns of rows that are written, by name.
Stamp = dict[str, Any]


#: Keys that a statement may name: ids times spaces. Of many more MySQL would read whole tables.
MAX_KEYS = 5000


@dataclass(frozen=True)
class Place:
    """Where a row is, and its tick there."""

    space_id: str
    is_deleted: bool
    tick: int


def stamp(push: Push, space_id: str, created_by: str | None = None) -> Stamp:
    """Return the server's columns of rows that a push brings into being in a space."""
    return {
        "user_id": space_id,
        "created_at_ms": push.tick,
        "updated_at_ms": push.tick,
        "created_by": created_by or push.session_id,
    }


def load(
    user_id: str, table: SyncedTable, ids: Sequence[str], space_id: str | None = None
) -> dict[str, Row]:
    """Return the rows of these ids in a user's own space or another, tombstones included."""
    return {row.id: row for row in _load(table, ids, space_id or user_id, space_id)}


def load_with_parents(
    user_id: str, table: SyncedTable, ids: Sequence[str], parents: Mapping[Column, Sequence[str]]
) -> tuple[dict[str, Row], set[tuple[Column, str]]]:
    """Return the rows of these ids, at most `CHUNK`, in a user's own space, tombstones included; and those of
    the `parents` by column that live there.
    """
    queries = [_find_rows(table, None)]
    values: dict[str, Any] = {"space": user_id, "ids": ids}
    columns = list(parents)
    for number, column in enumerate(columns):
        queries.append(_find_parents(parent_of(column), f"parents_{number}"))
        values[f"parents_{number}"] = parents[column]
    before: dict[str, Row] = {}
    living: set[tuple[Column, str]] = set()
    for found in read_rows(db.session.connection(), queries, values):
        if found[0] == 0:
            row = _row(table, found, user_id, None)
            before[row.id] = row
        else:
            living.add((columns[found[0] - 1], found[1]))
    return before, living


def load_below(
    table: SyncedTable, relation: Column, space_id: str, ids: Sequence[str]
) -> Iterator[Row]:
    """Yield the living rows of a space whose `relation` names one of these ids."""
    rows = _load(table, ids, space_id, space_id, relation)
    return (row for row in rows if not row.is_deleted)


def _load(
    table: SyncedTable,
    ids: Sequence[str],
    space_id: str,
    named: str | None,
    by: Column | None = None,
) -> Iterator[Row]:
    query = _find_rows(table, by)
    for some in chunks(ids):
        values = {"space": space_id, "ids": some}
        for found in read_rows(db.session.connection(), [query], values):
            yield _row(table, found, space_id, named)


def _row(table: SyncedTable, found: Sequence[Any], space_id: str, named: str | None) -> Row:
    """Return what `_find_rows` has found, behind the number of the query."""
    _, id_, *own, is_deleted, born, tick, repeated, created_by = found
    values = dict(zip(table.names, own, strict=True))
    if table.is_shareable:
        values[SPACE.name] = named
    return Row(str(id_), values, is_deleted, born, tick, repeated, created_by, space_id)


def find_reference(table: ReferenceTable, id_: str) -> Row | None:
    """Return the living row of a reference table with this id."""
    values = {"id": id_}
    for _, found, *values_of in read_rows(
        db.session.connection(), [_find_reference(table)], values
    ):
        return Row(str(found), dict(zip(table.names, values_of, strict=True)), is_deleted=False)
    return None


@cache
def _find_reference(table: ReferenceTable) -> Select[Any]:
    columns: list[Any] = [*table.record]
    c = table.sql.c
    return select(*columns).where(c.id == bindparam("id"), ~c.is_deleted)


def living(space_id: str, table: SyncedTable) -> Iterator[Row]:
    """Yield the living rows of a space by ids, some at a time, so that others can be read in between."""
    after = ""
    while True:
        values = {"space": space_id, "after": after}
        found = list(read_rows(db.session.connection(), [_find_living(table)], values))
        for _, id_, *values_of in found:
            yield Row(str(id_), dict(zip(table.names, values_of, strict=True)), is_deleted=False)
        if len(found) < CHUNK:
            return
        after = str(found[-1][1])


@cache
def _find_living(table: SyncedTable) -> Select[Any]:
    c = table.sql.c
    those = (table.of(bindparam("space")), ~c.is_deleted, c.id > bindparam("after"))
    columns: list[Any] = [*table.record]
    return select(*columns).where(*those).order_by(c.id).limit(CHUNK)


def count_living(space_id: str, table: SyncedTable) -> int:
    """Return how many rows of a table live in a space."""
    return db.session.connection().scalar(_count_living(table), {"space": space_id}) or 0


@cache
def _count_living(table: SyncedTable) -> Select[Any]:
    mine = table.of(bindparam("space"))
    return select(func.count()).select_from(table.sql).where(mine, ~table.sql.c.is_deleted)


def locate(
    table: SyncedTable, spaces: Sequence[str], ids: Sequence[str]
) -> dict[str, dict[str, Place]]:
    """Return where rows of these ids are, among some spaces: by id, then by space."""
    found: dict[str, dict[str, Place]] = defaultdict(dict)
    size = max(MAX_KEYS // len(spaces), 1)
    for start in range(0, len(ids), size):
        values = {"spaces": spaces, "ids": ids[start : start + size]}
        for _, id_, *place in read_rows(db.session.connection(), [_find_places(table)], values):
            found[id_][place[0]] = Place(*place)
    return found


@cache
def _find_places(table: SyncedTable) -> Select[Any]:
    c = table.sql.c
    keys = (
        c.user_id.in_(bindparam("spaces", expanding=True)),
        c.id.in_(bindparam("ids", expanding=True)),
    )
    return select(c.id, c.user_id, c.is_deleted, c.updated_at_ms).where(*keys)


# Built once, since every push runs it.
@cache
def _find_rows(table: SyncedTable, by: Column | None) -> Select[Any]:
    """Return the query for rows by their ids, or `by` those that a relation of theirs names."""
    c = table.sql.c
    server = (c.is_deleted, c.created_at_ms, c.updated_at_ms, c.repeated_at_ms, c.created_by)
    wanted = (table.column(by) if by else c.id).in_(bindparam("ids", expanding=True))
    columns: list[Any] = [*table.record, *server]
    return select(*columns).where(table.of(bindparam("space")), wanted)


@cache
def _find_parents(table: SyncedTable, parameter: str) -> Select[Any]:
    """Return the query for the living rows of a space among the ids of a parameter."""
    c = table.sql.c
    among = c.id.in_(bindparam(parameter, expanding=True))
    return select(c.id).where(table.of(bindparam("space")), among, ~c.is_deleted)


def write(push: Push, space_id: str, table: SyncedTable, made: Decisions) -> None:
    """Write what was decided of rows of a space."""
    new = stamp(push, space_id)
    insert(table, made.inserted, new)
    overwrite(table, made.overwritten, new)
    overwrite(table, made.amended, new | {"repeated_at_ms": push.tick})
    bury(space_id, table, made.buried, push.tick)


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


def bury(space_id: str, table: SyncedTable, ids: Sequence[str], tick: int) -> None:
    """Make the rows of these ids tombstones."""
    _update(space_id, table, ids, {"is_deleted": True, "updated_at_ms": tick})


def clear(space_id: str, table: SyncedTable, column: Column, ids: Sequence[str], tick: int) -> None:
    """Let the rows of these ids name no parent in `column`."""
    _update(space_id, table, ids, {column.attribute: None, "updated_at_ms": tick})


def _update(space_id: str, table: SyncedTable, ids: Sequence[str], values: dict[str, Any]) -> None:
    for some in chunks(ids):
        db.session.connection().execute(
            update(table.sql).where(table.of(space_id), table.sql.c.id.in_(some)).values(values)
        )
