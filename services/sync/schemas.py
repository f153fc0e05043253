"""Reading the parameters and the body of pull and push (docs/api.md, "Sync service")."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.sync.merge import Operation
from services.sync.selection import Migration
from shared.models.tables import synced_tables
from shared.web.errors import Fault, Faults, InvalidParameter, InvalidRequest, TooLarge, one_fault
from shared.web.schemas import camel

#: `{table: {"created": [records], "updated": [records], "deleted": [ids]}}`
Changes = dict[str, dict[Operation, list[Any]]]

LONGEST_PAGE = 10_000
#: As far ahead of every clock as any number beyond it.
LATEST = 2**62
OPERATIONS: tuple[Operation, ...] = ("created", "updated", "deleted")
SAFE_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
#: What a migration may name.
MIGRATED = {"tables", "columns"}
#: So many names that the server does not know are told of a table.
MOST_NAMES = 50
#: What JavaScript makes of "no value yet" in a query string.
NOTHING_YET = ("", "null", "undefined")


@dataclass(frozen=True)
class Parameters:
    """The parameters of a call, from the query and the body, in both spellings; the query wins."""

    query: Mapping[str, str]
    body: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """Return the value of `name`, given as `snake_case`; None when it is in neither place.

        Raises `InvalidParameter` for one that is spread over several (`migration[tables][0]=…`, as
        some HTTP libraries write objects and lists): it would be read as none at all.
        """
        for source in (self.query, self.body):
            for spelling in (name, camel(name)):
                if spelling in source:
                    return source[spelling]
                if any(key.startswith((f"{spelling}[", f"{spelling}.")) for key in source):
                    raise invalid(name, f"Send `{spelling}` as one parameter, an object as JSON.")
        return None

    def last_pulled_at(self) -> int:
        """Milliseconds, 0 when nothing was pulled yet. Raises `InvalidParameter`."""
        value = self.get("last_pulled_at")
        if value is None or value in NOTHING_YET:
            return 0
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,1000}", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return min(value, LATEST)
        raise invalid("last_pulled_at", "Not a non-negative integer.")

    def limit(self) -> int | None:
        """Rows per page, None for the whole answer. Raises `InvalidParameter`."""
        value = self.get("limit")
        if value in (None, ""):
            return None
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LONGEST_PAGE:
            return value
        raise invalid("limit", f"Must be an integer from 1 to {LONGEST_PAGE}.")

    def migration(self) -> Migration | None:
        """Return what WatermelonDB's migration syncs send, None for nothing.

        Names that the server does not know are left out. Raises `InvalidParameter`.
        """
        value = self.get("migration")
        try:
            if isinstance(value, str):
                value = None if value in NOTHING_YET else orjson.loads(value)
            return None if value is None else _migration(value)
        except (ValueError, TypeError, KeyError) as error:
            message = "Send a migration as WatermelonDB has it, as JSON: from, tables, columns."
            raise invalid("migration", message) from error

    def choice(self, name: str, choices: Collection[str], default: str) -> Any:
        """One of `choices`. Raises `InvalidParameter`."""
        value = self.get(name)
        if value is None:
            return default
        if value not in choices:
            raise invalid(name, f"Must be one of: {', '.join(choices)}.")
        return value

    def flag(self, name: str) -> bool:
        """Whether `name` is on. Raises `InvalidParameter`."""
        value = self.get(name)
        if value in ("1", "true", True):
            return True
        if value in (None, "", "0", "false", "null", "undefined", False):
            return False
        raise invalid(name, "Must be 1 or 0.")


def _migration(value: Any) -> Migration:
    """Read a migration. Raises `TypeError` or `KeyError` for anything else."""
    if not isinstance(value, dict) or (value.keys() - {"from"} and not value.keys() & MIGRATED):
        raise TypeError
    tables = _names(value.get("tables"))
    columns: dict[str, set[str]] = {}
    for entry in _list(value.get("columns")):
        (table,) = _names([entry["table"]])
        columns.setdefault(table, set()).update(_names(entry["columns"]))
    return Migration(
        tables=frozenset(t.name for t in synced_tables() if t.name in tables),
        columns={
            t.name: frozenset(t.names) & columns[t.name]
            for t in synced_tables()
            if t.name in columns
        },
    )


def _names(value: Any) -> set[str]:
    names = _list(value)
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    return set(names)


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError
    return value


def invalid(name: str, message: str) -> InvalidParameter:
    """The error that says what is wrong with parameter `name`."""
    return InvalidParameter(one_fault(name, message))


def load_changes(
    body: dict[str, Any], tables: Collection[str], most_records: int
) -> tuple[Changes, dict[str, Any]]:
    """Return the changes of a push body, and the body's parameters.

    The body is `{"changes": {…}, …parameters}` or the bare changes; an app may have a table `changes`,
    so the first counts only when all that stands in its `changes` could be tables. Only the shape is
    judged here: raises `InvalidRequest` with the faults by their paths. Raises `TooLarge` for more
    than `most_records` in all.
    """
    inner: Any = body.get("changes")
    is_wrapped = isinstance(inner, dict) and all(isinstance(c, dict) for c in inner.values())
    changes: dict[str, Any] = inner if is_wrapped else body
    parameters = body if is_wrapped else {}
    _count_records(changes, tables, most_records)
    faults = Faults()
    for table, change in changes.items():
        _check_table(table, change, table in tables, faults)
    if is_wrapped:
        for table in [name for name in tables if isinstance(parameters.get(name), dict)]:
            faults.add(table, "Must stand inside `changes`.")
    if faults:
        raise InvalidRequest(faults)
    return {table: change for table, change in changes.items() if table in tables}, parameters


def _count_records(changes: dict[str, Any], tables: Collection[str], most: int) -> None:
    records = sum(
        len(entries)
        for table in tables
        if isinstance(change := changes.get(table), dict)
        for entries in change.values()
        if isinstance(entries, list)
    )
    if records > most:
        raise TooLarge(f"A push may have {most} records, this one has {records}.")


def _check_table(table: str, change: Any, is_synced: bool, faults: Faults) -> None:
    if not isinstance(change, dict):
        faults.add(table, "Not an object.")
        return
    if not is_synced:
        # A table that only the device knows is no fault while there is nothing to lose in it.
        if any(change.values()):
            faults.add(table, Fault("This table is not synced.", "unknown_table"))
        return
    seen: set[str] = set()
    for operation, entries in change.items():
        path = f"{table}.{operation}"
        if operation not in OPERATIONS:
            faults.add(path, "Must be one of: created, updated, deleted.")
        elif not isinstance(entries, list):
            faults.add(path, "Not a list.")
        else:
            for index, entry in enumerate(entries):
                fault = _fault(entry, operation, seen)
                if fault:
                    faults.add(f"{path}.{index}", fault)


def _fault(entry: Any, operation: str, seen: set[str]) -> str | None:
    if operation == "deleted":
        id_ = entry
    elif isinstance(entry, dict):
        id_ = entry.get("id")
    else:
        return "Not an object."
    if not isinstance(id_, str) or not SAFE_ID.fullmatch(id_):
        return "The id must be 1 to 128 characters of A-Z, a-z, 0-9, '_', '.' and '-'."
    if id_ in seen:
        return Fault("Duplicate id: an id may occur only once per table.", "duplicate_id")
    seen.add(id_)
    return None
