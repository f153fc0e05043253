"""The few statements that differ by engine, and lists that are too long for one."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import ClauseElement, CursorResult, Dialect, Executable, Table
from sqlalchemy.dialects import mysql, sqlite

from shared.database.base import db

T = TypeVar("T")

#: Ids per `IN (…)` list: far below every engine's limit, enough to make a round trip worth its while.
CHUNK = 1000


def upsert(table: Table, columns: Iterable[str]) -> Any:
    """Return an INSERT of whole rows that overwrites `columns` where the primary key is already there."""
    return _upsert(db.engine.dialect.name, table, tuple(columns))


@cache
def _upsert(dialect: str, table: Table, columns: tuple[str, ...]) -> Any:
    if dialect == "sqlite":
        insert = sqlite.insert(table)
        return insert.on_conflict_do_update(
            index_elements=list(table.primary_key), set_={c: insert.excluded[c] for c in columns}
        )
    overwrite = mysql.insert(table)
    return overwrite.on_duplicate_key_update({c: overwrite.inserted[c] for c in columns})


def insert_or_update(table: Any, rows: list[dict[str, Any]], updates: list[tuple[str, Any]]) -> Any:
    """Return an INSERT of `rows` that applies `updates`, in their order, where the primary key is there."""
    if db.engine.dialect.name == "sqlite":
        keys = list(table.primary_key)
        insert = sqlite.insert(table).values(rows)
        return insert.on_conflict_do_update(index_elements=keys, set_=dict(updates))
    return mysql.insert(table).values(rows).on_duplicate_key_update(updates)


def compiled(dialect: Dialect, statement: ClauseElement) -> tuple[str, dict[str, Any]]:
    """Return the text of a statement, and the values that it brings along, whose names are its own.

    For what SQLAlchemy does not remember, or not without hashing all of it.
    """
    if dialect.name == "sqlite":
        # Parameters by name, as the servers have them.
        dialect = sqlite.dialect(paramstyle="named")
    found = statement.compile(dialect=dialect)
    return str(found), {k: v for k, v in found.params.items() if v is not None}


def execute_count(statement: Executable) -> int:
    """Run a statement that writes, within the caller's transaction; return how many rows it hit."""
    result = db.session.execute(statement)
    assert isinstance(result, CursorResult)  # noqa: S101
    return result.rowcount


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return `items` in pieces that fit one statement."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
