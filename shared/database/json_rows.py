"""Rows between the database and Python, many at a time: as JSON, which both are quick at.

PyMySQL takes some 5 µs for each row that it reads and 3 µs for each value that it writes. For MySQL
and MariaDB a row therefore travels as one text; SQLite, whose driver is not in Python, needs none of it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Double,
    Select,
    String,
    Table,
    TextClause,
    case,
    func,
    text,
)

from shared.database import errors
from shared.database.bulk import upsert
from shared.database.received import BATCH, first_values

#: An escape that MariaDB writes in upper case, and nobody else. Pairs of backslashes before it are
#: backslashes of the text; after an odd one it would be the text's own "u000B".
ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u00[01][A-F]")

#: Bytes of rows that are written by one statement; with its escapes far below every server's limit.
STATEMENT_BYTES = 1_000_000
#: Bytes that the rest of such a statement has at most: a thousand columns, each named some times.
STATEMENT_TEXT = 500_000


def encode_rows(
    connection: Connection,
    query: Select[*tuple[Any, ...]],
    count: Callable[[int], None] = lambda _rows: None,
    *,
    bare: bool = False,
) -> Iterator[bytes]:
    """The rows of `query` as JSON, separated by commas: objects, or the `bare` values of its one column.

    Only `BATCH` rows are in memory at a time; `count` is told the number of each such batch.
    """
    separator = b""
    for rows, encoded in _encoded_batches(connection, query, bare):
        yield separator
        yield encoded
        count(rows)
        separator = b","


def _encoded_batches(
    connection: Connection, query: Select[*tuple[Any, ...]], bare: bool
) -> Iterator[tuple[int, bytes]]:
    if can_encode(connection, query):
        for values in first_values(connection, as_json(query, bare=bare), {}):
            encoded = b",".join(values)
            # Looking for it first, as few texts have any: the pattern itself is slow.
            yield len(values), ESCAPE.sub(_lower, encoded) if b"\\u00" in encoded else encoded
        return
    # As plain texts, which orjson takes for keys; names that are quoted in SQL are of a kind of their own.
    names = [str(column.key) for column in query.selected_columns]
    for rows in connection.execution_options(yield_per=BATCH).execute(query).partitions():
        plain = [row[0] if bare else dict(zip(names, row, strict=True)) for row in rows]
        yield len(rows), orjson.dumps(plain)[1:-1]


def _lower(escape: re.Match[bytes]) -> bytes:
    return escape[0].lower()


def read_rows(
    connection: Connection, query: Select[*tuple[Any, ...]], values: Mapping[str, Any]
) -> Iterator[Sequence[Any]]:
    """Yield the rows of `query`."""
    if not can_encode(connection, query):
        yield from connection.execute(query, values)
        return
    for texts in first_values(connection, as_json(query, as_list=True), values):
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
        connection.execute(statement, {**same, "rows": f"[{sent.decode()}]"})


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
) -> TextClause:
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
    return text(
        f"INSERT INTO {quote(table.name)} ({names}) SELECT {values} FROM"  # noqa: S608
        f" JSON_TABLE(:rows, '$[*]' COLUMNS ({types})) AS sent"
        f" ON DUPLICATE KEY UPDATE {overwrite}"
    )


def _sent_type(column: Column[Any], dialect: Dialect) -> str:
    name = column.type.compile(dialect)
    # Without these words what the database's own character set lacks would become "?".
    is_bare = isinstance(column.type, String) and "CHARACTER SET" not in name
    return f"{name} CHARACTER SET utf8mb4" if is_bare else name


def can_encode(connection: Connection, query: Select[*tuple[Any, ...]]) -> bool:
    """Whether the database can write these rows as JSON, byte for byte as we would.

    SQLite is not asked: its values need no decoding. Nor is anybody for fractions, which every
    engine writes differently.
    """
    return connection.dialect.name != "sqlite" and not any(
        isinstance(column.type, Double) for column in query.selected_columns
    )


def as_json(
    query: Select[*tuple[Any, ...]], *, as_list: bool = False, bare: bool = False
) -> Select[*tuple[Any, ...]]:
    """The same rows, each as one value: its JSON, an object by column, a list or a bare value."""
    columns = tuple(query.selected_columns)
    return query.with_only_columns(
        _json_value(columns[0]) if bare else json_in_sql(columns, as_list)
    )


@lru_cache(maxsize=1024)
def json_in_sql(columns: tuple[ColumnElement[Any], ...], as_list: bool) -> ColumnElement[str]:
    """The JSON of a row as one value, for MySQL and MariaDB."""
    opening, closing = "[]" if as_list else "{}"
    pieces: list[Any] = []
    for column in columns:
        pieces += [opening if as_list else f'{opening}"{column.key}":', _json_value(column)]
        opening = ","
    return func.concat(*pieces, closing)


def _json_value(column: ColumnElement[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, Boolean):
        return case((column.is_(None), "null"), (column, "true"), else_="false")
    if isinstance(column.type, String):
        return func.ifnull(func.json_quote(column), "null")
    return func.ifnull(column, "null")
