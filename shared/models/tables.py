"""The declared tables and their columns, read off the models: the one whitelist of what travels."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from sqlalchemy import Column as SqlColumn
from sqlalchemy import (
    ColumnElement,
    Table,
    Text,
    bindparam,
    func,
    literal_column,
    null,
    quoted_name,
)

from shared.database.base import Base
from shared.models.columns import DECLARED, SPACE, Column, DeclarationError, Value
from shared.models.declaration import check_name, refuse_clashes
from shared.models.declared import Declared, server_tables
from shared.models.reference import REFERENCE_TABLES, Reference
from shared.models.rules import RULES
from shared.models.service_key import ServiceKey
from shared.models.space import SPACE_TABLES
from shared.models.synced import Synced
from shared.models.webhook import WEBHOOK_TABLES


def _quoted(name: str) -> str:
    # An app may call a column by a word that SQLAlchemy does not know to be one of MySQL's.
    return quoted_name(name, quote=True)


@dataclass(frozen=True, eq=False)
class DeclaredTable:
    """One declared table. Names are those on the wire; `sql` has its own."""

    name: str
    #: The class that declares it.
    model: type[Declared]
    sql: Table
    columns: tuple[Column, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of `columns`."""
        return tuple(column.name for column in self.columns)

    @property
    def is_shareable(self) -> bool:
        """Return whether its records name their space."""
        return self.model.SHAREABLE

    @cached_property
    def wire_columns(self) -> tuple[Column, ...]:
        """Return what a record on the wire has besides its id."""
        return (*self.columns, SPACE) if self.is_shareable else self.columns

    @cached_property
    def known_names(self) -> frozenset[str]:
        """Return every name that a pushed record may have."""
        return frozenset((*(c.name for c in self.wire_columns), "id", "_status", "_changed"))

    @cached_property
    def empty_values(self) -> dict[str, Value]:
        """Return the values of a row that was sent without any. What it belongs to is not known."""
        return {c.name: None if c.is_enforced else c.empty for c in self.wire_columns}

    def column(self, column: Column) -> SqlColumn[Value]:
        """Return the SQL column of a declared one."""
        return self.sql.c[column.attribute]

    def value(self, column: Column, *, is_sent: bool = False) -> ColumnElement[Value]:
        """Return the value of a declared column: of a required text, empty if a release did not know it.

        A required relation that is newer than the row is null to the server, and empty when it is sent.
        """
        sql = self.column(column)
        is_filled = is_sent if column.is_enforced else isinstance(sql.type, Text)
        if column.optional or not is_filled:
            return sql
        return func.coalesce(sql, literal_column("''", sql.type))

    @cached_property
    def record(self) -> tuple[ColumnElement[Value], ...]:
        """Return what a record on the wire is made of, by its names: the id and the columns."""
        return self._record(is_sent=False)

    def _record(self, *, is_sent: bool) -> tuple[ColumnElement[Value], ...]:
        values = [self.value(c, is_sent=is_sent).label(_quoted(c.name)) for c in self.columns]
        return (self.sql.c.id, *values)


class ReferenceTable(DeclaredTable):
    """A table whose rows are the server's own (shared/models/reference.py)."""


class SyncedTable(DeclaredTable):
    """A table whose rows are in spaces."""

    @cached_property
    def upward(self) -> Column | None:
        """Return the relation to what a row is below, and moves along with: the first that cascades."""
        return next(iter(self.cascading), None)

    @cached_property
    def home(self) -> Column | None:
        """Return the relation whose parent's space a row is in; None where the row itself says which."""
        return None if self.is_shareable else self.upward

    @cached_property
    def depth(self) -> int | None:
        """Return how many such relations lead to a shareable table; None where none does.

        The rows of a table without are in the personal spaces of those who pushed them.
        """
        table, depth = self, 0
        while not table.is_shareable:
            if table.home is None or table.home.relation is None or depth > len(synced_tables()):
                return None
            table, depth = tables_by_name()[table.home.relation.parent], depth + 1
        return depth

    @cached_property
    def enforced(self) -> tuple[Column, ...]:
        """Return the columns whose row must name a living parent: those that cascade or are cleared."""
        return tuple(column for column in self.columns if column.is_enforced)

    @cached_property
    def cascading(self) -> tuple[Column, ...]:
        """Return the relations whose row is deleted with its parent."""
        return tuple(c for c in self.columns if c.relation and c.relation.on_delete == "cascade")

    @cached_property
    def sent_record(self) -> tuple[ColumnElement[Value], ...]:
        """Return the same as a device is sent it, of a row in a personal space."""
        space = (null().label(_quoted(SPACE.name)),) if self.is_shareable else ()
        return (*self._record(is_sent=True), *space)

    @cached_property
    def shared_record(self) -> tuple[ColumnElement[Value], ...]:
        """Return the same of a row in any space."""
        return (*self._record(is_sent=True), *self.space)

    @cached_property
    def space(self) -> tuple[ColumnElement[Value], ...]:
        """Return the column `space_id` of a shareable table; null for that of `me`, a parameter."""
        key = self.sql.c.user_id
        space = func.nullif(key, bindparam("me"), type_=key.type).label(_quoted(SPACE.name))
        return (space,) if self.is_shareable else ()

    def of(self, space_id: str | ColumnElement[str]) -> ColumnElement[bool]:
        """Return the condition that every statement on a synced table begins with."""
        return self.sql.c.user_id == space_id


@cache
def synced_tables() -> tuple[SyncedTable, ...]:
    """Return every table of spaces, in the order of declaration. Raises `DeclarationError`."""
    tables = tuple(SyncedTable(*_read(model)) for model in Synced.__subclasses__())
    _check((*tables, *reference_tables()))
    names = {table.name for table in tables}
    for name, rules in RULES.items():
        where = f"The rule {rules[0].__qualname__} is about the table {name!r}, "
        if name in {table.name for table in reference_tables()}:
            raise DeclarationError(
                f"{where}which nobody pushes: it is a reference table. Remove it."
            )
        if name not in names:
            raise DeclarationError(f"{where}which is not declared. Write its name on the wire.")
    return tables


@cache
def reference_tables() -> tuple[ReferenceTable, ...]:
    """Return every reference table, in the order of declaration."""
    return tuple(ReferenceTable(*_read(model)) for model in Reference.__subclasses__())


@cache
def pulled_tables() -> tuple[SyncedTable | ReferenceTable, ...]:
    """Return all that is pulled: the tables of spaces, then the reference tables."""
    return (*synced_tables(), *reference_tables())


def _read(model: type[Declared]) -> tuple[str, type[Declared], Table, tuple[Column, ...]]:
    sql = Base.metadata.tables[model.__tablename__]
    columns = tuple(c.info[DECLARED] for c in sql.c if DECLARED in c.info)
    return model.WIRE_NAME or str(model.__tablename__), model, sql, columns


def _check(tables: Sequence[DeclaredTable]) -> None:
    """Raise `DeclarationError` for what cannot be meant of tables together."""
    for table in tables:
        check_name(table.model.__name__, table.name)
    refuse_clashes("The tables", [table.name for table in tables])
    by_name = {table.name: table for table in tables}
    for table in tables:
        if table.is_shareable and SPACE.name in {name.lower() for name in table.names}:
            raise DeclarationError(
                f"{table.model.__name__} is shareable, so its records have a column space_id, and it "
                "cannot declare another. Remove the column, or SHAREABLE."
            )
        for column in table.columns:
            if column.relation:
                _check_relation(table, column, by_name.get(column.relation.parent))


def _check_relation(table: DeclaredTable, column: Column, parent: DeclaredTable | None) -> None:
    where = f"{table.model.__name__}.{column.attribute}"
    if parent is None:
        name = column.relation and column.relation.parent
        raise DeclarationError(
            f"{where} names the table "
            f"{name!r}, which is not declared. Declare it, or make the "
            "column a columns.string()."
        )
    if isinstance(parent, ReferenceTable) and column.is_enforced:
        raise DeclarationError(
            f"{where} names the reference table {parent.name!r}, whose rows come and go by loads. Write "
            f"columns.relation({parent.name!r}, 'keep')."
        )
    if isinstance(table, ReferenceTable) and not isinstance(parent, ReferenceTable):
        raise DeclarationError(
            f"{where} names {parent.name!r}, whose rows are their users', and everybody reads a reference "
            "table. Let it name a reference table, or make the column a columns.string()."
        )


@cache
def parents_first() -> tuple[SyncedTable, ...]:
    """Return the declared tables, each after those that its rows are deleted with, as far as there is such an
    order, and always after the one whose space they are in.
    """
    tables = list(synced_tables())
    ordered: list[SyncedTable] = []
    while tables:
        names = {table.name for table in tables}
        free = (t for t in tables if not names & ({*_parents(t.cascading)} - {t.name}))
        homed = (t for t in tables if t.depth is None or not names & {*_parents((t.home,))})
        ordered.append(next(free, None) or next(homed))
        tables.remove(ordered[-1])
    return tuple(ordered)


def _parents(relations: Iterable[Column | None]) -> Iterator[str]:
    return (c.relation.parent for c in relations if c is not None and c.relation is not None)


@cache
def unsynced_tables() -> tuple[Table, ...]:
    """Return the server's own tables, but for those that not every service may see."""
    not_for_all = SPACE_TABLES | REFERENCE_TABLES | WEBHOOK_TABLES | {ServiceKey.__tablename__}
    names = server_tables() - not_for_all
    return tuple(table for table in Base.metadata.tables.values() if table.name in names)


@cache
def tables_by_name() -> dict[str, SyncedTable]:
    """Return the tables of spaces by their names on the wire."""
    return {table.name: table for table in synced_tables()}


def parent_of(column: Column) -> SyncedTable:
    """Return the table that an enforced relation names."""
    assert column.relation is not None  # noqa: S101
    return tables_by_name()[column.relation.parent]
