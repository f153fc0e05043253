"""Schemas of what the declared tables hold, for the description of the API.

Nothing is read or written by them: for that, records are too many.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from marshmallow import Schema, fields, validate

from shared.models.tables import Column, DeclaredTable, synced_tables
from shared.web.schemas import Answer

#: Devices choose the ids of records.
RECORD_ID_PATTERN = r"[A-Za-z0-9_.-]{1,128}"
KINDS: dict[str, type[fields.Field[Any]]] = {
    "string": fields.String,
    "number": fields.Float,
    "boolean": fields.Boolean,
}


class Id(fields.String):
    """The id of a record."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.Regexp(f"^{RECORD_ID_PATTERN}$"), **kwargs)


@cache
def by_table(
    base: type[Schema],
    of: Callable[[Any], fields.Field[Any]],
    name: str,
    tables: Callable[[], Sequence[DeclaredTable]] = synced_tables,
) -> type[Schema]:
    """Return the schema `name` of an object with a member for each table."""
    members = {table.name: of(table) for table in tables()}
    for table, member in members.items():
        # Spelled as the app spells it.
        member.data_key = table
    return base.from_dict(members, name=name)


@cache
def record(table: DeclaredTable) -> type[Schema]:
    """Return the schema of a record that is sent."""
    return Answer.from_dict({"id": Id(), **columns(table)}, name=f"{table.name}.record")


def columns(table: DeclaredTable, *, with_orphans: bool = False) -> dict[str, fields.Field[Any]]:
    """Return the fields of a table's columns, by keys that are nobody else's; they have their own names.

    `with_orphans`: tombstones too, of which one may lack what it belongs to.
    """
    return {
        f"column_{column.name}": field(column, optional=with_orphans and column.is_enforced)
        for column in table.wire_columns
    }


def field(column: Column, *, optional: bool = False) -> fields.Field[Any]:
    """Return the field of a column, which may be null when it or `optional` says so."""
    kind = fields.Integer if column.whole else KINDS[column.kind]
    limit = [validate.Length(max=column.characters)] if column.characters else []
    note = {"description": f"Up to {column.bytes:,} bytes."} if column.bytes else {}
    return kind(
        data_key=column.name,
        allow_none=optional or column.optional,
        validate=limit,
        metadata=note,
    )
