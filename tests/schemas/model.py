"""What the server must have after a push of a device that has seen everything (docs/api.md, "Push")."""

import re
from typing import Any

from services.sync.repair import repair_record
from shared.models.columns import Column
from shared.models.tables import SyncedTable, tables_by_name

ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
Json = dict[str, Any]


def rule(column: Column) -> str:
    """`cascade`, `clear` or `keep`; `keep` of what is no relation."""
    return column.relation.on_delete if column.relation else "keep"


class Expected:
    """The rows of one user: `{table: {id: [values, lives]}}`."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[Any]]] = {name: {} for name in tables_by_name()}

    def push(self, changes: Json) -> None:
        """Apply a push."""
        for name, change in changes.items():
            table = tables_by_name()[name]
            for record in change.get("created", []) + change.get("updated", []):
                self.write(table, record)
            for id_ in change.get("deleted", []):
                if id_ in self.rows[name]:
                    self.rows[name][id_][1] = False
        while strays := self.strays():
            for table, id_, column, parent_id in strays:
                row = self.rows[table.name][id_]
                if rule(column) == "clear":
                    row[0][column.name] = None
                    continue
                row[1] = False
                assert column.relation
                parents = self.rows[column.relation.parent]
                empty = tables_by_name()[column.relation.parent].empty_values
                parents.setdefault(parent_id, [dict(empty), False])

    def write(self, table: SyncedTable, record: Json) -> None:
        """Put a record in its place; it does not live when a value cannot name what it must name."""
        old = self.rows[table.name].get(record["id"], [table.empty_values, True])[0]
        values = old | repair_record(record, table.columns)[0]
        lives = True
        for column in table.columns:
            value = values[column.name]
            if rule(column) == "keep" or (value and ID.fullmatch(value)):
                continue
            values[column.name] = None
            is_empty = value in (None, "")
            if not column.optional or (rule(column) == "cascade" and not is_empty):
                lives = False
        self.rows[table.name][record["id"]] = [values, lives]

    def strays(self) -> list[tuple[SyncedTable, str, Column, str]]:
        """The live rows that name no living row, and where."""
        return [
            (table, id_, column, parent)
            for table in tables_by_name().values()
            for id_, (values, lives) in self.rows[table.name].items()
            for column in table.columns
            if lives and rule(column) != "keep"
            if (parent := values[column.name]) is not None
            and column.relation
            and not self.rows[column.relation.parent].get(parent, [None, False])[1]
        ]

    def live(self) -> dict[str, dict[str, Json]]:
        """The records that a newcomer is sent, of tables that have any."""
        found = {
            name: {id_: {"id": id_} | values for id_, (values, lives) in rows.items() if lives}
            for name, rows in self.rows.items()
        }
        return {name: rows for name, rows in found.items() if rows}

    def dead(self) -> dict[str, set[str]]:
        """The ids of tombstones."""
        found = {n: {i for i, row in rows.items() if not row[1]} for n, rows in self.rows.items()}
        return {name: ids for name, ids in found.items() if ids}
