"""The map of a copy, read from TOML: which rows of a source become which records.

A path says how rows lead to a user: `user_id`, a column of their own; or `list_id = lists.id, user_id`,
through the row of another table.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from services.sync.schemas import SAFE_ID
from shared.models.columns import Column
from shared.models.tables import ReferenceTable, SyncedTable, pulled_tables

STEP = re.compile(r"\s*(\S+)\s*=\s*(.+)\.(\S+)\s*")
#: What TOML calls these types.
WORDS: dict[type, str] = {str: "text", list: "list", dict: "table"}
#: Of a prefix of ids, so that they stay within 128.
MAX_PREFIX = 32


class MapRefused(Exception):
    """A map that cannot be meant; the message says what to write."""


@dataclass(frozen=True)
class Step:
    """From a row to that of `table` whose `key` is what the row's `column` says."""

    column: str
    table: str
    key: str


@dataclass(frozen=True)
class Path:
    """The steps to a row, and its column that says who or which."""

    steps: tuple[Step, ...]
    column: str


@dataclass(frozen=True, eq=False)
class MappedTable:
    """A table of the source and the declared one that its rows go to."""

    table: SyncedTable | ReferenceTable
    source: str
    #: Columns that make the id; none: the primary key.
    key: tuple[str, ...]
    user: Path | None
    space: Path | None
    prefix: str
    #: The source's column by the name of ours, where they differ.
    renamed: Mapping[str, str]
    #: Columns of the source that name a user.
    accounts: frozenset[str]
    #: Columns of the source that are times in seconds since 1970.
    seconds: frozenset[str]

    def source_of(self, column: Column) -> str:
        """Return what the source calls a column of ours."""
        return self.renamed.get(column.name, column.name)


@dataclass(frozen=True)
class Users:
    """The source's users: the key, and the column that tells the account (`by`: email or account)."""

    table: str
    id: str
    column: str
    by: str


@dataclass(frozen=True)
class Map:
    """All of it; parents stand before their children."""

    zone: ZoneInfo
    users: Users
    #: Our spaces by what the source calls them.
    spaces: Mapping[str, str]
    tables: tuple[MappedTable, ...]
    #: Those that belong to nobody.
    references: tuple[MappedTable, ...]
    digest: str

    @property
    def all_tables(self) -> tuple[MappedTable, ...]:
        """Return the tables of users and those of nobody."""
        return (*self.references, *self.tables)


def read_map(text: str) -> Map:
    """Return the map that a text says. Raises `MapRefused`."""
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MapRefused(f"The map is no TOML: {error}.") from None
    given = _known("The map", read, zone=str, users=dict, spaces=dict, tables=dict)
    try:
        zone = ZoneInfo(given.get("zone", "UTC"))
    except (KeyError, ValueError, OSError):
        raise MapRefused(
            f"zone = {given['zone']!r} is no time zone such as Europe/Berlin."
        ) from None
    spaces = given.get("spaces", {})
    entries = given.get("tables", {})
    tables = [_table(name, entry) for name, entry in entries.items()]
    return Map(
        zone=zone,
        users=_users(given.get("users", {})),
        spaces=spaces,
        tables=tuple(_ordered([one for one in tables if one.user or one.space])),
        references=tuple(one for one in tables if not (one.user or one.space)),
        digest=sha256(text.encode()).hexdigest(),
    )


def _known(where: str, given: Any, **kinds: type) -> dict[str, Any]:
    """Return a table of TOML whose members are of these kinds. Raises `MapRefused`."""
    if not isinstance(given, dict):
        raise MapRefused(f"{where} is a table of TOML.")
    for name, value in given.items():
        if name not in kinds:
            raise MapRefused(f"{where} has no {name!r}; it has {', '.join(kinds)}.")
        if not isinstance(value, kinds[name]):
            raise MapRefused(f"{where}: {name} is a {WORDS[kinds[name]]}.")
        inner: Any = value.values() if isinstance(value, dict) else value
        is_bad = not all(isinstance(one, str) for one in inner) or (name == "key" and not value)
        if is_bad and name != "tables":
            raise MapRefused(f"{where}: {name} has texts, such as names of columns.")
    return given


def _users(given: Any) -> Users:
    given = _known("[users]", given, table=str, id=str, email=str, account=str)
    told = [name for name in ("email", "account") if given.get(name)]
    if not given.get("table") or not given.get("id") or len(told) != 1:
        raise MapRefused("[users] has table, id, and either email or account.")
    return Users(given["table"], given["id"], given[told[0]], told[0])


def _table(name: str, given: Any) -> MappedTable:
    where = f"[tables.{name}]"
    given = _known(
        where,
        given,
        **{"from": str, "key": list, "user": str, "space": str, "prefix": str, "columns": dict},
        accounts=list,
        seconds=list,
    )
    table = _declared(where, name, given)
    renamed = given.get("columns", {})
    if unknown := renamed.keys() - set(table.names):
        raise MapRefused(f"{where}: {min(unknown)} is no column of the declared table.")
    prefix = given.get("prefix", "")
    if prefix and (len(prefix) > MAX_PREFIX or not SAFE_ID.fullmatch(prefix)):
        raise MapRefused(
            f"{where}: a prefix is up to {MAX_PREFIX} letters, digits, '_', '.' and '-'."
        )
    return MappedTable(
        table=table,
        source=given.get("from", name),
        key=tuple(given.get("key", ())),
        user=_path(where, given["user"]) if "user" in given else None,
        space=_path(where, given["space"]) if "space" in given else None,
        prefix=prefix,
        renamed=renamed,
        accounts=frozenset(given.get("accounts", ())),
        seconds=frozenset(given.get("seconds", ())),
    )


def _declared(where: str, name: str, given: dict[str, Any]) -> SyncedTable | ReferenceTable:
    """Return the declared table of a name. Raises `MapRefused`, also for a wrong owner of its rows."""
    table = next((one for one in pulled_tables() if one.name == name), None)
    if table is None:
        raise MapRefused(f"{where}: no table of this name is declared.")
    if isinstance(table, ReferenceTable) and ("user" in given or "space" in given):
        raise MapRefused(
            f"{where}: a reference table belongs to nobody: it has no user and no space."
        )
    if isinstance(table, SyncedTable) and not ("user" in given or "space" in given):
        raise MapRefused(f'{where}: say whose its rows are: user = "user_id", or the way there.')
    return table


def _path(where: str, text: str) -> Path:
    *steps, column = text.split(",")
    found = [STEP.fullmatch(step) for step in steps]
    if not column.strip() or "=" in column or not all(found):
        raise MapRefused(
            f"{where}: a path is a column, or list_id = lists.id, user_id to go through another table."
        )
    return Path(tuple(Step(*step.groups()) for step in found if step), column.strip())


def _ordered(tables: list[MappedTable]) -> Iterator[MappedTable]:
    """Yield each table after those that its rows name, as far as they do not name each other."""
    left = {table.table.name: table for table in tables}
    while left:
        name = next((name for name in left if not parents(left[name]) & left.keys() - {name}), None)
        yield left.pop(name or next(iter(left)))


def parents(mapped: MappedTable) -> set[str]:
    """Return the tables that rows of this one must find there."""
    columns = (column for column in mapped.table.columns if column.is_enforced)
    return {column.relation.parent for column in columns if column.relation}
