"""What a MySQL or MariaDB database says of its tables. Nothing is written there, and no row is read."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from schema.adopt.schema import Refused
from shared.database.engines import job_options

#: What one may call the driver in a URL.
SCHEMES = ("mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql")


@dataclass(frozen=True)
class Column:
    """A column of the source."""

    name: str
    #: Such as `decimal`, and with what it was given: `decimal(10,2)`.
    type: str
    full_type: str
    is_nullable: bool = False
    is_generated: bool = False
    #: Digits of a DECIMAL, and those of them behind the point.
    precision: int = 0
    scale: int = 0
    is_case_blind: bool = False


@dataclass(frozen=True)
class ForeignKey:
    """Columns that name a row of `parent`, and what becomes of the row when that one is deleted."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_delete: str


@dataclass
class Table:
    """A table of the source."""

    name: str
    kind: str = "BASE TABLE"
    columns: list[Column] = field(default_factory=list)
    #: Of the primary key, or of another that says which row is meant.
    key: tuple[str, ...] = ()
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    #: Columns that an index begins with.
    indexed: set[str] = field(default_factory=set)

    @property
    def names(self) -> list[str]:
        """Return the names of the columns."""
        return [column.name for column in self.columns]


def source_url(given: str) -> URL:
    """Return the URL of a source for SQLAlchemy. Raises `Refused`."""
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        raise Refused("URL is mysql://user:password@host/database.") from None
    if url.drivername not in SCHEMES or not url.database:
        raise Refused("URL is mysql://user:password@host/database, of MySQL or MariaDB.")
    return url.set(drivername="mysql+pymysql")


def read_catalog(given: str) -> dict[str, Table]:
    """Return the tables and views of the database that a URL names. Raises `Refused`."""
    url = source_url(given)
    engine = create_engine(url, **job_options(url))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
            connection.rollback()
            return _read(connection)
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise Refused(f"The database at {url.host} cannot be read: {reason}.") from error
    finally:
        engine.dispose()


def _read(connection: Connection) -> dict[str, Table]:
    tables = {
        name: Table(name, kind)
        for name, kind in _ask(connection, "TABLE_NAME, TABLE_TYPE", "TABLES", "TABLE_NAME")
    }
    json = _json_of_mariadb(connection)
    for name, column, type_, full, nullable, extra, precision, scale, collation in _ask(
        connection,
        "TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, EXTRA, NUMERIC_PRECISION,"
        " NUMERIC_SCALE, COLLATION_NAME",
        "COLUMNS",
        "TABLE_NAME, ORDINAL_POSITION",
    ):
        is_json = (name, column) in json
        tables[name].columns.append(
            Column(
                column,
                "json" if is_json else str(type_).lower(),
                "json" if is_json else str(full).lower() if type_ not in ("enum", "set") else full,
                is_nullable=nullable == "YES",
                # Not DEFAULT_GENERATED, which is a default.
                is_generated=bool(
                    re.search(r"\b(VIRTUAL|STORED|PERSISTENT) GENERATED", extra or "")
                ),
                precision=int(precision or 0),
                scale=int(scale or 0),
                is_case_blind=str(collation or "").endswith("_ci"),
            )
        )
    _read_keys(connection, tables)
    _read_foreign_keys(connection, tables)
    return tables


def _ask(connection: Connection, what: str, table: str, order: str) -> Sequence[Any]:
    return connection.execute(
        text(
            f"SELECT {what} FROM information_schema.{table}"
            f" WHERE TABLE_SCHEMA = DATABASE() ORDER BY {order}"
        )
    ).all()


def _json_of_mariadb(connection: Connection) -> set[tuple[str, str]]:
    """Return the columns that are JSON to MariaDB: long texts with a check that says so."""
    if not getattr(connection.dialect, "is_mariadb", False):
        return set()
    checks = connection.execute(
        text(
            "SELECT TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS"
            " WHERE CONSTRAINT_SCHEMA = DATABASE()"
        )
    )
    return {
        (table, found[1])
        for table, clause in checks
        if (found := re.fullmatch(r"\s*json_valid\(`(.+)`\)\s*", clause, re.IGNORECASE))
    }


def _read_keys(connection: Connection, tables: dict[str, Table]) -> None:
    """Note what each table is keyed by: its primary key, or else the first key without NULL."""
    indexes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    unique: dict[str, set[str]] = defaultdict(set)
    for table, index, column, is_other in _ask(
        connection,
        "TABLE_NAME, INDEX_NAME, COLUMN_NAME, NON_UNIQUE",
        "STATISTICS",
        "TABLE_NAME, INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX",
    ):
        indexes[table][index].append(column)
        if not int(is_other):
            unique[table].add(index)
    for name, found in indexes.items():
        table = tables[name]
        required = {column.name for column in table.columns if not column.is_nullable}
        table.indexed = {columns[0] for columns in found.values()}
        table.key = next(
            (
                tuple(columns)
                for index, columns in found.items()
                if index in unique[name] and required.issuperset(columns)
            ),
            (),
        )


def _read_foreign_keys(connection: Connection, tables: dict[str, Table]) -> None:
    """Note what names what. By SHOW CREATE TABLE, since who only reads is not told the rules otherwise."""
    inspector = inspect(connection)
    for table in tables.values():
        if table.kind in ("VIEW", "SYSTEM VIEW", "SEQUENCE"):
            continue
        for found in inspector.get_foreign_keys(table.name):
            if found["referred_schema"] is None:
                table.foreign_keys.append(
                    ForeignKey(
                        tuple(found["constrained_columns"]),
                        found["referred_table"],
                        tuple(found["referred_columns"]),
                        found["options"].get("ondelete", "RESTRICT").upper(),
                    )
                )
