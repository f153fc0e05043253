"""The merge rules, against the table of docs/api.md, "Push", as it stands there."""

import pytest

from services.sync.merge import (
    RULES,
    Action,
    Known,
    Operation,
    Row,
    is_conflict,
    is_repeat,
    known,
    merged_values,
    repeat_action,
)

TABLE = """
| nothing                              | insert            | insert            | nothing      |
| a live row, seen                     | update            | update            | tombstone    |
| a live row, not seen: conflict       | last write wins   | last write wins   | tombstone    |
| a tombstone, seen                    | becomes live again| becomes live again| nothing      |
| a tombstone, not seen                | stays deleted     | stays deleted     | nothing      |
"""
WORDS = {
    "insert": Action.INSERT,
    "update": Action.UPDATE,
    "last write wins": Action.MERGE,
    "tombstone": Action.BURY,
    "becomes live again": Action.REVIVE,
    "stays deleted": Action.KEEP,
    "nothing": Action.KEEP,
}


def test_the_rules_are_the_table_of_the_contract() -> None:
    rows = {}
    for line in TABLE.strip().splitlines():
        state, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        has = Known(state.removesuffix(": conflict"))
        for operation, cell in zip(("created", "updated", "deleted"), cells, strict=True):
            rows[has, operation] = WORDS[cell]
    assert rows == RULES


@pytest.mark.parametrize(
    ("tick", "is_deleted", "expected"),
    [
        (None, False, Known.NOTHING),
        (9, False, Known.SEEN),
        (10, False, Known.SEEN),
        (11, False, Known.UNSEEN),
        (10, True, Known.SEEN_TOMBSTONE),
        (11, True, Known.UNSEEN_TOMBSTONE),
    ],
)
def test_seen_is_up_to_and_including_last_pulled_at(
    tick: int | None, is_deleted: bool, expected: Known
) -> None:
    assert known(tick, is_deleted=is_deleted, last_pulled_at=10) is expected


def test_conflicts_are_changes_to_what_was_not_seen() -> None:
    conflicts = {(has, op) for has, op in RULES if is_conflict(has, op)}
    assert conflicts == {
        (Known.UNSEEN, "created"),
        (Known.UNSEEN, "updated"),
        (Known.UNSEEN, "deleted"),
        (Known.UNSEEN_TOMBSTONE, "created"),
        (Known.UNSEEN_TOMBSTONE, "updated"),
    }


ALL = {"name", "updated_at"}


@pytest.mark.parametrize(
    ("operation", "changed", "has_pulled", "expected"),
    [
        ("updated", "name", True, {"name"}),
        ("updated", "name,updated_at", True, ALL),
        ("updated", "nickname,rename", True, set()),
        ("updated", "", True, ALL),
        ("updated", None, True, ALL),
        ("updated", 7, True, ALL),
        ("created", "name", False, {"name"}),
        ("created", "", False, ALL),
        ("created", None, True, ALL),
        # Not edited since it was made, and the device has what the others did to it.
        ("created", "", True, set()),
    ],
)
def test_in_a_conflict_the_columns_that_the_device_changed_are_written(
    operation: Operation, changed: object, has_pulled: bool, expected: set[str]
) -> None:
    values = {"name": 1, "updated_at": 2}
    assert merged_values(operation, changed, values, has_pulled=has_pulled).keys() == expected


@pytest.mark.parametrize(
    ("session", "created", "last_pulled_at", "expected"),
    [("mine", 11, 10, True), ("mine", 10, 10, False), ("other", 11, 10, False)],
)
def test_a_repeat_meets_what_its_session_made_since_the_last_pull(
    session: str, created: int, last_pulled_at: int, expected: bool
) -> None:
    row = Row("r", {}, is_deleted=False, born=created, created_by=session)
    assert is_repeat(row, "mine", last_pulled_at) is expected


@pytest.mark.parametrize(
    ("updated", "repeated", "expected"),
    [(5, None, Action.AMEND), (7, 7, Action.AMEND), (9, None, Action.KEEP), (9, 7, Action.KEEP)],
)
def test_a_repeat_writes_while_nothing_but_repeats_has_touched_the_row(
    updated: int, repeated: int | None, expected: Action
) -> None:
    row = Row("r", {}, is_deleted=False, born=5, tick=updated, repeated=repeated)
    assert repeat_action(row) is expected
