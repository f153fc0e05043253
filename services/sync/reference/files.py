"""Files of rows for a reference table: read, judged line by line, and kept in the order of ids.

Bad values are not repaired here, as a push's are: a price that cannot be read must not become 0. Whatever
the file's length, what is in memory is a line of it and some megabytes.
"""

import csv
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from math import isfinite
from typing import Any, BinaryIO, Literal

import orjson

from services.sync.repair import MAX_WHOLE, repair_value
from services.sync.schemas import SAFE_ID
from shared.database.errors import DeadlineExceeded
from shared.models.columns import Column
from shared.models.tables import ReferenceTable
from shared.web.errors import Fault, Faults, InvalidRequest
from shared.web.json_body import is_bomb

Format = Literal["csv", "ndjson"]
#: The values that a line has, by the columns' names, and the line's number.
Line = tuple[int, dict[str, Any]]

#: The longest line. A row may have no more in a push either.
MAX_LINE = 64 * 2**20
#: Columns that a header may name: as many as a database lets a table have.
MAX_NAMES = 2000
#: What this is not longer than is no bomb.
SHORT_LINE = 2**16
#: Of the file in which rows wait, in KiB: what is kept of it in memory.
CACHE_KIB = 32_000
BOM = b"\xef\xbb\xbf"
NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
NO_OBJECT = "Not a JSON object in UTF-8. A CSV file is sent with Content-Type: text/csv."
ENOUGH = Fault("Too long: a line may have 64 MiB.", "too_long")

# The library's own bound is meant for other files.
csv.field_size_limit(MAX_LINE)


class Staged(AbstractContextManager["Staged"]):
    """The rows of a file, in a file of our own that goes when this is closed."""

    def __init__(self) -> None:
        # Without a name it is SQLite's own temporary file.
        self.rows = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{CACHE_KIB}"):
            self.rows.execute(f"PRAGMA {pragma}")
        self.rows.execute(
            "CREATE TABLE staged (id TEXT PRIMARY KEY, sent BLOB NOT NULL) WITHOUT ROWID"
        )
        self.count = 0

    def __exit__(self, *_: object) -> None:
        self.rows.close()

    def add(self, id_: str, values: dict[str, Any]) -> bool:
        """Keep a row; return False when there is one of its id."""
        sent = (id_, orjson.dumps(values))
        is_new = self.rows.execute("INSERT OR IGNORE INTO staged VALUES (?, ?)", sent).rowcount == 1
        self.count += is_new
        return is_new

    def by_ids(self, size: int) -> Iterator[dict[str, dict[str, Any]]]:
        """Yield what the rows have, by id, so many at a time and in the order of ids."""
        found = self.rows.execute("SELECT id, sent FROM staged ORDER BY id")
        while some := found.fetchmany(size):
            yield {id_: orjson.loads(sent) for id_, sent in some}

    def lacking(self, ids: list[str]) -> list[str]:
        """Return those of some ids, which are in their order, of which there is no row."""
        query = "SELECT id FROM staged WHERE id BETWEEN ? AND ?"
        there = {id_ for (id_,) in self.rows.execute(query, (ids[0], ids[-1]))} if ids else set()
        return [id_ for id_ in ids if id_ not in there]


class Reader:
    """A file that is read for a table: what is wrong with it, and how far it was read."""

    def __init__(
        self,
        table: ReferenceTable,
        file: BinaryIO,
        format_: Format,
        deadline: float = float("inf"),
    ) -> None:
        self.table, self.file, self.format = table, file, format_
        #: By `time.monotonic`.
        self.deadline = deadline
        self.columns = {column.name: column for column in table.columns}
        self.faults = Faults()
        self.line = 0
        self.bytes = 0

    def stage(self, into: Staged) -> Iterator[int]:
        """Keep the rows of the file; yield their number now and then, for whoever waits.

        Raises `InvalidRequest` in the end, with the faults by line; `DeadlineExceeded`.
        """
        lines = self._csv() if self.format == "csv" else self._ndjson()
        into.rows.execute("BEGIN")
        for number, values in lines:
            id_ = values.pop("id", None)
            if not isinstance(id_, str) or not SAFE_ID.fullmatch(id_):
                self._add(
                    number, "id", Fault(BAD_ID, "required" if id_ in (None, "") else "invalid")
                )
            elif not into.add(id_, values):
                self._add(number, "id", Fault("Duplicate id: a row before has it.", "duplicate_id"))
            if into.count % 10_000 == 0:
                yield into.count
        into.rows.execute("COMMIT")
        if not self.bytes:
            self._add(1, "", Fault("The file is empty.", "required"))
        elif self.format == "ndjson" and not into.count and not self.faults:
            self._add(1, "", Fault("The file has no row.", "required"))
        if self.faults:
            raise InvalidRequest(self.faults)

    def _add(self, number: int, name: str, fault: Fault) -> None:
        self.faults.add(f"{number}.{name}" if name else str(number), fault)

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines with what ends them. One that is too long ends the file."""
        while raw := self.file.readline(MAX_LINE + 1):
            # Also where no line is a row, of which nobody is told.
            if time.monotonic() > self.deadline:
                raise DeadlineExceeded
            self.line += 1
            self.bytes += len(raw)
            if len(raw) > MAX_LINE:
                self._add(self.line, "", ENOUGH)
                return
            yield raw.removeprefix(BOM) if self.line == 1 else raw

    def _texts(self) -> Iterator[str]:
        for raw in self._lines():
            try:
                yield raw.decode()
            except UnicodeDecodeError:
                self._add(self.line, "", Fault("Not UTF-8."))
                yield raw.decode(errors="replace")

    def _csv(self) -> Iterator[Line]:
        reader = csv.reader(self._texts(), strict=True)
        names: list[str] | None = None
        while True:
            number = self.line + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                # Where the next row begins is not known.
                self._add(number, "", Fault(f"Not CSV: {error}."))
                return
            if fields is None:
                return
            if names is None:
                names = fields
                if not self._is_header(number, names):
                    return
            elif len(fields) == len(names):
                given = zip(names, fields, strict=True)
                yield number, self._values(number, {n: self._of_text(n, f) for n, f in given})
            elif fields:
                said = f"It has {len(fields)} fields and the header {len(names)}."
                self._add(number, "", Fault(said))

    def _is_header(self, number: int, names: list[str]) -> bool:
        """Return whether a header can be meant; note what is wrong with it."""
        if len(names) > MAX_NAMES:
            said = f"It names {len(names)} columns; no table has more than {MAX_NAMES}."
            self._add(number, "header", Fault(said))
            return False
        unknown = [name for name in names if name != "id" and name not in self.columns]
        twice = {name for name in names if names.count(name) > 1}
        for name in unknown:
            self._add(number, name or "header", UNKNOWN)
        for name in sorted(twice - set(unknown)):
            self._add(number, name, Fault("This column is there twice."))
        if "id" not in names:
            self._add(number, "id", Fault("The first line must name the columns, id among them."))
        return not (unknown or twice) and "id" in names

    def _of_text(self, name: str, text: str) -> Any:
        """Return what a field of CSV means; what cannot be meant stays text."""
        column = self.columns.get(name)
        if column is None:
            return text
        if text == "":
            return None if column.optional else ""
        if column.kind == "boolean":
            return BOOLEANS.get(text, text)
        if column.kind == "number" and NUMBER.fullmatch(text):
            is_whole = text.lstrip("-").isdigit() and len(text) < 19
            return int(text) if is_whole else float(text)
        return text

    def _ndjson(self) -> Iterator[Line]:
        for raw in self._lines():
            if not raw.strip():
                continue
            if len(raw) > SHORT_LINE and is_bomb(raw):
                self._add(self.line, "", Fault("It has too many lists, objects and values."))
                continue
            try:
                values = orjson.loads(raw)
            except orjson.JSONDecodeError:
                values = None
            if isinstance(values, dict):
                yield self.line, self._values(self.line, values)
            else:
                self._add(self.line, "", Fault(NO_OBJECT))

    def _values(self, number: int, given: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a line as they are stored, and the id; note what cannot be."""
        values = {}
        for name, value in given.items():
            column = self.columns.get(name)
            if name == "id":
                values[name] = value
            elif column is None:
                self._add(number, name, UNKNOWN)
            else:
                values[name], fault = judged(value, column)
                if fault:
                    self._add(number, name, fault)
        return values


BAD_ID = "The id must be 1 to 128 characters of A-Z, a-z, 0-9, '_', '.' and '-'."
UNKNOWN = Fault("The table has no such column.", "unknown_column")


def judged(value: Any, column: Any) -> tuple[Any, Fault | None]:
    """Return a value as it is stored, and what is wrong with it. Pure."""
    stored = repair_value(value, column)
    # To Python False is 0.
    is_same = stored == value and (column.kind == "boolean" or not isinstance(value, bool))
    if not is_same:
        return stored, _fault(value, column)
    if column.kind == "number" and type(stored) is int and abs(stored) > MAX_WHOLE:
        stored = float(stored) if abs(stored) < 2**1023 else float("inf")
        return stored, None if isfinite(stored) else Fault("Must be a number.")
    return stored, None


def _fault(value: Any, column: Column) -> Fault:
    if value is None or value == "":
        return Fault("Must not be empty.", "required")
    if column.kind == "string" and isinstance(value, str):
        limit = f"{column.characters} characters" if column.characters else f"{column.bytes} bytes"
        return Fault(f"Longer than {limit}.", "too_long")
    kinds = {"string": "a text", "boolean": "true or false", "number": "a number"}
    return Fault(
        f"Must be {'a whole number within ±2^53' if column.whole else kinds[column.kind]}."
    )
