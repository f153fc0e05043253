"""The high-water mark of all ticks, for the loads of reference tables (docs/design.md, "Reference tables").

A load needs a tick above every clock that was ever given, and asks nobody for theirs: whoever gives a tick
above the mark that it knows of raises the mark first, by some more, before its own transaction commits. So a
busy process does it about once a second, and nothing where no reference table is declared.
"""

from dataclasses import dataclass

from flask import current_app
from sqlalchemy import Connection, bindparam, case, select, text, update

from shared.database.base import db
from shared.models import ReferenceClock
from shared.models.tables import reference_tables
from shared.now import now_ms

#: How far ahead of its own time a process raises the mark, or of a clock that is ahead of that: a load takes
#: the tick after the mark, and the users' clocks go on from there.
AHEAD_MS, SPARE_MS = 1000, 100

#: The tick of the last load comes back in the place of a row's new id. (Not IS NOT NULL, of which MySQL knows
#: without looking that it is true.)
RAISE = text(
    "UPDATE reference_clock SET mark = GREATEST(mark, :mark)"
    " WHERE id = 1 AND LAST_INSERT_ID(tick) >= 0"
)
#: The same on SQLite, where whoever writes is alone.
RAISE_ALONE = update(ReferenceClock).values(
    mark=case(
        (ReferenceClock.mark < bindparam("mark"), bindparam("mark")), else_=ReferenceClock.mark
    )
)
READ = select(ReferenceClock.tick)


@dataclass
class Known:
    """What a process knows: every load that it does not know of has a tick above `covered`."""

    covered: int = 0
    #: The tick of the last load that it knows of.
    loaded: int = 0


def known() -> Known:
    """Return what this process knows."""
    found: Known = current_app.extensions.setdefault("reference_clock", Known())
    return found


def cover(tick: int) -> None:
    """See to it that no later load takes a tick up to this, which is given to somebody right now.

    Within the caller's transaction, of which a load in its last step holds up the end: it then commits after
    that load.
    """
    if not reference_tables():
        return
    now = known()
    if tick <= now.covered:
        return
    mark = max(tick + SPARE_MS, now_ms() + AHEAD_MS)
    if db.engine.dialect.name == "sqlite":
        # A connection of its own would wait for this transaction. Rolled back, it is not raised: so nothing
        # is remembered.
        now.loaded = max(now.loaded, _raise_alone(db.session.connection(), mark))
        return
    now.loaded = max(now.loaded, raise_mark(mark))
    # Last, since other threads go by it.
    now.covered = max(now.covered, mark)


def raise_mark(mark: int) -> int:
    """Raise the mark on a server, by a statement of its own; return the tick of the last load."""
    with db.engines["look_ups"].connect() as connection:
        return int(connection.execute(RAISE, {"mark": mark}).lastrowid)


def has_load_after(last_pulled_at: int, clock: int | None) -> bool:
    """Return whether a load may have ended that a device has not pulled, whose push has got its tick.

    `clock`: of the caller, as its request began. A load that is neither in it nor known to this process has a
    tick above that of the push, so the device's next pull brings it.
    """
    return bool(reference_tables()) and max(clock or 0, known().loaded) > last_pulled_at


def note_loaded(tick: int) -> None:
    """Note a load of this process."""
    known().loaded = max(known().loaded, tick)


def _raise_alone(connection: Connection, mark: int) -> int:
    connection.execute(RAISE_ALONE, {"mark": mark})
    return connection.scalar(READ) or 0
