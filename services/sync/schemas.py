"""Reading the parameters and the body of pull and push (docs/api.md, "Sync service")."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.sync.merge import Operation
from services.sync.selection import Migration
from shared.problems import Fault, Faults, InvalidParameter, InvalidRequest, one_fault
from shared.schemas import ID_PATTERN, camel

#: `{table: {"created": [records], "updated": [records], "deleted": [ids]}}`
Changes = dict[str, dict[Operation, list[Any]]]

LONGEST_PAGE = 10_000
#: As far ahead of every clock as any number beyond it.
LATEST = 2**62
OPERATIONS: tuple[Operation, ...] = ("created", "updated", "deleted")
SAFE_ID = re.compile(ID_PATTERN)
#: What JavaScript makes of "no value yet" in a query string.
NOTHING_YET = ("", "null", "undefined")


@dataclass(frozen=True)
class Parameters:
    """The parameters of a call, from the query and the body, in both spellings; the query wins."""

    query: Mapping[str, str]
    body: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """The value of `name`, given as `snake_case`; None when it is in neither place."""
        for source in (self.query, self.body):
            for spelling in (name, camel(name)):
                if spelling in source:
                    return source[spelling]
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
        """What WatermelonDB's migration syncs send, None for nothing. Raises `InvalidParameter`."""
        value = self.get("migration")
        try:
            if isinstance(value, str):
                value = None if value in NOTHING_YET else orjson.loads(value)
            if value is None:
                return None
            return Migration(
                tables=frozenset(map(_name, value.get("tables") or [])),
                columns={
                    _name(entry["table"]): frozenset(map(_name, entry["columns"]))
                    for entry in value.get("columns") or []
                },
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise invalid("migration", "Not a migration as WatermelonDB sends it.") from error

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


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def invalid(name: str, message: str) -> InvalidParameter:
    """The error that says what is wrong with parameter `name`."""
    return InvalidParameter(one_fault(name, message))


def load_changes(body: dict[str, Any], tables: Collection[str]) -> tuple[Changes, dict[str, Any]]:
    """The changes of a push body, and the body's parameters.

    The body is `{"changes": {…}, …parameters}` or the bare changes. Only the shape is judged here:
    raises `InvalidRequest` with the faults by their paths.
    """
    changes, parameters = (body["changes"], body) if "changes" in body else (body, {})
    if not isinstance(changes, dict):
        raise InvalidRequest(one_fault("changes", "Not an object."))
    faults = Faults()
    for table, change in changes.items():
        _check_table(table, change, table in tables, faults)
    if faults:
        raise InvalidRequest(faults)
    return {table: change for table, change in changes.items() if table in tables}, parameters


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
        return "The id must be 1 to 36 characters of A-Z, a-z, 0-9, '_', '.' and '-'."
    if id_ in seen:
        return Fault("This id stands twice in the table's changes.", "duplicate_id")
    seen.add(id_)
    return None
