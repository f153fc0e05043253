"""Pull: everything that changed for a device since it last pulled, as JSON."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from itertools import chain, count
from tempfile import SpooledTemporaryFile
from typing import TypeVar

import orjson
from sqlalchemy import Connection

from services.sync.clock import raise_to
from services.sync.cursor import Cursor, InvalidCursor, write
from services.sync.reading import (
    IsBehind,
    Page,
    Start,
    part_of,
    read_all,
    start_page,
    units_of,
    values_of,
)
from services.sync.selection import BUCKETS, CREATED, UPDATED, Mode, PullRequest
from services.sync.views import OWN, Key
from shared.database.base import db
from shared.database.union import TAG_BYTES, Group, by_part, grouped, number, read_rows
from shared.models.tables import pulled_tables
from shared.observability import metrics

T = TypeVar("T")

#: Rows of a table that wait for those of another bucket are in memory up to here, then in a file.
SPOOL_BYTES = 4 * 1024 * 1024
PIECE_BYTES = 64 * 1024
#: Loads that may end while one pull begins.
MAX_RAISES = 10
NO_ROWS = orjson.dumps({bucket: [] for bucket in BUCKETS})


def pull_changes(pull: PullRequest) -> Iterator[bytes]:
    """Return the answer of docs/api.md, "Pull", piece by piece, as JSON.

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
        yield _nothing_new(pull.last_pulled_at)
        return
    # A connection of its own: the answer outlives the request's session.
    with _reading(pull, partial(read_all, pull=pull)) as (_, (start, groups)):
        is_updated = pull.created_as_updated or start.scope.mode is Mode.RESTORED
        streamed = UPDATED if is_updated else CREATED
        yield from _encode(groups, start.reading.present, start.scope.mode, streamed)


@contextmanager
def _reading(pull: PullRequest, begin: Callable[[Connection], T]) -> Iterator[tuple[Connection, T]]:
    """Hold a snapshot, in which a user's clock is not before the last load of a reference table."""
    for attempt in count(1):
        try:
            with db.engine.connect() as connection, connection.begin():
                begun = begin(connection)
                yield connection, begun
                return
        except IsBehind as behind:
            if attempt == MAX_RAISES:
                raise
            raise_to(pull.caller.user_id, behind.tick)


def pull_page(pull: PullRequest, limit: int, cursor: Cursor | None) -> Iterator[bytes]:
    """Return at most `limit` rows of that answer, and a `cursor` while there are more, piece by piece.

    All pages have the timestamp of the first. A row that changes between two pages comes in its
    newer state on a later one, or with the next pull; one that comes into being comes with the
    next pull, as `created`. Raises `InvalidCursor` when what a later page owes the device was purged
    meanwhile.
    """
    metrics.PULL_PAGES.inc()
    if cursor is None and _is_up_to_date(pull):
        metrics.PULLS.labels("nothing").inc()
        return iter((_nothing_new(pull.last_pulled_at),))
    known = cursor.scope if cursor else None
    with _reading(pull, partial(start_page, pull=pull, known=known)) as (connection, start):
        owes_tombstones = cursor is not None and start.scope.dead_after is not None
        if owes_tombstones and pull.last_pulled_at < start.purged_until:
            raise InvalidCursor
        page = _page(cursor, start, limit)
        rows, keys = _read_page(connection, pull, start, page)
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        table = pulled_tables()[number(last)].name
        place = Cursor(page.timestamp, start.scope, table, keys[limit - 1], _id(last))
        following = write(place, pull, limit)
    groups = grouped([rows[:limit]])
    return _encode(groups, page.timestamp, start.scope.mode, cursor=following)


def _page(cursor: Cursor | None, start: Start, limit: int) -> Page:
    """Return the page at a cursor, or the first; with one row more, which says whether there is another."""
    if cursor is None:
        return Page(start.reading.present, limit + 1, (0, OWN), "")
    places = [table.name for table in pulled_tables()]
    first = (places.index(cursor.table), cursor.key)
    return Page(cursor.timestamp, limit + 1, first, cursor.id)


def _read_page(
    connection: Connection, pull: PullRequest, start: Start, page: Page
) -> tuple[list[bytes], list[Key]]:
    """Return the rows of a page, which may be some more, and of each row the key of its unit."""
    values = values_of(pull, start.scope) | {
        "timestamp": page.timestamp,
        "limit": page.limit,
        "after": page.after,
    }
    found = units_of(connection, pull, start, page.timestamp)
    units = [unit for unit in found if (unit.place, unit.key) >= page.first]
    rows: list[bytes] = []
    keys: list[Key] = []
    # Twice as many tables each time: many with few rows cost few statements, and few rows are read
    # that the page has no room for. Of whoever shares rows one unit, so that each row's is known.
    step = 1
    while units and len(rows) < page.limit:
        some, units = units[:step], units[step:]
        parts = [part_of(connection.dialect, unit, page) for unit in some]
        read = list(chain.from_iterable(read_rows(connection, parts, values)))
        rows += read
        keys += [some[-1].key] * len(read)
        step = 1 if start.view else step * 2
    return rows, keys


def _is_up_to_date(pull: PullRequest) -> bool:
    """Return whether nothing has changed. The clock came with the caller, without a statement of ours."""
    return pull.caller.clock == pull.last_pulled_at and pull.migration is None


def _nothing_new(timestamp: int) -> bytes:
    """Return the JSON of an answer without rows."""
    return _empty_tables() + b"%d}" % timestamp


@cache
def _empty_tables() -> bytes:
    """Return what stands before the timestamp in such an answer."""
    return b"".join(_encode((), 0)).removesuffix(b"0}")


def _encode(
    groups: Iterable[Group],
    timestamp: int,
    mode: Mode = Mode.CHANGES,
    streamed: int = CREATED,
    cursor: str | None = None,
) -> Iterator[bytes]:
    """Return the JSON of an answer with these rows, which come in the order of the tables."""
    before = b'{"changes":{'
    tables = pulled_tables()
    for at, some in by_part(groups, range(len(tables))):
        yield before + orjson.dumps(tables[at].name) + b":"
        before = b","
        if some:
            yield from _encode_table(some, streamed)
        else:
            yield NO_ROWS
    yield b'},"timestamp":%d' % timestamp
    if mode is Mode.REPLACEMENT:
        yield b',"experimentalStrategy":"replacement"'
    yield b',"cursor":%b}' % orjson.dumps(cursor) if cursor else b"}"


def _encode_table(groups: Iterable[Group], streamed: int) -> Iterator[bytes]:
    """Return the JSON of one table's rows; those of another bucket than `streamed` wait for its end."""
    others = [bucket for bucket in range(len(BUCKETS)) if bucket != streamed]
    with ExitStack() as stack:
        waiting = {n: stack.enter_context(SpooledTemporaryFile(SPOOL_BYTES)) for n in others}
        yield b'{"%b":[' % BUCKETS[streamed].encode()
        before = b""
        for group in groups:
            metrics.RECORDS.labels("pulled", BUCKETS[group.kind]).inc(group.count)
            if group.kind == streamed:
                yield before + group.encoded
                before = b","
            else:
                file = waiting[group.kind]
                file.write(b"," * bool(file.tell()) + group.encoded)
        for bucket, file in waiting.items():
            yield b'],"%b":[' % BUCKETS[bucket].encode()
            file.seek(0)
            yield from iter(partial(file.read, PIECE_BYTES), b"")
    yield b"]}"


def _id(row: bytes) -> str:
    """Return the id in a row of an answer."""
    found = orjson.loads(row[TAG_BYTES:])
    return str(found["id"] if isinstance(found, dict) else found)
