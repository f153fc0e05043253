"""What a push does to one record: the table of docs/api.md, "Push", as code. Pure rules, no I/O."""

from enum import Enum
from typing import Any, Literal

Operation = Literal["created", "updated", "deleted"]


class Known(Enum):
    """What the server has; "seen" by the pushing device, that is, tick <= last_pulled_at."""

    NOTHING = "nothing"
    SEEN = "a live row, seen"
    UNSEEN = "a live row, not seen"
    SEEN_TOMBSTONE = "a tombstone, seen"
    UNSEEN_TOMBSTONE = "a tombstone, not seen"


class Action(Enum):
    """What happens to the row."""

    INSERT = "insert"
    UPDATE = "write the columns that the record has"
    MERGE = "write the columns that the device changed"
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
    """What the server has, for a row last changed at `tick` (None: there is no row)."""
    if tick is None:
        return Known.NOTHING
    seen = tick <= last_pulled_at
    if is_deleted:
        return Known.SEEN_TOMBSTONE if seen else Known.UNSEEN_TOMBSTONE
    return Known.SEEN if seen else Known.UNSEEN


def is_conflict(has: Known, operation: Operation) -> bool:
    """Whether the strict rule would refuse: the device changed what it had not seen."""
    if has is Known.UNSEEN_TOMBSTONE:
        # Deleting what is already deleted contradicts nobody.
        return operation != "deleted"
    return has is Known.UNSEEN


def written_values(action: Action, changed: object, values: dict[str, Any]) -> dict[str, Any]:
    """Which of the `values` of a record, by column, are written.

    `changed` is the record's `_changed`, where WatermelonDB names the columns that the device
    changed ("name,updated_at"): in a conflict they alone are written, so that the edits of two
    devices to different columns both stand.
    """
    if action is Action.MERGE and isinstance(changed, str) and changed:
        return {name: values[name] for name in changed.split(",") if name in values}
    return values
