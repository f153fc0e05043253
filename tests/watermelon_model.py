"""A model of WatermelonDB's client: its local bookkeeping and its rules for applying and resolving.

Written after `@nozbe/watermelondb` 0.28 (`sync/impl`), so that many devices can be simulated fast.
The suite runs the real client too; this one is for the number of histories.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.api import Device, Record


class NetworkFailure(Exception):
    """The request or its answer was lost."""


@dataclass
class ModelDevice:
    """One device: `records[table][id]` with `_status` and `_changed`, and ids deleted and not pushed."""

    api: Device
    records: dict[str, dict[str, Record]] = field(
        default_factory=lambda: {"projects": {}, "tasks": {}}
    )
    deleted: dict[str, set[str]] = field(
        default_factory=lambda: {"projects": set(), "tasks": set()}
    )
    last_pulled_at: int = 0
    complaints: list[str] = field(default_factory=list)

    # --- what the app does

    def create(self, table: str, record: Record) -> None:
        self.records[table][record["id"]] = record | {"_status": "created", "_changed": ""}

    def update(self, table: str, id_: str, values: Record) -> None:
        record = self.records[table][id_]
        record |= values
        if record["_status"] != "created":
            changed = [c for c in record["_changed"].split(",") if c]
            record["_changed"] = ",".join(changed + [c for c in values if c not in changed])
            record["_status"] = "updated"

    def delete(self, table: str, id_: str) -> None:
        record = self.records[table].pop(id_)
        if record["_status"] != "created":
            self.deleted[table].add(id_)

    # --- synchronize()

    def pull(self) -> None:
        response = self.api.pull_raw(self.last_pulled_at or "null")
        assert response.status_code == 200, response.text
        answer = response.json
        for table, change in answer["changes"].items():
            self._apply(table, change)
        self.last_pulled_at = answer["timestamp"]

    def _apply(self, table: str, change: dict[str, list[Any]]) -> None:
        records, deleted = self.records[table], self.deleted[table]
        for id_ in change["deleted"]:
            records.pop(id_, None)
            deleted.discard(id_)
        for raw in change["created"]:
            if raw["id"] in records:
                # After a lost answer this is what WatermelonDB expects; it says so and goes on.
                self.complaints.append(f"created {table}#{raw['id']} is there already")
                self._resolve(records[raw["id"]], raw)
            else:
                if raw["id"] in deleted:
                    self.complaints.append(f"created {table}#{raw['id']} is deleted here")
                    deleted.discard(raw["id"])
                records[raw["id"]] = raw | {"_status": "synced", "_changed": ""}
        for raw in change["updated"]:
            if raw["id"] in records:
                self._resolve(records[raw["id"]], raw)
            elif raw["id"] not in deleted:
                self.complaints.append(f"updated {table}#{raw['id']} is not there")
                records[raw["id"]] = raw | {"_status": "synced", "_changed": ""}

    def _resolve(self, local: Record, remote: Record) -> None:
        changed = local["_changed"].split(",")
        for column, value in remote.items():
            if column not in changed:
                local[column] = value

    def local_changes(self) -> dict[str, dict[str, list[Any]]]:
        return {
            table: {
                "created": [dict(r) for r in records.values() if r["_status"] == "created"],
                "updated": [dict(r) for r in records.values() if r["_status"] == "updated"],
                "deleted": sorted(self.deleted[table]),
            }
            for table, records in self.records.items()
        }

    def push(self, *, lose: str = "") -> None:
        """Push what is unsynced; `lose` the request or the answer, or let the request come twice."""
        changes = self.local_changes()
        if not any(rows for change in changes.values() for rows in change.values()):
            return
        if lose == "request":
            raise NetworkFailure
        response = self.api.push_raw(changes, last_pulled_at=self.last_pulled_at)
        assert response.status_code == 200, response.text
        if lose == "twice":
            again = self.api.push_raw(changes, last_pulled_at=self.last_pulled_at)
            assert again.status_code == 200, again.text
        if lose == "answer":
            raise NetworkFailure
        for table, change in changes.items():
            for sent in change["created"] + change["updated"]:
                if self.records[table].get(sent["id"]) == sent:
                    self.records[table][sent["id"]] |= {"_status": "synced", "_changed": ""}
            self.deleted[table] -= set(change["deleted"])

    def sync(self, *, lose: str = "") -> None:
        self.pull()
        self.push(lose=lose)

    def rows(self) -> dict[str, dict[str, Record]]:
        """What the app sees."""
        return {
            table: {
                id_: {c: v for c, v in r.items() if c not in ("_status", "_changed")}
                for id_, r in records.items()
            }
            for table, records in self.records.items()
        }
