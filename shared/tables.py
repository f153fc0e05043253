"""The synced tables and their columns, read off the models: the one whitelist of what travels."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Double,
    LargeBinary,
    String,
    Table,
    Text,
    case,
    cast,
    func,
    select,
)
from sqlalchemy import Column as SqlColumn

from shared.db import Base
from shared.models import Synced

Kind = Literal["string", "number", "boolean"]
Value = str | int | bool | None

EMPTY: dict[Kind, Value] = {"string": "", "number": 0, "boolean": False}

#: Rows that are in a service's memory at a time.
BATCH = 1000

#: Bytes of a MySQL TEXT, and so of a text column here whatever the engine.
TEXT_BYTES = 65_535


#: An escape that MariaDB writes in upper case, and nobody else. Pairs of backslashes before it are
#: backslashes of the text; after an odd one it would be the text's own "u000B".
ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u00[01][A-F]")


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

    @property
    def parent_column(self) -> str | None:
        """The column that names the owner."""
        return self.parent[1] if self.parent else None

    @cached_property
    def record(self) -> tuple[SqlColumn[Value], ...]:
        """What a record on the wire is made of: the id and the columns."""
        return (self.sql.c.id, *(self.sql.c[name] for name in self.names))

    def of(self, user_id: str) -> ColumnElement[bool]:
        """The condition that every statement on a synced table begins with."""
        return self.sql.c.user_id == user_id


def encode_rows(
    connection: Connection,
    columns: Sequence[ColumnElement[Any]],
    condition: ColumnElement[bool],
    count: Callable[[int], None] = lambda _rows: None,
) -> Iterator[bytes]:
    """The rows as JSON, separated by commas: objects of `columns`, or bare values of a lone one.

    Only `BATCH` rows are in memory at a time; `count` is told the number of each such batch.
    """
    in_database = can_encode(connection, columns)
    selected = [json_in_sql(columns)] if in_database else columns
    query = select(*selected).where(condition)
    separator = b""
    for batch in connection.execution_options(yield_per=BATCH).execute(query).partitions():
        yield separator
        if in_database:
            text = b",".join([row[0] for row in batch])
            # Looking for it first, as few texts have any: the pattern itself is slow.
            yield ESCAPE.sub(_lower, text) if b"\\u00" in text else text
        elif len(columns) == 1:
            yield orjson.dumps([row[0] for row in batch])[1:-1]
        else:
            yield orjson.dumps([dict(row._mapping) for row in batch])[1:-1]
        count(len(batch))
        separator = b","


def _lower(escape: re.Match[bytes]) -> bytes:
    return escape[0].lower()


def can_encode(connection: Connection, columns: Sequence[ColumnElement[Any]]) -> bool:
    """Whether the database can write these columns as JSON, byte for byte as we would.

    It is several times faster than decoding each value here to encode it again. SQLite is not asked:
    its values need no decoding. Nor is anybody for fractions, which every engine writes differently.
    """
    return connection.dialect.name != "sqlite" and not any(
        isinstance(column.type, Double) for column in columns
    )


def json_in_sql(columns: Sequence[ColumnElement[Any]]) -> ColumnElement[bytes]:
    """The JSON of a row as one value of bytes, for MySQL and MariaDB."""
    if len(columns) == 1:
        return cast(_json_value(columns[0]), LargeBinary)
    pieces: list[Any] = []
    before = "{"
    for column in columns:
        pieces += [f'{before}"{column.key}":', _json_value(column)]
        before = ","
    return cast(func.concat(*pieces, "}"), LargeBinary)


def _json_value(column: ColumnElement[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, Boolean):
        return case((column.is_(None), "null"), (column, "true"), else_="false")
    if isinstance(column.type, String):
        return func.ifnull(func.json_quote(column), "null")
    return func.ifnull(column, "null")


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
