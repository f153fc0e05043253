"""Push: apply a device's changes at one tick of its user's clock, all of them or none."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from services.sync import clock, merge, rows
from services.sync.merge import Action, Known, Operation
from services.sync.repair import repair_record
from services.sync.rows import Row
from services.sync.schemas import MOST_NAMES, OPERATIONS, SAFE_ID, Changes
from shared.database.bulk import CHUNK
from shared.database.transaction import transaction
from shared.models.tables import SyncedTable, Value, synced_tables
from shared.observability import metrics
from shared.web.errors import Problem, readable

#: Names by table: of ids, or of columns.
Names = dict[str, list[str]]


class SyncConflict(Problem):
    """The push touches rows that changed after the device's last pull; nothing was applied."""

    status, code = 409, "conflict"
    detail = "Some records changed on the server. Pull, then push again."


@dataclass(frozen=True)
class Pushed:
    """What became of a push: `timestamp` is its tick, or the clock when nothing had to change."""

    timestamp: int
    up_to_date: bool
    resolved: Names
    repaired: Names
    #: Columns that the records have and the tables have not.
    ignored: Names
    with_unknown_columns: int

    def to_wire(self) -> dict[str, Any]:
        """The answer of docs/api.md, "Push"."""
        return {
            "timestamp": self.timestamp,
            "upToDate": self.up_to_date,
            "resolved": self.resolved,
            "repaired": self.repaired,
            "ignored": self.ignored,
            # Nothing is refused as long as a user pushes rows of their own alone.
            "refused": {},
            "refusedReasons": {},
        }


@dataclass(frozen=True)
class Push:
    """Who pushes, from what state of knowledge, and at which tick."""

    user_id: str
    session_id: str
    last_pulled_at: int
    tick: int


@dataclass(slots=True)
class Draft:
    """One named record: the row as it will be, and whether it has to be written."""

    row: Row
    action: Action
    write: bool
    #: Whether the device has seen the row at its present tick, and so will not pull it unasked.
    seen: bool
    #: Whether the row lived before.
    lived: bool


@dataclass
class Applied:
    """What a push has done to one table."""

    table: SyncedTable
    #: Whether a row lives now, for at most `CHUNK` of those looked at: an ordinary push need not ask.
    lives: dict[str, bool] = field(default_factory=dict)
    has_written: bool = False
    #: Whether rows that lived before the push no longer do.
    has_buried: bool = False
    conflicts: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    #: Names of columns that the table has not; a set that keeps its order.
    ignored: dict[str, None] = field(default_factory=dict)
    with_unknown_columns: int = 0
    #: Whether rows changed that the push does not name, or named ones ended otherwise.
    differs: bool = False

    def remember(self, id_: str, lives: bool) -> None:
        """Note whether a row lives now."""
        if len(self.lives) < CHUNK or id_ in self.lives:
            self.lives[id_] = lives


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
    pushed = _push(user_id, session_id, changes, last_pulled_at, conflicts == "reject")
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
def _push(
    user_id: str, session_id: str, changes: Changes, last_pulled_at: int, reject: bool
) -> Pushed:
    present = clock.lock(user_id)
    push = Push(user_id, session_id, last_pulled_at, clock.next_tick(present))
    done: dict[str, Applied] = {}
    for table in synced_tables():
        applied = done[table.name] = Applied(table)
        owners = done[table.parent[0]] if table.parent else None
        entries = _entries(changes.get(table.name, {}))
        while some := list(islice(entries, CHUNK)):
            _apply(push, applied, owners, some)
        if owners and owners.has_buried:
            _bury_orphans(push, applied, owners)
    resolved = {name: table.conflicts for name, table in done.items() if table.conflicts}
    if reject and resolved:
        raise SyncConflict(conflicts=resolved)

    has_written = any(table.has_written for table in done.values())
    if has_written:
        clock.move(user_id, push.tick)
    return Pushed(
        timestamp=push.tick if has_written else present,
        up_to_date=present == last_pulled_at
        and not any(t.conflicts or t.repaired or t.differs for t in done.values()),
        resolved=resolved,
        repaired={name: table.repaired for name, table in done.items() if table.repaired},
        ignored={name: list(table.ignored) for name, table in done.items() if table.ignored},
        with_unknown_columns=sum(table.with_unknown_columns for table in done.values()),
    )


def _entries(change: dict[Operation, list[Any]]) -> Iterator[tuple[Operation, str, Any]]:
    """Yield what a push names in one table: the operation, the id, and the record, if there is one."""
    for operation in OPERATIONS:
        for entry in change.get(operation, ()):
            if operation == "deleted":
                yield operation, entry, None
            else:
                yield operation, entry["id"], entry


def _apply(
    push: Push,
    applied: Applied,
    owners: Applied | None,
    entries: list[tuple[Operation, str, Any]],
) -> None:
    """Decide and write some entries of one table, whose owners are written already."""
    table = applied.table
    before = rows.load(push.user_id, table, [id_ for _, id_, _ in entries])
    for id_, row in before.items():
        applied.remember(id_, not row["is_deleted"])
    drafts: list[Draft] = []
    buried: list[str] = []
    for operation, id_, record in entries:
        found = before.get(id_)
        if record is not None:
            drafts += _draft(push, applied, operation, record, found)
            continue
        has = _known(push, found)
        if merge.is_conflict(has, operation):
            applied.conflicts.append(id_)
        if merge.RULES[has, operation] is Action.BURY:
            buried.append(id_)
            applied.remember(id_, False)
    if owners:
        _follow_owners(push, applied, owners, drafts, before)
    for draft in drafts:
        applied.remember(draft.row["id"], not draft.row["is_deleted"])
    _write(push, applied, drafts)
    rows.bury(push.user_id, table, buried, push.tick)
    applied.has_buried = applied.has_buried or bool(buried)
    applied.has_written = applied.has_written or bool(buried)


def _draft(
    push: Push, applied: Applied, operation: Operation, record: dict[str, Any], row: Row | None
) -> Iterator[Draft]:
    """Decide one record by itself; yield nothing when its row stays as it is."""
    table, id_ = applied.table, record["id"]
    _note_unknown_columns(applied, record)
    has = _known(push, row)
    action = merge.RULES[has, operation]
    values, repaired = repair_record(record, table.columns)
    changed = record.get("_changed")
    is_conflict = merge.is_conflict(has, operation)
    if row is not None and has is Known.UNSEEN:
        if operation == "created" and merge.is_repeat(row, push.session_id, push.last_pulled_at):
            action = merge.repeat_action(row)
            values = merge.changed_values(changed, values)
            # Edits that are not written are a conflict; a repeat that has none is not.
            is_conflict = action is Action.KEEP and not values.items() <= row.items()
        else:
            has_pulled = row["created_at_ms"] <= push.last_pulled_at
            values = merge.merged_values(operation, changed, values, has_pulled=has_pulled)
    if is_conflict:
        applied.conflicts.append(id_)
    if action is Action.KEEP:
        return
    if repaired:
        applied.repaired.append(id_)
    before = table.empty_row if row is None else row
    after = before | values | {"id": id_, "is_deleted": False}
    seen = has in (Known.SEEN, Known.SEEN_TOMBSTONE)
    # A repaired record is written even when the row stays the same: the new tick is what makes the
    # device pull it and see what the server made of it.
    write = row is None or after != row or (repaired and seen)
    yield Draft(after, action, write, seen, lived=row is not None and not row["is_deleted"])


def _note_unknown_columns(applied: Applied, record: dict[str, Any]) -> None:
    unknown = record.keys() - applied.table.known_names
    if unknown:
        applied.with_unknown_columns += 1
        # In the record's order: of many names the first are kept, the same each time.
        for name in record if len(applied.ignored) < MOST_NAMES else ():
            if name in unknown and len(applied.ignored) < MOST_NAMES:
                applied.ignored[readable(name)] = None


def _follow_owners(
    push: Push, applied: Applied, owners: Applied, drafts: list[Draft], before: dict[str, Row]
) -> None:
    """Let drafted rows of a child table live only where their owners do, as the push leaves them."""
    column = applied.table.parent_column
    assert column is not None  # noqa: S101
    for draft in drafts:
        draft.row[column] = _as_id(draft.row[column])
    named = {draft.row[column] for draft in drafts} - {None}
    lives = {owner: owners.lives[owner] for owner in named & owners.lives.keys()}
    if not owners.has_buried:
        # A live row's owner lives, and need not be looked for.
        living = {row[column] for row in before.values() if not row["is_deleted"]}
        lives |= dict.fromkeys(named & living - lives.keys(), True)
    found = rows.find_lives(push.user_id, owners.table, sorted(named - lives.keys()))
    for owner, is_alive in found.items():
        owners.remember(owner, is_alive)
    lives |= found
    _bury_strangers(push, owners, sorted(named - lives.keys()))
    for draft in drafts:
        if not lives.get(draft.row[column]):
            draft.row["is_deleted"] = True
            # Also when the row was deleted before: the device has it alive, and must be told.
            draft.write = draft.write or draft.lived or draft.seen
            applied.has_buried = applied.has_buried or draft.lived
            applied.differs = True


def _bury_strangers(push: Push, owners: Applied, ids: list[str]) -> None:
    """Give owners that the server never had a tombstone, so that devices hear that they are not."""
    table = owners.table
    nothing: Row = table.empty_row | {"is_deleted": True}
    if table.parent_column:
        nothing[table.parent_column] = None
    rows.insert(table, [nothing | {"id": id_} for id_ in ids], _stamp(push))
    for id_ in ids:
        owners.remember(id_, False)
    owners.has_written = owners.has_written or bool(ids)
    owners.differs = owners.differs or bool(ids)


def _bury_orphans(push: Push, applied: Applied, owners: Applied) -> None:
    """Delete the rows whose owners this push has deleted, once all that it names is written."""
    for ids in rows.find_orphans(push.user_id, applied.table, owners.table, push.tick):
        rows.bury(push.user_id, applied.table, ids, push.tick)
        for id_ in ids:
            applied.remember(id_, False)
        applied.has_written = applied.has_buried = applied.differs = True


def _write(push: Push, applied: Applied, drafts: list[Draft]) -> None:
    table, stamp = applied.table, _stamp(push)
    written = [draft for draft in drafts if draft.write]
    new = (Action.INSERT, Action.REVIVE)
    rows.insert(table, [d.row for d in written if d.action in new], stamp)
    amended = [d.row for d in written if d.action is Action.AMEND]
    rows.overwrite(table, amended, stamp | {"repeated_at_ms": push.tick})
    others = [d.row for d in written if d.action not in (*new, Action.AMEND)]
    rows.overwrite(table, others, stamp)
    applied.has_written = applied.has_written or bool(written)


def _stamp(push: Push) -> Row:
    """Return the server's columns of what this push brings into being."""
    return {
        "user_id": push.user_id,
        "created_at_ms": push.tick,
        "updated_at_ms": push.tick,
        "created_by": push.session_id,
    }


def _known(push: Push, row: Row | None) -> Known:
    if row is None:
        return Known.NOTHING
    return merge.known(
        row["updated_at_ms"], is_deleted=row["is_deleted"], last_pulled_at=push.last_pulled_at
    )


def _as_id(value: Value) -> str | None:
    return value if isinstance(value, str) and SAFE_ID.fullmatch(value) else None
