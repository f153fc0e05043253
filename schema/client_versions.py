"""The version of the app's schema, and the steps that bring devices from one to the next.

What was printed last, or adopted, stands in client/schema.json (schema/adopt/schema.py has its form). A
device must neither be refused at its start by WatermelonDB nor have its database reset.
"""

from typing import Any

from schema.adopt.schema import KEPT, Column, Migration, Refused, Schema, Table, names_of
from shared.models.tables import pulled_tables


def declared_tables() -> list[Table]:
    """Return what is declared, in WatermelonDB's terms and in the order of declaration."""
    return [
        Table(
            name=table.name,
            columns=[
                Column(
                    name=column.name,
                    type=column.kind,
                    isOptional=column.optional,
                    isIndexed=column.indexed,
                )
                for column in table.wire_columns
            ],
        )
        for table in pulled_tables()
    ]


def without(tables: list[Table], retired: list[str]) -> list[Table]:
    """Return the tables without those, and those columns, that only older versions of the app have."""
    return [
        table
        | {
            "columns": [
                c for c in table["columns"] if f"{table['name']}.{c['name']}" not in retired
            ]
        }
        for table in tables
        if table["name"] not in retired
    ]


def follow(kept: Schema | None, declared: list[Table]) -> Schema:
    """Return the schema to print after `kept`: the same version if it says the same, or else the next.

    Raises `Refused` for a name that devices may have already.
    """
    if kept is None:
        return Schema(version=1, tables=declared, migrations=[], models={})
    tables = without(declared, kept.get("retired", []))
    by_name = {table["name"]: table for table in kept["tables"]}
    migration = Migration(toVersion=kept["version"] + 1, steps=[], remarks=[])
    for table in tables:
        _step(by_name.get(table["name"]), table, migration)
    names, before = names_of(tables), names_of(kept["tables"])
    gone = [name for name in before if name not in names]
    left = [*kept.get("left", []), *gone]
    _refuse_returns([name for name in names if name not in before], left)
    migration["remarks"] += [
        f"{name} is gone: devices keep what they have of it, and the app no longer sees it."
        for name in gone
        if name.split(".")[0] not in gone or "." not in name
    ]
    following = kept | {"tables": tables}
    if not (migration["steps"] or migration["remarks"]):
        return following
    following |= {"version": migration["toVersion"], "left": left}
    if kept["migrations"] is None:
        return following | {"appended": [*kept.get("appended", []), migration]}
    return following | {"migrations": [*kept["migrations"], migration]}


def _step(before: Table | None, table: Table, migration: Migration) -> None:
    """Add what a device has to do for a table, and what WatermelonDB has no step for."""
    name = table["name"]
    if before is None:
        migration["steps"].append({"type": "create_table", **table})
        return
    known = {column["name"]: column for column in before["columns"]}
    added = [column for column in table["columns"] if column["name"] not in known]
    if added:
        migration["steps"].append({"type": "add_columns", "table": name, "columns": added})
    for column in table["columns"]:
        if (old := known.get(column["name"])) and old != column:
            migration["remarks"] += _changes(f"{name}.{column['name']}", old, column)


def _changes(label: str, old: Column, new: Column) -> list[str]:
    changes = []
    if old["type"] != new["type"]:
        changes.append(
            f"{label} was a {old['type']} and is a {new['type']}: devices read as empty what they hold of "
            "it until it is pulled again. A column of another name is pulled at once."
        )
    if old["isOptional"] != new["isOptional"]:
        how = "optional" if new["isOptional"] else "required, and empty where it had no value"
        changes.append(f"{label} is {how}.")
    if old["isIndexed"] != new["isIndexed"]:
        how = "has an index" if new["isIndexed"] else "needs no index"
        changes.append(f"{label} {how} on devices that are new.")
    return changes


def _refuse_returns(new: list[str], left: list[str]) -> None:
    """Refuse what devices have already: creating it again would fail at the app's start."""
    there = {name.lower(): name for name in left}
    for name in new:
        if earlier := there.get(name.lower()):
            raise Refused(
                f"Devices may still have {earlier}, which was gone since: WatermelonDB could not create "
                f"{name} there. Choose another name, or take it out of 'left' in {KEPT} if no device had it."
            )


def is_complete(schema: Schema) -> bool:
    """Return whether the migrations lead to the schema's version: WatermelonDB starts only then."""
    return schema["migrations"] is not None


def migrations_to_print(schema: Schema) -> list[Any]:
    """Return the migrations, newest first, as WatermelonDB's documentation has them."""
    known = schema["migrations"] if is_complete(schema) else schema.get("appended", [])
    return list(reversed(known or []))
