"""The app's schema and models for the declared tables: `python -m schema.client_schema [ts]` prints them.

JavaScript, or TypeScript with types; both with the decorators of WatermelonDB's documentation.
"""

import json
import re
import sys
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from schema.adopt.schema import KEPT, Refused, Schema, kept, text
from schema.client_versions import (
    declared_tables,
    follow,
    is_complete,
    migrations_to_print,
)
from shared.models.columns import Column
from shared.models.tables import DeclaredTable, ReferenceTable, pulled_tables
from shared.web.schemas import camel

ROOT = Path(__file__).parent.parent
#: Columns that WatermelonDB sets by itself where a model has these members. A model that has the member
#: and not the column fails at every update.
TOUCHED = {"created_at": "createdAt", "updated_at": "updatedAt"}
#: Members that WatermelonDB's Model and every object have, and words that JavaScript reads otherwise
#: at the beginning of a class's line. What begins with _ is WatermelonDB's own too.
TAKEN = set(
    re.findall(
        r"\w+",
        """
        asModel batch callReader callWriter collection collections database db destroyPermanently
        experimentalDestroyPermanently experimentalMarkAsDeleted experimentalSubscribe id markAsDeleted
        observe prepareDestroyPermanently prepareMarkAsDeleted prepareUpdate subAction syncStatus table update
        constructor hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf
        accessor async declare get set static
        """,
    )
)
#: What the printed module imports, exports or finds in JavaScript by these names.
TAKEN_CLASSES = set(
    re.findall(
        r"\w+",
        """
        Array Boolean Date Error Event Function Map Math Model Number Object Promise Proxy Q Query Reflect
        Relation Set String Symbol addColumns appSchema asItIs children createTable date field json
        laterMigrations migrations modelClasses readonly relation schema schemaMigrations tableSchema text
        unsafeExecuteSql
        """,
    )
)
TYPES = {"string": "string", "number": "number", "boolean": "boolean"}


def render(schema: Schema, *, typed: bool) -> str:
    """Return one module: `schema` and `migrations` for the adapter, the models and `modelClasses`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,
    )
    environment.policies["json.dumps_function"] = lambda value, **_: json.dumps(value)
    migrations = migrations_to_print(schema)
    return environment.get_template("client_schema.js.jinja").render(
        typed=typed,
        schema=schema,
        migrations=migrations,
        complete=is_complete(schema),
        first_unknown=schema["version"] - len(migrations),
        models=list(_models(schema)),
    )


def _models(schema: Schema) -> Iterator[dict[str, Any]]:
    """Yield what the class of each table's model has."""
    columns = {table["name"]: {c["name"] for c in table["columns"]} for table in schema["tables"]}
    by_name = {table.name: table for table in pulled_tables()}
    tables = [by_name[name] for name in columns]
    shown = {
        table.name: [c for c in table.wire_columns if c.name in columns[table.name]]
        for table in tables
    }
    taken = set(TAKEN_CLASSES)
    names = {
        table.name: _free(table.model.__name__, f"{table.model.__name__}Record", taken)
        for table in tables
    }
    for table in tables:
        own = shown[table.name]
        decorators = schema["models"].get(table.name, {}).get("columns", {})
        members = {*TAKEN, *TOUCHED.values()}
        fields = [_field(column, decorators.get(column.name), members) for column in own]
        parents = [(c, c.relation.parent) for c in own if c.relation and c.relation.parent in shown]
        relations = [
            {
                "parent": parent,
                "column": column.name,
                "model": names[parent],
                "member": _free(_stem(column), f"{_stem(column)}Record", members),
            }
            for column, parent in parents
        ]
        # WatermelonDB takes one association per table.
        associations = {
            parent: {"table": parent, "type": "belongs_to", "role": "key", "column": column.name}
            for column, parent in reversed(parents)
        }
        associations = {parent: associations[parent] for _, parent in parents}
        children = []
        for child, column in _children(table, shown):
            many = {"table": child, "type": "has_many", "role": "foreignKey", "column": column.name}
            children.append(
                {
                    "table": child,
                    "column": column.name,
                    "model": names[child],
                    "member": _free(camel(child), f"{camel(child)}By{_pascal(column)}", members),
                    "associated": associations.setdefault(child, many) is many,
                }
            )
        yield {
            "name": names[table.name],
            "table": table.name,
            "is_reference": isinstance(table, ReferenceTable),
            "associations": list(associations.values()),
            "columns": fields,
            "relations": relations,
            "children": children,
        }


def _field(column: Column, known: str | None, members: set[str]) -> dict[str, Any]:
    """Return the member for a column; `known` is the decorator that the app's own model has."""
    kind = _decorator(column, known)
    type_ = {"date": "Date", "json": "any"}.get(kind, TYPES[column.kind])
    name = camel(column.name)
    own = TOUCHED.get(column.name)
    return {
        "name": column.name,
        "decorator": kind,
        "readonly": column.name in TOUCHED and kind == "date",
        "member": own or _free(name, f"{name}Column", members),
        "type": f"{type_} | null" if column.optional and type_ != "any" else type_,
    }


def _decorator(column: Column, known: str | None) -> str:
    """Return the decorator that WatermelonDB has for such a column."""
    allowed = {
        "string": ("text", "field", "json"),
        "number": ("field", "date"),
        "boolean": ("field",),
    }
    if column.decorator:
        return column.decorator
    return known if known in allowed[column.kind] else allowed[column.kind][0]


def _children(table: DeclaredTable, shown: dict[str, list[Column]]) -> Iterator[tuple[str, Column]]:
    for child, columns in shown.items():
        for column in columns:
            if column.relation and column.relation.parent == table.name:
                yield child, column


def _stem(column: Column) -> str:
    return camel(re.sub(r"(?<=.)(_id|Id)$", "", column.name))


def _pascal(column: Column) -> str:
    stem = _stem(column)
    return stem[:1].upper() + stem[1:]


def _free(first: str, second: str, taken: set[str]) -> str:
    """Return the first name that is JavaScript's and nobody else's, and take it."""
    numbered = (f"{second}{number}" for number in count(2))
    name = next(one for one in map(_name, chain((first, second), numbered)) if one not in taken)
    taken.add(name)
    return name


def _name(name: str) -> str:
    """Return a name of JavaScript's; what WatermelonDB takes for its own begins with _."""
    return name if name[:1].isalpha() else f"column{name.lstrip('_')}"


def main(arguments: list[str], root: Path = ROOT) -> None:
    """Print the module, and keep what it is of."""
    if arguments not in ([], ["js"], ["ts"]):
        sys.exit("FORMAT must be js or ts.")
    before = kept(root)
    try:
        schema = follow(before, declared_tables())
    except Refused as refusal:
        sys.exit(f"make client-schema: {refusal}")
    print(render(schema, typed=arguments == ["ts"]), end="")
    if schema != before:
        (root / KEPT).write_text(text(schema))
        print(
            f"Version {schema['version']}. Commit {KEPT}: the next goes on from it.",
            file=sys.stderr,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
