"""An app's schema as the reader gives it, and the file in which the last one is kept.

`client/schema.json`, made to be committed, is what the app's devices have: `make adopt` writes what it
read, `make client-schema` what it printed. Its members:

- `version`: of the schema, as the app counts.
- `tables`: in the app's order, `{"name", "columns": [{"name", "type", "isOptional", "isIndexed"}]}`.
- `migrations`: by version, `{"toVersion", "steps": [{"type": "create_table", "name", "columns"} or
  {"type": "add_columns", "table", "columns"} or {"type": "sql", "sql"}]}`; null where the app has some
  that were not found, so that whoever prints steps says that they are to be appended to the app's own.
- `retired`: tables and `table.column`s that the app had and has no more, still declared for the older
  versions of the app that are in use: they are not printed.
- `models`: by table, `{"class", "columns": {name: decorator}, …}`, of the tables whose models were read.
"""

import json
import re
from pathlib import Path
from typing import Any, NotRequired, TypedDict

KEPT = Path("client/schema.json")


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


class Schema(TypedDict):
    """All that the reader found; `look` are sentences, `replaced` the imports that it did without."""

    version: int
    tables: list[Table]
    migrations: list[dict[str, Any]] | None
    relations: NotRequired[list[Relation]]
    models: dict[str, Any]
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

    Of `declared` names, which the app has no more, those that it had before are retired. What was not
    read this time but is known from before stays: migrations to the same version, models of the same tables.
    """
    models = (before["models"] if before else {}) | wanted["models"]
    tables = {table["name"] for table in wanted["tables"]}
    now = Schema(
        version=wanted["version"],
        tables=wanted["tables"],
        migrations=wanted["migrations"],
        models={name: models[name] for name in sorted(models) if name in tables},
        retired=[],
    )
    if before is None:
        return now
    known = {*before.get("retired", []), *_names(before)}
    now["retired"] = [name for name in declared if name in known]
    if now["migrations"] is None and before["version"] == now["version"]:
        now["migrations"] = before["migrations"]
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


def _names(kept: Schema) -> list[str]:
    columns = [
        f"{table['name']}.{column['name']}"
        for table in kept["tables"]
        for column in table["columns"]
    ]
    return [*columns, *(table["name"] for table in kept["tables"])]
