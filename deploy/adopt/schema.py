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


def keep(root: Path, schema: Schema, declared: list[str]) -> None:
    """Write what the app has now; of `declared` names, those that it had before are retired."""
    names = ("version", "tables", "migrations", "models")
    members = {name: schema.get(name) for name in names} | {"retired": _retired(root, declared)}
    (root / KEPT).parent.mkdir(exist_ok=True)
    text = json.dumps(members, indent=2, ensure_ascii=False)
    # A line for each column. In JSON a string has no line breaks of its own.
    text = re.sub(r"{[^{}[\]]*}", lambda found: re.sub(r"\n *", " ", found[0]), text)
    (root / KEPT).write_text(text + "\n")


def _retired(root: Path, declared: list[str]) -> list[str]:
    before = kept(root)
    if before is None:
        return []
    known = set(before.get("retired", []))
    for table in before["tables"]:
        known |= {table["name"], *(f"{table['name']}.{one['name']}" for one in table["columns"])}
    return [name for name in declared if name in known]
