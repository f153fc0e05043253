"""Changes and what is answered to them (docs/api.md, "Sync service")."""

import re
from collections.abc import Collection
from typing import Any

from marshmallow import EXCLUDE, Schema, fields, validate

from services.sync.merge import Operation
from shared.models.tables import DeclaredTable, SyncedTable, pulled_tables
from shared.web.errors import Fault, Faults, InvalidRequest, TooLarge
from shared.web.records import RECORD_ID_PATTERN, Id, by_table, columns, record
from shared.web.schemas import Answer

#: `{table: {"created": [records], "updated": [records], "deleted": [ids]}}`
Changes = dict[str, dict[Operation, list[Any]]]

#: As far ahead of every clock as any number beyond it.
LATEST = 2**62
OPERATIONS: tuple[Operation, ...] = ("created", "updated", "deleted")
SAFE_ID = re.compile(RECORD_ID_PATTERN)
#: So many names that the server does not know are told of a table.
MAX_NAMES = 50


def lists(record: type[Schema]) -> dict[str, fields.Field[Any]]:
    """Return the lists of a table's changes."""
    return {
        "created": fields.List(fields.Nested(record)),
        "updated": fields.List(fields.Nested(record)),
        "deleted": fields.List(Id()),
    }


def pulled(table: DeclaredTable) -> fields.Field[Any]:
    """Return the field of a table's changes in a pull."""
    return fields.Nested(Answer.from_dict(lists(record(table)), name=f"{table.name}.pulled"))


class PulledSchema(Answer):
    """The answer of a pull."""

    changes = fields.Nested(lambda: by_table(Answer, pulled, "PulledChanges", pulled_tables))
    timestamp = fields.Integer(validate=validate.Range(min=0))
    cursor = fields.String(metadata={"optional": True})
    experimental_strategy = fields.String(
        validate=validate.Equal("replacement"), metadata={"optional": True}
    )


class PushedRecord(Schema):
    """A record that a device sends; the columns of its table are added."""

    class Meta:
        """marshmallow's own options."""

        unknown = EXCLUDE
        description = "Values that a column cannot hold are repaired."

    id = Id(required=True)
    status = fields.Raw(data_key="_status")
    changed = fields.Raw(data_key="_changed")


def pushed(table: SyncedTable) -> fields.Field[Any]:
    """Return the field of a table's changes in a push."""
    sent = PushedRecord.from_dict(columns(table), name=f"{table.name}.pushed")
    return fields.Nested(Schema.from_dict(lists(sent), name=f"{table.name}.changes"))


class TablesSchema(Schema):
    """The tables that a device has: not all of ours, and perhaps others."""

    class Meta:
        """marshmallow's own options."""

        unknown = EXCLUDE


class PushedSchema(Answer):
    """The answer of a push."""

    timestamp = fields.Integer(validate=validate.Range(min=0))
    up_to_date = fields.Boolean()
    resolved = fields.Dict(values=fields.List(Id()))
    repaired = fields.Dict(values=fields.List(Id()))
    ignored = fields.Dict(
        values=fields.List(fields.String()),
        metadata={"description": "Unknown columns by table, at most 50 of each."},
    )
    refused = fields.Dict(values=fields.List(Id()))
    refused_reasons = fields.Dict(values=fields.Dict(values=fields.String()))


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
        beside = {name for name, value in body.items() if isinstance(value, dict)} - {"changes"}
        for table in [name for name in tables if name in beside]:
            faults.add(table, "Tables belong inside `changes`.")
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
        faults.add(table, "Must be an object.")
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
        return "Must be an object."
    if not isinstance(id_, str) or not SAFE_ID.fullmatch(id_):
        return "The id must be 1 to 128 characters of A-Z, a-z, 0-9, '_', '.' and '-'."
    if id_ in seen:
        return Fault("Duplicate id: an id may occur only once per table.", "duplicate_id")
    seen.add(id_)
    return None
