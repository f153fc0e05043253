"""Which rows a device is sent, and as what: the table of docs/api.md, "Pull"."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
)

from shared.auth.sessions import Caller
from shared.database.union import Part
from shared.models import Session
from shared.models.columns import Column
from shared.models.tables import DeclaredTable, SyncedTable


class Mode(StrEnum):
    """How much of the data a pull brings."""

    FIRST = "first"
    CHANGES = "changes"
    #: The device knows a future that a restore took back: everything, and what was deleted since.
    RESTORED = "restored"
    #: The ids deleted since are no longer known: everything, in the place of what the device has.
    REPLACEMENT = "replacement"


@dataclass(frozen=True)
class Migration:
    """Tables and columns that the device's schema has and had not at its last sync."""

    tables: frozenset[str]
    columns: Mapping[str, frozenset[str]]

    def of(self, table: str) -> "Migration | None":
        """Return what it has of `table`, None for nothing."""
        columns = {table: self.columns[table]} if table in self.columns else {}
        tables = self.tables & {table}
        return Migration(tables, columns) if tables or columns else None

    def __hash__(self) -> int:
        return hash((self.tables, frozenset(self.columns.items())))


@dataclass(frozen=True)
class PullRequest:
    """Who pulls, and since when. `last_pulled_at` in milliseconds, 0 for a first sync."""

    caller: Caller
    last_pulled_at: int
    created_as_updated: bool = False
    migration: Migration | None = None


@dataclass(frozen=True)
class Scope:
    """How much a pull brings; of tombstones those with a tick after `dead_after`, None for none."""

    mode: Mode
    dead_after: int | None = None


#: The buckets of an answer; a row's is its number here.
BUCKETS = ("created", "updated", "deleted")
CREATED, UPDATED, DELETED = range(3)

ALL, NONE = true(), false()
SINCE: Any = bindparam("since")
#: The clock when the caller's session began, 0 where that is not known.
BEGAN = func.coalesce(
    select(Session.began_at_tick).where(Session.id == bindparam("session")).scalar_subquery(),
    literal_column("0"),
)


class How(Enum):
    """How a space's rows come to a device whose user reads several spaces."""

    OWN = "the user's own space"
    KNOWN = "a shared one that the user was in at the last pull"
    JOINED = "one that the user was not in then"
    REJOINED = "one that the user was in then, and left, and is in again"
    LEFT = "one that the user was in then, and is in no more"
    AGAIN = "rows of a known space that did not change, and count as changed"
    RESENT = "rows that count as changed, and that the user may not read"


@dataclass(frozen=True)
class Kind:
    """What decides the SQL that selects the rows of a table; all else is a parameter of it."""

    mode: Mode
    has_tombstones: bool
    created_as_updated: bool
    #: What it has of the table.
    migration: Migration | None
    #: None where the user has one space alone.
    how: How | None = None


def kind_of(pull: PullRequest, scope_: Scope, table: DeclaredTable, how: How | None = None) -> Kind:
    """Return what decides the SQL for a table in a pull; `how`: of one space among several."""
    return Kind(
        scope_.mode,
        scope_.dead_after is not None,
        pull.created_as_updated,
        pull.migration.of(table.name) if pull.migration else None,
        how,
    )


def scope(since: int, present: int, purged_until: int, lost_after: int | None) -> Scope:
    """Decide how much a device needs that pulled last at `since`.

    `present` is the clock, `purged_until` the tick up to which tombstones were removed, `lost_after`
    the backup after which a restore lost `since` (None: it did not). All of them ticks.
    """
    if since == 0:
        return Scope(Mode.FIRST)
    if since < purged_until:
        return Scope(Mode.REPLACEMENT)
    if since > present:
        # Taken back by whom is not recorded, so neither is which deletions are news.
        return Scope(Mode.RESTORED)
    if lost_after is not None:
        return Scope(Mode.RESTORED, lost_after)
    return Scope(Mode.CHANGES, since)


def may_have_news(newest: int | None, since: int, kind: Kind) -> bool:
    """Return whether a table may have rows for a device; `newest` is the tick of its last change, if any."""
    if newest is None:
        return False
    return kind.mode is not Mode.CHANGES or kind.migration is not None or newest > since


def newest(table: SyncedTable) -> ColumnElement[int]:
    """Return the tick of the last change of a table in SQL: of all that is asked of it the cheapest."""
    tick = func.max(table.sql.c.updated_at_ms)
    return select(tick).where(table.of(bindparam("user"))).scalar_subquery()


def select_rows(table: SyncedTable, kind: Kind, *, by_pages: bool = False) -> Part:
    """Return the rows of `table` that a device is sent, each with its bucket.

    Parameters: `user`, `session`, `since`, `dead_after`; of pages also `timestamp`. Of several spaces also
    those below.
    """
    c: Any = table.sql.c
    changed = c.updated_at_ms > SINCE
    # What its own session made the device has already, and what was there at login it may have from
    # the session before; `created` would bring back what the user has deleted there meanwhile.
    fresh: ColumnElement[bool] = and_(
        c.created_at_ms > SINCE, c.created_at_ms > BEGAN, c.created_by != bindparam("session")
    )
    live = changed if kind.mode is Mode.CHANGES else ALL
    dead = changed if kind.mode is Mode.CHANGES else c.updated_at_ms > bindparam("dead_after")
    dead = dead if kind.has_tombstones else NONE
    if kind.how in (How.JOINED, How.REJOINED):
        # To this user a row came into being by joining.
        live = ALL
        fresh = and_(
            bindparam("joined", type_=BigInteger) > BEGAN, c.created_by != bindparam("session")
        )
        dead = dead if kind.how is How.REJOINED else NONE
    live, fresh, dead = as_asked(table, kind, live, fresh, dead)
    if by_pages:
        # What came into being after the first page is left to the next pull: sent now, it would come
        # a second time as `created`.
        live = and_(live, c.created_at_ms <= bindparam("timestamp"))
    if kind.how is not None:
        live, fresh, dead = _among_others(table, kind, live, fresh, dead)
    columns = table.sent_record if kind.how in (None, How.OWN) else table.shared_record
    query = select(*columns).where(table.of(bindparam("user")), wanted(c, live, dead))
    bare = None if dead is NONE else (DELETED, c.is_deleted)
    return Part(query, bucket(c, fresh, dead), bare)


def as_asked(
    table: DeclaredTable,
    kind: Kind,
    live: ColumnElement[bool],
    fresh: ColumnElement[bool],
    dead: ColumnElement[bool],
) -> tuple[ColumnElement[bool], ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions for rows that live, are new or are gone as the mode and the device want them."""
    if kind.mode is Mode.FIRST:
        fresh = ALL
    elif kind.mode is Mode.RESTORED:
        fresh = NONE
    if kind.migration and kind.mode is not Mode.FIRST:
        if table.name in kind.migration.tables:
            live, fresh, dead = ALL, ALL, NONE
        elif held := filled(table, kind.migration.columns.get(table.name, frozenset())):
            live = or_(live, *held)
    if kind.created_as_updated:
        fresh = NONE
    return live, fresh, dead


# Of several spaces. Parameters are lists of them: `active`, those that the user reads; `above`, of these
# those whose rows are sent rather than this one's; `others`, all but this one; `known`, others of which the
# device may have rows; `telling` and `left_above`, those before this one of which tombstones are sent, and
# those that the user left since the last pull.


def is_gone(c: Any, kind: Kind) -> ColumnElement[bool]:
    """Return whether a row is a tombstone that is news."""
    if not kind.has_tombstones:
        return NONE
    tick = SINCE if kind.mode is Mode.CHANGES else bindparam("dead_after")
    return and_(c.is_deleted, c.updated_at_ms > tick)


def has_row(
    table: SyncedTable,
    spaces: str,
    id_: ColumnElement[str],
    condition: Callable[[Any], ColumnElement[bool]],
) -> ColumnElement[bool]:
    """Return whether some spaces have a row of this id of which the condition is true."""
    other = table.sql.alias()
    among = other.c.user_id.in_(bindparam(spaces, expanding=True))
    return exists().where(among, other.c.id == id_, condition(other.c))


def _among_others(
    table: SyncedTable,
    kind: Kind,
    live: ColumnElement[bool],
    fresh: ColumnElement[bool],
    dead: ColumnElement[bool],
) -> tuple[ColumnElement[bool], ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions for rows of one space among several, so that no id is sent twice."""
    id_ = table.sql.c.id
    live = and_(live, ~has_row(table, "above", id_, lambda c: ~c.is_deleted))
    if fresh is not ALL and fresh is not NONE:
        held = has_row(
            table,
            "known",
            id_,
            lambda c: and_(c.created_at_ms <= SINCE, or_(~c.is_deleted, c.updated_at_ms > SINCE)),
        )
        fresh = and_(fresh, ~held)
    if dead is not NONE:
        told = has_row(table, "telling", id_, lambda c: is_gone(c, kind))
        dead = and_(dead, ~has_row(table, "others", id_, lambda c: ~c.is_deleted), ~told)
    return live, fresh, dead


def wanted(c: Any, live: ColumnElement[bool], dead: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition for the rows to send: living ones of which `live` is true, and dead ones."""
    if dead is NONE:
        return and_(~c.is_deleted, live)
    # One condition, where it is one, is one range of the index.
    return live if live is dead else or_(and_(~c.is_deleted, live), and_(c.is_deleted, dead))


def bucket(
    c: Any, fresh: ColumnElement[bool], dead: ColumnElement[bool]
) -> ColumnElement[int] | int:
    """Return the bucket of a row, as SQL where it depends on the row."""
    created, updated, deleted = (literal_column(str(n), Integer) for n in range(len(BUCKETS)))
    cases: list[Any] = [] if dead is NONE else [(c.is_deleted, deleted)]
    if fresh is ALL or fresh is NONE:
        if not cases:
            return CREATED if fresh is ALL else UPDATED
        return case(*cases, else_=created if fresh is ALL else updated)
    return case(*cases, (fresh, created), else_=updated)


def brought(table: DeclaredTable, migration: Migration) -> ColumnElement[bool]:
    """Return whether a live row is sent for a migration, whenever it changed."""
    if table.name in migration.tables:
        return ALL
    return or_(false(), *filled(table, migration.columns.get(table.name, frozenset())))


def filled(table: DeclaredTable, names: frozenset[str]) -> list[ColumnElement[bool]]:
    """Return conditions for the known columns of `names` to hold something: more than a new column does."""
    return [_is_filled(table, column) for column in table.columns if column.name in names]


def _is_filled(table: DeclaredTable, column: Column) -> ColumnElement[bool]:
    sql = table.column(column)
    if column.optional:
        return sql.is_not(None)
    if column.kind == "string":
        # To MySQL blanks are equal to nothing; to SQLite a text that begins with NUL has no length.
        return or_(sql != column.empty, func.length(sql) > 0)
    return sql != column.empty
