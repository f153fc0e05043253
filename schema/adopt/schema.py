"""An app's schema as the reader gives it, and the file in which the last one is kept.

`client/schema.json`, made to be committed, is what the app's devices have: `make adopt` writes what it
read, `make client-schema` what it printed. Its members:

- `version`: of the schema, as the app counts.
- `tables`: in the app's order, `{"name", "columns": [{"name", "type", "isOptional", "isIndexed"}]}`.
- `migrations`: by version, `{"toVersion", "steps": [{"type": "create_table", "name", "columns"} or
  {"type": "add_columns", "table", "columns"} or {"type": "sql", "sql"}], "remarks": [sentence]}`; null
  where the app has some that were not found.
- `appended`: those that follow the ones that were not found.
- `left`: tables and `table.column`s that the app had and has no more: devices may have them still.
- `retired`: those of them that are still declared, for the older versions of the app that are in use.
- `models`: by table, `{"class", "columns": {name: decorator}, …}`, of the tables whose models were read.
"""

import json
import re
from pathlib import Path
from typing import Any, NotRequired, TypedDict

KEPT = Path("client/schema.json")


class Refused(Exception):
    """A refusal to adopt or print a schema, in one sentence."""


class Column(TypedDict):
    """A column of WatermelonDB's."""

    name: str
    type: str
    isOptional: bool
    isIndexed: bool


class Table(TypedDict):
    """A table of WatermelonDB's."""

    name: str
    columns: list[Column]


class Relation(TypedDict):
    """A column that seems to name rows of `parent`; `why` is "models" or "name"."""

    table: str
    column: str
    parent: str
    on_delete: str
    why: str


class Migration(TypedDict):
    """The steps that bring a device to a version; `remarks` is what WatermelonDB has no step for."""

    toVersion: int
    steps: list[dict[str, Any]]
    remarks: NotRequired[list[str]]


class Schema(TypedDict):
    """All that the reader found; `look` are sentences, `replaced` the imports that it did without."""

    version: int
    tables: list[Table]
    migrations: list[Migration] | None
    relations: NotRequired[list[Relation]]
    models: dict[str, Any]
    appended: NotRequired[list[Migration]]
    left: NotRequired[list[str]]
    retired: NotRequired[list[str]]
    look: NotRequired[list[str]]
    replaced: NotRequired[dict[str, str]]


def kept(root: Path) -> Schema | None:
    """Return what the app had last, or None before the first time."""
    path = root / KEPT
    if not path.exists():
        return None
    schema: Schema = json.loads(path.read_text())
    return schema


def following(before: Schema | None, wanted: Schema, declared: list[str]) -> Schema:
    """Return what to keep after `before`.

    Of `declared` names, which are not in the schema, those that it had before are retired. What was not
    read this time but is known from before stays: migrations to the same version, models of the same tables.
    """
    models = (before["models"] if before else {}) | wanted["models"]
    tables = {table["name"] for table in wanted["tables"]}
    now = Schema(
        version=wanted["version"],
        tables=wanted["tables"],
        migrations=wanted["migrations"],
        models={name: models[name] for name in sorted(models) if name in tables},
        left=[],
        retired=[],
    )
    if before is None:
        return now
    names = names_of(wanted["tables"])
    had = [*before.get("left", []), *names_of(before["tables"])]
    now["left"] = [name for name in had if name not in names]
    now["retired"] = [name for name in declared if name in now["left"]]
    if now["migrations"] is None and before["version"] == now["version"]:
        now["migrations"] = before["migrations"]
        now["appended"] = before.get("appended", [])
    return now


def doubts(before: Schema | None, wanted: Schema) -> list[str]:
    """Return sentences on a version that does not follow the one before."""
    if before is None:
        return []
    if wanted["version"] < before["version"]:
        return [
            f"The schema is version {wanted['version']}; the one that {KEPT} had was {before['version']}."
        ]
    if wanted["version"] == before["version"] and wanted["tables"] != before["tables"]:
        return [
            f"The schema changed and is still version {wanted['version']}: devices that are out do not get "
            "the difference before the app raises it and has a migration."
        ]
    return []


def text(kept: Schema) -> str:
    """Return the text of the file, with a line for each column."""
    indented = json.dumps(kept, indent=2, ensure_ascii=False)
    # In JSON a string has no line breaks of its own.
    lines = re.sub(r"{[^{}[\]]*}", lambda found: re.sub(r"\n *", " ", found[0]), indented)
    return lines + "\n"


def names_of(tables: list[Table]) -> list[str]:
    """Return the names of tables, and of columns as `table.column`."""
    return [
        name
        for table in tables
        for name in (table["name"], *(f"{table['name']}.{c['name']}" for c in table["columns"]))
    ]
