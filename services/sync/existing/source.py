"""Reading a source: rows of one user after the other, by their keys, some thousand at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions, through
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from services.sync.existing.mapping import Map, MappedTable, MapRefused, Path
from services.sync.existing.values import date
from shared.database.engines import server_arguments

#: Of the rows that are read at a time.
BATCH = 5000
#: What one may call the driver in a URL.
SCHEMES = ("mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql")
URL = "URL is mysql://user:password@host/database, of MySQL or MariaDB."
#: As many keys are told of rows that were not copied.
SHOWN = 5
#: Dates stay texts: MySQL has some that Python has not.
DATES = (FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP)
CONVERSIONS = conversions | {FIELD_TYPE.TIME: through} | dict.fromkeys(DATES, date)


@dataclass(frozen=True)
class Unit:
    """Whose rows are copied at a time: a user's, or those of a space; `value` is what the source says."""

    kind: str
    value: Any
    space_id: str


class Source:
    """A connection that cannot write, and what is asked on it."""

    def __init__(self, url: str, read: Map) -> None:
        self.map = read
        self.connection = connect(url)
        self.keys = {mapped: self._key(mapped) for mapped in read.all_tables}
        self.columns = {mapped: self._columns(mapped) for mapped in read.all_tables}

    def close(self) -> None:
        """End the connection."""
        self.connection.close()

    def ask(self, statement: str, *values: Any) -> Sequence[Any]:
        """Return the rows that a statement selects."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read as of one moment, so that no row is read whose parent is not."""
        self.ask("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        try:
            yield
        finally:
            self.connection.rollback()

    def users(self) -> Iterator[tuple[Any, Any]]:
        """Yield the key of each user and what tells the account, in the order of keys."""
        users = self.map.users
        key, column, table = quote(users.id), quote(users.column), quote(users.table)
        after: list[Any] = []
        while True:
            found = self.ask(
                f"SELECT {key}, {column} FROM {table}"
                + (f" WHERE {key} > %s" if after else "")
                + f" ORDER BY {key} LIMIT {BATCH}",
                *after,
            )
            yield from found
            if len(found) < BATCH:
                return
            after = [found[-1][0]]

    def rows(self, mapped: MappedTable, unit: Unit | None) -> Iterator[dict[str, Any]]:
        """Yield the rows of a unit in one table, in the order of keys; without a unit all."""
        key = self.keys[mapped]
        names = [*key, *(name for name in self.columns[mapped] if name not in key)]
        tables, condition = f"{quote(mapped.source)} t", "TRUE"
        if unit:
            tables, condition = _of_unit(mapped, unit)
        whose = [unit.value] if unit else []
        statement = f"SELECT {_listed(names)} FROM {tables} WHERE {condition}"
        order = f" ORDER BY {_listed(key)} LIMIT {BATCH}"
        after: list[Any] = []
        while True:
            where = f" AND ({_beyond(key)})" if after else ""
            # As many as `_beyond` has places for.
            values = [value for last in range(len(after)) for value in after[: last + 1]]
            found = self.ask(statement + where + order, *whose, *values)
            for row in found:
                yield dict(zip(names, row, strict=True))
            if len(found) < BATCH:
                return
            after = list(found[-1][: len(key)])

    def total(self, mapped: MappedTable) -> int:
        """Return how many rows a table has."""
        return int(self.ask(f"SELECT COUNT(*) FROM {quote(mapped.source)}")[0][0])

    def some(self, mapped: MappedTable, unit: Unit) -> tuple[int, list[Any]]:
        """Return how many rows of a table a unit has, and some of their keys."""
        return self._some(mapped, *_of_unit(mapped, unit), unit.value)

    def strays(self, mapped: MappedTable) -> tuple[int, list[Any]]:
        """Return how many rows of a table lead to no user and no mapped space, and some of their keys."""
        return self._some(mapped, *_of_nobody(mapped, self.map), *self._named_spaces(mapped))

    def _named_spaces(self, mapped: MappedTable) -> list[str]:
        """Return the values of `_of_nobody`."""
        return list(self.map.spaces) if mapped.space else []

    def _some(
        self, mapped: MappedTable, tables: str, condition: str, *values: Any
    ) -> tuple[int, list[Any]]:
        where = f"FROM {tables} WHERE {condition}"
        count = int(self.ask(f"SELECT COUNT(*) {where}", *values)[0][0])
        if not count:
            return 0, []
        key = _listed(self.keys[mapped])
        return count, list(self.ask(f"SELECT {key} {where} ORDER BY {key} LIMIT {SHOWN}", *values))

    def _key(self, mapped: MappedTable) -> tuple[str, ...]:
        """Return the columns that make the ids of a table. Raises `MapRefused`."""
        if mapped.key:
            return mapped.key
        found = self.ask(
            "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()"
            " AND TABLE_NAME = %s AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX",
            mapped.source,
        )
        if not found:
            raise MapRefused(
                f"[tables.{mapped.table.name}]: {mapped.source} has no primary key. Say which columns "
                'tell its rows: key = ["a", "b"].'
            )
        return tuple(name for (name,) in found)

    def _columns(self, mapped: MappedTable) -> list[str]:
        """Return the columns of a source's table that records are made of. Raises `MapRefused`."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {quote(mapped.source)} LIMIT 0", ())
            there = {column[0] for column in cursor.description or ()}
        wanted = [*mapped.renamed.values(), *mapped.accounts, *mapped.seconds, *self.keys[mapped]]
        if missing := [name for name in wanted if name not in there]:
            raise MapRefused(
                f"[tables.{mapped.table.name}]: {mapped.source} has no column {missing[0]}."
            )
        ours = [mapped.source_of(column) for column in mapped.table.columns]
        return [name for name in dict.fromkeys(ours) if name in there]


def connect(url: str) -> Any:
    """Return a connection that only reads, and has all times in UTC. Raises `MapRefused`."""
    try:
        made = make_url(url)
    except ArgumentError:
        raise MapRefused(URL) from None
    if made.drivername not in SCHEMES or not made.database:
        raise MapRefused(URL)
    made = made.set(drivername="mysql+pymysql")
    _, arguments = made.get_dialect()().create_connect_args(made)
    connection = pymysql.connect(
        # Whoever reads and commits nothing would hold up the source's own changes of its tables.
        **{**arguments, **server_arguments(made), "conv": CONVERSIONS, "autocommit": True}
    )
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
        cursor.execute("SET time_zone = '+00:00'")
    return connection


def quote(name: str) -> str:
    """Return a name as MySQL reads it in a statement with values."""
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"t.{quote(name)}" for name in names)


def _beyond(key: Sequence[str]) -> str:
    """Return the condition of rows after one, in the order of a key. (Of tuples MySQL uses no index.)"""
    columns = [f"t.{quote(name)}" for name in key]
    return " OR ".join(
        " AND ".join([*(f"{one} = %s" for one in columns[:last]), f"{columns[last]} > %s"])
        for last in range(len(columns))
    )


def _joined(path: Path, alias: str) -> tuple[str, str]:
    """Return the joins of a path, and what it leads to."""
    row, joins = "t", ""
    for number, step in enumerate(path.steps):
        name = f"{alias}{number}"
        joins += (
            f" LEFT JOIN {quote(step.table)} {name} ON"
            f" {name}.{quote(step.key)} = {row}.{quote(step.column)}"
        )
        row = name
    return joins, f"{row}.{quote(path.column)}"


def _of_unit(mapped: MappedTable, unit: Unit) -> tuple[str, str]:
    """Return the tables and the condition of a unit's rows; the condition has one value."""
    tables, condition = f"{quote(mapped.source)} t", ""
    if mapped.space:
        joins, space = _joined(mapped.space, "s")
        tables += joins
        if unit.kind == "space":
            return tables, f"{space} = %s"
        condition = f" AND {space} IS NULL"
    joins, user = _joined(mapped.user, "u") if mapped.user else ("", "NULL")
    return tables + joins, f"{user} = %s{condition}"


def _of_nobody(mapped: MappedTable, read: Map) -> tuple[str, str]:
    """Return the tables and the condition of rows that no unit has; its values are the mapped spaces."""
    tables, nobody, elsewhere = f"{quote(mapped.source)} t", "TRUE", ""
    if mapped.user:
        joins, user = _joined(mapped.user, "u")
        tables += (
            f"{joins} LEFT JOIN {quote(read.users.table)} o ON o.{quote(read.users.id)} = {user}"
        )
        nobody = f"o.{quote(read.users.id)} IS NULL"
    if mapped.space:
        joins, space = _joined(mapped.space, "s")
        tables += joins
        known = ", ".join("%s" for _ in read.spaces)
        unknown = f"{space} NOT IN ({known})" if known else "TRUE"
        nobody = f"{space} IS NULL AND {nobody}"
        elsewhere = f" OR ({space} IS NOT NULL AND {unknown})"
    return tables, f"({nobody}){elsewhere}"
