"""Rows between the database and Python, many at a time, in the ways that PyMySQL is quick at.

It takes some 5 µs for each row that it reads, and nearly 1 for each value that it writes. So a row of MySQL
or MariaDB comes as one text, its JSON, and goes as one, its SQL. SQLite, whose driver is not in Python, needs
none of it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import orjson
from pymysql.constants import SERVER_STATUS
from pymysql.converters import conversions, escape_string
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
    collate,
    func,
    literal_column,
    text,
)

from shared.database import errors
from shared.database.bulk import compiled, upsert
from shared.database.engines import Written
from shared.database.received import STREAMED, first_values

#: Characters of rows that one statement writes: as bytes far below every server's limit.
STATEMENT_CHARACTERS = 500_000
#: Bytes that the rest of such a statement has at most: a thousand columns, each named some times.
STATEMENT_TEXT = 500_000


def read_rows(
    connection: Connection, queries: Sequence[Select[*tuple[Any, ...]]], values: Mapping[str, Any]
) -> Iterator[Sequence[Any]]:
    """Yield the rows of all `queries`, each behind the number of its query; of a server in one round trip.

    A list of values must not be empty.
    """
    if connection.dialect.name == "sqlite":
        for number, query in enumerate(queries):
            for row in connection.execute(query, values):
                yield number, *row
        return
    found = [_as_lists(connection.dialect, query, number) for number, query in enumerate(queries)]
    with connection.exec_driver_sql(*united(found, values), STREAMED) as result:
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
    head, tail = _around_rows(connection.dialect, table, (*columns, *same), overwritten)
    escape = _escape(connection)
    end = _sql(escape, same.values())
    texts = (f"({','.join(_sql(escape, row) + end)})" for row in rows)
    for piece in _pieces(connection, texts):
        # Values, which are somebody's data, are not the statement, which may have to be logged.
        connection.exec_driver_sql(f"{head} %s {tail}", (Written(piece),))


def _escape(connection: Connection) -> Callable[[str], str]:
    """Return what escapes a text as the server reads it now: in one of its modes a backslash is plain."""
    driver: Any = connection.connection.dbapi_connection
    if driver.server_status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES:
        return lambda value: value.replace("'", "''")
    return escape_string


def _sql(escape: Callable[[str], str], values: Iterable[Any]) -> list[str]:
    """Return values as PyMySQL writes them, which by itself takes three times as long for many rows."""
    return [
        f"'{escape(value)}'" if isinstance(value, str) else conversions[type(value)](value)
        for value in values
    ]


def _pieces(connection: Connection, rows: Iterable[str]) -> Iterator[str]:
    """Yield rows by so many as one statement takes, with commas between. Raises `RowTooLong`."""
    piece: list[str] = []
    size = 0
    for row in rows:
        if len(row) > STATEMENT_CHARACTERS:
            _check_length(connection, row)
        if piece and size + len(row) > STATEMENT_CHARACTERS:
            yield ", ".join(piece)
            piece, size = [], 0
        piece.append(row)
        size += len(row)
    if piece:
        yield ", ".join(piece)


def _check_length(connection: Connection, row: str) -> None:
    """Raise `RowTooLong` when the server takes no statement with this row in it."""
    allowed = connection.scalar(text("SELECT @@max_allowed_packet"))
    if len(row.encode()) + STATEMENT_TEXT > int(allowed or 0):
        raise errors.RowTooLong


@cache
def _around_rows(
    dialect: Dialect, table: Table, names: tuple[str, ...], overwritten: tuple[str, ...]
) -> tuple[str, str]:
    """Return what stands before and after the rows in a statement that writes them."""
    # It writes a name's % as the driver takes it; as a `text`, a name's colon would begin a parameter.
    quote = dialect.identifier_preparer.quote
    overwrite = ", ".join(f"{quote(name)} = VALUES({quote(name)})" for name in overwritten)
    head = f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, names))}) VALUES"
    tail = f"ON DUPLICATE KEY UPDATE {overwrite}"
    return head, tail


@lru_cache(maxsize=1024)
def _as_lists(
    dialect: Dialect, query: Select[*tuple[Any, ...]], number: int
) -> tuple[str, Mapping[str, Any]]:
    """Return the same rows, each as one value, for MySQL and MariaDB: the JSON of the list of `number` and
    its values.

    With the statement come the values that it brings along.
    """
    pieces: list[Any] = [quoted(f"[{number}")]
    for column in query.selected_columns:
        pieces += [quoted(","), json_value(column)]
    # Of one collation, whatever its columns have: rows of several queries stand in one result.
    listed = collate(func.concat(*pieces, quoted("]")), "utf8mb4_bin")
    text, constants = compiled(dialect, query.with_only_columns(listed))
    # SQLAlchemy would write a list anew with each call, at a twentieth of what a small push costs; PyMySQL
    # writes its values in any case.
    return numbered(re.sub(r"\(__\[POSTCOMPILE_(\w+)\]\)", r"%(\1)s", text), constants, number)


def numbered(text: str, constants: Mapping[str, Any], number: int) -> tuple[str, dict[str, Any]]:
    """Return a statement for MySQL with the values that it brings along, by names that no other `number` has.

    Two parts of a statement may call values of their own alike.
    """
    for name in constants:
        text = text.replace(f"%({name})s", f"%({name}_{number})s")
    return text, {f"{name}_{number}": value for name, value in constants.items()}


def united(
    parts: Iterable[tuple[str, Mapping[str, Any]]], values: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return one statement for MySQL of several that were `numbered`, and what is sent with it: `values`, and
    those that each brings along.
    """
    texts, sent = [], {**values}
    for part, constants in parts:
        texts.append(f"({part})")
        sent |= constants
    return " UNION ALL ".join(texts), sent


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
