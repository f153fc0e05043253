"""What a job makes of the rows of a space (docs/jobs.md)."""

import uuid
from collections.abc import Iterator
from typing import Any

from services.sync import rows
from services.sync.merge import Operation, Row
from services.sync.plan import Refusals
from services.sync.repair import repair_record
from services.sync.schemas import OPERATIONS, SAFE_ID, Changes
from shared.models.columns import SPACE
from shared.models.tables import SyncedTable, tables_by_name

Record = dict[str, Any]


class Refused(Exception):
    """Rules, or the server itself, refused what a job wrote; nothing was applied."""

    def __init__(self, refused: Refusals) -> None:
        self.refused = refused
        found = [
            (table, id_, word) for table, words in refused.items() for id_, word in words.items()
        ]
        table, id_, word = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        super().__init__(f"{table} {id_}: {word}{more}")


class Writing:
    """The changes of a job, gathered until its block ends. What it reads is as it was when that began."""

    def __init__(self, space_id: str, *, is_shared: bool) -> None:
        self.space_id = space_id
        self._is_shared = is_shared
        self._gathered: dict[SyncedTable, dict[str, tuple[Operation, Record]]] = {}

    def rows(self, table: str) -> Iterator[Record]:
        """Yield the living rows of a table, by ids."""
        declared = _table(table)
        return (self._record(declared, row) for row in rows.living(self.space_id, declared))

    def find(self, table: str, id_: str) -> Record | None:
        """Return the living row of an id."""
        declared = _table(table)
        row = rows.load(self.space_id, declared, [id_]).get(id_)
        return None if row is None or row.is_deleted else self._record(declared, row)

    def create(self, table: str, record: Record) -> str:
        """Let a row be; return its id, which is made where the record has none."""
        record = {"id": uuid.uuid4().hex, **record}
        self._gather(table, "created", record)
        return str(record["id"])

    def update(self, table: str, record: Record) -> None:
        """Change those columns of a living row that the record, which has its `id`, names."""
        self._gather(table, "updated", record)

    def delete(self, table: str, id_: str) -> None:
        """Delete a row, if there is one."""
        self._gather(table, "deleted", {"id": id_})

    def gathered(self) -> Changes:
        """Return all changes. Raises `LookupError` for the update of what is no living row."""
        changes: Changes = {}
        for table, gathered in self._gathered.items():
            self._check_there(
                table, [id_ for id_, (word, _) in gathered.items() if word == "updated"]
            )
            change = changes[table.name] = {word: [] for word in OPERATIONS}
            for id_, (word, record) in gathered.items():
                change[word].append(id_ if word == "deleted" else record)
        return changes

    def _gather(self, table: str, word: Operation, record: Record) -> None:
        declared = _table(table)
        self._check(declared, record)
        gathered = self._gathered.setdefault(declared, {})
        id_ = record["id"]
        if id_ in gathered and word == "updated":
            # What the block made itself it may go on with.
            word, before = gathered[id_]
            if word == "deleted":
                raise LookupError(f"{table} {id_} was deleted in the same block.")
            record = before | record
        gathered[id_] = (word, record)

    def _check(self, table: SyncedTable, record: Record) -> None:
        """Raise `ValueError` for what cannot be stored as it is: a job is no app of last year."""
        id_ = record.get("id")
        if not isinstance(id_, str) or not SAFE_ID.fullmatch(id_):
            raise ValueError(f"{table.name}: {id_!r} is no id.")
        known = {"id", *(column.name for column in table.wire_columns)}
        if unknown := record.keys() - known:
            raise ValueError(f"{table.name} {id_}: there are no columns {sorted(unknown)}.")
        values, _ = repair_record(record, table.columns)
        # Null is how a relation that is newer than its row is read.
        relations = {column.name for column in table.enforced}
        for name, value in values.items():
            if value != record[name] and not (record[name] is None and name in relations):
                raise ValueError(f"{table.name} {id_}: {name} cannot hold {record[name]!r}.")
        if record.get(SPACE.name) not in (None, "", self.space_id):
            raise ValueError(
                f"{table.name} {id_}: a block writes to one space. push_as_server moves rows to others."
            )

    def _check_there(self, table: SyncedTable, ids: list[str]) -> None:
        found = rows.load(self.space_id, table, ids) if ids else {}
        for id_ in ids:
            if id_ not in found or found[id_].is_deleted:
                raise LookupError(f"{table.name} {id_} is no living row of {self.space_id}.")

    def _record(self, table: SyncedTable, row: Row) -> Record:
        space = {SPACE.name: self.space_id if self._is_shared else None}
        return {"id": row.id} | row.values | (space if table.is_shareable else {})


def _table(name: str) -> SyncedTable:
    if name not in tables_by_name():
        raise ValueError(f"There is no table {name!r}.")
    return tables_by_name()[name]
