"""The module of declarations, read from its text."""

import ast
from dataclasses import dataclass
from pathlib import Path

#: The adopted tables, and whatever is added to them by hand.
APP = Path("shared/models/app.py")

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
#: `isIndexed` where a declaration does not say it.
INDEXED = {"relation": True}


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
        """Return WatermelonDB's type, or None where a kind is not known here."""
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
    #: Whether its records name their space, which is declared by this alone.
    shareable: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the class as text."""
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
        """Return the module as text."""
        parts = [self.head.strip("\n"), *("\n".join(table.lines) for table in self.tables)]
        if self.tail:
            parts.append(self.tail.strip("\n"))
        return "\n\n\n".join(part.rstrip() for part in parts) + "\n"


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


def reference_names(text: str) -> list[str]:
    """Return the names on the wire of the reference tables that a module's text declares."""
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    found = [_constants(node) for node in classes if _is_derived(node, "Reference")]
    return [str(constants.get("WIRE_NAME", constants["__tablename__"])) for constants in found]


def _is_synced(node: ast.ClassDef) -> bool:
    return _is_derived(node, "Synced")


def _is_derived(node: ast.ClassDef, kind: str) -> bool:
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return kind in bases and "__tablename__" in _constants(node)


def _constants(node: ast.ClassDef) -> dict[str, object]:
    """Return what a class's body assigns as it is written there."""
    return {
        target.id: one.value.value
        for one in node.body
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant)
        for target in one.targets
        if isinstance(target, ast.Name)
    }


def _first_line(lines: list[str], node: ast.stmt) -> int:
    """Return the index of a statement's first line, or of the comments right above it."""
    decorators = getattr(node, "decorator_list", [])
    first: int = min([node.lineno, *(one.lineno for one in decorators)]) - 1
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first


def _table(lines: list[str], node: ast.ClassDef) -> Table:
    constants = _constants(node)
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
        shareable=constants.get("SHAREABLE") is True,
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


def quoted(text: str) -> str:
    """Return a string as ruff writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
