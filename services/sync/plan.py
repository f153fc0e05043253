"""What a push makes of each record that it names: rows in, decisions out. Pure, no SQL.

The rules of one record are in `merge`; what follows from the rows that it names is in `relations`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from services.sync import merge
from services.sync.merge import Action, Known, Operation, Row
from services.sync.repair import repair_record
from services.sync.schemas import MAX_NAMES, SAFE_ID
from shared.models.columns import SPACE, Column
from shared.models.tables import SyncedTable
from shared.web.errors import Problem, readable

#: Parents that a column may name to be looked up with the rows of a push, and not once all is written.
MAX_PARENTS = 100
#: What a push names in one table: the operation, the id, and the record of one that is not deleted.
Entry = tuple[Operation, str, dict[str, Any] | None]
#: A row by the name of its table and its id.
Key = tuple[str, str]
#: Names by table: of ids, or of columns.
Names = dict[str, list[str]]
#: Why rows are refused, a word by id and table.
Refusals = dict[str, dict[str, str]]


class SyncConflict(Problem):
    """The push touches rows that changed after the device's last pull; nothing was applied."""

    status, code = 409, "conflict"
    detail = "Some records changed on the server. Pull, then push again."


@dataclass(frozen=True)
class Push:
    """Who pushes, from what state of knowledge, and at which tick."""

    #: Whose own space the records are in that name no other. Of a server: the space that its push is for.
    user_id: str
    session_id: str
    last_pulled_at: int
    tick: int
    #: Whether it is the app's own server, which pulls nothing.
    is_server: bool = False


@dataclass
class Decisions:
    """What becomes of some entries of one table."""

    #: Rows to bring into being, over their tombstones too.
    inserted: list[Row] = field(default_factory=list)
    #: Rows to write that are there.
    overwritten: list[Row] = field(default_factory=list)
    #: The same, by a repeat of the push that made them.
    amended: list[Row] = field(default_factory=list)
    #: Ids of rows that become tombstones and are else left as they are.
    buried: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    #: Names of columns that the table does not have; a dictionary, for its order.
    ignored: dict[str, None] = field(default_factory=dict)
    with_unknown_columns: int = 0
    #: Whether rows that lived before do so no longer.
    has_deaths: bool = False
    #: Whether a record ended otherwise than it was sent, for want of a parent.
    differs: bool = False
    #: Whether a row is written that names a parent which may not live.
    names_parents: bool = False

    def add(self, other: "Decisions") -> None:
        """Take over what is told of other entries of the table, but not their rows."""
        self.conflicts += other.conflicts
        self.repaired += other.repaired
        self.ignored |= dict(islice(other.ignored.items(), MAX_NAMES - len(self.ignored)))
        self.with_unknown_columns += other.with_unknown_columns
        self.differs = self.differs or other.differs


@dataclass(frozen=True)
class PushResult:
    """What became of a push: `timestamp` is its tick, or the clock when nothing had to change."""

    timestamp: int
    #: The clock before.
    since: int
    up_to_date: bool
    resolved: Names
    repaired: Names
    #: Columns that the records have and the tables have not.
    ignored: Names
    #: Why by id and table: what the user may not write.
    refused: Refusals
    with_unknown_columns: int
    #: The clocks before of other members, who are given the same tick.
    others: Mapping[str, int] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        """Return the answer of docs/api.md, "Push"."""
        return {
            "timestamp": self.timestamp,
            "upToDate": self.up_to_date,
            "resolved": self.resolved,
            "repaired": self.repaired,
            "ignored": self.ignored,
            "refused": {table: list(words) for table, words in self.refused.items()},
            "refusedReasons": self.refused,
        }


def conflicts_of(made: Mapping[str, Decisions]) -> Names:
    """Return the ids in conflict by table."""
    return {name: table.conflicts for name, table in made.items() if table.conflicts}


def result(
    push: Push,
    present: int,
    made: Mapping[str, Decisions],
    *,
    takes_tick: bool,
    has_strays: bool,
    refused: Refusals | None = None,
    others: Mapping[str, int] | None = None,
) -> PushResult:
    """Return what became of a push; `present` is the clock before it, of whose the records are.

    `takes_tick`: whether anybody has something to hear of. `has_strays`: whether rows were changed that it
    did not name. `others`: see `PushResult`.
    """
    refused = refused or {}
    return PushResult(
        timestamp=push.tick if takes_tick else present,
        since=present,
        up_to_date=(push.is_server or present == push.last_pulled_at)
        and not has_strays
        and not refused
        and not any(t.conflicts or t.repaired or t.differs for t in made.values()),
        resolved=conflicts_of(made),
        repaired={name: table.repaired for name, table in made.items() if table.repaired},
        ignored={name: list(table.ignored) for name, table in made.items() if table.ignored},
        refused=refused,
        with_unknown_columns=sum(table.with_unknown_columns for table in made.values()),
        others=others or {},
    )


def entries_of(change: Mapping[Operation, list[Any]]) -> Iterator[Entry]:
    """Yield what a push names in one table, deletions first: they make room for what rules count."""
    order: tuple[Operation, ...] = ("deleted", "created", "updated")
    for operation in order:
        for entry in change.get(operation, ()):
            is_record = operation != "deleted"
            yield operation, entry["id"] if is_record else entry, entry if is_record else None


def new_parents(table: SyncedTable, entries: Iterable[Entry]) -> dict[Column, list[str]]:
    """Return the parents that new records name, by column: all of them, or none where they are many."""
    records = [record for operation, _, record in entries if operation == "created" and record]
    found = {}
    for column in table.enforced:
        values = (record.get(column.name) for record in records)
        named = {id_ for id_ in values if isinstance(id_, str) and SAFE_ID.fullmatch(id_)}
        if 0 < len(named) <= MAX_PARENTS:
            found[column] = list(named)
    return found


def decide(
    push: Push, table: SyncedTable, entries: Iterable[Entry], before: Mapping[str, Row]
) -> Decisions:
    """Decide some entries of one table, given the rows of their ids, tombstones included."""
    made = Decisions()
    for operation, id_, record in entries:
        row = before.get(id_)
        if record is not None:
            _decide_record(push, table, operation, record, row, made)
            continue
        has = _known(push, row)
        if merge.is_conflict(has, operation):
            made.conflicts.append(id_)
        if merge.RULES[has, operation] is Action.BURY:
            made.buried.append(id_)
            made.has_deaths = True
    return made


def _decide_record(
    push: Push,
    table: SyncedTable,
    operation: Operation,
    record: dict[str, Any],
    row: Row | None,
    made: Decisions,
) -> None:
    """Decide one record that is to be written, given the row of its id."""
    _note_unknown_columns(table, record, made)
    has = _known(push, row)
    values, is_repaired = repair_record(record, table.columns)
    if table.is_shareable and SPACE.name in record:
        is_repaired = not _read_space(push, record[SPACE.name], values) or is_repaired
    if row is not None and has is Known.UNSEEN:
        action, values, is_conflict = _merge(push, operation, record.get("_changed"), row, values)
    else:
        action, is_conflict = merge.RULES[has, operation], merge.is_conflict(has, operation)
    if is_conflict:
        made.conflicts.append(record["id"])
    if action is Action.KEEP:
        return
    if is_repaired:
        made.repaired.append(record["id"])
    before = None if row is None or row.is_deleted else row.values
    new = Row(
        record["id"],
        {**(table.empty_values if row is None else row.values), **values},
        is_deleted=False,
    )
    new.is_deleted, is_altered = read_parents(table, new.values, before or {})
    made.differs = made.differs or new.is_deleted or is_altered
    # Rows that stay the same are not written, unless their new tick is what makes the device pull
    # them: because a value was changed, or to learn that the row that it has alive is deleted.
    stays = row is not None and (new.values, new.is_deleted) == (row.values, row.is_deleted)
    pulls_it = has in (Known.SEEN, Known.SEEN_TOMBSTONE) and not push.is_server
    if stays and not (pulls_it and (is_repaired or new.is_deleted or is_altered)):
        return
    _write(table, action, new, before, made)


def _merge(
    push: Push, operation: Operation, changed: object, row: Row, values: dict[str, Any]
) -> tuple[Action, dict[str, Any], bool]:
    """Return what becomes of a live row that the device has not seen: by which values, and whether that is
    a conflict.
    """
    if operation == "created" and merge.is_repeat(row, push.session_id, push.last_pulled_at):
        action = merge.repeat_action(row)
        values = merge.changed_values(changed, values)
        # Edits that are not written are a conflict; a repeat that has none is not.
        return action, values, action is Action.KEEP and not values.items() <= row.values.items()
    has_pulled = row.born <= push.last_pulled_at
    values = merge.merged_values(operation, changed, values, has_pulled=has_pulled)
    return merge.RULES[Known.UNSEEN, operation], values, True


def _write(
    table: SyncedTable, action: Action, new: Row, before: dict[str, Any] | None, made: Decisions
) -> None:
    """Add a row to what is written. `before`: the row while it lived."""
    made.has_deaths = made.has_deaths or (new.is_deleted and before is not None)
    if not new.is_deleted and _names_another_parent(table, new.values, before or {}):
        made.names_parents = True
    if action in (Action.INSERT, Action.REVIVE):
        made.inserted.append(new)
    else:
        (made.amended if action is Action.AMEND else made.overwritten).append(new)


def read_parents(
    table: SyncedTable, values: dict[str, Any], before: dict[str, Any]
) -> tuple[bool, bool]:
    """Put null in the place of what names no row; return whether the row can then not live, and
    whether a value was changed that the app would not read as null.

    `before` is the row while it lived. In a relation that is newer than the row it has null, also where
    one is required, and lives on until it names a parent.
    """
    is_orphan = is_altered = False
    for column in table.enforced:
        value = values[column.name]
        if value in (None, "") and before.get(column.name, "") is None:
            values[column.name] = None
            continue
        if value is None or SAFE_ID.fullmatch(value):
            is_orphan = is_orphan or (value is None and not column.optional)
            continue
        values[column.name] = None
        if value == "" and column.optional:
            continue
        is_altered = True
        is_orphan = is_orphan or _cascades(column)
    return is_orphan, is_altered


def _read_space(push: Push, given: Any, values: dict[str, Any]) -> bool:
    """Add the space that a record names, None for the personal one; return whether it can be one.

    What is no text says nothing: a row stays where it is.
    """
    if given is None or given in ("", push.user_id):
        values[SPACE.name] = None
    elif isinstance(given, str):
        values[SPACE.name] = given
    else:
        return False
    return True


def _cascades(column: Column) -> bool:
    return column.relation is not None and column.relation.on_delete == "cascade"


def _names_another_parent(
    table: SyncedTable, values: dict[str, Any], before: dict[str, Any]
) -> bool:
    """Return whether a row names a parent that it did not name while it lived: that one lived too."""
    return any(values[c.name] not in (None, before.get(c.name)) for c in table.enforced)


def _note_unknown_columns(table: SyncedTable, record: dict[str, Any], made: Decisions) -> None:
    unknown = record.keys() - table.known_names
    if not unknown:
        return
    made.with_unknown_columns += 1
    # In the record's order: of many names the first are kept, the same each time.
    for name in record if len(made.ignored) < MAX_NAMES else ():
        if name in unknown and len(made.ignored) < MAX_NAMES:
            made.ignored[readable(name)] = None


def _known(push: Push, row: Row | None) -> Known:
    if row is None:
        return Known.NOTHING
    return merge.known(row.tick, is_deleted=row.is_deleted, last_pulled_at=push.last_pulled_at)
