"""The changes of a space in the order of their ticks, for an app's own servers (docs/api.md, "Changes").

Of each page clock and rows are of one snapshot. First is asked which rows come next, by an index that has
all that takes; then these rows are read by their keys. So a page costs what it sends, however much there is
before it and behind it, whatever the number of tables.
"""

import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    Connection,
    Dialect,
    Select,
    and_,
    bindparam,
    case,
    exists,
    literal_column,
    or_,
    select,
    union_all,
)

from services.sync.cursor import InvalidCursor
from services.sync.door import SPACE_ID, NoSuchSpace
from services.sync.schemas import LATEST, SAFE_ID
from services.sync.selection import newest
from shared.database.base import db
from shared.database.bulk import chunks
from shared.database.union import TAG_BYTES, CompiledPart, Part, json_of, number, read_rows
from shared.models import Restore, Space, User
from shared.models.columns import index_name
from shared.models.tables import SyncedTable, synced_tables

#: How many keys are looked at for each that is sent: tables take turns in the order of ticks, and which of
#: them has the next ones is not known.
OVERREAD = 8
#: The kinds of rows.
LIVE, DEAD = range(2)

#: A row: its tick, the number of its table, and its id. In this order changes are sent.
Key = tuple[int, int, str]


@dataclass(frozen=True)
class Reading:
    """What somebody reads: the changes of a space after a tick, so many on a page."""

    space_id: str
    since: int
    limit: int


@dataclass(frozen=True)
class Position:
    """Where a page begins: after a row, in a reading whose first page was of the tick `timestamp`."""

    timestamp: int
    is_replacement: bool
    after: Key


@dataclass(frozen=True)
class Clock:
    """A space's clock, and what is known of the time before it. All of them ticks."""

    is_personal: bool
    present: int
    purged_until: int
    #: Whether a restore lost the tick that was asked for.
    is_lost: bool
    #: Of each table the tick of its last change, None where it has no row.
    newest: Sequence[int | None]


@cache
def tables() -> tuple[SyncedTable, ...]:
    """Return the tables by their names: their order within a tick."""
    return tuple(sorted(synced_tables(), key=lambda table: table.name))


def read_changes(reading: Reading, cursor: str | None) -> Iterator[bytes]:
    """Return a page of changes as JSON, piece by piece.

    All pages have the timestamp of the first, and nothing later: a row that changes between two pages is on
    none of the later ones, and in the next reading. Raises `NoSuchSpace`, and `InvalidCursor` for one of
    another reading, or when tombstones that are still to come were purged meanwhile.
    """
    position = read_position(cursor, reading) if cursor else None
    if not SPACE_ID.fullmatch(reading.space_id):
        raise NoSuchSpace
    with db.engine.connect() as connection, connection.begin():
        clock = _read_clock(connection, reading)
        if position is None:
            position = _first_position(reading, clock)
        elif not position.is_replacement and clock.purged_until >= position.after[0]:
            raise InvalidCursor
        keys = _next_keys(connection, reading, clock, position)
        page = keys[: reading.limit]
        yield b'{"changes":['
        before = b""
        for some in chunks(page):
            yield before + b",".join(_records(connection, reading, clock, some))
            before = b","
    yield b'],"timestamp":%d' % position.timestamp
    if len(keys) > len(page):
        place = Position(position.timestamp, position.is_replacement, page[-1])
        yield b',"cursor":"%b"' % write_position(place, reading).encode()
    yield b',"replacement":true}' if position.is_replacement else b"}"


def _first_position(reading: Reading, clock: Clock) -> Position:
    since = reading.since
    is_replacement = since < clock.purged_until or since > clock.present or clock.is_lost
    # Behind all tables: what has just this tick is known.
    after = (0 if is_replacement else since, len(tables()), "")
    return Position(clock.present, is_replacement, after)


def write_position(position: Position, reading: Reading) -> str:
    """Return the cursor that brings a position back."""
    tick, place, id_ = position.after
    name = tables()[place].name
    fields = (position.timestamp, position.is_replacement, tick, name, id_, _seal(reading))
    return urlsafe_b64encode(orjson.dumps(fields)).decode()


def read_position(cursor: str, reading: Reading) -> Position:
    """Return the position of a cursor. Raises `InvalidCursor`."""
    names = [table.name for table in tables()]
    try:
        timestamp, is_replacement, tick, name, id_, seal = orjson.loads(
            b64decode(cursor, b"-_", validate=True)
        )
        key = (int(tick), names.index(name), str(id_))
        position = Position(int(timestamp), bool(is_replacement), key)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidCursor from error
    is_possible = 0 <= key[0] <= position.timestamp <= LATEST and SAFE_ID.fullmatch(key[2])
    if not is_possible or seal != _seal(reading):
        raise InvalidCursor
    return position


def _seal(reading: Reading) -> str:
    """Return what stands for the parameters."""
    fields = (reading.space_id, reading.since, reading.limit)
    return hashlib.sha256(orjson.dumps(fields)).hexdigest()[:16]


def _read_clock(connection: Connection, reading: Reading) -> Clock:
    values = {"user": reading.space_id, "since": reading.since}
    row = connection.execute(_find_clock(), values).one_or_none()
    if row is None:
        raise NoSuchSpace
    is_personal, present, purged_until, is_lost, *news = row
    return Clock(bool(is_personal), present, purged_until, bool(is_lost), news)


@cache
def _find_clock() -> Select[Any]:
    yes: Any = literal_column("1")
    no: Any = literal_column("0")
    found = union_all(
        select(
            yes.label("is_personal"), User.last_modified_at.label("present"), User.purged_until
        ).where(User.id == bindparam("user")),
        select(no, Space.last_tick, Space.purged_until).where(
            Space.id == bindparam("user"), Space.deleted_at.is_(None)
        ),
    ).subquery()
    is_lost = exists().where(Restore.has_lost(bindparam("since")))
    return select(*found.c, is_lost, *(newest(table) for table in tables()))


def _next_keys(
    connection: Connection, reading: Reading, clock: Clock, position: Position
) -> list[Key]:
    """Return the next rows in their order: one more than a page has, where there are so many."""
    tick, place, _ = position.after
    count = reading.limit + 1
    # After which row each table goes on.
    going_on = {
        at: position.after if at == place else (tick - (at > place), at, "")
        for at, last in enumerate(clock.newest)
        if last is not None and last >= tick + (at < place)
    }
    found: list[Key] = []
    while going_on:
        each = min(count, max(1, OVERREAD * count // len(going_on)))
        read = _read_keys(connection, reading, position.timestamp, going_on, each)
        found = sorted([*found, *(key for keys in read.values() for key in keys)])[:count]
        # Where there may be more that comes before the last of those.
        end = found[-1] if len(found) == count else (LATEST + 1, 0, "")
        going_on = {
            at: max(keys) for at, keys in read.items() if len(keys) == each and max(keys) < end
        }
    return found


def _read_keys(
    connection: Connection, reading: Reading, until: int, after: Mapping[int, Key], each: int
) -> dict[int, list[Key]]:
    """Return of some tables the next keys after one, in any order."""
    dialect = connection.dialect
    parts = [
        _part_of_keys(dialect, at, has_id=id_ != "").bound(str(at), {"after": tick, "id": id_})
        for at, (tick, _, id_) in after.items()
    ]
    values = {"user": reading.space_id, "until": until, "limit": each}
    found: dict[int, list[Key]] = {}
    for rows in read_rows(connection, parts, values):
        read = orjson.loads(b"[" + b",".join(row[TAG_BYTES:] for row in rows) + b"]")
        for row, (id_, tick) in zip(rows, read, strict=True):
            at = number(row)
            found.setdefault(at, []).append((tick, at, id_))
    return found


@lru_cache(maxsize=1024)
def _part_of_keys(dialect: Dialect, place: int, *, has_id: bool) -> CompiledPart:
    """Return what reads the next keys of a table after a tick, or after an id of that tick."""
    table = tables()[place]
    c: Any = table.sql.c
    after: Any = bindparam("after")
    index = dialect.identifier_preparer.quote(index_name(table.sql.name, "pull"))
    tick = c.updated_at_ms
    if has_id:
        # Said twice, since SQLite takes a range from the first alone, and the servers from the second.
        wanted = and_(tick >= after, or_(tick > after, and_(tick == after, c.id > bindparam("id"))))
    else:
        wanted = tick > after
    query = (
        select(c.id, tick)
        .where(table.of(bindparam("user")), wanted, tick <= bindparam("until"))
        .order_by(tick, c.id)
        .limit(bindparam("limit"))
        # By itself a server may begin with all rows of the space, as long as it knows little of the table.
        .with_hint(table.sql, f"FORCE INDEX ({index})", dialect.name)
    )
    return CompiledPart(dialect, place, Part(query, as_list=True))


def _records(
    connection: Connection, reading: Reading, clock: Clock, keys: Sequence[Key]
) -> list[bytes]:
    """Return the JSON of some changes, in the order of their keys."""
    ids: dict[int, list[str]] = {}
    for _, place, id_ in keys:
        ids.setdefault(place, []).append(id_)
    parts = [
        _part_of_records(connection.dialect, place).bound(str(place), {"ids": some})
        for place, some in ids.items()
    ]
    # A personal space is null in a record.
    values = {"user": reading.space_id, "me": reading.space_id if clock.is_personal else ""}
    found = {_of(row): row for rows in read_rows(connection, parts, values) for row in rows}
    return [_encode(key, found[key[1:]]) for key in keys]


def _of(row: bytes) -> tuple[int, str]:
    """Return the table and the id of a row: the id is its first member, or all of it, and has no escapes."""
    kind = row[TAG_BYTES - 1] - ord("0")
    return number(row), row.split(b'"', 4)[1 if kind == DEAD else 3].decode()


def _encode(key: Key, row: bytes) -> bytes:
    tick, place, id_ = key
    kind, encoded = json_of(row)
    head = b'{"table":%b,"id":"%b","tick":%d,' % (_name(place), id_.encode(), tick)
    if kind == DEAD:
        return head + b'"deleted":true,"record":null}'
    return head + b'"deleted":false,"record":' + encoded + b"}"


@cache
def _name(place: int) -> bytes:
    return orjson.dumps(tables()[place].name)


@lru_cache(maxsize=1024)
def _part_of_records(dialect: Dialect, place: int) -> CompiledPart:
    """Return what reads rows of a table by their ids."""
    table = tables()[place]
    c: Any = table.sql.c
    query = select(*table.shared_record).where(
        table.of(bindparam("user")), c.id.in_(bindparam("ids", expanding=True))
    )
    kinds: list[Any] = [literal_column(str(kind)) for kind in (LIVE, DEAD)]
    kind = case((c.is_deleted, kinds[DEAD]), else_=kinds[LIVE])
    return CompiledPart(dialect, place, Part(query, kind, (DEAD, c.is_deleted)))
