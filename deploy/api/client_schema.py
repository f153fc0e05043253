"""The app's schema and models for the declared tables: `python -m deploy.client_schema [ts]` prints them.

JavaScript, or TypeScript with types; both with the decorators of WatermelonDB's documentation.
"""

import re
import sys
from collections.abc import Iterator

from shared.models.columns import Column
from shared.models.tables import SyncedTable, synced_tables
from shared.web.schemas import camel

#: WatermelonDB sets these by itself.
TOUCHED = ("created_at", "updated_at")


def render(*, typed: bool) -> str:
    """One module: `schema` and `migrations` for the adapter, the models, `modelClasses` for the Database."""
    models = list(_models(typed))
    decorators = sorted(set(re.findall(r"@(\w+)", "\n".join(models))))
    relations = sorted({"Query", "Relation"} & set(re.findall(r"\w+", "\n".join(models))))
    head = [
        f"// Written by make client-schema{' FORMAT=ts' if typed else ''}.",
        "import { appSchema, Model, tableSchema } from '@nozbe/watermelondb'",
        "import { schemaMigrations } from '@nozbe/watermelondb/Schema/migrations'",
        f"import {{ {', '.join(decorators)} }} from '@nozbe/watermelondb/decorators'",
    ]
    if relations:
        head.append(f"import type {{ {', '.join(relations)} }} from '@nozbe/watermelondb'")
    return "\n".join([*head, "", *_schema(), *models]) + "\n"


def _schema() -> Iterator[str]:
    yield "export const schema = appSchema({"
    yield "  version: 1,"
    yield "  tables: ["
    for table in synced_tables():
        yield "    tableSchema({"
        yield f"      name: '{table.name}',"
        yield "      columns: ["
        for column in table.columns:
            extra = ", isOptional: true" if column.optional else ""
            extra += ", isIndexed: true" if column.indexed else ""
            yield f"        {{ name: '{column.name}', type: '{column.kind}'{extra} }},"
        yield "      ],"
        yield "    }),"
    yield "  ],"
    yield "})"
    yield ""
    yield "// Migration syncs (migrationsEnabledAtVersion) need them, even while there are none."
    yield "export const migrations = schemaMigrations({ migrations: [] })"
    yield ""


def _models(typed: bool) -> Iterator[str]:
    names = {table.name: table.model.__name__ for table in synced_tables()}
    for table in synced_tables():
        children = [
            (one, column)
            for one in synced_tables()
            for column in one.columns
            if column.relation and column.relation.parent == table.name
        ]
        yield f"export class {names[table.name]} extends Model {{"
        yield f"  static table = '{table.name}'"
        if associations := _associations(table, children):
            yield f"  static associations = {{ {associations} }}" + (" as const" if typed else "")
        yield ""
        for column in table.columns:
            prefix = "@readonly " if _is_touched(column) else ""
            yield f"  {prefix}@{decorator(column)}('{column.name}') {_member(column, typed)}"
        for column in table.columns:
            if column.relation:
                parent, key = column.relation.parent, column.name
                kind = f"!: Relation<{names[parent]}>" if typed else ""
                yield f"  @relation('{parent}', '{key}') {camel(key.removesuffix('_id'))}{kind}"
        for child, _ in children:
            kind = f"!: Query<{names[child.name]}>" if typed else ""
            yield f"  @children('{child.name}') {camel(child.name)}{kind}"
        yield "}"
        yield ""
    classes = ", ".join(names[table.name] for table in synced_tables())
    yield f"export const modelClasses = [{classes}]"


def _associations(table: SyncedTable, children: list[tuple[SyncedTable, Column]]) -> str:
    found = []
    for column in table.columns:
        if column.relation:
            parent = column.relation.parent
            found.append(f"{parent}: {{ type: 'belongs_to', key: '{column.name}' }}")
    found += [
        f"{child.name}: {{ type: 'has_many', foreignKey: '{column.name}' }}"
        for child, column in children
    ]
    return ", ".join(found)


def decorator(column: Column) -> str:
    """The one that WatermelonDB has for such a column."""
    if column.whole and column.name.endswith("_at"):
        return "date"
    return "text" if column.kind == "string" else "field"


def _member(column: Column, typed: bool) -> str:
    if not typed:
        return camel(column.name)
    kind = "Date" if decorator(column) == "date" else column.kind
    return f"{camel(column.name)}!: {kind}{' | null' if column.optional else ''}"


def _is_touched(column: Column) -> bool:
    return column.name in TOUCHED and decorator(column) == "date"


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["js"], ["ts"]):
        sys.exit("FORMAT must be js or ts.")
    print(render(typed=sys.argv[1:] == ["ts"]), end="")
