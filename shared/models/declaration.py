"""Read a synced table's declaration, and refuse in one sentence what cannot be meant.

What WatermelonDB accepts can be declared (docs/design.md, "Declaring tables"); what is accepted here
means the same on every engine.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args, get_type_hints

from sqlalchemy import Boolean, DefaultClause, String, Text, text
from sqlalchemy.orm import InstrumentedAttribute, MappedColumn

from shared.models.columns import DECLARED, Column, DeclarationError

#: Names that WatermelonDB takes (its `checkName`, of which `\\w` is ASCII).
NAME = re.compile(r"[a-zA-Z_]\w*", re.ASCII)
#: What WatermelonDB, the databases on the device and the export (`_deleted`) keep for themselves, in
#: whatever case.
RESERVED = {
    *("id", "_changed", "_status", "local_storage", "_deleted"),
    *("rowid", "oid", "_rowid_", "sqlite_master"),
}
#: What every object of JavaScript has.
OBJECT_MEMBERS = {
    *("constructor", "prototype", "hasOwnProperty", "isPrototypeOf"),
    *("toString", "toLocaleString", "valueOf"),
}
#: Reserved by an engine, and left without quotes by SQLAlchemy, unlike every other such word.
UNQUOTED = {"external", "library", "manual", "nothing", "returning", "tablesample", "vector"}
#: What SQLAlchemy's declarative classes use themselves.
SQLALCHEMY_OWN = {"metadata", "registry"}
#: Characters of a name in MySQL.
MAX_NAME = 64
#: Columns of an InnoDB table, less the server's own.
MAX_COLUMNS = 1000
#: Bytes of a row that InnoDB keeps in a page, of 8126, less the server's own columns. Of a longer
#: text, whatever its length, it keeps 40 and their number; the rest lies elsewhere.
MAX_PAGE_BYTES = 7_800
#: Relations that need an index: MySQL takes 64 of a table.
MAX_RELATIONS = 60
#: Bytes of a MySQL row, which texts without a length hardly count into, less the server's own columns.
MAX_ROW_BYTES = 64_000


def read_declaration(
    model: type, server_columns: Iterable[str], taken_tables: Iterable[str]
) -> None:
    """Check the columns that `model` declares and complete them, before SQLAlchemy maps the class.

    Raises `DeclarationError`.
    """
    name = model.__name__
    _check_class(model)
    _check_table(name, str(vars(model)["__tablename__"]), taken_tables)
    hints = get_type_hints(model)
    columns: dict[str, MappedColumn[Any]] = {}
    for attribute, value in vars(model).items():
        if attribute.lower() in server_columns:
            raise DeclarationError(
                f"{name}.{attribute} is a column of the server. A column of the app with this name "
                f'is declared as {attribute}_: Mapped[…] = columns.…(name="{attribute}").'
            )
        if attribute in SQLALCHEMY_OWN or attribute.lower() in UNQUOTED:
            owner = "SQLAlchemy's own" if attribute in SQLALCHEMY_OWN else "a word of SQL"
            raise DeclarationError(
                f"{name}.{attribute} is {owner}. A column of the app with this name is "
                f'declared as {attribute}_: Mapped[…] = columns.…(name="{attribute}").'
            )
        if isinstance(value, MappedColumn):
            columns[attribute] = value
    for attribute, value in columns.items():
        _complete(name, attribute, value, hints.get(attribute))
    found = [value.column.info[DECLARED] for value in columns.values()]
    refuse_clashes(f"{name}: the columns", [column.name for column in found])
    refuse_clashes(f"{name}: the attributes", columns)
    _check_size(name, columns)


def _check_class(model: type) -> None:
    """Refuse columns that stand elsewhere than in the class of their table, and those that are none."""
    name = model.__name__
    for part in model.__mro__[1:]:
        for attribute, value in vars(part).items():
            if isinstance(value, MappedColumn) and DECLARED in value.column.info:
                raise DeclarationError(
                    f"{name}.{attribute} stands in {part.__name__}. Declare it in {name} itself."
                )
            if isinstance(value, InstrumentedAttribute) and "__tablename__" in vars(part):
                raise DeclarationError(
                    f"{name} has the columns of {part.__name__}. Derive it from Synced and Base alone."
                )
    if "__tablename__" not in vars(model):
        raise DeclarationError(f"{name} has no table: write __tablename__.")
    for attribute in vars(model).get("__annotations__", {}):
        if attribute not in vars(model):
            raise DeclarationError(
                f"{name}.{attribute} has a type and no column: write = columns.string() or the like."
            )


def _check_table(model: str, table: str, taken: Iterable[str]) -> None:
    if table.lower() in taken or table.lower() in UNQUOTED:
        why = "is a word of SQL" if table.lower() in UNQUOTED else "is a table already"
        raise DeclarationError(
            f"{model}: {table} {why}. Write "
            f'__tablename__ = "app_{table}" and WIRE_NAME = "{table}".'
        )
    if len(table) > MAX_NAME:
        raise DeclarationError(
            f"{model}: MySQL takes names of {MAX_NAME} characters at most. Shorten __tablename__ and "
            f'give the app\'s name as WIRE_NAME = "{table}".'
        )


def _complete(model: str, attribute: str, value: MappedColumn[Any], hint: Any) -> None:
    column: Column | None = value.column.info.get(DECLARED)
    if column is None:
        raise DeclarationError(
            f"{model}.{attribute} cannot be synced: declare it with shared.models.columns, such as "
            "columns.string()."
        )
    optional = any(type(None) in get_args(inner) for inner in get_args(hint))
    column = replace(column, attribute=attribute, name=column.name or attribute, optional=optional)
    check_name(f"{model}.{attribute}", column.name)
    if len(attribute) > MAX_NAME:
        raise DeclarationError(
            f"{model}.{attribute}: MySQL takes names of {MAX_NAME} characters at most. Shorten the "
            f'attribute and give the app\'s name as name="{column.name}".'
        )
    if column.relation and column.relation.on_delete == "clear" and not optional:
        raise DeclarationError(
            f"{model}.{attribute} is cleared when its parent goes, so it must be optional: "
            f"write {attribute}: Mapped[str | None]."
        )
    value.column.info[DECLARED] = column
    if not (optional or column.is_enforced or isinstance(value.column.type, Text)):
        # So that it can be added to a table that has rows, beside a release that does not know it.
        empty = "''" if column.kind == "string" else "0"
        value.column.server_default = DefaultClause(text(empty))


def check_name(where: str, name: str) -> None:
    """Raise `DeclarationError` for a wire name of a column or table that WatermelonDB does not take."""
    if (
        not NAME.fullmatch(name)
        or name.lower() in RESERVED
        or name in OBJECT_MEMBERS
        or name.lower().startswith(("__", "sqlite_stat"))
    ):
        raise DeclarationError(
            f"{where}: WatermelonDB takes no column or table named {name!r}. Choose another name."
        )


def refuse_clashes(what: str, names: Iterable[str]) -> None:
    """Raise `DeclarationError` for names that are equal, or are but for case: SQLite takes them for one."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.get(name.lower())
        seen[name.lower()] = name
        if other is not None:
            raise DeclarationError(
                f"{what} {other} and {name} have one name to SQLite on the device, which does not "
                "tell upper from lower case. Rename one of them."
            )


def _check_size(model: str, columns: dict[str, MappedColumn[Any]]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise DeclarationError(
            f"{model} has {len(columns)} columns; MySQL takes {MAX_COLUMNS}. Split the table."
        )
    relations = sum(value.column.info[DECLARED].is_enforced for value in columns.values())
    if relations > MAX_RELATIONS:
        raise DeclarationError(
            f"{model} has {relations} relations that cascade or clear; MySQL takes {MAX_RELATIONS}. "
            "Split the table, or make some of them 'keep'."
        )
    types = [value.column.type for value in columns.values()]
    in_page = sum(map(_page_bytes, types)) + len(types) // 8
    if in_page > MAX_PAGE_BYTES:
        raise DeclarationError(
            f"{model} has rows of {in_page} bytes without the rest of long texts; MySQL takes "
            f"{MAX_PAGE_BYTES}: 41 for a text, 8 for a number, 1 for true or false. Split the table."
        )
    size = sum(map(_bytes, types))
    if size > MAX_ROW_BYTES:
        raise DeclarationError(
            f"{model} has rows of up to {size} bytes; MySQL takes {MAX_ROW_BYTES}. Make some lengths "
            "shorter, or leave them out: columns.string()."
        )


def _page_bytes(type_: Any) -> int:
    """Return how much of a page of InnoDB a column of this type may take."""
    if isinstance(type_, Boolean):
        return 1
    if not isinstance(type_, String):
        return 8
    return 41 if isinstance(type_, Text) else min(4 * (type_.length or 0), 40) + 1


def _bytes(type_: Any) -> int:
    """Return how much of a MySQL row a column of this type may take."""
    if isinstance(type_, Text):
        return 12
    # Four bytes a character of utf8mb4, and two for the length.
    return 4 * (type_.length or 0) + 2 if isinstance(type_, String) else 8
