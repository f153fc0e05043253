"""Pull: everything that changed for a device since it last pulled, from one snapshot."""

from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import Connection, and_, func, or_, select

from services.sync import clock
from services.sync.cursor import Cursor, write
from services.sync.selection import Mode, PullRequest, select_rows
from shared import metrics
from shared.db import db
from shared.json_rows import encode_rows
from shared.models import Restore
from shared.now import now_ms
from shared.tables import SyncedTable, synced_tables

BUCKETS = ("created", "updated", "deleted")


def pull_changes(pull: PullRequest, retention_ms: int) -> Iterator[bytes]:
    """The answer of docs/api.md, "Pull", piece by piece, as JSON.

    Clock and rows are of one snapshot, which is held until the last piece was taken; nothing is
    read before the first one is asked for.
    """
    size = 0
    for piece in _pieces(pull, retention_ms):
        size += len(piece)
        yield piece
    metrics.PAYLOAD_BYTES.labels("pulled").observe(size)


def _pieces(pull: PullRequest, retention_ms: int) -> Iterator[bytes]:
    if _is_up_to_date(pull):
        metrics.PULLS.labels("nothing").inc()
        yield orjson.dumps(_nothing(pull.last_pulled_at))
        return
    # A connection of its own: the answer outlives the request's session.
    with db.engine.connect() as connection, connection.begin():
        present = clock.read(connection, pull.caller.user_id)
        mode = _mode(connection, pull, present, retention_ms)
        metrics.PULLS.labels(mode).inc()
        yield from _encode(connection, pull, mode, present)


def pull_page(
    pull: PullRequest, retention_ms: int, limit: int, cursor: Cursor | None
) -> dict[str, Any]:
    """At most `limit` rows of that answer, and a `cursor` while there are more.

    All pages have the timestamp of the first. A row that changes between two pages comes in its
    newer state on a later one, or with the next pull; one that comes into being comes with the
    next pull, as `created`.
    """
    metrics.PULL_PAGES.inc()
    if cursor is None and _is_up_to_date(pull):
        metrics.PULLS.labels("nothing").inc()
        return _nothing(pull.last_pulled_at)
    with db.engine.connect() as connection, connection.begin():
        if cursor is None:
            timestamp = clock.read(connection, pull.caller.user_id)
            mode = _mode(connection, pull, timestamp, retention_ms)
            metrics.PULLS.labels(mode).inc()
        else:
            timestamp, mode = cursor.timestamp, cursor.mode
        answer = _nothing(timestamp)
        if mode is Mode.REPLACEMENT:
            answer["experimentalStrategy"] = "replacement"
        left, after = limit, cursor
        for table in synced_tables():
            if "cursor" in answer or (after and after.table != table.name):
                continue
            last = after.id if after else ""
            after = None
            rows = _page(connection, pull, table, mode, timestamp, last, left)
            for bucket, record in rows[:left]:
                answer["changes"][table.name][bucket].append(record)
                metrics.RECORDS.labels("pulled", bucket).inc()
                last = record if bucket == "deleted" else record["id"]
            if len(rows) > left:
                answer["cursor"] = write(Cursor(timestamp, mode, table.name, last), pull, limit)
            left -= min(len(rows), left)
    return answer


def _is_up_to_date(pull: PullRequest) -> bool:
    """Whether nothing has changed. The clock came with the caller, so this costs no statement."""
    return pull.caller.clock == pull.last_pulled_at and pull.migration is None


def _nothing(timestamp: int) -> dict[str, Any]:
    """An answer without any rows."""
    changes: dict[str, dict[str, list[Any]]] = {
        table.name: {bucket: [] for bucket in BUCKETS} for table in synced_tables()
    }
    return {"changes": changes, "timestamp": timestamp}


def _mode(connection: Connection, pull: PullRequest, present: int, retention_ms: int) -> Mode:
    since = pull.last_pulled_at
    if since == 0:
        return Mode.FIRST
    if since > present:
        return Mode.RESTORED
    if since < now_ms() - retention_ms and since != present:
        return Mode.REPLACEMENT
    lost = select(func.count()).where(Restore.lost_after < since, Restore.lost_until >= since)
    return Mode.RESTORED if connection.scalar(lost) else Mode.CHANGES


def _encode(
    connection: Connection, pull: PullRequest, mode: Mode, timestamp: int
) -> Iterator[bytes]:
    """The JSON of a whole answer."""
    before = b'{"changes":{'
    for table in synced_tables():
        yield before + orjson.dumps(table.name) + b":{"
        before = b"},"
        selected = select_rows(pull, table, mode).buckets(table)
        for bucket in BUCKETS:
            yield (b"" if bucket == BUCKETS[0] else b",") + orjson.dumps(bucket) + b":["
            condition = selected.get(bucket)
            if condition is not None:
                columns = (table.sql.c.id,) if bucket == "deleted" else table.record
                wanted = select(*columns).where(table.of(pull.caller.user_id), condition)
                count = metrics.RECORDS.labels("pulled", bucket).inc
                yield from encode_rows(connection, wanted, count)
            yield b"]"
    yield b'}},"timestamp":%d' % timestamp
    yield b',"experimentalStrategy":"replacement"}' if mode is Mode.REPLACEMENT else b"}"


def _page(
    connection: Connection,
    pull: PullRequest,
    table: SyncedTable,
    mode: Mode,
    timestamp: int,
    after: str,
    limit: int,
) -> list[tuple[str, Any]]:
    """Up to `limit` rows after the id `after`, and one more if there is one: (bucket, record or id)."""
    c = table.sql.c
    selected = select_rows(pull, table, mode)
    # What came into being after the first page is left to the next pull: sent now, it would come
    # a second time as `created`.
    began = c.created_at_ms <= timestamp
    query = (
        select(*table.record, c.is_deleted.label("_deleted"), selected.fresh.label("_fresh"))
        .where(
            table.of(pull.caller.user_id),
            c.id > after,
            or_(and_(~c.is_deleted, began, selected.live), and_(c.is_deleted, selected.dead)),
        )
        .order_by(c.id)
        .limit(limit + 1)
    )
    page: list[tuple[str, Any]] = []
    for row in connection.execute(query).mappings():
        record = dict(row)
        is_deleted, is_fresh = record.pop("_deleted"), record.pop("_fresh")
        if is_deleted:
            page.append(("deleted", record["id"]))
        else:
            page.append(("created" if is_fresh else "updated", record))
    return page
