"""The changes of a schema to the module of declarations.

What stands there and still means the same column is not touched, so that whatever was written by hand
stays: a relation that cascades, a length, a whole number, a comment, the name of a class.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from schema.adopt import names, schema
from schema.adopt.declarations import APP, Column, Module, Table, quoted
from schema.adopt.rendering import head_for, opening, rendered
from schema.adopt.schema import Refused
from shared.models.columns import SPACE

#: WatermelonDB sets these itself, to whole milliseconds.
TOUCHED = ("created_at", "updated_at")


@dataclass
class Difference:
    """The changes of a schema to a module, by names on the wire."""

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
            before = replace(before, before=opening(before))
        tables.append(_brought_up(before, table, wanted, difference, remove=remove))
    difference.gone += declared
    if not remove:
        tables += declared.values()
    if difference.tables or difference.columns or (remove and difference.gone):
        difference.migrates = True
    return replace(module, head=head_for(module.head, tables), tables=tuple(tables)), difference


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
        if before.shareable and column["name"] == SPACE.name:
            continue
        proposal = _proposal(table["name"], column, attributes[column["name"]], wanted)
        old = declared.pop(column["name"], None)
        label = f"{table['name']}.{column['name']}"
        if old is None:
            if not is_new:
                difference.columns.append(label)
            columns.append(rendered(proposal))
        else:
            columns.append(_kept(old, proposal, label, difference))
    difference.gone += [f"{table['name']}.{name}" for name in declared]
    if not remove:
        columns += declared.values()
    return replace(before, columns=tuple(columns))


def _proposal(table: str, column: schema.Column, attribute: str, wanted: schema.Schema) -> Column:
    """Return what a column is declared as when nothing is yet."""
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
        kind = "integer" if decorator == "field" else "date"
    return Column(
        attribute, name, kind, column["isOptional"], column["isIndexed"], arguments, comment
    )


def _kept(old: Column, proposal: Column, label: str, difference: Difference) -> Column:
    if old.type is None:
        return old
    if old.kind == "relation" and ast.literal_eval(old.arguments[0]) in difference.removed:
        difference.altered.append(f"{label} names rows of no table now")
        plain = replace(old, kind="string", arguments=(), comment="")
        old = replace(rendered(plain), comment="")
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
        # A relation that the server enforces is NULL in an orphan's tombstone either way.
        difference.migrates |= old.kind != "relation" or old.arguments[-1] == quoted("keep")
        difference.altered.append(
            f"{label} is {'optional' if proposal.optional else 'required'} now"
        )
    if old.indexed != proposal.indexed:
        difference.altered.append(f"{label} is {'' if proposal.indexed else 'not '}indexed now")
    return rendered(replace(old, optional=proposal.optional, indexed=proposal.indexed))
