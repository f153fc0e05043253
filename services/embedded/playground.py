"""What only `make run` serves, at `/`: a page with two devices that have the declared tables."""

import json
import os
from pathlib import Path
from typing import Any

from shared.models.columns import SPACE, Column
from shared.models.tables import synced_tables, tables_by_name

PLAYGROUND = Path(__file__).parents[2] / "client/playground"


def pages() -> dict[str, bytes]:
    """Return every file by its path."""
    return {
        "index.html": (PLAYGROUND / "index.html").read_bytes(),
        "playground.css": (PLAYGROUND / "playground.css").read_bytes(),
        "playground.js": (PLAYGROUND / "bundle.js").read_bytes(),
        "playground.json": json.dumps(describe()).encode(),
    }


def describe() -> dict[str, Any]:
    """Return what the page asks for: the app's end of the declared tables, and where phones find it."""
    tables = [
        {"name": table.name, "columns": [_column(column) for column in table.wire_columns]}
        for table in synced_tables()
    ]
    return {"tables": tables, "phones": os.environ.get("PHONES_URL") or None}


def _column(column: Column) -> dict[str, Any]:
    relation = column.relation
    return {
        "name": column.name,
        "type": column.kind,
        "isOptional": column.optional,
        "isIndexed": column.indexed,
        "isDate": column.decorator == "date",
        # A reference table is not shown.
        "parent": relation.parent if relation and relation.parent in tables_by_name() else None,
        "cascades": relation is not None and relation.on_delete == "cascade",
        "isSpace": column is SPACE,
    }
