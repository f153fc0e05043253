"""How far a copy came: what is told meanwhile, kept for the next run, and told at the end."""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.sync.existing.mapping import Map, MapRefused
from services.sync.existing.source import Unit
from services.sync.existing.values import record_id

#: As many ids are told of each kind of remark.
SHOWN = 5
#: Seconds between two lines of progress.
EVERY = 5.0


@dataclass
class Summary:
    """Counts of rows by table and remark, with the first ids."""

    copied: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    remarks: dict[str, dict[str, list[Any]]] = field(default_factory=lambda: defaultdict(dict))

    def note(self, table: str, remark: str, ids: list[str], count: int | None = None) -> None:
        """Count rows of a table."""
        if not ids:
            return
        counted = self.remarks[table].setdefault(remark, [0, []])
        counted[0] += len(ids) if count is None else count
        counted[1] += ids[: SHOWN - len(counted[1])]

    def lines(self) -> Iterator[str]:
        """Yield the summary, a line for each table and remark."""
        for table, count in self.copied.items():
            yield f"{table}: {count} rows"
        for table, remarks in self.remarks.items():
            for remark, (count, ids) in remarks.items():
                more = " …" if count > len(ids) else ""
                yield f"{table}: {count} {remark}: {', '.join(ids)}{more}"


class Progress:
    """Lines on standard error: how far, how fast, how long yet."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.begun_with = total, done, done
        self.began = self.said = time.monotonic()

    def add(self, rows: int) -> None:
        """Count rows, and say so every few seconds."""
        self.done += rows
        if time.monotonic() > self.said + EVERY:
            self.say()

    def say(self) -> None:
        """Write a line."""
        self.said = time.monotonic()
        rate = (self.done - self.begun_with) / max(self.said - self.began, 0.001)
        left = max(self.total - self.done, 0)
        seconds = f", {left / rate:,.0f} s left" if rate and left else ""
        # Of one user's rows it is not known how many there are.
        of = f" of {self.total:,}" if self.total else ""
        sys.stderr.write(f"{self.done:,}{of} rows, {rate:,.0f} a second{seconds}\n")


class State:
    """The file that says how far a copy came."""

    def __init__(self, path: Path | None, read: Map) -> None:
        self.path, self.digest = path, read.digest
        self.last, self.rows = "", 0
        self.summary = Summary()
        if path and path.exists():
            self._read(path)
        # Before anything is copied it is known whether that can be kept.
        self._save()

    def _read(self, path: Path) -> None:
        try:
            kept = json.loads(path.read_text())
        except ValueError:
            raise MapRefused(f"{path} is no copy's: remove that file.") from None
        if kept["map"] != self.digest:
            raise MapRefused(f"The map changed since {path} was begun: remove that file.")
        self.last, self.rows = kept["last"], kept["rows"]
        self.summary.copied.update(kept["copied"])
        self.summary.remarks.update(kept["remarks"])

    def rest(self, units: list[Unit]) -> list[Unit]:
        """Return those that are not done: all, when the last one that was is not there any more."""
        names = [name_of(unit) for unit in units]
        return units[names.index(self.last) + 1 :] if self.last in names else units

    def note(self, unit: Unit, rows: int) -> None:
        """Keep that a unit is done; a reader finds the file as it was before or as it is now."""
        self.last, self.rows = name_of(unit), self.rows + rows
        self._save()

    def _save(self) -> None:
        if self.path is None:
            return
        kept = {"map": self.digest, "last": self.last, "rows": self.rows}
        kept |= {"copied": self.summary.copied, "remarks": self.summary.remarks}
        new = self.path.with_name(self.path.name + ".new")
        try:
            new.write_text(json.dumps(kept))
            new.replace(self.path)
        except OSError as error:
            raise MapRefused(
                f"{self.path}, which is to say how far the copy came, cannot be written: "
                f"{error.strerror}. --state names another file."
            ) from None

    def end(self) -> None:
        """Forget what was done, so that the next copy begins anew."""
        if self.path:
            self.path.unlink(missing_ok=True)


def name_of(unit: Unit) -> str:
    """Return what a unit is called in the file."""
    return f"{unit.kind} {record_id('', [unit.value])}"
