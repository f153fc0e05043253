"""Rows of the database as JSON: the body of a pull and of an export."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Double,
    Select,
    String,
    case,
    func,
    select,
)

#: Rows that are in a service's memory at a time.
BATCH = 1000

#: An escape that MariaDB writes in upper case, and nobody else. Pairs of backslashes before it are
#: backslashes of the text; after an odd one it would be the text's own "u000B".
ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u00[01][A-F]")


def encode_rows(
    connection: Connection,
    columns: Sequence[ColumnElement[Any]],
    condition: ColumnElement[bool],
    count: Callable[[int], None] = lambda _rows: None,
) -> Iterator[bytes]:
    """The rows as JSON, separated by commas: objects of `columns`, or bare values of a lone one.

    Only `BATCH` rows are in memory at a time; `count` is told the number of each such batch.
    """
    batches = _by_database if can_encode(connection, columns) else _by_orjson
    separator = b""
    for rows, text in batches(connection, columns, condition):
        yield separator
        yield text
        count(rows)
        separator = b","


def can_encode(connection: Connection, columns: Sequence[ColumnElement[Any]]) -> bool:
    """Whether the database can write these columns as JSON, byte for byte as we would.

    It is several times faster than decoding each value here to encode it again. SQLite is not asked:
    its values need no decoding. Nor is anybody for fractions, which every engine writes differently.
    """
    return connection.dialect.name != "sqlite" and not any(
        isinstance(column.type, Double) for column in columns
    )


def _by_orjson(
    connection: Connection, columns: Sequence[ColumnElement[Any]], condition: ColumnElement[bool]
) -> Iterator[tuple[int, bytes]]:
    query = select(*columns).where(condition)
    for rows in connection.execution_options(yield_per=BATCH).execute(query).partitions():
        alone = len(columns) == 1
        yield (
            len(rows),
            orjson.dumps([row[0] if alone else dict(row._mapping) for row in rows])[1:-1],
        )


def _by_database(
    connection: Connection, columns: Sequence[ColumnElement[Any]], condition: ColumnElement[bool]
) -> Iterator[tuple[int, bytes]]:
    for values in first_values(connection, select(json_in_sql(columns)).where(condition)):
        text = b",".join(values)
        # Looking for it first, as few texts have any: the pattern itself is slow.
        yield len(values), ESCAPE.sub(_lower, text) if b"\\u00" in text else text


def _lower(escape: re.Match[bytes]) -> bytes:
    return escape[0].lower()


def json_in_sql(columns: Sequence[ColumnElement[Any]]) -> ColumnElement[str]:
    """The JSON of a row as one value, for MySQL and MariaDB."""
    if len(columns) == 1:
        return _json_value(columns[0])
    pieces: list[Any] = []
    before = "{"
    for column in columns:
        pieces += [f'{before}"{column.key}":', _json_value(column)]
        before = ","
    return func.concat(*pieces, "}")


def _json_value(column: ColumnElement[Any]) -> ColumnElement[Any]:
    if isinstance(column.type, Boolean):
        return case((column.is_(None), "null"), (column, "true"), else_="false")
    if isinstance(column.type, String):
        return func.ifnull(func.json_quote(column), "null")
    return func.ifnull(column, "null")


def first_values(connection: Connection, query: Select[Any]) -> Iterator[list[bytes]]:
    """The first value of each row, a text in UTF-8, in lists of about `BATCH`; for PyMySQL.

    PyMySQL takes 5 µs for a row, most of them for what a single text has no need of: half of a
    first sync. So the rows that it has already received are taken from its buffer.
    """
    result = connection.execution_options(yield_per=1).execute(query)
    cursor: Any = result.cursor
    driver = cursor.connection
    values: list[bytes] = []
    while (row := result.fetchone()) is not None:
        values.append(row[0].encode())
        values += take_received(driver)
        if len(values) >= BATCH:
            yield values
            values = []
    if values:
        yield values


def take_received(driver: Any) -> list[bytes]:
    """The values of the whole rows of one short value that PyMySQL's buffer holds next.

    What else comes (the end, an error, half a row, a long one) is left for PyMySQL to read.
    https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html
    """
    received = driver._rfile.peek()
    found = []
    at = 0
    # A packet is the size of its payload in three bytes, its number in one, and the payload.
    while at + 4 < len(received):
        payload = at + 4
        after = payload + int.from_bytes(received[at : at + 3], "little")
        if after > len(received):
            break
        # The payload is the value after its own size, which is one byte below 251, or two after 252.
        if received[payload] < 251:
            found.append(received[payload + 1 : after])
        elif received[payload] == 252:
            found.append(received[payload + 3 : after])
        else:
            break
        at = after
    driver._rfile.read(at)
    driver._next_seq_id = (driver._next_seq_id + len(found)) % 256
    return found
