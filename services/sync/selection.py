"""Which rows a device is sent, and as what: the table of docs/api.md, "Pull"."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
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
from shared.models.tables import SyncedTable


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


@dataclass(frozen=True)
class Kind:
    """What decides the statement of a pull; all else is a parameter of it."""

    mode: Mode
    has_tombstones: bool
    created_as_updated: bool
    migration: Migration | None


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


def select_rows(table: SyncedTable, kind: Kind, *, by_pages: bool = False) -> Part:
    """Return the rows of `table` that a device is sent, each with its bucket.

    Parameters: `user`, `session`, `since`, `dead_after`; of pages also `timestamp` and `limit`, and the
    rows come in the order of their ids.
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
    if kind.mode is Mode.FIRST:
        fresh = ALL
    elif kind.mode is Mode.RESTORED:
        fresh = NONE
    if kind.migration and kind.mode is not Mode.FIRST:
        if table.name in kind.migration.tables:
            live, fresh, dead = ALL, ALL, NONE
        elif filled := _filled(table, kind.migration.columns.get(table.name, frozenset())):
            live = or_(live, *filled)
    if kind.created_as_updated:
        fresh = NONE
    if by_pages:
        # What came into being after the first page is left to the next pull: sent now, it would come
        # a second time as `created`.
        live = and_(live, c.created_at_ms <= bindparam("timestamp"))
    query = select(*table.record).where(table.of(bindparam("user")), _wanted(c, live, dead))
    if by_pages:
        query = query.order_by(c.id).limit(bindparam("limit"))
    return Part(query, _bucket(c, fresh, dead), bare=DELETED)


def _wanted(c: Any, live: ColumnElement[bool], dead: ColumnElement[bool]) -> ColumnElement[bool]:
    if dead is NONE:
        return and_(~c.is_deleted, live)
    # One condition, where it is one, is one range of the index.
    return live if live is dead else or_(and_(~c.is_deleted, live), and_(c.is_deleted, dead))


def _bucket(
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


def _filled(table: SyncedTable, names: frozenset[str]) -> list[ColumnElement[bool]]:
    """Return conditions for the known columns of `names` to hold something: more than a new column does."""
    return [_is_filled(table, column) for column in table.columns if column.name in names]


def _is_filled(table: SyncedTable, column: Column) -> ColumnElement[bool]:
    sql = table.column(column)
    if column.optional:
        return sql.is_not(None)
    if column.kind == "string":
        # To MySQL blanks are equal to nothing; to SQLite a text that begins with NUL has no length.
        return or_(sql != column.empty, func.length(sql) > 0)
    return sql != column.empty
