"""The module of declarations: read from its text, brought up to a schema, written as ruff would.

What stands there and still means the same column is not touched, so that whatever was written by hand
stays: a relation that cascades, a length, a whole number, a comment, the name of a class.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploy.adopt import names, schema
from deploy.adopt.reader import Refused

#: The adopted tables, and whatever is added to them by hand.
APP = Path("shared/models/app.py")

DOCSTRING = '''"""The app's tables.

Written by `make adopt` from the app's own schema, and yours to edit: adopting a newer schema adds what is
new and leaves what you wrote, such as what becomes of a row when the one that it names is deleted.
"""
'''
WIDTH = 100
#: Beyond it ruff complains of what it cannot break.
HARD_WIDTH = 110

#: WatermelonDB's type of each kind of column.
TYPES = {
    "string": "string",
    "text": "string",
    "json": "string",
    "relation": "string",
    "number": "number",
    "integer": "number",
    "date": "number",
    "boolean": "boolean",
}
PYTHON = {"string": "str", "text": "str", "json": "str", "relation": "str"}
PYTHON |= {"number": "float", "integer": "int", "date": "int", "boolean": "bool"}
#: `isIndexed` where a declaration does not say it.
INDEXED = {"relation": True}
#: WatermelonDB sets these itself, to whole milliseconds.
TOUCHED = ("created_at", "updated_at")


@dataclass(frozen=True)
class Column:
    """A declared column; `lines` is its text in the module, with the comments above it."""

    attribute: str
    name: str
    kind: str
    optional: bool
    indexed: bool
    #: Positional arguments as they are written: a length; a parent and what a deletion does.
    arguments: tuple[str, ...] = ()
    comment: str = ""
    lines: tuple[str, ...] = ()

    @property
    def type(self) -> str | None:
        """WatermelonDB's type, or None where a kind is not known here."""
        return TYPES.get(self.kind)


@dataclass(frozen=True)
class Table:
    """A declared table; `before` and `after` are the text around its columns."""

    class_name: str
    sql: str
    name: str
    columns: tuple[Column, ...]
    before: tuple[str, ...]
    after: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The class as text."""
        body = tuple(line for column in self.columns for line in column.lines)
        gap = ("",) if body and not self._is_spaced else ()
        return (*self.before, *gap, *body, *self.after)

    @property
    def _is_spaced(self) -> bool:
        return not self.before[-1].strip()


@dataclass(frozen=True)
class Module:
    """A module of declarations: what stands above the tables, the tables, what stands below."""

    head: str
    tables: tuple[Table, ...] = ()
    tail: str = ""

    @property
    def text(self) -> str:
        """The module as text."""
        parts = [self.head.strip("\n"), *("\n".join(table.lines) for table in self.tables)]
        if self.tail:
            parts.append(self.tail.strip("\n"))
        return "\n\n\n".join(part.rstrip() for part in parts) + "\n"


@dataclass
class Difference:
    """What a schema changes in a module, by names on the wire."""

    tables: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    #: Declared, and not in the schema.
    gone: list[str] = field(default_factory=list)
    #: What the schema's relations and models propose for columns that are declared otherwise.
    proposed: list[str] = field(default_factory=list)
    #: Tables that are taken away.
    removed: set[str] = field(default_factory=set)
    #: Whether the database's tables change.
    migrates: bool = False


def parse(text: str) -> Module:
    """Read the declarations in a module's text."""
    lines = text.splitlines()
    tree = ast.parse(text)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and _is_synced(node)]
    if not classes:
        return Module(head=text)
    start = _first_line(lines, classes[0])
    spans = {(_first_line(lines, node), node.end_lineno or node.lineno) for node in classes}
    rest = [
        line
        for number, line in enumerate(lines)
        if number >= start and not any(first <= number < last for first, last in spans)
    ]
    return Module(
        head="\n".join(lines[:start]),
        tables=tuple(_table(lines, node) for node in classes),
        tail="\n".join(rest).strip("\n"),
    )


def _is_synced(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id == "Synced" for base in node.bases)


def _first_line(lines: list[str], node: ast.stmt) -> int:
    """Return the index of a statement's first line, or of the comments right above it."""
    decorators = getattr(node, "decorator_list", [])
    first: int = min([node.lineno, *(one.lineno for one in decorators)]) - 1
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first


def _table(lines: list[str], node: ast.ClassDef) -> Table:
    constants = {
        target.id: one.value.value
        for one in node.body
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant)
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    sql = str(constants["__tablename__"])
    spans, columns = [], []
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and (column := _column(lines, one)):
            columns.append(column)
            spans.append((_first_line(lines, one), one.end_lineno or one.lineno))
    start, end = _first_line(lines, node), node.end_lineno or node.lineno
    first, last = (spans[0][0], spans[-1][1]) if spans else (end, end)
    between = [
        line
        for number, line in enumerate(lines[first:last], first)
        if line.strip() and not any(one <= number < other for one, other in spans)
    ]
    return Table(
        class_name=node.name,
        sql=sql,
        name=str(constants.get("WIRE_NAME", sql)),
        columns=tuple(columns),
        before=tuple(lines[start:first]),
        after=(*between, *lines[last:end]),
    )


def _column(lines: list[str], node: ast.AnnAssign) -> Column | None:
    call = node.value
    if not (
        isinstance(node.target, ast.Name)
        and isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "columns"
    ):
        return None
    keywords = {one.arg: one.value for one in call.keywords if isinstance(one.value, ast.Constant)}
    last = node.end_lineno or node.lineno
    given = {name: value.value for name, value in keywords.items()}
    return Column(
        attribute=node.target.id,
        name=str(given.get("name", node.target.id)),
        kind=call.func.attr,
        optional="None" in ast.unparse(node.annotation),
        indexed=bool(given.get("indexed", INDEXED.get(call.func.attr, False))),
        arguments=tuple(_written(argument) for argument in call.args),
        comment=lines[last - 1].encode()[node.end_col_offset or 0 :].decode().strip(),
        lines=tuple(lines[_first_line(lines, node) : last]),
    )


def _written(argument: ast.expr) -> str:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return quoted(argument.value)
    return ast.unparse(argument)


def bring_up(
    module: Module, wanted: schema.Schema, *, remove: bool, elsewhere: Iterable[Table] = ()
) -> tuple[Module, Difference]:
    """Return the module with everything that a schema has, and what that changes.

    What the schema has not is named, and taken away only with `remove`. `elsewhere` are the tables of
    other modules. Raises `Refused` for a table that one of them declares, and for a column that changed
    its type.
    """
    difference = Difference()
    declared = {table.name: table for table in module.tables}
    others = {table.name: table for table in elsewhere}
    for table in wanted["tables"]:
        if table["name"] in others:
            raise Refused(
                f"The table {table['name']} is declared outside {APP} already: move its class there."
            )
    if remove:
        wanted_names = {table["name"] for table in wanted["tables"]}
        difference.removed = declared.keys() - wanted_names
    taken = {table.name: table.sql for table in (*module.tables, *others.values())}
    sql = names.sql_tables([table["name"] for table in wanted["tables"]], taken)
    classes = {table.class_name for table in module.tables}
    tables = []
    for table in wanted["tables"]:
        before = declared.pop(table["name"], None)
        if before is None:
            difference.tables.append(table["name"])
            model = wanted["models"].get(table["name"], {}).get("class")
            name = names.class_name(table["name"], model, classes)
            classes.add(name)
            before = Table(name, sql[table["name"]], table["name"], (), ())
            before = replace(before, before=_opening(before))
        tables.append(_brought_up(before, table, wanted, difference, remove=remove))
    difference.gone += declared
    if not remove:
        tables += declared.values()
    added = [*difference.tables, *difference.columns]
    difference.migrates = bool(added or (remove and difference.gone)) or any(
        "optional" in one or "required" in one for one in difference.altered
    )
    return replace(module, head=_head(module.head, tables), tables=tuple(tables)), difference


def _brought_up(
    before: Table,
    table: schema.Table,
    wanted: schema.Schema,
    difference: Difference,
    *,
    remove: bool,
) -> Table:
    is_new = table["name"] in difference.tables
    declared = {column.name: column for column in before.columns}
    taken = {column.name: column.attribute for column in before.columns}
    attributes = names.attributes([column["name"] for column in table["columns"]], taken)
    columns = []
    for column in table["columns"]:
        proposal = _proposal(table["name"], column, attributes[column["name"]], wanted)
        old = declared.pop(column["name"], None)
        label = f"{table['name']}.{column['name']}"
        if old is None:
            if not is_new:
                difference.columns.append(label)
            columns.append(_rendered(proposal))
        else:
            columns.append(_kept(old, proposal, label, difference))
    difference.gone += [f"{table['name']}.{name}" for name in declared]
    if not remove:
        columns += declared.values()
    return replace(before, columns=tuple(columns))


def _proposal(table: str, column: schema.Column, attribute: str, wanted: schema.Schema) -> Column:
    """What a column is declared as when nothing is yet."""
    name = column["name"]
    relation = next(
        (
            one
            for one in wanted.get("relations", [])
            if (one["table"], one["column"]) == (table, name)
        ),
        None,
    )
    decorator = wanted["models"].get(table, {}).get("columns", {}).get(name)
    kind, comment = column["type"], ""
    arguments: tuple[str, ...] = ()
    if relation:
        kind = "relation"
        arguments = (quoted(relation["parent"]), quoted(relation["on_delete"]))
        comment = (
            f"# confirm: {'from the models' if relation['why'] == 'models' else 'by its name'}"
        )
    elif kind == "string" and decorator == "json":
        kind = "json"
    elif kind == "number" and name in TOUCHED:
        kind = "integer"
    return Column(
        attribute, name, kind, column["isOptional"], column["isIndexed"], arguments, comment
    )


def _kept(old: Column, proposal: Column, label: str, difference: Difference) -> Column:
    if old.type is None:
        return old
    if old.kind == "relation" and ast.literal_eval(old.arguments[0]) in difference.removed:
        difference.altered.append(f"{label} names rows of no table now")
        plain = replace(old, kind="string", arguments=(), comment="")
        old = replace(_rendered(plain), comment="")
    if old.type != proposal.type:
        raise Refused(
            f"{label} is declared as a {old.type} and a {proposal.type} in the schema; rows hold the "
            f"former, so give the new column another name."
        )
    if proposal.kind in ("relation", "json") and old.kind in ("string", "text"):
        difference.proposed.append(
            f"{label}: columns.{proposal.kind}({', '.join(proposal.arguments)})"
        )
    if (old.optional, old.indexed) == (proposal.optional, proposal.indexed):
        return old
    if old.optional != proposal.optional:
        difference.altered.append(
            f"{label} is {'optional' if proposal.optional else 'required'} now"
        )
    if old.indexed != proposal.indexed:
        difference.altered.append(f"{label} is {'' if proposal.indexed else 'not '}indexed now")
    return _rendered(replace(old, optional=proposal.optional, indexed=proposal.indexed))


def _rendered(column: Column) -> Column:
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


def _opening(table: Table) -> tuple[str, ...]:
    shown = table.name if len(table.name) <= COLUMN_SHOWN else table.sql
    lines = [
        f"class {table.class_name}(Synced, Base):",
        f'    """The app\'s table `{shown}`."""',
        "",
        f"    __tablename__ = {quoted(table.sql)}",
    ]
    if table.name != table.sql:
        wire = f"    WIRE_NAME = {quoted(table.name)}"
        lines.append(wire + ("  # noqa: E501" if len(wire) > HARD_WIDTH else ""))
    return tuple(lines)


#: A name of that length fits into a docstring's line.
COLUMN_SHOWN = 64


def quoted(text: str) -> str:
    """Return a string as ruff writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _head(head: str, tables: list[Table]) -> str:
    """Return the top of the module, with the imports that its tables need."""
    generated = (_imports(True).strip(), _imports(False).strip())
    if "Synced" in head and head.strip() not in generated:
        return head
    return _imports(any(table.columns for table in tables))


def _imports(has_columns: bool) -> str:
    mapped = "\nfrom sqlalchemy.orm import Mapped\n" if has_columns else ""
    columns = "from shared.models import columns\n" if has_columns else ""
    return (
        f"{DOCSTRING}{mapped}\nfrom shared.db import Base\n{columns}"
        "from shared.models.synced import Synced\n"
    )
