"""Push: apply a device's changes at one tick of its user's clock, all of them or none."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, bindparam, select, update

from services.sync import clock, merge
from services.sync.merge import Action, Known, Operation
from services.sync.repair import repair_record
from services.sync.schemas import SAFE_ID, Changes
from shared import metrics
from shared.db import chunks, db, transaction
from shared.json_rows import read_rows, write_rows
from shared.problems import Problem
from shared.tables import SyncedTable, Value, synced_tables

#: The operations that carry records.
NAMING: tuple[Operation, ...] = ("created", "updated")

Row = dict[str, Any]
Ids = dict[str, list[str]]


class SyncConflict(Problem):
    """The push touches rows that changed after the device's last pull; nothing was applied."""

    status, code = 409, "conflict"
    detail = "Some records changed on the server. Pull, then push again."


@dataclass(frozen=True)
class Pushed:
    """What became of a push: `timestamp` is its tick, or the clock when nothing had to change."""

    timestamp: int
    up_to_date: bool
    resolved: Ids
    repaired: Ids
    with_unknown_columns: int

    def to_wire(self) -> dict[str, Any]:
        """The answer of docs/api.md, "Push"."""
        return {
            "timestamp": self.timestamp,
            "upToDate": self.up_to_date,
            "resolved": self.resolved,
            "repaired": self.repaired,
        }


@dataclass
class Draft:
    """One named record: the row as it will be, and whether it has to be written."""

    row: Row
    write: bool
    #: Whether the row is brought into being by this push.
    is_new: bool = False
    #: Whether the device has seen the row at its present tick, and so will not pull it unasked.
    seen: bool = True


@dataclass
class Plan:
    """What a push does to one table."""

    table: SyncedTable
    #: Named records that end with a row, by id.
    drafts: dict[str, Draft] = field(default_factory=dict)
    #: Rows that only become tombstones.
    buried: set[str] = field(default_factory=set)
    #: Tombstones for owners that the server never had.
    strangers: set[str] = field(default_factory=set)
    #: Whether a row lives once the push is applied, for every row looked at.
    lives: dict[str, bool] = field(default_factory=dict)
    #: Owners that live before the push, as a row of theirs does.
    living_owners: set[Value] = field(default_factory=set)
    #: Rows that lived before the push and no longer do.
    died: set[str] = field(default_factory=set)
    conflicts: list[str] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    #: Records that name columns which the table has not.
    with_unknown_columns: int = 0
    #: Whether rows change that the push does not name, and whether named ones end otherwise.
    unnamed: bool = False
    altered: bool = False


@dataclass(frozen=True)
class Push:
    """Who pushes, and from what state of knowledge."""

    user_id: str
    session_id: str
    last_pulled_at: int


def push_changes(
    user_id: str,
    session_id: str,
    changes: Changes,
    last_pulled_at: int,
    conflicts: Literal["merge", "reject"],
) -> Pushed:
    """Apply `changes`, whose shape has been checked, and report what became of them.

    `last_pulled_at` is in milliseconds, 0 when the device has seen nothing. Values that cannot be
    stored are repaired. Raises `SyncConflict` when `conflicts` is `reject` and there are any.
    """
    pushed = _push(Push(user_id, session_id, last_pulled_at), changes, conflicts == "reject")
    _count(changes, pushed)
    return pushed


def _count(changes: Changes, pushed: Pushed) -> None:
    """Tell the metrics, once the push is committed."""
    for change in changes.values():
        for operation, entries in change.items():
            metrics.RECORDS.labels("pushed", operation).inc(len(entries))
    metrics.CONFLICTS.inc(sum(len(ids) for ids in pushed.resolved.values()))
    metrics.REPAIRS.inc(sum(len(ids) for ids in pushed.repaired.values()))
    metrics.UNKNOWN_COLUMNS.inc(pushed.with_unknown_columns)


@transaction
def _push(push: Push, changes: Changes, reject: bool) -> Pushed:
    present = clock.lock(push.user_id)
    plans: dict[str, Plan] = {}
    for table in synced_tables():
        plan = plans[table.name] = Plan(table)
        if table.name in changes:
            _draft(push, plan, changes[table.name])
        if table.parent:
            _follow_owners(push, plan, plans[table.parent[0]])
    found = {name: plan.conflicts for name, plan in plans.items() if plan.conflicts}
    if reject and found:
        raise SyncConflict(conflicts=found)

    tick = clock.next_tick(present)
    written = [_write(push, plan, tick) for plan in plans.values()]
    if any(written):
        clock.move(push.user_id, tick)
    stored_as_sent = not any(p.resolved or p.repaired or p.altered for p in plans.values())
    return Pushed(
        timestamp=tick if any(written) else present,
        up_to_date=(
            present == push.last_pulled_at
            and stored_as_sent
            and not any(p.unnamed for p in plans.values())
        ),
        resolved={name: plan.resolved for name, plan in plans.items() if plan.resolved},
        repaired={name: plan.repaired for name, plan in plans.items() if plan.repaired},
        with_unknown_columns=sum(plan.with_unknown_columns for plan in plans.values()),
    )


def _draft(push: Push, plan: Plan, change: dict[Operation, list[Any]]) -> None:
    """Decide each named record by itself."""
    table = plan.table
    records: dict[str, tuple[Operation, dict[str, Any]]] = {}
    for operation in NAMING:
        records |= {record["id"]: (operation, record) for record in change.get(operation, [])}
    deleted = change.get("deleted", [])
    rows = _load(push, table, [*records, *deleted])
    plan.lives = {id_: not row["is_deleted"] for id_, row in rows.items()}
    if table.parent_column:
        plan.living_owners = {
            row[table.parent_column] for row in rows.values() if not row["is_deleted"]
        }
    for id_ in deleted:
        has = _known(push, rows.get(id_))
        if merge.is_conflict(has, "deleted"):
            plan.conflicts.append(id_)
            plan.resolved.append(id_)
        if merge.RULES[has, "deleted"] is Action.BURY:
            plan.buried.add(id_)
    for id_, (operation, record) in records.items():
        _draft_record(push, plan, operation, record, rows.get(id_))
    for id_ in plan.buried:
        plan.lives[id_] = False
    plan.died |= plan.buried


def _draft_record(
    push: Push, plan: Plan, operation: Operation, record: dict[str, Any], row: Row | None
) -> None:
    table, id_ = plan.table, record["id"]
    plan.with_unknown_columns += not record.keys() <= table.known_names
    has = _known(push, row)
    action = merge.RULES[has, operation]
    if (
        has is Known.UNSEEN
        and operation == "created"
        and row is not None
        and row["created_by"] == push.session_id
    ):
        # The same session made this row: a late repeat of a push that was applied already.
        action = Action.KEEP
    elif merge.is_conflict(has, operation):
        plan.conflicts.append(id_)
        plan.resolved.append(id_)
    if action is Action.KEEP:
        if row is not None and not row["is_deleted"]:
            plan.drafts[id_] = Draft(row, write=False, seen=False)
        return

    values, repaired = repair_record(record, table.columns)
    if repaired:
        plan.repaired.append(id_)
    before = table.empty_row if row is None else row
    kept = merge.written_values(action, record.get("_changed"), values)
    after = before | kept | {"is_deleted": False}
    seen = has in (Known.SEEN, Known.SEEN_TOMBSTONE)
    plan.drafts[id_] = Draft(
        after,
        # A repaired record is written even when the row stays the same: the new tick is what
        # makes the device pull it and see what the server made of it.
        write=row is None or after != before or (repaired and seen),
        is_new=action in (Action.INSERT, Action.REVIVE),
        seen=seen,
    )
    plan.lives[id_] = True


def _follow_owners(push: Push, plan: Plan, owners: Plan) -> None:
    """Let the rows of a child table follow their owners, as they are once the push is applied."""
    table, column = plan.table, plan.table.parent_column
    assert column is not None  # noqa: S101
    named = {owner for d in plan.drafts.values() if (owner := _as_id(d.row[column]))}
    unknown = named - owners.lives.keys()
    owners.lives |= dict.fromkeys(unknown & plan.living_owners, True)
    owners.lives |= _find_lives(push, owners.table, sorted(unknown - plan.living_owners))
    for id_, draft in plan.drafts.items():
        draft.row[column] = owner = _as_id(draft.row[column])
        if owner and owner not in owners.lives:
            owners.strangers.add(owner)
            owners.unnamed = True
        if not owner or not owners.lives.get(owner):
            was_alive = not draft.is_new
            draft.row["is_deleted"] = True
            # Also when the row was deleted before: the device has it alive, and must be told.
            draft.write = draft.write or was_alive or draft.seen
            plan.lives[id_] = False
            plan.altered = True
            if was_alive:
                plan.died.add(id_)
    for ids in chunks(sorted(owners.died)):
        orphans = db.session.scalars(
            select(table.sql.c.id).where(
                table.of(push.user_id), table.sql.c[column].in_(ids), ~table.sql.c.is_deleted
            )
        )
        # What the push names was decided above, by the owner that it has now.
        left = set(orphans) - plan.drafts.keys() - plan.buried
        plan.buried |= left
        plan.died |= left
        plan.lives |= dict.fromkeys(left, False)
        plan.unnamed = plan.unnamed or bool(left)


def _write(push: Push, plan: Plan, tick: int) -> bool:
    """Write a plan at `tick`; return whether there was anything to write."""
    table = plan.table
    stranger = table.empty_row | {"is_deleted": True}
    if table.parent_column:
        stranger[table.parent_column] = None
    fresh = [stranger | {"id": id_} for id_ in sorted(plan.strangers)]
    known: list[Row] = []
    for id_, draft in plan.drafts.items():
        if draft.write:
            (fresh if draft.is_new else known).append(draft.row | {"id": id_})
    same = {
        "user_id": push.user_id,
        "created_at_ms": tick,
        "updated_at_ms": tick,
        "created_by": push.session_id,
    }
    columns = ("id", *table.names, "is_deleted")
    for rows, kept in ((fresh, ()), (known, ("created_at_ms", "created_by"))):
        if rows:
            write_rows(db.session.connection(), table.sql, columns, rows, same, kept)
    for ids in chunks(sorted(plan.buried)):
        db.session.execute(
            update(table.sql)
            .where(table.of(push.user_id), table.sql.c.id.in_(ids))
            .values(is_deleted=True, updated_at_ms=tick)
        )
    return bool(fresh or known or plan.buried)


def _load(push: Push, table: SyncedTable, ids: list[str]) -> dict[str, Row]:
    """The rows of these ids, tombstones included. The held clock keeps them as they are."""
    return {str(row["id"]): row for row in _read(push, _find_rows(table), ids)}


def _find_lives(push: Push, table: SyncedTable, ids: list[str]) -> dict[str, bool]:
    """Of those of these ids that there are: whether the row lives."""
    found = _read(push, _find_state(table), ids)
    return {str(row["id"]): not row["is_deleted"] for row in found}


def _read(push: Push, query: Select[Any], ids: list[str]) -> Iterator[Row]:
    for piece in chunks(ids):
        values = {"user_id": push.user_id, "ids": piece}
        yield from read_rows(db.session.connection(), query, values)


# Built once, since every push runs them.
@cache
def _find_rows(table: SyncedTable) -> Select[Any]:
    c = table.sql.c
    return _by_ids(table, *table.record, c.updated_at_ms, c.is_deleted, c.created_by)


@cache
def _find_state(table: SyncedTable) -> Select[Any]:
    return _by_ids(table, table.sql.c.id, table.sql.c.is_deleted)


def _by_ids(table: SyncedTable, *columns: ColumnElement[Any]) -> Select[Any]:
    wanted = table.sql.c.id.in_(bindparam("ids", expanding=True))
    return select(*columns).where(table.of(bindparam("user_id")), wanted)


def _known(push: Push, row: Row | None) -> Known:
    if row is None:
        return Known.NOTHING
    return merge.known(
        row["updated_at_ms"], is_deleted=row["is_deleted"], last_pulled_at=push.last_pulled_at
    )


def _as_id(value: Value) -> str | None:
    return value if isinstance(value, str) and SAFE_ID.fullmatch(value) else None
