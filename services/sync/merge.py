"""Merge rules for one record of a push: the table of docs/api.md, "Push", as code. Pure rules, no I/O."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

Operation = Literal["created", "updated", "deleted"]


@dataclass(slots=True)
class Row:
    """A row of a synced table, as the server has it or as a push will leave it."""

    id: str
    #: By the column's name on the wire.
    values: dict[str, Any]
    is_deleted: bool
    #: The tick at which it came into being, the one at which it last changed, and the one at which a
    #: repeat of the push that made it last wrote edits (None: never).
    born: int = 0
    tick: int = 0
    repeated: int | None = None
    #: The session that pushed it into being.
    created_by: str = ""
    #: The space that it is in; "" for a row that is to be written and is nowhere yet.
    space: str = ""


class Known(Enum):
    """The server's state of a record; "seen" by the pushing device, that is, tick <= last_pulled_at."""

    NOTHING = "nothing"
    SEEN = "a live row, seen"
    UNSEEN = "a live row, not seen"
    SEEN_TOMBSTONE = "a tombstone, seen"
    UNSEEN_TOMBSTONE = "a tombstone, not seen"


class Action(Enum):
    """The action on the row."""

    INSERT = "insert"
    UPDATE = "write the columns that the record has"
    MERGE = "write the columns that the device changed"
    AMEND = "write the columns that the device changed since it made the row"
    REVIVE = "make it live again"
    BURY = "make it a tombstone"
    KEEP = "leave it as it is"


RULES: dict[tuple[Known, Operation], Action] = {
    (Known.NOTHING, "created"): Action.INSERT,
    (Known.NOTHING, "updated"): Action.INSERT,
    (Known.NOTHING, "deleted"): Action.KEEP,
    (Known.SEEN, "created"): Action.UPDATE,
    (Known.SEEN, "updated"): Action.UPDATE,
    (Known.SEEN, "deleted"): Action.BURY,
    (Known.UNSEEN, "created"): Action.MERGE,
    (Known.UNSEEN, "updated"): Action.MERGE,
    (Known.UNSEEN, "deleted"): Action.BURY,
    (Known.SEEN_TOMBSTONE, "created"): Action.REVIVE,
    (Known.SEEN_TOMBSTONE, "updated"): Action.REVIVE,
    (Known.SEEN_TOMBSTONE, "deleted"): Action.KEEP,
    (Known.UNSEEN_TOMBSTONE, "created"): Action.KEEP,
    (Known.UNSEEN_TOMBSTONE, "updated"): Action.KEEP,
    (Known.UNSEEN_TOMBSTONE, "deleted"): Action.KEEP,
}


def known(tick: int | None, *, is_deleted: bool, last_pulled_at: int) -> Known:
    """Return what the server has, for a row last changed at `tick` (None: there is no row)."""
    if tick is None:
        return Known.NOTHING
    seen = tick <= last_pulled_at
    if is_deleted:
        return Known.SEEN_TOMBSTONE if seen else Known.UNSEEN_TOMBSTONE
    return Known.SEEN if seen else Known.UNSEEN


def is_conflict(has: Known, operation: Operation) -> bool:
    """Return whether the strict rule would refuse: the device changed what it had not seen."""
    if has is Known.UNSEEN_TOMBSTONE:
        # Deleting what is already deleted contradicts nobody.
        return operation != "deleted"
    return has is Known.UNSEEN


def is_repeat(row: Row, session_id: str, last_pulled_at: int) -> bool:
    """Return whether a `created` record that meets the live, unseen `row` repeats a push already applied.

    So it is when the session made the row after its last pull. A row that was there at the last pull
    has reached the device since: that record is an edit like any other.
    """
    return row.created_by == session_id and row.born > last_pulled_at


def repeat_action(row: Row) -> Action:
    """Return what a repeat does to `row`: it may add edits while nothing else has touched the row.

    What earlier repeats wrote does not count, since their answers may have been lost as well. An edit
    that came as `updated` does: the device has had its answer, and this repeat is a late one.
    """
    untouched = row.tick in (row.born, row.repeated)
    return Action.AMEND if untouched else Action.KEEP


def changed_values(changed: object, values: dict[str, Any]) -> dict[str, Any]:
    """Return those of the `values` of a record whose columns its `_changed` names ("name,updated_at").

    A record without `_changed` says nothing about its columns: all of them may have changed.
    """
    if not isinstance(changed, str):
        return values
    # Looked for, not split: the text is the client's, and as long as it likes.
    listed = f",{changed},"
    return {name: value for name, value in values.items() if f",{name}," in listed}


def merged_values(
    operation: Operation, changed: object, values: dict[str, Any], *, has_pulled: bool
) -> dict[str, Any]:
    """Return those of the `values` of a record in conflict that are written, by column.

    Only those that it names as changed, so that the edits of two devices to different columns both
    stand; all of them when it names none. But a `created` record that names none was not edited
    since it was made: when the device `has_pulled` the row meanwhile, it has nothing to add.
    """
    if changed == "" and not (operation == "created" and has_pulled):
        return values
    return changed_values(changed, values)
