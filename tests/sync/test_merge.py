"""The merge rules, against the table of docs/api.md, "Push", as it stands there."""

import pytest

from services.sync.merge import RULES, Action, Known, is_conflict, known, written_values

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


@pytest.mark.parametrize(
    ("action", "changed", "expected"),
    [
        (Action.MERGE, "name", {"name"}),
        (Action.MERGE, "name,updated_at", {"name", "updated_at"}),
        (Action.MERGE, "unknown", set()),
        (Action.MERGE, "", {"name", "updated_at"}),
        (Action.MERGE, None, {"name", "updated_at"}),
        (Action.MERGE, 7, {"name", "updated_at"}),
        (Action.UPDATE, "name", {"name", "updated_at"}),
        (Action.REVIVE, "name", {"name", "updated_at"}),
    ],
)
def test_changed_columns_count_in_a_conflict_only(
    action: Action, changed: object, expected: set[str]
) -> None:
    assert written_values(action, changed, {"name": 1, "updated_at": 2}).keys() == expected
