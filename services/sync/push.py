"""Push: apply a device's changes at one tick of its user's clock, all of them or none."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from sqlalchemy import RowMapping, Select, bindparam, select, update

from services.sync import clock, merge
from services.sync.merge import Action, Known, Operation
from services.sync.repair import repair_record
from services.sync.schemas import SAFE_ID, Changes
from shared import metrics
from shared.db import chunks, db, transaction, upsert
from shared.problems import Problem
from shared.tables import SyncedTable, Value, synced_tables

#: The operations that carry records.
NAMING: tuple[Operation, ...] = ("created", "updated")

Row = dict[str, Value]
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
        """The answer of API.md, "Push"."""
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
    clock.remember(user_id, pushed.timestamp)
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
    push: Push, plan: Plan, operation: Operation, record: dict[str, Any], row: RowMapping | None
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
            plan.drafts[id_] = Draft(dict(row), write=False, seen=False)
        return

    values, repaired = repair_record(record, table.columns)
    if repaired:
        plan.repaired.append(id_)
    if row is None:
        before: Row = {column.name: column.empty for column in table.columns}
    else:
        before = dict(row)
    kept = merge.written_columns(action, record.get("_changed"), set(values))
    after = before | {name: values[name] for name in kept} | {"is_deleted": False}
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
    unknown = sorted(named - owners.lives.keys())
    owners.lives |= {
        id_: not row["is_deleted"] for id_, row in _load(push, owners.table, unknown).items()
    }
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
    fresh = {
        "user_id": push.user_id,
        "created_at_ms": tick,
        "updated_at_ms": tick,
        "created_by": push.session_id,
    }
    stranger = {column.name: column.empty for column in table.columns} | {"is_deleted": True}
    if table.parent_column:
        stranger[table.parent_column] = None
    rows = [stranger | fresh | {"id": id_} for id_ in sorted(plan.strangers)]
    for id_, draft in plan.drafts.items():
        if draft.write:
            origin = fresh if draft.is_new else {"user_id": push.user_id, "updated_at_ms": tick}
            rows.append(draft.row | origin | {"id": id_})
    for piece in chunks(rows):
        columns = [*table.names, "created_at_ms", "updated_at_ms", "is_deleted", "created_by"]
        db.session.execute(upsert(table.sql, columns), [dict(row) for row in piece])
    for ids in chunks(sorted(plan.buried)):
        db.session.execute(
            update(table.sql)
            .where(table.of(push.user_id), table.sql.c.id.in_(ids))
            .values(is_deleted=True, updated_at_ms=tick)
        )
    return bool(rows or plan.buried)


def _load(push: Push, table: SyncedTable, ids: list[str]) -> dict[str, RowMapping]:
    """The rows of these ids, tombstones included. The held clock keeps them as they are."""
    query = _find_rows(table)
    return {
        row["id"]: row
        for piece in chunks(ids)
        for row in db.session.execute(query, {"user_id": push.user_id, "ids": piece}).mappings()
    }


@cache
def _find_rows(table: SyncedTable) -> Select[*tuple[Any, ...]]:
    # Built once, since every push runs it.
    c = table.sql.c
    return select(
        *table.record, c.created_at_ms, c.updated_at_ms, c.is_deleted, c.created_by
    ).where(c.user_id == bindparam("user_id"), c.id.in_(bindparam("ids", expanding=True)))


def _known(push: Push, row: RowMapping | None) -> Known:
    if row is None:
        return Known.NOTHING
    return merge.known(
        row["updated_at_ms"], is_deleted=row["is_deleted"], last_pulled_at=push.last_pulled_at
    )


def _as_id(value: Value) -> str | None:
    return value if isinstance(value, str) and SAFE_ID.fullmatch(value) else None
