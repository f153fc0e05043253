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
    last_pushed_at: int = 0
    complaints: list[str] = field(default_factory=list)
    #: Whether the app's `pushChanges` passes `lastPulledAt` on; some do not.
    tells_last_pulled_at: bool = True
    #: Pushes whose request is still under way: who sent them, changes, and `last_pulled_at`.
    late: list[tuple[Device, Any, Any]] = field(default_factory=list)

    # --- what the app does

    def create(self, table: str, record: Record) -> None:
        self.records[table][record["id"]] = record | {"_status": "created", "_changed": ""}

    def update(self, table: str, id_: str, values: Record) -> None:
        """Every column that gets another value is tracked, of a created record too (`_setRaw`)."""
        record = self.records[table][id_]
        # `prepareUpdate` touches it, in every model that has the field.
        values = values | {"updated_at": record["updated_at"] + 1}
        changed = [column for column in record["_changed"].split(",") if column]
        changed += [c for c in values if record[c] != values[c] and c not in changed]
        record |= values | {"_changed": ",".join(changed)}
        if record["_status"] != "created":
            record["_status"] = "updated"

    def delete(self, table: str, id_: str) -> None:
        """`markAsDeleted`, which keeps the id to be pushed, of a created record too."""
        del self.records[table][id_]
        self.deleted[table].add(id_)

    def login(self) -> None:
        """Begin another session; what is on the device stays."""
        self.api = self.api.another()

    # --- synchronize()

    def pull(self, limit: int | None = None) -> None:
        """Pull whole, or by pages that are put together before they are applied."""
        answer = self._ask({} if limit is None else {"limit": limit})
        while "cursor" in answer:
            more = self._ask({"limit": limit, "cursor": answer.pop("cursor")})
            for table, change in more["changes"].items():
                for bucket, rows in change.items():
                    answer["changes"][table][bucket] += rows
            if "cursor" in more:
                answer["cursor"] = more["cursor"]
        for change in answer["changes"].values():
            ids = [r["id"] for r in change["created"] + change["updated"]] + change["deleted"]
            assert len(ids) == len(set(ids)), "an id came twice"
        for table, change in answer["changes"].items():
            if answer.get("experimentalStrategy") == "replacement":
                self._replace(table, change)
            self._apply(table, change)
        self.last_pulled_at = answer["timestamp"]

    def _ask(self, parameters: Record) -> Any:
        response = self.api.pull_raw(self.last_pulled_at or "null", **parameters)
        assert response.status_code == 200, response.text
        return response.json

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

    def _replace(self, table: str, change: dict[str, list[Any]]) -> None:
        kept = {raw["id"] for raw in change["created"] + change["updated"]}
        self.deleted[table] &= kept
        for id_, record in list(self.records[table].items()):
            if id_ not in kept and record["_status"] != "created":
                del self.records[table][id_]

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
        """Push what is unsynced.

        `lose` the request or the answer, let the request come twice, or `late`: between the pull and
        the push of this device's next sync.
        """
        changes = self.local_changes()
        if not any(rows for change in changes.values() for rows in change.values()):
            return
        since = self.last_pulled_at if self.tells_last_pulled_at else "null"
        if lose == "late":
            self.late.append((self.api, changes, since))
        if lose in ("request", "late"):
            raise NetworkFailure
        self._send(self.api, changes, since)
        if lose == "twice":
            self._send(self.api, changes, since)
        if lose == "answer":
            raise NetworkFailure
        for table, change in changes.items():
            for sent in change["created"] + change["updated"]:
                if self.records[table].get(sent["id"]) == sent:
                    self.records[table][sent["id"]] |= {"_status": "synced", "_changed": ""}
            self.deleted[table] -= set(change["deleted"])

    def _send(self, session: Device, changes: Any, since: Any) -> None:
        response = session.push_raw(changes, last_pulled_at=since)
        assert response.status_code == 200, response.text
        self.last_pushed_at = response.json["timestamp"]

    def sync(self, *, lose: str = "") -> None:
        self.pull()
        self.deliver()
        self.push(lose=lose)

    def deliver(self) -> None:
        """Let what is under way arrive."""
        while self.late:
            self._send(*self.late.pop(0))

    def rows(self) -> dict[str, dict[str, Record]]:
        """What the app sees."""
        return {
            table: {
                id_: {c: v for c, v in r.items() if c not in ("_status", "_changed")}
                for id_, r in records.items()
            }
            for table, records in self.records.items()
        }
