"""The synced tables and their columns, read off the models: the one whitelist of what travels."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

from sqlalchemy import BigInteger, Boolean, ColumnElement, String, Table, Text
from sqlalchemy import Column as SqlColumn

from shared.database.base import Base
from shared.models import Synced

Kind = Literal["string", "number", "boolean"]
Value = str | int | bool | None

EMPTY: dict[Kind, Value] = {"string": "", "number": 0, "boolean": False}

#: Bytes of a MySQL TEXT, and so of a text column here whatever the engine.
TEXT_BYTES = 65_535


@dataclass(frozen=True)
class Column:
    """A column as WatermelonDB's schema declares it, with the limits of ours."""

    name: str
    kind: Kind
    optional: bool
    #: Of a number: that fractions are cut off.
    whole: bool = False
    #: Limits of a string; None where there is no such limit.
    characters: int | None = None
    bytes: int | None = None

    @property
    def empty(self) -> Value:
        """What WatermelonDB's sanitizer puts in the place of no value."""
        return None if self.optional else EMPTY[self.kind]


@dataclass(frozen=True)
class SyncedTable:
    """One table, parents before children in `synced_tables()`."""

    sql: Table
    columns: tuple[Column, ...]
    #: The table whose rows own these, and the column that names the owner.
    parent: tuple[str, str] | None

    @property
    def name(self) -> str:
        """The table's name, here and on the wire."""
        return str(self.sql.name)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of `columns`."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def known_names(self) -> frozenset[str]:
        """Every name that a pushed record may have."""
        return frozenset((*self.names, "id", "_status", "_changed"))

    @cached_property
    def empty_row(self) -> dict[str, Value]:
        """The columns of a row that was sent without any."""
        return {column.name: column.empty for column in self.columns}

    @property
    def parent_column(self) -> str | None:
        """The column that names the owner."""
        return self.parent[1] if self.parent else None

    @cached_property
    def record(self) -> tuple[SqlColumn[Value], ...]:
        """What a record on the wire is made of: the id and the columns."""
        return (self.sql.c.id, *(self.sql.c[name] for name in self.names))

    def of(self, user_id: str | ColumnElement[str]) -> ColumnElement[bool]:
        """The condition that every statement on a synced table begins with."""
        return self.sql.c.user_id == user_id


@cache
def synced_tables() -> tuple[SyncedTable, ...]:
    """Every declared table, each after the table that owns its rows."""
    models = {model.__tablename__: model for model in Synced.__subclasses__()}
    return tuple(
        SyncedTable(
            sql=sql,
            columns=tuple(_column(c, models[sql.name].PARENT) for c in sql.c if _is_wire(c)),
            parent=models[sql.name].PARENT,
        )
        for sql in Base.metadata.sorted_tables
        if sql.name in models
    )


def _is_wire(column: SqlColumn[Value]) -> bool:
    return column.name not in Synced.__annotations__


def _column(column: SqlColumn[Value], parent: tuple[str, str] | None) -> Column:
    kind = column.type
    if parent and column.name == parent[1]:
        # NULL in the table, for an orphan's tombstone; on the wire it is a required string.
        return Column(column.name, "string", optional=False)
    optional = bool(column.nullable)
    if isinstance(kind, Text):
        return Column(column.name, "string", optional, bytes=TEXT_BYTES)
    if isinstance(kind, String):
        return Column(column.name, "string", optional, characters=kind.length)
    if isinstance(kind, Boolean):
        return Column(column.name, "boolean", optional)
    return Column(column.name, "number", optional, whole=isinstance(kind, BigInteger))
