"""The synced tables and their columns, read off the models: the one whitelist of what travels."""

from dataclasses import dataclass
from functools import cache, cached_property

from sqlalchemy import Column as SqlColumn
from sqlalchemy import ColumnElement, Table, Text, func, literal_column, quoted_name

from shared.database.base import Base
from shared.models.columns import DECLARED, Column, DeclarationError, Value
from shared.models.declaration import check_name, refuse_clashes
from shared.models.synced import Synced, server_tables


def _quoted(name: str) -> str:
    # An app may call a column by a word that SQLAlchemy does not know to be one of MySQL's.
    return quoted_name(name, quote=True)


@dataclass(frozen=True, eq=False)
class SyncedTable:
    """One declared table. Names are those on the wire; `sql` has its own."""

    name: str
    #: The class that declares it.
    model: type[Synced]
    sql: Table
    columns: tuple[Column, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of `columns`."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def known_names(self) -> frozenset[str]:
        """Return every name that a pushed record may have."""
        return frozenset((*self.names, "id", "_status", "_changed"))

    @cached_property
    def empty_values(self) -> dict[str, Value]:
        """Return the values of a row that was sent without any. What it belongs to is not known."""
        return {c.name: None if c.is_enforced else c.empty for c in self.columns}

    @cached_property
    def enforced(self) -> tuple[Column, ...]:
        """Return the columns whose row must name a living parent: those that cascade or are cleared."""
        return tuple(column for column in self.columns if column.is_enforced)

    def column(self, column: Column) -> SqlColumn[Value]:
        """Return the SQL column of a declared one."""
        return self.sql.c[column.attribute]

    def value(self, column: Column) -> ColumnElement[Value]:
        """Return the value of a declared column: of a required text, empty if a release did not know it."""
        sql = self.column(column)
        if column.optional or column.is_enforced or not isinstance(sql.type, Text):
            return sql
        return func.coalesce(sql, literal_column("''", sql.type))

    @cached_property
    def record(self) -> tuple[ColumnElement[Value], ...]:
        """Return what a record on the wire is made of, by its names: the id and the columns."""
        return (self.sql.c.id, *(self.value(c).label(_quoted(c.name)) for c in self.columns))

    def of(self, user_id: str | ColumnElement[str]) -> ColumnElement[bool]:
        """Return the condition that every statement on a synced table begins with."""
        return self.sql.c.user_id == user_id


@cache
def synced_tables() -> tuple[SyncedTable, ...]:
    """Return every declared table, in the order of declaration. Raises `DeclarationError`."""
    tables = tuple(
        SyncedTable(
            model.WIRE_NAME or str(model.__tablename__),
            model,
            sql,
            tuple(c.info[DECLARED] for c in sql.c if DECLARED in c.info),
        )
        for model in Synced.__subclasses__()
        for sql in [Base.metadata.tables[model.__tablename__]]
    )
    for table in tables:
        check_name(table.model.__name__, table.name)
    refuse_clashes("The tables", [table.name for table in tables])
    names = {table.name for table in tables}
    for table in tables:
        for column in table.columns:
            if column.relation and column.relation.parent not in names:
                raise DeclarationError(
                    f"{table.model.__name__}.{column.attribute} names the table "
                    f"{column.relation.parent!r}, which is not declared. Declare it, or make the "
                    "column a columns.string()."
                )
    return tables


@cache
def unsynced_tables() -> tuple[Table, ...]:
    """Return the server's own tables."""
    names = server_tables()
    return tuple(table for table in Base.metadata.tables.values() if table.name in names)


@cache
def tables_by_name() -> dict[str, SyncedTable]:
    """Return the declared tables by their names on the wire."""
    return {table.name: table for table in synced_tables()}
