"""Pull: everything that changed for a device since it last pulled, from one snapshot."""

from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import Connection, and_, or_, select

from services.sync import clock
from services.sync.clock import Reading
from services.sync.cursor import Cursor, InvalidCursor, write
from services.sync.selection import Mode, PullRequest, Scope, Selection, scope, select_rows
from shared.auth.revocations import raise_clock
from shared.database.base import db
from shared.database.json_rows import encode_rows
from shared.models.tables import SyncedTable, synced_tables
from shared.observability import metrics

BUCKETS = ("created", "updated", "deleted")


def pull_changes(pull: PullRequest) -> Iterator[bytes]:
    """The answer of docs/api.md, "Pull", piece by piece, as JSON.

    Clock and rows are of one snapshot, which is held until the last piece was taken; nothing is
    read before the first one is asked for.
    """
    size = 0
    for piece in _pieces(pull):
        size += len(piece)
        yield piece
    metrics.PAYLOAD_BYTES.labels("pulled").observe(size)


def _pieces(pull: PullRequest) -> Iterator[bytes]:
    if _is_up_to_date(pull):
        metrics.PULLS.labels("nothing").inc()
        yield orjson.dumps(_nothing(pull.last_pulled_at))
        return
    # A connection of its own: the answer outlives the request's session.
    with db.engine.connect() as connection, connection.begin():
        reading = _read(connection, pull)
        if _has_nothing(pull, reading):
            metrics.PULLS.labels("nothing").inc()
            yield orjson.dumps(_nothing(pull.last_pulled_at))
            return
        scope_ = _scope(pull, reading)
        metrics.PULLS.labels(scope_.mode).inc()
        yield from _encode(connection, pull, scope_, reading)


def pull_page(pull: PullRequest, limit: int, cursor: Cursor | None) -> dict[str, Any]:
    """At most `limit` rows of that answer, and a `cursor` while there are more.

    All pages have the timestamp of the first. A row that changes between two pages comes in its
    newer state on a later one, or with the next pull; one that comes into being comes with the
    next pull, as `created`. Raises `InvalidCursor` when what a later page owes the device was purged
    meanwhile.
    """
    metrics.PULL_PAGES.inc()
    if cursor is None and _is_up_to_date(pull):
        metrics.PULLS.labels("nothing").inc()
        return _nothing(pull.last_pulled_at)
    with db.engine.connect() as connection, connection.begin():
        reading = _read(connection, pull)
        if cursor is None and _has_nothing(pull, reading):
            metrics.PULLS.labels("nothing").inc()
            return _nothing(pull.last_pulled_at)
        if cursor is None:
            timestamp, scope_ = reading.present, _scope(pull, reading)
            metrics.PULLS.labels(scope_.mode).inc()
        else:
            timestamp, scope_ = cursor.timestamp, cursor.scope
            if scope_.dead_after is not None and pull.last_pulled_at < reading.purged_until:
                raise InvalidCursor
        answer = _nothing(timestamp)
        if scope_.mode is Mode.REPLACEMENT:
            answer["experimentalStrategy"] = "replacement"
        left, after = limit, cursor
        for table in synced_tables():
            if "cursor" in answer or (after and after.table != table.name):
                continue
            last = after.id if after else ""
            after = None
            selected = select_rows(pull, table, scope_, reading.began_at)
            rows = _page(connection, pull, table, selected, timestamp, last, left)
            for bucket, record in rows[:left]:
                answer["changes"][table.name][bucket].append(record)
                metrics.RECORDS.labels("pulled", bucket).inc()
                last = record if bucket == "deleted" else record["id"]
            if len(rows) > left:
                answer["cursor"] = write(Cursor(timestamp, scope_, table.name, last), pull, limit)
            left -= min(len(rows), left)
    return answer


def _is_up_to_date(pull: PullRequest) -> bool:
    """Return whether nothing has changed. The clock came with the caller, without a statement of ours."""
    return pull.caller.clock == pull.last_pulled_at and pull.migration is None


def _has_nothing(pull: PullRequest, reading: Reading) -> bool:
    """Return the same by the clock that was read."""
    is_present = reading.present == pull.last_pulled_at and not reading.is_lost
    return is_present and pull.migration is None


def _nothing(timestamp: int) -> dict[str, Any]:
    """An answer without any rows."""
    changes: dict[str, dict[str, list[Any]]] = {
        table.name: {bucket: [] for bucket in BUCKETS} for table in synced_tables()
    }
    return {"changes": changes, "timestamp": timestamp}


def _read(connection: Connection, pull: PullRequest) -> Reading:
    caller = pull.caller
    reading = clock.read(connection, caller.user_id, caller.session_id, pull.last_pulled_at)
    if caller.clock != reading.present and not reading.is_lost:
        raise_clock(caller.user_id, reading.present)
    return reading


def _scope(pull: PullRequest, reading: Reading) -> Scope:
    known = (reading.present, reading.purged_until, reading.lost_after)
    return scope(pull.last_pulled_at, *known)


def _encode(
    connection: Connection, pull: PullRequest, scope_: Scope, reading: Reading
) -> Iterator[bytes]:
    """The JSON of a whole answer."""
    before = b'{"changes":{'
    for table in synced_tables():
        yield before + orjson.dumps(table.name) + b":{"
        before = b"},"
        selected = select_rows(pull, table, scope_, reading.began_at).buckets(table)
        for bucket in BUCKETS:
            yield (b"" if bucket == BUCKETS[0] else b",") + orjson.dumps(bucket) + b":["
            condition = selected.get(bucket)
            if condition is not None:
                columns = (table.sql.c.id,) if bucket == "deleted" else table.record
                wanted = select(*columns).where(table.of(pull.caller.user_id), condition)
                count = metrics.RECORDS.labels("pulled", bucket).inc
                yield from encode_rows(connection, wanted, count, bare=bucket == "deleted")
            yield b"]"
    yield b'}},"timestamp":%d' % reading.present
    yield b',"experimentalStrategy":"replacement"}' if scope_.mode is Mode.REPLACEMENT else b"}"


def _page(
    connection: Connection,
    pull: PullRequest,
    table: SyncedTable,
    selected: Selection,
    timestamp: int,
    after: str,
    limit: int,
) -> list[tuple[str, Any]]:
    """Up to `limit` rows after the id `after`, and one more if there is one: (bucket, record or id)."""
    c = table.sql.c
    # What came into being after the first page is left to the next pull: sent now, it would come
    # a second time as `created`.
    began = c.created_at_ms <= timestamp
    query = (
        select(*table.record, c.is_deleted, selected.fresh)
        .where(
            table.of(pull.caller.user_id),
            c.id > after,
            or_(and_(~c.is_deleted, began, selected.live), and_(c.is_deleted, selected.dead)),
        )
        .order_by(c.id)
        .limit(limit + 1)
    )
    page: list[tuple[str, Any]] = []
    for id_, *values, is_deleted, is_fresh in connection.execute(query):
        if is_deleted:
            page.append(("deleted", id_))
        else:
            record = {"id": id_, **dict(zip(table.names, values, strict=True))}
            page.append(("created" if is_fresh else "updated", record))
    return page
