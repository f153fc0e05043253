"""Pull: everything that changed for a device since it last pulled, from one snapshot.

One statement reads the clock and the rows of all tables. What it selects depends on what the clock says;
so it is run for the mode that is expected, and once more in the rare case that the clock says another.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from tempfile import SpooledTemporaryFile

import orjson
from sqlalchemy import Connection, Dialect, bindparam

from services.sync.clock import READ, Reading
from services.sync.cursor import Cursor, InvalidCursor, write
from services.sync.schemas import LATEST
from services.sync.selection import (
    BUCKETS,
    CREATED,
    UPDATED,
    Kind,
    Mode,
    PullRequest,
    Scope,
    scope,
    select_rows,
)
from shared.auth.revocations import raise_clock
from shared.database.base import db
from shared.database.union import TAG_BYTES, Group, Part, Union, by_part, grouped, number
from shared.models.tables import synced_tables
from shared.observability import metrics
from shared.web.errors import Unauthorized

#: Rows of a table that wait for those of another bucket are in memory up to here, then in a file.
SPOOL_BYTES = 4 * 1024 * 1024
PIECE_BYTES = 64 * 1024
#: The number of the clock among the parts of a statement; those of tables are their places.
HEAD = 9999
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
        yield from _encode((), pull.last_pulled_at)
        return
    # A connection of its own: the answer outlives the request's session.
    with db.engine.connect() as connection, connection.begin():
        found = _read(connection, pull)
        groups = grouped(found.rows, is_sorted=found.is_sorted)
        yield from _encode(groups, found.reading.present, found.scope.mode, found.streamed)


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
        return _encode((), pull.last_pulled_at)
    names = [table.name for table in synced_tables()]
    page = Page(0, 1, LATEST, "", limit + 1)
    if cursor is not None:
        page = Page(names.index(cursor.table), 1, cursor.timestamp, cursor.id, limit + 1)
    with db.engine.connect() as connection, connection.begin():
        found = _read(connection, pull, page, cursor.scope if cursor else None)
        owes_tombstones = cursor is not None and found.scope.dead_after is not None
        if owes_tombstones and pull.last_pulled_at < found.reading.purged_until:
            raise InvalidCursor
        rows = list(chain.from_iterable(found.rows))
        while len(rows) <= limit and (page := page.following()).first < len(names):
            more = _read(connection, pull, page, found.scope)
            rows += chain.from_iterable(more.rows)
    timestamp = cursor.timestamp if cursor else found.reading.present
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        place = Cursor(timestamp, found.scope, names[number(last)], _id(last))
        following = write(place, pull, limit)
    return _encode(grouped([rows[:limit]]), timestamp, found.scope.mode, cursor=following)


@dataclass(frozen=True)
class Page:
    """What a statement of a pull by pages reads: some tables, of the first of them what is after an id."""

    first: int
    tables: int
    timestamp: int
    after: str
    limit: int

    def following(self) -> "Page":
        """Return the next tables, twice as many: many without rows cost few statements, and few rows are
        read that the page has no room for."""
        return Page(self.first + self.tables, self.tables * 2, self.timestamp, "", self.limit)


@dataclass(frozen=True)
class Found:
    """What a statement has found."""

    reading: Reading
    scope: Scope
    #: Batches of rows, each behind its tag.
    rows: Iterator[list[bytes]]
    is_sorted: bool
    #: The bucket of the most.
    streamed: int


def _read(
    connection: Connection, pull: PullRequest, page: Page | None = None, known: Scope | None = None
) -> Found:
    """Read the clock and the rows of all tables, or those of a page, in the `known` scope or the one that
    the clock demands. Raises `Unauthorized` for an account that is gone."""
    since, caller = pull.last_pulled_at, pull.caller
    scope_ = known or (Scope(Mode.CHANGES, since) if since else Scope(Mode.FIRST))
    while True:
        kind = Kind(
            scope_.mode, scope_.dead_after is not None, pull.created_as_updated, pull.migration
        )
        place = None if page is None else (page.first, page.tables, page.after != "")
        statement = _statement(connection.dialect, kind, place)
        values = {
            "user": caller.user_id,
            "session": caller.session_id,
            "since": since,
            "dead_after": scope_.dead_after,
            **({} if page is None else vars(page)),
        }
        rows = statement.rows(connection, values)
        first = next(rows, [])
        if not first or number(first[0]) != HEAD:
            raise Unauthorized
        reading = Reading(*orjson.loads(first[0][TAG_BYTES:]))
        has_nothing = reading.present == since and not reading.is_lost and pull.migration is None
        demanded = scope(since, reading.present, reading.purged_until, reading.lost_after)
        if known or has_nothing or demanded == scope_:
            break
        rows.close()
        scope_ = demanded
    if not known:
        metrics.PULLS.labels("nothing" if has_nothing else scope_.mode).inc()
        if caller.clock != reading.present and not reading.is_lost:
            raise_clock(caller.user_id, reading.present)
    is_updated = pull.created_as_updated or scope_.mode is Mode.RESTORED
    return Found(
        reading,
        scope_,
        chain([first[1:]], rows),
        statement.is_sorted,
        UPDATED if is_updated else CREATED,
    )


def _is_up_to_date(pull: PullRequest) -> bool:
    """Return whether nothing has changed. The clock came with the caller, without a statement of ours."""
    return pull.caller.clock == pull.last_pulled_at and pull.migration is None


# Apps pull in few ways; but every migration of an app is one of its own.
@lru_cache(maxsize=256)
def _statement(dialect: Dialect, kind: Kind, place: tuple[int, int, bool] | None) -> Union:
    """Return the statement for the clock and the rows of all tables, or those at the `place` of a page:
    the first, how many, and whether the first is to be read from an id on."""
    parts = {HEAD: Part(READ, as_list=True)}
    first, count, has_after = place or (0, len(synced_tables()), False)
    for at, table in enumerate(synced_tables()[first : first + count], first):
        part = select_rows(table, kind, by_pages=place is not None)
        if has_after and at == first:
            after = table.sql.c.id > bindparam("after")
            part = replace(part, query=part.query.where(after))
        parts[at] = part
    return Union(dialect, parts)


def _encode(
    groups: Iterable[Group],
    timestamp: int,
    mode: Mode = Mode.CHANGES,
    streamed: int = CREATED,
    cursor: str | None = None,
) -> Iterator[bytes]:
    """Return the JSON of an answer with these rows, which come in the order of the tables."""
    before = b'{"changes":{'
    tables = synced_tables()
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
