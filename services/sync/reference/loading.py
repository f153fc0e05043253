"""Loads of reference tables: all of a file or nothing of it, under one number and at one tick.

docs/design.md, "Reference tables", says why no pull misses a row of a load.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO, Literal

from sqlalchemy import Connection, Select, bindparam, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from services.sync.reference.files import Format, Reader, Staged
from shared import outbox
from shared.auth.revocations import raise_loaded
from shared.database import errors
from shared.database.base import db
from shared.database.bulk import CHUNK
from shared.database.json_rows import read_rows, write_rows
from shared.database.transaction import ATTEMPTS
from shared.models import ReferenceClock, ReferenceLoad, User
from shared.models.tables import ReferenceTable, reference_tables
from shared.now import now_ms
from shared.observability import metrics
from shared.reference_clock import note_loaded, raise_mark
from shared.web.errors import NotFound

log = logging.getLogger(__name__)

Mode = Literal["merge", "replace"]
MODES: tuple[Mode, ...] = ("merge", "replace")

#: Whoever loads holds this row until the end, and so is alone.
TAKE_TURN = update(ReferenceLoad).where(ReferenceLoad.number == 0)
LAST = select(func.max(ReferenceLoad.number))
CLOCK = select(ReferenceClock.mark, ReferenceClock.tick).with_for_update()
SET_CLOCK = update(ReferenceClock).values(mark=bindparam("to"), tick=bindparam("to"))


#: A row where the server is a node of a Galera cluster.
IN_CLUSTER = text("SHOW VARIABLES WHERE Variable_name = 'wsrep_on' AND Value = 'ON'")
#: What the last step and the commit may take there, with so many rows for each further millisecond.
QUIET_MS, ROWS_PER_MS = 2000, 20


@dataclass
class Counts:
    """The rows that a load has changed. `timestamp`: its tick, or that of the last load if there is none."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    timestamp: int = 0

    def __bool__(self) -> bool:
        return bool(self.inserted or self.updated or self.deleted)


#: What is told of a load that goes on: a sentence.
Tell = Callable[[str], None]


def find_table(name: str) -> ReferenceTable:
    """Return a reference table by its name on the wire. Raises `NotFound`."""
    for table in reference_tables():
        if table.name == name:
            return table
    raise NotFound


def load(
    table: ReferenceTable,
    file: BinaryIO,
    format_: Format,
    mode: Mode,
    *,
    within_s: float | None = None,
    tell: Tell = lambda _said: None,
) -> Counts:
    """Bring the rows of a file into a table; with `replace` also delete what is not in the file.

    Raises `InvalidRequest` with the faults by line, before anything is written; `DeadlineExceeded` when it
    takes longer than `within_s`, with nothing written.
    """
    deadline = time.monotonic() + within_s if within_s else float("inf")
    with Staged() as staged:
        for count in Reader(table, file, format_, deadline).stage(staged):
            tell(f"Read {count:,} rows")
        counts = _write(table, staged, mode, deadline, tell)
    if counts:
        note_loaded(counts.timestamp)
        raise_loaded(counts.timestamp)
    log.info("loaded", extra={"table": table.name, "rows": staged.count} | vars(counts))
    return counts


def _write(
    table: ReferenceTable, staged: Staged, mode: Mode, deadline: float, tell: Tell
) -> Counts:
    """Write what differs, in one transaction, which is run again when the database gives it up."""
    failures = 0
    while True:
        attempt = _Attempt(table, staged, deadline, tell)
        try:
            return attempt.run(mode)
        except DBAPIError as error:
            word = errors.why_unavailable(error)
            is_gone = word in errors.SERVER_GONE and not attempt.is_committing
            if word not in errors.ROLLED_BACK and not is_gone:
                raise
            if attempt.has_turn or word != "locked":
                failures += 1
            else:
                tell("Waiting for another load to end")
            if failures == ATTEMPTS:
                raise
            metrics.RETRIES.labels(word).inc()
        if time.monotonic() > deadline:
            raise errors.DeadlineExceeded
        time.sleep(random.uniform(0, 0.5))  # noqa: S311


class _Attempt:
    """One transaction of a load."""

    def __init__(self, table: ReferenceTable, staged: Staged, deadline: float, tell: Tell) -> None:
        self.table, self.staged, self.tell = table, staged, tell
        self.options: dict[str, Any] = {"writes": True, "deadline": deadline}
        self.counts = Counts()
        self.has_turn = self.is_committing = False

    def run(self, mode: Mode) -> Counts:
        if db.engine.dialect.name != "sqlite":
            # Rows are compared with what is committed now: a snapshot would make the last step fail, on a
            # server that checks it, since the clock's row has changed meanwhile.
            self.options["isolation_level"] = "READ COMMITTED"
        with db.engine.connect().execution_options(**self.options) as connection:
            transaction = connection.begin()
            try:
                connection.execute(TAKE_TURN.values(loaded_at=now_ms()))
                self.has_turn = True
                number = (connection.scalar(LAST) or 0) + 1
                self._merge(connection, number)
                if mode == "replace":
                    self._delete_others(connection, number)
                if not self.counts:
                    # Nobody has anything to hear of.
                    self.counts.timestamp = connection.scalar(select(ReferenceClock.tick)) or 0
                    transaction.rollback()
                    return self.counts
                self._end(connection, number)
                self.is_committing = True
                transaction.commit()
            except BaseException:
                if not self.is_committing:
                    transaction.rollback()
                raise
            return self.counts

    def _merge(self, connection: Connection, number: int) -> None:
        """Write the rows that are new or differ from what is there."""
        table = self.table
        columns = ("id", *(column.attribute for column in table.columns), "is_deleted")
        stamp = {"created_load": number, "changed_load": number}
        done = 0
        for sent in self.staged.by_ids(CHUNK):
            there = {id_: (row, dead) for id_, *row, dead in _find(connection, table, list(sent))}
            new, changed = [], []
            for id_, values in sent.items():
                row, is_dead = there.get(id_, (None, True))
                before = (
                    table.empty_values if row is None else dict(zip(table.names, row, strict=True))
                )
                after = before | values
                if is_dead:
                    new.append((id_, *after.values(), False))
                elif after != before:
                    changed.append((id_, *after.values(), False))
            if new:
                write_rows(connection, table.sql, columns, new, stamp, ())
            if changed:
                write_rows(connection, table.sql, columns, changed, stamp, ("created_load",))
            self.counts.inserted += len(new)
            self.counts.updated += len(changed)
            done += len(sent)
            self.tell(f"Compared {done:,} of {self.staged.count:,} rows")

    def _delete_others(self, connection: Connection, number: int) -> None:
        """Make tombstones of the living rows that are not in the file."""
        sql = self.table.sql
        for ids in _living(connection, self.table):
            if gone := self.staged.lacking(ids):
                values = {"is_deleted": True, "changed_load": number}
                connection.execute(update(sql).where(sql.c.id.in_(gone)).values(values))
                self.counts.deleted += len(gone)
                self.tell(f"Deleted {self.counts.deleted:,} rows")

    def _end(self, connection: Connection, number: int) -> None:
        """Take the tick, above all that were ever given: nobody can give one until this is committed."""
        # Those of a release that had no reference table, and so did not raise the mark, are looked for once.
        is_first = not connection.scalar(select(ReferenceClock.tick))
        newest = connection.scalar(select(func.max(User.last_modified_at))) if is_first else 0
        self._keep_quiet(connection)
        mark, last = connection.execute(CLOCK).one()
        tick = max(now_ms(), mark + 1, last + 1, (newest or 0) + 1)
        counts = self.counts
        counts.timestamp = tick
        row = {
            "number": number,
            "table_name": self.table.sql.name,
            "tick": tick,
            "loaded_at": now_ms(),
        }
        changed = {
            "inserted": counts.inserted,
            "updated": counts.updated,
            "deleted": counts.deleted,
        }
        connection.execute(insert(ReferenceLoad).values(row | changed))
        connection.execute(SET_CLOCK, {"to": tick})
        outbox.note_load(connection, self.table.sql.name, tick)

    def _keep_quiet(self, connection: Connection) -> None:
        """Raise the mark so far that nobody needs to while this load commits, on a cluster.

        There no lock reaches from node to node, and whoever raised the mark meanwhile would undo the load.
        """
        if connection.dialect.name != "sqlite" and connection.execute(IN_CLUSTER).first():
            counts = self.counts
            rows = counts.inserted + counts.updated + counts.deleted
            raise_mark(now_ms() + QUIET_MS + rows // ROWS_PER_MS)


def _find(connection: Connection, table: ReferenceTable, ids: list[str]) -> Iterator[Any]:
    """Yield id, values and whether it is a tombstone of each row of these ids."""
    for _, *found in read_rows(connection, [_find_rows(table)], {"ids": ids}):
        yield found


@cache
def _find_rows(table: ReferenceTable) -> Select[Any]:
    columns: list[Any] = [*table.record, table.sql.c.is_deleted]
    return select(*columns).where(table.sql.c.id.in_(bindparam("ids", expanding=True)))


def _living(connection: Connection, table: ReferenceTable) -> Iterator[list[str]]:
    """Yield the ids of the living rows in their order, some at a time."""
    c = table.sql.c
    last = ""
    # Tombstones are passed over here, so that the database goes by no index but the ids'.
    query = select(c.id, c.is_deleted).order_by(c.id).limit(CHUNK)
    while found := connection.execute(query.where(c.id > last)).all():
        yield [id_ for id_, is_deleted in found if not is_deleted]
        last = found[-1].id
