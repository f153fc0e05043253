"""Records of any declared table, as they are pushed and exported."""

import os
from collections import defaultdict
from typing import Any

from shared.models.tables import tables_by_name
from tests.api import Device

Json = dict[str, Any]
VALUES: Json = {"string": "text", "number": 7, "boolean": True}
#: What random schemas and histories are drawn from: printed when a test fails, so that it can be repeated.
SEED = int(os.environ.get("SCHEMA_SEED", "1"))


def record(table: str, id_: str, /, **values: Any) -> Json:
    """A pushed record: whole, as WatermelonDB's are."""
    columns = tables_by_name()[table].columns
    full = {c.name: None if c.optional else VALUES[c.kind] for c in columns}
    return {"id": id_, "_status": "created", "_changed": ""} | full | values


def export(device: Device) -> tuple[dict[str, dict[str, Json]], dict[str, set[str]]]:
    """What lives, and the ids of what does not."""
    live: dict[str, dict[str, Json]] = defaultdict(dict)
    dead: dict[str, set[str]] = defaultdict(set)
    answer = device.api.get("/users/me/export", token=device.token)
    assert answer.status_code == 200, answer.text
    for table, found in answer.json["records"].items():
        for row in found:
            if row.pop("_deleted"):
                dead[table].add(row["id"])
            else:
                live[table][row["id"]] = row
    return dict(live), dict(dead)
