"""Rows between the database and Python, many at a time: as JSON, which both are quick at.

PyMySQL takes some 5 µs for each row that it reads and 3 µs for each value that it writes. For MySQL
and MariaDB a row therefore travels as one text; SQLite, whose driver is not in Python, needs none of it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Label,
    Select,
    String,
    Table,
    case,
    func,
    literal_column,
    text,
)

from shared.database import errors
from shared.database.bulk import compiled, upsert
from shared.database.received import STREAMED, first_values

#: Bytes of rows that are written by one statement; with its escapes far below every server's limit.
STATEMENT_BYTES = 1_000_000
#: Bytes that the rest of such a statement has at most: a thousand columns, each named some times.
STATEMENT_TEXT = 500_000


def read_rows(
    connection: Connection, query: Select[*tuple[Any, ...]], values: Mapping[str, Any]
) -> Iterator[Sequence[Any]]:
    """Yield the rows of `query`; a list of values must not be empty."""
    if connection.dialect.name == "sqlite":
        yield from connection.execute(query, values)
        return
    text, constants = _as_lists(connection.dialect, query)
    with connection.exec_driver_sql(text, {**constants, **values}, STREAMED) as result:
        for texts in first_values(result):
            yield from orjson.loads(b"[" + b",".join(texts) + b"]")


def write_rows(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    same: Mapping[str, Any],
    kept: Sequence[str],
) -> None:
    """Insert rows: of each its own `columns`, and the `same` values of the others for all of them.

    Where the primary key is there already the row is overwritten, but for the columns `kept`. Raises
    `RowTooLong` for one that the server would break the connection for.
    """
    spared = {*table.primary_key.columns.keys(), *kept}
    overwritten = tuple(name for name in (*columns, *same) if name not in spared)
    if connection.dialect.name == "sqlite":
        whole = [dict(zip(columns, row, strict=True)) | dict(same) for row in rows]
        connection.execute(upsert(table, overwritten), whole)
        return
    statement = _upsert_json(connection.dialect, table, tuple(columns), tuple(same), overwritten)
    encoded = map(orjson.dumps, rows)
    for piece in _pieces(encoded):
        sent = b",".join(piece)
        if len(sent) > STATEMENT_BYTES:
            _check_length(connection, sent)
        connection.exec_driver_sql(statement, {**same, "rows": f"[{sent.decode()}]"})


def _check_length(connection: Connection, sent: bytes) -> None:
    """Raise `RowTooLong` when the server takes no statement with this JSON in it."""
    allowed = connection.scalar(text("SELECT @@max_allowed_packet"))
    escaped = sum(map(sent.count, (b'"', b"\\", b"'")))
    if len(sent) + escaped + STATEMENT_TEXT > int(allowed or 0):
        raise errors.RowTooLong


def _pieces(encoded: Iterable[bytes]) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    size = 0
    for row in encoded:
        if piece and size + len(row) > STATEMENT_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(row)
        size += len(row)
    if piece:
        yield piece


@cache
def _upsert_json(
    dialect: Dialect,
    table: Table,
    columns: tuple[str, ...],
    same: tuple[str, ...],
    overwritten: tuple[str, ...],
) -> str:
    quote = dialect.identifier_preparer.quote
    # What does not fit its type is an error: without these words it would become NULL.
    types = ", ".join(
        f"{quote(name)} {_sent_type(table.c[name], dialect)}"
        f" PATH '$[{at}]' ERROR ON EMPTY ERROR ON ERROR"
        for at, name in enumerate(columns)
    )
    names = ", ".join(map(quote, (*columns, *same)))
    values = ", ".join([*map(quote, columns), *(f":{name}" for name in same)])
    overwrite = ", ".join(f"{quote(name)} = VALUES({quote(name)})" for name in overwritten)
    statement = text(
        f"INSERT INTO {quote(table.name)} ({names}) SELECT {values} FROM"  # noqa: S608
        f" JSON_TABLE(:rows, '$[*]' COLUMNS ({types})) AS sent"
        f" ON DUPLICATE KEY UPDATE {overwrite}"
    )
    return compiled(dialect, statement)[0]


def _sent_type(column: Column[Any], dialect: Dialect) -> str:
    name = column.type.compile(dialect)
    # Without these words what the database's own character set lacks would become "?".
    is_bare = isinstance(column.type, String) and "CHARACTER SET" not in name
    return f"{name} CHARACTER SET utf8mb4" if is_bare else name


@lru_cache(maxsize=1024)
def _as_lists(dialect: Dialect, query: Select[*tuple[Any, ...]]) -> tuple[str, Mapping[str, Any]]:
    """Return the same rows, each as one value: the JSON of the list of its values, for MySQL and MariaDB.

    With the statement come the values that it brings along.
    """
    pieces: list[Any] = []
    for column in query.selected_columns:
        pieces += [quoted("," if pieces else "["), json_value(column)]
    listed = query.with_only_columns(func.concat(*pieces, quoted("]")))
    text, constants = compiled(dialect, listed)
    # SQLAlchemy would write a list anew with each call, at a twentieth of what a small push costs; PyMySQL
    # writes its values in any case.
    return re.sub(r"\(__\[POSTCOMPILE_(\w+)\]\)", r"%(\1)s", text), constants


def quoted(text: str) -> ColumnElement[str]:
    """Return a text of ours as a literal of MySQL and MariaDB."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return literal_column(f"'{escaped}'")


def json_value(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the JSON of a column's value in SQL, for MySQL and MariaDB, as short as what can be in it."""
    column = column.element if isinstance(column, Label) else column
    is_filled = isinstance(column, Column) and not column.nullable
    if isinstance(column.type, Boolean):
        written = [(column, quoted("true"))]
        if not is_filled:
            written.insert(0, (column.is_(None), quoted("null")))
        return case(*written, else_=quoted("false"))
    value = func.json_quote(column) if isinstance(column.type, String) else column
    return value if is_filled else func.ifnull(value, quoted("null"))
