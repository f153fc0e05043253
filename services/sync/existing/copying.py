"""Copying: each user's rows of all tables, parents first, by pushes of the server.

What was done is known by the last user, since a row that is pushed again as it is changes nothing: whoever
was killed begins with the one after.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import orjson
from sqlalchemy import select

from services.sync.door import SPACE_ID, NoSuchSpace, push_as_server
from services.sync.existing.mapping import MappedTable, MapRefused, parents
from services.sync.existing.progress import SHOWN, Progress, State, Summary
from services.sync.existing.source import Source, Unit
from services.sync.existing.values import convert, record_id
from services.sync.reference.loading import find_table, load
from services.sync.schemas import Changes
from shared.accounts.mail import has_mail
from shared.database.base import db
from shared.models import User
from shared.models.columns import Column
from shared.web.errors import InvalidRequest
from shared.web.schemas import normalize

#: Who brings the rows into being.
AUTHOR = "copy"
#: Records and bytes of their texts that a push has at most.
RECORDS, BYTES = 20_000, 16 * 2**20
#: E-mails, or ids, that one statement asks for.
ASKED = 1000
#: In the place of an account: there is one of this e-mail, and nobody has shown to read its mail.
UNVERIFIED = "?"
UNKNOWN_USER = "left out, of a user without an account"
UNVERIFIED_USER = "left out, of a user whose account's e-mail is not verified"
NOBODYS = "left out, of no user and no mapped space"
NO_ACCOUNT = "a user without an account"
DELETED = "names a row that its user has not; stored as deleted"
CLEARED = "names a row that its user has not; set to null"
REPAIRED = "repaired"
REFUSED = "refused"


def copy(source: Source, path: Path | None, only: str = "") -> Summary:
    """Copy all rows, or those of the user whose key is `only`; return what became of them.

    Raises `MapRefused`, also for a space or an account that is not there.
    """
    read = source.map
    state = State(path, read)
    accounts = find_accounts(source)
    units = _units(source, accounts, only)
    for mapped in read.references:
        state.summary.copied[mapped.table.name] = load_reference(source, mapped)
    total = 0 if only else sum(source.total(mapped) for mapped in read.tables)
    progress = Progress(total, state.rows)
    for unit in state.rest(units):
        with source.snapshot():
            try:
                rows = UnitCopy(source, accounts, state.summary).copy(unit, progress)
            except NoSuchSpace:
                raise MapRefused(
                    f"There is no {unit.kind} {unit.space_id} here, which {unit.value} is to be."
                ) from None
        state.note(unit, rows)
    if not only:
        _note_strays(source, state.summary, progress)
    progress.say()
    state.end()
    return state.summary


def _units(source: Source, accounts: dict[Any, str], only: str) -> list[Unit]:
    """Return whose rows are copied. Raises `MapRefused` when it is `only` a user's who is not there."""
    read = source.map
    units = [Unit("user", key, account) for key, account in accounts.items()]
    if not only:
        return units + [Unit("space", name, space) for name, space in read.spaces.items()]
    units = [unit for unit in units if str(unit.value) == only]
    if not units:
        raise MapRefused(f"{read.users.table} has nobody with {read.users.id} = {only}.")
    return units


def _note_strays(source: Source, summary: Summary, progress: Progress) -> None:
    """Note the rows that no unit has."""
    for mapped in source.map.tables:
        count, keys = source.strays(mapped)
        ids = [record_id(mapped.prefix, key) for key in keys]
        summary.note(mapped.table.name, NOBODYS, ids, count)
        progress.add(count)


def load_reference(source: Source, mapped: MappedTable) -> int:
    """Load a reference table with the rows of the source; return their number.

    Nothing is repaired here: of what everybody reads, a bad value is refused. Raises `MapRefused`.
    """
    reader = UnitCopy(source, {}, Summary())
    table = find_table(mapped.table.name)
    with TemporaryFile() as file:
        for row in source.rows(mapped, None):
            file.write(orjson.dumps(reader.record(mapped, row)) + b"\n")
        if not file.tell():
            return 0
        file.seek(0)
        try:
            load(table, file, "ndjson", "merge")
        except InvalidRequest as error:
            said = "; ".join(_said(file, error))
            raise MapRefused(
                f"{table.name} was not loaded, and nothing else copied. {said}"
            ) from None
        file.seek(0)
        return sum(1 for _ in file)


def _said(file: IO[bytes], error: InvalidRequest) -> Iterator[str]:
    """Yield what is wrong with some rows of a load, by their ids."""
    for path, said in list(error.members["errors"].items())[:SHOWN]:
        number, _, column = path.partition(".")
        file.seek(0)
        line = next(islice(file, int(number) - 1, None))
        yield f"{orjson.loads(line)['id']}: {column}: {' '.join(said)}"


def find_accounts(source: Source) -> dict[Any, str]:
    """Return the account of each of the source's users by their key, "" for one who has none.

    By an e-mail it is only found when that is verified, where there is mail: else whoever registers with
    somebody's address would be given their rows. In the place of such an account is `UNVERIFIED`.
    """
    by_email = source.map.users.by == "email"
    told = {
        key: normalize(str(value or "")).strip().lower() if by_email else str(value or "")
        for key, value in source.users()
    }
    column, must_verify = (User.email, has_mail()) if by_email else (User.id, False)
    names = sorted(name for name in set(told.values()) if by_email or SPACE_ID.fullmatch(name))
    found: dict[str, str] = {}
    for start in range(0, len(names), ASKED):
        some = column.in_(names[start : start + ASKED])
        with db.session.begin():
            for name, id_, is_verified in db.session.execute(
                select(column, User.id, User.email_verified).where(some)
            ):
                found[name] = id_ if is_verified or not must_verify else UNVERIFIED
    return {key: found.get(name, "") for key, name in told.items()}


class UnitCopy:
    """The copy of one user's rows, or of one space's."""

    def __init__(self, source: Source, accounts: dict[Any, str], summary: Summary) -> None:
        self.source, self.accounts, self.summary = source, accounts, summary
        self.by_name = {mapped.table.name: mapped for mapped in source.map.all_tables}
        #: The ids of each table whose rows others must name.
        self.ids: dict[str, set[str]] = {
            name: set() for mapped in source.map.tables for name in parents(mapped)
        }
        #: Rows that name one which was not read yet: table, id, the column, and the id that it has.
        self.naming: list[tuple[str, str, Column, str]] = []
        #: Whether remarks are noted, which is once.
        self.is_first = True

    def copy(self, unit: Unit, progress: Progress) -> int:
        """Copy it; return how many rows it has."""
        tables = self.source.map.tables
        tables = tuple(t for t in tables if (t.space if unit.kind == "space" else t.user))
        if unit.space_id in ("", UNVERIFIED):
            return self._leave_out(unit, tables, progress)
        rows = pushes = 0
        for changes, count in self._batches(unit, tables):
            self._push(unit, changes)
            rows, pushes = rows + count, pushes + 1
            progress.add(count)
        self._tell_of_orphans()
        self.is_first = False
        # What came before the row that it names waits for it as a tombstone, or is cleared.
        is_open = pushes > 1 and any(self._names_later(mapped) for mapped in tables)
        while is_open:
            again = self._batches(unit, tables)
            is_open = sum(self._push(unit, changes) for changes, _ in again) > 0
        return rows

    def _leave_out(self, unit: Unit, tables: Iterable[MappedTable], progress: Progress) -> int:
        rows = 0
        for mapped in tables:
            count, keys = self.source.some(mapped, unit)
            ids = [record_id(mapped.prefix, key) for key in keys]
            remark = UNVERIFIED_USER if unit.space_id else UNKNOWN_USER
            self.summary.note(mapped.table.name, remark, ids, count)
            rows += count
        progress.add(rows)
        return rows

    def _names_later(self, mapped: MappedTable) -> bool:
        """Return whether rows of a table may name others that are pushed after them."""
        order = list(self.by_name)
        named = order[order.index(mapped.table.name) :]
        return not parents(mapped).isdisjoint(named)

    def _batches(self, unit: Unit, tables: Iterable[MappedTable]) -> Iterator[tuple[Changes, int]]:
        """Yield the unit's records, as many at a time as one push takes well, and their number."""
        changes: Changes = {}
        records = size = 0
        for mapped in tables:
            for row in self.source.rows(mapped, unit):
                record = self.record(mapped, row)
                changes.setdefault(mapped.table.name, {"updated": []})["updated"].append(record)
                records += 1
                size += sum(len(value) for value in record.values() if isinstance(value, str))
                if records == RECORDS or size > BYTES:
                    yield changes, records
                    changes, records, size = {}, 0, 0
        if records:
            yield changes, records

    def _push(self, unit: Unit, changes: Changes) -> bool:
        """Push records to the unit's space; return whether that changed anything."""
        pushed = push_as_server(unit.space_id, changes, AUTHOR)
        if self.is_first:
            for name, change in changes.items():
                self.summary.copied[name] += len(change["updated"])
                self.summary.note(name, REPAIRED, pushed.repaired.get(name, []))
                self.summary.note(name, REFUSED, list(pushed.refused.get(name, {})))
        return pushed.timestamp != pushed.since

    def record(self, mapped: MappedTable, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row as a record."""
        name = mapped.table.name
        id_ = record_id(mapped.prefix, [row[column] for column in self.source.keys[mapped]])
        if name in self.ids:
            self.ids[name].add(id_)
        record = {"id": id_}
        for column in mapped.table.columns:
            theirs = mapped.source_of(column)
            if theirs in row:
                record[column.name], fault = self._value(mapped, id_, column, row[theirs])
                if fault and self.is_first:
                    self.summary.note(name, f"{column.name}: {fault}", [id_])
        return record

    def _value(
        self, mapped: MappedTable, id_: str, column: Column, value: Any
    ) -> tuple[Any, str | None]:
        """Return the value of a column, and what was wrong with the source's."""
        theirs = mapped.source_of(column)
        if value is None:
            return None, None
        if theirs in mapped.accounts:
            account = self.accounts.get(value)
            return (None, NO_ACCOUNT) if account in (None, "", UNVERIFIED) else (account, None)
        if column.relation:
            parent = self.by_name.get(column.relation.parent)
            named = record_id(parent.prefix if parent else "", [value])
            if parent and column.is_enforced and named not in self.ids[parent.table.name]:
                self.naming.append((mapped.table.name, id_, column, named))
            return named, None
        if theirs in mapped.seconds and isinstance(value, int | float | Decimal):
            value = value * 1000
        return convert(value, column, self.source.map.zone)

    def _tell_of_orphans(self) -> None:
        for name, id_, column, named in self.naming:
            if column.relation and named not in self.ids[column.relation.parent]:
                remark = DELETED if column.relation.on_delete == "cascade" else CLEARED
                self.summary.note(name, f"{column.name}: {remark}", [id_])
        self.naming.clear()
