"""Push: apply a device's changes at one tick of its user's clock, all of them or none."""

from itertools import islice
from typing import Any, Literal

from services.sync import clock, rows
from services.sync.merge import Operation
from services.sync.plan import Decisions, Push, PushResult, decide, entries_of
from services.sync.relations import Touched, settle
from services.sync.rows import Stamp
from services.sync.schemas import Changes
from shared.auth.revocations import raise_clock
from shared.database.bulk import CHUNK
from shared.database.transaction import transaction
from shared.models.tables import SyncedTable, synced_tables
from shared.observability import metrics
from shared.web.errors import Problem


class SyncConflict(Problem):
    """The push touches rows that changed after the device's last pull; nothing was applied."""

    status, code = 409, "conflict"
    detail = "Some records changed on the server. Pull, then push again."


def push_changes(
    user_id: str,
    session_id: str,
    changes: Changes,
    last_pulled_at: int,
    conflicts: Literal["merge", "reject"],
) -> PushResult:
    """Apply `changes`, whose shape has been checked, and report what became of them.

    `last_pulled_at` is in milliseconds, 0 when the device has seen nothing. Values that cannot be
    stored are repaired. Raises `SyncConflict` when `conflicts` is `reject` and there are any.
    """
    pushed = _push(user_id, session_id, changes, last_pulled_at, conflicts == "reject")
    raise_clock(user_id, pushed.timestamp)
    _count(changes, pushed)
    return pushed


def _count(changes: Changes, pushed: PushResult) -> None:
    """Tell the metrics, once the push is committed."""
    for change in changes.values():
        for operation, entries in change.items():
            metrics.RECORDS.labels("pushed", operation).inc(len(entries))
    metrics.CONFLICTS.inc(sum(len(ids) for ids in pushed.resolved.values()))
    metrics.REPAIRS.inc(sum(len(ids) for ids in pushed.repaired.values()))
    metrics.UNKNOWN_COLUMNS.inc(pushed.with_unknown_columns)


@transaction
def _push(
    user_id: str, session_id: str, changes: Changes, last_pulled_at: int, reject: bool
) -> PushResult:
    present, tick = clock.take_tick(user_id)
    push = Push(user_id, session_id, last_pulled_at, tick)
    stamp = {
        "user_id": user_id,
        "created_at_ms": push.tick,
        "updated_at_ms": push.tick,
        "created_by": session_id,
    }
    made: dict[str, Decisions] = {}
    touched = Touched()
    for table in synced_tables():
        if table.name in changes:
            made[table.name] = _apply(push, table, changes[table.name], stamp, touched)
    resolved = {name: table.conflicts for name, table in made.items() if table.conflicts}
    if reject and resolved:
        raise SyncConflict(conflicts=resolved)
    strays = settle(user_id, push.tick, touched, stamp)
    if not touched.has_written:
        clock.set_to(user_id, present)
    return PushResult(
        timestamp=push.tick if touched.has_written else present,
        up_to_date=present == last_pulled_at
        and not strays
        and not any(t.conflicts or t.repaired or t.differs for t in made.values()),
        resolved=resolved,
        repaired={name: table.repaired for name, table in made.items() if table.repaired},
        ignored={name: list(table.ignored) for name, table in made.items() if table.ignored},
        with_unknown_columns=sum(table.with_unknown_columns for table in made.values()),
    )


def _apply(
    push: Push,
    table: SyncedTable,
    change: dict[Operation, list[Any]],
    stamp: Stamp,
    touched: Touched,
) -> Decisions:
    """Decide and write what a push names in one table, some of it at a time."""
    total = Decisions()
    entries = entries_of(change)
    while some := list(islice(entries, CHUNK)):
        before = rows.load(push.user_id, table, [id_ for _, id_, _ in some])
        made = decide(push, table, some, before)
        rows.insert(table, made.inserted, stamp)
        rows.overwrite(table, made.overwritten, stamp)
        rows.overwrite(table, made.amended, stamp | {"repeated_at_ms": push.tick})
        rows.bury(push.user_id, table, made.buried, push.tick)
        touched.note(table, made)
        total.add(made)
    return total
