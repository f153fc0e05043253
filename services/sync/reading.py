"""What a pull reads: the clock and the rows of all tables, from one snapshot.

Of few tables one statement reads both. What it selects depends on what the clock says; so it is run for the
mode that is expected, and once more in the rare case that the clock says another. Each table costs the
database a tenth of a millisecond then, with news or without. So of many it is asked first, with the clock,
when each last changed, at a tenth of that, and a second statement reads those that have news. Of whoever
shares rows it is asked which spaces there are, and the same of each of them (`views`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Dialect, bindparam, select

from services.sync.clock import READ, Reading
from services.sync.reference.selection import newest_load, select_reference
from services.sync.selection import (
    How,
    Kind,
    Mode,
    PullRequest,
    Scope,
    kind_of,
    may_have_news,
    newest,
    scope,
    select_rows,
)
from services.sync.unchanged import select_again, select_left, select_resent
from services.sync.views import OWN, Key, News, Unit, View
from shared.auth.revocations import raise_clock
from shared.database.union import (
    TAG_BYTES,
    CompiledPart,
    Group,
    Part,
    grouped,
    number,
    read_rows,
)
from shared.models.columns import ID
from shared.models.tables import ReferenceTable, SyncedTable, pulled_tables, synced_tables
from shared.observability import metrics
from shared.web.errors import Unauthorized

#: The number of the clock among the parts of a statement; those of tables are their places.
HEAD = 9999
#: Columns of the clock.
READINGS = len(fields(Reading))
#: Up to here all tables are read at once.
FEW = 8
#: Parts of a statement, where they are as many as tables times spaces.
MAX_PARTS = 100


class IsBehind(Exception):
    """The user's clock stands before the last load of a reference table, whose tick this is.

    It is to be raised, and all to be read anew: else a push could be given a tick before that load's, of
    which other devices, which have that load, would never hear.
    """

    def __init__(self, tick: int) -> None:
        super().__init__()
        self.tick = tick


@dataclass(frozen=True)
class Page:
    """What a page is read of: so many rows of each unit, of the `first` those after an id ("": all)."""

    timestamp: int
    limit: int
    #: By the number of its table and its key.
    first: tuple[int, Key]
    after: str


@dataclass(frozen=True)
class Start:
    """What a pull knows once it has read the clock."""

    reading: Reading
    scope: Scope
    #: Up to which tick tombstones were removed that the device may need.
    purged_until: int
    #: Of each table the tick of its last change, None where it has no row. Empty: it was not asked.
    newest: Sequence[int | None]
    #: The spaces of a user who has more than the own one.
    view: View | None


def read_all(connection: Connection, pull: PullRequest) -> tuple[Start, Iterator[Group]]:
    """Read the clock and the rows of all tables: of few at once, of many those that have news.

    Raises `IsBehind`.
    """
    dialect = connection.dialect
    tables = range(len(pulled_tables()))
    if len(tables) <= FEW:
        # What is selected depends on what the clock says: mostly this.
        expected = scope(pull.last_pulled_at, pull.last_pulled_at, 0, None)
        parts = [part_of(dialect, _own(pull, expected, at)) for at in tables]
        head = _head(dialect, asks_for_news=False)
        rows = read_rows(connection, [head, *parts], values_of(pull, expected))
        first, *others = next(rows, [b""])
        reading = _read_head(first)[0]
        if not reading.has_spaces and reading.loaded <= reading.present:
            start = _start(connection, pull, first)
            if start.scope == expected:
                return start, _grouped(parts, chain([others], rows))
        rows.close()
    else:
        first = _ask_for_news(connection, pull)
    start = _start(connection, pull, first)
    units = enumerate(units_of(connection, pull, start))
    parts = [part_of(dialect, unit, suffix=str(at)) for at, unit in units]
    return start, _grouped(parts, _in_turn(connection, parts, values_of(pull, start.scope)))


def start_page(connection: Connection, pull: PullRequest, known: Scope | None) -> Start:
    """Read the clock, and of each table when it last changed, for a page of a pull in the `known` scope, if
    it is not the first. Raises `IsBehind`.
    """
    return _start(connection, pull, _ask_for_news(connection, pull), known)


def _ask_for_news(connection: Connection, pull: PullRequest) -> bytes:
    head = _head(connection.dialect, asks_for_news=True)
    return b"".join(chain.from_iterable(read_rows(connection, [head], values_of(pull))))


def _read_head(head: bytes) -> tuple[Reading, Sequence[int | None]]:
    """Return what the statement of the clock found. Raises `Unauthorized` for an account that is gone."""
    if not head or number(head) != HEAD:
        raise Unauthorized
    read = orjson.loads(head[TAG_BYTES:])
    return Reading(*read[:READINGS]), read[READINGS:]


def _start(
    connection: Connection, pull: PullRequest, head: bytes, known: Scope | None = None
) -> Start:
    """Decide by what the statement of the clock found how a pull goes on: in the `known` scope, or else the
    one that the clock demands, which is counted. Raises `Unauthorized` for an account that is gone, and
    `IsBehind`.
    """
    since, caller = pull.last_pulled_at, pull.caller
    reading, newest = _read_head(head)
    view = View.read(connection, pull) if reading.has_spaces else None
    purged_until = max(
        reading.purged_until, reading.loads_purged_until, view.purged_until() if view else 0
    )
    if known:
        return Start(reading, known, purged_until, newest, view)
    if reading.loaded > reading.present:
        raise IsBehind(reading.loaded)
    demanded = scope(since, reading.present, purged_until, reading.lost_after)
    has_nothing = reading.present == since and not reading.is_lost and pull.migration is None
    if has_nothing:
        demanded = Scope(Mode.CHANGES, since)
    metrics.PULLS.labels("nothing" if has_nothing else demanded.mode).inc()
    if caller.clock != reading.present and not reading.is_lost:
        raise_clock(caller.user_id, reading.present)
    return Start(reading, demanded, purged_until, newest, view)


def units_of(
    connection: Connection, pull: PullRequest, start: Start, timestamp: int | None = None
) -> Iterator[Unit]:
    """Yield what is to be read: of the own space all tables, or those that may have rows for the device, and
    of others those that have. `timestamp`: of a page.
    """
    places = range(len(pulled_tables()))
    if start.view is not None:
        news = _news(connection, start.view.concerned(start.scope))
        yield from start.view.units(start.scope, news, timestamp)
        places = places[len(synced_tables()) :]
    for place in places:
        unit = _own(pull, start.scope, place)
        if not start.newest or may_have_news(start.newest[place], pull.last_pulled_at, unit.kind):
            yield unit
        if start.view is not None:
            yield from start.view.refused(place, start.scope)


def _own(pull: PullRequest, scope_: Scope, place: int) -> Unit:
    """Return a table's rows in the one space of a user, or those of a reference table."""
    return Unit(place, OWN, kind_of(pull, scope_, pulled_tables()[place]), {})


def _news(connection: Connection, spaces: Sequence[str]) -> News:
    """Return when the tables of spaces last changed."""
    part = _part_of_news(connection.dialect)
    parts = [part.bound(str(at), {"user": space}) for at, space in enumerate(spaces)]
    rows = chain.from_iterable(_in_turn(connection, parts, {}))
    found = [orjson.loads(row[TAG_BYTES:]) for row in rows]
    return {space: ticks for space, *ticks in found}


def values_of(pull: PullRequest, scope_: Scope | None = None) -> dict[str, Any]:
    """Return the parameters of the statements of a pull."""
    return {
        "me": pull.caller.user_id,
        "user": pull.caller.user_id,
        "session": pull.caller.session_id,
        "since": pull.last_pulled_at,
        "dead_after": scope_ and scope_.dead_after,
    }


def part_of(
    dialect: Dialect, unit: Unit, page: Page | None = None, suffix: str = ""
) -> CompiledPart:
    """Return what reads the rows of a unit, whole or for a page; `suffix`: see `CompiledPart.bound`."""
    has_after = page is not None and page.after != "" and page.first == (unit.place, unit.key)
    by_pages = page is not None
    part = _part(dialect, unit.place, unit.kind, by_pages=by_pages, has_after=has_after)
    if not unit.values:
        return part
    return part.bound(suffix, unit.values)


def _in_turn(
    connection: Connection, parts: Sequence[CompiledPart], values: dict[str, Any]
) -> Iterator[list[bytes]]:
    """Yield the rows of parts, by as many statements as it takes."""
    for at in range(0, len(parts), MAX_PARTS):
        yield from read_rows(connection, parts[at : at + MAX_PARTS], values)


@lru_cache
def _head(dialect: Dialect, *, asks_for_news: bool) -> CompiledPart:
    """Return what reads the clock and, when asked, the tick of each table's last change."""
    news = [_newest(table) for table in pulled_tables()] if asks_for_news else []
    return CompiledPart(dialect, HEAD, Part(READ.add_columns(*news), as_list=True))


def _newest(table: SyncedTable | ReferenceTable) -> ColumnElement[int]:
    return newest_load(table) if isinstance(table, ReferenceTable) else newest(table)


@lru_cache
def _part_of_news(dialect: Dialect) -> CompiledPart:
    """Return what reads the tick of each table's last change in a space, behind the space's id."""
    news = [newest(table) for table in synced_tables()]
    space: Any = bindparam("user", type_=ID)
    return CompiledPart(dialect, HEAD, Part(select(space.label("id"), *news), as_list=True))


# Apps pull in few ways, but every migration of an app is one of its own.
@lru_cache(maxsize=4096)
def _part(
    dialect: Dialect, place: int, kind: Kind, *, by_pages: bool, has_after: bool
) -> CompiledPart:
    """Return what reads the rows of a table. `has_after`: of those after an id."""
    table = pulled_tables()[place]
    part = _select(table, kind, by_pages=by_pages)
    key = part.query.selected_columns[0]
    if by_pages:
        part = replace(part, query=part.query.order_by(key).limit(bindparam("limit")))
    if has_after:
        part = replace(part, query=part.query.where(key > bindparam("after")))
    return CompiledPart(dialect, place, part)


def _select(table: SyncedTable | ReferenceTable, kind: Kind, *, by_pages: bool) -> Part:
    if isinstance(table, ReferenceTable):
        return select_reference(table, kind, by_pages=by_pages)
    match kind.how:
        case How.LEFT:
            return select_left(table, kind)
        case How.AGAIN:
            return select_again(table, kind)
        case How.RESENT:
            return select_resent(table, kind)
        case _:
            return select_rows(table, kind, by_pages=by_pages)


def _grouped(parts: Iterable[CompiledPart], rows: Iterable[Sequence[bytes]]) -> Iterator[Group]:
    return grouped(rows, is_sorted=all(part.is_sorted for part in parts))
