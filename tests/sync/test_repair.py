"""Values that no column holds (docs/api.md, "Bad input", class "Value")."""

from typing import Any

import pytest

from services.sync.repair import repair_record, repair_value
from shared.models.columns import Column

NAME = Column("string", "name", optional=False, characters=5)
NOTE = Column("string", "note", optional=True, bytes=10)
DONE = Column("boolean", "done", optional=False)
MAYBE = Column("boolean", "maybe", optional=True)
COUNT = Column("number", "count", optional=False, whole=True)
SIZE = Column("number", "size", optional=True, whole=True)
RATIO = Column("number", "ratio", optional=False)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        (NAME, "a\0🍉é", "a\0🍉é"),
        (NAME, "🍉" * 6, "🍉" * 5),
        (NAME, None, ""),
        (NAME, 7, ""),
        (NAME, ["x"], ""),
        (NAME, "\ud83d", "\ufffd"),
        (NAME, "a\udf49b", "a\ufffdb"),
        (NAME, "\ud83d\udf49", "\U0001f749"),
        (NAME, "\ufeffx", "\ufeffx"),
        (NOTE, None, None),
        (NOTE, 7, None),
        (NOTE, "x" * 11, "x" * 10),
        (NOTE, "éééééé", "ééééé"),
        (NOTE, "🍉🍉🍉", "🍉🍉"),
        (NOTE, "x🍉🍉🍉", "x🍉🍉"),
        (DONE, True, True),
        (DONE, 1, True),
        (DONE, 0, False),
        (DONE, 1.0, True),
        (DONE, 2, False),
        (DONE, "true", False),
        (DONE, None, False),
        (MAYBE, None, None),
        (MAYBE, "yes", None),
        (COUNT, 0, 0),
        (COUNT, -(2**53), -(2**53)),
        (COUNT, 2**53, 2**53),
        (COUNT, 2**53 + 1, 0),
        (COUNT, 1.9, 1),
        (COUNT, -1.9, -1),
        (COUNT, 1e300, 0),
        (COUNT, float("inf"), 0),
        (COUNT, True, 0),
        (COUNT, "7", 0),
        (COUNT, None, 0),
        (SIZE, None, None),
        (SIZE, 1e300, None),
        (SIZE, {}, None),
        (RATIO, 1.5, 1.5),
        (RATIO, 1e300, 1e300),
        (RATIO, 2**60, 2**60),
        (RATIO, float("-inf"), 0),
        (RATIO, "1.5", 0),
    ],
)
def test_a_value_becomes_what_the_column_can_hold(
    column: Column, value: Any, expected: object
) -> None:
    repaired = repair_value(value, column)
    assert repaired == expected
    assert type(repaired) is type(expected)
    assert repair_value(repaired, column) == repaired


def test_a_record_keeps_the_columns_it_has_and_says_whether_one_changed() -> None:
    columns = (NAME, DONE, COUNT)
    assert repair_record({"name": "ok", "other": 1}, columns) == ({"name": "ok"}, False)
    assert repair_record({"done": 1}, columns) == ({"done": True}, False)
    assert repair_record({"name": "too long", "count": 1}, columns) == (
        {"name": "too l", "count": 1},
        True,
    )
