"""Rows of several tables by one statement: one snapshot in one round trip, whatever their number.

Each row comes as its *tag*, which says what it is, and its JSON. MySQL and MariaDB write that JSON; from
SQLite, whose driver is not in Python, come the values.
"""

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Dialect,
    Select,
    case,
    collate,
    func,
    literal_column,
)

from shared.database.bulk import compiled
from shared.database.json_rows import json_value, numbered, quoted, united
from shared.database.received import BATCH, STREAMED, first_values

#: A tag is a line break, which no JSON has, the four digits of the part's number, and that of the row's kind.
TAG_BYTES = 6
#: An escape that MariaDB writes in upper case, and nobody else. Pairs of backslashes before it are
#: backslashes of the text; after an odd one it would be the text's own "u000B".
ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u00[01][A-F]")


@dataclass(frozen=True)
class Part:
    """The contribution of one table to a statement."""

    #: The rows. Its columns are those of the record, by their keys; the first is the id.
    query: Select[*tuple[Any, ...]]
    #: What kind of row each is, one digit.
    kind: ColumnElement[int] | int = 0
    #: The kind of which the id is all that is wanted, and the condition that says the same of a row.
    bare: tuple[int, ColumnElement[bool]] | None = None
    #: Whether a row is the list of its values instead of an object.
    as_list: bool = False


@dataclass(frozen=True)
class Group:
    """Some rows of one part and kind."""

    number: int
    kind: int
    count: int
    #: Their JSON, separated by commas.
    encoded: bytes


class CompiledPart:
    """A part by its number, as the SQL of an engine; its parameters are those of its query, by name."""

    def __init__(self, dialect: Dialect, number: int, part: Part) -> None:
        self.is_named = dialect.name == "sqlite"
        #: Whether all rows are of one kind.
        self.is_sorted = isinstance(part.kind, int)
        if dialect.name == "sqlite":
            self.text, self.constants = compiled(dialect, _values(part))
            self.encode = _encoder(number, part)
        else:
            found = compiled(dialect, _tagged(number, part))
            self.text, self.constants = numbered(*found, number)

    def bound(self, suffix: str, values: Mapping[str, Any]) -> "CompiledPart":
        """Return the same with values of its own, so that it may stand in a statement more than once.

        A list is for a parameter that expands; of an empty one nothing is equal to any. `suffix` is no other
        part's in the statement.
        """
        text, constants = self.text, dict(self.constants)
        for name, value in values.items():
            names = {f"{name}_{suffix}": value}
            if isinstance(value, (list, tuple)):
                names = {f"{name}_{suffix}_{at}": one for at, one in enumerate(value)}
                there = f"__[POSTCOMPILE_{name}]"
            else:
                there = f":{name}" if self.is_named else f"%({name})s"
            sent = ", ".join(f":{n}" if self.is_named else f"%({n})s" for n in names) or "NULL"
            found = re.escape(there) + (r"\b" if self.is_named and there.startswith(":") else "")
            text = re.sub(found, sent, text)
            constants |= names
        own = copy(self)
        own.text, own.constants = text, constants
        return own


def read_rows(
    connection: Connection, parts: Iterable[CompiledPart], values: Mapping[str, Any]
) -> Generator[list[bytes]]:
    """Read the parts by one statement; yield the rows in their order, each a tag and JSON, by batches.

    SQLite, which is no round trip away, is sent one statement for each part.
    """
    if connection.dialect.name == "sqlite":
        for part in parts:
            sent = {**values, **part.constants}
            with connection.exec_driver_sql(part.text, sent, STREAMED) as result:
                for rows in result.partitions(BATCH):
                    yield [part.encode(*row) for row in rows]
        return
    parts = list(parts)
    if not parts:
        return
    text, sent = united(((part.text, part.constants) for part in parts), values)
    with connection.exec_driver_sql(text, sent, STREAMED) as result:
        yield from first_values(result)


def grouped(batches: Iterable[Sequence[bytes]], *, is_sorted: bool = False) -> Iterator[Group]:
    """Put rows of one tag together, within a batch. `is_sorted`: all rows of a part are of one kind."""
    for rows in filter(None, batches):
        first = rows[0][:TAG_BYTES]
        if is_sorted and first == rows[-1][:TAG_BYTES]:
            # Most of what is long: without a step of Python for each row.
            yield _group(first, len(rows), b"".join(rows)[TAG_BYTES:].replace(first, b","))
            continue
        found: dict[bytes, list[bytes]] = {}
        for row in rows:
            found.setdefault(row[:TAG_BYTES], []).append(row[TAG_BYTES:])
        for tag, some in found.items():
            yield _group(tag, len(some), b",".join(some))


def by_part(
    groups: Iterable[Group], numbers: Iterable[int]
) -> Iterator[tuple[int, Iterable[Group]]]:
    """Yield each number with the groups of its part, to be taken before the next; () where there are none."""
    parts = groupby(groups, key=lambda group: group.number)
    found, some = next(parts, (None, None))
    for expected in numbers:
        if some is None or found != expected:
            yield expected, ()
            continue
        yield expected, some
        found, some = next(parts, (None, None))
    if some is not None:
        raise RuntimeError("The rows of a statement came out of order.")


def _group(tag: bytes, count: int, encoded: bytes) -> Group:
    # Looking for it first, as few texts have any: the pattern itself is slow.
    if b"\\u00" in encoded:
        encoded = ESCAPE.sub(_lower, encoded)
    return Group(number(tag), tag[5] - ord("0"), count, encoded)


def json_of(row: bytes) -> tuple[int, bytes]:
    """Return the kind of a row, and its JSON."""
    group = _group(row[:TAG_BYTES], 1, row[TAG_BYTES:])
    return group.kind, group.encoded


def number(row: bytes) -> int:
    """Return the number of the part that a row is of."""
    return int(row[1:5])


def _is_bare(part: Part, kind: int) -> bool:
    return part.bare is not None and part.bare[0] == kind


def _tag(number: int, kind: int) -> bytes:
    return b"\n%04d%d" % (number, kind)


def _lower(escape: re.Match[bytes]) -> bytes:
    return escape[0].lower()


def _tagged(number: int, part: Part) -> Select[Any]:
    """Return the rows of a part as MySQL and MariaDB write them."""
    columns = tuple(part.query.selected_columns)
    opening, closing = "[]" if part.as_list else "{}"
    pieces: list[Any] = []
    for column in columns:
        pieces += [quoted(opening if part.as_list else f'{opening}"{column.key}":')]
        pieces += [json_value(column)]
        opening = ","
    body = [*pieces, quoted(closing)]
    if isinstance(part.kind, int):
        tag: list[ColumnElement[Any]] = [quoted(_tag(number, part.kind).decode())]
        body = [json_value(columns[0])] if _is_bare(part, part.kind) else body
    else:
        tag = [quoted(f"\n{number:04}"), part.kind]
        if part.bare is not None:
            body = [case((part.bare[1], json_value(columns[0])), else_=func.concat(*body))]
    value = collate(func.concat(*tag, *body), "utf8mb4_bin")
    return part.query.with_only_columns(value)


def _values(part: Part) -> Select[Any]:
    """Return the rows of a part for SQLite, each behind its kind."""
    kind = literal_column(str(part.kind)) if isinstance(part.kind, int) else part.kind
    return part.query.with_only_columns(kind, *part.query.selected_columns)


def _encoder(number: int, part: Part) -> Callable[..., bytes]:
    """Return what makes tag and JSON of a row of `_values`."""
    columns = tuple(part.query.selected_columns)
    # As plain texts, which orjson takes for keys; names that are quoted in SQL are of a kind of their own.
    names = [str(column.key) for column in columns]
    flags = [at for at, column in enumerate(columns) if isinstance(column.type, Boolean)]

    def encode(kind: int, *values: Any) -> bytes:
        row = list(values)
        for at in flags:
            row[at] = None if row[at] is None else bool(row[at])
        whole = row if part.as_list else dict(zip(names, row, strict=True))
        return _tag(number, kind) + orjson.dumps(row[0] if _is_bare(part, kind) else whole)

    return encode
