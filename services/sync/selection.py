"""Which rows a device is sent, and as what: the table of docs/api.md, "Pull"."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, or_, true

from shared.auth.sessions import Caller
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
    columns: dict[str, frozenset[str]]


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


@dataclass(frozen=True)
class Selection:
    """Conditions on the rows of one table."""

    #: Rows to send, of those that live.
    live: ColumnElement[bool]
    #: Which of them are `created`; the rest are `updated`.
    fresh: ColumnElement[bool]
    #: Rows to send, of those that are deleted.
    dead: ColumnElement[bool]

    def buckets(self, table: SyncedTable) -> dict[str, ColumnElement[bool]]:
        """The condition of each bucket; one that can have no rows is left out."""
        lives, is_deleted = ~table.sql.c.is_deleted, table.sql.c.is_deleted
        found = {}
        if self.fresh is not NONE:
            found["created"] = and_(lives, self.live, self.fresh)
        if self.fresh is not ALL:
            found["updated"] = and_(lives, self.live, ~self.fresh)
        if self.dead is not NONE:
            found["deleted"] = and_(is_deleted, self.dead)
        return found


ALL, NONE = true(), false()


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


def select_rows(pull: PullRequest, table: SyncedTable, scope: Scope, began_at: int) -> Selection:
    """Return what of `table` the device is sent, whose session began at the tick `began_at`."""
    c: Any = table.sql.c
    mode, since = scope.mode, pull.last_pulled_at
    # What its own session made the device has already, and what was there at login it may have from
    # the session before; `created` would bring back what the user has deleted there meanwhile.
    fresh: ColumnElement[bool] = and_(
        c.created_at_ms > max(since, began_at),
        c.created_by != pull.caller.session_id,
    )
    live = ALL if mode is not Mode.CHANGES else c.updated_at_ms > since
    dead = NONE if scope.dead_after is None else c.updated_at_ms > scope.dead_after
    if mode is Mode.FIRST:
        fresh = ALL
    elif mode is Mode.RESTORED:
        fresh = NONE
    if pull.migration and mode is not Mode.FIRST:
        if table.name in pull.migration.tables:
            live, fresh, dead = ALL, ALL, NONE
        elif filled := _filled(table, pull.migration.columns.get(table.name, frozenset())):
            live = or_(live, *filled)
    if pull.created_as_updated:
        fresh = NONE
    return Selection(live, fresh, dead)


def _filled(table: SyncedTable, names: frozenset[str]) -> list[ColumnElement[bool]]:
    """Conditions for the known columns of `names` to hold something: more than a new column does."""
    return [_is_filled(table, column) for column in table.columns if column.name in names]


def _is_filled(table: SyncedTable, column: Column) -> ColumnElement[bool]:
    sql = table.column(column)
    if column.optional:
        return sql.is_not(None)
    if column.kind == "string":
        # To MySQL blanks are equal to nothing; to SQLite a text that begins with NUL has no length.
        return or_(sql != column.empty, func.length(sql) > 0)
    return sql != column.empty
