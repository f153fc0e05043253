"""A bad value becomes what WatermelonDB's own sanitizer would make of it (docs/api.md, "Bad input").

Pure rules, no I/O. Refusing instead would stop a device from ever pushing again.
"""

from collections.abc import Mapping
from math import isfinite, trunc
from typing import Any, Protocol

#: JavaScript holds whole numbers exactly up to here.
MAX_WHOLE = 2**53


class Column(Protocol):
    """The properties of a column that the rules need; `shared.models.tables.Column` is one."""

    name: str
    kind: str
    whole: bool
    characters: int | None
    bytes: int | None

    @property
    def empty(self) -> Any:
        """Return the default value of the column."""


def repair_record(
    record: Mapping[str, Any], columns: tuple[Any, ...]
) -> tuple[dict[str, Any], bool]:
    """Return the values of the `columns` that the record has, storable, and whether one had to change."""
    values = {
        column.name: repair_value(record[column.name], column)
        for column in columns
        if column.name in record
    }
    return values, not values.items() <= record.items()


def repair_value(value: Any, column: Column) -> Any:
    """Return `value` when the column can hold it, else the nearest that it can."""
    return column.empty if value is None else REPAIRS[column.kind](value, column)


def _string(value: Any, column: Column) -> Any:
    if not isinstance(value, str):
        return column.empty
    try:
        size = len(value) if value.isascii() else len(value.encode())
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
    return bool(value) if type(value) in (bool, int, float) and value in (0, 1) else column.empty


def _number(value: Any, column: Column) -> Any:
    if type(value) is float and isfinite(value):
        value = trunc(value) if column.whole else value
    elif type(value) is not int:
        return column.empty
    return value if not column.whole or -MAX_WHOLE <= value <= MAX_WHOLE else column.empty


REPAIRS = {"string": _string, "boolean": _boolean, "number": _number}
