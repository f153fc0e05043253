"""A bad value becomes what WatermelonDB's own sanitizer would make of it (API.md, "Bad input").

Pure rules, no I/O. Refusing instead would stop a device from ever pushing again.
"""

from collections.abc import Mapping
from math import isfinite, trunc
from typing import Any, Protocol

#: JavaScript holds whole numbers exactly up to here.
LARGEST = 2**53

REPLACEMENT = "\ufffd"


class Column(Protocol):
    """What the rules need to know of a column; `shared.tables.Column` is one."""

    name: str
    kind: str
    whole: bool
    characters: int | None
    bytes: int | None

    @property
    def empty(self) -> Any:
        """The value of a column that has none."""


def repair_record(
    record: Mapping[str, Any], columns: tuple[Any, ...]
) -> tuple[dict[str, Any], bool]:
    """The values of the `columns` that the record has, each storable; and whether one had to change."""
    values = {}
    repaired = False
    for column in columns:
        if column.name in record:
            value = record[column.name]
            values[column.name] = good = repair_value(value, column)
            repaired = repaired or good != value
    return values, repaired


def repair_value(value: Any, column: Column) -> Any:
    """`value` when the column can hold it, else the nearest that it can."""
    if value is None:
        return column.empty
    if column.kind == "string":
        return _string(value, column)
    if column.kind == "boolean":
        return _boolean(value, column)
    return _number(value, column)


def _string(value: Any, column: Column) -> Any:
    if not isinstance(value, str):
        return column.empty
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        # Half a surrogate pair is no character, and no database stores it.
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        size = len(value.encode())
    if column.characters is not None and len(value) > column.characters:
        value = value[: column.characters]
    if column.bytes is not None and size > column.bytes:
        value = value.encode()[: column.bytes].decode(errors="ignore")
    return value


def _boolean(value: Any, column: Column) -> Any:
    # SQLite on the device turns true and false into 1 and 0.
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    return column.empty


def _number(value: Any, column: Column) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return column.empty
    if not column.whole:
        return value
    whole = trunc(value)
    return whole if -LARGEST <= whole <= LARGEST else column.empty
