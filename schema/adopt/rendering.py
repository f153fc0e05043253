"""Declarations as text, formatted as ruff would: nothing else need be installed to write them."""

from collections.abc import Iterable
from dataclasses import replace

from schema.adopt.declarations import INDEXED, Column, Table, quoted

DOCSTRING = '''"""The app's tables.

Written by `make adopt` from the app's own schema, and yours to edit: adopting a newer schema adds what is
new and leaves what you wrote, such as what becomes of a row when the one that it names is deleted.
"""
'''
WIDTH = 100
#: Beyond it ruff complains of what it cannot break.
HARD_WIDTH = 110

#: A name of that length fits into a docstring's line.
SHOWN = 64

PYTHON = {"string": "str", "text": "str", "json": "str", "relation": "str"}
PYTHON |= {"number": "float", "integer": "int", "date": "int", "boolean": "bool"}


def rendered(column: Column) -> Column:
    """Return the column with its text."""
    above = [line for line in column.lines if line.lstrip().startswith("#")]
    kind = PYTHON[column.kind] + (" | None" if column.optional else "")
    call = f"    {column.attribute}: Mapped[{kind}] = columns.{column.kind}("
    arguments = list(column.arguments)
    if column.name != column.attribute:
        arguments.append(f"name={quoted(column.name)}")
    if column.indexed != INDEXED.get(column.kind, False):
        arguments.append(f"indexed={column.indexed}")
    comment = f"  {column.comment}" if column.comment else ""
    listed = ", ".join(arguments)
    if len(call + listed + ")" + comment) <= WIDTH or not arguments:
        lines = [f"{call}{listed}){comment}"]
    elif len(listed) + 8 <= WIDTH:
        lines = [call, f"        {listed}", f"    ){comment}"]
    else:
        lines = [call, *(f"        {argument}," for argument in arguments), f"    ){comment}"]
    return replace(column, lines=(*above, *lines))


def opening(table: Table, whose: str = "The app's", base: str = "Synced") -> tuple[str, ...]:
    """Return the lines of a class before its columns."""
    shown = table.name if len(table.name) <= SHOWN else table.sql
    lines = [
        f"class {table.class_name}({base}, Base):",
        f'    """{whose} table `{shown}`."""',
        "",
        f"    __tablename__ = {quoted(table.sql)}",
    ]
    if table.name != table.sql:
        wire = f"    WIRE_NAME = {quoted(table.name)}"
        lines.append(wire + ("  # noqa: E501" if len(wire) > HARD_WIDTH else ""))
    return tuple(lines)


def head_for(head: str, tables: list[Table]) -> str:
    """Return the top of the module, with the imports that its tables need."""
    generated = (_head(True).strip(), _head(False).strip())
    if "Synced" in head and head.strip() not in generated:
        return head
    return _head(any(table.columns for table in tables))


def _head(has_columns: bool) -> str:
    return imports(DOCSTRING, has_columns=has_columns)


def imports(docstring: str, *, has_columns: bool, bases: Iterable[str] = ("Synced",)) -> str:
    """Return the top of a module whose tables have these bases."""
    mapped = "\nfrom sqlalchemy.orm import Mapped\n" if has_columns else ""
    columns = "from shared.models import columns\n" if has_columns else ""
    own = "".join(f"from shared.models.{base.lower()} import {base}\n" for base in sorted(bases))
    return f"{docstring}{mapped}\nfrom shared.database.base import Base\n{columns}{own}"
