"""Differences between the database and the models: tables and columns whose migration was forgotten.

Told are differences that would make an answer or a write wrong. A table may be ahead of its declaration,
since migrations are applied while the release before still serves: more columns that can be left out,
wider types, and NULL where it is not needed.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flask import Flask
from sqlalchemy import Column, Connection, Dialect, Table, text

from shared.database.base import db

SERVERS = text(
    "SELECT table_name, column_name, column_type, is_nullable = 'YES', column_key = 'PRI',"
    " column_default IS NOT NULL FROM information_schema.columns WHERE table_schema = DATABASE()"
)
SQLITE = text(
    'SELECT t.name, c.name, c.type, NOT c."notnull", c.pk > 0, c.dflt_value IS NOT NULL'
    " FROM sqlite_master AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table'"
)
#: Types that hold all that another does, from the narrowest.
TEXTS = ("tinytext", "text", "mediumtext", "longtext")
SYNONYMS = {"bool": "tinyint", "boolean": "tinyint", "integer": "int"}
#: Differences that are named; the rest is counted.
MAX_NAMED = 3
#: Under this name an app keeps the tables that are still to be compared.
UNCHECKED = "tables that were not compared"


@dataclass(frozen=True)
class Found:
    """A column of the database."""

    type: str
    is_nullable: bool
    is_key: bool
    has_default: bool


class TablesDiffer(Exception):
    """The tables lack what the models declare. Its text says what, and what to do."""

    def __init__(self, said: list[str]) -> None:
        more = f" and {len(said) - MAX_NAMED} more" if len(said) > MAX_NAMED else ""
        super().__init__(
            f"The database differs from the declared tables: {'; '.join(said[:MAX_NAMED])}{more}."
            ' Write what is missing with make migration M="what changed", and apply it with make migrate'
            " (make run and make up-native do that when they start)."
        )


def check_tables(app: Flask) -> None:
    """Compare the tables that a service uses with what they are declared to be, until that was done once.

    Raises `TablesDiffer`, and the errors of a database that does not answer.
    """
    if tables := app.extensions[UNCHECKED]:
        with app.app_context(), db.engine.connect() as connection:
            # A service that is not asked for anything holds no connection.
            connection.detach()
            if said := differences(connection, tables):
                raise TablesDiffer(said)
        app.extensions[UNCHECKED] = ()


def differences(connection: Connection, tables: Iterable[Table]) -> list[str]:
    """Return what the database lacks of `tables`, in words; nothing when it has all."""
    query = SQLITE if connection.dialect.name == "sqlite" else SERVERS
    there: dict[str, dict[str, Found]] = defaultdict(dict)
    for table, column, type_, *flags in connection.execute(query):
        there[table.lower()][column.lower()] = Found(type_, *map(bool, flags))
    return [
        said
        for table in tables
        for said in _of_table(table, there.get(table.name.lower()), connection.dialect)
    ]


def _of_table(table: Table, there: Mapping[str, Found] | None, dialect: Dialect) -> list[str]:
    if there is None:
        return [f"the table {table.name} is not there"]
    declared = {column.name.lower(): column for column in table.columns}
    said = []
    for name, column in declared.items():
        where = f"{table.name}.{column.name}"
        found = there.get(name)
        if found is None:
            said.append(f"{where} is not there")
            continue
        wanted = column.type.compile(dialect)
        if not holds(found.type, wanted):
            said.append(f"{where} is {found.type} and not {wanted}")
        if _is_optional(column) and not found.is_nullable:
            said.append(f"{where} takes no NULL")
        if bool(column.primary_key) != found.is_key:
            said.append(f"{where} is {'not ' * column.primary_key}part of the primary key")
    said += [
        f"{table.name}.{name} is not declared and cannot be left out"
        for name, found in there.items()
        if name not in declared and not (found.is_nullable or found.has_default)
    ]
    return said


def _is_optional(column: Column[object]) -> bool:
    return bool(column.nullable) and not column.primary_key


def holds(there: str, wanted: str) -> bool:
    """Return whether a column of one type, as the database names it, holds all of another's values."""
    (has, size), (needs, least) = _parts(there), _parts(wanted)
    if needs in TEXTS and has in TEXTS:
        return TEXTS.index(has) >= TEXTS.index(needs)
    if needs == "varchar":
        return has in TEXTS or (has == "varchar" and size >= least)
    return has == needs


def _parts(name: str) -> tuple[str, int]:
    found = re.match(r"(\w+)(?:\((\d+)\))?", name.lower())
    assert found  # noqa: S101
    return SYNONYMS.get(found[1], found[1]), int(found[2] or 0)
