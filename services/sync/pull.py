"""Pull: everything that changed for a device since it last pulled, from one snapshot."""

from collections.abc import Iterator
from typing import Literal

import orjson
from sqlalchemy import ColumnElement, Connection, and_, or_, select

from services.sync import clock
from shared.db import db
from shared.tables import SyncedTable, encode_rows, synced_tables

Bucket = Literal["created", "updated", "deleted"]
BUCKETS: tuple[Bucket, ...] = ("created", "updated", "deleted")


def pull_changes(
    user_id: str, session_id: str, last_pulled_at: int, *, created_as_updated: bool = False
) -> Iterator[bytes]:
    """The answer of API.md, "Pull", piece by piece, as JSON.

    `last_pulled_at` is in milliseconds, 0 for a first sync. `created_as_updated` moves what would
    be in `created` to `updated`. Clock and rows are of one snapshot, which is held until the last
    piece was taken; nothing is read before the first one is asked for.
    """
    if last_pulled_at and clock.is_at(user_id, last_pulled_at):
        yield from _encode(None, user_id, {}, last_pulled_at)
        return
    # A connection of its own: the answer outlives the request's session.
    with db.engine.connect() as connection, connection.begin():
        present = clock.read(connection, user_id)
        wanted: dict[str, dict[Bucket, ColumnElement[bool]]] = {}
        if last_pulled_at != present:
            wanted = {
                table.name: _conditions(
                    table, session_id, last_pulled_at, present, created_as_updated
                )
                for table in synced_tables()
            }
        yield from _encode(connection, user_id, wanted, present)
    clock.remember(user_id, present)


def _conditions(
    table: SyncedTable,
    session_id: str,
    last_pulled_at: int,
    present: int,
    created_as_updated: bool,
) -> dict[Bucket, ColumnElement[bool]]:
    """Which rows go to which bucket: the table of API.md, "Pull"."""
    c = table.sql.c
    live = ~c.is_deleted
    if last_pulled_at > present:
        # The device knows a future that a restore took back. `updated` rather than `created`, since
        # that leaves alone what it has deleted and not pushed yet.
        return {"updated": live}
    if last_pulled_at == 0:
        return {"updated" if created_as_updated else "created": live}
    changed = c.updated_at_ms > last_pulled_at
    new_to_device = and_(c.created_at_ms > last_pulled_at, c.created_by != session_id)
    known_to_device = or_(c.created_at_ms <= last_pulled_at, c.created_by == session_id)
    if created_as_updated:
        return {"updated": and_(changed, live), "deleted": and_(changed, c.is_deleted)}
    return {
        "created": and_(changed, live, new_to_device),
        "updated": and_(changed, live, known_to_device),
        "deleted": and_(changed, c.is_deleted),
    }


def _encode(
    connection: Connection | None,
    user_id: str,
    wanted: dict[str, dict[Bucket, ColumnElement[bool]]],
    timestamp: int,
) -> Iterator[bytes]:
    before = b'{"changes":{'
    for table in synced_tables():
        yield before + orjson.dumps(table.name) + b":{"
        before = b"},"
        for bucket in BUCKETS:
            yield (b"" if bucket == BUCKETS[0] else b",") + orjson.dumps(bucket) + b":["
            condition = wanted.get(table.name, {}).get(bucket)
            if condition is not None and connection is not None:
                columns = (table.sql.c.id,) if bucket == "deleted" else table.record
                query = select(*columns).where(table.of(user_id), condition)
                yield from encode_rows(connection, query)
            yield b"]"
    yield b'}},"timestamp":%d}' % timestamp
