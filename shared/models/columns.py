"""Declarations of a synced table's columns, and column types that mean the same on every engine.

Times are integers, milliseconds since 1970.
"""

import zlib
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, Boolean, Double, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import MappedColumn, mapped_column

Kind = Literal["string", "number", "boolean"]
OnDelete = Literal["cascade", "clear", "keep"]
Value = str | int | float | bool | None

#: Ids are compared byte for byte; MySQL's default collations would take `aB` and `Ab` for one.
ID = String(36).with_variant(
    mysql.VARCHAR(36, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
#: Ids of records, which devices choose.
RECORD_ID = String(128).with_variant(
    mysql.VARCHAR(128, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
#: A SHA-256 that stands for an id.
DIGEST = String(64).with_variant(
    mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
)
#: A text as long as WatermelonDB takes: MySQL's TEXT would end at 65,535 bytes.
LONG_TEXT = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
#: Bytes of a MySQL TEXT, and so of a `text()` column whatever the engine.
TEXT_BYTES = 65_535
#: Characters of the longest VARCHAR that leaves room for others in a MySQL row of 65,535 bytes.
MAX_LENGTH = 4000

#: What MySQL would take from the database's defaults: every character, compared exactly.
TABLE_OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}

EMPTY: dict[Kind, Value] = {"string": "", "number": 0, "boolean": False}


def index_name(*parts: str) -> str:
    """Return the name of an index, within the 64 characters that MySQL takes."""
    name = "_".join(("ix", *parts))
    if len(name) <= 64:
        return name
    return f"{name[:55]}_{zlib.crc32(name.encode()):08x}"


class DeclarationError(TypeError):
    """A declaration that cannot be meant; the message says what to write instead."""


@dataclass(frozen=True)
class Relation:
    """A column that names a row of `parent` (a wire name), and what becomes of the row without it."""

    parent: str
    on_delete: OnDelete


@dataclass(frozen=True)
class Column:
    """A column as WatermelonDB's schema declares it, with the limits of ours."""

    kind: Kind
    #: The name on the wire; the attribute's own where none is given.
    name: str = ""
    #: The attribute, which is also the name in SQL.
    attribute: str = ""
    optional: bool = False
    #: `isIndexed` in the app's schema. The server looks for no row by it.
    indexed: bool = False
    #: Of a number: that fractions are cut off.
    whole: bool = False
    #: Limits of a string; None where there is no such limit.
    characters: int | None = None
    bytes: int | None = None
    #: What the app's model makes of it, where that is more than the kind.
    decorator: Literal["json", "date"] | None = None
    relation: Relation | None = None

    @property
    def is_enforced(self) -> bool:
        """Return whether the row must name a living parent, or else goes with it or is cleared."""
        return self.relation is not None and self.relation.on_delete != "keep"

    @property
    def empty(self) -> Value:
        """Return what WatermelonDB's sanitizer puts in the place of no value."""
        return None if self.optional else EMPTY[self.kind]


#: The wire column of a shareable table. Nothing is stored under it: it is the first part of the row's key.
SPACE = Column("string", "space_id", optional=True)

#: Under this key of `info` a SQL column carries what was declared.
DECLARED = "declared"


def declare(type_: Any, column: Column) -> MappedColumn[Any]:
    """Return a mapped column that carries what was declared.

    A text without a length may be NULL, and is read as empty where it is required: to give it a default
    MySQL would copy the whole table.
    """
    if isinstance(type_, Text):
        return mapped_column(type_, nullable=True, info={DECLARED: column})
    return mapped_column(type_, info={DECLARED: column})


def string(
    length: int | None = None, *, name: str = "", indexed: bool = False
) -> MappedColumn[Any]:
    """Declare a text: of any length, or cut at `length` characters. `name`: on the wire, when it differs."""
    if length is None:
        return declare(LONG_TEXT, Column("string", name, indexed=indexed))
    if not 1 <= length <= MAX_LENGTH:
        raise DeclarationError(
            f"string({length}): a length is 1 to {MAX_LENGTH}; leave it out for no limit."
        )
    column = Column("string", name, indexed=indexed, characters=length)
    return declare(String(length), column)


def text(*, name: str = "", indexed: bool = False) -> MappedColumn[Any]:
    """Declare a text that is cut at 65,535 bytes."""
    return declare(Text(), Column("string", name, indexed=indexed, bytes=TEXT_BYTES))


def json(*, name: str = "", indexed: bool = False) -> MappedColumn[Any]:
    """Declare a text that the app reads as JSON (`@json`). The server stores it as it is."""
    return declare(LONG_TEXT, Column("string", name, indexed=indexed, decorator="json"))


def boolean(*, name: str = "", indexed: bool = False) -> MappedColumn[Any]:
    """Declare true or false."""
    return declare(Boolean(), Column("boolean", name, indexed=indexed))


def number(*, name: str = "", indexed: bool = False) -> MappedColumn[Any]:
    """Declare any number of JavaScript."""
    return declare(Double(), Column("number", name, indexed=indexed))


def integer(*, name: str = "", indexed: bool = False) -> MappedColumn[Any]:
    """Declare a whole number within ±2^53, all that a JavaScript number holds exactly."""
    return declare(BigInteger(), Column("number", name, indexed=indexed, whole=True))


def date(*, name: str = "", indexed: bool = False) -> MappedColumn[Any]:
    """Declare a time in milliseconds since 1970 (`@date`)."""
    column = Column("number", name, indexed=indexed, whole=True, decorator="date")
    return declare(BigInteger(), column)


def relation(
    parent: str, on_delete: OnDelete, *, name: str = "", indexed: bool = True
) -> MappedColumn[Any]:
    """Declare a column that names a row of the table `parent` (its name on the wire).

    `cascade`: the row is deleted with its parent. `clear`: it is set to null, so the column must be
    optional. `keep`: the column is plain text to the server (docs/api.md, "Push", Relations).
    """
    if on_delete not in ("cascade", "clear", "keep"):
        raise DeclarationError(
            f"relation({parent!r}, {on_delete!r}): write 'cascade', 'clear' or 'keep'."
        )
    column = Column("string", name, indexed=indexed, relation=Relation(parent, on_delete))
    if on_delete == "keep":
        return declare(LONG_TEXT, column)
    # NULL also where the app requires it: in the tombstone of a row whose parent was never known.
    return mapped_column(RECORD_ID, nullable=True, info={DECLARED: column})
