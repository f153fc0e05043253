"""Push: apply a device's changes at one tick of its user's clock, all of them or none."""

from itertools import islice
from typing import Any, Literal

from services.sync import clock, metering, rows
from services.sync.merge import Operation
from services.sync.plan import (
    Decisions,
    Push,
    PushResult,
    SyncConflict,
    conflicts_of,
    decide,
    entries_of,
    new_parents,
    result,
)
from services.sync.relations import Touched, settle
from services.sync.rules import Judge, SomethingRefused
from services.sync.schemas import Changes
from services.sync.sharing import leaves_own_space, push_to_spaces
from shared import outbox
from shared.auth.revocations import raise_clock, raise_clocks
from shared.database.bulk import CHUNK
from shared.database.transaction import transaction
from shared.models.rules import RULES, rules_of
from shared.models.tables import SyncedTable, parent_of, parents_first, tables_by_name


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
    given = (user_id, session_id, changes, last_pulled_at, conflicts == "reject")
    pushed = _push_to_own(*given) or push_to_spaces(*given)
    is_news = pushed.timestamp != pushed.since
    raise_clock(user_id, pushed.timestamp, (session_id, pushed.since) if is_news else None)
    raise_clocks(pushed.others, pushed.timestamp, session_id)
    metering.count(changes, pushed)
    return pushed


def _push_to_own(
    user_id: str, session_id: str, changes: Changes, last_pulled_at: int, reject: bool
) -> PushResult | None:
    """Push to the user's own space; return None when there is more to heed than that takes."""
    if leaves_own_space(user_id, changes) or _has_ruled_trees(changes):
        return None
    try:
        return _push(user_id, session_id, changes, last_pulled_at, reject)
    except SomethingRefused:
        return None


def _has_ruled_trees(changes: Changes) -> bool:
    """Return whether rules are to see rows of a tree, those above first."""
    return any(
        rules_of(name) and any(parent_of(c).name == name for c in tables_by_name()[name].cascading)
        for name in changes
    )


@transaction
def _push(
    user_id: str, session_id: str, changes: Changes, last_pulled_at: int, reject: bool
) -> PushResult | None:
    """Push to the user's own space; return None when the user is in others, or the account is gone."""
    taken = clock.take_tick(user_id, session_id)
    if taken is None:
        return None
    present, tick = taken
    push = Push(user_id, session_id, last_pulled_at, tick)
    made: dict[str, Decisions] = {}
    touched = Touched()
    judge = Judge(push) if RULES else None
    for table in parents_first():
        if table.name in changes:
            made[table.name] = _apply(push, table, changes[table.name], touched, judge)
    if reject and (conflicts := conflicts_of(made)):
        raise SyncConflict(conflicts=conflicts)
    strays = settle(user_id, push.tick, touched, rows.stamp(push, user_id))
    if touched.has_written:
        outbox.note_changes([user_id], tick)
    else:
        clock.give_back(user_id, present)
    return result(push, present, made, takes_tick=touched.has_written, has_strays=strays)


def _apply(
    push: Push,
    table: SyncedTable,
    change: dict[Operation, list[Any]],
    touched: Touched,
    judge: Judge | None,
) -> Decisions:
    """Decide and write what a push names in one table, some of it at a time.

    Raises `SomethingRefused`.
    """
    total = Decisions()
    entries = entries_of(change)
    while some := list(islice(entries, CHUNK)):
        ids = [id_ for _, id_, _ in some]
        before, living = rows.load_with_parents(push.user_id, table, ids, new_parents(table, some))
        made = decide(push, table, some, before)
        if judge:
            judge.ask_all(table, made, before)
        rows.write(push, push.user_id, table, made)
        if judge:
            judge.ledger.written(table)
        touched.note(table, made, living)
        total.add(made)
    return total
